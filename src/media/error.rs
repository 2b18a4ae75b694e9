//! What can be wrong with a picture or a clip, and which of the program's exit codes that is.

use std::fmt;
use std::io;

use super::sniff::PictureFormat;

/// A problem with one medium: which one (where known), and what is wrong with it.
///
/// Displays as one line, `NAME: problem; what to do`.
#[derive(Debug)]
pub struct MediaError {
    place: Option<String>,
    problem: MediaProblem,
}

impl MediaError {
    /// The same problem, blamed on the medium called `name`. An error that has a place already keeps it.
    pub fn at(mut self, name: &str) -> MediaError {
        self.place.get_or_insert_with(|| name.to_owned());
        self
    }

    /// The medium's name, where known.
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// What is wrong.
    pub fn problem(&self) -> &MediaProblem {
        &self.problem
    }

    /// The class of the problem, from which the exit code follows.
    pub fn kind(&self) -> MediaErrorKind {
        use MediaProblem as P;
        match &self.problem {
            P::NotFound | P::Directory | P::NotReadable => MediaErrorKind::NoInput,
            P::Read { .. } => MediaErrorKind::Io,
            P::EmptyBudget { .. }
            | P::BudgetTooLarge { .. }
            | P::FrameCounts { .. }
            | P::FrameRate { .. }
            | P::PartOutside { .. }
            | P::NoPage { .. }
            | P::TooFewTokens { .. } => MediaErrorKind::Usage,
            P::Empty
            | P::FileTooLarge { .. }
            | P::UnknownFormat { .. }
            | P::ForeignFormat { .. }
            | P::ClipNotPicture { .. }
            | P::PictureNotClip { .. }
            | P::Truncated { .. }
            | P::Damaged { .. }
            | P::Unsupported { .. }
            | P::TooManyPixels { .. }
            | P::NoPixels { .. }
            | P::NoFrames
            | P::ClipDamaged { .. }
            | P::NoVideoStream
            | P::Codec { .. }
            | P::TooManyFrames { .. }
            | P::SizesDiffer { .. }
            | P::NotCompiled
            | P::AspectRatio { .. }
            | P::DocumentDamaged { .. }
            | P::DocumentLocked => MediaErrorKind::BadContent,
            P::NoPoppler { .. } => MediaErrorKind::Missing,
        }
    }
}

impl fmt::Display for MediaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.problem),
            None => self.problem.fmt(f),
        }
    }
}

impl std::error::Error for MediaError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.problem)
    }
}

impl From<MediaProblem> for MediaError {
    fn from(problem: MediaProblem) -> MediaError {
        MediaError { place: None, problem }
    }
}

/// The class of a [`MediaError`], as the exit codes distinguish them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaErrorKind {
    /// There is no such input, or it isn't a file that may be read (exit code 66).
    NoInput,
    /// The input is there, but its content is bad, too large or of a kind that isn't known (exit code 65).
    BadContent,
    /// Reading failed half way (exit code 74).
    Io,
    /// An option's value can't be met (exit code 2).
    Usage,
    /// A program that is needed isn't installed (exit code 1).
    Missing,
}

/// What is wrong with a medium.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaProblem {
    /// The path leads nowhere.
    #[error("no such file")]
    NotFound,
    /// The path is a directory.
    #[error("is a directory; name the files in it")]
    Directory,
    /// The file may not be read.
    #[error("permission denied")]
    NotReadable,
    /// The system failed to read.
    #[error("reading failed: {source}")]
    Read {
        /// The system's reason.
        #[from]
        source: io::Error,
    },
    /// Nothing in it.
    #[error("the file is empty")]
    Empty,
    /// More bytes than [`super::Limits`] allow.
    #[error("larger than {limit} bytes, the most that is read")]
    FileTooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The first bytes belong to no known format.
    #[error("neither a picture nor a clip of a known format (it begins with {found}; pictures may be {known})")]
    UnknownFormat {
        /// The first bytes, readable.
        found: String,
        /// The names of the formats that are known.
        known: String,
    },
    /// A format that is known by name only.
    #[error("is a {format}, which can't be read here; convert it to {target}")]
    ForeignFormat {
        /// What it is.
        format: &'static str,
        /// What it can be converted to.
        target: &'static str,
    },
    /// A clip where a picture is wanted.
    #[error("is a clip ({container}), not a picture")]
    ClipNotPicture {
        /// The clip's container format.
        container: &'static str,
    },
    /// A still picture where a clip is wanted.
    #[error("is a {format} picture, not a clip")]
    PictureNotClip {
        /// The picture's format.
        format: PictureFormat,
    },
    /// The data end early.
    #[error("the {format} data end early: the file is truncated; get a complete copy")]
    Truncated {
        /// The file's format, by its content.
        format: PictureFormat,
    },
    /// The decoder gave up.
    #[error("damaged {format} data: {detail}")]
    Damaged {
        /// The file's format, by its content.
        format: PictureFormat,
        /// The decoder's reason.
        detail: String,
    },
    /// Valid, but of a kind that can't be decoded here.
    #[error("this kind of {format} isn't supported ({detail}); convert it, e.g. to PNG")]
    Unsupported {
        /// The file's format, by its content.
        format: PictureFormat,
        /// The decoder's reason.
        detail: String,
    },
    /// The header claims more pixels than [`super::Limits`] allow.
    #[error("{width}x{height} pixels are more than the {limit} that are accepted; scale it down first")]
    TooManyPixels {
        /// Claimed width in pixels.
        width: u64,
        /// Claimed height in pixels.
        height: u64,
        /// The limit, in pixels.
        limit: u64,
    },
    /// A side of no length.
    #[error("{width}x{height} pixels: there is nothing to see")]
    NoPixels {
        /// Claimed width in pixels.
        width: u64,
        /// Claimed height in pixels.
        height: u64,
    },
    /// Too long and thin for the model.
    #[error(
        "{width}x{height} pixels: one side is more than {limit} times the other, which the model can't take; crop it"
    )]
    AspectRatio {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// The largest ratio.
        limit: usize,
    },
    /// A pixel budget that no size meets.
    #[error("the pixel budget is empty: at least {min_pixels} but at most {max_pixels} pixels")]
    EmptyBudget {
        /// The lower bound, in pixels.
        min_pixels: usize,
        /// The upper bound, in pixels.
        max_pixels: usize,
    },
    /// A pixel budget that asks for more than can be held.
    #[error("the pixel budget asks for {width}x{height} pixels; at most {limit} can be encoded; lower it")]
    BudgetTooLarge {
        /// Resized width in pixels.
        width: usize,
        /// Resized height in pixels.
        height: usize,
        /// The limit, in pixels.
        limit: usize,
    },
    /// A clip in which no frame could be decoded.
    #[error("the clip has no frames that can be decoded")]
    NoFrames,
    /// A frame rate that is none.
    #[error("{what} is {fps}; it must be a positive number")]
    FrameRate {
        /// Whose rate it is.
        what: &'static str,
        /// The rate, in frames a second.
        fps: f64,
    },
    /// Bounds that no number of frames meets.
    #[error(
        "no number of frames is at least {min_frames} and at most {max_frames} (both even; at most must be 2 or more)"
    )]
    FrameCounts {
        /// The lower bound.
        min_frames: usize,
        /// The upper bound.
        max_frames: usize,
    },
    /// A part that isn't in the clip.
    #[error("the part from {start:.2} s to {end:.2} s isn't in it: the clip lasts {duration:.2} s")]
    PartOutside {
        /// Where the part begins, in seconds.
        start: f64,
        /// Where it ends, in seconds.
        end: f64,
        /// How long the clip is, in seconds.
        duration: f64,
    },
    /// A container that ffmpeg can't read.
    #[error("the clip is damaged or truncated and can't be opened ({detail}); get a complete copy")]
    ClipDamaged {
        /// The library's reason.
        detail: String,
    },
    /// A file without moving pictures.
    #[error("there are no moving pictures in it")]
    NoVideoStream,
    /// A codec that isn't supported, or a stream that its decoder refuses.
    #[error("the {codec} video in it can't be decoded ({detail})")]
    Codec {
        /// The codec's name.
        codec: String,
        /// The library's reason.
        detail: String,
    },
    /// More frames than can be kept in mind.
    #[error("the clip has more than {limit} frames; cut it first")]
    TooManyFrames {
        /// The limit.
        limit: usize,
    },
    /// A picture in a list that differs from the first.
    #[error("{width}x{height} pixels, but the first picture of the clip has {first_width}x{first_height}")]
    SizesDiffer {
        /// Width of the picture in pixels.
        width: usize,
        /// Height of the picture in pixels.
        height: usize,
        /// Width of the first picture in pixels.
        first_width: usize,
        /// Height of the first picture in pixels.
        first_height: usize,
    },
    /// The program was built without the feature `video`.
    #[error("this program was compiled without video; it reads pictures only")]
    NotCompiled,
    /// A document whose pages nothing here can draw.
    #[error(
        "PDF documents are read with {program}, which isn't installed here: install poppler's programs \
         (Debian, Ubuntu, Fedora: poppler-utils; Arch, Homebrew: poppler)"
    )]
    NoPoppler {
        /// The program.
        program: String,
    },
    /// A document that poppler refuses.
    #[error("the document is damaged or can't be drawn ({detail})")]
    DocumentDamaged {
        /// Its reason.
        detail: String,
    },
    /// A document that wants a password.
    #[error("the document is locked with a password; save a copy without one")]
    DocumentLocked,
    /// A page that isn't there.
    #[error("there is no page {number}: the document has {pages}")]
    NoPage {
        /// The page asked for.
        number: usize,
        /// How many there are.
        pages: usize,
    },
    /// A bound of tokens below the least that a clip can have.
    #[error("at most {max_tokens} tokens are too few: two frames of it take at least {needed}")]
    TooFewTokens {
        /// The bound.
        max_tokens: usize,
        /// The least.
        needed: usize,
    },
}
