//! llama.cpp's own quantizer, and what it says with a file, for files that qlens makes: see scripts/compare-quantize.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use llama_cpp_sys_2 as sys;

use crate::llama::{self, Llama, Options, path};
use crate::report::peak_resident_bytes;

/// llama.cpp's names of the mixes, and its numbers.
const TYPES: [(&str, sys::llama_ftype); 22] = [
    ("F32", sys::LLAMA_FTYPE_ALL_F32),
    ("F16", sys::LLAMA_FTYPE_MOSTLY_F16),
    ("BF16", sys::LLAMA_FTYPE_MOSTLY_BF16),
    ("Q4_0", sys::LLAMA_FTYPE_MOSTLY_Q4_0),
    ("Q4_1", sys::LLAMA_FTYPE_MOSTLY_Q4_1),
    ("Q5_0", sys::LLAMA_FTYPE_MOSTLY_Q5_0),
    ("Q5_1", sys::LLAMA_FTYPE_MOSTLY_Q5_1),
    ("Q8_0", sys::LLAMA_FTYPE_MOSTLY_Q8_0),
    ("Q2_K", sys::LLAMA_FTYPE_MOSTLY_Q2_K),
    ("Q3_K_S", sys::LLAMA_FTYPE_MOSTLY_Q3_K_S),
    ("Q3_K_M", sys::LLAMA_FTYPE_MOSTLY_Q3_K_M),
    ("Q3_K_L", sys::LLAMA_FTYPE_MOSTLY_Q3_K_L),
    ("Q4_K_S", sys::LLAMA_FTYPE_MOSTLY_Q4_K_S),
    ("Q4_K_M", sys::LLAMA_FTYPE_MOSTLY_Q4_K_M),
    ("Q5_K_S", sys::LLAMA_FTYPE_MOSTLY_Q5_K_S),
    ("Q5_K_M", sys::LLAMA_FTYPE_MOSTLY_Q5_K_M),
    ("Q6_K", sys::LLAMA_FTYPE_MOSTLY_Q6_K),
    ("IQ3_S", sys::LLAMA_FTYPE_MOSTLY_IQ3_S),
    ("IQ4_NL", sys::LLAMA_FTYPE_MOSTLY_IQ4_NL),
    ("IQ4_XS", sys::LLAMA_FTYPE_MOSTLY_IQ4_XS),
    ("TQ1_0", sys::LLAMA_FTYPE_MOSTLY_TQ1_0),
    ("TQ2_0", sys::LLAMA_FTYPE_MOSTLY_TQ2_0),
];

/// As `qlens quantize`.
#[derive(Clone, Debug, clap::Args)]
pub struct QuantizeArgs {
    input: PathBuf,
    output: PathBuf,
    #[arg(value_name = "TYPE")]
    mix: String,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Quantize what is quantized already again
    #[arg(long)]
    allow_requantize: bool,
}

/// Quantizes, and prints as JSON how long it took and the most memory that was resident.
pub fn run(args: &QuantizeArgs) -> Result<()> {
    llama::hush();
    let (_, ftype) =
        TYPES.iter().find(|(name, _)| *name == args.mix).with_context(|| format!("no type is called {}", args.mix))?;
    let start = Instant::now();
    // SAFETY: parameters come from the library's own defaults, and the paths outlive the call.
    let code = unsafe {
        sys::llama_backend_init();
        let mut params = sys::llama_model_quantize_default_params();
        params.nthread = i32::try_from(args.threads)?;
        params.ftype = *ftype;
        params.allow_requantize = args.allow_requantize;
        sys::llama_model_quantize(path(&args.input)?.as_ptr(), path(&args.output)?.as_ptr(), &params)
    };
    ensure!(code == 0, "llama.cpp can't quantize {}: {code}", args.input.display());
    let (seconds, peak) = (start.elapsed().as_secs_f64(), peak_resident_bytes());
    println!("{}", serde_json::json!({ "seconds": seconds, "peak_resident_bytes": peak }));
    Ok(())
}

/// Which model says what.
#[derive(Clone, Debug, clap::Args)]
pub struct GenerateArgs {
    /// The text model
    #[arg(short, long)]
    model: PathBuf,
    /// The words to go on from, special tokens included
    #[arg(short, long)]
    prompt: String,
    /// Tokens to make
    #[arg(short, long, default_value_t = 32)]
    n: usize,
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// Goes on from a prompt with the likeliest tokens, and prints their numbers and the text as JSON.
pub fn generate(args: &GenerateArgs) -> Result<()> {
    llama::hush();
    let options = Options { threads: args.threads, ctx: 512, kv_f32: false, all_logits: false, repack: true };
    let mut llama = Llama::load(&args.model, None, options)?;
    let mut read = llama.tokens(&args.prompt)?;
    ensure!(!read.is_empty() && read.len() + args.n <= options.ctx, "{} tokens of a prompt", read.len());
    let mut tokens = Vec::new();
    let mut text = Vec::new();
    while tokens.len() < args.n {
        llama.read(&read)?;
        let best = llama.best()?;
        tokens.push(best);
        if llama.ends(best) {
            break;
        }
        text.extend(llama.bytes(best));
        read = vec![best];
    }
    println!("{}", serde_json::json!({ "tokens": tokens, "text": String::from_utf8_lossy(&text) }));
    Ok(())
}
