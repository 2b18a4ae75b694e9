//! Rounding rows of activations to 8 bits, as [`quantize_row`] does and with the same results, in vectors.
//!
//! Left to itself, the compiler works on sixteen blocks at once and gathers their numbers one by one.

use crate::kernels::Isa;
use crate::quant::quantize_row;

/// Rounds blocks of `N` numbers (32 or 64); see [`quantize_row`].
///
/// # Panics
/// The slices don't fit together.
pub(super) fn round_row<const N: usize>(isa: Isa, x: &[f32], q: &mut [i8], d: &mut [f32], sums: &mut [i32]) {
    const { assert!(N == 32 || N == 64) };
    assert!(x.len() == q.len() && x.len() == d.len() * N && 2 * d.len() == sums.len());
    match isa {
        // SAFETY: a `Cpu` holds this value only after `Isa::is_available` said that the processor has it.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { x86::avx2::<N>(x, q, d, sums) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { x86::avx512::<N>(x, q, d, sums) },
        _ => quantize_row::<N>(x, q, d, sums),
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use crate::quant::block_scale;

    /// The largest code.
    const LIMIT: f32 = 127.0;

    /// # Safety
    /// The processor has the features; the slices fit together.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx2")]
    pub(super) unsafe fn avx512<const N: usize>(x: &[f32], q: &mut [i8], d: &mut [f32], sums: &mut [i32]) {
        let blocks = x.as_chunks::<N>().0.iter().zip(q.as_chunks_mut::<N>().0);
        for ((x, q), (d, sums)) in blocks.zip(d.iter_mut().zip(sums.as_chunks_mut::<2>().0)) {
            // At most four vectors of sixteen, of which `N / 16` are used.
            let mut v = [_mm512_setzero_ps(); 4];
            let mut max = _mm512_setzero_si512();
            for (v, x) in v.iter_mut().zip(x.as_chunks::<16>().0) {
                // SAFETY: sixteen numbers.
                *v = unsafe { _mm512_loadu_ps(x.as_ptr()) };
                // Comparing bits orders magnitudes, infinities and NaN alike.
                let magnitude = _mm512_and_si512(_mm512_castps_si512(*v), _mm512_set1_epi32(0x7fff_ffff));
                max = _mm512_max_epu32(max, magnitude);
            }
            let Some((step, inverse)) = block_scale(_mm512_reduce_max_epu32(max), LIMIT) else {
                (*d, *sums, *q) = (f32::NAN, [0; 2], [0; N]);
                continue;
            };
            *d = step;
            let mut halves = [_mm512_setzero_si512(); 2];
            for (i, (v, q)) in v.iter().zip(q.as_chunks_mut::<16>().0).enumerate() {
                let codes = _mm512_cvtps_epi32(_mm512_mul_ps(*v, _mm512_set1_ps(inverse)));
                halves[i / (N / 32)] = _mm512_add_epi32(halves[i / (N / 32)], codes);
                // SAFETY: sixteen codes.
                unsafe { _mm_storeu_si128(q.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(codes)) };
            }
            *sums = [_mm512_reduce_add_epi32(halves[0]), _mm512_reduce_add_epi32(halves[1])];
        }
    }

    /// # Safety
    /// The processor has the features; the slices fit together.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn avx2<const N: usize>(x: &[f32], q: &mut [i8], d: &mut [f32], sums: &mut [i32]) {
        let blocks = x.as_chunks::<N>().0.iter().zip(q.as_chunks_mut::<N>().0);
        for ((x, q), (d, sums)) in blocks.zip(d.iter_mut().zip(sums.as_chunks_mut::<2>().0)) {
            let mut max = _mm256_setzero_si256();
            for x in x.as_chunks::<8>().0 {
                // SAFETY: eight numbers.
                let v = unsafe { _mm256_loadu_si256(x.as_ptr().cast()) };
                max = _mm256_max_epu32(max, _mm256_and_si256(v, _mm256_set1_epi32(0x7fff_ffff)));
            }
            let four = _mm_max_epu32(_mm256_castsi256_si128(max), _mm256_extracti128_si256::<1>(max));
            let two = _mm_max_epu32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
            let one = _mm_max_epu32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two));
            let Some((step, inverse)) = block_scale(_mm_cvtsi128_si32(one).cast_unsigned(), LIMIT) else {
                (*d, *sums, *q) = (f32::NAN, [0; 2], [0; N]);
                continue;
            };
            *d = step;
            let mut halves = [_mm256_setzero_si256(); 2];
            for (i, (x, q)) in x.as_chunks::<32>().0.iter().zip(q.as_chunks_mut::<32>().0).enumerate() {
                let mut codes = [_mm256_setzero_si256(); 4];
                for (k, (codes, x)) in codes.iter_mut().zip(x.as_chunks::<8>().0).enumerate() {
                    // SAFETY: eight numbers.
                    let v = unsafe { _mm256_loadu_ps(x.as_ptr()) };
                    *codes = _mm256_cvtps_epi32(_mm256_mul_ps(v, _mm256_set1_ps(inverse)));
                    let half = &mut halves[if N == 32 { k / 2 } else { i }];
                    *half = _mm256_add_epi32(*half, *codes);
                }
                // Both packings work on halves of 128 bits: their quads are put in order afterwards.
                let [a, b, c, d] = codes;
                let packed = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
                let ordered = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
                // SAFETY: 32 codes.
                unsafe { _mm256_storeu_si256(q.as_mut_ptr().cast(), ordered) };
            }
            for (sum, half) in sums.iter_mut().zip(halves) {
                let four = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half));
                let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
                *sum = _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rounded<const N: usize>(isa: Isa, x: &[f32]) -> (Vec<i8>, Vec<u32>, Vec<i32>) {
        let (mut q, mut d, mut sums) = (vec![1; x.len()], vec![1.0; x.len() / N], vec![1; 2 * x.len() / N]);
        round_row::<N>(isa, x, &mut q, &mut d, &mut sums);
        (q, d.iter().map(|d| d.to_bits()).collect(), sums)
    }

    /// Ordinary numbers, halves that round either way, and what no model should contain.
    fn number() -> impl Strategy<Value = f32> {
        prop_oneof![
            8 => -3.0f32..3.0,
            2 => (-254i32..=254).prop_map(|n| n as f32 / 2.0),
            1 => prop_oneof![Just(0.0), Just(-0.0), Just(1e-44), Just(f32::MAX), Just(f32::MIN_POSITIVE)],
        ]
    }

    proptest! {
        #[test]
        fn vectors_round_as_the_plain_kernel_does(
            blocks in proptest::collection::vec(proptest::collection::vec(number(), 64), 1..5),
            odd in prop_oneof![4 => Just(None), 1 => (0usize..64, prop_oneof![Just(f32::NAN), Just(f32::INFINITY)]).prop_map(Some)],
        ) {
            let mut x = blocks.concat();
            if let Some((at, value)) = odd {
                x[at] = value;
            }
            for isa in Isa::available() {
                prop_assert_eq!(rounded::<32>(isa, &x), rounded::<32>(Isa::Scalar, &x), "{:?}", isa);
                prop_assert_eq!(rounded::<64>(isa, &x), rounded::<64>(Isa::Scalar, &x), "{:?}", isa);
            }
        }
    }
}
