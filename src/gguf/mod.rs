//! GGUF files: mapped read-only, checked whole before use.

mod error;
mod header;
mod limits;
mod map;
mod metadata;
mod split;
mod tensors;
mod types;
mod write;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

pub use error::GgufError;
use header::{Reader, read_magic, shown};
use limits::{MAX_ALIGNMENT, MAX_PARTS};
pub(crate) use map::LargePages;
use map::Storage;
pub use metadata::{Array, Metadata, ScalarArray, StringArray, Value};
use split::PartName;
pub use tensors::Tensor;
pub use types::GgmlType;
pub use write::{Fill, GgufWriter};

/// One model: a file, or all parts of a split one.
#[derive(Clone, Debug)]
pub struct Gguf {
    name: String,
    version: u32,
    metadata: Metadata,
    tensors: Vec<Tensor>,
    index: HashMap<String, usize>,
    mapped_bytes: u64,
}

impl Gguf {
    /// Maps and checks a file; the first part of a split model brings the others along.
    ///
    /// # Errors
    /// The file can't be read, or something in it is wrong: the message says what.
    pub fn open(path: &Path) -> Result<Gguf, GgufError> {
        let mut gguf = Gguf::parse(&path.display().to_string(), Storage::map(path)?)?;
        let parts = gguf.metadata.u64("split.count")?.unwrap_or(1);
        if parts > 1 {
            gguf.open_parts(path, parts)?;
        }
        Ok(gguf)
    }

    /// A model that is part of the program.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn from_static(name: &str, bytes: &'static [u8]) -> Result<Gguf, GgufError> {
        Gguf::parse(name, Storage::Static(bytes))?.alone()
    }

    /// A model in memory.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn from_vec(name: &str, bytes: Vec<u8>) -> Result<Gguf, GgufError> {
        Gguf::parse(name, Storage::Owned(Arc::new(bytes)))?.alone()
    }

    /// Refuses a part of a split model, where there is no folder to find the others in.
    fn alone(self) -> Result<Gguf, GgufError> {
        match self.metadata.u64("split.count")? {
            Some(n) if n > 1 => Err(GgufError::Format {
                file: self.name,
                problem: format!("one of {n} parts of a model, which can be opened only as files in a folder"),
            }),
            _ => Ok(self),
        }
    }

    fn parse(name: &str, storage: Storage) -> Result<Gguf, GgufError> {
        let mut r = Reader { file: name, storage: &storage, at: 0, version: 0 };
        read_magic(&mut r)?;
        let n_tensors = r.u64("the number of tensors")?;
        let n_keys = r.u64("the number of metadata entries")?;
        let metadata = Metadata::read(&mut r, n_keys)?;
        let alignment = metadata.u64("general.alignment")?.unwrap_or(32);
        if !alignment.is_power_of_two() || alignment > MAX_ALIGNMENT {
            return Err(
                r.wrong(format!("`general.alignment` is {alignment}, not a power of two up to {MAX_ALIGNMENT}"))
            );
        }
        let tensors = tensors::read_tensors(&mut r, n_tensors, alignment)?;
        let index = tensors.iter().enumerate().map(|(i, t)| (t.name().to_string(), i)).collect();
        let (version, mapped_bytes) = (r.version, storage.bytes().len() as u64);
        Ok(Gguf { name: name.to_string(), version, metadata, tensors, index, mapped_bytes })
    }

    /// Adds the tensors of parts 2 to `parts`.
    fn open_parts(&mut self, path: &Path, parts: u64) -> Result<(), GgufError> {
        let wrong = |problem: String| GgufError::Format { file: path.display().to_string(), problem };
        let name = PartName::parse(path).filter(|n| n.count == parts && parts <= MAX_PARTS).ok_or_else(|| {
            wrong(format!("a part of a model in {parts} files, but not named `…-00001-of-{parts:05}.gguf`"))
        })?;
        if name.number != 1 || self.metadata.u64("split.no")?.unwrap_or(0) != 0 {
            return Err(wrong(format!(
                "part {} of a split model; give the first: {}",
                name.number,
                name.sibling(1).display()
            )));
        }
        for number in 2..=parts {
            let part = name.sibling(number);
            let storage = match Storage::map(&part) {
                Err(GgufError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    return Err(wrong(format!(
                        "part {number} of {parts} is missing: {} must be in the same folder",
                        part.display()
                    )));
                }
                other => other?,
            };
            let part = Gguf::parse(&part.display().to_string(), storage)?;
            if part.metadata.u64("split.no")? != Some(number - 1) || part.metadata.u64("split.count")? != Some(parts) {
                return Err(wrong(format!("{} is no part {number} of {parts} of this model", part.name)));
            }
            self.mapped_bytes += part.mapped_bytes;
            for tensor in part.tensors {
                if self.index.insert(tensor.name().to_string(), self.tensors.len()).is_some() {
                    return Err(wrong(format!("tensor `{}` is in two parts", shown(tensor.name()))));
                }
                self.tensors.push(tensor);
            }
        }
        match self.metadata.u64("split.tensors.count")? {
            Some(n) if n != self.tensors.len() as u64 => {
                Err(wrong(format!("its parts hold {} tensors instead of {n}", self.tensors.len())))
            }
            _ => Ok(()),
        }
    }

    /// The path or given name, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The format's version.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The metadata (of the first part).
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// A tensor by name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.index.get(name).map(|&i| &self.tensors[i])
    }

    /// All tensors in the file's order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &Tensor> {
        self.tensors.iter()
    }

    /// Bytes of all files together.
    pub fn mapped_bytes(&self) -> u64 {
        self.mapped_bytes
    }
}

#[cfg(test)]
mod tests;
