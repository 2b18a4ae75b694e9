//! Ctrl-C: ends the program at once, and leaves no half file behind.
//!
//! A long step (a vision tower over a large picture takes seconds) can't be asked to stop in the middle, so the handler
//! doesn't ask: nothing outside of this process holds state, except for files that are being written. Those are
//! registered here and removed first.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::exit::{CliError, Exit};
use crate::media::{end_programs, piped_clips};

static TALKING: AtomicBool = AtomicBool::new(false);
static STOP: AtomicBool = AtomicBool::new(false);
static UNFINISHED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn unfinished() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Handles Ctrl-C, and the signals that ask to end or say that the terminal is gone, from now on.
pub fn install() {
    // Failing means that a handler is there already or that the system has none: the system's default then ends us.
    let _ = ctrlc::set_handler(|| {
        // In a conversation the first one only stops the answer; it is asked for after each step.
        if !TALKING.load(Ordering::SeqCst) || STOP.swap(true, Ordering::SeqCst) {
            end();
        }
    });
    // Unlike Ctrl-C, these mean the program, whatever it is at.
    #[cfg(unix)]
    if let Ok(mut asked) =
        signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP])
    {
        std::thread::spawn(move || {
            if asked.forever().next().is_some() {
                end();
            }
        });
    }
}

/// Ends the program; files that aren't finished are removed first.
fn end() -> ! {
    // Held until the end: nobody finishes or starts a file after this.
    let files = unfinished();
    end_programs();
    for file in files.iter().chain(&piped_clips()) {
        let _ = std::fs::remove_file(file);
    }
    let mut err = io::stderr();
    if err.is_terminal() {
        // A progress line may stand there, and the cursor may be hidden.
        let _ = err.write_all(b"\r\x1b[2K\x1b[?25h");
    }
    std::process::exit(Exit::Interrupted.code());
}

/// From now on Ctrl-C asks an answer to stop; a second one, before that was heard, still ends the program.
pub fn only_stops_answers() {
    TALKING.store(true, Ordering::SeqCst);
}

/// Whether Ctrl-C was pressed since [`forget`].
pub fn asked_to_stop() -> bool {
    STOP.load(Ordering::SeqCst)
}

/// The request to stop was heard.
pub fn forget() {
    STOP.store(false, Ordering::SeqCst);
}

/// A file under a temporary name that disappears unless [`Unfinished::finish`] gives it its own.
#[derive(Debug)]
pub struct Unfinished {
    // First: dropped, and so removed, before it is forgotten.
    file: tempfile::NamedTempFile,
    _registered: Registered,
}

#[derive(Debug)]
struct Registered(PathBuf);

impl Drop for Registered {
    fn drop(&mut self) {
        unfinished().remove(&self.0);
    }
}

impl Unfinished {
    /// Creates a file beside `target`, so that it can be renamed to it.
    ///
    /// # Errors
    /// When the folder is missing or can't be written to.
    pub fn beside(target: &Path) -> io::Result<Unfinished> {
        let target = linked(target);
        let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".qlens-").suffix(".part");
        #[cfg(unix)]
        {
            // As any new file, with what the umask leaves; temporary files are else for their owner alone.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let mut files = unfinished();
        // The library's words are about the temporary file; people know the one that was to come of it.
        let file = builder.tempfile_in(folder).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
                io::Error::new(e.kind(), format!("there is no folder {}; make it first", folder.display()))
            }
            kind if e.get_ref().is_some() => kind.into(),
            _ => e,
        })?;
        files.insert(file.path().to_path_buf());
        // A file that is replaced stays as private as it was.
        if let Ok(old) = std::fs::metadata(&target) {
            file.as_file().set_permissions(old.permissions())?;
        }
        let registered = Registered(file.path().to_path_buf());
        Ok(Unfinished { file, _registered: registered })
    }

    /// Makes it the file `target`, replacing one that was there.
    ///
    /// # Errors
    /// When the contents can't be brought to the disk, or the file not be renamed.
    pub fn finish(self, target: &Path) -> io::Result<()> {
        self.finish_by(|file| file.persist(linked(target)))
    }

    /// Makes it the file `target`, which is new.
    ///
    /// # Errors
    /// As [`Unfinished::finish`]; and when there is such a file already.
    pub fn finish_new(self, target: &Path) -> io::Result<()> {
        self.finish_by(|file| file.persist_noclobber(target))
    }

    fn finish_by(
        self,
        rename: impl FnOnce(tempfile::NamedTempFile) -> Result<std::fs::File, tempfile::PersistError>,
    ) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        // The handler waits for this: the file is either whole and named, or gone.
        let wait = unfinished();
        let renamed = rename(self.file);
        drop(wait);
        renamed.map(|_| ()).map_err(|failed| failed.error)
    }
}

/// The file that a link leads to: it is what is replaced, and the link stays.
fn linked(target: &Path) -> Cow<'_, Path> {
    match target.is_symlink().then(|| std::fs::canonicalize(target)) {
        Some(Ok(file)) => file.into(),
        // No link, or one that leads nowhere.
        _ => target.into(),
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Whether a file can be written under this name: asked before long work, and nothing is left behind.
///
/// # Errors
/// Its folder is missing or takes no files, or the name is a folder's.
pub fn writable(path: &Path) -> Result<(), CliError> {
    let answer = match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::Error::new(io::ErrorKind::IsADirectory, "is a folder; name a file")),
        // A device or a pipe.
        Ok(found) if !found.is_file() => Ok(()),
        _ => Unfinished::beside(path).map(drop),
    };
    answer.map_err(|source| CliError::Write { path: path.to_path_buf(), source })
}

/// Writes a whole file: it has its name only when it is complete, and one that was there is replaced by then.
///
/// # Errors
/// It can't be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A device or a pipe can't be renamed to, and must not be replaced.
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return std::fs::OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    let mut file = Unfinished::beside(path)?;
    file.write_all(bytes)?;
    file.finish(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_written_is_told_before_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let within = |name: &str| folder.path().join(name);
        writable(&within("new.md")).expect("it may be made");
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0, "something is left");
        std::fs::write(within("old.md"), "old").expect("written");
        writable(&within("old.md")).expect("it may be replaced");
        assert_eq!(std::fs::read(within("old.md")).expect("there"), b"old");
        for name in [folder.path().to_path_buf(), within("none/new.md"), within("old.md/new.md")] {
            let told = writable(&name).expect_err("refused").to_string();
            assert!(told.starts_with(&format!("{}: ", name.display())), "{told}");
            assert!(told.contains("is a folder") || told.contains("there is no folder"), "{told}");
            assert!(!told.contains(".part"), "{told}");
        }
    }

    #[test]
    fn an_unfinished_file_disappears_and_a_finished_one_has_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("out.bin");
        let count = || std::fs::read_dir(folder.path()).expect("readable").count();
        let mut file = Unfinished::beside(&target).expect("created");
        file.write_all(b"half").expect("written");
        assert_eq!(count(), 1);
        drop(file);
        assert_eq!(count(), 0);
        let mut file = Unfinished::beside(&target).expect("created");
        file.write_all(b"whole").expect("written");
        file.finish(&target).expect("renamed");
        assert_eq!(count(), 1);
        assert_eq!(std::fs::read(&target).expect("there"), b"whole");
        #[cfg(unix)]
        {
            use std::os::unix::fs::{PermissionsExt, symlink};
            std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o600)).expect("changed");
            std::fs::create_dir(folder.path().join("other")).expect("made");
            let link = folder.path().join("other/link");
            symlink(&target, &link).expect("made");
            write_whole(&link, b"again").expect("written");
            assert!(link.is_symlink() && std::fs::read(&target).expect("there") == b"again", "the link stays");
            let mode = std::fs::metadata(&target).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "it stays as private as it was");
        }
        assert!(!unfinished().iter().any(|file| file.starts_with(folder.path())));
    }
}
