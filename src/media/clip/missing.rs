//! What stands in for video files where the program is built without them.

use super::{Decoded, Probe};
use crate::media::error::MediaProblem;
use crate::media::source::{FileData, Limits};

/// As with the feature `video`; never made.
pub(in crate::media) enum VideoFile {}

impl VideoFile {
    pub(in crate::media) fn open(_: FileData, _: &Limits) -> Result<(VideoFile, Probe), MediaProblem> {
        Err(MediaProblem::NotCompiled)
    }

    pub(in crate::media) fn data(&self) -> &FileData {
        match *self {}
    }

    pub(in crate::media) fn frames(&self, _: &[usize]) -> Result<VideoFrames<'_>, MediaProblem> {
        match *self {}
    }
}

/// As with the feature `video`; never made.
pub(in crate::media) struct VideoFrames<'a>(&'a VideoFile);

impl VideoFrames<'_> {
    pub(in crate::media) fn next_frame(&mut self) -> Result<Option<Decoded>, MediaProblem> {
        match *self.0 {}
    }
}
