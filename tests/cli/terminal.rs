//! What a person sees: the program in a terminal of its own, made by `script` (of Debian's essential bsdutils).

use std::io::Write;
use std::process::{Command, Stdio};

use crate::util::{picture, png, scratch, with_model};

/// Runs a command line with `input` typed, and returns what was drawn.
fn drawn(args: &[String], input: &str, settings: &[(&str, &str)]) -> String {
    drawn_by(&[], args, input, settings)
}

/// As [`drawn`], started by another program.
fn drawn_by(starter: &[&str], args: &[String], input: &str, settings: &[(&str, &str)]) -> String {
    let program = starter.iter().copied().chain([env!("CARGO_BIN_EXE_qlens")]);
    let words: Vec<String> = program.chain(args.iter().map(String::as_str)).map(|word| format!("'{word}'")).collect();
    let line = words.join(" ");
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").env_remove("NO_COLOR").env_remove("QLENS_MODEL");
    script.envs(settings.iter().copied());
    let script = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut script = script.expect("script is there");
    script.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("typed");
    let said = script.wait_with_output().expect("ends");
    String::from_utf8_lossy(&said.stdout).into_owned()
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let wrong = ["describe".to_owned()];
    assert!(drawn(&wrong, "", &[]).contains("\u{1b}[1;31merror:"), "a terminal gets colours");
    for (why, settings) in [("NO_COLOR", ("NO_COLOR", "1")), ("a dumb terminal", ("TERM", "dumb"))] {
        assert!(!drawn(&wrong, "", &[settings]).contains('\u{1b}'), "{why}");
    }
    assert!(!drawn(&["describe".to_owned(), "--no-color".to_owned()], "", &[]).contains('\u{1b}'), "--no-color");
    let help = ["--help".to_owned(), "--no-color".to_owned()];
    assert!(!drawn(&help, "", &[]).contains('\u{1b}'), "--help --no-color");
}

#[test]
fn a_quick_answer_draws_no_progress() {
    let picture = picture();
    let said = drawn(&with_model(&["describe", &picture, "--max-tokens", "2"]), "", &[]);
    assert!(!said.contains("getting ready"), "{said:?}");
}

#[test]
fn a_long_step_shows_where_it_is_unless_told_to_be_quiet() {
    let folder = scratch();
    let file = folder.path().join("large.png");
    std::fs::write(&file, png(3000, 3000)).expect("written");
    let file = file.display().to_string();
    for (more, shown) in [(&[][..], true), (&["--quiet"], false)] {
        let args = with_model(&[&["describe", &file, "--max-pixels", "9000000"], more].concat());
        let said = drawn_by(&["timeout", "--foreground", "-s", "INT", "4"], &args, "", &[]);
        assert_eq!(said.contains("looking"), shown, "{said:?}");
    }
}

#[cfg(feature = "video")]
#[test]
fn a_clip_shows_frames_and_the_time_left() {
    let clip = crate::util::reference("tiny-tied/clip0.mp4").display().to_string();
    let args = with_model(&["describe", &clip, "--fps", "25", "--min-pixels", "600000"]);
    let said = drawn_by(&["timeout", "--foreground", "-s", "INT", "6"], &args, "", &[]);
    assert!(said.contains("frames read, ") && said.contains(" left"), "{said:?}");
}

#[test]
fn a_talk_goes_on_until_the_input_ends() {
    // All at once: what is typed ahead isn't lost. \u{4}: Ctrl-D.
    let said = drawn(&with_model(&["chat", "--max-tokens", "2"]), "Hello\nAnd then?\n\u{4}", &[]);
    assert!(said.contains("Ctrl-D ends"), "{said:?}");
    assert_eq!(said.matches("--max-tokens").count(), 2, "two answers, each cut off after two tokens: {said:?}");
}
