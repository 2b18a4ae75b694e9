//! What may be typed after `quantize`.

use std::path::PathBuf;

use clap::Args;

use super::args::{MediaArgs, ModelArgs};
use crate::gguf::GgmlType;
use crate::quant;
use crate::quantize::Mix;

/// What the help ends with.
pub const AFTER_HELP: &str = "\
TYPE is one of llama.cpp's names, and means the same as there: most tensors get the type, some a
better one.
  F32 F16 BF16
  Q8_0 Q6_K Q5_K_M Q5_K_S Q5_1 Q5_0 Q4_K_M Q4_K_S Q4_1 Q4_0
  Q3_K_L Q3_K_M Q3_K_S Q2_K Q2_K_S Q2_0 Q1_0
  IQ4_NL IQ4_XS IQ3_M IQ3_S IQ3_XS IQ3_XXS IQ2_M IQ2_S IQ2_XS IQ2_XXS IQ1_M IQ1_S
  TQ2_0 TQ1_0 MXFP4_MOE NVFP4
Q4_K_M is a good start; Q8_0 loses next to nothing. IQ3_XXS and everything of fewer bits needs an
importance matrix. The IQ, TQ and FP4 types and Q1_0 and Q2_0 run slower here than the others. For
an mmproj file, take F16 or Q8_0.

Examples:
  qlens quantize model-f16.gguf model-q4_k_m.gguf Q4_K_M
  qlens quantize model-f16.gguf model-iq3_xxs.gguf IQ3_XXS --imatrix imatrix.gguf
  qlens quantize mmproj-f16.gguf mmproj-q8_0.gguf Q8_0
  qlens quantize model-f16.gguf out.gguf Q4_K_M --dry-run        # only tells types and sizes
  qlens quantize model-f16.gguf out.gguf Q4_K_M --tensor-type attn_v=q8_0";

/// What the help of `imatrix` ends with.
pub const IMATRIX_AFTER_HELP: &str = "\
The model is asked every question about every picture or clip (without those, the questions
alone), and what its matrices are multiplied with on the way is added up: in quantizing, columns
that are used strongly get the smaller errors. Take a model of full precision, pictures and
questions of the kind that it will be used for, some dozens of them. The file is in llama.cpp's
format.

Examples:
  qlens imatrix -m model-f16.gguf photos/*.jpg --prompts questions.txt -o imatrix.gguf
  qlens quantize model-f16.gguf model-iq3_xxs.gguf IQ3_XXS --imatrix imatrix.gguf";

/// `qlens imatrix`.
#[derive(Debug, Args)]
pub struct ImatrixArgs {
    /// Pictures and clips, each shown in a conversation of its own
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// A question; several, if given several times
    #[arg(short, long, value_name = "TEXT")]
    pub prompt: Vec<String>,
    /// A text file of questions, one a line
    #[arg(long, value_name = "FILE")]
    pub prompts: Option<PathBuf>,
    /// The file to be made
    #[arg(short, long, value_name = "OUT")]
    pub out: PathBuf,
    /// Of each answer, make and look at so many tokens
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=16_777_216))]
    pub max_tokens: u32,
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Picture sizes.
    #[command(flatten)]
    pub media: MediaArgs,
}

/// `qlens quantize`.
#[derive(Debug, Args)]
pub struct QuantizeArgs {
    /// The model, a GGUF file (of a split one, the first part); best one of F16, BF16 or F32
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// The file to be made
    #[arg(value_name = "OUT")]
    pub output: PathBuf,
    /// What it is to be made of, such as Q4_K_M
    #[arg(value_name = "TYPE", value_parser = parse_mix)]
    pub mix: Mix,
    /// An importance matrix of the model: where rounding matters (made by `qlens imatrix` or llama.cpp, GGUF or .dat)
    #[arg(long, value_name = "FILE")]
    pub imatrix: Option<PathBuf>,
    /// Give all tensors the same type
    #[arg(long)]
    pub pure: bool,
    /// Leave the output matrix as it is
    #[arg(long)]
    pub leave_output: bool,
    /// The type of the output matrix
    #[arg(long, value_name = "TYPE", value_parser = parse_type)]
    pub output_type: Option<GgmlType>,
    /// The type of the embedding table
    #[arg(long, value_name = "TYPE", value_parser = parse_type)]
    pub embedding_type: Option<GgmlType>,
    /// The type of all tensors in whose name PART occurs; the first that does counts
    #[arg(long, value_name = "PART=TYPE", value_parser = parse_named)]
    pub tensor_type: Vec<(String, GgmlType)>,
    /// Quantize what is quantized already again, at a loss
    #[arg(long)]
    pub allow_requantize: bool,
    /// Threads [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// Only tell what would become of each tensor, and the sizes
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object: tensors, types, sizes
    #[arg(long)]
    pub json: bool,
}

/// A mix by its name.
///
/// # Errors
/// There is none of that name.
pub fn parse_mix(typed: &str) -> Result<Mix, String> {
    Mix::from_name(typed).ok_or_else(|| {
        let names: Vec<String> = Mix::ALL.iter().map(|mix| mix.name()).collect();
        format!("no such type (there are {})", names.join(", "))
    })
}

fn parse_type(typed: &str) -> Result<GgmlType, String> {
    let can = |ty: &GgmlType| quant::quantizes(*ty) || !cfg!(feature = "ggml") && ty.block_len() > 1;
    let names = || GgmlType::ALL.into_iter().filter(can).map(|ty| ty.name()).collect::<Vec<_>>().join(", ");
    let found = GgmlType::ALL.into_iter().filter(can).find(|ty| ty.name().eq_ignore_ascii_case(typed));
    found.ok_or_else(|| format!("no such type (there are {})", names()))
}

fn parse_named(typed: &str) -> Result<(String, GgmlType), String> {
    match typed.rsplit_once('=') {
        Some((part, ty)) if !part.is_empty() => Ok((part.to_owned(), parse_type(ty)?)),
        _ => Err("must be a part of a tensor's name, =, and a type: attn_v=q8_0".to_owned()),
    }
}
