//! Matrix products, straight from the mapped blocks.
//!
//! For many tokens ([`panel`]): a panel of 32 rows is taken apart chunk by chunk into a tile that the dot-product
//! instruction can read, and each tile is used for all tokens. For few tokens ([`rows`]): each row is read once, in order,
//! at the speed of memory.

mod fine;
mod float_panel;
mod float_rows;
mod foreign;
mod lanes;
mod packed;
#[cfg(target_arch = "x86_64")]
mod pairs;
mod panel;
mod prepare;
mod rounding;
mod rows;
#[cfg(target_arch = "x86_64")]
mod span;
#[cfg(target_arch = "x86_64")]
mod turn;
#[cfg(target_arch = "x86_64")]
mod words;
#[cfg(target_arch = "x86_64")]
mod ymm;
#[cfg(target_arch = "x86_64")]
mod ymm_rows;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use fine::{Fine, Order};
use packed::Packed;
pub(crate) use prepare::MatMulScratch;
use prepare::{Floats, Quantized, Shape, Wanted};

use super::split::Parts;
use super::{Cpu, Isa, KernelError, Scratch};
use crate::gguf::{GgmlType, Tensor};
use crate::quant;

/// Up to this many tokens, rows are read one by one, and a token's results are the same bytes with any others beside it.
pub const FEW_TOKENS: usize = 8;
/// Rows of a task when there are few tokens.
const TASK_ROWS: usize = 32;

/// A weight matrix `[rows, cols]` in a mapped file.
#[derive(Clone, Debug)]
pub struct Matrix {
    tensor: Tensor,
    rows: usize,
    cols: usize,
    /// Of a type without a format here: brought to Q8_0 whenever it is multiplied.
    foreign: bool,
    /// For float weights that are to be used in 8 bits: filled by the first product.
    packed: Option<Arc<OnceLock<Packed>>>,
}

impl Matrix {
    /// The tensor as a matrix: its first dimension is the columns, all others together the rows.
    ///
    /// # Errors
    /// There is no kernel for its type.
    pub fn new(tensor: Tensor) -> Result<Matrix, KernelError> {
        if !quant::supported(tensor.ty()) {
            return Err(KernelError::MatrixType { tensor: tensor.name().to_string(), ty: tensor.ty() });
        }
        let (rows, cols) = (tensor.n_rows(), tensor.row_len());
        let foreign = quant::foreign(tensor.ty());
        Ok(Matrix { tensor, rows, cols, foreign, packed: None })
    }

    /// Like [`Matrix::new`], but float weights are rounded to 8 bits with a scale per 32 columns when they are first
    /// used, and kept in memory so (those of at least 32 rows and columns): products take a quarter of the time, at the fidelity of Q8_0.
    ///
    /// # Errors
    /// As [`Matrix::new`].
    pub fn in_eight_bits(tensor: Tensor) -> Result<Matrix, KernelError> {
        let plain = Matrix::new(tensor)?;
        // Panels are filled up to 32 rows and columns. Narrower matrices would grow by that, out of proportion to their file,
        // and take no time anyway.
        let wide = plain.rows >= panel::ROWS && plain.cols >= quant::QK8;
        let packed = (wide && plain.is_float()).then(Arc::default);
        Ok(Matrix { packed, ..plain })
    }

    /// Outputs of a product.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs of a product.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// How its numbers are stored.
    pub fn ty(&self) -> GgmlType {
        self.tensor.ty()
    }

    /// Bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.tensor.row_bytes()
    }

    /// Whether its type has no format here: products are slower then.
    pub fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// Whether it is multiplied in float32.
    fn is_float(&self) -> bool {
        self.packed.is_none() && matches!(self.ty(), GgmlType::F32 | GgmlType::F16 | GgmlType::BF16)
    }

    /// The format whose codes the products of many tokens read; not for those in float32.
    fn codes_ty(&self) -> GgmlType {
        if self.foreign || self.packed.is_some() { GgmlType::Q8_0 } else { self.ty() }
    }
}

/// What a product reads, `[tokens, cols]`, and what is done to it on the way.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// The numbers as they are.
    Plain(&'a [f32]),
    /// RMSNorm over each row.
    RmsNorm {
        /// The rows.
        x: &'a [f32],
        /// A factor per column.
        weight: &'a [f32],
        /// Added to the mean square.
        eps: f32,
    },
    /// `silu(gate) · up`.
    SwiGlu {
        /// The gate.
        gate: &'a [f32],
        /// The other factor.
        up: &'a [f32],
    },
    /// The exact GELU.
    Gelu(&'a [f32]),
}

/// One product: `out = input · weightᵀ + bias`, or added to `out`.
pub struct MatMul<'a> {
    /// `[rows, cols]`
    pub weight: &'a Matrix,
    /// `[rows]`
    pub bias: Option<&'a [f32]>,
    /// `[tokens, rows]`
    pub out: &'a mut [f32],
    /// Add to `out` rather than replace it.
    pub accumulate: bool,
}

/// A job as the tasks see it.
struct Job<'a> {
    weight: &'a Matrix,
    bias: Option<&'a [f32]>,
    out: Parts<'a, f32>,
    accumulate: bool,
    /// Tasks of the jobs before it.
    first_task: usize,
}

/// The inputs in both forms; only the one that a job needs is filled.
struct Inputs<'a> {
    floats: Floats<'a>,
    /// With a scale per 32 numbers, and per 64.
    quantized: [Quantized<'a>; 2],
    /// In each [`Order`].
    fine: [Fine<'a>; 2],
    tokens: usize,
    /// Whether rows are read one by one.
    few: bool,
}

/// Where a task's results go.
struct Target<'a, 'b> {
    job: &'a Job<'b>,
    /// First row of the matrix that the task computes.
    row: usize,
    /// How many.
    rows: usize,
    /// Their weights: as in the file, or as Q8_0 for foreign types.
    bytes: &'a [u8],
    /// Bytes of each row.
    row_bytes: usize,
}

impl Target<'_, '_> {
    /// Writes `values`, the task's results for one token.
    #[inline(always)]
    fn write(&self, token: usize, values: &[f32]) {
        let start = token * self.job.weight.rows + self.row;
        // SAFETY: every task has its own rows of its own job, and calls this for one token at a time.
        let out = unsafe { self.job.out.part(start..start + self.rows) };
        match self.job.bias {
            Some(b) if self.job.accumulate => {
                out.iter_mut().zip(values).zip(&b[self.row..]).for_each(|((o, v), b)| *o += v + b);
            }
            Some(b) => out.iter_mut().zip(values).zip(&b[self.row..]).for_each(|((o, v), b)| *o = v + b),
            None if self.job.accumulate => out.iter_mut().zip(values).for_each(|(o, v)| *o += v),
            None => out.copy_from_slice(&values[..self.rows]),
        }
    }

    /// Where the results for a token go, for hints only.
    fn address(&self, token: usize) -> *const f32 {
        self.job.out.address(token * self.job.weight.rows + self.row)
    }
}

impl Cpu {
    /// Carries out `jobs`, all on one input of `tokens` rows. Results don't depend on the number of threads.
    ///
    /// Weights in F32, F16 and BF16 are multiplied in float32. For quantized ones the input is quantized too, to 8 bits
    /// with a scale per 32 numbers; products are exact integers then, scaled and added up in float32. So it is for those
    /// that are [kept in 8 bits](Matrix::in_eight_bits). Types without a format here are rounded to 8 bits on the way. Up to
    /// [`FEW_TOKENS`] tokens take 15 bits with a scale per 256 numbers instead, and what one of them gives doesn't depend on
    /// the others.
    ///
    /// # Panics
    /// The lengths don't fit together.
    pub fn linear(&self, tokens: usize, input: Input<'_>, jobs: &mut [MatMul<'_>], scratch: &mut Scratch) {
        let Some(cols) = jobs.first().map(|j| j.weight.cols) else { return };
        if tokens == 0 {
            return;
        }
        for job in jobs.iter() {
            let rows = job.weight.rows;
            assert!(job.weight.cols == cols && job.out.len() == tokens * rows, "{tokens} tokens, {rows} x {cols}");
            assert!(job.bias.is_none_or(|b| b.len() == rows), "a bias of {rows}");
        }
        for job in jobs.iter() {
            if let Some(packed) = &job.weight.packed {
                packed.get_or_init(|| Packed::new(self, &job.weight.tensor));
            }
        }
        // What lies in panels is read in panels.
        let few = tokens <= FEW_TOKENS && jobs.iter().all(|j| j.weight.packed.is_none());
        let shape = Shape { tokens, cols, few };
        let s = &mut scratch.matmul;
        s.prepare(self, input, shape, jobs.iter().map(|j| Wanted::by(self.isa(), j.weight)));
        let floats = s.floats(input, cols);
        if let Some(observer) = self.observer.get() {
            for job in jobs.iter() {
                observer.product(job.weight.tensor.name(), &floats.x[..tokens * cols], cols);
            }
        }
        let inputs = Inputs { floats, quantized: s.quantized(), fine: s.fine(), tokens, few };
        let size = if few { TASK_ROWS } else { panel::ROWS };
        let mut n_tasks = 0;
        // At most three jobs in the model; a list of eight is plenty, and costs no allocation.
        let mut list: [Option<Job<'_>>; 8] = Default::default();
        assert!(jobs.len() <= list.len(), "{} jobs on one input", jobs.len());
        for (slot, j) in list.iter_mut().zip(jobs.iter_mut()) {
            let first_task = n_tasks;
            n_tasks += j.weight.rows.div_ceil(size);
            let MatMul { weight, bias, out, accumulate } = j;
            *slot = Some(Job { weight, bias: *bias, out: Parts::new(out), accumulate: *accumulate, first_task });
        }
        let run = |task: usize| {
            let Some(job) = list.iter().flatten().rev().find(|j| j.first_task <= task) else { return };
            let row = (task - job.first_task) * size;
            run_task(self.isa(), &inputs, job, row..(row + size).min(job.weight.rows));
        };
        self.pool().run_in_ranges(n_tasks, &run);
    }

    /// Dequantizes rows `ids` of `table` into `out`, `[ids, cols]`.
    ///
    /// # Panics
    /// An id is outside the table, or `out` has another length.
    pub fn gather_rows(&self, table: &Matrix, ids: &[u32], out: &mut [f32]) {
        assert_eq!(out.len(), ids.len() * table.cols);
        for (&id, out) in ids.iter().zip(out.chunks_exact_mut(table.cols)) {
            // The type was checked when the matrix was made, and a row's length fits by construction.
            let done = quant::dequantize(table.ty(), table.tensor.row(id as usize), out);
            debug_assert!(done.is_ok());
        }
    }
}

/// Working memory of one thread.
#[derive(Default)]
struct ThreadScratch {
    tile: panel::Tile,
    floats: float_panel::FloatTile,
    foreign: foreign::Foreign,
}

thread_local! {
    static THREAD: RefCell<ThreadScratch> = RefCell::default();
}

fn run_task(isa: Isa, inputs: &Inputs<'_>, job: &Job<'_>, rows: Range<usize>) {
    THREAD.with_borrow_mut(|scratch| {
        let ThreadScratch { tile, floats, foreign } = scratch;
        let weight = job.weight;
        let mut row_bytes = weight.tensor.row_bytes();
        let mut bytes = &weight.tensor.bytes()[rows.start * row_bytes..rows.end * row_bytes];
        if weight.foreign {
            bytes = foreign.bring(isa, weight.ty(), bytes, weight.cols);
            row_bytes = bytes.len() / rows.len();
        }
        let target = &Target { job, row: rows.start, rows: rows.len(), bytes, row_bytes };
        match (weight.is_float(), inputs.few) {
            (true, true) => float_rows::run(isa, &inputs.floats, inputs.tokens, target),
            (true, false) => float_panel::run(isa, &inputs.floats, inputs.tokens, target, floats),
            (false, true) => {
                let order = Order::of(isa, weight.codes_ty());
                rows::run(isa, inputs.fine[order as usize], inputs.tokens, target);
            }
            (false, false) => {
                panel::run(isa, &inputs.quantized[usize::from(weight.packed.is_some())], inputs.tokens, target, tile);
            }
        }
    });
}
