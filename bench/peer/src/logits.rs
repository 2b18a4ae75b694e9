//! llama.cpp's logits, to compare their distance from the truth with qlens's.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;

use crate::llama::{self, Llama, Options};

/// Which model, which tokens.
#[derive(Clone, Debug, clap::Args)]
pub struct LogitsArgs {
    /// The text model
    #[arg(short, long)]
    model: PathBuf,
    /// Token ids
    #[arg(long, value_delimiter = ',')]
    tokens: Vec<i32>,
    /// Where `[tokens, vocabulary]` goes, as little-endian 32-bit floats
    #[arg(short, long)]
    out: PathBuf,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Read the tokens one by one, as an answer is made, rather than at once
    #[arg(long)]
    one_by_one: bool,
    /// Leave the weights in the file's order
    #[arg(long)]
    no_repack: bool,
}

/// Reads the tokens into an empty context, keys and values in F32, and writes what comes out.
pub fn run(args: &LogitsArgs) -> Result<()> {
    llama::hush();
    let options = Options {
        threads: args.threads,
        ctx: args.tokens.len(),
        kv_f32: true,
        all_logits: true,
        repack: !args.no_repack,
    };
    let mut llama = Llama::load(&args.model, None, options)?;
    let mut logits = Vec::new();
    if args.one_by_one {
        for &token in &args.tokens {
            llama.read(&[token])?;
            logits.extend_from_slice(llama.logits(-1)?);
        }
    } else {
        logits = llama.read_all_logits(&args.tokens)?;
    }
    let mut out = std::io::BufWriter::new(std::fs::File::create(&args.out)?);
    for x in logits {
        out.write_all(&x.to_le_bytes())?;
    }
    Ok(out.flush()?)
}
