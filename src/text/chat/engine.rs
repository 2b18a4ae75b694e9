//! The template engine, set up as Hugging Face sets up Jinja for chat templates, and held on a short leash: a template is
//! part of a file that may be hostile.

use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::{json, leash, time};
use crate::text::{Quoted, TextError};

const NAME: &str = "chat";

/// Work that any conversation may take: an instruction, or 64 bytes written, are one step. Memory is mostly bounded with
/// it, to about 32 MB; see [`leash`] for the rest.
const STEPS: u64 = 500_000;
/// Bytes of the conversation for which there is one step more: it may be copied some 30 times.
const BYTES_PER_STEP: u64 = 2;
/// Calls within calls, and blocks within blocks.
const RECURSION: usize = 100;
/// Bytes of output that any conversation may have.
const OUTPUT: usize = 1 << 20;
/// Bytes of output more for each byte of the conversation.
const OUTPUT_PER_BYTE: usize = 8;
/// A compiled template.
pub(super) struct Engine {
    env: Environment<'static>,
}

impl Engine {
    /// Compiles a template.
    ///
    /// # Errors
    /// [`TextError::TemplateSyntax`].
    pub(super) fn new(source: String) -> Result<Engine, TextError> {
        let mut env = Environment::new();
        env.set_debug(false);
        env.set_auto_escape_callback(|_| AutoEscape::None);
        env.set_syntax(white_space_rules()?);
        env.set_recursion_limit(RECURSION);
        env.set_unknown_method_callback(python_method);
        env.add_filter("tojson", to_json);
        env.add_function("raise_exception", raise);
        env.add_function("strftime_now", |format: &str| time::strftime(format, time::now()));
        // Not Jinja's, or of no use in a prompt, and without a bound on what they write.
        env.remove_global("debug");
        env.remove_filter("pprint");
        env.add_template_owned(NAME, source).map_err(|e| syntax_error(&e))?;
        Ok(Engine { env })
    }

    /// Runs the template on a conversation of `bytes` bytes.
    ///
    /// # Errors
    /// What the template raises, its own errors, and its limits.
    pub(super) fn render(&self, context: Value, bytes: usize) -> Result<String, TextError> {
        let mut env = self.env.clone();
        let fuel = STEPS.saturating_add(bytes as u64 / BYTES_PER_STEP);
        env.set_fuel(Some(fuel));
        let allowed = OUTPUT.saturating_add(bytes.saturating_mul(OUTPUT_PER_BYTE));
        leash::run(bytes, move || {
            let mut out = Limited { bytes: Vec::new(), allowed, full: false };
            let result = env.get_template(NAME).and_then(|t| t.render_captured_to(context, &mut out).map(drop));
            match result {
                _ if out.full => Err(TextError::TemplateOutput { allowed }),
                Err(e) => Err(run_error(&e, fuel)),
                // The engine writes strings.
                Ok(()) => Ok(String::from_utf8_lossy(&out.bytes).into_owned()),
            }
        })
    }
}

/// Block tags take the white space before them on their line, and the line's end after them.
fn white_space_rules() -> Result<SyntaxConfig, TextError> {
    SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(|e| syntax_error(&e))
}

fn syntax_error(e: &Error) -> TextError {
    TextError::TemplateSyntax { line: e.line().unwrap_or(0), detail: detail(e) }
}

/// Takes up to `allowed` bytes.
struct Limited {
    bytes: Vec<u8>,
    allowed: usize,
    full: bool,
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.allowed - self.bytes.len() {
            self.full = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn to_json(state: &State<'_, '_>, value: &Value, indent: Option<usize>, args: Kwargs) -> Result<String, Error> {
    let indent = match indent {
        Some(n) => Some(n),
        None => args.get("indent")?,
    };
    // Python's other options: these two are what is done here anyway.
    let _: Option<bool> = args.get("ensure_ascii")?;
    let _: Option<bool> = args.get("sort_keys")?;
    args.assert_all_used()?;
    json::dumps(value, indent, state)
}

/// The methods of Python's strings, lists and dictionaries.
fn python_method(state: &mut State<'_, '_>, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    if let (Some(text), "format") = (value.as_str(), method) {
        // Any number in it may be a width, and so many characters; the engine counts them only when they are there.
        let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty());
        let width = numbers.map(|n| n.parse().unwrap_or(u64::MAX)).fold(0, u64::saturating_add);
        state.consume_fuel(width / 64)?;
    }
    unknown_method_callback(state, value, method, args)
}

/// A template's own objection to a conversation.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

fn raise(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, "raise_exception").with_source(Raised(message)))
}

fn run_error(e: &Error, fuel: u64) -> TextError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(e);
    while let Some(c) = cause {
        if let Some(Raised(message)) = c.downcast_ref() {
            return TextError::TemplateRefuses { message: Quoted::new(message) };
        }
        if c.downcast_ref::<Error>().is_some_and(|e| e.kind() == ErrorKind::OutOfFuel) {
            return TextError::TemplateWork { fuel };
        }
        cause = c.source();
    }
    TextError::TemplateRun { line: e.line().unwrap_or(0), detail: detail(e) }
}

/// What happened, without the place.
fn detail(e: &Error) -> Quoted {
    match e.detail() {
        Some(detail) => Quoted::new(&format!("{}: {detail}", e.kind())),
        None => Quoted::new(&e.kind().to_string()),
    }
}
