//! The loop that makes an answer, token by token.

use std::ops::ControlFlow;

use super::conversation::{Event, Session, StopReason};
use super::error::SessionError;
use super::sampler::Sampler;
use crate::text::Utf8Stream;

/// An answer in the making.
pub(super) struct Generation {
    /// The prompt's tokens and those generated so far.
    pub tokens: Vec<u32>,
    /// Position of the first generated token.
    pub next_position: i64,
    pub sampler: Sampler,
    pub max_tokens: usize,
    /// Logits of the token to come, `[vocab]`.
    pub logits: Vec<f32>,
}

impl Generation {
    /// Generates until an end token, a limit, or the caller's word.
    pub fn run(
        &mut self,
        session: &mut Session<'_>,
        on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(String, StopReason), SessionError> {
        let engine = session.engine;
        let mut text = String::new();
        let mut stream = Utf8Stream::default();
        let mut made = 0;
        let stop = loop {
            if made >= self.max_tokens {
                break StopReason::MaxTokens;
            }
            let token = self.sampler.sample(&self.logits, &self.tokens);
            if engine.tokenizer.eos_ids().contains(&token) {
                break StopReason::End;
            }
            self.tokens.push(token);
            made += 1;
            let bytes = if engine.tokenizer.is_special(token) { None } else { engine.tokenizer.token_bytes(token) };
            let piece = stream.push(bytes.unwrap_or_default());
            text.push_str(piece);
            if !piece.is_empty() && on_event(Event::Text(piece)).is_break() {
                break StopReason::Interrupted;
            }
            if self.tokens.len() >= engine.ctx {
                break StopReason::ContextFull;
            }
            match session.forward_token(token, self.next_position + made as i64 - 1, on_event) {
                Ok(()) => session.logits(0, &mut self.logits),
                Err(SessionError::Interrupted) => break StopReason::Interrupted,
                Err(e) => return Err(e),
            }
        };
        let rest = stream.finish();
        text.push_str(rest);
        if !rest.is_empty() {
            // The answer is over: there is nothing left to stop.
            let _ = on_event(Event::Text(rest));
        }
        Ok((text, stop))
    }
}
