//! Looking through all folders.

use std::path::PathBuf;

use super::catalog::catalog_entry;
use super::folders::{Folders, Holder};
use super::layouts::groups;
use super::listing::{Judge, Model, models_of};

/// A file that can't be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Which.
    pub file: PathBuf,
    /// Who downloaded it.
    pub holder: Holder,
    /// Why not.
    pub reason: String,
}

/// What there is on this computer.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// What can be run, ours first.
    pub models: Vec<Model>,
    /// What can't.
    pub skipped: Vec<Skipped>,
}

/// Looks through all folders. Each file's header is read (milliseconds); its weights aren't.
pub fn discover(folders: &Folders, judge: Judge<'_>) -> Listing {
    let mut listing = Listing::default();
    for folder in folders.all() {
        for group in groups(folder) {
            let mut skipped = Vec::new();
            listing.models.extend(models_of(&group, judge, &mut skipped));
            let skip = |(file, reason)| Skipped { file, holder: folder.holder, reason };
            listing.skipped.extend(skipped.into_iter().map(skip));
        }
    }
    listing
}

impl Listing {
    /// The model that is called so: by its name, its repository or file, or by a name of the catalog. Of several, the
    /// first that can see, of the type that the catalog prefers.
    pub fn find(&self, wanted: &str) -> Option<&Model> {
        let (name, ty) = match wanted.rsplit_once(':') {
            Some((name, ty)) => (name, Some(ty)),
            None => (wanted, None),
        };
        let known = catalog_entry(name);
        let called = |m: &&Model| m.is_called(wanted) || known.is_some_and(|k| m.is_called(&with_type(&k.repo, ty)));
        let preferred = known.map_or("Q4_K_M", |k| k.ty.as_str());
        self.models.iter().filter(called).min_by_key(|m| (m.kind == super::Kind::TextOnly, m.ty != preferred))
    }
}

fn with_type(repo: &str, ty: Option<&str>) -> String {
    ty.map_or_else(|| repo.to_owned(), |ty| format!("{repo}:{ty}"))
}
