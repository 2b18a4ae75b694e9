//! `qlens locate`: where something is in pictures, in their own pixels.

mod output;

use std::ffi::OsStr;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::args::KvKind;
use super::exit::CliError;
use super::many::{self, Accepted, Job, Opened, Outcome, Pages, Unit};
use super::progress::Progress;
use super::screen::Manner;
use super::setup;
use super::task_args::LocateArgs;
use crate::session::{Event, GenerateOptions, StopReason};
use crate::tasks::geometry::View;
use crate::tasks::locate::{Found, Wanted, labels, names_all, question, read};
use crate::tasks::look::Looker;
use output::Output;

/// What was said of one picture: what `--resume` keeps, so that reading it can get better.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Looked {
    original: [usize; 2],
    resized: [usize; 2],
    answers: Vec<Answer>,
}

/// What was said of one thing.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Answer {
    what: String,
    question: String,
    answer: String,
    stop: StopReason,
    seconds: f64,
}

/// What was found in one picture; docs/json.md describes it.
#[derive(Clone, Debug, Serialize)]
struct Located {
    width: usize,
    height: usize,
    resized: [usize; 2],
    found: Vec<Found>,
    left_out: usize,
    unclear: Vec<String>,
    answers: Vec<Answer>,
}

/// Runs the command.
///
/// # Errors
/// See [`CliError`].
pub fn run(args: &LocateArgs, manner: &Manner) -> Result<(), CliError> {
    let things = labels(&args.what);
    if things.is_empty() {
        return Err(CliError::NothingToFind);
    }
    let options = GenerateOptions {
        max_tokens: args.sampling.max_tokens(1024),
        sampling: setup::sampling(&args.sampling, false),
        lookup: !args.sampling.no_lookup,
        media: setup::picture_options(&args.sizes)?,
        ..GenerateOptions::default()
    };
    let files = many::chosen(&args.files, &args.many, Accepted { documents: false })?;
    let output = Output::new(args, &things, files.len(), manner)?;
    let engine = setup::engine(&args.model, KvKind::F16, manner)?;
    let wanted = if args.points { Wanted::Points } else { Wanted::Boxes };
    let things: Vec<(String, String)> = match &args.prompt {
        Some(prompt) => vec![(args.what.trim().to_owned(), prompt.clone())],
        None => things.into_iter().map(|what| (what.clone(), question(&what, wanted, args.all))).collect(),
    };
    let resume = many::resume(&args.many, "locate", (&format!("{things:?}"), ""), &engine.value, &options)?;
    let looker = Looker::new(&engine.value, options, None);
    let mut job = Locating { args, things, wanted, looker, output };
    let done = many::run(&mut job, &files, resume, manner);
    // What was found in the others is there, whatever failed.
    if matches!(done, Ok(()) | Err(CliError::SomeFailed { .. })) {
        job.output.end(&engine.value, engine.seconds)?;
    }
    done
}

struct Locating<'a> {
    args: &'a LocateArgs,
    /// What, and how it is asked.
    things: Vec<(String, String)>,
    wanted: Wanted,
    looker: Looker<'a>,
    output: Output<'a>,
}

impl Job for Locating<'_> {
    type Result = Looked;

    fn open(&mut self, file: &OsStr) -> Result<Opened, CliError> {
        Opened::open(file, false)
    }

    fn units(&self, opened: &Opened) -> Result<Vec<Unit>, CliError> {
        opened.pictures(self.args.frames.every(), &Pages::default())
    }

    fn work(&mut self, opened: &Opened, unit: Unit, progress: &mut Progress) -> Result<Looked, CliError> {
        let picture = opened.picture(unit, 0.0)?;
        let mut looked = Looked { original: [0; 2], resized: [0; 2], answers: Vec::new() };
        for (what, question) in &self.things {
            let mut on_event = |event: Event<'_>| {
                progress.unseen(&event);
                ControlFlow::Continue(())
            };
            let said = self.looker.ask(&picture, question, &mut on_event)?;
            (looked.original, looked.resized) = (said.view.original(), said.view.resized());
            looked.answers.push(Answer {
                what: what.clone(),
                question: question.clone(),
                answer: said.answer,
                stop: said.stop,
                seconds: said.seconds,
            });
        }
        Ok(looked)
    }

    fn done(&mut self, opened: Option<&Opened>, outcome: Outcome<Looked>) -> Result<(), CliError> {
        let (all, wanted) = (self.args.all || self.args.prompt.is_some(), self.wanted);
        self.output.show(opened, outcome.map(|looked| located(looked, wanted, all)))
    }
}

/// What the answers say; of each thing one place, unless all were asked for.
fn located(looked: Looked, wanted: Wanted, all: bool) -> Located {
    let Looked { original: [width, height], resized, answers } = looked;
    let (mut found, mut left_out, mut unclear) = (Vec::new(), 0, Vec::new());
    let view = View::new([width, height], resized);
    for answer in &answers {
        let Some(view) = view else { continue };
        let mut reading = read(&answer.answer, &answer.what, wanted, &view);
        if !all && !names_all(&answer.what) {
            reading.found.truncate(1);
        }
        if !reading.understood {
            unclear.push(answer.what.clone());
        }
        left_out += reading.left_out;
        found.append(&mut reading.found);
    }
    Located { width, height, resized, found, left_out, unclear, answers }
}
