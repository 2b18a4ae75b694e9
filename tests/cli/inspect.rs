//! `qlens inspect`.

use crate::util::{json, reference, run, scratch};

fn file(name: &str) -> String {
    reference(name).display().to_string()
}

#[test]
fn a_model_is_told_in_words() {
    let said = run(["inspect", &file("tiny-tied/model-q4_0.gguf")]);
    for word in
        ["GGUF version 3", "general.architecture", "qwen2vl", "token_embd.weight", "256 × 1536", "Q4_0", "by type"]
    {
        assert!(said.answer().contains(word), "no {word:?} in {}", said.stdout);
    }
    assert_eq!(said.stderr, "");
    let long = said.stdout.lines().find(|line| line.chars().count() > 240);
    assert_eq!(long, None, "long values are cut");
}

#[test]
fn the_json_holds_everything() {
    let name = file("qwen2.5-vocab.gguf");
    let said = run(["inspect", &name, "--json"]);
    assert_eq!(said.answer().lines().count(), 1);
    let value = json(said.answer());
    assert_eq!(value["file"], name.as_str());
    assert_eq!(value["version"], 3);
    assert_eq!(value["bytes"].as_u64(), Some(std::fs::metadata(&name).expect("there").len()));
    assert!(value["metadata"]["tokenizer.ggml.tokens"].as_array().is_some_and(|tokens| tokens.len() > 150_000));

    let value = json(run(["inspect", &file("tiny-tied/mmproj-f16.gguf"), "--json"]).answer());
    let tensors = value["tensors"].as_array().expect("a list");
    let bytes: u64 = tensors.iter().map(|t| t["bytes"].as_u64().expect("a number")).sum();
    assert!(bytes > 0 && Some(bytes) < value["bytes"].as_u64());
    assert!(tensors.iter().any(|t| t["type"] == "F16" && t["shape"].as_array().is_some_and(|s| s.len() == 2)));
}

#[test]
fn what_a_file_holds_reaches_no_terminal_raw() {
    // A file whose only metadata value would clear the screen.
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(1u64.to_le_bytes());
    let text = |s: &str| [&(s.len() as u64).to_le_bytes()[..], s.as_bytes()].concat();
    bytes.extend(text("general.\u{1b}c"));
    bytes.extend(8u32.to_le_bytes());
    bytes.extend(text("\u{1b}[2J\u{9b}31mred"));
    let folder = scratch();
    let file = folder.path().join("evil.gguf");
    std::fs::write(&file, bytes).expect("written");
    for more in [&[][..], &["--json"]] {
        let said = run([&["inspect", &file.display().to_string()], more].concat());
        let raw = said.answer().chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(raw, None, "{said:?}");
        assert!(said.stdout.contains("31mred"), "{said:?}");
    }
}
