//! One question about one picture, each a conversation of its own.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::geometry::View;
use crate::media::Picture;
use crate::session::{Engine, Event, GenerateOptions, MediaReport, Medium, Session, SessionError, StopReason, Turn};

/// What a model said about a picture.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its words.
    pub answer: String,
    /// Why they ended.
    pub stop: StopReason,
    /// How the picture was shown.
    pub view: View,
    /// What became of the picture.
    pub media: MediaReport,
    /// Tokens of the answer.
    pub tokens: usize,
    /// Seconds that it took.
    pub seconds: f64,
}

impl Said {
    /// Whether the answer was cut off.
    pub fn cut_off(&self) -> bool {
        matches!(self.stop, StopReason::MaxTokens | StopReason::ContextFull)
    }
}

/// Asks a model about pictures, one question at a time. The next question about the same picture doesn't look at it
/// again.
pub struct Looker<'e> {
    session: Session<'e>,
    options: GenerateOptions,
    system: Option<String>,
}

impl<'e> Looker<'e> {
    /// Somebody to ask; `system` replaces the model's own system message.
    pub fn new(engine: &'e Engine, options: GenerateOptions, system: Option<String>) -> Looker<'e> {
        Looker { session: engine.new_session(), options, system }
    }

    /// Asks.
    ///
    /// # Errors
    /// The question can't be answered.
    pub fn ask(
        &mut self,
        picture: &Arc<Picture>,
        question: &str,
        on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Said, SessionError> {
        let began = Instant::now();
        self.session.clear();
        let turn = Turn::new(self.system.clone(), vec![Medium::Picture(picture.clone())], question);
        let answer = self.session.ask(&turn, &self.options, on_event)?;
        // One medium was asked about, and pictures without pixels are refused.
        let seen = answer.media.into_iter().next().and_then(|media| Some((View::of(&media)?, media)));
        let (view, media) = seen.ok_or_else(|| SessionError::Absent { name: picture.info.name.clone() })?;
        let seconds = began.elapsed().as_secs_f64();
        Ok(Said { answer: answer.text, stop: answer.stop, view, media, tokens: answer.answer_tokens, seconds })
    }
}
