//! When each frame of a clip is shown, and which frames to look at. Pure: no clip is opened here.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::error::{MediaError, MediaProblem};
use super::sampling::{self, SampleOptions};

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

    /// Splits a command line's argument such as `clip.mp4#t=12.5,40` into file and part. The name of a file that
    /// exists is taken as it stands, and so is what isn't a valid fragment.
    pub fn split_arg(arg: &OsStr) -> (OsString, Option<Part>) {
        let split = arg.to_str().and_then(|text| {
            let (file, fragment) = text.rsplit_once('#')?;
            Some((file, Part::from_fragment(fragment)?))
        });
        match split {
            Some((file, part)) if !Path::new(arg).exists() => (file.into(), Some(part)),
            _ => (arg.to_owned(), None),
        }
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

/// The frames to look at.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Selection {
    /// Indices of the frames, ascending; the same one may come several times.
    pub indices: Vec<usize>,
    /// When each of them is looked at, in seconds from the clip's first frame.
    pub times: Vec<f64>,
    /// Frames a second that this amounts to.
    pub sample_fps: f64,
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
    /// Seconds from the first frame's start to the last one's end.
    duration: f64,
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
        let n = times.len() as f64;
        if constant {
            let believable = claimed_fps.filter(|claimed| (claimed / measured - 1.0).abs() < 0.02);
            let fps = believable.unwrap_or(measured);
            return Timeline { times, fps, constant, duration: n / fps };
        }
        let duration = last + last_seconds.filter(|s| *s > 0.0).unwrap_or(1.0 / measured);
        Timeline { times, fps: n / duration, constant, duration }
    }

    /// A timeline of `n` frames at `fps` frames a second.
    pub(super) fn constant(n: usize, fps: f64) -> Timeline {
        Timeline { times: (0..n).map(|i| i as f64 / fps).collect(), fps, constant: true, duration: n as f64 / fps }
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
        self.duration
    }

    fn time(&self, index: usize) -> f64 {
        self.times.get(index).copied().unwrap_or(self.duration)
    }

    /// The index of the frame that stands at `time`; before the first and after the last frame, that one.
    pub(super) fn shown_at(&self, time: f64) -> usize {
        self.times.partition_point(|&start| start <= time + 1e-6).saturating_sub(1)
    }

    /// The frames to look at in `part`.
    ///
    /// At a constant rate this is the released utilities' arithmetic, on frame indices. At a variable rate, indices
    /// say nothing about time: there, the frames shown at evenly spread times are taken, so that a group's position
    /// is true to the clip's clock; a frame that stands for long comes several times.
    pub(super) fn select(&self, part: Option<Part>, options: &SampleOptions) -> Result<Selection, MediaError> {
        let window = self.window(part)?;
        if !self.constant {
            return self.select_by_time(&window, options);
        }
        let (first, last) = self.indices_of(&window);
        let n_frames = last - first + 1;
        let n = sampling::frame_count(n_frames, self.fps, options)?;
        Ok(self.spread(first, last, n))
    }

    fn select_by_time(&self, window: &Part, options: &SampleOptions) -> Result<Selection, MediaError> {
        let start = window.start;
        let seconds = window.end.unwrap_or(self.duration()) - start;
        let inside = self.times.iter().filter(|&&t| t >= start && t < start + seconds).count();
        // As if the clip had a frame whenever one is wanted.
        let virtual_frames = (inside as f64).max((seconds * options.fps).ceil()).max(1.0);
        let n = sampling::frame_count(virtual_frames as usize, virtual_frames / seconds, options)?;
        // From the first to the last of those frames.
        let step = (seconds - seconds / virtual_frames) / (n.max(2) - 1) as f64;
        let times: Vec<f64> = (0..n).map(|i| start + step * i as f64).collect();
        Ok(Selection {
            indices: times.iter().map(|&t| self.shown_at(t)).collect(),
            times,
            sample_fps: n as f64 / seconds,
        })
    }

    /// `n` frames spread evenly from `first` to `last`.
    fn spread(&self, first: usize, last: usize, n: usize) -> Selection {
        let indices = sampling::linspace(first, last, n);
        let times = indices.iter().map(|&i| self.time(i)).collect();
        let n_frames = last - first + 1;
        Selection { indices, times, sample_fps: n as f64 / n_frames as f64 * self.fps }
    }

    /// All frames of `part`, thinned out evenly only where there are more than `max_frames`.
    pub(super) fn select_all(&self, part: Option<Part>, max_frames: usize) -> Result<Selection, MediaError> {
        let (first, last) = self.indices_of(&self.window(part)?);
        let n = (last - first + 1).min(max_frames);
        if n == 0 {
            return Err(MediaProblem::FrameCounts { min_frames: 1, max_frames }.into());
        }
        Ok(self.spread(first, last, n))
    }

    /// `part`, or the whole clip, cut to the clip.
    fn window(&self, part: Option<Part>) -> Result<Part, MediaError> {
        if self.times.is_empty() {
            return Err(MediaProblem::NoFrames.into());
        }
        let duration = self.duration();
        let Part { start, end } = part.unwrap_or(Part { start: 0.0, end: None });
        let end = end.unwrap_or(duration);
        if !(start >= 0.0 && start < duration && end > start) {
            return Err(MediaProblem::PartOutside { start, end, duration }.into());
        }
        Ok(Part { start, end: Some(end.min(duration)) })
    }

    /// The first and the last frame of a window at a constant rate, as the released utilities round.
    fn indices_of(&self, window: &Part) -> (usize, usize) {
        let last = self.times.len().saturating_sub(1);
        let end = window.end.map_or(last, |end| ((end * self.fps).floor() as usize).min(last));
        let first = ((window.start * self.fps).ceil() as usize).min(last);
        // A part between two frames shows the earlier one.
        (first.min(end), end)
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
    fn arguments_with_parts() {
        let split = |arg: &str| Part::split_arg(OsStr::new(arg));
        assert_eq!(split("a#b.mp4#t=1,2"), ("a#b.mp4".into(), Some(Part { start: 1.0, end: Some(2.0) })));
        assert_eq!(split("a#b.mp4"), ("a#b.mp4".into(), None));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let odd = folder.path().join("odd#t=1,2");
        std::fs::write(&odd, b"x").expect("writable");
        assert_eq!(Part::split_arg(odd.as_os_str()), (odd.clone().into_os_string(), None));
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
        let selection = timeline.select(None, &options).expect("frames");
        // Ten frames in eleven seconds: steps of 1.18 s, not of three frames.
        assert_eq!(selection.indices, [0, 1, 2, 3, 4, 5, 7, 8, 9, 22]);
        // Twice a second shows the slow frames twice.
        let selection = timeline.select(None, &SampleOptions { fps: 2.0, ..options }).expect("frames");
        assert_eq!((selection.indices.len(), selection.sample_fps), (22, 2.0));
        assert_eq!(selection.indices[..6], [0, 0, 1, 1, 2, 2]);
        // A part in which no frame begins shows the one that stands.
        let part = timeline.select(Some(Part { start: 2.5, end: Some(2.9) }), &options).expect("inside");
        assert!(part.indices.iter().all(|&i| i == 2) && part.times[0] == 2.5, "{part:?}");
    }

    #[test]
    fn named_frames_are_all_taken() {
        let timeline = Timeline::constant(7, 2.0);
        let all = timeline.select_all(None, 768).expect("frames");
        assert_eq!((all.indices, all.sample_fps), ((0..7).collect(), 2.0));
        let thinned = timeline.select_all(None, 4).expect("frames");
        assert_eq!((thinned.indices, thinned.sample_fps), (vec![0, 2, 4, 6], 8.0 / 7.0));
        assert_eq!(
            timeline.select_all(Some(Part { start: 1.0, end: Some(2.0) }), 768).expect("inside").indices,
            [2, 3, 4]
        );
        assert!(timeline.select_all(None, 0).is_err());
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
