//! Many files: folders, lists, shards, going on, and files that fail.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::util::{Run, json as parse, png, run, scratch, with_model};

/// Five pictures in two folders, one file that is none, and one that is damaged.
fn place() -> tempfile::TempDir {
    let folder = scratch();
    let sub = folder.path().join("sub");
    fs::create_dir(&sub).expect("made");
    for (i, name) in ["a.png", "b.png", "d.png", "sub/e.png", "sub/f.png"].iter().enumerate() {
        fs::write(folder.path().join(name), png(60 + i as u32, 50)).expect("written");
    }
    fs::write(folder.path().join("c.png"), &png(90, 90)[..200]).expect("written");
    fs::write(folder.path().join("notes.txt"), "no picture").expect("written");
    folder
}

fn describe(words: &[&str]) -> Run {
    run(with_model(&[&["describe", "--max-tokens", "2", "--max-pixels", "10000"], words].concat()))
}

fn lines(said: &Run) -> Vec<Value> {
    said.stdout.lines().map(parse).collect()
}

/// The files' names without folders.
fn names(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|l| l["file"].as_str().expect("a name").rsplit('/').next().expect("a part")).collect()
}

#[test]
fn a_failing_file_is_a_line_and_the_rest_goes_on() {
    let folder = place();
    let said = describe(&[&folder.path().display().to_string(), "--jsonl"]);
    // The damaged one is all that failed, and its code is the run's.
    assert_eq!(said.code, Some(65), "{said:?}");
    let lines = lines(&said);
    assert_eq!(names(&lines), ["a.png", "b.png", "c.png", "d.png", "e.png", "f.png"]);
    for line in &lines {
        let failed = line["file"].as_str().is_some_and(|f| f.ends_with("c.png"));
        assert_eq!(line["answer"].is_string(), !failed, "{line}");
        assert_eq!(line["error"].is_string(), failed, "{line}");
    }
    assert_eq!(lines[2]["exit"], json!(65));
    assert!(
        said.stderr.contains("c.png")
            && said.stderr.ends_with("error: 1 of 6 files could not be done, or not wholly\n")
    );
    let missing = describe(&[&folder.path().join("a.png").display().to_string(), "missing.png", "--each", "-q"]);
    assert_eq!(missing.code, Some(66), "{missing:?}");
    assert!(missing.stdout.contains("a.png:\n"), "{missing:?}");
}

#[test]
fn what_is_done_is_not_done_again_whatever_it_is_called() {
    let folder = place();
    let here = |name: &str| folder.path().join(name).display().to_string();
    fs::remove_file(here("c.png")).expect("removed");
    let state = here("state.jsonl");
    let words = [&here("*.png"), "--jsonl", "-q", "--resume", &state];
    let first = describe(&words);
    let answers = |lines: &[Value]| lines.iter().map(|l| l["answer"].clone()).collect::<Vec<_>>();
    assert_eq!(first.code, Some(0), "{first:?}");
    let first = lines(&first);
    assert!(first.iter().all(|l| l.get("resumed").is_none() && l["sha256"].as_str().is_some_and(|s| s.len() == 64)));
    fs::rename(here("b.png"), here("z.png")).expect("renamed");
    fs::copy(here("sub/e.png"), here("y.png")).expect("copied");
    let again = lines(&describe(&words));
    assert_eq!(names(&again), ["a.png", "d.png", "y.png", "z.png"]);
    let resumed: Vec<bool> = again.iter().map(|l| l["resumed"] == json!(true)).collect();
    assert_eq!(resumed, [true, true, false, true]);
    assert_eq!([&answers(&again)[0], &answers(&again)[3]], [&answers(&first)[0], &answers(&first)[1]]);
    // Another question is another run, and so is another command.
    describe(&[&words[..], &["-p", "Else?"]].concat()).fails(2, &["another question", "state.jsonl"]);
    for other in [&["--temp", "1"][..], &["--kv-type", "f32"], &["--vision-precision", "exact"]] {
        describe(&[&words[..], other].concat()).fails(2, &["another set of options"]);
    }
    run(with_model(&["locate", "x", &here("a.png"), "--resume", &state])).fails(2, &["another command"]);
    let other = here("notes.txt");
    describe(&[&here("a.png"), "--resume", &other]).fails(2, &["not a --resume file"]);
    assert_eq!(fs::read_to_string(&other).expect("there"), "no picture");
}

#[test]
fn what_is_about_all_files_together_goes_with_nothing_that_is_about_each() {
    let folder = place();
    let file = folder.path().join("a.png").display().to_string();
    let state = folder.path().join("state").display().to_string();
    for each in [&["--resume", &state][..], &["--shard", "1/1"], &["--each"], &["--jsonl"]] {
        let said = |option: &'static str| describe(&[&[file.as_str(), option], each].concat());
        assert_eq!(said("--json").code, Some(2), "{each:?}");
        assert!(said("--as-clip").stderr.contains("--as-clip"), "{each:?}");
        assert_eq!(said("--as-clip").code, Some(2), "{each:?}");
    }
}

#[test]
fn shards_and_lists_together_are_all() {
    let folder = place();
    let list = folder.path().join("list");
    let here = |name: &str| folder.path().join(name).display().to_string();
    fs::write(&list, format!("# those that count\n{}\n{}\n\n{}\n", here("a.png"), here("sub"), here("d.png")))
        .expect("written");
    let listed = format!("@{}", list.display());
    let part = |shard: &str| {
        let said = describe(&[&listed, "--jsonl", "-q", "--shard", shard]);
        names(&lines(&said)).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(part("1/3"), ["a.png", "d.png"]);
    assert_eq!(part("2/3"), ["e.png"]);
    assert_eq!(part("3/3"), ["f.png"]);
    assert_eq!(describe(&[&listed, "--shard", "4/3"]).code, Some(2));
    describe(&[&format!("@{}", here("no-list"))]).fails(66, &["no-list"]);
    let empty = scratch();
    describe(&[&empty.path().display().to_string()]).fails(66, &["nothing to look at"]);
}

#[test]
fn together_is_still_together() {
    let folder = place();
    let sub = folder.path().join("sub").display().to_string();
    let said = describe(&[&sub, "--json", "-q"]);
    assert_eq!(parse(said.answer())["media"].as_array().map(Vec::len), Some(2));
}

#[test]
fn hostile_names_move_no_cursor() {
    let folder = scratch();
    let name = folder.path().join("a\u{1b}[2J\nb.png");
    fs::write(&name, png(50, 50)).expect("written");
    let path = |p: &Path| p.display().to_string();
    for words in [&["--jsonl"][..], &["--each"]] {
        let said = describe(&[&[path(&name).as_str(), "missing\u{1b}[31m.png"], words].concat());
        assert_eq!(said.code, Some(66), "{said:?}");
        let whole = format!("{}{}", said.stdout, said.stderr);
        assert!(!whole.contains('\u{1b}'), "{whole:?}");
    }
}
