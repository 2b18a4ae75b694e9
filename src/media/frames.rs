//! The planned frames of a clip: decoded one after another, resized at once, cut into patches.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use super::animation::AnimationFrames;
use super::clip::{Decoded, VideoFrames};
use super::error::{MediaError, MediaProblem};
use super::moving::{Clip, ClipPlan, ClipWarning, Content};
use super::patches::write_frame_group;
use super::picture::load_picture;
use super::resize::resize_bicubic;
use super::rgb::Rgb8;

impl Clip {
    /// Decodes the planned frames one by one, each resized as soon as it is there.
    ///
    /// # Errors
    /// If the clip can't be opened again.
    pub fn frames<'a>(&'a self, plan: &'a ClipPlan) -> Result<ClipFrames<'a>, MediaError> {
        self.decode(&plan.indices, plan.resized)
    }

    /// Single frames to be shown to people: what stands at each of `times` (seconds from the clip's start), in order of
    /// time, shrunk to fit into `within` (width and height in pixels) where that is given.
    pub fn stills(&self, times: &[f64], within: Option<(usize, usize)>) -> Stills {
        let mut times = times.to_vec();
        times.sort_by(f64::total_cmp);
        let (width, height) = (self.info.width, self.info.height);
        let size = within.map_or((width, height), |(most_width, most_height)| {
            let scale = (most_width as f64 / width as f64).min(most_height as f64 / height as f64).min(1.0);
            let scaled = |side: usize| ((side as f64 * scale).round() as usize).max(1);
            (scaled(width), scaled(height))
        });
        Stills { indices: times.iter().map(|&t| self.timeline.shown_at(t)).collect(), times, size }
    }

    /// Decodes stills one after another.
    ///
    /// # Errors
    /// If the clip can't be opened again.
    pub fn still_frames<'a>(&'a self, stills: &'a Stills) -> Result<ClipFrames<'a>, MediaError> {
        self.decode(&stills.indices, stills.size)
    }

    fn decode<'a>(&'a self, indices: &'a [usize], size: (usize, usize)) -> Result<ClipFrames<'a>, MediaError> {
        let mut distinct = indices.to_vec();
        distinct.dedup();
        let decoder = match &self.content {
            Content::Video(video, _) => video.frames(&distinct).map(|frames| Decoder::Video(Box::new(frames))),
            Content::Animation(animation) => animation.frames(distinct).map(Decoder::Animation),
            Content::Pictures(..) => Ok(Decoder::Pictures(distinct.into_iter())),
        };
        let decoder = decoder.map_err(|problem| MediaError::from(problem).at(&self.info.name))?;
        Ok(ClipFrames { clip: self, indices, size, decoder, next: 0, last: None, damaged: 0 })
    }

    /// Decodes the planned frames and cuts them into patches, one group after another.
    ///
    /// # Errors
    /// If the clip can't be opened again.
    pub fn groups<'a>(&'a self, plan: &'a ClipPlan) -> Result<ClipGroups<'a>, MediaError> {
        Ok(ClipGroups { plan, frames: self.frames(plan)?, next: 0 })
    }

    /// Hands every group to `consume` while a thread decodes further ones. Returns what went wrong with the frames, if
    /// anything did.
    ///
    /// # Errors
    /// The first error of decoding, or of `consume`, which ends the work.
    pub fn for_each_group<E: From<MediaError>>(
        &self,
        plan: &ClipPlan,
        ahead: DecodeAhead<'_>,
        mut consume: impl FnMut(FrameGroup) -> Result<(), E>,
    ) -> Result<Option<ClipWarning>, E> {
        thread::scope(|scope| {
            let (sender, receiver) = mpsc::sync_channel(ahead.groups);
            let decoding = scope.spawn(move || {
                let mut groups = self.groups(plan)?;
                // Whoever stops listening has had enough.
                while let Some(group) = groups.next().transpose()? {
                    ahead.decoded.store(groups.frames.next, Ordering::Relaxed);
                    if sender.send(group).is_err() {
                        break;
                    }
                }
                Ok::<_, MediaError>(groups.warning())
            });
            for group in receiver {
                consume(group)?;
            }
            match decoding.join() {
                Ok(warning) => Ok(warning?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

/// Single frames of a clip for people to look at; see [`Clip::stills`].
#[derive(Clone, Debug, PartialEq)]
pub struct Stills {
    /// The frames' indices, ascending.
    pub indices: Vec<usize>,
    /// When each of them is looked at, in seconds from the clip's start.
    pub times: Vec<f64>,
    /// Width and height in pixels.
    pub size: (usize, usize),
}

/// How far decoding may run ahead of whoever takes the groups, and how far it is.
#[derive(Clone, Copy, Debug)]
pub struct DecodeAhead<'a> {
    /// Groups that may wait to be taken, beside the one in the making.
    pub groups: usize,
    /// Receives the number of frames decoded so far.
    pub decoded: &'a AtomicUsize,
}

/// Where decoded frames come from, asked for each distinct planned frame in turn.
enum Decoder<'a> {
    Video(Box<VideoFrames<'a>>),
    Animation(AnimationFrames),
    Pictures(std::vec::IntoIter<usize>),
}

/// The planned frames of a clip, in order, resized.
pub struct ClipFrames<'a> {
    clip: &'a Clip,
    indices: &'a [usize],
    size: (usize, usize),
    decoder: Decoder<'a>,
    next: usize,
    last: Option<(usize, Rgb8)>,
    damaged: usize,
}

impl ClipFrames<'_> {
    /// What went wrong so far; to be asked for after the last frame.
    pub fn warning(&self) -> Option<ClipWarning> {
        let wanted = self.indices.len();
        (self.damaged > 0).then_some(ClipWarning::DamagedFrames { damaged: self.damaged, wanted })
    }

    fn resized(&mut self) -> Result<Rgb8, MediaError> {
        let index = self.indices[self.next];
        if let Some((last, frame)) = &self.last
            && *last == index
        {
            return Ok(frame.clone());
        }
        let (width, height) = self.size;
        let frame = match self.decode()? {
            Some(decoded) => {
                self.damaged += usize::from(!decoded.exact);
                resize_bicubic(&decoded.image, width, height)
            }
            None => {
                self.damaged += 1;
                self.last.take().ok_or(MediaProblem::NoFrames)?.1
            }
        };
        self.last = Some((index, frame.clone()));
        Ok(frame)
    }

    /// The next distinct frame, upright.
    fn decode(&mut self) -> Result<Option<Decoded>, MediaError> {
        match (&mut self.decoder, &self.clip.content) {
            (Decoder::Video(frames), Content::Video(_, turn)) => {
                let upright = |decoded: Decoded| Decoded { image: decoded.image.turned(*turn), ..decoded };
                Ok(frames.next_frame()?.map(upright))
            }
            (Decoder::Animation(frames), _) => Ok(frames.next_frame()?.map(|image| Decoded { image, exact: true })),
            (Decoder::Pictures(indices), Content::Pictures(sources, limits)) => {
                let Some(source) = indices.next().and_then(|i| sources.get(i)) else { return Ok(None) };
                let image = load_picture(source, limits)?.image;
                let (first_width, first_height) = (self.clip.info.width, self.clip.info.height);
                if (image.width, image.height) != (first_width, first_height) {
                    let (width, height) = (image.width, image.height);
                    let problem = MediaProblem::SizesDiffer { width, height, first_width, first_height };
                    return Err(MediaError::from(problem).at(&source.name()));
                }
                Ok(Some(Decoded { image, exact: true }))
            }
            _ => Ok(None),
        }
    }
}

impl Iterator for ClipFrames<'_> {
    type Item = Result<Rgb8, MediaError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.indices.len() {
            return None;
        }
        let frame = self.resized();
        // After an error there is nothing more to come.
        self.next = if frame.is_ok() { self.next + 1 } else { self.indices.len() };
        Some(frame.map_err(|error| error.at(&self.clip.info.name)))
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
    plan: &'a ClipPlan,
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
        let plan = self.plan;
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
