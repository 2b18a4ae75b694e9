//! From a checkpoint's folder, as transformers saves Qwen2.5-VL, to the pair of GGUF files that llama.cpp loads, too.
//!
//! All settings, names, shapes and types are checked before a byte is written, and tensors are converted a few rows at a
//! time: memory doesn't grow with the model.
#![forbid(unsafe_code)]

mod awq;
mod checkpoint;
mod error;
mod file;
mod folder;
mod hyper;
mod layout;
mod metadata;
mod rows;
mod shard;
mod vocab;

use std::path::{Path, PathBuf};

use checkpoint::{Checkpoint, Found};
pub use error::{ConvertError, ShardProblem, TokenizerProblem};
pub use file::{FilePlan, TensorPlan};
use folder::Folder;
use hyper::Hyper;
use vocab::Vocab;

use crate::quantize::Mix;

/// Names of tensors that an error lists at most.
const NAMED: usize = 3;

/// What to make of a checkpoint.
#[derive(Clone, Debug)]
pub struct Options {
    /// The types of the language model's matrices; `None` to leave the language model out.
    pub text: Option<Mix>,
    /// The types of the vision tower's matrices; `None` to leave the vision tower out.
    pub vision: Option<Mix>,
    /// The model's name; `None` for the folder's.
    pub name: Option<String>,
    /// Threads that convert.
    pub threads: usize,
}

/// A checkpoint that has been checked, and what it is to become.
#[derive(Debug)]
pub struct Conversion {
    checkpoint: Checkpoint,
    threads: usize,
    /// The language model's file.
    pub text: Option<FilePlan>,
    /// The vision tower's file.
    pub vision: Option<FilePlan>,
    /// What a person should know.
    pub notes: Vec<String>,
}

impl Conversion {
    /// Reads everything but the weights, and checks it.
    ///
    /// # Errors
    /// [`ConvertError`] says which file, setting or tensor is wrong, and how.
    pub fn prepare(folder: &Path, options: &Options) -> Result<Conversion, ConvertError> {
        let folder = Folder::open(folder)?;
        let hyper = Hyper::read(&folder, options.vision.is_some())?;
        let checkpoint = Checkpoint::open(&folder)?;
        let mut notes = Vec::new();
        let head = own_head(&folder, &hyper, &checkpoint, options.text.is_some(), &mut notes)?;
        let planner = file::Planner { folder: &folder, checkpoint: &checkpoint, awq: hyper.awq };
        let all = layout::text(&hyper.text, head);
        let mut text = options.text.map(|mix| planner.plan(&all, mix)).transpose()?;
        let pictures = hyper.vision.as_ref().map(|v| layout::vision(v, hyper.text.hidden));
        let mut vision = match (&pictures, options.vision) {
            (Some(wanted), Some(mix)) => Some(planner.plan(wanted, mix)?),
            _ => None,
        };
        // Of a part that isn't converted nothing is known to be surplus but what has its own beginning.
        let known = all.iter().chain(pictures.iter().flatten());
        planner.no_surplus(known, options.vision.is_none())?;
        let name = name(&folder, options);
        if let (Some(plan), Some(mix)) = (&mut text, options.text) {
            let vocab = Vocab::read(&folder, &hyper.config, hyper.text.vocab as usize)?;
            plan.metadata = metadata::text(&name, &hyper.text, vocab, mix, plan.weights())?;
            plan.check_text(&folder)?;
            plan.choose_types(&folder, mix)?;
        }
        if let (Some(plan), Some(mix), Some(v)) = (&mut vision, options.vision, &hyper.vision) {
            plan.metadata = metadata::vision(&name, v, hyper.text.hidden, mix, plan.weights());
            plan.check_vision(&folder)?;
            plan.choose_types(&folder, mix)?;
        }
        Ok(Conversion { checkpoint, threads: options.threads.max(1), text, vision, notes })
    }
}

/// The model's name: as given, else the folder's.
fn name(folder: &Folder, options: &Options) -> String {
    let own = || {
        let whole = folder.path().canonicalize().unwrap_or_else(|_| PathBuf::from(folder.path()));
        whole.file_name().map(|name| name.to_string_lossy().into_owned())
    };
    options.name.clone().or_else(own).unwrap_or_else(|| "Qwen2.5-VL".to_owned())
}

/// Whether the language model has an output matrix of its own. A second copy of the embedding table counts as none.
fn own_head(
    folder: &Folder,
    hyper: &Hyper,
    checkpoint: &Checkpoint,
    wanted: bool,
    notes: &mut Vec<String>,
) -> Result<bool, ConvertError> {
    let (head, table) = (checkpoint.get("lm_head.weight"), checkpoint.get("embed_tokens.weight"));
    match (hyper.text.tied, head, table) {
        (Some(true), Some(head), Some(table)) if wanted => {
            if !same(head, table)? {
                let (folder, head) = (folder.path().to_owned(), head.stored.name.clone());
                return Err(ConvertError::TiedHead { folder, head });
            }
            notes.push(format!("{} is the embedding table once more and is left out", head.stored.name));
            Ok(false)
        }
        (Some(tied), _, _) => Ok(!tied),
        (None, head, _) => Ok(head.is_some()),
    }
}

/// Whether two tensors hold the same bytes.
fn same(a: Found<'_>, b: Found<'_>) -> Result<bool, ConvertError> {
    const AT_ONCE: u64 = 4 << 20;
    if a.stored.dtype != b.stored.dtype || a.stored.shape != b.stored.shape {
        return Ok(false);
    }
    let (mut x, mut y) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < a.stored.bytes {
        let n = AT_ONCE.min(a.stored.bytes - at);
        x.resize(n as usize, 0);
        y.resize(n as usize, 0);
        a.shard.read(a.stored, at, &mut x)?;
        b.shard.read(b.stored, at, &mut y)?;
        if x != y {
            return Ok(false);
        }
        at += n;
    }
    Ok(true)
}

/// The first few of a list of names.
fn some_of(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > NAMED { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}
