//! Which packets are fed to the decoder, and which frames come out of it.
//!
//! A clip is read twice. [`VideoFile::open`] walks over all packets without decoding: that gives every frame's time
//! and every keyframe, whatever the header claims, and costs little more than reading the file.
//! [`VideoFile::frames`] then decodes no more than what the wanted frames need:
//!
//! ```text
//! for each wanted frame, in order of time:
//!     unless the decoder is within its group of pictures already, or nearly:
//!         drop packets up to the last keyframe at or before it; forget the decoder's state
//!     feed packets, skipping frames that are neither wanted nor referred to, until the wanted frame comes out
//!     once its packet is in and the next wanted frame lies behind another keyframe: drain instead of feeding more
//! ```
//!
//! Dropping packets, not seeking, costs some reading but lands exactly where it should in every container.

use ffmpeg_next as ffmpeg;

use ffmpeg::codec::discard::Discard;
use ffmpeg::codec::packet::Packet;
use ffmpeg::format::context::Input;
use ffmpeg::{decoder, frame};

use super::aspect::pixel_aspect;
use super::convert::{Converter, convert};
use super::open::{
    MAX_FAILURES, Scan, best_stream, describe, hidden_frames, next_packet, open_decoder, open_input, scan_packets,
};
use super::{Decoded, Probe};
use crate::media::error::MediaProblem;
use crate::media::source::{FileData, Limits};

/// A keyframe that is nearer than this isn't worth restarting the decoder for.
const RESTART_FRAMES: usize = 8;
/// "Feed more first".
const AGAIN: ffmpeg::Error = ffmpeg::Error::Other { errno: ffmpeg::error::EAGAIN };

/// A clip whose packets have been looked through.
pub(in crate::media) struct VideoFile {
    data: FileData,
    stream: usize,
    /// The time stamp of each frame in order of presentation; its number where the file has no time stamps.
    stamps: Vec<i64>,
    /// Their time stamps, ascending.
    keyframes: Vec<i64>,
    timed: bool,
    limits: Limits,
}

impl VideoFile {
    /// Opens a clip and looks through its packets.
    pub(in crate::media) fn open(data: FileData, limits: &Limits) -> Result<(VideoFile, Probe), MediaProblem> {
        let mut input = open_input(&data)?;
        let (stream, time_base) = best_stream(&input)?;
        let decoder = open_decoder(&input, stream, &Limits { max_pixels: u64::MAX, ..*limits })?;
        let mut probe = describe(&input, stream, &decoder);
        // Beyond these, it's a lie rather than an odd camera.
        if let Some(told) = pixel_aspect(&mut *data.open()?, stream).filter(|aspect| (0.1..=10.0).contains(aspect)) {
            probe.pixel_aspect = told;
        }
        limits.check_size(probe.stored.0 as u64, probe.stored.1 as u64, 0)?;
        let hidden = hidden_frames(&decoder);
        drop(decoder);
        let first_shown = input.stream(stream).map(|s| s.start_time()).filter(|&t| t != i64::MIN);
        let scan = scan_packets(&mut input, stream, first_shown, hidden)?;
        probe.n_frames = scan.stamps.len();
        if scan.timed {
            probe.times = scan.stamps.iter().map(|&t| t as f64 * time_base).collect();
            probe.last_seconds = Some(scan.last_duration as f64 * time_base).filter(|s| *s > 0.0);
        }
        probe.end_seconds = scan.end_seconds;
        // What is cut off at the front by an edit list has been counted by the header.
        probe.claimed.0 = probe.claimed.0.map(|n| n.saturating_sub(scan.not_shown));
        let Scan { stamps, keyframes, timed, .. } = scan;
        Ok((VideoFile { data, stream, stamps, keyframes, timed, limits: *limits }, probe))
    }

    /// Decodes the frames at `indices` (ascending, without repetitions).
    pub(in crate::media) fn frames(&self, indices: &[usize]) -> Result<VideoFrames<'_>, MediaProblem> {
        let input = open_input(&self.data)?;
        let decoder = open_decoder(&input, self.stream, &self.limits)?;
        let wanted: Vec<i64> = indices.iter().filter_map(|&i| self.stamps.get(i).copied()).collect();
        Ok(VideoFrames {
            file: self,
            input,
            decoder,
            fed: vec![false; wanted.len()],
            wanted,
            next: 0,
            last_fed: i64::MIN,
            skip_until: None,
            end: End::Open,
            shown: None,
            before: None,
            n_decoded: 0,
            converter: None,
        })
    }

    /// The file's bytes.
    pub(in crate::media) fn data(&self) -> &FileData {
        &self.data
    }

    /// The last keyframe at or before `stamp`.
    fn keyframe_of(&self, stamp: i64) -> Option<i64> {
        self.keyframes[..self.keyframes.partition_point(|&k| k <= stamp)].last().copied()
    }

    fn frames_between(&self, from: i64, to: i64) -> usize {
        let before = |stamp| self.stamps.partition_point(|&s| s < stamp);
        before(to).saturating_sub(before(from))
    }
}

/// Decodes the wanted frames of a clip one after another.
pub(in crate::media) struct VideoFrames<'a> {
    file: &'a VideoFile,
    input: Input,
    decoder: decoder::Video,
    wanted: Vec<i64>,
    /// Whether each wanted frame's packet has been fed.
    fed: Vec<bool>,
    next: usize,
    /// The latest time stamp that has been fed.
    last_fed: i64,
    /// Packets are dropped up to the keyframe with this stamp.
    skip_until: Option<i64>,
    end: End,
    /// The frame that came out of the decoder last, and the one before it.
    shown: Option<(i64, frame::Video)>,
    before: Option<(i64, frame::Video)>,
    /// Frames that came out, which numbers them where the file has no time stamps.
    n_decoded: i64,
    converter: Option<Converter>,
}

/// How far the packets have been fed.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// There are more.
    Open,
    /// The decoder was told that there are none, to get its frames before a restart.
    Drained,
    /// There are none.
    File,
}

impl VideoFrames<'_> {
    /// The next wanted frame, as stored: neither turned upright nor stretched to square pixels. A frame that can't be
    /// decoded is replaced by the one shown before it, else after it; `None` if there is neither.
    pub(in crate::media) fn next_frame(&mut self) -> Result<Option<Decoded>, MediaProblem> {
        let Some(&want) = self.wanted.get(self.next) else { return Ok(None) };
        if self.end != End::File && self.restart_pays(want) {
            self.restart(want);
        }
        while self.shown.as_ref().is_none_or(|(stamp, _)| *stamp < want) && self.advance() {}
        self.next += 1;
        let (exact, frame) = match (&self.shown, &self.before) {
            (Some((stamp, frame)), _) if *stamp == want => (true, frame),
            (Some((stamp, _)), Some((_, earlier))) if *stamp > want => (false, earlier),
            (Some((_, frame)), _) => (false, frame),
            (None, _) => return Ok(None),
        };
        let image = convert(frame, &mut self.converter, &self.file.limits)?;
        Ok(Some(Decoded { image, exact }))
    }

    /// Whether `want` is reached sooner from its keyframe than from where the decoder is.
    fn restart_pays(&self, want: i64) -> bool {
        let far = |key: i64| key > self.last_fed && self.file.frames_between(self.last_fed, key) > RESTART_FRAMES;
        // Once drained, a decoder has to begin anew.
        let drained_short = self.end == End::Drained && self.shown.as_ref().is_none_or(|(stamp, _)| *stamp < want);
        drained_short || self.file.keyframe_of(want).is_some_and(far)
    }

    fn restart(&mut self, want: i64) {
        self.skip_until = self.file.keyframe_of(want).filter(|&key| key > self.last_fed);
        self.decoder.flush();
        self.end = End::Open;
        (self.shown, self.before) = (None, None);
    }

    /// Gets another frame out of the decoder; false if there are no more.
    fn advance(&mut self) -> bool {
        let mut frame = self.before.take().map_or_else(frame::Video::empty, |(_, frame)| frame);
        let mut failures = 0;
        loop {
            match self.decoder.receive_frame(&mut frame) {
                Ok(()) => {
                    let number = self.n_decoded;
                    self.n_decoded += 1;
                    let stamp = if self.file.timed { frame.pts().or(frame.timestamp()) } else { Some(number) };
                    // A frame without a time can't be the wanted one, nor tell which one it follows.
                    let Some(stamp) = stamp else { continue };
                    self.before = self.shown.take();
                    self.shown = Some((stamp, frame));
                    return true;
                }
                Err(ffmpeg::Error::Eof) => return false,
                // A damaged frame; the next one may be fine. While draining, nothing but the count ends this.
                Err(error) if self.end != End::Open => {
                    failures += 1;
                    if error == AGAIN || failures > MAX_FAILURES {
                        return false;
                    }
                }
                Err(_) => {
                    if !self.feed() {
                        return false;
                    }
                }
            }
        }
    }

    /// Feeds one packet, or the end; false if the end has been fed already.
    fn feed(&mut self) -> bool {
        if self.end != End::Open {
            return false;
        }
        if self.fed.get(self.next) == Some(&true) && self.next_lies_behind_a_keyframe() {
            self.end = End::Drained;
            return self.decoder.send_eof().is_ok();
        }
        loop {
            let Some(packet) = next_packet(&mut self.input) else {
                self.end = End::File;
                return self.decoder.send_eof().is_ok();
            };
            if packet.stream() != self.file.stream {
                continue;
            }
            let stamp = packet.pts().or(packet.dts()).unwrap_or(i64::MIN);
            if let Some(key) = self.skip_until {
                if !(packet.is_key() && stamp >= key) {
                    continue;
                }
                self.skip_until = None;
            }
            self.send(&packet, stamp);
            return true;
        }
    }

    fn send(&mut self, packet: &Packet, stamp: i64) {
        let mut needed = true;
        if self.file.timed {
            self.last_fed = self.last_fed.max(stamp);
            let found = self.wanted.binary_search(&stamp);
            if let Ok(i) = found {
                self.fed[i] = true;
            }
            // Other frames may refer to it; if they don't, its decoding can be left out.
            needed = found.is_ok();
        }
        self.decoder.skip_frame(if needed { Discard::Default } else { Discard::NonReference });
        // What is refused is damaged; the frames around it may be fine, and what is missing in the end is reported.
        let _ = self.decoder.send_packet(packet);
    }

    /// Whether the frame wanted after this one needs a restart, so that the decoder may be drained for this one.
    fn next_lies_behind_a_keyframe(&self) -> bool {
        let key = self.wanted.get(self.next + 1).and_then(|&stamp| self.file.keyframe_of(stamp));
        key.is_some_and(|key| key > self.last_fed)
    }
}
