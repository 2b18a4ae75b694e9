//! The vectors that the matrix kernels are written over: one output row per lane.
//!
//! Everything here is `inline(always)` and becomes code of an instruction set inside the `target_feature` functions of
//! [`on_isa`](super::panel). Each implementation is the exact twin of [`Plain`], except that fused multiply-adds round
//! once.

/// Vectors of `WIDTH` rows.
pub(super) trait Lanes: Copy {
    /// Rows per vector.
    const WIDTH: usize;
    /// Vectors of int32 and of float32.
    type I: Copy;
    /// See above.
    type F: Copy;
    /// Tokens that one pass of the quantized micro-kernel handles, so that its accumulators stay in registers.
    const TOKENS: usize;
    /// Whether [`Lanes::dot8`] takes its weights as signed numbers around 128 and corrects for that itself.
    const SIGNED_DOT8: bool;

    /// All lanes `x`.
    ///
    /// # Safety
    /// For all functions here: the processor has the instruction set; pointers lead to a whole vector (alignment 1).
    unsafe fn splat_i(x: i32) -> Self::I;
    /// All lanes `x`.
    unsafe fn splat(x: f32) -> Self::F;
    /// Four codes of each row.
    unsafe fn load_codes(p: *const u8) -> Self::I;
    /// One number of each row.
    unsafe fn load(p: *const f32) -> Self::F;
    /// Stores one number of each row.
    unsafe fn store(p: *mut f32, x: Self::F);
    /// `acc + Σ w·x` over four codes below 128 and four activations (the bytes of `x`).
    unsafe fn dot(acc: Self::I, w: Self::I, x: i32) -> Self::I;
    /// The same for codes up to 255.
    unsafe fn dot8(acc: Self::I, w: Self::I, x: i32) -> Self::I;
    /// Conversion, exact below 2^24.
    unsafe fn to_f(x: Self::I) -> Self::F;
    /// Sixteen half-precision numbers as float32.
    unsafe fn widen_f16(bytes: &[u8; 32], out: &mut [f32; 16]);
    /// `a · b`.
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    /// `a · b + c`.
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
}

/// Plain Rust.
#[derive(Clone, Copy)]
pub(super) struct Plain;

impl Lanes for Plain {
    const WIDTH: usize = 8;
    type I = [i32; 8];
    type F = [f32; 8];
    const TOKENS: usize = 1;
    const SIGNED_DOT8: bool = false;

    #[inline(always)]
    unsafe fn splat_i(x: i32) -> [i32; 8] {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 8] {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn load_codes(p: *const u8) -> [i32; 8] {
        // SAFETY: a whole vector by contract.
        unsafe { p.cast::<[i32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> [f32; 8] {
        // SAFETY: a whole vector by contract.
        unsafe { p.cast::<[f32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, x: [f32; 8]) {
        // SAFETY: a whole vector by contract.
        unsafe { p.cast::<[f32; 8]>().write_unaligned(x) }
    }
    #[inline(always)]
    unsafe fn dot(acc: [i32; 8], w: [i32; 8], x: i32) -> [i32; 8] {
        let x = x.to_le_bytes();
        std::array::from_fn(|lane| {
            let w = w[lane].to_le_bytes();
            (0..4).fold(acc[lane], |a, i| a.wrapping_add(i32::from(w[i]) * i32::from(x[i] as i8)))
        })
    }
    #[inline(always)]
    unsafe fn dot8(acc: [i32; 8], w: [i32; 8], x: i32) -> [i32; 8] {
        // SAFETY: plain code needs nothing.
        unsafe { Self::dot(acc, w, x) }
    }
    #[inline(always)]
    unsafe fn to_f(x: [i32; 8]) -> [f32; 8] {
        x.map(|x| x as f32)
    }
    #[inline(always)]
    unsafe fn widen_f16(bytes: &[u8; 32], out: &mut [f32; 16]) {
        for (i, o) in out.iter_mut().enumerate() {
            *o = crate::quant::read_f16(bytes, 2 * i);
        }
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn fma(a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Ymm, Zmm};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    /// AVX2: eight rows.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Ymm;

    // SAFETY (all bodies): the contract of `Lanes` gives the instruction set and the memory.
    impl Lanes for Ymm {
        const WIDTH: usize = 8;
        type I = __m256i;
        type F = __m256;
        const TOKENS: usize = 3;
        const SIGNED_DOT8: bool = true;

        #[inline(always)]
        unsafe fn splat_i(x: i32) -> __m256i {
            // SAFETY: see above.
            unsafe { _mm256_set1_epi32(x) }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> __m256 {
            // SAFETY: see above.
            unsafe { _mm256_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load_codes(p: *const u8) -> __m256i {
            // SAFETY: see above.
            unsafe { _mm256_loadu_si256(p.cast()) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> __m256 {
            // SAFETY: see above.
            unsafe { _mm256_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, x: __m256) {
            // SAFETY: see above.
            unsafe { _mm256_storeu_ps(p, x) }
        }
        #[inline(always)]
        unsafe fn dot(acc: __m256i, w: __m256i, x: i32) -> __m256i {
            // Pairs of products of 7-bit codes with activations stay below 2 · 127 · 127: no saturation.
            // SAFETY: see above.
            unsafe {
                let pairs = _mm256_maddubs_epi16(w, _mm256_set1_epi32(x));
                _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
            }
        }
        #[inline(always)]
        unsafe fn dot8(acc: __m256i, w: __m256i, x: i32) -> __m256i {
            // Codes of 8 bits would saturate the pair sums, so they are multiplied as signed numbers around 128: the
            // sign goes to the activation. |−128| · 127 · 2 is 32,512, which fits.
            // SAFETY: see above.
            unsafe {
                let signed = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
                let pairs =
                    _mm256_maddubs_epi16(_mm256_abs_epi8(signed), _mm256_sign_epi8(_mm256_set1_epi32(x), signed));
                _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
            }
        }
        #[inline(always)]
        unsafe fn to_f(x: __m256i) -> __m256 {
            // SAFETY: see above.
            unsafe { _mm256_cvtepi32_ps(x) }
        }
        #[inline(always)]
        unsafe fn widen_f16(bytes: &[u8; 32], out: &mut [f32; 16]) {
            // SAFETY: see above; F16C belongs to both instruction sets, and the arrays have the vectors' sizes.
            unsafe {
                let halves = bytes.as_ptr().cast::<__m128i>();
                _mm256_storeu_ps(out.as_mut_ptr(), _mm256_cvtph_ps(_mm_loadu_si128(halves)));
                _mm256_storeu_ps(out.as_mut_ptr().add(8), _mm256_cvtph_ps(_mm_loadu_si128(halves.add(1))));
            }
        }
        #[inline(always)]
        unsafe fn mul(a: __m256, b: __m256) -> __m256 {
            // SAFETY: see above.
            unsafe { _mm256_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
            // SAFETY: see above.
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }
    }

    /// AVX-512 with VNNI: sixteen rows.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Zmm;

    // SAFETY (all bodies): the contract of `Lanes` gives the instruction set and the memory.
    impl Lanes for Zmm {
        const WIDTH: usize = 16;
        type I = __m512i;
        type F = __m512;
        const TOKENS: usize = 6;
        const SIGNED_DOT8: bool = false;

        #[inline(always)]
        unsafe fn splat_i(x: i32) -> __m512i {
            // SAFETY: see above.
            unsafe { _mm512_set1_epi32(x) }
        }
        #[inline(always)]
        unsafe fn splat(x: f32) -> __m512 {
            // SAFETY: see above.
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load_codes(p: *const u8) -> __m512i {
            // SAFETY: see above.
            unsafe { _mm512_loadu_si512(p.cast()) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> __m512 {
            // SAFETY: see above.
            unsafe { _mm512_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, x: __m512) {
            // SAFETY: see above.
            unsafe { _mm512_storeu_ps(p, x) }
        }
        #[inline(always)]
        unsafe fn dot(acc: __m512i, w: __m512i, x: i32) -> __m512i {
            // SAFETY: see above.
            unsafe { _mm512_dpbusd_epi32(acc, w, _mm512_set1_epi32(x)) }
        }
        #[inline(always)]
        unsafe fn dot8(acc: __m512i, w: __m512i, x: i32) -> __m512i {
            // SAFETY: see above.
            unsafe { Self::dot(acc, w, x) }
        }
        #[inline(always)]
        unsafe fn to_f(x: __m512i) -> __m512 {
            // SAFETY: see above.
            unsafe { _mm512_cvtepi32_ps(x) }
        }
        #[inline(always)]
        unsafe fn widen_f16(bytes: &[u8; 32], out: &mut [f32; 16]) {
            // SAFETY: see above; F16C belongs to both instruction sets, and the arrays have the vectors' sizes.
            unsafe {
                let halves = bytes.as_ptr().cast::<__m128i>();
                _mm256_storeu_ps(out.as_mut_ptr(), _mm256_cvtph_ps(_mm_loadu_si128(halves)));
                _mm256_storeu_ps(out.as_mut_ptr().add(8), _mm256_cvtph_ps(_mm_loadu_si128(halves.add(1))));
            }
        }
        #[inline(always)]
        unsafe fn mul(a: __m512, b: __m512) -> __m512 {
            // SAFETY: see above.
            unsafe { _mm512_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
            // SAFETY: see above.
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
    }
}

/// Calls `$f::<…, L>($args)` with the lanes of an instruction set, inside a function that has its features enabled.
macro_rules! on_isa {
    ($isa:expr, [$($g:ident : $bound:path),*] $f:ident <$($t:ty),*> ($($arg:ident : $ty:ty),*)) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2")]
        fn avx2<$($g: $bound),*>($($arg: $ty),*) {
            // SAFETY: the features of `Isa::Avx2` are enabled here.
            unsafe { $f::<$($g,)* $crate::kernels::matmul::lanes::Ymm>($($arg),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c,bmi1,bmi2")]
        fn avx512<$($g: $bound),*>($($arg: $ty),*) {
            // SAFETY: the features of `Isa::Avx512` are enabled here.
            unsafe { $f::<$($g,)* $crate::kernels::matmul::lanes::Zmm>($($arg),*) }
        }
        match $isa {
            // SAFETY: a `Cpu` holds this value only after `Isa::is_available` said that the processor has it.
            #[cfg(target_arch = "x86_64")]
            $crate::kernels::Isa::Avx2 => unsafe { avx2::<$($t),*>($($arg),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            $crate::kernels::Isa::Avx512 => unsafe { avx512::<$($t),*>($($arg),*) },
            // SAFETY: plain lanes need no instruction set.
            _ => unsafe { $f::<$($t,)* $crate::kernels::matmul::lanes::Plain>($($arg),*) },
        }
    }};
}
pub(super) use on_isa;
