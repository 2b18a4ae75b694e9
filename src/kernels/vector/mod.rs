//! Kernels written once over vectors of any width, and how they reach the instruction set that they run on.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod lanes;
mod plain;

pub(crate) use lanes::Lanes;
#[cfg(test)]
pub(crate) use plain::Plain;

use super::Isa;
#[cfg(target_arch = "x86_64")]
use super::{Avx2, Avx512};

/// A computation over vectors of any width. `run` must be `#[inline(always)]`, and so must be everything below it that
/// touches vectors: only then is it compiled with the instructions that [`dispatch`] enables.
pub(crate) trait Kernel {
    /// What it yields.
    type Output;

    /// Does it with these vectors.
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// Runs the kernel with the vectors of `isa`; with plain ones where the processor lacks it.
pub(crate) fn dispatch<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    match isa {
        Isa::Avx512 => {
            if let Some(proof) = Avx512::new() {
                return avx512::dispatch(proof, kernel);
            }
        }
        Isa::Avx2 => {
            if let Some(proof) = Avx2::new() {
                return avx2::dispatch(proof, kernel);
            }
        }
        Isa::Scalar => {}
    }
    let _ = isa;
    kernel.run(plain::Plain)
}

/// An element of a key/value cache: how to read it into a vector.
pub(crate) trait Element: Copy + Sync {
    /// `N` elements at `p` as floats.
    ///
    /// # Safety
    /// They must be readable.
    unsafe fn load<L: Lanes>(l: L, p: *const Self) -> L::V;
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(l: L, p: *const f32) -> L::V {
        // SAFETY: passed on.
        unsafe { l.load(p) }
    }
}

/// The bits of a half-precision number.
impl Element for u16 {
    #[inline(always)]
    unsafe fn load<L: Lanes>(l: L, p: *const u16) -> L::V {
        // SAFETY: passed on.
        unsafe { l.load_f16(p) }
    }
}

/// `2^x` for `x <= 0`, as a softmax wants it: at most 2 ulp off; exactly 0 below -126 (also for minus infinity), NaN
/// stays NaN. The coefficients are a minimax fit of degree 6 on -0.5..0.5 (2e-9 before rounding).
#[inline(always)]
pub(crate) fn exp2_nonpositive<L: Lanes>(l: L, x: L::V) -> L::V {
    let lowest = l.splat(-126.0);
    // The order of the operands keeps NaN: see `Lanes::max`.
    let clamped = l.max(lowest, x);
    let n = l.round(clamped);
    let r = l.sub(clamped, n);
    let q = l.mul_add(l.splat(1.535_334e-4), r, l.splat(1.339_890_1e-3));
    let q = l.mul_add(q, r, l.splat(9.618_438e-3));
    let q = l.mul_add(q, r, l.splat(5.550_332_4e-2));
    let q = l.mul_add(q, r, l.splat(2.402_264_8e-1));
    let q = l.mul_add(q, r, l.splat(std::f32::consts::LN_2));
    let p = l.mul_add(q, r, l.splat(1.0));
    l.select_lt(x, lowest, l.splat(0.0), l.mul_pow2(p, n))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `2^x` of whole vectors of numbers.
    struct Exp2<'a>(&'a [f32], &'a mut [f32]);

    impl Kernel for Exp2<'_> {
        type Output = ();

        #[inline(always)]
        fn run<L: Lanes>(self, l: L) {
            for (x, y) in self.0.chunks_exact(L::N).zip(self.1.chunks_exact_mut(L::N)) {
                // SAFETY: both chunks hold a whole vector.
                unsafe { l.store(y.as_mut_ptr(), exp2_nonpositive(l, l.load(x.as_ptr()))) };
            }
        }
    }

    #[test]
    fn exp2_is_within_two_ulp_on_every_instruction_set() {
        // Every 61st float from 0 to -126, as many as fill whole vectors of any width.
        let mut x: Vec<f32> = (0..=126f32.to_bits()).step_by(61).map(|bits| -f32::from_bits(bits)).collect();
        x.truncate(x.len() / 16 * 16);
        for isa in Isa::available() {
            let mut found = vec![0.0; x.len()];
            dispatch(isa, Exp2(&x, &mut found));
            for (&x, &found) in x.iter().zip(&found) {
                let wanted = f64::from(x).exp2();
                let ulp = f64::from((wanted as f32).next_up()) - f64::from(wanted as f32);
                assert!((f64::from(found) - wanted).abs() <= 2.0 * ulp, "{isa:?}: 2^{x} is {found}, not {wanted}");
            }
            let edges = [0.0, -126.5, -1e30, f32::NEG_INFINITY, f32::NAN, -1.0, -2.0, -126.0].repeat(2);
            let mut found = vec![9.0; 16];
            dispatch(isa, Exp2(&edges, &mut found));
            assert_eq!(found[..4], [1.0, 0.0, 0.0, 0.0], "{isa:?}");
            assert!(found[4].is_nan() && found[5..7] == [0.5, 0.25], "{isa:?}: {found:?}");
        }
    }
}
