//! Block formats of quantized tensors, and their exact dequantization.
//!
//! A format says how one block becomes small unsigned codes with a scale (and, for some, an offset) per sub-block. The
//! matrix kernels compute with the codes; [`dequantize`] multiplies them out in ggml's order of operations, so that it
//! gives ggml's numbers to the bit. Types without a format here are dequantized by ggml itself, which also quantizes.
#![forbid(unsafe_code)]

mod activations;
mod encode;
mod error;
mod format;
mod ggml;
mod k_quants;
mod legacy;
mod quantize;

#[cfg(test)]
mod tests;

use half::{bf16, f16};

pub use activations::{QK_FINE, QK_WIDE, QK8, block_scale, quantize_fine, quantize_row};
pub use encode::{encode, encodes};
pub use error::QuantError;
pub use format::{BlockFormat, Codes, MAX_BLOCK, MAX_SUBS, read_f16};
pub use k_quants::{Q2K, Q3K, Q4K, Q5K, Q6K};
pub use legacy::{Q4_0, Q4_1, Q5_0, Q5_1, Q8_0};
pub use quantize::{needs_importance, quantize_chunk, quantizes};

use crate::gguf::GgmlType;

/// Calls `$body` with `$F` naming the format of a quantized type; `$other` for all else.
#[macro_export]
#[doc(hidden)]
macro_rules! with_format {
    ($ty:expr, $F:ident => $body:expr, _ => $other:expr) => {{
        use $crate::gguf::GgmlType as T;
        use $crate::quant as formats;
        macro_rules! go {
            ($name:ident) => {{
                type $F = formats::$name;
                $body
            }};
        }
        match $ty {
            T::Q4_0 => go!(Q4_0),
            T::Q4_1 => go!(Q4_1),
            T::Q5_0 => go!(Q5_0),
            T::Q5_1 => go!(Q5_1),
            T::Q8_0 => go!(Q8_0),
            T::Q2_K => go!(Q2K),
            T::Q3_K => go!(Q3K),
            T::Q4_K => go!(Q4K),
            T::Q5_K => go!(Q5K),
            T::Q6_K => go!(Q6K),
            _ => $other,
        }
    }};
}

/// Whether tensors of this type can be computed with.
pub fn supported(ty: GgmlType) -> bool {
    native(ty) || foreign(ty)
}

/// Whether this type has code of its own here.
fn native(ty: GgmlType) -> bool {
    matches!(ty, GgmlType::F32 | GgmlType::F16 | GgmlType::BF16) || with_format!(ty, F => F::BLOCK_LEN > 0, _ => false)
}

/// Whether this type of weights is dequantized by ggml alone.
pub fn foreign(ty: GgmlType) -> bool {
    !native(ty) && ty.block_len().is_multiple_of(QK8) && ggml::dequantizes(ty)
}

/// Turns rows of a tensor into f32, exactly as ggml does.
///
/// # Errors
/// The type can't be dequantized, or `bytes` and `out` don't fit together.
pub fn dequantize(ty: GgmlType, bytes: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
    if ty.row_bytes(out.len()) != Some(bytes.len()) {
        return Err(QuantError::Length { ty, bytes: bytes.len(), elements: out.len() });
    }
    match ty {
        GgmlType::F32 => convert(bytes, out, f32::from_le_bytes),
        GgmlType::F16 => convert(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
        GgmlType::BF16 => convert(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
        _ => with_format!(ty, F => dequantize_blocks::<F>(bytes, out), _ => return ggml::dequantize(ty, bytes, out)),
    }
    Ok(())
}

fn convert<const N: usize>(bytes: &[u8], out: &mut [f32], one: impl Fn([u8; N]) -> f32) {
    for (o, b) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
        *o = one(*b);
    }
}

fn dequantize_blocks<F: BlockFormat>(bytes: &[u8], out: &mut [f32]) {
    let mut codes = Codes::default();
    for (block, out) in bytes.chunks_exact(F::BLOCK_BYTES).zip(out.chunks_exact_mut(F::BLOCK_LEN)) {
        F::unpack(block, &mut codes);
        for (sub, out) in out.chunks_exact_mut(F::SUB_LEN).enumerate() {
            let (scale, min) = (codes.scale[sub], codes.min[sub]);
            for (o, &q) in out.iter_mut().zip(&codes.q[sub * F::SUB_LEN..]) {
                let x = scale * (i32::from(q) - F::ZERO) as f32;
                *o = if F::HAS_MIN { x + min } else { x };
            }
        }
    }
}
