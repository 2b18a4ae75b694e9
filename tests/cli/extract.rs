//! `qlens extract`.

use std::fs;

use serde_json::{Value, json};

use crate::util::{json as parse, picture, png, run, scratch, with_model};

const FIELDS: &str = "total:number, date:date?, paid:yes|no, lines:text[]";

fn fits(value: &Value) {
    let schema = json!({"type": "object", "properties": {
        "total": {"type": "number"}, "date": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        "paid": {"enum": ["yes", "no"]}, "lines": {"type": "array", "items": {"type": "string"}},
    }, "required": ["total", "date", "paid", "lines"], "additionalProperties": false});
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).expect("a schema");
    assert!(validator.is_valid(value), "{value}");
}

#[test]
fn every_file_gives_an_object_that_fits_wherever_the_model_is_cut_off() {
    for (most, temp) in [("1", "0"), ("9", "1"), ("60", "2")] {
        let words = ["extract", "--fields", FIELDS, &picture(), &picture(), "--max-tokens", most, "--temp", temp];
        let said = run(with_model(&words));
        assert_eq!(said.answer().lines().count(), 2);
        said.answer().lines().for_each(|line| fits(&parse(line)));
        let cut = said.stderr.contains("image1.png: brought to an end for lack of tokens");
        assert!(cut || most == "60", "{said:?}");
    }
}

#[test]
fn a_schema_in_a_file_with_evidence_gives_places_in_the_pictures_own_pixels() {
    let folder = scratch();
    let (schema, wide) = (folder.path().join("s.json"), folder.path().join("wide.png"));
    let card = json!({"type": "object", "properties": {"a": {"const": "first"}, "b": {"type": "array", "items": {"type": "integer"},
                      "minItems": 2, "maxItems": 2}}, "required": ["a", "b"]});
    fs::write(&schema, card.to_string()).expect("written");
    fs::write(&wide, png(700, 90)).expect("written");
    let (schema, wide) = (schema.display().to_string(), wide.display().to_string());
    let words = ["extract", "--schema", &schema, "--evidence", &wide, "--temp", "1.5", "--seed", "3"];
    let value = parse(run(with_model(&words)).answer());
    assert_eq!(value["data"]["a"], "first");
    let evidence = value["evidence"].as_array().expect("a list");
    let pointers: Vec<&str> = evidence.iter().filter_map(|e| e["pointer"].as_str()).collect();
    assert_eq!(pointers, ["/a", "/b/0", "/b/1"]);
    for place in evidence.iter().filter_map(|e| e["box"].as_array()) {
        let side: Vec<f64> = place.iter().filter_map(Value::as_f64).collect();
        assert!(side.len() == 4 && side[0] < side[2] && side[1] < side[3], "{place:?}");
        assert!(side[0] >= 0.0 && side[1] >= 0.0 && side[2] <= 700.0 && side[3] <= 90.0, "{place:?}");
    }
}

#[test]
fn many_files_become_lines_or_a_table_and_a_bad_one_stops_none() {
    let folder = scratch();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        path.display().to_string()
    };
    let (bad, good) = (write("bad\u{1b}[2J.png", b"no picture"), write("=good.png", &png(60, 60)));
    let words = ["extract", "--fields", "a:integer,b:x|y", "--max-tokens", "20", &bad, &good];
    let lines = run(with_model(&[&words[..], &["--jsonl"]].concat()));
    assert!(lines.code.is_some_and(|code| code != 0), "{lines:?}");
    let values: Vec<Value> = lines.stdout.lines().map(parse).collect();
    assert_eq!(values.len(), 2, "{lines:?}");
    assert!(values[0]["error"].is_string() && values[1]["data"]["a"].is_i64(), "{values:?}");
    assert!(!lines.stdout.contains('\u{1b}') && !lines.stderr.contains('\u{1b}'), "{lines:?}");
    let table = run(with_model(&[&words[..], &["--csv"]].concat()));
    let rows: Vec<&str> = table.stdout.lines().collect();
    assert_eq!((rows.len(), rows[0]), (2, "file,a,b"), "{table:?}");
    assert!(rows[1].contains("=good.png,") && (rows[1].ends_with(",x") || rows[1].ends_with(",y")), "{table:?}");
}

#[test]
fn hostile_values_come_out_escaped_and_whole() {
    let folder = scratch();
    let schema = folder.path().join("s.json");
    let hostile = "\u{1b}[2J\u{9b}31m\u{7f}\u{202e}<b>\"\n=1";
    let card = json!({"type": "object", "properties": {hostile: {"const": hostile}}, "required": [hostile]});
    fs::write(&schema, card.to_string()).expect("written");
    let schema = schema.display().to_string();
    for more in [&[][..], &["--evidence"], &["--jsonl"], &["--csv"]] {
        let said = run(with_model(&[&["extract", "--schema", &schema, &picture()], more].concat()));
        assert_eq!(said.code, Some(0), "{said:?}");
        let raw = |c: char| c.is_control() && !matches!(c, '\n' | '\r');
        assert!(!said.stdout.chars().chain(said.stderr.chars()).any(raw), "{said:?}");
        if more != ["--csv"] {
            let value = parse(said.answer());
            let data = if more.is_empty() { &value } else { &value["data"] };
            assert_eq!(data, &json!({hostile: hostile}));
        }
    }
}

#[test]
fn what_was_filled_in_is_kept_and_shards_share_the_files() {
    let folder = scratch();
    let file = |name: &str| folder.path().join(name).display().to_string();
    for (name, side) in [("a.png", 60), ("b.png", 90), ("c.png", 120)] {
        fs::write(file(name), png(side, 60)).expect("written");
    }
    let (all, state) = (file("*.png"), file("state"));
    let lines = |words: &[&str]| -> Vec<Value> {
        let said = run(with_model(&[&["extract", "--max-tokens", "9", "--jsonl", &all], words].concat()));
        assert_eq!(said.code, Some(0), "{said:?}");
        said.stdout.lines().map(parse).collect()
    };
    let first = lines(&["--fields", "a:integer", "--resume", &state, "--shard", "1/2"]);
    let whole = lines(&["--fields", "a:integer", "--resume", &state]);
    assert_eq!((first.len(), whole.len()), (2, 3));
    let resumed: Vec<bool> = whole.iter().map(|line| line["resumed"] == true).collect();
    assert_eq!(resumed, [true, false, true]);
    assert_eq!([&whole[0]["data"], &whole[2]["data"]], [&first[0]["data"], &first[1]["data"]]);
    let other = ["extract", "--fields", "a:integer,b:text", &all, "--resume", &state];
    run(with_model(&other)).fails(2, &["another question"]);
    // Pages drawn at another density are other pictures.
    let finer = ["extract", "--fields", "a:integer", "--max-tokens", "9", &all, "--resume", &state, "--dpi", "200"];
    run(with_model(&finer)).fails(2, &["another set of options"]);
}

#[test]
fn what_is_no_form_is_refused() {
    let refused = |words: &[&str], code: i32, said: &[&str]| {
        run(with_model(&[&["extract", &picture()], words].concat())).fails(code, said);
    };
    refused(&["--fields", "a:nubmer"], 2, &["\"nubmer\"", "can be: text, number"]);
    refused(&["--fields", ""], 2, &["no field is named"]);
    let folder = scratch();
    let schema = folder.path().join("s.json");
    fs::write(&schema, json!({"properties": {"a": {"uniqueItems": true}}}).to_string()).expect("written");
    let schema = schema.display().to_string();
    refused(&["--schema", &schema], 65, &["s.json: /properties/a/uniqueItems: "]);
    for words in [&["--schema", &schema, "--fields", "a"][..], &[], &["--fields", "a", "--csv", "--jsonl"]] {
        let said = run(with_model(&[&["extract", &picture()], words].concat()));
        assert_eq!(said.code, Some(2), "{said:?}");
    }
}
