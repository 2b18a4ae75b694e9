//! The conversation at the terminal: reads lines, carries out commands, asks questions. A script of turns on standard
//! input takes the same way without the editor.

mod attach;
mod clipboard;
mod command;
mod editor;
mod export;
mod keep;
mod markdown;
mod paths;
mod preview;

use std::io::{self, BufRead, Read, Write};

pub use command::CommandError;
pub use markdown::Markdown;

use super::ask::Asker;
use super::exit::{CliError, in_words};
use super::interrupt;
use super::report::Before;
use super::screen::Manner;
use crate::session::{Engine, GenerateOptions, KeptMedium, Medium, SessionError, Turn, TurnPart};
use crate::text::TextError;
use command::Command;
use editor::{Editor, Typed};

/// Bytes of one line; what a context holds is far less.
const MAX_LINE_BYTES: u64 = 16 << 20;

/// What goes from one model to the next.
#[derive(Default)]
pub struct Carried {
    /// How answers are made.
    pub options: GenerateOptions,
    /// The system message.
    pub system: Option<String>,
    /// To be shown with the next question.
    pub media: Vec<Medium>,
    /// To be shown too, as it was measured for the model before.
    pub pending: Vec<KeptMedium>,
    /// The conversation so far, as `/save` writes it.
    pub saved: Option<Vec<u8>>,
}

/// How the conversation looks.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// A person types.
    pub talking: bool,
    /// Thumbnails are drawn.
    pub preview: bool,
    /// Answers are JSON.
    pub json: bool,
}

/// How a conversation with one model ends.
pub enum Next {
    /// For good.
    Leave,
    /// It goes on with another model.
    Model(String),
}

/// A conversation with one model.
pub struct Repl<'e> {
    engine: &'e Engine,
    asker: Asker<'e>,
    system: Option<String>,
    /// Shown with the next question, then gone.
    pending: Vec<KeptMedium>,
    before: Before,
    style: Style,
    manner: Manner,
    /// What the next line begins with, after `/edit`.
    draft: String,
    /// Where a person types.
    editor: Option<Editor>,
}

impl<'e> Repl<'e> {
    /// A conversation that goes on with what was `carried`.
    ///
    /// # Errors
    /// The model can't take what is to be shown, or what was said.
    pub fn new(
        engine: &'e Engine,
        carried: &Carried,
        before: Before,
        (style, manner): (Style, Manner),
    ) -> Result<Repl<'e>, CliError> {
        let mut asker = Asker::new(engine, carried.options.clone(), manner, style.json);
        asker.typeset = style.talking && manner.color;
        let (system, pending, draft) = (carried.system.clone(), Vec::new(), String::new());
        let mut repl = Repl { engine, asker, system, pending, before, style, manner, draft, editor: None };
        if let Some(saved) = &carried.saved {
            repl.take_over(saved)?;
        }
        for kept in &carried.pending {
            repl.pending.push(repl.asker.session().measure_again(kept)?);
        }
        carried.media.iter().try_for_each(|medium| repl.attach(medium, None))?;
        Ok(repl)
    }

    /// Talks until the end.
    ///
    /// # Errors
    /// Of a person's line none but those after which nothing goes on: it is told, and the talk goes on. A script ends with
    /// its first.
    pub fn run(&mut self) -> Result<Next, CliError> {
        if self.style.talking { self.with_a_person() } else { self.with_a_pipe() }
    }

    fn with_a_pipe(&mut self) -> Result<Next, CliError> {
        let mut input = io::stdin().lock();
        let mut number = 0;
        while let Some(line) = next_line(&mut input, &mut number)? {
            if line.is_empty() {
                continue;
            }
            let done = self.line(&line).map_err(|e| CliError::Line { line: number, source: Box::new(e) });
            if let Some(next) = done? {
                return Ok(next);
            }
        }
        Ok(Next::Leave)
    }

    fn with_a_person(&mut self) -> Result<Next, CliError> {
        interrupt::only_stops_answers();
        self.manner.note("Ask away; /help lists the commands, Ctrl-D ends.");
        self.editor = Some(Editor::new(self.manner.color)?);
        loop {
            let draft = std::mem::take(&mut self.draft);
            let typed = self.editor.as_mut().map_or(Ok(Typed::End), |editor| editor.read(&draft))?;
            interrupt::forget();
            match typed {
                Typed::Line(line) if line.trim().is_empty() => {}
                Typed::Line(line) => match self.line(line.trim()) {
                    Ok(None) => {}
                    Ok(Some(next)) => return Ok(next),
                    // Nobody is there to be told.
                    Err(e @ CliError::Stdout(_)) => return Err(e),
                    Err(CliError::Session(SessionError::Interrupted)) => {
                        self.manner.note("(stopped before there was an answer; the question isn't kept)");
                    }
                    // It still runs, and takes more: nothing but the program's end stops it.
                    Err(
                        e @ CliError::Session(SessionError::Text(
                            TextError::TemplateTime { .. } | TextError::TemplateMemory { .. },
                        )),
                    ) => return Err(e),
                    Err(e) => self.manner.error(&in_words(&e)),
                },
                Typed::Interrupt => {
                    let editor = self.editor.as_mut();
                    // A third Ctrl-C is answer enough.
                    if editor.map_or(Ok(true), |editor| editor.agrees("Leave the conversation?", true))? {
                        return Ok(Next::Leave);
                    }
                }
                Typed::End => return Ok(Next::Leave),
            }
        }
    }

    /// Does what a line asks for.
    fn line(&mut self, line: &str) -> Result<Option<Next>, CliError> {
        if self.style.talking {
            // A dragged path begins with a slash as commands do.
            let (files, rest) = paths::media_in(line, &|path| path.is_file());
            let command = !matches!(command::parse(line), Ok(None) | Err(CommandError::Unknown(_)));
            if !files.is_empty() && !command {
                files.iter().try_for_each(|file| self.attach_file(file.as_os_str(), None))?;
                return if rest.is_empty() { Ok(None) } else { self.ask(&rest).map(|()| None) };
            }
        }
        match command::parse(line)? {
            None => self.ask(line.strip_prefix('/').filter(|l| l.starts_with('/')).unwrap_or(line)).map(|()| None),
            Some(command) => self.carry_out(command),
        }
    }

    fn carry_out(&mut self, command: Command) -> Result<Option<Next>, CliError> {
        match command {
            Command::Image(files) => {
                let files = files.iter().map(|file| paths::file_of(file));
                files.into_iter().try_for_each(|file| self.attach_file(file.as_os_str(), None))?;
            }
            Command::Video(file, fps) => self.attach_file(paths::file_of(&file).as_os_str(), fps)?,
            Command::Paste => self.paste()?,
            Command::Files => self.files(),
            Command::Drop(which) => self.drop_medium(which)?,
            Command::Clear => {
                self.asker.session().clear();
                self.pending.clear();
                self.manner.note("a new conversation");
            }
            Command::Undo => {
                let undone = self.undo()?;
                self.manner.note(&format!("taken back: {}", shortened(&undone)));
            }
            Command::Retry => self.retry()?,
            Command::Edit(text) => {
                let said = self.undo()?;
                match text {
                    Some(text) => self.ask(&text)?,
                    None if self.style.talking => self.draft = said,
                    None => self.ask(&said)?,
                }
            }
            Command::System(text) => self.set_system(text),
            Command::Set(option) => self.set(option)?,
            Command::Model(name) => return Ok(Some(Next::Model(name))),
            Command::Save(file) => self.save(&file)?,
            Command::Load(file) => self.load(&file)?,
            Command::Export(file) => self.export(&file)?,
            Command::Stats => self.stats(),
            Command::Help => self.help(),
            Command::Quit => return Ok(Some(Next::Leave)),
        }
        Ok(None)
    }

    /// Asks `text` with what is to be shown. On an error that stays attached.
    fn ask(&mut self, text: &str) -> Result<(), CliError> {
        let media = self.pending.iter().cloned().map(TurnPart::Again);
        let parts = media.chain([TurnPart::Text(text.to_owned())]).collect();
        let turn = Turn { system: self.system.clone(), parts };
        loop {
            match self.asker.ask(&turn, self.before) {
                Ok(()) => break,
                Err(CliError::Session(full @ SessionError::ContextFull { .. })) if self.style.talking => {
                    self.manner.error(&in_words(&full));
                    if !self.makes_room()? {
                        return Ok(());
                    }
                }
                Err(e) => return Err(e),
            }
        }
        self.pending.clear();
        self.before = Before::default();
        // The same seed would make the same choices at each turn.
        self.asker.options.sampling.seed = self.asker.options.sampling.seed.wrapping_add(1);
        self.warn_when_full();
        Ok(())
    }

    /// Offers to drop the oldest picture or clip; whether that was done.
    fn makes_room(&mut self) -> Result<bool, CliError> {
        let Some(oldest) = self.asker.session().media().next() else {
            self.manner.note("(nothing that was shown could make room: /undo, or /clear)");
            return Ok(false);
        };
        let question = format!("Drop {} ({} tokens), and ask again?", oldest.name, oldest.tokens);
        if !self.agrees(&question)? {
            return Ok(false);
        }
        self.asker.session().drop_medium(0);
        Ok(true)
    }

    fn warn_when_full(&mut self) {
        let (held, ctx) = (self.asker.session().held_tokens(), self.engine.ctx());
        if held * 100 < ctx * 85 {
            return;
        }
        let percent = held * 100 / ctx.max(1);
        let advice = match self.asker.session().media().next() {
            Some(m) => format!("/drop takes the oldest of what was shown out: {}, {} tokens", m.name, m.tokens),
            None => "/clear begins anew".to_owned(),
        };
        self.manner.note(&format!("(the context is {percent} % full; {advice})"));
    }

    fn undo(&mut self) -> Result<String, CliError> {
        let undone = self.asker.session().undo().ok_or(CommandError::Nothing("nothing has been asked yet"))?;
        // What was shown with it is shown with the next question.
        self.pending = undone.media;
        Ok(undone.text)
    }

    fn retry(&mut self) -> Result<(), CliError> {
        if self.asker.retry()? {
            self.asker.options.sampling.seed = self.asker.options.sampling.seed.wrapping_add(1);
            if self.asker.options.sampling.temperature == 0.0 {
                self.manner.note("(at temperature 0 it is the same answer; /set temp 0.7 makes it livelier)");
            }
            return Ok(());
        }
        Err(CommandError::Nothing("nothing has been asked yet").into())
    }

    fn set_system(&mut self, text: Option<String>) {
        match text {
            Some(text) => {
                self.system = Some(text);
                let begun = !self.asker.session().history().is_empty();
                let when = if begun { "from the next conversation on (/clear begins one)" } else { "from now on" };
                self.manner.note(&format!("system message set, {when}"));
            }
            None => self.manner.note(&format!("system: {}", self.system.as_deref().unwrap_or("the model's own"))),
        }
    }

    fn help(&self) {
        let mut err = io::stderr().lock();
        for (name, arguments, what) in command::COMMANDS {
            let _ = writeln!(err, "  {:<30}{what}", format!("/{name} {arguments}"));
        }
        let _ = writeln!(err, "  Paths may be dragged or pasted into a question. A line that ends with \\ goes on.");
        let _ = writeln!(err, "  Ctrl-C stops an answer and keeps what was said; Ctrl-R searches what was typed.");
    }

    /// Asks a person yes or no; no where there is none.
    fn agrees(&mut self, question: &str) -> Result<bool, CliError> {
        self.editor.as_mut().map_or(Ok(false), |editor| editor.agrees(question, false))
    }
}

/// The beginning of what was said.
fn shortened(text: &str) -> String {
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(60).collect();
    if chars.next().is_some() { format!("{start}…") } else { start }
}

/// The next line without the space around it; `None` at the end.
fn next_line(input: &mut impl BufRead, number: &mut usize) -> Result<Option<String>, CliError> {
    let mut line = Vec::new();
    let read = input.take(MAX_LINE_BYTES).read_until(b'\n', &mut line).map_err(CliError::Stdin)?;
    if read == 0 {
        return Ok(None);
    }
    *number += 1;
    match std::str::from_utf8(&line) {
        Ok(line) => Ok(Some(line.trim().to_owned())),
        Err(_) => Err(CliError::StdinText { line: *number }),
    }
}
