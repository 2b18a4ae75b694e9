//! From what was typed to what a command works with: the model, the pictures, the options.

use std::ffi::OsStr;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::args::{KvKind, MediaArgs, ModelArgs, SamplingArgs};
use super::embedded;
use super::exit::CliError;
use super::grammar_args::GrammarArgs;
use super::models;
use super::screen::Manner;
use super::task_args::SizeArgs;
use crate::gguf::Gguf;
use crate::kernels::KvType;
use crate::media::{self, Clip, Limits, MediaKind, Part, Source};
use crate::model::{Precision, Yarn};
use crate::session::{Engine, EngineOptions, Grammar, MAX_GRAMMAR_BYTES, MediaFolder, MediaOptions, Medium, Sampling};

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

/// Frames per second of pictures that are taken for a clip.
const PICTURES_PER_SECOND: f64 = 2.0;

/// Reads and decodes the pictures, and looks through the clips, in order.
///
/// # Errors
/// The first one that can't be read; or standard input named twice.
pub fn media(files: &[PathBuf], args: &MediaArgs, manner: &Manner) -> Result<Timed<Vec<Medium>>, CliError> {
    let times = files.iter().filter(|file| is_stdin(file.as_os_str())).count();
    if times > 1 {
        return Err(CliError::StdinTwice { times });
    }
    timed(|| {
        let loaded: Vec<Medium> = if args.as_clip && !files.is_empty() {
            vec![pictures_as_clip(files, args.fps.map_or(PICTURES_PER_SECOND, f64::from))?]
        } else {
            files.iter().map(|file| medium(file.as_os_str())).collect::<Result<_, _>>()?
        };
        for medium in &loaded {
            tell_about(medium, manner);
        }
        Ok(loaded)
    })
}

/// What to know before the answer is read.
pub fn tell_about(medium: &Medium, manner: &Manner) {
    let Medium::Clip(clip, part) = medium else { return };
    let name = &clip.info().name;
    if let Some(warning) = &clip.info().warning {
        manner.note(&format!("{name}: {warning}"));
    }
    if let Some(part) = part.filter(|part| part.start > 0.0 && part.start < clip.info().duration) {
        manner.note(&format!("{name}: the model counts seconds from {}, where the part begins", part.start));
    }
}

/// Reads one picture, or looks through one clip.
///
/// # Errors
/// It can't be read.
pub fn one_medium(arg: &OsStr, manner: &Manner) -> Result<Medium, CliError> {
    let medium = medium(arg)?;
    tell_about(&medium, manner);
    Ok(medium)
}

fn medium(arg: &OsStr) -> Result<Medium, CliError> {
    let (file, part) = Part::split_arg(arg);
    match media::Medium::load(Source::from_arg(&file), &Limits::default())? {
        media::Medium::Clip(clip) => Ok(Medium::Clip(clip.into(), part)),
        media::Medium::Picture(picture) => match part {
            None => Ok(Medium::Picture(Arc::new(picture))),
            Some(_) => Err(CliError::PartOfPicture { name: picture.info.name }),
        },
    }
}

/// A clip, or a part of one.
type ClipPart = (Arc<Clip>, Option<Part>);

/// Opens the one clip that a command works on; of a list of pictures with `--as-clip`.
///
/// # Errors
/// It can't be read, or isn't a clip.
pub fn clip(files: &[PathBuf], args: &MediaArgs, manner: &Manner) -> Result<Timed<ClipPart>, CliError> {
    let loaded = media(files, args, manner)?;
    let mut media = loaded.value.into_iter();
    match (media.next(), media.next()) {
        (Some(Medium::Clip(clip, part)), None) => Ok(Timed { value: (clip, part), seconds: loaded.seconds }),
        (Some(Medium::Picture(picture)), None) => Err(CliError::NotAClip { name: picture.info.name.clone() }),
        _ => Err(CliError::OneClip { found: files.len() }),
    }
}

/// One clip of pictures, all of them looked at so far as to know that they are pictures.
fn pictures_as_clip(files: &[PathBuf], fps: f64) -> Result<Medium, CliError> {
    let limits = Limits::default();
    let mut sources = Vec::new();
    for file in files {
        let source = Source::from_arg(file.as_os_str()).fetch(&limits)?;
        if let MediaKind::Clip(_) = source.kind()? {
            return Err(CliError::ClipInList { name: source.name() });
        }
        sources.push(source);
    }
    Ok(Medium::Clip(Arc::new(Clip::from_pictures(sources, fps, &limits)?), None))
}

/// Whether a file argument means standard input, or a part of what comes from there.
pub fn is_stdin(arg: &OsStr) -> bool {
    Part::split_arg(arg).0 == "-"
}

/// Whether a person types at standard input.
pub fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Loads the model that was named, by option or environment, or else the one inside the program.
///
/// # Errors
/// It can't be loaded.
pub fn engine(args: &ModelArgs, kv_default: KvKind, manner: &Manner) -> Result<Timed<Engine>, CliError> {
    let named = args.model.as_deref().filter(|name| !name.as_os_str().is_empty());
    let chosen = named.map(|name| models::choose(name, args)).transpose()?;
    let (model, mmproj) = chosen.map_or((PathBuf::new(), args.mmproj.clone()), |c| (c.model, c.mmproj));
    let mut options = EngineOptions::new(model);
    options.mmproj = mmproj;
    options.threads = args.threads.map(|n| n as usize);
    options.ctx = args.ctx.map(|n| n as usize);
    options.kv_type = match args.kv_type.unwrap_or(kv_default) {
        KvKind::F16 => KvType::F16,
        KvKind::F32 => KvType::F32,
    };
    options.yarn = args.yarn.then(Yarn::default);
    // What keeps keys and values in float32 by default is compared with other implementations, to the digit.
    let exact = kv_default == KvKind::F32;
    let precision = if exact { Precision::Exact } else { Precision::default() };
    options.vision_precision = args.vision_precision.unwrap_or(precision);
    options.media_folder = media_folder(args)?;
    if !options.model.as_os_str().is_empty() {
        let engine = timed(|| Ok(Engine::load(&options)?))?;
        let slow = engine.value.foreign_types();
        if !slow.is_empty() {
            let names: Vec<String> = slow.iter().map(|ty| ty.name()).collect();
            let names = names.join(", ");
            manner.note(&format!("{names}: these weights are several times slower here than Q4_K and its like"));
        }
        return Ok(engine);
    }
    let demo = embedded::demo();
    manner.note(&format!(
        "using {}, the small model inside this program, which knows drawn shapes and colours; for a real one: `qlens pull \
         qwen2.5-vl-3b`, then `-m qwen2.5-vl-3b` (or $QLENS_MODEL, or `qlens default`)",
        demo.name
    ));
    options.model = demo.name.into();
    timed(|| {
        let model = Gguf::from_static(demo.name, demo.model)?;
        let mmproj = match &options.mmproj {
            Some(path) => Gguf::open(path)?,
            None => Gguf::from_static(demo.name, demo.mmproj)?,
        };
        Ok(Engine::from_gguf(model, Some(mmproj), &options)?)
    })
}

/// Where encoded media are kept, if they are to be.
fn media_folder(args: &ModelArgs) -> Result<Option<MediaFolder>, CliError> {
    let Some(megabytes) = args.media_cache.filter(|&n| n > 0) else { return Ok(None) };
    let path = dirs::cache_dir().ok_or(CliError::NoCacheFolder)?.join("qlens").join("media");
    Ok(Some(MediaFolder { path, limit_bytes: u64::from(megabytes) * 1_000_000 }))
}

/// The pixel bounds and the frame rate, where they were given.
///
/// # Errors
/// The bounds cross.
pub fn media_options(args: &MediaArgs) -> Result<MediaOptions, CliError> {
    let MediaOptions { min_pixels, max_pixels, .. } = bounds(args.min_pixels, args.max_pixels)?;
    Ok(MediaOptions {
        min_pixels,
        max_pixels,
        fps: args.fps.map(f64::from),
        total_pixels: args.total_pixels.map(pixels),
        budget: args.budget.map(|tokens| tokens as usize),
        fit: true,
    })
}

/// The pixel bounds of pictures, where they were given.
///
/// # Errors
/// The bounds cross.
pub fn picture_options(args: &SizeArgs) -> Result<MediaOptions, CliError> {
    bounds(args.min_pixels, args.max_pixels)
}

fn pixels(typed: u64) -> usize {
    usize::try_from(typed).unwrap_or(usize::MAX)
}

fn bounds(min_pixels: Option<u64>, max_pixels: Option<u64>) -> Result<MediaOptions, CliError> {
    let (min_pixels, max_pixels) = (min_pixels.map(pixels), max_pixels.map(pixels));
    if let (Some(min), Some(max)) = (min_pixels, max_pixels)
        && min > max
    {
        return Err(CliError::PixelsCrossed { min, max });
    }
    Ok(MediaOptions { min_pixels, max_pixels, ..MediaOptions::default() })
}

/// What answers are held to, where that was given.
///
/// # Errors
/// The file can't be read, or what is in it not be enforced.
pub fn grammar(args: &GrammarArgs) -> Result<Option<Arc<Grammar>>, CliError> {
    let made = if let Some(path) = &args.schema {
        let schema = json_file(path)?;
        Grammar::json(&schema).map_err(|source| CliError::Grammar { path: path.clone(), source })
    } else if let Some(path) = &args.grammar {
        let text = text_file(path)?;
        Grammar::lark(&text).map_err(|source| CliError::Grammar { path: path.clone(), source })
    } else if let Some(regex) = &args.regex {
        Grammar::regex(regex).map_err(CliError::Regex)
    } else {
        return Ok(None);
    };
    made.map(|grammar| Some(Arc::new(grammar)))
}

/// A JSON value in a file.
///
/// # Errors
/// It can't be read, or is something else.
pub fn json_file(path: &Path) -> Result<serde_json::Value, CliError> {
    let text = text_file(path)?;
    let text = text.trim_start_matches('\u{feff}');
    serde_json::from_str(text).map_err(|source| CliError::NotJson { path: path.to_path_buf(), source })
}

fn text_file(path: &Path) -> Result<String, CliError> {
    let mut text = String::new();
    // One more than is taken, so that a longer file is refused for its length.
    let most = MAX_GRAMMAR_BYTES as u64 + 1;
    let read = std::fs::File::open(path).and_then(|file| file.take(most).read_to_string(&mut text));
    read.map_err(|source| CliError::Read { path: path.to_path_buf(), source })?;
    if text.len() > MAX_GRAMMAR_BYTES {
        return Err(CliError::LongFile { path: path.to_path_buf(), allowed: MAX_GRAMMAR_BYTES });
    }
    Ok(text)
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
