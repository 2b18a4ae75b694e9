//! Taking 256 columns of one row apart for products of few tokens: codes become 16-bit words in the order of
//! [`fine`](super::fine), in the registers of AVX-512 or AVX2.
//!
//! Memory gives a core about five bytes per cycle, so the 144 bytes of a span in 4 bits leave some 30 cycles for it. Two
//! bytes of codes in 4 bits are a word that holds four of them: it is masked, shifted and masked again, and so on, which
//! takes seven instructions for 128 columns (64 with AVX2), and each word meets its activation in one multiplication.

use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::fine::{FineSpan, SPAN};
use super::pairs::{paired_scales, paired_scales_of_two};
use super::rows::unpack_span;
use super::span::{SpanFormat, k_scale_codes};
use crate::quant::{Codes, Q2K, Q3K, Q4_0, Q4_1, Q5_0, Q5_1, Q5K, Q6K, Q8_0};

/// Formats as the products of few tokens read them.
///
/// # Safety
/// For all functions: the processor has the features of the instruction set, and `bytes` is exactly a span.
pub(super) trait WordFormat: SpanFormat {
    /// Subtracted from a word before it is scaled.
    const WORD_ZERO: i32 = Self::ZERO;
    /// Whether AVX2 takes it apart in registers; else it goes through [`Codes`] in memory.
    const IN_YMM: bool = false;
    /// Whether it meets activations in [paired](super::fine::Order::Paired) order. Words 0 and 2 then belong to the first of
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

    /// The words of 64 columns: half of the vectors' words.
    #[inline(always)]
    unsafe fn ymm_words(_bytes: &[u8], _step: usize) -> [__m256i; 4] {
        unreachable!("taken apart in memory")
    }

    /// A scale per sub-block, and an offset where the format has them.
    #[inline(always)]
    unsafe fn ymm_scales(_bytes: &[u8], _scale: &mut [f32; 16], _min: &mut [f32; 16]) {
        unreachable!("taken apart in memory")
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

/// A span of a row for AVX2: words are taken apart when they are asked for.
pub(super) struct Ymms<'a, F> {
    bytes: &'a [u8],
    /// For formats that are taken apart in memory.
    q: [u8; SPAN],
    /// Per sub-block.
    scale: [f32; 16],
    /// What the sums of a sub-block's activations are multiplied by.
    offset: [f32; 16],
    format: PhantomData<F>,
}

impl<F> Ymms<'_, F> {
    /// No row yet.
    pub const fn zero() -> Self {
        Ymms { bytes: &[], q: [0; SPAN], scale: [0.0; 16], offset: [0.0; 16], format: PhantomData }
    }
}

impl<'a, F: WordFormat> Ymms<'a, F> {
    /// # Safety
    /// For all functions here: the processor has the features of `Isa::Avx2`; `bytes` is exactly a span.
    #[inline(always)]
    pub unsafe fn set(&mut self, bytes: &'a [u8]) {
        self.bytes = bytes;
        if F::IN_YMM {
            // SAFETY: by the contract.
            unsafe { F::ymm_scales(bytes, &mut self.scale, &mut self.offset) };
        } else {
            let mut codes = Codes::default();
            unpack_span::<F>(bytes, &mut codes);
            (self.q, self.scale, self.offset) = (codes.q, codes.scale, codes.min);
        }
        if !F::HAS_MIN && F::WORD_ZERO != 0 {
            for (offset, scale) in self.offset.iter_mut().zip(&self.scale[..SPAN / F::SUB_LEN]) {
                *offset = -(F::WORD_ZERO as f32) * scale;
            }
        }
    }

    /// The words of columns `64 step` to `64 step + 63`.
    ///
    /// # Safety
    /// As above; `step` is below 4.
    #[inline(always)]
    pub unsafe fn words(&self, step: usize) -> [__m256i; 4] {
        // SAFETY: by the contract; 64 codes are there.
        unsafe {
            if F::IN_YMM {
                return F::ymm_words(self.bytes, step);
            }
            let p = self.q.as_ptr().add(64 * step);
            ymm_from_bytes(_mm256_loadu_si256(p.cast()), _mm256_loadu_si256(p.add(32).cast()))
        }
    }

    /// Factors for the sums of a step's columns: of the first, and of the second 16 of each 32; in paired order, of the first 32
    /// and of the second.
    ///
    /// # Safety
    /// As above; `step` is below 4.
    #[inline(always)]
    pub unsafe fn scales(&self, step: usize) -> [__m256; 2] {
        // SAFETY: by the contract; 16 scales are there, of which sub-blocks of 32 use the first 8.
        unsafe {
            if F::PAIRED {
                let p = self.scale.as_ptr().add(2 * step);
                return [_mm256_set1_ps(*p), _mm256_set1_ps(*p.add(1))];
            }
            if F::SUB_LEN == 16 {
                let four = self.scale.as_ptr().add(4 * step).cast::<__m128>().read_unaligned();
                let four = _mm256_broadcast_ps(&four);
                let first = _mm256_permutevar_ps(four, _mm256_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2));
                return [first, _mm256_permutevar_ps(four, _mm256_setr_epi32(1, 1, 1, 1, 3, 3, 3, 3))];
            }
            let two = self.scale.as_ptr().add(2 * step).cast::<f64>().read_unaligned();
            let two = _mm256_castpd_ps(_mm256_set1_pd(two));
            let both = _mm256_permutevar_ps(two, _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
            [both, both]
        }
    }

    /// The offsets' part of the product, in eight partial sums.
    ///
    /// # Safety
    /// As above.
    #[inline(always)]
    pub unsafe fn offsets(&self, x: &FineSpan) -> __m256 {
        // SAFETY: by the contract; loads are within arrays of 16 and 8.
        unsafe {
            let p = self.offset.as_ptr();
            if F::SUB_LEN == 16 {
                let first = _mm256_mul_ps(_mm256_loadu_ps(p), _mm256_load_ps(x.sums.as_ptr()));
                return _mm256_fmadd_ps(_mm256_loadu_ps(p.add(8)), _mm256_load_ps(x.sums.as_ptr().add(8)), first);
            }
            _mm256_mul_ps(_mm256_loadu_ps(p), _mm256_load_ps(x.sums_32.as_ptr()))
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

/// 64 codes in order, a byte each, as words.
#[inline(always)]
unsafe fn ymm_from_bytes(a: __m256i, b: __m256i) -> [__m256i; 4] {
    // SAFETY: by the contract.
    unsafe {
        let (first, second) = (_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
        let low = _mm256_set1_epi16(0xff);
        [
            _mm256_and_si256(first, low),
            _mm256_and_si256(second, low),
            _mm256_srli_epi16(first, 8),
            _mm256_srli_epi16(second, 8),
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

/// The same for AVX2.
#[inline(always)]
unsafe fn ymm_nibbles(words: __m256i) -> [__m256i; 4] {
    // SAFETY: by the contract.
    unsafe {
        let nibble = _mm256_set1_epi16(15);
        [
            _mm256_and_si256(words, nibble),
            _mm256_and_si256(_mm256_srli_epi16(words, 4), nibble),
            _mm256_and_si256(_mm256_srli_epi16(words, 8), nibble),
            _mm256_srli_epi16(words, 12),
        ]
    }
}

/// Sixteen bytes of two blocks.
#[inline(always)]
unsafe fn two_halves(a: *const u8, b: *const u8) -> __m256i {
    // SAFETY: by the contract.
    unsafe { _mm256_set_m128i(_mm_loadu_si128(b.cast()), _mm_loadu_si128(a.cast())) }
}

/// The half-precision numbers at `offset` of eight blocks of `block` bytes.
#[inline(always)]
unsafe fn eight_halves(bytes: &[u8], block: usize, offset: usize, out: &mut [f32; 16]) {
    let bits = |i: usize| i16::from_le_bytes([bytes[i * block + offset], bytes[i * block + offset + 1]]);
    // SAFETY: by the contract.
    unsafe {
        let eight = _mm_setr_epi16(bits(0), bits(1), bits(2), bits(3), bits(4), bits(5), bits(6), bits(7));
        _mm256_storeu_ps(out.as_mut_ptr(), _mm256_cvtph_ps(eight));
    }
}

impl WordFormat for Q4_0 {
    const IN_YMM: bool = true;
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
    #[inline(always)]
    unsafe fn ymm_words(bytes: &[u8], step: usize) -> [__m256i; 4] {
        let two = &bytes[36 * step..][..36];
        // SAFETY: by the contract; two blocks are there.
        unsafe { ymm_nibbles(two_halves(two.as_ptr().add(2), two.as_ptr().add(20))) }
    }
    #[inline(always)]
    unsafe fn ymm_scales(bytes: &[u8], scale: &mut [f32; 16], _min: &mut [f32; 16]) {
        // SAFETY: by the contract.
        unsafe { eight_halves(&bytes[..144], 18, 0, scale) };
    }
}

impl WordFormat for Q4_1 {
    const IN_YMM: bool = true;
    #[inline(always)]
    unsafe fn zmm_words(bytes: &[u8], half: usize) -> [__m512i; 4] {
        const INDEX: [i16; 32] = block_words(10, 2, 8);
        let half = &bytes[80 * half..][..80];
        // SAFETY: by the contract; 40 words are there.
        unsafe { zmm_nibbles(pick(half.as_ptr(), 8, &INDEX)) }
    }
    #[inline(always)]
    unsafe fn ymm_words(bytes: &[u8], step: usize) -> [__m256i; 4] {
        let two = &bytes[40 * step..][..40];
        // SAFETY: by the contract; two blocks are there.
        unsafe { ymm_nibbles(two_halves(two.as_ptr().add(4), two.as_ptr().add(24))) }
    }
    #[inline(always)]
    unsafe fn ymm_scales(bytes: &[u8], scale: &mut [f32; 16], min: &mut [f32; 16]) {
        // SAFETY: by the contract.
        unsafe {
            eight_halves(&bytes[..160], 20, 0, scale);
            eight_halves(&bytes[..160], 20, 2, min);
        }
    }
}

impl WordFormat for Q8_0 {
    const WORD_ZERO: i32 = 0;
    const IN_YMM: bool = true;
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
    #[inline(always)]
    unsafe fn ymm_words(bytes: &[u8], step: usize) -> [__m256i; 4] {
        let two = &bytes[68 * step..][..68];
        // SAFETY: by the contract; two blocks are there.
        unsafe {
            let p = two.as_ptr();
            let (a, b) = (two_halves(p.add(2), p.add(36)), two_halves(p.add(18), p.add(52)));
            [
                _mm256_srai_epi16(_mm256_slli_epi16(a, 8), 8),
                _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8),
                _mm256_srai_epi16(a, 8),
                _mm256_srai_epi16(b, 8),
            ]
        }
    }
    #[inline(always)]
    unsafe fn ymm_scales(bytes: &[u8], scale: &mut [f32; 16], _min: &mut [f32; 16]) {
        // SAFETY: by the contract.
        unsafe { eight_halves(&bytes[..272], 34, 0, scale) };
    }
}

/// Scales and offsets of Q4_K and Q5_K.
#[inline(always)]
pub(super) unsafe fn k_scales(block: &[u8], scale: &mut [f32; 16], min: &mut [f32; 16]) {
    let factors = i32::from_le_bytes([block[0], block[1], block[2], block[3]]);
    // SAFETY: by the contract; eight numbers fit both arrays.
    unsafe {
        // The offsets' factor with its sign turned.
        let both = _mm_cvtph_ps(_mm_cvtsi32_si128(factors ^ i32::MIN));
        let (d, dmin) = (_mm256_broadcastss_ps(both), _mm256_broadcastss_ps(_mm_movehdup_ps(both)));
        let codes = k_scale_codes(block);
        let scales = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(codes));
        let mins = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_unpackhi_epi64(codes, codes)));
        _mm256_storeu_ps(scale.as_mut_ptr(), _mm256_mul_ps(d, scales));
        _mm256_storeu_ps(min.as_mut_ptr(), _mm256_mul_ps(dmin, mins));
    }
}

/// The nibbles of 32 bytes that hold two sub-blocks, the first in the low halves.
#[inline(always)]
unsafe fn ymm_paired(p: *const u8) -> [__m256i; 4] {
    // SAFETY: by the contract; 32 bytes are there.
    unsafe {
        let (counts, nibble) = (_mm256_setr_epi64x(0, 0, 4, 4), _mm256_set1_epi16(15));
        let a = _mm256_srlv_epi64(_mm256_broadcastsi128_si256(_mm_loadu_si128(p.cast())), counts);
        let b = _mm256_srlv_epi64(_mm256_broadcastsi128_si256(_mm_loadu_si128(p.add(16).cast())), counts);
        [
            _mm256_and_si256(a, nibble),
            _mm256_and_si256(b, nibble),
            _mm256_and_si256(_mm256_srli_epi16(a, 8), nibble),
            _mm256_and_si256(_mm256_srli_epi16(b, 8), nibble),
        ]
    }
}

impl WordFormat for Q5K {
    const IN_YMM: bool = true;
    #[inline(always)]
    unsafe fn ymm_words(bytes: &[u8], step: usize) -> [__m256i; 4] {
        let (fifth, codes) = (&bytes[16..48], &bytes[48 + 32 * step..][..32]);
        // SAFETY: by the contract; 32 bytes are there in both.
        unsafe {
            let low = ymm_paired(codes.as_ptr());
            // Bit 2 step of a byte belongs to the first sub-block, bit 2 step + 1 to the second: turned to bit 4.
            let bit = 2 * step as i64;
            let right = _mm256_setr_epi64x(bit, bit, bit + 1, bit + 1);
            let mut bits = [_mm256_setzero_si256(); 2];
            for (i, bits) in bits.iter_mut().enumerate() {
                let both = _mm256_broadcastsi128_si256(_mm_loadu_si128(fifth.as_ptr().add(16 * i).cast()));
                let one = _mm256_and_si256(_mm256_srlv_epi64(both, right), _mm256_set1_epi8(1));
                *bits = _mm256_slli_epi16(one, 4);
            }
            let ([a, b], byte) = (bits, _mm256_set1_epi16(0xff));
            [
                _mm256_or_si256(low[0], _mm256_and_si256(a, byte)),
                _mm256_or_si256(low[1], _mm256_and_si256(b, byte)),
                _mm256_or_si256(low[2], _mm256_srli_epi16(a, 8)),
                _mm256_or_si256(low[3], _mm256_srli_epi16(b, 8)),
            ]
        }
    }
    #[inline(always)]
    unsafe fn ymm_scales(bytes: &[u8], scale: &mut [f32; 16], min: &mut [f32; 16]) {
        // SAFETY: by the contract.
        unsafe { k_scales(bytes, scale, min) };
    }
}

impl WordFormat for Q6K {
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
            let (a, b) = if second { (_mm256_srli_epi16(a, 4), _mm256_srli_epi16(b, 4)) } else { (a, b) };
            let (for_a, for_b) =
                if second { (h, _mm256_srli_epi16(h, 2)) } else { (_mm256_slli_epi16(h, 4), _mm256_slli_epi16(h, 2)) };
            ymm_from_bytes(
                _mm256_or_si256(_mm256_and_si256(a, nibble), _mm256_and_si256(for_a, pair)),
                _mm256_or_si256(_mm256_and_si256(b, nibble), _mm256_and_si256(for_b, pair)),
            )
        }
    }
    #[inline(always)]
    unsafe fn ymm_scales(bytes: &[u8], scale: &mut [f32; 16], _min: &mut [f32; 16]) {
        let tail = &bytes[192..210];
        let d = i32::from(u16::from_le_bytes([tail[16], tail[17]]));
        // SAFETY: by the contract; 16 scales are there, and as many fit.
        unsafe {
            let d = _mm256_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(d)));
            let codes = _mm_loadu_si128(tail.as_ptr().cast());
            for (i, codes) in [codes, _mm_unpackhi_epi64(codes, codes)].into_iter().enumerate() {
                let eight = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes));
                _mm256_storeu_ps(scale.as_mut_ptr().add(8 * i), _mm256_mul_ps(d, eight));
            }
        }
    }
}

impl WordFormat for Q5_0 {}
impl WordFormat for Q5_1 {}
impl WordFormat for Q2K {}
impl WordFormat for Q3K {}
