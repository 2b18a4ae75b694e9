//! How each program lays its downloads out: which files belong together, and what they are called.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::folders::{Folder, Holder};

/// Bounds that no real folder reaches.
const MAX_DEPTH: usize = 6;
const MAX_ENTRIES: usize = 100_000;
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// GGUF files that belong together.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub holder: Holder,
    /// What the program itself calls the model.
    pub name: Option<String>,
    /// `OWNER/REPO`.
    pub repo: Option<String>,
    /// Of a split model only the first part.
    pub files: Vec<PathBuf>,
}

/// The groups of a folder, in a fixed order; none where it doesn't exist.
pub(super) fn groups(folder: &Folder) -> Vec<Group> {
    match folder.holder {
        Holder::Qlens | Holder::LmStudio => owner_repo(folder),
        Holder::HuggingFace => hugging_face(folder),
        Holder::LlamaCpp => llama_cpp(folder),
        Holder::Ollama => ollama(folder),
    }
}

/// All files below `root`, sorted; symbolic links are followed, which the depth keeps from going in circles.
fn files_below(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![(root.to_path_buf(), 0)];
    let mut entries = 0;
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            entries += 1;
            let path = entry.path();
            match fs::metadata(&path) {
                _ if entries > MAX_ENTRIES => return found,
                Ok(m) if m.is_dir() && depth < MAX_DEPTH => folders.push((path, depth + 1)),
                Ok(m) if m.is_file() => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// A GGUF file, and of a split model the first.
fn is_model_file(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|n| n.to_str()) else { return false };
    let Some(stem) = name.strip_suffix(".gguf") else { return false };
    match stem.rsplit_once("-of-").and_then(|(rest, count)| Some((rest.rsplit_once('-')?.1, count))) {
        Some((number, count)) if number.len() == 5 && count.len() == 5 && number.parse::<u32>().is_ok() => {
            number == "00001"
        }
        _ => true,
    }
}

fn gguf_below(root: &Path) -> impl Iterator<Item = PathBuf> {
    files_below(root).into_iter().filter(|p| is_model_file(p))
}

/// `OWNER/REPO/…/FILE.gguf` (LM Studio, and ours). Files that lie higher belong to no repository.
fn owner_repo(folder: &Folder) -> Vec<Group> {
    let mut groups: BTreeMap<Option<String>, Vec<PathBuf>> = BTreeMap::new();
    for path in gguf_below(&folder.path) {
        let inside = path.strip_prefix(&folder.path).unwrap_or(&path);
        let parts: Vec<&str> = inside.iter().filter_map(|p| p.to_str()).collect();
        let repo = if parts.len() > 2 { Some(format!("{}/{}", parts[0], parts[1])) } else { None };
        groups.entry(repo).or_default().push(path);
    }
    let group = |(repo, files)| Group { holder: folder.holder, name: None, repo, files };
    groups.into_iter().map(group).collect()
}

/// `models--OWNER--REPO/snapshots/REVISION/…` (huggingface_hub, "Understand caching"); the files are links to blobs. A
/// model's files may have come at different revisions: the one that `refs/main` names goes before others.
fn hugging_face(folder: &Folder) -> Vec<Group> {
    let mut repos: Vec<PathBuf> =
        fs::read_dir(&folder.path).into_iter().flatten().flatten().map(|e| e.path()).collect();
    repos.sort();
    repos.iter().filter_map(|repo| hugging_face_repo(folder.holder, repo)).collect()
}

fn hugging_face_repo(holder: Holder, path: &Path) -> Option<Group> {
    let name = path.file_name()?.to_str()?.strip_prefix("models--")?.replacen("--", "/", 1);
    let main = fs::read_to_string(path.join("refs/main")).unwrap_or_default();
    let snapshots = fs::read_dir(path.join("snapshots")).into_iter().flatten().flatten();
    let mut snapshots: Vec<PathBuf> = snapshots.map(|e| e.path()).collect();
    snapshots.sort_by_key(|s| (s.file_name().and_then(|n| n.to_str()) != Some(main.trim()), s.clone()));
    let mut files: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    for snapshot in &snapshots {
        for file in gguf_below(snapshot) {
            let inside = file.strip_prefix(snapshot).unwrap_or(&file).to_path_buf();
            files.entry(inside).or_insert(file);
        }
    }
    let files: Vec<PathBuf> = files.into_values().collect();
    (!files.is_empty()).then_some(Group { holder, name: None, repo: Some(name), files })
}

/// All in one folder: `OWNER_REPO_FILE.gguf` with `manifest=OWNER=REPO=TAG.json` (llama.cpp, common/arg.cpp).
fn llama_cpp(folder: &Folder) -> Vec<Group> {
    let all: Vec<PathBuf> = fs::read_dir(&folder.path).into_iter().flatten().flatten().map(|e| e.path()).collect();
    let file_name = |p: &PathBuf| p.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
    let repo_of = |manifest: &str| -> Option<(String, String)> {
        let mut parts = manifest.strip_prefix("manifest=")?.strip_suffix(".json")?.split('=');
        Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
    };
    let mut repos: Vec<(String, String)> = all.iter().filter_map(|p| repo_of(&file_name(p))).collect();
    repos.sort();
    repos.dedup();
    let mut groups: BTreeMap<Option<String>, Vec<PathBuf>> = BTreeMap::new();
    for path in all.iter().filter(|p| is_model_file(p) && p.is_file()) {
        let name = file_name(path);
        // Of two that fit (`a/b` and `a/b_c`) the longer.
        let fits = repos.iter().filter(|(owner, repo)| name.starts_with(&format!("{owner}_{repo}_")));
        let repo = fits.max_by_key(|(owner, repo)| owner.len() + repo.len());
        groups.entry(repo.map(|(owner, repo)| format!("{owner}/{repo}"))).or_default().push(path.clone());
    }
    let group = |(repo, mut files): (_, Vec<PathBuf>)| {
        files.sort();
        Group { holder: folder.holder, name: None, repo, files }
    };
    groups.into_iter().map(group).collect()
}

/// A manifest of Ollama's (the OCI image manifest's form).
#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    #[serde(rename = "mediaType")]
    media_type: String,
    digest: String,
}

/// `manifests/HOST/NAMESPACE/MODEL/TAG`, which names `blobs/sha256-…` (ollama, server/modelpath.go).
fn ollama(folder: &Folder) -> Vec<Group> {
    let root = folder.path.join("manifests");
    let group = |path: PathBuf| -> Option<Group> {
        let parts: Vec<String> = path.strip_prefix(&root).ok()?.iter().map(|p| p.to_string_lossy().into()).collect();
        let [host, namespace, model, tag] = parts.as_slice() else { return None };
        if fs::metadata(&path).ok()?.len() > MAX_MANIFEST_BYTES {
            return None;
        }
        let manifest: Manifest = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        let files: Vec<PathBuf> = manifest.layers.iter().filter_map(|l| blob(&folder.path, l)).collect();
        let name = match (host.as_str(), namespace.as_str()) {
            (_, "library") => format!("{model}:{tag}"),
            // Ollama's own registry, which its names leave out.
            (host, _) if host.starts_with("registry.") => format!("{namespace}/{model}:{tag}"),
            _ => format!("{host}/{namespace}/{model}:{tag}"),
        };
        (!files.is_empty()).then_some(Group { holder: folder.holder, name: Some(name), repo: None, files })
    };
    files_below(&root).into_iter().filter_map(group).collect()
}

/// The blob of a layer that is a model. A digest is a hash and nothing else: it must not lead anywhere.
fn blob(folder: &Path, layer: &Layer) -> Option<PathBuf> {
    let wanted = ["application/vnd.ollama.image.model", "application/vnd.ollama.image.projector"];
    let hash = layer.digest.strip_prefix("sha256:")?;
    let plain = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    (plain && wanted.contains(&layer.media_type.as_str())).then(|| folder.join("blobs").join(format!("sha256-{hash}")))
}
