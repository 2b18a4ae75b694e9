//! The rooms of `ARCHITECTURE.md`: imports flow one way, and what belongs in one place is in one place.

use std::fs;
use std::path::{Path, PathBuf};

/// Lowest first; each may use those before it.
const ROOMS: [&str; 12] =
    ["gguf", "quant", "kernels", "quantize", "model", "text", "media", "session", "tasks", "store", "convert", "cli"];
/// Rooms that may hold `unsafe`.
const UNSAFE: [&str; 3] = ["gguf", "quant", "kernels"];
/// Lines of a file, tests at its end not counted.
const MAX_LINES: usize = 600;

/// What only some files may name, and those files (or folders, with a slash at the end).
const PLACES: [(&str, &[&str]); 16] = [
    ("ggml_sys", &["quant/ggml.rs"]),
    ("ffmpeg_next", &["media/clip/"]),
    ("minijinja", &["text/"]),
    ("llguidance", &["session/constraint/"]),
    ("regex_syntax", &["session/constraint/schema/"]),
    ("image::", &["media/"]),
    ("memmap2", &["gguf/map.rs"]),
    ("is_x86_feature_detected", &["kernels/isa.rs"]),
    ("clap::", &["cli/"]),
    ("indicatif", &["cli/"]),
    ("html5ever", &["tasks/parse/"]),
    ("noto_sans_mono_bitmap", &["tasks/annotate.rs"]),
    ("glob::", &["cli/many/files.rs"]),
    ("ureq::", &["store/hub.rs"]),
    ("println!", &["cli/"]),
    ("std::process::exit", &["cli/interrupt.rs"]),
];

struct Source {
    /// Relative to `src/`, with slashes.
    path: String,
    /// Without comments, and without the tests at its end.
    code: Vec<String>,
    all: String,
}

impl Source {
    fn room(&self) -> Option<usize> {
        ROOMS.iter().position(|room| self.path.starts_with(&format!("{room}/")))
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let all = fs::read_to_string(&path).expect("text");
                let before_tests = all.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
                let uncommented = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
                let code = before_tests.lines().map(uncommented).collect();
                let inside = path.strip_prefix(&root).expect("inside of src").to_str().expect("a plain name");
                files.push(Source { path: inside.replace('\\', "/"), code, all });
            }
        }
    }
    assert!(files.len() > 20, "the rooms are there");
    files
}

/// Names of rooms that a line of code refers to.
fn rooms_in(line: &str) -> Vec<&str> {
    line.split("crate::")
        .skip(1)
        .filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next())
        .collect()
}

#[test]
fn imports_flow_one_way() {
    let mut wrong = Vec::new();
    for file in sources() {
        let Some(own) = file.room() else { continue };
        for (number, line) in file.code.iter().enumerate() {
            for name in rooms_in(line) {
                if ROOMS.iter().position(|room| *room == name).is_some_and(|used| used > own) {
                    wrong.push(format!("src/{}:{}: {} may not use {name}", file.path, number + 1, ROOMS[own]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_belongs_in_one_place_is_there() {
    let mut wrong = Vec::new();
    for file in sources() {
        if file.path.ends_with("tests.rs") {
            continue;
        }
        for (name, places) in PLACES {
            let allowed = places.iter().any(|p| file.path == *p || p.ends_with('/') && file.path.starts_with(p));
            if !allowed && file.code.iter().any(|line| line.contains(name)) {
                wrong.push(format!("src/{} names {name}, which belongs in {}", file.path, places.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rooms_without_unsafe_forbid_it() {
    for room in ROOMS.iter().filter(|room| !UNSAFE.contains(room)) {
        let files = sources();
        let top = files.iter().find(|file| file.path == format!("{room}/mod.rs")).expect("a mod.rs");
        let empty = top.code.iter().all(|line| line.trim().is_empty());
        assert!(
            empty || top.all.contains("#![forbid(unsafe_code)]"),
            "src/{room}/mod.rs lacks #![forbid(unsafe_code)]"
        );
    }
}

#[test]
fn files_stay_short() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|file| !file.path.contains("tests") && file.code.len() > MAX_LINES)
        .map(|file| format!("src/{}: {} lines, at most {MAX_LINES}", file.path, file.code.len()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn the_store_knows_nothing_but_files() {
    for file in sources().iter().filter(|file| file.path.starts_with("store/")) {
        for (number, line) in file.code.iter().enumerate() {
            let others: Vec<&str> = rooms_in(line).into_iter().filter(|room| *room != "gguf").collect();
            assert!(others.is_empty(), "src/{}:{}: store may use gguf alone, not {others:?}", file.path, number + 1);
        }
    }
}
