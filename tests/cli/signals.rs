//! Ctrl-C, and being killed.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::util::{picture, png, qlens, run_with_input, scratch, with_model};

/// Starts something that takes minutes: a picture of 12 million pixels through a vision tower.
fn start(folder: &Path, words: &[&str]) -> Child {
    let file = folder.join("large.png");
    fs::write(&file, png(4000, 4000)).expect("written");
    let file = file.display().to_string();
    let args = with_model(&[words, &["--max-pixels", "12845056", &file]].concat());
    let mut child = qlens().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    std::thread::sleep(Duration::from_millis(1500));
    assert!(child.try_wait().expect("known").is_none(), "it should still be at work");
    child
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill is there");
    assert!(sent.success());
}

#[test]
fn ctrl_c_ends_a_long_step_at_once_with_130() {
    let folder = scratch();
    let child = start(folder.path(), &["describe"]);
    let start = Instant::now();
    interrupt(&child);
    let said = child.wait_with_output().expect("ends");
    assert_eq!(said.status.code(), Some(130), "{said:?}");
    // 100 ms are the aim; the rest is for a busy machine that runs other tests beside this one.
    assert!(start.elapsed() < Duration::from_millis(1000), "{:?}", start.elapsed());
    assert_eq!((said.stdout, said.stderr), (Vec::new(), Vec::new()));
}

#[test]
fn ctrl_c_leaves_no_half_file() {
    let folder = scratch();
    let out = folder.path().join("out.safetensors");
    let out_name = out.display().to_string();
    let child = start(folder.path(), &["trace", "-p", "What?", "-o", &out_name]);
    interrupt(&child);
    assert_eq!(child.wait_with_output().expect("ends").status.code(), Some(130));
    let left: Vec<_> =
        fs::read_dir(folder.path()).expect("readable").map(|e| e.expect("an entry").file_name()).collect();
    assert_eq!(left, ["large.png"]);
}

#[cfg(feature = "video")]
#[test]
fn ctrl_c_removes_the_copy_of_a_clip_from_standard_input() {
    let folder = scratch();
    let clip = fs::read(crate::util::reference("tiny-tied/clip0.mp4")).expect("readable");
    let mut command = qlens();
    command.args(with_model(&["describe", "-"])).env("TMPDIR", folder.path()).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    // The pipe stays open: the program waits for more of the clip.
    pipe.write_all(&clip).expect("taken");
    let count = || fs::read_dir(folder.path()).expect("readable").count();
    let start = Instant::now();
    while count() == 0 {
        assert!(start.elapsed() < Duration::from_secs(30), "the copy is made");
        std::thread::sleep(Duration::from_millis(20));
    }
    interrupt(&child);
    assert_eq!(child.wait().expect("ends").code(), Some(130));
    assert_eq!(count(), 0);
}

/// At whatever moment: what was saved before is still there, or what was to be saved, and it is whole.
#[test]
fn a_save_that_is_killed_loses_nothing() {
    let folder = scratch();
    let talk = folder.path().join("talk.qlens");
    let chat = with_model(&["chat", "--max-tokens", "2", "--temp", "0"]);
    let lines = |words: &[&str]| {
        words.iter().map(|&w| w.replace("TALK", &talk.display().to_string()) + "\n").collect::<String>()
    };
    run_with_input(&chat, lines(&[&format!("/image {}", picture()), "What is it?", "/save TALK"]).as_bytes()).answer();
    let before = fs::read(&talk).expect("saved");
    let (mut kept, mut replaced) = (0, 0);
    for delay in [0, 0, 200, 500, 1000, 2000, 4000, 8000, 100_000].map(Duration::from_micros) {
        fs::write(&talk, &before).expect("written");
        let mut command = qlens();
        command.args(&chat).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("starts");
        let mut pipe = child.stdin.take().expect("a pipe");
        pipe.write_all(lines(&["/load TALK", "Why?", "/save TALK"]).as_bytes()).expect("taken");
        let start = Instant::now();
        // The new file is begun under another name.
        while fs::read_dir(folder.path()).expect("readable").count() < 2
            && fs::read(&talk).is_ok_and(|now| now == before)
        {
            assert!(start.elapsed() < Duration::from_secs(60) && child.try_wait().expect("known").is_none());
        }
        std::thread::sleep(delay);
        child.kill().expect("killed");
        child.wait().expect("ended");
        for entry in fs::read_dir(folder.path()).expect("readable").map(|e| e.expect("an entry")) {
            let name = entry.file_name().into_string().expect("a name");
            if name != "talk.qlens" {
                assert!(name.starts_with(".qlens-") && name.ends_with(".part"), "{name}");
                fs::remove_file(entry.path()).expect("removed");
            }
        }
        let said = run_with_input(&chat, lines(&["/load TALK"]).as_bytes());
        assert!(said.stderr.contains("it goes on at once"), "{delay:?}: {said:?}");
        *if said.stderr.contains("1 questions") { &mut kept } else { &mut replaced } += 1;
    }
    assert!(replaced > 0, "the last had time enough: {kept} kept, {replaced} replaced");
}
