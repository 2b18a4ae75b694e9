//! What can be wrong with a GGUF file.

use std::path::PathBuf;

/// A file that cannot be read as GGUF, or lacks what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not a GGUF file at all, or one of another kind.
    #[error("{file}: {problem}")]
    Format {
        /// The file.
        file: String,
        /// What was found, and what would be valid.
        problem: String,
    },
    /// A file that can't be written as asked.
    #[error("{file}: cannot be written: {problem}")]
    Unwritable {
        /// The file.
        file: String,
        /// What was asked for, and what would be possible.
        problem: String,
    },
    /// A metadata key is missing.
    #[error("{file}: metadata `{key}` is missing")]
    MissingKey {
        /// The file.
        file: String,
        /// The key.
        key: String,
    },
    /// A metadata value has another type or is out of range.
    #[error("{file}: metadata `{key}` is {found}, not {wanted}")]
    WrongType {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
}
