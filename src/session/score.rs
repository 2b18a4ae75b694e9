//! Reading without answering: the model's opinion of tokens that are given.

use super::conversation::{CHUNK, OnEvent, Session, Timings};
use super::error::SessionError;
use super::medium::MediaOptions;
use super::prompt::Turn;
use crate::model::{ChunkInput, Position};

/// How far a prompt has been read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Tokens of the prompt, pictures and clips included.
    pub prompt_tokens: usize,
    /// Of those, tokens of pictures and clips.
    pub media_tokens: usize,
    next_position: i64,
    /// Of the last token, in the chunk that was read last.
    row: usize,
}

impl Session<'_> {
    /// Most tokens that [`Session::read_tokens`] takes at a time.
    pub const MOST_AT_ONCE: usize = CHUNK;

    /// Forgets what was read; the next tokens are the first.
    ///
    /// # Errors
    /// There is no memory for the KV cache.
    pub fn start_over(&mut self) -> Result<(), SessionError> {
        self.ensure_state()?;
        self.truncate(0);
        Ok(())
    }

    /// Reads tokens after those read since [`Session::start_over`], without a template.
    ///
    /// # Errors
    /// As [`Session::ask`]; among them [`SessionError::ContextFull`].
    ///
    /// # Panics
    /// There are none, or more than [`Session::MOST_AT_ONCE`], or nothing was started.
    pub fn read_tokens(&mut self, ids: &[u32], on_event: &mut OnEvent<'_>) -> Result<(), SessionError> {
        let (start, limit) = (self.cached.len(), self.engine.ctx);
        let total = start + ids.len();
        if total > limit {
            return Err(SessionError::ContextFull { total, text: total, media: 0, limit });
        }
        let positions: Vec<Position> = (start..total).map(|at| [at as i64; 3]).collect();
        self.forward(&[ChunkInput::Tokens(ids)], &positions, on_event)?;
        self.cached.extend(ids.iter().map(|&id| u64::from(id)));
        Ok(())
    }

    /// Logits after each of the tokens from `first` on of those read last, `[tokens, vocab]`, as many as `out` takes.
    ///
    /// # Errors
    /// There is no memory for them.
    ///
    /// # Panics
    /// `out` isn't a whole number of vocabularies long, or reaches beyond the tokens read at once.
    pub fn logits_after(&mut self, first: usize, out: &mut [f32]) -> Result<(), SessionError> {
        let state = self.state.as_mut().expect("a state is made before anything is read");
        Ok(self.engine.text.logits_of(&mut self.compute, state, first, out)?)
    }

    /// Reads a question up to where its answer begins, with room for `answer` tokens. The conversation must be empty, and
    /// is so again afterwards.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub fn read_question(
        &mut self,
        turn: &Turn,
        media: &MediaOptions,
        answer: usize,
        on_event: &mut OnEvent<'_>,
    ) -> Result<Reading, SessionError> {
        let sequence = self.push_turn(turn, media).and_then(|()| self.sequence());
        self.messages.clear();
        let sequence = sequence?;
        let (text, media_tokens) = sequence.counts();
        let (total, limit) = (text + media_tokens + answer, self.engine.ctx);
        if total > limit {
            return Err(SessionError::ContextFull { total, text: text + answer, media: media_tokens, limit });
        }
        let read = self.read(&sequence, on_event, &mut Timings::default())?;
        let (next_position, row) = (read.next_position, read.last_row);
        Ok(Reading { prompt_tokens: text + media_tokens, media_tokens, next_position, row })
    }

    /// Logits of the token to come, `[vocab]`.
    ///
    /// # Panics
    /// `out` has another length.
    pub fn logits_next(&mut self, reading: &Reading, out: &mut [f32]) {
        self.logits(reading.row, out);
    }

    /// Reads one token of an answer.
    ///
    /// # Errors
    /// As [`Session::ask`].
    ///
    /// # Panics
    /// There is no room for it.
    pub fn read_answer_token(
        &mut self,
        reading: &mut Reading,
        token: u32,
        on_event: &mut OnEvent<'_>,
    ) -> Result<(), SessionError> {
        self.forward_tokens(&[token], reading.next_position, on_event)?;
        reading.next_position += 1;
        reading.row = 0;
        Ok(())
    }
}
