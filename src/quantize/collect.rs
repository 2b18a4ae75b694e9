//! Adding up what a model's matrices are multiplied with: from that, importance matrices are made.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Entry;
use crate::kernels::Observer;

/// Sums of the squared inputs of every matrix in a block of the language model or the vision model, and in the merger.
#[derive(Debug, Default)]
pub struct InputSquares {
    seen: Mutex<BTreeMap<String, Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    sums: Vec<f64>,
    count: u64,
}

impl InputSquares {
    /// What was added up so far.
    pub fn entries(&self) -> BTreeMap<String, Entry> {
        let seen = self.seen();
        let entry = |s: &Seen| Entry { sums: s.sums.iter().map(|x| *x as f32).collect(), count: s.count };
        seen.iter().map(|(name, seen)| (name.clone(), entry(seen))).collect()
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for InputSquares {
    fn product(&self, tensor: &str, inputs: &[f32], cols: usize) {
        // Embedding and output are left alone, as llama.cpp does: what matters in them isn't told by squares.
        if !["blk.", "v.blk.", "mm."].iter().any(|start| tensor.starts_with(start)) {
            return;
        }
        let mut all = self.seen();
        if !all.contains_key(tensor) {
            all.insert(tensor.to_owned(), Seen { sums: vec![0.0; cols], count: 0 });
        }
        let Some(seen) = all.get_mut(tensor) else { return };
        for row in inputs.chunks_exact(cols) {
            // A row that isn't finite says nothing, and would spoil all others.
            if row.iter().all(|x| x.is_finite()) {
                seen.sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x) * f64::from(*x));
                seen.count += 1;
            }
        }
    }
}
