//! Times matrix products: `bench_matmul [TYPE,…] [TOKENS,…] [ISA,…] [THREADS,…] [COPIES]`: with one copy the
//! weights stay in the last cache.
//!
//! Prints TOPS (two operations per weight and token) and the rate at which weights are read, beside the rate at which the
//! same threads can read memory at all (sums of the same bytes).

use std::hint::black_box;
use std::time::Instant;

use qlens::gguf::{GgmlType, Tensor};
use qlens::kernels::{Cpu, Input, Isa, MatMul, Matrix, Scratch};

const SHAPES: [(usize, usize); 2] = [(11008, 2048), (2048, 11008)];

/// The best of several runs, in seconds; other programs' share of the machine is noise on one side only.
fn best(mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    let mut best = f64::INFINITY;
    let mut runs = 0;
    while runs < 3 || (start.elapsed().as_secs_f64() < 0.7 && runs < 200) {
        let one = Instant::now();
        work();
        best = best.min(one.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}

/// Weights of random bytes whose half-precision scales are small numbers: every second byte is cut to 0x00…0x2f.
fn weights(
    ty: GgmlType,
    rows: usize,
    cols: usize,
    rng: &mut fastrand::Rng,
) -> Result<Matrix, Box<dyn std::error::Error>> {
    let row_bytes = ty.row_bytes(cols).ok_or("row length")?;
    let mut bytes = vec![0u8; rows * row_bytes];
    bytes.iter_mut().for_each(|b| *b = rng.u8(0..0x30));
    Ok(Matrix::new(Tensor::from_parts("w", ty, &[cols, rows], bytes)?)?)
}

/// Reads `bytes` once, on all threads.
fn read_all(cpu: &Cpu, words: &[u64]) {
    let part = 1 << 15;
    cpu.pool().run(words.len().div_ceil(part), &|i| {
        let part = &words[i * part..((i + 1) * part).min(words.len())];
        let mut sums = [0u64; 32];
        for chunk in part.chunks_exact(32) {
            sums.iter_mut().zip(chunk).for_each(|(s, w)| *s ^= w);
        }
        black_box(sums);
    });
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let list = |i: usize, default: &str| -> Vec<String> {
        args.get(i).map_or(default, String::as_str).split(',').map(str::to_lowercase).collect()
    };
    let types = list(0, "q4_0,q8_0,q4_k,q6_k,f16");
    let tokens: Vec<usize> = list(1, "1,32,256,512").iter().map(|t| t.parse()).collect::<Result<_, _>>()?;
    let isas = list(2, "avx512,avx2");
    let threads: Vec<usize> = list(3, "1,2").iter().map(|t| t.parse()).collect::<Result<_, _>>()?;
    let most: usize = list(4, "24")[0].parse()?;
    let mut rng = fastrand::Rng::with_seed(1);
    let words = vec![1u64; 32 << 20];
    for &threads in &threads {
        let cpu = Cpu::with_isa(threads, Isa::Scalar)?;
        let time = best(|| read_all(&cpu, &words));
        println!("memory read, {threads} threads: {:.1} GB/s", words.len() as f64 * 8.0 / time / 1e9);
    }
    for name in &types {
        let ty = (0..64).filter_map(GgmlType::from_u32).find(|t| t.to_string().to_lowercase() == *name);
        let ty = ty.ok_or_else(|| format!("no tensor type {name}"))?;
        for (rows, cols) in SHAPES {
            // Several matrices, so that weights come from memory and not from a cache.
            let bytes = rows * ty.row_bytes(cols).ok_or("row length")?;
            let copies = ((600 << 20) / bytes).clamp(1, most.max(1));
            let matrices: Vec<Matrix> =
                (0..copies).map(|_| weights(ty, rows, cols, &mut rng)).collect::<Result<_, _>>()?;
            for &n in &tokens {
                let x: Vec<f32> = (0..n * cols).map(|_| rng.f32() - 0.5).collect();
                let mut out = vec![0.0; n * rows];
                for isa in Isa::available().filter(|i| isas.iter().any(|n| n == i.name())) {
                    for &threads in &threads {
                        let cpu = Cpu::with_isa(threads, isa)?;
                        let mut scratch = Scratch::default();
                        let count = if n <= 8 { copies } else { 1 };
                        let time = best(|| {
                            for weight in &matrices[..count] {
                                let job = MatMul { weight, bias: None, out: &mut out, accumulate: false };
                                cpu.linear(n, Input::Plain(&x), &mut [job], &mut scratch);
                            }
                        }) / count as f64;
                        let tops = 2.0 * (rows * cols * n) as f64 / time / 1e12;
                        let rate = bytes as f64 / time / 1e9;
                        println!(
                            "{name:5} {rows:5}x{cols:<5} {n:4} tokens {:7} {threads} threads: {tops:6.3} TOPS {rate:6.1} GB/s",
                            isa.name()
                        );
                    }
                }
            }
        }
    }
    Ok(())
}
