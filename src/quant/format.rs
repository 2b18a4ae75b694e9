//! What all block formats have in common.

use super::QK8;

/// The longest block.
pub const MAX_BLOCK: usize = 256;
/// The most sub-blocks of a block.
pub const MAX_SUBS: usize = 16;

/// One block taken apart: its number `i` is `scale[i / SUB_LEN] · (q[i] − ZERO) + min[i / SUB_LEN]`.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Codes {
    /// Codes in the order of the numbers.
    pub q: [u8; MAX_BLOCK],
    /// A factor per sub-block.
    pub scale: [f32; MAX_SUBS],
    /// An offset per sub-block; 0 for formats without.
    pub min: [f32; MAX_SUBS],
}

impl Default for Codes {
    fn default() -> Self {
        Codes { q: [0; MAX_BLOCK], scale: [0.0; MAX_SUBS], min: [0.0; MAX_SUBS] }
    }
}

/// A quantized block format (ggml-common.h describes the layouts).
pub trait BlockFormat {
    /// Numbers per block.
    const BLOCK_LEN: usize;
    /// Bytes per block.
    const BLOCK_BYTES: usize;
    /// Numbers that share a scale.
    const SUB_LEN: usize;
    /// Subtracted from a code before it is scaled.
    const ZERO: i32;
    /// Whether sub-blocks have an offset of their own.
    const HAS_MIN: bool;
    /// Activations beside it that share a scale, in products of many tokens; a multiple of `SUB_LEN`.
    const X_LEN: usize = QK8;

    /// Takes a block apart. Only the first `BLOCK_LEN` codes and `BLOCK_LEN / SUB_LEN` scales are written.
    ///
    /// # Panics
    /// `block` is shorter than `BLOCK_BYTES`.
    fn unpack(block: &[u8], out: &mut Codes);
}

/// The half-precision number at byte `at`.
#[inline(always)]
pub fn read_f16(bytes: &[u8], at: usize) -> f32 {
    let bits = u32::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    // Exponent and fraction moved to a float32's places read as a number 2^112 too small; denormals come right too.
    let magnitude = (f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits(0x7780_0000)).to_bits();
    let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(magnitude | special | (bits & 0x8000) << 16)
}
