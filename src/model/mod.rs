//! Qwen2.5-VL itself: hyperparameters from the file, vision tower, merger and language model.
//!
//! Everything is written once over the small [`Compute`] trait; [`CpuCompute`] carries it out with the hand-written
//! kernels. Shapes in the docs: `T` text tokens, `P` patches, `H` hidden size.
#![forbid(unsafe_code)]

mod compute;
mod config;
mod cpu;
mod error;
mod language;
mod positions;
mod rope;
mod vision;
mod weights;
mod windows;

pub use crate::kernels::FEW_TOKENS;
pub use compute::{Compute, HeadDims, Input, Job, View};
pub use config::{TextConfig, VisionConfig};
pub use cpu::CpuCompute;
pub use error::ModelError;
pub use language::{ChunkInput, LanguageModel, LanguageState};
pub use positions::{Position, PositionSpan, mrope_positions};
pub use rope::Yarn;
pub use vision::{Stage, VisionModel, VisionObserver, inside_language_model};
pub use weights::Precision;
pub use windows::WindowOrder;
