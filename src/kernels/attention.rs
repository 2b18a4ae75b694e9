//! Attention: softmax(q · k / sqrt(head_dim)) · v.
//!
//! Keys and values are walked in tiles with an online softmax (Milakov and Gimelshein 2018; Dao et al. 2022): no score
//! matrix is ever in memory.
//!
//! ```text
//! for each tile of 64 keys:
//!     scores = queries · keysᵀ · scale          (keys brought to [dim][key], so that one vector is 16 keys)
//!     m' = max(m, max scores); weights = exp(scores − m'); correction = exp(m − m')
//!     l = l · correction + Σ weights;  out = out · correction + weights · values
//! out /= l
//! ```
//! A task is one key head with a block of its queries (those of a group share each tile), cut by shapes only.

use super::elementwise::exp;
use super::kv_cache::{Half, KvData};
use super::split::Parts;
use super::{Cpu, Isa, KvCache};
use crate::quant::read_f16;
use std::cell::RefCell;

/// How attention's heads are laid out. Scores are scaled by `1 / sqrt(head_dim)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadDims {
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; each serves `n_heads / n_kv_heads` query heads.
    pub n_kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
}

/// Keys of a tile.
const TILE: usize = 64;
/// Rows of queries that a task handles (heads of a group times tokens).
const QUERY_ROWS: usize = 32;

/// Working memory of one thread.
#[derive(Default)]
struct Work {
    /// Queries of the task, scaled, `[row][dim]`.
    q: Vec<f32>,
    /// The tile's keys, `[dim][TILE]`.
    keys: Vec<f32>,
    /// The tile's values, `[TILE][dim]`.
    values: Vec<f32>,
    /// `[row][dim]`
    out: Vec<f32>,
    /// Largest score so far, and sum of weights, by row.
    max: Vec<f32>,
    sum: Vec<f32>,
}

thread_local! {
    static WORK: RefCell<Work> = RefCell::default();
}

/// Where a task's keys and values are, as float32 or half precision.
#[derive(Clone, Copy)]
enum Source<'a> {
    F32 { data: &'a [f32], stride: usize },
    F16 { data: &'a [u16], stride: usize },
}

impl Source<'_> {
    /// Row `i`, of `out.len()` numbers.
    #[inline(always)]
    fn row(&self, i: usize, out: &mut [f32]) {
        match *self {
            Source::F32 { data, stride } => out.copy_from_slice(&data[i * stride..][..out.len()]),
            Source::F16 { data, stride } => {
                let n = out.len();
                for (o, &h) in out.iter_mut().zip(&data[i * stride..][..n]) {
                    *o = read_f16(&h.to_le_bytes(), 0);
                }
            }
        }
    }
}

/// One task: some rows of queries against one head's keys.
struct Task<'a> {
    keys: Source<'a>,
    values: Source<'a>,
    head_dim: usize,
    rows: usize,
    /// Keys that row `i` sees: the first `visible(i)`; grows with `i`.
    visible: &'a dyn Fn(usize) -> usize,
}

#[inline(always)]
fn run_body(task: &Task<'_>, w: &mut Work) {
    let dim = task.head_dim;
    let last = (0..task.rows).map(task.visible).max().unwrap_or(0);
    w.keys.resize(dim * TILE, 0.0);
    w.values.resize(TILE * dim, 0.0);
    w.out.clear();
    w.out.resize(task.rows * dim, 0.0);
    w.max.clear();
    w.max.resize(task.rows, f32::NEG_INFINITY);
    w.sum.clear();
    w.sum.resize(task.rows, 0.0);
    for start in (0..last).step_by(TILE) {
        let n = TILE.min(last - start);
        load_tile(task, w, start, n);
        for row in 0..task.rows {
            let seen = (task.visible)(row).saturating_sub(start).min(n);
            if seen > 0 {
                one_row(w, row, dim, seen);
            }
        }
    }
    for (out, &sum) in w.out.chunks_exact_mut(dim).zip(&w.sum) {
        let inverse = 1.0 / sum;
        out.iter_mut().for_each(|o| *o *= inverse);
    }
}

#[inline(always)]
fn load_tile(task: &Task<'_>, w: &mut Work, start: usize, n: usize) {
    let dim = task.head_dim;
    // The values' place serves for a key on its way into columns.
    let (first, _) = w.values.split_at_mut(dim);
    for key in 0..n {
        task.keys.row(start + key, first);
        for (column, &x) in w.keys.chunks_exact_mut(TILE).zip(first.iter()) {
            column[key] = x;
        }
    }
    for (i, value) in w.values.chunks_exact_mut(dim).enumerate().take(n) {
        task.values.row(start + i, value);
    }
}

/// Adds the tile's first `seen` keys to one row of queries.
#[inline(always)]
fn one_row(w: &mut Work, row: usize, dim: usize, seen: usize) {
    let mut scores = [0.0f32; TILE];
    for (&q, keys) in w.q[row * dim..][..dim].iter().zip(w.keys.as_chunks::<TILE>().0) {
        for (s, &k) in scores.iter_mut().zip(keys) {
            *s += q * k;
        }
    }
    scores[seen..].fill(f32::NEG_INFINITY);
    let max = scores.iter().fold(w.max[row], |m, &s| m.max(s));
    let correction = exp(w.max[row] - max);
    let mut sum = 0.0;
    for s in &mut scores {
        *s = exp(*s - max);
    }
    for &s in &scores {
        sum += s;
    }
    let out = &mut w.out[row * dim..][..dim];
    out.iter_mut().for_each(|o| *o *= correction);
    for (&s, values) in scores[..seen].iter().zip(w.values.chunks_exact(dim)) {
        for (o, &v) in out.iter_mut().zip(values) {
            *o += s * v;
        }
    }
    w.sum[row] = w.sum[row] * correction + sum;
    w.max[row] = max;
}

/// [`run_body`], compiled for the instruction set.
fn run(isa: Isa, task: &Task<'_>, work: &mut Work) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn avx2(task: &Task<'_>, work: &mut Work) {
        run_body(task, work);
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
    fn avx512(task: &Task<'_>, work: &mut Work) {
        run_body(task, work);
    }
    match isa {
        // SAFETY: a `Cpu` holds this value only after `Isa::is_available` said that the processor has it.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2(task, work) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { avx512(task, work) },
        _ => run_body(task, work),
    }
}

/// Copies a row of queries, scaled.
fn push_scaled(q: &mut Vec<f32>, row: &[f32], head_dim: usize) {
    let scale = 1.0 / (head_dim as f32).sqrt();
    q.extend(row.iter().map(|x| x * scale));
}

impl Cpu {
    /// Causal attention of `q`, `[tokens, n_heads, head_dim]`, over a layer of the cache: token `i` sees the first
    /// `start + i + 1` keys.
    ///
    /// # Panics
    /// Lengths or heads don't fit the cache.
    #[allow(clippy::too_many_arguments)] // Each is another thing; a struct would only rename them.
    pub fn attention_cached(
        &self,
        dims: HeadDims,
        q: &[f32],
        cache: &KvCache,
        layer: usize,
        start: usize,
        out: &mut [f32],
    ) {
        let HeadDims { n_heads, n_kv_heads, head_dim } = dims;
        let width = n_heads * head_dim;
        let tokens = q.len() / width;
        assert!(q.len() == tokens * width && out.len() == q.len(), "queries {}", q.len());
        assert!(cache.n_kv_heads() == n_kv_heads && cache.head_dim() == head_dim && layer < cache.n_layers());
        assert!(start + tokens <= cache.capacity(), "{start} + {tokens} tokens in the cache");
        let group = n_heads / n_kv_heads;
        let task_tokens = (QUERY_ROWS / group).max(1);
        let blocks = tokens.div_ceil(task_tokens);
        let source = |half, head| {
            let at = cache.head_start(layer, half, head);
            let range = at..at + (start + tokens) * head_dim;
            match &cache.data {
                KvData::F16(d) => Source::F16 { data: &d[range], stride: head_dim },
                KvData::F32(d) => Source::F32 { data: &d[range], stride: head_dim },
            }
        };
        let out = Parts::new(out);
        self.pool().run(blocks * n_kv_heads, &|task| {
            // Later blocks see more keys: they go first, so that no thread ends with the longest.
            let (block, kv_head) = (blocks - 1 - task / n_kv_heads, task % n_kv_heads);
            let first = block * task_tokens;
            let n = task_tokens.min(tokens - first);
            let at = |row: usize| (first + row / group) * width + (kv_head * group + row % group) * head_dim;
            WORK.with_borrow_mut(|w| {
                w.q.clear();
                for row in 0..n * group {
                    push_scaled(&mut w.q, &q[at(row)..][..head_dim], head_dim);
                }
                let visible = |row: usize| start + first + row / group + 1;
                let (keys, values) = (source(Half::Keys, kv_head), source(Half::Values, kv_head));
                run(self.isa(), &Task { keys, values, head_dim, rows: n * group, visible: &visible }, w);
                for (row, result) in w.out.chunks_exact(head_dim).enumerate() {
                    // SAFETY: tasks have different tokens or heads.
                    unsafe { out.part(at(row)..at(row) + head_dim) }.copy_from_slice(result);
                }
            });
        });
    }

    /// Attention of `[rows, n_heads, head_dim]` where each row sees its own segment: `cu_seqlens` has the segments'
    /// borders, from 0 to the number of rows.
    ///
    /// # Panics
    /// Lengths don't fit, borders don't rise, or there are grouped heads.
    #[allow(clippy::too_many_arguments)] // Each is another thing; a struct would only rename them.
    pub fn attention_segments(
        &self,
        dims: HeadDims,
        q: &[f32],
        k: &[f32],
        v: &[f32],
        cu_seqlens: &[usize],
        out: &mut [f32],
    ) {
        let HeadDims { n_heads, n_kv_heads, head_dim } = dims;
        let width = n_heads * head_dim;
        assert_eq!(n_heads, n_kv_heads, "segments have no grouped heads");
        assert!([k.len(), v.len(), out.len()] == [q.len(); 3] && q.len() == cu_seqlens.last().unwrap_or(&0) * width);
        assert!(cu_seqlens.is_sorted() && cu_seqlens.first().is_none_or(|&s| s == 0), "borders rise from 0");
        let out = Parts::new(out);
        let blocks = |s: &[usize]| (s[1] - s[0]).div_ceil(QUERY_ROWS);
        let n_blocks: usize = cu_seqlens.windows(2).map(blocks).sum();
        self.pool().run(n_blocks * n_heads, &|task| {
            let head = task % n_heads;
            let Some((segment, block)) = nth_block(cu_seqlens, task / n_heads, blocks) else { return };
            let first = segment.start + block * QUERY_ROWS;
            let rows = QUERY_ROWS.min(segment.end - first);
            let at = |row: usize| row * width + head * head_dim;
            let source = |x| Source::F32 { data: &(x as &[f32])[at(segment.start)..], stride: width };
            WORK.with_borrow_mut(|w| {
                w.q.clear();
                for row in first..first + rows {
                    push_scaled(&mut w.q, &q[at(row)..][..head_dim], head_dim);
                }
                let visible = |_| segment.len();
                let task = Task { keys: source(k), values: source(v), head_dim, rows, visible: &visible };
                run(self.isa(), &task, w);
                for (row, result) in w.out.chunks_exact(head_dim).enumerate() {
                    let at = at(first + row);
                    // SAFETY: tasks have different rows or heads.
                    unsafe { out.part(at..at + head_dim) }.copy_from_slice(result);
                }
            });
        });
    }
}

/// The segment that block `n` lies in, and the block's number within it.
fn nth_block(
    cu_seqlens: &[usize],
    mut n: usize,
    blocks: impl Fn(&[usize]) -> usize,
) -> Option<(std::ops::Range<usize>, usize)> {
    for s in cu_seqlens.windows(2) {
        if n < blocks(s) {
            return Some((s[0]..s[1], n));
        }
        n -= blocks(s);
    }
    None
}
