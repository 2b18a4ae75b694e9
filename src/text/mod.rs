//! Tokenizer and chat template, as the model file has them.
//!
//! A conversation ([`Message`]s) is written out by the file's own template ([`ChatTemplate`]) into a [`RenderedPrompt`],
//! which [`Tokenizer::encode_prompt`] turns into token ids. On that way, the parts that people typed or files contain stay
//! marked, so that nothing in them is ever taken for a special token.

#![forbid(unsafe_code)]

mod alphabet;
mod bpe;
mod chat;
mod error;
mod hash;
mod special;
mod split;
mod tokenizer;
mod utf8;
mod vocab;

pub use chat::{ChatTemplate, Content, MediumKind, Message, RenderOptions, RenderedPrompt, Role, ToolCall};
pub use error::{Quoted, TextError};
pub use tokenizer::{Special, Tokenizer};
pub use utf8::Utf8Stream;
pub use vocab::TokenKind;
