//! Pictures and clips as a conversation holds them: what they cost, and how they are encoded.

use std::hash::{Hash, Hasher};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::SessionError;
use crate::media::sampling::SampleOptions;
use crate::media::{
    Clip, ClipPlan, ClipWarning, DecodeAhead, Part, PatchConfig, Patches, Picture, PictureFormat, PictureInfo,
    PixelBudget, Rgb8, picture_patches, resize_bicubic,
};

/// Something to look at.
#[derive(Clone)]
pub enum Medium {
    /// A still picture.
    Picture(Arc<Picture>),
    /// A clip, or a part of one.
    Clip(Arc<Clip>, Option<Part>),
}

impl std::fmt::Debug for Medium {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Medium::Picture(p) => p.info.fmt(f),
            Medium::Clip(c, part) => write!(f, "{:?} {part:?}", c.info()),
        }
    }
}

/// How media are measured and sampled. What is left open gets the released models' defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MediaOptions {
    /// Least pixels of a resized picture (4 tokens' worth) or frame (128 tokens' worth).
    pub min_pixels: Option<usize>,
    /// Most pixels of a resized picture (1280 tokens' worth) or frame (by the clip's length).
    pub max_pixels: Option<usize>,
    /// Frames per second taken from clips (2).
    pub fps: Option<f64>,
    /// Most pixels of a clip's tokens together (90 % of 128,000 tokens' worth).
    pub total_pixels: Option<usize>,
    /// Most tokens of a clip; its frames become smaller, then fewer, until it fits.
    pub budget: Option<usize>,
    /// Whether clips without a `budget` get one where the context would not hold them.
    pub fit: bool,
}

/// Tokens of one medium that a saved conversation may claim: more than any context holds.
const MAX_TOKENS: usize = 1 << 24;

impl MediaOptions {
    /// Where only one bound is given, the other's default gives way to it. The model says how small pictures may be.
    fn picture_budget(&self, config: &PatchConfig) -> PixelBudget {
        let (min, max) = (config.min_pixels, PixelBudget::DEFAULT.max_pixels);
        PixelBudget {
            min_pixels: self.min_pixels.unwrap_or(min.min(self.max_pixels.unwrap_or(min))),
            max_pixels: self.max_pixels.unwrap_or(max.max(self.min_pixels.unwrap_or(max))),
        }
    }

    /// How clips are sampled.
    pub fn clip_sampling(&self) -> SampleOptions {
        let default = SampleOptions::default();
        SampleOptions {
            fps: self.fps.unwrap_or(default.fps),
            min_pixels: self.min_pixels.unwrap_or(default.min_pixels.min(self.max_pixels.unwrap_or(usize::MAX))),
            max_pixels: self.max_pixels,
            total_pixels: self.total_pixels.map_or(default.total_pixels, |n| n as f64),
            max_tokens: self.budget,
            ..default
        }
    }
}

/// The kind of a medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    /// A still picture.
    Image,
    /// A clip.
    Video,
}

/// What became of a medium, for people and for `--json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MediaReport {
    /// File name as given, or `-`.
    pub name: String,
    /// Picture or clip.
    pub kind: MediaKind,
    /// Width and height in pixels, upright.
    pub original: [usize; 2],
    /// Width and height that the model saw.
    pub resized: [usize; 2],
    /// Frame groups, patch rows and patch columns.
    pub grid_thw: [usize; 3],
    /// Tokens in the prompt.
    pub tokens: usize,
    /// Seconds between two frame groups; absent for pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_per_group: Option<f64>,
    /// Where in the clip the part that was looked at begins, in seconds; absent for pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<f64>,
    /// Frames that were looked at; absent for pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<usize>,
    /// Whether a clip is seen more coarsely than its options would have it, because the context holds no more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fitted: bool,
    /// What is amiss with the clip.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Of those, what only decoding has found.
    #[serde(skip)]
    pub damage: Option<ClipWarning>,
}

/// What identifies an encoded medium: its bytes, and how they were measured.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct MediaKey {
    pub sha256: [u8; 32],
    pub settings: String,
}

/// What the settings of media begin with that come from a saved conversation.
const RESTORED: &str = "restored ";

impl MediaKey {
    /// A number that stands for this key in a cached sequence.
    pub fn cache_hash(&self) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }
}

/// A medium that was in a conversation, to be shown again.
#[derive(Clone, Debug)]
pub struct KeptMedium(pub(super) Arc<PreparedMedium>);

impl KeptMedium {
    /// What became of it.
    pub fn report(&self) -> MediaReport {
        self.0.report()
    }

    /// The pixels that the model sees of a picture; `None` for clips.
    pub fn pixels(&self) -> Option<Rgb8> {
        self.0.pixels()
    }
}

/// A medium that has been measured for a model.
#[derive(Debug)]
pub(super) struct PreparedMedium {
    report: MediaReport,
    key: MediaKey,
    /// What its encoding is looked up by, where that is something else: of a clip that a file only names.
    encoded_as: Option<MediaKey>,
    merge_size: usize,
    source: Prepared,
}

/// Where the pixels come from.
enum Prepared {
    Picture {
        picture: Arc<Picture>,
        budget: PixelBudget,
        /// The pixels, until they are encoded; made again when they are needed after that.
        patches: Mutex<Option<Patches>>,
    },
    Clip {
        clip: Arc<Clip>,
        part: Option<Part>,
        plan: Box<ClipPlan>,
        sampling: SampleOptions,
        /// Whether it may be planned again with fewer tokens.
        fit: bool,
        /// What decoding found amiss.
        damage: OnceLock<ClipWarning>,
    },
    /// A clip of a saved conversation: what was read of it is at hand, its frames aren't.
    Absent,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Prepared::Picture { budget, .. } => budget.fmt(f),
            Prepared::Clip { plan, .. } => plan.fmt(f),
            Prepared::Absent => f.write_str("absent"),
        }
    }
}

impl PreparedMedium {
    /// Resizes a picture, or plans a clip, for the model.
    pub fn new(source: &Medium, options: &MediaOptions, config: &PatchConfig) -> Result<PreparedMedium, SessionError> {
        match source {
            Medium::Picture(picture) => Self::picture(picture, options.picture_budget(config), config),
            Medium::Clip(clip, part) => {
                let fit = options.fit && options.budget.is_none();
                Self::clip(clip, *part, (options.clip_sampling(), fit), config)
            }
        }
    }

    fn picture(picture: &Arc<Picture>, budget: PixelBudget, config: &PatchConfig) -> Result<Self, SessionError> {
        let patches = picture_patches(&picture.image, budget, config).map_err(|e| e.at(&picture.info.name))?;
        let report = MediaReport {
            name: picture.info.name.clone(),
            kind: MediaKind::Image,
            original: [picture.info.width, picture.info.height],
            resized: [patches.resized.0, patches.resized.1],
            grid_thw: patches.grid_thw,
            tokens: patches.grid_thw.iter().product::<usize>() / (config.merge_size * config.merge_size),
            seconds_per_group: None,
            start: None,
            frames: None,
            fitted: false,
            warnings: Vec::new(),
            damage: None,
        };
        Ok(PreparedMedium {
            key: MediaKey { sha256: picture.info.sha256, settings: format!("{:?}", report.resized) },
            encoded_as: None,
            report,
            merge_size: config.merge_size,
            source: Prepared::Picture { picture: picture.clone(), budget, patches: Mutex::new(Some(patches)) },
        })
    }

    fn clip(
        clip: &Arc<Clip>,
        part: Option<Part>,
        (sampling, fit): (SampleOptions, bool),
        config: &PatchConfig,
    ) -> Result<Self, SessionError> {
        let plan = clip.plan(part, &sampling, config)?;
        let report = MediaReport {
            name: clip.info().name.clone(),
            kind: MediaKind::Video,
            original: [clip.info().width, clip.info().height],
            resized: [plan.resized.0, plan.resized.1],
            grid_thw: plan.grid_thw,
            tokens: plan.grid_thw.iter().product::<usize>() / (config.merge_size * config.merge_size),
            seconds_per_group: Some(plan.seconds_per_group),
            start: Some(plan.start),
            frames: Some(plan.n_frames()),
            fitted: false,
            warnings: clip.info().warning.iter().map(ToString::to_string).collect(),
            damage: None,
        };
        let settings = format!("{:?} {:?}", report.resized, plan.indices);
        Ok(PreparedMedium {
            key: MediaKey { sha256: clip.sha256()?, settings },
            encoded_as: None,
            report,
            merge_size: config.merge_size,
            source: Prepared::Clip {
                clip: clip.clone(),
                part,
                plan: Box::new(plan),
                sampling,
                fit,
                damage: OnceLock::new(),
            },
        })
    }

    /// Whether [`PreparedMedium::within`] may be asked of it.
    pub fn can_shrink(&self) -> bool {
        matches!(self.source, Prepared::Clip { fit: true, .. })
    }

    /// The same clip in at most `max_tokens` tokens; `None` where that can't be.
    pub fn within(&self, max_tokens: usize, config: &PatchConfig) -> Option<PreparedMedium> {
        let Prepared::Clip { clip, part, sampling, .. } = &self.source else { return None };
        let sampling = SampleOptions { max_tokens: Some(max_tokens), ..*sampling };
        let mut smaller = Self::clip(clip, *part, (sampling, true), config).ok()?;
        smaller.report.fitted = true;
        Some(smaller)
    }

    /// What became of it, as far as it is known by now.
    pub fn report(&self) -> MediaReport {
        let mut report = self.report.clone();
        if let Prepared::Clip { damage, .. } = &self.source {
            report.damage = damage.get().copied();
            report.warnings.extend(report.damage.iter().map(ToString::to_string));
        }
        report
    }

    /// Calls `encode` with the patches of each batch and their grid, in order. A picture is one batch; a clip comes in
    /// batches of frame groups, which don't attend to each other, so that its memory stays bounded; while one is
    /// encoded, another thread decodes the next. `decoded` counts the frames that are there.
    pub fn for_each_batch(
        &self,
        config: &PatchConfig,
        decoded: &AtomicUsize,
        mut encode: impl FnMut(&[f32], [usize; 3]) -> Result<(), SessionError>,
    ) -> Result<(), SessionError> {
        match &self.source {
            Prepared::Picture { picture, budget, patches } => {
                let held = patches.lock().unwrap_or_else(PoisonError::into_inner).take();
                let p = match held {
                    Some(p) => p,
                    None => picture_patches(&picture.image, *budget, config)?,
                };
                encode(&p.pixel_values, p.grid_thw)
            }
            Prepared::Clip { clip, plan, damage, .. } => {
                if let Some(warning) = clip_batches(clip, plan, decoded, encode)? {
                    // Decoding the same frames again finds the same.
                    let _ = damage.set(warning);
                }
                Ok(())
            }
            Prepared::Absent => Err(SessionError::Absent { name: self.report.name.clone() }),
        }
    }

    /// The pixels that the model sees of a picture; `None` for clips.
    pub fn pixels(&self) -> Option<Rgb8> {
        let Prepared::Picture { picture, .. } = &self.source else { return None };
        let [width, height] = self.report.resized;
        Some(resize_bicubic(&picture.image, width, height))
    }

    /// The same source, measured for a model with another patch size.
    pub fn again(&self, config: &PatchConfig) -> Result<PreparedMedium, SessionError> {
        match &self.source {
            Prepared::Picture { picture, budget, .. } => {
                let mut again = Self::picture(picture, *budget, config)?;
                again.report.original = self.report.original;
                Ok(again)
            }
            Prepared::Clip { clip, part, sampling, fit, .. } => Self::clip(clip, *part, (*sampling, *fit), config),
            Prepared::Absent => Err(SessionError::Absent { name: self.report.name.clone() }),
        }
    }

    /// A medium of a saved conversation; of a picture, `pixels` are those that [`PreparedMedium::pixels`] gave. `None`
    /// where the numbers contradict each other.
    ///
    /// `told` is what the file says it is. That is believed only so far as to look for a clip's encoding: a picture is
    /// known by its pixels from here on, and neither passes for what was read from a file of that name.
    pub fn restored(report: MediaReport, told: MediaKey, pixels: Option<Rgb8>, config: &PatchConfig) -> Option<Self> {
        let [t, h, w] = report.grid_thw;
        let (merge, [width, height]) = (config.merge_size, report.resized);
        let tokens = t.checked_mul(h)?.checked_mul(w)? / (merge * merge);
        let sides = h.checked_mul(config.patch_size)? == height && w.checked_mul(config.patch_size)? == width;
        let whole = h.is_multiple_of(merge) && w.is_multiple_of(merge);
        let picture = report.kind == MediaKind::Image;
        // Times become positions: they stay far from where those would overflow.
        let times = [report.seconds_per_group.unwrap_or(0.0), report.start.unwrap_or(0.0)];
        let sane = times.iter().all(|t| (0.0..1e9).contains(t)) && tokens <= MAX_TOKENS;
        if tokens == 0 || tokens != report.tokens || !sane || !sides || !whole || picture != pixels.is_some() {
            return None;
        }
        let of_a_conversation = |sha256, settings: &str| MediaKey { sha256, settings: format!("{RESTORED}{settings}") };
        let (key, encoded_as) = match &pixels {
            None => {
                let settings = told.settings.strip_prefix(RESTORED).unwrap_or(&told.settings).to_owned();
                (of_a_conversation(told.sha256, &settings), Some(MediaKey { settings, ..told }))
            }
            Some(image) => {
                let sha256 = Sha256::digest(&image.data).into();
                (of_a_conversation(sha256, &format!("{:?}", report.resized)), None)
            }
        };
        let source = match pixels {
            None => Prepared::Absent,
            Some(image) if (t, image.width, image.height) == (1, width, height) => {
                let info = PictureInfo {
                    name: report.name.clone(),
                    format: PictureFormat::Png,
                    width,
                    height,
                    orientation: 1,
                    sha256: key.sha256,
                };
                let budget = PixelBudget { min_pixels: width * height, max_pixels: width * height };
                Prepared::Picture { picture: Arc::new(Picture { image, info }), budget, patches: Mutex::new(None) }
            }
            Some(_) => return None,
        };
        Some(PreparedMedium { report, key, encoded_as, merge_size: merge, source })
    }

    /// Batches that [`PreparedMedium::for_each_batch`] makes.
    pub fn n_batches(&self) -> usize {
        match &self.source {
            Prepared::Picture { .. } | Prepared::Absent => 1,
            Prepared::Clip { plan, .. } => plan.n_groups().div_ceil(groups_per_batch(plan)),
        }
    }

    /// What it is in a sequence of tokens.
    pub fn key(&self) -> &MediaKey {
        &self.key
    }

    /// What its encoding is kept under.
    pub fn encoding_key(&self) -> &MediaKey {
        self.encoded_as.as_ref().unwrap_or(&self.key)
    }

    pub fn tokens(&self) -> usize {
        self.report.tokens
    }

    pub fn is_clip(&self) -> bool {
        self.report.kind == MediaKind::Video
    }

    /// Frames that are decoded, of a clip.
    pub fn frames(&self) -> Option<usize> {
        self.report.frames
    }

    /// Frames that one batch covers.
    pub fn frames_per_batch(&self) -> usize {
        match &self.source {
            Prepared::Picture { .. } | Prepared::Absent => 1,
            Prepared::Clip { plan, .. } => groups_per_batch(plan) * plan.patches.temporal_patch_size,
        }
    }

    /// Frame groups, and rows and columns of tokens.
    pub fn merged_grid(&self) -> [usize; 3] {
        let [t, h, w] = self.report.grid_thw;
        [t, h / self.merge_size, w / self.merge_size]
    }

    pub fn seconds_per_group(&self) -> f64 {
        self.report.seconds_per_group.unwrap_or(0.0)
    }
}

/// Patches that are encoded together: enough to use each weight often.
const BATCH_PATCHES: usize = 2048;

fn groups_per_batch(plan: &ClipPlan) -> usize {
    (BATCH_PATCHES / plan.patches_per_group().max(1)).max(1)
}

fn clip_batches(
    clip: &Clip,
    plan: &ClipPlan,
    decoded: &AtomicUsize,
    mut encode: impl FnMut(&[f32], [usize; 3]) -> Result<(), SessionError>,
) -> Result<Option<ClipWarning>, SessionError> {
    let [_, h, w] = plan.grid_thw;
    let size = groups_per_batch(plan);
    let (mut pixels, mut held, mut done) = (Vec::new(), 0, 0);
    // One batch is encoded, one waits: more wouldn't be sooner, only larger.
    clip.for_each_group(plan, DecodeAhead { groups: size, decoded }, |group| {
        pixels.extend_from_slice(&group.pixel_values);
        (held, done) = (held + 1, done + 1);
        if held == size || done == plan.n_groups() {
            encode(&pixels, [held, h, w])?;
            pixels.clear();
            held = 0;
        }
        Ok(())
    })
}
