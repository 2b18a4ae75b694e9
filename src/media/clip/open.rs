//! Opening a video file, and a look through its packets.

use std::sync::Once;

use ffmpeg_next as ffmpeg;

use ffmpeg::codec::packet::{self, Packet};
use ffmpeg::codec::{self, threading};
use ffmpeg::format::context::{Input, StreamIo};
use ffmpeg::format::stream::Disposition;
use ffmpeg::{decoder, media};

use super::Probe;
use crate::media::error::MediaProblem;
use crate::media::rgb::Turn;
use crate::media::source::{FileData, Limits};

/// The containers that may be opened: files with pictures inside, no playlists that lead elsewhere.
const CONTAINERS: &str = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,ogg,asf,mpeg,mpegts,mpegvideo,yuv4mpegpipe";
/// Frames that are remembered at most: 16 bytes each, 77 hours at 60 a second.
const MAX_FRAMES: usize = 1 << 24;
/// Threads of one decoder; each holds a frame.
const MAX_THREADS: usize = 8;
/// Packets and frames in a row that may fail before a clip counts as over.
pub(super) const MAX_FAILURES: usize = 1 << 16;

fn damaged(error: ffmpeg::Error) -> MediaProblem {
    MediaProblem::ClipDamaged { detail: error.to_string() }
}

pub(super) fn open_input(data: &FileData) -> Result<Input, MediaProblem> {
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
pub(super) fn best_stream(input: &Input) -> Result<(usize, f64), MediaProblem> {
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

pub(super) fn open_decoder(input: &Input, stream: usize, limits: &Limits) -> Result<decoder::Video, MediaProblem> {
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

pub(super) fn describe(input: &Input, stream: usize, decoder: &decoder::Video) -> Probe {
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
pub(super) fn next_packet(input: &mut Input) -> Option<Packet> {
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
pub(super) struct Scan {
    pub stamps: Vec<i64>,
    pub keyframes: Vec<i64>,
    /// Whether every frame has a time stamp; else they're numbered.
    pub timed: bool,
    /// How long the last frame is shown, in units of time stamps.
    pub last_duration: i64,
    /// Frames that are decoded but not shown, before the clip's start.
    pub not_shown: usize,
    /// Where the last packet of any stream ends, in seconds.
    pub end_seconds: f64,
}

/// Whether a packet holds a frame that is never shown. Only VP8 stores such frames in packets of their own.
pub(super) fn hidden_frames(decoder: &decoder::Video) -> fn(&Packet) -> bool {
    match decoder.id() {
        codec::Id::VP8 => |packet| packet.data().and_then(|data| data.first()).is_some_and(|tag| tag & 0x10 == 0),
        _ => |_| false,
    }
}

pub(super) fn scan_packets(
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
