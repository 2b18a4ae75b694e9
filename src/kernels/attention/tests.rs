//! Attention against nested loops in float64, on every instruction set of this machine.

use super::*;
use crate::kernels::{Isa, KvType};

/// Numbers in -1..1 that look random.
fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// softmax(q k / sqrt(d)) v for one query; keys and values are rows.
fn naive(q: &[f32], keys: &[&[f32]], values: &[&[f32]]) -> Vec<f64> {
    let scale = 1.0 / (q.len() as f64).sqrt();
    let dot = |k: &&[f32]| q.iter().zip(*k).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() * scale;
    let scores: Vec<f64> = keys.iter().map(dot).collect();
    let max = scores.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
    let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
    let sum: f64 = weights.iter().sum();
    (0..q.len()).map(|d| weights.iter().zip(values).map(|(w, v)| w * f64::from(v[d])).sum::<f64>() / sum).collect()
}

fn assert_near(found: &[f32], wanted: &[f64], tolerance: f64, what: &str) {
    for (i, (f, w)) in found.iter().zip(wanted).enumerate() {
        assert!((f64::from(*f) - w).abs() <= tolerance, "{what}: number {i} is {f}, not {w}");
    }
}

/// Runs a test on all kernels, with one thread and with three, whose results must be the same bytes.
fn on_every_isa(test: impl Fn(&Cpu) -> Vec<f32>) {
    let names: Vec<_> = Isa::available().map(Isa::name).collect();
    println!("kernels that run here: {}", names.join(", "));
    if let Ok(expected) = std::env::var("QLENS_EXPECT_ISA") {
        assert!(names.contains(&expected.as_str()), "QLENS_EXPECT_ISA={expected}, but only {names:?} run here");
    }
    for isa in Isa::available() {
        let results = [1, 3].map(|threads| test(&Cpu::with_isa(threads, isa).unwrap()));
        let bits = results.map(|r| r.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
        assert!(bits[0] == bits[1], "{}: other bytes with 3 threads", isa.name());
    }
}

#[test]
fn segments_match_nested_loops() {
    for (head_dim, n_heads, lens) in [
        (80, 2, vec![64, 65, 1, 3, 4, 16]),
        (32, 3, vec![64, 0, 130]),
        (128, 1, vec![2, 31, 33]),
        (2, 2, vec![17, 1]),
        (6, 1, vec![9, 200]),
        (96, 2, vec![]),
    ] {
        let borders: Vec<usize> = std::iter::once(0)
            .chain(lens.iter().scan(0, |s, n| {
                *s += n;
                Some(*s)
            }))
            .collect();
        let (width, rows) = (n_heads * head_dim, borders[lens.len()]);
        let [mut q, k, v] = [1, 2, 3].map(|seed| noise(rows * width, seed));
        q.iter_mut().for_each(|x| *x *= 6.0);
        on_every_isa(|cpu| {
            let mut out = vec![f32::NAN; rows * width];
            let dims = HeadDims { n_heads, n_kv_heads: n_heads, head_dim };
            cpu.attention_segments(dims, &q, &k, &v, &borders, AttentionProducts::Float32, &mut out);
            for s in borders.windows(2) {
                for row in s[0]..s[1] {
                    for head in 0..n_heads {
                        let at = |row: usize| row * width + head * head_dim;
                        let keys: Vec<&[f32]> = (s[0]..s[1]).map(|r| &k[at(r)..][..head_dim]).collect();
                        let values: Vec<&[f32]> = (s[0]..s[1]).map(|r| &v[at(r)..][..head_dim]).collect();
                        let wanted = naive(&q[at(row)..][..head_dim], &keys, &values);
                        let what = format!("{} dim {head_dim} row {row} head {head}", cpu.isa().name());
                        assert_near(&out[at(row)..][..head_dim], &wanted, 4e-6, &what);
                    }
                }
            }
            out
        });
    }
}

/// Causal attention of `tokens` tokens after `start` earlier ones, all results checked.
fn check_cached(cpu: &Cpu, dims: HeadDims, ty: KvType, (start, tokens): (usize, usize), size: f32) -> Vec<f32> {
    let HeadDims { n_heads, n_kv_heads, head_dim } = dims;
    let (all, kv_width) = (start + tokens, n_kv_heads * head_dim);
    let mut cache = KvCache::new(ty, 2, n_kv_heads, head_dim, all + 3).unwrap();
    // Whole multiples of 1/64 below 4 are exact in half precision.
    let exact = |seed| -> Vec<f32> { noise(all * kv_width, seed).iter().map(|x| (x * 64.0).round() / 64.0).collect() };
    let (k, v) = (exact(5), exact(6));
    let q: Vec<f32> = noise(tokens * n_heads * head_dim, 7).iter().map(|x| x * size).collect();
    cpu.kv_store(&mut cache, 1, 0, &k[..start * kv_width], &v[..start * kv_width]);
    cpu.kv_store(&mut cache, 1, start, &k[start * kv_width..], &v[start * kv_width..]);
    let mut out = vec![f32::NAN; q.len()];
    cpu.attention_cached(dims, &q, &cache, 1, start, &mut out);
    for token in 0..tokens {
        for head in 0..n_heads {
            let kv_head = head / (n_heads / n_kv_heads);
            let rows = |r: usize| r * kv_width + kv_head * head_dim..r * kv_width + (kv_head + 1) * head_dim;
            let keys: Vec<&[f32]> = (0..=start + token).map(|r| &k[rows(r)]).collect();
            let values: Vec<&[f32]> = (0..=start + token).map(|r| &v[rows(r)]).collect();
            let at = (token * n_heads + head) * head_dim;
            let wanted = naive(&q[at..at + head_dim], &keys, &values);
            let what = format!("{} {dims:?} {ty:?} {start}+{tokens} token {token} head {head}", cpu.isa().name());
            // Rounding of a score of size s moves weights by s * 2^-23.
            let tolerance = 3e-6 + 4e-7 * f64::from(size) * (head_dim as f64).sqrt();
            assert_near(&out[at..at + head_dim], &wanted, tolerance, &what);
        }
    }
    out
}

#[test]
fn cached_matches_nested_loops() {
    let dims = |n_heads, n_kv_heads, head_dim| HeadDims { n_heads, n_kv_heads, head_dim };
    for (dims, sizes) in [
        (dims(16, 2, 128), [(0, 1), (63, 2), (600, 1), (1, 33)]),
        (dims(7, 1, 80), [(0, 3), (64, 1), (512, 1), (100, 17)]),
        (dims(2, 2, 32), [(0, 0), (0, 70), (511, 3), (1030, 1)]),
        (dims(3, 1, 2), [(0, 17), (130, 1), (5, 2), (0, 1)]),
        (dims(4, 1, 96), [(65, 9), (66, 8), (0, 8), (1025, 2)]),
    ] {
        for size in sizes {
            for ty in [KvType::F16, KvType::F32] {
                on_every_isa(|cpu| check_cached(cpu, dims, ty, size, 3.0));
            }
        }
    }
}

/// Scores of thousands, positive and negative: one key takes all the weight, nothing overflows.
#[test]
fn extreme_scores_stay_finite() {
    for size in [300.0, 3e4] {
        for tokens in [1, 20] {
            let dims = HeadDims { n_heads: 4, n_kv_heads: 2, head_dim: 32 };
            on_every_isa(|cpu| {
                let out = check_cached(cpu, dims, KvType::F32, (90, tokens), size);
                assert!(out.iter().all(|x| x.is_finite()));
                out
            });
        }
    }
}

/// A few tokens at once give the bytes that one after the other gives: guessing tokens ahead changes no answer.
#[test]
fn few_tokens_equal_one_at_a_time() {
    for (dims, start) in [
        (HeadDims { n_heads: 16, n_kv_heads: 2, head_dim: 128 }, 509),
        (HeadDims { n_heads: 7, n_kv_heads: 1, head_dim: 80 }, 61),
        (HeadDims { n_heads: 4, n_kv_heads: 2, head_dim: 32 }, 1020),
    ] {
        let (tokens, kv_width, width) = (8, dims.n_kv_heads * dims.head_dim, dims.n_heads * dims.head_dim);
        let [k, v] = [1, 2].map(|seed| noise((start + tokens) * kv_width, seed));
        let q: Vec<f32> = noise(tokens * width, 3).iter().map(|x| x * 5.0).collect();
        on_every_isa(|cpu| {
            let mut cache = KvCache::new(KvType::F16, 1, dims.n_kv_heads, dims.head_dim, start + tokens).unwrap();
            cpu.kv_store(&mut cache, 0, 0, &k, &v);
            let (mut together, mut single) = (vec![0.0; q.len()], vec![0.0; q.len()]);
            cpu.attention_cached(dims, &q, &cache, 0, start, &mut together);
            for (i, (q, out)) in q.chunks(width).zip(single.chunks_mut(width)).enumerate() {
                cpu.attention_cached(dims, q, &cache, 0, start + i, out);
            }
            assert!(together == single, "{} {dims:?}", cpu.isa().name());
            together
        });
    }
}

/// The result of a task in bfloat16 on the kernel that `run` runs, from queries in rows.
fn in_pairs(task: &Task<'_>, q: &[f32], run: impl FnOnce(ManyQueries<'_>)) -> Vec<f32> {
    let mut work = Work::default();
    q.chunks(task.head_dim).for_each(|row| work.push(row));
    run(ManyQueries { task, work: &mut work });
    work.results(task.head_dim).take(task.rows).flatten().copied().collect()
}

/// Of odd widths and numbers of keys; small and large scores; masks. The twin does the same roundings, so that both differ
/// only by the order of additions, and from float64 by what bfloat16 takes.
#[test]
fn bfloat16_matches_its_twin_and_float64() {
    use super::cells::plain::PlainPairs;
    use super::tile::many_queries;
    use crate::kernels::vector::Plain;

    for (head_dim, rows, n_keys, size) in
        [(80, 64, 64, 2.0), (80, 70, 131, 6.0), (128, 33, 65, 1.0), (6, 5, 1, 3.0), (7, 40, 200, 4.0), (2, 1, 9, 300.0)]
    {
        let [mut q, keys, values] =
            [(rows, 1), (n_keys, 2), (n_keys, 3)].map(|(n, seed)| noise(n * head_dim, seed + rows as u64));
        q.iter_mut().for_each(|x| *x *= size);
        for masked in [false, true] {
            let visible = |row: usize| if masked { 1 + row * (n_keys - 1) / rows } else { n_keys };
            let source = |data| Source::F32 { data, stride: head_dim };
            let (keys_seen, visible) = (visible(rows - 1), &visible);
            let task = Task { keys: source(&keys), values: source(&values), head_dim, rows, keys_seen, visible };
            let twin = in_pairs(&task, &q, |job| many_queries(Plain, PlainPairs, job));
            let what = format!("{rows} x {head_dim} over {n_keys}, masked: {masked}");
            for (row, (q, found)) in q.chunks(head_dim).zip(twin.chunks(head_dim)).enumerate() {
                let keys: Vec<&[f32]> = keys.chunks(head_dim).take(visible(row)).collect();
                let values: Vec<&[f32]> = values.chunks(head_dim).take(visible(row)).collect();
                // A value is off by 2^-9, and so is a weight; and a score, which grows with the queries.
                let tolerance = 0.002 + 0.001 * f64::from(size);
                if size < 100.0 {
                    assert_near(found, &naive(q, &keys, &values), tolerance, &format!("{what} row {row}"));
                }
            }
            for isa in Isa::available() {
                let mut ran = false;
                let found = in_pairs(&task, &q, |job| ran = in_bfloat16(isa, job));
                if ran {
                    let twin: Vec<f64> = twin.iter().map(|&x| f64::from(x)).collect();
                    assert_near(&found, &twin, 5e-5, &format!("{} {what}", isa.name()));
                }
            }
        }
    }
}
