//! Getting the input of a product ready: the row operation, and quantization to 8 bits where the weights want it.

use super::Input;
use crate::kernels::elementwise::{gelu_row, rms_norm_row, swiglu_row};
use crate::kernels::split::Parts;
use crate::kernels::{Cpu, Isa};
use crate::quant::{QK8, quantize_row, quantize_row_fine};

use super::FEW_TOKENS;

/// Numbers of a row are padded to a multiple of this, with zeros.
const PAD: usize = 256;
/// Tokens per task.
const TASK_TOKENS: usize = 4;

/// Prepared inputs, kept to be reused.
#[derive(Debug, Default)]
pub(crate) struct MatMulScratch {
    /// `[tokens, cols]` after the row operation.
    floats: Vec<f32>,
    /// `[tokens, stride]`
    q: Vec<i8>,
    /// The lower bytes of 15-bit codes, `[tokens, stride]`; for few tokens only.
    low: Vec<i8>,
    /// `[tokens, stride / 32]`
    d: Vec<f32>,
    /// `[tokens, stride / 16]`
    sums: Vec<i32>,
    /// Codes per row, padded.
    stride: usize,
}

/// The input as float32, `[tokens, cols]`.
pub(super) struct Floats<'a> {
    pub x: &'a [f32],
    pub cols: usize,
}

/// The input in 8 bits.
pub(super) struct Quantized<'a> {
    /// Codes, `[tokens, stride]`; zeros beyond the columns.
    pub q: &'a [i8],
    /// For few tokens: codes are `128 · q + low`.
    pub low: &'a [i8],
    /// Scales, `[tokens, stride / 32]`.
    pub d: &'a [f32],
    /// Sums of the codes of each 16, `[tokens, stride / 16]`.
    pub sums: &'a [i32],
    /// Codes per token.
    pub stride: usize,
}

fn grow<T: Clone + Default>(v: &mut Vec<T>, len: usize) {
    if v.len() < len {
        v.resize(len, T::default());
    }
}

impl MatMulScratch {
    /// Fills what is asked for.
    pub fn prepare(&mut self, cpu: &Cpu, input: Input<'_>, tokens: usize, cols: usize, float: bool, quantized: bool) {
        check(input, tokens, cols);
        self.stride = cols.next_multiple_of(PAD);
        let stride = self.stride;
        let transformed = !matches!(input, Input::Plain(_));
        if transformed {
            grow(&mut self.floats, tokens * cols);
        }
        if quantized {
            grow(&mut self.q, tokens * stride);
            grow(&mut self.low, if tokens <= FEW_TOKENS { tokens * stride } else { 0 });
            grow(&mut self.d, tokens * stride / QK8);
            grow(&mut self.sums, tokens * stride / (QK8 / 2));
        } else if !(float && transformed) {
            return;
        }
        let floats = Parts::new(&mut self.floats);
        let (q, d, sums) = (Parts::new(&mut self.q), Parts::new(&mut self.d), Parts::new(&mut self.sums));
        let low = Parts::new(&mut self.low);
        cpu.pool().run(tokens.div_ceil(TASK_TOKENS), &|task| {
            for t in task * TASK_TOKENS..((task + 1) * TASK_TOKENS).min(tokens) {
                let row = match input {
                    Input::Plain(x) => &x[t * cols..][..cols],
                    _ => {
                        // SAFETY: tasks have different tokens.
                        let out = unsafe { floats.part(t * cols..(t + 1) * cols) };
                        transform(cpu.isa(), input, t, out);
                        out
                    }
                };
                if quantized {
                    let part = |n: usize| t * stride / n..(t + 1) * stride / n;
                    // SAFETY: tasks have different tokens.
                    let (q, d, sums) = unsafe { (q.part(part(1)), d.part(part(QK8)), sums.part(part(QK8 / 2))) };
                    // SAFETY: as above.
                    let low = (tokens <= FEW_TOKENS).then(|| unsafe { low.part(part(1)) });
                    quantize_padded(cpu.isa(), row, Codes { q, low, d, sums });
                }
            }
        });
    }

    /// The input as float32: the caller's own where nothing is done to it.
    pub(super) fn floats<'a>(&'a self, input: Input<'a>, cols: usize) -> Floats<'a> {
        match input {
            Input::Plain(x) => Floats { x, cols },
            _ => Floats { x: &self.floats, cols },
        }
    }

    pub(super) fn quantized(&self) -> Quantized<'_> {
        Quantized { q: &self.q, low: &self.low, d: &self.d, sums: &self.sums, stride: self.stride }
    }
}

/// # Panics
/// The input has another shape than `[tokens, cols]`.
fn check(input: Input<'_>, tokens: usize, cols: usize) {
    let wanted = tokens * cols;
    let fits = match input {
        Input::Plain(x) | Input::Gelu(x) => x.len() == wanted,
        Input::RmsNorm { x, weight, .. } => x.len() == wanted && weight.len() == cols,
        Input::SwiGlu { gate, up } => gate.len() == wanted && up.len() == wanted,
    };
    assert!(fits, "an input of {tokens} tokens and {cols} columns");
}

fn transform(isa: Isa, input: Input<'_>, token: usize, out: &mut [f32]) {
    let at = token * out.len()..(token + 1) * out.len();
    match input {
        Input::Plain(x) => out.copy_from_slice(&x[at]),
        Input::RmsNorm { x, weight, eps } => rms_norm_row(isa, &x[at], weight, eps, out),
        Input::SwiGlu { gate, up } => swiglu_row(isa, &gate[at.clone()], &up[at], out),
        Input::Gelu(x) => gelu_row(&x[at], out),
    }
}

/// Where a row's codes go.
struct Codes<'a> {
    q: &'a mut [i8],
    /// The lower bytes, where codes have 15 bits.
    low: Option<&'a mut [i8]>,
    d: &'a mut [f32],
    sums: &'a mut [i32],
}

/// Quantizes a row, and fills up with zeros.
fn quantize_padded(isa: Isa, x: &[f32], codes: Codes<'_>) {
    // Quantized weights have whole blocks, so a remainder means that only float weights read this input.
    let whole = x.len() / QK8 * QK8;
    let (q, q_rest) = codes.q.split_at_mut(whole);
    let (d, d_rest) = codes.d.split_at_mut(whole / QK8);
    let (sums, sums_rest) = codes.sums.split_at_mut(whole / (QK8 / 2));
    q_rest.fill(0);
    d_rest.fill(0.0);
    sums_rest.fill(0);
    let low = codes.low.map(|low| {
        let (low, rest) = low.split_at_mut(whole);
        rest.fill(0);
        low
    });
    quantize(isa, &x[..whole], Codes { q, low, d, sums });
}

#[inline(always)]
fn quantize_body(x: &[f32], codes: Codes<'_>) {
    match codes.low {
        None => quantize_row(x, codes.q, codes.d, codes.sums),
        Some(low) => quantize_row_fine(x, codes.q, low, codes.d, codes.sums),
    }
}

/// [`quantize_body`], compiled for the instruction set.
fn quantize(isa: Isa, x: &[f32], codes: Codes<'_>) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2(x: &[f32], codes: Codes<'_>) {
        quantize_body(x, codes);
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
    fn avx512(x: &[f32], codes: Codes<'_>) {
        quantize_body(x, codes);
    }
    match isa {
        // SAFETY: a `Cpu` holds this value only after `Isa::is_available` said that the processor has it.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2(x, codes) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { avx512(x, codes) },
        _ => quantize_body(x, codes),
    }
}
