//! A file that is being downloaded: the bytes in `FILE.part`, and beside it in `FILE.part.json` which of them have come.
//!
//! The order is what makes it safe to end at any moment: bytes are written before they are noted, the note is replaced as
//! a whole, and the file gets its name only when all of it has been read back and has the right SHA-256. A note that
//! doesn't fit is thrown away with the bytes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::StoreError;
use super::hub::RemoteFile;

/// Bytes that are fetched and noted as one.
pub(super) const CHUNK: u64 = 8 << 20;

/// The note.
#[derive(Serialize, Deserialize, PartialEq)]
struct Note {
    sha256: String,
    size: u64,
    chunk: u64,
    /// `1` for each chunk that has come, else `0`.
    done: String,
}

/// A download under way. Nobody else can have the same one open.
pub(super) struct Partial {
    target: PathBuf,
    part: PathBuf,
    note_path: PathBuf,
    file: File,
    sha256: String,
    size: u64,
    done: Vec<bool>,
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

impl Partial {
    /// Opens what has come so far of `remote`, or begins.
    ///
    /// # Errors
    /// The folder can't be written to, or another process has it open.
    pub fn open(target: &Path, remote: &RemoteFile) -> Result<Partial, StoreError> {
        let (part, note_path) = (with_suffix(target, ".part"), with_suffix(target, ".part.json"));
        let io = |path: &Path, source| StoreError::Io { path: path.to_path_buf(), source };
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(|e| io(folder, e))?;
        }
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&part);
        let file = opened.map_err(|e| io(&part, e))?;
        match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) => return Err(StoreError::Busy { path: part }),
            // Some network file systems have no locks; they have no second qlens either, mostly.
            Ok(()) | Err(fs::TryLockError::Error(_)) => {}
        }
        let chunks = usize::try_from(remote.size.div_ceil(CHUNK)).unwrap_or(usize::MAX);
        let length = file.metadata().map_err(|e| io(&part, e))?.len();
        let noted = fs::read(&note_path).ok().and_then(|bytes| serde_json::from_slice::<Note>(&bytes).ok());
        let noted = noted.filter(|n| {
            (&n.sha256, n.size, n.chunk) == (&remote.sha256, remote.size, CHUNK)
                && n.done.len() == chunks
                && length == remote.size
        });
        let done = match noted {
            Some(note) => note.done.bytes().map(|b| b == b'1').collect(),
            None => vec![false; chunks],
        };
        let (sha256, size) = (remote.sha256.clone(), remote.size);
        Ok(Partial { target: target.to_path_buf(), part, note_path, file, sha256, size, done })
    }

    /// Gives the file its length, once it is known that the disk has room.
    pub fn make_room(&self) -> Result<(), StoreError> {
        self.file.set_len(self.size).map_err(|source| StoreError::Io { path: self.part.clone(), source })
    }

    /// The chunks that are still to come.
    pub fn missing(&self) -> Vec<usize> {
        (0..self.done.len()).filter(|&i| !self.done[i]).collect()
    }

    /// Where chunk `i` begins and ends.
    pub fn span(&self, i: usize) -> (u64, u64) {
        let start = i as u64 * CHUNK;
        (start, (start + CHUNK).min(self.size))
    }

    /// Bytes that have come.
    pub fn bytes_done(&self) -> u64 {
        (0..self.done.len()).filter(|&i| self.done[i]).map(|i| self.span(i).1 - self.span(i).0).sum()
    }

    /// The unfinished file.
    pub fn path(&self) -> &Path {
        &self.part
    }

    /// Where it lies.
    pub fn folder(&self) -> &Path {
        self.part.parent().unwrap_or(Path::new("."))
    }

    /// Another handle to write the bytes through, from any thread.
    pub fn writer(&self) -> Result<File, StoreError> {
        self.file.try_clone().map_err(|source| StoreError::Io { path: self.part.clone(), source })
    }

    /// Notes that chunk `i` has come; its bytes must have been written.
    pub fn note(&mut self, i: usize) -> Result<(), StoreError> {
        self.done[i] = true;
        let done = self.done.iter().map(|&d| if d { '1' } else { '0' }).collect();
        let note = Note { sha256: self.sha256.clone(), size: self.size, chunk: CHUNK, done };
        let io = |source| StoreError::Io { path: self.note_path.clone(), source };
        let bytes = serde_json::to_vec(&note).map_err(|e| io(e.into()))?;
        let beside = with_suffix(&self.note_path, ".new");
        fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, &self.note_path)).map_err(io)
    }

    /// Reads it all back; if it is what was promised, it gets its name, else it is gone.
    ///
    /// # Errors
    /// [`StoreError::Checksum`], or the disk fails.
    pub fn finish(self, read: &mut dyn FnMut(u64)) -> Result<(), StoreError> {
        let io = |source| StoreError::Io { path: self.part.clone(), source };
        let found = sha256_of(&self.part, read).map_err(io)?;
        if found != self.sha256 {
            let file = self.target.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let wanted = self.sha256.clone();
            self.discard();
            return Err(StoreError::Checksum { file, found, wanted });
        }
        self.file.sync_all().map_err(io)?;
        fs::rename(&self.part, &self.target).map_err(io)?;
        let _ = fs::remove_file(&self.note_path);
        #[cfg(unix)]
        if let Some(folder) = self.target.parent() {
            // So that the new name outlives a power cut; not all file systems can.
            let _ = File::open(folder).and_then(|f| f.sync_all());
        }
        Ok(())
    }

    /// Throws away what has come.
    pub fn discard(self) {
        // The note first: bytes without a note are begun anew.
        let _ = fs::remove_file(&self.note_path);
        let _ = fs::remove_file(&self.part);
    }
}

/// Writes all of `bytes` at this place in the file, from any thread.
pub(super) fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    #[cfg(unix)]
    {
        std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
    }
    #[cfg(windows)]
    {
        let (mut bytes, mut at) = (bytes, at);
        while !bytes.is_empty() {
            let n = std::os::windows::fs::FileExt::seek_write(file, bytes, at)?;
            (bytes, at) = (&bytes[n..], at + n as u64);
        }
        Ok(())
    }
}

/// SHA-256 of a file in hexadecimal; `read` is told the bytes read so far.
pub(super) fn sha256_of(path: &Path, read: &mut dyn FnMut(u64)) -> io::Result<String> {
    let mut file = File::open(path)?;
    let (mut hash, mut buffer, mut total) = (Sha256::new(), vec![0; 1 << 20], 0);
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect());
        }
        hash.update(&buffer[..n]);
        total += n as u64;
        read(total);
    }
}
