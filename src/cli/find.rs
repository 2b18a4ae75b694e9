//! `qlens find`: when something happens in a clip.

mod pictures;
mod report;

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::args::{FindArgs, KvKind};
use super::exit::CliError;
use super::interrupt::{writable, write_whole};
use super::many::{ending, out_file};
use super::progress::Progress;
use super::report::{Before, memory, model};
use super::screen::{Manner, one_line};
use super::setup;
use crate::media::{Clip, Part};
use crate::session::{Engine, Event, GenerateOptions, SessionError, StopReason};
use crate::tasks::find::{
    ClipWatcher, FindError, Found, Journal, Key, Level, Pass, Request, clock, question, search, srt, vtt,
};

/// Runs the command.
///
/// # Errors
/// See [`CliError`].
pub fn run(args: &FindArgs, manner: &Manner) -> Result<(), CliError> {
    let mut media = setup::media_options(&args.media)?;
    // Of a search, the budget is for all looks together.
    let budget = media.budget.take();
    media.fit = false;
    let options = GenerateOptions {
        max_tokens: args.sampling.max_tokens(1024),
        sampling: setup::sampling(&args.sampling, false),
        lookup: !args.sampling.no_lookup,
        media,
        ..GenerateOptions::default()
    };
    outputs(args)?;
    let clip = setup::clip(&args.files, &args.media, manner)?;
    let (seconds, (clip, part)) = (clip.seconds, clip.value);
    let engine = setup::engine(&args.model, KvKind::F16, manner)?;
    let before = Before { load_s: engine.seconds, read_s: seconds };
    let engine = engine.value;
    let question = args.prompt.clone().unwrap_or_else(|| question(&args.what));
    let request = Request { question, part, budget };
    let found = Search { args, engine: &engine, clip: &clip, request: &request, options, manner }.run()?;
    notes(&found, &clip, manner);
    let files = pictures::write(args, &clip, &found.events, manner)?;
    let text = if args.format.json {
        report::json(&report::Report {
            args,
            engine: &engine,
            clip: &clip,
            request: &request,
            found: &found,
            before,
            files,
        })
    } else if args.format.srt {
        srt(&found.events, &args.what)
    } else if args.format.vtt {
        vtt(&found.events, &args.what)
    } else {
        plain(&found)
    };
    show(out_file(args.out.as_deref()), &text)?;
    if manner.verbose > 0 {
        found.passes.iter().for_each(|pass| manner.note(&in_words(pass)));
        model(&engine, before.load_s, manner);
        memory(&engine, manner);
    }
    Ok(())
}

/// Checks where things are to go before anything is done.
fn outputs(args: &FindArgs) -> Result<(), CliError> {
    if let Some(path) = &args.sheet {
        ending("--sheet", path, &["png"])?;
    }
    let files = [out_file(args.out.as_deref()), args.sheet.as_deref(), args.resume.as_deref()];
    files.into_iter().flatten().try_for_each(writable)
}

/// All that a search works with.
struct Search<'a> {
    args: &'a FindArgs,
    engine: &'a Engine,
    clip: &'a Arc<Clip>,
    request: &'a Request,
    options: GenerateOptions,
    manner: &'a Manner,
}

impl Search<'_> {
    fn run(self) -> Result<Found, CliError> {
        let mut journal = self.journal()?;
        let file = self.args.resume.as_deref();
        let mut keep = |journal: &Journal| match file {
            Some(path) => write_whole(path, journal.to_json().as_bytes()),
            None => Ok(()),
        };
        let mut progress = Progress::start(self.manner, "getting ready");
        let mut on_event = |event: Event<'_>| {
            // The words are no answer yet.
            progress.unseen(&event);
            ControlFlow::Continue(())
        };
        let clip = self.clip.clone();
        let mut watcher = ClipWatcher::new(self.engine, clip, self.options, &mut keep, &mut on_event)?;
        search(&mut watcher, self.request, &mut journal).map_err(|error| match (error, file) {
            (FindError::Session(error), _) => CliError::Session(error),
            (FindError::Journal(source), path) => {
                CliError::Write { path: path.unwrap_or(Path::new("")).into(), source }
            }
        })
    }

    /// The journal of an earlier run, or a new one.
    fn journal(&self) -> Result<Journal, CliError> {
        let Some(path) = &self.args.resume else { return Ok(Journal::new(self.key([0; 32]))) };
        let key = self.key(self.clip.sha256().map_err(SessionError::from)?);
        match std::fs::read_to_string(path) {
            Ok(json) => Journal::read(&json, &key).map_err(|source| CliError::Journal { path: path.clone(), source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Journal::new(key)),
            Err(source) => Err(CliError::Write { path: path.clone(), source }),
        }
    }

    /// What a journal belongs to.
    fn key(&self, clip: [u8; 32]) -> Key {
        let hex = |bytes: [u8; 32]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let Self { request, options, engine, .. } = self;
        let part = request.part.map(|Part { start, end }| (start, end));
        let GenerateOptions { max_tokens, sampling, media, lookup: _, grammar: _ } = options;
        Key {
            clip: hex(clip),
            model: hex(engine.fingerprint()),
            question: request.question.clone(),
            options: format!(
                "{part:?} {:?} {media:?} {sampling:?} {max_tokens} {} {}",
                request.budget,
                engine.ctx(),
                engine.cache_settings()
            ),
        }
    }
}

/// A line for each event.
fn plain(found: &Found) -> String {
    let line = |event: &crate::tasks::find::Event| {
        let coarse = if event.level == Level::Coarse { "  (seen coarsely only)" } else { "" };
        let times = format!("{} - {}", clock(event.start), clock(event.end));
        format!("{times}  {}{coarse}", one_line(&event.description)).trim_end().to_owned() + "\n"
    };
    found.events.iter().map(line).collect()
}

/// What should be known of how the events came about.
fn notes(found: &Found, clip: &Clip, manner: &Manner) {
    let name = &clip.info().name;
    if let Some(coarse) = found.passes.iter().find(|pass| pass.level == Level::Coarse) {
        let fine = found.passes.iter().filter(|pass| pass.level == Level::Fine);
        let closely = match fine.clone().count() {
            0 => String::new(),
            looks => {
                let seconds: f64 = fine.map(|pass| pass.end - pass.start).sum();
                format!(", and {seconds:.0} of its seconds in {looks} closer looks")
            }
        };
        manner.note(&format!(
            "({name}: seen whole at {:.2} frames a second{closely}; {} tokens in all)",
            coarse.fps, found.tokens
        ));
    }
    for skipped in &found.skipped {
        let (start, end) = (clock(skipped.start), clock(skipped.end));
        manner.note(&format!(
            "({start} - {end} not looked at closely: {} tokens were left, see --budget)",
            skipped.tokens_left
        ));
    }
    if found.outside > 0 {
        manner.note(&format!(
            "({} events that the model placed outside of what it was shown are left out)",
            found.outside
        ));
    }
    let cut = |pass: &&Pass| matches!(pass.stop, StopReason::MaxTokens | StopReason::ContextFull);
    if found.passes.iter().any(|pass| cut(&pass)) {
        manner.note("(the model's answer was cut off, so events may be missing: see --max-tokens)");
    }
    if found.events.is_empty() {
        let why = if found.unclear > 0 { "the model's answer holds no times; see --json" } else { "nothing was found" };
        manner.note(&format!("({why})"));
    }
}

/// A look, for those who want to know more.
fn in_words(pass: &Pass) -> String {
    let level = format!("{:?}", pass.level).to_lowercase();
    let (start, end) = (clock(pass.start), clock(pass.end));
    let took = if pass.resumed { "of an earlier run".to_owned() } else { format!("{:.1} s", pass.seconds) };
    let (frames, fps, tokens) = (pass.frames, pass.fps, pass.tokens);
    format!("{level} look at {start} - {end}: {frames} frames, {fps:.2} a second, {tokens} tokens, {took}")
}

/// Writes to the named file, or to standard output.
fn show(out: Option<&Path>, text: &str) -> Result<(), CliError> {
    match out {
        Some(path) => {
            write_whole(path, text.as_bytes()).map_err(|source| CliError::Write { path: path.to_owned(), source })
        }
        None => {
            let mut stdout = io::stdout().lock();
            stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(CliError::Stdout)
        }
    }
}
