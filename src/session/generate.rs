//! The loop that makes an answer, token by token.

use std::ops::ControlFlow;

use super::constraint::Constraint;
use super::conversation::{Event, Session, StopReason};
use super::error::SessionError;
use super::lookup::{Lookup, Proposer};
use super::sampler::Sampler;
use crate::model::FEW_TOKENS;
use crate::text::Utf8Stream;

/// An answer in the making.
pub(super) struct Generation {
    /// The prompt's tokens and those generated so far.
    pub tokens: Vec<u32>,
    /// Position of the first generated token.
    pub next_position: i64,
    pub sampler: Sampler,
    pub max_tokens: usize,
    /// Logits of the tokens to come, `[1 + guesses, vocab]`: of the next one, and of those after guesses that were read
    /// with the last one.
    pub logits: Vec<f32>,
    /// Whether to guess at tokens that repeat what was said before.
    pub lookup: bool,
    /// What the answer is held to.
    pub constraint: Option<Constraint>,
}

/// Tokens that have been read before they were chosen.
#[derive(Default)]
struct Ahead {
    guesses: Vec<u32>,
    /// How many of them have been chosen since.
    right: usize,
}

impl Generation {
    /// Generates until an end token, a limit, or the caller's word.
    pub fn run(
        &mut self,
        session: &mut Session<'_>,
        on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(String, StopReason), SessionError> {
        if let Some(mut constraint) = self.constraint.take() {
            return self.run_held(&mut constraint, session, on_event);
        }
        let engine = session.engine;
        let vocab = engine.text.vocab_size();
        let may_follow = |token| !engine.tokenizer.is_special(token);
        let mut lookup = self.lookup.then(|| Lookup::new(&may_follow));
        let mut proposers: Vec<&mut dyn Proposer> = lookup.iter_mut().map(|l| l as &mut dyn Proposer).collect();
        let mut text = String::new();
        let mut stream = Utf8Stream::default();
        let (mut made, mut ahead) = (0, Ahead::default());
        let stop = loop {
            if made >= self.max_tokens {
                break StopReason::MaxTokens;
            }
            let token = self.sampler.sample(&self.logits[ahead.right * vocab..][..vocab], &self.tokens);
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
            if ahead.guesses.get(ahead.right) == Some(&token) {
                // It has been read already, and what comes after it is known.
                ahead.right += 1;
                continue;
            }
            let left = (self.max_tokens - made).min(engine.ctx - self.tokens.len());
            self.guess(&mut proposers, &mut ahead, left);
            let position = self.next_position + made as i64 - 1;
            match self.read_on(session, position, &ahead.guesses, on_event) {
                Ok(()) => {}
                Err(SessionError::Interrupted) => break StopReason::Interrupted,
                Err(e) => return Err(e),
            }
        };
        session.truncate(self.tokens.len());
        let rest = stream.finish();
        text.push_str(rest);
        if !rest.is_empty() {
            // The answer is over: there is nothing left to stop.
            let _ = on_event(Event::Text(rest));
        }
        Ok((text, stop))
    }

    /// Has the last guesses judged, and asks for new ones: the first proposer that has any is taken.
    fn guess(&self, proposers: &mut [&mut dyn Proposer], ahead: &mut Ahead, left: usize) {
        let Ahead { guesses, right } = ahead;
        let before = guesses.len();
        guesses.clear();
        let most = left.min(FEW_TOKENS - 1);
        for p in proposers {
            if before > 0 {
                p.judge(before, *right);
            }
            if guesses.is_empty() {
                p.propose(&self.tokens, most, guesses);
                guesses.truncate(most);
            }
        }
        *right = 0;
    }

    /// Reads the token that was chosen last, and guesses at those after it.
    fn read_on(
        &mut self,
        session: &mut Session<'_>,
        position: i64,
        guesses: &[u32],
        on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<(), SessionError> {
        // Guesses that turned out wrong are taken back.
        session.truncate(self.tokens.len() - 1);
        let chosen = self.tokens.len() - 1..;
        let batch: Vec<u32> = self.tokens[chosen].iter().chain(guesses).copied().collect();
        session.forward_tokens(&batch, position, on_event)?;
        session.logits_of_first(batch.len(), &mut self.logits);
        Ok(())
    }
}
