//! Clips, where the program was built with them.

use std::fs;

use crate::util::{json, reference, run, run_with_input, with_model};

fn clip() -> String {
    reference("tiny-tied/clip0.mp4").display().to_string()
}

#[test]
fn a_clip_is_seen_frame_by_frame() {
    let clip = clip();
    let media = |fps: &str| {
        let said =
            run(with_model(&["describe", &clip, "--json", "--max-tokens", "1", "--max-pixels", "20000", "--fps", fps]));
        json(said.answer())["media"][0].clone()
    };
    let (slow, quick) = (media("1"), media("8"));
    assert_eq!(slow["kind"], "video");
    let groups = |m: &serde_json::Value| m["grid_thw"][0].as_u64().expect("a number");
    assert!(groups(&quick) > groups(&slow), "{slow} {quick}");
    assert!(quick["seconds_per_group"].as_f64() < slow["seconds_per_group"].as_f64(), "{slow} {quick}");
    assert_eq!(quick["tokens"].as_u64().map(|n| n % groups(&quick)), Some(0));
}

#[test]
fn standard_input_may_be_a_clip() {
    let clip = clip();
    // Exact, since the random model has an answer then.
    let words = ["--max-tokens", "6", "-q", "--max-pixels", "20000", "--vision-precision", "exact"];
    let from_file = run(with_model(&[&["describe", clip.as_str()], &words[..]].concat()));
    let bytes = fs::read(&clip).expect("readable");
    let from_pipe = run_with_input(with_model(&[&["describe", "-"], &words[..]].concat()), &bytes);
    assert_eq!(from_file.answer(), from_pipe.answer());
}

#[test]
fn a_damaged_clip_is_65() {
    let mut bytes = fs::read(clip()).expect("readable");
    bytes.truncate(200);
    run_with_input(with_model(&["describe", "-"]), &bytes).fails(65, &["standard input"]);
}

/// The report on the only medium, with these options.
fn medium(words: &[&str]) -> serde_json::Value {
    let said = run(with_model(&[words, &["--json", "--max-tokens", "1"]].concat()));
    json(said.answer())["media"][0].clone()
}

fn number(value: &serde_json::Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn budgets_bound_a_clips_tokens() {
    let clip = clip();
    let free = medium(&["describe", &clip]);
    for tokens in ["40", "100"] {
        let small = medium(&["describe", &clip, "--budget", tokens]);
        assert!(number(&small["tokens"]) <= tokens.parse().expect("a number"), "{small}");
        assert!(number(&small["tokens"]) < number(&free["tokens"]), "{small} {free}");
    }
    let pixels = medium(&["describe", &clip, "--total-pixels", "100000", "--min-pixels", "3136"]);
    assert!(number(&pixels["tokens"]) * 784 <= 100_000, "{pixels}");
}

#[test]
fn a_clip_is_made_to_fit_the_context() {
    let clip = clip();
    let free = medium(&["describe", &clip]);
    let ctx = (number(&free["tokens"]) / 2 + 60).to_string();
    let said = run(with_model(&["describe", &clip, "--json", "--max-tokens", "8", "--ctx", &ctx]));
    let fitted = json(said.answer())["media"][0].clone();
    assert_eq!(fitted["fitted"], true, "{fitted}");
    assert!(said.stderr.contains("so that it fits the context"), "{said:?}");
    assert!(number(&fitted["tokens"]) < number(&free["tokens"]), "{fitted} {free}");
    // A budget is a word: then the context is what doesn't fit.
    run(with_model(&["describe", &clip, "--ctx", &ctx, "--budget", "100000"])).fails(1, &["the context holds"]);
}

#[test]
fn where_a_question_fills_the_context_a_tiny_clip_is_not_shrunk_to_nothing() {
    let folder = crate::util::scratch();
    let file = folder.path().join("icon.gif");
    let out = std::fs::File::create(&file).expect("created");
    let frame = || image::Frame::new(image::RgbaImage::from_pixel(12, 12, image::Rgba([200, 40, 40, 255])));
    image::codecs::gif::GifEncoder::new(out).encode_frames([frame(), frame()]).expect("written");
    let (file, question) = (file.display().to_string(), "1".repeat(180));
    let args = ["describe", &file, "--ctx", "256", "--max-tokens", "200", "-p", &question];
    run(with_model(&args)).fails(1, &["the context holds 256"]);
}

#[test]
fn a_part_is_seen_alone_and_keeps_the_clips_time() {
    let clip = clip();
    let part = format!("{clip}#t=1,2");
    let said = run(with_model(&["describe", &part, "--json", "--max-tokens", "1", "--max-pixels", "20000"]));
    let media = json(said.answer())["media"][0].clone();
    assert!(media["start"].as_f64().is_some_and(|s| (0.9..1.1).contains(&s)), "{media}");
    assert!(said.stderr.contains("counts seconds from 1"), "{said:?}");
    let bytes = fs::read(&clip).expect("readable");
    let mut words = with_model(&["describe", "--json", "--max-tokens", "1", "--max-pixels", "20000"]);
    words.extend(["--", "-#t=1,2"].map(str::to_owned));
    let piped = run_with_input(words, &bytes);
    assert_eq!(json(piped.answer())["media"][0]["grid_thw"], media["grid_thw"]);
    run(with_model(&["describe", &format!("{clip}#t=900,901")])).fails(2, &["the clip lasts"]);
    let picture = reference("tiny-tied/image1.png").display().to_string();
    run(with_model(&["describe", &format!("{picture}#t=1,2")])).fails(2, &["is a picture"]);
}

#[test]
fn pictures_become_a_clip() {
    let picture = reference("tiny-tied/image1.png").display().to_string();
    let clip = medium(&["describe", "--as-clip", "--fps", "4", &picture, &picture, &picture]);
    assert_eq!((&clip["kind"], number(&clip["frames"])), (&"video".into(), 3), "{clip}");
    assert_eq!((number(&clip["grid_thw"][0]), clip["seconds_per_group"].as_f64()), (2, Some(0.5)), "{clip}");
    run(with_model(&["describe", "--as-clip", &picture, &self::clip()]))
        .fails(2, &["is a clip; --as-clip takes pictures"]);
}

#[test]
fn animations_are_clips() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media/clips");
    for name in ["animated.gif", "animated.webp"] {
        let media = medium(&["describe", &folder.join(name).display().to_string(), "--max-pixels", "20000"]);
        assert_eq!(media["kind"], "video", "{media}");
    }
}

#[test]
fn a_damaged_stretch_is_told() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media/clips");
    let mut bytes = fs::read(folder.join("fragmented.mp4")).expect("readable");
    bytes.truncate(bytes.len() * 7 / 10);
    let said = run_with_input(
        with_model(&["describe", "-", "--json", "--max-tokens", "1", "--max-pixels", "20000", "--fps", "10"]),
        &bytes,
    );
    let media = json(said.answer())["media"][0].clone();
    assert!(media["warnings"].as_array().is_some_and(|w| !w.is_empty()), "{media}");
    assert!(said.stderr.contains("standard input: "), "{said:?}");
}
