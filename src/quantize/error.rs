//! Why a file can't be quantized.

use std::path::PathBuf;

use crate::gguf::{GgmlType, GgufError};
use crate::quant::QuantError;

/// A file that can't be made as asked.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// A GGUF file can't be read or written.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// Not a model of the kinds that run here.
    #[error("{file}: architecture `{found}` is not quantized here (qwen2vl, qwen2, qwen25vl and clip are)")]
    Architecture {
        /// The file.
        file: String,
        /// What it is.
        found: String,
    },
    /// The program lacks what makes this type.
    #[error("this qlens was built without ggml, which makes type {ty}: build it with the feature `ggml`")]
    BuiltWithout {
        /// The type.
        ty: GgmlType,
    },
    /// No tensor is of this type in a file.
    #[error("no tensor can be stored as {ty}")]
    NoTarget {
        /// The type.
        ty: GgmlType,
    },
    /// The tensor has a type already that loses by being quantized again.
    #[error(
        "{file}: tensor `{tensor}` is {found} already; quantizing it again to {wanted} loses more than quantizing the \
         original does (--allow-requantize does it all the same)"
    )]
    Requantize {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// Its type.
        found: GgmlType,
        /// What it would become.
        wanted: GgmlType,
    },
    /// A type of few bits, and nothing that says what matters.
    #[error(
        "type {ty}, which tensor `{tensor}` would get, needs an importance matrix: --imatrix FILE (`qlens imatrix` makes one)"
    )]
    NeedsImportance {
        /// The tensor.
        tensor: String,
        /// The type.
        ty: GgmlType,
    },
    /// The importance matrix has no entry for a tensor that needs one.
    #[error("{file}: holds nothing for tensor `{tensor}`, and type {ty} needs it: is it another model's?")]
    NoEntry {
        /// The importance matrix.
        file: String,
        /// The tensor.
        tensor: String,
        /// The type.
        ty: GgmlType,
    },
    /// The importance matrix is about another shape.
    #[error("{file}: has {found} columns for tensor `{tensor}`, which has {wanted}: it is another model's")]
    EntryLength {
        /// The importance matrix.
        file: String,
        /// The tensor.
        tensor: String,
        /// Columns there.
        found: usize,
        /// Columns of the tensor.
        wanted: usize,
    },
    /// A weight or a scale can't be quantized.
    #[error("{file}: tensor `{tensor}`, row {row}: {source}")]
    Weight {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// The row; of several that were quantized together, the first.
        row: usize,
        /// What is wrong.
        source: QuantError,
    },
    /// A file that is no importance matrix.
    #[error("{file}: {problem}")]
    Importance {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The importance matrix can't be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
