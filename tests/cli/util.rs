//! Running the program, and files to run it on.

use std::ffi::OsStr;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What a run left behind.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Asserts the exit code, and that all that was said is one error line with `words` in it.
    #[track_caller]
    pub fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert_eq!(self.stdout, "", "an error is nothing for standard output");
        assert_eq!(self.stderr.lines().count(), 1, "one line: {self:#?}");
        assert!(self.stderr.starts_with("error: "), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {:?}", self.stderr);
        }
    }

    /// Asserts success, and returns what is on standard output.
    #[track_caller]
    pub fn answer(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:#?}");
        assert!(!self.stdout.trim().is_empty(), "an answer: {self:#?}");
        &self.stdout
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Run {
        Run {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The program, with nothing of this machine's settings.
pub fn qlens() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qlens"));
    let ours = |name: &str| ["QLENS_", "HF_", "OLLAMA_", "LLAMA_"].iter().any(|start| name.starts_with(start));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if ours(&name) || name.to_ascii_lowercase().ends_with("_proxy") || ["NO_COLOR", "RUST_LOG"].contains(&&*name) {
            command.env_remove(&*name);
        }
    }
    // No settings file either.
    command.env("QLENS_CONFIG", "");
    command.stdin(Stdio::null());
    command
}

/// Runs it with these arguments.
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Run {
    qlens().args(args).output().expect("the program starts").into()
}

/// Runs it with something on standard input.
pub fn run_with_input<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>, input: &[u8]) -> Run {
    let mut child = qlens()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // Whether the program reads it all is for the test to find out.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("the program ends").into()
}

/// A file of the reference data.
pub fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name)
}

/// `-m` and `--mmproj` of the small reference model.
pub fn model() -> [String; 4] {
    let path = |name| reference(name).display().to_string();
    ["-m".into(), path("tiny-tied/model-q8_0.gguf"), "--mmproj".into(), path("tiny-tied/mmproj-q8_0.gguf")]
}

/// A picture of the reference data, of 27 tokens.
pub fn picture() -> String {
    reference("tiny-tied/image1.png").display().to_string()
}

/// `words`, then the model: a whole command line.
pub fn with_model(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).chain(model()).collect()
}

/// A folder that disappears with the value.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A PNG file of this size.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let image = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, (x ^ y) as u8]));
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).expect("encoded");
    bytes.into_inner()
}

/// Makes the model have said something else, in a `--resume` file: `change` gets each result in it.
pub fn made_to_say(state: &Path, change: impl Fn(&mut serde_json::Value)) {
    let lines = std::fs::read_to_string(state).expect("the resume file");
    let mut out = String::new();
    for (i, line) in lines.lines().enumerate() {
        let mut value = json(line);
        if i > 0 {
            change(&mut value["result"]);
        }
        out += &format!("{value}\n");
    }
    std::fs::write(state, out).expect("written");
}

/// The JSON on a line.
#[track_caller]
pub fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))
}
