//! Where in the picture each value of an object stands.
//!
//! It is asked in a second question about the same picture, which has been read by then. Its answer is held to a list with
//! every value in its place, so that only the numbers of the boxes are left for the model to say.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::geometry::{Rect, View};
use super::super::python_json::python_json;

/// Values that are looked for; of a larger object, the first.
const MAX_VALUES: usize = 200;
/// Characters of a value that are told.
const MAX_CHARS: usize = 80;

/// The place of a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Which value: a JSON pointer into the object.
    pub pointer: String,
    /// Where it stands, in pixels of the original; none where the model sees it nowhere.
    #[serde(rename = "box")]
    pub place: Option<Rect>,
}

/// A value that can stand somewhere.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Leaf {
    pub pointer: String,
    text: String,
}

/// All numbers, truths and texts that aren't empty, in order.
pub(super) fn leaves(value: &Value) -> Vec<Leaf> {
    let mut out = Vec::new();
    collect(value, String::new(), &mut out);
    out.truncate(MAX_VALUES);
    out
}

fn collect(value: &Value, pointer: String, out: &mut Vec<Leaf>) {
    let text = match value {
        Value::Null => return,
        Value::String(text) => text.chars().take(MAX_CHARS).collect(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Array(list) => {
            let items = list.iter().enumerate();
            return items.for_each(|(i, value)| collect(value, format!("{pointer}/{i}"), out));
        }
        Value::Object(map) => {
            return map.iter().for_each(|(name, value)| {
                let step = name.replace('~', "~0").replace('/', "~1");
                collect(value, format!("{pointer}/{step}"), out);
            });
        }
    };
    if !text.is_empty() {
        out.push(Leaf { pointer, text });
    }
}

/// The question.
pub(super) fn question(leaves: &[Leaf]) -> String {
    let told: Vec<Value> = leaves.iter().map(label).collect();
    format!(
        "Locate each of these values in the image, and output its bbox coordinates in JSON format; null where the image \
         doesn't show it.\n{}",
        python_json(&told)
    )
}

fn label(leaf: &Leaf) -> Value {
    json!({"label": leaf.pointer.trim_start_matches('/'), "text_content": leaf.text})
}

/// The schema of the answer, for a picture that is seen with this width and height.
pub(super) fn schema(leaves: &[Leaf], [width, height]: [usize; 2]) -> Value {
    let along = |length: usize| json!({"type": "integer", "minimum": 0, "maximum": length});
    let sides = [along(width), along(height), along(width), along(height)];
    let corners = json!({"type": "array", "prefixItems": sides, "items": false, "minItems": 4});
    let entry = |leaf: &Leaf| {
        let Value::Object(told) = label(leaf) else { return Value::Null };
        let mut properties: serde_json::Map<String, Value> =
            told.into_iter().map(|(name, text)| (name, json!({"const": text}))).collect();
        properties.insert("bbox_2d".to_owned(), json!({"anyOf": [corners, {"type": "null"}]}));
        json!({"type": "object", "properties": properties, "required": ["label", "text_content", "bbox_2d"]})
    };
    let entries: Vec<Value> = leaves.iter().map(entry).collect();
    json!({"type": "array", "minItems": entries.len(), "prefixItems": entries, "items": false})
}

/// The places that an answer tells.
pub(super) fn places(leaves: Vec<Leaf>, answer: &Value, view: &View) -> Vec<Evidence> {
    let place = |i: usize| {
        let corners: Vec<f64> = answer.get(i)?.get("bbox_2d")?.as_array()?.iter().filter_map(Value::as_f64).collect();
        view.rect(corners.try_into().ok()?)
    };
    leaves.into_iter().enumerate().map(|(i, leaf)| Evidence { pointer: leaf.pointer, place: place(i) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Grammar;

    #[test]
    fn every_value_has_its_place_in_the_originals_pixels() {
        let object = json!({"total": 12.5, "none": null, "": "", "a/b": [{"x": "y"}, true]});
        let leaves = leaves(&object);
        let pointers: Vec<&str> = leaves.iter().map(|leaf| leaf.pointer.as_str()).collect();
        assert_eq!(pointers, ["/total", "/a~1b/0/x", "/a~1b/1"]);
        assert!(pointers.iter().all(|pointer| object.pointer(pointer).is_some()));
        assert!(
            question(&leaves).ends_with(r#"{"label": "a~1b/1", "text_content": "true"}]"#),
            "{}",
            question(&leaves)
        );
        Grammar::json(&schema(&leaves, [280, 140])).expect("a grammar");
        let view = View::new([560, 70], [280, 140]).expect("sizes");
        let answer = json!([{"bbox_2d": [10, 20, 30, 40]}, {"bbox_2d": null}, {"bbox_2d": [5, 5, 5, 5]}]);
        let places = places(leaves, &answer, &view);
        assert_eq!(
            serde_json::to_value(&places[0]).expect("JSON"),
            json!({"pointer": "/total", "box": [20.0, 10.0, 60.0, 20.0]})
        );
        assert_eq!((places[1].place, places[2].place), (None, None));
    }
}
