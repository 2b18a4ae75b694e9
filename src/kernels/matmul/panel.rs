//! Quantized weights times many tokens.
//!
//! ```text
//! for each chunk of 512 columns:
//!     take the panel's 32 rows apart: codes to tile[column / 4][row][column % 4], scales to tile[sub-block][row]
//!     for each group of 6 tokens:
//!         for each sub-block of 32 (16) columns:
//!             integers = −zero · Σx                              per token and row
//!             integers += tile codes · x                         4 columns at a time, 16 rows per instruction
//!             sums += (row scale · token scale) · integers       (+ row offset · token scale · Σx)
//! ```
//! 6 tokens × 32 rows are 12 integer and 12 float accumulators, which with two weight vectors and the scales fit the 32
//! registers of AVX-512 (3 tokens × 16 rows do for AVX2). A tile is 16 KiB plus scales: it stays in the first-level
//! cache while the tokens' codes stream past. A block of weights is taken apart once per call, however many the tokens.

use super::Target;
use super::lanes::{Lanes, on_isa};
use super::packed::{Packed, Wide};
use super::prepare::{Offsets, Quantized};
#[cfg(target_arch = "x86_64")]
use super::span::SpanFormat;
use crate::gguf::GgmlType;
use crate::kernels::Isa;
use crate::kernels::prefetch::{to_first_level, to_second_level};
use crate::quant::{BlockFormat, Codes};
use crate::with_format;

/// Elsewhere, all formats are taken apart in memory.
#[cfg(not(target_arch = "x86_64"))]
use crate::quant::BlockFormat as SpanFormat;

/// Rows of a panel.
pub(super) const ROWS: usize = 32;
/// Columns of a tile; a multiple of every block length.
pub(super) const CHUNK: usize = 512;
/// Bytes of a cache line.
const LINE: usize = 64;
/// Scales per row: sub-blocks have 16 columns at least.
const SUBS: usize = CHUNK / 16;

/// A part of a panel, taken apart, and the panel's results so far.
pub(super) struct Tile {
    /// Codes as they come, `[row][column]`.
    staging: Box<[u8]>,
    /// Codes as the kernel reads them, `[column / 4][row][4]`.
    q: Box<[u8]>,
    /// `[sub-block][row]`
    scale: Box<[f32]>,
    /// `[sub-block][row]`
    min: Box<[f32]>,
    /// `[token][row]`
    sums: Vec<f32>,
    /// Rows as AVX-512 takes them apart.
    #[cfg(target_arch = "x86_64")]
    rows: Box<super::turn::Staging>,
}

impl Default for Tile {
    fn default() -> Self {
        Tile {
            staging: vec![0; ROWS * CHUNK].into(),
            q: vec![0; ROWS * CHUNK].into(),
            scale: vec![0.0; ROWS * SUBS].into(),
            min: vec![0.0; ROWS * SUBS].into(),
            sums: Vec::new(),
            #[cfg(target_arch = "x86_64")]
            rows: Box::default(),
        }
    }
}

/// What the kernel reads of the weights: some columns of a panel.
#[derive(Clone, Copy)]
struct Weights<'a> {
    /// `[column / 4][row][4]`
    q: &'a [u8],
    /// `[sub-block][row]`
    scale: &'a [f32],
    /// `[sub-block][row]`, for formats with offsets.
    min: &'a [f32],
}

/// Computes the target's rows for all tokens.
pub(super) fn run(isa: Isa, x: &Quantized<'_>, tokens: usize, target: &Target<'_, '_>, tile: &mut Tile) {
    match target.job.weight.packed.as_ref().and_then(|p| p.get()) {
        Some(packed) => run_packed(isa, x, tokens, target, packed, &mut tile.sums),
        None => {
            with_format!(target.job.weight.codes_ty(), F => run_format::<F>(isa, x, tokens, target, tile), _ => unreachable!())
        }
    }
}

fn run_format<F: SpanFormat>(isa: Isa, x: &Quantized<'_>, tokens: usize, target: &Target<'_, '_>, tile: &mut Tile) {
    #[cfg(not(target_arch = "x86_64"))]
    let Tile { staging, q, scale, min, sums } = tile;
    #[cfg(target_arch = "x86_64")]
    let Tile { staging, q, scale, min, sums, rows } = tile;
    let cols = target.job.weight.cols();
    let sums = zeros(sums, tokens);
    for start in (0..cols).step_by(CHUNK) {
        let n = CHUNK.min(cols - start);
        let out = TileParts { staging, q, scale, min };
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unpack_512::<F>(rows, out, target, start, n),
            _ => unpack::<F>(isa, out, target, start, n),
        }
        let ahead = Ahead::after::<F>(target, start + CHUNK, cols);
        let chunk = &Chunk { x, offsets: x.offsets::<F>(), tokens, start, n, ahead };
        multiply_on::<F>(isa, Weights { q, scale, min }, chunk, sums);
    }
    write_on(isa, target, sums);
}

/// [`run`] for weights that are in panels.
fn run_packed(
    isa: Isa,
    x: &Quantized<'_>,
    tokens: usize,
    target: &Target<'_, '_>,
    packed: &Packed,
    sums: &mut Vec<f32>,
) {
    let (sums, panel, cols) = (zeros(sums, tokens), target.row / ROWS, packed.cols());
    for start in (0..cols).step_by(CHUNK) {
        let n = CHUNK.min(cols - start);
        let (q, scale) = packed.part(panel, start);
        let ahead = Ahead { first: packed.address(panel, start + n), apart: CHUNK, len: CHUNK };
        let chunk = &Chunk { x, offsets: x.offsets::<Wide>(), tokens, start, n, ahead };
        multiply_on::<Wide>(isa, Weights { q, scale, min: &[] }, chunk, sums);
    }
    write_on(isa, target, sums);
}

/// The sums of a panel, `[tokens][ROWS]`, at the beginning.
fn zeros(sums: &mut Vec<f32>, tokens: usize) -> &mut [f32] {
    if sums.len() < tokens * ROWS {
        sums.resize(tokens * ROWS, 0.0);
    }
    let sums = &mut sums[..tokens * ROWS];
    sums.fill(0.0);
    sums
}

/// [`multiply`], compiled for the instruction set, after a look at what its pointers rely on.
///
/// # Panics
/// Something is shorter than the chunk says.
fn multiply_on<F: BlockFormat>(isa: Isa, weights: Weights<'_>, chunk: &Chunk<'_>, sums: &mut [f32]) {
    let &Chunk { x, offsets, tokens, start, n, .. } = chunk;
    assert!(x.stride.is_multiple_of(F::X_LEN) && start + n <= x.stride && x.q.len() >= tokens * x.stride);
    assert!(x.lanes >= tokens && x.d.len() >= x.lanes * x.stride / F::X_LEN);
    assert!(offsets.starts.len() >= x.lanes * x.stride / F::SUB_LEN);
    assert!(!F::HAS_MIN || offsets.shifts.len() >= x.lanes * x.stride / F::SUB_LEN);
    assert!(weights.q.len() >= n * ROWS && weights.scale.len() >= n / F::SUB_LEN * ROWS);
    assert!(!F::HAS_MIN || weights.min.len() >= n / F::SUB_LEN * ROWS);
    assert!(sums.len() >= tokens * ROWS && start.is_multiple_of(F::X_LEN) && n.is_multiple_of(F::SUB_LEN));
    on_isa!(isa, [F: BlockFormat] multiply<F>(weights: Weights<'_>, chunk: &Chunk<'_>, sums: &mut [f32]));
}

/// [`write_all`], compiled for the instruction set.
fn write_on(isa: Isa, target: &Target<'_, '_>, sums: &[f32]) {
    on_isa!(isa, [] write_all<>(target: &Target<'_, '_>, sums: &[f32]));
}

/// Writes all tokens' sums. Each token's row is elsewhere, so the lines are asked for some tokens ahead.
///
/// # Safety
/// The instruction set of `L` is enabled in the caller.
#[inline(always)]
unsafe fn write_all<L: Lanes>(target: &Target<'_, '_>, sums: &[f32]) {
    const AHEAD: usize = 12;
    for (token, sums) in sums.as_chunks::<ROWS>().0.iter().enumerate() {
        let next = target.address(token + AHEAD);
        to_first_level(next.cast());
        to_first_level(next.wrapping_add(LINE / 4).cast());
        if target.rows == ROWS {
            target.write(token, sums);
        } else {
            target.write(token, &sums[..target.rows]);
        }
    }
}

/// The columns `start..start + n` of the input.
struct Chunk<'a> {
    x: &'a Quantized<'a>,
    offsets: &'a Offsets,
    tokens: usize,
    start: usize,
    n: usize,
    ahead: Ahead,
}

/// The weights of the tile after this one, to be asked for while this one is multiplied: each row is a short run, whose
/// like the processor doesn't see coming.
#[derive(Clone, Copy)]
struct Ahead {
    /// Where the first row's begin; for hints only.
    first: *const u8,
    /// Bytes from row to row.
    apart: usize,
    /// Bytes of a row.
    len: usize,
}

impl Ahead {
    /// The columns from `start` on, or the beginning of the next panel, which this thread most likely computes next.
    fn after<F: BlockFormat>(target: &Target<'_, '_>, start: usize, cols: usize) -> Ahead {
        let bytes = |columns: usize| columns / F::BLOCK_LEN * F::BLOCK_BYTES;
        let apart = target.row_bytes;
        let offset = if start < cols { bytes(start) } else { ROWS * apart };
        Ahead { first: target.bytes.as_ptr().wrapping_add(offset), apart, len: bytes(CHUNK).min(apart) }
    }

    /// Asks for a share of the rows.
    #[inline(always)]
    fn ask(self, rows: std::ops::Range<usize>) {
        for row in rows {
            to_second_level(self.first.wrapping_add(row * self.apart), self.len);
        }
    }
}

/// The tile's arrays, to be filled.
pub(super) struct TileParts<'a> {
    pub staging: &'a mut [u8],
    pub q: &'a mut [u8],
    pub scale: &'a mut [f32],
    pub min: &'a mut [f32],
}

/// [`unpack`] in the registers of AVX-512.
#[cfg(target_arch = "x86_64")]
fn unpack_512<F: SpanFormat>(
    rows: &mut super::turn::Staging,
    out: TileParts<'_>,
    target: &Target<'_, '_>,
    start: usize,
    n: usize,
) {
    let first = start / F::BLOCK_LEN * F::BLOCK_BYTES;
    let len = n / F::BLOCK_LEN * F::BLOCK_BYTES;
    let blocks = target.bytes.chunks_exact(target.row_bytes).map(|row| &row[first..][..len]);
    // SAFETY: a `Cpu` holds `Isa::Avx512` only after `Isa::is_available` said that the processor has it; each item has
    // the whole blocks of `n` columns.
    unsafe {
        if target.job.weight.codes_ty() == GgmlType::Q4_K {
            super::turn::unpack_q4_k(blocks, n, rows, out);
        } else {
            super::turn::unpack::<F>(blocks, n, rows, out);
        }
    }
}

/// Takes columns `start..start + n` of the target's rows apart; rows that the panel lacks become zeros.
fn unpack<F: BlockFormat>(isa: Isa, tile: TileParts<'_>, target: &Target<'_, '_>, start: usize, n: usize) {
    let (bytes, row_bytes) = (target.bytes, target.row_bytes);
    let first = start / F::BLOCK_LEN * F::BLOCK_BYTES;
    let len = n / F::BLOCK_LEN * F::BLOCK_BYTES;
    for row in 0..ROWS {
        let staging = &mut tile.staging[row * CHUNK..][..n];
        if row < target.rows {
            let blocks = &bytes[row * row_bytes + first..][..len];
            let (scale, min) = (&mut *tile.scale, &mut *tile.min);
            unpack_row_on::<F>(isa, blocks, staging, scale, min, row);
        } else {
            staging.fill(0);
            for sub in 0..n / F::SUB_LEN {
                (tile.scale[sub * ROWS + row], tile.min[sub * ROWS + row]) = (0.0, 0.0);
            }
        }
    }
    transpose(tile.staging, tile.q, n);
}

#[inline(always)]
fn unpack_row<F: BlockFormat>(blocks: &[u8], q: &mut [u8], scale: &mut [f32], min: &mut [f32], row: usize) {
    let mut codes = Codes::default();
    let subs = F::BLOCK_LEN / F::SUB_LEN;
    let pairs = blocks.chunks_exact(F::BLOCK_BYTES).zip(q.chunks_exact_mut(F::BLOCK_LEN));
    for (i, (block, q)) in pairs.enumerate() {
        F::unpack(block, &mut codes);
        q.copy_from_slice(&codes.q[..F::BLOCK_LEN]);
        for sub in 0..subs {
            scale[(i * subs + sub) * ROWS + row] = codes.scale[sub];
            if F::HAS_MIN {
                min[(i * subs + sub) * ROWS + row] = codes.min[sub];
            }
        }
    }
}

/// [`unpack_row`], compiled for the instruction set.
fn unpack_row_on<F: BlockFormat>(
    isa: Isa,
    blocks: &[u8],
    q: &mut [u8],
    scale: &mut [f32],
    min: &mut [f32],
    row: usize,
) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2")]
    fn avx2<F: BlockFormat>(blocks: &[u8], q: &mut [u8], scale: &mut [f32], min: &mut [f32], row: usize) {
        unpack_row::<F>(blocks, q, scale, min, row);
    }
    match isa {
        // SAFETY: a `Cpu` holds these values only after `Isa::is_available` said that the processor has AVX2.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::Avx512 => unsafe { avx2::<F>(blocks, q, scale, min, row) },
        _ => unpack_row::<F>(blocks, q, scale, min, row),
    }
}

/// `[row][column]` to `[column / 4][row][4]`, for the first `n` columns (a multiple of 16): four rows by sixteen columns
/// at a time.
fn transpose(from: &[u8], to: &mut [u8], n: usize) {
    assert!(n.is_multiple_of(16) && n <= CHUNK && from.len() >= ROWS * CHUNK && to.len() >= ROWS * CHUNK);
    for column in (0..n).step_by(16) {
        for row in (0..ROWS).step_by(4) {
            let at = |r: usize| (row + r) * CHUNK + column;
            let quads = transpose_4x4([&from[at(0)..], &from[at(1)..], &from[at(2)..], &from[at(3)..]]);
            for (i, quad) in quads.iter().enumerate() {
                to[((column / 4 + i) * ROWS + row) * 4..][..16].copy_from_slice(quad);
            }
        }
    }
}

/// The transpose of four rows of four 4-byte quads.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transpose_4x4(rows: [&[u8]; 4]) -> [[u8; 16]; 4] {
    use std::arch::x86_64::*;
    let load = |r: &[u8]| {
        let r = &r[..16];
        // SAFETY: sixteen bytes, just cut out; SSE2 is part of x86-64.
        unsafe { _mm_loadu_si128(r.as_ptr().cast()) }
    };
    let [a, b, c, d] = rows.map(load);
    // SAFETY: SSE2 is part of x86-64; the vectors have the size of the arrays.
    unsafe {
        let (ab, cd) = (_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
        let (ab_high, cd_high) = (_mm_unpackhi_epi32(a, b), _mm_unpackhi_epi32(c, d));
        std::mem::transmute::<[__m128i; 4], [[u8; 16]; 4]>([
            _mm_unpacklo_epi64(ab, cd),
            _mm_unpackhi_epi64(ab, cd),
            _mm_unpacklo_epi64(ab_high, cd_high),
            _mm_unpackhi_epi64(ab_high, cd_high),
        ])
    }
}

/// The transpose of four rows of four 4-byte quads.
#[cfg(not(target_arch = "x86_64"))]
fn transpose_4x4(rows: [&[u8]; 4]) -> [[u8; 16]; 4] {
    std::array::from_fn(|quad| std::array::from_fn(|i| rows[i / 4][4 * quad + i % 4]))
}

/// Adds one tile times its chunk of all tokens to the sums.
///
/// # Safety
/// The instruction set of `L` is enabled in the caller; the lengths are those that `multiply_on` asserts.
#[inline(always)]
unsafe fn multiply<F: BlockFormat, L: Lanes>(weights: Weights<'_>, chunk: &Chunk<'_>, sums: &mut [f32]) {
    // Groups as equal as can be: one of two tokens takes nearly as long as one of six.
    let groups = chunk.tokens.div_ceil(L::TOKENS);
    for group in 0..groups {
        let token = group * chunk.tokens / groups;
        let count = (group + 1) * chunk.tokens / groups - token;
        chunk.ahead.ask(group * ROWS / groups..(group + 1) * ROWS / groups);
        for row in (0..ROWS).step_by(2 * L::WIDTH) {
            // SAFETY: as for this function; `count` tokens from `token` on exist.
            unsafe {
                match count {
                    1 => micro::<F, L, 1>(weights, chunk, sums, token, row),
                    2 => micro::<F, L, 2>(weights, chunk, sums, token, row),
                    3 => micro::<F, L, 3>(weights, chunk, sums, token, row),
                    4 => micro::<F, L, 4>(weights, chunk, sums, token, row),
                    5 => micro::<F, L, 5>(weights, chunk, sums, token, row),
                    _ => micro::<F, L, 6>(weights, chunk, sums, token, row),
                }
            }
        }
    }
}

/// The micro-kernel: `M` tokens by two vectors of rows, over the tile's columns.
///
/// # Safety
/// The instruction set of `L` is enabled in the caller; tokens `token..token + M` and rows `row..row + 2 · WIDTH` exist.
#[inline(always)]
unsafe fn micro<F: BlockFormat, L: Lanes, const M: usize>(
    weights: Weights<'_>,
    chunk: &Chunk<'_>,
    sums: &mut [f32],
    token: usize,
    row: usize,
) {
    let x = chunk.x;
    debug_assert!(token + M <= chunk.tokens && row + 2 * L::WIDTH <= ROWS && chunk.start + chunk.n <= x.stride);
    // SAFETY: offsets below stay within `[tokens, stride]` codes, `[stride / X_LEN, lanes]` scales and `[stride / SUB_LEN,
    // lanes]` offsets, within the weights' `n` columns of `ROWS` rows, and within the sums of `tokens` rows: all asserted by
    // `multiply_on`.
    unsafe {
        // One pointer for the scales of all tokens, and one for their offsets: with one for each token, addresses would
        // not fit the registers, and the loop would take a seventh longer.
        let codes: [*const i8; M] = std::array::from_fn(|m| x.q.as_ptr().add((token + m) * x.stride + chunk.start));
        let scales = x.d.as_ptr().add(chunk.start / F::X_LEN * x.lanes + token);
        let offset = chunk.start / F::SUB_LEN * x.lanes + token;
        let starts = chunk.offsets.starts.as_ptr().add(offset);
        let shifts = chunk.offsets.shifts.as_ptr().wrapping_add(if F::HAS_MIN { offset } else { 0 });
        let out: [*mut f32; M] = std::array::from_fn(|m| sums.as_mut_ptr().add((token + m) * ROWS + row));
        let mut sums: [[L::F; 2]; M] = std::array::from_fn(|m| [L::load(out[m]), L::load(out[m].add(L::WIDTH))]);
        for sub in 0..chunk.n / F::SUB_LEN {
            let column = sub * F::SUB_LEN;
            // The next tokens' numbers: more than a second-level cache holds where there are many tokens, and too short a
            // run in each row for the processor to see it coming.
            if column % LINE == 0 {
                codes.iter().for_each(|&c| to_first_level(c.wrapping_add(column + M * x.stride).cast()));
            }
            to_first_level(scales.wrapping_add(column / F::X_LEN * x.lanes + LINE / 4).cast());
            to_first_level(starts.wrapping_add(sub * x.lanes + LINE / 4).cast());
            let from_zero = F::ZERO == 0 || (F::ZERO == 128 && L::SIGNED_DOT8);
            let mut acc: [[L::I; 2]; M] =
                std::array::from_fn(|m| [L::splat_i(if from_zero { 0 } else { *starts.add(sub * x.lanes + m) }); 2]);
            for quad in 0..F::SUB_LEN / 4 {
                let at = weights.q.as_ptr().add(((column / 4 + quad) * ROWS + row) * 4);
                let w = [L::load_codes(at), L::load_codes(at.add(4 * L::WIDTH))];
                for m in 0..M {
                    let four = codes[m].add(column + 4 * quad).cast::<i32>().read_unaligned();
                    for v in 0..2 {
                        acc[m][v] =
                            if F::ZERO == 128 { L::dot8(acc[m][v], w[v], four) } else { L::dot(acc[m][v], w[v], four) };
                    }
                }
            }
            let at = sub * ROWS + row;
            for v in 0..2 {
                let scale = L::load(weights.scale.as_ptr().add(at + v * L::WIDTH));
                for m in 0..M {
                    let both = L::mul(scale, L::splat(*scales.add(column / F::X_LEN * x.lanes + m)));
                    sums[m][v] = L::fma(both, L::to_f(acc[m][v]), sums[m][v]);
                }
                if F::HAS_MIN {
                    let min = L::load(weights.min.as_ptr().add(at + v * L::WIDTH));
                    for (m, sums) in sums.iter_mut().enumerate() {
                        sums[v] = L::fma(min, L::splat(*shifts.add(sub * x.lanes + m)), sums[v]);
                    }
                }
            }
        }
        for m in 0..M {
            L::store(out[m], sums[m][0]);
            L::store(out[m].add(L::WIDTH), sums[m][1]);
        }
    }
}
