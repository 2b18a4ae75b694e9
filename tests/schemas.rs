//! Answers of a model that knows nothing, held to random JSON schemas: each has to fit its schema, as an independent
//! validator sees it, wherever it is cut off. `QLENS_SCHEMAS=1000 cargo test --release --test schemas` tries more of them.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;
use qlens::session::{Engine, EngineOptions, GenerateOptions, Grammar, Sampling, Turn};
use serde_json::{Map, Value, json};

/// Makes schemas that some value fits.
struct Generator {
    rng: Rng,
    definitions: Map<String, Value>,
}

const NAMES: [&str; 12] =
    ["total", "date", "a b", "x/y", "t~", "größe", "日付", "\"q\"", "id", "items", "$price", "\u{e9}\u{301}"];

impl Generator {
    fn new(seed: u64) -> Generator {
        Generator { rng: Rng::with_seed(seed), definitions: Map::new() }
    }

    fn whole(mut self) -> Value {
        let depth = self.rng.usize(1..4);
        let mut schema = self.schema(depth);
        if let Value::Object(map) = &mut schema {
            map.insert("title".to_owned(), "a \u{1b}[31mtitle".into());
            if !self.definitions.is_empty() {
                map.insert("$defs".to_owned(), Value::Object(self.definitions));
            }
        }
        schema
    }

    fn schema(&mut self, depth: usize) -> Value {
        let kinds = if depth == 0 { 8 } else { 17 };
        match self.rng.usize(0..kinds) {
            0 => json!({"type": "boolean"}),
            1 => json!({"type": "null"}),
            2 | 3 => self.number(),
            4 | 5 => self.string(),
            6 => self.literal(),
            7 => json!({"type": ["string", "integer", "null"], "maxLength": self.rng.u8(0..9), "minimum": -3}),
            8 | 9 => self.array(depth - 1),
            10 => {
                let ways: Vec<Value> = (0..self.rng.usize(1..4)).map(|_| self.schema(depth - 1)).collect();
                json!({"anyOf": ways})
            }
            11 => {
                // Told apart by a name's value.
                let inner = self.schema(depth - 1);
                json!({"oneOf": [
                    {"type": "object", "properties": {"kind": {"const": "a"}, "v": inner}, "required": ["kind"]},
                    {"type": "object", "properties": {"kind": {"const": "b"}}, "required": ["kind"]},
                    {"type": "integer", "minimum": 5},
                ]})
            }
            12 => {
                let low = self.rng.i32(-50..50);
                json!({"allOf": [{"type": "integer", "minimum": low}, {"maximum": low + self.rng.i32(0..300)}, {"type": "number"}]})
            }
            13 => self.chain(depth - 1),
            14 => {
                json!({"allOf": [self.object(depth - 1, false), {"type": "object", "properties": {"more": {"type": "boolean"}}, "required": ["more"]}]})
            }
            _ => self.object(depth - 1, true),
        }
    }

    fn number(&mut self) -> Value {
        let r = &mut self.rng;
        let low = f64::from(r.i32(-1000..1000)) / [1.0, 8.0, 10.0][r.usize(0..3)];
        match r.usize(0..9) {
            0 => json!({"type": "number"}),
            1 => json!({"type": "integer"}),
            2 => json!({"type": "number", "minimum": low}),
            3 => json!({"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": low + 1.0}),
            4 => json!({"type": "integer", "maximum": low}),
            5 => json!({"type": "integer", "multipleOf": r.u8(1..9), "minimum": low, "maximum": low + 100.0}),
            6 => json!({"type": "number", "multipleOf": f64::from(1_u8 << r.u8(0..4)) / 4.0, "maximum": low}),
            7 => json!({"minimum": low, "maximum": low + f64::from(r.u8(0..40)) / 16.0}),
            _ => json!({"type": "integer", "exclusiveMinimum": low, "exclusiveMaximum": low + 7.5}),
        }
    }

    fn string(&mut self) -> Value {
        let r = &mut self.rng;
        let formats = ["date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid"];
        let patterns = [
            "^[A-Z]{2}-[0-9]{4}$",
            "a+b",
            "^(yes|no|maybe so)$",
            r"^\d{1,3}(\.\d{3})*$",
            "^.{2,6}$",
            r"\s",
            "[^a-z]$",
            "^(ab)*c$",
        ];
        match r.usize(0..7) {
            0 => json!({"type": "string"}),
            1 => json!({"type": "string", "format": formats[r.usize(0..formats.len())]}),
            2 => json!({"type": "string", "pattern": patterns[r.usize(0..patterns.len())]}),
            3 => {
                let least = r.usize(0..30);
                json!({"minLength": least, "maxLength": least + r.usize(0..20)})
            }
            4 => json!({"type": "string", "minLength": r.usize(0..60)}),
            5 => json!({"type": "string", "format": "date", "pattern": "^20"}),
            _ => json!({"type": "string", "maxLength": r.usize(0..9), "format": "int32"}),
        }
    }

    fn literal(&mut self) -> Value {
        let values = [
            json!("x\n\"\u{7f}\u{9b}"),
            json!(null),
            json!(-1.25),
            json!({"a": [1, "b"]}),
            json!([]),
            json!("🙂"),
            json!(10_000_000_000_i64),
        ];
        let r = &mut self.rng;
        if r.bool() {
            return json!({"const": values[r.usize(0..values.len())]});
        }
        let from = r.usize(0..values.len() - 1);
        json!({"enum": values[from..from + 1 + r.usize(0..values.len() - from)]})
    }

    fn array(&mut self, depth: usize) -> Value {
        let least = self.rng.usize(0..4);
        match self.rng.usize(0..4) {
            0 => json!({"type": "array", "items": self.schema(depth)}),
            1 => {
                json!({"type": "array", "items": self.schema(depth), "minItems": least, "maxItems": least + self.rng.usize(0..3)})
            }
            2 => {
                json!({"type": "array", "prefixItems": [self.schema(depth), self.schema(depth)], "items": false, "minItems": 1})
            }
            _ => json!({"prefixItems": [self.schema(depth)], "items": self.schema(0), "minItems": least}),
        }
    }

    fn object(&mut self, depth: usize, free: bool) -> Value {
        let mut names = NAMES.to_vec();
        self.rng.shuffle(&mut names);
        names.truncate(self.rng.usize(0..6));
        let properties: Map<String, Value> =
            names.iter().map(|name| ((*name).to_owned(), self.schema(depth))).collect();
        names.retain(|_| self.rng.bool());
        let mut object = json!({"type": "object", "properties": properties, "required": names});
        match self.rng.usize(0..6) {
            0 if free => object["additionalProperties"] = self.schema(0),
            1 if free => object["additionalProperties"] = json!(true),
            2 if free => object["patternProperties"] = json!({"^n[0-9]+$": self.schema(0)}),
            3 if free => object["maxProperties"] = json!(12),
            4 => drop(object.as_object_mut().expect("an object").remove("type")),
            _ => {}
        }
        if object.get("maxProperties").is_some() {
            // With optional names beside it, it can't be enforced.
            object["required"] = properties_of(&object);
        }
        object
    }

    /// A list whose links are of the same kind.
    fn chain(&mut self, depth: usize) -> Value {
        let name = format!("chain {}/{}", self.definitions.len(), depth);
        let value = self.schema(depth);
        let pointer = format!("#/$defs/{}", name.replace('/', "~1").replace(' ', "%20"));
        let link = json!({"type": "object", "properties": {
            "value": value, "next": {"anyOf": [{"$ref": pointer}, {"type": "null"}]},
        }, "required": ["value", "next"]});
        self.definitions.insert(name, link);
        json!({"$ref": pointer})
    }
}

fn properties_of(object: &Value) -> Value {
    object["properties"].as_object().into_iter().flat_map(|map| map.keys()).cloned().collect()
}

#[test]
fn answers_fit_random_schemas_wherever_they_are_cut_off() {
    let count: u64 = std::env::var("QLENS_SCHEMAS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/tiny-tied/model-q8_0.gguf");
    let engine = Engine::load(&EngineOptions { threads: Some(1), ..EngineOptions::new(model) }).expect("a model");
    let mut session = engine.new_session();
    let (mut wrong, mut cut) = (Vec::new(), 0);
    for seed in 0..count {
        let schema = Generator::new(seed).whole();
        let grammar = match Grammar::json(&schema) {
            Ok(grammar) => Arc::new(grammar),
            Err(e) => {
                wrong.push(format!("{seed}: refused: {e}: {schema}"));
                continue;
            }
        };
        let temperature = [0.0, 0.7, 1.5][seed as usize % 3];
        let options = GenerateOptions {
            max_tokens: [3, 30, 150][seed as usize / 3 % 3],
            sampling: Sampling { temperature, seed, ..Sampling::default() },
            grammar: Some(grammar),
            ..GenerateOptions::default()
        };
        session.clear();
        let mut streamed = String::new();
        let answer = session.ask(&Turn::new(None, vec![], "Say something."), &options, &mut |event| {
            if let qlens::session::Event::Text(text) = event {
                streamed.push_str(text);
            }
            ControlFlow::Continue(())
        });
        let answer = match answer {
            Ok(answer) => answer,
            Err(e) => {
                wrong.push(format!("{seed}: no answer: {e}: {schema}"));
                continue;
            }
        };
        assert_eq!(streamed, answer.text);
        cut += u64::from(answer.stop != qlens::session::StopReason::End);
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(&schema)
            .unwrap_or_else(|e| panic!("{seed}: {e}: {schema}"));
        match serde_json::from_str::<Value>(&answer.text) {
            Err(e) => wrong.push(format!("{seed}: no JSON: {e}: {:?}: {schema}", answer.text)),
            Ok(value) => {
                let errors: Vec<String> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
                if !errors.is_empty() {
                    wrong.push(format!("{seed}: {errors:?}: {:?}: {schema}", answer.text));
                }
            }
        }
    }
    eprintln!("{count} schemas, {cut} answers brought to an end, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // How many depends on what a random model happens to say; but enough for the endings to be tried at all.
    assert!(cut > count / 8, "{cut} of {count} answers were cut off");
}
