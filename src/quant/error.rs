//! What can't be dequantized.

use crate::gguf::GgmlType;

/// What a program that was built without ggml says beside what it can't do.
const BUILT_WITHOUT: &str = " (this qlens was built without the feature `ggml`, which knows more types)";

/// A type, a length or a number that doesn't fit.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum QuantError {
    /// There is no way from or to this type.
    #[error("type {ty} is not supported{}", if cfg!(feature = "ggml") { "" } else { BUILT_WITHOUT })]
    Type {
        /// The type.
        ty: GgmlType,
    },
    /// Bytes and elements don't fit together.
    #[error("{bytes} bytes of {ty} are not {elements} numbers")]
    Length {
        /// The type.
        ty: GgmlType,
        /// Bytes given.
        bytes: usize,
        /// Numbers asked for.
        elements: usize,
    },
    /// A number that the type can't hold.
    #[error("{value} does not fit into {ty}")]
    Range {
        /// The type.
        ty: GgmlType,
        /// Which of the numbers.
        at: usize,
        /// The number.
        value: f32,
    },
    /// An importance that is none.
    #[error("the importance of column {index} is {value}, which must be a number from 0 to 1e9")]
    Importance {
        /// The column.
        index: usize,
        /// What it is.
        value: f32,
    },
    /// A type of so few bits that it needs to be told what matters.
    #[error("type {ty} needs an importance matrix")]
    NeedsImportance {
        /// The type.
        ty: GgmlType,
    },
    /// Scales came out infinite.
    #[error("the weights are too large for {ty}")]
    Overflow {
        /// The type.
        ty: GgmlType,
    },
}
