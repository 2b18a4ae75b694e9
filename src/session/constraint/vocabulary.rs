//! The model's vocabulary, as the grammar engine needs it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use llguidance::ParserFactory;
use llguidance::earley::SlicedBiasComputer;
use llguidance::panic_utils::catch_unwind;
use llguidance::toktrie::{InferenceCapabilities, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

use super::grammar::{limits, tidy};
use crate::text::{Quoted, Special, TokenKind, Tokenizer};

/// Longer tokens are left out: the tree's depth is limited.
const MAX_WORD_BYTES: usize = 512;

/// What is the same for all grammars of a model; made once.
pub(in crate::session) struct Vocabulary {
    pub(super) factory: ParserFactory,
    pub(super) env: Arc<Env>,
}

/// The tokens as a tree of bytes, and how text becomes tokens.
pub(super) struct Env {
    tokenizer: Arc<Tokenizer>,
    pub trie: TokTrie,
}

impl Vocabulary {
    /// # Errors
    /// In the engine's words.
    pub fn new(tokenizer: Arc<Tokenizer>) -> Result<Vocabulary, Quoted> {
        let size = tokenizer.vocab_size() as u32;
        let Some(&end) = tokenizer.eos_ids().first() else {
            return Err(Quoted::new("the vocabulary has no end token"));
        };
        // A vocabulary beyond the tree's limits makes it panic.
        let made = catch_unwind(AssertUnwindSafe(|| {
            let words: Vec<Vec<u8>> = (0..size).map(|id| word(&tokenizer, id)).collect();
            let trie = TokTrie::from(&TokRxInfo::new(size, end), &words).with_eos_tokens(tokenizer.eos_ids());
            let env = Arc::new(Env { tokenizer, trie });
            let can = InferenceCapabilities { ff_tokens: true, ..InferenceCapabilities::default() };
            let mut factory = ParserFactory::new(&(env.clone() as _), can, &SlicedBiasComputer::general_slices())?;
            factory.quiet();
            *factory.limits_mut() = limits();
            Ok(Vocabulary { factory, env })
        }));
        made.map_err(|e| Quoted::new(tidy(&e.to_string())))
    }
}

/// What a token stands for in an answer. Special tokens have a byte before them that no text has, so that text is never
/// made of them.
fn word(tokenizer: &Tokenizer, id: TokenId) -> Vec<u8> {
    let bytes = tokenizer.token_bytes(id).unwrap_or_default();
    match tokenizer.kind(id) {
        _ if bytes.len() > MAX_WORD_BYTES => Vec::new(),
        Some(TokenKind::Control | TokenKind::UserDefined | TokenKind::Unknown) => {
            [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes].concat()
        }
        // The marker's byte occurs in no text.
        Some(_) if bytes.first() != Some(&TokTrie::SPECIAL_TOKEN_MARKER) => bytes.to_vec(),
        _ => Vec::new(),
    }
}

impl Env {
    /// The tokens of a text that isn't part of a longer one.
    pub fn tokens(&self, bytes: &[u8]) -> Vec<TokenId> {
        // Normalization may have changed it, and bytes that are no text have tokens all the same.
        let own = std::str::from_utf8(bytes).ok().map(|text| self.tokenizer.encode(text, Special::AsText));
        own.filter(|ids| self.trie.decode_raw(ids) == bytes).unwrap_or_else(|| self.trie.greedy_tokenize(bytes))
    }
}

impl TokenizerEnv for Env {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.tokens(bytes)
    }
}
