//! The options of the tasks that look at pictures one by one.

use std::path::PathBuf;

use clap::Args;

use super::args::{ManyArgs, ModelArgs, SamplingArgs, parse_positive};
use super::many::Pages;

/// `qlens locate`.
#[derive(Debug, Args)]
pub struct LocateArgs {
    /// What to find, in a few words; several things are separated by commas
    #[arg(value_name = "WHAT")]
    pub what: String,
    /// Pictures, and clips with a time (clip.mp4#t=12.5, or #t=10,20 for a frame each second); - reads a picture from
    /// standard input. Folders, quoted patterns ('photos/*.jpg') and @LIST, a file of names, mean the files in them
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Find all there are, not only the one
    #[arg(short, long)]
    pub all: bool,
    /// Find points, not boxes
    #[arg(long)]
    pub points: bool,
    /// The whole question, instead of the one made of WHAT; it has to ask for JSON with bbox_2d or point_2d
    #[arg(short, long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// How places are printed.
    #[command(flatten)]
    pub format: LocateFormat,
    /// Write to this file, not to standard output; with --yolo into this folder
    #[arg(short, long, value_name = "OUT", conflicts_with = "jsonl")]
    pub out: Option<PathBuf>,
    /// Draw what was found into a copy of the picture; of several, a folder of copies
    #[arg(long, value_name = "OUT.png")]
    pub annotate: Option<PathBuf>,
    /// Cut out what was found, into this folder
    #[arg(long, value_name = "DIR", conflicts_with = "points")]
    pub crops: Option<PathBuf>,
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

/// The ways to print places.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct LocateFormat {
    /// Print one JSON object: places in all files, and what the model said
    #[arg(long)]
    pub json: bool,
    /// Print a JSON object for each picture, on a line of its own, as they come
    #[arg(long)]
    pub jsonl: bool,
    /// Print a COCO data set: images, annotations, categories
    #[arg(long)]
    pub coco: bool,
    /// Print YOLO's lines; of several files, write a folder of them with -o
    #[arg(long, conflicts_with = "points")]
    pub yolo: bool,
}

/// `qlens parse`.
#[derive(Debug, Args)]
pub struct ParseArgs {
    /// Pictures of pages, PDF documents, and clips with a time (clip.mp4#t=12.5); - reads one from standard input.
    /// Folders, quoted patterns ('scans/*.png') and @LIST, a file of names, mean the files in them
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// What to write: Markdown, HTML for browsers, QwenVL HTML with boxes, or text
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Form::Md, conflicts_with_all = ["json", "jsonl"])]
    pub to: Form,
    /// Print one JSON object: the blocks of all pages with their boxes
    #[arg(long, conflicts_with = "jsonl")]
    pub json: bool,
    /// Print a JSON object for each page, on a line of its own, as they come
    #[arg(long)]
    pub jsonl: bool,
    /// Write to this file, not to standard output; of several files, into a folder
    #[arg(short, long, value_name = "OUT", conflicts_with = "jsonl")]
    pub out: Option<PathBuf>,
    /// Show where each block is: as a picture, or with OUT.html as a page with the layout beside the original, for browsers;
    /// of several files, a folder
    #[arg(long, value_name = "OUT")]
    pub annotate: Option<PathBuf>,
    /// What --annotate writes [default: by the ending of OUT; into a folder html]
    #[arg(long, value_name = "KIND", value_enum, requires = "annotate")]
    pub annotate_as: Option<Annotated>,
    /// Cut out the figures, into this folder; what is written refers to them
    #[arg(long, value_name = "DIR")]
    pub figures: Option<PathBuf>,
    /// A document's pages.
    #[command(flatten)]
    pub pages: PageArgs,
    /// The question, instead of "QwenVL HTML"; it has to ask for that
    #[arg(short, long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// The system message, instead of the model's own
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
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

/// Which pages of documents, and how they are drawn.
#[derive(Debug, Args)]
pub struct PageArgs {
    /// Of documents, only these pages: 3, 2-5, or 1,4-
    #[arg(long, value_name = "PAGES", value_parser = Pages::parse)]
    pub pages: Option<Pages>,
    /// Draw a document's pages with so many pixels an inch; boxes are told in these pixels
    #[arg(long, value_name = "N", default_value_t = 150, value_parser = clap::value_parser!(u32).range(20..=1200))]
    pub dpi: u32,
}

/// What `qlens parse` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// Markdown
    Md,
    /// Clean HTML, for browsers
    Html,
    /// QwenVL HTML: elements with data-bbox, in pixels of the original
    Qwen,
    /// Plain text
    Text,
}

impl Form {
    /// The ending of its files.
    pub fn ending(self) -> &'static str {
        match self {
            Form::Md => "md",
            Form::Html | Form::Qwen => "html",
            Form::Text => "txt",
        }
    }
}

/// What `--annotate` of `qlens parse` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Annotated {
    /// A picture of each page with its blocks marked
    Png,
    /// A page for browsers: the layout beside the original
    Html,
}

/// Which frames of clips are looked at as pictures.
#[derive(Debug, Args)]
pub struct FrameArgs {
    /// Frames per second, of a clip or a part of one
    #[arg(long, value_name = "F", allow_negative_numbers = true, value_parser = parse_positive,
          help_heading = "Pictures and clips")]
    pub fps: Option<f32>,
}

impl FrameArgs {
    /// Seconds from one frame to the next, where that was said.
    pub fn every(&self) -> Option<f64> {
        self.fps.map(|fps| 1.0 / f64::from(fps))
    }
}

/// How large the model sees pictures.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pictures and clips")]
pub struct SizeArgs {
    /// Enlarge smaller pictures to about this many pixels [default: what the model says, or 3136]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub min_pixels: Option<u64>,
    /// Shrink larger pictures to at most this many pixels; 784 pixels make a token [default: 1003520]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_pixels: Option<u64>,
}
