//! What a text has to hold before it can be closed, where one byte more makes no visible difference: `a+b` anywhere in it.
//!
//! Two sources, the cheap one first: words that match the patterns of the schema, and all short runs of bytes.

use llguidance::Matcher;
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::TokenId;

use super::finish::{About, ending};
use super::vocabulary::Vocabulary;

/// Words that are tried, at most.
const MAX_WORDS: usize = 64;
/// Bytes of such a word.
const MAX_WORD_BYTES: usize = 256;
/// Runs of bytes that are tried for an answer, which takes some tenths of a second.
const MAX_RUNS: u32 = 200_000;
/// Bytes of a run.
const MAX_RUN: usize = 3;

/// The search for what closes a text.
pub(super) struct Ahead<'a> {
    vocabulary: &'a Vocabulary,
    patterns: &'a [String],
    /// One for each pattern, made when they are first needed.
    words: Option<Vec<Vec<TokenId>>>,
    runs_left: u32,
}

impl<'a> Ahead<'a> {
    /// `patterns`: what texts may have to hold, as the grammar engine takes them.
    pub fn new(vocabulary: &'a Vocabulary, patterns: &'a [String]) -> Ahead<'a> {
        Ahead { vocabulary, patterns, words: None, runs_left: MAX_RUNS }
    }

    /// Tokens of one byte each after which one of `closers` may come. `bytes`: the tokens that may come now, those first
    /// that are liked best.
    pub fn find(&mut self, matcher: &mut Matcher, bytes: &[TokenId], closers: &[TokenId]) -> Option<Vec<TokenId>> {
        let words = self.words.get_or_insert_with(|| words(self.vocabulary, self.patterns));
        if let Some(word) = words.iter().find(|word| closes(matcher, word, closers)) {
            return Some(word.clone());
        }
        (2..=MAX_RUN).find_map(|length| self.run(matcher, bytes, length, closers))
    }

    /// The first run of exactly `length` bytes that closes. The bytes of a run are all from those that may come first:
    /// what texts are made of.
    fn run(
        &mut self,
        matcher: &mut Matcher,
        bytes: &[TokenId],
        length: usize,
        closers: &[TokenId],
    ) -> Option<Vec<TokenId>> {
        let count = (bytes.len() as u32).checked_pow(length as u32).filter(|count| *count <= self.runs_left)?;
        self.runs_left -= count;
        (0..count).find_map(|mut number| {
            let mut run = vec![0; length];
            for token in run.iter_mut().rev() {
                *token = bytes[number as usize % bytes.len()];
                number /= bytes.len() as u32;
            }
            closes(matcher, &run, closers).then_some(run)
        })
    }
}

fn closes(matcher: &mut Matcher, run: &[TokenId], closers: &[TokenId]) -> bool {
    let mut whole = run.to_vec();
    closers.iter().any(|&closer| {
        whole.truncate(run.len());
        whole.push(closer);
        matcher.validate_tokens(&whole).is_ok_and(|valid| valid == whole.len())
    })
}

/// A short word for each pattern that isn't about the beginning of a text: a lone byte there does show what must follow.
fn words(vocabulary: &Vocabulary, patterns: &[String]) -> Vec<Vec<TokenId>> {
    let inner = patterns.iter().filter(|pattern| !pattern.starts_with('^'));
    let words = inner.take(MAX_WORDS).filter_map(|pattern| word(vocabulary, pattern.trim_end_matches('$')));
    words.collect()
}

fn word(vocabulary: &Vocabulary, pattern: &str) -> Option<Vec<TokenId>> {
    let matcher = Matcher::new(vocabulary.factory.create_parser(TopLevelGrammar::from_regex(pattern)));
    let trie = &vocabulary.env.trie;
    let word = trie.decode_raw(&ending(&matcher, vocabulary, &About::default())?);
    // In JSON these would mean something else.
    let plain = word.iter().all(|byte| !matches!(byte, 0..b' ' | b'"' | b'\\'));
    if !plain || word.is_empty() || word.len() > MAX_WORD_BYTES {
        return None;
    }
    word.iter().map(|byte| trie.token_id_at_bytes(&[*byte])).collect()
}
