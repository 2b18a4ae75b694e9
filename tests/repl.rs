//! The conversation in a terminal: a pty of its own, and a screen that shows what a person would see.
#![cfg(unix)]

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

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
    t.say(&format!("/image {}", reference("tiny-tied/image0.png")));
    t.wait_for("seen as 308x196, 77 tokens", 1);
    t.say("What is this?");
    t.wait_for("(cut off after 6 tokens", 1);
    t.say("And now?");
    t.wait_for("(cut off after 6 tokens", 2);
    t.say("/stats");
    t.wait_for("77 of them shown", 1);
    t.say("/save talk.qlens");
    t.wait_for("saved in talk.qlens", 1);
    t.say("/undo");
    t.wait_for("taken back: And now?", 1);
    t.say("/export talk.html");
    t.wait_for("written to talk.html", 1);
    t.say("/clear");
    t.wait_for("a new conversation", 1);
    t.say("/load talk.qlens");
    t.wait_for("2 questions and their answers loaded; it goes on at once", 1);
    t.say("/set stats on");
    t.say("And then?");
    let seen = t.wait_for("tokens used)", 1);
    // Only the new question was read.
    let stats = seen.lines().find(|l| l.contains("tokens read")).expect("a line of numbers");
    let read: usize = stats.trim_start_matches('(').split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
    assert!(read < 40, "{stats}");
    t.say("/fly");
    t.wait_for("error: there is no command /fly", 1);
    t.say("/files");
    t.wait_for("1  ", 1);
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
    assert_eq!(t.wait_for("> What is it?", 2).matches("> What is it?").count(), 2);
    t.ready();
    t.press("/quit\r");
    t.ends();
}
