//! What can keep a model from being found or fetched.

use std::io;
use std::path::PathBuf;

/// A model that can't be fetched or looked up.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder of ours can't be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not the name of a repository.
    #[error("`{name}` is no name of a model: names are {known}, or OWNER/REPO[:TYPE] on the hub")]
    Name {
        /// What was given.
        name: String,
        /// Those of the catalog.
        known: String,
    },
    /// The network was forbidden.
    #[error("HF_HUB_OFFLINE is set, so nothing is fetched; `qlens list` shows what is there already")]
    Offline,
    /// The hub's address is none.
    #[error(
        "the hub's address (--endpoint, or HF_ENDPOINT) is `{found}`, which doesn't begin with https:// or http://"
    )]
    Endpoint {
        /// What it is.
        found: String,
    },
    /// The server can't be reached.
    #[error("{host} can't be reached ({why}); is this computer offline? What `qlens list` shows needs no network")]
    Unreachable {
        /// Where.
        host: String,
        /// What the system says.
        why: String,
    },
    /// The server says no.
    #[error("{url}: the server answered {status}{hint}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
        /// What that usually means.
        hint: &'static str,
    },
    /// The hub's answer is none.
    #[error("{url}: the answer makes no sense: {problem}")]
    Answer {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The transfer broke off again and again.
    #[error(
        "{file}: {problem}, {attempts} times; {kept} of {size} bytes are kept, the same command goes on from there"
    )]
    Broken {
        /// The file.
        file: String,
        /// What happened last.
        problem: String,
        /// How often without a new byte.
        attempts: u32,
        /// Bytes that are there.
        kept: u64,
        /// Bytes of the file.
        size: u64,
    },
    /// The server has another length than the hub told.
    #[error("{file}: the server says it has {found} bytes, but the hub promised {wanted}; nothing was kept of it")]
    Length {
        /// The file.
        file: String,
        /// By the server.
        found: u64,
        /// By the hub.
        wanted: u64,
    },
    /// What came is not what was promised.
    #[error("{file}: its SHA-256 is {found}, but the hub promised {wanted}; the download was thrown away")]
    Checksum {
        /// The file.
        file: String,
        /// Of the bytes that came.
        found: String,
        /// By the hub.
        wanted: String,
    },
    /// The disk is too full.
    #[error("{folder}: {needed} bytes are needed, but only {free} are free")]
    Space {
        /// Where.
        folder: PathBuf,
        /// What is still to come, and a margin.
        needed: u64,
        /// What there is.
        free: u64,
    },
    /// Somebody else is at it.
    #[error("{path}: another qlens is downloading it")]
    Busy {
        /// The unfinished file.
        path: PathBuf,
    },
    /// The repository has no such file.
    #[error("{repo} has no {wanted}; it has {found}")]
    NoSuchType {
        /// Which.
        repo: String,
        /// What was asked for.
        wanted: String,
        /// What there is.
        found: String,
    },
}
