//! Which frames of a clip the model sees, at which size, and how much time they cover. Pure: no clip is opened here.
//!
//! All of it is arithmetic of the released utilities (`qwen_vl_utils`), to the bit: frames in proportion to the clip's
//! duration, spread evenly from its first to its last frame, and a budget of pixels that is shared between them.

use super::error::{MediaError, MediaProblem};
use super::patches::check_resized;
use super::smart_resize::smart_resize_real;

/// Sampled frame counts are multiples of this: frames go to the model in groups of two.
pub const FRAME_FACTOR: usize = 2;

/// Under a bound of tokens, frames become fewer rather than smaller than this many tokens.
const MIN_GROUP_TOKENS: usize = 16;

/// Pixels of one token: 2x2 patches of 14x14.
const TOKEN_PIXELS: f64 = 28.0 * 28.0;

/// How densely and how finely a clip is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleOptions {
    /// Wanted frames per second.
    pub fps: f64,
    /// At least this many frames, however short the clip, as far as it has them; rounded up to even.
    pub min_frames: usize,
    /// At most this many frames, however long the clip; rounded down to even.
    pub max_frames: usize,
    /// The least pixels of a resized frame.
    pub min_pixels: usize,
    /// The most pixels of a resized frame; the share in `total_pixels` may be lower.
    pub max_pixels: Option<usize>,
    /// The most pixels of all tokens of a clip together. (A token covers two frames, so frames may have twice that.)
    pub total_pixels: f64,
    /// The most tokens of a clip, whatever the bounds above say: frames become smaller, then fewer, until it fits.
    pub max_tokens: Option<usize>,
}

impl Default for SampleOptions {
    /// As released: 2 frames a second, 4 to 768 of them, 128 tokens' pixels a frame at least, 90 % of 128,000 tokens
    /// in all.
    fn default() -> SampleOptions {
        SampleOptions {
            fps: 2.0,
            min_frames: 4,
            max_frames: 768,
            min_pixels: 128 * 28 * 28,
            max_pixels: None,
            total_pixels: 128_000.0 * 28.0 * 28.0 * 0.9,
            max_tokens: None,
        }
    }
}

impl SampleOptions {
    /// The same options with at most so many frames that each group has [`MIN_GROUP_TOKENS`] under `max_tokens`.
    pub(super) fn within_tokens(mut self) -> SampleOptions {
        if let Some(tokens) = self.max_tokens {
            let frames = (tokens / MIN_GROUP_TOKENS).max(1) * FRAME_FACTOR;
            self.max_frames = self.max_frames.min(frames);
            self.min_frames = self.min_frames.min(self.max_frames);
            self.total_pixels = self.total_pixels.min(tokens as f64 * TOKEN_PIXELS);
        }
        self
    }
}

/// The frames chosen from a clip.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Indices of the frames in order of presentation, ascending; the same one may come twice.
    pub indices: Vec<usize>,
    /// Frames a second that this amounts to.
    pub sample_fps: f64,
}

impl Sampling {
    /// Seconds between the starts of two groups of frames, as the positions of their tokens count time.
    pub fn seconds_per_group(&self) -> f64 {
        FRAME_FACTOR as f64 / self.sample_fps
    }
}

/// Chooses frames of a clip that has `total_frames` of them at `clip_fps` frames a second.
///
/// The original refuses clips of a single frame; here that frame is chosen once (and fills a group alone).
///
/// # Errors
/// If the clip has no frame, if `clip_fps` or `options.fps` isn't a positive number, or if `options.max_frames` is
/// below 2 or below `options.min_frames`.
pub fn sample(total_frames: usize, clip_fps: f64, options: &SampleOptions) -> Result<Sampling, MediaError> {
    let n = frame_count(total_frames, clip_fps, options)?;
    let indices = linspace(0, total_frames - 1, n);
    Ok(Sampling { indices, sample_fps: n as f64 / total_frames as f64 * clip_fps })
}

/// How many frames to take of a clip; see [`sample`].
///
/// # Errors
/// As [`sample`].
pub fn frame_count(total_frames: usize, clip_fps: f64, options: &SampleOptions) -> Result<usize, MediaError> {
    if total_frames == 0 {
        return Err(MediaProblem::NoFrames.into());
    }
    for (what, fps) in [("the clip's frame rate", clip_fps), ("the wanted frame rate", options.fps)] {
        if !(fps.is_finite() && fps > 0.0) {
            return Err(MediaProblem::FrameRate { what, fps }.into());
        }
    }
    let factor = FRAME_FACTOR as f64;
    let min_frames = (options.min_frames as f64 / factor).ceil() * factor;
    let max_frames = (options.max_frames as f64 / factor).floor() * factor;
    if max_frames < factor || min_frames > max_frames {
        let (min_frames, max_frames) = (options.min_frames, options.max_frames);
        return Err(MediaProblem::FrameCounts { min_frames, max_frames }.into());
    }
    let total = total_frames as f64;
    let wanted = total / clip_fps * options.fps;
    let n = wanted.max(min_frames).min(max_frames).min(total);
    Ok(((n / factor).floor() * factor).max(1.0) as usize)
}

/// `n` whole numbers evenly spread from `first` to `last`, both included, halves rounded to even.
///
/// `torch.linspace(first, last, n).round()` in 32-bit floats: from the start in the first half, from the end in the
/// second, each with one rounding (a fused multiply-add, which torch's vector code uses).
pub fn linspace(first: usize, last: usize, n: usize) -> Vec<usize> {
    if n <= 1 {
        return vec![first; n];
    }
    let (start, end) = (first as f32, last as f32);
    let step = (end - start) / (n - 1) as f32;
    let at = |i: usize| {
        let value = if i < n / 2 { step.mul_add(i as f32, start) } else { (-step).mul_add((n - 1 - i) as f32, end) };
        // Beyond 2^24 frames a float may round past the end.
        (value.round_ties_even() as usize).clamp(first, last)
    };
    (0..n).map(at).collect()
}

/// The `(height, width)` to which each of a clip's `n_frames` sampled frames is resized.
///
/// # Errors
/// As [`super::smart_resize()`], and if the budget asks for more pixels than can be held.
pub fn frame_size(
    height: usize,
    width: usize,
    n_frames: usize,
    factor: usize,
    options: &SampleOptions,
) -> Result<(usize, usize), MediaError> {
    let (min_pixels, max_pixels) = frame_budget(n_frames, options);
    // A share of nothing is no size either.
    if min_pixels > max_pixels || max_pixels < 1.0 {
        let (min_pixels, max_pixels) = (min_pixels as usize, max_pixels as usize);
        return Err(MediaProblem::EmptyBudget { min_pixels, max_pixels }.into());
    }
    let resized = smart_resize_real(height, width, factor, min_pixels, max_pixels)?;
    check_resized(resized.1, resized.0)?;
    Ok(resized)
}

/// The least and the most pixels of each of `n_frames` resized frames.
pub fn frame_budget(n_frames: usize, options: &SampleOptions) -> (f64, f64) {
    // A frame that fills a group alone takes the place of two.
    let slots = n_frames.next_multiple_of(FRAME_FACTOR).max(FRAME_FACTOR);
    let share = options.total_pixels / slots as f64 * FRAME_FACTOR as f64;
    let mut min_pixels = options.min_pixels as f64;
    if options.max_tokens.is_some() && share < min_pixels * 1.05 {
        // Half of the share: sides are rounded up to reach the lower bound, which must not lead past the upper one.
        min_pixels = (share / 2.0).floor();
    }
    let limit = share.min(768.0 * TOKEN_PIXELS).max((min_pixels * 1.05).trunc());
    (min_pixels, options.max_pixels.map_or(limit, |max| limit.min(max as f64)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn short_clips() {
        let n = |total| frame_count(total, 25.0, &SampleOptions::default()).expect("frames");
        assert_eq!([1, 2, 3, 4, 5, 49, 50].map(n), [1, 2, 2, 4, 4, 4, 4]);
        assert_eq!(sample(1, 25.0, &SampleOptions::default()).expect("one").indices, [0]);
        assert!(sample(0, 25.0, &SampleOptions::default()).is_err());
    }

    #[test]
    fn absurd_rates_are_refused() {
        for fps in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(sample(10, fps, &SampleOptions::default()).is_err(), "clip at {fps}");
            assert!(sample(10, 25.0, &SampleOptions { fps, ..Default::default() }).is_err(), "wanted {fps}");
        }
        let options = SampleOptions { min_frames: 10, max_frames: 8, ..Default::default() };
        assert!(sample(10, 25.0, &options).is_err());
        assert_eq!(sample(50, 1e5, &SampleOptions::default()).expect("fast").sample_fps, 8000.0);
    }

    #[test]
    fn budgets_of_the_released_utilities() {
        let budget = |n, options: &SampleOptions| frame_budget(n, options);
        let default = SampleOptions::default();
        assert_eq!(budget(4, &default), (100_352.0, 602_112.0));
        assert_eq!(budget(768, &default).1, 90_316_800.0 / 768.0 * 2.0);
        // A long clip's share can't fall below 1.05 of the least.
        let many = SampleOptions { total_pixels: 1e6, ..default };
        assert_eq!(budget(768, &many).1, 105_369.0);
        assert_eq!(
            budget(4, &SampleOptions { min_pixels: 3136, max_pixels: Some(31360), ..default }),
            (3136.0, 31360.0)
        );
    }

    #[test]
    fn no_share_of_a_budget_is_no_size() {
        let nothing = SampleOptions { max_tokens: Some(0), total_pixels: 0.0, ..SampleOptions::default() };
        for side in [1, 12, 13, 14, 600] {
            assert!(frame_size(side, side, 4, 28, &nothing).is_err(), "{side}");
        }
        let little = SampleOptions { max_tokens: Some(2), total_pixels: 2.0 * 784.0, ..SampleOptions::default() };
        assert_eq!(frame_size(12, 12, 4, 28, &little).expect("a token"), (28, 28));
    }

    proptest! {
        #[test]
        fn indices_ascend_from_first_to_last(total in 1usize..20_000_000, fps in 0.01f64..1000.0, want in 0.01f64..100.0) {
            let sampling = sample(total, fps, &SampleOptions { fps: want, ..Default::default() }).expect("positive");
            let indices = &sampling.indices;
            prop_assert!(indices.is_sorted() && indices.len() <= 768);
            prop_assert!(indices.len().is_multiple_of(2) || total == 1);
            prop_assert_eq!(indices.first(), Some(&0));
            // Beyond 2^24 frames, 32-bit floats step over odd numbers.
            prop_assert!(indices[indices.len() - 1].abs_diff(total - 1) <= usize::from(total > 1 << 24));
        }
    }
}
