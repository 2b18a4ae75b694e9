//! Models in several files, `NAME-00001-of-0000N.gguf` (llama.cpp's gguf-split).

use std::path::{Path, PathBuf};

/// The folder, stem, number and count of a split part's path.
pub(super) struct PartName {
    folder: PathBuf,
    stem: String,
    pub number: u64,
    pub count: u64,
}

impl PartName {
    /// Takes a path apart, or `None` where it isn't named as a part.
    pub fn parse(path: &Path) -> Option<PartName> {
        let name = path.file_name()?.to_str()?.strip_suffix(".gguf")?;
        let (rest, count) = name.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        let five = |s: &str| if s.len() == 5 && s.bytes().all(|b| b.is_ascii_digit()) { s.parse().ok() } else { None };
        let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        Some(PartName { folder, stem: stem.to_string(), number: five(number)?, count: five(count)? })
    }

    /// The path of part `number` (from 1).
    pub fn sibling(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{}-{number:05}-of-{:05}.gguf", self.stem, self.count))
    }
}
