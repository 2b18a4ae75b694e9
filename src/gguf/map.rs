//! Where a file's bytes live: mapped, in the program, or in memory.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use memmap2::{Mmap, MmapMut};

use super::GgufError;

/// Bytes that several views share.
#[derive(Clone, Debug)]
pub(super) enum Storage {
    Mapped(Arc<Mmap>),
    Static(&'static [u8]),
    Owned(Arc<Vec<u8>>),
}

impl Storage {
    /// Maps a file read-only.
    pub fn map(path: &Path) -> Result<Storage, GgufError> {
        let io = |source| GgufError::Io { path: path.to_path_buf(), source };
        // Looked at before it is opened: opening a pipe would wait for somebody to write into it.
        let meta = std::fs::metadata(path).map_err(io)?;
        if meta.is_dir() {
            return Err(io(std::io::Error::new(std::io::ErrorKind::IsADirectory, "is a folder, not a GGUF file")));
        }
        if !meta.is_file() {
            return Err(io(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                "is a pipe or device; a GGUF file must be a file on disk, as it is mapped",
            )));
        }
        let file = File::open(path).map_err(io)?;
        if meta.len() == 0 {
            return Err(GgufError::Format { file: path.display().to_string(), problem: "the file is empty".into() });
        }
        // SAFETY: the mapping is read-only. Another process that shortens the file meanwhile can make reads fail with
        // SIGBUS, one that changes it can change numbers; every offset was checked against the mapped length, and block
        // types have no invalid bit patterns, so neither can reach memory outside the mapping.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        // A file that is read from disk through this map comes in pages of 2 MB, where the system and the file system can
        // do that; they stay for the next program. Weights are read half as fast again then: a page of 4 KB is looked up
        // for every few rows otherwise. Nothing is asked for ahead of time: what `WILLNEED` brings are small pages, and
        // small tensors all over the file would leave every fifth of its large pages in pieces.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Storage::Mapped(Arc::new(map)))
    }

    /// Tells the system that it may take the memory of these bytes back: they come from the file again when they are read.
    pub fn give_back(&self, range: Range<usize>) {
        #[cfg(unix)]
        if let Storage::Mapped(map) = self {
            let (start, len) = (range.start, range.len());
            // SAFETY: the mapping is a file's and read-only, so that dropped pages come back with the file's bytes: what
            // anyone reads stays the same.
            let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start, len) };
        }
        let _ = range;
    }

    pub fn bytes(&self) -> &[u8] {
        match self {
            Storage::Mapped(m) => m,
            Storage::Static(s) => s,
            Storage::Owned(v) => v,
        }
    }
}

/// Memory in pages of 2 MB where the system has them, as mapped files get.
#[derive(Debug)]
pub(crate) struct LargePages(MmapMut);

impl LargePages {
    /// `len` zeros; `None` where there is no such memory.
    pub fn zeroed(len: usize) -> Option<LargePages> {
        let map = MmapMut::map_anon(len).ok()?;
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Some(LargePages(map))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// A part of a [`Storage`], kept alive by it.
#[derive(Clone, Debug)]
pub(super) struct SharedBytes {
    storage: Storage,
    range: Range<usize>,
}

impl SharedBytes {
    /// # Panics
    /// The range is outside the storage.
    pub fn new(storage: Storage, range: Range<usize>) -> SharedBytes {
        assert!(range.start <= range.end && range.end <= storage.bytes().len());
        SharedBytes { storage, range }
    }

    /// All of these bytes.
    pub fn owned(bytes: Vec<u8>) -> SharedBytes {
        let n = bytes.len();
        SharedBytes::new(Storage::Owned(Arc::new(bytes)), 0..n)
    }

    /// As [`Storage::give_back`].
    pub fn give_back(&self) {
        self.storage.give_back(self.range.clone());
    }

    pub fn bytes(&self) -> &[u8] {
        &self.storage.bytes()[self.range.clone()]
    }

    /// # Panics
    /// The range is outside this part.
    pub fn slice(&self, range: Range<usize>) -> SharedBytes {
        assert!(range.start <= range.end && range.end <= self.range.len());
        let start = self.range.start + range.start;
        SharedBytes::new(self.storage.clone(), start..start + range.len())
    }
}
