//! From what was typed to what a command works with: the model, the pictures, the options.

use std::ffi::OsStr;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::args::{KvKind, MediaArgs, ModelArgs, SamplingArgs};
use super::embedded;
use super::exit::CliError;
use super::screen::Manner;
use crate::gguf::Gguf;
use crate::kernels::KvType;
use crate::media::{Clip, Limits, MediaKind, Source, load_picture};
use crate::session::{Engine, EngineOptions, MediaOptions, Medium, Sampling};

/// Something that was made ready, and the seconds that it took.
#[derive(Debug)]
pub struct Timed<T> {
    /// What.
    pub value: T,
    /// How long.
    pub seconds: f64,
}

fn timed<T>(make: impl FnOnce() -> Result<T, CliError>) -> Result<Timed<T>, CliError> {
    let start = Instant::now();
    let value = make()?;
    Ok(Timed { value, seconds: start.elapsed().as_secs_f64() })
}

/// Reads and decodes the pictures, and looks through the clips, in order.
///
/// # Errors
/// The first one that can't be read; or standard input named twice.
pub fn media(files: &[PathBuf], manner: &Manner) -> Result<Timed<Vec<Medium>>, CliError> {
    let times = files.iter().filter(|file| is_stdin(file.as_os_str())).count();
    if times > 1 {
        return Err(CliError::StdinTwice { times });
    }
    timed(|| files.iter().map(|file| medium(file.as_os_str(), manner)).collect())
}

fn medium(file: &OsStr, manner: &Manner) -> Result<Medium, CliError> {
    let limits = Limits::default();
    let source = Source::from_arg(file).fetch(&limits)?;
    match source.kind()? {
        MediaKind::Picture(_) => Ok(Medium::Picture(Arc::new(load_picture(&source, &limits)?))),
        MediaKind::Clip(_) => {
            let clip = Clip::open(&source, &limits)?;
            if let Some(warning) = &clip.info().warning {
                manner.note(&format!("{}: {warning}", clip.info().name));
            }
            Ok(Medium::Clip(Arc::new(clip), None))
        }
    }
}

/// Whether a file argument means standard input.
pub fn is_stdin(arg: &OsStr) -> bool {
    arg == "-"
}

/// Whether a person types at standard input.
pub fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Loads the model that was named, by option or environment, or else the one inside the program.
///
/// # Errors
/// There is none, or it can't be loaded.
pub fn engine(args: &ModelArgs, kv_default: KvKind, manner: &Manner) -> Result<Timed<Engine>, CliError> {
    let named = || std::env::var_os("QLENS_MODEL").filter(|name| !name.is_empty()).map(PathBuf::from);
    let mut options = EngineOptions::new(args.model.clone().or_else(named).unwrap_or_default());
    options.mmproj = args.mmproj.clone();
    options.threads = args.threads.map(|n| n as usize);
    options.ctx = args.ctx.map(|n| n as usize);
    options.kv_type = match args.kv_type.unwrap_or(kv_default) {
        KvKind::F16 => KvType::F16,
        KvKind::F32 => KvType::F32,
    };
    if !options.model.as_os_str().is_empty() {
        return timed(|| Ok(Engine::load(&options)?));
    }
    let demo = embedded::demo().ok_or(CliError::NoModel)?;
    manner.note(&format!(
        "using {}, the small demo model inside this program; for a real one, name it with -m FILE.gguf or $QLENS_MODEL",
        demo.name
    ));
    timed(|| {
        let model = Gguf::from_static(demo.name, demo.model)?;
        let mmproj = match &options.mmproj {
            Some(path) => Gguf::open(path)?,
            None => Gguf::from_static(demo.name, demo.mmproj)?,
        };
        Ok(Engine::from_gguf(model, Some(mmproj), &options)?)
    })
}

/// The pixel bounds and the frame rate, where they were given.
///
/// # Errors
/// The bounds cross.
pub fn media_options(args: &MediaArgs) -> Result<MediaOptions, CliError> {
    let pixels = |typed: u64| usize::try_from(typed).unwrap_or(usize::MAX);
    let (min_pixels, max_pixels) = (args.min_pixels.map(pixels), args.max_pixels.map(pixels));
    if let (Some(min), Some(max)) = (min_pixels, max_pixels)
        && min > max
    {
        return Err(CliError::PixelsCrossed { min, max });
    }
    Ok(MediaOptions { min_pixels, max_pixels, fps: args.fps.map(f64::from) })
}

/// How tokens are chosen. A run that nobody watches, or that asks one thing, takes the likeliest token and so gives the
/// same answer each time; talking at a terminal is livelier.
pub fn sampling(args: &SamplingArgs, talking: bool) -> Sampling {
    Sampling {
        temperature: args.temp.unwrap_or(if talking { 0.7 } else { 0.0 }),
        top_k: args.top_k as usize,
        top_p: args.top_p,
        min_p: args.min_p,
        repeat_penalty: args.repeat_penalty,
        seed: args.seed.unwrap_or_else(|| if talking { RandomState::new().build_hasher().finish() } else { 0 }),
    }
}
