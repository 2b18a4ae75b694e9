//! The hot loops: matrix products, attention, norms, rotary positions, activations, and the threads that share them.
//!
//! Every operation exists once per instruction set (scalar, AVX2, AVX-512), chosen when a [`Cpu`] is made. Results do
//! not depend on the number of threads: work is cut into tasks by the operation's sizes alone, each task writes its own
//! part of the output, and sums over several tasks are taken in a fixed order.

mod cores;
mod cpu;
mod disjoint;
mod error;
mod isa;
mod matmul;
mod scratch;
mod threads;

pub use cpu::{Cpu, HeadDims};
pub use error::KernelError;
#[cfg(target_arch = "x86_64")]
pub use isa::{Avx2, Avx512};
pub use isa::{Isa, Level};
pub use scratch::{AlignedBuf, Scratch};
pub use threads::ThreadPool;

#[allow(unused_imports)] // until the first parallel kernel is in
pub(crate) use disjoint::DisjointMut;
