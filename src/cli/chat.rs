//! `qlens chat`: a conversation, typed at a terminal, piped in line by line, or a single question with `-p`.

use super::args::{ChatArgs, KvKind, ModelArgs};
use super::ask::Asker;
use super::exit::{CliError, in_words};
use super::repl::{Carried, Next, Repl, Style};
use super::report::Before;
use super::screen::Manner;
use super::setup;
use crate::session::{GenerateOptions, Turn};

/// Runs the command.
///
/// # Errors
/// See [`CliError`].
pub fn run(args: &ChatArgs, manner: &Manner) -> Result<(), CliError> {
    if args.prompt.is_none() && args.files.iter().any(|file| setup::is_stdin(file.as_os_str())) {
        return Err(CliError::StdinBoth);
    }
    let talking = args.prompt.is_none() && setup::stdin_is_terminal();
    let options = GenerateOptions {
        max_tokens: args.sampling.max_tokens(1024),
        sampling: setup::sampling(&args.sampling, talking),
        lookup: !args.sampling.no_lookup,
        media: setup::media_options(&args.media)?,
        grammar: setup::grammar(&args.form)?,
    };
    let media = setup::media(&args.files, &args.media, manner)?;
    if let Some(prompt) = &args.prompt {
        let engine = setup::engine(&args.model, KvKind::F16, manner)?;
        let turn = Turn::new(args.system.clone(), media.value, prompt);
        let before = Before { load_s: engine.seconds, read_s: media.seconds };
        return Asker::new(&engine.value, options, *manner, args.json).ask(&turn, before);
    }
    let style = Style { talking, preview: talking && !args.no_preview, json: args.json };
    let mut carried = Carried { options, system: args.system.clone(), media: media.value, ..Carried::default() };
    let (mut model, mut spare): (_, Option<ModelArgs>) = (args.model.clone(), None);
    loop {
        let talked = talk(&model, &carried, media.seconds, (style, *manner));
        match (talked, spare.take()) {
            (Ok(None), _) => return Ok(()),
            (Ok(Some((name, left))), _) => {
                carried = left;
                let other = ModelArgs { model: Some(name.into()), mmproj: None, ..model.clone() };
                spare = Some(std::mem::replace(&mut model, other));
            }
            // The other model can't be used, or not go on with this: a person's talk stays with the one that it had.
            (Err(Unable::Begin(e)), Some(old)) if talking => {
                manner.error(&in_words(&e));
                model = old;
            }
            (Err(Unable::Begin(e) | Unable::GoOn(e)), _) => return Err(e),
        }
    }
}

/// Why a conversation with a model ends too early.
enum Unable {
    /// It never began.
    Begin(CliError),
    /// It broke.
    GoOn(CliError),
}

/// A conversation with one model; gives the next one's name, and what goes there.
fn talk(
    model: &ModelArgs,
    carried: &Carried,
    read_s: f64,
    (style, manner): (Style, Manner),
) -> Result<Option<(String, Carried)>, Unable> {
    let engine = setup::engine(model, KvKind::F16, &manner).map_err(Unable::Begin)?;
    let before = Before { load_s: engine.seconds, read_s };
    let mut repl = Repl::new(&engine.value, carried, before, (style, manner)).map_err(Unable::Begin)?;
    match repl.run().map_err(Unable::GoOn)? {
        Next::Leave => Ok(None),
        Next::Model(name) => Ok(Some((name, repl.into_carried().map_err(Unable::GoOn)?))),
    }
}
