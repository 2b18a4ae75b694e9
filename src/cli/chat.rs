//! `qlens chat`: a conversation, typed at a terminal, piped in line by line, or a single question with `-p`.

use std::io::{self, BufRead, Read, Write};

use super::args::{ChatArgs, KvKind};
use super::ask::Asker;
use super::exit::{CliError, in_words};
use super::report::Before;
use super::screen::Manner;
use super::setup;
use crate::session::{GenerateOptions, Medium, Turn};

/// Bytes of one line; what a context holds is far less.
const MAX_LINE_BYTES: u64 = 16 << 20;

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
    let engine = setup::engine(&args.model, KvKind::F16, manner)?;
    let mut talk = Talk {
        asker: Asker::new(&engine.value, options, *manner, args.json),
        system: args.system.clone(),
        media: media.value,
        before: Before { load_s: engine.seconds, read_s: media.seconds },
    };
    match &args.prompt {
        Some(prompt) => talk.turn(prompt),
        None if talking => talk.with_a_person(manner),
        None => talk.with_a_pipe(),
    }
}

struct Talk<'e> {
    asker: Asker<'e>,
    system: Option<String>,
    /// Shown with the next question, then gone.
    media: Vec<Medium>,
    before: Before,
}

impl Talk<'_> {
    fn turn(&mut self, prompt: &str) -> Result<(), CliError> {
        let turn = Turn::new(self.system.clone(), self.media.clone(), prompt);
        self.asker.ask(&turn, self.before)?;
        self.media.clear();
        self.before = Before::default();
        Ok(())
    }

    fn with_a_pipe(&mut self) -> Result<(), CliError> {
        let mut input = io::stdin().lock();
        let mut number = 0;
        while let Some(line) = next_line(&mut input, &mut number)? {
            if !line.is_empty() {
                self.turn(&line)?;
            }
        }
        Ok(())
    }

    fn with_a_person(&mut self, manner: &Manner) -> Result<(), CliError> {
        manner.note("Ask away; Ctrl-D ends.");
        let mut input = io::stdin().lock();
        let mut number = 0;
        loop {
            let _ = write!(io::stderr(), "> ");
            let Some(line) = next_line(&mut input, &mut number)? else {
                let _ = writeln!(io::stderr());
                return Ok(());
            };
            if line.is_empty() {
                continue;
            }
            match self.turn(&line) {
                // One question that can't be answered doesn't end the talk: it stays as it was before it.
                Err(e @ CliError::Session(_)) => manner.error(&in_words(&e)),
                other => other?,
            }
        }
    }
}

/// The next line without the space around it; `None` at the end.
fn next_line(input: &mut impl BufRead, number: &mut usize) -> Result<Option<String>, CliError> {
    let mut line = Vec::new();
    let read = input.take(MAX_LINE_BYTES).read_until(b'\n', &mut line).map_err(CliError::Stdin)?;
    if read == 0 {
        return Ok(None);
    }
    *number += 1;
    match std::str::from_utf8(&line) {
        Ok(line) => Ok(Some(line.trim().to_owned())),
        Err(_) => Err(CliError::StdinText { line: *number }),
    }
}
