//! From what was typed to the files that are meant: folders, patterns and lists are resolved, in order.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::super::exit::CliError;
use crate::media::{Document, Part, Source};

/// Folders within folders that are looked into.
const MAX_DEPTH: usize = 32;
/// Bytes of a list.
const MAX_LIST: u64 = 1 << 28;

/// What a folder may hold for a command.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// PDF documents, too.
    pub documents: bool,
}

/// The files that the arguments mean: a file as it stands (also with `#t=…` behind it, and `-`), a folder's pictures and
/// clips, those in its subfolders too, in order of their paths; a pattern's matches; and what `@LIST` names, one on a
/// line. Whether a single file exists is found out when its turn comes.
///
/// # Errors
/// A folder or list can't be read, a pattern matches nothing, or nothing is left.
pub fn expand(args: &[PathBuf], accepted: Accepted) -> Result<Vec<OsString>, CliError> {
    let mut files = Vec::new();
    for arg in args {
        match list_name(arg.as_os_str()) {
            None => one(arg.as_os_str(), accepted, &mut files)?,
            Some(list) => {
                for line in read_list(&list)? {
                    one(&line, accepted, &mut files)?;
                }
            }
        }
    }
    match args.first() {
        Some(first) if files.is_empty() => Err(CliError::NoneIn { place: first.display().to_string() }),
        _ => Ok(files),
    }
}

/// The file of `@LIST`, unless a file is called so.
fn list_name(arg: &OsStr) -> Option<PathBuf> {
    let name = arg.to_str()?.strip_prefix('@')?;
    (!name.is_empty() && !Path::new(arg).exists()).then(|| PathBuf::from(name))
}

/// Lines with something on them; those that begin with # are remarks.
fn read_list(list: &Path) -> Result<Vec<OsString>, CliError> {
    let failed = |source: io::Error| CliError::Read { path: list.to_path_buf(), source };
    let from: Box<dyn Read> = if list == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(list).map_err(failed)?)
    };
    let mut bytes = Vec::new();
    from.take(MAX_LIST).read_to_end(&mut bytes).map_err(failed)?;
    let lines = bytes.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    Ok(lines.filter(|line| !line.trim_ascii().is_empty() && !line.starts_with(b"#")).map(os_string).collect())
}

#[cfg(unix)]
fn os_string(bytes: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStringExt;
    OsString::from_vec(bytes.to_vec())
}

#[cfg(not(unix))]
fn os_string(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

fn one(arg: &OsStr, accepted: Accepted, files: &mut Vec<OsString>) -> Result<(), CliError> {
    let (file, part) = Part::split_arg(arg);
    let path = Path::new(&file);
    if part.is_none() && path.is_dir() {
        let before = files.len();
        folder(path, accepted, 0, files)?;
        return if files.len() == before {
            Err(CliError::NoneIn { place: path.display().to_string() })
        } else {
            Ok(())
        };
    }
    let pattern = file.to_str().filter(|name| name.contains(['*', '?', '[']) && !path.exists());
    let Some(pattern) = pattern else {
        files.push(arg.to_owned());
        return Ok(());
    };
    let before = files.len();
    let wrong = |problem: String| CliError::Pattern { pattern: pattern.to_owned(), problem };
    for found in glob::glob(pattern).map_err(|e| wrong(e.to_string()))? {
        let found = found.map_err(|e| CliError::Read { path: e.path().to_path_buf(), source: e.into() })?;
        if found.is_file() {
            let mut name = found.into_os_string();
            // What stands behind the pattern is meant of each match.
            if part.is_some() {
                let fragment = arg.to_str().and_then(|arg| arg.rsplit_once('#')).map_or("", |(_, fragment)| fragment);
                name.push(format!("#{fragment}"));
            }
            files.push(name);
        }
    }
    if files.len() == before { Err(wrong("no file matches".to_owned())) } else { Ok(()) }
}

/// The pictures and clips below a folder, by their content. What is hidden is left out, and links to folders aren't
/// followed.
fn folder(path: &Path, accepted: Accepted, depth: usize, files: &mut Vec<OsString>) -> Result<(), CliError> {
    let failed = |source| CliError::Read { path: path.to_path_buf(), source };
    let mut entries: Vec<_> = std::fs::read_dir(path).and_then(Iterator::collect).map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if kind.is_dir() {
            if depth < MAX_DEPTH {
                folder(&path, accepted, depth + 1, files)?;
            }
        // Not what only looks like a file: a pipe would never end.
        } else if path.is_file() {
            let document = accepted.documents && Document::is_one(&path);
            if document || Source::Path(path.clone()).kind().is_ok() {
                files.push(path.into_os_string());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Accepted = Accepted { documents: true };

    /// What [`expand`] gives, in words.
    type Said = Result<Vec<String>, String>;

    fn place() -> (tempfile::TempDir, impl Fn(&[&str], Accepted) -> Said) {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().to_path_buf();
        for sub in ["b/c", ".hidden"] {
            std::fs::create_dir_all(root.join(sub)).expect("made");
        }
        for file in ["z.png", "a.txt", "b/y[1].png", "b/c/x.dat", ".hidden/w.png", ".v.png"] {
            std::fs::write(root.join(file), b"\x89PNG\r\n\x1a\n").expect("written");
        }
        std::fs::write(root.join("notes.md"), "# GIF? no").expect("written");
        std::fs::write(root.join("doc.bin"), "%PDF-1.4").expect("written");
        let run = move |args: &[&str], accepted| {
            let args: Vec<PathBuf> =
                args.iter().map(|arg| arg.replace('%', &root.display().to_string()).into()).collect();
            let here = format!("{}/", root.display());
            match expand(&args, accepted) {
                Ok(files) => Ok(files.iter().map(|f| f.to_string_lossy().replace(&here, "")).collect()),
                Err(e) => Err(e.to_string().replace(&here, "")),
            }
        };
        (dir, run)
    }

    #[test]
    fn folders_by_content_in_order() {
        let (_dir, run) = place();
        let pictures = ["a.txt", "b/c/x.dat", "b/y[1].png", "z.png"];
        assert_eq!(run(&["%"], Accepted { documents: false }).expect("files"), pictures);
        assert!(run(&["%"], ALL).expect("files").contains(&"doc.bin".to_owned()));
        assert!(run(&["%/missing.png", "-", "clip.mp4#t=3"], ALL).expect("files").len() == 3);
    }

    #[test]
    fn patterns_and_parts() {
        let (_dir, run) = place();
        assert_eq!(run(&["%/*.png"], ALL).expect("files"), [".v.png", "z.png"]);
        assert_eq!(run(&["%/z*.png#t=1,2"], ALL).expect("files"), ["z.png#t=1,2"]);
        assert_eq!(run(&["%/b/y[1].png"], ALL).expect("a name, not a pattern"), ["b/y[1].png"]);
        assert!(run(&["%/*.jpg"], ALL).expect_err("none").contains("no file matches"));
        assert!(run(&["%/[.jpg"], ALL).is_err());
    }

    #[test]
    fn lists_with_remarks_and_folders() {
        let (dir, run) = place();
        let list = dir.path().join("list.txt");
        std::fs::write(&list, format!("# a remark\r\n{0}/z.png\r\n\n{0}/b\n@odd\n", dir.path().display()))
            .expect("written");
        let listed = format!("@{}", list.display());
        assert_eq!(run(&[&listed], ALL).expect("files"), ["z.png", "b/c/x.dat", "b/y[1].png", "@odd"]);
        assert!(run(&["@%/no-list"], ALL).expect_err("missing").contains("no-list"));
        std::fs::write(&list, "\n").expect("written");
        assert!(run(&[&listed], ALL).expect_err("empty").contains("nothing to look at"));
    }
}
