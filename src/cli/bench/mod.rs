//! `qlens bench`: how fast a model runs on this machine, and how near that is to what the machine could do.

mod machine;
mod measure;
mod report;
mod synthetic;
#[cfg(test)]
mod tests;

use super::args::{BenchArgs, KvKind, ModelArgs};
use super::exit::CliError;
use super::progress::Progress;
use super::screen::Manner;
use super::{memory, setup};
use measure::Bench;
use report::Report;
pub use synthetic::Spec;

/// Runs the command.
///
/// # Errors
/// See [`CliError`].
pub fn run(args: &BenchArgs, manner: &Manner) -> Result<(), CliError> {
    let model = model(args, manner)?;
    let progress = Progress::start(manner, "loading");
    let mut bench = Bench { args, progress, measurements: Vec::new() };
    let engine = bench.load(&model, manner)?;
    bench.phases(&engine)?;
    let peak = memory::peak_resident_bytes();
    let limits = (!args.no_limits).then(|| bench.limits(&engine));
    bench.progress.stop();
    let report = Report::new(&engine, bench.measurements, peak, limits);
    if args.json { report.json() } else { report.table() }.map_err(CliError::Stdout)
}

/// The named model, or the synthetic one, which is made now where it isn't there.
fn model(args: &BenchArgs, manner: &Manner) -> Result<ModelArgs, CliError> {
    let mut model = args.model.clone();
    if let Some(spec) = &args.synthetic {
        let pair = synthetic::pair(spec, manner)?;
        (model.model, model.mmproj) = (Some(pair.text), Some(pair.vision));
    }
    // Keys and values as a conversation has them, unless --kv-type says otherwise.
    model.kv_type = Some(model.kv_type.unwrap_or(KvKind::F16));
    Ok(model)
}

/// Loads the model and, where it has one, its vision tower: all that a question about a picture needs.
fn ready(model: &ModelArgs, manner: &Manner) -> Result<setup::Timed<crate::session::Engine>, CliError> {
    let start = std::time::Instant::now();
    let engine = setup::engine(model, KvKind::F16, manner)?.value;
    if engine.mmproj_name().is_some() {
        engine.vision()?;
    }
    Ok(setup::Timed { value: engine, seconds: start.elapsed().as_secs_f64() })
}
