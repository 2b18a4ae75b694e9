//! AWQ's 4-bit linear layers, as its GEMM kernels want them: unpacked to the very numbers that they stand for.
//!
//! A layer of `ins` inputs and `outs` outputs is three tensors, all of them the other way round than a plain weight: codes
//! `qweight [ins, outs / 8]`, zero points `qzeros [ins / 128, outs / 8]`, and `scales [ins / 128, outs]`. A 32-bit word holds
//! eight neighbouring outputs, four bits each, in the order 0 2 4 6 1 3 5 7 from the lowest bits on. The weight is
//! `(code - zero) · scale`, which float32 holds exactly: five bits times a half's eleven.

use half::{bf16, f16};

use super::ConvertError;
use super::checkpoint::{Checkpoint, Found, Place};
use super::shard::Dtype;

/// Inputs that share a scale and a zero point.
pub(super) const GROUP: usize = 128;
/// Outputs in a word.
pub(super) const PACK: usize = 8;

/// Where each of a word's outputs stands in it, in bits from its lowest.
const SHIFT: [u32; PACK] = [0, 16, 4, 20, 8, 24, 12, 28];

/// One layer, in memory.
pub(super) struct Layer {
    ins: usize,
    outs: usize,
    codes: Vec<u8>,
    zeros: Vec<u8>,
    scales: Vec<f32>,
}

impl Layer {
    /// Reads the layer's three tensors, whose shapes have been checked: codes, zero points, scales.
    pub fn read(checkpoint: &Checkpoint, places: [Place; 3]) -> Result<Layer, ConvertError> {
        let [codes, zeros, scales] = places.map(|place| checkpoint.at(place));
        let all = |found: Found<'_>| {
            let mut bytes = vec![0; found.stored.bytes as usize];
            found.shard.read(found.stored, 0, &mut bytes).map(|()| bytes)
        };
        let (ins, outs) = (codes.stored.shape[0], scales.stored.shape[1]);
        let raw = all(scales)?;
        let scales = match scales.stored.dtype {
            Dtype::F16 => raw.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
            Dtype::BF16 => raw.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
            Dtype::F32 => raw.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
            _ => return Err(scales.wrong_dtype("F16, BF16 or F32")),
        };
        Ok(Layer { ins, outs, codes: all(codes)?, zeros: all(zeros)?, scales })
    }

    /// The weights of [`PACK`] outputs from `first` (a multiple of it) on, `[PACK, ins]`.
    ///
    /// # Panics
    /// There are no such outputs, or `out` has another length.
    pub fn rows(&self, first: usize, out: &mut [f32]) {
        assert_eq!(out.len(), PACK * self.ins);
        let (word, words) = (first / PACK, self.outs / PACK);
        let read = |bytes: &[u8], row: usize| {
            let at = (row * words + word) * 4;
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        for group in 0..self.ins / GROUP {
            let zeros = read(&self.zeros, group);
            let zeros = SHIFT.map(|shift| (zeros >> shift & 15) as i32);
            let scales = &self.scales[group * self.outs + first..][..PACK];
            for i in group * GROUP..(group + 1) * GROUP {
                let codes = read(&self.codes, i);
                for (o, shift) in SHIFT.iter().enumerate() {
                    out[o * self.ins + i] = ((codes >> shift & 15) as i32 - zeros[o]) as f32 * scales[o];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_comes_back_at_its_place() {
        let (ins, outs) = (2 * GROUP, 16);
        let code = |i: usize, o: usize| (i * 7 + o * 3) as u32 % 16;
        let zero = |g: usize, o: usize| (g * 5 + o) as u32 % 16;
        // As AutoAWQ packs: nibble n of a word holds output ORDER[n] of its eight.
        const ORDER: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];
        let pack = |rows: usize, value: &dyn Fn(usize, usize) -> u32| -> Vec<u8> {
            let word = |r: usize, w: usize| (0..8).fold(0u32, |x, n| x | value(r, w * 8 + ORDER[n]) << (4 * n));
            (0..rows).flat_map(|r| (0..outs / 8).flat_map(move |w| word(r, w).to_le_bytes())).collect()
        };
        let scales: Vec<f32> = (0..2 * outs).map(|i| f16::from_f32(0.01 + i as f32 / 777.0).to_f32()).collect();
        let layer = Layer { ins, outs, codes: pack(ins, &code), zeros: pack(2, &zero), scales: scales.clone() };
        for first in [0, 8] {
            let mut found = vec![0.0; PACK * ins];
            layer.rows(first, &mut found);
            for (at, x) in found.iter().enumerate() {
                let (o, i) = (first + at / ins, at % ins);
                let (q, z, s) = (code(i, o), zero(i / GROUP, o), scales[i / GROUP * outs + o]);
                assert_eq!(f64::from(*x), (f64::from(q) - f64::from(z)) * f64::from(s), "output {o}, input {i}");
            }
        }
    }
}
