//! `qlens describe`: pictures and a question in, the answer out; about all files together, or about each on its own.

mod each;

use std::path::PathBuf;

use super::args::{DescribeArgs, KvKind};
use super::ask::Asker;
use super::exit::CliError;
use super::many::{self, Accepted};
use super::report::Before;
use super::screen::Manner;
use super::setup;
use crate::session::{GenerateOptions, Medium, Turn};

/// Runs the command.
///
/// # Errors
/// See [`CliError`].
pub fn run(args: &DescribeArgs, manner: &Manner) -> Result<(), CliError> {
    if args.files.is_empty() {
        return Err(CliError::NoFile);
    }
    let options = GenerateOptions {
        max_tokens: args.sampling.max_tokens(1024),
        sampling: setup::sampling(&args.sampling, false),
        lookup: !args.sampling.no_lookup,
        media: setup::media_options(&args.media)?,
        grammar: setup::grammar(&args.form)?,
    };
    let files = many::chosen(&args.files, &args.many, Accepted { documents: false })?;
    if args.each || args.jsonl || args.many.resume.is_some() || args.many.shard.is_some() {
        if args.media.as_clip {
            let option = if args.many.shard.is_some() { "--shard" } else { "--resume" };
            return Err(CliError::EachOfClip { option });
        }
        return each::run(args, &files, options, manner);
    }
    let files: Vec<PathBuf> = files.into_iter().map(PathBuf::from).collect();
    // Before the model: a mistyped name should not wait for it.
    let media = setup::media(&files, &args.media, manner)?;
    let engine = setup::engine(&args.model, KvKind::F16, manner)?;
    let before = Before { load_s: engine.seconds, read_s: media.seconds };
    let prompt = args.prompt.as_deref().unwrap_or(default_prompt(&media.value));
    let turn = Turn::new(args.system.clone(), media.value.clone(), prompt);
    Asker::new(&engine.value, options, *manner, args.json).ask(&turn, before)
}

/// What is asked where nothing was.
fn default_prompt(media: &[Medium]) -> &'static str {
    let clips = media.iter().filter(|m| matches!(m, Medium::Clip(..))).count();
    match (media.len() - clips, clips) {
        (0, 1) => "Describe this video.",
        (0, _) => "Describe these videos.",
        (1, 0) => "Describe this image.",
        (_, 0) => "Describe these images.",
        _ => "Describe these images and videos.",
    }
}
