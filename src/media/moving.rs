//! Moving pictures: a clip, whatever it is made of, from its frames to the vision tower's input.

use std::fmt;

use super::clip::{Probe, VideoFile, VideoFrames};
use super::error::{MediaError, MediaProblem};
use super::patches::{PatchConfig, write_frame_group};
use super::resize::resize_bicubic;
use super::rgb::{Rgb8, Turn};
use super::sampling::{self, SampleOptions};
use super::source::{FileData, Limits, Source};
use super::timeline::{Part, Timeline};

/// A clip that has been opened and looked through; no frame is decoded yet.
pub struct Clip {
    info: ClipInfo,
    timeline: Timeline,
    turn: Turn,
    data: FileData,
    video: VideoFile,
}

/// Facts about a clip.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipInfo {
    /// The name that the reader gave.
    pub name: String,
    /// The container format.
    pub container: String,
    /// The codec of its pictures.
    pub codec: String,
    /// Width in pixels as shown: upright, with square pixels.
    pub width: usize,
    /// Height in pixels as shown.
    pub height: usize,
    /// Frames that are there, whatever the header claims.
    pub n_frames: usize,
    /// Average frames a second.
    pub fps: f64,
    /// Whether frames come at uneven times.
    pub variable_rate: bool,
    /// How long it lasts, in seconds.
    pub duration: f64,
    /// What a person should know before trusting the answer.
    pub warning: Option<ClipWarning>,
}

/// Something amiss with a clip of which the rest is used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ClipWarning {
    /// The file ends early.
    Truncated {
        /// Seconds that are there.
        there: f64,
        /// Seconds that its header claims.
        claimed: f64,
    },
    /// Frames couldn't be decoded, and their neighbours stand in for them.
    DamagedFrames {
        /// How many.
        damaged: usize,
        /// Of how many that were wanted.
        wanted: usize,
    },
}

impl fmt::Display for ClipWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClipWarning::Truncated { there, claimed } => {
                write!(f, "the clip is truncated: {there:.1} of its {claimed:.1} seconds are there")
            }
            ClipWarning::DamagedFrames { damaged, wanted } => {
                write!(f, "{damaged} of {wanted} frames are damaged; their neighbours stand in for them")
            }
        }
    }
}

/// What will be seen of a clip, known before anything is decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipPlan {
    /// The frames' indices in order of presentation, ascending; a frame that is shown for long may come several times.
    pub indices: Vec<usize>,
    /// When each of them is shown, in seconds from the clip's start.
    pub timestamps: Vec<f64>,
    /// Where the part that is looked at begins, in seconds from the clip's start. Positions count from here.
    pub start: f64,
    /// Frames a second that this amounts to.
    pub sample_fps: f64,
    /// Seconds between the starts of two groups, by which positions count time.
    pub seconds_per_group: f64,
    /// Groups of frames, and patches down and across.
    pub grid_thw: [usize; 3],
    /// Width and height in pixels after resizing.
    pub resized: (usize, usize),
    /// How patches are cut.
    pub patches: PatchConfig,
}

impl ClipPlan {
    /// How many frames are decoded and resized.
    pub fn n_frames(&self) -> usize {
        self.indices.len()
    }

    /// How many groups of frames go to the vision tower, one row of tokens in time each.
    pub fn n_groups(&self) -> usize {
        self.grid_thw[0]
    }

    /// Patches of one group.
    pub fn patches_per_group(&self) -> usize {
        self.grid_thw[1] * self.grid_thw[2]
    }
}

impl Clip {
    /// Opens a clip and looks through it, without decoding, for the times of its frames.
    ///
    /// # Errors
    /// If it can't be read, is damaged beyond its header, has no moving pictures, exceeds `limits`, or if the program
    /// was built without clips.
    pub fn open(source: &Source, limits: &Limits) -> Result<Clip, MediaError> {
        let name = source.name();
        let opened = FileData::of(source).and_then(|data| Clip::from_video(data, &name, limits));
        opened.map_err(|problem| MediaError::from(problem).at(&name))
    }

    fn from_video(data: FileData, name: &str, limits: &Limits) -> Result<Clip, MediaProblem> {
        let (video, probe) = VideoFile::open(data.clone(), limits)?;
        let timeline = if probe.times.is_empty() {
            Timeline::constant(probe.n_frames, probe.fps.unwrap_or(25.0))
        } else {
            Timeline::new(probe.times.clone(), probe.last_seconds, probe.fps)
        };
        let (width, height) = shown_size(&probe);
        limits.check_size(width as u64, height as u64, 0)?;
        let info = ClipInfo {
            name: name.to_owned(),
            width,
            height,
            n_frames: timeline.n_frames(),
            fps: timeline.fps(),
            variable_rate: !timeline.is_constant(),
            duration: timeline.duration(),
            warning: truncation(&probe, &timeline),
            container: probe.container,
            codec: probe.codec,
        };
        Ok(Clip { info, timeline, turn: probe.turn, data, video })
    }

    /// Facts about the clip.
    pub fn info(&self) -> &ClipInfo {
        &self.info
    }

    /// SHA-256 of the file's bytes, for which it is read once more.
    ///
    /// # Errors
    /// If reading fails.
    pub fn sha256(&self) -> Result<[u8; 32], MediaError> {
        self.data.sha256().map_err(|problem| MediaError::from(problem).at(&self.info.name))
    }

    /// Which frames of the clip, or of `part` of it, will be seen, and at what size.
    ///
    /// # Errors
    /// If `options` can't be met, `part` lies outside, or the clip is too long and thin.
    pub fn plan(
        &self,
        part: Option<Part>,
        options: &SampleOptions,
        patches: &PatchConfig,
    ) -> Result<ClipPlan, MediaError> {
        self.plan_unnamed(part, options, patches).map_err(|error| error.at(&self.info.name))
    }

    fn plan_unnamed(
        &self,
        part: Option<Part>,
        options: &SampleOptions,
        patches: &PatchConfig,
    ) -> Result<ClipPlan, MediaError> {
        let sampling = self.timeline.select(part, options)?;
        let n = sampling.indices.len();
        let (height, width) = sampling::frame_size(self.info.height, self.info.width, n, patches.factor(), options)?;
        let group = patches.temporal_patch_size;
        let grid_thw = [n.div_ceil(group), height / patches.patch_size, width / patches.patch_size];
        let timestamps: Vec<f64> = sampling.indices.iter().map(|&i| self.timeline.time(i)).collect();
        Ok(ClipPlan {
            start: timestamps.first().copied().unwrap_or(0.0),
            timestamps,
            sample_fps: sampling.sample_fps,
            seconds_per_group: group as f64 / sampling.sample_fps,
            indices: sampling.indices,
            grid_thw,
            resized: (width, height),
            patches: *patches,
        })
    }

    /// Decodes the planned frames one by one, each resized as soon as it is there.
    ///
    /// # Errors
    /// If the clip can't be opened again.
    pub fn frames<'a>(&'a self, plan: &'a ClipPlan) -> Result<ClipFrames<'a>, MediaError> {
        let mut distinct = plan.indices.clone();
        distinct.dedup();
        let decoder = self.video.frames(&distinct).map_err(|problem| MediaError::from(problem).at(&self.info.name))?;
        Ok(ClipFrames { clip: self, plan, decoder, next: 0, last: None, damaged: 0 })
    }

    /// Decodes the planned frames and cuts them into patches, one group after another.
    ///
    /// # Errors
    /// If the clip can't be opened again.
    pub fn groups<'a>(&'a self, plan: &'a ClipPlan) -> Result<ClipGroups<'a>, MediaError> {
        Ok(ClipGroups { frames: self.frames(plan)?, next: 0 })
    }
}

/// Width and height as shown: upright, with square pixels; a picture is made wider rather than lower.
fn shown_size(probe: &Probe) -> (usize, usize) {
    let (width, height) = probe.stored;
    let stretched = |side: usize, by: f64| ((side as f64 * by).round() as usize).max(1);
    let aspect = probe.pixel_aspect;
    let square =
        if aspect >= 1.0 { (stretched(width, aspect), height) } else { (width, stretched(height, 1.0 / aspect)) };
    probe.turn.size(square)
}

/// Whether much less is there than the header claims.
fn truncation(probe: &Probe, timeline: &Timeline) -> Option<ClipWarning> {
    let (claimed_frames, claimed_seconds) = probe.claimed;
    let there = timeline.duration();
    // By frames where they're known; seconds may count a longer sound track.
    let (truncated, claimed) = match (claimed_frames, claimed_seconds) {
        (Some(frames), _) => (timeline.n_frames() + 2 < frames, frames as f64 / timeline.fps()),
        (None, Some(seconds)) => (there + 1.0 < seconds && there < 0.95 * seconds, seconds),
        (None, None) => (false, there),
    };
    truncated.then_some(ClipWarning::Truncated { there, claimed })
}

/// The planned frames of a clip, in order, resized.
pub struct ClipFrames<'a> {
    clip: &'a Clip,
    plan: &'a ClipPlan,
    decoder: VideoFrames<'a>,
    next: usize,
    last: Option<(usize, Rgb8)>,
    damaged: usize,
}

impl ClipFrames<'_> {
    /// What went wrong so far; to be asked for after the last frame.
    pub fn warning(&self) -> Option<ClipWarning> {
        let wanted = self.plan.n_frames();
        (self.damaged > 0).then_some(ClipWarning::DamagedFrames { damaged: self.damaged, wanted })
    }

    fn decode(&mut self) -> Result<Rgb8, MediaProblem> {
        let index = self.plan.indices[self.next];
        if let Some((last, frame)) = &self.last
            && *last == index
        {
            return Ok(frame.clone());
        }
        let (width, height) = self.plan.resized;
        let frame = match self.decoder.next_frame()? {
            Some(decoded) => {
                self.damaged += usize::from(!decoded.exact);
                resize_bicubic(&decoded.image.turned(self.clip.turn), width, height)
            }
            None => {
                self.damaged += 1;
                self.last.take().ok_or(MediaProblem::NoFrames)?.1
            }
        };
        self.last = Some((index, frame.clone()));
        Ok(frame)
    }
}

impl Iterator for ClipFrames<'_> {
    type Item = Result<Rgb8, MediaError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.plan.n_frames() {
            return None;
        }
        let frame = self.decode();
        // After an error there is nothing more to come.
        self.next = if frame.is_ok() { self.next + 1 } else { self.plan.n_frames() };
        Some(frame.map_err(|problem| MediaError::from(problem).at(&self.clip.info.name)))
    }
}

/// One group of frames, ready for the vision tower.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameGroup {
    /// `[patches_per_group, 3 * 2 * 14 * 14]`, ordered as in [`super::Patches`].
    pub pixel_values: Vec<f32>,
    /// When its first frame is shown, in seconds from the clip's start.
    pub time: f64,
}

/// The groups of a clip, in order.
pub struct ClipGroups<'a> {
    frames: ClipFrames<'a>,
    next: usize,
}

impl ClipGroups<'_> {
    /// What went wrong so far; to be asked for after the last group.
    pub fn warning(&self) -> Option<ClipWarning> {
        self.frames.warning()
    }
}

impl Iterator for ClipGroups<'_> {
    type Item = Result<FrameGroup, MediaError>;

    fn next(&mut self) -> Option<Self::Item> {
        let plan = self.frames.plan;
        let size = plan.patches.temporal_patch_size;
        let frames: Result<Vec<Rgb8>, MediaError> = (&mut self.frames).take(size).collect();
        let frames = match frames {
            Ok(frames) => frames,
            Err(error) => return Some(Err(error)),
        };
        // An odd number of frames repeats the last one.
        let last = frames.len().checked_sub(1)?;
        let slots: Vec<&Rgb8> = (0..size).map(|slot| &frames[slot.min(last)]).collect();
        let mut pixel_values = Vec::with_capacity(plan.patches_per_group() * plan.patches.patch_len());
        write_frame_group(&slots, &plan.patches, &mut pixel_values);
        let time = plan.timestamps.get(self.next * size).copied().unwrap_or(plan.start);
        self.next += 1;
        Some(Ok(FrameGroup { pixel_values, time }))
    }
}
