//! The line that is typed: history, completion, hints, colours, lines that go on.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::config::{Builder, CompletionType};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};

use super::command::COMMANDS;
use super::paths::looks_like_media;
use crate::cli::exit::CliError;
use crate::cli::screen::{means_yes, one_line};

/// Lines that are remembered.
const HISTORY: usize = 2000;

/// What came of reading a line.
pub enum Typed {
    /// A line; several where they were continued.
    Line(String),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D.
    End,
}

/// Reads lines from the terminal.
pub struct Editor {
    inner: rustyline::Editor<Assistant, FileHistory>,
    history: Option<PathBuf>,
}

impl Editor {
    /// An editor with the history of earlier conversations.
    ///
    /// # Errors
    /// The terminal can't be set up.
    pub fn new(color: bool) -> Result<Editor, CliError> {
        let config = Builder::new()
            .completion_type(CompletionType::List)
            .bracketed_paste(true)
            .max_history_size(HISTORY)
            .and_then(|b| b.history_ignore_dups(true))
            .map_err(failed)?
            .build();
        let mut inner = rustyline::Editor::with_config(config).map_err(failed)?;
        inner.set_helper(Some(Assistant { files: FilenameCompleter::new(), color }));
        let folder = dirs::state_dir().or_else(dirs::data_local_dir).map(|d| d.join("qlens"));
        let history = folder.filter(|d| std::fs::create_dir_all(d).is_ok()).map(|d| d.join("history"));
        if let Some(file) = &history {
            // None yet, or one that can't be read: then it starts empty.
            let _ = inner.load_history(file);
        }
        Ok(Editor { inner, history })
    }

    /// Asks yes or no; Ctrl-C and Ctrl-D give `given_up`.
    ///
    /// # Errors
    /// The terminal can't be read from.
    pub fn agrees(&mut self, question: &str, given_up: bool) -> Result<bool, CliError> {
        match self.inner.readline(&format!("{} [y/N] ", one_line(question))) {
            Ok(typed) => Ok(means_yes(&typed)),
            Err(ReadlineError::Interrupted | ReadlineError::Eof) => Ok(given_up),
            Err(e) => Err(failed(e)),
        }
    }

    /// Reads a line that begins with `draft`.
    ///
    /// # Errors
    /// The terminal can't be read from.
    pub fn read(&mut self, draft: &str) -> Result<Typed, CliError> {
        match self.inner.readline_with_initial("> ", (draft, "")) {
            Ok(line) => {
                let _ = self.inner.add_history_entry(line.as_str());
                if let Some(file) = &self.history {
                    // Kept line by line, so that a lost terminal loses none.
                    let _ = self.inner.append_history(file);
                }
                Ok(Typed::Line(line.replace("\\\n", "\n")))
            }
            Err(ReadlineError::Interrupted) => Ok(Typed::Interrupt),
            Err(ReadlineError::Eof) => Ok(Typed::End),
            Err(e) => Err(failed(e)),
        }
    }
}

fn failed(e: ReadlineError) -> CliError {
    CliError::Editor(e.to_string())
}

struct Assistant {
    files: FilenameCompleter,
    color: bool,
}

impl Helper for Assistant {}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        if let Some(begun) = line[..at].strip_prefix('/').filter(|b| !b.contains([' ', '/'])) {
            let fitting = COMMANDS.iter().filter(|c| c.0.starts_with(begun));
            let pairs: Vec<Pair> = fitting
                .map(|c| Pair { display: format!("/{} {}", c.0, c.1), replacement: format!("/{} ", c.0) })
                .collect();
            if !pairs.is_empty() {
                return Ok((0, pairs));
            }
        }
        let (start, mut found) = self.files.complete_path(line, at)?;
        // Folders and what can be shown first; the order within stays.
        found.sort_by_key(|pair| {
            let path = Path::new(&pair.display);
            !(pair.display.ends_with('/') || looks_like_media(path))
        });
        Ok((start, found))
    }
}

impl Hinter for Assistant {
    type Hint = String;

    fn hint(&self, line: &str, at: usize, _: &Context<'_>) -> Option<String> {
        let begun = line.strip_prefix('/').filter(|b| at == line.len() && !b.is_empty() && !b.contains('/'))?;
        if let Some(word) = begun.strip_suffix(' ') {
            return COMMANDS.iter().find(|c| c.0 == word).map(|c| c.1.to_owned());
        }
        let mut fitting = COMMANDS.iter().filter(|c| c.0.starts_with(begun));
        let (name, arguments, _) = fitting.next().filter(|_| fitting.next().is_none())?;
        Some(format!("{} {arguments}", &name[begun.len()..]).trim_end().to_owned())
    }
}

impl Highlighter for Assistant {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        let command = line.strip_prefix('/').map(|rest| rest.split(' ').next().unwrap_or_default());
        match command.filter(|c| self.color && COMMANDS.iter().any(|known| known.0 == *c)) {
            Some(command) => {
                let (command, rest) = line.split_at(command.len() + 1);
                Cow::Owned(format!("\u{1b}[36m{command}\u{1b}[0m{rest}"))
            }
            None => Cow::Borrowed(line),
        }
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        if self.color { Cow::Owned(format!("\u{1b}[1;34m{prompt}\u{1b}[0m")) } else { Cow::Borrowed(prompt) }
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.color { Cow::Owned(format!("\u{1b}[2m{hint}\u{1b}[0m")) } else { Cow::Borrowed(hint) }
    }

    fn highlight_char(&self, line: &str, _: usize, _: CmdKind) -> bool {
        self.color && line.starts_with('/')
    }
}

impl Validator for Assistant {
    fn validate(&self, ctx: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let goes_on = ctx.input().ends_with('\\');
        Ok(if goes_on { ValidationResult::Incomplete } else { ValidationResult::Valid(None) })
    }
}
