//! [`Spans`] with AVX2: 64 columns of a row at a time meet the activations while they are in registers.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::fine::FineSpan;
use super::lanes::Ymm;
use super::rows::{Spans, unpack_span};
use super::words::WordFormat;
use super::ymm::{YmmScales, sums, words_of_bytes};
use crate::quant::Codes;

/// A row's span for AVX2.
#[derive(Clone, Copy)]
struct YmmRow<'a> {
    /// Its blocks; or its codes, where those were taken apart in memory.
    bytes: &'a [u8],
    scales: YmmScales,
}

impl YmmRow<'_> {
    /// No row yet.
    ///
    /// # Safety
    /// AVX2 is enabled in the caller.
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: by the contract.
        YmmRow { bytes: &[], scales: unsafe { YmmScales::zero() } }
    }

    /// The words of a step.
    ///
    /// # Safety
    /// AVX2 is enabled in the caller.
    #[inline(always)]
    unsafe fn words<F: WordFormat>(&self, step: usize) -> [__m256i; 4] {
        // SAFETY: by the contract; where they were taken apart in memory, 64 codes are there.
        unsafe {
            if F::IN_YMM {
                return F::ymm_words(self.bytes, step);
            }
            let codes = self.bytes[64 * step..][..64].as_ptr();
            words_of_bytes::<F>(_mm256_loadu_si256(codes.cast()), _mm256_loadu_si256(codes.add(32).cast()))
        }
    }
}

/// Adds the products of the 64 columns from `64 · S` on.
///
/// # Safety
/// AVX2 and FMA are enabled in the caller.
#[inline(always)]
unsafe fn step<F: WordFormat, const T: usize, const R: usize, const S: usize>(
    rows: &[YmmRow<'_>; R],
    x: &[&FineSpan; T],
    all: &mut [[__m256; T]; R],
) {
    // SAFETY: by the contract; loads are halves of the eight vectors.
    unsafe {
        for (row, all) in rows.iter().zip(all) {
            let (w, scale) = (row.words::<F>(S), row.scales.of_step(S));
            for (x, all) in x.iter().zip(all) {
                let mut products = [_mm256_setzero_si256(); 4];
                for (v, product) in products.iter_mut().enumerate() {
                    let q = x.q[4 * (S / 2) + v].as_ptr().add(16 * (S % 2));
                    *product = _mm256_madd_epi16(w[v], _mm256_load_si256(q.cast()));
                }
                let first = _mm256_add_epi32(products[0], products[2]);
                let second = _mm256_add_epi32(products[1], products[3]);
                if F::YMM_PAIRED {
                    *all = _mm256_fmadd_ps(_mm256_cvtepi32_ps(first), scale[0], *all);
                    *all = _mm256_fmadd_ps(_mm256_cvtepi32_ps(second), scale[1], *all);
                } else {
                    let sum = _mm256_cvtepi32_ps(_mm256_add_epi32(first, second));
                    *all = _mm256_fmadd_ps(sum, scale[0], *all);
                }
            }
        }
    }
}

// SAFETY (all bodies): the contract of `Spans` gives the instruction set; loads stay within arrays of known length.
impl Spans for Ymm {
    type Acc = __m256;
    const TOKENS: usize = 4;
    const PAIRS: usize = 1;
    #[inline(always)]
    unsafe fn zero() -> __m256 {
        // SAFETY: see above.
        unsafe { _mm256_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn dot<F: WordFormat, const T: usize, const R: usize>(
        rows: [&[u8]; R],
        x: [&FineSpan; T],
        acc: &mut [[__m256; T]; R],
    ) {
        // SAFETY: see above.
        unsafe {
            // Loops over arrays, not closures, and steps that are constants: else scales and sums go through memory.
            let mut parts = [YmmRow::zero(); R];
            let mut held = [const { MaybeUninit::<Codes>::uninit() }; R];
            for ((part, row), held) in parts.iter_mut().zip(rows).zip(&mut held) {
                part.bytes = row;
                if F::IN_YMM {
                    part.scales = F::ymm_scales(row);
                } else {
                    let codes = held.write(Codes::default());
                    unpack_span::<F>(row, codes);
                    (part.bytes, part.scales) = (&codes.q, YmmScales::of_codes::<F>(codes));
                }
            }
            let mut all = [[_mm256_setzero_ps(); T]; R];
            if F::HAS_MIN || F::WORD_ZERO != 0 {
                for (t, x) in x.iter().enumerate() {
                    let sums = sums::<F>(x, F::WORD_ZERO);
                    for (all, part) in all.iter_mut().zip(&parts) {
                        all[t] = part.scales.offsets::<F>(sums);
                    }
                }
            }
            step::<F, T, R, 0>(&parts, &x, &mut all);
            step::<F, T, R, 1>(&parts, &x, &mut all);
            step::<F, T, R, 2>(&parts, &x, &mut all);
            step::<F, T, R, 3>(&parts, &x, &mut all);
            for (all, acc) in all.iter().zip(acc) {
                for ((x, all), acc) in x.iter().zip(all).zip(acc) {
                    *acc = _mm256_fmadd_ps(*all, _mm256_set1_ps(x.d), *acc);
                }
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
