//! Clips of every kind, and what becomes of those that are damaged. The clips come from `tests/media/make_clips.sh`: the
//! brightness of a frame tells its number, and a white block in its top left corner how it was turned.
#![cfg(feature = "video")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use qlens::media::sampling::SampleOptions;
use qlens::media::{
    Clip, ClipPlan, DecodeAhead, Limits, MediaError, MediaErrorKind, MediaProblem, Medium, Part, PatchConfig, Rgb8,
    Source, write_frame_group,
};
use sha2::{Digest, Sha256};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media/clips")
}

fn open(name: &str) -> Clip {
    Clip::open(&Source::Path(folder().join(name)), &Limits::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn open_bytes(name: &str, bytes: &[u8]) -> Result<Clip, MediaError> {
    Clip::open(&Source::Bytes { name: name.to_owned(), bytes: Arc::from(bytes) }, &Limits::default())
}

/// Frames at `fps`, at about their own size.
fn options(fps: f64) -> SampleOptions {
    SampleOptions { fps, min_frames: 2, min_pixels: 784, max_pixels: Some(1 << 20), ..Default::default() }
}

fn plan(clip: &Clip, fps: f64) -> ClipPlan {
    clip.plan(None, &options(fps), &PatchConfig::default()).unwrap_or_else(|e| panic!("{e}"))
}

fn frames(clip: &Clip, plan: &ClipPlan) -> Vec<Rgb8> {
    clip.frames(plan).and_then(Iterator::collect).unwrap_or_else(|e| panic!("{e}"))
}

/// The number that a frame's brightness tells.
fn number(frame: &Rgb8) -> f64 {
    let centre = &frame.row(frame.height / 2)[frame.width / 2 * 3..][..3];
    (f64::from(centre.iter().map(|&c| u32::from(c)).sum::<u32>()) / 3.0 / (255.0 / 219.0) - 4.0) / 6.0
}

/// Which corner holds the white block: (right, bottom).
fn marked_corner(frame: &Rgb8) -> (bool, bool) {
    let level = |x: usize, y: usize| frame.row(y)[x * 3 + 1];
    let (right, bottom) = (frame.width - 4, frame.height - 4);
    let corners = [(false, false), (true, false), (false, true), (true, true)];
    let brightest =
        corners.into_iter().max_by_key(|&(x, y)| level(if x { right } else { 3 }, if y { bottom } else { 3 }));
    brightest.expect("four corners")
}

/// What a clip is to be found as.
struct Expected {
    name: &'static str,
    n_frames: usize,
    fps: f64,
    size: (usize, usize),
    corner: (bool, bool),
    /// The number that the frame at an index shows.
    shows: fn(usize) -> usize,
}

const USUAL: Expected =
    Expected { name: "", n_frames: 30, fps: 10.0, size: (64, 48), corner: (false, false), shows: |i| i };

fn expected() -> Vec<Expected> {
    let usual = |name| Expected { name, ..USUAL };
    let variable = |name| Expected { n_frames: 6, fps: 6.0 / 2.2, shows: |i| i / 2 * 10 + i % 2, ..usual(name) };
    vec![
        usual("h264.mp4"),
        usual("h264.mkv"),
        usual("fragmented.mp4"),
        usual("one-group.mp4"),
        usual("hevc.mp4"),
        usual("hevc-10bit.mkv"),
        usual("av1.mkv"),
        usual("vp9.webm"),
        usual("vp8.webm"),
        usual("mpeg4.avi"),
        usual("bt709.mp4"),
        usual("two-streams.mkv"),
        Expected { n_frames: 12, ..usual("mjpeg.avi") },
        Expected { n_frames: 12, ..usual("animated.gif") },
        Expected { n_frames: 12, ..usual("animated.webp") },
        Expected { n_frames: 25, shows: |i| i + 5, ..usual("edit-list.mov") },
        Expected { size: (48, 64), corner: (false, true), ..usual("turned-90.mp4") },
        Expected { corner: (true, true), ..usual("turned-180.mp4") },
        Expected { size: (85, 48), ..usual("wide-pixels.mp4") },
        Expected { size: (85, 48), ..usual("wide-container.mp4") },
        Expected { size: (85, 48), ..usual("wide-container.mkv") },
        usual("h264.flv"),
        usual("h264.ts"),
        Expected { n_frames: 12, ..usual("mpeg4.3gp") },
        usual("wmv.asf"),
        Expected { fps: 25.0, ..usual("mpeg1.mpg") },
        usual("theora.ogv"),
        Expected { fps: 100_000.0, ..usual("fast.mp4") },
        Expected { n_frames: 1, ..usual("one-frame.mp4") },
        variable("variable-rate.mp4"),
        variable("variable-rate.webm"),
    ]
}

#[test]
fn every_kind_is_read_frame_by_frame() {
    let mut failures = Vec::new();
    for want in expected() {
        let clip = open(want.name);
        let info = clip.info();
        let found = (info.n_frames, (info.width, info.height), info.variable_rate);
        if found != (want.n_frames, want.size, want.name.starts_with("variable")) {
            failures.push(format!("{}: {info:?}", want.name));
        }
        if (info.fps / want.fps - 1.0).abs() > 1e-3 || info.warning.is_some() {
            failures.push(format!("{}: {info:?}", want.name));
        }
        // All frames; some; and few, so that decoders are restarted at keyframes.
        for fps in [want.fps, want.fps / 3.0, want.fps / 13.0] {
            let plan = plan(&clip, fps);
            let shown = frames(&clip, &plan);
            assert_eq!(shown.len(), plan.n_frames());
            for (&index, frame) in plan.indices.iter().zip(&shown) {
                let (got, wanted) = (number(frame), (want.shows)(index) as f64);
                if (got - wanted).abs() > 0.4 || marked_corner(frame) != want.corner {
                    let corner = marked_corner(frame);
                    failures
                        .push(format!("{} at {fps}: frame {index} shows {got:.2} {corner:?}, not {wanted}", want.name));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn times_are_the_clips_own() {
    let clip = open("variable-rate.mp4");
    let plan = plan(&clip, 5.0);
    // 2.2 s at 5 a second, rounded down to even; frames stand until the next one comes.
    assert_eq!(plan.n_frames(), 10);
    assert!((plan.seconds_per_group - 2.0 / (10.0 / 2.2)).abs() < 1e-9);
    let starts = [0.0, 0.1, 1.0, 1.1, 2.0, 2.1, 2.2];
    for (k, (&index, &time)) in plan.indices.iter().zip(&plan.timestamps).enumerate() {
        assert!((time - (2.2 - 0.2) / 9.0 * k as f64).abs() < 1e-9, "frame {k} at {time}");
        assert!(starts[index] <= time + 1e-3 && time < starts[index + 1] + 1e-3, "frame {index} at {time}");
    }
    let part = clip.plan(Some(Part { start: 1.0, end: Some(2.0) }), &options(2.0), &PatchConfig::default());
    let part = part.expect("inside");
    assert_eq!((part.indices.clone(), part.start), (vec![2, 3], 1.0));
}

#[test]
fn groups_hold_two_frames_and_odd_ones_repeat() {
    let clip = open("h264.mp4");
    let plan = plan(&clip, 2.0);
    assert_eq!((plan.n_frames(), plan.grid_thw, plan.resized), (6, [3, 4, 4], (56, 56)));
    let shown = frames(&clip, &plan);
    let groups: Vec<_> = clip.groups(&plan).and_then(Iterator::collect).expect("decodable");
    assert_eq!(groups.len(), plan.n_groups());
    for (i, group) in groups.iter().enumerate() {
        let mut values = Vec::new();
        write_frame_group(&[&shown[2 * i], &shown[2 * i + 1]], &plan.patches, &mut values);
        assert_eq!(group.pixel_values, values);
        assert_eq!(group.time, plan.timestamps[2 * i]);
    }
    let mut ahead = Vec::new();
    let decoded = std::sync::atomic::AtomicUsize::new(0);
    let one_ahead = DecodeAhead { groups: 1, decoded: &decoded };
    let warning = clip.for_each_group(&plan, one_ahead, |group| {
        ahead.push(group);
        Ok::<_, MediaError>(())
    });
    assert!(warning.expect("decodable").is_none());
    assert_eq!(ahead, groups);
    assert_eq!(decoded.into_inner(), plan.n_frames());
    // Whoever has enough stops the decoding.
    let mut seen = 0;
    let decoded = std::sync::atomic::AtomicUsize::new(0);
    let stopped = clip.for_each_group(&plan, DecodeAhead { groups: 0, decoded: &decoded }, |_| {
        seen += 1;
        Err(MediaError::from(MediaProblem::NoFrames))
    });
    assert!(stopped.is_err() && seen == 1);
    assert!(decoded.into_inner() <= 4, "decoding ran on");

    let one = open("one-frame.mp4");
    let plan = self::plan(&one, 2.0);
    let groups: Vec<_> = one.groups(&plan).and_then(Iterator::collect).expect("decodable");
    assert_eq!((groups.len(), plan.grid_thw), (1, [1, 4, 4]));
    for channel in groups[0].pixel_values.chunks(392) {
        assert_eq!(channel[..196], channel[196..]);
    }
}

#[test]
fn token_budgets_are_kept() {
    for name in ["h264.mp4", "wide-pixels.mp4", "variable-rate.mp4", "one-frame.mp4"] {
        let clip = open(name);
        for tokens in [4, 10, 16, 33, 64, 100, 1000, 100_000] {
            let options = SampleOptions { fps: 10.0, max_tokens: Some(tokens), ..Default::default() };
            match clip.plan(None, &options, &PatchConfig::default()) {
                Ok(plan) => assert!(plan.n_tokens() <= tokens, "{name}: {} of {tokens} tokens", plan.n_tokens()),
                Err(error) => assert!(tokens < 16, "{error}"),
            }
        }
    }
    // A generous one changes nothing; one token is never enough.
    let clip = open("h264.mp4");
    let free = clip.plan(None, &SampleOptions::default(), &PatchConfig::default()).expect("fits");
    let generous = SampleOptions { max_tokens: Some(1 << 20), ..Default::default() };
    assert_eq!(clip.plan(None, &generous, &PatchConfig::default()).expect("fits"), free);
    let one = SampleOptions { max_tokens: Some(0), ..Default::default() };
    let error = clip.plan(None, &one, &PatchConfig::default()).expect_err("none");
    assert_eq!(error.kind(), MediaErrorKind::Usage);
}

#[test]
fn pictures_as_a_clip() {
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media/pictures");
    let sources = |names: &[&str]| names.iter().map(|n| Source::Path(pictures.join(n))).collect::<Vec<_>>();
    let clip =
        Clip::from_pictures(sources(&["rgb.png", "444.jpg", "grey.png"]), 4.0, &Limits::default()).expect("three");
    let plan = plan(&clip, 1.0);
    assert_eq!((plan.indices.clone(), plan.sample_fps, plan.n_groups()), (vec![0, 1, 2], 4.0, 2));
    assert_eq!(frames(&clip, &plan).len(), 3);
    assert_eq!(clip.groups(&plan).expect("opens").count(), 2);
    let uneven =
        Clip::from_pictures(sources(&["rgb.png", "1x1.png"]), 4.0, &Limits::default()).expect("the first is fine");
    let plan = self::plan(&uneven, 1.0);
    let error = uneven.frames(&plan).and_then(|f| f.collect::<Result<Vec<_>, _>>()).expect_err("sizes differ");
    assert!(error.to_string().ends_with("1x1.png: 1x1 pixels, but the first picture of the clip has 29x18"), "{error}");
    assert!(Clip::from_pictures(Vec::new(), 4.0, &Limits::default()).is_err());
}

#[test]
fn what_is_no_clip_is_refused() {
    let cases = [
        ("sound.m4a", "there are no moving pictures in it"),
        ("cover.m4a", "there are no moving pictures in it"),
        ("../pictures/rgb.png", "is a PNG picture, not a clip"),
        ("../pictures/palette.gif", "is a GIF picture, not a clip"),
        ("../make_clips.sh", "neither a picture nor a clip of a known format"),
    ];
    for (name, reason) in cases {
        let error = Clip::open(&Source::Path(folder().join(name)), &Limits::default()).map(|_| ()).expect_err(name);
        assert_eq!(error.kind(), MediaErrorKind::BadContent);
        assert!(error.to_string().contains(reason), "{error}");
    }
    let missing = Clip::open(&Source::Path(folder().join("missing.mp4")), &Limits::default()).map(|_| ());
    assert_eq!(missing.expect_err("missing").kind(), MediaErrorKind::NoInput);
    let small = Limits { max_pixels: 64 * 48 - 1, ..Limits::default() };
    let error = Clip::open(&Source::Path(folder().join("h264.mp4")), &small).map(|_| ()).expect_err("too large");
    assert!(error.to_string().contains("64x48 pixels are more than"), "{error}");
}

#[test]
fn any_medium_by_its_content() {
    let load = |path: &str| Medium::load(Source::Path(folder().join(path)), &Limits::default());
    for (path, moves) in [
        ("h264.mkv", true),
        ("animated.webp", true),
        ("animated.gif", true),
        ("../pictures/palette.gif", false),
        ("../pictures/lossy.webp", false),
        ("../pictures/420.jpg", false),
    ] {
        let medium = load(path).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(matches!(medium, Medium::Clip(_)), moves, "{path}");
        let bytes = std::fs::read(folder().join(path)).expect("readable");
        assert_eq!(medium.sha256().expect("readable"), <[u8; 32]>::from(Sha256::digest(&bytes)), "{path}");
    }
    assert!(load("sound.m4a").is_err());
}

/// Playlists could make the library open other files or addresses; they aren't even tried.
#[test]
fn playlists_lead_nowhere() {
    for text in ["#EXTM3U\n#EXTINF:1\nhttp://127.0.0.1:9/x.ts\n", "ffconcat version 1.0\nfile h264.mp4\n"] {
        let error = open_bytes("list", text.as_bytes()).map(|_| ()).expect_err(text);
        assert!(error.to_string().contains("neither a picture nor a clip of a known format"), "{error}");
    }
}

#[test]
fn truncated_clips_show_what_is_there() {
    for name in ["h264.mkv", "vp9.webm", "mpeg4.avi", "fragmented.mp4"] {
        let bytes = std::fs::read(folder().join(name)).expect("readable");
        let clip = open_bytes(name, &bytes[..bytes.len() * 7 / 10]).unwrap_or_else(|e| panic!("{e}"));
        let info = clip.info();
        assert!((4..30).contains(&info.n_frames), "{info:?}");
        let plan = plan(&clip, 5.0);
        let mut decoding = clip.frames(&plan).expect("opens");
        let shown: Vec<Rgb8> = decoding.by_ref().collect::<Result<_, _>>().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(shown.len(), plan.n_frames());
        // Sound knowledge up to the cut, and a line that says so.
        assert!(info.warning.is_some() || name == "fragmented.mp4" && decoding.warning().is_some(), "{info:?}");
        let line = info.warning.map(|w| w.to_string()).unwrap_or_default();
        assert!(name == "fragmented.mp4" || line.contains("of its 3.0 seconds are there"), "{name}: {line}");
        assert!(number(&shown[0]).abs() < 0.4);
    }
    // Without the index at its end, an MP4 tells nothing.
    let bytes = std::fs::read(folder().join("h264.mp4")).expect("readable");
    let error = open_bytes("h264.mp4", &bytes[..bytes.len() / 2]).map(|_| ()).expect_err("no index");
    assert!(error.to_string().contains("damaged or truncated"), "{error}");
}

/// What a file says of its colours comes through the decoder as it is, and may be any number.
#[test]
fn unknown_colours_are_as_those_that_are_not_told() {
    let bytes = std::fs::read(folder().join("colour.mkv")).expect("readable");
    // Matroska's MatrixCoefficients, a byte long: BT.709.
    let at = bytes.windows(4).position(|w| w == [0x55, 0xb1, 0x81, 1]).expect("told") + 3;
    let shown = |matrix: u8| {
        let mut other = bytes.clone();
        other[at] = matrix;
        let clip = open_bytes("colour.mkv", &other).expect("a clip");
        frames(&clip, &plan(&clip, 10.0)).swap_remove(0).data
    };
    let (bt709, untold) = (shown(1), shown(2));
    assert_ne!(bt709, untold);
    for matrix in [3, 16, 17, 100, 120, 200, 255] {
        assert_eq!(shown(matrix), untold, "{matrix}");
    }
}

/// Cut anywhere or with flipped bytes: frames or one line, soon, and never a panic.
#[test]
fn damaged_clips_neither_panic_nor_hang() {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below.max(1) as u64) as usize
    };
    // A low limit: flipped dimensions may be valid, and filling large frames takes time.
    let limits = Limits { max_pixels: 1 << 18, ..Limits::default() };
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder()).expect("clips").map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    assert!(paths.len() > 20, "clips are missing: only {} there", paths.len());
    for path in paths {
        let name = path.display().to_string();
        let bytes = std::fs::read(&path).expect("readable");
        for round in 0..ROUNDS {
            let mut damaged = bytes.clone();
            if round % 3 == 0 {
                damaged.truncate(random(bytes.len()));
            } else {
                for _ in 0..1 + random(6) {
                    let at = if random(2) == 0 { random(bytes.len().min(400)) } else { random(bytes.len()) };
                    damaged[at] = random(256) as u8;
                }
            }
            let started = std::time::Instant::now();
            let source = Source::Bytes { name: name.clone(), bytes: Arc::from(damaged) };
            if let Err(error) = Clip::open(&source, &limits).and_then(|clip| look_through(&clip)) {
                let line = error.to_string();
                assert!(!line.contains('\n') && error.kind() != MediaErrorKind::Io, "{line}");
            }
            assert!(started.elapsed().as_secs() < 60, "{name}: round {round} took {:?}", started.elapsed());
        }
    }
}

const ROUNDS: usize = 12;

fn look_through(clip: &Clip) -> Result<(), MediaError> {
    let options = SampleOptions { max_frames: 8, min_pixels: 784, max_pixels: Some(3136), ..Default::default() };
    let plan = clip.plan(None, &options, &PatchConfig::default())?;
    let frames = clip.frames(&plan)?.collect::<Result<Vec<_>, _>>()?;
    assert_eq!(frames.len(), plan.n_frames());
    Ok(())
}
