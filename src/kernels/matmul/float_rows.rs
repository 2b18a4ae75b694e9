//! Float weights times few tokens: each row is read once, in order, and multiplied in float32 in 32 partial sums.

use super::float_panel::{Bf16, F16, F32, FloatFormat, STRIP};
use super::lanes::{Lanes, on_isa};
use super::prepare::Floats;
use super::{FEW_TOKENS, TASK_ROWS, Target};
use crate::gguf::GgmlType;
use crate::kernels::Isa;

/// Partial sums per row and token.
const SUMS: usize = 32;

/// Computes the target's rows for all tokens.
pub(super) fn run(isa: Isa, x: &Floats<'_>, tokens: usize, target: &Target<'_, '_>) {
    match target.job.weight.ty() {
        GgmlType::F16 => run_format::<F16>(isa, x, tokens, target),
        GgmlType::BF16 => run_format::<Bf16>(isa, x, tokens, target),
        _ => run_format::<F32>(isa, x, tokens, target),
    }
}

fn run_format<F: FloatFormat>(isa: Isa, x: &Floats<'_>, tokens: usize, target: &Target<'_, '_>) {
    assert!(x.cols == target.job.weight.cols() && x.x.len() >= tokens * x.cols && tokens <= FEW_TOKENS);
    let mut out = [[0.0; TASK_ROWS]; FEW_TOKENS];
    for (row, bytes) in target.bytes.chunks_exact(target.row_bytes).enumerate() {
        for (token, out) in out.iter_mut().enumerate().take(tokens) {
            let x = &x.x[token * x.cols..][..x.cols];
            let sum = &mut out[row];
            on_isa!(isa, [F: FloatFormat] dot<F>(bytes: &[u8], x: &[f32], sum: &mut f32));
        }
    }
    for (token, values) in out.iter().enumerate().take(tokens) {
        target.write(token, values);
    }
}

/// One row times one token.
///
/// # Safety
/// The instruction set of `L` is enabled in the caller.
#[inline(always)]
unsafe fn dot<F: FloatFormat, L: Lanes>(bytes: &[u8], x: &[f32], sum: &mut f32) {
    let mut sums = [0.0f32; SUMS];
    let mut rows = bytes.chunks_exact(SUMS * F::BYTES);
    let mut xs = x.chunks_exact(SUMS);
    for (bytes, x) in (&mut rows).zip(&mut xs) {
        for strip in 0..SUMS / STRIP {
            // SAFETY: as for this function.
            let w = unsafe { F::read_strip::<L>(&bytes[strip * STRIP * F::BYTES..]) };
            let at = strip * STRIP..(strip + 1) * STRIP;
            for ((s, w), x) in sums[at.clone()].iter_mut().zip(w).zip(&x[at]) {
                *s += w * x;
            }
        }
    }
    for (i, (s, x)) in sums.iter_mut().zip(xs.remainder()).enumerate() {
        *s += F::read(rows.remainder(), i) * x;
    }
    let mut width = SUMS / 2;
    while width > 0 {
        for i in 0..width {
            sums[i] += sums[i + width];
        }
        width /= 2;
    }
    *sum = sums[0];
}
