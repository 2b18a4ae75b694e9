//! One question and its answer, as `describe` and `chat` show them.

use std::io;
use std::ops::ControlFlow;

use super::exit::CliError;
use super::progress::Progress;
use super::report::{self, Before};
use super::screen::{AnswerWriter, Manner};
use crate::session::{Answer, Engine, Event, GenerateOptions, Session, StopReason, Turn};

/// A conversation and how its answers are shown.
pub struct Asker<'e> {
    engine: &'e Engine,
    session: Session<'e>,
    options: GenerateOptions,
    manner: Manner,
    json: bool,
}

impl<'e> Asker<'e> {
    /// A new conversation with a loaded model.
    pub fn new(engine: &'e Engine, options: GenerateOptions, manner: Manner, json: bool) -> Asker<'e> {
        Asker { engine, session: engine.new_session(), options, manner, json }
    }

    /// Asks, shows the answer as it comes (as JSON: when it is whole), and with `-v` what it took.
    ///
    /// # Errors
    /// The question can't be answered, or the answer not be written.
    pub fn ask(&mut self, turn: &Turn, before: Before) -> Result<(), CliError> {
        let mut writer = AnswerWriter::new();
        let answer = self.stream(turn, &mut writer)?;
        if self.json {
            report::json(self.engine, &answer, before, &mut io::stdout().lock()).map_err(CliError::Stdout)?;
        } else {
            writer.end().map_err(CliError::Stdout)?;
        }
        self.notes(&answer);
        match answer.stop {
            StopReason::MaxTokens => {
                self.manner.note(&format!("(cut off after {} tokens: see --max-tokens)", answer.answer_tokens));
            }
            StopReason::ContextFull => {
                self.manner.note(&format!("(cut off: the context of {} tokens is full, see --ctx)", self.engine.ctx()));
            }
            StopReason::End | StopReason::Interrupted => {}
        }
        if self.manner.verbose > 0 {
            report::verbose(self.engine, &answer, before, &self.manner);
        }
        Ok(())
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

    fn stream(&mut self, turn: &Turn, writer: &mut AnswerWriter) -> Result<Answer, CliError> {
        let mut progress = Progress::start(&self.manner, "getting ready");
        let mut unwritten: Option<io::Error> = None;
        let json = self.json;
        let mut on_event = |event: Event<'_>| {
            if let (Event::Text(_), true) = (event, json) {
                progress.say("answering");
                return ControlFlow::Continue(());
            }
            progress.event(&event);
            let Event::Text(text) = event else { return ControlFlow::Continue(()) };
            match writer.piece(text) {
                Ok(()) => ControlFlow::Continue(()),
                Err(e) => {
                    unwritten = Some(e);
                    ControlFlow::Break(())
                }
            }
        };
        let answer = self.session.ask(turn, &self.options, &mut on_event);
        match unwritten {
            Some(e) => Err(CliError::Stdout(e)),
            None => Ok(answer?),
        }
    }
}
