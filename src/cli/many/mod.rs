//! Many files, one after another, with one loaded model: results as they come, what was done before is skipped, and a
//! file that can't be done doesn't stop the others.
//!
//! A command is a [`Job`]: it says what of a file is asked about, does one piece of work, and shows the outcome. The
//! rest (folders and lists, `--resume`, `--shard`, progress, the exit code) is here.

mod files;
mod opened;
mod resume;
mod target;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use files::{Accepted, expand};
pub use opened::{Opened, Pages, Unit};
pub use resume::{Key, Resume, ResumeError};
pub use target::{Target, ending, out_file, plain, write_picture};

use super::exit::{CliError, Exit, in_words};
use super::memory::peak_resident_bytes;
use super::progress::Progress;
use super::screen::{Manner, write_json};
use crate::session::{Engine, GenerateOptions, SessionError};
use crate::text::TextError;

/// The options of every command that takes many files.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Many files")]
pub struct ManyArgs {
    /// Keep what has been done in this file, and skip what is done already, by content: also after Ctrl-C, and where files
    /// have been renamed
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
    /// Do only every N-th file, beginning with the I-th: run 1/N to N/N on N machines
    #[arg(long, value_name = "I/N", value_parser = Shard::parse)]
    pub shard: Option<Shard>,
}

/// One of `of` parts of a list, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    of: usize,
}

impl Shard {
    fn parse(typed: &str) -> Result<Shard, String> {
        let numbers = typed.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        let shard = numbers.map(|(index, of)| Shard { index, of });
        shard.filter(|s| s.index >= 1 && s.index <= s.of).ok_or_else(|| "must be I/N, from 1/N to N/N".to_owned())
    }

    /// The files of this part.
    fn of<T>(self, files: Vec<T>) -> Vec<T> {
        files.into_iter().skip(self.index - 1).step_by(self.of).collect()
    }
}

/// The files that are meant, of all or of this shard. A shard may have none.
///
/// # Errors
/// As [`expand`].
pub fn chosen(args: &[PathBuf], many: &ManyArgs, accepted: Accepted) -> Result<Vec<OsString>, CliError> {
    let files = expand(args, accepted)?;
    let times = files.iter().filter(|file| super::setup::is_stdin(file)).count();
    if times > 1 {
        return Err(CliError::StdinTwice { times });
    }
    Ok(many.shard.map_or_else(|| files.clone(), |shard| shard.of(files.clone())))
}

/// Opens the `--resume` file, where there is to be one. `question` and `extra` are what the results depend on beside the
/// model and how it answers.
///
/// # Errors
/// As [`Resume::open`].
pub fn resume(
    many: &ManyArgs,
    task: &str,
    (question, extra): (&str, &str),
    engine: &Engine,
    options: &GenerateOptions,
) -> Result<Option<Resume>, CliError> {
    let Some(path) = &many.resume else { return Ok(None) };
    let GenerateOptions { max_tokens, sampling, media, lookup: _, grammar } = options;
    let (ctx, settings) = (engine.ctx(), engine.cache_settings());
    let key = Key {
        task: task.to_owned(),
        model: hex(&engine.fingerprint()),
        question: question.to_owned(),
        options: format!("{media:?} {sampling:?} {max_tokens} {ctx} {settings} {grammar:?} {extra}"),
    };
    Resume::open(path, &key).map(Some)
}

/// What a command does with each file.
pub trait Job {
    /// What comes of one piece of work; kept by `--resume`.
    type Result: Serialize + DeserializeOwned;

    /// Opens a file.
    ///
    /// # Errors
    /// It can't be read.
    fn open(&mut self, file: &OsStr) -> Result<Opened, CliError>;

    /// What of it is asked about; not nothing.
    ///
    /// # Errors
    /// Nothing of it can be.
    fn units(&self, opened: &Opened) -> Result<Vec<Unit>, CliError>;

    /// Asks.
    ///
    /// # Errors
    /// See [`CliError`]; those that are about this file leave the others to be done.
    fn work(&mut self, opened: &Opened, unit: Unit, progress: &mut Progress) -> Result<Self::Result, CliError>;

    /// Shows what came of it, or keeps it until the end. `opened` is missing where the file couldn't be.
    ///
    /// # Errors
    /// It can't be written; or a picture for it can't be made.
    fn done(&mut self, opened: Option<&Opened>, outcome: Outcome<Self::Result>) -> Result<(), CliError>;
}

/// What came of one piece of work.
#[derive(Debug)]
pub struct Outcome<R> {
    /// The file, as it was named.
    pub file: String,
    /// What of it.
    pub unit: Unit,
    /// How many units the file has.
    pub of: usize,
    /// Of the file's content, in hexadecimal; empty where it couldn't be read, or nothing is kept.
    pub sha256: String,
    /// The result, or why there is none.
    pub result: Result<R, Failed>,
    /// Whether an earlier run, or the same content under another name, gave the result.
    pub resumed: bool,
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    /// One line.
    pub error: String,
    /// The exit code that a run on this file alone would have.
    pub exit: i32,
}

/// An outcome as a line of `--jsonl`.
#[derive(Serialize)]
struct Line<'a, R> {
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<usize>,
    #[serde(skip_serializing_if = "str::is_empty")]
    sha256: &'a str,
    #[serde(flatten)]
    result: Option<&'a R>,
    #[serde(flatten)]
    failed: Option<FailedLine<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    resumed: bool,
}

#[derive(Serialize)]
struct FailedLine<'a> {
    error: &'a str,
    exit: i32,
}

impl<R> Outcome<R> {
    /// The file, and which part of it, for people.
    pub fn title(&self) -> String {
        match self.unit {
            Unit::Whole => self.file.clone(),
            Unit::Time(seconds) => format!("{}, {seconds} s", self.file),
            Unit::Page(page) => format!("{}, page {page}", self.file),
        }
    }

    /// The same with another result.
    pub fn map<T>(self, change: impl FnOnce(R) -> T) -> Outcome<T> {
        let Outcome { file, unit, of, sha256, result, resumed } = self;
        Outcome { file, unit, of, sha256, result: result.map(change), resumed }
    }
}

impl<R: Serialize> Outcome<R> {
    /// As JSON on a line: `file`, `time` or `page`, then the result's own keys, or `error` and
    /// `exit`.
    pub fn json(&self) -> String {
        let failed = self.result.as_ref().err().map(|f| FailedLine { error: &f.error, exit: f.exit });
        json_line(&Line {
            file: &self.file,
            time: if let Unit::Time(seconds) = self.unit { Some(seconds) } else { None },
            page: if let Unit::Page(page) = self.unit { Some(page) } else { None },
            sha256: &self.sha256,
            result: self.result.as_ref().ok(),
            failed,
            resumed: self.resumed,
        })
    }
}

/// The JSON of `--json`; docs/json.md is its description, and a promise.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<&'a [String]>,
    files: Vec<serde_json::Value>,
    model: String,
    mmproj: Option<&'a str>,
    load_s: f64,
    memory: Memory,
}

#[derive(Serialize)]
struct Memory {
    peak_resident_bytes: Option<u64>,
    mapped_bytes: u64,
}

/// All outcomes as one JSON object on a line; `what` was asked for.
pub fn document<R: Serialize>(
    what: Option<&[String]>,
    outcomes: &[Outcome<R>],
    engine: &Engine,
    load_s: f64,
) -> String {
    json_line(&Document {
        what,
        files: outcomes.iter().filter_map(|outcome| serde_json::from_str(&outcome.json()).ok()).collect(),
        model: engine.model_path().display().to_string(),
        mmproj: engine.mmproj_name(),
        load_s,
        memory: Memory { peak_resident_bytes: peak_resident_bytes(), mapped_bytes: engine.mapped_bytes() },
    })
}

/// A value as JSON on a line of its own.
pub fn json_line(value: &impl Serialize) -> String {
    let mut line = Vec::new();
    // Writing to memory doesn't fail.
    let _ = write_json(value, &mut line);
    line.push(b'\n');
    String::from_utf8(line).unwrap_or_default()
}

/// Writes to standard output at once.
///
/// # Errors
/// It can't be written to.
pub fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(CliError::Stdout)
}

/// Whether an error is about one file, so that the others can be done.
fn about_the_file(error: &CliError) -> bool {
    match error {
        CliError::Media(_)
        | CliError::PartOfPicture { .. }
        | CliError::NotAClip { .. }
        | CliError::NoTime { .. }
        | CliError::NoFrame { .. }
        | CliError::OutsideClip { .. }
        | CliError::NoSuchPages { .. } => true,
        CliError::Session(error) => matches!(
            error,
            SessionError::Media(_)
                | SessionError::ContextFull { .. }
                | SessionError::Unfinished { .. }
                | SessionError::Stuck { .. }
                | SessionError::Text(TextError::ConversationLength { .. })
        ),
        _ => false,
    }
}

/// Does the job for each file.
///
/// # Errors
/// What isn't about one file ends the run at once. Where there is only one thing to do, its error is the run's; else
/// what failed is told as it comes, and [`CliError::SomeFailed`] at the end.
pub fn run<J: Job>(job: &mut J, files: &[OsString], resume: Option<Resume>, manner: &Manner) -> Result<(), CliError> {
    let progress = Progress::start(manner, "getting ready");
    let began = Instant::now();
    let mut run =
        Run { job, resume, manner, progress, total: files.len(), began, worked: 0, failed: 0, exits: Vec::new() };
    for (i, file) in files.iter().enumerate() {
        run.progress.place(&run.place(i));
        run.progress.say(&file.to_string_lossy());
        let failures = run.exits.len();
        if let Err(error) = run.file(file) {
            let of_it = Part { file: file.to_string_lossy().into_owned(), unit: Unit::Whole, of: 1 };
            run.failed(None, of_it, error)?;
        }
        run.failed += usize::from(run.exits.len() > failures);
    }
    run.end()
}

/// A unit of a file.
struct Part {
    file: String,
    unit: Unit,
    /// How many units the file has.
    of: usize,
}

struct Run<'a, J: Job> {
    job: &'a mut J,
    resume: Option<Resume>,
    manner: &'a Manner,
    progress: Progress,
    total: usize,
    began: Instant,
    /// Files for which something had to be computed.
    worked: usize,
    /// Files that failed, wholly or in part.
    failed: usize,
    /// Of all that failed.
    exits: Vec<Exit>,
}

impl<J: Job> Run<'_, J> {
    /// What stands before the progress: `[3 of 100, 2 min left] `.
    fn place(&self, done: usize) -> String {
        if self.total < 2 {
            return String::new();
        }
        let each = self.began.elapsed().as_secs_f64() / self.worked.max(1) as f64;
        let left = match self.worked {
            0 => String::new(),
            _ => format!(", {} left", in_time(each * (self.total - done) as f64)),
        };
        format!("[{} of {}{left}] ", done + 1, self.total)
    }

    fn file(&mut self, file: &OsStr) -> Result<(), CliError> {
        let opened = self.job.open(file)?;
        let sha256 = match self.resume {
            Some(_) => hex(&opened.sha256()?),
            None => String::new(),
        };
        let units = self.job.units(&opened)?;
        let (of, mut computed) = (units.len(), false);
        for unit in units {
            match self.unit(&opened, unit, &sha256) {
                Ok((result, resumed)) => {
                    computed |= !resumed;
                    let file = opened.name().to_owned();
                    let outcome = Outcome { file, unit, of, sha256: sha256.clone(), result: Ok(result), resumed };
                    self.progress.aside(|| self.job.done(Some(&opened), outcome))?;
                }
                Err(error) => {
                    let part = Part { file: opened.name().to_owned(), unit, of };
                    self.failed(Some(&opened), part, error)?;
                }
            }
        }
        self.worked += usize::from(computed);
        Ok(())
    }

    /// The result, and whether it was there before.
    fn unit(&mut self, opened: &Opened, unit: Unit, sha256: &str) -> Result<(J::Result, bool), CliError> {
        let key = opened.key(unit);
        // A result that this version can't read is made again.
        let known = self.resume.as_ref().and_then(|resume| resume.find(sha256, &key));
        if let Some(result) = known.and_then(|value| serde_json::from_value(value.clone()).ok()) {
            return Ok((result, true));
        }
        let result = self.job.work(opened, unit, &mut self.progress)?;
        if let Some(resume) = &mut self.resume {
            resume.add(sha256, &key, &result)?;
        }
        Ok((result, false))
    }

    /// Tells of a failure, unless nothing is left to be done after it.
    fn failed(&mut self, opened: Option<&Opened>, part: Part, error: CliError) -> Result<(), CliError> {
        let alone = self.total == 1 && part.of == 1;
        if alone || !about_the_file(&error) {
            return Err(error);
        }
        self.exits.push(error.exit());
        let failed = Failed { error: in_words(&error), exit: error.exit().code() };
        let Run { progress, manner, job, .. } = self;
        let Part { file, unit, of } = part;
        progress.aside(|| {
            manner.error(&failed.error);
            let result = Err(failed.clone());
            job.done(opened, Outcome { file, unit, of, sha256: String::new(), result, resumed: false })
        })
    }

    fn end(mut self) -> Result<(), CliError> {
        self.progress.stop();
        let Some(&first) = self.exits.first() else { return Ok(()) };
        let exit = if self.exits.iter().all(|&exit| exit == first) { first } else { Exit::Failed };
        Err(CliError::SomeFailed { failed: self.failed, total: self.total, exit })
    }
}

fn in_time(seconds: f64) -> String {
    let seconds = seconds.ceil() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// In hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_all_files_evenly() {
        let files: Vec<usize> = (0..10).collect();
        let parts: Vec<Vec<usize>> =
            (1..=3).map(|i| Shard::parse(&format!("{i}/3")).expect("a shard").of(files.clone())).collect();
        assert_eq!(parts[1], [1, 4, 7]);
        let mut all = parts.concat();
        all.sort_unstable();
        assert_eq!(all, files);
        for wrong in ["0/3", "4/3", "1", "1/0", "a/b", "-1/3"] {
            assert!(Shard::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn time_that_is_left() {
        assert_eq!(in_time(0.2), "1 s");
        assert_eq!(in_time(61.0), "2 min");
        assert_eq!(in_time(7260.0), "2 h 1 min");
    }

    #[test]
    fn an_outcome_as_a_line() {
        #[derive(Serialize)]
        struct Said {
            answer: &'static str,
        }
        let outcome = |result| Outcome {
            file: "a\u{9b}.pdf".into(),
            unit: Unit::Page(2),
            of: 3,
            sha256: "ab".into(),
            result,
            resumed: true,
        };
        assert_eq!(
            outcome(Ok(Said { answer: "x" })).json(),
            "{\"file\":\"a\\u009b.pdf\",\"page\":2,\"sha256\":\"ab\",\"answer\":\"x\",\"resumed\":true}\n"
        );
        let failed = Outcome { unit: Unit::Whole, ..outcome(Err(Failed { error: "no".into(), exit: 65 })) };
        assert_eq!(
            failed.json().trim_end(),
            r#"{"file":"a\u009b.pdf","sha256":"ab","error":"no","exit":65,"resumed":true}"#
        );
    }
}
