//! The loop that makes an answer of a given form, several tokens at a time where the grammar forces them.

use std::ops::ControlFlow;

use super::constraint::Constraint;
use super::conversation::{CHUNK, Event, Session, StopReason};
use super::engine::Engine;
use super::error::SessionError;
use super::generate::Generation;
use crate::text::{Tokenizer, Utf8Stream};

/// What an answer goes on with.
enum Next {
    /// These tokens.
    Tokens(Vec<u32>),
    /// Nothing; these complete it where it was cut off.
    End(StopReason, Vec<u32>),
}

impl Generation {
    /// Generates until the grammar or the model ends it, a limit, or the caller's word.
    pub(super) fn run_held(
        &mut self,
        constraint: &mut Constraint,
        session: &mut Session<'_>,
        on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(String, StopReason), SessionError> {
        let mut said =
            Words { tokenizer: &session.engine.tokenizer, text: String::new(), stream: Utf8Stream::default() };
        let prompt = self.tokens.len();
        let stop = loop {
            let made = self.tokens.len() - prompt;
            let tokens = match self.next(constraint, made, session.engine)? {
                Next::Tokens(tokens) => tokens,
                Next::End(stop, rest) => {
                    self.tokens.extend_from_slice(&rest);
                    // The answer is over: there is nothing left to stop.
                    let _ = said.say(&rest, on_event);
                    break stop;
                }
            };
            self.tokens.extend_from_slice(&tokens);
            if said.say(&tokens, on_event).is_break() {
                break StopReason::Interrupted;
            }
            if constraint.is_complete() {
                break StopReason::End;
            }
            constraint.look_ahead();
            if self.tokens.len() >= session.engine.ctx {
                continue;
            }
            match self.read(session, &tokens, self.next_position + made as i64, on_event) {
                Ok(()) => {}
                Err(SessionError::Interrupted) => break StopReason::Interrupted,
                Err(e) => return Err(e),
            }
        };
        let _ = said.end(on_event);
        Ok((said.text, stop))
    }

    /// Reads tokens, the first at `position`, and leaves the logits of what comes after them.
    fn read(
        &mut self,
        session: &mut Session<'_>,
        tokens: &[u32],
        position: i64,
        on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), SessionError> {
        let mut row = 0;
        for (n, tokens) in tokens.chunks(CHUNK).enumerate() {
            session.forward_tokens(tokens, position + (n * CHUNK) as i64, on_event)?;
            row = tokens.len() - 1;
        }
        session.logits(row, &mut self.logits);
        Ok(())
    }

    /// The tokens that come after `made` ones.
    fn next(&mut self, constraint: &mut Constraint, made: usize, engine: &Engine) -> Result<Next, SessionError> {
        let room = engine.ctx - self.tokens.len().min(engine.ctx);
        let left = room.min(self.max_tokens - made.min(self.max_tokens));
        if made == 0 {
            let forced = constraint.begin(left)?;
            if !forced.is_empty() {
                return Ok(Next::Tokens(forced));
            }
            constraint.look_ahead();
        }
        if left == 0 || constraint.is_too_deep() {
            let stop = if room == 0 { StopReason::ContextFull } else { StopReason::MaxTokens };
            let rest = constraint.finish().ok_or(SessionError::Unfinished { tokens: made })?;
            return Ok(Next::End(stop, rest));
        }
        constraint.restrict(&mut self.logits)?;
        let token = self.sampler.sample(&self.logits, &self.tokens);
        if engine.tokenizer.eos_ids().contains(&token) {
            return Ok(Next::End(StopReason::End, Vec::new()));
        }
        let mut tokens = vec![token];
        tokens.extend(constraint.take(token, left - 1)?);
        Ok(Next::Tokens(tokens))
    }
}

/// What has been said.
struct Words<'a> {
    tokenizer: &'a Tokenizer,
    text: String,
    stream: Utf8Stream,
}

impl Words<'_> {
    /// Tells the words of these tokens.
    fn say(&mut self, tokens: &[u32], on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut piece = String::new();
        for &token in tokens {
            let bytes = if self.tokenizer.is_special(token) { None } else { self.tokenizer.token_bytes(token) };
            piece.push_str(self.stream.push(bytes.unwrap_or_default()));
        }
        self.text.push_str(&piece);
        if piece.is_empty() { ControlFlow::Continue(()) } else { on_event(Event::Text(&piece)) }
    }

    /// Tells what is left of a character that never became whole.
    fn end(&mut self, on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        let rest = self.stream.finish();
        self.text.push_str(rest);
        if rest.is_empty() { ControlFlow::Continue(()) } else { on_event(Event::Text(rest)) }
    }
}
