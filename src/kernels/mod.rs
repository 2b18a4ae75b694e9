//! The hot loops, picked by CPU feature at run time.
//!
//! [`Cpu`] holds the choice and the threads; its methods are the operations. They check all lengths, cut the work into
//! tasks whose borders depend on shapes only (so results are the same for any number of threads), and call the kernels
//! of the chosen instruction set, each of which has a scalar twin.

mod attention;
mod elementwise;
mod error;
mod isa;
mod kv_cache;
mod matmul;
mod observe;
mod peaks;
mod prefetch;
mod split;
mod threads;
mod vector;

use std::sync::{Arc, OnceLock};

pub use attention::{AttentionProducts, HeadDims};
pub use error::KernelError;
pub use isa::{Avx2, Avx512, Avx512Bf16, Isa, physical_cores};
pub use kv_cache::{KvCache, KvType};
pub use matmul::{FEW_TOKENS, Input, MatMul, Matrix};
pub use observe::Observer;
pub use peaks::Peaks;
pub use threads::ThreadPool;

/// Memory that operations reuse from call to call: it grows to the largest size needed and stays.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(crate) matmul: matmul::MatMulScratch,
}

/// The chosen kernels and the threads that run them.
pub struct Cpu {
    isa: Isa,
    pool: ThreadPool,
    observer: OnceLock<Arc<dyn Observer>>,
}

impl Cpu {
    /// The best kernels of this processor, or those that `QLENS_KERNELS` names, on `threads` threads (`None`: one per
    /// physical core).
    ///
    /// # Errors
    /// `QLENS_KERNELS` names an unknown set or one that this processor lacks.
    pub fn new(threads: Option<usize>) -> Result<Cpu, KernelError> {
        let isa = Isa::choose()?;
        let cpu = Cpu::with_isa(threads.unwrap_or_else(physical_cores), isa)?;
        tracing::debug!("kernels: {}, threads: {}", isa.name(), cpu.threads());
        Ok(cpu)
    }

    /// Kernels of a given set.
    ///
    /// # Errors
    /// This processor lacks it.
    pub fn with_isa(threads: usize, isa: Isa) -> Result<Cpu, KernelError> {
        if !isa.is_available() {
            return Err(KernelError::MissingIsa { isa });
        }
        Ok(Cpu { isa, pool: ThreadPool::new(threads.clamp(1, 1024)), observer: OnceLock::new() })
    }

    /// From now on `observer` sees what all matrices are multiplied with. The first one stays.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        let _ = self.observer.set(observer);
    }

    /// The kernels in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The threads in use.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// The threads.
    pub fn pool(&self) -> &ThreadPool {
        &self.pool
    }
}
