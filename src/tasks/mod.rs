//! What people ask for, as typed results.

#![forbid(unsafe_code)]

pub mod find;
