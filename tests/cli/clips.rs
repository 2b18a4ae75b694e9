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
    let words = ["--max-tokens", "6", "-q", "--max-pixels", "20000"];
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
