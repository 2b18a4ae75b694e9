//! `qlens describe`: pictures and a question in, the answer out.

use super::args::{DescribeArgs, KvKind};
use super::ask::Asker;
use super::exit::CliError;
use super::report::Before;
use super::screen::Manner;
use super::setup;
use crate::session::{GenerateOptions, Turn};

/// Runs the command.
///
/// # Errors
/// See [`CliError`].
pub fn run(args: &DescribeArgs, manner: &Manner) -> Result<(), CliError> {
    if args.files.is_empty() {
        return Err(CliError::NoFile);
    }
    let options = GenerateOptions {
        max_tokens: args.sampling.max_tokens as usize,
        sampling: setup::sampling(&args.sampling, false),
        media: setup::media_options(&args.media)?,
    };
    // Before the model: a mistyped name should not wait for it.
    let media = setup::media(&args.files, manner)?;
    let engine = setup::engine(&args.model, KvKind::F16, manner)?;
    let before = Before { load_s: engine.seconds, read_s: media.seconds };
    let several = if args.files.len() > 1 { "Describe these images." } else { "Describe this image." };
    let turn = Turn::new(args.system.clone(), media.value, args.prompt.as_deref().unwrap_or(several));
    Asker::new(&engine.value, options, *manner, args.json).ask(&turn, before)
}
