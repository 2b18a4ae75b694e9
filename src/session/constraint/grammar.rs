//! What an answer may be: a JSON schema, a Lark grammar, a regular expression, or a tool call.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use llguidance::api::{GrammarInit, GrammarWithLexer, ParserLimits, TopLevelGrammar, ValidationResult};
use serde_json::{Value, json};

use super::schema::{self, SchemaError, SchemaProblem};
use crate::text::Quoted;

/// Bytes of a grammar's text.
pub const MAX_GRAMMAR_BYTES: usize = 1 << 20;
/// Time to spend on finding the place of what is wrong.
const PATIENCE: Duration = Duration::from_secs(3);
/// Schemas nest, and so do the functions that read them.
pub(super) const STACK_BYTES: usize = 64 << 20;
/// The tags around a tool call, special tokens where the vocabulary has them.
const TOOL_TAGS: [&str; 2] = ["<tool_call>", "</tool_call>"];

/// Why an answer can't be held to a grammar.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GrammarError {
    /// The schema.
    #[error(transparent)]
    Schema(Box<SchemaError>),
    /// The Lark grammar, or the regular expression.
    #[error("{problem}")]
    Text {
        /// In the grammar engine's words.
        problem: Quoted,
    },
    /// More text than anyone writes.
    #[error("is {found} bytes long (at most {allowed})")]
    Length {
        /// Bytes.
        found: usize,
        /// Bytes that are taken.
        allowed: usize,
    },
    /// The system has no thread to spare.
    #[error("no thread to check the grammar in: {0}")]
    Thread(String),
}

impl From<SchemaError> for GrammarError {
    fn from(error: SchemaError) -> GrammarError {
        GrammarError::Schema(Box::new(error))
    }
}

/// What an answer may be. It is checked when it is made; with an answer it is enforced token by token.
#[derive(Debug)]
pub struct Grammar(Form);

#[derive(Debug, Clone)]
enum Form {
    Json(Value),
    Lark(String),
    Regex(String),
    ToolCall(Value),
}

impl Grammar {
    /// Values that fit a JSON schema, written on one line.
    ///
    /// # Errors
    /// [`SchemaError`], with the place: what can't be enforced, contradicts itself, or explodes.
    pub fn json(schema: &Value) -> Result<Grammar, GrammarError> {
        Grammar::of_schema(schema, Form::Json)
    }

    /// A tool call of the form that the models were trained on, its JSON by this schema.
    ///
    /// # Errors
    /// As [`Grammar::json`].
    pub fn tool_call(schema: &Value) -> Result<Grammar, GrammarError> {
        Grammar::of_schema(schema, Form::ToolCall)
    }

    /// Texts that a Lark grammar describes, in the dialect of the `llguidance` crate.
    ///
    /// # Errors
    /// The grammar has a mistake in it, or explodes.
    pub fn lark(grammar: &str) -> Result<Grammar, GrammarError> {
        Grammar::checked(Form::Lark(grammar.to_owned()), grammar.len())
    }

    /// Texts that match a regular expression as a whole.
    ///
    /// # Errors
    /// The expression has a mistake in it, or explodes.
    pub fn regex(expression: &str) -> Result<Grammar, GrammarError> {
        // The whole has to match anyway, and the engine knows no anchors.
        let inner = expression.strip_prefix('^').unwrap_or(expression);
        let inner = inner.strip_suffix('$').filter(|rest| !rest.ends_with('\\')).unwrap_or(inner);
        let found = if inner.len() > MAX_GRAMMAR_BYTES { None } else { schema::least::of_pattern(inner) };
        if let Some(found) = found.filter(|n| *n as u64 > schema::MAX_LEAST) {
            let problem = SchemaProblem::Long { found, allowed: schema::MAX_LEAST };
            return Err(GrammarError::Text { problem: Quoted::new(&problem.to_string()) });
        }
        Grammar::checked(Form::Regex(inner.to_owned()), expression.len())
    }

    fn of_schema(schema: &Value, form: fn(Value) -> Form) -> Result<Grammar, GrammarError> {
        let bytes = schema.to_string().len();
        in_thread(|| {
            let ready = schema::ready(schema, None)?;
            match Grammar::checked(form(ready), bytes) {
                Err(GrammarError::Text { problem }) => Err(place(schema, problem).into()),
                other => other,
            }
        })?
    }

    fn checked(form: Form, bytes: usize) -> Result<Grammar, GrammarError> {
        if bytes > MAX_GRAMMAR_BYTES {
            return Err(GrammarError::Length { found: bytes, allowed: MAX_GRAMMAR_BYTES });
        }
        let grammar = Grammar(form);
        let checked = in_thread(|| check(grammar.for_engine(false)))?;
        checked.map_err(|problem| GrammarError::Text { problem })?;
        Ok(grammar)
    }

    /// Whether values of JSON are made, which must not nest too deeply for those who read them.
    pub(super) fn is_json(&self) -> bool {
        matches!(self.0, Form::Json(_) | Form::ToolCall(_))
    }

    /// The patterns of a schema, in the grammar engine's dialect, each once.
    pub(super) fn patterns(&self) -> Vec<String> {
        let mut found = BTreeSet::new();
        if let Form::Json(schema) | Form::ToolCall(schema) = &self.0 {
            collect_patterns(schema, &mut found);
        }
        found.into_iter().map(str::to_owned).collect()
    }

    /// As the grammar engine takes it; `tags`: the vocabulary has tokens for tool calls.
    pub(super) fn for_engine(&self, tags: bool) -> TopLevelGrammar {
        let json = |schema: &Value| GrammarWithLexer::from_json_schema(on_one_line(schema));
        match &self.0 {
            Form::Json(schema) => TopLevelGrammar::from_grammar(json(schema)),
            Form::Lark(text) => TopLevelGrammar::from_lark(text.clone()),
            Form::Regex(text) => TopLevelGrammar::from_regex(text),
            Form::ToolCall(schema) => {
                let [open, close] = TOOL_TAGS.map(|tag| if tags { tag.to_owned() } else { format!("\"{tag}\"") });
                let lark = format!("start: {open} \"\\n\" @call \"\\n\" {close}");
                let call = GrammarWithLexer { name: Some("call".to_owned()), ..json(schema) };
                TopLevelGrammar { grammars: vec![GrammarWithLexer::from_lark(lark), call], max_tokens: None }
            }
        }
    }

    /// The special tokens that it needs where the vocabulary has them.
    pub(super) fn tags(&self) -> &'static [&'static str] {
        if matches!(self.0, Form::ToolCall(_)) { &TOOL_TAGS } else { &[] }
    }
}

/// Limits of work and memory: what real schemas need many times over.
pub(super) fn limits() -> ParserLimits {
    ParserLimits {
        // Each takes up to 2 kB.
        max_lexer_states: 50_000,
        max_grammar_size: 200_000,
        verbose_errors: false,
        ..ParserLimits::default()
    }
}

/// JSON as Python writes it, which is what the models were trained on; one way to write each thing leaves less to compute.
fn on_one_line(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Value::Object(map) = &mut schema {
        let style = json!({"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": false});
        map.insert("x-guidance".to_owned(), style);
    }
    schema
}

/// Values of the keyword; where a literal or a name looks like one, that does no harm.
fn collect_patterns<'a>(schema: &'a Value, found: &mut BTreeSet<&'a str>) {
    match schema {
        Value::Object(map) => {
            found.extend(map.get("pattern").and_then(Value::as_str));
            map.values().for_each(|value| collect_patterns(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| collect_patterns(value, found)),
        _ => {}
    }
}

/// Compiles a grammar without a vocabulary.
fn check(grammar: TopLevelGrammar) -> Result<(), Quoted> {
    match GrammarInit::Serialized(grammar).validate(None, limits()) {
        ValidationResult::Error(problem) => Err(Quoted::new(tidy(&problem))),
        ValidationResult::Valid | ValidationResult::Warnings(_) => Ok(()),
    }
}

/// What an error says, without the engine's own marks.
pub(super) fn tidy(problem: &str) -> &str {
    problem.trim_end_matches("<non-verbose/>").trim().trim_start_matches("Unsatisfiable schema: ")
}

/// The innermost part of the schema that can't be compiled by itself, with what the engine says about it.
fn place(schema: &Value, problem: Quoted) -> SchemaError {
    let start = Instant::now();
    let mut parts = Vec::new();
    // It has been made ready before.
    let whole = schema::ready(schema, Some(&mut parts)).unwrap_or_default();
    for (pointer, mut part) in parts {
        if start.elapsed() > PATIENCE {
            break;
        }
        part["$defs"] = whole["$defs"].clone();
        if let Err(detail) = check(TopLevelGrammar::from_json_schema(on_one_line(&part))) {
            return SchemaError { pointer, problem: SchemaProblem::Unfit { detail } };
        }
    }
    SchemaError { pointer: String::new(), problem: SchemaProblem::Unfit { detail: problem } }
}

/// Runs something that may need much stack.
fn in_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, GrammarError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        let thread = thread.map_err(|e| GrammarError::Thread(e.to_string()))?;
        Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
