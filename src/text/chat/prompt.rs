//! A conversation written out, with the parts that must be taken literally still marked.

use super::MediumKind;

/// The text that a chat template made, for [`Tokenizer::encode_prompt`](crate::text::Tokenizer::encode_prompt).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedPrompt {
    marked: String,
    sentinel: char,
    media: Vec<MediumKind>,
}

impl RenderedPrompt {
    pub(super) fn new(marked: String, sentinel: char, media: Vec<MediumKind>) -> RenderedPrompt {
        RenderedPrompt { marked, sentinel, media }
    }

    /// The text as a person reads it. It doesn't tell the template's special tokens from those that someone typed, so
    /// it is for display, not for the tokenizer.
    pub fn text(&self) -> String {
        self.marked.replace(self.sentinel, "")
    }

    /// The media in the order of their places.
    pub fn media(&self) -> &[MediumKind] {
        &self.media
    }

    /// The text with the [`sentinel`](Self::sentinel) inside of everything that looks like a special token and is none.
    pub(crate) fn marked(&self) -> &str {
        &self.marked
    }

    pub(crate) fn sentinel(&self) -> char {
        self.sentinel
    }
}
