//! Attention of a few queries over a long cache, at the speed of memory: one dimension per lane.
//!
//! ```text
//! task = one key head, one range of 512 keys:
//!     for each tile of 64 keys, for each block of Q queries (those of a group and of up to 8 tokens):
//!         s[key][query] = sum of the lanes of (key * query)      K keys x Q queries = N accumulators, summed at once
//!         m' = max(m, s);  s = 2^(s - m');  c = 2^(m - m');  l = l c + sum of s
//!         out[query] = c out[query] + sum over keys of s[key][query] * value
//!     keep (m, l, out) of each query
//! afterwards, per query, over its ranges in order:  out = sum 2^(m_i - m) out_i / sum 2^(m_i - m) l_i
//! ```
//! Every key and value is read from memory once for all queries, and widened in registers. Ranges and tiles start at
//! fixed positions and hidden keys weigh exactly nothing, so a token's result doesn't depend on the tokens that come
//! with it, nor on the number of threads. 512 keys (256 KiB of half-precision keys and values of 128) make the
//! unfinished results (4 KiB) a small addition.

use super::{Source, Task, Work};
use crate::kernels::vector::{Element, Kernel, Lanes, exp2_nonpositive};

/// Keys of a range.
pub(super) const RANGE: usize = 512;
/// Keys of a tile: 16 KiB of keys in half precision.
const KEYS: usize = 64;
/// The most queries of a block, and vectors' width.
const MOST: usize = 16;

/// Runs the part of a [`Task`] in a range of keys. Queries are in [`Work::q`]; heads are a multiple of 16 wide.
pub(super) struct FewQueries<'a> {
    pub(super) task: &'a Task<'a>,
    pub(super) work: &'a mut Work,
    /// Where the range starts; it ends [`RANGE`] keys later or with the task's last key.
    pub(super) start: usize,
    /// `[rows][head_dim + 2]`: the unfinished result, largest score, sum of weights.
    pub(super) partial: &'a mut [f32],
}

impl Kernel for FewQueries<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        // N = keys at a time x queries of a block.
        match L::N {
            16 => range::<L, 8, 2>(l, self),
            8 => range::<L, 4, 2>(l, self),
            _ => range::<L, 4, 1>(l, self),
        }
    }
}

#[inline(always)]
fn range<L: Lanes, const Q: usize, const K: usize>(l: L, job: FewQueries<'_>) {
    match (job.task.keys, job.task.values) {
        (Source::F16 { data: keys, stride }, Source::F16 { data: values, .. }) => {
            walk::<L, u16, Q, K>(l, job, (keys, values), stride);
        }
        (Source::F32 { data: keys, stride }, Source::F32 { data: values, .. }) => {
            walk::<L, f32, Q, K>(l, job, (keys, values), stride);
        }
        _ => unreachable!("keys and values have one type"),
    }
}

/// A block of queries on its way through a range.
struct Block<const Q: usize> {
    /// `[Q][dim]`
    q: *const f32,
    out: *mut f32,
    /// `[KEYS + 1][Q]`
    scores: *mut f32,
    visible: [usize; Q],
    /// Lanes `K Q` of them are used: the queries' values, K times over.
    max: [f32; MOST],
    sum: [f32; Q],
}

#[inline(always)]
fn walk<L: Lanes, E: Element, const Q: usize, const K: usize>(
    l: L,
    job: FewQueries<'_>,
    (keys, values): (&[E], &[E]),
    stride: usize,
) {
    const { assert!(K * Q <= MOST) };
    let FewQueries { task, work, start, partial } = job;
    let (dim, rows, end) = (task.head_dim, task.rows, task.keys_seen.min(start + RANGE));
    assert!(dim.is_multiple_of(16) && K * Q == L::N && work.q.len() == rows * dim && partial.len() == rows * (dim + 2));
    let needed = if end > start { (end - 1) * stride + dim } else { 0 };
    assert!(keys.len() >= needed && values.len() >= needed, "keys of the range");
    let blocks = rows.div_ceil(Q);
    work.q.resize(blocks * Q * dim, 0.0);
    let [out, scores] = work.take([blocks * Q * dim, (KEYS + K) * Q]);
    // SAFETY: just taken with this size.
    unsafe { std::slice::from_raw_parts_mut(out, blocks * Q * dim) }.fill(0.0);
    for b in 0..blocks {
        let mut block = Block::<Q> {
            // SAFETY: `Q` rows of `blocks * Q` in both.
            q: unsafe { work.q.as_ptr().add(b * Q * dim) },
            // SAFETY: as above.
            out: unsafe { out.add(b * Q * dim) },
            scores,
            visible: std::array::from_fn(|i| (task.visible)((b * Q + i).min(rows - 1)).min(end)),
            max: [f32::NEG_INFINITY; MOST],
            sum: [0.0; Q],
        };
        for tile in (start..end.min(block.visible[Q - 1])).step_by(KEYS) {
            let n = KEYS.min(block.visible[Q - 1] - tile);
            // SAFETY: rows `tile..tile + n` end before `end`, within both slices (checked above).
            unsafe {
                scores_of::<L, E, Q, K>(l, &block, keys.as_ptr().add(tile * stride), stride, dim, n);
                let correction = weigh::<L, Q, K>(l, &mut block, tile, n);
                let values = values.as_ptr().add(tile * stride);
                add_values::<L, E, Q>(l, &block, values, stride, dim, n, &correction);
            }
        }
        for (i, partial) in partial.chunks_exact_mut(dim + 2).skip(b * Q).take(Q).enumerate() {
            // SAFETY: row `i` of the block's `Q`.
            partial[..dim].copy_from_slice(unsafe { std::slice::from_raw_parts(block.out.add(i * dim), dim) });
            partial[dim..].copy_from_slice(&[block.max[i], block.sum[i]]);
        }
    }
}

/// Scores of `n` keys; those up to the next multiple of K repeat the last key's.
///
/// # Safety
/// `n >= 1` rows of keys are readable; the block's pointers lead to what they say.
#[inline(always)]
unsafe fn scores_of<L: Lanes, E: Element, const Q: usize, const K: usize>(
    l: L,
    block: &Block<Q>,
    keys: *const E,
    stride: usize,
    dim: usize,
    n: usize,
) {
    for key in (0..n).step_by(K) {
        let mut acc = [[l.splat(0.0); Q]; K];
        // SAFETY: keys below `n`; dims `d..d + N <= dim` (a multiple of 16) of keys and queries; `key + K <= KEYS + K`.
        unsafe {
            let rows: [*const E; K] = std::array::from_fn(|j| keys.add((key + j).min(n - 1) * stride));
            for d in (0..dim).step_by(L::N) {
                let mut k = [l.splat(0.0); K];
                for (k, row) in k.iter_mut().zip(rows) {
                    *k = E::load(l, row.add(d));
                }
                for i in 0..Q {
                    let q = l.load(block.q.add(i * dim + d));
                    for (acc, &k) in acc.iter_mut().zip(&k) {
                        acc[i] = l.mul_add(k, q, acc[i]);
                    }
                }
            }
            l.store(block.scores.add(key * Q), l.sum_each(acc.as_flattened()));
        }
    }
}

/// Turns the scores of `n` keys from `tile` on into weights; yields what to multiply the earlier result with.
///
/// # Safety
/// The block's pointers lead to what they say.
#[inline(always)]
unsafe fn weigh<L: Lanes, const Q: usize, const K: usize>(
    l: L,
    block: &mut Block<Q>,
    tile: usize,
    n: usize,
) -> [f32; MOST] {
    let rounded = n.next_multiple_of(K);
    // SAFETY: `(KEYS + K) * Q` scores; vectors of N = K Q lanes fit the arrays of MOST.
    unsafe {
        for i in 0..Q {
            for key in block.visible[i].saturating_sub(tile).min(n)..rounded {
                *block.scores.add(key * Q + i) = f32::NEG_INFINITY;
            }
        }
        let before = l.load(block.max.as_ptr());
        let mut top = before;
        for at in (0..rounded * Q).step_by(L::N) {
            top = l.max(l.load(block.scores.add(at)), top);
        }
        let mut lanes = [0.0f32; MOST];
        l.store(lanes.as_mut_ptr(), top);
        for i in 0..Q {
            let max = (0..K).fold(f32::NEG_INFINITY, |m, j| m.max(lanes[j * Q + i]));
            (0..K).for_each(|j| block.max[j * Q + i] = max);
        }
        // A query that has seen no key yet keeps minus infinity; 0 in its place makes its weights 0, not NaN.
        let max = l.load(block.max.as_ptr());
        let shift = l.select_lt(l.splat(f32::NEG_INFINITY), max, max, l.splat(0.0));
        let mut correction = [0.0f32; MOST];
        l.store(correction.as_mut_ptr(), exp2_nonpositive(l, l.sub(before, shift)));
        let mut sum = l.splat(0.0);
        for at in (0..rounded * Q).step_by(L::N) {
            let weight = exp2_nonpositive(l, l.sub(l.load(block.scores.add(at)), shift));
            sum = l.add(sum, weight);
            l.store(block.scores.add(at), weight);
        }
        l.store(lanes.as_mut_ptr(), sum);
        for i in 0..Q {
            let sum = (0..K).fold(0.0, |s, j| s + lanes[j * Q + i]);
            block.sum[i] = block.sum[i] * correction[i] + sum;
        }
        correction
    }
}

/// `out = out * correction + weights * values` for `n` values.
///
/// # Safety
/// `n` rows of values are readable; the block's pointers lead to what they say.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // A struct would only rename them.
unsafe fn add_values<L: Lanes, E: Element, const Q: usize>(
    l: L,
    block: &Block<Q>,
    values: *const E,
    stride: usize,
    dim: usize,
    n: usize,
    correction: &[f32; MOST],
) {
    let pairs = dim / (2 * L::N) * 2 * L::N;
    // SAFETY: dims `d..d + 2 N <= dim`, or the last `N`.
    unsafe {
        for d in (0..pairs).step_by(2 * L::N) {
            add_dims::<L, E, Q, 2>(l, block, values.add(d), (stride, dim, d), n, correction);
        }
        if pairs < dim {
            add_dims::<L, E, Q, 1>(l, block, values.add(pairs), (stride, dim, pairs), n, correction);
        }
    }
}

/// [`add_values`] for `P` vectors of dimensions from `d` on.
///
/// # Safety
/// As [`add_values`]; `d + P N <= dim`.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // A struct would only rename them.
unsafe fn add_dims<L: Lanes, E: Element, const Q: usize, const P: usize>(
    l: L,
    block: &Block<Q>,
    values: *const E,
    (stride, dim, d): (usize, usize, usize),
    n: usize,
    correction: &[f32; MOST],
) {
    // SAFETY: by contract; `n <= KEYS` rows of scores.
    unsafe {
        let mut acc = [[l.splat(0.0); P]; Q];
        for (i, acc) in acc.iter_mut().enumerate() {
            for (p, acc) in acc.iter_mut().enumerate() {
                *acc = l.mul(l.load(block.out.add(i * dim + d + p * L::N)), l.splat(correction[i]));
            }
        }
        for key in 0..n {
            let mut v = [l.splat(0.0); P];
            for (p, v) in v.iter_mut().enumerate() {
                *v = E::load(l, values.add(key * stride + p * L::N));
            }
            for (i, acc) in acc.iter_mut().enumerate() {
                let w = l.splat(*block.scores.add(key * Q + i));
                for p in 0..P {
                    acc[p] = l.mul_add(v[p], w, acc[p]);
                }
            }
        }
        for (i, acc) in acc.iter().enumerate() {
            for (p, &x) in acc.iter().enumerate() {
                l.store(block.out.add(i * dim + d + p * L::N), x);
            }
        }
    }
}

/// Joins the unfinished results of one query: `partials` are `[dim + 2]` each, `step` floats apart, in order.
pub(super) struct Join<'a> {
    pub(super) partials: &'a [f32],
    pub(super) step: usize,
    pub(super) out: &'a mut [f32],
}

impl Kernel for Join<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let dim = self.out.len();
        let parts = || self.partials.chunks(self.step).map(|part| part[..dim + 2].split_at(dim));
        let max = parts().fold(f32::NEG_INFINITY, |max, (_, state)| max.max(state[0]));
        self.out.fill(0.0);
        let mut sum = 0.0;
        for (part, state) in parts() {
            let mut lanes = [0.0f32; MOST];
            // SAFETY: N <= MOST.
            unsafe { l.store(lanes.as_mut_ptr(), exp2_nonpositive(l, l.splat(state[0] - max))) };
            sum += state[1] * lanes[0];
            self.out.iter_mut().zip(part).for_each(|(o, x)| *o += x * lanes[0]);
        }
        self.out.iter_mut().for_each(|o| *o /= sum);
    }
}
