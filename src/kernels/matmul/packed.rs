//! Float weights kept as 8-bit codes, in the order in which the micro-kernel of [`panel`](super::panel) reads them.
//!
//! The vision tower's weights come in half precision. Products in float32 take four times as long as 8-bit dot products,
//! so they are rounded once, to 8 bits with a float32 scale per 64 columns, and laid out in panels: nothing is taken apart
//! per product then. Scaling takes a third as long as the dot products of 32 columns, and of 64 a sixth.

use super::float_panel::{Bf16, F16, F32, FloatFormat, STRIP};
use super::lanes::{Lanes, on_isa};
use super::panel::ROWS;
use crate::gguf::{GgmlType, Tensor};
use crate::kernels::split::Parts;
use crate::kernels::{Cpu, Isa};
use crate::quant::{BlockFormat, Codes, QK_WIDE, quantize_row};

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
    /// Codes `[panel][column / 4][row of the panel][4]`, columns up to a multiple of 64.
    q: Vec<u8>,
    /// `[panel][column / 64][row of the panel]`
    scale: Vec<f32>,
    /// Columns, up to a multiple of 64.
    cols: usize,
}

impl Packed {
    /// Rounds a tensor of floats, on all threads.
    pub fn new(cpu: &Cpu, tensor: &Tensor) -> Packed {
        let (rows, cols) = (tensor.n_rows(), tensor.row_len().next_multiple_of(QK_WIDE));
        let panels = rows.div_ceil(ROWS);
        let mut packed =
            Packed { q: vec![OFFSET; panels * ROWS * cols], scale: vec![0.0; panels * ROWS * cols / QK_WIDE], cols };
        let (q, scale) = (Parts::new(&mut packed.q), Parts::new(&mut packed.scale));
        let isa = cpu.isa();
        cpu.pool().run(panels, &|panel| {
            let part = |n: usize| panel * ROWS * cols / n..(panel + 1) * ROWS * cols / n;
            // SAFETY: every task has its own panel.
            let out = unsafe { PanelOut { q: q.part(part(1)), scale: scale.part(part(QK_WIDE)) } };
            let first = panel * ROWS;
            let panel = &tensor.slice_rows(first, ROWS.min(rows - first));
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
        (&self.q[at(1)], &self.scale[at(QK_WIDE)])
    }

    /// Where a panel's codes from column `start` on are, or would be: for hints only. The next panel follows the last column.
    pub fn address(&self, panel: usize, start: usize) -> *const u8 {
        self.q.as_ptr().wrapping_add((panel * self.cols + start) * ROWS)
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

fn pack_panel<F: FloatFormat>(isa: Isa, panel: &Tensor, out: PanelOut<'_>) {
    on_isa!(isa, [F: FloatFormat] pack_rows<F>(panel: &Tensor, out: PanelOut<'_>));
}

/// # Safety
/// The instruction set of `L` is enabled in the caller.
#[inline(always)]
unsafe fn pack_rows<F: FloatFormat, L: Lanes>(panel: &Tensor, out: PanelOut<'_>) {
    for row in 0..panel.n_rows() {
        for (block, bytes) in panel.row(row).chunks(QK_WIDE * F::BYTES).enumerate() {
            let mut x = [0.0; QK_WIDE];
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
            let (mut q, mut d) = ([0; QK_WIDE], [0.0]);
            quantize_row::<QK_WIDE>(&x, &mut q, &mut d, &mut [0; 2]);
            out.scale[block * ROWS + row] = d[0];
            for (i, quad) in q.as_chunks::<4>().0.iter().enumerate() {
                let at = ((block * (QK_WIDE / 4) + i) * ROWS + row) * 4;
                out.q[at..at + 4].copy_from_slice(&quad.map(|q| q.cast_unsigned() ^ OFFSET));
            }
        }
    }
}
