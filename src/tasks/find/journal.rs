//! What has been done of a search, so that it can go on after an interruption.

use serde::{Deserialize, Serialize};

use super::Level;
use crate::session::StopReason;

/// The journal's format.
const VERSION: u32 = 1;
/// Passes that a journal may hold; more were not written by this program.
const MAX_PASSES: usize = 100_000;

/// One look at the clip, and what the model said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pass {
    /// How closely.
    pub level: Level,
    /// Where what was shown begins, in seconds of the clip.
    pub start: f64,
    /// Where it ends.
    pub end: f64,
    /// Frames that were shown.
    pub frames: usize,
    /// Frames a second that this amounts to.
    pub fps: f64,
    /// Tokens that they took.
    pub tokens: usize,
    /// What the model said.
    pub answer: String,
    /// Why it ended.
    pub stop: StopReason,
    /// Seconds that the look took.
    pub seconds: f64,
    /// Whether it was taken from the journal of an earlier run.
    #[serde(skip_deserializing)]
    pub resumed: bool,
}

/// What a journal belongs to. Nothing in it may be used for anything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// SHA-256 of the clip's file, in hexadecimal.
    pub clip: String,
    /// The model's fingerprint, in hexadecimal.
    pub model: String,
    /// The question as it is put to the model.
    pub question: String,
    /// The options that change what is shown and how the answer is made.
    pub options: String,
}

/// The passes of a search so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    qlens_find: u32,
    /// What it belongs to.
    pub key: Key,
    /// In the order in which they were made.
    pub passes: Vec<Pass>,
}

/// A journal that can't be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Not a journal at all.
    #[error("is not the journal of a search ({reason})")]
    Format {
        /// What is wrong with it.
        reason: String,
    },
    /// Another version's.
    #[error("is the journal of another version of this program (format {found}, this one has {VERSION})")]
    Version {
        /// The version that it has.
        found: u32,
    },
    /// Another search's.
    #[error("belongs to a search with another {what}; name another file, or delete it to begin anew")]
    Other {
        /// What differs.
        what: &'static str,
    },
}

impl Journal {
    /// An empty journal.
    pub fn new(key: Key) -> Journal {
        Journal { qlens_find: VERSION, key, passes: Vec::new() }
    }

    /// Reads a journal that has to belong to `key`.
    ///
    /// # Errors
    /// It isn't one, or another search's.
    pub fn read(json: &str, key: &Key) -> Result<Journal, JournalError> {
        let version = |value: &serde_json::Value| value.get("qlens_find")?.as_u64().and_then(|v| u32::try_from(v).ok());
        let format = |reason: String| JournalError::Format { reason };
        let value: serde_json::Value = serde_json::from_str(json).map_err(|e| format(e.to_string()))?;
        match version(&value) {
            Some(VERSION) => {}
            Some(found) => return Err(JournalError::Version { found }),
            None => return Err(format("it has no `qlens_find`".to_owned())),
        }
        let journal: Journal = serde_json::from_value(value).map_err(|e| format(e.to_string()))?;
        let same = |what, same| if same { Ok(()) } else { Err(JournalError::Other { what }) };
        same("clip", journal.key.clip == key.clip)?;
        same("model", journal.key.model == key.model)?;
        same("question", journal.key.question == key.question)?;
        same("set of options", journal.key.options == key.options)?;
        if journal.passes.len() > MAX_PASSES
            || journal.passes.iter().any(|p| p.start.is_nan() || p.end.is_nan() || p.start > p.end)
        {
            return Err(format("its passes make no sense".to_owned()));
        }
        Ok(journal)
    }

    /// As JSON.
    pub fn to_json(&self) -> String {
        // A journal holds nothing that JSON can't.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// A pass that was made before.
    pub(super) fn find(&self, level: Level, start: f64, end: f64, tokens: usize) -> Option<Pass> {
        let same = |a: f64, b: f64| (a - b).abs() < 1e-6;
        let found = self
            .passes
            .iter()
            .find(|p| p.level == level && same(p.start, start) && same(p.end, end) && p.tokens == tokens)?;
        Some(Pass { resumed: true, ..found.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key { clip: "c".into(), model: "m".into(), question: "q".into(), options: "o".into() }
    }

    #[test]
    fn a_journal_is_read_as_it_was_written_and_only_for_its_own_search() {
        let mut journal = Journal::new(key());
        journal.passes.push(Pass {
            level: Level::Fine,
            start: 0.1 + 0.2,
            end: 12.345_678_9,
            frames: 6,
            fps: 1.99,
            tokens: 77,
            answer: "x\u{1b}\"".into(),
            stop: StopReason::End,
            seconds: 0.5,
            resumed: false,
        });
        let json = journal.to_json();
        let read = Journal::read(&json, &key()).expect("its own");
        assert_eq!(read, journal);
        assert!(read.find(Level::Fine, 0.3, 12.345_678_9, 77).is_some_and(|pass| pass.resumed));
        assert!(read.find(Level::Fine, 0.3, 12.345_678_9, 78).is_none());
        assert!(read.find(Level::Coarse, 0.3, 12.345_678_9, 77).is_none());
        let refused = |key: Key| Journal::read(&json, &key).expect_err("another's").to_string();
        assert!(refused(Key { clip: "d".into(), ..key() }).contains("another clip"));
        assert!(refused(Key { model: "d".into(), ..key() }).contains("another model"));
        assert!(refused(Key { question: "d".into(), ..key() }).contains("another question"));
        assert!(refused(Key { options: "d".into(), ..key() }).contains("another set of options"));
    }

    #[test]
    fn what_is_no_journal_is_refused() {
        let cut = Journal::new(key()).to_json();
        for text in ["", "{}", "[1]", "null", "{\"qlens_find\": 1}", &cut[..cut.len() / 2]] {
            assert!(matches!(Journal::read(text, &key()), Err(JournalError::Format { .. })), "{text}");
        }
        let newer = Journal { qlens_find: 2, ..Journal::new(key()) }.to_json();
        assert!(matches!(Journal::read(&newer, &key()), Err(JournalError::Version { found: 2 })));
    }
}
