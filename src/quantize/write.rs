//! Making the file: rows are read from the map, turned to floats, quantized and written, some megabytes at a time.

use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Plan, Planned, QuantizeError};
use crate::gguf::{Fill, GgufWriter};
use crate::kernels::ThreadPool;
use crate::quant::{self, QuantError};

/// Weights that are in memory at once, before and after.
const SLAB: usize = 16 << 20;
/// Weights that a thread takes at once: its floats stay in the second-level cache.
const CHUNK: usize = 64 << 10;

/// Where the work is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The tensor that is being made.
    pub tensor: &'a str,
    /// Weights made so far.
    pub done: u64,
    /// Weights in all.
    pub total: u64,
}

impl Plan<'_> {
    /// Writes the file to `out`, whose `name` is for messages; `told` hears how far it is.
    ///
    /// Memory is bounded by some tens of megabytes, whatever the file: what was read of the source is given back.
    ///
    /// # Errors
    /// A weight can't be quantized, or `out` can't be written to.
    pub fn write(
        &self,
        pool: &ThreadPool,
        out: &mut dyn Write,
        name: &str,
        told: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), QuantizeError> {
        let mut writer = GgufWriter::new();
        for (key, value) in &self.metadata {
            writer.metadata(key, value.clone())?;
        }
        for planned in &self.tensors {
            writer.tensor(planned.tensor.name(), planned.ty, planned.tensor.dims())?;
        }
        let (mut done, total) = (0, self.weights());
        let mut buffer = Vec::new();
        let mut failed = None;
        let fill: Fill<'_> = &mut |i, out| {
            let planned = &self.tensors[i];
            let (tensor, row_len) = (planned.tensor, planned.tensor.row_len());
            let rows_at_once = (SLAB / row_len).max(1);
            for first in (0..tensor.n_rows()).step_by(rows_at_once) {
                told(Progress { tensor: tensor.name(), done, total });
                let rows = rows_at_once.min(tensor.n_rows() - first);
                if let Err((row, source)) = slab(pool, planned, first, rows, &mut buffer) {
                    let (file, tensor) = (self.source.name().to_owned(), tensor.name().to_owned());
                    failed = Some(QuantizeError::Weight { file, tensor, row, source });
                    return Err(io::Error::other("a weight can't be quantized"));
                }
                tensor.slice_rows(first, rows).give_back();
                out.write_all(&buffer)?;
                done += (rows * row_len) as u64;
            }
            Ok(())
        };
        let written = writer.write_to(out, name, fill);
        match failed {
            Some(why) => Err(why),
            None => Ok(written?),
        }
    }
}

/// Makes `rows` rows from `first` on in `out`; on failure says in which row, and why.
fn slab(
    pool: &ThreadPool,
    planned: &Planned<'_>,
    first: usize,
    rows: usize,
    out: &mut Vec<u8>,
) -> Result<(), (usize, QuantError)> {
    let (tensor, row_len) = (planned.tensor, planned.tensor.row_len());
    let row_bytes = planned.ty.row_bytes(row_len).unwrap_or(0);
    out.resize(rows * row_bytes, 0);
    // Matrices that lie one after the other in a tensor have their own importance each: a chunk is of one.
    let matrix_rows = tensor.dims().get(1).copied().unwrap_or(1).max(1);
    let chunk_rows = (CHUNK / row_len).max(1);
    let mut parts = Vec::new();
    let mut rest = &mut out[..];
    let mut row = first;
    while row < first + rows {
        let n = chunk_rows.min(first + rows - row).min(matrix_rows - row % matrix_rows);
        let (part, more) = rest.split_at_mut(n * row_bytes);
        parts.push(Mutex::new((row, n, part)));
        (rest, row) = (more, row + n);
    }
    // The first failure in the order of the rows, whatever the threads do.
    let failed_at = AtomicUsize::new(usize::MAX);
    let failures = Mutex::new(Vec::new());
    pool.run(parts.len(), &|i| {
        if failed_at.load(Ordering::Relaxed) < i {
            return;
        }
        let mut part = parts[i].lock().unwrap_or_else(|e| e.into_inner());
        let (row, n, out) = &mut *part;
        let importance = planned.importance.map(|all| &all[*row / matrix_rows * row_len..][..row_len]);
        let bytes = &tensor.bytes()[*row * tensor.row_bytes()..][..*n * tensor.row_bytes()];
        if let Err(why) = chunk(planned, bytes, importance, out) {
            failed_at.fetch_min(i, Ordering::Relaxed);
            failures.lock().unwrap_or_else(|e| e.into_inner()).push(in_its_row(*row, row_len, why));
        }
    });
    let failures = failures.into_inner().unwrap_or_else(|e| e.into_inner());
    failures.into_iter().min_by_key(|(row, _)| *row).map_or(Ok(()), Err)
}

/// A failure within a chunk that starts with `row`, by the row that it is in.
fn in_its_row(row: usize, row_len: usize, why: QuantError) -> (usize, QuantError) {
    match why {
        QuantError::Range { ty, at, value } => (row + at / row_len, QuantError::Range { ty, at: at % row_len, value }),
        other => (row, other),
    }
}

fn chunk(planned: &Planned<'_>, bytes: &[u8], importance: Option<&[f32]>, out: &mut [u8]) -> Result<(), QuantError> {
    thread_local! {
        static FLOATS: std::cell::RefCell<Vec<f32>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    let (from, row_len) = (planned.tensor.ty(), planned.tensor.row_len());
    FLOATS.with_borrow_mut(|floats| {
        floats.resize(bytes.len() / from.block_bytes() * from.block_len(), 0.0);
        let can = quant::dequantize(from, bytes, floats);
        if planned.kept() {
            out.copy_from_slice(bytes);
            // What is copied is looked at all the same, where its type is one of weights.
            let bad = can.is_ok().then(|| floats.iter().position(|x| !x.is_finite())).flatten();
            return match bad {
                Some(at) => Err(QuantError::Range { ty: from, at, value: floats[at] }),
                None => Ok(()),
            };
        }
        can?;
        quant::quantize_chunk(planned.ty, floats, row_len, importance, out)
    })
}
