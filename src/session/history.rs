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

    /// Tokens of the conversation that the KV cache holds.
    pub fn held_tokens(&self) -> usize {
        // After `clear` it still holds what was said before, in case that is said again.
        if self.messages.is_empty() { 0 } else { self.cached.len() }
    }

    /// The pictures and clips of the conversation, in order.
    pub fn media(&self) -> impl Iterator<Item = MediaReport> {
        self.messages.iter().flat_map(PastMessage::media).map(|m| m.report())
    }

    /// Takes medium `index` (from 0, as [`Session::media`] counts) out of the conversation; what was said about it stays.
    /// What followed it is read again with the next question.
    pub fn drop_medium(&mut self, index: usize) -> Option<MediaReport> {
        let (message, part) = self
            .messages
            .iter()
            .enumerate()
            .flat_map(|(m, message)| (0..message.parts.len()).map(move |p| (m, p)))
            .filter(|&(m, p)| matches!(self.messages[m].parts[p], PastPart::Medium(_)))
            .nth(index)?;
        let exchange = self.messages[..message].iter().filter(|m| m.role == Role::User).count();
        let known = self.starts.get(exchange).copied().unwrap_or(0);
        self.truncate(known);
        self.starts.iter_mut().for_each(|start| *start = known.min(*start));
        match self.messages[message].parts.remove(part) {
            PastPart::Medium(medium) => Some(medium.report()),
            PastPart::Text(_) => None,
        }
    }

    /// Measures a medium as a question with it would: what it is resized to, and the tokens that it costs.
    ///
    /// # Errors
    /// The model can't see, or the medium not be measured.
    pub fn measure(&self, medium: &Medium, options: &MediaOptions) -> Result<KeptMedium, SessionError> {
        let prepared = PreparedMedium::new(medium, options, &self.engine.patch_config()?)?;
        Ok(KeptMedium(Arc::new(prepared)))
    }

    /// Measures for this model what was measured for another.
    ///
    /// # Errors
    /// As [`Session::measure`]; and of a clip that came out of a saved conversation only the name is left.
    pub fn measure_again(&self, kept: &KeptMedium) -> Result<KeptMedium, SessionError> {
        Ok(KeptMedium(Arc::new(kept.0.again(&self.engine.patch_config()?)?)))
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
