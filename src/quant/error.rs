//! What can't be dequantized.

use crate::gguf::GgmlType;

/// A type or length that doesn't fit.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum QuantError {
    /// No dequantization for this type.
    #[error("type {ty} is not supported (F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K are)")]
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
}
