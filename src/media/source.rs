//! Where a medium comes from, and how much of it may be taken in.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{MediaError, MediaProblem};
use super::sniff::{MediaKind, PictureFormat, SNIFF_BYTES, readable, sniff};

/// How large a medium may be. Checked before memory for it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Pixels of a decoded picture (and a quarter of its bytes, which counts where pixels are wider than 4 bytes).
    pub max_pixels: u64,
    /// Bytes of a picture file, or of a picture on standard input.
    pub max_picture_bytes: u64,
    /// Bytes of a clip on standard input, which goes to a temporary file.
    pub max_piped_clip_bytes: u64,
}

impl Default for Limits {
    /// 178,956,970 pixels (where Pillow refuses too: 512 MiB in RGB), 1 GiB of picture, 8 GiB of piped clip.
    fn default() -> Limits {
        Limits { max_pixels: 178_956_970, max_picture_bytes: 1 << 30, max_piped_clip_bytes: 8 << 30 }
    }
}

impl Limits {
    /// Checks a size claimed by a header.
    pub(super) fn check_size(&self, width: u64, height: u64, total_bytes: u64) -> Result<(), MediaProblem> {
        if width == 0 || height == 0 {
            return Err(MediaProblem::NoPixels { width, height });
        }
        let pixels = width.checked_mul(height);
        if pixels.is_none_or(|n| n > self.max_pixels) || total_bytes / 4 > self.max_pixels {
            return Err(MediaProblem::TooManyPixels { width, height, limit: self.max_pixels });
        }
        Ok(())
    }
}

/// What the reader named: a file, standard input, or bytes at hand.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file.
    Path(PathBuf),
    /// Standard input, to its end.
    Stdin,
    /// Bytes at hand, with a name for messages.
    Bytes {
        /// The name for messages.
        name: String,
        /// The whole file.
        bytes: Arc<[u8]>,
    },
}

impl Source {
    /// The source that a command line's argument names: `-` is standard input.
    pub fn from_arg(arg: &OsStr) -> Source {
        if arg == "-" { Source::Stdin } else { Source::Path(PathBuf::from(arg)) }
    }

    /// The name for messages.
    pub fn name(&self) -> String {
        match self {
            Source::Path(path) => path.display().to_string(),
            Source::Stdin => "standard input".to_owned(),
            Source::Bytes { name, .. } => name.clone(),
        }
    }

    /// What the source holds, by its content.
    ///
    /// # Errors
    /// If it can't be read, is empty or of no known format; for [`Source::Stdin`] also an I/O error of kind
    /// `Unsupported`, since looking would consume it.
    pub fn kind(&self) -> Result<MediaKind, MediaError> {
        self.head().and_then(|head| known(&head)).map_err(|problem| MediaError::from(problem).at(&self.name()))
    }

    fn head(&self) -> Result<Vec<u8>, MediaProblem> {
        match self {
            Source::Path(path) => {
                let mut head = Vec::new();
                open(path)?.take(SNIFF_BYTES as u64).read_to_end(&mut head)?;
                Ok(head)
            }
            Source::Stdin => Err(io::Error::from(io::ErrorKind::Unsupported).into()),
            Source::Bytes { bytes, .. } => Ok(bytes[..bytes.len().min(SNIFF_BYTES)].to_vec()),
        }
    }

    /// The bytes of a picture, at most `limit` of them.
    pub(super) fn read_picture(&self, limit: u64) -> Result<Arc<[u8]>, MediaProblem> {
        let bytes: Arc<[u8]> = match self {
            Source::Path(path) => {
                let file = open(path)?;
                // A regular file's length is known; others (pipes, devices) are caught by the bounded read.
                if file.metadata()?.len() > limit {
                    return Err(MediaProblem::FileTooLarge { limit });
                }
                read_bounded(file, limit)?.into()
            }
            Source::Stdin => read_bounded(io::stdin().lock(), limit)?.into(),
            Source::Bytes { bytes, .. } => Arc::clone(bytes),
        };
        if bytes.is_empty() { Err(MediaProblem::Empty) } else { Ok(bytes) }
    }
}

/// The kind of a file that begins with `head`, or what is wrong with it.
pub(super) fn known(head: &[u8]) -> Result<MediaKind, MediaProblem> {
    if head.is_empty() {
        return Err(MediaProblem::Empty);
    }
    sniff(head).ok_or_else(|| MediaProblem::UnknownFormat {
        found: readable(head),
        known: PictureFormat::ALL.map(PictureFormat::name).join(", "),
    })
}

/// Opens a file for reading, telling apart the ways in which it may not be there.
pub(super) fn open(path: &Path) -> Result<File, MediaProblem> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidInput => MediaProblem::NotFound,
        io::ErrorKind::PermissionDenied => MediaProblem::NotReadable,
        io::ErrorKind::IsADirectory => MediaProblem::Directory,
        _ => MediaProblem::Read { source: error },
    })?;
    // Unix opens directories for reading without complaint.
    if file.metadata()?.is_dir() { Err(MediaProblem::Directory) } else { Ok(file) }
}

fn read_bounded(from: impl Read, limit: u64) -> Result<Vec<u8>, MediaProblem> {
    let mut bytes = Vec::new();
    from.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(MediaProblem::FileTooLarge { limit }) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::MediaErrorKind;

    #[test]
    fn each_way_of_not_being_there() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let kind_of = |path: &Path| Source::Path(path.to_owned()).kind().map_err(|e| (e.kind(), e.to_string()));
        let missing = folder.path().join("missing.png");
        assert_eq!(kind_of(&missing), Err((MediaErrorKind::NoInput, format!("{}: no such file", missing.display()))));
        let (kind, line) = kind_of(folder.path()).expect_err("a directory");
        assert!(kind == MediaErrorKind::NoInput && line.ends_with(": is a directory; name the files in it"), "{line}");
        let empty = folder.path().join("empty.png");
        std::fs::write(&empty, b"").expect("writable");
        let (kind, line) = kind_of(&empty).expect_err("empty");
        assert!(kind == MediaErrorKind::BadContent && line.ends_with(": the file is empty"), "{line}");
        let text = folder.path().join("text.jpg");
        std::fs::write(&text, b"hello, world").expect("writable");
        let (kind, line) = kind_of(&text).expect_err("text");
        assert!(kind == MediaErrorKind::BadContent && line.contains("begins with \"hello, world\""), "{line}");
    }

    #[test]
    fn reading_is_bounded() {
        assert!(matches!(read_bounded(io::repeat(7), 1000), Err(MediaProblem::FileTooLarge { limit: 1000 })));
        assert_eq!(read_bounded(&b"abc"[..], 3).expect("fits").len(), 3);
    }

    #[test]
    fn size_limits() {
        let limits = Limits::default();
        assert!(limits.check_size(4000, 3000, 36_000_000).is_ok());
        assert!(matches!(limits.check_size(60_000, 60_000, 0), Err(MediaProblem::TooManyPixels { .. })));
        assert!(matches!(limits.check_size(u64::MAX, 2, 0), Err(MediaProblem::TooManyPixels { .. })));
        assert!(matches!(limits.check_size(0, 7, 0), Err(MediaProblem::NoPixels { width: 0, height: 7 })));
        // 16 bytes a pixel: fewer pixels fit.
        assert!(limits.check_size(10_000, 10_000, 1_600_000_000).is_err());
    }
}
