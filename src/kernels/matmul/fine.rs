//! Inputs of few tokens: 15 bits per number, in the order in which products of few tokens read them.
//!
//! A multiplication of 16-bit words takes a nibble from each two bytes of the weights at a time, so numbers that
//! neighbour in a row are apart in a register. Of each 128 columns, four vectors of 32 words hold, for each 32 columns
//! (an eighth of a vector's words, in order):
//!
//! ```text
//! vector 0: columns 0, 2, …, 14      vector 1: 16, 18, …, 30      vector 2: 1, 3, …, 15      vector 3: 17, 19, …, 31
//! ```
//!
//! Q4_K's bytes hold a column of 32 in their low halves and one of the next 32 in their high ones. For it, and with AVX2 for all
//! K-quants, the same eighths are [paired](Order::Paired) otherwise, so that words needn't be moved:
//!
//! ```text
//! vector 0: the even columns of the first and the third 32      vector 1: of the second and the fourth
//! vectors 2 and 3: the odd ones alike
//! ```

use crate::gguf::GgmlType;
use crate::kernels::Isa;
use crate::quant::{QK_FINE, quantize_fine};

/// Columns of a [`FineSpan`].
pub(super) const SPAN: usize = QK_FINE;

/// An order of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Of 32 columns after 32.
    Straight = 0,
    /// As Q4_K wants it, and AVX2 for all K-quants.
    Paired = 1,
}

impl Order {
    /// The order in which products with weights of this type read codes.
    pub fn of(isa: Isa, codes: GgmlType) -> Order {
        let paired = match isa {
            Isa::Scalar => false,
            Isa::Avx2 => codes.block_len() == SPAN,
            Isa::Avx512 => codes == GgmlType::Q4_K,
        };
        if paired { Order::Paired } else { Order::Straight }
    }
}

/// 256 numbers of one token.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
pub(super) struct FineSpan {
    /// Codes, `[128 columns][vector][32 columns][8]`.
    pub q: [[i16; 32]; 8],
    /// Sums of the codes of each 16 columns.
    pub sums: [f32; 16],
    /// Sums of the codes of each 32 columns.
    pub sums_32: [f32; 8],
    /// What a code stands for.
    pub d: f32,
}

impl std::fmt::Debug for FineSpan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FineSpan").field("d", &self.d).finish_non_exhaustive()
    }
}

impl FineSpan {
    /// Where the code of a column is: its vector, and its place there.
    pub fn place(column: usize) -> (usize, usize) {
        let (half, block, at) = (column / 128, column % 128 / 32, column % 32);
        (4 * half + at / 16 + 2 * (at % 2), 8 * block + at % 16 / 2)
    }

    /// From straight to paired.
    #[inline(always)]
    fn pair(&mut self) {
        for four in self.q.as_chunks_mut::<4>().0 {
            for v in [0, 2] {
                let eighths = |q: &[i16; 32]| -> [[i16; 8]; 4] { std::array::from_fn(|i| q.as_chunks::<8>().0[i]) };
                let (a, b) = (eighths(&four[v]), eighths(&four[v + 1]));
                four[v].as_chunks_mut::<8>().0.copy_from_slice(&[a[0], b[0], a[2], b[2]]);
                four[v + 1].as_chunks_mut::<8>().0.copy_from_slice(&[a[1], b[1], a[3], b[3]]);
            }
        }
    }

    #[inline(always)]
    fn fill(&mut self, x: &[f32; SPAN]) {
        let mut codes = [0i32; SPAN];
        self.d = quantize_fine(x, &mut codes);
        for (half, codes) in codes.as_chunks::<128>().0.iter().enumerate() {
            let q = &mut self.q[4 * half..][..4];
            for (block, codes) in codes.as_chunks::<32>().0.iter().enumerate() {
                for (v, q) in q.iter_mut().enumerate() {
                    let first = 16 * (v % 2) + v / 2;
                    for (i, q) in q[8 * block..][..8].iter_mut().enumerate() {
                        *q = codes[first + 2 * i] as i16;
                    }
                }
            }
        }
        for (sum, codes) in self.sums.iter_mut().zip(codes.as_chunks::<16>().0) {
            // Exact: below 2^18.
            *sum = codes.iter().sum::<i32>() as f32;
        }
        for (sum, two) in self.sums_32.iter_mut().zip(self.sums.as_chunks::<2>().0) {
            *sum = two[0] + two[1];
        }
    }
}

/// The input in 15 bits.
#[derive(Clone, Copy)]
pub(super) struct Fine<'a> {
    /// `[tokens, per_token]`
    pub spans: &'a [FineSpan],
    /// Spans of a token; columns beyond its last are zeros.
    pub per_token: usize,
}

impl<'a> Fine<'a> {
    /// A token's spans.
    #[inline(always)]
    pub fn token(&self, token: usize) -> &'a [FineSpan] {
        &self.spans[token * self.per_token..][..self.per_token]
    }
}

/// # Panics
/// `out` has another number of spans than `x` fills.
#[inline(always)]
fn quantize_body(x: &[f32], out: &mut [FineSpan]) {
    assert_eq!(x.len().div_ceil(SPAN), out.len());
    let (whole, rest) = x.as_chunks::<SPAN>();
    for (x, out) in whole.iter().zip(&mut *out) {
        out.fill(x);
    }
    if !rest.is_empty() {
        let mut last = [0.0; SPAN];
        last[..rest.len()].copy_from_slice(rest);
        out[whole.len()].fill(&last);
    }
}

/// A token's spans, `from` straight, in paired order.
///
/// # Panics
/// Their numbers differ.
pub(super) fn pair(from: &[FineSpan], to: &mut [FineSpan]) {
    to.copy_from_slice(from);
    to.iter_mut().for_each(FineSpan::pair);
}

/// Quantizes a token's row, in straight order.
///
/// # Panics
/// `out` has another number of spans than `x` fills.
pub(super) fn quantize(isa: Isa, x: &[f32], out: &mut [FineSpan]) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2(x: &[f32], out: &mut [FineSpan]) {
        quantize_body(x, out);
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
    fn avx512(x: &[f32], out: &mut [FineSpan]) {
        quantize_body(x, out);
    }
    match isa {
        // SAFETY: a `Cpu` holds this value only after `Isa::is_available` said that the processor has it.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2(x, out) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { avx512(x, out) },
        _ => quantize_body(x, out),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_stand_where_the_kernels_look_for_them() {
        let mut rng = fastrand::Rng::with_seed(9);
        let x: Vec<f32> = (0..SPAN + 40).map(|_| rng.f32() - 0.5).collect();
        for isa in Isa::available() {
            let mut spans = [FineSpan::default(); 2];
            quantize(isa, &x, &mut spans);
            for column in 0..2 * SPAN {
                let s = &spans[column / SPAN];
                let (v, i) = FineSpan::place(column % SPAN);
                let wanted = x.get(column).copied().unwrap_or(0.0);
                assert!((f32::from(s.q[v][i]) * s.d - wanted).abs() <= 0.5 / 32766.0, "{isa:?} column {column}");
            }
            let mut paired = [FineSpan::default(); 2];
            pair(&spans, &mut paired);
            for column in 0..2 * SPAN {
                let (block, at) = (column % 128 / 32, column % 32);
                let (vector, i) = (column % SPAN / 128 * 4 + block % 2 + 2 * (at % 2), 16 * (block / 2) + at / 2);
                let (v, straight) = FineSpan::place(column % SPAN);
                assert_eq!(paired[column / SPAN].q[vector][i], spans[column / SPAN].q[v][straight], "column {column}");
            }
            let sum = |s: &FineSpan| s.q.iter().flatten().map(|&q| f32::from(q)).sum::<f32>();
            for s in &spans {
                assert_eq!(s.sums.iter().sum::<f32>(), sum(s));
                assert_eq!(s.sums_32.iter().sum::<f32>(), sum(s));
            }
        }
    }
}
