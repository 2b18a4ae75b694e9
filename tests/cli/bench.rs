//! `qlens bench` on models of a few megabytes.

use serde_json::Value;

use crate::util::{json, qlens, run, scratch, with_model};

/// The measurement of a phase at a size.
#[track_caller]
fn measured<'a>(report: &'a Value, phase: &str, at: u64) -> &'a Value {
    let list = report["measurements"].as_array().expect("a list");
    list.iter()
        .find(|m| m["phase"] == phase && m["at"] == at)
        .unwrap_or_else(|| panic!("no {phase} {at} in {report:#}"))
}

#[track_caller]
fn positive(value: &Value) -> f64 {
    let x = value.as_f64().unwrap_or_else(|| panic!("no number: {value}"));
    assert!(x > 0.0, "{x}");
    x
}

#[test]
fn json_has_each_phase_with_its_runs_and_the_share_of_the_limit() {
    let said = run(with_model(&[
        "bench",
        "--json",
        "--repeats",
        "3",
        "--sizes",
        "56,112",
        "--prompts",
        "8,40",
        "--depths",
        "0,300",
        "--tokens",
        "2",
        "--question-size",
        "56",
        "--threads",
        "2",
    ]));
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{said:#?}");
    let report = json(&said.stdout);
    assert_eq!(report["threads"], 2);
    let wanted = [("load", 0, 0), ("vision", 56, 4), ("vision", 112, 16), ("prefill", 8, 8), ("prefill", 40, 40)];
    let more = [("decode", 0, 2), ("decode", 300, 2), ("repeat", 256, 64), ("first_token", 56, 0)];
    for (phase, at, tokens) in wanted.into_iter().chain(more) {
        let m = measured(&report, phase, at);
        assert_eq!(m["tokens"], tokens, "{phase}");
        assert_eq!(m["runs_s"].as_array().expect("a list").len(), 3);
        let (min, median, max) = (positive(&m["min_s"]), positive(&m["median_s"]), positive(&m["max_s"]));
        assert!(min <= median && median <= max, "{m}");
        assert_eq!(m["limit"].is_null(), matches!(phase, "load" | "repeat" | "first_token"), "{phase}");
    }
    assert_eq!(report["measurements"].as_array().expect("a list").len(), 9);
    assert_eq!(measured(&report, "decode", 0)["limit"]["by"], "memory");
    positive(&measured(&report, "vision", 112)["limit"]["share"]);
    positive(&report["roofline"]["memory_bytes_per_s"]);
    positive(&report["memory"]["mapped_bytes"]);
}

#[test]
fn a_synthetic_model_is_made_once_and_only_the_phases_asked_for_are_measured() {
    let cache = scratch();
    let bench = || {
        let words =
            ["bench", "--synthetic", "tiny:q4_k_m:q8_0", "--phases", "prefill", "--prompts", "16", "--no-limits"];
        let output = qlens().env("XDG_CACHE_HOME", cache.path()).env("HOME", cache.path()).args(words).output();
        crate::util::Run::from(output.expect("the program starts"))
    };
    let first = bench();
    assert!(first.answer().contains("prefill 16") && !first.stdout.contains("decode"), "{first:#?}");
    assert_eq!(first.stderr.lines().filter(|l| l.starts_with("making ")).count(), 2, "{first:#?}");
    let second = bench();
    assert_eq!((second.code, second.stderr.as_str()), (Some(0), ""), "the files are there: {second:#?}");
}

#[test]
fn what_cant_be_measured_is_wrong_usage() {
    run(with_model(&["bench", "--prompts", "900000"])).fails(2, &["--prompts 900000", "32768"]);
    for (words, about) in [
        (["--synthetic", "5b"], "3b, 7b"),
        (["--sizes", "100"], "multiple of 28"),
        (["--phases", "guessing"], "first-token"),
    ] {
        let said = run(["bench"].into_iter().chain(words));
        assert_eq!(said.code, Some(2), "{said:#?}");
        assert!(said.stderr.contains(about), "{said:#?}");
    }
}
