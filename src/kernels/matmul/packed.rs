//! Float weights kept as 8-bit codes, in the order in which the micro-kernel of [`panel`](super::panel) reads them.
//!
//! The vision tower's weights come in half precision. Products in float32 take four times as long as 8-bit dot products,
//! so they are rounded once, to 8 bits with a float32 scale per 64 columns, and laid out in panels: nothing is taken apart
//! per product then. Scaling takes a third as long as the dot products of 32 columns, and of 64 a sixth.

use std::alloc::{Layout, handle_alloc_error};

use super::float_panel::{Bf16, F16, F32, FloatFormat, STRIP};
use super::lanes::{Lanes, on_isa};
use super::panel::ROWS;
use super::rounding::round_row;
use crate::gguf::{GgmlType, LargePages, Tensor};
use crate::kernels::split::Parts;
use crate::kernels::{Cpu, Isa};
use crate::quant::{BlockFormat, Codes, QK_WIDE};

/// Added to signed codes: what the kernel multiplies is unsigned.
const OFFSET: u8 = 128;

/// What the kernel sees of such weights.
pub(super) struct Wide;

impl BlockFormat for Wide {
    const BLOCK_LEN: usize = QK_WIDE;
    /// They come from no file.
    const BLOCK_BYTES: usize = 0;
    const SUB_LEN: usize = QK_WIDE;
    const ZERO: i32 = OFFSET as i32;
    const HAS_MIN: bool = false;
    const X_LEN: usize = QK_WIDE;

    fn unpack(_block: &[u8], _out: &mut Codes) {
        unreachable!("laid out in panels already")
    }
}

/// A matrix in 8 bits.
#[derive(Debug)]
pub(super) struct Packed {
    /// Codes `[panel][column / 4][row of the panel][4]`, columns up to a multiple of 64; and behind them the scales, float32
    /// `[panel][column / 64][row of the panel]`. In large pages: there is 0.7 GB of it, touched once and read often.
    memory: LargePages,
    /// Columns, up to a multiple of 64.
    cols: usize,
    /// Rows, up to whole panels.
    rows: usize,
}

impl Packed {
    /// Rounds a tensor of floats, on all threads.
    pub fn new(cpu: &Cpu, tensor: &Tensor) -> Packed {
        let (real_rows, cols) = (tensor.n_rows(), tensor.row_len().next_multiple_of(QK_WIDE));
        let rows = real_rows.next_multiple_of(ROWS);
        let bytes = rows * cols + rows * cols / QK_WIDE * size_of::<f32>();
        // Where there is no memory, as a vector would end.
        let memory = LargePages::zeroed(bytes)
            .unwrap_or_else(|| handle_alloc_error(Layout::array::<u8>(bytes).unwrap_or(Layout::new::<u8>())));
        let mut packed = Packed { memory, cols, rows };
        let (q, scale) = packed.memory.bytes_mut().split_at_mut(rows * cols);
        let (q, scale) = (Parts::new(q), Parts::new(floats_mut(scale)));
        let isa = cpu.isa();
        cpu.pool().run(rows / ROWS, &|panel| {
            let part = |n: usize| panel * ROWS * cols / n..(panel + 1) * ROWS * cols / n;
            // SAFETY: every task has its own panel.
            let out = unsafe { PanelOut { q: q.part(part(1)), scale: scale.part(part(QK_WIDE)) } };
            let first = panel * ROWS;
            let panel = &tensor.slice_rows(first, ROWS.min(real_rows - first));
            match tensor.ty() {
                GgmlType::F16 => pack_panel::<F16>(isa, panel, out),
                GgmlType::BF16 => pack_panel::<Bf16>(isa, panel, out),
                _ => pack_panel::<F32>(isa, panel, out),
            }
        });
        packed
    }

    /// Codes and scales of a panel, from column `start` (a multiple of 64) on.
    pub fn part(&self, panel: usize, start: usize) -> (&[u8], &[f32]) {
        let at = |unit: usize| (panel * ROWS * self.cols + start * ROWS) / unit..(panel + 1) * ROWS * self.cols / unit;
        let (q, scale) = self.memory.bytes().split_at(self.rows * self.cols);
        (&q[at(1)], &floats(scale)[at(QK_WIDE)])
    }

    /// Where a panel's codes from column `start` on are, or would be: for hints only. The next panel follows the last column.
    pub fn address(&self, panel: usize, start: usize) -> *const u8 {
        self.memory.bytes().as_ptr().wrapping_add((panel * self.cols + start) * ROWS)
    }

    /// Columns, up to a multiple of 64.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Weight `[row, column]`, for tests.
    #[cfg(test)]
    pub fn get(&self, row: usize, column: usize) -> f32 {
        let (q, scale) = self.part(row / ROWS, 0);
        let code = q[(column / 4 * ROWS + row % ROWS) * 4 + column % 4];
        f32::from(i16::from(code) - i16::from(OFFSET)) * scale[column / QK_WIDE * ROWS + row % ROWS]
    }
}

/// A panel's place.
struct PanelOut<'a> {
    q: &'a mut [u8],
    scale: &'a mut [f32],
}

/// Memory as floats.
///
/// # Panics
/// It isn't aligned for them: behind whole panels of codes, in memory that begins with a page, it is.
fn floats(bytes: &[u8]) -> &[f32] {
    // SAFETY: any bits are a float.
    let ([], floats, []) = (unsafe { bytes.align_to() }) else { panic!("scales aren't aligned") };
    floats
}

/// The same, to write to.
fn floats_mut(bytes: &mut [u8]) -> &mut [f32] {
    // SAFETY: as above, both ways.
    let ([], floats, []) = (unsafe { bytes.align_to_mut() }) else { panic!("scales aren't aligned") };
    floats
}

/// Columns that are rounded before they are laid out: a panel's codes of so many stay in the first-level cache.
const CHUNK: usize = 4 * QK_WIDE;

fn pack_panel<F: FloatFormat>(isa: Isa, panel: &Tensor, out: PanelOut<'_>) {
    let mut codes = [[0i8; CHUNK]; ROWS];
    let cols = out.q.len() / ROWS;
    for start in (0..cols).step_by(CHUNK) {
        let n = CHUNK.min(cols - start);
        for (row, codes) in codes.iter_mut().enumerate().take(panel.n_rows()) {
            let bytes = &panel.row(row)[start * F::BYTES..];
            let (mut x, mut d) = ([0.0; CHUNK], [0.0; CHUNK / QK_WIDE]);
            widen::<F>(isa, &bytes[..bytes.len().min(n * F::BYTES)], &mut x);
            let (codes, d) = (&mut codes[..n], &mut d[..n / QK_WIDE]);
            round_row::<QK_WIDE>(isa, &x[..n], codes, d, &mut [0; 2 * CHUNK / QK_WIDE][..2 * d.len()]);
            for (block, d) in d.iter().enumerate() {
                out.scale[(start / QK_WIDE + block) * ROWS + row] = *d;
            }
        }
        let quads = out.q[start * ROWS..(start + n) * ROWS].as_chunks_mut::<4>().0;
        for (column, quads) in quads.as_chunks_mut::<ROWS>().0.iter_mut().enumerate() {
            for (quad, codes) in quads.iter_mut().zip(&codes) {
                *quad = codes.as_chunks::<4>().0[column].map(|q| q.cast_unsigned() ^ OFFSET);
            }
        }
    }
}

/// Floats of a row as float32.
fn widen<F: FloatFormat>(isa: Isa, bytes: &[u8], x: &mut [f32; CHUNK]) {
    on_isa!(isa, [F: FloatFormat] widen_strips<F>(bytes: &[u8], x: &mut [f32; CHUNK]));
}

/// # Safety
/// The instruction set of `L` is enabled in the caller.
#[inline(always)]
unsafe fn widen_strips<F: FloatFormat, L: Lanes>(bytes: &[u8], x: &mut [f32; CHUNK]) {
    for (strip, bytes) in x.as_chunks_mut::<STRIP>().0.iter_mut().zip(bytes.chunks(STRIP * F::BYTES)) {
        if bytes.len() == STRIP * F::BYTES {
            // SAFETY: as for this function.
            *strip = unsafe { F::read_strip::<L>(bytes) };
        } else {
            for (i, x) in strip.iter_mut().enumerate().take(bytes.len() / F::BYTES) {
                *x = F::read(bytes, i);
            }
        }
    }
}
