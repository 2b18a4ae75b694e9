//! What can be wrong with a file's tokenizer or chat template, or with a prompt made with them.

use std::fmt;

use super::vocab::{MAX_MERGES, MAX_TOKEN_BYTES, MAX_VOCAB};
use crate::gguf::GgufError;

/// Why text can't be turned into tokens, or messages into a prompt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say it")]
pub enum TextError {
    #[error(transparent)]
    Gguf(#[from] GgufError),

    #[error("metadata `{key}` is missing")]
    Missing { key: &'static str },
    #[error("tokenizer.ggml.model is {found} (supported: \"gpt2\", which is byte-level BPE)")]
    UnsupportedModel { found: Quoted },
    #[error("tokenizer.ggml.pre is {found} (supported: \"qwen2\")")]
    UnsupportedPre { found: Quoted },
    #[error("tokenizer.ggml.tokens has {found} entries (allowed: 256 to {MAX_VOCAB})")]
    VocabSize { found: usize },
    #[error("tokenizer.ggml.token_type has {found} entries, tokenizer.ggml.tokens has {tokens} (must be equal)")]
    TokenTypeCount { found: usize, tokens: usize },
    #[error("tokenizer.ggml.token_type of token {id} is {found} (allowed: 1 to 6)")]
    TokenType { id: usize, found: i32 },
    #[error("token {id} has {found} bytes (allowed: up to {MAX_TOKEN_BYTES})")]
    TokenLength { id: usize, found: usize },
    #[error("no token for the byte 0x{byte:02X} (each of the 256 needs one; in the file it is written {})", Quoted::new(&.written.to_string()))]
    MissingByte { byte: u8, written: char },
    #[error("tokenizer.ggml.merges has {found} entries (allowed: up to {MAX_MERGES})")]
    MergeCount { found: usize },
    #[error("merge {index} is {found} (must be two tokens with a space between)")]
    MergeShape { index: usize, found: Quoted },
    #[error("merge {index} is {found}, but {missing} is no token that text can become")]
    MergeToken { index: usize, found: Quoted, missing: Quoted },
    #[error("{key} is {found} (the vocabulary has {vocab_size} tokens)")]
    TokenId { key: &'static str, found: u64, vocab_size: usize },

    #[error("{key} has {found} bytes (allowed: up to {allowed})")]
    TemplateLength { key: &'static str, found: usize, allowed: usize },
    #[error("the model has no chat template and no {token} token, so none can be assumed")]
    NoTemplate { token: &'static str },
    #[error("the model's chat template has an error in line {line}: {detail}")]
    TemplateSyntax { line: usize, detail: Quoted },
    #[error("the model's chat template failed in line {line}: {detail}")]
    TemplateRun { line: usize, detail: Quoted },
    #[error("the model's chat template refuses this conversation: {message}")]
    TemplateRefuses { message: Quoted },
    #[error("the model's chat template does more work than it may ({fuel} steps for this conversation)")]
    TemplateWork { fuel: u64 },
    #[error("the model's chat template writes more than {allowed} bytes for this conversation")]
    TemplateOutput { allowed: usize },
    #[error("the model's chat template took more than {seconds} s for this conversation")]
    TemplateTime { seconds: u64 },
    #[error("the model's chat template took more than {mib} MiB of memory for this conversation")]
    TemplateMemory { mib: u64 },
    #[error("the model's chat template can't be run: {source}")]
    TemplateThread { source: std::io::Error },
    #[error("the model's chat template crashed the template engine")]
    TemplateCrash,
    #[error("the conversation has {bytes} bytes (allowed: up to {allowed})")]
    ConversationLength { bytes: usize, allowed: usize },
    #[error("the text uses every character that could mark where it comes from")]
    NoSentinel,
    #[error(
        "the conversation has {} but the model's chat template places {}{}",
        Media(*.images, *.videos), Media(*.placed_images, *.placed_videos),
        if *.placed_images + *.placed_videos == 0 { ": this model reads text only" } else { "" }
    )]
    MediaPlaces { images: usize, videos: usize, placed_images: usize, placed_videos: usize },
    #[error("the model's chat template places pictures and clips in another order than the conversation has them")]
    MediaOrder,
    #[error("the prompt has places for {places} pictures and clips, and {given} are given (must be equal)")]
    MediaCount { places: usize, given: usize },
}

/// Text from a file, made fit for a line of an error message: quoted, control characters escaped, and cut where it is
/// long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted(String);

impl Quoted {
    const MAX_CHARS: usize = 200;

    /// Quotes `text`.
    pub fn new(text: &str) -> Quoted {
        let end = text.char_indices().nth(Self::MAX_CHARS).map_or(text.len(), |(i, _)| i);
        let dots = if end < text.len() { "…" } else { "" };
        Quoted(format!("{:?}{dots}", &text[..end]))
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// "2 pictures and 1 clip", "no picture or clip".
struct Media(usize, usize);

impl fmt::Display for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |n: usize, what: &str| match n {
            1 => format!("1 {what}"),
            _ => format!("{n} {what}s"),
        };
        match *self {
            Media(0, 0) => f.write_str("no picture or clip"),
            Media(images, 0) => f.write_str(&count(images, "picture")),
            Media(0, videos) => f.write_str(&count(videos, "clip")),
            Media(images, videos) => write!(f, "{} and {}", count(images, "picture"), count(videos, "clip")),
        }
    }
}
