//! What the kernels refuse.

use super::isa::Isa;

/// A request that the kernels can't fulfil. Raised when something is set up, never inside a hot loop.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// `QLENS_KERNELS` holds a name that isn't an instruction set.
    #[error("QLENS_KERNELS={found}: unknown kernels (known: scalar, avx2, avx512)")]
    UnknownIsa {
        /// The text found.
        found: String,
    },
    /// The kernels asked for need instructions that this processor or operating system lacks.
    #[error("{wanted} kernels can't run here: this processor has {available}")]
    IsaUnavailable {
        /// The instruction set asked for.
        wanted: Isa,
        /// Those that would run, best last, as text.
        available: String,
    },
    /// A thread count of zero or beyond what is sensible.
    #[error("{found} threads asked for (allowed: 1 to {max})")]
    ThreadCount {
        /// The number asked for.
        found: usize,
        /// The largest allowed.
        max: usize,
    },
    /// The operating system refused to start a thread.
    #[error("can't start worker thread {index}: {source}")]
    ThreadStart {
        /// Which of the workers, from 1.
        index: usize,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A key/value cache of these sizes has no room in the address space, or a size is zero or odd.
    #[error("key/value cache of {n_layers} layers x {n_kv_heads} heads x {head_dim} x {capacity} tokens: {reason}")]
    CacheShape {
        /// Layers asked for.
        n_layers: usize,
        /// Key/value heads per layer.
        n_kv_heads: usize,
        /// Elements of a head.
        head_dim: usize,
        /// Tokens.
        capacity: usize,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// The system had no memory for the key/value cache.
    #[error("no memory for a key/value cache of {bytes} bytes: {source}")]
    CacheMemory {
        /// Its size.
        bytes: usize,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Bytes given for a saved prefix of a cache don't have the size that this cache wants.
    #[error("saved key/value prefix of {tokens} tokens has {found} bytes (this cache wants {wanted})")]
    CachePrefix {
        /// Tokens of the prefix.
        tokens: usize,
        /// Bytes given.
        found: usize,
        /// Bytes wanted.
        wanted: usize,
    },
}
