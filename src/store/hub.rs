//! The hub's HTTP interface: what a repository holds, and pieces of its files. The only place that knows the network.

use std::io::Read;
use std::time::Duration;

use serde::Deserialize;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::StoreError;

/// Bytes of an answer that lists files.
const MAX_ANSWER: u64 = 16 << 20;

/// Bytes of a file that is no joke: the note of which pieces have come grows with it.
const MAX_FILE: u64 = 1 << 40;

/// Where the hub is, and how to talk to it.
#[derive(Clone)]
pub struct HubOptions {
    /// The address, such as `https://HOST`.
    pub endpoint: String,
    /// For private and gated repositories.
    pub token: Option<String>,
    /// Nothing may be fetched.
    pub offline: bool,
    /// Parts of a file that are fetched at the same time.
    pub connections: usize,
    /// How long a connection may be silent.
    pub patience: Duration,
}

/// The hub.
pub struct Hub {
    agent: Agent,
    pub(super) options: HubOptions,
}

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteFile {
    /// Within the repository.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Where to fetch it.
    pub url: String,
}

/// A piece of a file, or all of it.
pub(super) struct Piece {
    /// Bytes of the whole file, by the server; `None` where it doesn't say.
    pub total: Option<u64>,
    /// The server sends the whole file whatever was asked for.
    pub whole: bool,
    /// Where the piece starts.
    pub start: u64,
    /// The bytes.
    pub body: Box<dyn Read + Send>,
}

#[derive(Deserialize)]
struct Revision {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    #[serde(alias = "oid")]
    sha256: String,
    size: u64,
}

impl Hub {
    /// A hub that nothing is asked of yet. Proxies are those of the environment (`HTTPS_PROXY`, `NO_PROXY`, …).
    ///
    /// # Errors
    /// The address is none, or the network was forbidden.
    pub fn new(options: HubOptions) -> Result<Hub, StoreError> {
        if options.offline {
            return Err(StoreError::Offline);
        }
        let endpoint = options.endpoint.trim_end_matches('/').to_owned();
        if !endpoint.starts_with("https://") && !endpoint.starts_with("http://") {
            return Err(StoreError::Endpoint { found: options.endpoint });
        }
        let patience = Some(options.patience);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_resolve(patience)
            .timeout_connect(patience)
            .timeout_recv_response(patience)
            .timeout_per_read(patience)
            .timeout_per_write(patience)
            .user_agent(concat!("qlens/", env!("CARGO_PKG_VERSION")))
            // A file's own host is another one, which the token is none of the business of.
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .tls_config(TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build())
            .build();
        Ok(Hub { agent: config.into(), options: HubOptions { endpoint, ..options } })
    }

    /// The GGUF files of a repository at its newest revision, with sizes and checksums.
    ///
    /// # Errors
    /// The hub can't be reached, refuses, or answers nonsense.
    pub fn files(&self, repo: &str) -> Result<Vec<RemoteFile>, StoreError> {
        let url = format!("{}/api/models/{repo}/revision/main?blobs=true", self.options.endpoint);
        let wrong = |problem: String| StoreError::Answer { url: url.clone(), problem };
        let mut answer = self.get(&url, None)?;
        let bytes = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        let bytes = bytes.map_err(|e| self.unreachable(&url, &e))?;
        let revision: Revision = serde_json::from_slice(&bytes).map_err(|e| wrong(e.to_string()))?;
        if revision.sha.is_empty() || !revision.sha.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(wrong("its revision is no hash".into()));
        }
        let gguf = revision.siblings.iter().filter(|s| s.rfilename.to_ascii_lowercase().ends_with(".gguf"));
        gguf.map(|file| self.file(repo, &revision.sha, file).map_err(wrong)).collect()
    }

    /// Checks what the hub says of a file: its path becomes one of ours.
    fn file(&self, repo: &str, revision: &str, file: &Sibling) -> Result<RemoteFile, String> {
        let path = &file.rfilename;
        let bad =
            |part: &str| matches!(part, "" | "." | "..") || part.chars().any(|c| c.is_control() || "\\:?#".contains(c));
        if path.split('/').any(bad) {
            return Err(format!("a file is called `{path}`"));
        }
        let Some(lfs) = &file.lfs else { return Err(format!("it gives no SHA-256 of {path}")) };
        if lfs.sha256.len() != 64 || !lfs.sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(format!("`{}` as the SHA-256 of {path}", lfs.sha256));
        }
        if !(1..=MAX_FILE).contains(&lfs.size) || file.size.is_some_and(|size| size != lfs.size) {
            return Err(format!("{path} has {} and {:?} bytes (1 to {MAX_FILE})", lfs.size, file.size));
        }
        let url = format!("{}/{repo}/resolve/{revision}/{}", self.options.endpoint, path.replace(' ', "%20"));
        Ok(RemoteFile { path: path.clone(), size: lfs.size, sha256: lfs.sha256.to_ascii_lowercase(), url })
    }

    /// The bytes `start..end` of a file.
    ///
    /// # Errors
    /// The server can't be reached, refuses, or sends another piece.
    pub(super) fn piece(&self, url: &str, start: u64, end: u64) -> Result<Piece, StoreError> {
        let answer = self.get(url, Some((start, end)))?;
        let wrong = |problem: String| StoreError::Answer { url: url.to_owned(), problem };
        let header = |name| answer.headers().get(name).and_then(|v| v.to_str().ok());
        if answer.status().as_u16() != 206 {
            let total = header(header::CONTENT_LENGTH).and_then(|n| n.parse().ok());
            return Ok(Piece { total, whole: true, start: 0, body: Box::new(answer.into_body().into_reader()) });
        }
        // `bytes 0-1023/4096`
        let range = header(header::CONTENT_RANGE).unwrap_or_default();
        let parts = range.strip_prefix("bytes ").and_then(|r| r.split_once('/'));
        let total = parts.and_then(|(_, total)| total.parse::<u64>().ok());
        let first = parts.and_then(|(span, _)| span.split_once('-')?.0.parse::<u64>().ok());
        if first != Some(start) {
            return Err(wrong(format!("asked for the bytes from {start}, it sends `{range}`")));
        }
        Ok(Piece { total, whole: false, start, body: Box::new(answer.into_body().into_reader()) })
    }

    fn get(&self, url: &str, range: Option<(u64, u64)>) -> Result<Response<Body>, StoreError> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.options.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some((start, end)) = range {
            request = request.header(header::RANGE, format!("bytes={start}-{}", end - 1));
        }
        let answer = request.call().map_err(|e| self.unreachable(url, &e))?;
        let status = answer.status().as_u16();
        match status {
            200 | 206 => Ok(answer),
            _ => Err(StoreError::Status { url: url.to_owned(), status, hint: hint(status) }),
        }
    }

    fn unreachable(&self, url: &str, e: &ureq::Error) -> StoreError {
        let host = url.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or(url);
        StoreError::Unreachable { host: host.to_owned(), why: e.to_string() }
    }
}

fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => {
            ": there is no such repository, or it is private or gated; then accept its terms on its page and set HF_TOKEN"
        }
        404 => ": there is no such repository or file",
        429 => ": too many requests; try again later",
        500.. => ": the server has trouble; try again later",
        _ => "",
    }
}
