//! The same question about each of many files.

use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::super::args::{DescribeArgs, KvKind};
use super::super::exit::CliError;
use super::super::many::{self, Job, Opened, Outcome, Unit};
use super::super::progress::Progress;
use super::super::screen::{Manner, one_line, printable};
use super::super::setup;
use super::default_prompt;
use crate::session::{Event, GenerateOptions, MediaReport, Session, StopReason, Turn};

/// What was said of one file; docs/json.md describes it.
#[derive(Debug, Serialize, Deserialize)]
struct Described {
    answer: String,
    stop: StopReason,
    tokens: Tokens,
    media: Vec<MediaReport>,
    seconds: f64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Tokens {
    prompt: usize,
    answer: usize,
}

struct Each<'a> {
    args: &'a DescribeArgs,
    session: Session<'a>,
    options: GenerateOptions,
    manner: &'a Manner,
    /// Several files: each answer stands below its file's name.
    headed: bool,
}

/// Asks about each file.
///
/// # Errors
/// See [`CliError`].
pub fn run(args: &DescribeArgs, files: &[OsString], options: GenerateOptions, manner: &Manner) -> Result<(), CliError> {
    let engine = setup::engine(&args.model, KvKind::F16, manner)?.value;
    let question = (args.prompt.as_deref().unwrap_or_default(), args.system.as_deref().unwrap_or_default());
    let resume = many::resume(&args.many, "describe", question, &engine, &options)?;
    let session = engine.new_session();
    let mut each = Each { args, session, options, manner, headed: files.len() > 1 };
    many::run(&mut each, files, resume, manner)
}

impl Job for Each<'_> {
    type Result = Described;

    fn open(&mut self, file: &OsStr) -> Result<Opened, CliError> {
        Opened::open(file, false)
    }

    fn units(&self, _: &Opened) -> Result<Vec<Unit>, CliError> {
        Ok(vec![Unit::Whole])
    }

    fn work(&mut self, opened: &Opened, _: Unit, progress: &mut Progress) -> Result<Described, CliError> {
        let began = Instant::now();
        let medium = opened.medium()?;
        progress.aside(|| setup::tell_about(&medium, self.manner));
        let prompt = self.args.prompt.as_deref().unwrap_or(default_prompt(std::slice::from_ref(&medium)));
        let turn = Turn::new(self.args.system.clone(), vec![medium], prompt);
        let mut on_event = |event: Event<'_>| {
            progress.unseen(&event);
            ControlFlow::Continue(())
        };
        self.session.clear();
        let answer = self.session.ask(&turn, &self.options, &mut on_event)?;
        Ok(Described {
            answer: answer.text,
            stop: answer.stop,
            tokens: Tokens { prompt: answer.prompt_tokens, answer: answer.answer_tokens },
            media: answer.media,
            seconds: began.elapsed().as_secs_f64(),
        })
    }

    fn done(&mut self, _: Option<&Opened>, outcome: Outcome<Described>) -> Result<(), CliError> {
        if self.args.jsonl {
            many::print(&outcome.json())?;
        } else if let Ok(described) = &outcome.result {
            let head = if self.headed { format!("{}:\n", one_line(&outcome.file)) } else { String::new() };
            let gap = if self.headed { "\n" } else { "" };
            many::print(&format!("{head}{}\n{gap}", printable(described.answer.trim_end())))?;
        }
        if let Ok(Described { stop: StopReason::MaxTokens | StopReason::ContextFull, .. }) = outcome.result {
            self.manner.note(&format!("({}: the answer was cut off: see --max-tokens and --ctx)", outcome.file));
        }
        Ok(())
    }
}
