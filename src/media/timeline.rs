//! When each frame of a clip is shown, and which frames to look at. Pure: no clip is opened here.

use super::error::{MediaError, MediaProblem};
use super::sampling::{self, SampleOptions, Sampling};

/// A clip's rate counts as constant while every frame is shown within this share of a frame of where it should be.
const JITTER: f64 = 0.75;

/// A part of a clip, in seconds of its own time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Where it begins.
    pub start: f64,
    /// Where it ends; the clip's end if `None`.
    pub end: Option<f64>,
}

impl Part {
    /// Parses the part that a media fragment (W3C "temporal dimension") names: `t=12.5,40`, `t=12.5`, `t=,40`, with
    /// seconds or `mm:ss` or `hh:mm:ss`, and an optional `npt:` before them.
    pub fn from_fragment(fragment: &str) -> Option<Part> {
        let times = fragment.strip_prefix("t=")?;
        let times = times.strip_prefix("npt:").unwrap_or(times);
        let (start, end) = times.split_once(',').unwrap_or((times, ""));
        if start.is_empty() && end.is_empty() {
            return None;
        }
        let start = if start.is_empty() { 0.0 } else { seconds(start)? };
        let end = if end.is_empty() { None } else { Some(seconds(end)?) };
        Some(Part { start, end })
    }
}

/// `5`, `5.25`, `1:05.25` or `1:01:05` in seconds.
fn seconds(text: &str) -> Option<f64> {
    let mut total = 0.0;
    for (i, field) in text.split(':').enumerate() {
        let plain = field.bytes().all(|b| b.is_ascii_digit() || b == b'.') && field.bytes().any(|b| b.is_ascii_digit());
        let value: f64 = field.parse().ok().filter(|_| plain && i < 3)?;
        total = total * 60.0 + value;
    }
    Some(total)
}

/// When each frame of a clip is shown.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Timeline {
    /// Seconds from the clip's first frame to each frame, ascending.
    times: Vec<f64>,
    /// Average frames a second.
    fps: f64,
    /// Whether the frames are evenly spread.
    constant: bool,
}

impl Timeline {
    /// The timeline of frames shown at `times` (seconds, any origin, ascending, not empty), the last of them for
    /// `last_seconds`, in a clip whose header claims `claimed_fps`.
    ///
    /// The claim is believed where the frames agree with it: it is exact where times are rounded, e.g. to
    /// milliseconds.
    pub(super) fn new(mut times: Vec<f64>, last_seconds: Option<f64>, claimed_fps: Option<f64>) -> Timeline {
        let origin = times.first().copied().unwrap_or(0.0);
        times.iter_mut().for_each(|t| *t -= origin);
        let last = times.last().copied().unwrap_or(0.0);
        let gaps = times.len().saturating_sub(1) as f64;
        let measured = if last > 0.0 {
            gaps / last
        } else {
            last_seconds.filter(|s| *s > 0.0).map_or(claimed_fps.unwrap_or(1.0), |s| 1.0 / s)
        };
        let off = |(i, time): (usize, &f64)| (time - i as f64 / measured).abs() * measured > JITTER;
        let constant = !times.iter().enumerate().any(off);
        let fps = if constant {
            claimed_fps.filter(|claimed| (claimed / measured - 1.0).abs() < 0.02).unwrap_or(measured)
        } else {
            let duration = last + last_seconds.filter(|s| *s > 0.0).unwrap_or(1.0 / measured);
            times.len() as f64 / duration
        };
        Timeline { times, fps, constant }
    }

    /// A timeline of `n` frames at `fps` frames a second.
    pub(super) fn constant(n: usize, fps: f64) -> Timeline {
        Timeline { times: (0..n).map(|i| i as f64 / fps).collect(), fps, constant: true }
    }

    pub(super) fn n_frames(&self) -> usize {
        self.times.len()
    }

    pub(super) fn fps(&self) -> f64 {
        self.fps
    }

    pub(super) fn is_constant(&self) -> bool {
        self.constant
    }

    /// Seconds from the first frame's start to the last one's end.
    pub(super) fn duration(&self) -> f64 {
        self.times.len() as f64 / self.fps
    }

    pub(super) fn time(&self, index: usize) -> f64 {
        self.times.get(index).copied().unwrap_or_else(|| self.duration())
    }

    /// The frames to look at in `part`.
    ///
    /// At a constant rate this is the released utilities' arithmetic, on frame indices. At a variable rate, indices
    /// say nothing about time: there, the frames shown at evenly spread times are taken, so that a group's position
    /// is true to the clip's clock; a frame that stands for long comes several times.
    pub(super) fn select(&self, part: Option<Part>, options: &SampleOptions) -> Result<Sampling, MediaError> {
        let (first, last) = self.range(part)?;
        let n_frames = last - first + 1;
        if self.constant {
            let n = sampling::frame_count(n_frames, self.fps, options)?;
            let indices = sampling::linspace(first, last, n);
            return Ok(Sampling { indices, sample_fps: n as f64 / n_frames as f64 * self.fps });
        }
        let (start, end) = (self.time(first), self.time(last));
        let seconds = (end - start) + 1.0 / self.fps;
        // As if the clip had a frame whenever one is wanted.
        let virtual_frames = (n_frames as f64).max((seconds * options.fps).ceil());
        let n = sampling::frame_count(virtual_frames as usize, virtual_frames / seconds, options)?;
        let step = (end - start) / (n.max(2) - 1) as f64;
        let shown_at = |t: f64| self.times.partition_point(|&time| time <= t + 1e-6).saturating_sub(1);
        let indices = (0..n).map(|i| shown_at(start + step * i as f64).clamp(first, last)).collect();
        Ok(Sampling { indices, sample_fps: n as f64 / seconds })
    }

    /// The first and the last frame of `part`.
    fn range(&self, part: Option<Part>) -> Result<(usize, usize), MediaError> {
        let Some(last) = self.times.len().checked_sub(1) else { return Err(MediaProblem::NoFrames.into()) };
        let Some(Part { start, end }) = part else { return Ok((0, last)) };
        let duration = self.duration();
        let outside = || MediaProblem::PartOutside { start, end: end.unwrap_or(duration), duration };
        if !(start >= 0.0 && start < duration && end.is_none_or(|end| end > start)) {
            return Err(outside().into());
        }
        let end = end.unwrap_or(duration).min(duration);
        let (first, last) = if self.constant {
            // As the released utilities round.
            ((start * self.fps).ceil() as usize, ((end * self.fps).floor() as usize).min(last))
        } else {
            let before = |t: f64| self.times.partition_point(|&time| time < t - 1e-6);
            (before(start), self.times.partition_point(|&time| time <= end + 1e-6).saturating_sub(1))
        };
        // A part between two frames shows the earlier one.
        Ok(if first > last { (last, last) } else { (first, last) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every(step: f64, n: usize) -> Vec<f64> {
        (0..n).map(|i| 7.0 + step * i as f64).collect()
    }

    #[test]
    fn fragments() {
        let part = |start, end| Some(Part { start, end });
        let cases = [
            ("t=12.5,40", part(12.5, Some(40.0))),
            ("t=npt:1:05,1:00:00", part(65.0, Some(3600.0))),
            ("t=,40", part(0.0, Some(40.0))),
            ("t=3", part(3.0, None)),
            ("t=", None),
            ("t=,", None),
            ("t=-1,4", None),
            ("t=1e9", None),
            ("t=inf", None),
            ("t=1:2:3:4", None),
            ("x=1,2", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(Part::from_fragment(text), wanted, "{text}");
        }
    }

    #[test]
    fn claimed_rates_are_believed_where_true() {
        let ntsc = 30000.0 / 1001.0;
        let milliseconds: Vec<f64> = every(1.0 / ntsc, 500).iter().map(|t| (t * 1000.0).round() / 1000.0).collect();
        let timeline = Timeline::new(milliseconds.clone(), None, Some(ntsc));
        assert!(timeline.is_constant());
        assert_eq!(timeline.fps(), ntsc);
        let lying = Timeline::new(milliseconds, None, Some(1000.0));
        assert!((lying.fps() - ntsc).abs() < 0.01);
        assert_eq!(Timeline::new(vec![3.0], Some(0.04), None).fps(), 25.0);
        assert_eq!(Timeline::new(vec![3.0], None, Some(12.0)).fps(), 12.0);
    }

    #[test]
    fn constant_rates_go_by_index() {
        let timeline = Timeline::new(every(0.04, 75), None, Some(25.0));
        let all = timeline.select(None, &SampleOptions::default()).expect("frames");
        assert_eq!((all.indices, all.sample_fps), (vec![0, 15, 30, 44, 59, 74], 2.0));
        let part =
            timeline.select(Some(Part { start: 1.0, end: Some(2.0) }), &SampleOptions::default()).expect("inside");
        assert_eq!(part.indices, [25, 33, 42, 50]);
    }

    #[test]
    fn variable_rates_go_by_time() {
        // A frame each second for ten, then twenty in one second.
        let times: Vec<f64> = (0..10).map(f64::from).chain((0..20).map(|i| 10.0 + f64::from(i) * 0.05)).collect();
        let timeline = Timeline::new(times, Some(0.05), Some(3.0));
        assert!(!timeline.is_constant());
        assert!((timeline.duration() - 11.0).abs() < 1e-9);
        let options = SampleOptions { fps: 1.0, ..Default::default() };
        let sampling = timeline.select(None, &options).expect("frames");
        // Ten frames in eleven seconds: steps of 1.217 s, not of three frames.
        assert_eq!(sampling.indices, [0, 1, 2, 3, 4, 6, 7, 8, 9, 29]);
        // Twice a second shows the slow frames twice.
        let sampling = timeline.select(None, &SampleOptions { fps: 2.0, ..options }).expect("frames");
        assert_eq!(sampling.indices.len(), 22);
        assert_eq!(sampling.indices[..6], [0, 0, 1, 1, 2, 2]);
        let part = timeline.select(Some(Part { start: 2.0, end: Some(5.0) }), &options).expect("inside");
        assert_eq!(part.indices, [2, 3, 4, 5]);
    }

    #[test]
    fn parts_outside_are_refused() {
        let timeline = Timeline::constant(50, 25.0);
        for (start, end) in [(2.0, None), (-1.0, None), (1.0, Some(1.0)), (f64::NAN, None), (1.5, Some(1.0))] {
            let error = timeline.select(Some(Part { start, end }), &SampleOptions::default()).expect_err("outside");
            assert!(error.to_string().contains("the clip lasts 2.00 s"), "{error}");
        }
        let sliver = timeline.select(Some(Part { start: 0.41, end: Some(0.42) }), &SampleOptions::default());
        assert_eq!(sliver.expect("a frame").indices, [10]);
    }
}
