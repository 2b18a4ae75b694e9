//! Getting the input of a product ready: the row operation, and quantization to 8 bits where the weights want it.

use super::Input;
use super::fine::{self, Fine, FineSpan, Order};
use crate::kernels::elementwise::{gelu_row, rms_norm_row, swiglu_row};
use crate::kernels::split::Parts;
use crate::kernels::{Cpu, Isa};
use crate::quant::{BlockFormat, QK_WIDE, QK8};

use super::Matrix;
use super::packed::Wide;
use super::rounding::round_row;
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
    /// With a scale per 32 numbers, and per 64.
    eight: [EightBits; 2],
    /// Few tokens' codes, `[tokens, stride / 256]`, in each [`Order`].
    fine: [Vec<FineSpan>; 2],
    /// Codes per row, padded.
    stride: usize,
    /// [`lanes`] of the tokens.
    lanes: usize,
}

/// The input in 8 bits, with a scale per `x_len` numbers.
#[derive(Debug, Default)]
struct EightBits {
    /// `[tokens, stride]`
    q: Vec<i8>,
    /// `[tokens, stride / x_len]`
    d: Vec<f32>,
    /// The same, `[stride / x_len, lanes]`.
    d_turned: Vec<f32>,
    /// Of each half of what shares a scale, `[tokens, 2 stride / x_len]`.
    sums: Vec<i32>,
    /// What the formats of the weights want to know of the sums, at most three kinds.
    offsets: Vec<Offsets>,
    /// How many of them are this input's; none where it isn't wanted so.
    kinds: usize,
}

/// The numbers that share a scale in the first and the second of [`MatMulScratch::eight`].
const X_LENS: [usize; 2] = [QK8, QK_WIDE];

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
        if m.packed.is_some() {
            return Wanted::Codes(Kind::of::<Wide>(), Order::Straight);
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
    x_len: usize,
}

impl Kind {
    pub fn of<F: BlockFormat>() -> Kind {
        Kind { zero: F::ZERO, sub_len: F::SUB_LEN, min: F::HAS_MIN, x_len: F::X_LEN }
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
    /// Scales, `[stride / x_len, lanes]`: those of neighbouring tokens stand together, so that a kernel that handles several
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
        let [straight, other] = &mut self.fine;
        let (fine, other) = (Parts::new(straight), Parts::new(other));
        let [narrow, wide] = &mut self.eight;
        let (narrow, wide) = (narrow.parts::<QK8>(stride, lanes), wide.parts::<QK_WIDE>(stride, lanes));
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
                }
                // SAFETY: as above; of few tokens, neither is wanted.
                unsafe {
                    narrow.quantize(cpu.isa(), row, t);
                    wide.quantize(cpu.isa(), row, t);
                }
            }
            // SAFETY: tasks have different tokens, and these have been quantized.
            unsafe {
                narrow.turn(range.clone());
                wide.turn(range);
            }
        });
    }

    /// Grows the arrays for quantized inputs; says what is wanted.
    fn make_room(&mut self, shape: Shape, wanted: impl Iterator<Item = Wanted>) -> Uses {
        let Shape { tokens, few, .. } = shape;
        let mut uses = Uses::default();
        self.eight.iter_mut().for_each(|e| e.kinds = 0);
        for w in wanted {
            let Wanted::Codes(kind, order) = w else {
                uses.float = true;
                continue;
            };
            uses.quantized = true;
            uses.paired |= few && order == Order::Paired;
            // Few tokens take the sums as they are.
            if !few {
                self.eight[usize::from(kind.x_len == QK_WIDE)].want(kind, self.lanes, self.stride);
            }
        }
        let len = tokens * self.stride;
        if uses.quantized && few {
            grow(&mut self.fine[0], len / fine::SPAN);
            grow(&mut self.fine[1], if uses.paired { len / fine::SPAN } else { 0 });
        }
        for (eight, x_len) in self.eight.iter_mut().zip(X_LENS).filter(|(e, _)| e.kinds > 0) {
            grow(&mut eight.q, len);
            grow(&mut eight.d, len / x_len);
            grow(&mut eight.d_turned, self.lanes * self.stride / x_len);
            grow(&mut eight.sums, 2 * len / x_len);
        }
        uses
    }

    /// The input as float32: the caller's own where nothing is done to it.
    pub(super) fn floats<'a>(&'a self, input: Input<'a>, cols: usize) -> Floats<'a> {
        match input {
            Input::Plain(x) => Floats { x, cols },
            _ => Floats { x: &self.floats, cols },
        }
    }

    /// The input in 8 bits, as a format wants it.
    pub(super) fn quantized(&self) -> [Quantized<'_>; 2] {
        self.eight.each_ref().map(|e| {
            let offsets = &e.offsets[..e.kinds];
            Quantized { q: &e.q, d: &e.d_turned, offsets, stride: self.stride, lanes: self.lanes }
        })
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

impl EightBits {
    /// Makes room for what a kind of weights wants of the sums.
    fn want(&mut self, kind: Kind, lanes: usize, stride: usize) {
        if self.offsets[..self.kinds].iter().any(|o| o.kind == kind) {
            return;
        }
        if self.offsets.len() == self.kinds {
            self.offsets.push(Offsets { kind, starts: Vec::new(), shifts: Vec::new() });
        }
        let o = &mut self.offsets[self.kinds];
        o.kind = kind;
        let len = lanes * stride / kind.sub_len;
        grow(&mut o.starts, len);
        grow(&mut o.shifts, if kind.min { len } else { 0 });
        self.kinds += 1;
    }

    fn parts<const N: usize>(&mut self, stride: usize, lanes: usize) -> EightParts<'_, N> {
        // As many as there are jobs on one input, at most.
        let mut offsets: [Option<OffsetParts<'_>>; 8] = Default::default();
        for (slot, o) in offsets.iter_mut().zip(&mut self.offsets[..self.kinds]) {
            let (starts, shifts) = (Parts::new(&mut o.starts), Parts::new(&mut o.shifts));
            *slot = Some(OffsetParts { kind: o.kind, starts, shifts });
        }
        let (q, d, sums) = (Parts::new(&mut self.q), Parts::new(&mut self.d), Parts::new(&mut self.sums));
        EightParts {
            q,
            d,
            sums,
            d_turned: Parts::new(&mut self.d_turned),
            offsets,
            stride,
            lanes,
            wanted: self.kinds > 0,
        }
    }
}

/// [`Offsets`] that tasks fill.
struct OffsetParts<'a> {
    kind: Kind,
    starts: Parts<'a, i32>,
    shifts: Parts<'a, f32>,
}

/// [`EightBits`] of a scale per `N` numbers that tasks fill, each for its own tokens.
struct EightParts<'a, const N: usize> {
    q: Parts<'a, i8>,
    d: Parts<'a, f32>,
    sums: Parts<'a, i32>,
    d_turned: Parts<'a, f32>,
    offsets: [Option<OffsetParts<'a>>; 8],
    stride: usize,
    lanes: usize,
    wanted: bool,
}

impl<const N: usize> EightParts<'_, N> {
    /// Quantizes a token's row, if that is wanted.
    ///
    /// # Safety
    /// No other task has this token.
    unsafe fn quantize(&self, isa: Isa, row: &[f32], token: usize) {
        if self.wanted {
            let part = |n: usize| token * self.stride / n..(token + 1) * self.stride / n;
            // SAFETY: by the contract.
            let (q, d, sums) = unsafe { (self.q.part(part(1)), self.d.part(part(N)), self.sums.part(part(N / 2))) };
            quantize_padded::<N>(isa, row, Codes { q, d, sums });
        }
    }

    /// Turns what was quantized of a task's tokens, so that numbers of neighbouring tokens stand together.
    ///
    /// # Safety
    /// No other task has these tokens; nothing of them is borrowed any more.
    unsafe fn turn(&self, tokens: std::ops::Range<usize>) {
        if self.wanted {
            let part = |n: usize| tokens.start * self.stride / n..tokens.end * self.stride / n;
            // SAFETY: by the contract.
            unsafe {
                let (d, sums) = (&*self.d.part(part(N)), &*self.sums.part(part(N / 2)));
                let turned = Turned::<N> { d, sums, stride: self.stride, lanes: self.lanes, first: tokens.start };
                turned.scales(&self.d_turned);
                self.offsets.iter().flatten().for_each(|o| turned.offsets(o));
            }
        }
    }
}

/// A task's scales and sums, to be turned.
struct Turned<'a, const N: usize> {
    /// `[task's tokens, stride / N]`
    d: &'a [f32],
    /// `[task's tokens, 2 stride / N]`
    sums: &'a [i32],
    stride: usize,
    lanes: usize,
    /// The task's first token.
    first: usize,
}

impl<const N: usize> Turned<'_, N> {
    fn tokens(&self) -> usize {
        self.d.len() * N / self.stride
    }

    /// # Safety
    /// No other task has these tokens.
    unsafe fn scales(&self, out: &Parts<'_, f32>) {
        let per_token = self.stride / N;
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
        let Kind { zero, sub_len, min, .. } = out.kind;
        let per_token = self.stride / sub_len;
        for sub in 0..per_token {
            let start = sub * self.lanes + self.first;
            let range = start..start + self.tokens();
            // SAFETY: by the contract.
            let (starts, shifts) =
                unsafe { (out.starts.part(range.clone()), out.shifts.part(if min { range } else { 0..0 })) };
            for (token, start) in starts.iter_mut().enumerate() {
                let at = token * per_token + sub;
                let sum = if sub_len == N { self.sums[2 * at] + self.sums[2 * at + 1] } else { self.sums[at] };
                *start = -zero * sum;
                if let Some(shift) = shifts.get_mut(token) {
                    *shift = self.d[at * sub_len / N] * sum as f32;
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
fn quantize_padded<const N: usize>(isa: Isa, x: &[f32], codes: Codes<'_>) {
    let (blocks, rest) = x.as_chunks::<N>();
    let whole = blocks.len() * N;
    let mut tail = [0.0; N];
    tail[..rest.len()].copy_from_slice(rest);
    let tail_len = if rest.is_empty() { 0 } else { N };
    let (front, back) = codes.split::<N>(whole);
    let (last, padding) = back.split::<N>(tail_len);
    round_row::<N>(isa, &x[..whole], front.q, front.d, front.sums);
    round_row::<N>(isa, &tail[..tail_len], last.q, last.d, last.sums);
    padding.q.fill(0);
    padding.d.fill(0.0);
    padding.sums.fill(0);
}

impl<'a> Codes<'a> {
    /// The codes of the first `n` numbers (a multiple of `N`), and the rest.
    fn split<const N: usize>(self, n: usize) -> (Codes<'a>, Codes<'a>) {
        let (q, q_rest) = self.q.split_at_mut(n);
        let (d, d_rest) = self.d.split_at_mut(n / N);
        let (sums, sums_rest) = self.sums.split_at_mut(n / (N / 2));
        (Codes { q, d, sums }, Codes { q: q_rest, d: d_rest, sums: sums_rest })
    }
}
