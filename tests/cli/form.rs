//! Answers that are held to a form: `--schema`, `--grammar`, `--regex`.

use std::fs;

use serde_json::{Value, json};

use crate::util::{json as parse, picture, run, run_with_input, scratch, with_model};

/// A schema in a file of its own.
fn schema(folder: &tempfile::TempDir, name: &str, schema: &Value) -> String {
    let path = folder.path().join(name);
    fs::write(&path, schema.to_string()).expect("written");
    path.display().to_string()
}

fn person() -> Value {
    json!({"type": "object", "properties": {
        "name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1},
    }, "required": ["name", "age", "tags"]})
}

#[test]
fn a_schema_holds_a_description_wherever_it_is_cut_off() {
    let folder = scratch();
    let file = schema(&folder, "person.json", &person());
    let validator = jsonschema::validator_for(&person()).expect("a schema");
    for most in ["1", "7", "40"] {
        let said = run(with_model(&["describe", &picture(), "--schema", &file, "--max-tokens", most]));
        let value = parse(said.answer());
        assert!(validator.is_valid(&value), "{value}");
        let cut = said.stderr.contains("brought to an end for lack of tokens");
        assert!(cut || most == "40", "{said:?}");
    }
    let said = run(with_model(&["describe", &picture(), "--schema", &file, "--max-tokens", "3", "--json"]));
    let report = parse(said.answer());
    assert_eq!(report["stop"], "max_tokens");
    assert!(validator.is_valid(&parse(report["answer"].as_str().expect("text"))), "{report}");
}

#[test]
fn a_regex_and_a_grammar_hold_answers() {
    let said = run(with_model(&["chat", "-p", "Is it?", "--regex", "(yes|no), [0-9]{3}"]));
    let answer = said.answer().trim_end();
    let (word, number) = answer.split_once(", ").expect("two parts");
    assert!(["yes", "no"].contains(&word) && number.len() == 3 && number.parse::<u32>().is_ok(), "{answer}");
    let folder = scratch();
    let file = folder.path().join("list.lark");
    fs::write(&file, "start: item (\"; \" item)*\nitem: /[a-z]{2}/\n").expect("written");
    let file = file.display().to_string();
    // Each line of a script is held to it.
    let words = with_model(&["chat", "--grammar", &file, "--max-tokens", "6"]);
    let said = run_with_input(words, b"One?\nTwo?\n");
    let lines: Vec<&str> = said.answer().lines().collect();
    assert_eq!(lines.len(), 2, "{said:?}");
    for line in lines {
        assert!(line.split("; ").all(|item| item.len() == 2 && item.bytes().all(|b| b.is_ascii_lowercase())), "{line}");
    }
}

#[test]
fn what_cannot_be_enforced_is_refused_with_its_place() {
    let folder = scratch();
    let refused = |name: &str, value: Value, words: &[&str]| {
        let file = schema(&folder, name, &value);
        run(with_model(&["describe", &picture(), "--schema", &file])).fails(65, &[&[name], words].concat());
    };
    refused("a.json", json!({"properties": {"x": {"not": {}}}}), &["/properties/x/not", "can't be enforced"]);
    refused("b.json", json!({"properties": {"x": {"minimum": 2, "maximum": 1}}}), &["/properties/x:", "more than"]);
    refused("c.json", json!({"allOf": [{"type": "string"}, {"type": "null"}]}), &["at the top"]);
    // Hostile text in a schema moves nothing on a terminal.
    let hostile = json!({"properties": {"a\u{1b}[2J\u{9b}": {"type": "\u{1b}]0;x\u{7}"}}});
    let file = schema(&folder, "d.json", &hostile);
    let said = run(with_model(&["describe", &picture(), "--schema", &file]));
    said.fails(65, &["/properties/a\\u{1b}[2J\\u{9b}/type"]);
    assert!(!said.stderr.trim_end().chars().any(char::is_control), "{said:?}");
    let no_json = folder.path().join("e.json");
    fs::write(&no_json, "{\"type\": }").expect("written");
    let no_json = no_json.display().to_string();
    run(with_model(&["describe", &picture(), "--schema", &no_json]))
        .fails(65, &["e.json: is no JSON", "line 1 column 10"]);
    run(with_model(&["describe", &picture(), "--schema", "missing.json"])).fails(66, &["missing.json"]);
    run(with_model(&["chat", "-p", "x", "--regex", "a("])).fails(2, &["--regex: "]);
    run(with_model(&["chat", "-p", "x", "--grammar", &no_json])).fails(65, &["e.json: "]);
    let two = run(with_model(&["chat", "-p", "x", "--regex", "a", "--schema", &no_json]));
    assert_eq!(two.code, Some(2), "{two:?}");
}
