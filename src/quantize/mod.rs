//! Files of smaller types: which type each tensor gets, what matters in it, and the writing.
//!
//! A [`Mix`] is what people ask for (`Q4_K_M`), [`Rules`] say what that means for each tensor, a [`Plan`] is a file's
//! tensors with their new types, and [`Plan::write`] makes the file. The rules are llama.cpp's, so that a name means the
//! same file here and there.
#![forbid(unsafe_code)]

mod collect;
mod error;
mod importance;
mod mix;
mod plan;
mod rules;
mod state;
mod write;

#[cfg(test)]
#[cfg_attr(not(feature = "ggml"), allow(dead_code, unused_imports))]
mod tests;

pub use collect::InputSquares;
pub use error::QuantizeError;
pub use importance::{Entry, Importance};
pub use mix::Mix;
pub use plan::{Plan, Planned, types};
pub use rules::Rules;
pub use write::Progress;
