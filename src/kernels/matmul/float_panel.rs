//! Float weights times many tokens, all in float32: as in [`panel`](super::panel), a panel of 32 rows is brought into the
//! order that the kernel reads, `[column][row]`, 256 columns at a time (32 KiB), and used for all tokens.

use super::Target;
use super::lanes::{Lanes, on_isa};
use super::panel::ROWS;
use super::prepare::Floats;
use crate::gguf::GgmlType;
use crate::kernels::Isa;
use crate::quant::read_f16;

/// Columns of a tile.
const CHUNK: usize = 256;

/// A part of a panel as float32, and the panel's results so far.
pub(super) struct FloatTile {
    /// `[column][row]`
    w: Box<[f32]>,
    /// `[token][row]`
    sums: Vec<f32>,
}

impl Default for FloatTile {
    fn default() -> Self {
        FloatTile { w: vec![0.0; ROWS * CHUNK].into(), sums: Vec::new() }
    }
}

/// Numbers of a float type.
pub(super) trait FloatFormat {
    /// Bytes of a number.
    const BYTES: usize;
    /// Number `i`.
    fn read(bytes: &[u8], i: usize) -> f32;
    /// The first sixteen numbers.
    ///
    /// # Safety
    /// The processor has the instruction set of `L`.
    ///
    /// # Panics
    /// There are fewer.
    #[inline(always)]
    unsafe fn read_strip<L: Lanes>(bytes: &[u8]) -> [f32; STRIP] {
        let bytes = &bytes[..STRIP * Self::BYTES];
        std::array::from_fn(|i| Self::read(bytes, i))
    }
}

/// Numbers that are converted together.
pub(super) const STRIP: usize = 16;

pub(super) struct F32;
pub(super) struct F16;
pub(super) struct Bf16;

impl FloatFormat for F32 {
    const BYTES: usize = 4;
    #[inline(always)]
    fn read(b: &[u8], i: usize) -> f32 {
        f32::from_le_bytes([b[4 * i], b[4 * i + 1], b[4 * i + 2], b[4 * i + 3]])
    }
}

impl FloatFormat for F16 {
    const BYTES: usize = 2;
    #[inline(always)]
    fn read(b: &[u8], i: usize) -> f32 {
        read_f16(b, 2 * i)
    }
    #[inline(always)]
    unsafe fn read_strip<L: Lanes>(bytes: &[u8]) -> [f32; STRIP] {
        let mut out = [0.0; STRIP];
        let (strips, _) = bytes.as_chunks::<{ 2 * STRIP }>();
        // SAFETY: by the contract of this function.
        unsafe { L::widen_f16(&strips[0], &mut out) };
        out
    }
}

impl FloatFormat for Bf16 {
    const BYTES: usize = 2;
    #[inline(always)]
    fn read(b: &[u8], i: usize) -> f32 {
        f32::from_bits(u32::from(u16::from_le_bytes([b[2 * i], b[2 * i + 1]])) << 16)
    }
}

/// Computes the target's rows for all tokens.
pub(super) fn run(isa: Isa, x: &Floats<'_>, tokens: usize, target: &Target<'_, '_>, tile: &mut FloatTile) {
    match target.job.weight.ty() {
        GgmlType::F16 => run_format::<F16>(isa, x, tokens, target, tile),
        GgmlType::BF16 => run_format::<Bf16>(isa, x, tokens, target, tile),
        _ => run_format::<F32>(isa, x, tokens, target, tile),
    }
}

fn run_format<F: FloatFormat>(isa: Isa, x: &Floats<'_>, tokens: usize, target: &Target<'_, '_>, tile: &mut FloatTile) {
    // What the kernel's pointers rely on.
    assert!(x.cols == target.job.weight.cols() && x.x.len() >= tokens * x.cols);
    if tile.sums.len() < tokens * ROWS {
        tile.sums.resize(tokens * ROWS, 0.0);
    }
    tile.sums[..tokens * ROWS].fill(0.0);
    for start in (0..x.cols).step_by(CHUNK) {
        let chunk = &Chunk { x, tokens, start, n: CHUNK.min(x.cols - start) };
        on_isa!(isa, [F: FloatFormat] one_chunk<F>(tile: &mut FloatTile, chunk: &Chunk<'_>, target: &Target<'_, '_>));
    }
    for (token, sums) in tile.sums.chunks_exact(ROWS).take(tokens).enumerate() {
        target.write(token, sums);
    }
}

/// The columns `start..start + n` of the input.
struct Chunk<'a> {
    x: &'a Floats<'a>,
    tokens: usize,
    start: usize,
    n: usize,
}

/// Fills the tile and multiplies it with all tokens.
///
/// # Safety
/// The instruction set of `L` is enabled in the caller.
#[inline(always)]
unsafe fn one_chunk<F: FloatFormat, L: Lanes>(tile: &mut FloatTile, chunk: &Chunk<'_>, target: &Target<'_, '_>) {
    // SAFETY: as for this function.
    unsafe { unpack::<F, L>(&mut tile.w, chunk, target) };
    let mut token = 0;
    while token < chunk.tokens {
        let left = (chunk.tokens - token).min(L::TOKENS);
        for row in (0..ROWS).step_by(2 * L::WIDTH) {
            // SAFETY: as for this function; `left` tokens from `token` on exist.
            unsafe {
                match left {
                    1 => micro::<L, 1>(tile, chunk, token, row),
                    2 => micro::<L, 2>(tile, chunk, token, row),
                    3 => micro::<L, 3>(tile, chunk, token, row),
                    4 => micro::<L, 4>(tile, chunk, token, row),
                    5 => micro::<L, 5>(tile, chunk, token, row),
                    _ => micro::<L, 6>(tile, chunk, token, row),
                }
            }
        }
        token += left;
    }
}

/// Brings the chunk's columns of the target's rows into `w`, `[column][row]`; rows that the panel lacks become zeros.
///
/// # Safety
/// The processor has the instruction set of `L`.
#[inline(always)]
unsafe fn unpack<F: FloatFormat, L: Lanes>(w: &mut [f32], chunk: &Chunk<'_>, target: &Target<'_, '_>) {
    let (bytes, row_bytes) = (target.bytes, target.row_bytes);
    for row in 0..ROWS {
        if row >= target.rows {
            w.iter_mut().skip(row).step_by(ROWS).for_each(|w| *w = 0.0);
            continue;
        }
        let source = &bytes[row * row_bytes + chunk.start * F::BYTES..][..chunk.n * F::BYTES];
        for column in (0..chunk.n).step_by(STRIP) {
            let n = STRIP.min(chunk.n - column);
            let strip = if n == STRIP {
                // SAFETY: as for this function.
                unsafe { F::read_strip::<L>(&source[column * F::BYTES..]) }
            } else {
                std::array::from_fn(|i| if i < n { F::read(source, column + i) } else { 0.0 })
            };
            for (i, &s) in strip.iter().enumerate().take(n) {
                w[(column + i) * ROWS + row] = s;
            }
        }
    }
}

/// The micro-kernel: `M` tokens by two vectors of rows, over the tile's columns.
///
/// # Safety
/// The instruction set of `L` is enabled in the caller; tokens `token..token + M` and rows `row..row + 2 · WIDTH` exist.
#[inline(always)]
unsafe fn micro<L: Lanes, const M: usize>(tile: &mut FloatTile, chunk: &Chunk<'_>, token: usize, row: usize) {
    debug_assert!(token + M <= chunk.tokens && row + 2 * L::WIDTH <= ROWS && chunk.start + chunk.n <= chunk.x.cols);
    // SAFETY: inputs stay within `[tokens, cols]` (asserted by `run_format`), weights within `CHUNK` columns of `ROWS`,
    // sums within the `tokens` rows that `run_format` made.
    unsafe {
        let x: [*const f32; M] =
            std::array::from_fn(|m| chunk.x.x.as_ptr().add((token + m) * chunk.x.cols + chunk.start));
        let out: [*mut f32; M] = std::array::from_fn(|m| tile.sums.as_mut_ptr().add((token + m) * ROWS + row));
        let mut sums = [[L::splat(0.0); 2]; M];
        for (sums, out) in sums.iter_mut().zip(out) {
            *sums = [L::load(out), L::load(out.add(L::WIDTH))];
        }
        let w = tile.w.as_ptr().add(row);
        for column in 0..chunk.n {
            let w = w.add(column * ROWS);
            let w = [L::load(w), L::load(w.add(L::WIDTH))];
            for m in 0..M {
                let x = L::splat(*x[m].add(column));
                sums[m] = [L::fma(w[0], x, sums[m][0]), L::fma(w[1], x, sums[m][1])];
            }
        }
        for m in 0..M {
            L::store(out[m], sums[m][0]);
            L::store(out[m].add(L::WIDTH), sums[m][1]);
        }
    }
}
