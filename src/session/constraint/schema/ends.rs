//! Whether an answer that fits a schema can end: one that always contains itself can't.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

/// The names in `definitions` that no finite value fits.
pub(super) fn endless(definitions: &Map<String, Value>) -> Vec<&str> {
    // Those that mention a name are looked at again when it is known to end: all at once, a chain of names in the wrong
    // order would be looked at as often as it is long.
    let mut mentioned_by: HashMap<&str, Vec<&str>> = HashMap::new();
    for (name, schema) in definitions {
        mentions(schema, &mut |other| mentioned_by.entry(other).or_default().push(name));
    }
    let mut ending: HashSet<&str> = HashSet::new();
    let mut open: Vec<&str> = definitions.keys().map(String::as_str).collect();
    while let Some(name) = open.pop() {
        if !ending.contains(name) && definitions.get(name).is_some_and(|schema| ends(schema, &ending)) {
            ending.insert(name);
            open.extend(mentioned_by.get(name).into_iter().flatten());
        }
    }
    definitions.keys().map(String::as_str).filter(|name| !ending.contains(name)).collect()
}

/// Calls `each` with every name that a schema refers to.
fn mentions<'a>(schema: &'a Value, each: &mut impl FnMut(&'a str)) {
    match schema {
        Value::Object(map) => {
            reference(map).into_iter().for_each(&mut *each);
            map.values().for_each(|value| mentions(value, each));
        }
        Value::Array(list) => list.iter().for_each(|value| mentions(value, each)),
        _ => {}
    }
}

/// The name that a schema refers to itself.
fn reference(schema: &Map<String, Value>) -> Option<&str> {
    schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/"))
}

/// Whether a finite value fits, given the definitions of which that is known. Where keywords contradict each other it may
/// say yes; the grammar engine finds those.
pub(super) fn ends(schema: &Value, ending: &HashSet<&str>) -> bool {
    let Value::Object(schema) = schema else { return schema != &Value::Bool(false) };
    let ends = |value: &Value| self::ends(value, ending);
    let list = |key: &str| schema.get(key).and_then(Value::as_array);
    reference(schema).is_none_or(|name| ending.contains(name))
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
