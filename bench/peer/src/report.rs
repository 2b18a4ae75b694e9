//! What `qlens bench --json` prints (docs/json.md), and this program too.

use serde::{Deserialize, Serialize};

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub program: String,
    pub model: String,
    pub mmproj: Option<String>,
    pub machine: serde_json::Value,
    pub threads: usize,
    pub kernels: String,
    pub measurements: Vec<Measurement>,
    pub memory: Memory,
    #[serde(default)]
    pub roofline: serde_json::Value,
}

/// One phase at one size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measurement {
    /// `load`, `vision`, `prefill`, `decode`, `repeat` or `first_token`.
    pub phase: String,
    /// Pixels along the picture's side, tokens of the prompt, or tokens in the context before.
    pub at: usize,
    /// Tokens that each run computed.
    pub tokens: usize,
    /// Seconds of each run.
    pub runs_s: Vec<f64>,
    pub median_s: f64,
    pub min_s: f64,
    pub max_s: f64,
    pub tokens_per_s: Option<f64>,
    #[serde(default)]
    pub limit: serde_json::Value,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Memory {
    pub peak_resident_bytes: Option<u64>,
    #[serde(default)]
    pub mapped_bytes: u64,
}

impl Measurement {
    /// Of the runs that were made.
    pub fn new(phase: &str, at: usize, tokens: usize, runs_s: Vec<f64>) -> Measurement {
        let mut sorted = runs_s.clone();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let median_s = if n == 0 { 0.0 } else { (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0 };
        let tokens_per_s = (tokens > 0 && median_s > 0.0).then(|| tokens as f64 / median_s);
        let (min_s, max_s) = (sorted.first().copied().unwrap_or(0.0), sorted.last().copied().unwrap_or(0.0));
        let phase = phase.to_owned();
        Measurement { phase, at, tokens, runs_s, median_s, min_s, max_s, tokens_per_s, limit: serde_json::Value::Null }
    }
}

/// The most memory that was resident, of this process (`VmHWM` of Linux).
pub fn peak_resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
