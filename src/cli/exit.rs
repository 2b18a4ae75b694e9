//! How a run ends: the one place where errors become exit codes and lines that people read.

mod codes;

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use codes::{convert, gguf, input, load, media, quantize, session, settings, store};

use super::many::ResumeError;
use super::repl::CommandError;
use super::settings::SettingsError;
use crate::convert::ConvertError;
use crate::gguf::GgufError;
use crate::media::MediaError;
use crate::quantize::QuantizeError;
use crate::session::{GrammarError, LoadError, SavedError, SessionError};
use crate::store::StoreError;
use crate::tasks::act::ActError;
use crate::tasks::eval::EvalError;
use crate::tasks::extract::{ExtractError, FieldsError};
use crate::tasks::find::JournalError;

/// The exit codes. 65 to 74 are those of BSD's `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All done.
    Done = 0,
    /// Failed for a reason that has no code of its own.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// A file's content is bad.
    BadData = 65,
    /// There is no such input, or it may not be read.
    NoInput = 66,
    /// There is no model, or none that can do this.
    NoModel = 69,
    /// Reading or writing failed.
    Io = 74,
    /// Ctrl-C.
    Interrupted = 130,
}

impl Exit {
    /// The number.
    pub fn code(self) -> i32 {
        self as i32
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// `describe` without a file.
    #[error("describe needs a picture or a clip: qlens describe FILE… (to ask without one: qlens chat -p \"…\")")]
    NoFile,
    /// `imatrix` without anything to look at.
    #[error("imatrix needs something to look at: pictures or clips, -p TEXT, or --prompts FILE")]
    NothingToLearn,
    /// Standard input was named more than once.
    #[error("standard input (-) can be read only once, not {times} times")]
    StdinTwice {
        /// How often.
        times: usize,
    },
    /// Standard input was named as a picture, and would also have to give the questions.
    #[error("standard input can't give both the picture (-) and the questions: ask with -p, or name a file")]
    StdinBoth,
    /// A part of a picture.
    #[error("{name}: is a picture; only of a clip can a part (#t=…) be named")]
    PartOfPicture {
        /// The picture.
        name: String,
    },
    /// A clip among pictures that are to become one.
    #[error("{name}: is a clip; --as-clip takes pictures")]
    ClipInList {
        /// The clip.
        name: String,
    },
    /// A picture where a clip is wanted.
    #[error("{name}: is a picture, not a clip; several pictures become one with --as-clip")]
    NotAClip {
        /// The picture.
        name: String,
    },
    /// Not one clip.
    #[error("one clip is searched at a time, not {found} files (pictures become one clip with --as-clip)")]
    OneClip {
        /// How many were named.
        found: usize,
    },
    /// The pixel bounds cross.
    #[error("--min-pixels {min} is more than --max-pixels {max}")]
    PixelsCrossed {
        /// The lower bound.
        min: usize,
        /// The upper bound.
        max: usize,
    },
    /// A forced token that the model does not have.
    #[error("--force holds token {token}, but {model} has tokens 0 to {last}")]
    ForcedToken {
        /// The token.
        token: u32,
        /// The model's file.
        model: String,
        /// The vocabulary's last token.
        last: usize,
    },
    /// More logits than anyone could want.
    #[error(
        "{steps} steps of {vocab} logits each would take {gib} GiB; at most 4 GiB are written, so at most {allowed} steps"
    )]
    TraceTooLarge {
        /// Steps asked for.
        steps: usize,
        /// Logits per step.
        vocab: usize,
        /// Their size.
        gib: usize,
        /// Steps that would fit.
        allowed: usize,
    },
    /// Nothing is called so.
    #[error("no model is called `{name}`; {hint}")]
    UnknownModel {
        /// The name.
        name: String,
        /// What to do.
        hint: String,
    },
    /// A model that another program downloaded.
    #[error("{name} is {holder}'s ({file}); qlens removes only what it has downloaded itself")]
    NotOurs {
        /// The model.
        name: String,
        /// The other program.
        holder: &'static str,
        /// Where it is.
        file: PathBuf,
    },
    /// Nobody can be asked.
    #[error("{name} is removed only with --yes where nobody can be asked")]
    SayYes {
        /// The model.
        name: String,
    },
    /// There is no place for settings.
    #[error("no config folder is known for this user: set HOME, or name a file in $QLENS_CONFIG")]
    NoConfigFolder,
    /// The settings can't be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A model can't be fetched.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nowhere to keep a synthetic model.
    #[error("no cache folder is known for this user: set HOME (or XDG_CACHE_HOME)")]
    NoCacheFolder,
    /// A measurement asks for more tokens than the context may have.
    #[error("--{option} {found} needs room for {needed} tokens, but the model has positions for {limit}")]
    BenchTooLong {
        /// The option.
        option: &'static str,
        /// Its value.
        found: usize,
        /// Tokens in all.
        needed: usize,
        /// What the model allows.
        limit: usize,
    },
    /// A line that begins with a slash and is no command, or not a whole one.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A saved conversation can't be used.
    #[error("{path}: {source}")]
    Saved {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SavedError,
    },
    /// A file can't be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The terminal can't be read from.
    #[error("the terminal: {0}")]
    Editor(String),
    /// A file can't be written.
    #[error("{path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Standard output can't be written to.
    #[error("standard output: {0}")]
    Stdout(io::Error),
    /// Standard input can't be read.
    #[error("standard input: {0}")]
    Stdin(io::Error),
    /// A question on standard input isn't text.
    #[error("standard input: line {line} is not UTF-8 text")]
    StdinText {
        /// Which line, from 1.
        line: usize,
    },
    /// A line of a script of turns can't be done.
    #[error("standard input, line {line}: {source}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// Why.
        source: Box<CliError>,
    },
    /// `locate` without a thing.
    #[error("WHAT names nothing to find")]
    NothingToFind,
    /// One file is named for what comes of several.
    #[error("{option} {path}: what comes of {files} files needs a folder, not one file")]
    FolderWanted {
        /// The option.
        option: &'static str,
        /// What it names.
        path: PathBuf,
        /// How many files are looked at.
        files: usize,
    },
    /// Labels of several pictures, and no folder for them.
    #[error("--yolo writes a file of labels for each of {files} pictures, which needs a folder: -o DIR")]
    YoloFolder {
        /// How many files are looked at.
        files: usize,
    },
    /// A file whose name says that it is something else.
    #[error("{option} {path}: writes a file that ends with {}", endings(.known))]
    Ending {
        /// The option.
        option: &'static str,
        /// What it names.
        path: PathBuf,
        /// The endings of what it can write.
        known: &'static [&'static str],
    },
    /// Files that were to be one clip, and to be asked about each on its own.
    #[error("--as-clip makes one clip of all files, but {option} asks about each on its own")]
    EachOfClip {
        /// The option.
        option: &'static str,
    },
    /// Nothing among what was named.
    #[error("{place}: there is nothing to look at in it")]
    NoneIn {
        /// The folder or list.
        place: String,
    },
    /// A pattern that can't be used, or that nothing matches.
    #[error("{pattern}: {problem}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        problem: String,
    },
    /// A clip where a picture is wanted.
    #[error("{name}: is a clip; say when to look, as in {name}#t=12.5 or {name}#t=10,20, or how often with --fps")]
    NoTime {
        /// The clip.
        name: String,
    },
    /// A time that a clip doesn't have.
    #[error("{name}: {seconds} s is outside of the clip, which lasts {duration:.2} s")]
    OutsideClip {
        /// The clip.
        name: String,
        /// The time.
        seconds: f64,
        /// How long it is.
        duration: f64,
    },
    /// A clip that shows nothing at a time.
    #[error("{name}: no frame can be decoded at {seconds} s")]
    NoFrame {
        /// The clip.
        name: String,
        /// The time.
        seconds: f64,
    },
    /// None of the pages that were asked for.
    #[error("{name}: has {pages} pages, none of which is among --pages")]
    NoSuchPages {
        /// The document.
        name: String,
        /// How many it has.
        pages: usize,
    },
    /// A file that a run can't be gone on with.
    #[error("{path}: {source}")]
    Resume {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ResumeError,
    },
    /// Of many files, some couldn't be done; each was told.
    #[error("{failed} of {total} files could not be done, or not wholly")]
    SomeFailed {
        /// How many.
        failed: usize,
        /// Of how many.
        total: usize,
        /// The code that all of them would have ended with, or that of no special reason.
        exit: Exit,
    },
    /// A file that a search can't be gone on with.
    #[error("{path}: {source}")]
    Journal {
        /// The file.
        path: PathBuf,
        /// Why.
        source: JournalError,
    },
    /// A file that was to be made is there already.
    #[error("{path}: exists already; nothing is overwritten, so remove it first or name another file")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// There is no room for what is to be written.
    #[error("{path}: needs {needed}, but only {free} are free there")]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// Its size.
        needed: String,
        /// What is free.
        free: String,
    },
    /// Both files of a pair would have one name.
    #[error("{path}: can't be both the language model's file and the vision model's")]
    OneFile {
        /// The file.
        path: PathBuf,
    },
    /// Nothing to evaluate, or nothing to compare with.
    #[error("eval needs {missing}")]
    EvalNeeds {
        /// What.
        missing: &'static str,
    },
    /// A text file isn't text.
    #[error("{path}: is not UTF-8 text")]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// Models can't be evaluated.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// A checkpoint can't be converted.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// A clip where a picture is wanted.
    #[error("{name}: is a clip, not a picture of a screen")]
    NotAPicture {
        /// The clip.
        name: String,
    },
    /// A schema or grammar that answers can't be held to.
    #[error("{path}: {source}")]
    Grammar {
        /// The file.
        path: PathBuf,
        /// Why.
        source: GrammarError,
    },
    /// A regular expression that answers can't be held to.
    #[error("--regex: {0}")]
    Regex(GrammarError),
    /// A file that should be JSON.
    #[error("{path}: is no JSON: {source}")]
    NotJson {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A file that is longer than anything that makes sense there.
    #[error("{path}: is longer than {allowed} bytes")]
    LongFile {
        /// The file.
        path: PathBuf,
        /// Bytes that are taken.
        allowed: usize,
    },
    /// A line of a history that is no action.
    #[error("{path}: line {line} is no action that `qlens act` printed: {source}")]
    NoAction {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// Fields that can't be understood.
    #[error("--fields: {0}")]
    Fields(#[from] FieldsError),
    /// The answer isn't what it was held to be.
    #[error("{0}")]
    Unheld(String),
    /// A GGUF file can't be read.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A file can't be quantized.
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    /// A picture can't be read.
    #[error(transparent)]
    Media(#[from] MediaError),
    /// A model can't be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A question can't be answered.
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl CliError {
    /// The code to end with.
    pub fn exit(&self) -> Exit {
        match self {
            CliError::NoFile
            | CliError::NothingToLearn
            | CliError::StdinTwice { .. }
            | CliError::StdinBoth
            | CliError::PartOfPicture { .. }
            | CliError::ClipInList { .. }
            | CliError::OneClip { .. }
            | CliError::Journal { .. }
            | CliError::NothingToFind
            | CliError::FolderWanted { .. }
            | CliError::YoloFolder { .. }
            | CliError::Ending { .. }
            | CliError::EachOfClip { .. }
            | CliError::NoTime { .. }
            | CliError::OutsideClip { .. }
            | CliError::NoSuchPages { .. }
            | CliError::Resume { .. }
            | CliError::PixelsCrossed { .. }
            | CliError::ForcedToken { .. }
            | CliError::TraceTooLarge { .. }
            | CliError::BenchTooLong { .. }
            | CliError::NotOurs { .. }
            | CliError::Exists { .. }
            | CliError::EvalNeeds { .. }
            | CliError::OneFile { .. }
            | CliError::Command(_)
            | CliError::SayYes { .. } => Exit::Usage,
            CliError::Line { source, .. } => source.exit(),
            CliError::Quantize(e) => quantize(e),
            CliError::Saved { source: SavedError::Io(e), .. } | CliError::Read { source: e, .. } => input(e),
            CliError::Saved { source: SavedError::Session(e), .. } => session(e),
            CliError::Saved { .. } => Exit::BadData,
            CliError::Editor(_) => Exit::Io,
            CliError::NoneIn { .. } | CliError::Pattern { .. } => Exit::NoInput,
            CliError::NoFrame { .. } => Exit::BadData,
            CliError::SomeFailed { exit, .. } => *exit,
            CliError::UnknownModel { .. } => Exit::NoModel,
            CliError::NoConfigFolder => Exit::Io,
            CliError::Settings(e) => settings(e),
            CliError::Store(e) => store(e),
            CliError::NoCacheFolder | CliError::Write { .. } | CliError::Stdin(_) | CliError::NoSpace { .. } => {
                Exit::Io
            }
            // Whoever closed the pipe has seen enough: `qlens … | head` did what was wanted.
            CliError::Stdout(e) if e.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            CliError::Stdout(_) => Exit::Io,
            CliError::StdinText { .. } | CliError::NotText { .. } | CliError::NotAClip { .. } => Exit::BadData,
            CliError::Convert(e) => convert(e),
            CliError::Eval(EvalError::Session(e)) => session(e),
            CliError::Eval(EvalError::Short { .. }) => Exit::Usage,
            CliError::Eval(_) => Exit::BadData,
            CliError::NotAPicture { .. }
            | CliError::Grammar { .. }
            | CliError::NotJson { .. }
            | CliError::LongFile { .. }
            | CliError::NoAction { .. } => Exit::BadData,
            CliError::Regex(_) | CliError::Fields(_) => Exit::Usage,
            CliError::Unheld(_) => Exit::Failed,
            CliError::Gguf(e) => gguf(e),
            CliError::Media(e) => media(e),
            CliError::Load(e) => load(e),
            CliError::Session(e) => session(e),
        }
    }
}

/// `.png or .html`.
fn endings(known: &[&str]) -> String {
    known.iter().map(|ending| format!(".{ending}")).collect::<Vec<_>>().join(" or ")
}

impl From<ExtractError> for CliError {
    fn from(error: ExtractError) -> CliError {
        match error {
            ExtractError::Session(error) => error.into(),
            other => CliError::Unheld(other.to_string()),
        }
    }
}

impl From<ActError> for CliError {
    fn from(error: ActError) -> CliError {
        match error {
            ActError::Session(error) => error.into(),
            other => CliError::Unheld(other.to_string()),
        }
    }
}

/// An error and its causes in one line; a cause that its effect already tells isn't told again.
pub fn in_words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        let why = e.to_string();
        if !words.contains(&why) {
            words.push_str(": ");
            words.push_str(&why);
        }
        cause = e.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_told_once() {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let told = GgufError::Io { path: "m.gguf".into(), source: missing() };
        assert_eq!(in_words(&told), format!("m.gguf: {}", missing()));
        assert_eq!(gguf(&told), Exit::NoInput);
    }

    #[test]
    fn a_closed_pipe_is_no_failure_but_a_full_disk_is() {
        assert_eq!(CliError::Stdout(io::ErrorKind::BrokenPipe.into()).exit(), Exit::Done);
        assert_eq!(CliError::Stdout(io::ErrorKind::StorageFull.into()).exit(), Exit::Io);
    }
}
