//! A conversation: what was said, what the KV cache holds of it, and the next answer.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::constraint::{Constraint, Grammar};
use super::error::SessionError;
use super::media_cache::MediaCache;
use super::medium::{MediaKey, MediaOptions, MediaReport, PreparedMedium};
use super::prompt::{BuildError, PastMessage, PastPart, Run, Sequence, Turn, TurnPart};
use super::sampler::{Sampler, Sampling};
use super::{Engine, generate};
use crate::model::{ChunkInput, CpuCompute, LanguageState, ModelError, Position, Stage, VisionObserver};
use crate::text::Role;

/// Tokens read at a time: enough to use each weight often, few enough to stop soon.
pub const CHUNK: usize = 512;
/// Memory for encoded media of earlier turns.
const MEDIA_CACHE_BYTES: usize = 256 << 20;

/// How an answer is made.
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    /// Tokens after which the answer is cut off.
    pub max_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// How media are measured.
    pub media: MediaOptions,
    /// Whether to guess at tokens that repeat what was said before, and to read several at once: answers are the same,
    /// and come sooner.
    pub lookup: bool,
    /// What an answer may be; anything where there is none.
    pub grammar: Option<Arc<Grammar>>,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        GenerateOptions {
            max_tokens: 1024,
            sampling: Sampling::default(),
            media: MediaOptions::default(),
            lookup: true,
            grammar: None,
        }
    }
}

/// What happens while an answer is made. Returning `Break` stops it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event<'a> {
    /// Encoding medium `index` (from 0) of `total` goes on: `done` of `steps` are done.
    Encoding {
        /// Which medium.
        index: usize,
        /// Of how many.
        total: usize,
        /// Steps done.
        done: usize,
        /// Steps in all.
        steps: usize,
        /// Of a clip, how far its frames are.
        frames: Option<FrameProgress>,
    },
    /// Reading the prompt: `done` of `total` tokens.
    Prefill {
        /// Tokens read.
        done: usize,
        /// Tokens to read.
        total: usize,
    },
    /// More of the answer.
    Text(&'a str),
    /// Nothing new; asked now and then so that a long step can be stopped.
    Tick,
}

/// How far a clip's frames are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameProgress {
    /// Frames read from the file.
    pub decoded: usize,
    /// Frames that the vision tower is done with.
    pub encoded: usize,
    /// Frames that are looked at in all.
    pub total: usize,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The model said so.
    End,
    /// `max_tokens` were reached.
    MaxTokens,
    /// The context is full.
    ContextFull,
    /// The caller stopped it.
    Interrupted,
}

/// Seconds that each phase took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Timings {
    /// Resizing pictures and cutting them into patches.
    pub media_s: f64,
    /// The vision tower.
    pub vision_s: f64,
    /// Reading the prompt.
    pub prefill_s: f64,
    /// From the question to the first token.
    pub first_token_s: f64,
    /// Making the answer, from its first token on.
    pub decode_s: f64,
}

/// An answer.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// What the model said.
    pub text: String,
    /// Why it ended.
    pub stop: StopReason,
    /// Tokens of the question, all earlier turns included.
    pub prompt_tokens: usize,
    /// Of those, tokens that the cache held already.
    pub cached_tokens: usize,
    /// Tokens of the answer.
    pub answer_tokens: usize,
    /// The media of this turn.
    pub media: Vec<MediaReport>,
    /// Seconds.
    pub timings: Timings,
}

/// A conversation with a loaded model.
pub struct Session<'e> {
    pub(super) engine: &'e Engine,
    pub(super) compute: CpuCompute,
    pub(super) state: Option<LanguageState<CpuCompute>>,
    /// What each token in the KV cache came from; as long as the cache.
    pub(super) cached: Vec<u64>,
    pub(super) messages: Vec<PastMessage>,
    /// Of each exchange, the tokens that the KV cache held before it.
    pub(super) starts: Vec<usize>,
    media_cache: MediaCache,
}

pub(super) type OnEvent<'a> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 'a;

impl<'e> Session<'e> {
    pub(super) fn new(engine: &'e Engine) -> Self {
        Session {
            engine,
            compute: CpuCompute::new(engine.cpu.clone()),
            state: None,
            cached: Vec::new(),
            messages: Vec::new(),
            starts: Vec::new(),
            media_cache: MediaCache::new(MEDIA_CACHE_BYTES),
        }
    }

    /// Asks, and keeps question and answer in the conversation. On an error the conversation stays as it was.
    ///
    /// # Errors
    /// [`SessionError`]; among them [`SessionError::Interrupted`] when `on_event` breaks before there is an answer.
    pub fn ask(
        &mut self,
        turn: &Turn,
        options: &GenerateOptions,
        on_event: &mut OnEvent<'_>,
    ) -> Result<Answer, SessionError> {
        let start = Instant::now();
        let before = self.messages.len();
        let result = self.ask_inner(turn, options, on_event, start);
        if result.is_err() {
            self.messages.truncate(before);
        }
        result
    }

    /// Forgets the conversation; encoded media stay at hand.
    pub fn clear(&mut self) {
        self.messages.clear();
        self.starts.clear();
    }

    /// Answers the last question once more, in place of its answer; `None` where nothing has been asked. On an error
    /// the conversation stays as it was.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub fn retry(
        &mut self,
        options: &GenerateOptions,
        on_event: &mut OnEvent<'_>,
    ) -> Result<Option<Answer>, SessionError> {
        let Some(said) = self.messages.pop_if(|m| m.role == Role::Assistant) else { return Ok(None) };
        let starts = self.starts.clone();
        let answer = self.answer_last(options, on_event, Instant::now());
        if answer.is_err() {
            self.messages.push(said);
        }
        // The exchange begins where it began, however much of it was known this time.
        self.starts = starts;
        answer.map(Some)
    }

    fn ask_inner(
        &mut self,
        turn: &Turn,
        options: &GenerateOptions,
        on_event: &mut OnEvent<'_>,
        start: Instant,
    ) -> Result<Answer, SessionError> {
        self.push_turn(turn, &options.media)?;
        self.answer_last(options, on_event, start)
    }

    /// Answers the question that the conversation ends with.
    fn answer_last(
        &mut self,
        options: &GenerateOptions,
        on_event: &mut OnEvent<'_>,
        start: Instant,
    ) -> Result<Answer, SessionError> {
        let mut timings = Timings::default();
        let asked = self.messages.len() - 1;
        let mut sequence = self.sequence()?;
        if self.fit_clips(&sequence, options.max_tokens)? {
            sequence = self.sequence()?;
        }
        timings.media_s = start.elapsed().as_secs_f64();
        let prompt_tokens = self.check_room(&sequence)?;
        // The grammar is made ready while the question is read.
        let engine = self.engine;
        let start_grammar = |grammar: &Arc<Grammar>| {
            Constraint::start(grammar.clone(), engine.vocabulary.clone(), engine.tokenizer.clone())
        };
        let constraint = options.grammar.as_ref().map(start_grammar).transpose()?;
        let read = self.read(&sequence, on_event, &mut timings)?;
        let mut logits = vec![0.0; self.engine.text.vocab_size()];
        self.logits(read.last_row, &mut logits);
        timings.first_token_s = start.elapsed().as_secs_f64();
        let decode_start = Instant::now();
        let mut generation = generate::Generation {
            tokens: sequence.ids(self.engine.pads),
            next_position: read.next_position,
            sampler: Sampler::new(&options.sampling),
            max_tokens: options.max_tokens,
            logits,
            lookup: options.lookup,
            constraint,
        };
        let (text, stop) = generation.run(self, on_event)?;
        timings.decode_s = decode_start.elapsed().as_secs_f64();
        let media = self.messages[asked].media().map(|m| m.report()).collect();
        self.messages.push(PastMessage { role: Role::Assistant, parts: vec![PastPart::Text(text.clone())] });
        self.starts.push(read.reused);
        Ok(Answer {
            text,
            stop,
            prompt_tokens,
            cached_tokens: read.reused,
            answer_tokens: generation.tokens.len() - prompt_tokens,
            media,
            timings,
        })
    }

    /// Adds the turn's messages, its media measured.
    pub(super) fn push_turn(&mut self, turn: &Turn, options: &MediaOptions) -> Result<(), SessionError> {
        let mut parts = Vec::new();
        for part in &turn.parts {
            parts.push(match part {
                TurnPart::Text(t) => PastPart::Text(t.clone()),
                TurnPart::Medium(m, own) => {
                    let prepared =
                        PreparedMedium::new(m, own.as_ref().unwrap_or(options), &self.engine.patch_config()?)?;
                    PastPart::Medium(Arc::new(prepared))
                }
                TurnPart::Again(kept) => PastPart::Medium(kept.0.clone()),
            });
        }
        if let (true, Some(system)) = (self.messages.is_empty(), &turn.system) {
            self.messages.push(PastMessage { role: Role::System, parts: vec![PastPart::Text(system.clone())] });
        }
        self.messages.push(PastMessage { role: Role::User, parts });
        Ok(())
    }

    /// Where the sequence and an answer would not fit into the context, measures the last message's clips again, each
    /// with its share of what is left; those that were given a budget keep it. Whether anything changed.
    fn fit_clips(&mut self, sequence: &Sequence, answer_tokens: usize) -> Result<bool, SessionError> {
        let (text, media) = sequence.counts();
        let room = self.engine.ctx.saturating_sub(answer_tokens.min(self.engine.ctx / 4));
        let flexible =
            |message: &PastMessage| -> usize { message.media().filter(|m| m.can_shrink()).map(|m| m.tokens()).sum() };
        let Some(message) = self.messages.last_mut().filter(|m| text + media > room && flexible(m) > 0) else {
            return Ok(false);
        };
        let clips = flexible(message);
        let left = room.saturating_sub(text + media - clips);
        let config = self.engine.patch_config()?;
        for part in &mut message.parts {
            if let PastPart::Medium(medium) = part
                && medium.can_shrink()
            {
                let share = (left as u128 * medium.tokens() as u128 / clips as u128) as usize;
                // What can't be shrunk so far stays, and the error is about the context.
                if let Some(smaller) = medium.within(share, &config) {
                    *medium = Arc::new(smaller);
                }
            }
        }
        Ok(true)
    }

    pub(super) fn sequence(&self) -> Result<Sequence, SessionError> {
        let e = self.engine;
        Sequence::build(&self.messages, &e.template, &e.tokenizer, e.pads).map_err(|err| match err {
            BuildError::Text(t) => SessionError::Text(t),
            BuildError::Places => SessionError::MediaTokens {
                model: e.model_path().display().to_string(),
                problem: "its chat template or vocabulary leaves no place for pictures; it is a text-only model",
            },
        })
    }

    /// The sequence's length, if it leaves room for an answer.
    fn check_room(&self, sequence: &Sequence) -> Result<usize, SessionError> {
        let (text, media) = sequence.counts();
        let total = text + media;
        let limit = self.engine.ctx;
        if total >= limit { Err(SessionError::ContextFull { total, text, media, limit }) } else { Ok(total) }
    }

    /// Brings the KV cache to hold exactly `sequence`, computing only what it doesn't hold.
    pub(super) fn read(
        &mut self,
        sequence: &Sequence,
        on_event: &mut OnEvent<'_>,
        timings: &mut Timings,
    ) -> Result<Read, SessionError> {
        let keys = sequence.keys();
        let same = self.cached.iter().zip(&keys).take_while(|(a, b)| a == b).count();
        // The last token is read again even if it is held: its logits are needed.
        let reused = same.min(keys.len().saturating_sub(1));
        self.ensure_state()?;
        self.truncate(reused);
        let vision_start = Instant::now();
        let embeddings = self.encode_media(sequence, reused, on_event)?;
        timings.vision_s = vision_start.elapsed().as_secs_f64();
        let prefill_start = Instant::now();
        let tokens_per_second = 2.0;
        let (positions, next_position) = sequence.positions(tokens_per_second);
        let mut done = reused;
        let mut last_row = 0;
        while done < keys.len() {
            let n = CHUNK.min(keys.len() - done);
            let chunk = slice_sequence(sequence, &embeddings, done, n, self.engine.text.config().hidden_size);
            self.forward(&chunk, &positions[done..done + n], on_event)?;
            self.cached.extend_from_slice(&keys[done..done + n]);
            (done, last_row) = (done + n, n - 1);
            emit(on_event, Event::Prefill { done: done - reused, total: keys.len() - reused })?;
        }
        timings.prefill_s = prefill_start.elapsed().as_secs_f64();
        Ok(Read { reused, last_row, next_position, positions, embeddings })
    }

    pub(super) fn ensure_state(&mut self) -> Result<(), SessionError> {
        if self.state.is_none() {
            let e = self.engine;
            self.state = Some(e.text.new_state(&mut self.compute, e.kv_type, e.ctx, CHUNK.min(e.ctx))?);
        }
        Ok(())
    }

    pub(super) fn truncate(&mut self, len: usize) {
        self.cached.truncate(len);
        if let Some(state) = &mut self.state {
            state.truncate(len);
        }
    }

    /// The encodings of all media that reach beyond the first `reused` tokens.
    fn encode_media(
        &mut self,
        sequence: &Sequence,
        reused: usize,
        on_event: &mut OnEvent<'_>,
    ) -> Result<HashMap<MediaKey, Arc<Vec<f32>>>, SessionError> {
        let mut wanted = Vec::new();
        let mut at = 0;
        for run in &sequence.runs {
            match run {
                Run::Tokens(t) => at += t.len(),
                Run::Medium(m) => {
                    at += m.tokens();
                    if at > reused {
                        wanted.push(m.clone());
                    }
                }
            }
        }
        let total = wanted.len();
        let mut out = HashMap::new();
        for (index, medium) in wanted.iter().enumerate() {
            if !out.contains_key(medium.key()) {
                let data = self.encode(medium, (index, total), on_event)?;
                out.insert(medium.key().clone(), data);
            }
        }
        Ok(out)
    }

    /// Encodes medium `index` of `total`, unless its encoding is at hand.
    fn encode(
        &mut self,
        medium: &PreparedMedium,
        (index, total): (usize, usize),
        on_event: &mut OnEvent<'_>,
    ) -> Result<Arc<Vec<f32>>, SessionError> {
        if let Some(data) = self.media_cache.get(medium.encoding_key()) {
            return Ok(data);
        }
        let files = self.engine.media_files();
        if let Some(data) = files.and_then(|f| f.get(medium.encoding_key(), medium.tokens())) {
            let data = Arc::new(data);
            self.media_cache.insert(medium.encoding_key().clone(), data.clone());
            return Ok(data);
        }
        let vision = self.engine.vision()?;
        let width = vision.config().projection_dim;
        let mut data = Vec::with_capacity(medium.tokens() * width);
        let decoded = AtomicUsize::new(0);
        let mut progress = Progress { index, total, batch: 0, medium, decoded: &decoded, on_event };
        medium.for_each_batch(&self.engine.patch_config()?, &decoded, |pixels, grid| {
            data.extend(vision.encode(&mut self.compute, pixels, grid, &mut progress)?);
            progress.batch += 1;
            Ok(())
        })?;
        if let Some(files) = files {
            files.put(medium.encoding_key(), &data);
        }
        let data = Arc::new(data);
        self.media_cache.insert(medium.encoding_key().clone(), data.clone());
        Ok(data)
    }

    /// Reads one chunk after what the cache holds; the caller keeps `cached` in step.
    pub(super) fn forward(
        &mut self,
        chunk: &[ChunkInput<'_>],
        positions: &[Position],
        on_event: &mut OnEvent<'_>,
    ) -> Result<(), SessionError> {
        let state = self.state.as_mut().expect("a state is made before anything is read");
        let on_event = std::cell::RefCell::new(on_event);
        let keep_going = || on_event.borrow_mut()(Event::Tick).is_continue();
        Ok(self.engine.text.forward(&mut self.compute, state, chunk, positions, &keep_going)?)
    }

    /// Reads tokens that were generated, or may be, from `position` on.
    pub(super) fn forward_tokens(
        &mut self,
        tokens: &[u32],
        position: i64,
        on_event: &mut OnEvent<'_>,
    ) -> Result<(), SessionError> {
        let positions: Vec<Position> = (position..).take(tokens.len()).map(|p| [p; 3]).collect();
        self.forward(&[ChunkInput::Tokens(tokens)], &positions, on_event)?;
        self.cached.extend(tokens.iter().map(|&t| u64::from(t)));
        Ok(())
    }

    /// Logits of row `row` of the last chunk.
    pub(super) fn logits(&mut self, row: usize, out: &mut [f32]) {
        let state = self.state.as_mut().expect("a state is made before anything is read");
        self.engine.text.logits(&mut self.compute, state, row, out);
    }

    /// Logits of the first `rows` rows of the last chunk, `[rows, vocab]`; `out` grows to what is needed.
    pub(super) fn logits_of_first(&mut self, rows: usize, out: &mut Vec<f32>) {
        let text = &self.engine.text;
        out.resize(out.len().max(rows * text.vocab_size()), 0.0);
        let state = self.state.as_mut().expect("a state is made before anything is read");
        text.logits(&mut self.compute, state, 0, &mut out[..rows * text.vocab_size()]);
    }
}

/// What reading a sequence left behind.
pub(super) struct Read {
    /// Tokens that the cache held before.
    pub reused: usize,
    /// Row of the last token in its chunk.
    pub last_row: usize,
    pub next_position: i64,
    pub positions: Vec<Position>,
    pub embeddings: HashMap<MediaKey, Arc<Vec<f32>>>,
}

/// Tells the caller how far a medium's encoding is.
struct Progress<'a, 'b> {
    index: usize,
    total: usize,
    batch: usize,
    medium: &'a PreparedMedium,
    decoded: &'a AtomicUsize,
    on_event: &'a mut OnEvent<'b>,
}

impl VisionObserver for Progress<'_, '_> {
    fn stage(&mut self, done: Stage, n_blocks: usize) -> bool {
        let done = match done {
            Stage::PatchEmbed => 0,
            Stage::Block(i) => i + 1,
        };
        let (done, steps) = (self.batch * n_blocks + done, self.medium.n_batches() * n_blocks);
        let frames = self.medium.frames().map(|total| FrameProgress {
            decoded: self.decoded.load(Ordering::Relaxed),
            encoded: (self.batch * self.medium.frames_per_batch()).min(total),
            total,
        });
        let event = Event::Encoding { index: self.index, total: self.total, done, steps, frames };
        (self.on_event)(event).is_continue()
    }
}

fn emit(on_event: &mut OnEvent<'_>, event: Event<'_>) -> Result<(), SessionError> {
    if on_event(event).is_break() { Err(ModelError::Interrupted.into()) } else { Ok(()) }
}

/// Tokens `start..start + n` of the sequence as the model takes them.
fn slice_sequence<'a>(
    sequence: &'a Sequence,
    embeddings: &'a HashMap<MediaKey, Arc<Vec<f32>>>,
    start: usize,
    n: usize,
    hidden: usize,
) -> Vec<ChunkInput<'a>> {
    let mut out = Vec::new();
    let mut at = 0;
    for run in &sequence.runs {
        let len = match run {
            Run::Tokens(t) => t.len(),
            Run::Medium(m) => m.tokens(),
        };
        let from = start.clamp(at, at + len) - at;
        let to = (start + n).clamp(at, at + len) - at;
        if from < to {
            out.push(match run {
                Run::Tokens(t) => ChunkInput::Tokens(&t[from..to]),
                Run::Medium(m) => ChunkInput::Embeddings(&embeddings[m.key()][from * hidden..to * hidden]),
            });
        }
        at += len;
    }
    out
}
