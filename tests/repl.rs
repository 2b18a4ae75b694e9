//! The conversation in a terminal: a pty of its own, and a screen that shows what a person would see.
#![cfg(unix)]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use qlens::gguf::{Gguf, GgufWriter, Value};

const PATIENCE: Duration = Duration::from_secs(60);

fn reference(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name).display().to_string()
}

/// The program in a terminal.
struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    screen: Arc<Mutex<vt100::Parser>>,
    home: tempfile::TempDir,
}

fn size(columns: u16) -> PtySize {
    PtySize { rows: 200, cols: columns, pixel_width: 0, pixel_height: 0 }
}

impl Terminal {
    fn start(columns: u16, args: &[&str]) -> Terminal {
        let home = tempfile::tempdir().expect("a folder");
        let pair = native_pty_system().openpty(size(columns)).expect("a pty");
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_qlens"));
        command.env_clear();
        command.env("HOME", home.path());
        command.env("QLENS_CONFIG", "");
        command.env("TERM", "xterm-256color");
        command.cwd(home.path());
        command.args(["chat", "-m", &reference("tiny-tied/model-f16.gguf"), "--temp", "0", "--max-pixels", "70560"]);
        command.args(args);
        let child = pair.slave.spawn_command(command).expect("the program starts");
        let screen = Arc::new(Mutex::new(vt100::Parser::new(200, columns, 0)));
        let (shown, mut output) = (screen.clone(), pair.master.try_clone_reader().expect("readable"));
        std::thread::spawn(move || {
            let mut block = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut block) {
                shown.lock().expect("drawn").process(&block[..n]);
            }
        });
        let keys = pair.master.take_writer().expect("writable");
        Terminal { child, master: pair.master, keys, screen, home }
    }

    fn seen(&self) -> String {
        self.screen.lock().expect("drawn").screen().contents()
    }

    /// Waits until `words` are on the screen `times` times.
    #[track_caller]
    fn wait_for(&self, words: &str, times: usize) -> String {
        let start = Instant::now();
        loop {
            let seen = self.seen();
            if seen.matches(words).count() >= times {
                return seen;
            }
            assert!(start.elapsed() < PATIENCE, "no {times} × {words:?} in:\n{seen}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("typed");
        self.keys.flush().expect("typed");
    }

    /// Types a line once the prompt is there for it: an empty line with nothing but `> `.
    #[track_caller]
    fn say(&mut self, line: &str) {
        self.ready();
        let typed = format!("> {}", line.chars().take(20).collect::<String>());
        let before = self.seen().matches(&typed).count();
        self.press(line);
        // Only when it is shown does the last line tell whether the next prompt is there.
        self.wait_for(&typed, before + 1);
        self.press("\r");
    }

    /// Says `line`, and waits for what comes of it.
    #[track_caller]
    fn tell(&mut self, line: &str, answer: &str) -> String {
        let before = self.seen().matches(answer).count();
        self.say(line);
        self.wait_for(answer, before + 1)
    }

    /// Waits for the prompt.
    #[track_caller]
    fn ready(&self) {
        let start = Instant::now();
        while self.seen().trim_end_matches('\n').lines().last().map(str::trim_end) != Some(">") {
            assert!(start.elapsed() < PATIENCE, "no prompt in:\n{}", self.seen());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    fn ends(mut self) {
        let start = Instant::now();
        loop {
            match self.child.try_wait().expect("waited for") {
                Some(status) => return assert!(status.success(), "{status:?}:\n{}", self.seen()),
                None => assert!(start.elapsed() < PATIENCE, "still there:\n{}", self.seen()),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

#[test]
fn a_conversation_from_attaching_to_loading() {
    let mut t = Terminal::start(100, &["--max-tokens", "6", "--no-preview"]);
    t.tell(&format!("/image {}", reference("tiny-tied/image0.png")), "seen as 308x196, 77 tokens");
    t.tell("What is this?", "(cut off after 6 tokens");
    t.tell("And now?", "(cut off after 6 tokens");
    t.tell("/stats", "77 of them shown");
    t.tell("/save talk.qlens", "saved in talk.qlens");
    t.tell("/undo", "taken back: And now?");
    t.tell("/export talk.html", "written to talk.html");
    t.tell("/clear", "a new conversation");
    t.tell("/load talk.qlens", "2 questions and their answers loaded; it goes on at once");
    t.say("/set stats on");
    let seen = t.tell("And then?", "tokens used)");
    // Only the new question was read.
    let stats = seen.lines().rfind(|l| l.contains("tokens used)")).expect("a line of numbers");
    let read = stats.trim_start_matches('(').split(' ').next().and_then(|n| n.parse().ok());
    assert!(read.is_some_and(|n: usize| n < 40), "{stats}");
    t.tell("/fly", "error: there is no command /fly");
    t.tell("/video talk.png fast", "error: `fast` is not a number");
    t.tell("/files", "77 tokens (in the conversation)");
    t.tell("/model no-such-model", "error: no model is called `no-such-model`");
    t.tell("/files", "77 tokens (in the conversation)");
    let page = std::fs::read_to_string(t.file("talk.html")).expect("exported");
    assert!(page.contains("data:image/png;base64,") && page.contains("What is this?") && !page.contains("And now?"));
    t.ready();
    t.press("\u{4}");
    t.ends();
}

#[test]
fn ctrl_c_stops_the_answer_and_keeps_what_was_said() {
    let mut t = Terminal::start(80, &["--max-tokens", "20000"]);
    t.say("Tell me a long story");
    let start = Instant::now();
    // The model is random and talks on: some lines of it.
    while t.seen().lines().count() < 8 {
        assert!(start.elapsed() < PATIENCE, "{}", t.seen());
        std::thread::sleep(Duration::from_millis(20));
    }
    t.press("\u{3}");
    t.wait_for("(stopped)", 1);
    t.say("/undo");
    t.wait_for("taken back: Tell me a long story", 1);
    // At an empty prompt it asks.
    t.ready();
    t.press("\u{3}");
    t.wait_for("Leave the conversation? [y/N]", 1);
    t.press("n\n");
    t.ready();
    t.press("\u{3}");
    t.wait_for("Leave the conversation? [y/N]", 2);
    t.press("y\n");
    t.ends();
}

#[test]
fn names_are_completed_and_files_found_where_they_are_dragged() {
    let mut t = Terminal::start(60, &["--max-tokens", "3"]);
    std::fs::copy(reference("tiny-tied/image1.png"), t.file("a picture.png")).expect("copied");
    std::fs::write(t.file("a note.txt"), "x").expect("written");
    t.ready();
    t.press("/he\t\r");
    t.wait_for("/undo", 1);
    let dragged = format!("'{}' ", t.file("a picture.png").display());
    t.say(&dragged);
    t.wait_for("tokens of context left", 1);
    // The thumbnail: half blocks, within the width.
    assert!(t.seen().contains('▀'), "{}", t.seen());
    t.master.resize(size(70)).expect("resized");
    t.screen.lock().expect("drawn").screen_mut().set_size(200, 70);
    t.say("What is it?");
    t.wait_for("(cut off after 3 tokens", 1);
    t.ready();
    // From the history.
    t.press("\u{1b}[A\r");
    t.wait_for("(cut off after 3 tokens", 2);
    t.wait_for("> What is it?", 2);
    t.ready();
    t.press("/quit\r");
    t.ends();
}

#[test]
fn another_model_goes_on_with_what_was_said_and_shown() {
    let mut t = Terminal::start(100, &["--max-tokens", "3", "--no-preview"]);
    t.tell(&format!("/image {}", reference("tiny-tied/image0.png")), "77 tokens");
    t.tell("What is this?", "(cut off after 3 tokens");
    t.tell(&format!("/image {}", reference("tiny-tied/image1.png")), "left");
    // A model without eyes can't take the conversation: it stays where it is.
    let folder = t.file("blind");
    std::fs::create_dir(&folder).expect("made");
    let blind = folder.join("model.gguf");
    std::fs::copy(reference("tiny-tied/model-q4_0.gguf"), &blind).expect("copied");
    t.tell(&format!("/model {}", blind.display()), "alone can't see");
    t.tell("/files", "(with the next question)");
    t.say(&format!("/model {}", reference("tiny-tied/model-q4_0.gguf")));
    let seen = t.tell("/files", "(with the next question)");
    assert!(seen.contains("1  ") && seen.matches("(in the conversation)").count() == 2, "{seen}");
    t.tell("And this?", "(cut off after 3 tokens");
    t.ready();
    t.press("/quit\r");
    t.ends();
}

#[test]
fn being_asked_to_end_ends_it() {
    let mut t = Terminal::start(80, &[]);
    t.ready();
    let kill = std::process::Command::new("kill").arg(t.child.process_id().expect("a process").to_string()).status();
    assert!(kill.expect("kill is there").success());
    let start = Instant::now();
    while t.child.try_wait().expect("waited for").is_none() {
        assert!(start.elapsed() < PATIENCE, "still there:\n{}", t.seen());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A template that is out of time still runs, and takes more and more: only the program's end stops it.
#[test]
fn a_talk_ends_where_its_template_runs_on() {
    let mut t = Terminal::start(200, &["--max-tokens", "2"]);
    // Lists of lists, each twice in the next: small until it is written out.
    let template = format!("{{% set a = [messages] %}}{}{{{{ a | string }}}}", "{% set a = [a, a] %}".repeat(60));
    let gguf = Gguf::open(Path::new(&reference("tiny-tied/model-q4_0.gguf"))).expect("opens");
    let mut out = GgufWriter::new();
    for (key, value) in gguf.metadata().iter().filter(|(key, _)| *key != "tokenizer.chat_template") {
        out.metadata(key, value.clone()).expect("fits");
    }
    out.metadata("tokenizer.chat_template", Value::String(template)).expect("fits");
    let tensors: Vec<_> = gguf.tensors().collect();
    for tensor in &tensors {
        out.tensor(tensor.name(), tensor.ty(), tensor.dims()).expect("fits");
    }
    let fill = &mut |i: usize, to: &mut dyn Write| to.write_all(tensors[i].bytes());
    out.write_file(&t.file("runaway.gguf"), fill).expect("written");
    t.say("/model ./runaway.gguf");
    t.tell("Hello", "the model's chat template took more than");
    let start = Instant::now();
    let status = loop {
        if let Some(status) = t.child.try_wait().expect("waited for") {
            break status;
        }
        assert!(start.elapsed() < PATIENCE, "still there:\n{}", t.seen());
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.exit_code(), 65, "{}", t.seen());
}

#[test]
fn an_export_replaces_no_pictures_unasked() {
    let mut t = Terminal::start(100, &["--max-tokens", "2", "--no-preview"]);
    std::fs::create_dir(t.file("talk-files")).expect("made");
    std::fs::write(t.file("talk-files/1.png"), "mine").expect("written");
    t.tell(&format!("/image {}", reference("tiny-tied/image0.png")), "77 tokens");
    t.tell("What is this?", "(cut off after 2 tokens");
    t.say("/export talk.md");
    t.wait_for("Replace files in talk-files?", 1);
    t.press("n\r");
    t.tell("/files", "77 tokens (in the conversation)");
    assert_eq!(std::fs::read(t.file("talk-files/1.png")).expect("there"), b"mine");
    assert!(!t.file("talk.md").exists());
    t.ready();
    t.press("/quit\r");
    t.ends();
}
