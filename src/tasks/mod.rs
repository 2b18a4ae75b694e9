//! What people ask for, as typed results.

#![forbid(unsafe_code)]

pub mod act;
pub mod annotate;
pub mod eval;
pub mod extract;
pub mod find;
pub mod geometry;
pub mod locate;
pub mod look;
pub mod parse;
mod python_json;
mod said;
