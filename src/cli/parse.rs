//! `qlens parse`: documents to Markdown, HTML, text or JSON, with the place of each block.

mod output;

use std::ffi::OsStr;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::args::KvKind;
use super::exit::CliError;
use super::many::{self, Accepted, Job, Opened, Outcome, Unit};
use super::progress::Progress;
use super::screen::Manner;
use super::setup;
use super::task_args::ParseArgs;
use crate::session::{Event, GenerateOptions, StopReason};
use crate::tasks::geometry::View;
use crate::tasks::look::Looker;
use crate::tasks::parse::{Page, QUESTION, read};
use output::Output;

/// Tokens of a page's contents, where nothing else is asked for: a full page of small print has about 3000.
const MAX_TOKENS: u32 = 8192;

/// What was said of one page: what `--resume` keeps, so that reading it can get better.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Looked {
    original: [usize; 2],
    resized: [usize; 2],
    answer: String,
    stop: StopReason,
    seconds: f64,
}

/// What one page says; docs/json.md describes it.
#[derive(Clone, Debug, Serialize)]
struct Parsed {
    width: usize,
    height: usize,
    resized: [usize; 2],
    #[serde(flatten)]
    page: Page,
    /// Of blocks, by their place, the files with what was cut out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    figures: Vec<Figure>,
    answer: String,
    stop: StopReason,
    seconds: f64,
}

#[derive(Clone, Debug, Serialize)]
struct Figure {
    block: usize,
    file: String,
}

/// Runs the command.
///
/// # Errors
/// See [`CliError`].
pub fn run(args: &ParseArgs, manner: &Manner) -> Result<(), CliError> {
    let options = GenerateOptions {
        max_tokens: args.sampling.max_tokens(MAX_TOKENS),
        sampling: setup::sampling(&args.sampling, false),
        lookup: !args.sampling.no_lookup,
        media: setup::picture_options(&args.sizes)?,
        ..GenerateOptions::default()
    };
    let files = many::chosen(&args.files, &args.many, Accepted { documents: true })?;
    let output = Output::new(args, files.len(), manner)?;
    let engine = setup::engine(&args.model, KvKind::F16, manner)?;
    let question = args.prompt.as_deref().unwrap_or(QUESTION);
    let extra = format!("{} {:?}", args.pages.dpi, args.system);
    let resume = many::resume(&args.many, "parse", (question, &extra), &engine.value, &options)?;
    let looker = Looker::new(&engine.value, options, args.system.clone());
    let mut job = Parsing { args, question, looker, output };
    let done = many::run(&mut job, &files, resume, manner);
    // What the others say is there, whatever failed.
    if matches!(done, Ok(()) | Err(CliError::SomeFailed { .. })) {
        job.output.end(&engine.value, engine.seconds)?;
    }
    done
}

struct Parsing<'a> {
    args: &'a ParseArgs,
    question: &'a str,
    looker: Looker<'a>,
    output: Output<'a>,
}

impl Job for Parsing<'_> {
    type Result = Looked;

    fn open(&mut self, file: &OsStr) -> Result<Opened, CliError> {
        Opened::open(file, true)
    }

    fn units(&self, opened: &Opened) -> Result<Vec<Unit>, CliError> {
        opened.pictures(self.args.frames.every(), &self.args.pages.pages.clone().unwrap_or_default())
    }

    fn work(&mut self, opened: &Opened, unit: Unit, progress: &mut Progress) -> Result<Looked, CliError> {
        let picture = opened.picture(unit, self.args.pages.dpi.into())?;
        let mut on_event = |event: Event<'_>| {
            progress.unseen(&event);
            ControlFlow::Continue(())
        };
        let said = self.looker.ask(&picture, self.question, &mut on_event)?;
        Ok(Looked {
            original: said.view.original(),
            resized: said.view.resized(),
            answer: said.answer,
            stop: said.stop,
            seconds: said.seconds,
        })
    }

    fn done(&mut self, opened: Option<&Opened>, outcome: Outcome<Looked>) -> Result<(), CliError> {
        self.output.show(opened, outcome.map(parsed))
    }
}

fn parsed(looked: Looked) -> Parsed {
    let Looked { original, resized, answer, stop, seconds } = looked;
    let cut_off = matches!(stop, StopReason::MaxTokens | StopReason::ContextFull);
    let page = View::new(original, resized).map(|view| read(&answer, &view, cut_off)).unwrap_or_default();
    let [width, height] = original;
    Parsed { width, height, resized, page, figures: Vec::new(), answer, stop, seconds }
}
