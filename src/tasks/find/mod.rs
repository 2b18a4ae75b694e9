//! When does something happen in a clip?
//!
//! The way of a question: [`question()`] puts it as the models were trained to be asked → [`search()`] looks at the whole
//! clip at once, or, where it is too long for that, at all of it coarsely and then closely at what answered →
//! [`parse_events`] reads the times in what the model said → events in the clip's own time, as text, [`srt`] or [`vtt`],
//! with a contact [`sheet()`].

mod clock;
mod journal;
mod parse;
mod place;
mod question;
mod search;
mod sheet;
mod subtitles;
mod watch;

pub use clock::{clock, parse_clock};
pub use journal::{Journal, JournalError, Key, Pass};
pub use parse::{RawEvent, Reading, parse_events};
pub use question::question;
pub use search::{Found, Look, Request, Said, Skipped, Wanted, Watcher, search};
pub use sheet::{MAX_ROWS, Row, sheet};
pub use subtitles::{srt, vtt};
pub use watch::ClipWatcher;

use std::io;

use serde::{Deserialize, Serialize};

use crate::session::SessionError;

/// Something that happens in a clip.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// When it begins, in seconds of the clip's own time.
    pub start: f64,
    /// When it ends; not before `start`.
    pub end: f64,
    /// What the model says that it is; may be empty.
    pub description: String,
    /// How closely it was looked at.
    pub level: Level,
}

/// A search that can't be finished.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// A question can't be answered.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The journal can't be kept.
    #[error("the search's journal: {0}")]
    Journal(#[source] io::Error),
}

/// How closely a pass looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// At all that was asked for, at the wanted rate.
    Whole,
    /// At all that was asked for, more coarsely than wanted.
    Coarse,
    /// At a range that answered to a coarse look.
    Fine,
}
