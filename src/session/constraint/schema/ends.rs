//! Whether an answer that fits a schema can end: one that always contains itself can't.

use std::collections::HashSet;

use serde_json::{Map, Value};

/// The names in `definitions` that no finite value fits.
pub(super) fn endless(definitions: &Map<String, Value>) -> Vec<&str> {
    let mut ending: HashSet<&str> = HashSet::new();
    loop {
        let before = ending.len();
        for (name, schema) in definitions {
            if !ending.contains(name.as_str()) && ends(schema, &ending) {
                ending.insert(name);
            }
        }
        if ending.len() == before {
            break;
        }
    }
    definitions.keys().map(String::as_str).filter(|name| !ending.contains(name)).collect()
}

/// Whether a finite value fits, given the definitions of which that is known. Where keywords contradict each other it may
/// say yes; the grammar engine finds those.
pub(super) fn ends(schema: &Value, ending: &HashSet<&str>) -> bool {
    let Value::Object(schema) = schema else { return schema != &Value::Bool(false) };
    let ends = |value: &Value| self::ends(value, ending);
    let list = |key: &str| schema.get(key).and_then(Value::as_array);
    let reference = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/"));
    reference.is_none_or(|name| ending.contains(name))
        && ["anyOf", "oneOf"].iter().all(|key| list(key).is_none_or(|ways| ways.iter().any(ends)))
        && list("allOf").is_none_or(|all| all.iter().all(ends))
        && (object_ends(schema, &ends) || !only(schema, "object"))
        && (array_ends(schema, &ends) || !only(schema, "array"))
}

/// Whether values of one type alone are allowed.
fn only(schema: &Map<String, Value>, name: &str) -> bool {
    schema.get("type").is_some_and(|t| t == name)
}

fn object_ends(schema: &Map<String, Value>, ends: &dyn Fn(&Value) -> bool) -> bool {
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let named = |name: &str| schema.get("properties").and_then(|p| p.get(name));
    required.into_iter().all(|name| named(name).or(schema.get("additionalProperties")).is_none_or(ends))
}

fn array_ends(schema: &Map<String, Value>, ends: &dyn Fn(&Value) -> bool) -> bool {
    let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0) as usize;
    let prefix = schema.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    prefix.iter().take(least).all(ends) && (least <= prefix.len() || schema.get("items").is_none_or(ends))
}
