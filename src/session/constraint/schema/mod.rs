//! JSON schemas, made ready for the grammar engine: checked, with references resolved, and narrowed to what is sure to be
//! valid for every validator.
//!
//! What comes out allows nothing that the schema doesn't, and leaves out only what nobody asks a model for: numbers beyond
//! 15 digits before the point, exponents, names that aren't listed (unless `additionalProperties` allows them), values of
//! no stated kind that nest deeply.

mod ends;
mod formats;
pub(super) mod least;
mod numbers;
mod problem;
mod references;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value, json};

use problem::{Place, kind};
pub use problem::{SchemaError, SchemaProblem};
use references::References;

/// Levels of schemas within schemas.
const MAX_DEPTH: usize = 64;
/// Schemas in all, after references are followed.
const MAX_PARTS: usize = 20_000;
/// Places in it that are referred to: the engine takes longer by the square of them.
const MAX_REFERENCES: usize = 2000;
/// Most items that an array, or characters that a text, may have to have.
pub(super) const MAX_LEAST: u64 = 4096;
/// Most bytes that an answer may have to have: no context holds more.
const MAX_BYTES: u64 = 1 << 20;
/// What no context holds needs no upper limit.
const NO_LIMIT: u64 = 1 << 20;
/// Levels of a value of which the schema says nothing.
const ANY_DEPTH: usize = 4;

/// Keywords that no grammar can hold an answer to.
const REFUSED: [&str; 18] = [
    "not",
    "if",
    "then",
    "else",
    "contains",
    "minContains",
    "maxContains",
    "uniqueItems",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "unevaluatedItems",
    "unevaluatedProperties",
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "$recursiveAnchor",
];
/// Each type, and the keywords that are about it alone.
const ABOUT: [(&str, &[&str]); 4] = [
    (
        "object",
        &["properties", "patternProperties", "additionalProperties", "required", "minProperties", "maxProperties"],
    ),
    ("array", &["items", "prefixItems", "additionalItems", "minItems", "maxItems"]),
    ("string", &["pattern", "format", "minLength", "maxLength"]),
    ("number", &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]),
];
const TYPES: [&str; 7] = ["null", "boolean", "integer", "number", "string", "array", "object"];

/// A part of a schema and its place in the original.
pub(super) type Part = (String, Value);

/// Makes a schema ready. Where `parts` are asked for, they are each schema in it, before those that hold it; the `$defs` that
/// they refer to are those of the whole.
///
/// # Errors
/// What can't be enforced, what isn't JSON schema, and what no finite value fits, with its place.
pub(super) fn ready(schema: &Value, parts: Option<&mut Vec<Part>>) -> Result<Value, SchemaError> {
    let (keep, made) = (parts.is_some(), Vec::new());
    let mut walk = Walk { references: References::new(schema), count: 0, keep, parts: made };
    let mut out = walk.schema(schema, &Place::default(), true)?;
    let mut definitions = Map::new();
    while let Some((name, pointer, target, alone)) = walk.references.next() {
        let place = Place { pointer, depth: 0 };
        if definitions.len() >= MAX_REFERENCES {
            return Err(place.error(SchemaProblem::References { allowed: MAX_REFERENCES }));
        }
        let made = walk.schema(target, &place, alone)?;
        definitions.insert(name, made);
    }
    for (name, value) in anything() {
        definitions.insert(name, value);
    }
    let endless = ends::endless(&definitions);
    if let Some(pointer) = endless.iter().find_map(|name| walk.references.pointer(name)) {
        let place = Place { pointer: pointer.to_owned(), depth: 0 };
        return Err(place.error(SchemaProblem::Endless));
    }
    if let Value::Object(out) = &mut out {
        out.insert("$defs".to_owned(), Value::Object(definitions));
    }
    if let Some(parts) = parts {
        *parts = walk.parts;
    }
    Ok(out)
}

/// Values of which nothing is said, level by level: the last holds no others.
fn anything() -> Vec<(String, Value)> {
    let mut scalars = vec![json!({"type": "null"}), json!({"type": "boolean"}), json!({"type": "string"})];
    scalars.push(Value::Object(numbers::any()));
    let level = |depth: usize| {
        let mut ways = scalars.clone();
        if depth < ANY_DEPTH {
            let next = json!({"$ref": any_name(depth + 1)});
            ways.push(json!({"type": "array", "items": next}));
            ways.push(json!({"type": "object", "additionalProperties": next}));
        }
        (any_name(depth)["#/$defs/".len()..].to_owned(), json!({"anyOf": ways}))
    };
    (0..=ANY_DEPTH).map(level).collect()
}

fn any_name(depth: usize) -> String {
    format!("#/$defs/any{depth}")
}

struct Walk<'a> {
    references: References<'a>,
    count: usize,
    keep: bool,
    parts: Vec<Part>,
}

impl<'a> Walk<'a> {
    /// One schema. `alone`: nothing else is said about the same value, so that an object's names are those listed.
    fn schema(&mut self, schema: &'a Value, place: &Place, alone: bool) -> Result<Value, SchemaError> {
        if place.depth > MAX_DEPTH {
            return Err(place.error(SchemaProblem::Depth { allowed: MAX_DEPTH }));
        }
        self.count += 1;
        if self.count > MAX_PARTS {
            return Err(place.error(SchemaProblem::Parts { allowed: MAX_PARTS }));
        }
        let made = match schema {
            Value::Bool(false) => return Ok(Value::Bool(false)),
            Value::Bool(true) => json!({"$ref": any_name(0)}),
            Value::Object(map) => self.object(map, place, alone)?,
            other => return Err(place.error(SchemaProblem::NotASchema { found: kind(other) })),
        };
        if self.keep {
            self.parts.push((place.pointer.clone(), made.clone()));
        }
        Ok(made)
    }

    fn object(&mut self, map: &'a Map<String, Value>, place: &Place, alone: bool) -> Result<Value, SchemaError> {
        if let Some(keyword) = REFUSED.into_iter().find(|k| map.get(*k).is_some_and(|v| v != &Value::Bool(false))) {
            return Err(place.join(keyword).error(SchemaProblem::Keyword { keyword }));
        }
        let types = types(map, place)?;
        let mixed = ["$ref", "anyOf", "oneOf", "allOf"].iter().filter(|k| map.contains_key(**k)).count();
        let plain = ABOUT.iter().any(|(_, keys)| keys.iter().any(|k| map.contains_key(*k)));
        // A lone `anyOf` or `$ref` passes the whole value on.
        let passes_on = alone && mixed == 1 && !plain && !map.contains_key("allOf");
        let mut out = Map::new();
        for (key, value) in map {
            let at = place.join(key);
            match key.as_str() {
                "$ref" => {
                    let target = self.references.resolve(value, &at, passes_on)?;
                    out.insert(key.clone(), target.into());
                }
                "anyOf" | "oneOf" | "allOf" => {
                    let list = value.as_array().filter(|list| !list.is_empty());
                    let list = list.ok_or_else(|| place.value("anyOf", value, "a list of schemas, not empty"));
                    out.insert(key.clone(), self.list(list?, &at, passes_on && key != "allOf")?);
                }
                "enum" => {
                    let list = value.as_array().filter(|list| !list.is_empty());
                    let list = list.ok_or_else(|| place.value("enum", value, "a list of values, not empty"))?;
                    out.insert(key.clone(), Value::Array(list.clone()));
                }
                "const" => drop(out.insert(key.clone(), value.clone())),
                _ => {}
            }
        }
        let literal = map.contains_key("const") || map.contains_key("enum");
        let wanted = |name: &str| types.contains(&name);
        if wanted("object") {
            out.extend(self.names(map, place, alone && mixed == 0 && !literal)?);
        }
        if wanted("array") {
            out.extend(self.items(map, place)?);
        }
        if wanted("string") {
            out.extend(text(map, place)?);
        }
        if wanted("number") || wanted("integer") {
            out.extend(numbers::bounds(map, place, !wanted("number"))?);
        }
        if !types.is_empty() {
            out.insert("type".to_owned(), if types.len() == 1 { types[0].into() } else { types.into() });
        } else if mixed == 0 && !literal {
            out.insert("$ref".to_owned(), any_name(0).into());
        }
        Ok(Value::Object(out))
    }

    fn list(&mut self, list: &'a [Value], at: &Place, alone: bool) -> Result<Value, SchemaError> {
        let made = list.iter().enumerate().map(|(i, value)| self.schema(value, &at.join(&i.to_string()), alone));
        made.collect::<Result<Vec<_>, _>>().map(Value::Array)
    }

    /// What is said about an object. `closed`: names that aren't listed are left out.
    fn names(
        &mut self,
        map: &'a Map<String, Value>,
        place: &Place,
        closed: bool,
    ) -> Result<Map<String, Value>, SchemaError> {
        let mut out = Map::new();
        let mut named = Map::new();
        for keyword in ["properties", "patternProperties"] {
            let Some(value) = map.get(keyword) else { continue };
            let at = place.join(keyword);
            let list = value.as_object().ok_or_else(|| place.value(keyword, value, "an object of schemas"))?;
            let mut made = Map::new();
            for (name, schema) in list {
                let schema = self.schema(schema, &at.join(name), true)?;
                made.insert(if keyword == "properties" { name.clone() } else { formats::ecma(name) }, schema);
            }
            if keyword == "properties" {
                named = made;
            } else if !made.is_empty() {
                out.insert(keyword.to_owned(), Value::Object(made));
            }
        }
        let free = match map.get("additionalProperties") {
            Some(schema) => self.schema(schema, &place.join("additionalProperties"), true)?,
            None if closed && (map.contains_key("properties") || out.contains_key("patternProperties")) => false.into(),
            None => json!({"$ref": any_name(0)}),
        };
        let required = required(map, place)?;
        if !map.contains_key("additionalProperties") && free == Value::Bool(false) {
            for name in &required {
                named.entry(name.clone()).or_insert_with(|| json!({"$ref": any_name(0)}));
            }
        }
        let least = size(map, "minProperties", place)?.filter(|n| *n > required.len() as u64);
        let most = size(map, "maxProperties", place)?;
        if let (Some(low), Some(high)) = (least, most)
            && low > high
        {
            return Err(crossed(place, ("minProperties", low), ("maxProperties", high)));
        }
        if let Some(found) = least {
            if free != Value::Bool(false) || out.contains_key("patternProperties") {
                return Err(place.join("minProperties").error(SchemaProblem::FreeNames { found }));
            }
            out.insert("minProperties".to_owned(), found.into());
        }
        if let Some(most) = most.filter(|n| *n < NO_LIMIT) {
            out.insert("maxProperties".to_owned(), most.into());
        }
        out.insert("properties".to_owned(), Value::Object(named));
        out.insert("additionalProperties".to_owned(), free);
        if !required.is_empty() {
            out.insert("required".to_owned(), required.into());
        }
        Ok(out)
    }

    fn items(&mut self, map: &'a Map<String, Value>, place: &Place) -> Result<Map<String, Value>, SchemaError> {
        let mut out = Map::new();
        // Until 2019 a list of items was what is `prefixItems` now.
        let old = map.get("items").filter(|items| items.is_array());
        let (first, rest) = match old {
            Some(_) => ("items", "additionalItems"),
            None => ("prefixItems", "items"),
        };
        if let Some(value) = map.get(first) {
            let list = value.as_array().ok_or_else(|| place.value("prefixItems", value, "a list of schemas"))?;
            out.insert("prefixItems".to_owned(), self.list(list, &place.join(first), true)?);
        }
        let items = match map.get(rest) {
            Some(schema) => self.schema(schema, &place.join(rest), true)?,
            None => json!({"$ref": any_name(0)}),
        };
        out.insert("items".to_owned(), items);
        out.extend(limits(map, ("minItems", "maxItems"), place)?);
        let mut whole = out.clone();
        whole.insert("type".to_owned(), "array".into());
        let found = least::of_value(&Value::Object(whole));
        if found > MAX_BYTES {
            return Err(place.join("minItems").error(SchemaProblem::Large { found, allowed: MAX_BYTES }));
        }
        Ok(out)
    }
}

/// The types that a value may have; where the keywords are about one type alone, that.
fn types(map: &Map<String, Value>, place: &Place) -> Result<Vec<&'static str>, SchemaError> {
    const ALLOWED: &str = "null, boolean, integer, number, string, array, object, or a list of these";
    let known = |value: &Value| TYPES.into_iter().find(|t| value == t);
    match map.get("type") {
        None => {
            let about = ABOUT.iter().filter(|(_, keys)| keys.iter().any(|k| map.contains_key(*k)));
            Ok(about.map(|(name, _)| *name).collect())
        }
        Some(Value::Array(list)) if !list.is_empty() => list
            .iter()
            .map(|value| known(value).ok_or_else(|| place.value("type", value, ALLOWED)))
            .collect::<Result<Vec<_>, _>>(),
        Some(value) => known(value).map(|t| vec![t]).ok_or_else(|| place.value("type", value, ALLOWED)),
    }
}

fn text(map: &Map<String, Value>, place: &Place) -> Result<Map<String, Value>, SchemaError> {
    /// Bytes of a pattern.
    const MAX_PATTERN: usize = 4096;
    let mut out = limits(map, ("minLength", "maxLength"), place)?;
    let mut patterns = Vec::new();
    if let Some(value) = map.get("pattern") {
        let text = value.as_str().filter(|text| text.len() <= MAX_PATTERN);
        let text = text.ok_or_else(|| place.value("pattern", value, "a regular expression of at most 4096 bytes"))?;
        let pattern = formats::ecma(text);
        if let Some(found) = least::of_pattern(&pattern).filter(|n| *n as u64 > MAX_LEAST) {
            return Err(place.join("pattern").error(SchemaProblem::Long { found, allowed: MAX_LEAST }));
        }
        patterns.push(pattern);
    }
    if let Some(value) = map.get("format") {
        let name = value.as_str().ok_or_else(|| place.value("format", value, "a text"))?;
        patterns.extend(formats::pattern(name, place)?);
    }
    let mut patterns = patterns.into_iter();
    if let Some(first) = patterns.next() {
        out.insert("pattern".to_owned(), first.into());
    }
    if let Some(second) = patterns.next() {
        out.insert("allOf".to_owned(), json!([{"type": "string", "pattern": second}]));
    }
    Ok(out)
}

fn required(map: &Map<String, Value>, place: &Place) -> Result<Vec<String>, SchemaError> {
    let Some(value) = map.get("required") else { return Ok(Vec::new()) };
    let list = value.as_array().map(|list| list.iter().map(|name| name.as_str().map(str::to_owned)).collect());
    let mut list: Vec<String> = list.flatten().ok_or_else(|| place.value("required", value, "a list of names"))?;
    list.dedup();
    Ok(list)
}

/// A size, where it is given.
fn size(map: &Map<String, Value>, keyword: &'static str, place: &Place) -> Result<Option<u64>, SchemaError> {
    let Some(value) = map.get(keyword) else { return Ok(None) };
    // JSON schema takes 2.0 for 2.
    let whole = value.as_u64().or_else(|| value.as_f64().filter(|x| x.fract() == 0.0 && *x >= 0.0).map(|x| x as u64));
    whole.map(Some).ok_or_else(|| place.value(keyword, value, "a whole number, 0 or more"))
}

fn limits(
    map: &Map<String, Value>,
    (lower, upper): (&'static str, &'static str),
    place: &Place,
) -> Result<Map<String, Value>, SchemaError> {
    let mut out = Map::new();
    let (low, high) = (size(map, lower, place)?, size(map, upper, place)?);
    if let (Some(low), Some(high)) = (low, high)
        && low > high
    {
        return Err(crossed(place, (lower, low), (upper, high)));
    }
    if let Some(low) = low {
        if low > MAX_LEAST {
            let problem = SchemaProblem::Size { keyword: lower, found: low.to_string(), allowed: MAX_LEAST };
            return Err(place.join(lower).error(problem));
        }
        out.insert(lower.to_owned(), low.into());
    }
    if let Some(high) = high.filter(|n| *n < NO_LIMIT) {
        out.insert(upper.to_owned(), high.into());
    }
    Ok(out)
}

fn crossed(place: &Place, low: (&'static str, u64), high: (&'static str, u64)) -> SchemaError {
    let (lower, upper) = (low.0, high.0);
    place.error(SchemaProblem::Crossed { lower, low: low.1.to_string(), upper, high: high.1.to_string() })
}
