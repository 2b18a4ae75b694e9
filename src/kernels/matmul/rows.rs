//! Quantized weights times few tokens: each row's blocks are read once, in order.
//!
//! Blocks are taken apart 256 columns at a time into codes with a scale (and offset) per sub-block, whose dot products
//! with the activations' codes (15 bits in two bytes, for reading the weights takes longer anyway) are exact integers:
//!
//! ```text
//! row · x = Σ scale · d · (codes · x)  +  Σ (offset − zero · scale) · d · Σx      over sub-blocks
//! ```

use super::lanes::on_isa;
use super::prepare::Quantized;
#[cfg(target_arch = "x86_64")]
use super::span::SpanFormat;
use super::{FEW_TOKENS, TASK_ROWS, Target};
use crate::kernels::Isa;
use crate::quant::{BlockFormat, Codes};
use crate::with_format;

/// Elsewhere, all formats are taken apart in memory.
#[cfg(not(target_arch = "x86_64"))]
use crate::quant::BlockFormat as SpanFormat;

/// Columns taken apart at a time.
pub(super) const SPAN: usize = 256;

/// Computes the target's rows for all tokens.
pub(super) fn run(isa: Isa, x: &Quantized<'_>, tokens: usize, target: &Target<'_, '_>) {
    with_format!(target.job.weight.codes_ty(), F => run_format::<F>(isa, x, tokens, target), _ => unreachable!());
}

fn run_format<F: SpanFormat>(isa: Isa, x: &Quantized<'_>, tokens: usize, target: &Target<'_, '_>) {
    let cols = target.job.weight.cols();
    assert!(
        x.stride >= cols.next_multiple_of(SPAN) && x.q.len() >= tokens * x.stride && x.low.len() >= tokens * x.stride
    );
    assert!(tokens <= FEW_TOKENS && x.d.len() >= tokens * x.stride / 32 && x.sums.len() >= tokens * x.stride / 16);
    let mut out = [[0.0; TASK_ROWS]; FEW_TOKENS];
    {
        let (bytes, row_bytes, out) = (target.bytes, target.row_bytes, &mut out);
        on_isa!(isa, [F: SpanFormat] all_rows<F>(bytes: &[u8], row_bytes: usize, x: &Quantized<'_>, tokens: usize, out: &mut Products));
    }
    for (token, values) in out.iter().enumerate().take(tokens) {
        target.write(token, values);
    }
}

/// How far ahead weights are asked for, in bytes: some memory latencies' worth at the speed of one core.
const AHEAD: usize = 2048;
/// The farthest that weights are asked for ahead.
const FAR: usize = 8192;

/// A task's products, `[tokens, rows]`.
type Products = [[f32; TASK_ROWS]; FEW_TOKENS];

/// A task's rows times all tokens, with the number of tokens known to the compiler: sums stay in registers.
///
/// # Safety
/// The instruction set of `L` is enabled in the caller.
#[inline(always)]
unsafe fn all_rows<F: SpanFormat, L: Spans>(
    bytes: &[u8],
    row_bytes: usize,
    x: &Quantized<'_>,
    tokens: usize,
    out: &mut Products,
) {
    // SAFETY: as for this function.
    unsafe {
        match tokens {
            1 => rows_of::<F, L, 1>(bytes, row_bytes, x, out),
            2 => rows_of::<F, L, 2>(bytes, row_bytes, x, out),
            3 => rows_of::<F, L, 3>(bytes, row_bytes, x, out),
            _ => {
                const { assert!(FEW_TOKENS == 4) };
                rows_of::<F, L, 4>(bytes, row_bytes, x, out);
            }
        }
    }
}

/// The rows in pairs where a single token leaves registers for that: both use one load of the activations, and one row's
/// additions don't wait for the other's.
///
/// # Safety
/// The instruction set of `L` is enabled in the caller.
#[inline(always)]
unsafe fn rows_of<F: SpanFormat, L: Spans, const T: usize>(
    bytes: &[u8],
    row_bytes: usize,
    x: &Quantized<'_>,
    out: &mut Products,
) {
    let rows = bytes.len() / row_bytes;
    let pairs = if T == 1 { rows / 2 } else { 0 };
    for pair in 0..pairs {
        let (a, b) = bytes[2 * pair * row_bytes..][..2 * row_bytes].split_at(row_bytes);
        // SAFETY: as for this function.
        unsafe { rows_dot::<F, L, T, 2>([a, b], x, 2 * pair, out) };
    }
    for row in 2 * pairs..rows {
        // SAFETY: as for this function.
        unsafe { rows_dot::<F, L, T, 1>([&bytes[row * row_bytes..][..row_bytes]], x, row, out) };
    }
}

/// `R` rows of equal length, the first of them number `first`, times `T` tokens. What a product is doesn't depend on `R`
/// or `T`.
///
/// # Safety
/// The instruction set of `L` is enabled in the caller.
#[inline(always)]
unsafe fn rows_dot<F: SpanFormat, L: Spans, const T: usize, const R: usize>(
    rows: [&[u8]; R],
    x: &Quantized<'_>,
    first: usize,
    out: &mut Products,
) {
    let span_bytes = SPAN / F::BLOCK_LEN * F::BLOCK_BYTES;
    // The same place in the next rows: what lies nearer belongs to the rows that are being read. Rows that are longer than
    // a first-level cache should wait for are left to a fixed distance.
    let next = R * rows[0].len();
    let ahead = if next <= FAR { next } else { AHEAD };
    // SAFETY: as for this function.
    let mut acc = unsafe { [[L::zero(); T]; R] };
    for span in 0..rows[0].len().div_ceil(span_bytes) {
        let range = span * span_bytes..((span + 1) * span_bytes).min(rows[0].len());
        for (row, acc) in rows.iter().zip(&mut acc) {
            // SAFETY: as for this function.
            let parts = unsafe { L::unpack::<F>(&row[range.clone()], ahead) };
            for (token, acc) in acc.iter_mut().enumerate() {
                let at = token * x.stride + span * SPAN;
                let part = SpanInput {
                    high: x.q[at..at + SPAN].try_into().expect("a span of codes"),
                    low: x.low[at..at + SPAN].try_into().expect("a span of codes"),
                    d: x.d[at / 32..][..SPAN / 32].try_into().expect("a span of scales"),
                    sums: x.sums[at / 16..][..SPAN / 16].try_into().expect("a span of sums"),
                };
                // SAFETY: as for this function.
                unsafe { L::dot::<F>(acc, &parts, &part) };
            }
        }
    }
    for (r, acc) in acc.into_iter().enumerate() {
        for (out, acc) in out.iter_mut().zip(acc) {
            // SAFETY: as for this function.
            out[first + r] = unsafe { L::total(acc) };
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

/// The activations of one span.
pub(super) struct SpanInput<'a> {
    high: &'a [i8; SPAN],
    low: &'a [i8; SPAN],
    d: &'a [f32; SPAN / 32],
    sums: &'a [i32; SPAN / 16],
}

/// The span's dot product on an instruction set.
pub(super) trait Spans {
    /// Partial sums.
    type Acc: Copy;
    /// A span of weights, taken apart.
    type Span;
    /// No sums yet.
    ///
    /// # Safety
    /// For all functions here: the processor has the instruction set.
    unsafe fn zero() -> Self::Acc;
    /// Takes up to a span of weights apart; columns that are missing become zeros. What lies `ahead` bytes on is asked for.
    unsafe fn unpack<F: SpanFormat>(blocks: &[u8], ahead: usize) -> Self::Span;
    /// Adds a span.
    unsafe fn dot<F: BlockFormat>(acc: &mut Self::Acc, weights: &Self::Span, x: &SpanInput<'_>);
    /// The sum of the partial sums.
    unsafe fn total(acc: Self::Acc) -> f32;
}

/// Scales of sub-blocks, with the activations' scale in them, and the sub-blocks' sums of activation codes.
#[inline(always)]
fn scaled<F: BlockFormat>(codes: &Codes, x: &SpanInput<'_>) -> ([f32; 16], [f32; 16]) {
    let subs = SPAN / F::SUB_LEN;
    let (mut scale, mut shift) = ([0.0; 16], [0.0; 16]);
    for sub in 0..subs {
        let (d, sum) = if F::SUB_LEN == 16 {
            (x.d[sub / 2], x.sums[sub])
        } else {
            (x.d[sub], x.sums[2 * sub] + x.sums[2 * sub + 1])
        };
        scale[sub] = codes.scale[sub] * d;
        let offset = if F::HAS_MIN { codes.min[sub] * d } else { -(F::ZERO as f32) * scale[sub] };
        shift[sub] = offset * sum as f32;
    }
    (scale, shift)
}

impl Spans for super::lanes::Plain {
    type Acc = f32;
    type Span = Codes;
    #[inline(always)]
    unsafe fn zero() -> f32 {
        0.0
    }
    #[inline(always)]
    unsafe fn unpack<F: SpanFormat>(blocks: &[u8], _ahead: usize) -> Codes {
        let mut codes = Codes::default();
        unpack_span::<F>(blocks, &mut codes);
        codes
    }
    #[inline(always)]
    unsafe fn dot<F: BlockFormat>(acc: &mut f32, codes: &Codes, x: &SpanInput<'_>) {
        let (scale, shift) = scaled::<F>(codes, x);
        let inputs = x.high.chunks_exact(F::SUB_LEN).zip(x.low.chunks_exact(F::SUB_LEN));
        for (sub, (q, (high, low))) in codes.q.chunks_exact(F::SUB_LEN).zip(inputs).enumerate() {
            let x = high.iter().zip(low).map(|(&h, &l)| 128 * i32::from(h) + i32::from(l));
            let sum: i32 = q.iter().zip(x).map(|(&q, x)| i32::from(q) * x).sum();
            *acc += scale[sub] * sum as f32 + shift[sub];
        }
    }
    #[inline(always)]
    unsafe fn total(acc: f32) -> f32 {
        acc
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::lanes::{Ymm, Zmm};
    use super::super::span::{SpanFormat, ZmmSpan, by_memory};
    use super::{SPAN, SpanInput, Spans, scaled, unpack_span};
    use crate::quant::{BlockFormat, Codes};
    use std::arch::x86_64::*;

    // SAFETY (all bodies): the contract of `Spans` gives the instruction set; loads stay within arrays of known length.
    impl Spans for Zmm {
        type Acc = [__m512; 2];
        type Span = ZmmSpan;
        #[inline(always)]
        unsafe fn zero() -> [__m512; 2] {
            // SAFETY: see above.
            unsafe { [_mm512_setzero_ps(); 2] }
        }
        #[inline(always)]
        unsafe fn unpack<F: SpanFormat>(blocks: &[u8], ahead: usize) -> ZmmSpan {
            let whole = SPAN / F::BLOCK_LEN * F::BLOCK_BYTES;
            // The row's end, and what a short task lacks, is within the prefetcher's reach; addresses past the end are
            // never read, so they needn't exist.
            let ahead = blocks.as_ptr().wrapping_add(ahead);
            // SAFETY: see above; prefetching reads nothing.
            unsafe {
                for line in 0..whole.div_ceil(64) {
                    _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(64 * line).cast());
                }
                if blocks.len() == whole { F::span(blocks) } else { by_memory::<F>(blocks) }
            }
        }
        #[inline(always)]
        unsafe fn dot<F: BlockFormat>(acc: &mut [__m512; 2], w: &ZmmSpan, x: &SpanInput<'_>) {
            // SAFETY: see above.
            unsafe {
                let twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
                let d = _mm512_castps256_ps512(_mm256_loadu_ps(x.d.as_ptr()));
                let d = _mm512_permutexvar_ps(twice, d);
                let sums = _mm512_cvtepi32_ps(_mm512_loadu_si512(x.sums.as_ptr().cast()));
                let scale = _mm512_mul_ps(w.scale, d);
                let offset = if F::HAS_MIN {
                    _mm512_mul_ps(w.min, d)
                } else {
                    _mm512_mul_ps(scale, _mm512_set1_ps(-(F::ZERO as f32)))
                };
                acc[0] = _mm512_fmadd_ps(offset, sums, acc[0]);
                // Lane i of a step holds the columns 4 i to 4 i + 3, so it belongs to the step's scale i / 4.
                let lanes = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
                for step in 0..SPAN / 64 {
                    let high = _mm512_loadu_si512(x.high.as_ptr().add(64 * step).cast());
                    let low = _mm512_loadu_si512(x.low.as_ptr().add(64 * step).cast());
                    let sum = _mm512_slli_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), w.q[step], high), 7);
                    let sum = _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(sum, w.q[step], low));
                    let index = _mm512_add_epi32(lanes, _mm512_set1_epi32(4 * step as i32));
                    // Two chains: one would wait for its own additions.
                    let acc = &mut acc[step % 2];
                    *acc = _mm512_fmadd_ps(sum, _mm512_permutexvar_ps(index, scale), *acc);
                }
            }
        }
        #[inline(always)]
        unsafe fn total(acc: [__m512; 2]) -> f32 {
            // SAFETY: see above.
            unsafe { _mm512_reduce_add_ps(_mm512_add_ps(acc[0], acc[1])) }
        }
    }

    /// Dot products of four codes each.
    ///
    /// # Safety
    /// The processor has AVX2.
    #[inline(always)]
    unsafe fn dot<F: BlockFormat>(q: __m256i, x: __m256i) -> __m256i {
        // SAFETY: by the contract above.
        unsafe {
            if F::ZERO != 128 {
                return _mm256_madd_epi16(_mm256_maddubs_epi16(q, x), _mm256_set1_epi16(1));
            }
            // 8-bit codes would saturate the sums of pairs: their top bit is multiplied on its own.
            let low = _mm256_maddubs_epi16(_mm256_and_si256(q, _mm256_set1_epi8(0x7f)), x);
            let top = _mm256_and_si256(_mm256_srli_epi16(q, 7), _mm256_set1_epi8(1));
            let top = _mm256_madd_epi16(_mm256_maddubs_epi16(top, x), _mm256_set1_epi16(128));
            _mm256_add_epi32(_mm256_madd_epi16(low, _mm256_set1_epi16(1)), top)
        }
    }

    // SAFETY (all bodies): as above.
    impl Spans for Ymm {
        type Acc = __m256;
        type Span = Codes;
        #[inline(always)]
        unsafe fn zero() -> __m256 {
            // SAFETY: see above.
            unsafe { _mm256_setzero_ps() }
        }
        #[inline(always)]
        unsafe fn unpack<F: SpanFormat>(blocks: &[u8], _ahead: usize) -> Codes {
            let mut codes = Codes::default();
            unpack_span::<F>(blocks, &mut codes);
            codes
        }
        #[inline(always)]
        unsafe fn dot<F: BlockFormat>(acc: &mut __m256, codes: &Codes, x: &SpanInput<'_>) {
            let (scale, shift) = scaled::<F>(codes, x);
            // SAFETY: see above.
            unsafe {
                let shift = _mm256_add_ps(_mm256_loadu_ps(shift.as_ptr()), _mm256_loadu_ps(shift.as_ptr().add(8)));
                *acc = _mm256_add_ps(*acc, shift);
                for step in 0..SPAN / 32 {
                    let q = _mm256_loadu_si256(codes.q.as_ptr().add(32 * step).cast());
                    let high = _mm256_loadu_si256(x.high.as_ptr().add(32 * step).cast());
                    let low = _mm256_loadu_si256(x.low.as_ptr().add(32 * step).cast());
                    let high = _mm256_slli_epi32(dot::<F>(q, high), 7);
                    let pairs = _mm256_add_epi32(high, dot::<F>(q, low));
                    let scale = if F::SUB_LEN == 16 {
                        _mm256_set_m128(_mm_set1_ps(scale[2 * step + 1]), _mm_set1_ps(scale[2 * step]))
                    } else {
                        _mm256_set1_ps(scale[step])
                    };
                    *acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(pairs), scale, *acc);
                }
            }
        }
        #[inline(always)]
        unsafe fn total(acc: __m256) -> f32 {
            // SAFETY: see above.
            unsafe {
                let four = _mm_add_ps(_mm256_castps256_ps128(acc), _mm256_extractf128_ps(acc, 1));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)))
            }
        }
    }
}
