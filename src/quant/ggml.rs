//! ggml as the second implementation: it quantizes, and dequantizes what the formats here don't know. The only file that
//! names its crate; without the feature `ggml`, everything here says so.

#[cfg(feature = "ggml")]
pub use with::{dequantize, dequantizes, needs_importance, quantize_chunk, quantizes};
#[cfg(not(feature = "ggml"))]
pub use without::{dequantize, dequantizes, needs_importance, quantize_chunk, quantizes};

#[cfg(feature = "ggml")]
mod with {
    use ggml_sys::Error;

    use crate::gguf::GgmlType;
    use crate::quant::QuantError;

    /// Whether [`quantize_chunk`] makes this type.
    pub fn quantizes(ty: GgmlType) -> bool {
        ggml_sys::type_traits(ty as u32).is_some_and(|t| t.quantizes)
    }

    /// Whether [`dequantize`] takes this type.
    pub fn dequantizes(ty: GgmlType) -> bool {
        ggml_sys::type_traits(ty as u32).is_some_and(|t| t.dequantizes)
    }

    /// Whether [`quantize_chunk`] makes this type only with importance.
    pub fn needs_importance(ty: GgmlType) -> bool {
        ggml_sys::type_traits(ty as u32).is_some_and(|t| t.needs_importance)
    }

    /// Rows of numbers to blocks; see [`crate::quant::quantize_chunk`].
    pub fn quantize_chunk(
        ty: GgmlType,
        numbers: &[f32],
        row_len: usize,
        importance: Option<&[f32]>,
        out: &mut [u8],
    ) -> Result<(), QuantError> {
        ggml_sys::quantize_chunk(ty as u32, numbers, row_len, importance, out).map_err(|e| told(ty, e))
    }

    /// Blocks to numbers.
    pub fn dequantize(ty: GgmlType, bytes: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
        ggml_sys::dequantize_row(ty as u32, bytes, out).map_err(|e| told(ty, e))
    }

    fn told(ty: GgmlType, e: Error) -> QuantError {
        match e {
            Error::Length { numbers, bytes, .. } => QuantError::Length { ty, bytes, elements: numbers },
            Error::Number { index, value } => QuantError::Range { ty, at: index, value },
            Error::Importance { index, value } => QuantError::Importance { index, value },
            Error::NeedsImportance => QuantError::NeedsImportance { ty },
            Error::Overflow => QuantError::Overflow { ty },
            _ => QuantError::Type { ty },
        }
    }
}

#[cfg(not(feature = "ggml"))]
mod without {
    use crate::gguf::GgmlType;
    use crate::quant::QuantError;

    pub fn quantizes(_: GgmlType) -> bool {
        false
    }

    pub fn dequantizes(_: GgmlType) -> bool {
        false
    }

    pub fn needs_importance(_: GgmlType) -> bool {
        false
    }

    pub fn quantize_chunk(
        ty: GgmlType,
        _: &[f32],
        _: usize,
        _: Option<&[f32]>,
        _: &mut [u8],
    ) -> Result<(), QuantError> {
        Err(QuantError::Type { ty })
    }

    pub fn dequantize(ty: GgmlType, _: &[u8], _: &mut [f32]) -> Result<(), QuantError> {
        Err(QuantError::Type { ty })
    }
}

#[cfg(all(test, feature = "ggml"))]
mod tests {
    use crate::gguf::GgmlType;

    /// What this program says of a type's size, and what ggml says.
    #[test]
    fn sizes_are_ggmls() {
        for ty in GgmlType::ALL {
            let traits = ggml_sys::type_traits(ty as u32).expect("a type of ggml's");
            assert_eq!((ty.block_len(), ty.block_bytes()), (traits.block_len, traits.block_bytes), "{ty}");
            assert_eq!(ty.name().to_lowercase(), traits.name.to_lowercase());
        }
    }
}
