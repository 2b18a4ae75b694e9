//! Where the files go that are made of each file: one that is named, or a folder of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::super::exit::CliError;
use super::super::interrupt::{writable, write_whole};
use super::{Outcome, Unit};
use crate::media::{Rgb8, write_png};

/// Characters of a name that is made of a file's.
const MAX_NAME: usize = 80;

/// What an option such as `--annotate OUT.png` names.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    folder: bool,
    /// Names given so far, in lower case: some file systems don't tell them apart.
    given: BTreeSet<String>,
}

impl Target {
    /// A folder where one is there, or where the name has no ending; else a file, of which there can be only one.
    ///
    /// # Errors
    /// A file for several, or one that can't be written, or the folder can't be made.
    pub fn new(option: &'static str, path: &Path, n_files: usize) -> Result<Target, CliError> {
        let like_one = path.extension().is_none() || path.as_os_str().as_encoded_bytes().ends_with(b"/");
        // A device or a pipe has no ending either.
        let folder = path.is_dir() || like_one && !path.exists();
        if !folder && n_files > 1 {
            return Err(CliError::FolderWanted { option, path: path.to_path_buf(), files: n_files });
        }
        if !folder {
            writable(path)?;
        }
        Target::made(path, folder)
    }

    /// A folder.
    ///
    /// # Errors
    /// It can't be made.
    pub fn folder(path: &Path) -> Result<Target, CliError> {
        Target::made(path, true)
    }

    fn made(path: &Path, folder: bool) -> Result<Target, CliError> {
        if folder {
            std::fs::create_dir_all(path).map_err(|source| CliError::Write { path: path.to_path_buf(), source })?;
        }
        Ok(Target { path: path.to_path_buf(), folder, given: BTreeSet::new() })
    }

    /// The file for what came of a piece of work, with `more` added to its stem; `ending` where the name isn't the
    /// person's.
    pub fn file<R>(&mut self, outcome: &Outcome<R>, more: &str, ending: &str) -> PathBuf {
        let unit = if outcome.of > 1 { outcome.unit } else { Unit::Whole };
        if self.folder {
            let stem = format!("{}{}{more}", stem(&outcome.file), outcome.unit.suffix());
            let mut name = format!("{stem}.{ending}");
            let mut n = 1;
            while !self.given.insert(name.to_lowercase()) {
                n += 1;
                name = format!("{stem}_{n}.{ending}");
            }
            return self.path.join(name);
        }
        let added = format!("{}{more}", unit.suffix());
        if added.is_empty() {
            return self.path.clone();
        }
        let mut name = self.path.file_stem().unwrap_or_default().to_owned();
        name.push(added);
        name.push(".");
        name.push(self.path.extension().unwrap_or_default());
        self.path.with_file_name(name)
    }
}

/// The name of a file without its folders and its ending, of letters that every file system takes.
pub fn stem(file: &str) -> String {
    let name = Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    plain(&name)
}

/// Words as a part of a file name.
pub fn plain(words: &str) -> String {
    let kept = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let name: String = words.chars().map(kept).take(MAX_NAME).collect();
    let name = name.trim_matches(['.', '_']);
    if name.is_empty() { "x".to_owned() } else { name.to_owned() }
}

/// What `-o` names, where that is no standard output.
pub fn out_file(out: Option<&Path>) -> Option<&Path> {
    out.filter(|path| *path != Path::new("-"))
}

/// The ending of `path` in lower case, where it is one of `known`; `None` where it has none, and is a folder or a device.
///
/// # Errors
/// Another ending: what is written would not be what its name says.
pub fn ending(
    option: &'static str,
    path: &Path,
    known: &'static [&'static str],
) -> Result<Option<&'static str>, CliError> {
    let Some(found) = path.extension() else { return Ok(None) };
    let found = found.to_string_lossy().to_lowercase();
    let fitting = known.iter().find(|&&ending| ending == found).copied();
    if fitting.is_none() && !path.is_dir() {
        return Err(CliError::Ending { option, path: path.to_path_buf(), known });
    }
    Ok(fitting)
}

/// Writes a picture, whole or not at all.
///
/// # Errors
/// It can't be written.
pub fn write_picture(path: &Path, picture: &Rgb8) -> Result<(), CliError> {
    let mut png = Vec::new();
    let written = write_png(picture, &mut png).and_then(|()| write_whole(path, &png));
    written.map_err(|source| CliError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(file: &str, unit: Unit, of: usize) -> Outcome<()> {
        Outcome { file: file.into(), unit, of, sha256: String::new(), result: Ok(()), resumed: false }
    }

    #[test]
    fn a_file_for_one_and_a_folder_for_many() {
        let dir = tempfile::tempdir().expect("a folder");
        let one = dir.path().join("out.png");
        let mut target = Target::new("--annotate", &one, 1).expect("one");
        assert_eq!(target.file(&outcome("a/b.jpg", Unit::Whole, 1), "", "png"), one);
        assert_eq!(target.file(&outcome("a.mp4", Unit::Time(2.5), 1), "", "png"), one);
        assert_eq!(target.file(&outcome("a.pdf", Unit::Page(3), 9), "", "png"), dir.path().join("out-p03.png"));
        let refused = Target::new("--annotate", &one, 2).expect_err("two").to_string();
        assert!(refused.contains("--annotate") && refused.contains("folder"), "{refused}");
        let pipe = dir.path().join("pipe");
        std::fs::write(&pipe, "").expect("written");
        assert_eq!(Target::new("-o", &pipe, 1).expect("one").file(&outcome("a", Unit::Whole, 1), "", "md"), pipe);
        let folder = dir.path().join("marked");
        let mut target = Target::new("--annotate", &folder, 2).expect("a folder");
        assert!(folder.is_dir());
        let mut name =
            |file, unit| target.file(&outcome(file, unit, 1), "", "png").strip_prefix(&folder).map(Path::to_path_buf);
        assert_eq!(name("x/a.jpg", Unit::Whole), Ok("a.png".into()));
        assert_eq!(name("y/A.png", Unit::Whole), Ok("A_2.png".into()));
        assert_eq!(name("y/../..", Unit::Whole), Ok("x.png".into()));
        assert_eq!(name("a.pdf", Unit::Page(1)), Ok("a-p01.png".into()));
    }

    #[test]
    fn an_ending_says_what_is_written() {
        let dir = tempfile::tempdir().expect("a folder");
        let told = |name: &str| ending("--annotate", &dir.path().join(name), &["png", "html"]);
        assert_eq!(told("a.PNG").expect("known"), Some("png"));
        assert_eq!(told("folder").expect("a folder"), None);
        let refused = told("a.jpg").expect_err("another").to_string();
        assert!(refused.contains("--annotate") && refused.contains(".png") && refused.contains(".html"), "{refused}");
        std::fs::create_dir(dir.path().join("marked.d")).expect("made");
        assert_eq!(told("marked.d").expect("a folder"), None);
    }

    #[test]
    fn names_are_harmless() {
        assert_eq!(stem("/etc/../a b\u{1b}[2J.tar.gz"), "a_b__2J.tar");
        assert_eq!(plain("../../x"), "x");
        assert_eq!(plain("日本 语"), "日本_语");
        assert_eq!(plain(&"x".repeat(500)).len(), MAX_NAME);
    }
}
