//! `qlens convert`: a checkpoint's folder to a pair of GGUF files.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::exit::CliError;
use super::interrupt::Unfinished;
use super::memory::human_bytes;
use super::progress::Progress;
use super::quantize::must_be_new;
use super::screen::{Manner, one_line};
use super::weights_args::{ConvertArgs, Half};
use crate::convert::{Conversion, FilePlan, Options};
use crate::kernels::Cpu;

/// Bytes beside the tensors: header, metadata, and some room for the system.
const MARGIN: u64 = 64 << 20;

/// Runs the command.
///
/// # Errors
/// See [`CliError`].
pub fn run(args: &ConvertArgs, manner: &Manner) -> Result<(), CliError> {
    let start = Instant::now();
    let [text, vision] = targets(args)?;
    if !args.dry_run {
        [&text, &vision].into_iter().flatten().try_for_each(|path| must_be_new(path))?;
    }
    let mut progress = Progress::start(manner, "checking");
    let options = Options {
        text: text.as_ref().map(|_| args.ty),
        vision: vision.as_ref().map(|_| args.mmproj_type),
        name: args.name.clone(),
        threads: Cpu::new(args.threads.map(|n| n as usize)).map_err(crate::session::LoadError::from)?.threads(),
    };
    let conversion = Conversion::prepare(&args.folder, &options)?;
    conversion.notes.iter().for_each(|note| manner.note(note));
    let plans = [(&conversion.text, text), (&conversion.vision, vision)];
    let files: Vec<(&FilePlan, PathBuf)> =
        plans.into_iter().filter_map(|(plan, path)| plan.as_ref().zip(path)).collect();
    if args.dry_run {
        progress.stop();
        return table(&files).map_err(CliError::Stdout);
    }
    room(&files)?;
    let total: u64 = files.iter().map(|(plan, _)| plan.bytes()).sum();
    let mut before = 0;
    let mut whole = Vec::new();
    for (plan, path) in &files {
        let mut shown = |done: u64| progress.count("converting", megabytes(before + done), megabytes(total));
        whole.push(write(&conversion, plan, path, &mut shown)?);
        before += plan.bytes();
    }
    // The language model's file last: where it is, all is there.
    for (file, (_, path)) in whole.into_iter().zip(&files).rev() {
        file.finish_new(path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => CliError::Exists { path: path.clone() },
            _ => CliError::Write { path: path.clone(), source },
        })?;
    }
    progress.stop();
    for (plan, path) in &files {
        let (size, n) = (human_bytes(plan.bytes()), plan.tensors.len());
        manner.note(&format!("{}: {size} in {n} tensors", path.display()));
    }
    if manner.verbose > 0 {
        let seconds = start.elapsed().as_secs_f64();
        manner.note(&format!("converted in {seconds:.1} s, {} a second", human_bytes((total as f64 / seconds) as u64)));
    }
    Ok(())
}

/// Where the language model and the vision model go, each where it is wanted.
fn targets(args: &ConvertArgs) -> Result<[Option<PathBuf>; 2], CliError> {
    let out = args.out.clone();
    match args.only {
        Some(Half::Text) => return Ok([Some(out), None]),
        Some(Half::Mmproj) => return Ok([None, Some(out)]),
        None => {}
    }
    let beside = || {
        let mut name = std::ffi::OsString::from("mmproj-");
        name.push(out.file_name().unwrap_or_default());
        out.with_file_name(name)
    };
    let mmproj = args.mmproj.clone().unwrap_or_else(beside);
    if mmproj == out {
        return Err(CliError::OneFile { path: out });
    }
    Ok([Some(out), Some(mmproj)])
}

/// Whether the disks have room, where the system says how much they have.
fn room(files: &[(&FilePlan, PathBuf)]) -> Result<(), CliError> {
    let folder = |path: &Path| match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p.to_owned(),
        _ => PathBuf::from("."),
    };
    for (_, path) in files {
        let here = folder(path);
        let needed: u64 = files.iter().filter(|(_, p)| folder(p) == here).map(|(plan, _)| plan.bytes() + MARGIN).sum();
        if let Ok(free) = fs4::available_space(&here)
            && free < needed
        {
            let [needed, free] = [needed, free].map(human_bytes);
            return Err(CliError::NoSpace { path: path.clone(), needed, free });
        }
    }
    Ok(())
}

fn write(
    conversion: &Conversion,
    plan: &FilePlan,
    path: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Unfinished, CliError> {
    let failed = |source| CliError::Write { path: path.to_owned(), source };
    let mut out = BufWriter::with_capacity(1 << 20, Unfinished::beside(path).map_err(failed)?);
    conversion.write(plan, &mut out, &path.display().to_string(), progress)?;
    out.into_inner().map_err(|e| failed(e.into_error()))
}

/// What would be written.
fn table(files: &[(&FilePlan, PathBuf)]) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for (plan, path) in files {
        let (size, n) = (human_bytes(plan.bytes()), plan.tensors.len());
        writeln!(out, "{}: {size} in {n} tensors (the length of a row first)", one_line(&path.display().to_string()))?;
        let width = plan.tensors.iter().map(|t| t.name.len()).max().unwrap_or(0);
        for t in &plan.tensors {
            let dims: Vec<String> = t.dims.iter().map(usize::to_string).collect();
            writeln!(
                out,
                "  {:width$}  {:6} {:>9}  {}",
                t.name,
                t.ty.name(),
                human_bytes(t.bytes()),
                dims.join(" × ")
            )?;
        }
    }
    out.flush()
}

fn megabytes(bytes: u64) -> usize {
    (bytes >> 20) as usize
}
