//! PDF documents: their pages as pictures, drawn by poppler's programs, where those are installed.
//!
//! A PDF is a program for a large machine; poppler is a well-kept one. It runs as a process of its own (`pdfinfo`,
//! `pdftoppm`), which is ended where it takes too long, and what it draws is read like any other picture.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Seek};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::error::{MediaError, MediaProblem};
use super::picture::{Picture, load_picture};
use super::source::{FileData, Limits, Source, is_document};

/// A page that takes longer than this to be drawn isn't waited for.
const LONGEST: Duration = Duration::from_secs(120);
/// Pixels along the longer side of a page at most.
const MAX_SIDE: f64 = 10_000.0;
/// Pages of a document at most.
const MAX_PAGES: usize = 1_000_000;
/// Bytes of what the programs say that are read.
const MAX_SAID: u64 = 1 << 20;
/// Points in an inch: PDF's unit of length.
const POINTS: f64 = 72.0;

/// A PDF document.
#[derive(Debug)]
pub struct Document {
    name: String,
    file: OsString,
    source: Source,
    n_pages: usize,
    sha256: OnceLock<[u8; 32]>,
}

impl Document {
    /// Whether a file begins as a PDF document does. What can't be read is none.
    pub fn is_one(path: &Path) -> bool {
        path.is_file() && Source::Path(path.to_path_buf()).head().is_ok_and(|head| is_document(&head))
    }

    /// Opens a document, and counts its pages; `None` where the source isn't one, or can't be read.
    ///
    /// # Errors
    /// If it is damaged or locked, or poppler isn't installed.
    pub fn of(source: &Source) -> Result<Option<Document>, MediaError> {
        let path: &Path = match source {
            Source::Path(path) => path,
            Source::Temporary { file, .. } => file,
            Source::Stdin | Source::Bytes { .. } => return Ok(None),
        };
        if !source.head().is_ok_and(|head| is_document(&head)) {
            return Ok(None);
        }
        let (name, file) = (source.name(), argument(path));
        let n_pages = pages(&file).map_err(|problem| MediaError::from(problem).at(&name))?;
        Ok(Some(Document { name, file, source: source.clone(), n_pages, sha256: OnceLock::new() }))
    }

    /// The name that the reader gave.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many pages it has, at least one.
    pub fn n_pages(&self) -> usize {
        self.n_pages
    }

    /// SHA-256 of the file's bytes, for which it is read the first time.
    ///
    /// # Errors
    /// If reading fails.
    pub fn sha256(&self) -> Result<[u8; 32], MediaError> {
        if let Some(hash) = self.sha256.get() {
            return Ok(*hash);
        }
        let hash = FileData::of(&self.source).and_then(|data| data.sha256());
        let hash = hash.map_err(|problem| MediaError::from(problem).at(&self.name))?;
        Ok(*self.sha256.get_or_init(|| hash))
    }

    /// Page `number`, from 1, as a picture of `dpi` pixels an inch, or of fewer where that would be very large.
    ///
    /// # Errors
    /// If there is no such page, or it can't be drawn.
    pub fn page(&self, number: usize, dpi: f64) -> Result<Picture, MediaError> {
        let mut picture = self.draw(number, dpi).map_err(|error| error.at(&self.name))?;
        picture.info.name = format!("{}, page {number}", self.name);
        Ok(picture)
    }

    fn draw(&self, number: usize, dpi: f64) -> Result<Picture, MediaError> {
        if number == 0 || number > self.n_pages {
            return Err(MediaProblem::NoPage { number, pages: self.n_pages }.into());
        }
        let longer = longer_side(&said(pdfinfo(&self.file, Some(number)))?);
        let page = number.to_string();
        let mut command = Command::new("pdftoppm");
        // The part of the page that viewers show, and the one whose size `pdfinfo` tells.
        command.args(["-png", "-cropbox", "-f", &page, "-l", &page]);
        // Both bound the picture: a page may claim to be miles long.
        match longer.map(|points| points / POINTS * dpi).filter(|side| *side < MAX_SIDE) {
            Some(_) => command.arg("-r").arg(format!("{dpi}")),
            None => command.arg("-scale-to").arg(format!("{MAX_SIDE}")),
        };
        command.arg(&self.file);
        let drawn = run(command)?;
        let bytes: Arc<[u8]> = drawn.into();
        load_picture(&Source::Bytes { name: self.name.clone(), bytes }, &Limits::default())
    }
}

/// The file as an argument that can't be taken for an option.
fn argument(path: &Path) -> OsString {
    if path.as_os_str().as_encoded_bytes().starts_with(b"-") {
        Path::new(".").join(path).into_os_string()
    } else {
        path.as_os_str().to_owned()
    }
}

fn pdfinfo(file: &OsStr, page: Option<usize>) -> Command {
    let mut command = Command::new("pdfinfo");
    if let Some(page) = page {
        command.args(["-f", &page.to_string(), "-l", &page.to_string()]);
    }
    command.arg(file);
    command
}

fn said(command: Command) -> Result<String, MediaProblem> {
    run(command).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn pages(file: &OsStr) -> Result<usize, MediaProblem> {
    let damaged = |detail: String| MediaProblem::DocumentDamaged { detail };
    match counted(&said(pdfinfo(file, None))?) {
        None | Some(0) => Err(damaged("it has no pages".to_owned())),
        Some(n) if n > MAX_PAGES => Err(damaged(format!("it claims to have {n} pages, more than {MAX_PAGES}"))),
        Some(n) => Ok(n),
    }
}

/// The number of pages that `pdfinfo` tells. The document's own words (title, author) come before it, lines that look like
/// this one among them: so it is the last.
fn counted(said: &str) -> Option<usize> {
    said.lines().rev().find_map(|line| line.strip_prefix("Pages:"))?.trim().parse().ok()
}

/// Points along the longer side of the page whose size `pdfinfo` tells: `Page    3 size:  595 x 842 pts (A4)`. Like the
/// number of pages, the last.
fn longer_side(said: &str) -> Option<f64> {
    let line =
        said.lines().rfind(|line| line.starts_with("Page") && line.contains(" size:") && line.contains(" x "))?;
    let (_, size) = line.split_once(" size:")?;
    let sides = size.split_whitespace().filter_map(|word| word.parse::<f64>().ok()).filter(|side| *side > 0.0);
    sides.take(2).reduce(f64::max)
}

/// What a program writes to its standard output.
fn run(mut command: Command) -> Result<Vec<u8>, MediaProblem> {
    // Files without a name: nothing is left of them, whatever ends the program.
    let (mut out, mut err) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(err.try_clone()?);
    let program = command.get_program().to_string_lossy().into_owned();
    let child = Running::start(command).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => MediaProblem::NoPoppler { program: program.clone() },
        _ => error.into(),
    })?;
    let Some(status) = child.wait(LONGEST)? else {
        let detail = format!("{program} wasn't done after {} seconds", LONGEST.as_secs());
        return Err(MediaProblem::DocumentDamaged { detail });
    };
    out.rewind()?;
    err.rewind()?;
    if !status.success() {
        let mut told = Vec::new();
        err.take(MAX_SAID).read_to_end(&mut told)?;
        let told = String::from_utf8_lossy(&told).into_owned();
        if told.contains("Incorrect password") {
            return Err(MediaProblem::DocumentLocked);
        }
        let detail = told.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason is given").trim();
        return Err(MediaProblem::DocumentDamaged { detail: format!("{program}: {detail}") });
    }
    let mut bytes = Vec::new();
    out.take(Limits::default().max_picture_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The programs that run now.
static RUNNING: Mutex<BTreeMap<u32, Child>> = Mutex::new(BTreeMap::new());

fn running() -> MutexGuard<'static, BTreeMap<u32, Child>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the programs that draw pages: for whoever ends this one meanwhile.
pub fn end_programs() {
    running().values_mut().for_each(|child| drop(child.kill()));
}

/// A program that is ended when nobody waits for it any more.
struct Running(u32);

impl Running {
    fn start(mut command: Command) -> io::Result<Running> {
        // Held from before it runs, so that none is missed.
        let mut running = running();
        let child = command.spawn()?;
        let id = child.id();
        running.insert(id, child);
        Ok(Running(id))
    }

    /// How it ended, or `None` where it takes longer.
    fn wait(&self, longest: Duration) -> io::Result<Option<ExitStatus>> {
        let began = Instant::now();
        while began.elapsed() <= longest {
            let ended = running().get_mut(&self.0).map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() {
                return Ok(ended);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(None)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Not within the lock: waiting may take a while.
        let child = running().remove(&self.0);
        if let Some(mut child) = child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_page_as_poppler_tells_it() {
        let said = "Title:  Page 7 size: x\nPages:           12\nPage    3 size:  595.276 x 841.89 pts (A4)\nPage    3 rot:  90\n";
        assert_eq!(longer_side(said), Some(841.89));
        assert_eq!(longer_side("Page size:      612 x 792 pts (letter)\n"), Some(792.0));
        assert_eq!(longer_side("Pages: 3\n"), None);
    }

    #[test]
    fn what_a_title_says_is_not_believed() {
        let said = "Title:  Bill\nPages:  3000000000\nPage 1 size: 10 x 10 pts\nPages:           2\nEncrypted:       no\n\
                    Page    1 size:  7200 x 100 pts\nPage    1 rot:   0\nFile size: 9 bytes\n";
        assert_eq!(counted(said), Some(2));
        assert_eq!(longer_side(said), Some(7200.0));
        assert_eq!(counted("Title: none\n"), None);
    }

    #[test]
    fn a_name_is_no_option() {
        assert_eq!(argument(Path::new("-o.pdf")), "./-o.pdf");
        assert_eq!(argument(Path::new("a/-o.pdf")), "a/-o.pdf");
    }

    #[test]
    fn what_ends_badly_says_why() {
        let failing = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            run(command).map_err(|problem| problem.to_string())
        };
        assert_eq!(failing("printf hello"), Ok(b"hello".to_vec()));
        let said = failing("echo a >&2; echo 'Syntax Error: no xref' >&2; exit 1").expect_err("failed");
        assert!(said.contains("sh: Syntax Error: no xref"), "{said}");
        let said = failing("echo 'Command Line Error: Incorrect password' >&2; exit 1").expect_err("failed");
        assert!(said.contains("password"), "{said}");
        let missing = run(Command::new("no-such-program-here")).expect_err("missing").to_string();
        assert!(missing.contains("poppler-utils") && missing.contains("no-such-program-here"), "{missing}");
        // In the same test, for it ends all that run.
        let mut command = Command::new("sleep");
        command.arg("600");
        let child = Running::start(command).expect("it starts");
        assert_eq!(child.wait(Duration::from_millis(20)).expect("asked"), None);
        end_programs();
        let status = child.wait(Duration::from_secs(60)).expect("asked");
        assert!(status.is_some_and(|status| !status.success()), "{status:?}");
        let id = child.0;
        drop(child);
        assert!(!running().contains_key(&id));
    }
}
