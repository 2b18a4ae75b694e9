//! What can be wrong with a JSON schema, and where.

use std::fmt::Write as _;

use serde_json::Value;

use crate::text::Quoted;

/// A schema that no answer can be held to.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}: {problem}", if .pointer.is_empty() { "at the top" } else { .pointer })]
pub struct SchemaError {
    /// Where in the schema, as a JSON pointer; empty for the whole.
    pub pointer: String,
    /// What is wrong there.
    pub problem: SchemaProblem,
}

/// What is wrong at a place in a schema.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SchemaProblem {
    #[error("a schema is an object, true or false, not {found}")]
    NotASchema { found: &'static str },
    #[error("`{keyword}` can't be enforced while an answer is made")]
    Keyword { keyword: &'static str },
    #[error("`{keyword}` is {found} (must be {allowed})")]
    Value { keyword: &'static str, found: Quoted, allowed: &'static str },
    #[error("`format` {found} can't be enforced (can be: {known})")]
    Format { found: Quoted, known: &'static str },
    #[error("`$ref` {found} leads nowhere (understood: places in the same schema, such as #/$defs/name)")]
    Reference { found: Quoted },
    #[error("no answer could ever end: it always contains itself")]
    Endless,
    #[error("`{lower}` {low} is more than `{upper}` {high}")]
    Crossed { lower: &'static str, low: String, upper: &'static str, high: String },
    #[error("`{keyword}` {found} is beyond what is enforced (at most {allowed})")]
    Size { keyword: &'static str, found: String, allowed: u64 },
    #[error("it matches no text of fewer than {found} bytes (at most {allowed})")]
    Long { found: usize, allowed: u64 },
    #[error("an answer would have {found} bytes or more (at most {allowed})")]
    Large { found: u64, allowed: u64 },
    #[error("`minProperties` {found} needs as many names that are listed, since free ones may come twice")]
    FreeNames { found: u64 },
    #[error("it nests deeper than {allowed} levels")]
    Depth { allowed: usize },
    #[error("with all that it refers to it has more than {allowed} parts")]
    Parts { allowed: usize },
    #[error("it refers to more than {allowed} places")]
    References { allowed: usize },
    #[error("{detail}")]
    Unfit { detail: Quoted },
}

/// A place in a schema.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    pub pointer: String,
    pub depth: usize,
}

impl Place {
    /// A place below this one.
    pub fn join(&self, step: &str) -> Place {
        let mut pointer = self.pointer.clone();
        let _ = write!(pointer, "/{}", step.replace('~', "~0").replace('/', "~1"));
        Place { pointer, depth: self.depth + 1 }
    }

    /// The error for a problem here.
    pub fn error(&self, problem: SchemaProblem) -> SchemaError {
        SchemaError { pointer: self.pointer.clone(), problem }
    }

    /// The error for a keyword here whose value can't be.
    pub fn value(&self, keyword: &'static str, found: &Value, allowed: &'static str) -> SchemaError {
        let found = Quoted::new(&match found {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        self.join(keyword).error(SchemaProblem::Value { keyword, found, allowed })
    }
}

/// The kind of a JSON value, in words.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
