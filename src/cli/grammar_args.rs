//! Options that hold answers to a form, and the commands that live by them.

use std::path::PathBuf;

use clap::Args;

use super::args::{ManyArgs, ModelArgs, SamplingArgs};
use super::task_args::{FrameArgs, PageArgs, SizeArgs};

/// What an answer has to be.
#[derive(Debug, Args)]
#[group(multiple = false)]
#[command(next_help_heading = "Form of the answer")]
pub struct GrammarArgs {
    /// Answer with JSON that fits the JSON schema in this file
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// Answer with a text of the Lark grammar in this file (in llguidance's dialect, from the rule `start`)
    #[arg(long, value_name = "FILE")]
    pub grammar: Option<PathBuf>,
    /// Answer with a text that matches this regular expression as a whole
    #[arg(long, value_name = "REGEX")]
    pub regex: Option<String>,
}

/// `qlens extract`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("wanted").required(true).args(["schema", "fields"]))]
pub struct ExtractArgs {
    /// Pictures, PDF documents (an object for each page), and clips with a time (clip.mp4#t=12.5); - reads one from
    /// standard input. Folders, quoted patterns ('scans/*.png') and @LIST, a file of names, mean the files in them
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// The JSON schema that every object fits
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// A few fields instead, as in "total:number,date:date": text, number, integer, boolean, date, time, datetime, email,
    /// url, or choices such as paid|open; with [] behind it a list, with ? perhaps null
    #[arg(long, value_name = "NAME:TYPE,…")]
    pub fields: Option<String>,
    /// More about what is wanted, in words
    #[arg(short, long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// Ask for each value where in the picture it stands, and tell that in the picture's own pixels
    #[arg(long)]
    pub evidence: bool,
    /// Print a table: a header, then a row for each file
    #[arg(long, conflicts_with = "jsonl")]
    pub csv: bool,
    /// Print JSON: the object alone, and with --evidence the places (this is the default)
    #[arg(long, conflicts_with_all = ["csv", "jsonl"])]
    pub json: bool,
    /// Print for each file a JSON object with its name and the object, or the error, on a line of its own
    #[arg(long)]
    pub jsonl: bool,
    /// A document's pages.
    #[command(flatten)]
    pub pages: PageArgs,
    /// Many files.
    #[command(flatten)]
    pub many: ManyArgs,
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Choosing tokens.
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Picture sizes.
    #[command(flatten)]
    pub sizes: SizeArgs,
    /// A clip's frames.
    #[command(flatten)]
    pub frames: FrameArgs,
}

/// `qlens act`.
#[derive(Debug, Args)]
pub struct ActArgs {
    /// The picture of the screen; - reads it from standard input
    #[arg(value_name = "SCREENSHOT")]
    pub screenshot: PathBuf,
    /// What is to be reached
    #[arg(short, long, value_name = "TEXT")]
    pub goal: String,
    /// What was done so far: the lines that earlier runs printed
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// What is used: a computer with mouse and keyboard, or a phone with a touchscreen
    #[arg(long, value_name = "DEVICE", value_enum, default_value_t = DeviceKind::Computer)]
    pub device: DeviceKind,
    /// Print one line of JSON (it is the only form)
    #[arg(long)]
    pub json: bool,
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Choosing tokens.
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Picture sizes.
    #[command(flatten)]
    pub sizes: SizeArgs,
}

/// What `qlens act` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DeviceKind {
    /// A desktop: computer_use
    Computer,
    /// A touchscreen: mobile_use
    Phone,
}
