//! Text → token ids and back, with the vocabulary and merges of the model's own file.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use unicode_normalization_alignments::{IsNormalized, UnicodeNormalization, is_nfc_quick};

use super::bpe::{MergeTable, Scratch};
use super::chat::RenderedPrompt;
use super::error::{Quoted, TextError};
use super::special::{Piece, SpecialTokens};
use super::split;
use super::vocab::{RawVocab, TextIndex, TokenKind, Vocab};
use crate::gguf::Metadata;

/// Whether special tokens are looked for in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// `<|im_end|>` becomes the token of that name: for text of the program's own making.
    Parse,
    /// `<|im_end|>` is ten characters like any others: for whatever people typed or files contain.
    AsText,
}

/// Byte-level BPE, as GPT-2 introduced it, with the splitting rule and normalization (NFC) of Qwen2.
///
/// Gives the ids that the original tokenizer (Hugging Face `tokenizers`) gives. Shared freely between threads.
pub struct Tokenizer {
    vocab: Vocab,
    byte_tokens: [u32; 256],
    merges: MergeTable,
    special: SpecialTokens,
    eos: Vec<u32>,
    image_pad: Option<u32>,
    video_pad: Option<u32>,
}

impl Tokenizer {
    /// Reads the tokenizer from a model file's `tokenizer.ggml.*` keys.
    ///
    /// Where a text or a merge is listed twice, the first counts.
    ///
    /// # Errors
    /// Keys that are missing or of the wrong type; another `model` than `gpt2` or another `pre` than `qwen2`; counts that
    /// contradict each other or exceed the limits; a byte without a token; a merge of or into something that is no text
    /// token; an end token outside of the vocabulary.
    pub fn from_gguf(m: &Metadata) -> Result<Tokenizer, TextError> {
        let model = m.require_str("tokenizer.ggml.model")?;
        if model != "gpt2" {
            return Err(TextError::UnsupportedModel { found: Quoted::new(model) });
        }
        let pre = m.require_str("tokenizer.ggml.pre")?;
        if pre != "qwen2" {
            return Err(TextError::UnsupportedPre { found: Quoted::new(pre) });
        }
        let raw = RawVocab::from_gguf(m)?;
        let index = TextIndex::new(&raw);
        let merges = index.merges_from_gguf(m)?;
        Tokenizer::new(&raw, &index, merges, &named_ends(m)?)
    }

    fn new(
        raw: &RawVocab<'_>,
        index: &TextIndex<'_>,
        merges: MergeTable,
        ends: &[(&'static str, u64)],
    ) -> Result<Tokenizer, TextError> {
        let vocab = raw.vocab();
        let special = raw.special_tokens();
        let id = |text: &str| special.get(text).map(|t| t.id);
        let mut eos = Vec::new();
        for &(key, found) in ends {
            let id = u32::try_from(found).ok().filter(|&id| vocab.kind(id).is_some());
            eos.push(id.ok_or(TextError::TokenId { key, found, vocab_size: vocab.len() })?);
        }
        eos.extend(["<|im_end|>", "<|endoftext|>"].into_iter().filter_map(id));
        let mut seen = HashSet::new();
        eos.retain(|&id| seen.insert(id));
        let (image_pad, video_pad) = (id("<|image_pad|>"), id("<|video_pad|>"));
        Ok(Tokenizer { vocab, byte_tokens: index.byte_tokens()?, merges, special, eos, image_pad, video_pad })
    }

    /// The ids of `text`. Nothing is added at the ends.
    pub fn encode(&self, text: &str, special: Special) -> Vec<u32> {
        match special {
            Special::AsText => {
                let mut ids = Vec::with_capacity(text.len() / 3 + 1);
                self.encode_plain(text, &mut ids, &mut Scratch::default());
                ids
            }
            Special::Parse => self.encode_pieces(text, None),
        }
    }

    /// The ids of a rendered conversation: special tokens are those of the template's own text; what people typed, or
    /// files contain, yields none whatever it says.
    pub fn encode_prompt(&self, prompt: &RenderedPrompt) -> Vec<u32> {
        self.encode_pieces(prompt.marked(), Some(prompt.sentinel()))
    }

    fn encode_pieces(&self, text: &str, sentinel: Option<char>) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 1);
        let mut scratch = Scratch::default();
        for piece in self.special.split(text, sentinel) {
            match (piece, sentinel) {
                (Piece::Special(id), _) => ids.push(id),
                (Piece::Plain(text), Some(mark)) if text.contains(mark) => {
                    self.encode_plain(&text.replace(mark, ""), &mut ids, &mut scratch);
                }
                (Piece::Plain(text), _) => self.encode_plain(text, &mut ids, &mut scratch),
            }
        }
        ids
    }

    fn encode_plain(&self, text: &str, ids: &mut Vec<u32>, scratch: &mut Scratch) {
        let text = nfc(text);
        let mut word_ids = Vec::new();
        for word in split::words(&text) {
            word_ids.clear();
            word_ids.extend(word.bytes().map(|b| self.byte_tokens[usize::from(b)]));
            self.merges.merge(&mut word_ids, scratch);
            ids.extend_from_slice(&word_ids);
        }
    }

    /// The text of these ids, special tokens included, bytes that are no UTF-8 as U+FFFD. Ids beyond the vocabulary and
    /// unused ones stand for nothing.
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().filter_map(|&id| self.token_bytes(id)).flatten().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The bytes that a token stands for; several tokens may share a character. Empty for an unused token; `None` beyond
    /// the vocabulary.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.vocab.bytes(id)
    }

    /// What the token is for; `None` beyond the vocabulary.
    pub fn kind(&self, id: u32) -> Option<TokenKind> {
        self.vocab.kind(id)
    }

    /// Whether the token steers and is no part of an answer's text. `<tool_call>` and its like are text: see
    /// [`TokenKind::UserDefined`].
    pub fn is_special(&self, id: u32) -> bool {
        matches!(self.kind(id), Some(TokenKind::Control | TokenKind::Unknown))
    }

    /// The id of the control or user-defined token with this text.
    pub fn special_id(&self, text: &str) -> Option<u32> {
        self.special.get(text).map(|t| t.id)
    }

    /// The tokens that end an answer, each once: those that the file names first, then `<|im_end|>` and `<|endoftext|>`
    /// where it has them.
    pub fn eos_ids(&self) -> &[u32] {
        &self.eos
    }

    /// The number of tokens, unused ones included.
    pub fn vocab_size(&self) -> usize {
        self.vocab.len()
    }

    /// Gives each medium its room: the k-th `<|image_pad|>` or `<|video_pad|>` in `ids` is repeated `tokens[k]` times.
    ///
    /// `ids` must come from [`encode_prompt`](Tokenizer::encode_prompt): there these tokens are the template's own, one for
    /// each medium, in the order of the conversation. Returns the new ids, and where in them each medium lies.
    ///
    /// # Errors
    /// [`TextError::MediaCount`] where there are more or fewer places than `tokens`.
    pub fn expand_media(&self, ids: &[u32], tokens: &[usize]) -> Result<(Vec<u32>, Vec<Range<usize>>), TextError> {
        let is_place = |id: u32| Some(id) == self.image_pad || Some(id) == self.video_pad;
        let places = ids.iter().filter(|&&id| is_place(id)).count();
        if places != tokens.len() {
            return Err(TextError::MediaCount { places, given: tokens.len() });
        }
        let mut out = Vec::with_capacity(ids.len());
        let mut ranges = Vec::with_capacity(places);
        for &id in ids {
            let n = if is_place(id) { tokens[ranges.len()] } else { 1 };
            let start = out.len();
            out.extend(std::iter::repeat_n(id, n));
            if is_place(id) {
                ranges.push(start..out.len());
            }
        }
        Ok((out, ranges))
    }
}

/// The end tokens that the file names, with the keys that do.
fn named_ends(m: &Metadata) -> Result<Vec<(&'static str, u64)>, TextError> {
    let mut ends = Vec::new();
    for key in ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"] {
        ends.extend(m.u64(key)?.map(|id| (key, id)));
    }
    const LIST: &str = "tokenizer.ggml.eos_token_ids";
    ends.extend(m.u32s(LIST)?.into_iter().flatten().map(|id| (LIST, u64::from(id))));
    Ok(ends)
}

/// Composes characters and orders marks, by the tables of Unicode 9: those of the original, which leaves younger marks in
/// their place. (Current tables reorder 188 more, so this crate must not be exchanged for a newer one.)
fn nfc(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.nfc().map(|(c, _)| c).collect())
}
