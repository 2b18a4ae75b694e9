//! What a conversation holds, to look at and to take back.

use std::sync::Arc;

use super::conversation::Session;
use super::error::SessionError;
use super::medium::{KeptMedium, MediaOptions, MediaReport, Medium, PreparedMedium};
use super::prompt::{PastMessage, PastPart};
use crate::text::Role;

/// One message of a conversation.
#[derive(Clone, Debug)]
pub struct Said {
    /// Who.
    pub role: Role,
    /// The words.
    pub text: String,
    /// What was shown with them.
    pub media: Vec<KeptMedium>,
}

/// A question that was taken back.
#[derive(Clone, Debug)]
pub struct Undone {
    /// Its words.
    pub text: String,
    /// What was shown with it.
    pub media: Vec<KeptMedium>,
}

impl Session<'_> {
    /// All messages so far, in order.
    pub fn history(&self) -> Vec<Said> {
        self.messages.iter().map(said).collect()
    }

    /// Takes the last question and its answer back, out of the KV cache too; `None` where there is none.
    pub fn undo(&mut self) -> Option<Undone> {
        let before = self.starts.pop()?;
        self.messages.pop_if(|m| m.role == Role::Assistant);
        let question = self.messages.pop()?;
        if self.starts.is_empty() {
            // A system message belongs to the first question.
            self.messages.clear();
        }
        self.truncate(before);
        let Said { text, media, .. } = said(&question);
        Some(Undone { text, media })
    }

    /// Tokens that the KV cache holds.
    pub fn held_tokens(&self) -> usize {
        self.cached.len()
    }

    /// The pictures and clips of the conversation, in order.
    pub fn media(&self) -> impl Iterator<Item = MediaReport> {
        self.messages.iter().flat_map(PastMessage::media).map(|m| m.report())
    }

    /// Takes medium `index` (from 0, as [`Session::media`] counts) out of the conversation; what was said about it stays.
    /// What followed it is read again with the next question.
    pub fn drop_medium(&mut self, index: usize) -> Option<MediaReport> {
        let mut left = index;
        for message in &mut self.messages {
            let here = message.media().count();
            if left >= here {
                left -= here;
                continue;
            }
            let is_medium = |part: &PastPart| matches!(part, PastPart::Medium(_));
            let at = message.parts.iter().enumerate().filter(|(_, part)| is_medium(part)).nth(left)?.0;
            return match message.parts.remove(at) {
                PastPart::Medium(medium) => Some(medium.report()),
                PastPart::Text(_) => None,
            };
        }
        None
    }

    /// Measures a medium as a question with it would: what it is resized to, and the tokens that it costs.
    ///
    /// # Errors
    /// The model can't see, or the medium not be measured.
    pub fn measure(&self, medium: &Medium, options: &MediaOptions) -> Result<KeptMedium, SessionError> {
        let prepared = PreparedMedium::new(medium, options, &self.engine.patch_config()?)?;
        Ok(KeptMedium(Arc::new(prepared)))
    }
}

fn said(message: &PastMessage) -> Said {
    let mut text = String::new();
    for part in &message.parts {
        if let PastPart::Text(t) = part {
            text.push_str(t);
        }
    }
    Said { role: message.role, text, media: message.media().cloned().map(KeptMedium).collect() }
}
