//! Models: which files belong together, and what they are called.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::folders::Holder;
use super::label::type_of;
use super::layouts::Group;
use crate::gguf::Gguf;

/// What a GGUF file is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A language model of this width.
    Text {
        /// Numbers per token.
        width: usize,
    },
    /// A language model with its vision tower inside.
    Whole,
    /// A vision tower for language models of this width.
    Vision {
        /// Numbers per token.
        width: usize,
    },
    /// Nothing here.
    Unusable(String),
}

/// Decides what a file is good for.
pub type Judge<'a> = &'a dyn Fn(&Gguf) -> Verdict;

/// What a model is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A language model and a vision tower in two files.
    Pair,
    /// Both in one file.
    Whole,
    /// A language model alone, which can't see.
    TextOnly,
}

/// A model that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// What it is called: `OWNER/REPO:TYPE`, Ollama's name, or the file's.
    pub name: String,
    /// Its type, such as `Q4_K_M`.
    pub ty: String,
    /// What it is made of.
    pub kind: Kind,
    /// Who downloaded it.
    pub holder: Holder,
    /// The language model's file, of a split one the first.
    pub file: PathBuf,
    /// The vision tower's file, of a pair.
    pub mmproj: Option<PathBuf>,
    /// Bytes of all its files.
    pub bytes: u64,
}

impl Model {
    /// Whether `wanted` means this model: its name, its repository without the type, or its file's name.
    pub fn is_called(&self, wanted: &str) -> bool {
        let same = |name: &str| name.eq_ignore_ascii_case(wanted);
        let stem = self.file.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        // `latest` is what Ollama means where no tag is given.
        same(&self.name)
            || same(stem)
            || self.name.rsplit_once(':').is_some_and(|(repo, ty)| same(repo) && (repo.contains('/') || ty == "latest"))
    }
}

/// A file of a group, looked at.
struct Seen<'a> {
    path: &'a Path,
    verdict: Verdict,
    ty: String,
    bytes: u64,
}

/// Makes models of the files that lie together. Of files that can't be run, the reasons go to `skipped`.
pub(super) fn models_of(group: &Group, judge: Judge<'_>, skipped: &mut Vec<(PathBuf, String)>) -> Vec<Model> {
    let mut seen = Vec::new();
    for path in &group.files {
        match look_at(path, judge) {
            Ok(Seen { verdict: Verdict::Unusable(why), .. }) => skipped.push((path.clone(), why)),
            Ok(file) => seen.push(file),
            Err(why) => skipped.push((path.clone(), why)),
        }
    }
    let mut models: Vec<Model> = seen.iter().filter_map(|file| model(group, file, &seen)).collect();
    // Two files of a type in one repository: each is called by its file's name.
    let mut names = HashSet::new();
    let twice: HashSet<String> =
        models.iter().filter(|m| !names.insert(m.name.clone())).map(|m| m.name.clone()).collect();
    for m in models.iter_mut().filter(|m| twice.contains(&m.name)) {
        if let (Some(repo), Some(stem)) = (&group.repo, m.file.file_stem().and_then(|s| s.to_str())) {
            m.name = format!("{repo}:{stem}");
        }
    }
    models
}

fn look_at<'a>(path: &'a Path, judge: Judge<'_>) -> Result<Seen<'a>, String> {
    let gguf = Gguf::open(path).map_err(|e| {
        // The path stands before the reason wherever this is shown.
        let said = e.to_string();
        said.strip_prefix(&format!("{}: ", path.display())).map_or(said.clone(), str::to_owned)
    })?;
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    Ok(Seen { path, verdict: judge(&gguf), ty: type_of(name, &gguf), bytes: gguf.mapped_bytes() })
}

fn model(group: &Group, file: &Seen<'_>, all: &[Seen<'_>]) -> Option<Model> {
    let (kind, mmproj) = match file.verdict {
        Verdict::Whole => (Kind::Whole, None),
        Verdict::Text { width } => {
            let mut towers: Vec<&Seen<'_>> = all.iter().filter(|s| s.verdict == Verdict::Vision { width }).collect();
            towers.sort_by_key(|tower| (std::cmp::Reverse(shared_words(file.path, tower.path)), precision(&tower.ty)));
            match towers.first() {
                Some(&tower) => (Kind::Pair, Some(tower)),
                None => (Kind::TextOnly, None),
            }
        }
        Verdict::Vision { .. } | Verdict::Unusable(_) => return None,
    };
    let stem = file.path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
    let name = match (&group.name, &group.repo) {
        (Some(name), _) => name.clone(),
        (None, Some(repo)) => format!("{repo}:{}", file.ty),
        (None, None) => stem.to_owned(),
    };
    Some(Model {
        name,
        ty: file.ty.clone(),
        kind,
        holder: group.holder,
        file: file.path.to_path_buf(),
        mmproj: mmproj.map(|m| m.path.to_path_buf()),
        bytes: file.bytes + mmproj.map_or(0, |m| m.bytes),
    })
}

/// How many words two files' names have in common: of several models in a folder, each has its own tower.
fn shared_words(a: &Path, b: &Path) -> usize {
    let words = |path: &Path| -> Vec<String> {
        let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_ascii_lowercase();
        stem.split(['-', '.', '_', ' ']).filter(|w| !w.is_empty()).map(str::to_owned).collect()
    };
    let b = words(b);
    words(a).iter().filter(|w| b.contains(w)).count()
}

/// Half precision first: it is exact and fast.
pub(super) fn precision(ty: &str) -> usize {
    let order = ["F16", "F32", "BF16", "Q8_0"];
    order.iter().position(|t| *t == ty).unwrap_or(order.len())
}
