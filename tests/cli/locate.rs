//! `qlens locate`. The reference model says nothing sensible, so its answers are replaced where the program keeps them: in
//! the file of `--resume`.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use serde_json::{Value, json};

use crate::util::{Run, json as parse, made_to_say, run, run_with_input, scratch, with_model};

const RED: Rgb<u8> = Rgb([200, 10, 10]);

/// A picture of 120x330 pixels, which the model sees in other proportions, with a red block from (30, 60) to (90, 99).
fn picture() -> RgbImage {
    let red = |x: u32, y: u32| (30..90).contains(&x) && (60..99).contains(&y);
    RgbImage::from_fn(120, 330, |x, y| if red(x, y) { RED } else { Rgb([240, 240, (x / 2) as u8]) })
}

fn locate(words: &[&str]) -> Run {
    run(with_model(&[&["locate", "--max-tokens", "2", "--max-pixels", "20000"], words].concat()))
}

/// Locates once, makes the model have answered `answers` (thing by thing), and locates again with `words` added.
fn with_answers(state: &Path, asked: &[&str], answers: &[&str], words: &[&str]) -> Run {
    let state_arg = state.display().to_string();
    if !state.exists() {
        let said = locate(&[asked, &["--resume", &state_arg, "-q", "--jsonl"]].concat());
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    made_to_say(state, |result| {
        for (i, answer) in answers.iter().enumerate() {
            result["answers"][i]["answer"] = json!(answer);
            result["answers"][i]["stop"] = json!("end");
        }
    });
    locate(&[asked, &["--resume", &state_arg], words].concat())
}

/// What a model would say of the red block, having seen the picture in this size.
fn answer(resized: &Value) -> String {
    let seen = |axis: usize, x: f64| x * resized[axis].as_f64().expect("a side") / [120.0, 330.0][axis];
    let [l, t, r, b] = [seen(0, 30.0), seen(1, 60.0), seen(0, 90.0), seen(1, 99.0)].map(f64::round);
    format!(
        "```json\n[\n\t{{\"bbox_2d\": [{r}, {b}, {l}, {t}], \"label\": \"red \\u001b[2J block\"}},\n\t{{\"bbox_2d\": [0, 0, 9"
    )
}

struct Place {
    folder: tempfile::TempDir,
    file: String,
}

impl Place {
    fn new() -> Place {
        let folder = scratch();
        let file = folder.path().join("photo.png");
        picture().save(&file).expect("written");
        Place { file: file.display().to_string(), folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// What the model saw.
    fn resized(&self) -> Value {
        let said = locate(&["block", &self.file, "--jsonl", "-q"]);
        parse(said.answer())["resized"].clone()
    }
}

#[test]
fn places_are_printed_in_each_form() {
    let place = Place::new();
    let (state, resized) = (place.folder.path().join("state.jsonl"), place.resized());
    assert_ne!(resized[0].as_f64().map(|w| w / 120.0), resized[1].as_f64().map(|h| h / 330.0), "other proportions");
    let answer = answer(&resized);
    let said = |words: &[&str]| with_answers(&state, &["--all", "block", &place.file], &[&answer], words);
    let text = said(&[]);
    assert_eq!(text.stderr, "", "{text:?}");
    let fields: Vec<f64> = text.answer().split('\t').next().map(numbers).expect("numbers");
    // Half a pixel of what the model saw is less than two of these.
    for (found, wanted) in fields.iter().zip([30.0, 60.0, 90.0, 99.0]) {
        assert!((found - wanted).abs() <= 2.0, "{text:?}");
    }
    assert!(text.stdout.ends_with("\tred [2J block\n"), "{text:?}");
    let value = parse(said(&["--json"]).answer());
    assert_eq!(value["what"], json!(["block"]));
    let file = &value["files"][0];
    assert_eq!((&file["width"], &file["height"], &file["resumed"]), (&json!(120), &json!(330), &json!(true)));
    assert_eq!(file["found"].as_array().map(Vec::len), Some(1), "what was cut off has no numbers: {file}");
    let bbox = &file["found"][0]["bbox"];
    assert!(bbox[0].as_f64() < bbox[2].as_f64() && bbox[1].as_f64() < bbox[3].as_f64(), "ordered: {bbox}");
    assert_eq!(file["answers"][0]["question"], "Locate every block, output its bbox coordinates in JSON format.");
    let line = parse(said(&["--jsonl"]).answer());
    assert_eq!((&line["found"], &line["file"]), (&file["found"], &json!(place.file)));
    let coco = parse(said(&["--coco"]).answer());
    assert_eq!(coco["annotations"][0]["bbox"][0], bbox[0]);
    assert_eq!(coco["categories"][0]["name"], "block");
    let yolo = said(&["--yolo"]);
    let shares = numbers(yolo.answer());
    assert!(shares[0] == 0.0 && (shares[1] - 0.5).abs() < 0.02 && (shares[3] - 0.5).abs() < 0.03, "{yolo:?}");
    let out = place.path("out.json");
    assert_eq!(said(&["--coco", "-o", &out]).stdout, "");
    assert_eq!(parse(&fs::read_to_string(&out).expect("written")), coco);
}

fn numbers(text: &str) -> Vec<f64> {
    text.split_whitespace().map_while(|word| word.parse().ok()).collect()
}

#[test]
fn what_was_found_is_drawn_and_cut_out() {
    let place = Place::new();
    let state = place.folder.path().join("state.jsonl");
    let answer = answer(&place.resized());
    let (marked, crops) = (place.path("marked.png"), place.path("crops"));
    let words = ["--annotate", &marked, "--crops", &crops, "-q"];
    assert_eq!(with_answers(&state, &["block", &place.file], &[&answer], &words).code, Some(0));
    let drawn = image::open(&marked).expect("a picture").to_rgb8();
    assert_eq!(drawn.dimensions(), (120, 330));
    assert_eq!(drawn.get_pixel(60, 80), &RED, "the inside stays");
    let changed = drawn.pixels().zip(picture().pixels()).filter(|(a, b)| a != b).count();
    assert!((200..8000).contains(&changed), "{changed}");
    let names: Vec<_> = fs::read_dir(&crops).expect("a folder").map(|e| e.expect("an entry").file_name()).collect();
    assert_eq!(names, ["photo-01-red__2J_block.png"]);
    let crop = image::open(Path::new(&crops).join(&names[0])).expect("a picture").to_rgb8();
    let red = crop.pixels().filter(|&&pixel| pixel == RED).count() as f64;
    assert!(red / f64::from(crop.width() * crop.height()) > 0.9, "{:?}", crop.dimensions());
}

/// A JPEG file whose EXIF block says that the camera was turned.
fn turned(image: &RgbImage, orientation: u8) -> Vec<u8> {
    let mut jpeg = std::io::Cursor::new(Vec::new());
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 95).encode_image(image).expect("encoded");
    let jpeg = jpeg.into_inner();
    let tiff = [b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".as_slice(), &[orientation], b"\0\0\0\0\0\0"]
        .concat();
    let length = u16::try_from(tiff.len() + 2).expect("short").to_be_bytes();
    [&jpeg[..2], b"\xff\xe1", &length, &tiff, &jpeg[2..]].concat()
}

#[test]
fn a_turned_photo_has_the_places_of_its_upright_picture() {
    let place = Place::new();
    let file = place.path("turned.jpg");
    // Lies on its side in the file; a viewer turns it by a quarter to the right.
    let lying = image::imageops::rotate270(&picture());
    assert_eq!(lying.dimensions(), (330, 120));
    fs::write(&file, turned(&lying, 6)).expect("written");
    let answer = answer(&place.resized());
    let crops = place.path("crops");
    let said = with_answers(
        &place.folder.path().join("state.jsonl"),
        &["block", &file],
        &[&answer],
        &["--crops", &crops, "--jsonl", "-q"],
    );
    let line = parse(said.answer());
    assert_eq!((&line["width"], &line["height"]), (&json!(120), &json!(330)));
    let name = fs::read_dir(&crops).expect("a folder").next().expect("a file").expect("an entry").path();
    let crop = image::open(name).expect("a picture").to_rgb8();
    let red = crop.pixels().filter(|p| p[0] > 150 && p[1] < 60).count() as f64;
    assert!(red / f64::from(crop.width() * crop.height()) > 0.85, "{:?}", crop.dimensions());
}

#[test]
fn one_place_unless_all_are_wanted_and_several_things() {
    let place = Place::new();
    let two = r#"[{"bbox_2d": [1, 2, 20, 40], "label": "a"}, {"bbox_2d": [30, 2, 50, 40], "label": "b"}]"#;
    let found = |state: &str, asked: &[&str], answers: &[&str]| {
        let said = with_answers(&place.folder.path().join(state), asked, answers, &["--jsonl", "-q"]);
        parse(said.answer())["found"].as_array().cloned().expect("a list")
    };
    assert_eq!(found("1", &["block", &place.file], &[two]).len(), 1);
    assert_eq!(found("2", &["--all", "block", &place.file], &[two]).len(), 2);
    assert_eq!(found("3", &["all blocks", &place.file], &[two]).len(), 2);
    let both = found("4", &["block, red thing", &place.file], &[two, "I see none. []"]);
    assert_eq!((both.len(), &both[0]["what"]), (1, &json!("block")));
    let point = r#"[{"point_2d": [7, 9], "label": "p"}]"#;
    let points = found("5", &["--points", "block", &place.file], &[point]);
    assert!(points[0]["point"][0].as_f64() > Some(7.0) && points[0].get("bbox").is_none(), "{points:?}");
}

#[test]
fn what_the_model_says_beside_the_point_is_told() {
    let place = Place::new();
    let note = |state: &str, answer: &str| {
        with_answers(&place.folder.path().join(state), &["block", &place.file], &[answer], &[]).stderr
    };
    assert!(note("1", "There is none.").contains("the answer about block holds no places"));
    assert!(note("2", "[]").contains("nothing was found"));
    assert!(note("3", "[{\"bbox_2d\": [9000, 9000, 9001, 9001]}]").contains("1 places outside of the picture"));
    let cut = locate(&["block", &place.file]);
    assert!(cut.code == Some(0) && cut.stderr.contains("--max-tokens"), "{cut:?}");
}

#[cfg(feature = "video")]
#[test]
fn frames_of_a_clip_at_given_times() {
    let clip = crate::util::reference("tiny-tied/clip0.mp4").display().to_string();
    let lines = |words: &[&str]| -> Vec<Value> {
        let said = locate(&[&["circle", "--jsonl", "-q"], words].concat());
        said.answer().lines().map(parse).collect()
    };
    let one = lines(&[&format!("{clip}#t=1.5")]);
    assert_eq!((one.len(), &one[0]["time"]), (1, &json!(1.5)));
    let times: Vec<Value> =
        lines(&[&format!("{clip}#t=0.5,1.5"), "--fps", "4"]).iter().map(|l| l["time"].clone()).collect();
    assert_eq!(times, [0.5, 0.75, 1.0, 1.25, 1.5].map(|t| json!(t)));
    let folder = scratch();
    let out = folder.path().join("frames").display().to_string();
    locate(&["circle", &format!("{clip}#t=0,1"), "--annotate", &out, "-q"]);
    let mut names: Vec<_> = fs::read_dir(&out).expect("a folder").map(|e| e.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["clip0-t0.png", "clip0-t1.png"]);
    locate(&["circle", &clip]).fails(2, &["say when to look", "#t=12.5"]);
    locate(&["circle", &format!("{clip}#t=99")]).fails(2, &["99 s is outside", "3.00 s"]);
}

#[test]
fn what_cannot_be_is_refused() {
    let place = Place::new();
    let file = place.file.as_str();
    locate(&[" , ", file]).fails(2, &["names nothing to find"]);
    locate(&["x", file, file, "--annotate", &place.path("a.png")]).fails(2, &["--annotate", "needs a folder"]);
    locate(&["x", file, file, "--yolo"]).fails(2, &["needs a folder"]);
    locate(&["x", &format!("{file}#t=1")]).fails(2, &["is a picture"]);
    locate(&["x", "missing.png"]).fails(66, &["no such file"]);
    locate(&["x", &place.path("*.tif")]).fails(66, &["no file matches"]);
    for wrong in [&["x", file, "--json", "--coco"][..], &["x", file, "--yolo", "--points"], &["x"]] {
        assert_eq!(locate(wrong).code, Some(2), "{wrong:?}");
    }
    let bytes = fs::read(file).expect("there");
    let piped = run_with_input(with_model(&["locate", "x", "-", "--jsonl", "--max-tokens", "2", "-q"]), &bytes);
    assert_eq!(parse(piped.answer())["file"], "standard input");
}
