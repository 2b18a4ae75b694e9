//! Clips through the ffmpeg libraries; the only file that names them.
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

use std::sync::Once;

use ffmpeg_next as ffmpeg;

use ffmpeg::codec::discard::Discard;
use ffmpeg::codec::packet::{self, Packet};
use ffmpeg::codec::{self, threading};
use ffmpeg::color::{Range, Space};
use ffmpeg::format::Pixel;
use ffmpeg::format::context::{Input, StreamIo};
use ffmpeg::format::stream::Disposition;
use ffmpeg::software::scaling;
use ffmpeg::{decoder, frame, media};

use super::error::MediaProblem;
use super::rgb::{Rgb8, Turn};
use super::source::{FileData, Limits};
use super::yuv::{self, Matrix};

/// The containers that may be opened: files with pictures inside, no playlists that lead elsewhere.
const CONTAINERS: &str = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,ogg,asf,mpeg,mpegts,mpegvideo,yuv4mpegpipe";
/// Frames that are remembered at most: twelve bytes each, 77 hours at 60 a second.
const MAX_FRAMES: usize = 1 << 24;
/// A keyframe that is nearer than this isn't worth restarting the decoder for.
const RESTART_FRAMES: usize = 8;
/// Threads of one decoder; each holds a frame.
const MAX_THREADS: usize = 8;

/// Packets and frames in a row that may fail before a clip counts as over.
const MAX_FAILURES: usize = 1 << 16;
/// "Feed more first".
const AGAIN: ffmpeg::Error = ffmpeg::Error::Other { errno: ffmpeg::error::EAGAIN };

/// What a clip's file says about itself, and when its frames are shown.
pub(super) struct Probe {
    pub container: String,
    pub codec: String,
    /// Stored width and height in pixels.
    pub stored: (usize, usize),
    /// Width of a pixel over its height.
    pub pixel_aspect: f64,
    pub turn: Turn,
    /// Seconds at which frames are shown, ascending; empty if the file gives frames no times.
    pub times: Vec<f64>,
    pub n_frames: usize,
    /// How long the last frame is shown, in seconds.
    pub last_seconds: Option<f64>,
    /// Frames a second as the header claims.
    pub fps: Option<f64>,
    /// Frames and seconds as the header claims.
    pub claimed: (Option<usize>, Option<f64>),
    /// Where the last packet ends, sound included, in seconds.
    pub end_seconds: f64,
}

/// A clip whose packets have been looked through.
pub(super) struct VideoFile {
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
    pub(super) fn open(data: FileData, limits: &Limits) -> Result<(VideoFile, Probe), MediaProblem> {
        let mut input = open_input(&data)?;
        let (stream, time_base) = best_stream(&input)?;
        let decoder = open_decoder(&input, stream, &Limits { max_pixels: u64::MAX, ..*limits })?;
        let mut probe = describe(&input, stream, &decoder);
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
    pub(super) fn frames(&self, indices: &[usize]) -> Result<VideoFrames<'_>, MediaProblem> {
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
    pub(super) fn data(&self) -> &FileData {
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
pub(super) struct VideoFrames<'a> {
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

/// One decoded frame.
pub(super) struct Decoded {
    pub image: Rgb8,
    /// Whether it is the wanted frame itself, not its neighbour in place of one that can't be decoded.
    pub exact: bool,
}

impl VideoFrames<'_> {
    /// The next wanted frame, as stored: neither turned upright nor stretched to square pixels. A frame that can't be
    /// decoded is replaced by the one shown before it, else after it; `None` if there is neither.
    pub(super) fn next_frame(&mut self) -> Result<Option<Decoded>, MediaProblem> {
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

fn damaged(error: ffmpeg::Error) -> MediaProblem {
    MediaProblem::ClipDamaged { detail: error.to_string() }
}

fn open_input(data: &FileData) -> Result<Input, MediaProblem> {
    static SILENCE: Once = Once::new();
    // The library's own log would run through the answer; what matters of it becomes errors and warnings here.
    SILENCE.call_once(|| {
        // Only fills the table of error messages.
        let _ = ffmpeg::init();
        ffmpeg::log::set_level(ffmpeg::log::Level::Quiet);
    });
    // Through our own reader: no path is ever parsed as a protocol, and nothing else can be opened from within.
    let stream = StreamIo::from_read_seek(data.open()?).map_err(damaged)?;
    let mut options = ffmpeg::Dictionary::new();
    options.set("format_whitelist", CONTAINERS);
    options.set("protocol_whitelist", "none");
    ffmpeg::format::input_from_stream(stream, None, Some(options)).map_err(damaged)
}

/// The clip's main stream of pictures, and the seconds of one unit of its time stamps.
fn best_stream(input: &Input) -> Result<(usize, f64), MediaProblem> {
    let best = input.streams().best(media::Type::Video).ok_or(MediaProblem::NoVideoStream)?;
    // Music with a cover isn't a clip.
    if best.disposition().contains(Disposition::ATTACHED_PIC) {
        return Err(MediaProblem::NoVideoStream);
    }
    let unit = real(best.time_base())
        .ok_or_else(|| MediaProblem::ClipDamaged { detail: "its time stamps have no unit".to_owned() })?;
    Ok((best.index(), unit))
}

/// A positive fraction as a real number.
fn real(fraction: ffmpeg::Rational) -> Option<f64> {
    (fraction.numerator() > 0 && fraction.denominator() > 0).then(|| f64::from(fraction.0) / f64::from(fraction.1))
}

fn open_decoder(input: &Input, stream: usize, limits: &Limits) -> Result<decoder::Video, MediaProblem> {
    let parameters = input.stream(stream).ok_or(MediaProblem::NoVideoStream)?.parameters();
    let id = parameters.id();
    let refused = |error: ffmpeg::Error| MediaProblem::Codec { codec: id.name().to_owned(), detail: error.to_string() };
    let mut context = codec::Context::from_parameters(parameters).map_err(refused)?;
    let count = std::thread::available_parallelism().map_or(1, |n| n.get()).min(MAX_THREADS);
    context.set_threading(threading::Config { kind: threading::Type::Frame, count, safe: false });
    let codec = decoder::find(id).ok_or_else(|| refused(ffmpeg::Error::DecoderNotFound))?;
    let mut options = ffmpeg::Dictionary::new();
    // Beyond the size in the header, which is checked before: a stream may change its mind.
    options.set("max_pixels", &limits.max_pixels.min(i32::MAX as u64).to_string());
    context.decoder().open_as_with(codec, options).and_then(|opened| opened.video()).map_err(refused)
}

fn describe(input: &Input, stream: usize, decoder: &decoder::Video) -> Probe {
    let stream = input.stream(stream);
    let unit = stream.as_ref().and_then(|s| real(s.time_base()));
    let own_seconds =
        stream.as_ref().map(|s| s.duration()).filter(|&d| d > 0).zip(unit).map(|(d, unit)| d as f64 * unit);
    let whole_seconds = Some(input.duration()).filter(|&d| d > 0).map(|d| d as f64 / 1e6);
    Probe {
        container: input.format().description().to_owned(),
        codec: decoder.id().name().to_owned(),
        stored: (decoder.width() as usize, decoder.height() as usize),
        // Beyond these, it's a lie rather than an odd camera.
        pixel_aspect: real(decoder.aspect_ratio()).filter(|aspect| (0.1..=10.0).contains(aspect)).unwrap_or(1.0),
        turn: stream.as_ref().map_or(Turn::NONE, turn_of),
        times: Vec::new(),
        n_frames: 0,
        last_seconds: None,
        end_seconds: 0.0,
        fps: stream.as_ref().and_then(|s| real(s.avg_frame_rate()).or(real(s.rate()))),
        claimed: (
            stream.as_ref().and_then(|s| usize::try_from(s.frames()).ok()).filter(|&n| n > 0),
            own_seconds.or(whole_seconds),
        ),
    }
}

/// How the display matrix says that frames are to be turned. Only quarter turns and flips count.
fn turn_of(stream: &ffmpeg::Stream<'_>) -> Turn {
    let matrix = stream.side_data().find(|side| side.kind() == packet::side_data::Type::DisplayMatrix);
    let Some(matrix) = matrix else { return Turn::NONE };
    let entry = |i: usize| {
        matrix.data().get(4 * i..).and_then(|rest| rest.first_chunk::<4>()).map_or(0, |b| i32::from_ne_bytes(*b))
    };
    // A pixel at (x, y) is shown at (a x + c y, b x + d y).
    let [a, b, c, d] = [entry(0), entry(1), entry(3), entry(4)].map(i64::from);
    if a.abs() + d.abs() >= b.abs() + c.abs() {
        Turn { swap: false, flip_x: a < 0, flip_y: d < 0 }
    } else {
        Turn { swap: true, flip_x: b < 0, flip_y: c < 0 }
    }
}

/// The next packet that can be read; `None` at the end.
fn next_packet(input: &mut Input) -> Option<Packet> {
    let mut failures = 0;
    loop {
        let mut packet = Packet::empty();
        match packet.read(input) {
            Ok(()) => return Some(packet),
            // A damaged stretch: what follows may be fine.
            Err(ffmpeg::Error::InvalidData) if failures < MAX_FAILURES => failures += 1,
            Err(_) => return None,
        }
    }
}

/// What the packets of a stream tell.
struct Scan {
    stamps: Vec<i64>,
    keyframes: Vec<i64>,
    /// Whether every frame has a time stamp; else they're numbered.
    timed: bool,
    /// How long the last frame is shown, in units of time stamps.
    last_duration: i64,
    /// Frames that are decoded but not shown, before the clip's start.
    not_shown: usize,
    /// Where the last packet of any stream ends, in seconds.
    end_seconds: f64,
}

/// Whether a packet holds a frame that is never shown. Only VP8 stores such frames in packets of their own.
fn hidden_frames(decoder: &decoder::Video) -> fn(&Packet) -> bool {
    match decoder.id() {
        codec::Id::VP8 => |packet| packet.data().and_then(|data| data.first()).is_some_and(|tag| tag & 0x10 == 0),
        _ => |_| false,
    }
}

fn scan_packets(
    input: &mut Input,
    stream: usize,
    first_shown: Option<i64>,
    hidden: fn(&Packet) -> bool,
) -> Result<Scan, MediaProblem> {
    let mut scan = Scan {
        stamps: Vec::new(),
        keyframes: Vec::new(),
        timed: true,
        last_duration: 0,
        not_shown: 0,
        end_seconds: 0.0,
    };
    let units: Vec<f64> = input.streams().map(|s| real(s.time_base()).unwrap_or(0.0)).collect();
    let mut last = i64::MIN;
    while let Some(packet) = next_packet(input) {
        let unit = units.get(packet.stream()).copied().unwrap_or(0.0);
        let end = packet.pts().or(packet.dts()).map_or(0.0, |t| t as f64 + packet.duration() as f64);
        scan.end_seconds = scan.end_seconds.max(end * unit);
        if packet.stream() != stream {
            continue;
        }
        if packet.size() == 0 || hidden(&packet) {
            continue;
        }
        if scan.stamps.len() >= MAX_FRAMES {
            return Err(MediaProblem::TooManyFrames { limit: MAX_FRAMES });
        }
        let Some(stamp) = packet.pts() else {
            scan.timed = false;
            scan.stamps.push(0);
            continue;
        };
        if packet.is_key() {
            scan.keyframes.push(stamp);
        }
        // An edit list begins within a group of pictures: what lies before is decoded, but not shown.
        if first_shown.is_some_and(|first| stamp < first) {
            scan.not_shown += 1;
            continue;
        }
        scan.stamps.push(stamp);
        if stamp > last {
            (last, scan.last_duration) = (stamp, packet.duration());
        }
    }
    if scan.timed {
        scan.stamps.sort_unstable();
        scan.stamps.dedup();
        scan.keyframes.sort_unstable();
    } else {
        scan.stamps = (0..scan.stamps.len() as i64).collect();
        scan.keyframes.clear();
    }
    if scan.stamps.is_empty() { Err(MediaProblem::NoFrames) } else { Ok(scan) }
}

/// A conversion to RGB, kept while frames stay alike.
struct Converter {
    scaler: scaling::Context,
    source: (Pixel, u32, u32),
    out: frame::Video,
}

/// A decoded frame as RGB.
///
/// Colours go as the ffmpeg program converts them without options, which the original's readers amount to: BT.601
/// where the stream doesn't say otherwise, chroma not interpolated. The library's converter can't be told another
/// matrix through its safe interface; for other matrices and ranges it only evens out the planes, and
/// [`yuv::to_rgb`] does the rest. High dynamic range isn't tone-mapped, alpha not composited.
fn convert(frame: &frame::Video, kept: &mut Option<Converter>, limits: &Limits) -> Result<Rgb8, MediaProblem> {
    let (width, height) = (frame.width(), frame.height());
    limits.check_size(width.into(), height.into(), 0)?;
    let own = own_matrix(frame);
    let (target, flags) = match own {
        // "Point": each chroma sample as it stands, as in the direct conversion.
        Some((_, _, jpeg)) => (if jpeg { Pixel::YUVJ444P } else { Pixel::YUV444P }, scaling::Flags::POINT),
        None => (Pixel::RGB24, scaling::Flags::BICUBIC),
    };
    let source = (frame.format(), width, height);
    let failed = |error: ffmpeg::Error| MediaProblem::Codec {
        codec: format!("{:?}", frame.format()),
        detail: error.to_string(),
    };
    if kept.as_ref().is_none_or(|c| c.source != source || c.out.format() != target) {
        let scaler = scaling::Context::get(source.0, width, height, target, width, height, flags).map_err(failed)?;
        *kept = Some(Converter { scaler, source, out: frame::Video::new(target, width, height) });
    }
    let Some(Converter { scaler, out, .. }) = kept else { return Err(MediaProblem::NoFrames) };
    scaler.run(frame, out).map_err(failed)?;
    let (width, height) = (width as usize, height as usize);
    if let Some((matrix, full_range, _)) = own {
        let planes = [0, 1, 2].map(|i| (out.data(i), out.stride(i)));
        return Ok(yuv::to_rgb(planes, width, height, matrix, full_range));
    }
    let mut data = Vec::with_capacity(width * height * 3);
    for row in out.data(0).chunks(out.stride(0)).take(height) {
        data.extend_from_slice(&row[..width * 3]);
    }
    Ok(Rgb8 { width, height, data })
}

/// The matrix, whether levels use the full range, and whether the pixel type itself says that they do: for frames that
/// the library's converter would get wrong.
fn own_matrix(frame: &frame::Video) -> Option<(Matrix, bool, bool)> {
    let jpeg = matches!(
        frame.format(),
        Pixel::YUVJ420P | Pixel::YUVJ422P | Pixel::YUVJ444P | Pixel::YUVJ440P | Pixel::YUVJ411P
    );
    // RGB, palettes and grey have no matrix.
    const YUV: [&str; 8] = ["yuv", "nv", "p0", "p2", "p4", "uyvy", "yvyu", "y2"];
    let name = frame.format().descriptor()?.name();
    if !YUV.iter().any(|prefix| name.starts_with(prefix)) {
        return None;
    }
    let full_range = jpeg || frame.color_range() == Range::JPEG;
    let matrix = match frame.color_space() {
        Space::BT709 => Matrix::BT709,
        Space::BT2020NCL | Space::BT2020CL => Matrix::BT2020,
        Space::SMPTE240M => Matrix::SMPTE240M,
        _ if full_range && !jpeg => Matrix::BT601,
        _ => return None,
    };
    Some((matrix, full_range, jpeg))
}
