//! What may be typed at the commands that make model files and judge them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::args::{MediaArgs, ModelArgs};
use super::quantize_args::parse_mix;
use crate::quantize::Mix;

/// `qlens convert`.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// The checkpoint's folder, as it is on the hub: config.json, *.safetensors, the tokenizer's files
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// The language model's file; it must not exist yet
    #[arg(value_name = "OUT.gguf")]
    pub out: PathBuf,
    /// The vision model's file [default: mmproj-OUT.gguf beside OUT.gguf]
    #[arg(long, value_name = "GGUF")]
    pub mmproj: Option<PathBuf>,
    /// The language model's type, as for `quantize`, such as Q4_K_M
    #[arg(short, long = "type", value_name = "TYPE", default_value = "F16", value_parser = parse_mix)]
    pub ty: Mix,
    /// The vision model's type
    #[arg(long, value_name = "TYPE", default_value = "F16", value_parser = parse_mix)]
    pub mmproj_type: Mix,
    /// Convert only one of the two; with mmproj, OUT.gguf is the vision model's file
    #[arg(long, value_name = "WHICH", conflicts_with = "mmproj")]
    pub only: Option<Half>,
    /// The model's name in the files [default: the folder's name]
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// Threads to convert with [default: the physical cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// Check everything but the weights, and print what would be written
    #[arg(long)]
    pub dry_run: bool,
}

/// One file of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Half {
    /// The language model
    Text,
    /// The vision model
    Mmproj,
}

/// `qlens eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// Pictures and clips; the base is asked about each, and the model compared with it while it answers
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The text to read: perplexity, and with --base the divergence from it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["files", "prompts"])]
    pub text: Option<PathBuf>,
    /// What is asked about each file, or without files; may be given several times [default: to describe what is seen]
    #[arg(short, long = "prompt", value_name = "TEXT")]
    pub prompts: Vec<String>,
    /// The model to compare with, usually the same one unquantized
    #[arg(long, value_name = "MODEL")]
    pub base: Option<PathBuf>,
    /// The base's vision model, a GGUF file [default: the one beside the base that fits it]
    #[arg(long, value_name = "GGUF", requires = "base")]
    pub base_mmproj: Option<PathBuf>,
    /// Read at most this many chunks of the text, each of --ctx tokens (512 if that isn't given)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub chunks: Option<u32>,
    /// Compare at most this many tokens of each answer
    #[arg(short = 'n', long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub tokens: u32,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Picture sizes.
    #[command(flatten)]
    pub media: MediaArgs,
}
