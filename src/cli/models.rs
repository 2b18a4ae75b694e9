//! The models at hand: which files can be run, what `-m` means, and `qlens list`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::args::{ListArgs, ModelArgs};
use super::exit::CliError;
use super::memory::human_bytes;
use super::screen::{Manner, one_line, write_json};
use crate::gguf::Gguf;
use crate::kernels::Matrix;
use crate::model::{TextConfig, VisionConfig, inside_language_model};
use crate::store::{Folders, Kind, Listing, Model, Verdict, Wanted, discover};

/// What a file is good for: what loading it would say, without computing anything.
pub fn judge(gguf: &Gguf) -> Verdict {
    let verdict = if matches!(gguf.metadata().str("general.architecture"), Ok(Some("clip"))) {
        VisionConfig::from_gguf(gguf).map(|c| Verdict::Vision { width: c.projection_dim })
    } else {
        TextConfig::from_gguf(gguf).and_then(|c| match inside_language_model(gguf) {
            true => VisionConfig::from_gguf(gguf).map(|_| Verdict::Whole),
            false => Ok(Verdict::Text { width: c.hidden_size }),
        })
    };
    let verdict = match verdict {
        Ok(verdict) => verdict,
        Err(e) => {
            let said = e.to_string();
            return Verdict::Unusable(said.strip_prefix(&format!("{}: ", gguf.name())).unwrap_or(&said).to_owned());
        }
    };
    let matrices = gguf.tensors().filter(|t| t.dims().len() > 1);
    match matrices.map(|t| Matrix::new(t.clone())).find_map(Result::err) {
        Some(e) => Verdict::Unusable(e.to_string()),
        None => verdict,
    }
}

/// All models in all folders.
pub fn all(models: Option<&Path>) -> (Folders, Listing) {
    let folders = Folders::from_env(models.map(Path::to_path_buf));
    let listing = discover(&folders, &judge);
    (folders, listing)
}

/// The files that a person means.
#[derive(Debug)]
pub struct Chosen {
    /// The language model's.
    pub model: PathBuf,
    /// The vision tower's, where it is known which.
    pub mmproj: Option<PathBuf>,
}

/// Finds what `-m` names: a file, else a model by its name.
///
/// # Errors
/// There is no model of this name.
pub fn choose(named: &Path, args: &ModelArgs) -> Result<Chosen, CliError> {
    let as_file = || Ok(Chosen { model: named.to_path_buf(), mmproj: args.mmproj.clone() });
    let Some(name) = named.to_str().filter(|name| !looks_like_a_file(name) && !named.exists()) else {
        return as_file();
    };
    let (_, listing) = all(args.models.as_deref());
    match listing.find(name) {
        Some(model) => {
            tracing::info!("{name} is {}", model.file.display());
            Ok(Chosen { model: model.file.clone(), mmproj: args.mmproj.clone().or_else(|| model.mmproj.clone()) })
        }
        None => Err(unknown(name, &listing)),
    }
}

/// Whether it can't be the name of a model, so that a file that isn't there is what is told.
fn looks_like_a_file(name: &str) -> bool {
    let path = ["/", "./", "../", "~", "\\"].iter().any(|start| name.starts_with(start));
    path || name.to_ascii_lowercase().ends_with(".gguf") || Path::new(name).is_absolute()
}

/// The error for a name that nothing is called by.
pub fn unknown(name: &str, listing: &Listing) -> CliError {
    let hint = match Wanted::parse(name) {
        Ok(_) => format!("`qlens pull {name}` fetches it"),
        Err(_) if listing.models.is_empty() => "`qlens pull qwen2.5-vl-3b` fetches one".to_owned(),
        Err(_) => "`qlens list` shows those that are".to_owned(),
    };
    CliError::UnknownModel { name: name.to_owned(), hint }
}

/// `qlens list`.
///
/// # Errors
/// Standard output can't be written to.
pub fn list(args: &ListArgs, manner: &Manner) -> Result<(), CliError> {
    let (folders, listing) = all(args.store.models.as_deref());
    let mut out = io::BufWriter::new(io::stdout().lock());
    let default = args.default.as_deref().and_then(|name| listing.find(name));
    if args.json { as_json(&listing, default, &mut out) } else { as_text(&listing, default, &mut out) }
        .and_then(|()| out.flush())
        .map_err(CliError::Stdout)?;
    if listing.models.is_empty() {
        let own = folders.own().display();
        manner.note(&format!(
            "no models in {own} nor in other programs' folders; `qlens pull qwen2.5-vl-3b` fetches one"
        ));
    }
    if !args.json {
        say_skipped(&listing, &folders, manner);
    }
    Ok(())
}

fn say_skipped(listing: &Listing, folders: &Folders, manner: &Manner) {
    if manner.verbose == 0 {
        if !listing.skipped.is_empty() {
            manner.note(&format!("{} other GGUF files can't be run; -v says why", listing.skipped.len()));
        }
        return;
    }
    for folder in folders.all() {
        manner.note(&format!("looked into {} ({})", folder.path.display(), folder.holder.name()));
    }
    for skipped in &listing.skipped {
        manner.note(&format!("{}: {}", skipped.file.display(), skipped.reason));
    }
}

fn as_text(listing: &Listing, default: Option<&Model>, out: &mut dyn Write) -> io::Result<()> {
    let width = |of: &dyn Fn(&Model) -> usize| listing.models.iter().map(of).max().unwrap_or(0);
    let (names, types) = (width(&|m| m.name.chars().count()), width(&|m| m.ty.chars().count()));
    for model in &listing.models {
        let mark = if default == Some(model) { '*' } else { ' ' };
        let place = model.file.parent().unwrap_or(&model.file).display().to_string();
        let sees = if model.kind == Kind::TextOnly { "  (text only)" } else { "" };
        let (name, holder, size) = (one_line(&model.name), model.holder.name(), human_bytes(model.bytes));
        writeln!(out, "{mark} {name:names$}  {:types$}  {size:>8}  {holder:12}  {}{sees}", model.ty, one_line(&place))?;
    }
    Ok(())
}

/// What kind of model it is, in JSON.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Pair => "pair",
        Kind::Whole => "whole",
        Kind::TextOnly => "text",
    }
}

/// A model as JSON; docs/json.md is its description, and a promise.
#[derive(Serialize)]
pub struct Row<'a> {
    name: &'a str,
    r#type: &'a str,
    kind: &'static str,
    holder: &'static str,
    file: &'a Path,
    mmproj: Option<&'a Path>,
    bytes: u64,
}

impl<'a> From<&'a Model> for Row<'a> {
    fn from(m: &'a Model) -> Row<'a> {
        Row {
            name: &m.name,
            r#type: &m.ty,
            kind: kind_name(m.kind),
            holder: m.holder.name(),
            file: &m.file,
            mmproj: m.mmproj.as_deref(),
            bytes: m.bytes,
        }
    }
}

fn as_json(listing: &Listing, default: Option<&Model>, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Whole<'a> {
        default: Option<&'a str>,
        models: Vec<Row<'a>>,
        skipped: Vec<Other<'a>>,
    }
    #[derive(Serialize)]
    struct Other<'a> {
        file: &'a Path,
        holder: &'static str,
        reason: &'a str,
    }
    let other = |s| {
        let s: &crate::store::Skipped = s;
        Other { file: &s.file, holder: s.holder.name(), reason: &s.reason }
    };
    let whole = Whole {
        default: default.map(|m| m.name.as_str()),
        models: listing.models.iter().map(Row::from).collect(),
        skipped: listing.skipped.iter().map(other).collect(),
    };
    write_json(&whole, out)?;
    writeln!(out)
}
