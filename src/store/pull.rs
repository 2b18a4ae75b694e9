//! Fetching a model: the language model of the wanted type and its vision tower.

use std::path::{Path, PathBuf};

use super::StoreError;
use super::catalog::{catalog, catalog_entry};
use super::fetch::{Watch, fetch};
use super::hub::{Hub, RemoteFile};
use super::label::type_in_name;
use super::listing::precision;

/// Types in the order in which one is taken where none was named: the best quality that is still quick.
const PREFERRED: [&str; 6] = ["Q4_K_M", "Q4_0", "Q4_K_S", "Q5_K_M", "Q8_0", "F16"];

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// `OWNER/REPO`.
    pub repo: String,
    /// The type, where one was named or the catalog has one.
    pub ty: Option<String>,
}

impl Wanted {
    /// Takes a name of the catalog or `OWNER/REPO`, with or without `:TYPE`.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(name: &str) -> Result<Wanted, StoreError> {
        let (repo, ty) = match name.rsplit_once(':') {
            Some((repo, ty)) => (repo, Some(ty.to_owned())),
            None => (name, None),
        };
        if let Some(known) = catalog_entry(repo) {
            return Ok(Wanted { repo: known.repo.clone(), ty: ty.or_else(|| Some(known.ty.clone())) });
        }
        let plain = |part: &str| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            !part.is_empty() && !part.starts_with('.') && part.len() <= 96 && part.bytes().all(fits)
        };
        let is_repo = repo.split_once('/').is_some_and(|(owner, repo)| plain(owner) && plain(repo));
        if !is_repo || ty.as_deref().is_some_and(|ty| !plain(ty)) {
            let known: Vec<&str> = catalog().iter().map(|e| e.name.as_str()).collect();
            return Err(StoreError::Name { name: name.to_owned(), known: known.join(", ") });
        }
        Ok(Wanted { repo: repo.to_owned(), ty })
    }
}

/// What was fetched.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// What it is called now.
    pub name: String,
    /// The language model's file, of a split one the first.
    pub file: PathBuf,
    /// The vision tower's, where the repository has one.
    pub mmproj: Option<PathBuf>,
    /// Files that came now; the others were there.
    pub fetched: usize,
    /// Bytes of all files.
    pub bytes: u64,
}

/// The files that make a model: the language model's (several of a split one), then the vision tower's.
///
/// # Errors
/// The repository has no such type.
pub fn choose(wanted: &Wanted, files: &[RemoteFile]) -> Result<(Vec<RemoteFile>, Option<RemoteFile>), StoreError> {
    let is_tower = |f: &RemoteFile| base(f).to_ascii_lowercase().contains("mmproj");
    let (towers, texts): (Vec<&RemoteFile>, Vec<&RemoteFile>) = files.iter().partition(|f| is_tower(f));
    let named = |ty: &str| -> Vec<RemoteFile> {
        let fits = |f: &&&RemoteFile| type_word(f, ty);
        texts.iter().filter(fits).map(|&f| f.clone()).collect()
    };
    let mut chosen = match &wanted.ty {
        Some(ty) => named(ty),
        None => PREFERRED.iter().map(|ty| named(ty)).find(|found| !found.is_empty()).unwrap_or_default(),
    };
    if chosen.is_empty() && wanted.ty.is_none() && texts.len() == 1 {
        chosen = vec![texts[0].clone()];
    }
    chosen.sort_by(|a, b| a.path.cmp(&b.path));
    // A second file of the type that is no part of the first is another model.
    let first = chosen.first().map(|f| unsplit(&f.path).to_owned());
    chosen.retain(|f| Some(unsplit(&f.path)) == first.as_deref());
    if chosen.is_empty() {
        let mut types: Vec<&str> = texts.iter().filter_map(|f| type_in_name(&f.path)).collect();
        types.sort_unstable();
        types.dedup();
        let found =
            if types.is_empty() { "no GGUF files with a type in their name".to_owned() } else { types.join(", ") };
        let wanted_type = wanted
            .ty
            .clone()
            .map_or_else(|| "file that is chosen by itself".to_owned(), |ty| format!("GGUF file of type {ty}"));
        return Err(StoreError::NoSuchType { repo: wanted.repo.clone(), wanted: wanted_type, found });
    }
    let tower = towers.into_iter().min_by_key(|f| (precision(type_in_name(&f.path).unwrap_or("?")), f.path.clone()));
    Ok((chosen, tower.cloned()))
}

fn base(file: &RemoteFile) -> &str {
    file.path.rsplit('/').next().unwrap_or_default()
}

/// Whether the type stands in the path as a word of its own; types that we don't know may be asked for too.
fn type_word(file: &RemoteFile, ty: &str) -> bool {
    base(file).split(['-', '.', ' ']).any(|word| word.eq_ignore_ascii_case(ty)) || {
        let stem = base(file).strip_suffix(".gguf").unwrap_or_default();
        unsplit(stem).eq_ignore_ascii_case(ty)
    }
}

/// The path without a split part's number.
fn unsplit(path: &str) -> &str {
    let stem = path.strip_suffix(".gguf").unwrap_or(path);
    let is_number = |s: &str| s.len() == 5 && s.bytes().all(|b| b.is_ascii_digit());
    match stem.rsplit_once("-of-").and_then(|(rest, count)| Some((rest.rsplit_once('-')?, count))) {
        Some(((rest, number), count)) if is_number(number) && is_number(count) => rest,
        _ => stem,
    }
}

/// Fetches a model into `folder/OWNER/REPO`.
///
/// # Errors
/// As each [`StoreError`] says; what has come so far is kept, unless it is wrong.
pub fn pull(hub: &Hub, wanted: &Wanted, folder: &Path, watch: &dyn Watch) -> Result<Pulled, StoreError> {
    let (texts, tower) = choose(wanted, &hub.files(&wanted.repo)?)?;
    let place = |file: &RemoteFile| folder.join(&wanted.repo).join(&file.path);
    let mut fetched = 0;
    for file in texts.iter().chain(&tower) {
        fetched += usize::from(fetch(hub, file, &place(file), watch)?);
    }
    let ty = type_in_name(base(&texts[0])).map(str::to_owned).or_else(|| wanted.ty.clone());
    Ok(Pulled {
        name: ty.map_or_else(|| wanted.repo.clone(), |ty| format!("{}:{ty}", wanted.repo)),
        file: place(&texts[0]),
        mmproj: tower.as_ref().map(place),
        fetched,
        bytes: texts.iter().chain(&tower).map(|f| f.size).sum(),
    })
}
