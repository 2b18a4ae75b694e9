//! GGUF files: mapped read-only, checked whole before use.

mod types;

pub use types::GgmlType;
