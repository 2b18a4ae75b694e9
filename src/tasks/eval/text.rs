//! Over a text: cut into chunks, each read from an empty context; its second half is scored, where there is enough before
//! each token to tell it by. As llama.cpp's perplexity tool does it.

use std::ops::ControlFlow;

use super::{EvalError, Pair, Scores};
use crate::session::{Engine, Event, Session};

/// Rows of logits that are held at a time.
const ROWS: usize = 4;

/// How a text is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// Tokens in a chunk.
    pub tokens: usize,
    /// How many chunks.
    pub count: usize,
}

impl Chunks {
    /// Cuts a text of `found` tokens into chunks of `tokens`, at most `most` of them; what is left over isn't read.
    ///
    /// # Errors
    /// There are too few tokens for one.
    pub fn of(found: usize, tokens: usize, most: Option<usize>) -> Result<Chunks, EvalError> {
        let needed = tokens.max(4);
        match found / needed {
            0 => Err(EvalError::Short { found, needed }),
            count => Ok(Chunks { tokens: needed, count: count.min(most.unwrap_or(usize::MAX)).max(1) }),
        }
    }

    /// The first token of a chunk after which the next one is guessed for the score.
    fn first_scored(self) -> usize {
        self.tokens / 2
    }

    /// Tokens that are scored in all.
    pub fn scored(self) -> usize {
        self.count * (self.tokens - 1 - self.first_scored())
    }
}

/// Reads the chunks with a model and, in step with it, with the base where there is one. `watch` is told after each step how
/// many tokens have been read, and may stop it: then the scores are those of the tokens until then.
///
/// # Errors
/// A model can't read them.
///
/// # Panics
/// `ids` is shorter than the chunks together.
pub fn over_text(
    model: &Engine,
    pair: Option<Pair<'_>>,
    ids: &[u32],
    chunks: Chunks,
    watch: &mut dyn FnMut(usize, &Scores) -> ControlFlow<()>,
) -> Result<Scores, EvalError> {
    let mut scores = Scores::default();
    let mut own = model.new_session();
    let mut base = pair.map(|p| p.base.new_session());
    for (c, chunk) in ids.chunks(chunks.tokens).take(chunks.count).enumerate() {
        own.start_over()?;
        if let Some(base) = &mut base {
            base.start_over()?;
        }
        for (s, step) in chunk.chunks(Session::MOST_AT_ONCE).enumerate() {
            let start = s * Session::MOST_AT_ONCE;
            own.read_tokens(step, &mut |_: Event<'_>| ControlFlow::Continue(()))?;
            if let Some(base) = &mut base {
                base.read_tokens(step, &mut |_: Event<'_>| ControlFlow::Continue(()))?;
            }
            // Each token but the last tells the one after it.
            let first = chunks.first_scored().saturating_sub(start);
            let last = step.len().min(chunk.len() - 1 - start);
            let mut both = Rows { model, pair, own: &mut own, base: base.as_mut(), scores: &mut scores };
            for row in (first..last).step_by(ROWS) {
                let n = ROWS.min(last - row);
                both.score(row, &chunk[start + row + 1..][..n])?;
            }
            if watch(c * chunks.tokens + start + step.len(), &scores).is_break() {
                return Ok(scores);
            }
        }
    }
    Ok(scores)
}

/// Both models after a step.
struct Rows<'a, 'e> {
    model: &'e Engine,
    pair: Option<Pair<'e>>,
    own: &'a mut Session<'e>,
    base: Option<&'a mut Session<'e>>,
    scores: &'a mut Scores,
}

impl Rows<'_, '_> {
    /// Scores the tokens that follow the step's tokens from `row` on.
    fn score(&mut self, row: usize, next: &[u32]) -> Result<(), EvalError> {
        let vocab = self.model.language().vocab_size();
        let mut own = vec![0.0; next.len() * vocab];
        self.own.logits_after(row, &mut own)?;
        let (Some(pair), Some(base)) = (self.pair, self.base.as_mut()) else {
            return own.chunks(vocab).zip(next).try_for_each(|(x, &token)| self.scores.one(self.model, x, token));
        };
        let mut wanted = vec![0.0; next.len() * vocab];
        base.logits_after(row, &mut wanted)?;
        let rows = own.chunks(vocab).zip(wanted.chunks(vocab)).zip(next);
        for ((found, wanted), &token) in rows {
            self.scores.both(pair, found, wanted, token)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_half_of_each_chunk_is_scored() {
        let chunks = Chunks::of(1100, 512, None).expect("enough");
        assert_eq!(chunks, Chunks { tokens: 512, count: 2 });
        assert_eq!(chunks.scored(), 2 * 255);
        assert_eq!(Chunks::of(1100, 512, Some(1)).expect("enough").count, 1);
        assert!(matches!(Chunks::of(511, 512, None), Err(EvalError::Short { found: 511, needed: 512 })));
    }
}
