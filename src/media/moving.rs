//! Moving pictures: a clip, whatever it is made of, and the plan of what will be seen of it.

use std::fmt;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use super::animation::{Animation, FrameTimes};
use super::clip::{Probe, VideoFile};
use super::error::{MediaError, MediaProblem};
use super::patches::PatchConfig;
use super::picture::{PictureInfo, load_picture};
use super::rgb::Turn;
use super::sampling::{self, SampleOptions};
use super::sniff::{MediaKind, PictureFormat};
use super::source::{FileData, Limits, Source};
use super::timeline::{Part, Timeline};

/// A clip that has been opened and looked through; no frame is decoded yet.
pub struct Clip {
    pub(super) info: ClipInfo,
    pub(super) timeline: Timeline,
    pub(super) content: Content,
    /// Of the file's bytes, once it is known.
    sha256: OnceLock<[u8; 32]>,
}

/// What a clip is made of.
pub(super) enum Content {
    /// A video file, its frames to be turned upright.
    Video(VideoFile, Turn),
    /// An animated picture.
    Animation(Animation),
    /// Pictures, each a frame.
    Pictures(Vec<Source>, Limits),
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
    /// When each of them is looked at, in seconds from the clip's start.
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

    /// How many tokens the language model gets.
    pub fn n_tokens(&self) -> usize {
        self.n_groups() * self.patches_per_group() / (self.patches.merge_size * self.patches.merge_size)
    }

    /// Patches of one group.
    pub fn patches_per_group(&self) -> usize {
        self.grid_thw[1] * self.grid_thw[2]
    }
}

impl Clip {
    /// Opens a clip, or an animated GIF or WebP, and looks through it for the times of its frames. Video isn't decoded
    /// for that.
    ///
    /// # Errors
    /// If it can't be read, is damaged beyond its header, has no moving pictures, exceeds `limits`, or if the program
    /// was built without clips.
    pub fn open(source: &Source, limits: &Limits) -> Result<Clip, MediaError> {
        let name = source.name();
        Clip::open_unnamed(source, &name, limits).map_err(|error| error.at(&name))
    }

    fn open_unnamed(source: &Source, name: &str, limits: &Limits) -> Result<Clip, MediaError> {
        let kind = source.kind()?;
        let data = FileData::of(source)?;
        match kind {
            MediaKind::Clip(_) => Ok(Clip::from_video(data, name, limits)?),
            MediaKind::Picture(format) => match Animation::open(data, format, limits)? {
                Some(opened) => Ok(Clip::from_animation(opened, name, format)),
                None => Err(MediaProblem::PictureNotClip { format }.into()),
            },
        }
    }

    /// A clip whose frames are pictures of one size, shown at `fps` frames a second. Only the first is looked at now.
    ///
    /// # Errors
    /// If there is no picture, the first one can't be loaded, or `fps` isn't a positive number.
    pub fn from_pictures(pictures: Vec<Source>, fps: f64, limits: &Limits) -> Result<Clip, MediaError> {
        let first = pictures.first().ok_or(MediaProblem::NoFrames)?;
        if !(fps.is_finite() && fps > 0.0) {
            return Err(MediaProblem::FrameRate { what: "the pictures' frame rate", fps }.into());
        }
        let PictureInfo { name, width, height, format, .. } = load_picture(first, limits)?.info;
        let timeline = Timeline::constant(pictures.len(), fps);
        let name = if pictures.len() > 1 { format!("{name} and {} more", pictures.len() - 1) } else { name };
        let (container, codec) = ("list of pictures".to_owned(), format.name().to_owned());
        let info = describe(name, container, codec, (width, height), &timeline);
        Ok(Clip { info, timeline, content: Content::Pictures(pictures, *limits), sha256: OnceLock::new() })
    }

    fn from_animation((animation, times): (Animation, FrameTimes), name: &str, format: PictureFormat) -> Clip {
        let timeline = Timeline::new(times.starts, Some(times.last_seconds), None);
        let codec = format.name().to_owned();
        let info = describe(name.to_owned(), format!("animated {format}"), codec, animation.size, &timeline);
        Clip { info, timeline, content: Content::Animation(animation), sha256: OnceLock::new() }
    }

    fn from_video(data: FileData, name: &str, limits: &Limits) -> Result<Clip, MediaProblem> {
        let (video, probe) = VideoFile::open(data, limits)?;
        let timeline = if probe.times.is_empty() {
            Timeline::constant(probe.n_frames, probe.fps.unwrap_or(25.0))
        } else {
            Timeline::new(probe.times.clone(), probe.last_seconds, probe.fps)
        };
        let (width, height) = shown_size(&probe);
        limits.check_size(width as u64, height as u64, 0)?;
        let warning = truncation(&probe, &timeline);
        let info = describe(name.to_owned(), probe.container, probe.codec, (width, height), &timeline);
        let info = ClipInfo { warning, ..info };
        Ok(Clip { info, timeline, content: Content::Video(video, probe.turn), sha256: OnceLock::new() })
    }

    /// Facts about the clip.
    pub fn info(&self) -> &ClipInfo {
        &self.info
    }

    /// SHA-256 of the file's bytes, for which it is read once more the first time; of a list of pictures, of their
    /// hashes.
    ///
    /// # Errors
    /// If reading fails.
    pub fn sha256(&self) -> Result<[u8; 32], MediaError> {
        if let Some(hash) = self.sha256.get() {
            return Ok(*hash);
        }
        let hash = match &self.content {
            Content::Video(video, _) => video.data().sha256(),
            Content::Animation(animation) => animation.data().sha256(),
            Content::Pictures(pictures, _) => {
                let mut whole = Sha256::new();
                for picture in pictures {
                    let hash = FileData::of(picture).and_then(|data| data.sha256());
                    whole.update(hash.map_err(|problem| MediaError::from(problem).at(&picture.name()))?);
                }
                Ok(whole.finalize().into())
            }
        };
        let hash = hash.map_err(|problem| MediaError::from(problem).at(&self.info.name))?;
        Ok(*self.sha256.get_or_init(|| hash))
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
        let mut options = options.within_tokens();
        loop {
            let plan = self.plan_once(part, &options, patches)?;
            let Some(max_tokens) = options.max_tokens.filter(|&max| plan.n_tokens() > max) else { return Ok(plan) };
            // A long and thin clip can't be made as small as its share: then fewer frames.
            let per_group = plan.n_tokens() / plan.n_groups();
            let group = patches.temporal_patch_size;
            let frames = (max_tokens / per_group).min(plan.n_groups() - 1) * group;
            if frames == 0 {
                return Err(MediaProblem::TooFewTokens { max_tokens, needed: per_group }.into());
            }
            options.max_frames = frames;
            options.min_frames = options.min_frames.min(frames);
        }
    }

    fn plan_once(
        &self,
        part: Option<Part>,
        options: &SampleOptions,
        patches: &PatchConfig,
    ) -> Result<ClipPlan, MediaError> {
        let selection = match self.content {
            // Whoever names the frames has chosen them.
            Content::Pictures(..) => self.timeline.select_all(part, options.max_frames)?,
            _ => self.timeline.select(part, options)?,
        };
        let n = selection.indices.len();
        let (height, width) = sampling::frame_size(self.info.height, self.info.width, n, patches.factor(), options)?;
        let group = patches.temporal_patch_size;
        let grid_thw = [n.div_ceil(group), height / patches.patch_size, width / patches.patch_size];
        Ok(ClipPlan {
            start: selection.times.first().copied().unwrap_or(0.0),
            timestamps: selection.times,
            sample_fps: selection.sample_fps,
            seconds_per_group: group as f64 / selection.sample_fps,
            indices: selection.indices,
            grid_thw,
            resized: (width, height),
            patches: *patches,
        })
    }
}

fn describe(
    name: String,
    container: String,
    codec: String,
    (width, height): (usize, usize),
    timeline: &Timeline,
) -> ClipInfo {
    ClipInfo {
        name,
        container,
        codec,
        width,
        height,
        n_frames: timeline.n_frames(),
        fps: timeline.fps(),
        variable_rate: !timeline.is_constant(),
        duration: timeline.duration(),
        warning: None,
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
    // By frames where they're known; seconds may count a longer sound track, so that has to end early too.
    let (truncated, claimed) = match (claimed_frames, claimed_seconds) {
        (Some(frames), _) => (timeline.n_frames() + 2 < frames, frames as f64 / timeline.fps()),
        (None, Some(seconds)) => (probe.end_seconds.max(there) < 0.97 * seconds, seconds),
        (None, None) => (false, there),
    };
    truncated.then_some(ClipWarning::Truncated { there, claimed })
}
