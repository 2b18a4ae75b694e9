//! Taking 256 columns of one row apart in the registers of AVX-512.
//!
//! A span becomes four vectors of codes in three to five instructions each: bytes are loaded to both the places where their
//! low and their high bits go, shifted there by counts per 64-bit lane, and masked. Scales come as one vector with a lane
//! per 16 columns for all formats.

use std::arch::x86_64::*;

pub(super) use super::fine::SPAN;
use super::rows::unpack_span;
use crate::quant::{BlockFormat, Codes, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};

/// 256 columns of a row.
#[derive(Clone, Copy)]
pub(super) struct ZmmSpan {
    /// Codes in order.
    pub q: [__m512i; 4],
    /// A factor per 16 columns.
    pub scale: __m512,
    /// An offset per 16 columns.
    pub min: __m512,
}

/// Formats that are taken apart in registers.
pub(super) trait SpanFormat: BlockFormat {
    /// Takes a whole span apart.
    ///
    /// # Safety
    /// The processor has AVX-512 F, BW, VL and DQ; `bytes` is exactly a span of this format.
    #[inline(always)]
    unsafe fn span(bytes: &[u8]) -> ZmmSpan {
        // SAFETY: by the contract.
        unsafe { by_memory::<Self>(bytes) }
    }
}

/// Up to a span of any format, the slow way; columns that are missing become zeros.
///
/// # Safety
/// The processor has AVX-512 F.
#[inline(always)]
pub(super) unsafe fn by_memory<F: BlockFormat + ?Sized>(bytes: &[u8]) -> ZmmSpan {
    let mut codes = Codes::default();
    unpack_span::<F>(bytes, &mut codes);
    // SAFETY: loads stay within arrays of known length.
    unsafe {
        let mut q = [_mm512_setzero_si512(); 4];
        for (i, q) in q.iter_mut().enumerate() {
            *q = _mm512_loadu_si512(codes.q.as_ptr().add(64 * i).cast());
        }
        let (scale, min) = (_mm512_loadu_ps(codes.scale.as_ptr()), _mm512_loadu_ps(codes.min.as_ptr()));
        if F::SUB_LEN == 16 {
            return ZmmSpan { q, scale, min };
        }
        let twice = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
        ZmmSpan { q, scale: _mm512_permutexvar_ps(twice, scale), min: _mm512_permutexvar_ps(twice, min) }
    }
}

/// Low bits of two blocks of 16 bytes in the order of their numbers: low halves of the first, high halves of the first,
/// low halves of the second, and so on.
///
/// # Safety
/// For all functions here: the processor has AVX-512 F, BW, VL and DQ; pointers lead to what is read (alignment 1).
#[inline(always)]
unsafe fn nibbles_of_two(a: *const u8, b: *const u8) -> __m512i {
    // SAFETY: by the contract.
    unsafe {
        let a = _mm512_broadcast_i32x4(_mm_loadu_si128(a.cast()));
        let both = _mm512_mask_broadcast_i32x4(a, 0xff00, _mm_loadu_si128(b.cast()));
        let shifted = _mm512_srlv_epi64(both, _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4));
        _mm512_and_si512(shifted, _mm512_set1_epi8(15))
    }
}

/// The half-precision numbers at `offset` of eight blocks of `block` bytes, each twice.
#[inline(always)]
unsafe fn scales_of_eight(bytes: &[u8], block: usize, offset: usize) -> __m512 {
    let bits = |i: usize| i16::from_le_bytes([bytes[i * block + offset], bytes[i * block + offset + 1]]);
    // SAFETY: by the contract above.
    unsafe {
        let once = _mm_setr_epi16(bits(0), bits(1), bits(2), bits(3), bits(4), bits(5), bits(6), bits(7));
        let twice = _mm256_set_m128i(_mm_unpackhi_epi16(once, once), _mm_unpacklo_epi16(once, once));
        _mm512_cvtph_ps(twice)
    }
}

/// Four bits, and where `HIGH` the fifth from the mask that precedes them.
#[inline(always)]
unsafe fn legacy<F: BlockFormat, const HIGH: bool>(bytes: &[u8]) -> ZmmSpan {
    let bytes = &bytes[..8 * F::BLOCK_BYTES];
    let codes_at = F::BLOCK_BYTES - 16;
    // SAFETY: by the contract above; eight whole blocks are there.
    unsafe {
        // A loop, as in a closure instructions become calls.
        let mut q = [_mm512_setzero_si512(); 4];
        for (i, q) in q.iter_mut().enumerate() {
            let a = bytes.as_ptr().add(2 * i * F::BLOCK_BYTES);
            let b = a.add(F::BLOCK_BYTES);
            *q = nibbles_of_two(a.add(codes_at), b.add(codes_at));
            if HIGH {
                let bits = |p: *const u8| u64::from(p.add(codes_at - 4).cast::<u32>().read_unaligned());
                *q = _mm512_mask_add_epi8(*q, bits(a) | bits(b) << 32, *q, _mm512_set1_epi8(16));
            }
        }
        let scale = scales_of_eight(bytes, F::BLOCK_BYTES, 0);
        let min = if F::HAS_MIN { scales_of_eight(bytes, F::BLOCK_BYTES, 2) } else { _mm512_setzero_ps() };
        ZmmSpan { q, scale, min }
    }
}

impl SpanFormat for Q4_1 {
    #[inline(always)]
    unsafe fn span(bytes: &[u8]) -> ZmmSpan {
        // SAFETY: by the contract.
        unsafe { legacy::<Self, false>(bytes) }
    }
}

impl SpanFormat for Q5_0 {
    #[inline(always)]
    unsafe fn span(bytes: &[u8]) -> ZmmSpan {
        // SAFETY: by the contract.
        unsafe { legacy::<Self, true>(bytes) }
    }
}

impl SpanFormat for Q5_1 {
    #[inline(always)]
    unsafe fn span(bytes: &[u8]) -> ZmmSpan {
        // SAFETY: by the contract.
        unsafe { legacy::<Self, true>(bytes) }
    }
}

impl SpanFormat for Q4_0 {
    #[inline(always)]
    unsafe fn span(bytes: &[u8]) -> ZmmSpan {
        let bytes = &bytes[..144];
        // SAFETY: by the contract; all reads are within the 144 bytes.
        unsafe {
            let p = bytes.as_ptr();
            let mut q = [_mm512_setzero_si512(); 4];
            for (i, q) in q.iter_mut().enumerate() {
                *q = nibbles_of_two(p.add(36 * i + 2), p.add(36 * i + 20));
            }
            // The scale of block b is word 9 b of the first 128 bytes.
            let words =
                _mm512_castsi256_si512(_mm256_setr_epi16(0, 0, 9, 9, 18, 18, 27, 27, 36, 36, 45, 45, 54, 54, 63, 63));
            let (low, high) = (_mm512_loadu_si512(p.cast()), _mm512_loadu_si512(p.add(64).cast()));
            let halves = _mm512_castsi512_si256(_mm512_permutex2var_epi16(low, words, high));
            ZmmSpan { q, scale: _mm512_cvtph_ps(halves), min: _mm512_setzero_ps() }
        }
    }
}

impl SpanFormat for Q8_0 {
    #[inline(always)]
    unsafe fn span(bytes: &[u8]) -> ZmmSpan {
        let bytes = &bytes[..272];
        // SAFETY: by the contract; all reads are within the 272 bytes.
        unsafe {
            let mut q = [_mm512_setzero_si512(); 4];
            for (i, q) in q.iter_mut().enumerate() {
                let p = bytes.as_ptr().add(68 * i);
                let a = _mm512_castsi256_si512(_mm256_loadu_si256(p.add(2).cast()));
                let both = _mm512_inserti64x4(a, _mm256_loadu_si256(p.add(36).cast()), 1);
                *q = _mm512_xor_si512(both, _mm512_set1_epi8(-128));
            }
            ZmmSpan { q, scale: scales_of_eight(bytes, 34, 0), min: _mm512_setzero_ps() }
        }
    }
}

/// The eight 6-bit scales and then the eight offsets of Q4_K and Q5_K, a byte each: as `scales_and_mins` in the quant room,
/// but all at once.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
pub(super) unsafe fn k_scale_codes(block: &[u8]) -> __m128i {
    let block = &block[..16];
    // SAFETY: by the contract; 16 bytes are there.
    unsafe {
        let all = _mm_loadu_si128(block.as_ptr().cast());
        _mm256_castsi256_si128(k_scale_codes_of_two(_mm256_castsi128_si256(all)))
    }
}

/// [`k_scale_codes`] of two blocks' first 16 bytes, a half of the vector each.
///
/// # Safety
/// The processor has AVX2.
#[inline(always)]
pub(super) unsafe fn k_scale_codes_of_two(blocks: __m256i) -> __m256i {
    // SAFETY: by the contract.
    unsafe {
        // Words a, c, b, c of the twelve bytes a, b, c behind the two factors; and those that hold the high bits.
        let low = _mm_setr_epi8(4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
        let high = _mm_setr_epi8(-1, -1, -1, -1, 4, 5, 6, 7, -1, -1, -1, -1, 8, 9, 10, 11);
        let low = _mm256_shuffle_epi8(blocks, _mm256_broadcastsi128_si256(low));
        let high = _mm256_shuffle_epi8(blocks, _mm256_broadcastsi128_si256(high));
        let low = _mm256_srlv_epi32(low, _mm256_broadcastsi128_si256(_mm_setr_epi32(0, 0, 0, 4)));
        let masks = _mm_setr_epi32(0x3f3f_3f3f, 0x0f0f_0f0f, 0x3f3f_3f3f, 0x0f0f_0f0f);
        let low = _mm256_and_si256(low, _mm256_broadcastsi128_si256(masks));
        let high = _mm256_and_si256(_mm256_srli_epi32(high, 2), _mm256_set1_epi8(0x30));
        _mm256_or_si256(low, high)
    }
}

/// The eight scales and then the eight offsets of Q4_K and Q5_K, from the first 16 bytes of their blocks.
///
/// # Safety
/// The processor has AVX-512 F, BW, VL and DQ.
#[inline(always)]
pub(super) unsafe fn k_factors(block: &[u8]) -> __m512 {
    let factors = i32::from_le_bytes([block[0], block[1], block[2], block[3]]);
    // SAFETY: by the contract.
    unsafe {
        // The offsets' factor with its sign turned; the first to the first half, the second to the other.
        let both = _mm512_castps128_ps512(_mm_cvtph_ps(_mm_cvtsi32_si128(factors ^ i32::MIN)));
        let factors = _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1), both);
        _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(k_scale_codes(block))), factors)
    }
}

/// Scales and offsets of Q4_K and Q5_K, each twice.
#[inline(always)]
unsafe fn k_scales(block: &[u8]) -> (__m512, __m512) {
    // SAFETY: by the contract above.
    unsafe {
        let all = k_factors(block);
        let scale = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
        let min = _mm512_add_epi32(scale, _mm512_set1_epi32(8));
        (_mm512_permutexvar_ps(scale, all), _mm512_permutexvar_ps(min, all))
    }
}

/// The 4-bit codes of Q4_K and Q5_K.
#[inline(always)]
unsafe fn paired_nibbles(p: *const u8) -> [__m512i; 4] {
    // SAFETY: by the contract above: 128 bytes are there.
    unsafe {
        let mut q = [_mm512_setzero_si512(); 4];
        for (i, q) in q.iter_mut().enumerate() {
            let both = _mm512_broadcast_i64x4(_mm256_loadu_si256(p.add(32 * i).cast()));
            let shifted = _mm512_srlv_epi64(both, _mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4));
            *q = _mm512_and_si512(shifted, _mm512_set1_epi8(15));
        }
        q
    }
}

impl SpanFormat for Q4K {
    #[inline(always)]
    unsafe fn span(bytes: &[u8]) -> ZmmSpan {
        let bytes = &bytes[..144];
        // SAFETY: by the contract.
        unsafe {
            let (scale, min) = k_scales(bytes);
            ZmmSpan { q: paired_nibbles(bytes.as_ptr().add(16)), scale, min }
        }
    }
}

impl SpanFormat for Q5K {
    #[inline(always)]
    unsafe fn span(bytes: &[u8]) -> ZmmSpan {
        let bytes = &bytes[..176];
        // SAFETY: by the contract.
        unsafe {
            let (scale, min) = k_scales(bytes);
            let mut q = paired_nibbles(bytes.as_ptr().add(48));
            let fifth = _mm512_broadcast_i64x4(_mm256_loadu_si256(bytes.as_ptr().add(16).cast()));
            // Bit 2 i of a byte belongs to the first half of vector i, bit 2 i + 1 to the second: turned to bit 4.
            for (i, q) in q.iter_mut().enumerate() {
                let (a, b) = ((68 - 2 * i as i64) % 64, (67 - 2 * i as i64) % 64);
                let turned = _mm512_rolv_epi64(fifth, _mm512_setr_epi64(a, a, a, a, b, b, b, b));
                *q = _mm512_or_si512(*q, _mm512_and_si512(turned, _mm512_set1_epi8(16)));
            }
            ZmmSpan { q, scale, min }
        }
    }
}

impl SpanFormat for Q6K {
    #[inline(always)]
    unsafe fn span(bytes: &[u8]) -> ZmmSpan {
        let bytes = &bytes[..210];
        // SAFETY: by the contract; all reads are within the 210 bytes.
        unsafe {
            let p = bytes.as_ptr();
            let (nibble, pair) = (_mm512_set1_epi8(15), _mm512_set1_epi8(0x30));
            let mut q = [_mm512_setzero_si512(); 4];
            for half in 0..2 {
                let low = _mm512_loadu_si512(p.add(64 * half).cast());
                let high = _mm512_broadcast_i64x4(_mm256_loadu_si256(p.add(128 + 32 * half).cast()));
                let first = _mm512_sllv_epi64(high, _mm512_setr_epi64(4, 4, 4, 4, 2, 2, 2, 2));
                let second = _mm512_srlv_epi64(high, _mm512_setr_epi64(0, 0, 0, 0, 2, 2, 2, 2));
                let rest = _mm512_srli_epi16(low, 4);
                q[2 * half] = _mm512_or_si512(_mm512_and_si512(low, nibble), _mm512_and_si512(first, pair));
                q[2 * half + 1] = _mm512_or_si512(_mm512_and_si512(rest, nibble), _mm512_and_si512(second, pair));
            }
            let scale = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p.add(192).cast())));
            let d = _mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(u16::from_le_bytes([bytes[208], bytes[209]]))));
            let scale = _mm512_mul_ps(scale, _mm512_broadcastss_ps(d));
            ZmmSpan { q, scale, min: _mm512_setzero_ps() }
        }
    }
}

impl SpanFormat for Q2K {}
impl SpanFormat for Q3K {}
const _: () = assert!(SPAN == 256);
