//! A hub of our own on this computer, which can be made to misbehave.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    /// First byte and the one after the last.
    pub range: Option<(usize, usize)>,
    pub headers: HashMap<String, String>,
    /// How many requests came before it.
    pub number: usize,
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Bytes of the body that are sent; the connection is closed after fewer than all.
    pub send: usize,
    /// Instead of closing, nothing more is said.
    pub stall: bool,
    /// A wait after each 64 KiB.
    pub wait: Duration,
}

impl Reply {
    pub fn new(status: u16, headers: &[(&str, String)], body: Vec<u8>) -> Reply {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Reply { status, headers, send: body.len(), body, stall: false, wait: Duration::ZERO }
    }

    pub fn status(status: u16) -> Reply {
        Reply::new(status, &[], Vec::new())
    }
}

/// Changes what the hub would say.
pub type Mischief = Arc<dyn Fn(&Request, Reply) -> Reply + Send + Sync>;

/// A hub with one repository, `o/r`.
pub struct Server {
    pub address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

struct Repository {
    files: Vec<(String, Vec<u8>)>,
    mischief: Mischief,
    requests: Arc<Mutex<Vec<Request>>>,
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

impl Server {
    pub fn start(files: &[(&str, &[u8])], mischief: Mischief) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
        let repository = Arc::new(Repository { files, mischief, requests: requests.clone() });
        // The threads end with the tests' process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let repository = repository.clone();
                std::thread::spawn(move || while repository.answer(&stream) {});
            }
        });
        Server { address, requests }
    }

    /// One that does as it should.
    pub fn honest(files: &[(&str, &[u8])]) -> Server {
        Server::start(files, Arc::new(|_, reply| reply))
    }

    /// What was asked for so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("not poisoned").clone()
    }

    /// Bytes of files that were asked for.
    pub fn asked(&self) -> usize {
        self.requests().iter().filter_map(|r| r.range).map(|(start, end)| end - start).sum()
    }
}

impl Repository {
    /// Answers one request; whether the connection can take another.
    fn answer(&self, mut stream: &TcpStream) -> bool {
        let Some(mut request) = read(stream) else { return false };
        {
            let mut requests = self.requests.lock().expect("not poisoned");
            request.number = requests.len();
            requests.push(request.clone());
        }
        let reply = (self.mischief)(&request, self.honest_reply(&request));
        let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
        if !reply.headers.iter().any(|(name, _)| name == "Content-Length") {
            head += &format!("Content-Length: {}\r\n", reply.body.len());
        }
        reply.headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        head += "\r\n";
        if stream.write_all(head.as_bytes()).is_err() {
            return false;
        }
        for piece in reply.body[..reply.send].chunks(64 << 10) {
            if stream.write_all(piece).is_err() {
                return false;
            }
            std::thread::sleep(reply.wait);
        }
        if reply.stall {
            std::thread::sleep(Duration::from_secs(20));
        }
        reply.send == reply.body.len() && !reply.stall
    }

    fn honest_reply(&self, request: &Request) -> Reply {
        let path = request.path.split('?').next().unwrap_or_default();
        if path == "/api/models/o/r/revision/main" {
            let file = |(name, bytes): &(String, Vec<u8>)| {
                let (size, sha256) = (bytes.len(), sha256(bytes));
                format!(
                    r#"{{"rfilename":"{name}","size":{size},"lfs":{{"sha256":"{sha256}","size":{size},"pointerSize":135}}}}"#
                )
            };
            let files: Vec<String> = self.files.iter().map(file).collect();
            let json = format!(
                r#"{{"id":"o/r","sha":"0123abcd","siblings":[{{"rfilename":"README.md","size":5}},{}]}}"#,
                files.join(",")
            );
            return Reply::new(200, &[], json.into_bytes());
        }
        let name = path.strip_prefix("/o/r/resolve/0123abcd/").or_else(|| path.strip_prefix("/elsewhere/"));
        let Some((_, bytes)) = self.files.iter().find(|(file, _)| Some(file.as_str()) == name) else {
            return Reply::status(404);
        };
        match request.range {
            Some((start, end)) if start < end && end <= bytes.len() => {
                let range = format!("bytes {start}-{}/{}", end - 1, bytes.len());
                Reply::new(206, &[("Content-Range", range)], bytes[start..end].to_vec())
            }
            Some(_) => Reply::status(416),
            None => Reply::new(200, &[], bytes.clone()),
        }
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut headers = HashMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let range = headers.get("range").and_then(|r| {
        let (start, end) = r.strip_prefix("bytes=")?.split_once('-')?;
        Some((start.parse().ok()?, end.parse::<usize>().ok()? + 1))
    });
    Some(Request { path, range, headers, number: 0 })
}
