//! Blocks of 32: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.

use super::format::{BlockFormat, Codes, read_f16};

/// 4 bits around 8, one scale: `d` f16, 16 bytes with numbers 0–15 in the low and 16–31 in the high halves.
pub struct Q4_0;
/// 4 bits, scale and offset: `d`, `m` f16, 16 bytes.
pub struct Q4_1;
/// 5 bits around 16, one scale: `d` f16, 32 fifth bits, 16 bytes.
pub struct Q5_0;
/// 5 bits, scale and offset: `d`, `m` f16, 32 fifth bits, 16 bytes.
pub struct Q5_1;
/// 8 bits, one scale: `d` f16, 32 signed bytes.
pub struct Q8_0;

#[inline(always)]
fn nibbles(bytes: &[u8], q: &mut [u8]) {
    let (low, high) = q[..32].split_at_mut(16);
    for ((&b, l), h) in bytes[..16].iter().zip(low).zip(high) {
        (*l, *h) = (b & 15, b >> 4);
    }
}

#[inline(always)]
fn fifth_bits(bytes: &[u8], q: &mut [u8]) {
    let bits = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    for (i, q) in q[..32].iter_mut().enumerate() {
        *q |= ((bits >> i & 1) as u8) << 4;
    }
}

impl BlockFormat for Q4_0 {
    const BLOCK_LEN: usize = 32;
    const BLOCK_BYTES: usize = 18;
    const SUB_LEN: usize = 32;
    const ZERO: i32 = 8;
    const HAS_MIN: bool = false;

    #[inline(always)]
    fn unpack(block: &[u8], out: &mut Codes) {
        let block = &block[..18];
        out.scale[0] = read_f16(block, 0);
        nibbles(&block[2..], &mut out.q);
    }
}

impl BlockFormat for Q4_1 {
    const BLOCK_LEN: usize = 32;
    const BLOCK_BYTES: usize = 20;
    const SUB_LEN: usize = 32;
    const ZERO: i32 = 0;
    const HAS_MIN: bool = true;

    #[inline(always)]
    fn unpack(block: &[u8], out: &mut Codes) {
        let block = &block[..20];
        out.scale[0] = read_f16(block, 0);
        out.min[0] = read_f16(block, 2);
        nibbles(&block[4..], &mut out.q);
    }
}

impl BlockFormat for Q5_0 {
    const BLOCK_LEN: usize = 32;
    const BLOCK_BYTES: usize = 22;
    const SUB_LEN: usize = 32;
    const ZERO: i32 = 16;
    const HAS_MIN: bool = false;

    #[inline(always)]
    fn unpack(block: &[u8], out: &mut Codes) {
        let block = &block[..22];
        out.scale[0] = read_f16(block, 0);
        nibbles(&block[6..], &mut out.q);
        fifth_bits(&block[2..], &mut out.q);
    }
}

impl BlockFormat for Q5_1 {
    const BLOCK_LEN: usize = 32;
    const BLOCK_BYTES: usize = 24;
    const SUB_LEN: usize = 32;
    const ZERO: i32 = 0;
    const HAS_MIN: bool = true;

    #[inline(always)]
    fn unpack(block: &[u8], out: &mut Codes) {
        let block = &block[..24];
        out.scale[0] = read_f16(block, 0);
        out.min[0] = read_f16(block, 2);
        nibbles(&block[8..], &mut out.q);
        fifth_bits(&block[4..], &mut out.q);
    }
}

impl BlockFormat for Q8_0 {
    const BLOCK_LEN: usize = 32;
    const BLOCK_BYTES: usize = 34;
    const SUB_LEN: usize = 32;
    const ZERO: i32 = 128;
    const HAS_MIN: bool = false;

    #[inline(always)]
    fn unpack(block: &[u8], out: &mut Codes) {
        let block = &block[..34];
        out.scale[0] = read_f16(block, 0);
        for (q, &b) in out.q[..32].iter_mut().zip(&block[2..]) {
            *q = b ^ 0x80;
        }
    }
}
