//! ggml's block formats through bindings of our own: what a type is, rows of numbers into blocks, and back.
//!
//! Types are named by their numbers in GGUF files (ggml's `enum ggml_type`). Everything here is safe to call with any
//! bytes and any numbers; what ggml would abort the process on is refused before it is called.

mod file;
mod raw;

use std::borrow::Cow;
use std::ffi::CStr;

pub use file::{Contents, Stored, contents};

/// The version of the quantization formats that is written (`general.quantization_version`).
pub const QUANTIZATION_VERSION: u32 = raw::GGML_QNT_VERSION;

/// The largest magnitude that is quantized. Beyond, sums of products inside of ggml could overflow, on which it aborts;
/// no weight is near it.
pub const LARGEST: f32 = 1e9;

/// What can't be done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// ggml has no such type, or no way to do this with it.
    Type {
        /// The type's number.
        ty: u32,
    },
    /// The slices don't fit together.
    Length {
        /// Numbers given or asked for.
        numbers: usize,
        /// Their row length.
        row_len: usize,
        /// Bytes given or to be filled.
        bytes: usize,
    },
    /// A number that is not finite, or beyond [`LARGEST`].
    Number {
        /// Where it is.
        index: usize,
        /// What it is.
        value: f32,
    },
    /// A weight of an importance matrix that is negative, or not finite, or beyond [`LARGEST`].
    Importance {
        /// Where it is.
        index: usize,
        /// What it is.
        value: f32,
    },
    /// The type needs an importance matrix.
    NeedsImportance,
    /// The blocks that came out hold scales that aren't finite: the numbers are too large for the type.
    Overflow,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Type { ty } => write!(f, "ggml can't do this with type number {ty}"),
            Error::Length { numbers, row_len, bytes } => {
                write!(f, "{numbers} numbers in rows of {row_len} don't fit {bytes} bytes")
            }
            Error::Number { index, value } => {
                write!(f, "number {index} is {value}; only finite ones up to {LARGEST:e} can be quantized")
            }
            Error::Importance { index, value } => {
                write!(f, "importance {index} is {value}, not a finite number from 0 to {LARGEST:e}")
            }
            Error::NeedsImportance => write!(f, "this type can't be quantized without an importance matrix"),
            Error::Overflow => write!(f, "numbers are too large for the type"),
        }
    }
}

impl std::error::Error for Error {}

/// What ggml knows of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeTraits {
    /// Its name, such as `q4_K`.
    pub name: &'static str,
    /// Numbers in a block.
    pub block_len: usize,
    /// Bytes of a block.
    pub block_bytes: usize,
    /// Whether it is a format of blocks, not of single numbers.
    pub quantized: bool,
    /// Whether [`dequantize_row`] takes it.
    pub dequantizes: bool,
    /// Whether [`quantize_chunk`] takes it.
    pub quantizes: bool,
    /// Whether [`quantize_chunk`] takes it only with an importance matrix.
    pub needs_importance: bool,
}

/// What ggml knows of a type; `None` for numbers that are unknown or no longer used.
pub fn type_traits(ty: u32) -> Option<TypeTraits> {
    let traits = raw_traits(ty)?;
    // SAFETY: ggml's names are string literals.
    let name = unsafe { CStr::from_ptr(traits.type_name) }.to_str().ok()?;
    // SAFETY: any type may be asked for.
    let needs_importance = unsafe { raw::ggml_quantize_requires_imatrix(ty) };
    Some(TypeTraits {
        name,
        block_len: usize::try_from(traits.blck_size).ok()?,
        block_bytes: traits.type_size,
        quantized: traits.is_quantized,
        dequantizes: ty == F32 || traits.to_float.is_some(),
        quantizes: QUANTIZES.contains(&ty),
        needs_importance,
    })
}

const F32: u32 = 0;
const IQ1_M: u32 = 29;
const BF16: u32 = 30;
const MXFP4: u32 = 39;
/// Types that `ggml_quantize_chunk` knows; for others it does nothing.
const QUANTIZES: [u32; 28] =
    [0, 1, 2, 3, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22, 23, 29, 30, 34, 35, 39, 40, 41, 42];

fn raw_traits(ty: u32) -> Option<&'static raw::ggml_type_traits> {
    if ty >= raw::GGML_TYPE_COUNT {
        return None;
    }
    // SAFETY: the number is one of the table's, which is constant.
    let traits = unsafe { raw::ggml_get_type_traits(ty).as_ref() }?;
    (traits.type_size > 0 && traits.blck_size > 0).then_some(traits)
}

/// Bytes of a row of `n` numbers; `None` where the type is unknown, `n` isn't a whole number of blocks, or it overflows.
pub fn row_size(ty: u32, n: usize) -> Option<usize> {
    let traits = type_traits(ty)?;
    if !n.is_multiple_of(traits.block_len) {
        return None;
    }
    (n / traits.block_len).checked_mul(traits.block_bytes)
}

/// Turns whole rows into numbers.
///
/// # Errors
/// The type can't be dequantized, or `bytes` and `out` don't fit together.
pub fn dequantize_row(ty: u32, bytes: &[u8], out: &mut [f32]) -> Result<(), Error> {
    let traits = raw_traits(ty).ok_or(Error::Type { ty })?;
    if row_size(ty, out.len()) != Some(bytes.len()) {
        return Err(Error::Length { numbers: out.len(), row_len: out.len(), bytes: bytes.len() });
    }
    if out.is_empty() {
        return Ok(());
    }
    let Ok(n) = i64::try_from(out.len()) else { return Err(Error::Type { ty }) };
    let bytes = aligned(bytes);
    match traits.to_float {
        // SAFETY: the lengths were compared; the bytes are aligned for every block type, and no bytes are invalid ones.
        Some(convert) => unsafe { convert(bytes.as_ptr().cast(), out.as_mut_ptr(), n) },
        None if ty == F32 => {
            for (out, number) in out.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *out = f32::from_ne_bytes(*number);
            }
        }
        None => return Err(Error::Type { ty }),
    }
    Ok(())
}

/// The bytes where ggml's block types (of at most 4-byte members) may be read: copied where they lie at an odd place.
fn aligned(bytes: &[u8]) -> Cow<'_, [u8]> {
    if bytes.as_ptr().addr().is_multiple_of(4) {
        return Cow::Borrowed(bytes);
    }
    // The allocator aligns to 8 at least on every platform that this builds on; checked, not assumed.
    let copy = bytes.to_vec();
    assert!(copy.as_ptr().addr().is_multiple_of(4), "the allocator aligns to words");
    Cow::Owned(copy)
}

/// Turns rows of `row_len` numbers into blocks. `importance` weighs the columns' errors, a weight for each.
///
/// The result depends on nothing else: rows may be quantized in chunks, in any order, on several threads.
///
/// # Errors
/// The type can't be quantized to, or not without importance; the slices don't fit together; a number isn't finite or
/// is beyond [`LARGEST`], or too large for the type. Then `out` holds nothing of use.
pub fn quantize_chunk(
    ty: u32,
    numbers: &[f32],
    row_len: usize,
    importance: Option<&[f32]>,
    out: &mut [u8],
) -> Result<(), Error> {
    let traits = type_traits(ty).filter(|t| t.quantizes).ok_or(Error::Type { ty })?;
    let fits = row_len > 0
        && numbers.len().is_multiple_of(row_len)
        && row_size(ty, row_len).and_then(|bytes| bytes.checked_mul(numbers.len() / row_len)) == Some(out.len())
        && importance.is_none_or(|weights| weights.len() == row_len);
    if !fits {
        return Err(Error::Length { numbers: numbers.len(), row_len, bytes: out.len() });
    }
    if importance.is_none() && traits.needs_importance {
        return Err(Error::NeedsImportance);
    }
    // Floats are only rounded, whatever their size; what is formed into blocks is multiplied and added up.
    let largest = if traits.quantized { LARGEST } else { f32::MAX };
    if let Some((index, &value)) = numbers.iter().enumerate().find(|(_, x)| !(-largest..=largest).contains(*x)) {
        return Err(Error::Number { index, value });
    }
    let fine = |w: &&f32| (0.0..=LARGEST).contains(*w);
    if let Some((index, &value)) = importance.into_iter().flatten().enumerate().find(|(_, w)| !fine(w)) {
        return Err(Error::Importance { index, value });
    }
    if numbers.is_empty() {
        return Ok(());
    }
    let (Ok(rows), Ok(columns)) = (i64::try_from(numbers.len() / row_len), i64::try_from(row_len)) else {
        return Err(Error::Type { ty });
    };
    let weights = importance.map_or(std::ptr::null(), <[f32]>::as_ptr);
    // ggml writes its block types: at an odd place, through a copy.
    if out.as_ptr().addr().is_multiple_of(4) {
        // SAFETY: as for `chunk`; the place is aligned.
        unsafe { chunk(ty, numbers, out, (rows, columns), weights) };
    } else {
        let mut copy = vec![0u32; out.len().div_ceil(4)];
        // SAFETY: the words hold as many bytes at least, and any bytes are valid words.
        let bytes = unsafe { std::slice::from_raw_parts_mut(copy.as_mut_ptr().cast::<u8>(), out.len()) };
        // SAFETY: as for `chunk`; the place is aligned.
        unsafe { chunk(ty, numbers, bytes, (rows, columns), weights) };
        out.copy_from_slice(bytes);
    }
    if valid(ty, out) { Ok(()) } else { Err(Error::Overflow) }
}

/// # Safety
/// The type can be quantized to, `rows · columns` numbers are there and finite, `out` is aligned to 4 and has the bytes of
/// their blocks, `weights` is null (where the type allows that) or has a finite weight per column.
unsafe fn chunk(ty: u32, numbers: &[f32], out: &mut [u8], (rows, columns): (i64, i64), weights: *const f32) {
    // SAFETY: by the contract. Tables that a type needs are made by the call itself, under a lock of ggml's.
    let written =
        unsafe { raw::ggml_quantize_chunk(ty, numbers.as_ptr(), out.as_mut_ptr().cast(), 0, rows, columns, weights) };
    assert_eq!(written, out.len(), "ggml fills whole rows");
}

/// Whether a type's whole blocks hold finite numbers or scales alone. (ggml has such a function, too, but it prints.)
pub fn valid(ty: u32, bytes: &[u8]) -> bool {
    let Some(traits) = type_traits(ty) else { return false };
    let mut blocks = bytes.chunks_exact(traits.block_bytes);
    let half = |block: &[u8], at: usize| u16::from_le_bytes([block[at], block[at + 1]]);
    let finite = |bits: u16| bits & 0x7c00 != 0x7c00;
    let all = match (ty, scales(ty)) {
        (F32, _) => blocks.all(|b| half(b, 2) & 0x7f80 != 0x7f80),
        (BF16, _) => blocks.all(|b| half(b, 0) & 0x7f80 != 0x7f80),
        (MXFP4, _) => blocks.all(|b| b[0] != u8::MAX),
        // Its scale lies in the high four bits of four words.
        (IQ1_M, _) => blocks.all(|b| finite(half(b, 54) & 0xf000 | half(b, 52) >> 4 & 0x0f00)),
        (_, at) => blocks.all(|b| at.iter().all(|&at| finite(half(b, at)))),
    };
    all && blocks.remainder().is_empty()
}

/// Where a block's half-precision scales and offsets lie.
fn scales(ty: u32) -> &'static [usize] {
    match ty {
        // F16, Q4_0, Q5_0, Q8_0, IQ2_XXS, IQ2_XS, IQ3_XXS, IQ1_S, IQ4_NL, IQ3_S, IQ2_S, IQ4_XS, Q1_0, Q2_0
        1 | 2 | 6 | 8 | 16..=23 | 41 | 42 => &[0],
        // Q4_1, Q5_1, Q4_K, Q5_K
        3 | 7 | 12 | 13 => &[0, 2],
        10 => &[80, 82],
        11 => &[108],
        14 => &[208],
        // TQ1_0, TQ2_0
        34 => &[52],
        35 => &[64],
        _ => &[],
    }
}
