//! What kernels refuse.

use super::Isa;
use crate::gguf::GgmlType;

/// A kernel that can't be had, or a size that can't be.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// `QLENS_KERNELS` has a value that means nothing.
    #[error("QLENS_KERNELS is `{found}`, not one of `scalar`, `avx2`, `avx512`")]
    UnknownIsa {
        /// The value.
        found: String,
    },
    /// The processor lacks an instruction set.
    #[error("this processor has no {}; leave QLENS_KERNELS unset to use the best that it has", isa.name())]
    MissingIsa {
        /// The instruction set.
        isa: Isa,
    },
    /// A matrix is stored in a type without kernels.
    #[error(
        "tensor `{tensor}` has type {ty}, which has no kernel (F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K have{})",
        if cfg!(feature = "ggml") { "; IQ, TQ and FP4 types go through ggml" } else { "; IQ, TQ and FP4 types need the feature `ggml`" }
    )]
    MatrixType {
        /// The tensor.
        tensor: String,
        /// Its type.
        ty: GgmlType,
    },
    /// Sizes that overflow, or memory that can't be had.
    #[error("a KV cache for {capacity} tokens needs {bytes} bytes, which can't be had; lower --ctx")]
    Memory {
        /// Tokens asked for.
        capacity: usize,
        /// Bytes, or `more than 2^63`.
        bytes: String,
    },
}
