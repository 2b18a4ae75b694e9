//! `qlens eval`.

use serde_json::Value;

use crate::util::{Run, json, picture, reference, run, scratch};

fn file(name: &str) -> String {
    reference(name).display().to_string()
}

/// Enough text for some chunks.
fn text(folder: &std::path::Path) -> String {
    let path = folder.join("text.txt");
    let words = ["the house", "and then", "a number of", "people", "with", "<|im_end|>", "return x;", "\n"];
    let text: String = (0..1500).map(|i: usize| format!("{} ", words[i * i % 7 + i % 2])).collect();
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

fn eval(model: &str, more: &[&str]) -> Run {
    let args = ["eval", "-m", &file(model)].map(str::to_owned);
    run(args.into_iter().chain(more.iter().map(|&word| word.to_owned())))
}

fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer} in {value}"))
}

#[test]
fn a_model_does_not_stray_from_itself() {
    let folder = scratch();
    let (text, model) = (text(folder.path()), file("tiny-tied/model-q8_0.gguf"));
    let said = eval(
        "tiny-tied/model-q8_0.gguf",
        &["--text", &text, "--base", &model, "--ctx", "64", "--chunks", "3", "--json"],
    );
    let found = json(said.answer());
    assert_eq!(said.stderr, "");
    assert_eq!(number(&found, "/scored"), 3.0 * 31.0);
    assert_eq!((number(&found, "/text/ctx"), number(&found, "/text/chunks")), (64.0, 3.0));
    assert_eq!(number(&found, "/against_base/kl_max"), 0.0);
    assert_eq!(number(&found, "/against_base/same_top/value"), 1.0);
    assert_eq!(number(&found, "/against_base/perplexity_ratio/value"), 1.0);
    assert_eq!(found["perplexity"], found["against_base"]["perplexity"]);
    assert!(number(&found, "/perplexity/value") > 1.0 && number(&found, "/perplexity/error") > 0.0);
}

#[test]
fn fewer_bits_cost_more_and_each_is_told_alone_as_in_company() {
    let folder = scratch();
    let (text, base) = (text(folder.path()), file("tiny-tied/model-f16.gguf"));
    let scored = |model: &str, with_base: bool| {
        let common = ["--text", &text, "--ctx", "128", "--chunks", "2", "--json"];
        let more = if with_base { vec!["--base", &base] } else { vec![] };
        json(eval(model, &[&common[..], &more].concat()).answer())
    };
    let (q8, q4) = (scored("tiny-tied/model-q8_0.gguf", true), scored("tiny-tied/model-q4_0.gguf", true));
    let kl = |found: &Value| number(found, "/against_base/kl_mean/value");
    assert!(0.0 < kl(&q8) && kl(&q8) < kl(&q4) / 3.0, "{} {}", kl(&q8), kl(&q4));
    let percentiles =
        ["p50", "p90", "p95", "p99", "p999"].map(|p| number(&q4, &format!("/against_base/kl_percentiles/{p}")));
    assert!(percentiles.is_sorted() && percentiles[4] <= number(&q4, "/against_base/kl_max"), "{percentiles:?}");
    assert_eq!(q8["against_base"]["perplexity"], q4["against_base"]["perplexity"]);
    assert_eq!(scored("tiny-tied/model-f16.gguf", false)["perplexity"], q4["against_base"]["perplexity"]);
    let alone = scored("tiny-tied/model-q4_0.gguf", false);
    assert_eq!((&alone["perplexity"], &alone["against_base"]), (&q4["perplexity"], &Value::Null));
}

#[test]
fn pictures_are_asked_about_one_by_one() {
    let (base, vision) = (file("tiny-tied/model-f16.gguf"), file("tiny-tied/mmproj-f16.gguf"));
    let (picture, other) = (picture(), file("tiny-tied/image3.png"));
    let args = [&picture, &other, "-p", "What?", "-p", "Why?", "--base", &base, "--base-mmproj", &vision, "-n", "5"];
    let found = json(eval("tiny-tied/model-q8_0.gguf", &[&args[..], &["--json"]].concat()).answer());
    let questions = found["questions"].as_array().expect("a list");
    assert_eq!(questions.len(), 4);
    let asked: Vec<&str> = questions.iter().map(|q| q["prompt"].as_str().expect("text")).collect();
    assert_eq!(asked, ["What?", "Why?", "What?", "Why?"]);
    assert!(
        questions.iter().all(|q| number(q, "/media_tokens") > 0.0 && number(q, "/kl_max") >= number(q, "/kl_mean"))
    );
    let tokens: f64 = questions.iter().map(|q| number(q, "/tokens")).sum();
    assert_eq!(number(&found, "/scored"), tokens);
    let table = eval("tiny-tied/model-q8_0.gguf", &args);
    for word in ["KL divergence, mean", "same likeliest token", "image3.png, \"Why?\": "] {
        assert!(table.answer().contains(word), "no {word:?} in {}", table.stdout);
    }
}

#[test]
fn what_cannot_be_evaluated_is_told() {
    let folder = scratch();
    let text = text(folder.path());
    let (model, base) = ("tiny-tied/model-q8_0.gguf", file("tiny-untied/model-f32.gguf"));
    eval(model, &[]).fails(2, &["eval needs a text"]);
    eval(model, &["-p", "Hi"]).fails(2, &["--base"]);
    eval(model, &["--text", "nowhere.txt"]).fails(66, &["nowhere.txt"]);
    eval(model, &["--text", &text, "--base", &base]).fails(65, &["different vocabularies", "model-f32.gguf"]);
    let short = folder.path().join("short.txt");
    std::fs::write(&short, "A few words.").expect("written");
    eval(model, &["--text", &short.display().to_string()]).fails(2, &["at least 512 are needed"]);
    std::fs::write(&short, [0xff; 9]).expect("written");
    eval(model, &["--text", &short.display().to_string()]).fails(65, &["not UTF-8"]);
}
