//! What stands in for clips where the program is built without the feature `video`.

use super::error::MediaProblem;
use super::rgb::{Rgb8, Turn};
use super::source::{FileData, Limits};

/// As with the feature; never made.
pub(super) struct Probe {
    pub container: String,
    pub codec: String,
    pub stored: (usize, usize),
    pub pixel_aspect: f64,
    pub turn: Turn,
    pub times: Vec<f64>,
    pub n_frames: usize,
    pub last_seconds: Option<f64>,
    pub fps: Option<f64>,
    pub claimed: (Option<usize>, Option<f64>),
    pub end_seconds: f64,
}

/// As with the feature; never made.
pub(super) enum VideoFile {}

impl VideoFile {
    pub(super) fn open(_: FileData, _: &Limits) -> Result<(VideoFile, Probe), MediaProblem> {
        Err(MediaProblem::NotCompiled)
    }

    pub(super) fn data(&self) -> &FileData {
        match *self {}
    }

    pub(super) fn frames(&self, _: &[usize]) -> Result<VideoFrames<'_>, MediaProblem> {
        match *self {}
    }
}

/// As with the feature; never made.
pub(super) struct VideoFrames<'a>(&'a VideoFile);

/// As with the feature; never made.
pub(super) struct Decoded {
    pub image: Rgb8,
    pub exact: bool,
}

impl VideoFrames<'_> {
    pub(super) fn next_frame(&mut self) -> Result<Option<Decoded>, MediaProblem> {
        match *self.0 {}
    }
}
