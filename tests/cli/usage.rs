//! Wrong usage: exit code 2, and a line that says what to type instead.

use crate::util::{Run, picture, qlens, run, run_with_input, with_model};

#[test]
fn describe_without_a_file_points_to_chat() {
    run(with_model(&["describe", "-p", "What is this?"])).fails(2, &["qlens chat -p"]);
}

#[test]
fn nothing_typed_shows_the_help() {
    let said = run::<&str>([]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("Usage: qlens") && said.stdout.is_empty(), "{said:?}");
}

#[test]
fn help_and_version_are_answers() {
    for args in [&["--help"][..], &["describe", "--help"], &["help", "trace"], &["--version"]] {
        let said = run(args);
        assert!(said.answer().contains("qlens"), "{args:?}: {said:?}");
        assert_eq!(said.stderr, "", "{args:?}");
    }
}

#[test]
fn values_out_of_range_are_named_with_what_is_allowed() {
    let cases: &[(&[&str], &str)] = &[
        (&["--temp", "-1"], "0 to 10"),
        (&["--temp", "warm"], "not a number"),
        (&["--top-p", "0"], "above 0"),
        (&["--min-p", "1.5"], "0 to 1"),
        (&["--repeat-penalty", "0"], "above 0"),
        (&["--threads", "0"], "1..=1024"),
        (&["--ctx", "3"], "16..=16777216"),
        (&["--kv-type", "q8"], "f16, f32"),
        (&["--vision-precision", "int4"], "int8, exact"),
        (&["--max-tokens", "0"], "1..=16777216"),
        (&["--min-pixels", "0"], "1.."),
        (&["--frobnicate"], "--frobnicate"),
        (&["--quiet", "-v"], "cannot be used with"),
    ];
    for (args, words) in cases {
        let said = run(["describe", &picture()].iter().copied().chain(args.iter().copied()));
        assert_eq!(said.code, Some(2), "{args:?}: {said:?}");
        assert!(said.stderr.contains(words) && said.stdout.is_empty(), "{args:?}: {said:?}");
    }
}

#[test]
fn one_of_two_ways_to_say_what_is_wanted_is_asked_for() {
    for words in [&["extract", "a.png"][..], &["extract", "a.png", "--schema", "s.json", "--fields", "a:text"]] {
        let said = run(words);
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(said.stderr.contains("--schema") && said.stderr.contains("--fields"), "{said:?}");
    }
}

#[test]
fn pixel_bounds_that_cross_are_refused() {
    let picture = picture();
    let args = with_model(&["describe", &picture, "--min-pixels", "9000", "--max-pixels", "8000"]);
    run(args).fails(2, &["--min-pixels 9000", "--max-pixels 8000"]);
}

#[test]
fn standard_input_is_read_once() {
    run_with_input(with_model(&["describe", "-", "-"]), b"x").fails(2, &["only once", "2 times"]);
    run_with_input(with_model(&["chat", "-"]), b"x").fails(2, &["-p"]);
}

#[test]
fn unknown_kernels_are_refused_with_those_that_are_known() {
    let said = qlens().args(with_model(&["chat", "-p", "x"])).env("QLENS_KERNELS", "sse2").output().expect("starts");
    Run::from(said).fails(2, &["QLENS_KERNELS", "sse2", "avx2"]);
}

#[test]
fn control_characters_in_arguments_are_not_echoed() {
    let said = run(["describe", "--\u{1b}[31mred"]);
    assert_eq!(said.code, Some(2));
    assert!(!said.stderr.contains('\u{1b}'), "{said:?}");
    run(with_model(&["describe", "no\u{1b}[2Jsuch\nfile.png"])).fails(66, &["no\\u{1b}[2Jsuch\\nfile.png"]);
}
