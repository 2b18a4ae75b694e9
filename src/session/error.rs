//! What can keep a model from loading or a question from being answered.

use std::path::PathBuf;

use super::constraint::GrammarError;
use crate::gguf::GgufError;
use crate::kernels::KernelError;
use crate::media::MediaError;
use crate::model::ModelError;
use crate::text::{Quoted, TextError};

/// A model that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is no valid GGUF file.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The file holds no model of this kind.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The tokenizer or the chat template is unusable.
    #[error("{file}: {source}")]
    Text {
        /// The model file.
        file: String,
        /// What is wrong.
        source: TextError,
    },
    /// The kernels can't be set up as asked.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Tokenizer and embedding table disagree.
    #[error("{file}: the vocabulary has {tokens} tokens but the embedding table only {rows} rows")]
    Vocabulary {
        /// The model file.
        file: String,
        /// Tokens in the vocabulary.
        tokens: usize,
        /// Rows in `token_embd.weight`.
        rows: usize,
    },
    /// Model and mmproj belong to different models.
    #[error(
        "{mmproj} does not fit {model}: it makes embeddings of {vision} numbers, the model takes {text}; \
         give the mmproj of the same model with --mmproj"
    )]
    Pair {
        /// The text model's file.
        model: String,
        /// The mmproj file.
        mmproj: String,
        /// The model's hidden size.
        text: usize,
        /// The mmproj's output size.
        vision: usize,
    },
}

/// A question that cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The model or its mmproj is unusable.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A computation failed.
    #[error(transparent)]
    Model(ModelError),
    /// A picture or clip can't be read.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// The chat template can't be rendered.
    #[error(transparent)]
    Text(#[from] TextError),
    /// There are media but no mmproj.
    #[error(
        "{model} alone can't see: no mmproj file was found beside it{hint}; download the mmproj of the same model into \
         that folder, or give it with --mmproj"
    )]
    NoMmproj {
        /// The model file.
        model: PathBuf,
        /// What was found instead, or nothing.
        hint: String,
    },
    /// The model's vocabulary has no token to put media at, or the template leaves them out.
    #[error("{model}: {problem}")]
    MediaTokens {
        /// The model file.
        model: String,
        /// What is missing.
        problem: &'static str,
    },
    /// The question is longer than the context.
    #[error("{}", context_message(.total, .text, .media, .limit))]
    ContextFull {
        /// Tokens of everything.
        total: usize,
        /// Tokens of text.
        text: usize,
        /// Tokens of pictures and clips.
        media: usize,
        /// The context's limit.
        limit: usize,
    },
    /// A clip of a saved conversation has to be looked at again.
    #[error(
        "{name}: its frames are needed again, and a saved conversation doesn't hold them; drop it, and attach it again"
    )]
    Absent {
        /// The clip.
        name: String,
    },
    /// The answer can't be held to its grammar.
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    /// The answer has led its grammar beyond the limits of what is computed for a token.
    #[error("the answer can't be held to its grammar any more: {problem}")]
    Stuck {
        /// In the grammar engine's words.
        problem: Quoted,
    },
    /// The answer was cut off, and no way to complete it was found.
    #[error(
        "the answer was cut off after {tokens} tokens, before it was what its grammar asks for; see --max-tokens and --ctx"
    )]
    Unfinished {
        /// Tokens of the answer.
        tokens: usize,
    },
    /// The caller asked to stop before there was an answer.
    #[error("interrupted")]
    Interrupted,
}

impl From<ModelError> for SessionError {
    fn from(e: ModelError) -> Self {
        match e {
            ModelError::Interrupted => SessionError::Interrupted,
            e => SessionError::Model(e),
        }
    }
}

fn context_message(total: &usize, text: &usize, media: &usize, limit: &usize) -> String {
    let advice = if media > text {
        "lower --max-pixels (for clips --budget), give fewer pictures, or raise --ctx"
    } else {
        "shorten the text, or raise --ctx"
    };
    format!(
        "the question needs {total} tokens ({media} for pictures and clips, {text} for text) and room for an answer, \
         but the context holds {limit}; {advice}"
    )
}
