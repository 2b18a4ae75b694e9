//! Reading the places in what a model said.

use serde_json::{Map, Value};

use super::super::said::{for_each_json, same_key, tidy};
use super::Wanted;

/// Places of one answer at most; more are a model that has got stuck.
const MAX_PLACES: usize = 1000;
/// Values within values that are looked into.
const MAX_DEPTH: usize = 8;

const BOXES: [&str; 9] =
    ["bbox_2d", "bbox", "box_2d", "box", "bounding_box", "boundingbox", "bboxes", "boxes", "bounding_boxes"];
const POINTS: [&str; 6] = ["point_2d", "point", "points_2d", "points", "center", "centre"];
/// Boxes or points, by how many numbers there are.
const EITHER: [&str; 4] = ["coordinates", "coordinate", "coords", "location"];
const LABELS: [&str; 7] = ["label", "name", "object", "class", "category", "description", "caption"];
const TEXTS: [&str; 3] = ["text_content", "text", "content"];
/// Numbers under keys of their own.
const CORNERS: [[&str; 4]; 3] =
    [["x1", "y1", "x2", "y2"], ["xmin", "ymin", "xmax", "ymax"], ["left", "top", "right", "bottom"]];

/// The numbers of a place, in pixels of what the model saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Numbers {
    /// Two opposite corners.
    Box([f64; 4]),
    /// A point.
    Point([f64; 2]),
}

/// A place as a model tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct RawPlace {
    /// Where.
    pub numbers: Numbers,
    /// What it is; may be empty.
    pub label: String,
    /// What stands on it, where that was said.
    pub text: Option<String>,
}

/// What could be read of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The places, in the order in which they were told.
    pub places: Vec<RawPlace>,
    /// Whether the answer says something of the wanted kind: places, or an empty list.
    pub understood: bool,
}

/// The places in an answer: from JSON, whole or cut off, with or without prose around it; else from `(x, y)` in prose.
/// Where boxes are wanted, points are none.
pub fn parse_places(answer: &str, wanted: Wanted) -> Told {
    let mut places = Vec::new();
    let mut empty_list = false;
    for_each_json(answer, |value| {
        empty_list |= matches!(&value, Value::Array(list) if list.is_empty());
        collect(&value, 0, &mut places);
    });
    if places.is_empty() && !empty_list {
        places = from_prose(answer, wanted);
    }
    places.retain(|place| wanted == Wanted::Points || matches!(place.numbers, Numbers::Box(_)));
    places.truncate(MAX_PLACES);
    Told { understood: empty_list || !places.is_empty(), places }
}

/// Places anywhere in a JSON value.
fn collect(value: &Value, depth: usize, places: &mut Vec<RawPlace>) {
    if depth > MAX_DEPTH || places.len() > MAX_PLACES {
        return;
    }
    match value {
        Value::Object(object) => {
            let found = of_object(object);
            if found.is_empty() {
                object.values().for_each(|value| collect(value, depth + 1, places));
            }
            places.extend(found);
        }
        // What is left of an object that was cut off: its numbers.
        Value::Array(list) => match numbers(value) {
            Some(numbers) => places.push(RawPlace { numbers, label: String::new(), text: None }),
            None => list.iter().for_each(|value| collect(value, depth + 1, places)),
        },
        _ => {}
    }
}

fn of_object(object: &Map<String, Value>) -> Vec<RawPlace> {
    let value = |names: &[&str]| {
        names.iter().find_map(|name| object.iter().find(|(key, _)| same_key(key, name)).map(|(_, value)| value))
    };
    let words = |names: &[&str]| value(names).and_then(Value::as_str).map(tidy).filter(|words| !words.is_empty());
    let mut found = Vec::new();
    for names in [&BOXES[..], &POINTS, &EITHER] {
        if let Some(value) = value(names) {
            all_numbers(value, 0, &mut found);
        }
        if !found.is_empty() {
            break;
        }
    }
    if found.is_empty() {
        let number = |name: &str| value(&[name]).and_then(number);
        let corners = CORNERS.iter().find_map(|names| {
            let [a, b, c, d] = names.map(number);
            Some(Numbers::Box([a?, b?, c?, d?]))
        });
        let sized = || {
            let [x, y, w, h] = ["x", "y", "width", "height"].map(number);
            Some(Numbers::Box([x?, y?, x? + w?, y? + h?]))
        };
        let point = || Some(Numbers::Point([number("x")?, number("y")?]));
        found.extend(corners.or_else(sized).or_else(point));
    }
    let (label, text) = (words(&LABELS), words(&TEXTS));
    // What is read stands for what it is.
    let label = label.or_else(|| text.clone()).unwrap_or_default();
    found.into_iter().map(|numbers| RawPlace { numbers, label: label.clone(), text: text.clone() }).collect()
}

/// One place, or several in a list.
fn all_numbers(value: &Value, depth: usize, found: &mut Vec<Numbers>) {
    match (numbers(value), value) {
        (Some(numbers), _) => found.push(numbers),
        (None, Value::Array(list)) if depth < MAX_DEPTH => {
            list.iter().for_each(|value| all_numbers(value, depth + 1, found));
        }
        (None, Value::String(text)) => found.extend(of_slice(&numbers_in(text))),
        _ => {}
    }
}

/// `[x, y]`, `[x0, y0, x1, y1]` or `[[x0, y0], [x1, y1]]`.
fn numbers(value: &Value) -> Option<Numbers> {
    let Value::Array(list) = value else { return None };
    if let [Value::Array(a), Value::Array(b)] = &list[..] {
        let [Some(Numbers::Point(a)), Some(Numbers::Point(b))] = [a, b].map(|corner| of_list(corner)) else {
            return None;
        };
        return Some(Numbers::Box([a[0], a[1], b[0], b[1]]));
    }
    of_list(list)
}

fn of_list(list: &[Value]) -> Option<Numbers> {
    if list.len() > 4 {
        return None;
    }
    of_slice(&list.iter().map(number).collect::<Option<Vec<f64>>>()?)
}

fn of_slice(numbers: &[f64]) -> Option<Numbers> {
    match *numbers {
        [x, y] => Some(Numbers::Point([x, y])),
        [a, b, c, d] => Some(Numbers::Box([a, b, c, d])),
        _ => None,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
    .filter(|number| number.is_finite())
}

/// The numbers in a text.
fn numbers_in(text: &str) -> Vec<f64> {
    let part = |c: char| c.is_ascii_digit() || c == '.' || c == '-';
    let words = text.split(|c: char| !part(c)).filter_map(|word| word.trim_end_matches('.').parse::<f64>().ok());
    words.filter(|number| number.is_finite()).take(4 * MAX_PLACES).collect()
}

/// `(x, y)`, or where boxes are wanted `(x0, y0), (x1, y1)` and `(x0, y0, x1, y1)`. The words around them are no labels.
fn from_prose(answer: &str, wanted: Wanted) -> Vec<RawPlace> {
    let inside = answer.split('(').skip(1).filter_map(|rest| rest.split_once(')')).map(|(inside, _)| inside);
    let pairs = inside.filter(|text| text.contains(',')).filter_map(|text| of_slice(&numbers_in(text)));
    let place = |numbers| RawPlace { numbers, label: String::new(), text: None };
    let mut places = Vec::new();
    let mut corner: Option<[f64; 2]> = None;
    for numbers in pairs.take(2 * MAX_PLACES) {
        match (numbers, corner.take(), wanted) {
            (Numbers::Point([x1, y1]), Some([x0, y0]), Wanted::Boxes) => {
                places.push(place(Numbers::Box([x0, y0, x1, y1])))
            }
            (Numbers::Point(point), None, Wanted::Boxes) => corner = Some(point),
            (numbers, ..) => places.push(place(numbers)),
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn boxes(answer: &str) -> Vec<([f64; 4], String)> {
        let told = parse_places(answer, Wanted::Boxes).places.into_iter();
        told.filter_map(|p| if let Numbers::Box(b) = p.numbers { Some((b, p.label)) } else { None }).collect()
    }

    fn one(numbers: [f64; 4], label: &str) -> Vec<([f64; 4], String)> {
        vec![(numbers, label.to_owned())]
    }

    #[test]
    fn boxes_in_all_their_forms() {
        const B: [f64; 4] = [1.0, 2.0, 30.0, 40.5];
        let cases = [
            (r#"[{"bbox_2d": [1, 2, 30, 40.5], "label": "cat"}]"#, "cat"),
            ("```json\n[\n\t{\"bbox_2d\": [1, 2, 30, 40.5], \"label\": \"cat\"}\n]\n```", "cat"),
            (r#"Sure: {"bbox": "1, 2, 30, 40.5", "name": "cat"}. Anything else?"#, "cat"),
            (r#"{"objects": [{"Bounding Box": [[1, 2], [30, 40.5]], "class": "cat"}]}"#, "cat"),
            (r#"{"box": {"x1": 1, "y1": "2", "x2": 30, "y2": 40.5}}"#, ""),
            (r#"{"label": "cat", "xmin": 1, "ymin": 2, "xmax": 30, "ymax": 40.5}"#, "cat"),
            (r#"{"coordinates": ["1", "2", "30", "40.5"]}"#, ""),
            // Cut off within the label, and within the next box.
            (r#"[{"bbox_2d": [1, 2, 30, 40.5], "label": "ca"#, ""),
            (r#"[{"bbox_2d": [1, 2, 30, 40.5], "label": "cat"}, {"bbox_2d": [5, 6, 7"#, "cat"),
            // A comma is missing.
            (r#"[{"bbox_2d": [1, 2, 30, 40.5] "label": "cat"}]"#, ""),
            ("[[1, 2, 30, 40.5]]", ""),
            ("It is at (1, 2), (30, 40.5).", ""),
            ("It is at (1,2,30,40.5) (see above).", ""),
        ];
        for (answer, label) in cases {
            assert_eq!(boxes(answer), one(B, label), "{answer}");
        }
        let two = r#"{"label": "cat", "bboxes": [[1, 2, 30, 40.5], [5, 6, 7, 8]]}"#;
        assert_eq!(boxes(two), [(B, "cat".to_owned()), ([5.0, 6.0, 7.0, 8.0], "cat".to_owned())]);
    }

    #[test]
    fn text_is_told_beside_its_box() {
        let told = parse_places(r#"[{"bbox_2d": [1, 2, 3, 4], "text_content": "a\u001b[2J  b"}]"#, Wanted::Boxes);
        assert_eq!(told.places[0].text.as_deref(), Some("a[2J b"));
        assert_eq!(told.places[0].label, "a[2J b");
    }

    #[test]
    fn points() {
        let points = |answer: &str| -> Vec<Numbers> {
            parse_places(answer, Wanted::Points).places.into_iter().map(|p| p.numbers).collect()
        };
        let at = |x, y| vec![Numbers::Point([x, y])];
        assert_eq!(points(r#"[{"point_2d": [3, 4], "label": "x"}]"#), at(3.0, 4.0));
        assert_eq!(points(r#"{"x": 3, "y": 4}"#), at(3.0, 4.0));
        assert_eq!(points("[3, 4]"), at(3.0, 4.0));
        assert_eq!(points("at (3, 4)"), at(3.0, 4.0));
        assert_eq!(points(r#"{"point_2d": [3, 4], "lab"#), at(3.0, 4.0));
        assert_eq!(boxes(r#"[{"point_2d": [3, 4]}]"#), []);
    }

    #[test]
    fn nothing_found_is_understood_and_nonsense_is_not() {
        let cases = [
            ("[]", true),
            ("```json\n[]\n```", true),
            ("", false),
            ("There are 2 cats, 3 dogs.", false),
            (r#"{"bbox_2d": [1, 2, null, 4]}"#, false),
            ("[1, 2, 3]", false),
            ("(1, 2, 3)", false),
        ];
        for (answer, understood) in cases {
            let told = parse_places(answer, Wanted::Boxes);
            assert!(told.places.is_empty() && told.understood == understood, "{answer}: {told:?}");
        }
    }

    #[test]
    fn hostile_answers_end_soon() {
        for answer in ["[".repeat(10_000), "{\"bbox\":".repeat(3000), "(1,".repeat(50_000), "[1,2,".repeat(3000)] {
            parse_places(&answer, Wanted::Points);
        }
        let many: String = (0..5000).map(|i| format!("{{\"bbox\": [{i}, 2, 3, 4]}}\n")).collect();
        assert_eq!(parse_places(&many, Wanted::Boxes).places.len(), MAX_PLACES);
        let huge = format!("{{\"bbox\": [1e999, 2, 3, 4]}} {{\"bbox\": [{}, 2, 3, 4]}}", "9".repeat(400));
        assert!(boxes(&huge).iter().all(|(b, _)| b.iter().all(|x| x.is_finite())));
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_panic(
            pieces in prop::collection::vec(
                prop_oneof![
                    Just("{\"bbox_2d\": [".to_owned()), Just("], \"label\": \"".to_owned()), Just("\"}".to_owned()),
                    Just("[".to_owned()), Just("]".to_owned()), Just("(".to_owned()), Just(")".to_owned()), Just(", ".to_owned()),
                    "-?[0-9]{1,4}(\\.[0-9])?", "\\PC{0,4}",
                ],
                0..24,
            ),
        ) {
            let answer = pieces.concat();
            for wanted in [Wanted::Boxes, Wanted::Points] {
                let told = parse_places(&answer, wanted);
                for place in told.places {
                    let finite = match place.numbers {
                        Numbers::Box(b) => b.iter().all(|x| x.is_finite()),
                        Numbers::Point(p) => p.iter().all(|x| x.is_finite()),
                    };
                    prop_assert!(finite);
                }
            }
        }

        #[test]
        fn what_a_model_writes_is_read_again(boxes_told in prop::collection::vec(prop::array::uniform4(0u16..3000), 0..20)) {
            let items: Vec<String> =
                boxes_told.iter().enumerate().map(|(i, b)| format!("{{\"bbox_2d\": {b:?}, \"label\": \"n{i}\"}}")).collect();
            let answer = format!("[{}]", items.join(", "));
            let wanted: Vec<_> = boxes_told.iter().enumerate().map(|(i, b)| (b.map(f64::from), format!("n{i}"))).collect();
            prop_assert_eq!(boxes(&answer), wanted.clone());
            // Wherever it is cut off, what was whole is read.
            let cut = &answer[..answer.len() * 2 / 3];
            let whole = cut.matches('}').count();
            let read = boxes(cut);
            prop_assert!(read.len() >= whole);
            prop_assert_eq!(&read[..whole], &wanted[..whole]);
        }
    }
}
