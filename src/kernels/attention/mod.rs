//! Attention: softmax(q · k / sqrt(head_dim)) · v.
//!
//! Keys and values are walked in tiles with an online softmax (Milakov and Gimelshein 2018; Dao et al. 2022): no score
//! matrix is ever in memory. Exponentials are powers of two: the queries are scaled by log2(e) as well.
//!
//! A task is one key head with a block of its queries (those of a group share each tile), cut by shapes only.

mod cells;
mod decode;
#[cfg(test)]
mod tests;
mod tile;

use super::kv_cache::{Half, KvData};
use super::split::Parts;
use super::vector::dispatch;
use super::{Avx512Bf16, Cpu, Isa, KvCache};
use decode::{FewQueries, Join, RANGE};
use std::cell::RefCell;
use tile::{ManyQueries, in_bfloat16};

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

/// How queries are multiplied with keys, and weights with values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttentionProducts {
    /// In float32.
    Float32,
    /// Rounded to bfloat16, in half the time, where the processor has such products and there are many queries; sums and
    /// exponentials stay float32.
    Bfloat16,
}

/// Rows of queries that a task handles (heads of a group times tokens), at least and at most: so many that it is little to
/// bring each tile of keys and values once per task, so few that queries and results (2 x 256 KiB) stay in the second-level
/// cache.
const QUERY_ROWS: [usize; 2] = [128, 512];
/// Tasks for each thread, where there are queries enough.
const TASKS: usize = 4;

/// Working memory of one thread.
#[derive(Default)]
struct Work {
    /// Queries of the task, scaled, `[row][head_dim up to a multiple of 4]`.
    q: Vec<f32>,
    /// Results, laid out alike.
    out: Vec<f32>,
    /// What the kernels need beside: see [`Work::take`].
    memory: Vec<CacheLine>,
}

/// 64 bytes on a boundary of 64.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct CacheLine([f32; 16]);

impl Work {
    /// Arrays of these sizes, apart from each other, each on a cache line. Valid until the next call; their content is
    /// unspecified.
    fn take<const N: usize>(&mut self, sizes: [usize; N]) -> [*mut f32; N] {
        let lines = sizes.map(|n| n.div_ceil(16));
        let total = lines.iter().sum();
        if self.memory.len() < total {
            self.memory.resize(total, CacheLine::default());
        }
        let mut rest = &mut self.memory[..];
        lines.map(|n| {
            let (part, tail) = std::mem::take(&mut rest).split_at_mut(n);
            rest = tail;
            part.as_mut_ptr().cast()
        })
    }

    /// The rows of the results.
    fn results(&self, head_dim: usize) -> impl Iterator<Item = &[f32]> {
        self.out.chunks_exact(head_dim.next_multiple_of(4)).map(move |row| &row[..head_dim])
    }

    /// Adds a row of queries, scaled.
    fn push(&mut self, row: &[f32]) {
        let scale = std::f32::consts::LOG2_E / (row.len() as f32).sqrt();
        self.q.extend(row.iter().map(|x| x * scale));
        self.q.resize(self.q.len().next_multiple_of(4), 0.0);
    }
}

/// Up to this many tokens are taken as in decoding: one after the other gives the same bytes as all at once.
const FEW_TOKENS: usize = 8;

thread_local! {
    static WORK: RefCell<Work> = RefCell::default();
    /// Unfinished results, `[kv head][range][row][head_dim + 2]`; used by the thread that calls.
    static PARTIALS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Where a task's keys and values are, as float32 or half precision.
#[derive(Clone, Copy)]
enum Source<'a> {
    F32 { data: &'a [f32], stride: usize },
    F16 { data: &'a [u16], stride: usize },
}

/// One task: some rows of queries against one head's keys.
struct Task<'a> {
    keys: Source<'a>,
    values: Source<'a>,
    head_dim: usize,
    rows: usize,
    /// Keys that the last row sees.
    keys_seen: usize,
    /// Keys that row `i` sees: the first `visible(i)`, at least 1; never fewer than the row before.
    visible: &'a dyn Fn(usize) -> usize,
}

impl Cpu {
    /// Rows of a task where there are so many of all heads together. A query's result doesn't depend on it.
    fn query_rows(&self, all: usize) -> usize {
        (all / (TASKS * self.pool().threads())).clamp(QUERY_ROWS[0], QUERY_ROWS[1])
    }

    /// Whether [`AttentionProducts::Bfloat16`] is other than float32 here.
    pub fn has_bfloat16(&self) -> bool {
        self.isa() == Isa::Avx512 && Avx512Bf16::new().is_some()
    }

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
        let task_tokens = (self.query_rows(tokens * n_heads) / group).max(1);
        let blocks = tokens.div_ceil(task_tokens);
        let source = |half, head| {
            let at = cache.head_start(layer, half, head);
            let range = at..at + (start + tokens) * head_dim;
            match &cache.data {
                KvData::F16(d) => Source::F16 { data: &d[range], stride: head_dim },
                KvData::F32(d) => Source::F32 { data: &d[range], stride: head_dim },
            }
        };
        if tokens <= FEW_TOKENS && head_dim.is_multiple_of(16) {
            return self.attention_few(dims, q, &source, start, out);
        }
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
                    w.push(&q[at(row)..][..head_dim]);
                }
                let visible = |row: usize| start + first + row / group + 1;
                let (keys, values) = (source(Half::Keys, kv_head), source(Half::Values, kv_head));
                let keys_seen = start + first + n;
                let task = Task { keys, values, head_dim, rows: n * group, keys_seen, visible: &visible };
                dispatch(self.isa(), ManyQueries { task: &task, work: w });
                for (row, result) in w.results(head_dim).take(n * group).enumerate() {
                    // SAFETY: tasks have different tokens or heads.
                    unsafe { out.part(at(row)..at(row) + head_dim) }.copy_from_slice(result);
                }
            });
        });
    }

    /// [`Cpu::attention_cached`] for a few tokens: ranges of keys are tasks, their results joined afterwards.
    fn attention_few<'a>(
        &self,
        dims: HeadDims,
        q: &[f32],
        source: &(impl Fn(Half, usize) -> Source<'a> + Sync),
        start: usize,
        out: &mut [f32],
    ) {
        let HeadDims { n_heads, n_kv_heads, head_dim } = dims;
        let (width, group) = (n_heads * head_dim, n_heads / n_kv_heads);
        let tokens = q.len() / width;
        let (rows, ranges) = (tokens * group, (start + tokens).div_ceil(RANGE));
        let at = |kv_head: usize, row: usize| (row / group) * width + (kv_head * group + row % group) * head_dim;
        let visible = |row: usize| start + row / group + 1;
        let (row_size, size) = (head_dim + 2, rows * (head_dim + 2));
        let mut memory = PARTIALS.take();
        if memory.len() < n_kv_heads * ranges * size {
            memory.resize(n_kv_heads * ranges * size, 0.0);
        }
        let partials = Parts::new(&mut memory);
        self.pool().run(n_kv_heads * ranges, &|task| {
            let (kv_head, range) = (task / ranges, task % ranges);
            WORK.with_borrow_mut(|w| {
                w.q.clear();
                (0..rows).for_each(|row| w.push(&q[at(kv_head, row)..][..head_dim]));
                let (keys, values) = (source(Half::Keys, kv_head), source(Half::Values, kv_head));
                let all = Task { keys, values, head_dim, rows, keys_seen: start + tokens, visible: &visible };
                // SAFETY: each task has its own partial results.
                let partial = unsafe { partials.part(task * size..(task + 1) * size) };
                dispatch(self.isa(), FewQueries { task: &all, work: w, start: range * RANGE, partial });
            });
        });
        let (partials, out) = (&memory, Parts::new(out));
        let join = |i: usize| {
            let (kv_head, row) = (i / rows, i % rows);
            let seen = visible(row).div_ceil(RANGE);
            let first = kv_head * ranges * size + row * row_size;
            let partials = &partials[first..first + (seen - 1) * size + row_size];
            // SAFETY: another head or token for each number.
            let out = unsafe { out.part(at(kv_head, row)..at(kv_head, row) + head_dim) };
            dispatch(self.isa(), Join { partials, step: size, out });
        };
        // Joining a few ranges takes less time than waking a thread.
        if ranges <= 4 {
            (0..n_kv_heads * rows).for_each(join);
        } else {
            self.pool().run(n_kv_heads * rows, &join);
        }
        PARTIALS.set(memory);
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
        products: AttentionProducts,
        out: &mut [f32],
    ) {
        let HeadDims { n_heads, n_kv_heads, head_dim } = dims;
        let width = n_heads * head_dim;
        assert_eq!(n_heads, n_kv_heads, "segments have no grouped heads");
        assert!([k.len(), v.len(), out.len()] == [q.len(); 3] && q.len() == cu_seqlens.last().unwrap_or(&0) * width);
        assert!(cu_seqlens.is_sorted() && cu_seqlens.first().is_none_or(|&s| s == 0), "borders rise from 0");
        let out = Parts::new(out);
        let query_rows = self.query_rows(q.len() / head_dim);
        let blocks = |s: &[usize]| (s[1] - s[0]).div_ceil(query_rows);
        let n_blocks: usize = cu_seqlens.windows(2).map(blocks).sum();
        self.pool().run(n_blocks * n_heads, &|task| {
            let head = task % n_heads;
            let Some((segment, block)) = nth_block(cu_seqlens, task / n_heads, blocks) else { return };
            let first = segment.start + block * query_rows;
            let rows = query_rows.min(segment.end - first);
            let at = |row: usize| row * width + head * head_dim;
            let source = |x| Source::F32 { data: &(x as &[f32])[at(segment.start)..], stride: width };
            WORK.with_borrow_mut(|w| {
                w.q.clear();
                for row in first..first + rows {
                    w.push(&q[at(row)..][..head_dim]);
                }
                let visible = |_| segment.len();
                let (keys, values) = (source(k), source(v));
                let task = Task { keys, values, head_dim, rows, keys_seen: segment.len(), visible: &visible };
                let rounded = products == AttentionProducts::Bfloat16;
                if !(rounded && in_bfloat16(self.isa(), ManyQueries { task: &task, work: w })) {
                    dispatch(self.isa(), ManyQueries { task: &task, work: w });
                }
                for (row, result) in w.results(head_dim).take(rows).enumerate() {
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
