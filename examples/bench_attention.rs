//! How fast attention is, per instruction set and number of threads:
//! `cargo run --release --example bench_attention [THREADS…]`.
//!
//! Prints GFLOP/s (a multiply and an add are two) for the vision tower's and the prefill's shapes, GB/s of cache read for
//! decoding; the median of several runs each.

use std::time::{Duration, Instant};

use qlens::kernels::{AttentionProducts, Cpu, HeadDims, Isa, KvCache, KvType};

/// Median time of a call.
fn median(mut f: impl FnMut()) -> f64 {
    f();
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < 5 || (start.elapsed() < Duration::from_millis(500) && times.len() < 200) {
        let t = Instant::now();
        f();
        times.push(t.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn noise(n: usize) -> Vec<f32> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 8_388_608.0 - 1.0).collect()
}

/// `rows` patches in segments of `len`, 16 heads of 80.
fn vision(cpu: &Cpu, rows: usize, len: usize, products: AttentionProducts) {
    let dims = HeadDims { n_heads: 16, n_kv_heads: 16, head_dim: 80 };
    let x = noise(rows * 1280);
    let borders: Vec<usize> = (0..=rows / len).map(|i| i * len).collect();
    let mut out = vec![0.0; x.len()];
    let time = median(|| cpu.attention_segments(dims, &x, &x, &x, &borders, products, &mut out));
    let flop = rows as f64 * len as f64 * 16.0 * 80.0 * 4.0;
    println!(
        "  vision {rows} patches in segments of {len:4}, {products:?}: {:8.3} ms {:7.1} GFLOP/s",
        time * 1e3,
        flop / time * 1e-9
    );
}

/// `tokens` tokens after `start`, 16 heads of 128 over 2, half precision.
fn language(cpu: &Cpu, start: usize, tokens: usize) {
    let dims = HeadDims { n_heads: 16, n_kv_heads: 2, head_dim: 128 };
    let mut cache = KvCache::new(KvType::F16, 1, 2, 128, start + tokens).expect("memory for the cache");
    let kv = noise((start + tokens) * 256);
    cpu.kv_store(&mut cache, 0, 0, &kv, &kv);
    let q = noise(tokens * 2048);
    let mut out = vec![0.0; q.len()];
    let time = median(|| cpu.attention_cached(dims, &q, &cache, 0, start, &mut out));
    let keys: f64 = (0..tokens).map(|i| (start + i + 1) as f64).sum();
    let (flop, bytes) = (keys * 2048.0 * 4.0, (start + tokens) as f64 * 256.0 * 4.0);
    println!(
        "  {tokens:4} tokens after {start:5}: {:8.3} ms {:7.1} GFLOP/s {:6.2} GB/s",
        time * 1e3,
        flop / time * 1e-9,
        bytes / time * 1e-9
    );
}

fn main() {
    let threads: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let threads = if threads.is_empty() { vec![1, 2] } else { threads };
    for isa in Isa::available().filter(|isa| *isa != Isa::Scalar) {
        for &n in &threads {
            let cpu = Cpu::with_isa(n, isa).expect("an available instruction set");
            println!("{}, {n} threads", isa.name());
            for products in [AttentionProducts::Float32, AttentionProducts::Bfloat16] {
                vision(&cpu, 4096, 64, products);
                vision(&cpu, 4096, 4096, products);
            }
            for (start, tokens) in [(0, 512), (4096, 512), (4095, 1), (16383, 1), (4092, 4)] {
                language(&cpu, start, tokens);
            }
        }
    }
}
