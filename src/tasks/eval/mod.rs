//! What does a smaller type cost? Perplexity of a model over a text, and how far it strays from another one: over a text, or
//! while answering questions about pictures.
//!
//! Two models read in step, a few tokens at a time, and each row of logits is compared and dropped: memory doesn't grow with
//! the text.

mod measure;
mod question;
mod text;

pub use measure::{Mean, percentile};
pub use question::{Answered, answer};
pub use text::{Chunks, over_text};

use crate::session::{Engine, SessionError};
use measure::{LogSum, divergence, log_probability, log_sum};

/// An evaluation that can't be made.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// A model can't read it.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The text is too short.
    #[error("the text has {found} tokens; at least {needed} are needed (lower --ctx, or take a longer text)")]
    Short {
        /// Its tokens.
        found: usize,
        /// A chunk's.
        needed: usize,
    },
    /// The models don't read the same tokens.
    #[error("{model} and {base} have different vocabularies: their tokens can't be compared")]
    Vocabulary {
        /// The model.
        model: String,
        /// The one that it is compared with.
        base: String,
    },
    /// A model computes nonsense.
    #[error("{model}: a logit is not a finite number; the file is damaged")]
    NotFinite {
        /// The model.
        model: String,
    },
}

/// What was found so far.
#[derive(Clone, Debug, Default)]
pub struct Scores {
    /// Negative log-likelihood of the tokens, in nats.
    pub loss: Mean,
    /// The same of the model that it is compared with.
    pub base_loss: Mean,
    /// What the token's log-likelihood is less than the base's.
    pub loss_difference: Mean,
    /// KL divergence from the base at each token, in nats.
    pub divergences: Vec<f64>,
    /// The same, as a mean.
    pub divergence: Mean,
    /// 1 where both find the same token the likeliest, else 0.
    pub same_top: Mean,
    /// The token's probability, less the base's.
    pub probability_change: Mean,
}

impl Scores {
    /// Takes a row of logits, and the token that followed.
    fn one(&mut self, model: &Engine, logits: &[f32], token: u32) -> Result<(), EvalError> {
        self.loss.add(-log_probability(logits, summed(model, logits)?, token as usize));
        Ok(())
    }

    /// Takes both models' rows of logits, and the token that followed.
    fn both(&mut self, pair: Pair<'_>, found: &[f32], wanted: &[f32], token: u32) -> Result<(), EvalError> {
        let (f, b) = (summed(pair.model, found)?, summed(pair.base, wanted)?);
        let [own, base] = [(found, f), (wanted, b)].map(|(row, sums)| log_probability(row, sums, token as usize));
        self.loss.add(-own);
        self.base_loss.add(-base);
        self.loss_difference.add(base - own);
        self.probability_change.add(own.exp() - base.exp());
        self.same_top.add(f64::from(u8::from(f.top == b.top)));
        let kl = divergence((wanted, b), (found, f));
        self.divergence.add(kl);
        self.divergences.push(kl);
        Ok(())
    }
}

fn summed(engine: &Engine, logits: &[f32]) -> Result<LogSum, EvalError> {
    log_sum(logits).ok_or_else(|| EvalError::NotFinite { model: engine.model_path().display().to_string() })
}

/// A model, and the one that it is compared with.
#[derive(Clone, Copy)]
pub struct Pair<'e> {
    /// The model that is judged.
    pub model: &'e Engine,
    /// What it should be like, usually the same model unquantized.
    pub base: &'e Engine,
}

impl<'e> Pair<'e> {
    /// Two models that can be compared: of one vocabulary.
    ///
    /// # Errors
    /// They aren't.
    pub fn new(model: &'e Engine, base: &'e Engine) -> Result<Pair<'e>, EvalError> {
        let (m, b) = (model.tokenizer(), base.tokenizer());
        let size = |e: &Engine| (e.language().vocab_size(), e.tokenizer().vocab_size());
        let same = |id| m.token_bytes(id) == b.token_bytes(id) && m.kind(id) == b.kind(id);
        if size(model) == size(base) && (0..m.vocab_size() as u32).all(same) {
            return Ok(Pair { model, base });
        }
        let name = |e: &Engine| e.model_path().display().to_string();
        Err(EvalError::Vocabulary { model: name(model), base: name(base) })
    }
}
