//! What this processor can do at most, measured: the roofline that speed is judged by.
//!
//! Dot products: twelve accumulators that don't depend on each other, nothing but the one instruction, all threads.
//! Memory: all threads read a buffer that is larger than caches usually are, each its own part in order. It lies in large
//! pages where the system has them: on a Zen 4 they are read at 60 GB/s where small ones are read at 40, and a limit that
//! weights in large pages surpass is none.

use std::hint::black_box;
use std::time::Instant;

use super::isa::Isa;
use super::{Cpu, ThreadPool};
use crate::gguf::LargePages;

/// Upper limits of the kernels in use, on the threads in use. An operation is an addition or a multiplication.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peaks {
    /// Bytes read from memory per second.
    pub memory_bytes_per_s: f64,
    /// Operations on 8-bit integers per second, in dot products.
    pub int8_ops_per_s: f64,
    /// Operations on bfloat16 numbers per second, where there is an instruction for them.
    pub bf16_ops_per_s: Option<f64>,
    /// Operations on 32-bit floats per second.
    pub f32_ops_per_s: f64,
}

/// Bytes of the buffer that is read: several times a usual cache.
const BUFFER_BYTES: usize = 1 << 30;
/// Rounds of the inner loop per task: about a tenth of a millisecond.
const ROUNDS: u32 = 25_000;
/// Tasks per thread.
const TASKS: usize = 400;

impl Cpu {
    /// Measures the limits; takes about a second, and 1 GiB of memory meanwhile.
    pub fn peaks(&self) -> Peaks {
        let (pool, isa) = (self.pool(), self.isa());
        Peaks {
            memory_bytes_per_s: memory(pool),
            int8_ops_per_s: rate(pool, int8(isa)),
            bf16_ops_per_s: bf16(isa).map(|chain| rate(pool, chain)),
            f32_ops_per_s: rate(pool, float(isa)),
        }
    }
}

/// Runs `rounds` rounds (none for 0) and returns the operations of one.
type Chain = fn(u32) -> u64;

/// Operations per second with all threads at it; the best of three.
fn rate(pool: &ThreadPool, chain: Chain) -> f64 {
    let ops = (pool.threads() * TASKS) as f64 * f64::from(ROUNDS) * chain(0) as f64;
    let once = || {
        let start = Instant::now();
        pool.run(pool.threads() * TASKS, &|_| {
            black_box(chain(ROUNDS));
        });
        ops / start.elapsed().as_secs_f64()
    };
    (0..3).map(|_| once()).fold(0.0, f64::max)
}

/// Bytes per second that all threads read; the best of five. 0 where there is no memory for the buffer.
fn memory(pool: &ThreadPool) -> f64 {
    let Some(mut buffer) = LargePages::zeroed(BUFFER_BYTES) else { return 0.0 };
    // Pages that were never written to are all the same one.
    buffer.bytes_mut().fill(1);
    let words: &[u64] = bytemuck::cast_slice(buffer.bytes_mut());
    let parts: Vec<&[u64]> = words.chunks(words.len().div_ceil(pool.threads() * 16)).collect();
    let once = || {
        let start = Instant::now();
        pool.run_in_ranges(parts.len(), &|i| {
            black_box(sum(parts[i]));
        });
        BUFFER_BYTES as f64 / start.elapsed().as_secs_f64()
    };
    (0..5).map(|_| once()).fold(0.0, f64::max)
}

/// Sum in sixteen independent lanes: as fast as loads come.
fn sum(data: &[u64]) -> u64 {
    let mut lanes = [0u64; 16];
    for chunk in data.chunks_exact(16) {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = lane.wrapping_add(x);
        }
    }
    lanes.iter().fold(0, |a, &x| a.wrapping_add(x))
}

fn int8(isa: Isa) -> Chain {
    #[cfg(target_arch = "x86_64")]
    match isa {
        Isa::Avx512 => return x86::int8_avx512,
        Isa::Avx2 => return x86::int8_avx2,
        Isa::Scalar => {}
    }
    let _ = isa;
    plain_int8
}

fn float(isa: Isa) -> Chain {
    #[cfg(target_arch = "x86_64")]
    match isa {
        Isa::Avx512 => return x86::float_avx512,
        Isa::Avx2 => return x86::float_avx2,
        Isa::Scalar => {}
    }
    let _ = isa;
    plain_float
}

fn bf16(isa: Isa) -> Option<Chain> {
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Avx512 && super::Avx512Bf16::new().is_some() {
        return Some(x86::bf16_avx512);
    }
    let _ = isa;
    None
}

/// Without vector instructions of its own: what the compiler makes of sixteen lanes.
fn plain_int8(rounds: u32) -> u64 {
    let (a, b) = (black_box([3i8; 16]), black_box([5i8; 16]));
    let mut lanes = [0i32; 16];
    for _ in 0..rounds {
        for (lane, (&a, &b)) in lanes.iter_mut().zip(a.iter().zip(&b)) {
            *lane = black_box(*lane).wrapping_add(i32::from(a) * i32::from(b));
        }
    }
    black_box(lanes);
    32
}

/// The same of floats.
fn plain_float(rounds: u32) -> u64 {
    let (a, b) = (black_box([0.5f32; 16]), black_box([0.25f32; 16]));
    let mut lanes = [0f32; 16];
    for _ in 0..rounds {
        for (lane, (&a, &b)) in lanes.iter_mut().zip(a.iter().zip(&b)) {
            *lane = black_box(*lane) + a * b;
        }
    }
    black_box(lanes);
    32
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;

    // The loops are written as assembler text: a compiler would see through twelve equal sums. Registers 0 to 11 gather,
    // 12 and 13 are the factors, all zero at first, so that neither overflow nor denormal numbers matter.
    macro_rules! chain {
        ($name:ident, $before:literal, $after:literal, $ops:literal, [$($r:literal)*]) => {
            /// `rounds` rounds of twelve. Only for processors that have the instruction: those that the kernels were
            /// chosen for.
            pub fn $name(rounds: u32) -> u64 {
                if rounds > 1 {
                    // SAFETY: changes registers only, and names them all; a zmm register is clobbered with its xmm part.
                    unsafe {
                        asm!(
                            "vpxor xmm12, xmm12, xmm12",
                            "vpxor xmm13, xmm13, xmm13",
                            $(concat!("vpxor xmm", $r, ", xmm", $r, ", xmm", $r),)*
                            "2:",
                            $(concat!($before, $r, $after),)*
                            "dec {rounds:e}",
                            "jnz 2b",
                            "vzeroupper",
                            rounds = inout(reg) rounds => _,
                            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                            out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _,
                            out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                            options(nomem, nostack),
                        );
                    }
                }
                12 * $ops
            }
        };
        ($name:ident, $before:literal, $after:literal, $ops:literal) => {
            chain!($name, $before, $after, $ops,
                   ["0" "1" "2" "3" "4" "5" "6" "7" "8" "9" "10" "11"]);
        };
    }

    chain!(int8_avx512, "vpdpbusd zmm", ", zmm12, zmm13", 128);
    chain!(bf16_avx512, "vdpbf16ps zmm", ", zmm12, zmm13", 64);
    chain!(float_avx512, "vfmadd231ps zmm", ", zmm12, zmm13", 32);
    chain!(float_avx2, "vfmadd231ps ymm", ", ymm12, ymm13", 16);
    // Three instructions, as AVX2 has no dot product.
    chain!(int8_avx2, "vpmaddubsw ymm14, ymm12, ymm13; vpmaddwd ymm14, ymm14, ymm13; vpaddd ymm15, ymm14, ymm", "", 64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_instruction_set_has_limits_above_zero() {
        for isa in Isa::available() {
            let pool = ThreadPool::new(2);
            for chain in [int8(isa), float(isa)].into_iter().chain(bf16(isa)) {
                let ops = rate(&pool, chain);
                assert!(ops.is_finite() && ops > 1e7, "{isa:?}: {ops}");
            }
        }
    }

    #[test]
    fn what_is_read_is_summed() {
        assert_eq!(sum(&[3; 64]), 192);
    }
}
