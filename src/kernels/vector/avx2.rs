//! Vectors of eight floats.

use std::arch::x86_64::*;

use super::Kernel;
use super::Lanes;
use crate::kernels::Avx2;

/// Runs a kernel compiled for AVX2.
pub(crate) fn dispatch<K: Kernel>(proof: Avx2, kernel: K) -> K::Output {
    #[target_feature(enable = "avx2,fma,f16c")]
    fn run<K: Kernel>(proof: Avx2, kernel: K) -> K::Output {
        kernel.run(proof)
    }
    // SAFETY: `proof` says that the processor has these features.
    unsafe { run(proof, kernel) }
}

// SAFETY (for all blocks below that name none): an `Avx2` exists only where the instructions do; what a pointer must
// satisfy is passed on to the caller by the trait.
#[allow(clippy::undocumented_unsafe_blocks)]
impl Lanes for Avx2 {
    type V = __m256;
    const N: usize = 8;
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m256) {
        unsafe { _mm256_storeu_ps(p, v) }
    }

    #[inline(always)]
    unsafe fn load_f16(self, p: *const u16) -> __m256 {
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_div_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }

    #[inline(always)]
    fn round(self, v: __m256) -> __m256 {
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v) }
    }

    #[inline(always)]
    fn mul_pow2(self, v: __m256, n: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(v, pow2(_mm256_cvtps_epi32(n))) }
    }

    #[inline(always)]
    fn select_lt(self, a: __m256, b: __m256, yes: __m256, no: __m256) -> __m256 {
        unsafe { _mm256_blendv_ps(no, yes, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b)) }
    }

    #[inline(always)]
    fn sum_each(self, v: &[__m256]) -> __m256 {
        // Four vectors become one of which lane `4 b + i` holds vector i's sum over the 128-bit block b; then the blocks.
        let mut halves = [self.splat(0.0); 2];
        for (half, v) in halves.iter_mut().zip(v.chunks_exact(4)) {
            *half = sums_of_blocks(v[0], v[1], v[2], v[3]);
        }
        let [a, b] = halves;
        unsafe { _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b)) }
    }

    #[inline(always)]
    unsafe fn load_columns(self, p: *const f32, stride: usize) -> [__m256; 4] {
        // Vector i holds rows i and 4 + i in its two blocks, so that turning each block is all.
        let row = |i: usize| unsafe { _mm_loadu_ps(p.add(i * stride)) };
        let two = |i: usize| unsafe { _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(row(i)), row(4 + i)) };
        turn([two(0), two(1), two(2), two(3)])
    }

    #[inline(always)]
    unsafe fn store_columns(self, p: *mut f32, stride: usize, columns: [__m256; 4]) {
        let rows = turn(columns);
        let put = |i: usize, v: __m128| unsafe { _mm_storeu_ps(p.add(i * stride), v) };
        unsafe {
            (0..4).for_each(|i| put(i, _mm256_castps256_ps128(rows[i])));
            (0..4).for_each(|i| put(4 + i, _mm256_extractf128_ps::<1>(rows[i])));
        }
    }
}

/// In each 128-bit block, lane i becomes the sum of vector i's lanes of that block.
#[inline(always)]
#[allow(clippy::undocumented_unsafe_blocks)] // as above
fn sums_of_blocks(a: __m256, b: __m256, c: __m256, d: __m256) -> __m256 {
    unsafe {
        let ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        let cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
        let low = _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd);
        _mm256_add_ps(low, _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd))
    }
}

/// Transposes each 4 x 4 block of 128-bit lanes.
#[inline(always)]
#[allow(clippy::undocumented_unsafe_blocks)] // as above
fn turn([a, b, c, d]: [__m256; 4]) -> [__m256; 4] {
    unsafe {
        let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
        let (ab2, cd2) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
        [
            _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd),
            _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd),
            _mm256_shuffle_ps::<0b01_00_01_00>(ab2, cd2),
            _mm256_shuffle_ps::<0b11_10_11_10>(ab2, cd2),
        ]
    }
}

/// `2^n` for `n` in -126..=127.
#[inline(always)]
#[allow(clippy::undocumented_unsafe_blocks)] // as above
fn pow2(n: __m256i) -> __m256 {
    unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(n, _mm256_set1_epi32(127)))) }
}
