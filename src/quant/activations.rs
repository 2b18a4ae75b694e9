//! Activations in 8 bits per number with a float32 scale per 32 or 64, or in 15 bits with a scale per 256.
//!
//! Products of many tokens are bound by arithmetic and take 8 bits. Those of few tokens are bound by reading the weights:
//! there a second byte costs nothing that one would notice, and takes nearly all of the quantization's error away.

/// Numbers in 8 bits that share a scale.
pub const QK8: usize = 32;
/// The same beside weights that were rounded here, which have a scale per 64, too.
pub const QK_WIDE: usize = 64;
/// Numbers in 15 bits that share a scale.
pub const QK_FINE: usize = 256;

/// Quantizes blocks of `N` numbers: `x ≈ d · q` with `d = max |x| / 127`, q rounded to nearest, halves to even.
///
/// `sums` gets the sums of each half block's codes. Codes are within ±127. A block with a NaN or an infinity becomes zeros
/// with a NaN scale, so that what is wrong shows in the result instead of vanishing.
///
/// # Panics
/// The slices don't fit together.
#[inline(always)]
pub fn quantize_row<const N: usize>(x: &[f32], q: &mut [i8], d: &mut [f32], sums: &mut [i32]) {
    assert!(x.len() == q.len() && x.len() == d.len() * N && 2 * d.len() == sums.len());
    let blocks = x.as_chunks::<N>().0.iter().zip(q.as_chunks_mut::<N>().0);
    for ((x, q), (d, sum)) in blocks.zip(d.iter_mut().zip(sums.as_chunks_mut::<2>().0)) {
        quantize_block(x, q, d, sum);
    }
}

#[inline(always)]
fn quantize_block<const N: usize>(x: &[f32; N], q: &mut [i8; N], d: &mut f32, sums: &mut [i32; 2]) {
    let mut codes = [0i32; N];
    *d = round_block(x, &mut codes, 127.0);
    for (q, &code) in q.iter_mut().zip(&codes) {
        *q = code as i8;
    }
    for (sum, codes) in sums.iter_mut().zip(codes.chunks_exact(N / 2)) {
        *sum = codes.iter().sum();
    }
}

/// Rounds a block to codes within `±limit`, and returns their scale.
#[inline(always)]
fn round_block<const N: usize>(x: &[f32; N], codes: &mut [i32; N], limit: f32) -> f32 {
    // Comparing bits orders magnitudes, infinities and NaN alike, and vectorizes.
    let max = x.iter().fold(0u32, |m, v| m.max(v.to_bits() & 0x7fff_ffff));
    let Some((step, inverse)) = block_scale(max, limit) else {
        *codes = [0; N];
        return f32::NAN;
    };
    const ROUND: f32 = 12582912.0; // 1.5 · 2^23: adding it rounds to nearest even.
    for (code, &v) in codes.iter_mut().zip(x) {
        *code = (v * inverse + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    }
    step
}

/// What a code of a block stands for, and what the block's numbers are multiplied by, from the bits of the largest magnitude and
/// the largest code; `None` where a number isn't finite.
#[inline(always)]
pub fn block_scale(max: u32, limit: f32) -> Option<(f32, f32)> {
    if max >= 0x7f80_0000 {
        return None;
    }
    let max = f32::from_bits(max);
    let inverse = if max > 0.0 { limit / max } else { 0.0 };
    // The limit over a denormal is infinite: such a block is as good as zero.
    Some((max / limit, if inverse.is_finite() { inverse } else { 0.0 }))
}

/// Quantizes [`QK_FINE`] numbers to 15 bits: `x ≈ d · q` with `d = max |x| / 16383`, q rounded to nearest, halves to even,
/// and returns `d`. Codes are within ±16383; what isn't finite is treated as in [`quantize_row`].
#[inline(always)]
pub fn quantize_fine(x: &[f32; QK_FINE], q: &mut [i32; QK_FINE]) -> f32 {
    round_block(x, q, 16383.0)
}
