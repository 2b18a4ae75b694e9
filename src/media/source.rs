//! Where a medium comes from, and how much of it may be taken in.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::error::{MediaError, MediaProblem};
use super::sniff::{MediaKind, PictureFormat, SNIFF_BYTES, foreign, readable, sniff};

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
    /// Standard input, to its end. It can be read only once: [`Source::fetch`] it before looking at its kind.
    Stdin,
    /// A temporary file, deleted with its last copy, and a name for messages: what [`Source::fetch`] makes of a clip, and
    /// [`Source::fetch_any`] of a document.
    Temporary {
        /// The name for messages.
        name: String,
        /// The file.
        file: Arc<tempfile::TempPath>,
    },
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
            Source::Bytes { name, .. } | Source::Temporary { name, .. } => name.clone(),
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

    /// The same source, except that what can be read only once, standard input or a named pipe, has been read into
    /// memory (a picture) or to a temporary file (a clip).
    ///
    /// # Errors
    /// If what is read is empty, of no known format or exceeds `limits`, or reading or storing it fails.
    pub fn fetch(self, limits: &Limits) -> Result<Source, MediaError> {
        self.fetched(limits, false)
    }

    /// As [`Source::fetch`], and takes in PDF documents, too, as it does clips.
    ///
    /// # Errors
    /// As [`Source::fetch`].
    pub fn fetch_any(self, limits: &Limits) -> Result<Source, MediaError> {
        self.fetched(limits, true)
    }

    fn fetched(self, limits: &Limits, documents: bool) -> Result<Source, MediaError> {
        let name = self.name();
        let fetched = match &self {
            Source::Stdin => fetch(io::stdin().lock(), &name, limits, documents),
            Source::Path(path) if is_pipe(path) => open(path).and_then(|pipe| fetch(pipe, &name, limits, documents)),
            _ => return Ok(self),
        };
        fetched.map_err(|problem| MediaError::from(problem).at(&name))
    }

    /// SHA-256 of the source's bytes; not of [`Source::Stdin`], which that would consume.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn sha256(&self) -> Result<[u8; 32], MediaError> {
        let hash = FileData::of(self).and_then(|data| data.sha256());
        hash.map_err(|problem| MediaError::from(problem).at(&self.name()))
    }

    /// Its first bytes, all that tell its kind.
    pub(super) fn head(&self) -> Result<Vec<u8>, MediaProblem> {
        match self {
            Source::Path(path) => read_head(path),
            Source::Temporary { file, .. } => read_head(file),
            Source::Stdin => Err(io::Error::from(io::ErrorKind::Unsupported).into()),
            Source::Bytes { bytes, .. } => Ok(bytes[..bytes.len().min(SNIFF_BYTES)].to_vec()),
        }
    }

    /// The bytes of a picture, at most `limit` of them.
    pub(super) fn read_picture(&self, limit: u64) -> Result<Arc<[u8]>, MediaProblem> {
        let bytes: Arc<[u8]> = match self {
            Source::Path(path) => read_file(path, limit)?.into(),
            Source::Temporary { file, .. } => read_file(file, limit)?.into(),
            Source::Stdin => read_bounded(io::stdin().lock(), limit)?.into(),
            Source::Bytes { bytes, .. } => Arc::clone(bytes),
        };
        if bytes.is_empty() { Err(MediaProblem::Empty) } else { Ok(bytes) }
    }
}

/// A clip's bytes, which are read several times.
#[derive(Clone, Debug)]
pub(super) enum FileData {
    Path(PathBuf),
    Temporary(Arc<tempfile::TempPath>),
    Bytes(Arc<[u8]>),
}

/// What a clip is read through.
pub(super) trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

impl FileData {
    /// The data of a source, which must not be standard input.
    pub(super) fn of(source: &Source) -> Result<FileData, MediaProblem> {
        match source {
            Source::Path(path) => open(path).map(|_| FileData::Path(path.clone())),
            Source::Stdin => Err(io::Error::from(io::ErrorKind::Unsupported).into()),
            Source::Temporary { file, .. } => Ok(FileData::Temporary(Arc::clone(file))),
            Source::Bytes { bytes, .. } => Ok(FileData::Bytes(Arc::clone(bytes))),
        }
    }

    /// A reader from the beginning.
    pub(super) fn open(&self) -> Result<Box<dyn ReadSeek>, MediaProblem> {
        Ok(match self {
            FileData::Path(path) => Box::new(open(path)?),
            FileData::Temporary(path) => Box::new(open(path)?),
            FileData::Bytes(bytes) => Box::new(Cursor::new(Arc::clone(bytes))),
        })
    }

    /// SHA-256 of all bytes.
    pub(super) fn sha256(&self) -> Result<[u8; 32], MediaProblem> {
        let mut hash = Sha256::new();
        io::copy(&mut self.open()?, &mut hash)?;
        Ok(hash.finalize().into())
    }
}

/// Whether a path leads to something that isn't stored, such as a pipe or a device.
fn is_pipe(path: &Path) -> bool {
    path.metadata().is_ok_and(|what| !what.is_file() && !what.is_dir())
}

/// Where clips and documents from standard input and other pipes went.
static PIPED_CLIPS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// The temporary files of clips and documents from pipes, for who ends the program without dropping what it holds.
pub fn piped_clips() -> Vec<PathBuf> {
    PIPED_CLIPS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Takes in what can be read only once.
fn fetch(mut from: impl Read, name: &str, limits: &Limits, documents: bool) -> Result<Source, MediaProblem> {
    let mut head = Vec::new();
    (&mut from).take(SNIFF_BYTES as u64).read_to_end(&mut head)?;
    let name = name.to_owned();
    let kind = if documents && is_document(&head) { None } else { Some(known(&head)?) };
    match kind {
        Some(MediaKind::Picture(_)) => {
            let bytes = read_bounded(Cursor::new(head).chain(from), limits.max_picture_bytes)?;
            Ok(Source::Bytes { name, bytes: bytes.into() })
        }
        // What is read several times.
        None | Some(MediaKind::Clip(_)) => {
            let limit = limits.max_piped_clip_bytes;
            let mut file = tempfile::NamedTempFile::new()?;
            PIPED_CLIPS.lock().unwrap_or_else(PoisonError::into_inner).push(file.path().to_path_buf());
            let length = io::copy(&mut Cursor::new(head).chain(from).take(limit.saturating_add(1)), &mut file)?;
            if length > limit {
                return Err(MediaProblem::FileTooLarge { limit });
            }
            Ok(Source::Temporary { name, file: Arc::new(file.into_temp_path()) })
        }
    }
}

/// Whether a file that begins with `head` is a PDF document.
pub(super) fn is_document(head: &[u8]) -> bool {
    head.starts_with(b"%PDF-")
}

fn read_head(path: &Path) -> Result<Vec<u8>, MediaProblem> {
    let mut head = Vec::new();
    open(path)?.take(SNIFF_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, MediaProblem> {
    let file = open(path)?;
    // A regular file's length is known; others (pipes, devices) are caught by the bounded read.
    if file.metadata()?.len() > limit {
        return Err(MediaProblem::FileTooLarge { limit });
    }
    read_bounded(file, limit)
}

/// The kind of a file that begins with `head`, or what is wrong with it.
pub(super) fn known(head: &[u8]) -> Result<MediaKind, MediaProblem> {
    if head.is_empty() {
        return Err(MediaProblem::Empty);
    }
    sniff(head).ok_or_else(|| match foreign(head) {
        Some((format, target)) => MediaProblem::ForeignFormat { format, target },
        None => MediaProblem::UnknownFormat {
            found: readable(head),
            known: PictureFormat::ALL.map(PictureFormat::name).join(", "),
        },
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
        let document = Source::Bytes { name: "a.pdf".to_owned(), bytes: Arc::from(*b"%PDF-1.7 ...") };
        let line = document.kind().expect_err("a document").to_string();
        assert_eq!(
            line,
            "a.pdf: is a PDF document, which can't be read here; convert it to pictures of its pages, or let `qlens parse` read it"
        );
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
    fn pipes_are_taken_in_whole() {
        let limits = Limits { max_picture_bytes: 600, max_piped_clip_bytes: 5000, ..Limits::default() };
        let picture = [b"GIF89a".as_slice(), &[7; 594]].concat();
        let fetched = fetch(&picture[..], "pipe", &limits, false).expect("small enough");
        assert_eq!(*fetched.read_picture(600).expect("in memory"), picture[..]);
        assert!(fetch(&[&picture[..], b"x"].concat()[..], "pipe", &limits, false).is_err(), "a byte too many");

        // Documents, where they are wanted.
        let document = [b"%PDF-1.7".as_slice(), &[9; 92]].concat();
        let fetched = fetch(&document[..], "pipe", &limits, true).expect("small enough");
        assert_eq!(*fetched.read_picture(600).expect("stored"), document[..]);
        assert!(fetch(&document[..], "pipe", &limits, false).is_err(), "a document where none is wanted");

        let clip = [b"\x1a\x45\xdf\xa3".as_slice(), &[9; 4996]].concat();
        let fetched = fetch(&clip[..], "pipe", &limits, false).expect("small enough");
        assert_eq!(fetched.kind().expect("known"), MediaKind::Clip("Matroska or WebM"));
        let mut back = Vec::new();
        FileData::of(&fetched).and_then(|d| d.open()).expect("stored").read_to_end(&mut back).expect("readable");
        assert_eq!(back, clip);
        assert!(fetch(&[&clip[..], b"x"].concat()[..], "pipe", &limits, false).is_err(), "a byte too many");
        assert!(matches!(fetch(&b""[..], "pipe", &limits, false), Err(MediaProblem::Empty)));
        #[cfg(unix)]
        assert!(is_pipe(Path::new("/dev/null")) && !is_pipe(Path::new("/")) && !is_pipe(Path::new("/missing")));
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
