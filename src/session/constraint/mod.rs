//! Holding an answer to a grammar: the model can't produce anything else.
//!
//! Which tokens may come next is computed beside the forward pass, on a thread of its own; tokens that the grammar forces
//! are taken without asking the model, and read several at a time. Where tokens run out, the answer is brought to an end
//! that the grammar allows, for which the model isn't asked either.

mod ahead;
mod finish;
mod grammar;
mod nesting;
mod schema;
mod vocabulary;

#[cfg(test)]
mod tests;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};

use llguidance::Matcher;
use llguidance::toktrie::{SimpleVob, TokenId};

pub use grammar::{Grammar, GrammarError, MAX_GRAMMAR_BYTES};
pub use schema::{SchemaError, SchemaProblem};

use super::error::SessionError;
use crate::text::{Quoted, Tokenizer};
use finish::About;
use grammar::{STACK_BYTES, tidy};
use nesting::Nesting;
pub(super) use vocabulary::Vocabulary;

/// Arrays and objects within each other: readers of JSON give up at 128.
const MAX_NESTING: usize = 100;

/// The vocabulary of an engine, made when it is first needed.
pub(super) type SharedVocabulary = Arc<OnceLock<Result<Vocabulary, Quoted>>>;

/// An answer's grammar, and how far the answer is in it.
pub(super) struct Constraint {
    grammar: Arc<Grammar>,
    vocabulary: SharedVocabulary,
    matcher: Option<Matcher>,
    to_worker: Sender<Matcher>,
    from_worker: Receiver<Result<Work, Quoted>>,
    nesting: Nesting,
}

struct Work {
    matcher: Matcher,
    /// The tokens that may come next, where that was asked.
    allowed: Option<Result<SimpleVob, Quoted>>,
}

impl Constraint {
    /// Starts to make the grammar ready for the vocabulary, beside whatever else is done.
    ///
    /// # Errors
    /// There is no thread to spare.
    pub fn start(
        grammar: Arc<Grammar>,
        vocabulary: SharedVocabulary,
        tokenizer: Arc<Tokenizer>,
    ) -> Result<Constraint, SessionError> {
        let (to_worker, jobs) = channel::<Matcher>();
        let (results, from_worker) = channel();
        let (compiled, shared) = (grammar.clone(), vocabulary.clone());
        let work = move || {
            let first = begin(&compiled, &shared, tokenizer);
            let ready = first.is_ok();
            if results.send(first).is_err() || !ready {
                return;
            }
            while let Ok(mut matcher) = jobs.recv() {
                let allowed = matcher.compute_mask_or_eos().map_err(|e| Quoted::new(tidy(&e.to_string())));
                if results.send(Ok(Work { matcher, allowed: Some(allowed) })).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("grammar".to_owned()).stack_size(STACK_BYTES);
        thread.spawn(work).map_err(|e| GrammarError::Thread(e.to_string()))?;
        let nesting = Nesting::default();
        Ok(Constraint { grammar, vocabulary, matcher: None, to_worker, from_worker, nesting })
    }

    /// What the grammar forces at the very beginning, at most `left` tokens.
    ///
    /// # Errors
    /// The grammar can't be used with this vocabulary.
    pub fn begin(&mut self, left: usize) -> Result<Vec<TokenId>, SessionError> {
        self.wait()?;
        self.forced(left)
    }

    /// Starts to compute which tokens may come next.
    pub fn look_ahead(&mut self) {
        if let Some(matcher) = self.matcher.take() {
            // If the worker is gone, waiting for it says so.
            let _ = self.to_worker.send(matcher);
        }
    }

    /// Makes all tokens that may not come next impossible: of the logits `[vocab]`, theirs become -∞. Waits for what
    /// [`Constraint::look_ahead`] began.
    ///
    /// # Errors
    /// The answer has led the grammar beyond its limits of work.
    pub fn restrict(&mut self, logits: &mut [f32]) -> Result<(), SessionError> {
        let Some(allowed) = self.wait()? else { return Err(stuck("it was not asked what may come")) };
        let allowed = allowed.map_err(|problem| SessionError::Stuck { problem })?;
        let mut possible = false;
        for (i, logits) in logits.chunks_mut(32).enumerate() {
            let bits = allowed.as_slice().get(i).copied().unwrap_or(0);
            for (bit, logit) in logits.iter_mut().enumerate() {
                if bits >> bit & 1 == 0 {
                    *logit = f32::NEG_INFINITY;
                } else {
                    possible |= logit.is_finite();
                }
            }
        }
        // A model whose numbers are broken chooses nothing; the grammar still does.
        if let (false, Some(first)) = (possible, allowed.iter().next()) {
            logits[first as usize] = 0.0;
        }
        Ok(())
    }

    /// Goes on with a token that was chosen. Returns those that the grammar forces after it, at most `left`, which have been
    /// taken too.
    ///
    /// # Errors
    /// As [`Constraint::restrict`].
    pub fn take(&mut self, token: TokenId, left: usize) -> Result<Vec<TokenId>, SessionError> {
        self.consume(token)?;
        self.forced(left)
    }

    /// Whether the answer is complete, so that nothing may follow.
    pub fn is_complete(&self) -> bool {
        self.matcher.as_ref().is_some_and(|matcher| matcher.is_stopped() && !matcher.is_error())
    }

    /// Whether it has to be brought to an end, lest nobody can read it.
    pub fn is_too_deep(&self) -> bool {
        self.grammar.is_json() && self.nesting.depth > MAX_NESTING
    }

    /// Tokens that complete the answer; `None` where none are found.
    pub fn finish(&mut self) -> Option<Vec<TokenId>> {
        if self.matcher.is_none() {
            self.wait().ok()?;
        }
        let (Some(matcher), Some(Ok(vocabulary))) = (&self.matcher, self.vocabulary.get()) else { return None };
        let patterns = self.grammar.patterns();
        let about = About { is_json: self.grammar.is_json(), nesting: self.nesting, patterns: &patterns };
        finish::ending(matcher, vocabulary, &about)
    }

    fn forced(&mut self, left: usize) -> Result<Vec<TokenId>, SessionError> {
        let Some(matcher) = self.matcher.as_mut().filter(|matcher| !matcher.is_stopped()) else {
            return Ok(Vec::new());
        };
        let mut forced = matcher.compute_ff_tokens();
        forced.truncate(left);
        forced.iter().try_for_each(|&token| self.consume(token))?;
        Ok(forced)
    }

    fn consume(&mut self, token: TokenId) -> Result<(), SessionError> {
        let Some(matcher) = &mut self.matcher else { return Err(stuck("it is still at work")) };
        matcher.consume_token(token).map_err(|e| stuck(tidy(&e.to_string())))?;
        if let Some(Ok(vocabulary)) = self.vocabulary.get()
            && !vocabulary.env.trie.is_special_token(token)
        {
            self.nesting.read(vocabulary.env.trie.token(token));
        }
        Ok(())
    }

    /// Takes the matcher back from the worker.
    fn wait(&mut self) -> Result<Option<Result<SimpleVob, Quoted>>, SessionError> {
        let work = self.from_worker.recv().map_err(|_| stuck("its thread has ended"))?;
        let Work { matcher, allowed } = work.map_err(|problem| GrammarError::Text { problem })?;
        self.matcher = Some(matcher);
        Ok(allowed)
    }
}

/// Makes the vocabulary and the grammar ready.
fn begin(grammar: &Grammar, shared: &SharedVocabulary, tokenizer: Arc<Tokenizer>) -> Result<Work, Quoted> {
    let vocabulary = shared.get_or_init(|| Vocabulary::new(tokenizer)).as_ref().map_err(Clone::clone)?;
    let tags = grammar.tags();
    let special = !tags.is_empty() && tags.iter().all(|tag| vocabulary.env.trie.get_special_token(tag).is_some());
    let matcher = Matcher::new(vocabulary.factory.create_parser(grammar.for_engine(special)));
    match matcher.get_error() {
        Some(problem) => Err(Quoted::new(tidy(&problem))),
        None => Ok(Work { matcher, allowed: None }),
    }
}

fn stuck(problem: &str) -> SessionError {
    SessionError::Stuck { problem: Quoted::new(problem) }
}
