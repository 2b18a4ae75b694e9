//! `qlens imatrix`: what matters in a model's matrices, seen in conversations.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::args::{ImatrixArgs, KvKind};
use super::exit::CliError;
use super::interrupt::Unfinished;
use super::progress::Progress;
use super::quantize::must_be_new;
use super::screen::Manner;
use super::setup;
use crate::gguf::GgufError;
use crate::quantize::{Entry, Importance, InputSquares, QuantizeError};
use crate::session::{GenerateOptions, Medium, Sampling, Turn};

/// What a piece is called that the files count; llama.cpp's are of so many tokens.
const CHUNK_TOKENS: u32 = 512;

/// Runs the command.
///
/// # Errors
/// See [`CliError`].
pub fn run(args: &ImatrixArgs, manner: &Manner) -> Result<(), CliError> {
    must_be_new(&args.out)?;
    let mut questions = args.prompt.clone();
    if let Some(path) = &args.prompts {
        let text = std::fs::read_to_string(path).map_err(|source| CliError::Read { path: path.clone(), source })?;
        questions.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
    }
    if questions.is_empty() {
        if args.files.is_empty() {
            return Err(CliError::NothingToLearn);
        }
        questions.push("Describe this in detail.".to_owned());
    }
    let options = GenerateOptions {
        max_tokens: args.max_tokens as usize,
        sampling: Sampling::default(),
        media: setup::media_options(&args.media)?,
        // What is measured is what was said, not guesses.
        lookup: false,
        grammar: None,
    };
    let media = setup::media(&args.files, &args.media, manner)?.value;
    let engine = setup::engine(&args.model, KvKind::F16, manner)?.value;
    let seen = Arc::new(InputSquares::default());
    engine.cpu().observe(seen.clone());
    let shown: Vec<Option<&Medium>> = if media.is_empty() { vec![None] } else { media.iter().map(Some).collect() };
    let runs: Vec<(Option<&Medium>, &String)> =
        shown.iter().flat_map(|medium| questions.iter().map(move |question| (*medium, question))).collect();
    let mut progress = Progress::start(manner, "looking");
    let mut tokens = 0;
    for (done, (medium, question)) in runs.iter().enumerate() {
        progress.count("looking at what matters", done, runs.len());
        let turn = Turn::new(None, medium.iter().map(|m| (*m).clone()).collect(), question.as_str());
        let answer = engine.new_session().ask(&turn, &options, &mut |_| ControlFlow::Continue(()))?;
        tokens += answer.prompt_tokens + answer.answer_tokens;
    }
    progress.stop();
    let chunks = u32::try_from(tokens).unwrap_or(u32::MAX).div_ceil(CHUNK_TOKENS);
    let dataset = format!("{} conversations of qlens imatrix", runs.len());
    write(args, &seen.entries(), &dataset, chunks)?;
    let (n, name) = (seen.entries().len(), args.out.display());
    manner.note(&format!("{name}: {n} matrices, seen in {} conversations of {tokens} tokens", runs.len()));
    Ok(())
}

fn write(args: &ImatrixArgs, entries: &BTreeMap<String, Entry>, dataset: &str, chunks: u32) -> Result<(), CliError> {
    let path = &args.out;
    let failed = |source| CliError::Write { path: path.clone(), source };
    let mut file = Unfinished::beside(path).map_err(failed)?;
    let mut out = BufWriter::new(&mut file);
    let name = path.display().to_string();
    Importance::write(entries, dataset, (chunks, CHUNK_TOKENS), &mut out, &name).map_err(|e| match e {
        GgufError::Io { source, .. } => failed(source),
        other => CliError::Quantize(QuantizeError::Gguf(other)),
    })?;
    out.flush().map_err(failed)?;
    drop(out);
    file.finish_new(path).map_err(failed)
}
