//! Row operations between the matrix products: norm, SwiGLU, GELU, rotary positions, softmax's exponential.
//!
//! Each is written once, in plain Rust over lanes that don't depend on each other, and compiled once per instruction
//! set: the compiler turns the lanes into vector instructions, and the results are the same bits on all of them.

use super::split::Parts;
use super::{Cpu, Isa};

/// Partial sums per row: enough to fill two AVX-512 registers, and the same on all instruction sets.
const LANES: usize = 32;
/// Rows per task: small enough to share evenly, large enough to be worth handing out.
const ROWS_PER_TASK: usize = 8;

/// `e^x` to within 2 ulp for `x` in −87…88; 0 below, infinity above, NaN for NaN.
///
/// Cody-Waite reduction to `|r| ≤ ln 2 / 2`, Taylor's polynomial of degree 7 (its remainder there
/// is below 6e-9), scaling by bits.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12582912.0; // 1.5 · 2^23: adding it leaves the nearest integer in the low bits.
    let clamped = x.clamp(-104.0, 89.0);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, the first with trailing zeros so that its product with n is exact.
    let r = (clamped - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let mut p = 1.984_127e-4;
    p = p * r + 1.388_888_9e-3;
    p = p * r + 8.333_334e-3;
    p = p * r + 4.166_666_8e-2;
    p = p * r + 1.666_666_7e-1;
    p = p * r + 0.5;
    let e = (p * r) * r + r + 1.0;
    // Two factors, since 2^n alone under- or overflows at the ends of the range.
    // The integer is taken from the bits: a cast would have to saturate, one lane after the other. (NaN leaves nonsense
    // here, but then e is NaN already.)
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    let power = |k: i32| f32::from_bits((k.wrapping_add(127) as u32) << 23);
    e * power(half) * power(n.wrapping_sub(half))
}

#[inline(always)]
fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// Sum of squares, in [`LANES`] partial sums.
#[inline(always)]
fn sum_of_squares(x: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let mut chunks = x.chunks_exact(LANES);
    for chunk in &mut chunks {
        for (s, &v) in sums.iter_mut().zip(chunk) {
            *s += v * v;
        }
    }
    for (s, &v) in sums.iter_mut().zip(chunks.remainder()) {
        *s += v * v;
    }
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            sums[i] += sums[i + width];
        }
        width /= 2;
    }
    sums[0]
}

#[inline(always)]
fn rms_norm_row_body(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let scale = 1.0 / (sum_of_squares(x) / x.len() as f32 + eps).sqrt();
    for ((o, &v), &w) in out.iter_mut().zip(x).zip(weight) {
        *o = w * (v * scale);
    }
}

#[inline(always)]
fn swiglu_row_body(gate: &[f32], up: &[f32], out: &mut [f32]) {
    for ((o, &g), &u) in out.iter_mut().zip(gate).zip(up) {
        *o = silu(g) * u;
    }
}

#[inline(always)]
fn rope_row_body(x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (a, b) = x.split_at_mut(cos.len());
    for (((a, b), &c), &s) in a.iter_mut().zip(b).zip(cos).zip(sin) {
        (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
    }
}

/// Compiles a body for each instruction set and picks one by value.
macro_rules! per_isa {
    ($(#[$doc:meta])* $name:ident, $body:ident, ($($arg:ident: $ty:ty),*)) => {
        $(#[$doc])*
        pub(crate) fn $name(isa: Isa, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2($($arg: $ty),*) {
                $body($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
            fn avx512($($arg: $ty),*) {
                $body($($arg),*)
            }
            match isa {
                // SAFETY: a `Cpu` holds this value only after `Isa::is_available` said that the processor has it.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => unsafe { avx512($($arg),*) },
                _ => $body($($arg),*),
            }
        }
    };
}

per_isa!(
    /// RMSNorm of one row: `weight · x / sqrt(mean(x²) + eps)`.
    rms_norm_row, rms_norm_row_body, (x: &[f32], weight: &[f32], eps: f32, out: &mut [f32])
);
per_isa!(
    /// `silu(gate) · up` of one row.
    swiglu_row, swiglu_row_body, (gate: &[f32], up: &[f32], out: &mut [f32])
);
per_isa!(
    /// Turns one head: its first half and its second are the two coordinates (NeoX layout).
    rope_row, rope_row_body, (x: &mut [f32], cos: &[f32], sin: &[f32])
);

/// The exact GELU of one row, `x · Φ(x)`.
pub(crate) fn gelu_row(x: &[f32], out: &mut [f32]) {
    for (o, &v) in out.iter_mut().zip(x) {
        *o = 0.5 * v * (1.0 + libm::erff(v * std::f32::consts::FRAC_1_SQRT_2));
    }
}

impl Cpu {
    /// RMSNorm of rows as wide as `weight`.
    ///
    /// # Panics
    /// `x` and `out` differ in length or hold no whole number of rows.
    pub fn rms_norm(&self, x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
        let width = weight.len();
        assert!(x.len() == out.len() && x.len().is_multiple_of(width), "rows of {width}");
        let rows = x.len() / width;
        let parts = Parts::new(out);
        self.pool().run(rows.div_ceil(ROWS_PER_TASK), &|task| {
            let range = task * ROWS_PER_TASK * width..((task + 1) * ROWS_PER_TASK).min(rows) * width;
            // SAFETY: tasks have different rows.
            let out = unsafe { parts.part(range.clone()) };
            for (x, out) in x[range].chunks_exact(width).zip(out.chunks_exact_mut(width)) {
                rms_norm_row(self.isa(), x, weight, eps, out);
            }
        });
    }

    /// Turns `x`, `[tokens, n_heads, head_dim]`, by the angles whose cosines and sines, `[tokens, head_dim / 2]`, are
    /// given.
    ///
    /// # Panics
    /// The lengths don't fit together.
    pub fn rope(&self, x: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32]) {
        let half = head_dim / 2;
        assert!(cos.len() == sin.len() && cos.len().is_multiple_of(half), "angles {} of {half}", cos.len());
        let tokens = cos.len() / half;
        if tokens == 0 {
            return;
        }
        let row = x.len() / tokens;
        assert!(x.len() == row * tokens && row.is_multiple_of(head_dim), "{} numbers, {tokens} tokens", x.len());
        let parts = Parts::new(x);
        self.pool().run(tokens.div_ceil(ROWS_PER_TASK), &|task| {
            for token in task * ROWS_PER_TASK..((task + 1) * ROWS_PER_TASK).min(tokens) {
                // SAFETY: tasks have different tokens.
                let x = unsafe { parts.part(token * row..(token + 1) * row) };
                let at = token * half..(token + 1) * half;
                for head in x.chunks_exact_mut(2 * half) {
                    rope_row(self.isa(), head, &cos[at.clone()], &sin[at.clone()]);
                }
            }
        });
    }

    /// `x += y`.
    ///
    /// # Panics
    /// The lengths differ.
    pub fn add_assign(&self, x: &mut [f32], y: &[f32]) {
        assert_eq!(x.len(), y.len());
        for (x, &y) in x.iter_mut().zip(y) {
            *x += y;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_ulp() {
        // Every 97th float between the ends of the range, of both signs.
        for bits in (0..88f32.to_bits()).step_by(97) {
            for x in [f32::from_bits(bits), -f32::from_bits(bits)] {
                let wanted = f64::from(x).exp();
                let ulp = f64::from((wanted as f32).next_up() - wanted as f32).max(f64::from(f32::MIN_POSITIVE) * 1e-6);
                if wanted >= f64::from(f32::MIN_POSITIVE) {
                    assert!((f64::from(exp(x)) - wanted).abs() <= 2.0 * ulp, "exp({x}) is {}, not {wanted}", exp(x));
                }
            }
        }
        assert_eq!((exp(-200.0), exp(f32::NEG_INFINITY), exp(f32::INFINITY)), (0.0, 0.0, f32::INFINITY));
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn rows_match_float64_and_all_instruction_sets_agree_to_the_bit() {
        let mut rng = fastrand::Rng::with_seed(9);
        for n in [1, 2, 31, 32, 33, 80, 1001] {
            for scale in [1e-12f32, 1.0, 50.0, 1e15] {
                let mut random = |s: f32| (0..n).map(|_| (rng.f32() - 0.5) * s).collect::<Vec<f32>>();
                let (x, w, up) = (random(scale), random(1.0), random(1.0));
                let run = |isa| {
                    let mut norm = vec![0.0; n];
                    rms_norm_row(isa, &x, &w, 1e-6, &mut norm);
                    let mut glu = vec![0.0; n];
                    swiglu_row(isa, &x, &up, &mut glu);
                    let mut turned = [x.clone(), up.clone()].concat();
                    rope_row(isa, &mut turned, &w, &up);
                    (norm, glu, turned)
                };
                let plain = run(Isa::Scalar);
                let x64: Vec<f64> = x.iter().map(|&v| v.into()).collect();
                let rms = (x64.iter().map(|v| v * v).sum::<f64>() / n as f64 + f64::from(1e-6f32)).sqrt();
                for i in 0..n {
                    let (w, up) = (f64::from(w[i]), f64::from(up[i]));
                    let close = |found: f32, wanted: f64, size: f64| {
                        let bound = 2e-6 * size.abs() + 1e-37;
                        assert!(
                            (f64::from(found) - wanted).abs() <= bound,
                            "{found} instead of {wanted} ({n}, {scale})"
                        );
                    };
                    close(plain.0[i], x64[i] / rms * w, x64[i] / rms * w);
                    let glu = x64[i] / (1.0 + (-x64[i]).exp()) * up;
                    close(plain.1[i], glu, glu);
                    close(plain.2[i], x64[i] * w - up * up, x64[i].abs() + up * up);
                    close(plain.2[n + i], up * w + x64[i] * up, x64[i].abs() + up.abs());
                }
                let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                for isa in Isa::available() {
                    let other = run(isa);
                    assert_eq!(bits(&other.0), bits(&plain.0), "{isa:?} norm of {n}");
                    assert_eq!(bits(&other.1), bits(&plain.1), "{isa:?} swiglu of {n}");
                    assert_eq!(bits(&other.2), bits(&plain.2), "{isa:?} rope of {n}");
                }
            }
        }
    }

    #[test]
    fn gelu_is_the_exact_one() {
        let x = [-40.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 40.0];
        // x · Φ(x), from a table of the normal distribution to ten digits.
        let wanted: [f64; 9] = [
            0.0,
            -0.004_049_694,
            -0.158_655_254,
            -0.154_268_769,
            0.0,
            0.345_731_231,
            0.841_344_746,
            2.995_950_306,
            40.0,
        ];
        let mut found = [0.0; 9];
        gelu_row(&x, &mut found);
        for (f, w) in found.iter().zip(wanted) {
            assert!((f64::from(*f) - w).abs() <= 2e-6 * w.abs().max(0.1), "{f} instead of {w}");
        }
    }
}
