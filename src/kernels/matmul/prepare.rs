//! Getting the input of a product ready: the row operation, and quantization to 8 bits where the weights want it.

use super::Input;
use super::fine::{self, Fine, FineSpan, Order};
use crate::kernels::elementwise::{gelu_row, rms_norm_row, swiglu_row};
use crate::kernels::split::Parts;
use crate::kernels::{Cpu, Isa};
use crate::quant::{BlockFormat, QK8, quantize_row};

use super::Matrix;
use crate::with_format;

/// Numbers of a row are padded to a multiple of this, with zeros.
const PAD: usize = 256;
/// Tokens per task: a cache line of [`Quantized::d`], where there are enough of them.
const TASK_TOKENS: usize = 16;
/// The same where there are fewer than [`MANY_TOKENS`].
const SMALL_TASK_TOKENS: usize = 4;
/// See above.
const MANY_TOKENS: usize = 128;

/// Prepared inputs, kept to be reused.
#[derive(Debug, Default)]
pub(crate) struct MatMulScratch {
    /// `[tokens, cols]` after the row operation.
    floats: Vec<f32>,
    /// `[tokens, stride]`
    q: Vec<i8>,
    /// Few tokens' codes, `[tokens, stride / 256]`, in each [`Order`].
    fine: [Vec<FineSpan>; 2],
    /// `[tokens, stride / 32]`
    d: Vec<f32>,
    /// The same, `[stride / 32, lanes]`.
    d_turned: Vec<f32>,
    /// `[tokens, stride / 16]`
    sums: Vec<i32>,
    /// What the formats of the weights want to know of the sums, at most three kinds.
    offsets: Vec<Offsets>,
    /// How many of them are this input's.
    kinds: usize,
    /// Codes per row, padded.
    stride: usize,
    /// [`lanes`] of the tokens.
    lanes: usize,
}

/// The shape of an input, and how it is used.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub tokens: usize,
    pub cols: usize,
    /// Whether weights are read row by row: codes have 15 bits then.
    pub few: bool,
}

/// What a matrix wants of its input.
pub(super) enum Wanted {
    Floats,
    Codes(Kind, Order),
}

impl Wanted {
    pub fn by(isa: Isa, m: &Matrix) -> Wanted {
        if m.is_float() {
            return Wanted::Floats;
        }
        let order = Order::of(isa, m.codes_ty());
        with_format!(m.codes_ty(), F => Wanted::Codes(Kind::of::<F>(), order), _ => Wanted::Floats)
    }
}

/// How a format uses the sums of the activations' codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    zero: i32,
    sub_len: usize,
    min: bool,
}

impl Kind {
    pub fn of<F: BlockFormat>() -> Kind {
        Kind { zero: F::ZERO, sub_len: F::SUB_LEN, min: F::HAS_MIN }
    }
}

/// Per sub-block of the weights and token, `[stride / sub_len, lanes]`: where the kernel's sums start.
#[derive(Debug)]
pub(super) struct Offsets {
    kind: Kind,
    /// `−zero · Σ codes`
    pub starts: Vec<i32>,
    /// `scale · Σ codes`, for formats with offsets
    pub shifts: Vec<f32>,
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
    /// Scales, `[stride / 32, lanes]`: those of neighbouring tokens stand together, so that a kernel that handles several
    /// needs one pointer for all.
    pub d: &'a [f32],
    offsets: &'a [Offsets],
    /// Codes per token.
    pub stride: usize,
    /// [`lanes`] of the tokens.
    pub lanes: usize,
}

impl<'a> Quantized<'a> {
    /// The sums as a format wants them.
    ///
    /// # Panics
    /// It was not among those that the input was prepared for.
    pub fn offsets<F: BlockFormat>(&self) -> &'a Offsets {
        let found = self.offsets.iter().find(|o| o.kind == Kind::of::<F>());
        found.expect("every job's format was prepared")
    }
}

/// How far apart the rows of arrays are that have a number per token: an odd number of cache lines, for rows that are a
/// power of two apart would fight for the same places in a cache.
fn lanes(tokens: usize) -> usize {
    (tokens.div_ceil(16) | 1) * 16
}

fn grow<T: Clone + Default>(v: &mut Vec<T>, len: usize) {
    if v.len() < len {
        v.resize(len, T::default());
    }
}

impl MatMulScratch {
    /// Fills what is asked for.
    pub(super) fn prepare(&mut self, cpu: &Cpu, input: Input<'_>, shape: Shape, wanted: impl Iterator<Item = Wanted>) {
        let Shape { tokens, cols, few } = shape;
        check(input, tokens, cols);
        self.stride = cols.next_multiple_of(PAD);
        self.lanes = lanes(tokens);
        let (stride, lanes) = (self.stride, self.lanes);
        let transformed = !matches!(input, Input::Plain(_));
        if transformed {
            grow(&mut self.floats, tokens * cols);
        }
        let Uses { float, quantized, paired } = self.make_room(shape, wanted);
        if !(quantized || float && transformed) {
            return;
        }
        let floats = Parts::new(&mut self.floats);
        let (q, d, sums) = (Parts::new(&mut self.q), Parts::new(&mut self.d), Parts::new(&mut self.sums));
        let [straight, other] = &mut self.fine;
        let (fine, other, d_turned) = (Parts::new(straight), Parts::new(other), Parts::new(&mut self.d_turned));
        // As many as there are jobs on one input, at most.
        let mut list: [Option<OffsetParts<'_>>; 8] = Default::default();
        for (slot, o) in list.iter_mut().zip(&mut self.offsets[..self.kinds]) {
            let (starts, shifts) = (Parts::new(&mut o.starts), Parts::new(&mut o.shifts));
            *slot = Some(OffsetParts { kind: o.kind, starts, shifts });
        }
        let task_tokens = if tokens < MANY_TOKENS { SMALL_TASK_TOKENS } else { TASK_TOKENS };
        cpu.pool().run(tokens.div_ceil(task_tokens), &|task| {
            let range = task * task_tokens..((task + 1) * task_tokens).min(tokens);
            for t in range.clone() {
                let row = match input {
                    Input::Plain(x) => &x[t * cols..][..cols],
                    _ => {
                        // SAFETY: tasks have different tokens.
                        let out = unsafe { floats.part(t * cols..(t + 1) * cols) };
                        transform(cpu.isa(), input, t, out);
                        out
                    }
                };
                if quantized && few {
                    let per_token = stride / fine::SPAN;
                    let part = t * per_token..(t + 1) * per_token;
                    // SAFETY: tasks have different tokens.
                    let spans = unsafe { fine.part(part.clone()) };
                    fine::quantize(cpu.isa(), row, spans);
                    if paired {
                        // SAFETY: as above.
                        fine::pair(spans, unsafe { other.part(part) });
                    }
                } else if quantized {
                    let part = |n: usize| t * stride / n..(t + 1) * stride / n;
                    // SAFETY: tasks have different tokens.
                    let (q, d, sums) = unsafe { (q.part(part(1)), d.part(part(QK8)), sums.part(part(QK8 / 2))) };
                    quantize_padded(cpu.isa(), row, Codes { q, d, sums });
                }
            }
            if quantized && !few {
                let part = |n: usize| range.start * stride / n..range.end * stride / n;
                // SAFETY: tasks have different tokens; what was written above is no longer borrowed.
                let (d, sums) = unsafe { (&*d.part(part(QK8)), &*sums.part(part(QK8 / 2))) };
                let turned = Turned { d, sums, stride, lanes, first: range.start };
                // SAFETY: tasks have different tokens.
                unsafe {
                    turned.scales(&d_turned);
                    list.iter().flatten().for_each(|o| turned.offsets(o));
                }
            }
        });
    }

    /// Grows the arrays for quantized inputs; says what is wanted.
    fn make_room(&mut self, shape: Shape, wanted: impl Iterator<Item = Wanted>) -> Uses {
        let Shape { tokens, few, .. } = shape;
        let (mut uses, mut kinds) = (Uses::default(), 0);
        for w in wanted {
            let Wanted::Codes(kind, order) = w else {
                uses.float = true;
                continue;
            };
            uses.quantized = true;
            uses.paired |= few && order == Order::Paired;
            // Few tokens take the sums as they are.
            if !few && !self.offsets[..kinds].iter().any(|o| o.kind == kind) {
                if self.offsets.len() == kinds {
                    self.offsets.push(Offsets { kind, starts: Vec::new(), shifts: Vec::new() });
                }
                let o = &mut self.offsets[kinds];
                o.kind = kind;
                let len = self.lanes * self.stride / kind.sub_len;
                grow(&mut o.starts, len);
                grow(&mut o.shifts, if kind.min { len } else { 0 });
                kinds += 1;
            }
        }
        let len = tokens * self.stride;
        if uses.quantized && few {
            grow(&mut self.fine[0], len / fine::SPAN);
            grow(&mut self.fine[1], if uses.paired { len / fine::SPAN } else { 0 });
        } else if uses.quantized {
            grow(&mut self.q, len);
            grow(&mut self.d, len / QK8);
            grow(&mut self.d_turned, self.lanes * self.stride / QK8);
            grow(&mut self.sums, len / (QK8 / 2));
        }
        self.kinds = kinds;
        uses
    }

    /// The input as float32: the caller's own where nothing is done to it.
    pub(super) fn floats<'a>(&'a self, input: Input<'a>, cols: usize) -> Floats<'a> {
        match input {
            Input::Plain(x) => Floats { x, cols },
            _ => Floats { x: &self.floats, cols },
        }
    }

    pub(super) fn quantized(&self) -> Quantized<'_> {
        let offsets = &self.offsets[..self.kinds];
        Quantized { q: &self.q, d: &self.d_turned, offsets, stride: self.stride, lanes: self.lanes }
    }

    /// Few tokens' input in 15 bits, in each order.
    pub(super) fn fine(&self) -> [Fine<'_>; 2] {
        let of = |order: Order| Fine { spans: &self.fine[order as usize], per_token: self.stride / fine::SPAN };
        [of(Order::Straight), of(Order::Paired)]
    }
}

/// What is made of an input.
#[derive(Default)]
struct Uses {
    float: bool,
    quantized: bool,
    /// Whether few tokens' codes are read in paired order, too.
    paired: bool,
}

/// [`Offsets`] that tasks fill.
struct OffsetParts<'a> {
    kind: Kind,
    starts: Parts<'a, i32>,
    shifts: Parts<'a, f32>,
}

/// A task's scales and sums, to be turned so that numbers of neighbouring tokens stand together.
struct Turned<'a> {
    /// `[task's tokens, stride / 32]`
    d: &'a [f32],
    /// `[task's tokens, stride / 16]`
    sums: &'a [i32],
    stride: usize,
    lanes: usize,
    /// The task's first token.
    first: usize,
}

impl Turned<'_> {
    fn tokens(&self) -> usize {
        self.d.len() * QK8 / self.stride
    }

    /// # Safety
    /// No other task has these tokens.
    unsafe fn scales(&self, out: &Parts<'_, f32>) {
        let per_token = self.stride / QK8;
        for block in 0..per_token {
            let start = block * self.lanes + self.first;
            // SAFETY: by the contract.
            let out = unsafe { out.part(start..start + self.tokens()) };
            for (out, d) in out.iter_mut().zip(self.d.iter().skip(block).step_by(per_token)) {
                *out = *d;
            }
        }
    }

    /// # Safety
    /// No other task has these tokens.
    unsafe fn offsets(&self, out: &OffsetParts<'_>) {
        let Kind { zero, sub_len, min } = out.kind;
        let per_token = self.stride / sub_len;
        for sub in 0..per_token {
            let start = sub * self.lanes + self.first;
            let range = start..start + self.tokens();
            // SAFETY: by the contract.
            let (starts, shifts) =
                unsafe { (out.starts.part(range.clone()), out.shifts.part(if min { range } else { 0..0 })) };
            for (token, start) in starts.iter_mut().enumerate() {
                let at = token * per_token + sub;
                let sum = if sub_len == QK8 { self.sums[2 * at] + self.sums[2 * at + 1] } else { self.sums[at] };
                *start = -zero * sum;
                if let Some(shift) = shifts.get_mut(token) {
                    *shift = self.d[at * sub_len / QK8] * sum as f32;
                }
            }
        }
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
    d: &'a mut [f32],
    sums: &'a mut [i32],
}

/// Quantizes a row, and fills up with zeros.
fn quantize_padded(isa: Isa, x: &[f32], codes: Codes<'_>) {
    let (blocks, rest) = x.as_chunks::<QK8>();
    let whole = blocks.len() * QK8;
    let mut tail = [0.0; QK8];
    tail[..rest.len()].copy_from_slice(rest);
    let tail_len = if rest.is_empty() { 0 } else { QK8 };
    let (front, back) = codes.split(whole);
    let (last, padding) = back.split(tail_len);
    quantize(isa, &x[..whole], front);
    quantize(isa, &tail[..tail_len], last);
    padding.q.fill(0);
    padding.d.fill(0.0);
    padding.sums.fill(0);
}

impl<'a> Codes<'a> {
    /// The codes of the first `n` numbers (a multiple of 32), and the rest.
    fn split(self, n: usize) -> (Codes<'a>, Codes<'a>) {
        let (q, q_rest) = self.q.split_at_mut(n);
        let (d, d_rest) = self.d.split_at_mut(n / QK8);
        let (sums, sums_rest) = self.sums.split_at_mut(n / (QK8 / 2));
        (Codes { q, d, sums }, Codes { q: q_rest, d: d_rest, sums: sums_rest })
    }
}

/// [`quantize_row`], compiled for the instruction set.
fn quantize(isa: Isa, x: &[f32], codes: Codes<'_>) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2(x: &[f32], codes: Codes<'_>) {
        quantize_row(x, codes.q, codes.d, codes.sums);
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
    fn avx512(x: &[f32], codes: Codes<'_>) {
        quantize_row(x, codes.q, codes.d, codes.sums);
    }
    match isa {
        // SAFETY: a `Cpu` holds this value only after `Isa::is_available` said that the processor has it.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2(x, codes) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { avx512(x, codes) },
        _ => quantize_row(x, codes.q, codes.d, codes.sums),
    }
}
