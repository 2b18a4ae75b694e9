//! How long an answer is at least: the engine compiles what nobody could wait for.

use serde_json::{Map, Value};

/// The bytes of the shortest text that matches, where that is known.
pub fn of_pattern(pattern: &str) -> Option<usize> {
    regex_syntax::parse(pattern).ok()?.properties().minimum_len()
}

/// The least bytes of a value, as far as can be told without following references.
pub fn of_value(schema: &Value) -> u64 {
    let Value::Object(schema) = schema else { return 1 };
    let list = |key: &str| schema.get(key).and_then(Value::as_array).into_iter().flatten().map(of_value);
    let ways = ["anyOf", "oneOf"].into_iter().filter_map(|key| list(key).min()).max().unwrap_or(1);
    let own = match schema.get("type").and_then(Value::as_str) {
        Some("string") => number(schema, "minLength").saturating_add(2),
        Some("array") => array(schema),
        Some("object") => object(schema),
        _ => 1,
    };
    own.max(ways).max(list("allOf").max().unwrap_or(1))
}

fn array(schema: &Map<String, Value>) -> u64 {
    let least = number(schema, "minItems");
    let first = schema.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let each = schema.get("items").map_or(1, of_value);
    let first = first.iter().take(least as usize);
    let rest = (least - first.len() as u64).saturating_mul(each);
    first.map(of_value).fold(rest, u64::saturating_add).saturating_add(2)
}

fn object(schema: &Map<String, Value>) -> u64 {
    let names = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let value = |name: &str| schema.get("properties").and_then(|named| named.get(name)).map_or(1, of_value);
    names.map(|name| value(name).saturating_add(name.len() as u64 + 4)).fold(2, u64::saturating_add)
}

fn number(schema: &Map<String, Value>, key: &str) -> u64 {
    schema.get(key).and_then(Value::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_shorter_fits() {
        let cases = [
            (json!(true), 1),
            (json!({"type": "string", "minLength": 5}), "\"abcde\"".len()),
            (json!({"type": "array", "items": {"type": "string"}, "minItems": 3}), "[\"\",\"\",\"\"]".len() - 2),
            (json!({"type": "array", "prefixItems": [{"type": "string"}, true], "minItems": 1}), "[\"\"]".len()),
            (
                json!({"type": "object", "properties": {"ab": {"type": "array"}}, "required": ["ab"]}),
                "{\"ab\":[]}".len() + 1,
            ),
            (json!({"anyOf": [{"type": "string", "minLength": 9}, {"type": "null"}]}), 1),
            (json!({"allOf": [{"type": "string", "minLength": 9}, {"type": "string"}]}), 11),
        ];
        for (schema, least) in cases {
            assert_eq!(of_value(&schema), least as u64, "{schema}");
        }
        assert_eq!(of_pattern("(ab){4}c*|x{5}"), Some(5));
        assert_eq!(of_pattern("((((a{1000}){1000}){1000}){1000}){1000}"), Some(1_000_000_000_000_000));
        assert_eq!(of_pattern("("), None);
    }
}
