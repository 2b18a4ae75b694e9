//! One question and its answer, as `describe` and `chat` show them.

use std::io::{self, IsTerminal};
use std::ops::ControlFlow;

use super::exit::CliError;
use super::interrupt;
use super::progress::Progress;
use super::repl::Markdown;
use super::report::{self, Before};
use super::screen::{AnswerWriter, Manner};
use crate::session::{Answer, Engine, Event, GenerateOptions, Session, StopReason, Turn};

/// A conversation and how its answers are shown.
pub struct Asker<'e> {
    engine: &'e Engine,
    session: Session<'e>,
    /// How answers are made.
    pub options: GenerateOptions,
    manner: Manner,
    json: bool,
    /// Answers on a terminal are typeset.
    pub typeset: bool,
    /// A line about speed and tokens follows each answer.
    pub stats: bool,
    /// What the last answer took.
    pub last: Option<Answer>,
}

impl<'e> Asker<'e> {
    /// A new conversation with a loaded model.
    pub fn new(engine: &'e Engine, options: GenerateOptions, manner: Manner, json: bool) -> Asker<'e> {
        let session = engine.new_session();
        Asker { engine, session, options, manner, json, typeset: false, stats: false, last: None }
    }

    /// The conversation.
    pub fn session(&mut self) -> &mut Session<'e> {
        &mut self.session
    }

    /// Asks, shows the answer as it comes (as JSON: when it is whole), and with `-v` what it took.
    ///
    /// # Errors
    /// The question can't be answered, or the answer not be written.
    pub fn ask(&mut self, turn: &Turn, before: Before) -> Result<(), CliError> {
        self.answer(Some(turn), before).map(|_| ())
    }

    /// Answers the last question once more; whether there is one.
    ///
    /// # Errors
    /// As [`Asker::ask`].
    pub fn retry(&mut self) -> Result<bool, CliError> {
        self.answer(None, Before::default())
    }

    fn answer(&mut self, turn: Option<&Turn>, before: Before) -> Result<bool, CliError> {
        let mut writer = AnswerWriter::new();
        let Some(answer) = self.stream(turn, &mut writer)? else { return Ok(false) };
        let held = self.holds_back();
        if self.json {
            report::json(self.engine, &answer, before, &mut io::stdout().lock()).map_err(CliError::Stdout)?;
        } else {
            let whole = if held { writer.piece(&answer.text) } else { Ok(()) };
            whole.and_then(|()| writer.end()).map_err(CliError::Stdout)?;
        }
        self.notes(&answer);
        match answer.stop {
            StopReason::MaxTokens | StopReason::ContextFull if self.options.grammar.is_some() => {
                self.manner.note("(brought to an end for lack of tokens: see --max-tokens and --ctx)");
            }
            StopReason::MaxTokens => {
                self.manner.note(&format!("(cut off after {} tokens: see --max-tokens)", answer.answer_tokens));
            }
            StopReason::ContextFull => {
                self.manner.note(&format!("(cut off: the context of {} tokens is full, see --ctx)", self.engine.ctx()));
            }
            StopReason::Interrupted => self.manner.note("(stopped)"),
            StopReason::End => {}
        }
        if self.manner.verbose > 0 {
            report::verbose(self.engine, &answer, before, &self.manner);
        } else if self.stats {
            self.manner.dim(&report::short(self.engine, &answer));
        }
        self.last = Some(answer);
        Ok(true)
    }

    /// Whether an answer is shown only when it is whole: one that is held to a form, to a program.
    fn holds_back(&self) -> bool {
        self.options.grammar.is_some() && !io::stdout().is_terminal()
    }

    /// What should be known of the media.
    fn notes(&self, answer: &Answer) {
        for medium in &answer.media {
            // Other warnings were known, and told, before.
            if let Some(warning) = medium.damage {
                self.manner.note(&format!("{}: {warning}", medium.name));
            }
            if let (true, Some(frames)) = (medium.fitted, medium.frames) {
                let ([w, h], ctx) = (medium.resized, self.engine.ctx());
                let name = &medium.name;
                self.manner.note(&format!(
                    "({name}: seen as {frames} frames of {w}x{h} pixels, so that it fits the context of {ctx} tokens; see \
                     --ctx)"
                ));
            }
        }
    }

    fn stream(&mut self, turn: Option<&Turn>, writer: &mut AnswerWriter) -> Result<Option<Answer>, CliError> {
        let mut progress = Progress::start(&self.manner, "getting ready");
        let mut unwritten: Option<io::Error> = None;
        let hidden = self.json || self.holds_back();
        let typeset = self.typeset && self.options.grammar.is_none();
        let mut markdown = typeset.then(typesetter).flatten();
        interrupt::forget();
        let mut on_event = |event: Event<'_>| {
            if interrupt::asked_to_stop() {
                return ControlFlow::Break(());
            }
            if let (Event::Text(_), true) = (event, hidden) {
                progress.say("answering");
                return ControlFlow::Continue(());
            }
            progress.event(&event);
            let Event::Text(text) = event else { return ControlFlow::Continue(()) };
            let written = match &mut markdown {
                None => writer.piece(text),
                Some(markdown) => {
                    let mut shown = String::new();
                    markdown.push(text, &mut shown);
                    writer.styled(&shown)
                }
            };
            match written {
                Ok(()) => ControlFlow::Continue(()),
                Err(e) => {
                    unwritten = Some(e);
                    ControlFlow::Break(())
                }
            }
        };
        let answer = match turn {
            Some(turn) => self.session.ask(turn, &self.options, &mut on_event).map(Some),
            None => self.session.retry(&self.options, &mut on_event),
        };
        interrupt::forget();
        if let Some(e) = unwritten {
            return Err(CliError::Stdout(e));
        }
        if let Some(mut markdown) = markdown {
            let mut rest = String::new();
            markdown.end(&mut rest);
            writer.styled(&rest).map_err(CliError::Stdout)?;
        }
        Ok(answer?)
    }
}

/// For a terminal that shows styles.
fn typesetter() -> Option<Markdown> {
    let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    width.filter(|_| io::stdout().is_terminal()).map(Markdown::new)
}
