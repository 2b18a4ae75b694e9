//! `qlens find`. The reference model says nothing sensible, so its answers are replaced where the program keeps them: in
//! the file of `--resume`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::util::{Run, json as parse, reference, run, run_with_input, scratch, with_model};

const WHAT: &str = "When does the red circle appear?";

/// Three seconds at 25 frames a second.
fn clip() -> String {
    reference("tiny-tied/clip0.mp4").display().to_string()
}

fn find(clip: &str, words: &[&str]) -> Run {
    run(with_model(&[&["find", WHAT, clip, "--max-tokens", "6", "--max-pixels", "20000"], words].concat()))
}

/// Searches once, makes the model have said `answers` (pass by pass), and searches again with `words` added.
fn find_with_answers(clip: &str, state: &Path, words: &[&str], options: &[&str], answers: &[&str]) -> Run {
    let state_arg = state.display().to_string();
    for (i, answer) in answers.iter().enumerate() {
        let said = find(clip, &[options, &["--resume", &state_arg, "-q"]].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
        let mut journal: Value = parse(&fs::read_to_string(state).expect("the journal"));
        journal["passes"][i]["answer"] = json!(answer);
        journal["passes"][i]["stop"] = json!("end");
        journal["passes"].as_array_mut().expect("passes").truncate(i + 1);
        fs::write(state, journal.to_string()).expect("written");
    }
    find(clip, &[options, &["--resume", &state_arg], words].concat())
}

const ANSWER: &str = "```json\n[\n\t{\"start_time\": \"00:00.50\", \"end_time\": \"00:01.00\", \"description\": \"a <red> circle\
                      \\u001b[2J appears\"},\n\t{\"start_time\": \"00:02.00\", \"end_time\": \"00:09.00\", \"description\": \"\"}\n]\n```";

#[test]
fn events_are_printed_in_each_form() {
    let folder = scratch();
    let state = folder.path().join("state.json");
    let clip = clip();
    let said = |words: &[&str]| find_with_answers(&clip, &state, words, &[], &[ANSWER]);
    let text = said(&[]);
    assert_eq!(text.answer(), "00:00.50 - 00:01.00  a <red> circle[2J appears\n00:02.00 - 00:03.00\n");
    assert_eq!(text.stderr, "", "{text:?}");
    let verbose = said(&["-v"]);
    assert!(verbose.stderr.contains("whole look at 00:00.00 - 00:03.00: 6 frames, 2.00 a second"), "{verbose:?}");
    let srt = said(&["--srt"]);
    assert!(srt.answer().starts_with("1\n00:00:00,500 --> 00:00:01,000\na <red> circle[2J appears\n\n2\n"), "{srt:?}");
    assert!(srt.stdout.ends_with(&format!("00:00:02,000 --> 00:00:03,000\n{WHAT}\n\n")), "{srt:?}");
    let vtt = said(&["--vtt"]);
    assert!(vtt.answer().starts_with("WEBVTT\n\n1\n00:00:00.500 --> 00:00:01.000\na &lt;red&gt; circle"), "{vtt:?}");
    let out = folder.path().join("events.srt").display().to_string();
    let written = said(&["--srt", "-o", &out]);
    assert_eq!((written.code, written.stdout.as_str()), (Some(0), ""), "{written:?}");
    assert_eq!(fs::read_to_string(&out).expect("written"), srt.stdout);
}

#[test]
fn json_tells_events_and_passes() {
    let folder = scratch();
    let said = find_with_answers(&clip(), &folder.path().join("state.json"), &["--json"], &[], &[ANSWER]);
    assert_eq!(said.answer().lines().count(), 1);
    let value = parse(said.answer());
    assert_eq!(value["what"], WHAT);
    assert!(value["question"].as_str().is_some_and(|q| q.starts_with(WHAT) && q.contains("JSON")), "{value}");
    let event = &value["events"][1];
    assert_eq!((event["start"].as_f64(), event["end"].as_f64()), (Some(2.0), Some(3.0)), "{value}");
    assert_eq!((&event["start_time"], &event["level"]), (&json!("00:02.00"), &json!("whole")));
    assert_eq!(value["passes"].as_array().map(Vec::len), Some(1));
    let pass = &value["passes"][0];
    assert_eq!((&pass["level"], &pass["resumed"], &pass["answer"]), (&json!("whole"), &json!(true), &json!(ANSWER)));
    assert_eq!(value["tokens"], pass["tokens"]);
    assert_eq!(value["clip"]["duration"].as_f64(), Some(3.0));
    assert_eq!((&value["skipped"], &value["outside"], &value["unclear"]), (&json!([]), &json!(0), &json!(0)));
    for key in ["load_s", "read_s", "looks_s"] {
        assert!(value["timings"][key].as_f64().is_some_and(|s| (0.0..600.0).contains(&s)), "{key}: {value}");
    }
    assert!(value["memory"]["mapped_bytes"].as_u64() > Some(0));
}

#[test]
fn a_part_keeps_the_clips_time() {
    let folder = scratch();
    let part = format!("{}#t=1,2.5", clip());
    let answer = r#"[{"start_time": "00:00.50", "end_time": "00:01.00", "description": "x"}]"#;
    let said = find_with_answers(&part, &folder.path().join("state.json"), &[], &[], &[answer]);
    assert!(said.answer().starts_with("00:01.5") && said.answer().contains(" - 00:02.0"), "{said:?}");
}

#[test]
fn frames_and_a_sheet_are_saved() {
    let folder = scratch();
    let (state, frames, sheet) =
        (folder.path().join("state.json"), folder.path().join("frames"), folder.path().join("sheet.png"));
    let words = ["--frames", &frames.display().to_string(), "--sheet", &sheet.display().to_string(), "--json"];
    let said = find_with_answers(&clip(), &state, &words, &[], &[ANSWER]);
    let value = parse(said.answer());
    let mut names: Vec<String> = fs::read_dir(&frames)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    let wanted = ["01-end-00-01.00.png", "01-start-00-00.50.png", "02-end-00-03.00.png", "02-start-00-02.00.png"];
    assert_eq!(names, wanted);
    assert_eq!(value["files"].as_array().map(Vec::len), Some(5), "{value}");
    let size = |path: &Path| image::image_dimensions(path).expect("a picture");
    let own = (value["clip"]["width"].as_u64(), value["clip"]["height"].as_u64());
    let (width, height) = size(&frames.join(&names[0]));
    assert_eq!((Some(width.into()), Some(height.into())), own);
    let (width, height) = size(&sheet);
    assert!(width > 300 && height > 100, "{width}x{height}");
    // Different moments look different.
    let bytes = |name: &str| fs::read(frames.join(name)).expect("readable");
    assert_ne!(bytes(wanted[0]), bytes(wanted[3]));
}

#[test]
fn a_clip_beyond_the_budget_is_seen_in_two_levels_and_gone_on_with() {
    let folder = scratch();
    let state = folder.path().join("state.json");
    let options = ["--budget", "90", "--min-pixels", "12544", "--fps", "8"];
    let coarse = r#"[{"start_time": "00:01.00", "end_time": "00:01.20", "description": "coarse"}]"#;
    let said = find_with_answers(&clip(), &state, &["--json"], &options, &[coarse]);
    let value = parse(said.answer());
    assert_eq!(value["passes"][0]["level"], "coarse", "{value}");
    assert!(value["tokens"].as_u64() <= Some(90), "{value}");
    assert!(value["events"].as_array().is_some_and(|e| !e.is_empty()), "{value}");
    // Either it was looked at closely, or it is told that the budget didn't reach.
    let fine = value["passes"].as_array().map_or(0, |p| p.len() - 1);
    let skipped = value["skipped"].as_array().map_or(0, Vec::len);
    assert_eq!((fine > 0) as usize + (skipped > 0) as usize, 1, "{value}");
    assert!(said.stderr.contains("seen whole at"), "{said:?}");
    // A third run has nothing left to do.
    let again = find(&clip(), &[&options[..], &["--json", "--resume", &state.display().to_string()]].concat());
    let again = parse(again.answer());
    assert!(again["passes"].as_array().is_some_and(|p| p.iter().all(|p| p["resumed"] == true)), "{again}");
    assert_eq!(again["events"], value["events"]);
}

#[test]
fn a_journal_of_another_search_is_left_alone() {
    let folder = scratch();
    let state = folder.path().join("state.json");
    let state_arg = state.display().to_string();
    assert_eq!(find(&clip(), &["--resume", &state_arg]).code, Some(0));
    let before = fs::read(&state).expect("there");
    let other =
        ["find", "Something else?", &clip(), "--max-tokens", "6", "--max-pixels", "20000", "--resume", &state_arg];
    run(with_model(&other)).fails(2, &["another question", "state.json"]);
    find(&clip(), &["--fps", "3", "--resume", &state_arg]).fails(2, &["another set of options"]);
    let other = reference("tiny-tied/clip1.mp4").display().to_string();
    find(&other, &["--resume", &state_arg]).fails(2, &["another clip"]);
    assert_eq!(fs::read(&state).expect("there"), before);
    fs::write(&state, "{\"x\": 1}").expect("written");
    find(&clip(), &["--resume", &state_arg]).fails(2, &["not the journal of a search"]);
}

#[test]
fn an_answer_without_times_is_told() {
    let said = find(&clip(), &[]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.stderr.contains("holds no times"), "{said:?}");
    assert!(said.stderr.contains("--max-tokens"), "{said:?}");
}

#[test]
fn the_clip_may_come_from_a_pipe_or_be_made_of_pictures() {
    let bytes = fs::read(clip()).expect("readable");
    let words = ["find", WHAT, "-", "--json", "--max-tokens", "3", "--max-pixels", "20000"];
    let piped = parse(run_with_input(with_model(&words), &bytes).answer());
    assert_eq!((&piped["clip"]["name"], &piped["clip"]["duration"]), (&json!("standard input"), &json!(3.0)));
    let picture = reference("tiny-tied/image1.png").display().to_string();
    let said =
        run(with_model(&["find", WHAT, &picture, &picture, "--as-clip", "--fps", "4", "--json", "--max-tokens", "3"]));
    assert_eq!(parse(said.answer())["clip"]["duration"].as_f64(), Some(0.5));
}

#[test]
fn what_is_not_one_clip_is_refused() {
    let (clip, picture) = (clip(), reference("tiny-tied/image1.png").display().to_string());
    find(&picture, &[]).fails(65, &["is a picture, not a clip"]);
    run(with_model(&["find", WHAT, &clip, &clip])).fails(2, &["one clip is searched at a time, not 2"]);
    run(with_model(&["find", WHAT])).code.filter(|&code| code == 2).expect("wrong usage");
    find(&clip, &["--srt", "--vtt"]).code.filter(|&code| code == 2).expect("wrong usage");
    find("missing.mp4", &[]).fails(66, &["no such file"]);
    find(&clip, &["-o", "/no/such/folder/x.txt", "-q"]).fails(74, &["/no/such/folder/x.txt"]);
}
