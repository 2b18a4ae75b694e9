//! What was found as data sets have it. Coordinates are those of the upright picture there, too.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Found, Place};

/// A picture and what was found in it.
#[derive(Clone, Debug)]
pub struct Labelled<'a> {
    /// The file's name.
    pub file: String,
    /// Width and height in pixels.
    pub size: [usize; 2],
    /// What was found.
    pub found: &'a [Found],
}

/// A COCO annotation: of a box as object detection has it, of a point as a keypoint.
#[derive(Serialize)]
struct Annotation {
    id: usize,
    image_id: usize,
    category_id: usize,
    bbox: [f64; 4],
    area: f64,
    iscrowd: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    keypoints: Option<[f64; 3]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_keypoints: Option<usize>,
    /// Beyond COCO: what the model calls it.
    label: String,
}

fn hundredths(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}

/// COCO's JSON object: images, annotations, and `classes`, in this order, as categories. Ids count from 1.
pub fn coco(pictures: &[Labelled<'_>], classes: &[String]) -> Value {
    let images: Vec<Value> = pictures
        .iter()
        .enumerate()
        .map(|(i, p)| json!({"id": i + 1, "file_name": p.file, "width": p.size[0], "height": p.size[1]}))
        .collect();
    let mut annotations = Vec::new();
    let mut any_point = false;
    for (i, picture) in pictures.iter().enumerate() {
        for found in picture.found {
            let Some(class) = classes.iter().position(|class| *class == found.what) else { continue };
            let (bbox, area, point) = match found.place {
                Place::Box(r) => ([r.left, r.top, r.width(), r.height()], r.width() * r.height(), None),
                Place::Point(p) => ([p.x, p.y, 0.0, 0.0], 0.0, Some([p.x, p.y, 2.0])),
            };
            any_point |= point.is_some();
            annotations.push(Annotation {
                id: annotations.len() + 1,
                image_id: i + 1,
                category_id: class + 1,
                bbox: bbox.map(hundredths),
                area: hundredths(area),
                iscrowd: 0,
                keypoints: point.map(|point| point.map(hundredths)),
                num_keypoints: point.map(|_| 1),
                label: found.label.clone(),
            });
        }
    }
    let category = |(i, name): (usize, &String)| {
        let mut category = json!({"id": i + 1, "name": name, "supercategory": ""});
        if any_point {
            category["keypoints"] = json!(["point"]);
            category["skeleton"] = json!([]);
        }
        category
    };
    let categories: Vec<Value> = classes.iter().enumerate().map(category).collect();
    json!({
        "info": {"description": "located by qlens; pixels of the upright pictures"},
        "images": images,
        "annotations": annotations,
        "categories": categories,
    })
}

/// YOLO's lines for one picture: the class's number from 0, then the box's centre, width and height as shares of the
/// picture's. Points have no lines.
pub fn yolo(picture: &Labelled<'_>, classes: &[String]) -> String {
    let mut lines = String::new();
    for found in picture.found {
        let class = classes.iter().position(|class| *class == found.what);
        if let (Some(class), Place::Box(rect)) = (class, found.place) {
            let [width, height] = picture.size.map(|side| side.max(1) as f64);
            let (centre, w, h) = (rect.centre(), rect.width() / width, rect.height() / height);
            let _ = writeln!(lines, "{class} {:.6} {:.6} {w:.6} {h:.6}", centre.x / width, centre.y / height);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::geometry::{Point, Rect};

    fn found(what: &str, place: Place) -> Found {
        Found { what: what.into(), label: "it".into(), text: None, place }
    }

    #[test]
    fn coco_and_yolo() {
        let rect = Rect { left: 10.0, top: 20.0, right: 60.0, bottom: 30.004 };
        let all = [found("b", Place::Box(rect)), found("other", Place::Box(rect))];
        let classes = ["a".to_owned(), "b".to_owned()];
        let picture = Labelled { file: "x.png".into(), size: [100, 40], found: &all };
        assert_eq!(yolo(&picture, &classes), "1 0.350000 0.625050 0.500000 0.250100\n");
        let json = coco(&[Labelled { file: "w.png".into(), size: [5, 6], found: &[] }, picture], &classes);
        assert_eq!(json["images"][1], json!({"id": 2, "file_name": "x.png", "width": 100, "height": 40}));
        assert_eq!(json["annotations"].as_array().map(Vec::len), Some(1));
        let wanted = json!({"id": 1, "image_id": 2, "category_id": 2, "bbox": [10.0, 20.0, 50.0, 10.0], "area": 500.2,
                            "iscrowd": 0, "label": "it"});
        assert_eq!(json["annotations"][0], wanted);
        assert_eq!(json["categories"][1], json!({"id": 2, "name": "b", "supercategory": ""}));
    }

    #[test]
    fn a_point_is_a_keypoint() {
        let all = [found("a", Place::Point(Point { x: 3.0, y: 4.5 }))];
        let picture = Labelled { file: "x.png".into(), size: [100, 40], found: &all };
        assert_eq!(yolo(&picture, &["a".to_owned()]), "");
        let json = coco(&[picture], &["a".to_owned()]);
        assert_eq!(json["annotations"][0]["keypoints"], json!([3.0, 4.5, 2.0]));
        assert_eq!(json["categories"][0]["keypoints"], json!(["point"]));
    }
}
