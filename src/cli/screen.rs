//! What a terminal is shown: never a control character that came from a file or from the model.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

/// Characters that change how a terminal shows the text around them: all controls, and the marks that reorder lines.
fn disturbs(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` on one line, for messages: what would move the cursor, colour or reorder is written as an escape (`\n`,
/// `\u{1b}`).
pub fn one_line(text: &str) -> Cow<'_, str> {
    if !text.chars().any(disturbs) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if disturbs(c) {
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
    }
    Cow::Owned(line)
}

/// `text` without control characters other than newline and tab, for answers on a terminal.
pub fn printable(text: &str) -> Cow<'_, str> {
    let shown = |c: char| !c.is_control() || c == '\n' || c == '\t';
    if text.chars().all(shown) { Cow::Borrowed(text) } else { Cow::Owned(text.chars().filter(|&c| shown(c)).collect()) }
}

/// Whether what was typed means yes.
pub fn means_yes(typed: &str) -> bool {
    matches!(typed.trim().to_lowercase().as_str(), "y" | "yes")
}

/// Writes `value` as JSON on one line, with the control characters that JSON needn't escape (U+007F to U+009F) escaped
/// too: it may be read on a terminal.
///
/// # Errors
/// Whatever writing to `out` gives.
pub fn write_json(value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    value.serialize(&mut serde_json::Serializer::with_formatter(out, NoControls)).map_err(io::Error::from)
}

struct NoControls;

impl serde_json::ser::Formatter for NoControls {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(char::is_control) {
            let (before, from) = rest.split_at(at);
            out.write_all(before.as_bytes())?;
            let mut chars = from.chars();
            if let Some(control) = chars.next() {
                write!(out, "\\u{:04x}", u32::from(control))?;
            }
            rest = chars.as_str();
        }
        out.write_all(rest.as_bytes())
    }
}

/// How this run talks, decided once from options, environment and where the streams lead.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Nothing but answers and errors.
    pub quiet: bool,
    /// 0, or how often `-v` was given.
    pub verbose: u8,
    /// Messages may be coloured.
    pub color: bool,
    /// Progress may be drawn on standard error.
    pub progress: bool,
}

impl Manner {
    /// From the options, `NO_COLOR`, `TERM` and whether standard error is a terminal.
    pub fn new(quiet: bool, verbose: u8, no_color: bool) -> Manner {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let terminal = io::stderr().is_terminal() && !dumb;
        Manner { quiet, verbose, color: terminal && !no_color && !set("NO_COLOR"), progress: terminal && !quiet }
    }

    /// A line for the person at the terminal; nothing with `--quiet`.
    pub fn note(&self, line: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "{}", one_line(line));
        }
    }

    /// A note that may be overlooked.
    pub fn dim(&self, line: &str) {
        if self.color && !self.quiet {
            let _ = writeln!(io::stderr(), "\u{1b}[2m{}\u{1b}[0m", one_line(line));
        } else {
            self.note(line);
        }
    }

    /// The one line that says why the run failed.
    pub fn error(&self, line: &str) {
        let (on, off) = if self.color { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
        let _ = writeln!(io::stderr(), "{on}error:{off} {}", one_line(line));
    }
}

/// Writes an answer to standard output piece by piece as it is made.
#[derive(Debug)]
pub struct AnswerWriter {
    out: io::Stdout,
    terminal: bool,
    ends_line: bool,
}

impl AnswerWriter {
    /// A writer to standard output.
    pub fn new() -> AnswerWriter {
        let out = io::stdout();
        AnswerWriter { terminal: out.is_terminal(), out, ends_line: true }
    }

    /// Writes and flushes one piece. Into a pipe or a file goes exactly what the model said.
    ///
    /// # Errors
    /// Whatever writing to standard output gives.
    pub fn piece(&mut self, text: &str) -> io::Result<()> {
        let text = if self.terminal { printable(text) } else { Cow::Borrowed(text) };
        if let Some(last) = text.chars().last() {
            self.ends_line = last == '\n';
        }
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Writes text whose control sequences are our own.
    ///
    /// # Errors
    /// Whatever writing to standard output gives.
    pub fn styled(&mut self, text: &str) -> io::Result<()> {
        if let Some(last) = text.chars().last() {
            self.ends_line = last == '\n';
        }
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Ends the answer with a newline, where it has none.
    ///
    /// # Errors
    /// Whatever writing to standard output gives.
    pub fn end(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.ends_line, true) {
            self.out.write_all(b"\n")?;
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::{one_line, printable, write_json};

    #[test]
    fn a_message_stays_on_one_line_and_moves_nothing() {
        assert_eq!(one_line("photo.jpg: too large"), "photo.jpg: too large");
        assert_eq!(one_line("a\u{1b}[2Jb\r\nc\u{9b}d\u{202e}e"), "a\\u{1b}[2Jb\\r\\nc\\u{9b}d\\u{202e}e");
        assert_eq!(one_line("grüße 日本 🙂"), "grüße 日本 🙂");
    }

    #[test]
    fn an_answer_keeps_newlines_and_tabs_only() {
        assert_eq!(printable("a\tb\nc"), "a\tb\nc");
        assert_eq!(printable("a\u{1b}]0;title\u{7}b\rc\u{9b}31md\u{7f}"), "a]0;titlebc31md");
    }

    #[test]
    fn json_holds_no_raw_control_character_and_says_the_same() {
        let said = "a\u{9b}31m\u{7f}\u{1b}[0m\n日本\u{80}";
        let mut json = Vec::new();
        write_json(&said, &mut json).expect("written");
        let json = String::from_utf8(json).expect("text");
        assert!(!json.chars().any(char::is_control), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).expect("valid"), said);
    }
}
