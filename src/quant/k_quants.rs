//! Blocks of 256 with scales that are themselves quantized: Q2_K to Q6_K.

use super::format::{BlockFormat, Codes, read_f16};

/// 2 bits; 16 sub-blocks of 16 with 4-bit scale and 4-bit offset: scales 16, codes 64, `d`, `dmin` f16.
pub struct Q2K;
/// 3 bits around 4; 16 sub-blocks of 16 with 6-bit scales around 32: high bits 32, codes 64, scales 12, `d` f16.
pub struct Q3K;
/// 4 bits; 8 sub-blocks of 32 with 6-bit scale and 6-bit offset: `d`, `dmin` f16, scales 12, codes 128.
pub struct Q4K;
/// 5 bits; as [`Q4K`] with 32 bytes of fifth bits before the codes.
pub struct Q5K;
/// 6 bits around 32; 16 sub-blocks of 16 with 8-bit scales: low codes 128, high codes 64, scales 16, `d` f16.
pub struct Q6K;

/// The 6-bit scales and offsets of Q4_K and Q5_K: the first four of each in the low bits of bytes 0–7, the others in
/// bytes 8–11 with their two high bits in the high bits of the first eight.
#[inline(always)]
fn scales_and_mins(s: &[u8]) -> ([u8; 8], [u8; 8]) {
    let (mut scale, mut min) = ([0; 8], [0; 8]);
    for j in 0..4 {
        scale[j] = s[j] & 63;
        min[j] = s[j + 4] & 63;
        scale[j + 4] = (s[j + 8] & 15) | (s[j] >> 6) << 4;
        min[j + 4] = (s[j + 8] >> 4) | (s[j + 4] >> 6) << 4;
    }
    (scale, min)
}

/// The 4-bit codes of Q4_K and Q5_K: each 32 bytes hold two sub-blocks, in the low and in the high halves.
#[inline(always)]
fn paired_nibbles(bytes: &[u8], q: &mut [u8]) {
    for (bytes, q) in bytes[..128].chunks_exact(32).zip(q[..256].chunks_exact_mut(64)) {
        let (low, high) = q.split_at_mut(32);
        for ((&b, l), h) in bytes.iter().zip(low).zip(high) {
            (*l, *h) = (b & 15, b >> 4);
        }
    }
}

#[inline(always)]
fn apply_scales(block: &[u8], out: &mut Codes) {
    let (d, dmin) = (read_f16(block, 0), read_f16(block, 2));
    let (scale, min) = scales_and_mins(&block[4..16]);
    for j in 0..8 {
        out.scale[j] = d * f32::from(scale[j]);
        out.min[j] = -(dmin * f32::from(min[j]));
    }
}

impl BlockFormat for Q4K {
    const BLOCK_LEN: usize = 256;
    const BLOCK_BYTES: usize = 144;
    const SUB_LEN: usize = 32;
    const ZERO: i32 = 0;
    const HAS_MIN: bool = true;

    #[inline(always)]
    fn unpack(block: &[u8], out: &mut Codes) {
        let block = &block[..144];
        apply_scales(block, out);
        paired_nibbles(&block[16..], &mut out.q);
    }
}

impl BlockFormat for Q5K {
    const BLOCK_LEN: usize = 256;
    const BLOCK_BYTES: usize = 176;
    const SUB_LEN: usize = 32;
    const ZERO: i32 = 0;
    const HAS_MIN: bool = true;

    #[inline(always)]
    fn unpack(block: &[u8], out: &mut Codes) {
        let block = &block[..176];
        apply_scales(block, out);
        paired_nibbles(&block[48..], &mut out.q);
        let high = &block[16..48];
        for (sub, q) in out.q.chunks_exact_mut(32).enumerate() {
            for (q, &h) in q.iter_mut().zip(high) {
                *q |= (h >> sub & 1) << 4;
            }
        }
    }
}

impl BlockFormat for Q6K {
    const BLOCK_LEN: usize = 256;
    const BLOCK_BYTES: usize = 210;
    const SUB_LEN: usize = 16;
    const ZERO: i32 = 32;
    const HAS_MIN: bool = false;

    #[inline(always)]
    fn unpack(block: &[u8], out: &mut Codes) {
        let block = &block[..210];
        let (low, high) = (&block[..128], &block[128..192]);
        for half in 0..2 {
            let (l, h) = (&low[half * 64..][..64], &high[half * 32..][..32]);
            let q = &mut out.q[half * 128..][..128];
            for i in 0..32 {
                q[i] = (l[i] & 15) | (h[i] & 3) << 4;
                q[i + 32] = (l[i + 32] & 15) | (h[i] >> 2 & 3) << 4;
                q[i + 64] = (l[i] >> 4) | (h[i] >> 4 & 3) << 4;
                q[i + 96] = (l[i + 32] >> 4) | (h[i] >> 6) << 4;
            }
        }
        let d = read_f16(block, 208);
        for (s, &b) in out.scale.iter_mut().zip(&block[192..208]) {
            *s = d * f32::from(b as i8);
        }
    }
}

/// The 2-bit codes of Q2_K and Q3_K: each 32 bytes hold 128 numbers, 32 at each pair of bits.
#[inline(always)]
fn bit_pairs(bytes: &[u8], q: &mut [u8]) {
    for (bytes, q) in bytes[..64].chunks_exact(32).zip(q[..256].chunks_exact_mut(128)) {
        for (pair, q) in q.chunks_exact_mut(32).enumerate() {
            for (q, &b) in q.iter_mut().zip(bytes) {
                *q = b >> (2 * pair) & 3;
            }
        }
    }
}

impl BlockFormat for Q2K {
    const BLOCK_LEN: usize = 256;
    const BLOCK_BYTES: usize = 84;
    const SUB_LEN: usize = 16;
    const ZERO: i32 = 0;
    const HAS_MIN: bool = true;

    #[inline(always)]
    fn unpack(block: &[u8], out: &mut Codes) {
        let block = &block[..84];
        let (d, dmin) = (read_f16(block, 80), read_f16(block, 82));
        for (j, &s) in block[..16].iter().enumerate() {
            out.scale[j] = d * f32::from(s & 15);
            out.min[j] = -(dmin * f32::from(s >> 4));
        }
        bit_pairs(&block[16..80], &mut out.q);
    }
}

impl BlockFormat for Q3K {
    const BLOCK_LEN: usize = 256;
    const BLOCK_BYTES: usize = 110;
    const SUB_LEN: usize = 16;
    const ZERO: i32 = 4;
    const HAS_MIN: bool = false;

    #[inline(always)]
    fn unpack(block: &[u8], out: &mut Codes) {
        let block = &block[..110];
        bit_pairs(&block[32..96], &mut out.q);
        // A set high bit means "don't subtract 4": as codes around 4, it adds 4.
        for (sub, q) in out.q.chunks_exact_mut(32).enumerate() {
            for (q, &h) in q.iter_mut().zip(&block[..32]) {
                *q |= (h >> sub & 1) << 2;
            }
        }
        let (d, s) = (read_f16(block, 108), &block[96..108]);
        for j in 0..16 {
            let low = s[j % 8] >> (j / 8 * 4) & 15;
            let high = s[8 + j % 4] >> (j / 4 * 2) & 3;
            out.scale[j] = d * (i32::from(low | high << 4) - 32) as f32;
        }
    }
}
