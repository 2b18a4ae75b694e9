//! llama.cpp's phases, each as `qlens bench` measures its own.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;

use crate::llama::{self, Llama, Options};
use crate::report::{Measurement, Memory, Report, peak_resident_bytes};

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub struct MeasureArgs {
    /// The text model
    #[arg(short, long)]
    pub model: PathBuf,
    /// The vision model
    #[arg(long)]
    pub mmproj: Option<PathBuf>,
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
    /// Of load, vision, prefill, decode, repeat, first-token
    #[arg(long, value_delimiter = ',', default_value = "load,vision,prefill,decode,repeat,first-token")]
    pub phases: Vec<String>,
    /// Picture sides in pixels
    #[arg(long, value_delimiter = ',', default_value = "224,448,896")]
    pub sizes: Vec<usize>,
    /// Prompt lengths
    #[arg(long, value_delimiter = ',', default_value = "32,256,1024")]
    pub prompts: Vec<usize>,
    /// Tokens in the context while decoding
    #[arg(long, value_delimiter = ',', default_value = "0,4096")]
    pub depths: Vec<usize>,
    /// The picture's side for the time to the first token
    #[arg(long, default_value_t = 896)]
    pub question_size: usize,
    /// Tokens per decoding run
    #[arg(long, default_value_t = 16)]
    pub tokens: usize,
    #[arg(long, default_value_t = 3)]
    pub repeats: usize,
    /// Leave the weights in the file's order
    #[arg(long)]
    pub no_repack: bool,
}

/// The question of the last phase, as `qlens bench` asks it.
const QUESTION: &str = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<__media__>Look at this \
                        picture and tell me what you see: name each object, say where it is, which colours it has, and \
                        read out all of the text that you find.<|im_end|>\n<|im_start|>assistant\n";

/// Tokens that are read to make a deeper context of.
pub const SEED_TOKENS: usize = 256;
/// Tokens of an answer that repeats its prompt.
const REPEATED: usize = 64;

impl MeasureArgs {
    fn wants(&self, phase: &str) -> bool {
        self.phases.iter().any(|p| p == phase)
    }

    /// Whether the vision model is needed.
    fn sees(&self) -> bool {
        self.wants("vision") || self.wants("first-token") || self.wants("load")
    }

    fn load(&self) -> Result<Llama> {
        let decode =
            if self.wants("decode") { self.depths.iter().max().copied().unwrap_or(0) + self.tokens + 1 } else { 0 };
        let prefill = if self.wants("prefill") { self.prompts.iter().max().copied().unwrap_or(0) } else { 0 };
        let picture = if self.wants("first-token") { (self.question_size / 28).pow(2) + 512 } else { 0 };
        let ctx = decode.max(prefill).max(picture).max(512);
        let repack = !self.no_repack;
        let options = Options { threads: self.threads, ctx, kv_f32: false, all_logits: false, repack };
        Llama::load(&self.model, self.mmproj.as_deref().filter(|_| self.sees()), options)
    }
}

/// Runs it all.
pub fn run(args: &MeasureArgs) -> Result<Report> {
    llama::hush();
    let mut measurements = Vec::new();
    let loads = if args.wants("load") { args.repeats } else { 1 };
    let mut seconds = Vec::new();
    let mut loaded = None;
    for _ in 0..loads {
        drop(loaded.take());
        let start = Instant::now();
        loaded = Some(args.load()?);
        seconds.push(start.elapsed().as_secs_f64());
    }
    measurements.push(Measurement::new("load", 0, 0, seconds));
    let Some(mut llama) = loaded else { anyhow::bail!("nothing loaded") };
    if args.wants("vision") {
        vision(args, &mut llama, &mut measurements)?;
    }
    if args.wants("prefill") {
        prefill(args, &mut llama, &mut measurements)?;
    }
    if args.wants("decode") {
        decode(args, &mut llama, &mut measurements)?;
    }
    if args.wants("repeat") {
        repeat(args, &mut llama, &mut measurements)?;
    }
    if args.wants("first-token") {
        first_token(args, &mut llama, &mut measurements)?;
    }
    Ok(Report {
        program: "llama.cpp (llama-cpp-sys-2 0.1.161)".into(),
        model: args.model.display().to_string(),
        mmproj: args.mmproj.as_ref().map(|m| m.display().to_string()),
        machine: serde_json::Value::Null,
        threads: args.threads,
        kernels: llama::features(),
        measurements,
        memory: Memory { peak_resident_bytes: peak_resident_bytes(), mapped_bytes: 0 },
        roofline: serde_json::Value::Null,
    })
}

/// Seconds of each of `repeats` runs.
fn timed(repeats: usize, mut work: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    (0..repeats.max(1))
        .map(|_| {
            let start = Instant::now();
            work()?;
            Ok(start.elapsed().as_secs_f64())
        })
        .collect()
}

fn vision(args: &MeasureArgs, llama: &mut Llama, out: &mut Vec<Measurement>) -> Result<()> {
    let warm = llama.tokenize("<__media__>", 112, &picture(112))?;
    llama.encode(&warm)?;
    for &side in &args.sizes {
        let chunks = llama.tokenize("<__media__>", side, &picture(side))?;
        let mut tokens = 0;
        let seconds = timed(args.repeats, || {
            tokens = llama.encode(&chunks)?;
            Ok(())
        })?;
        out.push(Measurement::new("vision", side, tokens, seconds));
    }
    Ok(())
}

fn prefill(args: &MeasureArgs, llama: &mut Llama, out: &mut Vec<Measurement>) -> Result<()> {
    llama.clear();
    llama.read(&tokens(32))?;
    for &n in &args.prompts {
        let prompt = tokens(n);
        let seconds = timed(args.repeats, || {
            llama.clear();
            llama.read(&prompt)?;
            llama.best()?;
            Ok(())
        })?;
        out.push(Measurement::new("prefill", n, n, seconds));
    }
    Ok(())
}

fn decode(args: &MeasureArgs, llama: &mut Llama, out: &mut Vec<Measurement>) -> Result<()> {
    for &depth in &args.depths {
        let mut seconds = Vec::new();
        for _ in 0..args.repeats.max(1) {
            llama.deepen(&tokens(SEED_TOKENS), depth)?;
            let mut token = 1;
            // One more before the clock runs: what the first token of a context sets up is none of decoding's.
            llama.read(&[token])?;
            let start = Instant::now();
            for _ in 0..args.tokens {
                llama.read(&[token])?;
                token = llama.best()?;
            }
            seconds.push(start.elapsed().as_secs_f64());
        }
        out.push(Measurement::new("decode", depth, args.tokens, seconds));
    }
    Ok(())
}

/// An answer of as many tokens as qlens's that repeats its prompt; the library guesses at nothing by itself.
fn repeat(args: &MeasureArgs, llama: &mut Llama, out: &mut Vec<Measurement>) -> Result<()> {
    let prompt = tokens(SEED_TOKENS);
    let mut seconds = Vec::new();
    for _ in 0..args.repeats.max(1) {
        llama.clear();
        llama.read(&prompt)?;
        let start = Instant::now();
        for &token in &prompt[..REPEATED] {
            llama.read(&[token])?;
            llama.best()?;
        }
        seconds.push(start.elapsed().as_secs_f64());
    }
    out.push(Measurement::new("repeat", SEED_TOKENS, REPEATED, seconds));
    Ok(())
}

fn first_token(args: &MeasureArgs, llama: &mut Llama, out: &mut Vec<Measurement>) -> Result<()> {
    let side = args.question_size;
    let rgb = picture(side);
    let warm = llama.tokenize(QUESTION, 112, &picture(112))?;
    llama.evaluate(&warm)?;
    let seconds = timed(args.repeats, || {
        let chunks = llama.tokenize(QUESTION, side, &rgb)?;
        llama.evaluate(&chunks)?;
        llama.best()?;
        Ok(())
    })?;
    out.push(Measurement::new("first_token", side, 0, seconds));
    Ok(())
}

/// Token ids without a pattern that could help.
pub fn tokens(n: usize) -> Vec<i32> {
    (0..n as u32).map(|i| (i.wrapping_mul(7919).wrapping_add(13) % 1200 + 300) as i32).collect()
}

/// A picture with something everywhere.
fn picture(side: usize) -> Vec<u8> {
    (0..side * side).flat_map(|i| [(i % side) as u8, (i / side) as u8, (i * 7 / 3) as u8]).collect()
}
