//! Short names for models on the hub.

use std::sync::OnceLock;

use toml_edit::{DocumentMut, Item};

/// A model that `pull` knows by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogEntry {
    /// Its name.
    pub name: String,
    /// `OWNER/REPO` on the hub.
    pub repo: String,
    /// The type that is fetched when none is named.
    pub ty: String,
    /// Weights of the language model.
    pub weights: u64,
    /// Bytes of the F16 mmproj.
    pub vision_bytes: u64,
    /// Blocks.
    pub layers: u64,
    /// Numbers of keys (and as many of values) that a block keeps per token.
    pub kv_width: u64,
    /// Tokens that the model was made for.
    pub context: u64,
}

/// All entries of models/models.toml, which is part of the program.
pub fn catalog() -> &'static [CatalogEntry] {
    static CATALOG: OnceLock<Vec<CatalogEntry>> = OnceLock::new();
    CATALOG.get_or_init(|| read(include_str!("../../models/models.toml")))
}

/// The entry of this name, or that of this repository.
pub fn catalog_entry(name: &str) -> Option<&'static CatalogEntry> {
    catalog().iter().find(|e| e.name.eq_ignore_ascii_case(name) || e.repo.eq_ignore_ascii_case(name))
}

/// An entry that lacks something is left out; a test sees to it that none does.
pub(super) fn read(text: &str) -> Vec<CatalogEntry> {
    let Ok(page) = text.parse::<DocumentMut>() else { return Vec::new() };
    page.iter().filter_map(|(name, item)| entry(name, item)).collect()
}

fn entry(name: &str, item: &Item) -> Option<CatalogEntry> {
    let text = |key: &str| item.get(key)?.as_str().map(str::to_owned);
    let number = |key: &str| u64::try_from(item.get(key)?.as_integer()?).ok();
    Some(CatalogEntry {
        name: name.to_owned(),
        repo: text("repo")?,
        ty: text("type")?,
        weights: number("weights")?,
        vision_bytes: number("vision")?,
        layers: number("layers")?,
        kv_width: number("kv")?,
        context: number("context")?,
    })
}
