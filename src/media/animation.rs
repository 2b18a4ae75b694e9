//! Animated GIF and WebP as clips.

use std::io::BufReader;
use std::time::Duration;

use image::codecs::{gif::GifDecoder, webp::WebPDecoder};
use image::{AnimationDecoder, ColorType, Frame, Frames, ImageDecoder};

use super::colour;
use super::error::MediaProblem;
use super::picture::problem_of;
use super::rgb::Rgb8;
use super::sniff::PictureFormat;
use super::source::{FileData, Limits};

/// Frames shown for no longer than this last [`USUAL_DELAY`] instead, as in every browser.
const SHORTEST_DELAY: Duration = Duration::from_millis(10);
/// What a frame without a delay lasts.
const USUAL_DELAY: Duration = Duration::from_millis(100);
/// All frames of an animation together have at most this many pixels: each is composited in full, so a small file with
/// many frames on a large canvas would take forever.
const MAX_PIXELS: u64 = 1 << 33;

/// An animated picture.
pub(super) struct Animation {
    data: FileData,
    format: PictureFormat,
    /// Width and height in pixels.
    pub size: (usize, usize),
}

/// When an animation's frames are shown.
pub(super) struct FrameTimes {
    /// Seconds, ascending, from 0.
    pub starts: Vec<f64>,
    /// How long the last one is shown.
    pub last_seconds: f64,
}

impl Animation {
    /// Looks through an animation; `None` if it is a still picture.
    ///
    /// A file that is damaged after its first frames ends there.
    pub(super) fn open(
        data: FileData,
        format: PictureFormat,
        limits: &Limits,
    ) -> Result<Option<(Animation, FrameTimes)>, MediaProblem> {
        let Some(Opened { size, frames }) = decode(&data, format, limits)? else { return Ok(None) };
        let mut times = FrameTimes { starts: Vec::new(), last_seconds: 0.0 };
        let limit = (MAX_PIXELS / (size.0 as u64 * size.1 as u64).max(1)).max(2) as usize;
        let mut now = Duration::ZERO;
        for frame in frames.map_while(|frame| frame.ok()) {
            if times.starts.len() >= limit {
                return Err(MediaProblem::TooManyFrames { limit });
            }
            let delay = Duration::from(frame.delay());
            let delay = if delay <= SHORTEST_DELAY { USUAL_DELAY } else { delay };
            times.starts.push(now.as_secs_f64());
            times.last_seconds = delay.as_secs_f64();
            now = now.saturating_add(delay);
        }
        let moving = times.starts.len() > 1;
        Ok(moving.then_some((Animation { data, format, size }, times)))
    }

    /// The file's bytes.
    pub(super) fn data(&self) -> &FileData {
        &self.data
    }

    /// Decodes the frames at `indices` (ascending, without repetitions).
    pub(super) fn frames(&self, indices: Vec<usize>) -> Result<AnimationFrames, MediaProblem> {
        // The size has been checked when the animation was opened.
        let limits = Limits { max_pixels: u64::MAX, ..Limits::default() };
        let frames = decode(&self.data, self.format, &limits)?.map(|opened| opened.frames);
        Ok(AnimationFrames { frames, format: self.format, wanted: indices.into_iter(), at: 0 })
    }
}

/// The wanted frames of an animation, one after another.
pub(super) struct AnimationFrames {
    frames: Option<Frames<'static>>,
    format: PictureFormat,
    wanted: std::vec::IntoIter<usize>,
    at: usize,
}

impl AnimationFrames {
    /// The next wanted frame over white; `None` after the last.
    pub(super) fn next_frame(&mut self) -> Result<Option<Rgb8>, MediaProblem> {
        let (Some(want), Some(frames)) = (self.wanted.next(), &mut self.frames) else { return Ok(None) };
        let skipped = want.saturating_sub(self.at);
        self.at = want + 1;
        frames.nth(skipped).map(|frame| frame.map_err(|e| problem_of(e, self.format)).and_then(over_white)).transpose()
    }
}

fn over_white(frame: Frame) -> Result<Rgb8, MediaProblem> {
    let rgba = frame.into_buffer();
    let (width, height) = (rgba.width() as usize, rgba.height() as usize);
    let data = colour::to_rgb(rgba.into_raw(), ColorType::Rgba8).unwrap_or_default();
    Ok(Rgb8 { width, height, data })
}

/// An animated file's width and height in pixels, and its frames.
struct Opened {
    size: (usize, usize),
    frames: Frames<'static>,
}

/// The frames of a file, if its format knows animations and it may be one.
fn decode(data: &FileData, format: PictureFormat, limits: &Limits) -> Result<Option<Opened>, MediaProblem> {
    let failed = |error| problem_of(error, format);
    let reader = BufReader::new(data.open()?);
    match format {
        PictureFormat::Gif => opened(GifDecoder::new(reader).map_err(failed)?, limits).map(Some),
        PictureFormat::WebP => {
            let decoder = WebPDecoder::new(reader).map_err(failed)?;
            if decoder.has_animation() { opened(decoder, limits).map(Some) } else { Ok(None) }
        }
        _ => Ok(None),
    }
}

fn opened<D: ImageDecoder + AnimationDecoder<'static>>(decoder: D, limits: &Limits) -> Result<Opened, MediaProblem> {
    let (width, height) = decoder.dimensions();
    limits.check_size(width.into(), height.into(), decoder.total_bytes())?;
    Ok(Opened { size: (width as usize, height as usize), frames: decoder.into_frames() })
}
