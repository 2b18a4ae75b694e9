//! `qlens inspect`: what a GGUF file holds.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::exit::CliError;
use super::memory::human_bytes;
use super::screen::{one_line, write_json};
use crate::gguf::{Array, Gguf, Tensor, Value};

/// Characters of a text that are shown, and elements of an array.
const SHOWN_CHARS: usize = 64;
const SHOWN_ELEMENTS: usize = 6;

/// Writes what the file (of a split model: all its parts) holds, as text or as one line of JSON.
///
/// # Errors
/// The file can't be read or is wrong; or `out` can't be written to.
pub fn run(path: &Path, json: bool, out: &mut dyn Write) -> Result<(), CliError> {
    let gguf = Gguf::open(path)?;
    let written = if json { as_json(&gguf, out) } else { as_text(&gguf, out) };
    written.map_err(CliError::Stdout)
}

fn as_text(gguf: &Gguf, out: &mut dyn Write) -> io::Result<()> {
    let metadata = gguf.metadata();
    let what = |key| metadata.str(key).ok().flatten().map(|s| format!(", {}", shortened(s))).unwrap_or_default();
    writeln!(out, "{}{}{}", one_line(gguf.name()), what("general.architecture"), what("general.name"))?;
    let size = human_bytes(gguf.mapped_bytes());
    writeln!(out, "GGUF version {}, {size}, {} weights", gguf.version(), grouped(weights(gguf.tensors())))?;

    let width = metadata.iter().map(|(key, _)| key.chars().count()).max().unwrap_or(0).min(48);
    writeln!(out, "\n{} metadata entries", metadata.iter().len())?;
    for (key, value) in metadata.iter() {
        writeln!(out, "  {:width$}  {}", one_line(key), in_words(value))?;
    }

    let width = gguf.tensors().map(|t| t.name().chars().count()).max().unwrap_or(0).min(48);
    writeln!(out, "\n{} tensors (the length of a row first)", gguf.tensors().len())?;
    for t in gguf.tensors() {
        let dims: Vec<String> = t.dims().iter().map(usize::to_string).collect();
        let (shape, size) = (dims.join(" × "), human_bytes(t.bytes().len() as u64));
        writeln!(out, "  {:width$}  {:6} {size:>9}  {shape}", one_line(t.name()), t.ty().name())?;
    }

    writeln!(out, "\nby type")?;
    for (name, (count, bytes)) in by_type(gguf) {
        writeln!(out, "  {name:6} {:>9} in {count} tensors", human_bytes(bytes))?;
    }
    Ok(())
}

fn weights<'a>(tensors: impl Iterator<Item = &'a Tensor>) -> u64 {
    tensors.map(|t| t.dims().iter().fold(1u64, |n, &d| n.saturating_mul(d as u64))).fold(0, u64::saturating_add)
}

/// Tensors and bytes of each type.
fn by_type(gguf: &Gguf) -> BTreeMap<String, (usize, u64)> {
    let mut types = BTreeMap::new();
    for t in gguf.tensors() {
        let (count, bytes) = types.entry(t.ty().name()).or_insert((0, 0));
        *count += 1;
        *bytes += t.bytes().len() as u64;
    }
    types
}

/// 1234567 as `1,234,567`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn shortened(text: &str) -> String {
    let end = text.char_indices().nth(SHOWN_CHARS).map_or(text.len(), |(i, _)| i);
    let dots = if end < text.len() { format!("… ({} characters)", text.chars().count()) } else { String::new() };
    format!("{}{dots}", one_line(&text[..end]))
}

fn in_words(value: &Value) -> String {
    match value {
        Value::String(s) => shortened(s),
        Value::Array(array) => {
            let shown: Vec<String> = match array {
                Array::Strings(s) => s.iter().take(SHOWN_ELEMENTS).map(|s| format!("\"{}\"", shortened(s))).collect(),
                Array::Scalars(s) => s.iter().take(SHOWN_ELEMENTS).map(|v| in_words(&v)).collect(),
                Array::Arrays(a) => a.iter().take(SHOWN_ELEMENTS).map(|a| format!("[{} elements]", a.len())).collect(),
            };
            let more =
                if array.len() > shown.len() { format!(", … ({} elements)", array.len()) } else { String::new() };
            format!("[{}{more}]", shown.join(", "))
        }
        Value::Bool(b) => b.to_string(),
        Value::F32(x) => x.to_string(),
        Value::F64(x) => x.to_string(),
        Value::U8(n) => n.to_string(),
        Value::I8(n) => n.to_string(),
        Value::U16(n) => n.to_string(),
        Value::I16(n) => n.to_string(),
        Value::U32(n) => n.to_string(),
        Value::I32(n) => n.to_string(),
        Value::U64(n) => n.to_string(),
        Value::I64(n) => n.to_string(),
    }
}

/// The JSON; docs/json.md is its description, and a promise.
fn as_json(gguf: &Gguf, out: &mut dyn Write) -> io::Result<()> {
    #[derive(serde::Serialize)]
    struct File<'a> {
        file: &'a str,
        version: u32,
        bytes: u64,
        weights: u64,
        metadata: Metadata<'a>,
        tensors: Vec<Row<'a>>,
    }
    #[derive(serde::Serialize)]
    struct Row<'a> {
        name: &'a str,
        r#type: String,
        shape: &'a [usize],
        bytes: usize,
    }
    let row = |t| {
        let t: &Tensor = t;
        Row { name: t.name(), r#type: t.ty().name(), shape: t.dims(), bytes: t.bytes().len() }
    };
    let file = File {
        file: gguf.name(),
        version: gguf.version(),
        bytes: gguf.mapped_bytes(),
        weights: weights(gguf.tensors()),
        metadata: Metadata(gguf.metadata()),
        tensors: gguf.tensors().map(row).collect(),
    };
    write_json(&file, &mut *out)?;
    writeln!(out)
}

/// The metadata as a JSON object in the file's order, arrays whole.
struct Metadata<'a>(&'a crate::gguf::Metadata);

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.iter().len()))?;
        for (key, value) in self.0.iter() {
            map.serialize_entry(key, &Plain(value))?;
        }
        map.end()
    }
}

struct Plain<'a>(&'a Value);

impl Serialize for Plain<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::U8(n) => serializer.serialize_u8(*n),
            Value::I8(n) => serializer.serialize_i8(*n),
            Value::U16(n) => serializer.serialize_u16(*n),
            Value::I16(n) => serializer.serialize_i16(*n),
            Value::U32(n) => serializer.serialize_u32(*n),
            Value::I32(n) => serializer.serialize_i32(*n),
            Value::U64(n) => serializer.serialize_u64(*n),
            Value::I64(n) => serializer.serialize_i64(*n),
            // JSON has no infinities and no NaN: serde_json writes null.
            Value::F32(x) => serializer.serialize_f32(*x),
            Value::F64(x) => serializer.serialize_f64(*x),
            Value::Bool(b) => serializer.serialize_bool(*b),
            Value::String(s) => serializer.serialize_str(s),
            Value::Array(array) => PlainArray(array).serialize(serializer),
        }
    }
}

struct PlainArray<'a>(&'a Array);

impl Serialize for PlainArray<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Array::Strings(s) => serializer.collect_seq(s.iter()),
            Array::Arrays(a) => serializer.collect_seq(a.iter().map(PlainArray)),
            Array::Scalars(s) => serializer.collect_seq(s.iter().map(Number)),
        }
    }
}

struct Number(Value);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Plain(&self.0).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped() {
        let shown = [0, 999, 1000, 123_456, 7_654_321].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "123,456", "7,654,321"]);
    }

    #[test]
    fn long_texts_are_cut_and_controls_shown() {
        assert_eq!(shortened("a\u{1b}[2Jb"), "a\\u{1b}[2Jb");
        let long = shortened(&"ä".repeat(100));
        assert!(long.starts_with(&"ä".repeat(64)) && long.ends_with("… (100 characters)"), "{long}");
    }
}
