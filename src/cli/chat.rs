//! `qlens chat`: a conversation, typed at a terminal, piped in line by line, or a single question with `-p`.

use super::args::{ChatArgs, KvKind};
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
        max_tokens: args.sampling.max_tokens as usize,
        sampling: setup::sampling(&args.sampling, talking),
        media: setup::media_options(&args.media)?,
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
    let (mut model, mut spare) = (args.model.clone(), None);
    loop {
        let engine = match (setup::engine(&model, KvKind::F16, manner), spare.take()) {
            (Ok(engine), _) => engine,
            // The other model can't be used: the conversation goes on with the one that it had.
            (Err(e), Some(old)) => {
                manner.error(&in_words(&e));
                model = old;
                setup::engine(&model, KvKind::F16, manner)?
            }
            (Err(e), None) => return Err(e),
        };
        let before = Before { load_s: engine.seconds, read_s: media.seconds };
        let mut repl = Repl::new(&engine.value, carried, before, (style, *manner))?;
        match repl.run()? {
            Next::Leave => return Ok(()),
            Next::Model(name) => {
                carried = repl.into_carried()?;
                let other = super::args::ModelArgs { model: Some(name.into()), mmproj: None, ..model.clone() };
                spare = Some(std::mem::replace(&mut model, other));
            }
        }
    }
}
