//! JSON as Python's `json.dumps(value, ensure_ascii=False)` writes it: chat templates were made, and models trained, with
//! its spaces and numbers. No characters are escaped for HTML.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

/// Deeper values are refused; a template can build them without end.
const MAX_DEPTH: usize = 64;
const MAX_INDENT: usize = 16;

/// Writes `value` on one line (`", "` and `": "`), or, with `indent`, one item to a line.
///
/// # Errors
/// Values that JSON lacks, nesting beyond 64, an indent beyond 16, and the template's budget of work used up.
pub(super) fn dumps(value: &Value, indent: Option<usize>, state: &State<'_, '_>) -> Result<String, Error> {
    if indent.is_some_and(|n| n > MAX_INDENT) {
        return Err(invalid(format!("tojson indents by up to {MAX_INDENT}")));
    }
    let mut writer = Writer { out: String::new(), indent, state };
    writer.value(value, 0)?;
    Ok(writer.out)
}

struct Writer<'a> {
    out: String,
    indent: Option<usize>,
    state: &'a State<'a, 'a>,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(invalid(format!("tojson writes up to {MAX_DEPTH} levels")));
        }
        self.state.consume_fuel(1)?;
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number if value.is_integer() => self.out.push_str(&value.to_string()),
            ValueKind::Number => self.out.push_str(&float(f64::try_from(value.clone())?)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default())?,
            ValueKind::Seq | ValueKind::Iterable => {
                self.block(('[', ']'), depth, value, |this, item| this.value(&item, depth + 1))?;
            }
            ValueKind::Map => self.block(('{', '}'), depth, value, |this, key| {
                match key.as_str() {
                    Some(text) => this.string(text)?,
                    None => this.string(&key.to_string())?,
                }
                this.out.push_str(": ");
                this.value(&value.get_item(&key)?, depth + 1)
            })?,
            other => return Err(invalid(format!("tojson can't write a value of type {other}"))),
        }
        Ok(())
    }

    /// Brackets with the items (of a map: the keys) of `value` between.
    fn block(
        &mut self,
        (open, close): (char, char),
        depth: usize,
        value: &Value,
        mut item: impl FnMut(&mut Self, Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.out.push(open);
        let mut empty = true;
        for v in value.try_iter()? {
            if !empty {
                self.out.push_str(if self.indent.is_some() { "," } else { ", " });
            }
            empty = false;
            self.line(depth + 1);
            item(self, v)?;
        }
        if !empty {
            self.line(depth);
        }
        self.out.push(close);
        Ok(())
    }

    fn line(&mut self, depth: usize) {
        if let Some(n) = self.indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', n * depth));
        }
    }

    fn string(&mut self, text: &str) -> Result<(), Error> {
        self.state.consume_fuel(text.len() as u64 / 64)?;
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{C}' => self.out.push_str("\\f"),
                '\0'..='\u{1F}' => self.out.push_str(&format!("\\u{:04x}", c as u32)),
                _ => self.out.push(c),
            }
        }
        self.out.push('"');
        Ok(())
    }
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// Python's `repr`: the shortest digits that read back, with an exponent (of two digits at least) from 1e16 on and below
/// 1e-4.
fn float(x: f64) -> String {
    if !x.is_finite() {
        return if x.is_nan() {
            "NaN"
        } else if x > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .to_owned();
    }
    if x == 0.0 || (1e-4..1e16).contains(&x.abs()) {
        let text = x.to_string();
        return if text.contains('.') { text } else { text + ".0" };
    }
    let text = format!("{x:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
    format!("{digits}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::Environment;
    use serde_json::json;

    fn write(value: serde_json::Value, indent: Option<usize>) -> String {
        dumps(&Value::from(minijinja::value::Serde(value)), indent, &Environment::new().empty_state()).unwrap()
    }

    #[test]
    fn writes_what_python_writes() {
        let value = json!({
            "b": [1, -2.0, 1e20, 1.5e-7, 0.1, 1e16, 123456789012345.6, true, null, u64::MAX],
            "a": {}, "ü<&'": "\"\\\n\r\t\u{8}\u{c}\u{1f}\u{7f}é\u{2028}</x>", "e": [],
        });
        let numbers = "[1, -2.0, 1e+20, 1.5e-07, 0.1, 1e+16, 123456789012345.6, true, null, 18446744073709551615]";
        let text = r#""\"\\\n\r\t\b\f\u001f"#.to_owned() + "\u{7f}é\u{2028}</x>\"";
        assert_eq!(write(value, None), format!(r#"{{"b": {numbers}, "a": {{}}, "ü<&'": {text}, "e": []}}"#));
        let value = json!({"a": [1, {"b": 2}], "c": {}});
        assert_eq!(write(value, Some(2)), "{\n  \"a\": [\n    1,\n    {\n      \"b\": 2\n    }\n  ],\n  \"c\": {}\n}");
        assert_eq!(float(-0.0), "-0.0");
        assert_eq!(float(5e-324), "5e-324");
        assert_eq!(float(f64::NEG_INFINITY), "-Infinity");
    }
}
