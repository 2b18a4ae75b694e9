//! What goes where: answers to standard output, everything else to standard error.

use std::io::Read;
use std::process::Stdio;

use crate::util::{json, picture, png, qlens, reference, run, run_with_input, scratch, with_model};

#[test]
fn quiet_says_nothing_but_the_answer() {
    let picture = picture();
    let said = run(with_model(&["describe", &picture, "--max-tokens", "5", "--quiet"]));
    assert!(said.answer().ends_with('\n'));
    assert_eq!(said.stderr, "");
}

#[test]
fn the_same_question_gives_the_same_bytes_with_any_number_of_threads() {
    let picture = picture();
    let answer = |threads: &str| {
        run(with_model(&["describe", &picture, "--max-tokens", "12", "-q", "--threads", threads])).answer().to_owned()
    };
    let once = answer("1");
    assert_eq!(once, answer("1"));
    assert_eq!(once, answer("2"));
    assert_eq!(once, answer("5"));
}

#[test]
fn json_is_one_line_with_the_promised_keys() {
    let picture = picture();
    let said = run(with_model(&["describe", &picture, "-p", "What?", "--json", "--max-tokens", "5"]));
    assert_eq!(said.answer().lines().count(), 1);
    let value = json(said.answer());
    assert!(value["answer"].is_string());
    assert!(["end", "max_tokens"].contains(&value["stop"].as_str().expect("a word")));
    let media = &value["media"][0];
    assert_eq!(media["name"], picture.as_str());
    assert_eq!(media["kind"], "image");
    assert!(media["original"][0].as_u64() > Some(0) && media["resized"][1].as_u64().is_some_and(|h| h % 28 == 0));
    assert_eq!(value["tokens"]["media"], media["tokens"]);
    assert!(value["tokens"]["prompt"].as_u64() > media["tokens"].as_u64());
    for key in ["load_s", "read_s", "media_s", "vision_s", "prefill_s", "first_token_s", "decode_s"] {
        assert!(value["timings"][key].as_f64().is_some_and(|s| (0.0..600.0).contains(&s)), "{key}: {value}");
    }
}

#[test]
fn the_answer_is_the_same_as_json_and_as_text() {
    let picture = picture();
    let words = ["describe", &picture, "--max-tokens", "8", "-q"];
    let mut as_json = with_model(&words);
    as_json.push("--json".to_owned());
    let answer = json(run(as_json).answer())["answer"].as_str().expect("text").to_owned();
    assert_eq!(run(with_model(&words)).answer().trim_end_matches('\n'), answer.trim_end_matches('\n'));
}

#[test]
fn standard_input_is_a_picture_like_any_other() {
    let bytes = std::fs::read(picture()).expect("readable");
    let picture = picture();
    let words = ["--max-tokens", "6", "-q"];
    let from_file = run(with_model(&[&["describe", picture.as_str()], &words[..]].concat()));
    let from_pipe = run_with_input(with_model(&[&["describe", "-"], &words[..]].concat()), &bytes);
    assert_eq!(from_file.answer(), from_pipe.answer());
}

#[test]
fn several_pictures_are_seen_in_order() {
    let (one, two) = (picture(), reference("tiny-tied/image2.png").display().to_string());
    let said = run(with_model(&["describe", &one, &two, &one, "--json", "--max-tokens", "2"]));
    let value = json(said.answer());
    let names: Vec<_> = value["media"].as_array().expect("a list").iter().map(|m| m["name"].clone()).collect();
    assert_eq!(names, [one.as_str(), &two, &one]);
}

#[test]
fn pixel_bounds_are_kept() {
    let folder = scratch();
    let file = folder.path().join("wide.png");
    std::fs::write(&file, png(640, 480)).expect("written");
    let file = file.display().to_string();
    let said = run(with_model(&["describe", &file, "--max-pixels", "50000", "--json", "--max-tokens", "1"]));
    let value = json(said.answer());
    let side = |i: usize| value["media"][0]["resized"][i].as_u64().expect("a number");
    assert!(side(0) * side(1) <= 50_000 && side(0) * side(1) > 40_000, "{value}");
    assert_eq!(value["media"][0]["tokens"].as_u64(), Some(side(0) * side(1) / 784));
}

#[test]
fn piped_lines_are_turns_of_one_conversation() {
    let said = run_with_input(with_model(&["chat", "--json", "--max-tokens", "3"]), b"Hello\n\n  And then?  \n");
    let turns: Vec<_> = said.answer().lines().map(json).collect();
    assert_eq!(turns.len(), 2, "{said:?}");
    let prompt = |turn: &serde_json::Value| turn["tokens"]["prompt"].as_u64();
    assert!(prompt(&turns[1]) > prompt(&turns[0]), "the second question comes after the first: {turns:?}");
    assert!(turns[1]["tokens"]["cached"].as_u64() > Some(0), "the first isn't read again: {turns:?}");
}

#[test]
fn yarn_stretches_the_context_and_changes_what_is_computed() {
    let said = run(with_model(&["chat", "-p", "Hello", "--max-tokens", "2", "-v", "--yarn"]));
    said.answer();
    assert!(said.stderr.contains("context 131072 tokens"), "{said:?}");
    let bounded = run(with_model(&["chat", "-p", "Hello", "--max-tokens", "2", "-v", "--yarn", "--ctx", "100"]));
    assert!(bounded.stderr.contains("context 100 tokens"), "{bounded:?}");
    let logits = |more: &[&str]| {
        let folder = scratch();
        let out = folder.path().join("run.safetensors").display().to_string();
        let said = run(with_model(&[&["trace", "-p", "Hello there", "-o", &out], more].concat()));
        assert_eq!(said.code, Some(0), "{said:?}");
        std::fs::read(&out).expect("written")
    };
    assert_ne!(logits(&[]), logits(&["--yarn"]));
}

#[test]
fn a_system_message_counts() {
    let prompt = |more: &[&str]| {
        let words = [&["chat", "-p", "Hello", "--json", "--max-tokens", "1"], more].concat();
        json(run(with_model(&words)).answer())["tokens"]["prompt"].as_u64()
    };
    assert!(prompt(&["--system", "Answer in rhymes, and at great length, and with care."]) > prompt(&[]));
}

#[test]
fn a_seed_repeats_a_lively_answer_and_another_changes_it() {
    let answer = |seed: &str| {
        let words = ["chat", "-p", "Hello", "--temp", "2", "--top-p", "1", "--top-k", "0", "--max-tokens", "24", "-q"];
        let mut args = with_model(&words);
        args.extend(["--seed".to_owned(), seed.to_owned()]);
        run(args).answer().to_owned()
    };
    assert_eq!(answer("7"), answer("7"));
    assert_ne!(answer("7"), answer("8"));
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let words = ["chat", "-p", "Tell me a long story", "--max-tokens", "3000", "-q", "--temp", "1"];
    let mut child = qlens()
        .args(with_model(&words))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut first = [0; 1];
    child.stdout.take().expect("a pipe").read_exact(&mut first).expect("an answer begins");
    let said = child.wait_with_output().expect("the program ends");
    assert_eq!((said.status.code(), String::from_utf8_lossy(&said.stderr).as_ref()), (Some(0), ""));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let said = qlens().args(with_model(&["chat", "-p", "Hello", "--max-tokens", "3"])).stdout(full).output();
    let said = crate::util::Run::from(said.expect("the program starts"));
    said.fails(74, &["standard output"]);
}

#[test]
fn verbose_tells_kernels_sizes_times_and_memory() {
    let picture = picture();
    let said = run(with_model(&["describe", &picture, "--max-tokens", "3", "-v", "--threads", "2"]));
    said.answer();
    let wanted = ["kernels: ", "2 threads", "model: ", "mmproj-q8_0.gguf", "first token", "memory: ", "mapped"];
    for word in wanted {
        assert!(said.stderr.contains(word), "no {word:?} in {}", said.stderr);
    }
    assert!(!said.stderr.contains('\u{1b}'), "no colours into a pipe: {said:?}");
}

/// The budget holds for the reference model: weights are mapped and not copied, and what is computed is small.
#[cfg(target_os = "linux")]
#[test]
fn memory_stays_within_the_mapped_weights_and_a_budget() {
    const WORKING_SET: u64 = 48 << 20;
    let picture = picture();
    let said = run(with_model(&["describe", &picture, "--json", "--max-tokens", "32", "--threads", "2"]));
    let memory = json(said.answer())["memory"].clone();
    let bytes = |key: &str| memory[key].as_u64().expect("a number of bytes");
    let files: u64 = ["tiny-tied/model-q8_0.gguf", "tiny-tied/mmproj-q8_0.gguf"]
        .iter()
        .map(|name| std::fs::metadata(reference(name)).expect("there").len())
        .sum();
    assert_eq!(bytes("mapped_bytes"), files);
    let peak = bytes("peak_resident_bytes");
    assert!(peak < files + WORKING_SET, "{peak} bytes were resident, {files} are mapped");
}

#[test]
fn a_script_of_turns_takes_commands() {
    let picture = crate::util::picture();
    let script = format!("/image '{picture}'\nWhat is this?\n/undo\n//slash\n/retry\n/quit\nnever\n");
    let said = run_with_input(with_model(&["chat", "--json", "--max-tokens", "3"]), script.as_bytes());
    let answers: Vec<serde_json::Value> =
        said.answer().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(answers.len(), 3, "a question, another in its place, and that once more: {said:#?}");
    assert_eq!(answers[0]["media"][0]["kind"], "image");
    assert_eq!(answers[1]["answer"], answers[2]["answer"]);
    assert_eq!(answers[1]["media"], answers[0]["media"], "what was shown is shown with the next question");
    run_with_input(with_model(&["chat"]), b"/undo\n").fails(2, &["nothing has been asked"]);
    let said = run_with_input(with_model(&["chat"]), b"/set temp 1\n\n/image\n");
    assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{said:?}");
    assert!(said.stderr.contains("standard input, line 3: /image takes PATH"), "{said:?}");
    // What comes next was for the other model.
    run_with_input(with_model(&["chat"]), b"/model no-such-model\nHello\n").fails(69, &["no-such-model"]);
    run_with_input(with_model(&["chat"]), b"/set max-tokens 0\n").fails(2, &["at least 1"]);
    run_with_input(with_model(&["chat"]), b"/set temp 11\n").fails(2, &["0 to 10"]);
    run_with_input(with_model(&["chat"]), b"/load no-such-file\n").fails(66, &["no-such-file"]);
    run_with_input(with_model(&["chat"]), format!("/load '{picture}'\n").as_bytes()).fails(65, &["no conversation"]);
}
