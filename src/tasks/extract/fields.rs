//! `total:number,date:date`: a few fields, in place of a whole JSON schema.

use serde_json::{Map, Value, json};

use crate::text::Quoted;

/// Fields at most.
const MAX_FIELDS: usize = 200;
const TYPES: &str = "text, number, integer, boolean, date, time, datetime, email, url, or choices such as paid|open";

/// Fields that can't be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum FieldsError {
    #[error("no field is named")]
    None,
    #[error("{found} fields are named (at most {MAX_FIELDS})")]
    TooMany { found: usize },
    #[error("a field has no name, before {rest}")]
    NoName { rest: Quoted },
    #[error("the field {name} is named twice")]
    Twice { name: Quoted },
    #[error("the field {name} is of type {found} (can be: {TYPES}; with [] behind it a list, with ? perhaps null)")]
    Type { name: Quoted, found: Quoted },
}

/// The JSON schema of an object with these fields, all of them required.
///
/// A field is `name`, `name:type`, `name:type[]` for a list, `name:type?` where it may be null. Without a type it is text.
///
/// # Errors
/// [`FieldsError`].
pub fn fields(typed: &str) -> Result<Value, FieldsError> {
    let list: Vec<&str> = typed.split(',').map(str::trim).filter(|field| !field.is_empty()).collect();
    match list.len() {
        0 => return Err(FieldsError::None),
        found if found > MAX_FIELDS => return Err(FieldsError::TooMany { found }),
        _ => {}
    }
    let mut properties = Map::new();
    for field in list {
        let (name, kind) = field.split_once(':').unwrap_or((field, "text"));
        let (name, kind) = (name.trim(), kind.trim());
        if name.is_empty() {
            return Err(FieldsError::NoName { rest: Quoted::new(field) });
        }
        let schema =
            schema(kind).ok_or_else(|| FieldsError::Type { name: Quoted::new(name), found: Quoted::new(kind) })?;
        if properties.insert(name.to_owned(), schema).is_some() {
            return Err(FieldsError::Twice { name: Quoted::new(name) });
        }
    }
    let required: Vec<&String> = properties.keys().collect();
    Ok(json!({"type": "object", "required": required, "properties": properties, "additionalProperties": false}))
}

fn schema(kind: &str) -> Option<Value> {
    if let Some(kind) = kind.strip_suffix('?') {
        let some = schema(kind.trim_end())?;
        return Some(json!({"anyOf": [some, {"type": "null"}]}));
    }
    if let Some(kind) = kind.strip_suffix("[]") {
        let item = schema(kind.trim_end())?;
        return Some(json!({"type": "array", "items": item}));
    }
    let format = |name: &str| Some(json!({"type": "string", "format": name}));
    match kind.to_ascii_lowercase().as_str() {
        "text" | "string" => Some(json!({"type": "string"})),
        "number" => Some(json!({"type": "number"})),
        "integer" | "int" => Some(json!({"type": "integer"})),
        "boolean" | "bool" => Some(json!({"type": "boolean"})),
        "date" => format("date"),
        "time" => Some(json!({"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$"})),
        "datetime" => {
            let day = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])";
            let pattern = format!("^{day}T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$");
            Some(json!({"type": "string", "pattern": pattern}))
        }
        "email" => format("email"),
        "url" => format("uri"),
        _ if kind.contains('|') => {
            let choices: Vec<&str> = kind.split('|').map(str::trim).collect();
            choices.iter().all(|choice| !choice.is_empty()).then(|| json!({"enum": choices}))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Grammar;

    #[test]
    fn fields_become_a_schema_that_answers_can_be_held_to() {
        let typed =
            "total:number, date:date?,who,paid:bool,at:time,when:datetime,lines:text[],kind:Cash|Card,mail:email,u:url";
        let schema = fields(typed).expect("fields");
        let names: Vec<&String> = schema["properties"].as_object().expect("properties").keys().collect();
        assert_eq!(names, ["total", "date", "who", "paid", "at", "when", "lines", "kind", "mail", "u"]);
        assert_eq!(schema["required"].as_array().map(Vec::len), Some(10));
        assert_eq!(schema["properties"]["kind"], json!({"enum": ["Cash", "Card"]}));
        assert_eq!(schema["properties"]["lines"], json!({"type": "array", "items": {"type": "string"}}));
        assert_eq!(schema["properties"]["date"]["anyOf"][1], json!({"type": "null"}));
        Grammar::json(&schema).expect("a grammar");
    }

    #[test]
    fn what_is_no_field_is_refused() {
        let cases = [
            ("", "no field"),
            (" , ", "no field"),
            (":number", "has no name"),
            ("a,a:date", "\"a\" is named twice"),
            ("a:nubmer", "\"nubmer\" (can be: text, number"),
            ("a:x|", "\"x|\""),
            ("a:", "type \"\""),
            ("a\u{1b}:z", "\"a\\u{1b}\""),
        ];
        for (typed, words) in cases {
            let said = fields(typed).expect_err(typed).to_string();
            assert!(said.contains(words), "{typed}: {said}");
        }
        assert!(fields(&"a,".repeat(201)).is_err());
    }
}
