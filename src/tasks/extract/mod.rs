//! Fills an object of a given JSON schema with what a picture or clip shows. The answer is held to the schema, so it fits.

mod evidence;
mod fields;
mod table;

use std::ops::ControlFlow;
use std::sync::Arc;

use serde_json::Value;

use super::geometry::View;
use super::python_json::python_json;
use crate::session::{
    Answer, Event, GenerateOptions, Grammar, GrammarError, Medium, Session, SessionError, StopReason, Turn,
};

pub use evidence::Evidence;
pub use fields::{FieldsError, fields};
pub use table::Table;

/// What is to be extracted, checked once for all files.
#[derive(Clone, Debug)]
pub struct Form {
    schema: Value,
    grammar: Arc<Grammar>,
    question: String,
}

/// What was extracted.
#[derive(Clone, Debug)]
pub struct Extracted {
    /// Fits the schema.
    pub data: Value,
    /// Where its values stand; empty where that wasn't asked.
    pub evidence: Vec<Evidence>,
    /// Whether the model was cut off: then the rest of the object is as short as the schema allows, and says nothing.
    pub cut: bool,
    /// The answers, the one about places last.
    pub answers: Vec<Answer>,
}

/// An extraction that can't be made.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The question can't be answered.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The answer isn't JSON, although it was held to be.
    #[error("the model's answer is no JSON: {0}")]
    NoJson(serde_json::Error),
}

impl Form {
    /// A form with this schema; `words` say more about what is wanted.
    ///
    /// # Errors
    /// The schema can't be enforced.
    pub fn new(schema: Value, words: Option<&str>) -> Result<Form, GrammarError> {
        let grammar = Arc::new(Grammar::json(&schema)?);
        let words = words.map(|words| format!("{words}\n")).unwrap_or_default();
        let question = format!(
            "{words}Extract the key-value information as JSON that fits this JSON schema:\n{}",
            python_json(&schema)
        );
        Ok(Form { schema, grammar, question })
    }

    /// What is asked.
    pub fn question(&self) -> &str {
        &self.question
    }

    /// The schema.
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// Fills it with what `medium` shows, in a conversation of its own. With `places`, asks where in the picture the values
    /// stand.
    ///
    /// # Errors
    /// [`ExtractError`].
    pub fn fill(
        &self,
        session: &mut Session<'_>,
        (medium, places): (Medium, bool),
        options: &GenerateOptions,
        on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Extracted, ExtractError> {
        session.clear();
        let held = |grammar: Arc<Grammar>| GenerateOptions { grammar: Some(grammar), ..options.clone() };
        let answer =
            session.ask(&Turn::new(None, vec![medium], &*self.question), &held(self.grammar.clone()), on_event)?;
        if answer.stop == StopReason::Interrupted {
            return Err(SessionError::Interrupted.into());
        }
        let data: Value = serde_json::from_str(&answer.text).map_err(ExtractError::NoJson)?;
        let cut = answer.stop != StopReason::End;
        let view = answer.media.first().and_then(View::of);
        let leaves = if places { evidence::leaves(&data) } else { Vec::new() };
        let mut filled = Extracted { data, evidence: Vec::new(), cut, answers: vec![answer] };
        if let (Some(view), false) = (view, leaves.is_empty()) {
            let schema = evidence::schema(&leaves, view.resized());
            let grammar = Arc::new(Grammar::json(&schema).map_err(SessionError::from)?);
            // What is forced is not the model's to say; four numbers for each value are.
            let max_tokens = options.max_tokens.max(96 * leaves.len());
            let held = GenerateOptions { max_tokens, ..held(grammar) };
            let answer = session.ask(&Turn::new(None, Vec::new(), evidence::question(&leaves)), &held, on_event)?;
            if answer.stop == StopReason::Interrupted {
                return Err(SessionError::Interrupted.into());
            }
            let told = serde_json::from_str(&answer.text).map_err(ExtractError::NoJson)?;
            filled.evidence = evidence::places(leaves, &told, &view);
            filled.answers.push(answer);
        }
        Ok(filled)
    }
}
