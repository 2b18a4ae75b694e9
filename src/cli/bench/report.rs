//! The measurements as a table, and as the JSON of docs/json.md.

use std::io::{self, Write};

use serde::Serialize;

use super::machine::Machine;
use super::measure::kv_width;
use crate::cli::args::Phase;
use crate::cli::memory::human_bytes;
use crate::cli::screen::write_json;
use crate::kernels::Peaks;
use crate::session::Engine;

/// One phase at one size.
#[derive(Clone, Debug, Serialize)]
pub struct Measurement {
    /// Which.
    #[serde(serialize_with = "phase_name")]
    pub phase: Phase,
    /// Pixels along the picture's side, tokens of the prompt, or tokens in the context before.
    pub at: usize,
    /// Tokens that each run computed.
    pub tokens: usize,
    /// Seconds of each run.
    pub runs_s: Vec<f64>,
    /// Their median.
    pub median_s: f64,
    /// The quickest.
    pub min_s: f64,
    /// The slowest.
    pub max_s: f64,
    /// By the median.
    pub tokens_per_s: Option<f64>,
    /// How near the machine's limit.
    pub limit: Option<Share>,
}

/// What limits a phase, and how near it came.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Share {
    /// `memory` or `int8`.
    pub by: &'static str,
    /// Seconds at the limit.
    pub seconds: f64,
    /// These, as a share of the median.
    pub share: f64,
}

impl Measurement {
    /// Of the runs that were made.
    pub fn new(phase: Phase, at: usize, tokens: usize, runs_s: Vec<f64>) -> Measurement {
        let mut sorted = runs_s.clone();
        sorted.sort_by(f64::total_cmp);
        let end = |s: Option<&f64>| s.copied().unwrap_or(0.0);
        let (min_s, max_s) = (end(sorted.first()), end(sorted.last()));
        let middle = |i| end(sorted.get(i));
        let median_s = (middle(sorted.len().saturating_sub(1) / 2) + middle(sorted.len() / 2)) / 2.0;
        let tokens_per_s = (tokens > 0 && median_s > 0.0).then(|| tokens as f64 / median_s);
        Measurement { phase, at, tokens, runs_s, median_s, min_s, max_s, tokens_per_s, limit: None }
    }

    fn label(&self) -> String {
        let at = self.at;
        match self.phase {
            Phase::Load => "load".into(),
            Phase::Vision => format!("vision {at}x{at}, {} tokens", self.tokens),
            Phase::Prefill => format!("prefill {at}"),
            Phase::Decode => format!("decode after {at}"),
            Phase::Repeat => format!("repeat {at}"),
            Phase::FirstToken => format!("first token, {at}x{at}"),
        }
    }
}

fn phase_name<S: serde::Serializer>(phase: &Phase, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(match phase {
        Phase::Load => "load",
        Phase::Vision => "vision",
        Phase::Prefill => "prefill",
        Phase::Decode => "decode",
        Phase::Repeat => "repeat",
        Phase::FirstToken => "first_token",
    })
}

/// This machine's limits with the threads in use.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Limits {
    /// Bytes read from memory per second.
    pub memory_bytes_per_s: f64,
    /// Additions and multiplications of 8-bit numbers per second, in dot products.
    pub int8_ops_per_s: f64,
    /// The same of bfloat16 numbers; null where the kernels have no such instruction.
    pub bf16_ops_per_s: Option<f64>,
    /// The same of 32-bit floats.
    pub f32_ops_per_s: f64,
}

impl Limits {
    /// Measures them: about a second.
    pub fn measure(engine: &Engine) -> Limits {
        let Peaks { memory_bytes_per_s, int8_ops_per_s, bf16_ops_per_s, f32_ops_per_s } = engine.cpu().peaks();
        Limits { memory_bytes_per_s, int8_ops_per_s, bf16_ops_per_s, f32_ops_per_s }
    }

    /// How near a measurement came to what bounds it: reading the weights and the cache for a token of an answer, 8-bit
    /// dot products for all else. Attention's scores count as if they were 8-bit products, too.
    pub fn share(&self, engine: &Engine, m: &Measurement) -> Option<Share> {
        let (by, seconds) = match m.phase {
            Phase::Decode => ("memory", m.tokens as f64 * self.token_bytes(engine, m.at) / self.memory_bytes_per_s),
            Phase::Prefill => ("int8", 2.0 * text_products(engine, m.at) / self.int8_ops_per_s),
            Phase::Vision => ("int8", 2.0 * vision_products(engine, m.at)? / self.int8_ops_per_s),
            Phase::Load | Phase::Repeat | Phase::FirstToken => return None,
        };
        (m.median_s > 0.0).then(|| Share { by, seconds, share: seconds / m.median_s })
    }

    /// Bytes that are read for one token after `depth` others.
    fn token_bytes(&self, engine: &Engine, depth: usize) -> f64 {
        let (text, c) = (engine.language(), engine.language().config());
        let weights: usize = text.matrices().chain([text.output_matrix()]).map(|m| m.rows() * m.row_bytes()).sum();
        let kv = 2 * c.n_layers * c.n_kv_heads * c.head_dim * kv_width(engine.kv_type());
        (weights + kv * depth) as f64
    }
}

/// Multiplications for reading `n` tokens: weights, attention, the last token's logits.
fn text_products(engine: &Engine, n: usize) -> f64 {
    let (text, c) = (engine.language(), engine.language().config());
    let weights: usize = text.matrices().map(|m| m.rows() * m.cols()).sum();
    let output = text.output_matrix();
    let attention = c.n_layers * c.n_heads * c.head_dim * n * (n + 1);
    (weights * n + attention + output.rows() * output.cols()) as f64
}

/// Multiplications for encoding a picture of `side` pixels.
fn vision_products(engine: &Engine, side: usize) -> Option<f64> {
    let vision = engine.vision().ok()?;
    let c = vision.config();
    let patches = (side / c.patch_size).pow(2);
    let per_patch: usize = vision.patch_matrices().map(|m| m.rows() * m.cols()).sum();
    let per_token: usize = vision.token_matrices().map(|m| m.rows() * m.cols()).sum();
    let window = (c.window_size / c.patch_size).pow(2).min(patches);
    let seen: usize = c.full_attention.iter().map(|&full| if full { patches } else { window }).sum();
    Some((patches * (per_patch + 2 * seen * c.hidden_size) + patches / c.merge_unit() * per_token) as f64)
}

/// The whole run.
#[derive(Serialize)]
pub struct Report {
    program: String,
    model: String,
    mmproj: Option<String>,
    machine: Machine,
    threads: usize,
    kernels: String,
    measurements: Vec<Measurement>,
    memory: Memory,
    roofline: Option<Limits>,
}

#[derive(Serialize)]
struct Memory {
    peak_resident_bytes: Option<u64>,
    mapped_bytes: u64,
}

impl Report {
    /// Of what has been measured.
    pub fn new(engine: &Engine, measurements: Vec<Measurement>, peak: Option<u64>, roofline: Option<Limits>) -> Report {
        Report {
            program: format!("qlens {}", env!("CARGO_PKG_VERSION")),
            model: engine.model_path().display().to_string(),
            mmproj: engine.mmproj_name().map(str::to_owned),
            machine: Machine::here(),
            threads: engine.cpu().threads(),
            kernels: engine.cpu().isa().name().to_owned(),
            measurements,
            memory: Memory { peak_resident_bytes: peak, mapped_bytes: engine.mapped_bytes() },
            roofline,
        }
    }

    /// Prints one line of JSON.
    ///
    /// # Errors
    /// Whatever writing to standard output gives.
    pub fn json(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        write_json(self, &mut out)?;
        writeln!(out)?;
        out.flush()
    }

    /// Prints a table.
    ///
    /// # Errors
    /// Whatever writing to standard output gives.
    pub fn table(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(self.in_words().as_bytes())?;
        out.flush()
    }

    /// The table's text.
    pub fn in_words(&self) -> String {
        let mut text = format!(
            "{}, {} kernels, {} threads\n{}\n{}\n\n",
            self.program,
            self.kernels,
            self.threads,
            crate::cli::screen::one_line(&self.model),
            self.machine.in_words()
        );
        let head = ["", "median", "quickest", "slowest", "runs", "tokens/s", "of the limit"];
        text.push_str(&row(&head.map(str::to_owned)));
        for m in &self.measurements {
            let rate = m.tokens_per_s.map_or_else(String::new, |r| format!("{r:.1}"));
            let share = m.limit.map_or_else(String::new, |l| format!("{:.0} % ({})", 100.0 * l.share, l.by));
            let [median, min, max] = [m.median_s, m.min_s, m.max_s].map(seconds);
            text.push_str(&row(&[m.label(), median, min, max, m.runs_s.len().to_string(), rate, share]));
        }
        if let Some(peak) = self.memory.peak_resident_bytes {
            let mapped = human_bytes(self.memory.mapped_bytes);
            text.push_str(&format!("\nmemory: {} resident at most, model files of {mapped}\n", human_bytes(peak)));
        }
        if let Some(l) = &self.roofline {
            let bf16 = l.bf16_ops_per_s.map_or_else(|| "no".into(), |x| format!("{:.2}", x / 1e12));
            text.push_str(&format!(
                "limits: {:.1} GB/s from memory; {:.2} 8-bit, {bf16} bf16, {:.2} f32 tera-operations per second\n",
                l.memory_bytes_per_s / 1e9,
                l.int8_ops_per_s / 1e12,
                l.f32_ops_per_s / 1e12
            ));
        }
        text
    }
}

fn row(cells: &[String; 7]) -> String {
    let [label, rest @ ..] = cells;
    let mut line = format!("{label:<28}");
    for (cell, width) in rest.iter().zip([10, 10, 10, 6, 10, 16]) {
        line.push_str(&format!("{cell:>width$}"));
    }
    format!("{}\n", line.trim_end())
}

/// Seconds with as many digits as they deserve.
fn seconds(s: f64) -> String {
    if s < 1.0 { format!("{:.1} ms", 1e3 * s) } else { format!("{s:.2} s") }
}
