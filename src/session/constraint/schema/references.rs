//! `$ref`: to places in the same schema, however they are written.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

use super::problem::{Place, SchemaError, SchemaProblem};
use crate::text::Quoted;

/// The places that are referred to, each under a name of its own.
pub(super) struct References<'a> {
    root: &'a Value,
    /// By place, and whether the value there is all that is said.
    names: HashMap<(String, bool), usize>,
    /// (place, alone), in the order of their names.
    known: Vec<(String, bool)>,
    /// How many have been handed out.
    done: usize,
}

impl<'a> References<'a> {
    pub fn new(root: &'a Value) -> References<'a> {
        References { root, names: HashMap::new(), known: Vec::new(), done: 0 }
    }

    /// What a reference becomes.
    pub fn resolve(&mut self, value: &Value, at: &Place, alone: bool) -> Result<String, SchemaError> {
        let wrong = || at.error(SchemaProblem::Reference { found: Quoted::new(&value.to_string()) });
        let text = value.as_str().ok_or_else(wrong)?;
        let own = self.root.get("$id").or_else(|| self.root.get("id")).and_then(Value::as_str).unwrap_or_default();
        let own = own.trim_end_matches('#');
        let text = text.strip_prefix(own).filter(|rest| rest.starts_with('#') || rest.is_empty()).unwrap_or(text);
        let inside = text.strip_prefix('#').or_else(|| text.is_empty().then_some("")).ok_or_else(wrong)?;
        let inside = percent_decoded(inside).ok_or_else(wrong)?;
        let pointer = if inside.is_empty() || inside.starts_with('/') {
            inside.trim_end_matches('/').to_owned()
        } else {
            anchor(self.root, &inside, "").ok_or_else(wrong)?
        };
        self.root.pointer(&pointer).ok_or_else(wrong)?;
        let key = (pointer, alone);
        let index = match self.names.get(&key) {
            Some(&index) => index,
            None => {
                self.names.insert(key.clone(), self.known.len());
                self.known.push(key);
                self.known.len() - 1
            }
        };
        Ok(format!("#/$defs/d{index}"))
    }

    /// The next place that has to be made ready: its name, where it is, what is there, whether it is all that is said.
    pub fn next(&mut self) -> Option<(String, String, &'a Value, bool)> {
        let (pointer, alone) = self.known.get(self.done)?.clone();
        let target = self.root.pointer(&pointer)?;
        let name = format!("d{}", self.done);
        self.done += 1;
        Some((name, pointer, target, alone))
    }

    /// The place that has this name.
    pub fn pointer(&self, name: &str) -> Option<&str> {
        let index: usize = name.strip_prefix('d')?.parse().ok()?;
        self.known.get(index).map(|(pointer, _)| pointer.as_str())
    }
}

/// The place of the schema with this `$anchor` (or the older `$id` of the form `#name`).
fn anchor(value: &Value, name: &str, at: &str) -> Option<String> {
    match value {
        Value::Object(map) => {
            let old = format!("#{name}");
            let is = |key: &str, text: &str| map.get(key).is_some_and(|v| v == text);
            if is("$anchor", name) || is("$id", &old) || is("id", &old) {
                return Some(at.to_owned());
            }
            map.iter()
                .find_map(|(key, v)| anchor(v, name, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"))))
        }
        Value::Array(list) => list.iter().enumerate().find_map(|(i, v)| anchor(v, name, &format!("{at}/{i}"))),
        _ => None,
    }
}

fn percent_decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}
