//! The chosen kernels and the threads that run them.

use super::cores;
use super::error::KernelError;
use super::isa::{Isa, Level};
use super::threads::ThreadPool;

/// Executes every operation of a model: one instruction set, one pool of threads.
pub struct Cpu {
    level: Level,
    pool: ThreadPool,
}

impl Cpu {
    /// The fastest kernels that run here (or those that `QLENS_KERNELS` names) on `threads` threads; `None` means the
    /// physical cores that this process may use.
    ///
    /// # Errors
    /// If `QLENS_KERNELS` names kernels that are unknown or don't run here, if `threads` is 0 or more than
    /// [`ThreadPool::MAX_THREADS`], or if a thread can't be started.
    pub fn new(threads: Option<usize>) -> Result<Cpu, KernelError> {
        Self::with_isa(threads.unwrap_or_else(cores::default_threads), Isa::from_environment()?)
    }

    /// As [`Cpu::new`], with the instruction set given.
    ///
    /// # Errors
    /// As [`Cpu::new`].
    pub fn with_isa(threads: usize, isa: Isa) -> Result<Cpu, KernelError> {
        let level = Level::require(isa)?;
        tracing::debug!(%isa, threads, "kernels chosen");
        Ok(Cpu { level, pool: ThreadPool::new(threads)? })
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.level.isa()
    }

    /// The instruction set in use, with the proof that it runs here.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Threads that share the work, the caller's included.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// The threads.
    pub fn pool(&self) -> &ThreadPool {
        &self.pool
    }
}

/// The heads of an attention layer. Query head `h` reads key/value head `h / (n_heads / n_kv_heads)`; scores are scaled
/// by `1 / sqrt(head_dim)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadDims {
    /// Query heads: a multiple of `n_kv_heads`.
    pub n_heads: usize,
    /// Key/value heads: at least 1.
    pub n_kv_heads: usize,
    /// Elements of a head: even, at least 2.
    pub head_dim: usize,
}
