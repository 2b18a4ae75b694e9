//! Taking 256 columns of one row apart for products of few tokens: codes become 16-bit words in the order of
//! [`fine`](super::fine), in the registers of AVX-512 ([`ymm`](super::ymm) is for AVX2).
//!
//! Memory gives a core about five bytes per cycle, so the 144 bytes of a span in 4 bits leave some 30 cycles for it. Two
//! bytes of codes in 4 bits are a word that holds four of them: it is masked, shifted and masked again, and so on, which
//! takes seven instructions for 128 columns, and each word meets its activation in one multiplication.

use std::arch::x86_64::*;

use super::fine::FineSpan;
use super::pairs::{paired_scales, paired_scales_of_two};
use super::span::SpanFormat;
use super::ymm::YmmFormat;
use crate::quant::{Q2K, Q3K, Q4_0, Q4_1, Q5_0, Q5_1, Q5K, Q6K, Q8_0};

/// Formats as the products of few tokens read them.
///
/// # Safety
/// For all functions: the processor has the features of the instruction set, and `bytes` is exactly a span.
pub(super) trait WordFormat: SpanFormat + YmmFormat {
    /// Subtracted from a word before it is scaled.
    const WORD_ZERO: i32 = Self::ZERO;
    /// Whether AVX-512 meets activations in [paired](super::fine::Order::Paired) order. Words 0 and 2 then belong to the first of
    /// each two blocks of 32, words 1 and 3 to the second, sixteen times too large: so they stand in their bytes.
    const PAIRED: bool = false;

    /// The words of 128 columns.
    #[inline(always)]
    unsafe fn zmm_words(bytes: &[u8], half: usize) -> [__m512i; 4] {
        // SAFETY: by the contract.
        unsafe {
            let q = Self::span(bytes).q;
            zmm_from_bytes(q[2 * half], q[2 * half + 1])
        }
    }
}

/// A span's scales for AVX-512.
#[derive(Clone, Copy)]
pub(super) struct Scales {
    /// A factor per 16 columns.
    scale: __m512,
    /// What the sums of 16 activations are multiplied by.
    offset: __m512,
}

impl Scales {
    /// # Safety
    /// For all functions here: the processor has the features of `Isa::Avx512`; `bytes` is exactly a span.
    #[inline(always)]
    pub unsafe fn zero() -> Scales {
        // SAFETY: by the contract.
        unsafe { Scales { scale: _mm512_setzero_ps(), offset: _mm512_setzero_ps() } }
    }

    /// # Safety
    /// As above.
    #[inline(always)]
    pub unsafe fn of<F: WordFormat>(bytes: &[u8]) -> Scales {
        // SAFETY: by the contract.
        unsafe {
            if F::PAIRED {
                let both = paired_scales(bytes);
                return Scales { scale: both, offset: both };
            }
            let span = F::span(bytes);
            let zero = _mm512_set1_ps(-(F::WORD_ZERO as f32));
            Scales { scale: span.scale, offset: if F::HAS_MIN { span.min } else { _mm512_mul_ps(span.scale, zero) } }
        }
    }

    /// [`Scales::of`] two rows.
    ///
    /// # Safety
    /// As above, for both.
    #[inline(always)]
    pub unsafe fn of_two<F: WordFormat>(a: &[u8], b: &[u8]) -> [Scales; 2] {
        // SAFETY: by the contract.
        unsafe {
            if F::PAIRED {
                let [a, b] = paired_scales_of_two(a, b);
                return [Scales { scale: a, offset: a }, Scales { scale: b, offset: b }];
            }
            [Scales::of::<F>(a), Scales::of::<F>(b)]
        }
    }

    /// The offsets' part of a token's product, in sixteen partial sums.
    ///
    /// # Safety
    /// As above.
    #[inline(always)]
    pub unsafe fn offsets<F: WordFormat>(&self, x: &FineSpan) -> __m512 {
        // SAFETY: by the contract; sixteen sums are there.
        unsafe {
            if !F::HAS_MIN && F::WORD_ZERO == 0 {
                return _mm512_setzero_ps();
            }
            if F::PAIRED {
                // The offsets are the last eight: the sums of 32 columns, and what is before them in memory, which is masked.
                let eight_before = std::mem::offset_of!(FineSpan, sums_32) - 8 * size_of::<f32>();
                let sums = _mm512_loadu_ps(std::ptr::from_ref(x).byte_add(eight_before).cast());
                return _mm512_maskz_mul_ps(0xff00, self.offset, sums);
            }
            _mm512_mul_ps(self.offset, _mm512_load_ps(x.sums.as_ptr()))
        }
    }

    /// For the sums of 128 columns: factors of the first, and of the second 16 of each 32 columns; in paired order, of the first
    /// and the second of each two blocks of 32.
    ///
    /// # Safety
    /// As above.
    #[inline(always)]
    pub unsafe fn half<F: WordFormat>(&self, half: usize) -> [__m512; 2] {
        // SAFETY: by the contract.
        unsafe {
            // Words 8 b to 8 b + 7 of a vector belong to 32 columns, so their sums are the lanes 4 b to 4 b + 3.
            let lanes = if F::PAIRED {
                _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2)
            } else {
                _mm512_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 6, 6, 6, 6)
            };
            let of_half = if F::PAIRED { 4 } else { 8 };
            let mut scale = [_mm512_setzero_ps(); 2];
            for (second, scale) in scale.iter_mut().enumerate() {
                let index = _mm512_add_epi32(lanes, _mm512_set1_epi32((of_half * half + second) as i32));
                *scale = _mm512_permutexvar_ps(index, self.scale);
            }
            scale
        }
    }
}

/// A span of a row for AVX-512.
#[derive(Clone, Copy)]
pub(super) struct Zmms {
    /// Words of each 128 columns.
    pub w: [[__m512i; 4]; 2],
    /// [`Scales::half`] of each 128 columns.
    pub scale: [[__m512; 2]; 2],
    /// As they come.
    pub scales: Scales,
}

impl Zmms {
    /// # Safety
    /// The processor has the features of `Isa::Avx512`.
    #[inline(always)]
    pub unsafe fn zero() -> Zmms {
        // SAFETY: by the contract.
        unsafe {
            let (none, zero) = (_mm512_setzero_si512(), _mm512_setzero_ps());
            Zmms { w: [[none; 4]; 2], scale: [[zero; 2]; 2], scales: Scales::zero() }
        }
    }

    /// # Safety
    /// The processor has the features of `Isa::Avx512`; `bytes` is exactly a span.
    #[inline(always)]
    pub unsafe fn of<F: WordFormat>(bytes: &[u8]) -> Zmms {
        // SAFETY: by the contract.
        unsafe {
            let scales = Scales::of::<F>(bytes);
            let scale = [scales.half::<F>(0), scales.half::<F>(1)];
            Zmms { w: [F::zmm_words(bytes, 0), F::zmm_words(bytes, 1)], scale, scales }
        }
    }
}

/// 128 codes in order, a byte each, as words.
///
/// # Safety
/// For this and the following functions: the processor has the features of the instruction set, and there is as much
/// memory as they say.
#[inline(always)]
unsafe fn zmm_from_bytes(a: __m512i, b: __m512i) -> [__m512i; 4] {
    // SAFETY: by the contract.
    unsafe {
        // The first 16 of each 32 columns, and the second.
        let (first, second) = (_mm512_shuffle_i32x4(a, b, 0b10_00_10_00), _mm512_shuffle_i32x4(a, b, 0b11_01_11_01));
        let low = _mm512_set1_epi16(0xff);
        [
            _mm512_and_si512(first, low),
            _mm512_and_si512(second, low),
            _mm512_srli_epi16(first, 8),
            _mm512_srli_epi16(second, 8),
        ]
    }
}

/// Of four blocks of `block` words, the eight words from `first` on.
const fn block_words(block: usize, first: usize, skip: usize) -> [i16; 32] {
    assert!(skip <= 32 && 3 * block + first + 8 <= skip + 32);
    // Words below 32 are the first load's; the second one begins `skip` words behind the first's beginning.
    let mut index = [0; 32];
    let mut i = 0;
    while i < 32 {
        let word = i / 8 * block + first + i % 8;
        index[i] = if word < 32 { word as i16 } else { (word - skip + 32) as i16 };
        i += 1;
    }
    index
}

/// The words that `index` names of the 32 at `p` and the 32 that begin `skip` words on.
#[inline(always)]
unsafe fn pick(p: *const u8, skip: usize, index: &[i16; 32]) -> __m512i {
    // SAFETY: by the contract.
    unsafe {
        let index = _mm512_loadu_si512(index.as_ptr().cast());
        let (low, high) = (_mm512_loadu_si512(p.cast()), _mm512_loadu_si512(p.add(2 * skip).cast()));
        _mm512_permutex2var_epi16(low, index, high)
    }
}

/// The nibbles of words that hold four of them each: low, high, low and high ones of two bytes.
#[inline(always)]
unsafe fn zmm_nibbles(words: __m512i) -> [__m512i; 4] {
    // SAFETY: by the contract.
    unsafe {
        let nibble = _mm512_set1_epi16(15);
        [
            _mm512_and_si512(words, nibble),
            _mm512_and_si512(_mm512_srli_epi16(words, 4), nibble),
            _mm512_and_si512(_mm512_srli_epi16(words, 8), nibble),
            _mm512_srli_epi16(words, 12),
        ]
    }
}

impl WordFormat for Q4_0 {
    #[inline(always)]
    unsafe fn zmm_words(bytes: &[u8], half: usize) -> [__m512i; 4] {
        const FIRST: [i16; 32] = block_words(9, 1, 32);
        const SECOND: [i16; 32] = block_words(9, 5, 8);
        let bytes = &bytes[..144];
        // Both halves and the scales read the same three vectors: loads that cross cache lines count.
        // SAFETY: by the contract; 72 words are there.
        unsafe {
            let p = bytes.as_ptr();
            zmm_nibbles(if half == 0 { pick(p, 32, &FIRST) } else { pick(p.add(64), 8, &SECOND) })
        }
    }
}

impl WordFormat for Q4_1 {
    #[inline(always)]
    unsafe fn zmm_words(bytes: &[u8], half: usize) -> [__m512i; 4] {
        const INDEX: [i16; 32] = block_words(10, 2, 8);
        let half = &bytes[80 * half..][..80];
        // SAFETY: by the contract; 40 words are there.
        unsafe { zmm_nibbles(pick(half.as_ptr(), 8, &INDEX)) }
    }
}

impl WordFormat for Q8_0 {
    const WORD_ZERO: i32 = 0;
    #[inline(always)]
    unsafe fn zmm_words(bytes: &[u8], half: usize) -> [__m512i; 4] {
        const FIRST: [i16; 32] = block_words(17, 1, 32);
        const SECOND: [i16; 32] = block_words(17, 5, 32);
        let half = &bytes[136 * half..][..136];
        // SAFETY: by the contract; 68 words are there.
        unsafe {
            let (a, b) = (pick(half.as_ptr(), 32, &FIRST), pick(half.as_ptr().add(8), 32, &SECOND));
            [
                _mm512_srai_epi16(_mm512_slli_epi16(a, 8), 8),
                _mm512_srai_epi16(_mm512_slli_epi16(b, 8), 8),
                _mm512_srai_epi16(a, 8),
                _mm512_srai_epi16(b, 8),
            ]
        }
    }
}

impl WordFormat for Q5_0 {}
impl WordFormat for Q5_1 {}
impl WordFormat for Q2K {}
impl WordFormat for Q3K {}
impl WordFormat for Q5K {}
impl WordFormat for Q6K {}
