//! Where is something in a picture?
//!
//! The way of a question: [`question()`] puts it as the models were trained to be asked → [`read()`] finds the boxes and
//! points in what the model said → [`super::geometry`] takes them to the original's pixels → [`coco()`], [`yolo()`] and
//! pictures with marks ([`super::annotate`]).

mod formats;
mod parse;
mod question;

pub use formats::{Labelled, coco, yolo};
pub use parse::{Numbers, RawPlace, Told, parse_places};
pub use question::{Wanted, labels, names_all, question};

use serde::{Deserialize, Serialize};

use super::geometry::{Point, Rect, View};

/// Where something is, in pixels of the original.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Place {
    /// A box around it.
    #[serde(rename = "bbox")]
    Box(Rect),
    /// A point on it.
    #[serde(rename = "point")]
    Point(Point),
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// What was asked for.
    pub what: String,
    /// What the model calls it.
    pub label: String,
    /// What the model reads on it, where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Where it is.
    #[serde(flatten)]
    pub place: Place,
}

/// What an answer says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// What was found, in the model's order, nothing twice.
    pub found: Vec<Found>,
    /// Places outside of the picture, or of no area.
    pub left_out: usize,
    /// Whether the answer says something of the wanted kind: places, or an empty list.
    pub understood: bool,
}

/// The places in an answer to a question about `what`, in the original's pixels.
pub fn read(answer: &str, what: &str, wanted: Wanted, view: &View) -> Reading {
    let told = parse_places(answer, wanted);
    let mut reading = Reading { understood: told.understood, ..Reading::default() };
    for RawPlace { numbers, label, text } in told.places {
        let place = match (numbers, wanted) {
            (Numbers::Box(corners), Wanted::Boxes) => view.rect(corners).map(Place::Box),
            // The middle of a box is a point of it.
            (Numbers::Box(corners), Wanted::Points) => view.rect(corners).map(|r| Place::Point(r.centre())),
            (Numbers::Point(told), _) => view.point(told).map(Place::Point),
        };
        let label = if label.is_empty() { what.to_owned() } else { label };
        match place {
            None => reading.left_out += 1,
            Some(place) => {
                let found = Found { what: what.to_owned(), label, text, place };
                if !reading.found.contains(&found) {
                    reading.found.push(found);
                }
            }
        }
    }
    reading
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_becomes_places_in_the_original() {
        let view = View::new([2000, 500], [280, 280]).expect("pixels");
        let answer = "```json\n[{\"bbox_2d\": [28, 140, 14, 28], \"label\": \"red circle\"},\n\
                      {\"bbox_2d\": [28, 140, 14, 28], \"label\": \"red circle\"},\n\
                      {\"bbox_2d\": [300, 0, 310, 28], \"label\": \"x\"}, {\"bbox_2d\": [0, 0, 999, 28]}]\n```";
        let reading = read(answer, "a circle", Wanted::Boxes, &view);
        assert!(reading.understood && reading.left_out == 1);
        let [first, second] = &reading.found[..] else { panic!("{reading:?}") };
        assert_eq!((first.what.as_str(), first.label.as_str()), ("a circle", "red circle"));
        assert_eq!(first.place, Place::Box(Rect { left: 100.0, top: 50.0, right: 200.0, bottom: 250.0 }));
        assert_eq!(second.label, "a circle");
        assert_eq!(second.place, Place::Box(Rect { left: 0.0, top: 0.0, right: 2000.0, bottom: 50.0 }));
        let json = serde_json::to_string(&first).expect("json");
        assert_eq!(json, r#"{"what":"a circle","label":"red circle","bbox":[100.0,50.0,200.0,250.0]}"#);
        assert_eq!(&serde_json::from_str::<Found>(&json).expect("the same"), first);
    }

    #[test]
    fn points_are_taken_from_boxes_but_boxes_not_from_points() {
        let view = View::new([280, 280], [280, 280]).expect("pixels");
        let answer = r#"[{"bbox_2d": [10, 20, 30, 60]}, {"point_2d": [5, 6], "label": "b"}]"#;
        let points = read(answer, "x", Wanted::Points, &view).found;
        let places: Vec<Place> = points.iter().map(|f| f.place).collect();
        assert_eq!(places, [Place::Point(Point { x: 20.0, y: 40.0 }), Place::Point(Point { x: 5.0, y: 6.0 })]);
        let boxes = read(answer, "x", Wanted::Boxes, &view).found;
        assert_eq!(boxes.len(), 1);
        let nothing = read("There is no circle.", "x", Wanted::Boxes, &view);
        assert!(nothing.found.is_empty() && !nothing.understood);
        assert!(read("[]", "x", Wanted::Boxes, &view).understood);
    }
}
