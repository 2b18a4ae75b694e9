//! Taking 256 columns of one row apart for products of few tokens, with AVX2: 64 columns at a time become 16-bit words in
//! the order of [`fine`](super::fine).
//!
//! Vectors of 256 bits take twice as many instructions as those of [`words`](super::words), so here those beside the dot
//! products count: scales stay in registers, in an order in which each step finds its own without crossing halves.

use std::arch::x86_64::*;

use super::fine::{FineSpan, SPAN};
use super::span::k_scale_codes;
use crate::quant::{BlockFormat, Codes, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};

/// Formats as AVX2 reads them. Those in blocks of 256 columns meet activations in [paired](super::fine::Order::Paired) order:
/// of a step's words, 0 and 2 belong to the first 32 columns, 1 and 3 to the second.
///
/// # Safety
/// For all functions: the processor has AVX2, FMA and F16C, and `bytes` is exactly a span.
pub(super) trait YmmFormat: BlockFormat {
    /// Whether it is taken apart in registers; else it goes through [`Codes`] in memory.
    const IN_YMM: bool = false;
    /// See above.
    const YMM_PAIRED: bool = Self::BLOCK_LEN == SPAN;

    /// The words of 64 columns: half of the vectors' words.
    #[inline(always)]
    unsafe fn ymm_words(_bytes: &[u8], _step: usize) -> [__m256i; 4] {
        unreachable!("taken apart in memory")
    }

    /// The span's scales.
    #[inline(always)]
    unsafe fn ymm_scales(_bytes: &[u8]) -> YmmScales {
        unreachable!("taken apart in memory")
    }
}

/// A span's scales. A step's are those at its number in each half:
///
/// ```text
/// blocks of 32 columns    factor 0: blocks 0, 2, 4, 6 | 1, 3, 5, 7
/// the same, paired        factor 0: blocks 0, 2, 4, 6 | 0, 2, 4, 6        factor 1: 1, 3, 5, 7 | 1, 3, 5, 7
/// of 16, paired           factor 0: blocks 0, 4, 8, 12 | 1, 5, 9, 13      factor 1: 2, 6, 10, 14 | 3, 7, 11, 15
/// ```
#[derive(Clone, Copy)]
pub(super) struct YmmScales {
    /// What the words' products are multiplied by.
    factor: [__m256; 2],
    /// Offsets of formats that have them, in order.
    min: [__m256; 2],
}

/// Which of the numbers 0 to 7 come first.
const EVENS_FIRST: [i32; 8] = [0, 2, 4, 6, 1, 3, 5, 7];

impl YmmScales {
    /// # Safety
    /// For all functions here: the processor has AVX2 and FMA.
    #[inline(always)]
    pub unsafe fn zero() -> YmmScales {
        // SAFETY: by the contract.
        unsafe { YmmScales { factor: [_mm256_setzero_ps(); 2], min: [_mm256_setzero_ps(); 2] } }
    }

    /// Of a span that was taken apart in memory.
    ///
    /// # Safety
    /// As above.
    #[inline(always)]
    pub unsafe fn of_codes<F: YmmFormat>(codes: &Codes) -> YmmScales {
        // SAFETY: by the contract; sixteen numbers are there.
        unsafe {
            let p = codes.min.as_ptr();
            let min = [_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))];
            if F::SUB_LEN == 16 {
                return YmmScales { factor: sixteen(codes.scale.as_ptr()), min };
            }
            let factor = eight(codes.scale.as_ptr());
            YmmScales { factor: if F::YMM_PAIRED { halves_apart(factor) } else { [factor; 2] }, min }
        }
    }

    /// Factors for the sums of a step's columns: of words 0 and 2, and of words 1 and 3.
    ///
    /// # Safety
    /// As above; `step` is below 4.
    #[inline(always)]
    pub unsafe fn of_step(&self, step: usize) -> [__m256; 2] {
        let mut of_step = self.factor;
        for f in &mut of_step {
            // SAFETY: by the contract.
            *f = unsafe {
                match step {
                    0 => _mm256_permute_ps::<0b00_00_00_00>(*f),
                    1 => _mm256_permute_ps::<0b01_01_01_01>(*f),
                    2 => _mm256_permute_ps::<0b10_10_10_10>(*f),
                    _ => _mm256_permute_ps::<0b11_11_11_11>(*f),
                }
            };
        }
        of_step
    }

    /// The offsets' part of a token's product, in eight partial sums, from what [`sums`] makes.
    ///
    /// # Safety
    /// As above.
    #[inline(always)]
    pub unsafe fn offsets<F: YmmFormat>(&self, sums: [__m256; 2]) -> __m256 {
        let offset = if F::HAS_MIN { self.min } else { self.factor };
        // SAFETY: by the contract.
        unsafe {
            let first = _mm256_mul_ps(offset[0], sums[0]);
            if F::SUB_LEN == 16 { _mm256_fmadd_ps(offset[1], sums[1], first) } else { first }
        }
    }
}

/// The sums of a token's codes, in the order of a format's offsets, or of its factors and times what is subtracted from its
/// words.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
pub(super) unsafe fn sums<F: YmmFormat>(x: &FineSpan, zero: i32) -> [__m256; 2] {
    // SAFETY: by the contract; there are sixteen sums, and eight.
    unsafe {
        let (of_16, of_32) = (x.sums.as_ptr(), x.sums_32.as_ptr());
        if F::HAS_MIN {
            return if F::SUB_LEN == 16 {
                [_mm256_load_ps(of_16), _mm256_load_ps(of_16.add(8))]
            } else {
                [_mm256_load_ps(of_32); 2]
            };
        }
        let minus = _mm256_set1_ps(-(zero as f32));
        if F::SUB_LEN == 16 {
            let [a, b] = sixteen(of_16);
            return [_mm256_mul_ps(a, minus), _mm256_mul_ps(b, minus)];
        }
        [_mm256_mul_ps(eight(of_32), minus); 2]
    }
}

/// Eight numbers, evens first.
///
/// # Safety
/// For this and the following functions: the processor has AVX2, FMA and F16C, and there is as much memory as they say.
#[inline(always)]
unsafe fn eight(p: *const f32) -> __m256 {
    // SAFETY: by the contract.
    unsafe { _mm256_permutevar8x32_ps(_mm256_loadu_ps(p), _mm256_loadu_si256(EVENS_FIRST.as_ptr().cast())) }
}

/// Sixteen numbers as [`YmmScales`] has them.
#[inline(always)]
unsafe fn sixteen(p: *const f32) -> [__m256; 2] {
    // SAFETY: by the contract.
    unsafe {
        let (low, high) = (_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8)));
        let first = _mm256_setr_epi32(0, 4, 0, 4, 1, 5, 1, 5);
        let second = _mm256_add_epi32(first, _mm256_set1_epi32(2));
        [
            _mm256_blend_ps::<0b1100_1100>(_mm256_permutevar8x32_ps(low, first), _mm256_permutevar8x32_ps(high, first)),
            _mm256_blend_ps::<0b1100_1100>(
                _mm256_permutevar8x32_ps(low, second),
                _mm256_permutevar8x32_ps(high, second),
            ),
        ]
    }
}

/// The lower half twice, and the upper half.
#[inline(always)]
unsafe fn halves_apart(x: __m256) -> [__m256; 2] {
    // SAFETY: by the contract.
    unsafe { [_mm256_permute2f128_ps::<0x00>(x, x), _mm256_permute2f128_ps::<0x11>(x, x)] }
}

/// 64 codes in order, a byte each, as words: of 32 columns and of the next 32.
#[inline(always)]
pub(super) unsafe fn words_of_bytes<F: YmmFormat>(a: __m256i, b: __m256i) -> [__m256i; 4] {
    // SAFETY: by the contract.
    unsafe {
        let (first, second) = if F::YMM_PAIRED {
            (a, b)
        } else {
            (_mm256_permute2x128_si256::<0x20>(a, b), _mm256_permute2x128_si256::<0x31>(a, b))
        };
        let low = _mm256_set1_epi16(0xff);
        [
            _mm256_and_si256(first, low),
            _mm256_and_si256(second, low),
            _mm256_srli_epi16::<8>(first),
            _mm256_srli_epi16::<8>(second),
        ]
    }
}

/// The nibbles of words that hold four of them each: low, high, low and high ones of two bytes.
#[inline(always)]
unsafe fn nibbles(words: __m256i) -> [__m256i; 4] {
    // SAFETY: by the contract.
    unsafe {
        let nibble = _mm256_set1_epi16(15);
        [
            _mm256_and_si256(words, nibble),
            _mm256_and_si256(_mm256_srli_epi16::<4>(words), nibble),
            _mm256_and_si256(_mm256_srli_epi16::<8>(words), nibble),
            _mm256_srli_epi16::<12>(words),
        ]
    }
}

/// Sixteen bytes of two blocks.
#[inline(always)]
unsafe fn two_halves(a: *const u8, b: *const u8) -> __m256i {
    // SAFETY: by the contract.
    unsafe { _mm256_set_m128i(_mm_loadu_si128(b.cast()), _mm_loadu_si128(a.cast())) }
}

/// The half-precision numbers at `offset` of eight blocks of `block` bytes, evens first.
///
/// They are put together in general registers, which have nothing else to do: each word that is put into a vector would take
/// two of the instructions that there are too many of.
#[inline(always)]
unsafe fn eight_halves(bytes: &[u8], block: usize, offset: usize) -> __m256 {
    let evens = every_second(bytes, block, offset);
    let odds = every_second(bytes, block, block + offset);
    // SAFETY: by the contract.
    unsafe { _mm256_cvtph_ps(_mm_insert_epi64::<1>(_mm_cvtsi64_si128(evens), odds)) }
}

/// The words at `first` and at three places two blocks further on each.
#[inline(always)]
fn every_second(bytes: &[u8], block: usize, first: usize) -> i64 {
    let (mut all, mut i) = (0, 0);
    while i < 4 {
        let at = first + 2 * block * i;
        all |= u64::from(u16::from_le_bytes([bytes[at], bytes[at + 1]])) << (16 * i);
        i += 1;
    }
    all.cast_signed()
}

/// The same in order.
#[inline(always)]
unsafe fn eight_mins(bytes: &[u8], block: usize, offset: usize) -> __m256 {
    // SAFETY: by the contract.
    unsafe {
        let evens_first = eight_halves(bytes, block, offset);
        _mm256_permutevar8x32_ps(evens_first, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7))
    }
}

impl YmmFormat for Q4_0 {
    const IN_YMM: bool = true;
    #[inline(always)]
    unsafe fn ymm_words(bytes: &[u8], step: usize) -> [__m256i; 4] {
        let two = &bytes[36 * step..][..36];
        // SAFETY: by the contract; two blocks are there.
        unsafe { nibbles(two_halves(two.as_ptr().add(2), two.as_ptr().add(20))) }
    }
    #[inline(always)]
    unsafe fn ymm_scales(bytes: &[u8]) -> YmmScales {
        // SAFETY: by the contract.
        unsafe { YmmScales { factor: [eight_halves(&bytes[..144], 18, 0); 2], ..YmmScales::zero() } }
    }
}

impl YmmFormat for Q4_1 {
    const IN_YMM: bool = true;
    #[inline(always)]
    unsafe fn ymm_words(bytes: &[u8], step: usize) -> [__m256i; 4] {
        let two = &bytes[40 * step..][..40];
        // SAFETY: by the contract; two blocks are there.
        unsafe { nibbles(two_halves(two.as_ptr().add(4), two.as_ptr().add(24))) }
    }
    #[inline(always)]
    unsafe fn ymm_scales(bytes: &[u8]) -> YmmScales {
        let bytes = &bytes[..160];
        // SAFETY: by the contract.
        unsafe { YmmScales { factor: [eight_halves(bytes, 20, 0); 2], min: [eight_mins(bytes, 20, 2); 2] } }
    }
}

impl YmmFormat for Q8_0 {
    const IN_YMM: bool = true;
    #[inline(always)]
    unsafe fn ymm_words(bytes: &[u8], step: usize) -> [__m256i; 4] {
        let two = &bytes[68 * step..][..68];
        // SAFETY: by the contract; two blocks are there.
        unsafe {
            let p = two.as_ptr();
            let (a, b) = (two_halves(p.add(2), p.add(36)), two_halves(p.add(18), p.add(52)));
            [
                _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(a)),
                _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(b)),
                _mm256_srai_epi16::<8>(a),
                _mm256_srai_epi16::<8>(b),
            ]
        }
    }
    #[inline(always)]
    unsafe fn ymm_scales(bytes: &[u8]) -> YmmScales {
        // SAFETY: by the contract.
        unsafe { YmmScales { factor: [eight_halves(&bytes[..272], 34, 0); 2], ..YmmScales::zero() } }
    }
}

/// Scales and offsets of Q4_K and Q5_K; `second` times the scales of each second block.
#[inline(always)]
unsafe fn k_scales(block: &[u8], second: f32) -> YmmScales {
    let factors = i32::from_le_bytes([block[0], block[1], block[2], block[3]]);
    // SAFETY: by the contract.
    unsafe {
        // The offsets' factor with its sign turned.
        let both = _mm_cvtph_ps(_mm_cvtsi32_si128(factors ^ i32::MIN));
        let (d, dmin) = (_mm256_broadcastss_ps(both), _mm256_broadcastss_ps(_mm_movehdup_ps(both)));
        let d = _mm256_mul_ps(d, _mm256_setr_ps(1.0, 1.0, 1.0, 1.0, second, second, second, second));
        let evens_first = _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let codes = _mm_shuffle_epi8(k_scale_codes(block), evens_first);
        let scales = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(codes));
        let mins = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_unpackhi_epi64(codes, codes)));
        YmmScales { factor: halves_apart(_mm256_mul_ps(d, scales)), min: [_mm256_mul_ps(dmin, mins); 2] }
    }
}

impl YmmFormat for Q4K {
    const IN_YMM: bool = true;
    /// Those of the second 32 columns are sixteen times too large: they stay where they are in their bytes.
    #[inline(always)]
    unsafe fn ymm_words(bytes: &[u8], step: usize) -> [__m256i; 4] {
        let codes = &bytes[16 + 32 * step..][..32];
        // SAFETY: by the contract; 32 bytes are there.
        unsafe {
            let words = _mm256_loadu_si256(codes.as_ptr().cast());
            let (low, high, rest) = (_mm256_set1_epi16(0x0f), _mm256_set1_epi16(0xf0), _mm256_srli_epi16::<8>(words));
            [
                _mm256_and_si256(words, low),
                _mm256_and_si256(words, high),
                _mm256_and_si256(rest, low),
                _mm256_and_si256(rest, high),
            ]
        }
    }
    #[inline(always)]
    unsafe fn ymm_scales(bytes: &[u8]) -> YmmScales {
        // SAFETY: by the contract.
        unsafe { k_scales(bytes, 1.0 / 16.0) }
    }
}

impl YmmFormat for Q5K {
    const IN_YMM: bool = true;
    #[inline(always)]
    unsafe fn ymm_words(bytes: &[u8], step: usize) -> [__m256i; 4] {
        let (fifth, codes) = (&bytes[16..48], &bytes[48 + 32 * step..][..32]);
        // SAFETY: by the contract; 32 bytes are there in both.
        unsafe {
            let (fifth, codes) = (_mm256_loadu_si256(fifth.as_ptr().cast()), _mm256_loadu_si256(codes.as_ptr().cast()));
            // Bit 2 step of a byte belongs to the first 32 columns, bit 2 step + 1 to the second: turned to bit 4.
            let (first, second) = match step {
                0 => (_mm256_slli_epi16::<4>(fifth), _mm256_slli_epi16::<3>(fifth)),
                1 => (_mm256_slli_epi16::<2>(fifth), _mm256_slli_epi16::<1>(fifth)),
                2 => (fifth, _mm256_srli_epi16::<1>(fifth)),
                _ => (_mm256_srli_epi16::<2>(fifth), _mm256_srli_epi16::<3>(fifth)),
            };
            let (nibble, bit) = (_mm256_set1_epi8(15), _mm256_set1_epi8(16));
            words_of_bytes::<Self>(
                _mm256_or_si256(_mm256_and_si256(codes, nibble), _mm256_and_si256(first, bit)),
                _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16::<4>(codes), nibble), _mm256_and_si256(second, bit)),
            )
        }
    }
    #[inline(always)]
    unsafe fn ymm_scales(bytes: &[u8]) -> YmmScales {
        // SAFETY: by the contract.
        unsafe { k_scales(bytes, 1.0) }
    }
}

impl YmmFormat for Q6K {
    const IN_YMM: bool = true;
    #[inline(always)]
    unsafe fn ymm_words(bytes: &[u8], step: usize) -> [__m256i; 4] {
        let (half, second) = (step / 2, step % 2 == 1);
        let (low, high) = (&bytes[64 * half..][..64], &bytes[128 + 32 * half..][..32]);
        // SAFETY: by the contract; 64 and 32 bytes are there.
        unsafe {
            let (nibble, pair) = (_mm256_set1_epi8(15), _mm256_set1_epi8(0x30));
            let a = _mm256_loadu_si256(low.as_ptr().cast());
            let b = _mm256_loadu_si256(low.as_ptr().add(32).cast());
            let h = _mm256_loadu_si256(high.as_ptr().cast());
            let (a, b) = if second { (_mm256_srli_epi16::<4>(a), _mm256_srli_epi16::<4>(b)) } else { (a, b) };
            let (for_a, for_b) = if second {
                (h, _mm256_srli_epi16::<2>(h))
            } else {
                (_mm256_slli_epi16::<4>(h), _mm256_slli_epi16::<2>(h))
            };
            words_of_bytes::<Self>(
                _mm256_or_si256(_mm256_and_si256(a, nibble), _mm256_and_si256(for_a, pair)),
                _mm256_or_si256(_mm256_and_si256(b, nibble), _mm256_and_si256(for_b, pair)),
            )
        }
    }
    #[inline(always)]
    unsafe fn ymm_scales(bytes: &[u8]) -> YmmScales {
        let tail = &bytes[192..210];
        let d = i32::from(u16::from_le_bytes([tail[16], tail[17]]));
        // SAFETY: by the contract; 16 scales are there.
        unsafe {
            let d = _mm256_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(d)));
            let order = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            let codes = _mm_shuffle_epi8(_mm_loadu_si128(tail.as_ptr().cast()), order);
            let (first, second) = (codes, _mm_unpackhi_epi64(codes, codes));
            let factor = [
                _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(first))),
                _mm256_mul_ps(d, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(second))),
            ];
            YmmScales { factor, ..YmmScales::zero() }
        }
    }
}

impl YmmFormat for Q5_0 {}
impl YmmFormat for Q5_1 {}
impl YmmFormat for Q2K {}
impl YmmFormat for Q3K {}
