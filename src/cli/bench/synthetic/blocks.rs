//! Random blocks that are valid: weights of mean 0 and a spread that keeps activations in their usual range.

use crate::gguf::GgmlType;
use half::f16;

/// Bytes of random blocks that are made per type and row length; tensors take them from different places.
const POOL_BYTES: usize = 1 << 20;

/// What a tensor is filled with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// A matrix's rows.
    Weights,
    /// The factors of a norm.
    Ones,
    /// A bias.
    Small,
}

/// Whole blocks of `ty`; the weights' standard deviation is about 1 / √`cols`, as an initialized layer has it.
///
/// # Panics
/// The type is none that synthetic models use.
pub fn pool(ty: GgmlType, cols: usize, fill: Fill, rng: &mut fastrand::Rng) -> Vec<u8> {
    let deviation = match fill {
        Fill::Weights => 1.0 / (cols as f32).sqrt(),
        Fill::Small => 0.02,
        Fill::Ones => 0.0,
    };
    let n = POOL_BYTES / ty.block_bytes();
    let mut out = vec![0; n * ty.block_bytes()];
    for block in out.chunks_exact_mut(ty.block_bytes()) {
        match (ty, fill) {
            (GgmlType::F32, Fill::Ones) => block.copy_from_slice(&1f32.to_le_bytes()),
            (GgmlType::F32, _) => block.copy_from_slice(&uniform(deviation, rng).to_le_bytes()),
            (GgmlType::F16, _) => put_f16(block, uniform(deviation, rng)),
            (GgmlType::Q4_0, _) => legacy(block, deviation / 4.61, rng),
            (GgmlType::Q8_0, _) => legacy(block, deviation / 73.9, rng),
            (GgmlType::Q4_K, _) => q4_k(block, deviation, rng),
            (GgmlType::Q6_K, _) => q6_k(block, deviation, rng),
            (other, _) => panic!("no synthetic blocks of {other}"),
        }
    }
    out
}

/// A number of mean 0 and this standard deviation.
fn uniform(deviation: f32, rng: &mut fastrand::Rng) -> f32 {
    (rng.f32() - 0.5) * deviation * 12f32.sqrt()
}

fn put_f16(place: &mut [u8], x: f32) {
    place.copy_from_slice(&f16::from_f32(x).to_le_bytes());
}

/// A scale that varies from block to block.
fn varied(scale: f32, rng: &mut fastrand::Rng) -> f32 {
    scale * (0.75 + 0.5 * rng.f32())
}

/// Q4_0 (the nibbles mean -8 to 7) and Q8_0: a scale, which may be negative, then random numbers of which any is valid.
fn legacy(block: &mut [u8], scale: f32, rng: &mut fastrand::Rng) {
    let (d, numbers) = block.split_at_mut(2);
    let scale = if rng.bool() { scale } else { -scale };
    put_f16(d, varied(scale, rng));
    rng.fill(numbers);
}

/// Q4_K: `d · scale · q - dmin · min` with 6-bit scales and minimums of 8 sub-blocks; here `min` ≈ 7.5 `scale`.
fn q4_k(block: &mut [u8], deviation: f32, rng: &mut fastrand::Rng) {
    let d = varied(deviation / (4.61 * 40.0), rng);
    put_f16(&mut block[..2], d);
    put_f16(&mut block[2..4], 7.5 * d);
    let scales: [u8; 8] = std::array::from_fn(|_| rng.u8(20..60));
    let mins = scales.map(|s| s + rng.u8(0..4));
    for j in 0..4 {
        // The upper two bits of the last four stand above the first four.
        block[4 + j] = scales[j] | (scales[j + 4] >> 4) << 6;
        block[8 + j] = mins[j] | (mins[j + 4] >> 4) << 6;
        block[12 + j] = scales[j + 4] & 15 | mins[j + 4] << 4;
    }
    rng.fill(&mut block[16..]);
}

/// Q6_K: 192 bytes of numbers (they mean -32 to 31), 16 signed scales, then `d`.
fn q6_k(block: &mut [u8], deviation: f32, rng: &mut fastrand::Rng) {
    let (numbers, rest) = block.split_at_mut(192);
    let (scales, d) = rest.split_at_mut(16);
    rng.fill(numbers);
    scales.fill_with(|| rng.i8(40..=127) as u8);
    put_f16(d, varied(deviation / (18.5 * 84.0), rng));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::dequantize;

    #[test]
    fn weights_have_the_spread_that_was_asked_for() {
        let mut rng = fastrand::Rng::with_seed(7);
        for ty in [GgmlType::F16, GgmlType::Q4_0, GgmlType::Q8_0, GgmlType::Q4_K, GgmlType::Q6_K] {
            let bytes = pool(ty, 1024, Fill::Weights, &mut rng);
            let mut x = vec![0.0; bytes.len() / ty.block_bytes() * ty.block_len()];
            dequantize(ty, &bytes, &mut x).expect("valid");
            let mean = x.iter().sum::<f32>() / x.len() as f32;
            let deviation = (x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32).sqrt();
            assert!(mean.abs() < 0.1 * deviation, "{ty}: mean {mean}");
            assert!((0.8..1.25).contains(&(deviation * 32.0)), "{ty}: deviation {deviation}");
        }
    }
}
