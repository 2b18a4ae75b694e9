//! Runs whose every number is kept, for comparisons with the original implementation.

use std::ops::ControlFlow;

use super::conversation::{CHUNK, OnEvent, Session, Timings};
use super::error::SessionError;
use super::medium::MediaOptions;
use super::prompt::{Run, Turn};
use crate::model::{ChunkInput, Position};

/// Everything that a comparison with the original needs.
#[derive(Clone, Debug, Default)]
pub struct TraceOutput {
    /// `[n]`
    pub prompt_tokens: Vec<u32>,
    /// `[n]`, each (t, h, w).
    pub positions: Vec<Position>,
    /// The vision tower's output for all media, `[tokens, H]`.
    pub vision_out: Vec<f32>,
    /// Width of `vision_out`.
    pub hidden_size: usize,
    /// The logits from which each token was chosen, `[steps, vocab]`.
    pub logits: Vec<f32>,
    /// The tokens, forced ones where they were forced.
    pub tokens: Vec<u32>,
}

impl Session<'_> {
    /// Runs `steps` greedy steps after `turn` and keeps all numbers. End tokens don't end it; `forced` tokens are fed
    /// instead of the chosen ones. The conversation must be empty, and is left in an unspecified state.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub fn trace(
        &mut self,
        turn: &Turn,
        media: &MediaOptions,
        steps: usize,
        forced: &[u32],
    ) -> Result<TraceOutput, SessionError> {
        let on_event: &mut OnEvent<'_> = &mut |_| ControlFlow::Continue(());
        self.push_turn(turn, media)?;
        let sequence = self.sequence()?;
        let (text, media) = sequence.counts();
        let (total, limit) = (text + media + steps, self.engine.ctx);
        if total > limit {
            return Err(SessionError::ContextFull { total, text: text + steps, media, limit });
        }
        let read = self.read(&sequence, on_event, &mut Timings::default())?;
        let mut out = TraceOutput {
            prompt_tokens: sequence.ids(self.engine.pads),
            positions: read.positions,
            hidden_size: self.engine.text.config().hidden_size,
            ..TraceOutput::default()
        };
        for run in &sequence.runs {
            if let Run::Medium(m) = run {
                out.vision_out.extend_from_slice(&read.embeddings[m.key()]);
            }
        }
        let mut logits = vec![0.0; self.engine.text.vocab_size()];
        let mut row = read.last_row;
        for step in 0..steps {
            self.logits(row, &mut logits);
            out.logits.extend_from_slice(&logits);
            let token = forced.get(step).copied().unwrap_or_else(|| super::sampler::argmax(&logits));
            out.tokens.push(token);
            if step + 1 < steps {
                self.forward_tokens(&[token], read.next_position + step as i64, on_event)?;
                row = 0;
            }
        }
        Ok(out)
    }

    /// Logits of every token of a text-only prompt, `[n, vocab]`, for comparisons.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub fn prompt_logits(&mut self, turn: &Turn) -> Result<Vec<f32>, SessionError> {
        self.push_turn(turn, &MediaOptions::default())?;
        let sequence = self.sequence()?;
        self.ensure_state()?;
        self.truncate(0);
        let (positions, _) = sequence.positions(2.0);
        let ids = sequence.ids(self.engine.pads);
        let vocab = self.engine.text.vocab_size();
        let mut out = vec![0.0; ids.len() * vocab];
        for (ids, (positions, out)) in ids.chunks(CHUNK).zip(positions.chunks(CHUNK).zip(out.chunks_mut(CHUNK * vocab)))
        {
            self.forward(&[ChunkInput::Tokens(ids)], positions, &mut |_| ControlFlow::Continue(()))?;
            self.cached.extend(ids.iter().map(|&id| u64::from(id)));
            for (row, out) in out.chunks_mut(vocab).enumerate() {
                self.logits(row, out);
            }
        }
        Ok(out)
    }
}
