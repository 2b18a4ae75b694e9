//! The options of `qlens bench`.

use clap::Args;

use super::args::ModelArgs;
use super::bench::Spec;

/// `qlens bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Measure a model of random weights in the shape of Qwen2.5-VL 3b or 7b, made once in the cache folder; TYPE q4_0,
    /// q4_k_m, q8_0 or f16, MMPROJ f16 or q8_0
    #[arg(long, value_name = "SIZE[:TYPE[:MMPROJ]]", conflicts_with_all = ["model", "mmproj"], value_parser = Spec::parse)]
    pub synthetic: Option<Spec>,
    /// What to measure
    #[arg(long, value_name = "PHASE,…", value_delimiter = ',', value_enum, default_values_t = Phase::ALL)]
    pub phases: Vec<Phase>,
    /// Sides of the square pictures that are encoded, in pixels (of a multiple of 28)
    #[arg(long, value_name = "PIXELS,…", value_delimiter = ',', default_values_t = [224, 448, 896, 1792],
          value_parser = parse_side)]
    pub sizes: Vec<u32>,
    /// Tokens of the prompts that are read
    #[arg(long, value_name = "TOKENS,…", value_delimiter = ',', default_values_t = [32, 256, 1024, 4096],
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub prompts: Vec<u32>,
    /// Tokens that the context holds while an answer is made
    #[arg(long, value_name = "TOKENS,…", value_delimiter = ',', default_values_t = [0, 4096, 16384],
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub depths: Vec<u32>,
    /// Tokens of an answer
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub tokens: u32,
    /// Side of the picture in the question whose first token is waited for, in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 896, value_parser = parse_side)]
    pub question_size: u32,
    /// Runs of each measurement
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub repeats: u32,
    /// Seconds after which a measurement isn't repeated any more
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = parse_budget)]
    pub budget: f64,
    /// Don't measure the machine's limits
    #[arg(long)]
    pub no_limits: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
}

/// What `qlens bench` measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Phase {
    /// Opening the model, until a question can be asked
    Load,
    /// The vision model
    Vision,
    /// Reading a prompt
    Prefill,
    /// Making an answer
    Decode,
    /// Making an answer that repeats its prompt, by guessing at what is repeated
    Repeat,
    /// From a question about a picture to its answer's first token
    FirstToken,
}

impl Phase {
    /// In the order in which they are measured.
    pub const ALL: [Phase; 6] =
        [Phase::Load, Phase::Vision, Phase::Prefill, Phase::Decode, Phase::Repeat, Phase::FirstToken];
}

fn parse_side(typed: &str) -> Result<u32, String> {
    let side = typed.parse::<u32>().ok().filter(|n| n.is_multiple_of(28) && (28..=8960).contains(n));
    side.ok_or_else(|| "must be a multiple of 28, 28 to 8960".to_owned())
}

fn parse_budget(typed: &str) -> Result<f64, String> {
    let seconds = typed.parse::<f64>().ok().filter(|s| (0.0..=86400.0).contains(s));
    seconds.ok_or_else(|| "must be 0 to 86400 seconds".to_owned())
}
