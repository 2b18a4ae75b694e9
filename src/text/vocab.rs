//! A model file's vocabulary: checked whole, and laid out for quick use.

use std::ops::Range;

use super::alphabet::{self, BYTE_TO_CHAR};
use super::bpe::{Merge, MergeTable};
use super::error::{Quoted, TextError};
use super::hash::Seed;
use super::special::{Special, SpecialTokens};
use crate::gguf::Metadata;

/// Most tokens that a vocabulary may have. The largest known has 262,144.
pub(super) const MAX_VOCAB: usize = 1 << 21;
/// Most merges.
pub(super) const MAX_MERGES: usize = 1 << 21;
/// Threads that read merges: beyond a few, starting them takes longer than they save.
const MERGE_THREADS: usize = 4;
/// Most bytes in a token's text. The longest in use is a run of 128 spaces, 256 bytes in the file.
pub(super) const MAX_TOKEN_BYTES: usize = 1024;

const TOKENS: &str = "tokenizer.ggml.tokens";
const TOKEN_TYPE: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";

/// What a token is for, as `tokenizer.ggml.token_type` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// A piece of text.
    Normal,
    /// Stands for text that the vocabulary lacks.
    Unknown,
    /// Steers: begins and ends turns, holds the places of media. No part of an answer's text.
    Control,
    /// Was added to the vocabulary later, such as `<tool_call>`: found whole in text, and a part of the text.
    UserDefined,
    /// Fills the table up; stands for nothing.
    Unused,
    /// A single byte.
    Byte,
}

impl TokenKind {
    fn from_file(n: i32) -> Option<TokenKind> {
        use TokenKind::*;
        [Normal, Unknown, Control, UserDefined, Unused, Byte].get(usize::try_from(n.checked_sub(1)?).ok()?).copied()
    }

    /// Whether it is looked for in a template's text before byte pairs are.
    fn is_matched_whole(self) -> bool {
        matches!(self, TokenKind::Control | TokenKind::UserDefined | TokenKind::Unknown)
    }

    /// Whether merging byte pairs may lead to it.
    fn is_text(self) -> bool {
        !matches!(self, TokenKind::Control | TokenKind::Unknown)
    }
}

/// Each token's bytes and kind.
pub(super) struct Vocab {
    /// All tokens' bytes, one after the other.
    bytes: Vec<u8>,
    /// Where each ends in `bytes`.
    ends: Vec<u32>,
    kinds: Vec<TokenKind>,
}

impl Vocab {
    pub(super) fn len(&self) -> usize {
        self.kinds.len()
    }

    pub(super) fn kind(&self, id: u32) -> Option<TokenKind> {
        self.kinds.get(usize::try_from(id).ok()?).copied()
    }

    /// The bytes that the token stands for; none for an unused one.
    pub(super) fn bytes(&self, id: u32) -> Option<&[u8]> {
        let id = usize::try_from(id).ok()?;
        let end = *self.ends.get(id)?;
        let start = if id == 0 { 0 } else { self.ends[id - 1] };
        self.bytes.get(start as usize..end as usize)
    }
}

/// The vocabulary as the file has it, counts and lengths checked.
pub(super) struct RawVocab<'a> {
    texts: Vec<&'a str>,
    kinds: Vec<TokenKind>,
}

impl<'a> RawVocab<'a> {
    /// Reads tokens and types.
    ///
    /// # Errors
    /// Missing or wrong keys, counts beyond the limits or unequal, types that don't exist, texts that are too long.
    pub(super) fn from_gguf(m: &'a Metadata) -> Result<RawVocab<'a>, TextError> {
        let tokens = m.require_strings(TOKENS)?;
        check_vocab_size(tokens.len())?;
        RawVocab::new(tokens.iter().collect(), &m.i32s(TOKEN_TYPE)?.ok_or(TextError::Missing { key: TOKEN_TYPE })?)
    }

    pub(super) fn new(texts: Vec<&'a str>, types: &[i32]) -> Result<RawVocab<'a>, TextError> {
        check_vocab_size(texts.len())?;
        if types.len() != texts.len() {
            return Err(TextError::TokenTypeCount { found: types.len(), tokens: texts.len() });
        }
        let kind = |(id, &found): (usize, &i32)| TokenKind::from_file(found).ok_or(TextError::TokenType { id, found });
        let kinds = types.iter().enumerate().map(kind).collect::<Result<Vec<_>, _>>()?;
        if let Some(id) = texts.iter().position(|t| t.len() > MAX_TOKEN_BYTES) {
            return Err(TextError::TokenLength { id, found: texts[id].len() });
        }
        Ok(RawVocab { texts, kinds })
    }

    /// The text of a token, as the file has it.
    pub(super) fn text(&self, id: u32) -> Option<&'a str> {
        self.texts.get(usize::try_from(id).ok()?).copied()
    }

    /// The tokens that are found whole in a template's text.
    pub(super) fn special_tokens(&self) -> SpecialTokens {
        let tokens = self.kinds.iter().zip(&self.texts).enumerate().filter(|(_, (k, _))| k.is_matched_whole());
        // The count is at most MAX_VOCAB.
        SpecialTokens::new(
            tokens.map(|(id, (&kind, &text))| Special { text: text.into(), id: id as u32, kind }).collect(),
        )
    }

    /// Decodes the tokens' bytes.
    pub(super) fn vocab(&self) -> Vocab {
        let mut bytes = Vec::with_capacity(self.texts.iter().map(|t| t.len()).sum());
        let mut ends = Vec::with_capacity(self.texts.len());
        for (&text, &kind) in self.texts.iter().zip(&self.kinds) {
            match kind {
                TokenKind::Normal | TokenKind::Byte => alphabet::decode_into(text, &mut bytes),
                TokenKind::Control | TokenKind::UserDefined | TokenKind::Unknown => {
                    bytes.extend_from_slice(text.as_bytes())
                }
                TokenKind::Unused => {}
            }
            // At most MAX_VOCAB × MAX_TOKEN_BYTES, which fits.
            ends.push(bytes.len() as u32);
        }
        Vocab { bytes, ends, kinds: self.kinds.clone() }
    }
}

const _: () = assert!(MAX_VOCAB as u64 * MAX_TOKEN_BYTES as u64 <= u32::MAX as u64);

fn check_vocab_size(found: usize) -> Result<(), TextError> {
    // Each byte needs a token.
    if (256..=MAX_VOCAB).contains(&found) { Ok(()) } else { Err(TextError::VocabSize { found }) }
}

/// Text as in the file → id, among the tokens that text can become; of several with one text the first counts. Needed
/// only to read the merges.
pub(super) struct TextIndex<'a> {
    seed: Seed,
    texts: &'a [&'a str],
    /// Part of the hash, and the id; length a power of two, at most 5/8 full.
    slots: Vec<(u32, u32)>,
    /// For each token, whether its text leads to it.
    found: Vec<bool>,
}

impl<'a> TextIndex<'a> {
    const EMPTY: u32 = u32::MAX;

    pub(super) fn new(raw: &'a RawVocab<'a>) -> TextIndex<'a> {
        let slots = (raw.texts.len().saturating_mul(8) / 5 + 2).next_power_of_two();
        let found = vec![false; raw.texts.len()];
        let mut index =
            TextIndex { seed: Seed::random(), texts: &raw.texts, slots: vec![(0, Self::EMPTY); slots], found };
        for (id, (text, kind)) in raw.texts.iter().zip(&raw.kinds).enumerate() {
            if kind.is_text() {
                let (tag, slot) = index.slot(text.as_bytes());
                if index.slots[slot].1 == Self::EMPTY {
                    index.slots[slot] = (tag, id as u32);
                    index.found[id] = true;
                }
            }
        }
        index
    }

    fn get(&self, text: &[u8]) -> Option<u32> {
        let id = self.slots[self.slot(text).1].1;
        (id != Self::EMPTY).then_some(id)
    }

    /// [`get`](TextIndex::get), where the token is likely to be `guess`.
    fn get_near(&self, text: &[u8], guess: u32) -> Option<u32> {
        let right = |i: usize| self.found[i] && self.texts[i].as_bytes() == text;
        if (guess as usize) < self.texts.len() && right(guess as usize) { Some(guess) } else { self.get(text) }
    }

    /// The text's tag, and where it is or would be.
    fn slot(&self, text: &[u8]) -> (u32, usize) {
        let mask = self.slots.len() - 1;
        let hash = self.seed.of_bytes(text);
        let tag = (hash >> 32) as u32;
        let mut i = hash as usize & mask;
        loop {
            let (t, id) = self.slots[i];
            if id == Self::EMPTY || (t == tag && self.texts[id as usize].as_bytes() == text) {
                return (tag, i);
            }
            i = (i + 1) & mask;
        }
    }

    /// The token of each byte.
    pub(super) fn byte_tokens(&self) -> Result<[u32; 256], TextError> {
        let mut ids = [0; 256];
        for (byte, id) in (0u8..=255).zip(&mut ids) {
            let written = BYTE_TO_CHAR[usize::from(byte)];
            let text = written.encode_utf8(&mut [0; 4]).to_owned();
            *id = self.get(text.as_bytes()).ok_or(TextError::MissingByte { byte, written })?;
        }
        Ok(ids)
    }

    /// Reads the merges from the file; a pair's first counts.
    pub(super) fn merges_from_gguf(&self, m: &Metadata) -> Result<MergeTable, TextError> {
        let merges = m.require_strings(MERGES)?;
        self.merges(merges.len(), |i| merges.get(i))
    }

    /// Reads `count` merges. Looking three texts up for each is most of a tokenizer's start, so several threads do it.
    pub(super) fn merges<'b>(
        &self,
        count: usize,
        text: impl Fn(usize) -> &'b str + Sync,
    ) -> Result<MergeTable, TextError> {
        if count > MAX_MERGES {
            return Err(TextError::MergeCount { found: count });
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from).clamp(1, MERGE_THREADS);
        let share = count.div_ceil(threads).max(1);
        let ranges = (0..count).step_by(share).map(|start| start..(start + share).min(count));
        let found: Vec<Result<Vec<_>, TextError>> = std::thread::scope(|scope| {
            let read = |range: Range<usize>| self.resolve(range, &text);
            let workers: Vec<_> = ranges.map(|range| scope.spawn(move || read(range))).collect();
            workers.into_iter().map(|w| w.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let mut table = MergeTable::with_capacity(count);
        let mut rank = 0;
        for part in found {
            for (left, right, id) in part? {
                table.insert(left, right, Merge { rank, id });
                rank += 1;
            }
        }
        Ok(table)
    }

    /// The tokens of each merge in `range`: left, right, and what they become.
    fn resolve<'b>(
        &self,
        range: Range<usize>,
        text: &impl Fn(usize) -> &'b str,
    ) -> Result<Vec<(u32, u32, u32)>, TextError> {
        let mut out = Vec::with_capacity(range.len());
        let mut joined = Vec::with_capacity(MAX_TOKEN_BYTES);
        let mut last = 0u32;
        for index in range {
            let text = text(index);
            let (left, right) = halves(text)
                .filter(|_| text.len() <= MAX_TOKEN_BYTES + 1)
                .ok_or_else(|| TextError::MergeShape { index, found: Quoted::new(text) })?;
            joined.clear();
            joined.extend_from_slice(left.as_bytes());
            joined.extend_from_slice(right.as_bytes());
            let or_missing = |id: Option<u32>, part: &[u8]| {
                id.ok_or_else(|| TextError::MergeToken {
                    index,
                    found: Quoted::new(text),
                    missing: Quoted::new(&String::from_utf8_lossy(part)),
                })
            };
            let find = |part: &[u8]| or_missing(self.get(part), part);
            let (left, right) = (find(left.as_bytes())?, find(right.as_bytes())?);
            // Vocabularies list what merges make in the order of the merges.
            let id = or_missing(self.get_near(&joined, last.saturating_add(1)), &joined)?;
            out.push((left, right, id));
            last = id;
        }
        Ok(out)
    }
}

/// The two tokens of a merge.
fn halves(text: &str) -> Option<(&str, &str)> {
    let (left, right) = text.split_once(' ')?;
    (!left.is_empty() && !right.is_empty() && !right.contains(' ')).then_some((left, right))
}
