//! `qlens config` and `qlens default`: what is settled, and where.

use std::io::{self, Write};

use serde::Serialize;

use super::args::{ConfigArgs, DefaultArgs};
use super::exit::CliError;
use super::models;
use super::screen::{Manner, one_line, write_json};
use super::settings::{KEYS, Settings};

/// Shows each setting, its value, and where that comes from.
///
/// # Errors
/// Standard output can't be written to.
pub fn run(args: &ConfigArgs, settings: &Settings) -> Result<(), CliError> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.json { as_json(settings, &mut out) } else { as_text(settings, &mut out) }
        .and_then(|()| out.flush())
        .map_err(CliError::Stdout)
}

fn as_text(settings: &Settings, out: &mut dyn Write) -> io::Result<()> {
    match &settings.file {
        Some(path) if path.exists() => writeln!(out, "# {}", one_line(&path.display().to_string()))?,
        Some(path) => writeln!(out, "# {} (isn't there)", one_line(&path.display().to_string()))?,
        None => writeln!(out, "# no file")?,
    }
    for key in &KEYS {
        match settings.get(key.name) {
            Some(set) => {
                let (value, origin) = (one_line(&set.value).into_owned(), settings.origin(set));
                writeln!(out, "{:16} {value:24} from {}", key.name, one_line(&origin))?;
            }
            None => writeln!(out, "{:16} {:24} ${} isn't set", key.name, "(the program's own)", key.variable)?,
        }
    }
    Ok(())
}

fn as_json(settings: &Settings, out: &mut dyn Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Whole<'a> {
        file: Option<&'a std::path::Path>,
        settings: Vec<Row<'a>>,
    }
    #[derive(Serialize)]
    struct Row<'a> {
        key: &'a str,
        variable: &'a str,
        value: Option<&'a str>,
        origin: String,
    }
    let row = |key: &'static super::settings::Key| {
        let set = settings.get(key.name);
        Row {
            key: key.name,
            variable: key.variable,
            value: set.map(|s| s.value.as_str()),
            origin: set.map_or_else(|| "default".to_owned(), |s| settings.origin(s)),
        }
    };
    write_json(&Whole { file: settings.file.as_deref(), settings: KEYS.iter().map(row).collect() }, out)?;
    writeln!(out)
}

/// `qlens default`: shows, sets or removes the model that is used where none is named.
///
/// # Errors
/// There is no such model, or the file can't be written.
pub fn default(args: &DefaultArgs, settings: &Settings, manner: &Manner) -> Result<(), CliError> {
    if args.name.is_none() && !args.clear {
        let Some(set) = settings.get("model") else {
            manner.note("no default model is set; `qlens default NAME` sets one");
            return Ok(());
        };
        return writeln!(io::stdout(), "{}", one_line(&set.value)).map_err(CliError::Stdout);
    }
    let path = settings.file.as_deref().ok_or(CliError::NoConfigFolder)?;
    let value = match &args.name {
        None => None,
        Some(name) => Some(full_name(name, args)?),
    };
    Settings::store(path, "model", value.as_deref())?;
    match value {
        Some(value) => manner.note(&format!("{value} is the default now (in {})", path.display())),
        None => manner.note(&format!("no default model any more (in {})", path.display())),
    }
    if let Ok(set) = std::env::var("QLENS_MODEL")
        && !set.is_empty()
    {
        manner.note(&format!("but $QLENS_MODEL is set to {set}, which goes before it"));
    }
    Ok(())
}

/// The model's whole name, or the file's whole path: what is set must mean the same in every folder.
fn full_name(name: &str, args: &DefaultArgs) -> Result<String, CliError> {
    let path = std::path::Path::new(name);
    if path.is_file() {
        let whole = std::path::absolute(path).map_err(|source| CliError::Write { path: path.to_path_buf(), source })?;
        return Ok(whole.display().to_string());
    }
    let (_, listing) = models::all(args.store.models.as_deref());
    listing.find(name).map(|m| m.name.clone()).ok_or_else(|| models::unknown(name, &listing))
}
