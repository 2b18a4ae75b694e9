//! From a checkpoint's bytes to a GGUF file's: one tensor, a few rows at a time, on all threads.

use std::io::Write;

use half::{bf16, f16};

use super::ConvertError;
use super::awq::{Layer, PACK};
use super::checkpoint::{Checkpoint, Found, Place};
use super::shard::Dtype;
use crate::gguf::GgmlType;
use crate::quant::{QuantError, quantize_chunk};

/// Numbers that are converted at a time, about: some megabytes, whatever the tensor's size.
const NUMBERS: usize = 2 << 20;
/// Rows that a thread converts at a time.
const ROWS: usize = PACK;

/// Where a tensor's numbers come from.
#[derive(Debug)]
pub(super) enum Origin {
    /// A tensor of the checkpoint, from this number on.
    Plain { place: Place, first: usize },
    /// A patch convolution's part for one of its two frames.
    Frame { place: Place, frame: usize },
    /// A 4-bit layer: codes, zero points, scales.
    Awq { places: [Place; 3] },
}

/// What a tensor is to become.
pub(super) struct Target<'a> {
    /// Its name in the checkpoint, for messages.
    pub source: &'a str,
    pub ty: GgmlType,
    /// The row's length first.
    pub dims: &'a [usize],
}

/// A tensor's rows, ready to be decoded.
enum Rows<'a> {
    Plain {
        found: Found<'a>,
        first: usize,
    },
    /// All of it, gathered.
    Whole(Vec<f32>),
    Awq(Layer),
}

/// Some rows, as they stand in the file or in memory.
enum Chunk<'a> {
    Bytes(&'a [u8], Dtype),
    Numbers(&'a [f32]),
    Awq(&'a Layer, usize),
}

/// Converts a tensor and writes it; `done` is told of the bytes written.
pub(super) fn convert(
    checkpoint: &Checkpoint,
    origin: &Origin,
    target: &Target<'_>,
    threads: usize,
    out: &mut dyn Write,
    done: &mut dyn FnMut(u64),
) -> Result<std::io::Result<()>, ConvertError> {
    let rows = match origin {
        Origin::Plain { place, first } => Rows::Plain { found: checkpoint.at(*place), first: *first },
        Origin::Frame { place, frame } => Rows::Whole(one_frame(checkpoint.at(*place), *frame)?),
        Origin::Awq { places } => Rows::Awq(Layer::read(checkpoint, *places)?),
    };
    // Patches have rows of 14 numbers: there only the types without blocks are used, and all is one row.
    let row_len = if matches!(rows, Rows::Whole(_)) { target.dims.iter().product() } else { target.dims[0] };
    let n_rows = target.dims.iter().product::<usize>() / row_len;
    let row_bytes = target.ty.row_bytes(row_len).unwrap_or(0);
    let at_once = (NUMBERS / row_len).clamp(1, n_rows.max(1)).next_multiple_of(ROWS);
    let (mut raw, mut coded) = (Vec::new(), Vec::new());
    for start in (0..n_rows).step_by(at_once) {
        let n = at_once.min(n_rows - start);
        let chunk = match &rows {
            Rows::Plain { found, first } => {
                let size = (found.stored.bytes / found.stored.shape.iter().product::<usize>().max(1) as u64) as usize;
                raw.resize(n * row_len * size, 0);
                found.shard.read(found.stored, ((first + start * row_len) * size) as u64, &mut raw)?;
                Chunk::Bytes(&raw, found.stored.dtype)
            }
            Rows::Whole(all) => Chunk::Numbers(&all[start * row_len..(start + n) * row_len]),
            Rows::Awq(layer) => Chunk::Awq(layer, start),
        };
        coded.resize(n * row_bytes, 0);
        let first = match &rows {
            Rows::Plain { first, .. } => *first,
            _ => 0,
        };
        in_parallel(&chunk, target.ty, row_len, threads, &mut coded)
            .map_err(|(at, value)| wrong_number(target, first + start * row_len + at, value))?;
        if let Err(e) = out.write_all(&coded) {
            return Ok(Err(e));
        }
        done(coded.len() as u64);
    }
    Ok(Ok(()))
}

fn wrong_number(target: &Target<'_>, at: usize, value: f32) -> ConvertError {
    let hint = if !value.is_finite() {
        "; the checkpoint is damaged"
    } else if target.ty == GgmlType::F32 {
        ""
    } else {
        "; choose BF16 or F32"
    };
    ConvertError::Value { tensor: target.source.to_owned(), at: at as u64, value, ty: target.ty, hint }
}

/// Decodes and encodes the chunk's rows; else the first number that the type can't hold, with its place in the chunk.
fn in_parallel(
    chunk: &Chunk<'_>,
    ty: GgmlType,
    row_len: usize,
    threads: usize,
    coded: &mut [u8],
) -> Result<(), (usize, f32)> {
    let row_bytes = ty.row_bytes(row_len).unwrap_or(0);
    let n_rows = coded.len() / row_bytes.max(1);
    let share = n_rows.div_ceil(threads.max(1)).next_multiple_of(ROWS);
    let span = |start: usize, coded: &mut [u8]| -> Result<(), (usize, f32)> {
        let mut numbers = vec![0f32; ROWS * row_len];
        for (i, coded) in coded.chunks_mut(ROWS * row_bytes).enumerate() {
            let row = start + i * ROWS;
            let n = coded.len() / row_bytes;
            let numbers = &mut numbers[..n * row_len];
            decode(chunk, row, row_len, numbers);
            quantize_chunk(ty, numbers, row_len, None, coded).map_err(|e| match e {
                QuantError::Range { at, value, .. } => (row * row_len + at, value),
                // The scales of large weights don't fit: told by the largest of them.
                _ => {
                    let largest = numbers.iter().enumerate().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
                    largest.map_or((row * row_len, 0.0), |(at, &x)| (row * row_len + at, x))
                }
            })?;
        }
        Ok(())
    };
    if share >= n_rows {
        return span(0, coded);
    }
    let done: Vec<_> = std::thread::scope(|scope| {
        let spans = coded.chunks_mut(share * row_bytes).enumerate();
        let workers: Vec<_> = spans.map(|(i, coded)| scope.spawn(move || span(i * share, coded))).collect();
        workers.into_iter().map(|w| w.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    done.into_iter().collect()
}

/// The numbers of the rows from `row` on, as many as `out` takes.
fn decode(chunk: &Chunk<'_>, row: usize, row_len: usize, out: &mut [f32]) {
    let first = row * row_len;
    match chunk {
        Chunk::Bytes(bytes, Dtype::F32) => {
            let bytes = &bytes.as_chunks::<4>().0[first..];
            out.iter_mut().zip(bytes).for_each(|(x, b)| *x = f32::from_le_bytes(*b));
        }
        Chunk::Bytes(bytes, Dtype::F16) => {
            let bytes = &bytes.as_chunks::<2>().0[first..];
            out.iter_mut().zip(bytes).for_each(|(x, b)| *x = f16::from_le_bytes(*b).to_f32());
        }
        Chunk::Bytes(bytes, _) => {
            let bytes = &bytes.as_chunks::<2>().0[first..];
            out.iter_mut().zip(bytes).for_each(|(x, b)| *x = bf16::from_le_bytes(*b).to_f32());
        }
        Chunk::Numbers(all) => out.copy_from_slice(&all[first..first + out.len()]),
        Chunk::Awq(layer, start) => layer.rows(start + row, out),
    }
}

/// Of a patch convolution `[out, 3, 2, h, w]`, what is applied to one frame: `[out, 3, h, w]`.
fn one_frame(found: Found<'_>, frame: usize) -> Result<Vec<f32>, ConvertError> {
    let stored = found.stored;
    let area: usize = stored.shape[3..].iter().product();
    let mut bytes = vec![0; stored.bytes as usize];
    found.shard.read(stored, 0, &mut bytes)?;
    let mut all = vec![0.0; stored.shape.iter().product()];
    let n = all.len();
    decode(&Chunk::Bytes(&bytes, stored.dtype), 0, n, &mut all);
    Ok(all.chunks(2 * area).flat_map(|both| &both[frame * area..(frame + 1) * area]).copied().collect())
}
