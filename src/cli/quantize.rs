//! `qlens quantize`: a file of other types.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::args::QuantizeArgs;
use super::exit::CliError;
use super::interrupt::{Unfinished, writable};
use super::memory::{human_bytes, peak_resident_bytes};
use super::progress::Progress;
use super::screen::{Manner, one_line, write_json};
use crate::gguf::{Gguf, GgufError};
use crate::kernels::ThreadPool;
use crate::quantize::{Importance, Plan, QuantizeError, Rules};

/// Runs the command.
///
/// # Errors
/// See [`CliError`].
pub fn run(args: &QuantizeArgs, manner: &Manner) -> Result<(), CliError> {
    let start = Instant::now();
    if !args.dry_run {
        must_be_new(&args.output)?;
    }
    let source = Gguf::open(&args.input)?;
    let importance = args.imatrix.as_deref().map(Importance::open).transpose()?;
    let rules = Rules {
        pure: args.pure,
        leave_output: args.leave_output,
        output_type: args.output_type,
        embedding_type: args.embedding_type,
        named: args.tensor_type.clone(),
        requantize: args.allow_requantize,
        ..Rules::new(args.mix)
    };
    let plan = Plan::new(&source, &rules, importance.as_ref())?;
    if plan.fallbacks() > 0 {
        let (n, all) = (plan.fallbacks(), plan.tensors.len());
        manner.note(&format!("{n} of {all} tensors get another type than meant: their rows are no whole blocks of it"));
    }
    if !args.dry_run {
        must_fit(&args.output, plan.bytes_after())?;
        write(&plan, args, manner)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    if args.json {
        let mut out = io::stdout().lock();
        return json(&plan, args, seconds, &mut out).map_err(CliError::Stdout);
    }
    if args.dry_run {
        return table(&plan, &mut BufWriter::new(io::stdout().lock())).map_err(CliError::Stdout);
    }
    manner.note(&format!("{}: {} in {seconds:.1} s", args.output.display(), sizes(&plan)));
    if let Some(peak) = peak_resident_bytes().filter(|_| manner.verbose > 0) {
        manner.note(&format!("memory: {} at most", human_bytes(peak)));
    }
    Ok(())
}

/// Refuses to write over a file, or where none can be.
///
/// # Errors
/// There is one, or its folder takes none.
pub fn must_be_new(path: &Path) -> Result<(), CliError> {
    match path.symlink_metadata() {
        // Not even a link to nowhere.
        Ok(_) => Err(CliError::Exists { path: path.to_owned() }),
        Err(_) => writable(path),
    }
}

/// Refuses to begin what can't be finished.
fn must_fit(path: &Path, bytes: u64) -> Result<(), CliError> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match fs4::available_space(folder) {
        Ok(free) if free < bytes => {
            let (needed, free) = (human_bytes(bytes), human_bytes(free));
            Err(CliError::NoSpace { path: path.to_owned(), needed, free })
        }
        // Where it can't be told, writing will tell.
        _ => Ok(()),
    }
}

fn write(plan: &Plan<'_>, args: &QuantizeArgs, manner: &Manner) -> Result<(), CliError> {
    let path = &args.output;
    let failed = |source| CliError::Write { path: path.clone(), source };
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    let pool = ThreadPool::new(args.threads.map_or_else(all, |n| n as usize));
    let mut file = Unfinished::beside(path).map_err(failed)?;
    let mut progress = Progress::start(manner, "quantizing");
    let mut out = BufWriter::with_capacity(1 << 20, &mut file);
    let name = path.display().to_string();
    plan.write(&pool, &mut out, &name, &mut |p| {
        // In thousandths of what there is: the bar counts in machine words.
        progress.count(
            &format!("quantizing {}", one_line(p.tensor)),
            (p.done >> 10) as usize,
            (p.total >> 10) as usize,
        );
    })
    .map_err(|e| match e {
        // It is the output that can't be written: the input is mapped.
        QuantizeError::Gguf(GgufError::Io { source, .. }) => failed(source),
        other => CliError::Quantize(other),
    })?;
    out.flush().map_err(failed)?;
    drop(out);
    progress.say("bringing it to the disk");
    file.finish_new(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => CliError::Exists { path: path.clone() },
        _ => failed(source),
    })
}

/// `6.2 GB → 1.9 GB (4.9 bits per weight)`.
fn sizes(plan: &Plan<'_>) -> String {
    let (before, after) = (plan.bytes_before(), plan.bytes_after());
    let bits = after as f64 * 8.0 / plan.weights().max(1) as f64;
    format!("{} → {} ({bits:.2} bits per weight)", human_bytes(before), human_bytes(after))
}

/// What becomes of each tensor, for people.
fn table(plan: &Plan<'_>, out: &mut dyn Write) -> io::Result<()> {
    let width = plan.tensors.iter().map(|t| t.tensor.name().chars().count()).max().unwrap_or(0).min(48);
    for t in &plan.tensors {
        let dims: Vec<String> = t.tensor.dims().iter().map(usize::to_string).collect();
        let becomes = if t.kept() { "stays".to_owned() } else { format!("→ {}", t.ty) };
        let (name, from, size) = (one_line(t.tensor.name()), t.tensor.ty(), human_bytes(t.bytes()));
        let note = if t.fallback { "  (another than meant)" } else { "" };
        writeln!(out, "{name:width$}  {from:7} {becomes:9} {size:>9}  {}{note}", dims.join(" × "))?;
    }
    writeln!(out, "{}", sizes(plan))?;
    out.flush()
}

/// The JSON; docs/json.md is its description, and a promise.
fn json(plan: &Plan<'_>, args: &QuantizeArgs, seconds: f64, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct File<'a> {
        input: String,
        output: String,
        r#type: String,
        dry_run: bool,
        bytes_before: u64,
        bytes_after: u64,
        weights: u64,
        seconds: f64,
        peak_resident_bytes: Option<u64>,
        tensors: Vec<Row<'a>>,
    }
    #[derive(Serialize)]
    struct Row<'a> {
        name: &'a str,
        shape: &'a [usize],
        from: String,
        to: String,
        bytes: u64,
        fallback: bool,
    }
    let tensors = plan.tensors.iter().map(|t| Row {
        name: t.tensor.name(),
        shape: t.tensor.dims(),
        from: t.tensor.ty().name(),
        to: t.ty.name(),
        bytes: t.bytes(),
        fallback: t.fallback,
    });
    let file = File {
        input: args.input.display().to_string(),
        output: args.output.display().to_string(),
        r#type: args.mix.name(),
        dry_run: args.dry_run,
        bytes_before: plan.bytes_before(),
        bytes_after: plan.bytes_after(),
        weights: plan.weights(),
        seconds,
        peak_resident_bytes: peak_resident_bytes(),
        tensors: tensors.collect(),
    };
    write_json(&file, &mut *out)?;
    writeln!(out)?;
    out.flush()
}
