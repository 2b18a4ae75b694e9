//! Both programs in turns: one measurement of one, the same of the other, several rounds; then a table of ratios.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::report::Report;
use crate::table;

/// What to compare.
#[derive(Clone, Debug, clap::Args)]
pub struct CompareArgs {
    /// The program
    #[arg(long)]
    qlens: PathBuf,
    /// Synthetic models, such as 3b:q4_0, which qlens makes where they aren't there; llama.cpp may take the F16 or the Q8_0
    /// vision model, whichever is quicker
    #[arg(long, value_delimiter = ',', conflicts_with = "model")]
    synthetic: Vec<String>,
    /// Another text model
    #[arg(short, long, required_unless_present = "synthetic")]
    model: Option<PathBuf>,
    /// Its vision model, for both programs
    #[arg(long, requires = "model")]
    mmproj: Option<PathBuf>,
    /// Another type of the vision model, which llama.cpp may take where it is quicker
    #[arg(long, requires = "model")]
    mmproj_peer: Option<PathBuf>,
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Of load, vision, prefill, decode, repeat, first-token
    #[arg(long, value_delimiter = ',', default_value = "load,vision,prefill,decode,repeat,first-token")]
    phases: Vec<String>,
    #[arg(long, value_delimiter = ',', default_value = "224,448,896")]
    sizes: Vec<usize>,
    #[arg(long, value_delimiter = ',', default_value = "32,256,1024")]
    prompts: Vec<usize>,
    #[arg(long, value_delimiter = ',', default_value = "0,4096")]
    depths: Vec<usize>,
    #[arg(long, default_value_t = 896)]
    question_size: usize,
    /// How often each is run
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where the figures go; what the file holds of other measurements stays
    #[arg(long)]
    into: PathBuf,
    /// What was measured, such as a commit
    #[arg(long, default_value = "")]
    note: String,
}

/// All that was measured so far, as it is stored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    pub note: String,
    pub machine: serde_json::Value,
    pub roofline: serde_json::Value,
    pub threads: usize,
    pub qlens: String,
    pub peer: String,
    pub rows: Vec<Row>,
}

/// One measurement of both.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The text model's file name.
    pub model: String,
    pub phase: String,
    pub at: usize,
    pub tokens: usize,
    /// Seconds, a number per round.
    pub qlens_s: Vec<f64>,
    /// The same of llama.cpp, per vision model.
    pub peer_s: Vec<(String, Vec<f64>)>,
    /// Seconds at the machine's limit, where there is one.
    pub limit_s: Option<f64>,
    /// The most memory that was resident, in bytes: qlens, llama.cpp.
    pub memory: [Option<u64>; 2],
}

/// The files of one comparison.
struct Files {
    model: PathBuf,
    mmproj: Option<PathBuf>,
    mmproj_peer: Option<PathBuf>,
}

impl Files {
    /// A synthetic pair, and its vision model in Q8_0.
    fn synthetic(args: &CompareArgs, spec: &str) -> Result<Files> {
        let made = |spec: &str| -> Result<Report> {
            let mut command = Command::new(&args.qlens);
            command.args(["bench", "--json", "--no-limits", "--phases", "load", "--repeats", "1", "--synthetic", spec]);
            let output = command.stderr(Stdio::inherit()).output().with_context(|| args.qlens.display().to_string())?;
            ensure!(output.status.success(), "making {spec}: {}", output.status);
            Ok(serde_json::from_slice(&output.stdout)?)
        };
        let (f16, q8_0) = (made(&format!("{spec}:f16"))?, made(&format!("{spec}:q8_0"))?);
        let path = |name: Option<String>| name.map(PathBuf::from);
        Ok(Files { model: f16.model.into(), mmproj: path(f16.mmproj), mmproj_peer: path(q8_0.mmproj) })
    }
}

/// One program with one vision model, for one measurement.
struct Runner<'a> {
    args: &'a CompareArgs,
    model: &'a Path,
    program: PathBuf,
    first_words: &'static [&'static str],
    mmproj: Option<&'a Path>,
}

impl Runner<'_> {
    fn run(&self, phase: &str, size: &str) -> Result<Report> {
        let a = self.args;
        let mut command = Command::new(&self.program);
        command.args(self.first_words).arg("-m").arg(self.model);
        command.args(self.mmproj.iter().flat_map(|m| [Path::new("--mmproj"), m]));
        command.args(["--threads", &a.threads.to_string(), "--phases", phase, "--repeats", "1"]);
        match phase {
            "vision" => command.args(["--sizes", size]),
            "prefill" => command.args(["--prompts", size]),
            "decode" => command.args(["--depths", size]),
            "first-token" => command.args(["--question-size", size]),
            _ => &mut command,
        };
        let output = command.stderr(Stdio::inherit()).output().with_context(|| self.program.display().to_string())?;
        ensure!(output.status.success(), "{} failed: {}", self.program.display(), output.status);
        serde_json::from_slice(&output.stdout).with_context(|| format!("what {} prints", self.program.display()))
    }
}

/// Runs all that was asked for; the file is written after each measurement.
pub fn run(args: &CompareArgs) -> Result<()> {
    let mut results = match std::fs::read(&args.into) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| args.into.display().to_string())?,
        Err(_) => Results::default(),
    };
    (results.threads, results.note) = (args.threads, args.note.clone());
    let mut files: Vec<Files> =
        args.synthetic.iter().map(|spec| Files::synthetic(args, spec)).collect::<Result<_>>()?;
    if let Some(model) = &args.model {
        let (mmproj, mmproj_peer) = (args.mmproj.clone(), args.mmproj_peer.clone());
        files.push(Files { model: model.clone(), mmproj, mmproj_peer });
    }
    for files in &files {
        for phase in &args.phases {
            let sizes = match phase.as_str() {
                "vision" => args.sizes.clone(),
                "prefill" => args.prompts.clone(),
                "decode" => args.depths.clone(),
                "repeat" => vec![crate::measure::SEED_TOKENS],
                "first-token" => vec![args.question_size],
                _ => vec![0],
            };
            for size in sizes {
                let row = measure(args, files, (phase, size), &mut results)?;
                eprintln!("{}", table::line(&row));
                results.rows.retain(|r| (&r.model, &r.phase, r.at) != (&row.model, &row.phase, row.at));
                results.rows.push(row);
                std::fs::write(&args.into, serde_json::to_string_pretty(&results)?)?;
            }
        }
    }
    std::fs::write(args.into.with_extension("md"), table::page(&results))?;
    Ok(())
}

/// One measurement in all rounds.
fn measure(args: &CompareArgs, files: &Files, (phase, size): (&str, usize), results: &mut Results) -> Result<Row> {
    let here = std::env::current_exe()?;
    let (model, mmproj) = (files.model.as_path(), files.mmproj.as_deref());
    let qlens = Runner { args, model, program: args.qlens.clone(), first_words: &["bench", "--json"], mmproj };
    let peer = |mmproj| Runner { args, model, program: here.clone(), first_words: &["measure"], mmproj };
    let mut peers = vec![peer(mmproj)];
    if let (Some(other), "vision" | "first-token") = (&files.mmproj_peer, phase) {
        peers.push(peer(Some(other.as_path())));
    }
    let name = |p: &Path| p.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let mut row = Row {
        model: name(model),
        phase: phase.replace('-', "_"),
        at: size,
        tokens: 0,
        qlens_s: Vec::new(),
        peer_s: peers.iter().map(|p| (p.mmproj.map_or_else(String::new, name), Vec::new())).collect(),
        limit_s: None,
        memory: [None; 2],
    };
    let size = size.to_string();
    for _ in 0..args.rounds.max(1) {
        let report = qlens.run(phase, &size)?;
        row.take_own(&report);
        (results.machine, results.roofline) = (report.machine, report.roofline);
        results.qlens = format!("{}, {} kernels", report.program, report.kernels);
        for (peer, (_, seconds)) in peers.iter().zip(&mut row.peer_s) {
            let report = peer.run(phase, &size)?;
            let found = report.measurements.iter().find(|m| m.phase == row.phase);
            seconds.extend(found.map(|m| m.median_s));
            row.memory[1] = row.memory[1].max(report.memory.peak_resident_bytes);
            results.peer = format!("{}: {}", report.program, report.kernels);
        }
    }
    Ok(row)
}

impl Row {
    /// Takes qlens's figures of one round; the limit is the best that any round found.
    fn take_own(&mut self, report: &Report) {
        let Some(m) = report.measurements.iter().find(|m| m.phase == self.phase) else { return };
        self.qlens_s.push(m.median_s);
        self.tokens = m.tokens;
        self.memory[0] = self.memory[0].max(report.memory.peak_resident_bytes);
        if let Some(limit) = m.limit["seconds"].as_f64() {
            self.limit_s = Some(self.limit_s.map_or(limit, |l| l.min(limit)));
        }
    }

    /// llama.cpp's seconds with the vision model that suits it better.
    pub fn best_peer(&self) -> Option<(&str, f64)> {
        let medians = self.peer_s.iter().filter_map(|(name, s)| Some((name.as_str(), median(s)?)));
        medians.min_by(|a, b| a.1.total_cmp(&b.1))
    }
}

/// The middle value.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    (n > 0).then(|| (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0)
}
