//! Vectors of sixteen floats.

use std::arch::x86_64::*;

use super::Kernel;
use super::Lanes;
use crate::kernels::Avx512;

/// Runs a kernel compiled for AVX-512.
pub(crate) fn dispatch<K: Kernel>(proof: Avx512, kernel: K) -> K::Output {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")]
    fn run<K: Kernel>(proof: Avx512, kernel: K) -> K::Output {
        kernel.run(proof)
    }
    // SAFETY: `proof` says that the processor has these features.
    unsafe { run(proof, kernel) }
}

// SAFETY (for all blocks below that name none): an `Avx512` exists only where the instructions do; what a pointer must
// satisfy is passed on to the caller by the trait.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lanes for Avx512 {
    type V = __m512;
    const N: usize = 16;
    const WIDE: bool = true;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(p, v) }
    }

    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> __m512 {
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn round(self, v: __m512) -> __m512 {
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v) }
    }

    #[inline(always)]
    fn mul_pow2(self, v: __m512, n: __m512) -> __m512 {
        unsafe { _mm512_scalef_ps(v, n) }
    }

    #[inline(always)]
    fn select_lt(self, a: __m512, b: __m512, yes: __m512, no: __m512) -> __m512 {
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), no, yes) }
    }

    #[inline(always)]
    fn sum_each(self, v: &[__m512]) -> __m512 {
        // Four vectors at a time become one of which lane `4 b + i` holds vector i's sum over the 128-bit block b ...
        let mut quarters = [self.splat(0.0); 4];
        for (quarter, v) in quarters.iter_mut().zip(v.chunks_exact(4)) {
            *quarter = sums_of_blocks(v[0], v[1], v[2], v[3]);
        }
        let [a, b, c, d] = quarters;
        // ... and then the four blocks of each are summed, in the same way on the level of blocks.
        unsafe {
            let ab =
                _mm512_add_ps(_mm512_shuffle_f32x4::<0b10_00_10_00>(a, b), _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b));
            let cd =
                _mm512_add_ps(_mm512_shuffle_f32x4::<0b10_00_10_00>(c, d), _mm512_shuffle_f32x4::<0b11_01_11_01>(c, d));
            _mm512_add_ps(_mm512_shuffle_f32x4::<0b10_00_10_00>(ab, cd), _mm512_shuffle_f32x4::<0b11_01_11_01>(ab, cd))
        }
    }

    #[inline(always)]
    unsafe fn load_columns(self, p: *const f32, stride: usize) -> [__m512; 4] {
        // Vector i holds rows i, 4 + i, 8 + i, 12 + i in its four blocks, so that turning each block is all.
        let row = |i: usize| unsafe { _mm_loadu_ps(p.add(i * stride)) };
        let four = |i: usize| unsafe {
            let v = _mm512_castps128_ps512(row(i));
            let v = _mm512_insertf32x4::<1>(v, row(4 + i));
            let v = _mm512_insertf32x4::<2>(v, row(8 + i));
            _mm512_insertf32x4::<3>(v, row(12 + i))
        };
        turn([four(0), four(1), four(2), four(3)])
    }

    #[inline(always)]
    unsafe fn store_columns(self, p: *mut f32, stride: usize, columns: [__m512; 4]) {
        let rows = turn(columns);
        let put = |i: usize, v: __m128| unsafe { _mm_storeu_ps(p.add(i * stride), v) };
        unsafe {
            (0..4).for_each(|i| put(i, _mm512_castps512_ps128(rows[i])));
            (0..4).for_each(|i| put(4 + i, _mm512_extractf32x4_ps::<1>(rows[i])));
            (0..4).for_each(|i| put(8 + i, _mm512_extractf32x4_ps::<2>(rows[i])));
            (0..4).for_each(|i| put(12 + i, _mm512_extractf32x4_ps::<3>(rows[i])));
        }
    }
}

/// In each 128-bit block, lane i becomes the sum of vector i's lanes of that block.
#[inline(always)]
#[allow(clippy::undocumented_unsafe_blocks)] // as above
fn sums_of_blocks(a: __m512, b: __m512, c: __m512, d: __m512) -> __m512 {
    unsafe {
        let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
        let low = _mm512_shuffle_ps::<0b01_00_01_00>(ab, cd);
        _mm512_add_ps(low, _mm512_shuffle_ps::<0b11_10_11_10>(ab, cd))
    }
}

/// Transposes each 4 x 4 block of 128-bit lanes.
#[inline(always)]
#[allow(clippy::undocumented_unsafe_blocks)] // as above
fn turn([a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
    unsafe {
        let (ab, cd) = (_mm512_unpacklo_ps(a, b), _mm512_unpacklo_ps(c, d));
        let (ab2, cd2) = (_mm512_unpackhi_ps(a, b), _mm512_unpackhi_ps(c, d));
        [
            _mm512_shuffle_ps::<0b01_00_01_00>(ab, cd),
            _mm512_shuffle_ps::<0b11_10_11_10>(ab, cd),
            _mm512_shuffle_ps::<0b01_00_01_00>(ab2, cd2),
            _mm512_shuffle_ps::<0b11_10_11_10>(ab2, cd2),
        ]
    }
}
