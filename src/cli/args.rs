//! What may be typed. Only what was typed is checked here; files and models are looked at later.

use std::path::PathBuf;

use crate::model::Precision;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand};

pub use super::bench_args::{BenchArgs, Phase};
pub use super::grammar_args::{ActArgs, ExtractArgs, GrammarArgs};
pub use super::many::ManyArgs;
use super::quantize_args;
pub use super::quantize_args::{ImatrixArgs, QuantizeArgs};
pub use super::store_args::{CompletionsArgs, ConfigArgs, DefaultArgs, ListArgs, ManArgs, PullArgs, RmArgs, ShowArgs};
pub use super::task_args::{LocateArgs, ParseArgs};
pub use super::weights_args::{ConvertArgs, EvalArgs};

/// The pages `--help` can't show at a glance.
const AFTER_HELP: &str = "\
Examples:
  qlens describe photo.jpg
  qlens describe receipt.png -p \"What is the total?\" --json
  qlens chat -p \"Why is the sky blue?\"

Answers go to standard output, everything else to standard error.
Exit codes: 0 done · 1 failed · 2 wrong usage · 65 bad file content · 66 no such input · 69 no model
            74 reading or writing failed · 130 interrupted";

/// Ask questions about pictures and clips with Qwen2.5-VL, on your own computer, offline.
#[derive(Debug, Parser)]
#[command(name = "qlens", version, after_help = AFTER_HELP, max_term_width = 100, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How much to say.
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer a question about pictures or clips; without a question, describe them
    #[command(after_help = "\
Examples:
  qlens describe photo.jpg
  qlens describe before.png after.png -p \"What has changed?\"
  curl -s https://example.org/chart.png | qlens describe - -p \"Read the axis labels\"
  qlens describe scan.jpg --max-pixels 400000     # fewer picture tokens: quicker, less detail
  qlens describe clip.mp4 --fps 1 -p \"What happens?\"
  qlens describe 'clip.mp4#t=12.5,40' -p \"Who comes in?\"  # from 12.5 to 40 seconds
  qlens describe --as-clip --fps 4 frame-*.png
  qlens describe photos/ --jsonl --resume done.jsonl > all.jsonl   # a line each; goes on
  qlens describe door.jpg -p \"Is the door open?\" --regex 'yes|no'
  qlens describe plate.jpg -p \"Read the plate\" --schema plate.json  # fitting JSON")]
    Describe(DescribeArgs),
    /// Talk, with or without pictures and clips; -p asks one thing and ends
    #[command(after_help = "\
Examples:
  qlens chat                                      # an empty line is ignored, Ctrl-D ends
  qlens chat                                      # then /image photo.jpg, or drag it here; /help
  qlens chat photo.jpg                            # what is shown belongs to the first question
  qlens chat -p \"Name three uses of a paperclip\"
  printf 'Who wrote Faust?\\nWhen?\\n' | qlens chat   # each line is a turn")]
    Chat(ChatArgs),
    /// Find when something happens in a clip: events with their times
    #[command(after_help = "\
Times are the clip's own, also where only a part of it is searched. A clip that is too long to be
seen closely at once is seen coarsely first, then closely around what answered; what the budget
didn't reach is told.

Examples:
  qlens find \"When does the red car appear?\" clip.mp4
  qlens find \"someone comes in\" door.mkv --srt > door.srt      # beside the clip, players show it
  qlens find \"a goal\" match.mp4 --frames goals --sheet goals.png
  qlens find \"the dog leaves\" day.mp4 --budget 60000 --resume day.json   # goes on after Ctrl-C
  qlens find \"Who speaks?\" 'talk.webm#t=10:00,20:00' --json")]
    Find(FindArgs),
    /// Find where something is in pictures: boxes or points, in the pictures' own pixels
    #[command(after_help = "\
Places are told in pixels of the picture as a viewer shows it, upright, counted from its top left
corner: left, top, right and bottom of a box, or x and y of a point. For frames of a clip, with
square pixels.

Examples:
  qlens locate \"red car\" street.jpg
  qlens locate --all \"person, bicycle\" street.jpg --annotate marked.png
  qlens locate --points \"the submit button\" screen.png --json
  qlens locate --all dog 'dog.mp4#t=10,20' --fps 2 --annotate frames/
  qlens locate --all face photos/ --crops faces/
  qlens locate --all \"apple, pear\" photos/ --coco -o fruit.json --resume done.jsonl
  qlens locate --all \"apple, pear\" photos/ --yolo -o labels/")]
    Locate(LocateArgs),
    /// Read documents: pictures of pages and PDF files to Markdown, HTML, text or JSON, with the place of each block
    #[command(after_help = "\
Blocks (heading, paragraph, table, formula, figure, list, caption) come in reading order. Boxes
are in pixels of the picture as a viewer shows it, upright; of a PDF document, of its page drawn
with --dpi. Pages of PDF documents are drawn by poppler's pdftoppm, where it is installed (package
poppler-utils). What had to be repaired in the model's HTML is told.

Examples:
  qlens parse scan.png                            # Markdown
  qlens parse report.pdf --pages 1-3 -o report.md --figures figures/
  qlens parse scan.png --to text
  qlens parse scan.png --annotate layout.html     # for a browser: layout beside original
  qlens parse 'scans/*.png' --jsonl --resume done.jsonl > blocks.jsonl
  qlens parse letter.jpg --max-pixels 2000000     # sees small print better, and takes longer")]
    Parse(ParseArgs),
    /// Fill an object of your schema with what each picture shows; it always fits
    #[command(after_help = "\
The answer is held to the schema token by token: names that it doesn't list are left out, numbers
stay within 15 digits. Where tokens run out, the object is completed as shortly as the schema
allows, and a line says so.

Examples:
  qlens extract --fields \"total:number,date:date,paid:yes|no\" receipt.jpg
  qlens extract --schema invoice.json invoices/*.png --jsonl
  qlens extract --fields \"name,phone:text?\" cards/*.jpg --csv > cards.csv
  qlens extract --schema form.json --evidence form.png | jq .evidence   # where each value stands")]
    Extract(ExtractArgs),
    /// Say the next step towards a goal on a screen; it is printed, not carried out
    #[command(after_help = "\
Prints one line of JSON: the model's function (computer_use or mobile_use), its arguments, and the
screenshot's size, in whose pixels all places are. The lines of earlier runs, in one file, are the
history of the next.

Examples:
  qlens act --goal \"Open the settings\" screen.png
  qlens act --goal \"Open the settings\" --history steps.jsonl screen.png >> steps.jsonl
  qlens act --device phone --goal \"Mute it\" phone.png | jq -r .arguments.action")]
    Act(ActArgs),
    /// Show what a GGUF file holds: metadata, tensors, sizes
    #[command(after_help = "\
Examples:
  qlens inspect model.gguf
  qlens inspect model.gguf --json | jq '.metadata'")]
    Inspect(InspectArgs),
    /// Make a smaller file of a model: other types for its weights
    #[command(after_help = quantize_args::AFTER_HELP)]
    Quantize(QuantizeArgs),
    /// Find out what matters in a model's matrices, for `quantize --imatrix`
    #[command(after_help = quantize_args::IMATRIX_AFTER_HELP)]
    Imatrix(ImatrixArgs),
    /// For engineers: write a run's tokens, positions, vision output and logits to a safetensors file
    #[command(after_help = "\
Writes prompt_tokens [n] i64, positions [3,n] i64, vision_out [tokens,hidden] f32 (with a file),
logits [steps,vocab] f32 (those from which each token was chosen) and tokens [steps] i64. Decoding
is greedy; --force feeds the given tokens instead of the chosen ones. The key/value cache is F32
and the vision model exact unless --kv-type and --vision-precision say otherwise.

Example:
  qlens trace -m model.gguf -p \"What is this?\" -n 8 -o run.safetensors photo.png")]
    Trace(TraceArgs),
    /// Measure how fast a model runs here: loading, looking, reading, answering
    #[command(after_help = "\
Each measurement is repeated; shown are the median, and the quickest and slowest run. A context of
--depths tokens is made of 256 computed ones, whose keys and values are repeated: reading it takes
as long as in earnest. The limits beside the figures are this machine's, measured here: memory
bandwidth for decoding, 8-bit dot products for the rest.

Examples:
  qlens bench -m model.gguf
  qlens bench --synthetic 3b:q4_k_m --phases prefill,decode --threads 2
  qlens bench -m model.gguf --json > today.json")]
    Bench(BenchArgs),
    /// Tell how well a model predicts a text, and how far it strays from another one: what a smaller type costs
    #[command(after_help = "\
A text is cut into chunks, each read from an empty context, and the second half of each is scored,
as by llama.cpp's tool. With --base both models read the same: told are both perplexities, the KL
divergence from the base, and how often both find the same token the likeliest. With files or -p,
the base answers (taking its likeliest tokens) and the model reads along.

Examples:
  qlens eval -m model-q4_k_m.gguf --text wiki.txt
  qlens eval -m model-q4_k_m.gguf --base model-f16.gguf --text wiki.txt --chunks 20
  qlens eval -m model-q4_k_m.gguf --base model-f16.gguf photo.jpg -p \"What is shown?\" --json")]
    Eval(EvalArgs),
    /// Make the pair of GGUF files from a checkpoint in safetensors files
    #[command(after_help = "\
DIR is the folder of a Qwen2.5-VL checkpoint as it is on the hub, or as transformers saves it:
config.json, *.safetensors (with their index), tokenizer.json (or vocab.json and merges.txt),
preprocessor_config.json. AWQ checkpoints (4 bits) are unpacked. Everything but the weights is
checked before a byte is written; the files have their names only when they are whole, and none is
overwritten. llama.cpp loads them, too.

Examples:
  qlens convert Qwen2.5-VL-3B-Instruct qwen2.5-vl-3b-f16.gguf
  qlens convert Qwen2.5-VL-3B-Instruct qwen2.5-vl-3b-q8_0.gguf --type Q8_0 --mmproj-type Q8_0
  qlens convert Qwen2.5-VL-3B-Instruct qwen2.5-vl-3b-q4_k_m.gguf --type Q4_K_M
  qlens convert Qwen2.5-VL-7B-Instruct-AWQ out.gguf --type BF16 --dry-run")]
    Convert(ConvertArgs),
    /// Download a model: the language model of a type, and its mmproj
    #[command(after_help = "\
NAME is one of qwen2.5-vl-3b, -7b, -32b and -72b, or OWNER/REPO on the hub. Each file is fetched
in parallel pieces, checked against the hub's SHA-256, and only then gets its name; after any
break the same command goes on. HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE, HTTPS_PROXY and NO_PROXY
are honoured.

Examples:
  qlens pull qwen2.5-vl-3b
  qlens pull qwen2.5-vl-7b:Q8_0
  qlens pull OWNER/REPO:Q4_K_M")]
    Pull(PullArgs),
    /// List the models at hand, those that other programs have downloaded too
    #[command(after_help = "\
Looks into our own folder and into the caches of Hugging Face (HF_HUB_CACHE, HF_HOME), llama.cpp
(LLAMA_CACHE), Ollama (OLLAMA_MODELS) and LM Studio. -m takes each by its name; the default is
marked with *.

Examples:
  qlens list
  qlens list -v                                   # also what can't be run, and why
  qlens list --json | jq -r '.models[].name'")]
    List(ListArgs),
    /// Show a model's card, its sizes, and what fits this machine's memory
    #[command(after_help = "\
Examples:
  qlens show qwen2.5-vl-7b                        # before it is downloaded: what it needs
  qlens show ggml-org/Qwen2.5-VL-3B-Instruct-GGUF:Q4_K_M")]
    Show(ShowArgs),
    /// Remove a model from our own folder
    Rm(RmArgs),
    /// Show or set the model that is used where none is named
    Default(DefaultArgs),
    /// Show each setting, its value, and where that comes from
    #[command(after_help = "\
Settings are the defaults of options. They come from config.toml in the config folder
($QLENS_CONFIG names another file), then from the environment, then from what is typed; the later
wins. In the file:

  model = \"qwen2.5-vl-3b\"
  threads = 8
  max-pixels = 500000")]
    Config(ConfigArgs),
    /// Print a completion script for a shell
    #[command(after_help = "\
Examples:
  qlens completions bash > ~/.local/share/bash-completion/completions/qlens
  qlens completions zsh > ~/.zfunc/_qlens
  qlens completions fish > ~/.config/fish/completions/qlens.fish")]
    Completions(CompletionsArgs),
    /// Print the manual page; with --out, write the pages of all commands
    Man(ManArgs),
}

/// `qlens describe`.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// Pictures and clips, in the order in which the model sees them; - reads one from standard input, and clip.mp4#t=12.5,40
    /// is a part of a clip. Folders, quoted patterns ('scans/*.png') and @LIST, a file of names, mean the files in them
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The question [default: to describe what is seen]
    #[arg(short, long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// The system message, instead of the model's own
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Print one JSON object: answer, tokens, timings, media
    #[arg(long, conflicts_with_all = ["each", "jsonl", "resume", "shard"])]
    pub json: bool,
    /// Ask about each file on its own, not about all of them together (so do --jsonl, --resume and --shard)
    #[arg(long, conflicts_with = "as_clip")]
    pub each: bool,
    /// Print a JSON object for each file, on a line of its own, as they come
    #[arg(long, conflicts_with = "as_clip")]
    pub jsonl: bool,
    /// Many files.
    #[command(flatten)]
    pub many: ManyArgs,
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Choosing tokens.
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// What it has to be.
    #[command(flatten)]
    pub form: GrammarArgs,
    /// Picture sizes.
    #[command(flatten)]
    pub media: MediaArgs,
}

/// `qlens chat`.
#[derive(Debug, Args)]
pub struct ChatArgs {
    /// Pictures and clips that go with the first question; - reads one from standard input (then -p is needed)
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Ask this one thing, print the answer, end
    #[arg(short, long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// The system message, instead of the model's own
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Draw no thumbnails of what is attached
    #[arg(long)]
    pub no_preview: bool,
    /// Print one JSON object per answer, each on a line of its own
    #[arg(long)]
    pub json: bool,
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Choosing tokens.
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// What answers have to be.
    #[command(flatten)]
    pub form: GrammarArgs,
    /// Picture sizes.
    #[command(flatten)]
    pub media: MediaArgs,
}

/// `qlens find`.
#[derive(Debug, Args)]
pub struct FindArgs {
    /// What to find: a question, or what happens in a few words
    #[arg(value_name = "WHAT")]
    pub what: String,
    /// The clip; - reads it from standard input, clip.mp4#t=12.5,40 is a part of one, and several pictures are one with
    /// --as-clip
    #[arg(value_name = "CLIP", required = true)]
    pub files: Vec<PathBuf>,
    /// The whole question, instead of the one made of WHAT; it has to ask for times
    #[arg(short, long, value_name = "TEXT")]
    pub prompt: Option<String>,
    /// How the events are printed.
    #[command(flatten)]
    pub format: FindFormat,
    /// Write the events to this file, not to standard output
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Save the frames at which events begin and end into this folder, as PNG files
    #[arg(long, value_name = "DIR")]
    pub frames: Option<PathBuf>,
    /// Write a contact sheet: of each event the first, middle and last frame with their times
    #[arg(long, value_name = "OUT.png")]
    pub sheet: Option<PathBuf>,
    /// Keep what has been done in this file, and go on from there if it exists
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Choosing tokens.
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Picture sizes.
    #[command(flatten)]
    pub media: MediaArgs,
}

/// The ways to print events.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct FindFormat {
    /// Print one JSON object: events, looks, what was skipped
    #[arg(long)]
    pub json: bool,
    /// Print the events as SubRip subtitles
    #[arg(long)]
    pub srt: bool,
    /// Print the events as WebVTT subtitles or chapters
    #[arg(long)]
    pub vtt: bool,
}

/// `qlens inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The GGUF file; of a split model, any part
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `qlens trace`.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// A picture or clip; without one, text alone
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The question
    #[arg(short, long, value_name = "TEXT")]
    pub prompt: String,
    /// How many tokens to choose [default: as many as --force names, else 1]
    #[arg(short = 'n', long = "steps", value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub steps: Option<u32>,
    /// Feed these tokens instead of the chosen ones; a shorter list is followed by chosen ones
    #[arg(long, value_name = "ID,ID,…", value_delimiter = ',')]
    pub force: Vec<u32>,
    /// Where to write; the file appears when it is complete
    #[arg(short, long, value_name = "OUT.safetensors")]
    pub out: PathBuf,
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Picture sizes.
    #[command(flatten)]
    pub media: MediaArgs,
}

/// Which model, and how it is run.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// The model: one that `qlens list` shows, or its GGUF file (of a split one, the first part) [default: `qlens default`]
    #[arg(short, long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// The vision model, a GGUF file [default: the one beside the text model that fits it]
    #[arg(long, value_name = "GGUF")]
    pub mmproj: Option<PathBuf>,
    /// Our own folder of models [default: qlens/models in the data folder]
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// Threads to compute with [default: the physical cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// Room for this many tokens of questions, pictures and answers [default: the model's, at most 32768]
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(16..=16_777_216))]
    pub ctx: Option<u32>,
    /// Stretch positions fourfold (YaRN), for questions of more than 32768 tokens; the model then tells times in clips less
    /// exactly. The context becomes 131072 unless --ctx says otherwise
    #[arg(long)]
    pub yarn: bool,
    /// How keys and values are kept; f32 takes twice the memory [default: f16]
    #[arg(long, value_name = "TYPE", value_parser = PossibleValuesParser::new(["f16", "f32"])
          .map(|s| if s == "f32" { KvKind::F32 } else { KvKind::F16 }))]
    pub kv_type: Option<KvKind>,
    /// How the vision model's F16 or F32 weights are computed with: int8 rounds them to 8 bits, as in a Q8_0 file, and what
    /// attention multiplies to bfloat16 where the processor can, and is several times quicker; exact doesn't [default: int8; exact in `trace`]
    #[arg(long, value_name = "HOW", value_parser = PossibleValuesParser::new(["int8", "exact"])
          .map(|s| if s == "exact" { Precision::Exact } else { Precision::Int8 }))]
    pub vision_precision: Option<Precision>,
    /// Keep encoded pictures and clips in the cache folder, up to this many megabytes, so that another run needn't look at
    /// them again (an ordinary photo takes 10) [default: 0, nothing is kept]
    #[arg(long, value_name = "MB", value_parser = clap::value_parser!(u32).range(0..=16_777_216))]
    pub media_cache: Option<u32>,
}

/// The types a key/value cache can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvKind {
    /// Half precision.
    F16,
    /// Single precision.
    F32,
}

/// How the next token is chosen.
#[derive(Debug, Args)]
#[command(next_help_heading = "Answer")]
pub struct SamplingArgs {
    /// Stop after this many tokens [default: 1024; in `parse` 8192]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub max_tokens: Option<u32>,
    /// Temperature: 0 always takes the likeliest token, 0.7 is lively [default: 0; in a chat at a terminal 0.7]
    #[arg(long, value_name = "T", allow_negative_numbers = true, value_parser = parse_temperature)]
    pub temp: Option<f32>,
    /// Choose among the N likeliest tokens; 0 among all
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub top_k: u32,
    /// Choose among the likeliest tokens that together reach this probability
    #[arg(long, value_name = "P", default_value_t = 0.8, allow_negative_numbers = true, value_parser = parse_share)]
    pub top_p: f32,
    /// Leave out tokens less likely than this share of the likeliest one; 0 leaves out none
    #[arg(long, value_name = "P", default_value_t = 0.0, allow_negative_numbers = true, value_parser = parse_share_or_zero)]
    pub min_p: f32,
    /// Make tokens that were already said less likely; 1 doesn't
    #[arg(long, value_name = "X", default_value_t = 1.0, allow_negative_numbers = true, value_parser = parse_positive)]
    pub repeat_penalty: f32,
    /// The same seed gives the same answer [default: 0; in a chat at a terminal a new one each time]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Read each token of an answer by itself. Otherwise, where an answer repeats what was said before, several are read at
    /// once: the answer is the same, and comes sooner
    #[arg(long)]
    pub no_lookup: bool,
}

impl SamplingArgs {
    /// After how many tokens an answer ends, where `default` is a command's own bound.
    pub fn max_tokens(&self, default: u32) -> usize {
        self.max_tokens.unwrap_or(default) as usize
    }
}

/// How closely the model looks.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pictures and clips")]
pub struct MediaArgs {
    /// Enlarge smaller pictures and frames to about this many pixels [default: what the model says, or 3136; frames 100352]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub min_pixels: Option<u64>,
    /// Shrink larger pictures and frames to at most this many pixels; 784 pixels make a token [default: 1003520; frames by
    /// the clip's length]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_pixels: Option<u64>,
    /// Frames per second to look at, of a clip; with --as-clip, that the pictures make [default: 2]
    #[arg(long, value_name = "F", allow_negative_numbers = true, value_parser = parse_positive)]
    pub fps: Option<f32>,
    /// Shrink a clip's frames until its tokens together stand for at most this many pixels [default: 90316800]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub total_pixels: Option<u64>,
    /// Spend at most this many tokens on a clip: smaller frames, then fewer [default: what the context holds]
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    pub budget: Option<u32>,
    /// Take the pictures for the frames of one clip, in the order given
    #[arg(long)]
    pub as_clip: bool,
}

/// How much is said, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct TalkArgs {
    /// Say nothing but the answer and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// No colours (so does the variable NO_COLOR)
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Say more: sizes, timings, kernels, memory; -vv also what happens inside
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}

fn number(typed: &str) -> Result<f32, String> {
    typed.parse::<f32>().ok().filter(|x| x.is_finite()).ok_or_else(|| "not a number".to_owned())
}

fn in_range(typed: &str, holds: impl Fn(f32) -> bool, allowed: &str) -> Result<f32, String> {
    let value = number(typed)?;
    if holds(value) { Ok(value) } else { Err(format!("must be {allowed}")) }
}

pub(super) fn parse_temperature(typed: &str) -> Result<f32, String> {
    in_range(typed, |x| (0.0..=10.0).contains(&x), "0 to 10")
}

pub(super) fn parse_share(typed: &str) -> Result<f32, String> {
    in_range(typed, |x| x > 0.0 && x <= 1.0, "above 0, at most 1")
}

fn parse_share_or_zero(typed: &str) -> Result<f32, String> {
    in_range(typed, |x| (0.0..=1.0).contains(&x), "0 to 1")
}

pub(super) fn parse_positive(typed: &str) -> Result<f32, String> {
    in_range(typed, |x| x > 0.0 && x <= 100.0, "above 0, at most 100")
}
