//! Quantized weights times few tokens: each row's blocks are read once, in order.
//!
//! Blocks are taken apart 256 columns at a time into codes with a scale (and offset) per sub-block, whose dot products
//! with the activations' codes (15 bits, for reading the weights takes longer anyway) are exact integers:
//!
//! ```text
//! row · x = Σ d · (Σ scale · (codes · x)  +  Σ (offset − zero · scale) · Σx)      over spans, and sub-blocks within them
//! ```
//!
//! A token's result doesn't depend on the tokens beside it: the order of its additions is the same for all numbers of
//! tokens, and of rows at a time.

use super::fine::{Fine, FineSpan, SPAN};
use super::lanes::on_isa;
#[cfg(target_arch = "x86_64")]
use super::words::WordFormat;
use super::{FEW_TOKENS, TASK_ROWS, Target};
use crate::kernels::Isa;
use crate::kernels::prefetch::{STREAM_AHEAD, to_second_level};
use crate::quant::{BlockFormat, Codes};
use crate::with_format;

/// Elsewhere, all formats are taken apart in memory.
#[cfg(not(target_arch = "x86_64"))]
use crate::quant::BlockFormat as WordFormat;

/// Computes the target's rows for all tokens.
pub(super) fn run(isa: Isa, x: Fine<'_>, tokens: usize, target: &Target<'_, '_>) {
    with_format!(target.job.weight.codes_ty(), F => run_format::<F>(isa, x, tokens, target), _ => unreachable!());
}

fn run_format<F: WordFormat>(isa: Isa, x: Fine<'_>, tokens: usize, target: &Target<'_, '_>) {
    let cols = target.job.weight.cols();
    assert!(x.per_token == cols.div_ceil(SPAN) && x.spans.len() >= tokens * x.per_token && tokens <= FEW_TOKENS);
    let mut out = [[0.0; TASK_ROWS]; FEW_TOKENS];
    {
        let (bytes, row_bytes, out) = (target.bytes, target.row_bytes, &mut out);
        on_isa!(isa, [F: WordFormat] all_rows<F>(bytes: &[u8], row_bytes: usize, x: Fine<'_>, tokens: usize, out: &mut Products));
    }
    for (token, values) in out.iter().enumerate().take(tokens) {
        target.write(token, values);
    }
}

/// A span of the widest format, Q8_0.
const MAX_SPAN_BYTES: usize = 272;

/// A task's products, `[tokens, rows]`.
type Products = [[f32; TASK_ROWS]; FEW_TOKENS];

/// A task's rows times all tokens, with numbers of tokens that the compiler knows: sums stay in registers.
///
/// # Safety
/// The instruction set of `L` is enabled in the caller.
#[inline(always)]
unsafe fn all_rows<F: WordFormat, L: Spans>(
    bytes: &[u8],
    row_bytes: usize,
    x: Fine<'_>,
    tokens: usize,
    out: &mut Products,
) {
    let mut first = 0;
    while first < tokens {
        let n = (tokens - first).min(L::TOKENS);
        let out = &mut out[first..first + n];
        // A number between these takes as long as the next larger one, the last token being computed again: few sizes
        // are few kernels to build.
        // SAFETY: as for this function.
        unsafe {
            match n {
                1 => rows_of::<F, L, 1>(bytes, row_bytes, x, first, out),
                2 if L::TOKENS >= 2 => rows_of::<F, L, 2>(bytes, row_bytes, x, first, out),
                3 | 4 if L::TOKENS >= 4 => rows_of::<F, L, 4>(bytes, row_bytes, x, first, out),
                _ if L::TOKENS >= 8 => rows_of::<F, L, 8>(bytes, row_bytes, x, first, out),
                _ => unreachable!("{n} tokens at a time"),
            }
        }
        first += n;
    }
}

/// The rows times tokens from `first` on, at most `T`. Several rows go together where there are registers for that: they use
/// one load of the activations, and one row's additions don't wait for the other's.
///
/// # Safety
/// The instruction set of `L` is enabled in the caller.
#[inline(always)]
unsafe fn rows_of<F: WordFormat, L: Spans, const T: usize>(
    bytes: &[u8],
    row_bytes: usize,
    x: Fine<'_>,
    first: usize,
    out: &mut [[f32; TASK_ROWS]],
) {
    let x: [&[FineSpan]; T] = std::array::from_fn(|token| x.token(first + token.min(out.len() - 1)));
    let rows = Rows { bytes, row_bytes };
    // SAFETY: as for this function.
    unsafe {
        if T <= L::PAIRS {
            rows.dot::<F, L, T, 2>(&x, out);
        } else {
            rows.dot::<F, L, T, 1>(&x, out);
        }
    }
}

/// A task's rows.
struct Rows<'a> {
    bytes: &'a [u8],
    row_bytes: usize,
}

impl Rows<'_> {
    /// All rows, `R` at a time, times `T` tokens.
    ///
    /// # Safety
    /// The instruction set of `L` is enabled in the caller.
    #[inline(always)]
    unsafe fn dot<F: WordFormat, L: Spans, const T: usize, const R: usize>(
        &self,
        x: &[&[FineSpan]; T],
        out: &mut [[f32; TASK_ROWS]],
    ) {
        let rows = self.bytes.len() / self.row_bytes;
        for row in (0..rows).step_by(R) {
            // Where fewer are left, the last one is computed again.
            let numbers: [usize; R] = std::array::from_fn(|i| (row + i).min(rows - 1));
            let parts = numbers.map(|row| &self.bytes[row * self.row_bytes..][..self.row_bytes]);
            // SAFETY: as for this function.
            unsafe { rows_dot::<F, L, T, R>(parts, x, numbers, out) };
        }
    }
}

/// `R` rows of equal length and their numbers, times `T` tokens.
///
/// # Safety
/// The instruction set of `L` is enabled in the caller.
#[inline(always)]
unsafe fn rows_dot<F: WordFormat, L: Spans, const T: usize, const R: usize>(
    rows: [&[u8]; R],
    x: &[&[FineSpan]; T],
    numbers: [usize; R],
    out: &mut [[f32; TASK_ROWS]],
) {
    let span_bytes = SPAN / F::BLOCK_LEN * F::BLOCK_BYTES;
    // SAFETY: as for this function.
    let mut acc = unsafe { [[L::zero(); T]; R] };
    let whole = rows[0].len() / span_bytes;
    for span in 0..whole {
        // Loops, as `map` over an array may become a call, before which all vectors go to memory.
        let (mut parts, mut spans) = (rows, [&x[0][span]; T]);
        for part in &mut parts {
            *part = &part[span * span_bytes..][..span_bytes];
            // What follows belongs to the next rows, which this thread reads next, too.
            to_second_level(part.as_ptr().wrapping_add(STREAM_AHEAD), span_bytes);
        }
        for (span_of, x) in spans.iter_mut().zip(x) {
            *span_of = &x[span];
        }
        // SAFETY: as for this function; the rows' parts are whole spans.
        unsafe { L::dot::<F, T, R>(parts, spans, &mut acc) };
    }
    if whole * span_bytes < rows[0].len() {
        // Blocks of zeros have scales of zero.
        let mut filled = [[0; MAX_SPAN_BYTES]; R];
        for (filled, row) in filled.iter_mut().zip(rows) {
            let rest = &row[whole * span_bytes..];
            filled[..rest.len()].copy_from_slice(rest);
        }
        let rows = std::array::from_fn(|i| &filled[i][..span_bytes]);
        // SAFETY: as above.
        unsafe { L::dot::<F, T, R>(rows, x.map(|x| &x[whole]), &mut acc) };
    }
    for (row, acc) in numbers.into_iter().zip(acc) {
        for (out, acc) in out.iter_mut().zip(acc) {
            // SAFETY: as for this function.
            out[row] = unsafe { L::total(acc) };
        }
    }
}

/// Takes up to 256 columns apart, into `codes` full of zeros.
#[inline(always)]
pub(super) fn unpack_span<F: BlockFormat + ?Sized>(blocks: &[u8], codes: &mut Codes) {
    if F::BLOCK_LEN == SPAN {
        F::unpack(blocks, codes);
        return;
    }
    let mut one = Codes::default();
    for (i, block) in blocks.chunks_exact(F::BLOCK_BYTES).enumerate() {
        F::unpack(block, &mut one);
        codes.q[i * F::BLOCK_LEN..][..F::BLOCK_LEN].copy_from_slice(&one.q[..F::BLOCK_LEN]);
        codes.scale[i] = one.scale[0];
        codes.min[i] = one.min[0];
    }
}

/// The span's dot products on an instruction set.
pub(super) trait Spans {
    /// Partial sums.
    type Acc: Copy;
    /// The most tokens at a time.
    const TOKENS: usize;
    /// The most tokens with which two rows at a time fit the registers.
    const PAIRS: usize;
    /// No sums yet.
    ///
    /// # Safety
    /// For all functions here: the processor has the instruction set.
    unsafe fn zero() -> Self::Acc;
    /// Adds a span of `R` rows times `T` tokens.
    ///
    /// # Safety
    /// As above; each row is exactly a span.
    unsafe fn dot<F: WordFormat, const T: usize, const R: usize>(
        rows: [&[u8]; R],
        x: [&FineSpan; T],
        acc: &mut [[Self::Acc; T]; R],
    );
    /// The sum of the partial sums.
    ///
    /// # Safety
    /// As above.
    unsafe fn total(acc: Self::Acc) -> f32;
}

impl Spans for super::lanes::Plain {
    type Acc = f32;
    const TOKENS: usize = 1;
    const PAIRS: usize = 0;
    #[inline(always)]
    unsafe fn zero() -> f32 {
        0.0
    }
    #[inline(always)]
    unsafe fn dot<F: WordFormat, const T: usize, const R: usize>(
        rows: [&[u8]; R],
        x: [&FineSpan; T],
        acc: &mut [[f32; T]; R],
    ) {
        for (row, acc) in rows.iter().zip(acc) {
            let mut codes = Codes::default();
            unpack_span::<F>(row, &mut codes);
            for (x, acc) in x.iter().zip(acc) {
                let mut all = 0.0;
                for (sub, q) in codes.q.chunks_exact(F::SUB_LEN).enumerate() {
                    let (mut product, mut sum) = (0, 0);
                    for (i, &q) in q.iter().enumerate() {
                        let (vector, place) = FineSpan::place(sub * F::SUB_LEN + i);
                        let x = i32::from(x.q[vector][place]);
                        (product, sum) = (product + i32::from(q) * x, sum + x);
                    }
                    all += codes.scale[sub] * (product - F::ZERO * sum) as f32 + codes.min[sub] * sum as f32;
                }
                *acc += x.d * all;
            }
        }
    }
    #[inline(always)]
    unsafe fn total(acc: f32) -> f32 {
        acc
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::fine::FineSpan;
    use super::super::lanes::Zmm;
    use super::super::words::{Scales, WordFormat, Zmms};
    use super::Spans;
    use std::arch::asm;
    use std::arch::x86_64::*;

    /// `acc + Σ a · b` over pairs of words. The intrinsic of that name becomes a multiplication and an addition: the compiler
    /// holds that for quicker, but here instructions are what counts.
    #[target_feature(enable = "avx512f,avx512vnni")]
    #[inline]
    fn dot(mut acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the instruction reads and writes these registers only, and its instruction set is enabled here.
        unsafe {
            asm!("vpdpwssd {acc}, {a}, {b}", acc = inout(zmm_reg) acc, a = in(zmm_reg) a, b = in(zmm_reg) b,
                 options(pure, nomem, nostack, preserves_flags));
        }
        acc
    }

    /// The codes of 128 columns.
    ///
    /// # Safety
    /// AVX-512 F is enabled in the caller; `half` is below 2.
    #[inline(always)]
    unsafe fn codes(x: &FineSpan, half: usize) -> [__m512i; 4] {
        // SAFETY: by the contract; each load is one of the eight vectors.
        unsafe {
            let mut q = [_mm512_setzero_si512(); 4];
            for (v, q) in q.iter_mut().enumerate() {
                *q = _mm512_load_si512(x.q[4 * half + v].as_ptr().cast());
            }
            q
        }
    }

    /// `all` and the scaled products of 128 columns.
    ///
    /// # Safety
    /// AVX-512 F, BW and VNNI are enabled in the caller.
    #[inline(always)]
    unsafe fn add_half<F: WordFormat>(w: &[__m512i; 4], q: &[__m512i; 4], scale: [__m512; 2], all: __m512) -> __m512 {
        // SAFETY: by the contract.
        unsafe {
            let mut all = all;
            let first = dot(_mm512_madd_epi16(w[0], q[0]), w[2], q[2]);
            let apart = F::SUB_LEN == 16 || F::PAIRED;
            let second = if apart { _mm512_madd_epi16(w[1], q[1]) } else { dot(first, w[1], q[1]) };
            let second = dot(second, w[3], q[3]);
            if apart {
                all = _mm512_fmadd_ps(_mm512_cvtepi32_ps(first), scale[0], all);
            }
            _mm512_fmadd_ps(_mm512_cvtepi32_ps(second), scale[1], all)
        }
    }

    // SAFETY (all bodies): the contract of `Spans` gives the instruction set; loads stay within arrays of known length.
    impl Spans for Zmm {
        type Acc = __m512;
        const TOKENS: usize = 8;
        const PAIRS: usize = 8;
        #[inline(always)]
        unsafe fn zero() -> __m512 {
            // SAFETY: see above.
            unsafe { _mm512_setzero_ps() }
        }
        #[inline(always)]
        unsafe fn dot<F: WordFormat, const T: usize, const R: usize>(
            rows: [&[u8]; R],
            x: [&FineSpan; T],
            acc: &mut [[__m512; T]; R],
        ) {
            // Loops over arrays, not closures: those would be functions of their own, without the instruction set.
            // SAFETY: see above.
            unsafe {
                if T == 1 {
                    // Words that only one token meets are taken apart when it meets them: held until then, they would
                    // take nearly all registers.
                    let mut scales = [Scales::zero(); R];
                    let mut all = [_mm512_setzero_ps(); R];
                    if R == 2 {
                        let two = Scales::of_two::<F>(rows[0], rows[R - 1]);
                        (scales[0], scales[R - 1]) = (two[0], two[1]);
                    } else {
                        for (scales, row) in scales.iter_mut().zip(rows) {
                            *scales = Scales::of::<F>(row);
                        }
                    }
                    for (scales, all) in scales.iter().zip(&mut all) {
                        *all = scales.offsets::<F>(x[0]);
                    }
                    for half in 0..2 {
                        let q = codes(x[0], half);
                        for ((scales, all), row) in scales.iter().zip(&mut all).zip(rows) {
                            *all = add_half::<F>(&F::zmm_words(row, half), &q, scales.half::<F>(half), *all);
                        }
                    }
                    let d = _mm512_set1_ps(x[0].d);
                    for (acc, all) in acc.iter_mut().zip(all) {
                        acc[0] = _mm512_fmadd_ps(all, d, acc[0]);
                    }
                    return;
                }
                let mut parts = [Zmms::zero(); R];
                for (part, row) in parts.iter_mut().zip(rows) {
                    *part = Zmms::of::<F>(row);
                }
                for (t, x) in x.iter().enumerate() {
                    let mut all = [_mm512_setzero_ps(); R];
                    for (all, row) in all.iter_mut().zip(&parts) {
                        *all = row.scales.offsets::<F>(x);
                    }
                    for half in 0..2 {
                        let q = codes(x, half);
                        for (all, row) in all.iter_mut().zip(&parts) {
                            *all = add_half::<F>(&row.w[half], &q, row.scale[half], *all);
                        }
                    }
                    let d = _mm512_set1_ps(x.d);
                    for (acc, all) in acc.iter_mut().zip(all) {
                        acc[t] = _mm512_fmadd_ps(all, d, acc[t]);
                    }
                }
            }
        }
        #[inline(always)]
        unsafe fn total(acc: __m512) -> f32 {
            // SAFETY: see above.
            unsafe { _mm512_reduce_add_ps(acc) }
        }
    }
}
