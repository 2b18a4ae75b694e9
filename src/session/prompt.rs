//! From a conversation to the sequence that the model reads: tokens, with each medium in its place.

use std::sync::Arc;

use super::medium::PreparedMedium;
use crate::model::{Position, PositionSpan, mrope_positions};
use crate::text::{ChatTemplate, Content, Message, RenderOptions, Role, TextError, Tokenizer};

/// A user's turn: an optional system message, and text with media between.
#[derive(Clone, Debug, Default)]
pub struct Turn {
    /// Replaces the template's own system message; counts in a conversation's first turn only.
    pub system: Option<String>,
    /// What the user says and shows, in order.
    pub parts: Vec<TurnPart>,
}

/// A piece of a user's turn.
#[derive(Clone, Debug)]
pub enum TurnPart {
    /// Words. Special tokens in them are read as plain text.
    Text(String),
    /// A picture or clip; with options of its own, or else the question's.
    Medium(super::Medium, Option<super::MediaOptions>),
    /// A medium that was in the conversation before, as it was measured then.
    Again(super::KeptMedium),
}

impl Turn {
    /// Media first, then the words: the order that the released model's examples use.
    pub fn new(system: Option<String>, media: Vec<super::Medium>, prompt: impl Into<String>) -> Turn {
        let media = media.into_iter().map(|m| TurnPart::Medium(m, None));
        Turn { system, parts: media.chain([TurnPart::Text(prompt.into())]).collect() }
    }
}

/// One message of a conversation, its media already measured.
#[derive(Clone, Debug)]
pub(super) struct PastMessage {
    pub role: Role,
    pub parts: Vec<PastPart>,
}

#[derive(Clone, Debug)]
pub(super) enum PastPart {
    Text(String),
    Medium(Arc<PreparedMedium>),
}

/// A run of the sequence that the model reads.
#[derive(Clone, Debug)]
pub(super) enum Run {
    Tokens(Vec<u32>),
    Medium(Arc<PreparedMedium>),
}

/// The sequence for one question.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    pub runs: Vec<Run>,
}

/// The ids at which the template leaves room for media.
#[derive(Clone, Copy, Debug)]
pub(super) struct PadTokens {
    pub image: u32,
    pub video: u32,
}

/// Text on both sides of the template's media places, and how many places there were.
pub(super) enum BuildError {
    Text(TextError),
    /// The template made another number of media places than there are media.
    Places,
}

impl Sequence {
    /// Renders `messages` with the file's template, tokenizes, and puts the media where their pads stand.
    pub fn build(
        messages: &[PastMessage],
        template: &ChatTemplate,
        tokenizer: &Tokenizer,
        pads: Option<PadTokens>,
    ) -> Result<Sequence, BuildError> {
        let plain: Vec<Message> = messages.iter().map(PastMessage::for_template).collect();
        let options = RenderOptions { add_generation_prompt: true, ..RenderOptions::default() };
        let rendered = template.render(&plain, &options).map_err(BuildError::Text)?;
        let ids = tokenizer.encode_prompt(&rendered);
        let mut media = messages.iter().flat_map(PastMessage::media).cloned();
        let is_pad = |id: u32| pads.is_some_and(|p| id == p.image || id == p.video);
        let mut runs = Vec::new();
        let mut text = Vec::new();
        for id in ids {
            if is_pad(id) {
                let medium = media.next().ok_or(BuildError::Places)?;
                runs.push(Run::Tokens(std::mem::take(&mut text)));
                runs.push(Run::Medium(medium));
            } else {
                text.push(id);
            }
        }
        if media.next().is_some() {
            return Err(BuildError::Places);
        }
        runs.push(Run::Tokens(text));
        Ok(Sequence { runs })
    }

    /// Tokens of (text, media).
    pub fn counts(&self) -> (usize, usize) {
        self.runs.iter().fold((0, 0), |(text, media), run| match run {
            Run::Tokens(ids) => (text + ids.len(), media),
            Run::Medium(m) => (text, media + m.tokens()),
        })
    }

    /// Every token's position, and that of the token to come.
    pub fn positions(&self, tokens_per_second: f64) -> (Vec<Position>, i64) {
        let span = |run: &Run| match run {
            Run::Tokens(ids) => PositionSpan::Text(ids.len()),
            Run::Medium(m) => PositionSpan::Medium {
                grid: m.merged_grid(),
                seconds_per_group: m.seconds_per_group(),
                tokens_per_second,
            },
        };
        mrope_positions(0, &self.runs.iter().map(span).collect::<Vec<_>>())
    }

    /// The token ids, media as as many pads as they have tokens.
    pub fn ids(&self, pads: Option<PadTokens>) -> Vec<u32> {
        let mut ids = Vec::new();
        for run in &self.runs {
            match run {
                Run::Tokens(t) => ids.extend_from_slice(t),
                Run::Medium(m) => {
                    let pad = pads.map_or(0, |p| if m.is_clip() { p.video } else { p.image });
                    ids.extend(std::iter::repeat_n(pad, m.tokens()));
                }
            }
        }
        ids
    }

    /// What identifies each token's contribution to the KV cache: equal keys up to some place mean an equal cache.
    pub fn keys(&self) -> Vec<u64> {
        let mut keys = Vec::new();
        for run in &self.runs {
            match run {
                Run::Tokens(t) => keys.extend(t.iter().map(|&id| u64::from(id))),
                Run::Medium(m) => {
                    let base = m.key().cache_hash();
                    keys.extend((0..m.tokens() as u64).map(|i| medium_key(base, i)));
                }
            }
        }
        keys
    }
}

/// What stands in a cached sequence for token `i` of a medium whose key's hash is `base`.
pub(super) fn medium_key(base: u64, i: u64) -> u64 {
    base.wrapping_add(i) | OF_A_MEDIUM
}

/// Keeps media apart from token ids.
pub(super) const OF_A_MEDIUM: u64 = 1 << 63;

impl PastMessage {
    /// Its pictures and clips in order.
    pub fn media(&self) -> impl Iterator<Item = &Arc<PreparedMedium>> {
        self.parts.iter().filter_map(|part| match part {
            PastPart::Medium(m) => Some(m),
            PastPart::Text(_) => None,
        })
    }

    fn for_template(&self) -> Message {
        let content = self.parts.iter().map(|p| match p {
            PastPart::Text(t) => Content::Text(t.clone()),
            PastPart::Medium(m) if m.is_clip() => Content::Video,
            PastPart::Medium(_) => Content::Image,
        });
        Message { role: self.role, content: content.collect(), ..Message::default() }
    }
}
