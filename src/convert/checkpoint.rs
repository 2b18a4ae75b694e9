//! All safetensors files of a checkpoint, and its tensors by name.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ConvertError;
use super::folder::{Folder, Settings, shown};
use super::shard::{Shard, Stored};

const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";

/// A checkpoint's tensors.
#[derive(Debug)]
pub(super) struct Checkpoint {
    shards: Vec<Shard>,
    /// Canonical name → shard, and place in its list.
    tensors: BTreeMap<String, Place>,
}

impl Checkpoint {
    /// Opens all files that the index names, or the only one.
    pub fn open(folder: &Folder) -> Result<Checkpoint, ConvertError> {
        let shards = match folder.json(INDEX)? {
            Some(index) => indexed(folder, &index)?,
            None => vec![Shard::open(&folder.file(&single(folder)?))?],
        };
        let mut tensors = BTreeMap::new();
        for (s, shard) in shards.iter().enumerate() {
            for (t, stored) in shard.tensors.iter().enumerate() {
                if is_leftover(&stored.name) {
                    continue;
                }
                let name = canonical(&stored.name);
                if let Some((first, at)) = tensors.insert(name, (s, t)) {
                    let other: &Shard = &shards[first];
                    return Err(ConvertError::Twice {
                        tensor: other.tensors[at].name.clone(),
                        again: stored.name.clone(),
                        first: other.name(),
                        second: shard.name(),
                    });
                }
            }
        }
        Ok(Checkpoint { shards, tensors })
    }

    /// A tensor by its canonical name.
    pub fn get(&self, canonical: &str) -> Option<Found<'_>> {
        self.tensors.get(canonical).map(|&place| self.at(place))
    }

    /// The tensor at a place.
    ///
    /// # Panics
    /// There is no such place.
    pub fn at(&self, place: Place) -> Found<'_> {
        let shard = &self.shards[place.0];
        Found { shard, stored: &shard.tensors[place.1], place }
    }

    /// All canonical names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }
}

/// A tensor's place in the checkpoint: its file, and its number there; files and tensors sorted by name.
pub(super) type Place = (usize, usize);

/// A tensor in its file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub shard: &'a Shard,
    pub stored: &'a Stored,
    pub place: Place,
}

impl Found<'_> {
    /// # Errors
    /// It has another shape.
    pub fn check_shape(&self, wanted: &[usize]) -> Result<(), ConvertError> {
        if self.stored.shape == wanted {
            return Ok(());
        }
        Err(ConvertError::Shape {
            file: self.shard.name(),
            tensor: self.stored.name.clone(),
            found: self.stored.shape.clone(),
            wanted: wanted.to_vec(),
        })
    }

    pub fn wrong_dtype(&self, wanted: &'static str) -> ConvertError {
        ConvertError::Dtype {
            file: self.shard.name(),
            tensor: self.stored.name.clone(),
            found: self.stored.dtype_name,
            wanted,
        }
    }
}

/// The name without what versions of transformers put before it: `layers.0.…`, `visual.…`, `lm_head.weight`.
fn canonical(name: &str) -> String {
    let prefixes = ["model.language_model.", "model."];
    prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name).to_owned()
}

/// Buffers that old versions saved, computed anew from the settings.
fn is_leftover(name: &str) -> bool {
    [".rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias"].iter().any(|end| name.ends_with(end))
}

/// The file of a checkpoint without an index.
fn single(folder: &Folder) -> Result<String, ConvertError> {
    let names = folder.names()?;
    if names.iter().any(|name| name == SINGLE) {
        return Ok(SINGLE.to_owned());
    }
    let missing = |file, hint| ConvertError::NoFile { folder: folder.path().to_owned(), file, hint };
    let mut files = names.iter().filter(|name| name.ends_with(".safetensors"));
    match (files.next(), files.next()) {
        (Some(only), None) if !is_numbered(only) => Ok(only.clone()),
        (Some(_), _) => Err(missing(INDEX, "it says which tensors are in which of the files; download it too")),
        (None, _) if names.iter().any(|name| name.ends_with(".bin") || name.ends_with(".pth")) => Err(missing(
            SINGLE,
            "pickled weights (.bin, .pth) are programs and aren't opened; save the model as safetensors",
        )),
        (None, _) => Err(missing(SINGLE, "name the folder of a downloaded checkpoint")),
    }
}

/// Whether it is one of several, as `model-00001-of-00002.safetensors`.
fn is_numbered(name: &str) -> bool {
    let stem = name.trim_end_matches(".safetensors");
    stem.rsplit_once("-of-").is_some_and(|(_, n)| n.bytes().all(|b| b.is_ascii_digit()) && n != "00001")
}

/// The files that the index names, each with exactly the tensors that it puts there.
fn indexed(folder: &Folder, index: &Settings) -> Result<Vec<Shard>, ConvertError> {
    let map = index.inner("weight_map")?.ok_or_else(|| index.wrong("weight_map", "an object"))?;
    let mut files: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (tensor, shard) in &map.object {
        let bad = |shard: String| ConvertError::ShardName { index: index.file.clone(), tensor: tensor.clone(), shard };
        let Value::String(name) = shard else { return Err(bad(shown(shard))) };
        // A name without folders stays inside of this one; so does what it links to, as in the hub's cache.
        let plain = !name.contains(['/', '\\', ':']) && !name.starts_with('.') && name.ends_with(".safetensors");
        if !plain {
            return Err(bad(name.clone()));
        }
        files.entry(name).or_default().push(tensor);
    }
    let mut shards = Vec::new();
    for (name, tensors) in files {
        let shard = match Shard::open(&folder.file(name)) {
            Err(ConvertError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(ConvertError::ShardMissing { index: index.file.clone(), shard: name.to_owned() });
            }
            other => other?,
        };
        let holds = |tensor: &str| shard.tensors.binary_search_by(|t| t.name.as_str().cmp(tensor)).is_ok();
        if let Some(absent) = tensors.iter().find(|tensor| !holds(tensor)) {
            let (index, tensor) = (index.file.clone(), (*absent).to_owned());
            return Err(ConvertError::NotInShard { index, tensor, shard: name.to_owned() });
        }
        shards.push(shard);
    }
    Ok(shards)
}

#[cfg(test)]
mod tests {
    use super::{canonical, is_numbered};

    #[test]
    fn both_generations_of_names_mean_the_same() {
        for name in ["model.layers.0.mlp.up_proj.weight", "model.language_model.layers.0.mlp.up_proj.weight"] {
            assert_eq!(canonical(name), "layers.0.mlp.up_proj.weight");
        }
        for name in ["visual.blocks.0.norm1.weight", "model.visual.blocks.0.norm1.weight"] {
            assert_eq!(canonical(name), "visual.blocks.0.norm1.weight");
        }
        assert_eq!(canonical("lm_head.weight"), "lm_head.weight");
    }

    #[test]
    fn one_of_several_is_known_by_its_name() {
        assert!(is_numbered("model-00001-of-00002.safetensors"));
        assert!(!is_numbered("model-00001-of-00001.safetensors"));
        assert!(!is_numbered("pytorch_model.safetensors"));
    }
}
