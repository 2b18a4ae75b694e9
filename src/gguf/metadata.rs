//! The key-value part of a GGUF file (GGUF specification, "gguf_metadata_kv_t").

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::GgufError;
use super::header::{Reader, shown};
use super::limits::{MAX_KEY_BYTES, MAX_KEYS, MAX_NESTING};
use super::map::{SharedBytes, Storage};

/// A metadata value.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// An array value. Large ones stay in the file's bytes.
#[derive(Clone, Debug)]
pub enum Array {
    /// Numbers or booleans.
    Scalars(ScalarArray),
    /// Strings.
    Strings(StringArray),
    /// Arrays.
    Arrays(Vec<Array>),
}

/// Numbers of one type, as they stand in the file.
#[derive(Clone, Debug)]
pub struct ScalarArray {
    kind: Kind,
    data: SharedBytes,
}

/// Strings, as they stand in the file; checked to be UTF-8.
#[derive(Clone, Debug)]
pub struct StringArray {
    data: SharedBytes,
    /// Where each string's bytes start in `data`, and one end more.
    starts: Vec<u32>,
}

/// The types of the format, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl Kind {
    fn read(r: &mut Reader<'_>, key: &str) -> Result<Kind, GgufError> {
        use Kind::*;
        const ALL: [Kind; 13] = [U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64];
        let n = r.u32("a metadata type")?;
        ALL.get(n as usize)
            .copied()
            .ok_or_else(|| r.wrong(format!("damaged: metadata `{key}` has type number {n} (0 to 12 are defined)")))
    }

    /// The number in the file.
    fn number_in_file(self) -> u32 {
        self as u32
    }

    /// Bytes of a number; `None` for strings and arrays.
    fn size(self) -> Option<u64> {
        use Kind::*;
        match self {
            U8 | I8 | Bool => Some(1),
            U16 | I16 => Some(2),
            U32 | I32 | F32 => Some(4),
            U64 | I64 | F64 => Some(8),
            String | Array => None,
        }
    }

    /// A number from exactly its bytes.
    fn number(self, b: &[u8]) -> Value {
        fn le<const N: usize>(b: &[u8]) -> [u8; N] {
            let mut out = [0; N];
            out.copy_from_slice(b);
            out
        }
        match self {
            Kind::U8 => Value::U8(b[0]),
            Kind::I8 => Value::I8(b[0] as i8),
            Kind::Bool => Value::Bool(b[0] != 0),
            Kind::U16 => Value::U16(u16::from_le_bytes(le(b))),
            Kind::I16 => Value::I16(i16::from_le_bytes(le(b))),
            Kind::U32 => Value::U32(u32::from_le_bytes(le(b))),
            Kind::I32 => Value::I32(i32::from_le_bytes(le(b))),
            Kind::F32 => Value::F32(f32::from_le_bytes(le(b))),
            Kind::U64 => Value::U64(u64::from_le_bytes(le(b))),
            Kind::I64 => Value::I64(i64::from_le_bytes(le(b))),
            Kind::F64 => Value::F64(f64::from_le_bytes(le(b))),
            Kind::String | Kind::Array => unreachable!("callers ask for numbers only"),
        }
    }
}

impl Value {
    fn read(r: &mut Reader<'_>, key: &str) -> Result<Value, GgufError> {
        let kind = Kind::read(r, key)?;
        let what = format!("metadata `{key}`");
        match kind {
            Kind::String => Ok(Value::String(r.string(u64::MAX, &what)?.to_string())),
            Kind::Array => Ok(Value::Array(Array::read(r, key, 1)?)),
            number => {
                let n = number.size().unwrap_or(0);
                let bytes = r.take(n, &what)?;
                if number == Kind::Bool && bytes[0] > 1 {
                    return Err(r.wrong(format!("damaged: {what} is a truth value of {} (0 or 1)", bytes[0])));
                }
                Ok(number.number(bytes))
            }
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Value::U8(_) => Kind::U8,
            Value::I8(_) => Kind::I8,
            Value::U16(_) => Kind::U16,
            Value::I16(_) => Kind::I16,
            Value::U32(_) => Kind::U32,
            Value::I32(_) => Kind::I32,
            Value::F32(_) => Kind::F32,
            Value::Bool(_) => Kind::Bool,
            Value::String(_) => Kind::String,
            Value::Array(_) => Kind::Array,
            Value::U64(_) => Kind::U64,
            Value::I64(_) => Kind::I64,
            Value::F64(_) => Kind::F64,
        }
    }

    /// Appends the value as it stands in a file: its type, then its bytes.
    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        out.extend(self.kind().number_in_file().to_le_bytes());
        match self {
            Value::U8(x) => out.push(*x),
            Value::I8(x) => out.extend(x.to_le_bytes()),
            Value::Bool(x) => out.push(u8::from(*x)),
            Value::U16(x) => out.extend(x.to_le_bytes()),
            Value::I16(x) => out.extend(x.to_le_bytes()),
            Value::U32(x) => out.extend(x.to_le_bytes()),
            Value::I32(x) => out.extend(x.to_le_bytes()),
            Value::F32(x) => out.extend(x.to_le_bytes()),
            Value::U64(x) => out.extend(x.to_le_bytes()),
            Value::I64(x) => out.extend(x.to_le_bytes()),
            Value::F64(x) => out.extend(x.to_le_bytes()),
            Value::String(s) => append_string(s, out),
            Value::Array(a) => a.append_to(out),
        }
    }

    /// The type in words, for messages.
    fn describe(&self) -> String {
        match self {
            Value::String(s) => format!("the text `{}`", s.chars().take(40).collect::<String>().escape_debug()),
            Value::Array(a) => format!("an array of {}", a.len()),
            Value::Bool(b) => format!("the truth value {b}"),
            Value::F32(x) => format!("{x}"),
            Value::F64(x) => format!("{x}"),
            other => other.integer().map_or_else(String::new, |i| i.to_string()),
        }
    }

    fn integer(&self) -> Option<i128> {
        Some(match *self {
            Value::U8(x) => x.into(),
            Value::I8(x) => x.into(),
            Value::U16(x) => x.into(),
            Value::I16(x) => x.into(),
            Value::U32(x) => x.into(),
            Value::I32(x) => x.into(),
            Value::U64(x) => x.into(),
            Value::I64(x) => x.into(),
            _ => return None,
        })
    }

    fn float(&self) -> Option<f64> {
        match *self {
            Value::F32(x) => Some(x.into()),
            Value::F64(x) => Some(x),
            _ => self.integer().map(|i| i as f64),
        }
    }
}

impl Array {
    fn read(r: &mut Reader<'_>, key: &str, depth: u32) -> Result<Array, GgufError> {
        if depth > MAX_NESTING {
            return Err(r.wrong(format!("metadata `{key}` nests arrays more than {MAX_NESTING} deep")));
        }
        let kind = Kind::read(r, key)?;
        let n = r.u64("an array's length")?;
        let what = format!("metadata `{key}`, an array of {n}");
        if let Some(size) = kind.size() {
            let bytes = n.checked_mul(size).ok_or_else(|| r.wrong(format!("damaged: {what} overflows")))?;
            let start = r.at;
            r.take(bytes, &what)?;
            return Ok(Array::Scalars(ScalarArray { kind, data: r.shared(start) }));
        }
        if kind == Kind::String {
            return Ok(Array::Strings(StringArray::read(r, n, &what)?));
        }
        // Each inner array takes 12 bytes at least, so a count beyond that is a lie; the list grows as they are found.
        let mut inner = Vec::new();
        for _ in 0..n {
            inner.push(Array::read(r, key, depth + 1)?);
        }
        Ok(Array::Arrays(inner))
    }

    fn append_to(&self, out: &mut Vec<u8>) {
        let kind = match self {
            Array::Scalars(s) => s.kind,
            Array::Strings(_) => Kind::String,
            Array::Arrays(_) => Kind::Array,
        };
        out.extend(kind.number_in_file().to_le_bytes());
        out.extend((self.len() as u64).to_le_bytes());
        match self {
            // Both stand here as they stand in a file.
            Array::Scalars(s) => out.extend(s.data.bytes()),
            Array::Strings(s) => out.extend(s.data.bytes()),
            Array::Arrays(inner) => inner.iter().for_each(|a| a.append_to(out)),
        }
    }

    /// Elements.
    pub fn len(&self) -> usize {
        match self {
            Array::Scalars(s) => s.len(),
            Array::Strings(s) => s.len(),
            Array::Arrays(a) => a.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<&[u32]> for Value {
    fn from(numbers: &[u32]) -> Value {
        scalars(Kind::U32, numbers.iter().flat_map(|x| x.to_le_bytes()).collect())
    }
}

impl From<&[i32]> for Value {
    fn from(numbers: &[i32]) -> Value {
        scalars(Kind::I32, numbers.iter().flat_map(|x| x.to_le_bytes()).collect())
    }
}

impl From<&[f32]> for Value {
    fn from(numbers: &[f32]) -> Value {
        scalars(Kind::F32, numbers.iter().flat_map(|x| x.to_le_bytes()).collect())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::String(text.to_owned())
    }
}

/// An array of numbers that isn't from a file.
fn scalars(kind: Kind, bytes: Vec<u8>) -> Value {
    Value::Array(Array::Scalars(ScalarArray { kind, data: SharedBytes::owned(bytes) }))
}

/// Length, then bytes.
pub(super) fn append_string(s: &str, out: &mut Vec<u8>) {
    out.extend((s.len() as u64).to_le_bytes());
    out.extend(s.as_bytes());
}

impl ScalarArray {
    /// Elements.
    pub fn len(&self) -> usize {
        self.data.bytes().len() / self.width()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn width(&self) -> usize {
        self.kind.size().unwrap_or(1) as usize
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Value> + '_ {
        self.data.bytes().chunks_exact(self.width()).map(|b| self.kind.number(b))
    }
}

impl StringArray {
    /// An array that isn't from a file.
    ///
    /// # Errors
    /// The texts are larger than 4 GiB together.
    pub fn from_texts<S: AsRef<str>>(texts: &[S]) -> Result<StringArray, GgufError> {
        let mut bytes = Vec::new();
        texts.iter().for_each(|s| append_string(s.as_ref(), &mut bytes));
        let storage = Storage::Owned(Arc::new(bytes));
        let mut r = Reader { file: "texts", storage: &storage, at: 0, version: 3 };
        StringArray::read(&mut r, texts.len() as u64, "an array of texts")
    }

    fn read(r: &mut Reader<'_>, n: u64, what: &str) -> Result<StringArray, GgufError> {
        let left = (r.storage.bytes().len() - r.at) as u64;
        // A string takes 8 bytes at least: the list of starts can't be made larger than the file allows.
        if n > left / 8 {
            return Err(r.wrong(format!("damaged: {what}, but only {left} bytes are left in the file")));
        }
        let start = r.at;
        let mut starts = Vec::with_capacity(n as usize + 1);
        for i in 0..n {
            let len = r.u64(what)?;
            let at = r.at - start;
            let bytes = r.take(len, what)?;
            if std::str::from_utf8(bytes).is_err() {
                return Err(r.wrong(format!("damaged: {what}: element {i} is not UTF-8")));
            }
            starts.push(u32::try_from(at).map_err(|_| r.wrong(format!("{what} is larger than 4 GiB")))?);
        }
        // As if one more string followed: its bytes would start 8 later.
        let end = u32::try_from(r.at - start + 8).map_err(|_| r.wrong(format!("{what} is larger than 4 GiB")))?;
        starts.push(end);
        Ok(StringArray { data: r.shared(start), starts })
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element `i`.
    ///
    /// # Panics
    /// `i` is not below [`StringArray::len`].
    pub fn get(&self, i: usize) -> &str {
        let bytes = &self.data.bytes()[self.starts[i] as usize..self.starts[i + 1] as usize - 8];
        // Checked when the file was read; a file changed since then gives empty text, not undefined behaviour.
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The elements in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + '_ {
        (0..self.len()).map(|i| self.get(i))
    }
}

/// A file's metadata, in the file's order.
#[derive(Clone, Debug)]
pub struct Metadata {
    file: String,
    entries: Vec<(String, Value)>,
    index: HashMap<String, usize>,
}

impl Metadata {
    pub(super) fn read(r: &mut Reader<'_>, n_keys: u64) -> Result<Metadata, GgufError> {
        if n_keys > MAX_KEYS {
            return Err(r.wrong(format!("damaged: {n_keys} metadata entries (at most {MAX_KEYS})")));
        }
        let mut meta = Metadata { file: r.file.to_string(), entries: Vec::new(), index: HashMap::new() };
        for _ in 0..n_keys {
            let key = r.string(MAX_KEY_BYTES, "a metadata key")?.to_string();
            let value = Value::read(r, &shown(&key))?;
            if meta.index.insert(key.clone(), meta.entries.len()).is_some() {
                return Err(r.wrong(format!("damaged: metadata `{}` occurs twice", shown(&key))));
            }
            meta.entries.push((key, value));
        }
        Ok(meta)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.index.get(key).map(|&i| &self.entries[i].1)
    }

    /// All entries in the file's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(k, v)| (k.as_str(), v))
    }

    fn wrong(&self, key: &str, found: &Value, wanted: &'static str) -> GgufError {
        GgufError::WrongType { file: self.file.clone(), key: key.to_string(), found: found.describe(), wanted }
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        wanted: &'static str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        convert(value).map(Some).ok_or_else(|| self.wrong(key, value, wanted))
    }

    fn require<T>(&self, key: &str, value: Result<Option<T>, GgufError>) -> Result<T, GgufError> {
        value?.ok_or_else(|| GgufError::MissingKey { file: self.file.clone(), key: key.to_string() })
    }

    /// An integer of any width that fits. # Errors: another type, or out of range.
    pub fn u32(&self, key: &str) -> Result<Option<u32>, GgufError> {
        self.typed(key, "an unsigned 32-bit integer", |v| v.integer()?.try_into().ok())
    }

    /// As [`Metadata::u32`], for 64 bits.
    pub fn u64(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.typed(key, "an unsigned 64-bit integer", |v| v.integer()?.try_into().ok())
    }

    /// A number of any type. # Errors: not a number.
    pub fn f32(&self, key: &str) -> Result<Option<f32>, GgufError> {
        self.typed(key, "a number", |v| v.float().map(|x| x as f32))
    }

    /// A truth value. # Errors: another type.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.typed(key, "a truth value", |v| if let Value::Bool(b) = v { Some(*b) } else { None })
    }

    /// A text. # Errors: another type.
    pub fn str(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.typed(key, "a text", |v| if let Value::String(s) = v { Some(s.as_str()) } else { None })
    }

    /// An array of texts. # Errors: another type.
    pub fn strings(&self, key: &str) -> Result<Option<&StringArray>, GgufError> {
        self.typed(key, "an array of texts", |v| if let Value::Array(Array::Strings(s)) = v { Some(s) } else { None })
    }

    /// An array of integers that fit. # Errors: another type, or out of range.
    pub fn u32s(&self, key: &str) -> Result<Option<Vec<u32>>, GgufError> {
        self.numbers(key, "an array of unsigned 32-bit integers", |v| v.integer()?.try_into().ok())
    }

    /// An array of integers that fit. # Errors: another type, or out of range.
    pub fn i32s(&self, key: &str) -> Result<Option<Vec<i32>>, GgufError> {
        self.numbers(key, "an array of 32-bit integers", |v| v.integer()?.try_into().ok())
    }

    /// An array of numbers. # Errors: another type.
    pub fn f32s(&self, key: &str) -> Result<Option<Vec<f32>>, GgufError> {
        self.numbers(key, "an array of numbers", |v| v.float().map(|x| x as f32))
    }

    fn numbers<T>(
        &self,
        key: &str,
        wanted: &'static str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>, GgufError> {
        self.typed(key, wanted, |v| match v {
            Value::Array(Array::Scalars(s)) => s.iter().map(|x| convert(&x)).collect(),
            _ => None,
        })
    }

    /// [`Metadata::u32`], required.
    pub fn require_u32(&self, key: &str) -> Result<u32, GgufError> {
        self.require(key, self.u32(key))
    }

    /// [`Metadata::u64`], required.
    pub fn require_u64(&self, key: &str) -> Result<u64, GgufError> {
        self.require(key, self.u64(key))
    }

    /// [`Metadata::f32`], required.
    pub fn require_f32(&self, key: &str) -> Result<f32, GgufError> {
        self.require(key, self.f32(key))
    }

    /// [`Metadata::str`], required.
    pub fn require_str(&self, key: &str) -> Result<&str, GgufError> {
        self.require(key, self.str(key))
    }

    /// [`Metadata::strings`], required.
    pub fn require_strings(&self, key: &str) -> Result<&StringArray, GgufError> {
        self.require(key, self.strings(key))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}
