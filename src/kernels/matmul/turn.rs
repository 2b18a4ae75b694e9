//! Taking a panel's rows apart for [`panel`](super::panel) in the registers of AVX-512: spans of 256 columns as in
//! [`span`](super::span), then 16 rows by 16 words are turned at a time, so that rows become lanes. Q4_K's are turned as they
//! come, and taken apart afterwards: half as many words are moved.

use std::arch::x86_64::*;

use super::panel::{CHUNK, ROWS, TileParts};
use super::span::{SPAN, SpanFormat, by_memory, k_factors};
use crate::quant::{BlockFormat, Q4K};

/// Words of a row in a tile.
const WORDS: usize = CHUNK / 4;
/// Scales of a row in a tile: one per 16 columns.
const SCALES: usize = CHUNK / 16;

/// Rows of a tile as they come, before they are turned; codes of missing rows and columns are whatever was there.
#[derive(Clone)]
#[repr(C, align(64))]
pub(super) struct Staging {
    /// Codes, `[row][column]`
    q: [[u8; CHUNK]; ROWS],
    /// `[row][column / 16]`
    scale: [[f32; SCALES]; ROWS],
    /// `[row][column / 16]`
    min: [[f32; SCALES]; ROWS],
}

impl Default for Staging {
    fn default() -> Self {
        Staging { q: [[0; CHUNK]; ROWS], scale: [[0.0; SCALES]; ROWS], min: [[0.0; SCALES]; ROWS] }
    }
}

/// Takes a tile apart: of every row (`rows` yields at most 32) its bytes of the tile's `n` columns.
///
/// # Safety
/// The processor has the features of `Isa::Avx512`; each item has whole blocks of `n <= 512` columns.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c,bmi1,bmi2")]
pub(super) unsafe fn unpack<'a, F: SpanFormat>(
    rows: impl ExactSizeIterator<Item = &'a [u8]>,
    n: usize,
    s: &mut Staging,
    out: TileParts<'_>,
) {
    let present = rows.len();
    assert!(present <= ROWS && n <= CHUNK && n.is_multiple_of(F::SUB_LEN));
    let span_bytes = SPAN / F::BLOCK_LEN * F::BLOCK_BYTES;
    for (row, bytes) in rows.enumerate() {
        let (codes, scales, mins) = (&mut s.q[row], &mut s.scale[row], &mut s.min[row]);
        for (i, bytes) in bytes.chunks(span_bytes).enumerate().take(CHUNK / SPAN) {
            // SAFETY: the features are enabled here; a span has 256 codes and 16 scales, and `i` is below 2, so that
            // all stores are within a row of the staging.
            unsafe {
                let span = if bytes.len() == span_bytes { F::span(bytes) } else { by_memory::<F>(bytes) };
                for (k, q) in span.q.into_iter().enumerate() {
                    _mm512_storeu_si512(codes.as_mut_ptr().add(SPAN * i + 64 * k).cast(), q);
                }
                _mm512_storeu_ps(scales.as_mut_ptr().add(16 * i), span.scale);
                if F::HAS_MIN {
                    _mm512_storeu_ps(mins.as_mut_ptr().add(16 * i), span.min);
                }
            }
        }
    }
    // Rows that are missing count nothing, whatever their codes are.
    for row in present..ROWS {
        s.scale[row].fill(0.0);
        s.min[row].fill(0.0);
    }
    let TileParts { q, scale, min, .. } = out;
    assert!(q.len() >= ROWS * CHUNK && scale.len() >= ROWS * SCALES && min.len() >= ROWS * SCALES);
    // Scales stand there per 16 columns; sub-blocks of 32 have each twice.
    let step = F::SUB_LEN / 16;
    // SAFETY: sources are rows of `WORDS` or `SCALES` words; `q` has `WORDS` rows of 32 words, `scale` and `min` have
    // `SCALES` of them.
    unsafe {
        turn(s.q.as_ptr().cast(), WORDS, n / 4, 1, q.as_mut_ptr().cast());
        turn(s.scale.as_ptr().cast(), SCALES, n / 16, step, scale.as_mut_ptr().cast());
        if F::HAS_MIN {
            turn(s.min.as_ptr().cast(), SCALES, n / 16, step, min.as_mut_ptr().cast());
        }
    }
}

/// [`unpack`] of Q4_K: whole blocks of its 4-bit codes are turned.
///
/// # Safety
/// The processor has the features of `Isa::Avx512`; each item has the `n / 256` blocks of `n <= 512` columns.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c,bmi1,bmi2")]
pub(super) unsafe fn unpack_q4_k<'a>(
    rows: impl ExactSizeIterator<Item = &'a [u8]>,
    n: usize,
    s: &mut Staging,
    out: TileParts<'_>,
) {
    let (present, blocks) = (rows.len(), n / SPAN);
    assert!((1..=ROWS).contains(&present) && n <= CHUNK && n.is_multiple_of(SPAN));
    let mut at: [&[u8]; ROWS] = [&[]; ROWS];
    for (at, bytes) in at.iter_mut().zip(rows) {
        *at = &bytes[..blocks * Q4K::BLOCK_BYTES];
    }
    // Missing rows count nothing, so their codes may be any row's.
    let last = at[present - 1];
    at[present..].fill(last);
    let TileParts { q, scale, min, .. } = out;
    assert!(q.len() >= ROWS * CHUNK && scale.len() >= ROWS * SCALES && min.len() >= ROWS * SCALES);
    for block in 0..blocks {
        for (row, bytes) in at.iter().enumerate() {
            // SAFETY: the features are enabled here; sixteen numbers of a row.
            unsafe {
                let mut factors = _mm512_setzero_ps();
                if row < present {
                    factors = k_factors(&bytes[block * Q4K::BLOCK_BYTES..][..16]);
                }
                _mm512_storeu_ps(s.scale[row].as_mut_ptr().add(16 * block), factors);
            }
        }
        for first in (0..ROWS).step_by(16) {
            for half in 0..2 {
                // SAFETY: 64 bytes of the 128 behind a block's first 16, in each row; of two blocks of 32 columns each quad
                // of rows `first..first + 16`, all within `CHUNK / 4` quads of 32 rows.
                unsafe {
                    let codes = block * Q4K::BLOCK_BYTES + 16 + 64 * half;
                    let to = q.as_mut_ptr().add((block * SPAN + half * 128) * ROWS + 4 * first);
                    turn_nibbles(&at[first..first + 16], codes, to);
                }
            }
        }
    }
    // Of a block's sixteen numbers eight are scales and eight offsets.
    for block in 0..blocks {
        for first in (0..ROWS).step_by(16) {
            let mut words = [_mm512_setzero_si512(); 16];
            for (words, staged) in words.iter_mut().zip(&s.scale[first..]) {
                // SAFETY: sixteen numbers of a row.
                *words = unsafe { _mm512_loadu_si512(staged.as_ptr().add(16 * block).cast()) };
            }
            // SAFETY: the features are enabled here.
            for (i, lanes) in unsafe { turn_16(words) }.into_iter().enumerate() {
                let to = if i < 8 { &mut *scale } else { &mut *min };
                let place = (8 * block + i % 8) * ROWS + first;
                // SAFETY: sixteen numbers, just cut out.
                unsafe { _mm512_storeu_si512(to[place..place + 16].as_mut_ptr().cast(), lanes) };
            }
        }
    }
}

/// Sixteen rows' 64 bytes from `at` on, of 128 columns in 4 bits: turned, and then taken apart.
///
/// # Safety
/// AVX-512 F is enabled in the caller; sixteen rows have the bytes; `to` leads to 32 quads, each of 32 rows of 4 bytes, of
/// which the first sixteen are written.
#[inline(always)]
unsafe fn turn_nibbles(rows: &[&[u8]], at: usize, to: *mut u8) {
    // SAFETY: by the contract.
    unsafe {
        let mut words = [_mm512_setzero_si512(); 16];
        for (words, row) in words.iter_mut().zip(rows) {
            *words = _mm512_loadu_si512(row.as_ptr().add(at).cast());
        }
        let nibble = _mm512_set1_epi8(15);
        for (i, lanes) in turn_16(words).into_iter().enumerate() {
            // Eight words hold a block of 32 columns in their low halves, the next in their high ones.
            let quad = to.add((i / 8 * 16 + i % 8) * ROWS * 4);
            _mm512_storeu_si512(quad.cast(), _mm512_and_si512(lanes, nibble));
            let high = _mm512_and_si512(_mm512_srli_epi16(lanes, 4), nibble);
            _mm512_storeu_si512(quad.add(8 * ROWS * 4).cast(), high);
        }
    }
}

/// Turns 32 rows of words: `to[column / step][row] = from[row][column]` for every `step`-th column below `columns`.
///
/// # Safety
/// AVX-512 F is enabled in the caller. `from` leads to 32 rows of `stride` words, `stride` a multiple of 16 and at least
/// `columns`; `to` leads to `columns / step` rows of 32 words.
#[inline(always)]
unsafe fn turn(from: *const i32, stride: usize, columns: usize, step: usize, to: *mut i32) {
    for column in (0..columns).step_by(16) {
        for row in (0..ROWS).step_by(16) {
            // SAFETY: rows `row..row + 16` and columns `column..column + 16` of the source, which is as wide.
            let turned = unsafe {
                let mut words = [_mm512_setzero_si512(); 16];
                for (i, words) in words.iter_mut().enumerate() {
                    *words = _mm512_loadu_si512(from.add((row + i) * stride + column).cast());
                }
                turn_16(words)
            };
            for (i, lanes) in turned.into_iter().enumerate().step_by(step) {
                if column + i < columns {
                    // SAFETY: a row below `columns / step` of the result.
                    unsafe { _mm512_storeu_si512(to.add((column + i) / step * ROWS + row).cast(), lanes) };
                }
            }
        }
    }
}

/// Sixteen rows of sixteen words, turned: words within quarters first, then the quarters.
///
/// # Safety
/// AVX-512 F is enabled in the caller.
#[inline(always)]
unsafe fn turn_16(r: [__m512i; 16]) -> [__m512i; 16] {
    // SAFETY: by the contract.
    unsafe {
        // fours[4 g + w]: word w of each quarter, of rows 4 g..4 g + 4.
        let mut fours = [_mm512_setzero_si512(); 16];
        for g in 0..4 {
            let [a, b, c, d] = [r[4 * g], r[4 * g + 1], r[4 * g + 2], r[4 * g + 3]];
            let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
            let (ab_high, cd_high) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
            fours[4 * g] = _mm512_unpacklo_epi64(ab, cd);
            fours[4 * g + 1] = _mm512_unpackhi_epi64(ab, cd);
            fours[4 * g + 2] = _mm512_unpacklo_epi64(ab_high, cd_high);
            fours[4 * g + 3] = _mm512_unpackhi_epi64(ab_high, cd_high);
        }
        let mut out = [_mm512_setzero_si512(); 16];
        for w in 0..4 {
            let [a, b, c, d] = [fours[w], fours[4 + w], fours[8 + w], fours[12 + w]];
            // Quarters 0 and 2 of two rows' worth, then 1 and 3.
            let (ab, cd) = (_mm512_shuffle_i32x4(a, b, 0b10_00_10_00), _mm512_shuffle_i32x4(c, d, 0b10_00_10_00));
            let (ab_odd, cd_odd) =
                (_mm512_shuffle_i32x4(a, b, 0b11_01_11_01), _mm512_shuffle_i32x4(c, d, 0b11_01_11_01));
            out[w] = _mm512_shuffle_i32x4(ab, cd, 0b10_00_10_00);
            out[8 + w] = _mm512_shuffle_i32x4(ab, cd, 0b11_01_11_01);
            out[4 + w] = _mm512_shuffle_i32x4(ab_odd, cd_odd, 0b10_00_10_00);
            out[12 + w] = _mm512_shuffle_i32x4(ab_odd, cd_odd, 0b11_01_11_01);
        }
        out
    }
}
