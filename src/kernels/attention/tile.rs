//! Attention of many queries: register-blocked products, with one query per lane.
//!
//! ```text
//! queries are turned once: qt[dim][lane], a block of 2 vectors of queries per register pair
//! for each tile of 64 keys (widened to float32 once for all blocks):
//!     for each block of queries:
//!         s[key][lane] = sum over dim of key[dim] * qt[dim][lane]        M keys x 2 vectors in registers
//!         m' = max(m, s);  s = 2^(s - m');  c = 2^(m - m');  l = l c + sum of s
//!         ot[dim][lane] = c ot[dim][lane] + sum over keys of value[dim] * s[key][lane]     M dims x 2 vectors
//! out = ot turned back, / l
//! ```
//! With queries in lanes nothing needs a sum across lanes, keys and values are read as they lie (one number to all
//! lanes), and masks are comparisons of lanes. Each lane's result depends on its own query and keys only, so it is the
//! same in whatever block a query comes. M x 2 accumulators hide the latency of the multiply-adds (4 cycles, two per
//! cycle): 8 x 2 with 32 registers, 4 x 2 with 16. 64 keys x 32 lanes of scores (8 KiB) and a block's queries
//! (128 x 32: 16 KiB) stay in a first-level cache of 32 KiB, keys and values of the tile in the second level.
//!
//! Where [cells](super::cells) hold two numbers, queries and keys pair their dimensions, weights and values neighbouring keys.

use super::cells::{Cells, Singles};
use super::{Source, Task, Work};
use crate::kernels::Isa;
use crate::kernels::vector::{Kernel, Lanes, exp2_nonpositive};

/// Keys of a tile: the attention window of the vision tower, and a multiple of every M.
const KEYS: usize = 64;

/// Runs a [`Task`]; the result is in [`Work::out`].
pub(super) struct ManyQueries<'a> {
    pub(super) task: &'a Task<'a>,
    pub(super) work: &'a mut Work,
}

impl Kernel for ManyQueries<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        many_queries(l, Singles, self);
    }
}

/// The same with other cells.
#[inline(always)]
pub(super) fn many_queries<L: Lanes, C: Cells<L>>(l: L, c: C, job: ManyQueries<'_>) {
    let ManyQueries { task, work } = job;
    let mut t = Tiles::new(l, c, task, work);
    for start in (0..task.keys_seen).step_by(KEYS) {
        let n = KEYS.min(task.keys_seen - start);
        t.load(start, n);
        for block in 0..t.blocks {
            t.block(block, start, n);
        }
    }
    t.finish(&mut work.out);
}

/// Runs the task with products in bfloat16; `false` where the processor has none.
pub(super) fn in_bfloat16(isa: Isa, job: ManyQueries<'_>) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use super::cells::x86::ZmmPairs;
        use crate::kernels::Avx512Bf16;

        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16,avx2,fma,f16c")]
        fn run(proof: Avx512Bf16, job: ManyQueries<'_>) {
            many_queries(proof.avx512(), ZmmPairs(proof), job);
        }
        if isa == Isa::Avx512
            && let Some(proof) = Avx512Bf16::new()
        {
            // SAFETY: `proof` says that the processor has these features.
            unsafe { run(proof, job) };
            return true;
        }
    }
    let _ = (isa, job);
    false
}

/// A task's pieces of working memory. Each pointer leads into one allocation that outlives this, to as many floats as
/// its comment says (W = 2 N lanes of a block).
struct Tiles<'a, L: Lanes, C: Cells<L>> {
    l: L,
    c: C,
    task: &'a Task<'a>,
    /// Blocks of W queries.
    blocks: usize,
    /// `head_dim` up to a multiple of 4.
    stride: usize,
    /// The same in cells.
    cells: usize,
    /// Cells from a row of keys or values to the next.
    step: usize,
    /// `[blocks][cells][W]` and `[blocks][stride][W]`: queries and results, turned.
    qt: *mut f32,
    ot: *mut f32,
    /// `[KEYS][W]`: scores, and then their weights in cells, `[KEYS / GROUP][W]`.
    scores: *mut f32,
    /// `[KEYS][step]`, cells along dimensions.
    keys: *mut f32,
    /// `[KEYS / GROUP][step]`, cells of neighbouring keys.
    values: *mut f32,
    /// `[2][2 · step]`: rows that become cells.
    rows: *mut f32,
    /// `[blocks][W]`: largest score, sum of weights, number of visible keys.
    max: *mut f32,
    sum: *mut f32,
    visible: *mut f32,
}

impl<'a, L: Lanes, C: Cells<L>> Tiles<'a, L, C> {
    const W: usize = 2 * L::N;

    #[inline(always)]
    fn new(l: L, c: C, task: &'a Task<'a>, work: &mut Work) -> Self {
        let stride = task.head_dim.next_multiple_of(4);
        let (cells, step) = (stride / C::GROUP, if C::GROUP == 1 { stride } else { stride.next_multiple_of(L::N) });
        let blocks = task.rows.div_ceil(Self::W);
        let rows = blocks * Self::W;
        let tile = KEYS * step;
        let sizes = [rows * cells, rows * stride, KEYS * Self::W, tile, tile, 4 * step, rows, rows, rows];
        let [qt, ot, scores, keys, values, pair, max, sum, visible] = work.take(sizes);
        let t = Self {
            l,
            c,
            task,
            blocks,
            stride,
            cells,
            step,
            qt,
            ot,
            scores,
            keys,
            values,
            rows: pair,
            max,
            sum,
            visible,
        };
        assert_eq!(work.q.len(), task.rows * stride, "queries of the task");
        work.q.resize(rows * stride, 0.0);
        // SAFETY: all indices stay within the sizes above: `rows` of each per-row array, `rows * stride` of the queries.
        unsafe {
            for row in 0..rows {
                let seen = (task.visible)(row.min(task.rows - 1)).min(task.keys_seen);
                *visible.add(row) = seen as f32;
                *max.add(row) = f32::NEG_INFINITY;
                *sum.add(row) = 0.0;
            }
            std::slice::from_raw_parts_mut(ot, rows * stride).fill(0.0);
            // What is behind a head's dimensions stays zero.
            std::slice::from_raw_parts_mut(pair, 4 * step).fill(0.0);
            t.turn_queries(work.q.as_ptr());
        }
        t
    }

    /// Fills `qt`.
    ///
    /// # Safety
    /// `q` leads to `[blocks * W][stride]` floats.
    #[inline(always)]
    unsafe fn turn_queries(&self, q: *const f32) {
        for part in 0..2 * self.blocks {
            for d in (0..self.stride).step_by(4) {
                // SAFETY: rows `part * N..` of `blocks * W` and dims `d..d + 4` of `stride`, a multiple of 4.
                unsafe {
                    let columns = self.l.load_columns(q.add(part * L::N * self.stride + d), self.stride);
                    for (j, group) in columns.chunks_exact(C::GROUP).enumerate() {
                        self.c.store(self.l, self.qt.add(Self::turned(part, d / C::GROUP + j, self.cells)), group);
                    }
                }
            }
        }
    }

    /// Where row `d` of the queries `part * N..` is, in blocks of so many rows.
    #[inline(always)]
    fn turned(part: usize, d: usize, rows: usize) -> usize {
        ((part / 2) * rows + d) * Self::W + (part % 2) * L::N
    }

    /// Brings keys and values `start..start + n` into the tile; the keys up to the next multiple of M become zero.
    #[inline(always)]
    fn load(&mut self, start: usize, n: usize) {
        let (dim, step, task) = (self.task.head_dim, self.step, self.task);
        // SAFETY: `i < KEYS` rows of `step >= head_dim` cells, two of `2 step` floats.
        let row = |p: *mut f32, i: usize, step: usize| unsafe { std::slice::from_raw_parts_mut(p.add(i * step), dim) };
        for i in 0..KEYS.min(n.next_multiple_of(8)) {
            if C::GROUP == 1 {
                if i < n {
                    widen(self.l, task.keys, start + i, row(self.keys, i, step));
                    widen(self.l, task.values, start + i, row(self.values, i, step));
                } else {
                    row(self.keys, i, step).fill(0.0);
                }
                continue;
            }
            // Slices of the pair of rows end before cells are made of them, which goes through pointers.
            let (even, odd) = (0, 1);
            let pair = |which: usize| row(self.rows, which, 2 * step);
            if i < n {
                widen(self.l, task.keys, start + i, pair(even));
            } else {
                pair(even).fill(0.0);
            }
            // SAFETY: `2 step` floats, a multiple of `2 N`, become `step` cells.
            unsafe { self.pair_neighbours(self.keys.add(i * step)) };
            if i % 2 == 0 && i < n {
                widen(self.l, task.values, start + i, pair(even));
                if i + 1 < n {
                    widen(self.l, task.values, start + i + 1, pair(odd));
                } else {
                    pair(odd).fill(0.0);
                }
                // SAFETY: `step` numbers of both, a multiple of N.
                unsafe { self.pair_rows(self.values.add(i / 2 * step)) };
            }
        }
    }

    /// Cells of neighbours in the first row.
    ///
    /// # Safety
    /// `out` leads to `step` cells.
    #[inline(always)]
    unsafe fn pair_neighbours(&self, out: *mut f32) {
        // SAFETY: by the contract, as `step` is a multiple of N.
        unsafe {
            for at in (0..self.cells.next_multiple_of(L::N)).step_by(L::N) {
                self.c.store_neighbours(self.l, out.add(at), self.rows.add(2 * at));
            }
        }
    }

    /// Cells of a number in the first and one in the second row.
    ///
    /// # Safety
    /// `out` leads to `step` cells.
    #[inline(always)]
    unsafe fn pair_rows(&self, out: *mut f32) {
        // SAFETY: by the contract, as `step` is a multiple of N.
        unsafe {
            for at in (0..self.step).step_by(L::N) {
                let second = self.rows.add(2 * self.step + at);
                self.c.store(self.l, out.add(at), &[self.l.load(self.rows.add(at)), self.l.load(second)]);
            }
        }
    }

    /// Adds the tile's `n` keys from `start` to a block of queries.
    #[inline(always)]
    fn block(&mut self, block: usize, start: usize, n: usize) {
        let (l, first) = (self.l, block * Self::W);
        // SAFETY: `first + W <= blocks * W`, the length of the per-row arrays; rows see more keys the later they come.
        let (fewest, most) = unsafe { (*self.visible.add(first), *self.visible.add(first + Self::W - 1)) };
        if most <= start as f32 {
            return;
        }
        let mut top = if L::WIDE { self.scores::<8>(block, n) } else { self.scores::<4>(block, n) };
        if fewest < (start + n.next_multiple_of(8)) as f32 {
            top = self.mask(block, start, n.next_multiple_of(8));
        }
        // Loops rather than closures over arrays, here and below: a closure that isn't inlined is compiled without the
        // instruction set, and calls a function for every vector operation.
        let mut corrections = [l.splat(0.0); 2];
        for (j, out) in corrections.iter_mut().enumerate() {
            let at = first + j * L::N;
            // SAFETY: lanes `at..at + N` of the per-row arrays; `j * N + N <= W` of the scores.
            unsafe {
                let before = l.load(self.max.add(at));
                let max = l.max(top[j], before);
                l.store(self.max.add(at), max);
                *out = exp2_nonpositive(l, l.sub(before, max));
                let mut sum = l.mul(l.load(self.sum.add(at)), *out);
                for key in (0..n).step_by(C::GROUP) {
                    let mut weights = [l.splat(0.0); 2];
                    for (i, weight) in weights.iter_mut().enumerate().take(C::GROUP) {
                        if C::GROUP == 1 || key + i < n {
                            let score = l.load(self.scores.add((key + i) * Self::W + j * L::N));
                            *weight = exp2_nonpositive(l, l.sub(score, max));
                            sum = l.add(sum, *weight);
                        }
                    }
                    let cells = self.scores.add(key / C::GROUP * Self::W + j * L::N);
                    self.c.store(l, cells, &weights[..C::GROUP]);
                }
                l.store(self.sum.add(at), sum);
            }
        }
        if L::WIDE { self.add_values::<8>(block, n, corrections) } else { self.add_values::<4>(block, n, corrections) }
    }

    /// Scores of the tile's keys (`n` up to the next multiple of M); yields their maximum per lane.
    #[inline(always)]
    fn scores<const M: usize>(&mut self, block: usize, n: usize) -> [L::V; 2] {
        let (l, c, cells, step) = (self.l, self.c, self.task.head_dim.div_ceil(C::GROUP), self.step);
        let mut top = [l.splat(f32::NEG_INFINITY); 2];
        for key in (0..n).step_by(M) {
            let mut acc = [[l.splat(0.0); 2]; M];
            // SAFETY: `key + M <= KEYS` rows of keys and scores (M divides KEYS); cells of the head in rows of the block.
            unsafe {
                let (keys, q) = (self.keys.add(key * step), self.qt.add(block * self.cells * Self::W));
                for d in 0..cells {
                    let q = [c.load(l, q.add(d * Self::W)), c.load(l, q.add(d * Self::W + L::N))];
                    for (m, acc) in acc.iter_mut().enumerate() {
                        let k = c.splat(l, keys.add(m * step + d));
                        *acc = [c.mul_add(l, k, q[0], acc[0]), c.mul_add(l, k, q[1], acc[1])];
                    }
                }
                for (m, acc) in acc.iter().enumerate() {
                    for j in 0..2 {
                        top[j] = l.max(acc[j], top[j]);
                        l.store(self.scores.add((key + m) * Self::W + j * L::N), acc[j]);
                    }
                }
            }
        }
        top
    }

    /// Makes the scores of invisible keys minus infinity; yields the maxima of the visible ones.
    #[inline(always)]
    fn mask(&mut self, block: usize, start: usize, n: usize) -> [L::V; 2] {
        let l = self.l;
        let hidden = l.splat(f32::NEG_INFINITY);
        let mut tops = [hidden; 2];
        for (j, top) in tops.iter_mut().enumerate() {
            // SAFETY: lanes of the block; `n <= KEYS`.
            unsafe {
                let visible = l.load(self.visible.add(block * Self::W + j * L::N));
                for key in 0..n {
                    let p = self.scores.add(key * Self::W + j * L::N);
                    let score = l.select_lt(l.splat((start + key) as f32), visible, l.load(p), hidden);
                    *top = l.max(score, *top);
                    l.store(p, score);
                }
            }
        }
        tops
    }

    /// `ot = ot * correction + values * weights` for the tile's `n` keys.
    #[inline(always)]
    fn add_values<const M: usize>(&mut self, block: usize, n: usize, correction: [L::V; 2]) {
        let dim = self.task.head_dim;
        let whole = dim / M * M;
        for d in (0..whole).step_by(M) {
            self.add_dims::<M>(block, d, n, correction);
        }
        for d in whole..dim {
            self.add_dims::<1>(block, d, n, correction);
        }
    }

    /// [`Self::add_values`] for the dimensions `d..d + M`.
    #[inline(always)]
    fn add_dims<const M: usize>(&mut self, block: usize, d: usize, n: usize, correction: [L::V; 2]) {
        let (l, c, step) = (self.l, self.c, self.step);
        // SAFETY: `d + M <= head_dim <= stride` rows of the block and cells of a value; `n <= KEYS` keys.
        unsafe {
            let out = self.ot.add((block * self.stride + d) * Self::W);
            let mut acc = [[l.splat(0.0); 2]; M];
            for (m, acc) in acc.iter_mut().enumerate() {
                for (j, acc) in acc.iter_mut().enumerate() {
                    *acc = l.mul(l.load(out.add(m * Self::W + j * L::N)), correction[j]);
                }
            }
            for group in 0..n.div_ceil(C::GROUP) {
                let weights = self.scores.add(group * Self::W);
                let weights = [c.load(l, weights), c.load(l, weights.add(L::N))];
                let values = self.values.add(group * step + d);
                for (m, acc) in acc.iter_mut().enumerate() {
                    let v = c.splat(l, values.add(m));
                    *acc = [c.mul_add(l, v, weights[0], acc[0]), c.mul_add(l, v, weights[1], acc[1])];
                }
            }
            for (m, acc) in acc.iter().enumerate() {
                l.store(out.add(m * Self::W), acc[0]);
                l.store(out.add(m * Self::W + L::N), acc[1]);
            }
        }
    }

    /// Turns the results back into `out`, `[blocks * W][stride]`, over the sums of weights.
    #[inline(always)]
    fn finish(self, out: &mut Vec<f32>) {
        let l = self.l;
        out.resize(self.blocks * Self::W * self.stride, 0.0);
        for part in 0..2 * self.blocks {
            // SAFETY: rows `part * N..` of `blocks * W`, dims `d..d + 4` of `stride`: within `out` and `ot`.
            unsafe {
                let sum = l.load(self.sum.add(part * L::N));
                for d in (0..self.stride).step_by(4) {
                    let mut columns = [sum; 4];
                    for (j, column) in columns.iter_mut().enumerate() {
                        *column = l.div(l.load(self.ot.add(Self::turned(part, d + j, self.stride))), sum);
                    }
                    let p = out.as_mut_ptr().add(part * L::N * self.stride + d);
                    l.store_columns(p, self.stride, columns);
                }
            }
        }
    }
}

/// Row `i` of a source as float32.
#[inline(always)]
fn widen<L: Lanes>(l: L, source: Source<'_>, i: usize, out: &mut [f32]) {
    match source {
        Source::F32 { data, stride } => out.copy_from_slice(&data[i * stride..][..out.len()]),
        Source::F16 { data, stride } => {
            let row = &data[i * stride..][..out.len()];
            let whole = out.len() / L::N * L::N;
            for at in (0..whole).step_by(L::N) {
                // SAFETY: `at + N <= whole <= len` of both.
                unsafe { l.store(out.as_mut_ptr().add(at), l.load_f16(row.as_ptr().add(at))) };
            }
            for (out, &bits) in out[whole..].iter_mut().zip(&row[whole..]) {
                *out = half::f16::from_bits(bits).to_f32();
            }
        }
    }
}
