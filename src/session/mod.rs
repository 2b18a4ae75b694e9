//! What a conversation holds, and how an answer is made: loaded models, the KV cache with its reuse, encoded media,
//! sampling, cancellation.
#![forbid(unsafe_code)]

mod constraint;
mod conversation;
mod engine;
mod error;
mod generate;
mod held;
mod history;
mod lookup;
mod media_cache;
mod media_files;
mod medium;
mod pair;
mod prompt;
mod sampler;
mod saved;
mod score;
mod trace;

pub use constraint::{Grammar, GrammarError, MAX_GRAMMAR_BYTES, SchemaError, SchemaProblem};
pub use conversation::{Answer, CHUNK, Event, FrameProgress, GenerateOptions, Session, StopReason, Timings};
pub use engine::{Engine, EngineOptions};
pub use error::{LoadError, SessionError};
pub use history::{Said, Undone};
pub use lookup::{Lookup, Proposer};
pub use media_files::MediaFolder;
pub use medium::{KeptMedium, MediaKind, MediaOptions, MediaReport, Medium};
pub use pair::find_mmproj;
pub use prompt::{Turn, TurnPart};
pub use sampler::{Sampler, Sampling, argmax};
pub use saved::{Loaded, SavedError};
pub use score::Reading;
pub use trace::TraceOutput;
