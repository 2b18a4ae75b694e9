//! A model that looks at a clip.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::FindError;
use super::journal::Journal;
use super::search::{Look, Said, Wanted, Watcher};
use crate::media::sampling::SampleOptions;
use crate::media::{Clip, MediaProblem, Part, PatchConfig};
use crate::session::{Engine, Event, GenerateOptions, MediaReport, Medium, Session, SessionError, Turn};
use crate::text::Special;

/// Tokens of the chat template around a question, and some more.
const AROUND: usize = 64;

/// Keeps a journal.
type Keep<'a> = dyn FnMut(&Journal) -> io::Result<()> + 'a;

/// Follows a look.
type OnEvent<'a> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 'a;

/// Looks at one clip with one model; each look is a conversation of its own.
pub struct ClipWatcher<'e, 'a> {
    engine: &'e Engine,
    session: Session<'e>,
    clip: Arc<Clip>,
    options: GenerateOptions,
    patches: PatchConfig,
    keep: &'a mut Keep<'a>,
    on_event: &'a mut OnEvent<'a>,
    /// What was shown in the last look, for messages.
    pub last: Option<MediaReport>,
}

impl<'e, 'a> ClipWatcher<'e, 'a> {
    /// A watcher; `keep` is called with the journal after every look.
    ///
    /// # Errors
    /// The model can't see.
    pub fn new(
        engine: &'e Engine,
        clip: Arc<Clip>,
        options: GenerateOptions,
        keep: &'a mut Keep<'a>,
        on_event: &'a mut OnEvent<'a>,
    ) -> Result<Self, SessionError> {
        let patches = engine.patch_config()?;
        Ok(ClipWatcher { engine, session: engine.new_session(), clip, options, patches, keep, on_event, last: None })
    }

    fn sampling(&self, max_tokens: Option<usize>) -> SampleOptions {
        SampleOptions { max_tokens, ..self.options.media.clip_sampling() }
    }
}

impl Watcher for ClipWatcher<'_, '_> {
    type Error = FindError;

    fn look(&self, part: Option<Part>, max_tokens: Option<usize>) -> Result<Option<Look>, FindError> {
        let plan = match self.clip.plan(part, &self.sampling(max_tokens), &self.patches) {
            Err(e) if matches!(e.problem(), MediaProblem::TooFewTokens { .. }) => return Ok(None),
            plan => plan.map_err(SessionError::from)?,
        };
        let duration = self.clip.info().duration;
        let end = part.and_then(|part| part.end).map_or(duration, |end| end.min(duration));
        Ok(Some(Look {
            start: plan.start,
            end: end.max(plan.start),
            frames: plan.n_frames(),
            fps: plan.sample_fps,
            pixels: plan.resized.0 * plan.resized.1,
            tokens: plan.n_tokens(),
        }))
    }

    fn ask(&mut self, part: Option<Part>, max_tokens: usize, question: &str) -> Result<Said, FindError> {
        let began = Instant::now();
        self.session.clear();
        let turn = Turn::new(None, vec![Medium::Clip(self.clip.clone(), part)], question);
        let mut options = self.options.clone();
        options.media.budget = Some(max_tokens);
        let answer = self.session.ask(&turn, &options, self.on_event)?;
        self.last = answer.media.into_iter().next();
        Ok(Said { answer: answer.text, stop: answer.stop, seconds: began.elapsed().as_secs_f64() })
    }

    fn room(&self, question: &str) -> usize {
        let words = self.engine.tokenizer().encode(question, Special::AsText).len();
        let ctx = self.engine.ctx();
        ctx.saturating_sub(self.options.max_tokens.min(ctx / 4) + words + AROUND).max(1)
    }

    fn wanted(&self) -> Wanted {
        let options = self.sampling(None);
        Wanted {
            fps: options.fps,
            clip_fps: self.clip.info().fps,
            pixels: options.min_pixels,
            token_pixels: self.patches.factor() * self.patches.factor(),
            max_frames: options.max_frames,
        }
    }

    fn keep(&mut self, journal: &Journal) -> Result<(), FindError> {
        (self.keep)(journal).map_err(FindError::Journal)
    }
}
