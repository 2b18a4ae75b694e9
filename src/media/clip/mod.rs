//! Video files through the ffmpeg libraries; the only folder that names them.
//!
//! Without the feature `video`, a twin stands in that refuses every file.

#[cfg(feature = "video")]
mod aspect;
#[cfg(feature = "video")]
mod convert;
#[cfg(feature = "video")]
mod decode;
#[cfg(not(feature = "video"))]
mod missing;
#[cfg(feature = "video")]
mod open;
#[cfg(feature = "video")]
mod yuv;

use super::rgb::{Rgb8, Turn};

#[cfg(feature = "video")]
pub(super) use decode::{VideoFile, VideoFrames};
#[cfg(not(feature = "video"))]
pub(super) use missing::{VideoFile, VideoFrames};

/// What a clip's file says about itself, and when its frames are shown.
pub(super) struct Probe {
    pub container: String,
    pub codec: String,
    /// Stored width and height in pixels.
    pub stored: (usize, usize),
    /// Width of a pixel over its height.
    pub pixel_aspect: f64,
    pub turn: Turn,
    /// Seconds at which frames are shown, ascending; empty if the file gives frames no times.
    pub times: Vec<f64>,
    pub n_frames: usize,
    /// How long the last frame is shown, in seconds.
    pub last_seconds: Option<f64>,
    /// Frames a second as the header claims.
    pub fps: Option<f64>,
    /// Frames and seconds as the header claims.
    pub claimed: (Option<usize>, Option<f64>),
    /// Where the last packet ends, sound included, in seconds.
    pub end_seconds: f64,
}

/// One decoded frame.
pub(super) struct Decoded {
    pub image: Rgb8,
    /// Whether it is the wanted frame itself, not its neighbour in place of one that can't be decoded.
    pub exact: bool,
}
