//! Numbers to bytes: the types that need no search for good scales.

use half::{bf16, f16};

use super::QuantError;
use crate::gguf::GgmlType;

/// Numbers in a block of Q8_0.
const Q8_0_LEN: usize = 32;

/// Whether [`encode`] knows the type.
pub fn encodes(ty: GgmlType) -> bool {
    matches!(ty, GgmlType::F32 | GgmlType::F16 | GgmlType::BF16 | GgmlType::Q8_0)
}

/// Writes `x` as F32, F16, BF16 or Q8_0, to the bit as ggml does: halves to nearest even, 8-bit codes to nearest with
/// ties away from zero.
///
/// # Errors
/// Another type; or `out` isn't as long as `x` needs; or a number is too large for the type, or is none
/// ([`QuantError::Range`], with its place in `x`).
pub fn encode(ty: GgmlType, x: &[f32], out: &mut [u8]) -> Result<(), QuantError> {
    if ty.row_bytes(x.len()) != Some(out.len()) {
        return Err(QuantError::Length { ty, bytes: out.len(), elements: x.len() });
    }
    let range = |at: usize| QuantError::Range { ty, at, value: x[at] };
    // A NaN or an infinity has all bits of the exponent; comparing bits vectorizes.
    let absent = |x: &[f32]| x.iter().fold(0, |m: u32, v| m.max(v.to_bits() & 0x7fff_ffff)) >= 0x7f80_0000;
    if absent(x) {
        return Err(range(x.iter().position(|v| !v.is_finite()).unwrap_or_default()));
    }
    match ty {
        GgmlType::F32 => put(x, out, f32::to_le_bytes),
        GgmlType::F16 => {
            put(x, out, |v| f16::from_f32(v).to_le_bytes());
            if let Some(at) = x.iter().position(|&v| f16::from_f32(v).is_infinite()) {
                return Err(range(at));
            }
        }
        GgmlType::BF16 => {
            put(x, out, |v| bf16::from_f32(v).to_le_bytes());
            if let Some(at) = x.iter().position(|&v| bf16::from_f32(v).is_infinite()) {
                return Err(range(at));
            }
        }
        GgmlType::Q8_0 => {
            let blocks = x.as_chunks::<Q8_0_LEN>().0.iter().zip(out.as_chunks_mut::<34>().0);
            for (i, (x, out)) in blocks.enumerate() {
                if !q8_0(x, out) {
                    let largest = x.iter().enumerate().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
                    return Err(range(i * Q8_0_LEN + largest.map_or(0, |(at, _)| at)));
                }
            }
        }
        _ => return Err(QuantError::Type { ty }),
    }
    Ok(())
}

fn put<const N: usize>(x: &[f32], out: &mut [u8], one: impl Fn(f32) -> [u8; N]) {
    for (&v, out) in x.iter().zip(out.as_chunks_mut::<N>().0) {
        *out = one(v);
    }
}

/// One block; whether its scale can be written.
fn q8_0(x: &[f32; Q8_0_LEN], out: &mut [u8; 34]) -> bool {
    let max = x.iter().fold(0f32, |m, v| m.max(v.abs()));
    let scale = max / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    let half = f16::from_f32(scale);
    out[..2].copy_from_slice(&half.to_le_bytes());
    for (out, v) in out[2..].iter_mut().zip(x) {
        // The inverse of a denormal can be infinite; the cast then saturates, and the written scale is zero.
        *out = (v * inverse).round() as i8 as u8;
    }
    half.is_finite()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::dequantize;

    fn coded(ty: GgmlType, x: &[f32]) -> Result<Vec<u8>, QuantError> {
        let mut out = vec![0; ty.row_bytes(x.len()).expect("whole blocks")];
        encode(ty, x, &mut out).map(|()| out)
    }

    #[test]
    fn floats_round_to_nearest_even() {
        let x = [1.0f32, -0.0, 1.0 + 1.0 / 2048.0, 1.0 + 3.0 / 2048.0, 65504.0, 6e-8, 1e-9];
        let mut back = vec![0.0; x.len()];
        dequantize(GgmlType::F16, &coded(GgmlType::F16, &x).expect("in range"), &mut back).expect("fits");
        assert_eq!(back, [1.0, -0.0, 1.0, 1.0 + 4.0 / 2048.0, 65504.0, 5.9604645e-8, 0.0]);
        let x = [1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, 3e38];
        let mut back = vec![0.0; x.len()];
        dequantize(GgmlType::BF16, &coded(GgmlType::BF16, &x).expect("in range"), &mut back).expect("fits");
        assert_eq!(back, [1.0, 1.0 + 4.0 / 256.0, 3.0040553e38]);
        assert_eq!(coded(GgmlType::F32, &[1.5]).expect("any"), 1.5f32.to_le_bytes());
    }

    #[test]
    fn q8_0_rounds_ties_away_and_keeps_zeros() {
        let mut x = [0.0f32; 64];
        x[..4].copy_from_slice(&[127.0, 2.5, -2.5, 0.49]);
        let out = coded(GgmlType::Q8_0, &x).expect("in range");
        assert_eq!(out[..2], f16::from_f32(1.0).to_le_bytes());
        assert_eq!(out[2..6].iter().map(|&b| b as i8).collect::<Vec<_>>(), [127, 3, -3, 0]);
        assert_eq!(out[34..], [0; 34], "a block of zeros has scale 0");
        let tiny = coded(GgmlType::Q8_0, &[1e-40; 32]).expect("in range");
        let mut back = [1.0; 32];
        dequantize(GgmlType::Q8_0, &tiny, &mut back).expect("fits");
        assert_eq!(back, [0.0; 32]);
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_place() {
        let wrong = |ty, x: &[f32]| match coded(ty, x) {
            Err(QuantError::Range { at, .. }) => at,
            other => panic!("{other:?}"),
        };
        assert_eq!(wrong(GgmlType::F32, &[0.0, 1.0, f32::NAN]), 2);
        assert_eq!(wrong(GgmlType::F16, &[0.0, 65520.0]), 1);
        assert_eq!(wrong(GgmlType::BF16, &[f32::MAX]), 0);
        let mut x = [1.0; 64];
        x[40] = -1e7;
        assert_eq!(wrong(GgmlType::Q8_0, &x), 40);
        x[3] = f32::NEG_INFINITY;
        assert_eq!(wrong(GgmlType::Q8_0, &x), 3);
        assert!(matches!(encode(GgmlType::Q8_0, &x, &mut [0; 34]), Err(QuantError::Length { .. })));
        assert!(matches!(coded(GgmlType::Q4_0, &[0.0; 32]), Err(QuantError::Type { .. })));
    }
}
