//! How far a quantized model's logits are from the truth, and how far llama.cpp's are:
//! `cargo run --release --example fidelity -- PEER MODEL.gguf…`, where PEER is the program that `scripts/bench-peer` builds
//! (or `-` for none).
//!
//! The truth: the file's own weights, dequantized, in float32. Compared are the Kullback-Leibler divergences after each of
//! 256 tokens, read at once (`prompt`) and one by one (`answer`); keys and values are F32 everywhere, so that only the
//! arithmetic differs. Prints rows of a Markdown table.

use std::error::Error;
use std::path::Path;
use std::process::Command;

use qlens::gguf::{GgmlType, Gguf, GgufWriter};
use qlens::kernels::KvType;
use qlens::model::{ChunkInput, CpuCompute, Position};
use qlens::session::{Engine, EngineOptions};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Tokens that are read.
const TOKENS: usize = 256;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let peer = args.next().ok_or("usage: fidelity PEER|- MODEL.gguf…")?;
    println!(
        "| model | way | qlens: mean KL | largest | llama.cpp: mean KL | largest | same best token: qlens, llama.cpp |"
    );
    println!("|---|---|---|---|---|---|---|");
    for model in args {
        rows(&peer, Path::new(&model))?;
    }
    Ok(())
}

fn rows(peer: &str, path: &Path) -> Result<()> {
    let gguf = Gguf::open(path)?;
    let options = EngineOptions { kv_type: KvType::F32, ..EngineOptions::new(path) };
    let exact = Engine::from_gguf(dequantized(&gguf)?, None, &options)?;
    let own = Engine::from_gguf(gguf, None, &options)?;
    let vocab = own.language().vocab_size();
    let tokens: Vec<u32> = (0..TOKENS as u32).map(|i| i.wrapping_mul(2_654_435_761) >> 7).collect();
    let below = vocab.min(1400) as u32;
    let tokens: Vec<u32> = tokens.iter().map(|t| t % below).collect();
    let truth = logits(&exact, &tokens, TOKENS)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    for (way, chunk) in [("prompt", TOKENS), ("answer", 1)] {
        let own = Distance::new(&logits(&own, &tokens, chunk)?, &truth, vocab);
        let peer = match peer {
            "-" => None,
            program => Some(Distance::new(&peers(program, path, &tokens, chunk == 1)?, &truth, vocab)),
        };
        let cell = |d: &Distance| format!("{:.2e} | {:.2e}", d.mean, d.largest);
        let peer_cell = peer.as_ref().map_or("– | –".into(), cell);
        let same = peer.map_or("–".into(), |p| format!("{:.1} %", p.same));
        println!("| {name} | {way} | {} | {peer_cell} | {:.1} %, {same} |", cell(&own), own.same);
    }
    Ok(())
}

/// The same model with every matrix in F32.
fn dequantized(gguf: &Gguf) -> Result<Gguf> {
    let mut writer = GgufWriter::new();
    for (key, value) in gguf.metadata().iter() {
        writer.metadata(key, value.clone())?;
    }
    for tensor in gguf.tensors() {
        writer.tensor(tensor.name(), GgmlType::F32, tensor.dims())?;
    }
    let tensors: Vec<_> = gguf.tensors().collect();
    let mut bytes = Vec::new();
    writer.write_to(&mut bytes, "dequantized", &mut |i, out| {
        let mut numbers = vec![0f32; tensors[i].dims().iter().product()];
        qlens::quant::dequantize(tensors[i].ty(), tensors[i].bytes(), &mut numbers).map_err(std::io::Error::other)?;
        numbers.iter().try_for_each(|x| out.write_all(&x.to_le_bytes()))
    })?;
    Ok(Gguf::from_vec("dequantized", bytes)?)
}

/// Logits after each token, `[tokens, vocab]`, the tokens read `chunk` at a time.
fn logits(engine: &Engine, tokens: &[u32], chunk: usize) -> Result<Vec<f32>> {
    let (text, mut compute) = (engine.language(), CpuCompute::new(engine.cpu_arc()));
    let mut state = text.new_state(&mut compute, KvType::F32, tokens.len(), chunk)?;
    let mut out = vec![0f32; tokens.len() * text.vocab_size()];
    let mut rows = out.chunks_exact_mut(text.vocab_size());
    for part in tokens.chunks(chunk) {
        let start = state.len() as i64;
        let positions: Vec<Position> = (start..).take(part.len()).map(|p| [p; 3]).collect();
        text.forward(&mut compute, &mut state, &[ChunkInput::Tokens(part)], &positions, &|| true)?;
        for (row, out) in (0..part.len()).zip(&mut rows) {
            text.logits(&mut compute, &mut state, row, out);
        }
    }
    Ok(out)
}

/// The same of llama.cpp.
fn peers(program: &str, model: &Path, tokens: &[u32], one_by_one: bool) -> Result<Vec<f32>> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("logits");
    let ids: Vec<String> = tokens.iter().map(u32::to_string).collect();
    let mut command = Command::new(program);
    command.args(["logits", "--tokens", &ids.join(",")]).arg("-m").arg(model).arg("-o").arg(&out);
    let status = command.args(one_by_one.then_some("--one-by-one")).status()?;
    if !status.success() {
        return Err(format!("{program}: {status}").into());
    }
    let bytes = std::fs::read(out)?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
}

/// How far logits are from the truth.
struct Distance {
    mean: f64,
    largest: f64,
    /// Percent of tokens after which the best next token is the true one.
    same: f64,
}

impl Distance {
    fn new(found: &[f32], truth: &[f32], vocab: usize) -> Distance {
        assert_eq!(found.len(), truth.len(), "as many logits");
        let pairs = || found.chunks_exact(vocab).zip(truth.chunks_exact(vocab));
        let divergences: Vec<f64> = pairs().map(|(f, t)| divergence(f, t)).collect();
        let best = |x: &[f32]| (0..x.len()).max_by(|&a, &b| x[a].total_cmp(&x[b]));
        let same = pairs().filter(|(f, t)| best(f) == best(t)).count();
        let n = divergences.len() as f64;
        Distance {
            mean: divergences.iter().sum::<f64>() / n,
            largest: divergences.iter().copied().fold(0.0, f64::max),
            same: 100.0 * same as f64 / n,
        }
    }
}

/// Kullback-Leibler divergence of the found distribution from the true one, in nats.
fn divergence(found: &[f32], truth: &[f32]) -> f64 {
    let log_softmax = |x: &[f32]| -> Vec<f64> {
        let max = x.iter().fold(f64::NEG_INFINITY, |m, &v| m.max(v.into()));
        let log_sum = x.iter().map(|&v| (f64::from(v) - max).exp()).sum::<f64>().ln();
        x.iter().map(|&v| f64::from(v) - max - log_sum).collect()
    };
    let (found, truth) = (log_softmax(found), log_softmax(truth));
    truth.iter().zip(&found).map(|(t, f)| t.exp() * (t - f)).sum()
}
