//! Reading the small files of a checkpoint's folder.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::ConvertError;

/// No file of settings is larger, `tokenizer.json` of a quarter of a million tokens included.
const MAX_BYTES: u64 = 256 << 20;

/// The folder that is converted.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// # Errors
    /// It is no folder, or may not be read.
    pub fn open(path: &Path) -> Result<Folder, ConvertError> {
        let io = |source| ConvertError::Io { path: path.to_owned(), source };
        if !std::fs::metadata(path).map_err(io)?.is_dir() {
            return Err(io(io::Error::new(io::ErrorKind::NotADirectory, "is not a folder")));
        }
        Ok(Folder(path.to_owned()))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The names of the files in it, sorted.
    pub fn names(&self) -> Result<Vec<String>, ConvertError> {
        let io = |source| ConvertError::Io { path: self.0.clone(), source };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.0).map_err(io)? {
            names.extend(entry.map_err(io)?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    /// A text file's contents; `None` where there is none.
    pub fn text(&self, name: &str) -> Result<Option<String>, ConvertError> {
        let path = self.file(name);
        let io = |source| ConvertError::Io { path: path.clone(), source };
        match std::fs::metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io(e)),
            // Opening a pipe would wait for somebody to write into it.
            Ok(found) if !found.is_file() => {
                return Err(io(io::Error::new(io::ErrorKind::InvalidData, "is not a file")));
            }
            Ok(found) if found.len() > MAX_BYTES => {
                return Err(ConvertError::FileSize { file: path, found: found.len(), limit: MAX_BYTES });
            }
            Ok(_) => {}
        }
        let mut bytes = Vec::new();
        File::open(&path).and_then(|f| f.take(MAX_BYTES).read_to_end(&mut bytes)).map_err(io)?;
        String::from_utf8(bytes).map(Some).map_err(|_| ConvertError::Text { file: path })
    }

    /// A JSON file's object; `None` where there is no such file.
    pub fn json(&self, name: &str) -> Result<Option<Settings>, ConvertError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let file = self.file(name);
        match serde_json::from_str(&text) {
            Ok(object) => Ok(Some(Settings { file, key: String::new(), object })),
            Err(source) => Err(ConvertError::Json { file, source }),
        }
    }
}

/// A JSON object, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub file: PathBuf,
    /// With a dot at the end, where it is inside of another.
    key: String,
    pub object: Map<String, Value>,
}

impl Settings {
    /// What is wrong with the value of `key`.
    pub fn wrong(&self, key: &str, wanted: impl ToString) -> ConvertError {
        let found = self.get(key).map_or_else(|| "missing".to_owned(), shown);
        self.is(key, found, wanted)
    }

    fn is(&self, key: &str, found: String, wanted: impl ToString) -> ConvertError {
        ConvertError::Setting {
            file: self.file.clone(),
            key: format!("{}{key}", self.key),
            found,
            wanted: wanted.to_string(),
        }
    }

    /// A value; null is as good as none.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.object.get(key).filter(|v| !v.is_null())
    }

    /// An object inside of this one.
    pub fn inner(&self, key: &str) -> Result<Option<Settings>, ConvertError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(object)) => {
                let key = format!("{}{key}.", self.key);
                Ok(Some(Settings { file: self.file.clone(), key, object: object.clone() }))
            }
            Some(_) => Err(self.wrong(key, "an object")),
        }
    }

    pub fn str(&self, key: &str) -> Result<Option<&str>, ConvertError> {
        self.get(key).map(|v| v.as_str().ok_or_else(|| self.wrong(key, "a text"))).transpose()
    }

    pub fn bool(&self, key: &str) -> Result<Option<bool>, ConvertError> {
        self.get(key).map(|v| v.as_bool().ok_or_else(|| self.wrong(key, "true or false"))).transpose()
    }

    /// A whole number in `1..=max`.
    pub fn size(&self, key: &str, max: u32) -> Result<Option<u32>, ConvertError> {
        let valid = |v: &Value| v.as_u64().filter(|n| (1..=u64::from(max)).contains(n)).map(|n| n as u32);
        let wanted = || format!("a whole number between 1 and {max}");
        self.get(key).map(|v| valid(v).ok_or_else(|| self.wrong(key, wanted()))).transpose()
    }

    pub fn require_size(&self, key: &str, max: u32) -> Result<u32, ConvertError> {
        self.size(key, max)?.ok_or_else(|| self.wrong(key, format!("a whole number between 1 and {max}")))
    }

    /// A finite number above zero.
    pub fn positive(&self, key: &str) -> Result<Option<f32>, ConvertError> {
        let valid = |v: &Value| v.as_f64().map(|x| x as f32).filter(|x| x.is_finite() && *x > 0.0);
        self.get(key).map(|v| valid(v).ok_or_else(|| self.wrong(key, "a number above zero"))).transpose()
    }

    /// A list of whole numbers below 2^31.
    pub fn sizes(&self, key: &str) -> Result<Option<Vec<u32>>, ConvertError> {
        let one = |v: &Value| v.as_u64().filter(|&n| n < 1 << 31).map(|n| n as u32);
        let valid = |v: &Value| v.as_array()?.iter().map(one).collect::<Option<Vec<_>>>();
        self.get(key).map(|v| valid(v).ok_or_else(|| self.wrong(key, "a list of whole numbers"))).transpose()
    }

    /// Three finite numbers.
    pub fn require_triple(&self, key: &str) -> Result<[f32; 3], ConvertError> {
        let one = |v: &Value| v.as_f64().map(|x| x as f32).filter(|x| x.is_finite());
        let valid = |v: &Value| v.as_array()?.iter().map(one).collect::<Option<Vec<_>>>()?.try_into().ok();
        self.get(key).and_then(valid).ok_or_else(|| self.wrong(key, "three numbers"))
    }

    /// `key` must be one of these, where it is given.
    pub fn only(&self, key: &str, allowed: &[Value], why: &str) -> Result<(), ConvertError> {
        match self.get(key) {
            Some(found) if !allowed.contains(found) => {
                let list: Vec<String> = allowed.iter().map(shown).collect();
                Err(self.wrong(key, format!("{}{why}", list.join(" or "))))
            }
            _ => Ok(()),
        }
    }
}

/// A value in a message: short, on one line.
pub(super) fn shown(value: &Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
