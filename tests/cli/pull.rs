//! `pull` against a hub that breaks off, lies, redirects, stalls: it goes on, or fails cleanly, and there is never a file
//! that looks whole and isn't.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use qlens::gguf::{GgmlType, Gguf, GgufWriter, Tensor};

use crate::models::Home;
use crate::server::{Mischief, Reply, Request, Server};
use crate::util::{Run, picture, reference};

const MODEL: &str = "Tiny-Q8_0.gguf";
const TOWER: &str = "mmproj-Tiny-F16.gguf";
/// Bytes that are fetched as one.
const CHUNK: usize = 8 << 20;

/// The reference model with a tensor that nobody needs, so that it has several pieces.
fn model() -> Vec<u8> {
    let gguf = Gguf::open(&reference("tiny-tied/model-q8_0.gguf")).expect("opens");
    let mut out = GgufWriter::new();
    for (key, value) in gguf.metadata().iter() {
        out.metadata(key, value.clone()).expect("fits");
    }
    let tensors: Vec<&Tensor> = gguf.tensors().collect();
    for t in &tensors {
        out.tensor(t.name(), t.ty(), t.dims()).expect("fits");
    }
    let ballast: Vec<u8> = (0..3 * CHUNK as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    out.tensor("ballast", GgmlType::F32, &[ballast.len() / 4]).expect("fits");
    let mut bytes = Vec::new();
    let fill = &mut |i: usize, to: &mut dyn std::io::Write| {
        to.write_all(tensors.get(i).map_or(&ballast[..], |t: &&Tensor| t.bytes()))
    };
    out.write_to(&mut bytes, "model", fill).expect("written");
    bytes
}

fn tower() -> Vec<u8> {
    fs::read(reference("tiny-tied/mmproj-q8_0.gguf")).expect("read")
}

/// A home, the files of a repository, and a hub that has them.
struct Case {
    home: Home,
    model: Vec<u8>,
    tower: Vec<u8>,
}

impl Case {
    fn new() -> Case {
        Case { home: Home::new(), model: model(), tower: tower() }
    }

    fn server(&self, mischief: Mischief) -> Server {
        Server::start(&[(MODEL, &self.model), (TOWER, &self.tower)], mischief)
    }

    fn command(&self, server: &Server, args: &[&str]) -> Command {
        let mut command = self.home.qlens();
        command.args(["pull", "o/r:Q8_0", "--patience", "1"]).args(args).env("HF_ENDPOINT", &server.address);
        command
    }

    fn pull(&self, server: &Server) -> Run {
        self.command(server, &[]).output().expect("starts").into()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path("data/qlens/models/o/r").join(name)
    }

    /// Both files are there and right, and nothing else is.
    #[track_caller]
    fn is_whole(&self) {
        assert!(fs::read(self.file(MODEL)).expect("there") == self.model, "the model's bytes");
        assert!(fs::read(self.file(TOWER)).expect("there") == self.tower, "the tower's bytes");
        let left = fs::read_dir(self.file("")).expect("readable").count();
        assert_eq!(left, 2, "nothing is left over");
    }

    /// No file has a name that it hasn't earned.
    #[track_caller]
    fn is_honest(&self) {
        for (name, bytes) in [(MODEL, &self.model), (TOWER, &self.tower)] {
            if let Ok(found) = fs::read(self.file(name)) {
                assert!(found == *bytes, "{name} is there, but wrong");
            }
        }
    }
}

fn is_file(request: &Request) -> bool {
    request.range.is_some()
}

#[test]
fn a_pull_brings_the_pair_in_pieces_and_it_runs() {
    let case = Case::new();
    let server = case.server(Arc::new(|_, reply| reply));
    let said = case.pull(&server);
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.stderr.contains("-m o/r:Q8_0"), "{said:?}");
    case.is_whole();
    assert_eq!(server.asked(), case.model.len() + case.tower.len(), "each byte once");
    let pieces = server.requests().iter().filter(|r| r.path.ends_with(MODEL)).count();
    assert_eq!(pieces, case.model.len().div_ceil(CHUNK));
    case.home.run(&["describe", &picture(), "-m", "o/r:Q8_0", "--max-tokens", "4"]).answer();

    // Again: nothing is fetched, and damage is found and mended.
    let again = case.pull(&server);
    assert!(again.code == Some(0) && again.stderr.contains("already, and whole"), "{again:?}");
    assert_eq!(server.asked(), case.model.len() + case.tower.len());
    let mut damaged = case.model.clone();
    damaged[CHUNK] ^= 1;
    fs::write(case.file(MODEL), damaged).expect("written");
    assert_eq!(case.pull(&server).code, Some(0));
    case.is_whole();
}

#[test]
fn connections_that_break_off_are_gone_on_with() {
    let case = Case::new();
    let server = case.server(Arc::new(|request, mut reply| {
        if is_file(request) && request.number % 3 != 0 {
            reply.send = reply.body.len() / 2;
        }
        reply
    }));
    let said = case.pull(&server);
    assert_eq!(said.code, Some(0), "{said:?}");
    case.is_whole();
    let asked = server.asked();
    assert!(asked < 2 * (case.model.len() + case.tower.len()) + CHUNK, "{asked} bytes: what came is kept");
}

#[test]
fn a_connection_that_falls_silent_is_given_up_and_gone_on_with() {
    let case = Case::new();
    let stalls = AtomicUsize::new(0);
    let server = case.server(Arc::new(move |request, mut reply| {
        if is_file(request) && stalls.fetch_add(1, Ordering::Relaxed) < 2 {
            reply.send = 1 << 20;
            reply.stall = true;
        }
        reply
    }));
    let start = Instant::now();
    let said = case.pull(&server);
    assert_eq!(said.code, Some(0), "{said:?}");
    case.is_whole();
    assert!(start.elapsed() < Duration::from_secs(15), "not as long as the server sleeps: {:?}", start.elapsed());
}

#[test]
fn a_server_that_never_comes_back_ends_the_pull_and_the_next_one_goes_on() {
    let case = Case::new();
    let dead = case.server(Arc::new(|request, mut reply| {
        if is_file(request) && request.range.is_some_and(|(start, _)| start >= CHUNK) {
            reply.send = 0;
        }
        reply
    }));
    let said = case.pull(&dead);
    said_fails(&said, 74, &["Tiny-Q8_0.gguf", "are kept", "goes on"]);
    assert!(!case.file(MODEL).exists());
    let alive = case.server(Arc::new(|_, reply| reply));
    assert_eq!(case.pull(&alive).code, Some(0));
    case.is_whole();
    assert_eq!(alive.asked(), case.model.len() - CHUNK + case.tower.len(), "the first piece was kept");
}

/// Fails with this code; the last line says why.
#[track_caller]
fn said_fails(said: &Run, code: i32, words: &[&str]) {
    assert_eq!(said.code, Some(code), "{said:#?}");
    let last = said.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: ") && words.iter().all(|w| last.contains(w)), "{words:?} in {last:?}");
}

#[test]
fn wrong_bytes_are_thrown_away() {
    let case = Case::new();
    let liar = case.server(Arc::new(|request, mut reply| {
        if is_file(request) && request.path.ends_with(MODEL) {
            reply.body[7] ^= 1;
        }
        reply
    }));
    said_fails(&case.pull(&liar), 74, &["SHA-256", "thrown away"]);
    assert_eq!(fs::read_dir(case.file("")).expect("readable").count(), 0, "nothing is left of it");
    let honest = case.server(Arc::new(|_, reply| reply));
    assert_eq!(case.pull(&honest).code, Some(0));
    case.is_whole();
}

#[test]
fn a_damaged_remainder_of_an_earlier_pull_costs_a_second_try_not_a_wrong_file() {
    let case = Case::new();
    let dead = case.server(Arc::new(|request, reply| {
        if request.range.is_some_and(|(start, _)| start >= CHUNK) { Reply::status(503) } else { reply }
    }));
    said_fails(&case.pull(&dead), 74, &["503"]);
    let part = case.file(&format!("{MODEL}.part"));
    let mut bytes = fs::read(&part).expect("there");
    bytes[100] ^= 1;
    fs::write(&part, bytes).expect("written");
    let server = case.server(Arc::new(|_, reply| reply));
    assert_eq!(case.pull(&server).code, Some(0));
    case.is_whole();
    // A note that is no note, and one of another file, are as none.
    for note in ["{", r#"{"sha256":"00","size":1,"chunk":8388608,"done":"1"}"#] {
        fs::remove_file(case.file(MODEL)).expect("removed");
        fs::write(&part, vec![7; case.model.len()]).expect("written");
        fs::write(case.file(&format!("{MODEL}.part.json")), note).expect("written");
        assert_eq!(case.pull(&server).code, Some(0));
        case.is_whole();
    }
}

#[test]
fn lies_about_the_length_are_found_out() {
    type Lie = fn(&Request, Reply) -> Reply;
    let total: Lie = |request, mut reply| {
        if let Some((start, end)) = request.range {
            reply.headers = vec![("Content-Range".into(), format!("bytes {start}-{}/{}", end - 1, end + 12_345))];
        }
        reply
    };
    let other_piece: Lie = |request, mut reply| {
        if request.range.is_some_and(|(start, _)| start > 0) {
            reply.headers = vec![("Content-Range".into(), "bytes 5-10/99".into())];
        }
        reply
    };
    let whole_is_short: Lie = |request, reply| {
        if is_file(request) { Reply::new(200, &[], reply.body[..1000].to_vec()) } else { reply }
    };
    for (lie, words) in [(total, "promised"), (other_piece, "bytes 5-10/99"), (whole_is_short, "promised")] {
        let case = Case::new();
        let said = case.pull(&case.server(Arc::new(lie)));
        said_fails(&said, 74, &[words]);
        case.is_honest();
        assert!(!case.file(MODEL).exists(), "{words}");
        assert_eq!(case.pull(&case.server(Arc::new(|_, reply| reply))).code, Some(0), "{words}");
        case.is_whole();
    }
    // Content-Length says more than comes, or less than was asked for: both look like a break.
    let case = Case::new();
    let server = case.server(Arc::new(|request, mut reply| {
        if is_file(request) && request.number % 2 == 1 {
            reply.body.truncate(reply.body.len() / 2);
            reply.send = reply.body.len();
            let claimed = if request.number % 4 == 1 { reply.body.len() * 2 } else { reply.body.len() };
            reply.headers.push(("Content-Length".into(), claimed.to_string()));
            if claimed > reply.send {
                reply.body.resize(claimed, 0);
            }
        }
        reply
    }));
    assert_eq!(case.pull(&server).code, Some(0));
    case.is_whole();
}

#[test]
fn a_server_without_ranges_is_read_in_one_go() {
    let case = Case::new();
    let breaks = AtomicUsize::new(0);
    let (model, tower) = (case.model.clone(), case.tower.clone());
    let server = case.server(Arc::new(move |request, reply| {
        if !is_file(request) {
            return reply;
        }
        let whole = if request.path.ends_with(MODEL) { &model } else { &tower };
        let mut reply = Reply::new(200, &[], whole.clone());
        if breaks.fetch_add(1, Ordering::Relaxed) == 0 {
            reply.send = CHUNK + 5;
        }
        reply
    }));
    let said = case.pull(&server);
    assert_eq!(said.code, Some(0), "{said:?}");
    case.is_whole();
}

#[test]
fn redirects_are_followed_and_the_token_stays_at_home() {
    let case = Case::new();
    let storage = case.server(Arc::new(|_, reply| reply));
    let elsewhere = storage.address.replace("127.0.0.1", "localhost");
    let server = case.server(Arc::new(move |request, reply| {
        let Some(name) = request.path.strip_prefix("/o/r/resolve/0123abcd/") else { return reply };
        Reply::new(302, &[("Location", format!("{elsewhere}/elsewhere/{name}"))], Vec::new())
    }));
    let said: Run = case.command(&server, &[]).env("HF_TOKEN", "hf_secret").output().expect("starts").into();
    assert_eq!(said.code, Some(0), "{said:?}");
    case.is_whole();
    let sent = |server: &Server| server.requests().iter().filter(|r| r.headers.contains_key("authorization")).count();
    assert_eq!(sent(&server), server.requests().len(), "the hub is shown the token");
    assert_eq!((sent(&storage), storage.requests().is_empty()), (0, false), "its storage isn't");
    assert!(!said.stderr.contains("hf_secret"), "{said:?}");

    let round = case.server(Arc::new(|request, reply| match is_file(request) {
        true => Reply::new(302, &[("Location", request.path.clone())], Vec::new()),
        false => reply,
    }));
    fs::remove_file(case.file(MODEL)).expect("removed");
    assert_eq!(case.pull(&round).code, Some(74), "in circles");
    case.is_honest();
}

#[test]
fn what_the_hub_refuses_is_told_with_what_to_do() {
    let case = Case::new();
    for (status, code, words) in [(401, 69, "HF_TOKEN"), (404, 69, "no such"), (500, 74, "later"), (418, 74, "418")] {
        let server = case.server(Arc::new(move |_, _| Reply::status(status)));
        said_fails(&case.pull(&server), code, &[words]);
    }
    for nonsense in ["", "{", "[]", r#"{"sha":"../..","siblings":[]}"#] {
        let server = case.server(Arc::new(move |_, _| Reply::new(200, &[], nonsense.into())));
        assert_eq!(case.pull(&server).code, Some(74), "{nonsense}");
    }
    let honest = case.server(Arc::new(|_, reply| reply));
    let run = |name: &str| -> Run {
        let mut command = case.home.qlens();
        command.args(["pull", name]).env("HF_ENDPOINT", &honest.address).output().expect("starts").into()
    };
    said_fails(&run("o/r:Q4_K_M"), 69, &["Q4_K_M", "it has Q8_0"]);
    for name in ["qwen", "a/b/c", "../x", "o/r:", "o/..", "o/r?x"] {
        said_fails(&run(name), 2, &["OWNER/REPO", "qwen2.5-vl-3b"]);
    }
}

#[test]
fn a_hub_cannot_write_outside_of_its_folder() {
    let case = Case::new();
    for name in
        ["../../evil-Q8_0.gguf", "/evil-Q8_0.gguf", "a//evil-Q8_0.gguf", "a\\evil-Q8_0.gguf", "./evil-Q8_0.gguf"]
    {
        let escaped = name.replace('\\', "\\\\");
        let server = Server::honest(&[(escaped.as_str(), &case.model)]);
        said_fails(&case.pull(&server), 74, &["makes no sense"]);
    }
    assert!(!case.home.path("data/qlens/models/evil-Q8_0.gguf").exists() && !case.file("").exists());
}

#[test]
fn sizes_that_no_disk_has_are_refused_before_anything_is_fetched() {
    let case = Case::new();
    let claims = |size: u64| -> Mischief {
        Arc::new(move |request, reply| {
            if is_file(request) {
                return reply;
            }
            let hash = "0".repeat(64);
            let file =
                format!(r#"{{"rfilename":"{MODEL}","lfs":{{"sha256":"{hash}","size":{size},"pointerSize":1}}}}"#);
            Reply::new(200, &[], format!(r#"{{"sha":"0123abcd","siblings":[{file}]}}"#).into_bytes())
        })
    };
    said_fails(&case.pull(&case.server(claims(1 << 60))), 74, &["makes no sense"]);
    let large = case.server(claims(1 << 40));
    let said = case.pull(&large);
    // A disk with that much room finds the lie out by the first piece.
    let why = if said.stderr.contains("are needed") { "are free" } else { "promised" };
    said_fails(&said, 74, &[why]);
    assert_eq!(fs::read_dir(case.file("")).expect("readable").count(), 0, "nothing is left");
}

#[test]
fn being_offline_is_said() {
    let case = Case::new();
    let said: Run = {
        let mut command = case.home.qlens();
        command.args(["pull", "o/r"]).env("HF_HUB_OFFLINE", "1").output().expect("starts").into()
    };
    said_fails(&said, 74, &["HF_HUB_OFFLINE"]);
    // Nobody listens there: the port was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let pull = |endpoint: &str| -> Run {
        let mut command = case.home.qlens();
        command.args(["pull", "o/r", "--endpoint", endpoint, "--patience", "2"]).output().expect("starts").into()
    };
    said_fails(&pull(&format!("http://{free}")), 74, &[&free.to_string(), "offline?"]);
    said_fails(&pull("http://no-such-host.invalid"), 74, &["no-such-host.invalid", "offline?"]);
    said_fails(&pull("ftp://x"), 2, &["ftp://x", "https://"]);
}

#[test]
fn a_proxy_is_asked_where_one_is_set() {
    let case = Case::new();
    let proxy = case.server(Arc::new(|_, reply| reply));
    let mut command = case.home.qlens();
    command.args(["pull", "o/r", "--endpoint", "http://hub.invalid", "--patience", "1"]);
    let said: Run =
        command.env("http_proxy", &proxy.address).env("ALL_PROXY", &proxy.address).output().expect("starts").into();
    // What a proxy is asked is `GET http://hub.invalid/…` or `CONNECT hub.invalid:80`: this one can do neither.
    assert_ne!(said.code, Some(0));
    assert!(proxy.requests().iter().any(|r| r.path.contains("hub.invalid")), "{:?}", proxy.requests());
}

#[cfg(unix)]
#[test]
fn a_pull_that_is_killed_leaves_no_lie_and_the_next_one_goes_on() {
    let case = Case::new();
    let slow = case.server(Arc::new(|_, mut reply| {
        reply.wait = Duration::from_millis(4);
        reply
    }));
    let note = case.file(&format!("{MODEL}.part.json"));
    let (mut least_asked, whole) = (usize::MAX, case.model.len() + case.tower.len());
    for _ in 0..3 {
        let mut child = case.command(&slow, &["--connections", "2"]).stderr(Stdio::null()).spawn().expect("starts");
        let before = fs::read(&note).unwrap_or_default();
        let deadline = Instant::now() + Duration::from_secs(60);
        // Until another piece has come, and then at once.
        while fs::read(&note).unwrap_or_default() == before && !case.file(TOWER).exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().expect("killed");
        child.wait().expect("ended");
        case.is_honest();
        least_asked = least_asked.min(pieces_missing(&note));
    }
    let fast = case.server(Arc::new(|_, reply| reply));
    let said = case.pull(&fast);
    assert_eq!(said.code, Some(0), "{said:?}");
    case.is_whole();
    assert!(fast.asked() < whole - CHUNK, "{} of {whole} bytes were asked for again", fast.asked());
    assert!(least_asked < case.model.len().div_ceil(CHUNK));
}

/// Pieces that the note says are still to come.
fn pieces_missing(note: &Path) -> usize {
    let text = fs::read_to_string(note).unwrap_or_default();
    let note: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    note["done"].as_str().map_or(usize::MAX, |done| done.matches('0').count())
}

#[test]
fn two_pulls_at_once_do_not_get_in_each_others_way() {
    let case = Case::new();
    let slow = case.server(Arc::new(|_, mut reply| {
        reply.wait = Duration::from_millis(4);
        reply
    }));
    let mut first = case.command(&slow, &[]).stderr(Stdio::null()).spawn().expect("starts");
    let part = case.file(&format!("{MODEL}.part.json"));
    let deadline = Instant::now() + Duration::from_secs(60);
    while !part.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    said_fails(&case.pull(&slow), 74, &["another qlens"]);
    assert!(first.wait().expect("ended").success());
    case.is_whole();
}
