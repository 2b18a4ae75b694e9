//! `qlens trace`: a run's numbers, for comparing with other implementations.

use std::collections::HashMap;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};

use super::args::{KvKind, TraceArgs};
use super::exit::CliError;
use super::interrupt::{writable, write_whole};
use super::progress::Progress;
use super::screen::Manner;
use super::{report, setup};
use crate::session::{TraceOutput, Turn};

/// Bytes of logits that are written at most.
const MAX_LOGITS_BYTES: usize = 4 << 30;

/// Runs the command.
///
/// # Errors
/// See [`CliError`].
pub fn run(args: &TraceArgs, manner: &Manner) -> Result<(), CliError> {
    writable(&args.out)?;
    let media_options = setup::media_options(&args.media)?;
    let media = setup::media(args.file.as_slice(), &args.media, manner)?;
    // F32: the comparison is about the arithmetic, not about what an F16 cache rounds away.
    let engine = setup::engine(&args.model, KvKind::F32, manner)?;
    let (load_s, engine) = (engine.seconds, engine.value);
    let vocab = engine.language().vocab_size();
    if let Some(&token) = args.force.iter().find(|&&token| token as usize >= vocab) {
        let model = engine.model_path().display().to_string();
        return Err(CliError::ForcedToken { token, model, last: vocab.saturating_sub(1) });
    }
    let steps = args.steps.map_or(args.force.len().max(1), |n| n as usize);
    let allowed = MAX_LOGITS_BYTES / 4 / vocab.max(1);
    if steps > allowed {
        let gib = steps.saturating_mul(vocab) >> 28;
        return Err(CliError::TraceTooLarge { steps, vocab, gib, allowed });
    }
    let turn = Turn::new(None, media.value, args.prompt.as_str());
    let mut progress = Progress::start(manner, "tracing");
    let traced = engine.new_session().trace(&turn, &media_options, steps, &args.force)?;
    progress.stop();
    write(&args.out, &traced, args.file.is_some(), vocab)?;
    if manner.verbose > 0 {
        report::model(&engine, load_s, manner);
        report::memory(&engine, manner);
    }
    Ok(())
}

/// Writes the tensors; the file has its name only when it is whole.
fn write(path: &Path, traced: &TraceOutput, with_vision: bool, vocab: usize) -> Result<(), CliError> {
    let failed = |source| CliError::Write { path: path.to_owned(), source };
    let bytes = encode(traced, with_vision, vocab).map_err(|e| failed(std::io::Error::other(e)))?;
    write_whole(path, &bytes).map_err(failed)
}

/// The safetensors file: little-endian, row by row.
fn encode(traced: &TraceOutput, with_vision: bool, vocab: usize) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let ids = |ids: &[u32]| ids.iter().flat_map(|&id| i64::from(id).to_le_bytes()).collect::<Vec<u8>>();
    let floats = |x: &[f32]| x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let (n, steps) = (traced.prompt_tokens.len(), traced.tokens.len());
    let positions: Vec<u8> =
        (0..3).flat_map(|row| traced.positions.iter().flat_map(move |p| p[row].to_le_bytes())).collect();
    let mut parts = vec![
        ("prompt_tokens", Dtype::I64, vec![n], ids(&traced.prompt_tokens)),
        ("positions", Dtype::I64, vec![3, n], positions),
        ("logits", Dtype::F32, vec![steps, vocab], floats(&traced.logits)),
        ("tokens", Dtype::I64, vec![steps], ids(&traced.tokens)),
    ];
    if with_vision {
        let hidden = traced.hidden_size;
        let rows = traced.vision_out.len() / hidden.max(1);
        parts.push(("vision_out", Dtype::F32, vec![rows, hidden], floats(&traced.vision_out)));
    }
    let views: HashMap<&str, TensorView<'_>> = parts
        .iter()
        .map(|(name, dtype, shape, bytes)| Ok((*name, TensorView::new(*dtype, shape.clone(), bytes)?)))
        .collect::<Result<_, safetensors::SafeTensorError>>()?;
    serialize(views, None)
}
