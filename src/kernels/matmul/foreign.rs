//! Weights of types that have no format here.
//!
//! ggml turns rows into numbers, which are rounded to 8 bits with a scale per 32 (Q8_0) and multiplied as such: that loses
//! little beside what the types themselves have lost. It is done a task's rows at a time, anew for each product, so that
//! the weights stay in the map. For many tokens that is a small part of the work; for one it is most of it.

use super::super::Isa;
use crate::gguf::GgmlType;
use crate::quant::{self, QK8, quantize_row};

/// Bytes of a block of Q8_0: a scale in half precision, then the codes.
const BLOCK: usize = 2 + QK8;

/// Rows in 8 bits, and memory for making them.
#[derive(Default)]
pub(super) struct Foreign {
    floats: Vec<f32>,
    q8_0: Vec<u8>,
}

impl Foreign {
    /// Rows of `cols` numbers, a multiple of 32, as Q8_0; one row's bytes are these divided by the rows.
    ///
    /// # Panics
    /// There is no way from the type to numbers, or the bytes are no whole rows of it.
    pub fn bring(&mut self, isa: Isa, ty: GgmlType, bytes: &[u8], cols: usize) -> &[u8] {
        let numbers = bytes.len() / ty.block_bytes() * ty.block_len();
        assert!(
            numbers.is_multiple_of(cols) && cols.is_multiple_of(QK8),
            "{numbers} numbers of {ty} in rows of {cols}"
        );
        self.floats.resize(cols, 0.0);
        self.q8_0.resize(numbers / QK8 * BLOCK, 0);
        let row_bytes = cols / ty.block_len() * ty.block_bytes();
        for (row, out) in bytes.chunks_exact(row_bytes).zip(self.q8_0.chunks_exact_mut(cols / QK8 * BLOCK)) {
            let done = quant::dequantize(ty, row, &mut self.floats);
            assert!(done.is_ok(), "the type was looked at when the matrix was made");
            round_on(isa, &self.floats, out);
        }
        &self.q8_0
    }
}

/// Numbers to blocks of Q8_0.
#[inline(always)]
fn round(numbers: &[f32], out: &mut [u8]) {
    for (numbers, out) in numbers.as_chunks::<QK8>().0.iter().zip(out.as_chunks_mut::<BLOCK>().0) {
        let (mut q, mut d) = ([0; QK8], [0.0]);
        quantize_row::<QK8>(numbers, &mut q, &mut d, &mut [0; 2]);
        out[..2].copy_from_slice(&half::f16::from_f32(d[0]).to_le_bytes());
        out[2..].copy_from_slice(&q.map(i8::cast_unsigned));
    }
}

/// [`round`], compiled for the instruction set.
fn round_on(isa: Isa, numbers: &[f32], out: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,f16c")]
    fn avx2(numbers: &[f32], out: &mut [u8]) {
        round(numbers, out);
    }
    match isa {
        // SAFETY: a `Cpu` holds these values only after `Isa::is_available` said that the processor has AVX2 and F16C.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::Avx512 => unsafe { avx2(numbers, out) },
        _ => round(numbers, out),
    }
}
