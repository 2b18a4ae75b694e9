//! Q4_K's words for products of few tokens: its bytes hold a column of 32 in their low halves and one of the next 32 in their
//! high ones. Both stay where they are, the high ones as sixteen times their value, and so a shift takes four apart.

use std::arch::x86_64::*;

use super::span::{k_scale_codes, k_scale_codes_of_two};
use super::words::WordFormat;
use crate::quant::Q4K;

/// The nibbles of words as [`WordFormat::PAIRED`] has them: a shift for four.
#[inline(always)]
unsafe fn zmm_pairs(words: __m512i) -> [__m512i; 4] {
    // SAFETY: by the contract.
    unsafe {
        let (low, high, rest) = (_mm512_set1_epi16(0x0f), _mm512_set1_epi16(0xf0), _mm512_srli_epi16(words, 8));
        [
            _mm512_and_si512(words, low),
            _mm512_and_si512(words, high),
            _mm512_and_si512(rest, low),
            _mm512_and_si512(rest, high),
        ]
    }
}

/// What each second factor is multiplied by in paired order.
const SIXTEENTHS: [f32; 8] = [1.0, 0.0625, 1.0, 0.0625, 1.0, 0.0625, 1.0, 0.0625];

/// [`paired_scales`] of two blocks: most of it is done for both at once.
#[inline(always)]
pub(super) unsafe fn paired_scales_of_two(a: &[u8], b: &[u8]) -> [__m512; 2] {
    let (a, b) = (&a[..16], &b[..16]);
    // SAFETY: by the contract; 16 bytes are there in both.
    unsafe {
        let (a, b) = (_mm_loadu_si128(a.as_ptr().cast()), _mm_loadu_si128(b.as_ptr().cast()));
        // Scale and offset of either block, the offsets with their signs turned; and sixteenths of all.
        let halves = _mm_xor_si128(_mm_unpacklo_epi32(a, b), _mm_set1_epi32(i32::MIN));
        let whole = _mm_cvtph_ps(halves);
        let all = _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(whole), _mm_mul_ps(whole, _mm_set1_ps(0.0625)));
        let all = _mm512_castps256_ps512(all);
        let codes = k_scale_codes_of_two(_mm256_inserti128_si256::<1>(_mm256_castsi128_si256(a), b));
        let first = _mm512_setr_epi32(0, 4, 0, 4, 0, 4, 0, 4, 1, 1, 1, 1, 1, 1, 1, 1);
        let second = _mm512_add_epi32(first, _mm512_set1_epi32(2));
        let (low, high) = (_mm256_castsi256_si128(codes), _mm256_extracti128_si256::<1>(codes));
        [
            _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(low)), _mm512_permutexvar_ps(first, all)),
            _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(high)), _mm512_permutexvar_ps(second, all)),
        ]
    }
}

/// The eight scales of a Q4_K block, each second a sixteenth of what it is, and the eight offsets.
#[inline(always)]
pub(super) unsafe fn paired_scales(block: &[u8]) -> __m512 {
    let factors = i32::from_le_bytes([block[0], block[1], block[2], block[3]]);
    // SAFETY: by the contract.
    unsafe {
        // The offsets' factor with its sign turned.
        let both = _mm_cvtph_ps(_mm_cvtsi32_si128(factors ^ i32::MIN));
        let scale = _mm256_mul_ps(_mm256_broadcastss_ps(both), _mm256_loadu_ps(SIXTEENTHS.as_ptr()));
        let factors =
            _mm512_insertf32x8::<1>(_mm512_castps256_ps512(scale), _mm256_broadcastss_ps(_mm_movehdup_ps(both)));
        _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(k_scale_codes(block))), factors)
    }
}

impl WordFormat for Q4K {
    const PAIRED: bool = true;
    #[inline(always)]
    unsafe fn zmm_words(bytes: &[u8], half: usize) -> [__m512i; 4] {
        let codes = &bytes[16 + 64 * half..][..64];
        // SAFETY: by the contract; 64 bytes are there.
        unsafe { zmm_pairs(_mm512_loadu_si512(codes.as_ptr().cast())) }
    }
}
