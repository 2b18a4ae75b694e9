//! Numbers into blocks.

use super::encode::{encode, encodes};
use super::{QuantError, ggml};
use crate::gguf::GgmlType;

/// Whether [`quantize_chunk`] makes this type.
pub fn quantizes(ty: GgmlType) -> bool {
    encodes(ty) || ggml::quantizes(ty)
}

/// Whether [`quantize_chunk`] makes this type only with importance.
pub fn needs_importance(ty: GgmlType) -> bool {
    ggml::needs_importance(ty)
}

/// Turns rows of `row_len` numbers into `out`, as ggml does to the bit. `importance` has a weight per column: where
/// rounding errors matter more.
///
/// Rows don't depend on each other: they may be quantized in chunks, on several threads.
///
/// # Errors
/// The type isn't made here, or not without importance; the slices don't fit together; a number isn't finite, or too
/// large for the type. Then `out` holds nothing of use.
pub fn quantize_chunk(
    ty: GgmlType,
    numbers: &[f32],
    row_len: usize,
    importance: Option<&[f32]>,
    out: &mut [u8],
) -> Result<(), QuantError> {
    if encodes_here(ty) {
        encode(ty, numbers, out)
    } else {
        ggml::quantize_chunk(ty, numbers, row_len, importance, out)
    }
}

/// Whether it needs no ggml. Where that is, it is the quicker one for 8 bits.
fn encodes_here(ty: GgmlType) -> bool {
    encodes(ty) && !(ty == GgmlType::Q8_0 && cfg!(feature = "ggml"))
}
