//! One safetensors file: eight bytes with the length of a JSON header, the header, the tensors' bytes without holes.
//!
//! Read by position, not mapped: a tensor is read once, from its beginning to its end, and what a file says about itself is
//! checked against its size before a byte of a tensor is read.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::ConvertError;
use super::error::ShardProblem;

/// The longest header that the format allows.
const MAX_HEADER: u64 = 100_000_000;

/// A tensor's element type.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dtype {
    F64,
    F32,
    F16,
    BF16,
    F8,
    I64,
    I32,
    I16,
    I8,
    Bool,
}

impl Dtype {
    /// The name in messages, and the bytes of an element.
    pub fn of(name: &str) -> Option<(Dtype, u64, &'static str)> {
        Some(match name {
            "F64" => (Dtype::F64, 8, "F64"),
            "F32" => (Dtype::F32, 4, "F32"),
            "F16" => (Dtype::F16, 2, "F16"),
            "BF16" => (Dtype::BF16, 2, "BF16"),
            "F8_E4M3" => (Dtype::F8, 1, "F8_E4M3"),
            "F8_E5M2" => (Dtype::F8, 1, "F8_E5M2"),
            "F8_E8M0" => (Dtype::F8, 1, "F8_E8M0"),
            "I64" => (Dtype::I64, 8, "I64"),
            "U64" => (Dtype::I64, 8, "U64"),
            "I32" => (Dtype::I32, 4, "I32"),
            "U32" => (Dtype::I32, 4, "U32"),
            "I16" => (Dtype::I16, 2, "I16"),
            "U16" => (Dtype::I16, 2, "U16"),
            "I8" => (Dtype::I8, 1, "I8"),
            "U8" => (Dtype::I8, 1, "U8"),
            "BOOL" => (Dtype::Bool, 1, "BOOL"),
            _ => return None,
        })
    }
}

/// Where a tensor stands, and what it is.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// Its name in the file.
    pub name: String,
    pub dtype: Dtype,
    pub dtype_name: &'static str,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    /// From the file's beginning, in bytes.
    pub start: u64,
    pub bytes: u64,
}

/// An open safetensors file, its header checked.
#[derive(Debug)]
pub(super) struct Shard {
    path: PathBuf,
    file: File,
    /// Sorted by name.
    pub tensors: Vec<Stored>,
}

impl Shard {
    /// Opens a file and checks its header against its size.
    pub fn open(path: &Path) -> Result<Shard, ConvertError> {
        let io = |source| ConvertError::Io { path: path.to_owned(), source };
        let wrong = |problem| ConvertError::Shard { file: path.to_owned(), problem };
        // Looked at before it is opened: opening a pipe would wait for somebody to write into it.
        if !std::fs::metadata(path).map_err(io)?.is_file() {
            return Err(io(io::Error::new(io::ErrorKind::InvalidData, "is not a file")));
        }
        let mut file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        if bytes < 8 {
            return Err(wrong(ShardProblem::Short { bytes }));
        }
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(io)?;
        let (found, limit) = (u64::from_le_bytes(length), MAX_HEADER.min(bytes - 8));
        if found > limit {
            return Err(wrong(ShardProblem::HeaderLength { found, limit }));
        }
        let mut header = vec![0; found as usize];
        file.read_exact(&mut header).map_err(io)?;
        let header: Header =
            serde_json::from_slice(&header).map_err(|source| wrong(ShardProblem::Header { source }))?;
        let tensors = header.tensors(8 + found, bytes).map_err(wrong)?;
        Ok(Shard { path: path.to_owned(), file, tensors })
    }

    /// The file's name, for messages.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or(self.path.as_os_str()).to_string_lossy().into_owned()
    }

    /// Reads from `offset` on, counted in bytes from the tensor's beginning, as much as `out` takes.
    pub fn read(&self, tensor: &Stored, offset: u64, out: &mut [u8]) -> Result<(), ConvertError> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(tensor.start + offset))
            .and_then(|_| file.read_exact(out))
            .map_err(|source| ConvertError::Io { path: self.path.clone(), source })
    }
}

/// The header's entries in its order, without `__metadata__`; a JSON object would hide that one occurs twice.
struct Header(Vec<(String, Entry)>);

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Header, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<serde::de::IgnoredAny>()?;
                    } else {
                        entries.push((name, map.next_value()?));
                    }
                }
                Ok(Header(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl Header {
    /// The tensors by name, every place checked: one after the other from `data` to the file's end.
    fn tensors(mut self, data: u64, file_bytes: u64) -> Result<Vec<Stored>, ShardProblem> {
        self.0.sort_by_key(|(_, e)| e.data_offsets);
        let mut end = 0;
        let mut tensors = Vec::with_capacity(self.0.len());
        for (name, entry) in self.0 {
            let [start, stop] = entry.data_offsets;
            let Some((dtype, size, dtype_name)) = Dtype::of(&entry.dtype) else {
                return Err(ShardProblem::Dtype { tensor: name, found: entry.dtype });
            };
            let needed = entry.shape.iter().try_fold(size, |n, &d| n.checked_mul(d));
            let shape: Option<Vec<usize>> = entry.shape.iter().map(|&d| usize::try_from(d).ok()).collect();
            let (Some(bytes), Some(shape)) = (needed.filter(|&n| stop.checked_sub(start) == Some(n)), shape) else {
                return Err(ShardProblem::Size { tensor: name, shape: entry.shape, start, end: stop });
            };
            if start != end {
                return Err(ShardProblem::Place { tensor: name, start, end });
            }
            end = stop;
            tensors.push(Stored { name, dtype, dtype_name, shape, start: data.saturating_add(start), bytes });
        }
        let needed = data.saturating_add(end);
        if needed > file_bytes {
            return Err(ShardProblem::Truncated { needed, found: file_bytes });
        }
        if needed < file_bytes {
            return Err(ShardProblem::Longer { extra: file_bytes - needed });
        }
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        match tensors.windows(2).find(|pair| pair[0].name == pair[1].name) {
            Some(pair) => Err(ShardProblem::Twice { tensor: pair[0].name.clone() }),
            None => Ok(tensors),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(header: &str, data: usize) -> Result<Shard, ConvertError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.safetensors");
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend((0..data).map(|i| i as u8));
        std::fs::write(&path, bytes).expect("written");
        Shard::open(&path)
    }

    #[test]
    fn tensors_are_found_by_name_and_read_in_parts() {
        let header = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]},
            "a":{"dtype":"I32","shape":[1],"data_offsets":[8,12]}}"#;
        let shard = open(header, 12).expect("valid");
        let names: Vec<&str> = shard.tensors.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        let mut part = [0; 4];
        shard.read(&shard.tensors[1], 4, &mut part).expect("read");
        assert_eq!(part, [4, 5, 6, 7]);
        assert!(open("{}", 0).expect("an empty file").tensors.is_empty());
    }

    #[test]
    fn what_is_wrong_is_told() {
        let one = |entry: &str| format!(r#"{{"a":{entry}}}"#);
        let cases = [
            (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#), 4, "truncated: its tensors need"),
            (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#), 9, "1 bytes follow"),
            (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,4]}"#), 4, "has the shape [2] but bytes 0 to 4"),
            (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[8,0]}"#), 8, "but bytes 8 to 0"),
            (one(r#"{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}"#), 0, "has the shape"),
            (one(r#"{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#), 8, "begins at byte 4"),
            (one(r#"{"dtype":"Q9","shape":[1],"data_offsets":[0,4]}"#), 4, "unknown type Q9"),
            (one(r#"{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}"#), 4, "header"),
            ("[1,2]".into(), 0, "an object of tensors"),
            ("{".into(), 0, "EOF"),
            (
                r#"{"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"I8","shape":[1],"data_offsets":[1,2]}}"#
                    .into(),
                2,
                "`a` occurs twice",
            ),
        ];
        for (header, data, wanted) in cases {
            let said = open(&header, data).expect_err("refused").to_string();
            assert!(said.contains(wanted) && said.contains("a.safetensors: "), "{said}");
        }
    }

    #[test]
    fn absurd_header_lengths_take_no_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.safetensors");
        for length in [u64::MAX, 1 << 40, 100] {
            std::fs::write(&path, [&length.to_le_bytes()[..], b"{}"].concat()).expect("written");
            let said = Shard::open(&path).expect_err("refused").to_string();
            assert!(said.contains(&format!("{length} bytes (at most 2 here)")), "{said}");
        }
        std::fs::write(&path, b"short").expect("written");
        assert!(Shard::open(&path).expect_err("refused").to_string().contains("5 bytes are no safetensors"));
    }
}
