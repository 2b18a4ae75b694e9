//! What is refused, and where; what is narrowed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::{Grammar, GrammarError};
use super::ready;

fn refused(schema: &Value) -> String {
    match Grammar::json(schema) {
        Err(GrammarError::Schema(e)) => e.to_string(),
        other => panic!("{schema}: {other:?}"),
    }
}

#[test]
fn chains_of_references_end_soon_or_are_refused() {
    let chain = |n: usize, next: &dyn Fn(usize) -> Value| {
        let mut places: serde_json::Map<String, Value> = (0..n).map(|i| (format!("x{i}"), next(i + 1))).collect();
        places.insert(format!("x{n}"), json!({"type": "integer"}));
        json!({"$ref": "#/$defs/x0", "$defs": places})
    };
    let plain = |i: usize| json!({"$ref": format!("#/$defs/x{i}")});
    let all = |i: usize| json!({"allOf": [{"$ref": format!("#/$defs/x{i}")}]});
    let began = Instant::now();
    for next in [&plain as &dyn Fn(usize) -> Value, &all] {
        super::ready(&chain(1900, next), None).expect("it ends");
        assert!(refused(&chain(2100, next)).contains("refers to more than 2000 places"));
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // The other way round it ends nowhere.
    let mut circle = chain(100, &plain);
    circle["$defs"]["x100"] = plain(3);
    assert!(refused(&circle).contains("no answer could ever end"));
}

#[test]
fn what_cannot_be_enforced_is_refused_with_its_place() {
    let prop = |inner: Value| json!({"type": "object", "properties": {"a/b": inner}, "required": ["a/b"]});
    let cases = [
        (json!(3), "at the top: a schema is an object, true or false, not a number"),
        (prop(json!({"uniqueItems": true})), "/properties/a~1b/uniqueItems: `uniqueItems` can't be enforced"),
        (prop(json!({"not": {}})), "/properties/a~1b/not:"),
        (prop(json!({"type": "strnig"})), "/properties/a~1b/type: `type` is \"strnig\" (must be null, boolean"),
        (prop(json!({"type": "string", "minLength": -1})), "/properties/a~1b/minLength: `minLength` is \"-1\""),
        (prop(json!({"minLength": 5, "maxLength": 4})), "/properties/a~1b: `minLength` 5 is more than `maxLength` 4"),
        (prop(json!({"minimum": 5, "maximum": 4})), "/properties/a~1b: `minimum` 5 is more than `maximum` 4"),
        (
            prop(json!({"type": "integer", "exclusiveMinimum": 4, "maximum": 4.5})),
            "/properties/a~1b: `minimum` 5 is more than",
        ),
        (
            prop(json!({"minItems": 1_000_000})),
            "/properties/a~1b/minItems: `minItems` 1000000 is beyond what is enforced",
        ),
        (
            prop(json!({"format": "regex"})),
            "/properties/a~1b/format: `format` \"regex\" can't be enforced (can be: date",
        ),
        (prop(json!({"enum": []})), "/properties/a~1b/enum:"),
        (prop(json!({"anyOf": {}})), "/properties/a~1b/anyOf:"),
        (prop(json!({"$ref": "#/nowhere"})), "/properties/a~1b/$ref: `$ref` \"\\\"#/nowhere\\\"\" leads nowhere"),
        (prop(json!({"$ref": "https://example.org/x.json"})), "/properties/a~1b/$ref:"),
        (prop(json!({"$ref": "#"})), "no answer could ever end"),
        (prop(json!({"type": "string", "enum": [1, 2]})), "/properties/a~1b: "),
        (prop(json!({"allOf": [{"type": "string"}, {"type": "number"}]})), "/properties/a~1b: "),
        (prop(json!({"type": "string", "pattern": "(?=x)y"})), "/properties/a~1b: "),
        (prop(json!({"oneOf": [{"type": "integer"}, {"type": "number"}]})), "/properties/a~1b: "),
        (
            prop(json!({"type": "object", "minProperties": 3})),
            "/properties/a~1b/minProperties: `minProperties` 3 needs",
        ),
        (json!({"properties": {"x": {"items": {"required": 1}}}}), "/properties/x/items/required:"),
        (json!({"$defs": {"d": {"if": {}}}, "$ref": "#/$defs/d"}), "/$defs/d/if:"),
    ];
    for (schema, words) in cases {
        let said = refused(&schema);
        assert!(said.contains(words), "{schema}\n{said}\n{words}");
    }
}

#[test]
fn exploding_schemas_are_refused_soon() {
    let mut deep = json!({"type": "integer"});
    for _ in 0..200 {
        deep = json!({"type": "array", "items": deep});
    }
    let many: serde_json::Map<String, Value> =
        (0..25_000).map(|i| (format!("p{i}"), json!({"type": "integer"}))).collect();
    let halves = |i: usize| json!({"anyOf": [{"properties": {format!("a{i}"): {"type": "string"}}}, {"properties": {format!("b{i}"): {"type": "integer"}}}]});
    let cases = [
        deep,
        json!({"type": "object", "properties": many}),
        json!({"allOf": (0..24).map(halves).collect::<Vec<_>>()}),
        json!({"type": "string", "pattern": "^((((a{1000}){1000}){1000}){1000})$"}),
        json!({"type": "array", "items": {"type": "array", "items": {"type": "array", "items": {"minLength": 4000}, "minItems": 4000}, "minItems": 4000}, "minItems": 4000}),
    ];
    for schema in cases {
        let start = Instant::now();
        let refused = Grammar::json(&schema);
        let (took, text) = (start.elapsed(), schema.to_string());
        assert!(took < Duration::from_secs(60), "{took:?}: {}", &text[..text.len().min(100)]);
        let shown = &text[..text.len().min(100)];
        assert!(matches!(refused, Err(GrammarError::Schema(_))), "{shown}: {refused:?}");
    }
}

#[test]
fn objects_are_closed_and_numbers_bounded() {
    let schema = json!({"properties": {"a": {"type": "number", "exclusiveMaximum": 0.5}, "b": {"$ref": "#/$defs/a%20b"}},
                        "required": ["c"], "$defs": {"a b": {"type": "integer", "minimum": 1e300 - 1e300}}});
    let made = ready(&schema, None).expect("a schema");
    assert_eq!(made["additionalProperties"], json!(false));
    assert_eq!(made["type"], "object");
    assert_eq!(made["properties"]["a"]["maximum"], json!(0.49999999999999994));
    assert_eq!(made["properties"]["a"]["minimum"], json!(-999_999_999_999_999_i64));
    assert_eq!(made["properties"]["b"]["$ref"], "#/$defs/d0");
    assert_eq!(made["$defs"]["d0"]["minimum"], 0);
    assert_eq!(made["properties"]["c"]["$ref"], "#/$defs/any0");
}
