//! `qlens extract`: an object of a given schema, filled with what each picture shows.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::args::KvKind;
use super::exit::CliError;
use super::grammar_args::ExtractArgs;
use super::many::{self, Accepted, Job, Opened, Outcome, Pages, Unit};
use super::progress::Progress;
use super::screen::{AnswerWriter, Manner, write_json};
use super::setup;
use crate::session::{GenerateOptions, Medium, Session};
use crate::tasks::extract::{Evidence, Form, Table, fields};

/// Runs the command.
///
/// # Errors
/// See [`CliError`].
pub fn run(args: &ExtractArgs, manner: &Manner) -> Result<(), CliError> {
    let form = form(args)?;
    let options = GenerateOptions {
        max_tokens: args.sampling.max_tokens(1024),
        sampling: setup::sampling(&args.sampling, false),
        lookup: !args.sampling.no_lookup,
        media: setup::picture_options(&args.sizes)?,
        ..GenerateOptions::default()
    };
    let files = many::chosen(&args.files, &args.many, Accepted { documents: true })?;
    let engine = setup::engine(&args.model, KvKind::F16, manner)?;
    // Pages that are drawn otherwise are other pictures, with other places.
    let extra = format!("{} {}", args.pages.dpi, if args.evidence { "places" } else { "" });
    let resume = many::resume(&args.many, "extract", (form.question(), &extra), &engine.value, &options)?;
    let table = args.csv.then(|| Table::new(form.schema(), args.evidence));
    let session = engine.value.new_session();
    let mut job = Extracting { args, form, options, session, table, begun: false, manner };
    many::run(&mut job, &files, resume, manner)
}

/// The form, from the schema in a file or the fields that were typed.
fn form(args: &ExtractArgs) -> Result<Form, CliError> {
    let words = args.prompt.as_deref();
    let (schema, path) = match &args.schema {
        Some(path) => (setup::json_file(path)?, path.as_path()),
        None => (fields(args.fields.as_deref().unwrap_or_default())?, Path::new("--fields")),
    };
    Form::new(schema, words).map_err(|source| CliError::Grammar { path: path.to_path_buf(), source })
}

/// What was extracted from one picture; what `--resume` keeps, and docs/json.md describes.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Filled {
    data: Value,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    evidence: Vec<Evidence>,
    /// Whether tokens ran out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

struct Extracting<'a> {
    args: &'a ExtractArgs,
    form: Form,
    options: GenerateOptions,
    session: Session<'a>,
    table: Option<Table>,
    /// The table's header has been written.
    begun: bool,
    manner: &'a Manner,
}

impl Job for Extracting<'_> {
    type Result = Filled;

    fn open(&mut self, file: &OsStr) -> Result<Opened, CliError> {
        Opened::open(file, true)
    }

    fn units(&self, opened: &Opened) -> Result<Vec<Unit>, CliError> {
        let all = Pages::default();
        opened.pictures(self.args.frames.every(), self.args.pages.pages.as_ref().unwrap_or(&all))
    }

    fn work(&mut self, opened: &Opened, unit: Unit, progress: &mut Progress) -> Result<Filled, CliError> {
        let picture = Medium::Picture(opened.picture(unit, f64::from(self.args.pages.dpi))?);
        let wanted = (picture, self.args.evidence);
        let filled = self.form.fill(&mut self.session, wanted, &self.options, &mut |event| {
            progress.unseen(&event);
            ControlFlow::Continue(())
        })?;
        Ok(Filled { data: filled.data, evidence: filled.evidence, cut: filled.cut })
    }

    fn done(&mut self, _: Option<&Opened>, outcome: Outcome<Filled>) -> Result<(), CliError> {
        if let Ok(Filled { cut: true, .. }) = outcome.result {
            let (name, page) = (&outcome.file, outcome.unit.suffix());
            self.manner.note(&format!("{name}{page}: brought to an end for lack of tokens: see --max-tokens"));
        }
        self.write(&outcome).map_err(CliError::Stdout)
    }
}

impl Extracting<'_> {
    fn write(&mut self, outcome: &Outcome<Filled>) -> io::Result<()> {
        let mut out = AnswerWriter::new();
        if let Some(table) = &self.table {
            if !std::mem::replace(&mut self.begun, true) {
                out.piece(&format!("{}\r\n", table.header()))?;
            }
            let Ok(filled) = &outcome.result else { return Ok(()) };
            let name = format!("{}{}", outcome.file, outcome.unit.suffix());
            return out.piece(&format!("{}\r\n", table.row(&name, &filled.data, &filled.evidence)));
        }
        if self.args.jsonl {
            return out.piece(&outcome.json());
        }
        let Ok(filled) = &outcome.result else { return Ok(()) };
        let mut json = Vec::new();
        if self.args.evidence {
            write_json(filled, &mut json)?;
        } else {
            write_json(&filled.data, &mut json)?;
        }
        writeln!(json)?;
        out.piece(&String::from_utf8_lossy(&json))
    }
}
