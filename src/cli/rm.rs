//! `qlens rm`: removes a model from our own folder, and what an unfinished download of its files left there.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use super::args::RmArgs;
use super::exit::CliError;
use super::memory::human_bytes;
use super::models;
use super::screen::{Manner, means_yes, one_line};
use crate::store::{Holder, Listing, Model};

/// Runs the command.
///
/// # Errors
/// There is no such model, it is another program's, or it can't be removed.
pub fn run(args: &RmArgs, manner: &Manner) -> Result<(), CliError> {
    let (folders, listing) = models::all(args.store.models.as_deref());
    let own = Listing {
        models: listing.models.iter().filter(|m| m.holder == Holder::Qlens).cloned().collect(),
        skipped: Vec::new(),
    };
    let Some(model) = own.find(&args.name) else {
        return Err(match listing.find(&args.name) {
            Some(other) => {
                CliError::NotOurs { name: other.name.clone(), holder: other.holder.name(), file: other.file.clone() }
            }
            None => models::unknown(&args.name, &listing),
        });
    };
    let files = files_of(model, &own);
    if !args.yes && !agreed(model, &files)? {
        manner.note("nothing was removed");
        return Ok(());
    }
    let mut freed = 0;
    for file in files.iter().flat_map(|file| [file.clone(), beside(file, ".part"), beside(file, ".part.json")]) {
        let size = fs::metadata(&file).map_or(0, |m| m.len());
        match fs::remove_file(&file) {
            Ok(()) => freed += size,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(CliError::Write { path: file, source }),
        }
    }
    remove_empty(&model.file, folders.own());
    manner.note(&format!("{} was removed: {} are free again", model.name, human_bytes(freed)));
    Ok(())
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The files that only this model needs: all parts of it, and its vision tower unless another model shares it.
fn files_of(model: &Model, own: &Listing) -> Vec<PathBuf> {
    let mut files = vec![model.file.clone()];
    let name = model.file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    if let Some((stem, count)) = name.strip_suffix(".gguf").and_then(|s| s.rsplit_once("-00001-of-"))
        && let Ok(count) = count.parse::<u32>()
    {
        let part = |i| model.file.with_file_name(format!("{stem}-{i:05}-of-{count:05}.gguf"));
        files.extend((2..=count.min(4096)).map(part));
    }
    let shared = |tower: &Path| own.models.iter().any(|m| m.file != model.file && m.mmproj.as_deref() == Some(tower));
    files.extend(model.mmproj.iter().filter(|tower| !shared(tower)).cloned());
    files
}

/// Asks at a terminal; elsewhere it has to be said beforehand.
fn agreed(model: &Model, files: &[PathBuf]) -> Result<bool, CliError> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(CliError::SayYes { name: model.name.clone() });
    }
    for file in files {
        let _ = writeln!(io::stderr(), "  {}", one_line(&file.display().to_string()));
    }
    let _ = write!(io::stderr(), "remove {}? [y/N] ", one_line(&model.name));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(CliError::Stdin)?;
    Ok(means_yes(&answer))
}

/// Removes the folders that are empty now, up to our own.
fn remove_empty(file: &Path, root: &Path) {
    for folder in file.ancestors().skip(1).take_while(|f| *f != root && f.starts_with(root)) {
        if fs::remove_dir(folder).is_err() {
            return;
        }
    }
}
