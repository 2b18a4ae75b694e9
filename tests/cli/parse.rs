//! `qlens parse`, with answers replaced as in the tests of `locate`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::util::{Run, json as as_json, made_to_say, qlens, run, scratch, with_model};

const FAST: [&str; 5] = ["parse", "--max-tokens", "2", "--max-pixels", "20000"];

fn words(words: &[&str]) -> Vec<String> {
    with_model(&[&FAST[..], words].concat())
}

fn parse(args: &[&str]) -> Run {
    run(words(args))
}

/// A page of 200x300 pixels with a dark block from (20, 200) to (120, 280).
fn page() -> image::RgbImage {
    let dark = |x: u32, y: u32| (20..120).contains(&x) && (200..280).contains(&y);
    image::RgbImage::from_fn(200, 300, |x, y| image::Rgb(if dark(x, y) { [40, 60, 90] } else { [250, 250, 245] }))
}

struct Place {
    folder: tempfile::TempDir,
    file: String,
}

impl Place {
    fn new() -> Place {
        let folder = scratch();
        let file = folder.path().join("page <1>.png");
        page().save(&file).expect("written");
        Place { file: file.display().to_string(), folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// What the model saw.
    fn resized(&self) -> Value {
        as_json(parse(&[&self.file, "--jsonl", "-q"]).answer())["resized"].clone()
    }

    /// Makes the model have said `answer` of every page, and parses again with `words` added.
    fn with_answer(&self, asked: &[&str], answer: &str, words: &[&str]) -> Run {
        let state = self.folder.path().join("state.jsonl");
        let state_arg = state.display().to_string();
        if !state.exists() {
            let said = parse(&[asked, &["--resume", &state_arg, "--jsonl", "-q"]].concat());
            assert_eq!(said.code, Some(0), "{said:?}");
        }
        made_to_say(&state, |result| {
            result["answer"] = json!(answer);
            result["stop"] = json!("end");
        });
        parse(&[asked, &["--resume", &state_arg], words].concat())
    }
}

/// A page's contents as a model would tell them, having seen the page in this size.
fn answer(resized: &Value) -> String {
    let seen = |corners: [f64; 4]| {
        let [w, h] = [0, 1].map(|axis| resized[axis].as_f64().expect("a side"));
        let [l, t, r, b] = corners;
        format!("{:.0} {:.0} {:.0} {:.0}", l * w / 200.0, t * h / 300.0, r * w / 200.0, b * h / 300.0)
    };
    format!(
        "<html><body>\n<h1 data-bbox=\"{}\">A &lt;title&gt;</h1>\n<p data-bbox=\"{}\">One\u{1b}[2J word</p>\n\
         <div class=\"image caption\" data-bbox=\"{2}\"><img data-bbox=\"{2}\"/><p>Fig. 1</p></div>\n\
         <table data-bbox=\"{3}\"><tr><th>a</th><td>b</td></tr></table>\n</body></html>",
        seen([20.0, 10.0, 180.0, 40.0]),
        seen([20.0, 50.0, 180.0, 90.0]),
        seen([20.0, 200.0, 120.0, 280.0]),
        seen([130.0, 200.0, 190.0, 280.0]),
    )
}

#[test]
fn a_page_in_each_form() {
    let place = Place::new();
    let answer = answer(&place.resized());
    let said = |words: &[&str]| place.with_answer(&[&place.file], &answer, words);
    let md = said(&[]);
    assert_eq!(md.answer(), "# A &lt;title>\n\nOne\\[2J word\n\n*(figure: Fig. 1)*\n\n| a | b |\n|---|---|\n");
    assert_eq!(md.stderr, "", "{md:?}");
    assert_eq!(said(&["--to", "text"]).answer(), "A <title>\n\nOne[2J word\n\nFig. 1\n\na\tb\n");
    let html = said(&["--to", "html"]);
    assert!(
        html.answer().starts_with("<!doctype html>") && html.stdout.contains("<h1>A &lt;title&gt;</h1>"),
        "{html:?}"
    );
    let qwen = said(&["--to", "qwen"]);
    assert!(qwen.answer().starts_with("<html><body>\n<h1 data-bbox=\""), "{qwen:?}");
    let value = as_json(said(&["--json"]).answer());
    let file = &value["files"][0];
    assert_eq!((&file["width"], &file["height"], &file["repairs"]), (&json!(200), &json!(300), &json!([])));
    let kinds: Vec<&str> =
        file["blocks"].as_array().expect("blocks").iter().filter_map(|b| b["kind"].as_str()).collect();
    assert_eq!(kinds, ["heading", "paragraph", "figure", "table"]);
    // Half a pixel of what the model saw is about one of these.
    let bbox = &file["blocks"][2]["bbox"];
    for (found, wanted) in [20.0, 200.0, 120.0, 280.0].iter().enumerate().map(|(i, w)| (bbox[i].as_f64(), w)) {
        assert!(found.is_some_and(|found| (found - wanted).abs() < 2.0), "{bbox}");
    }
    let line = as_json(said(&["--jsonl"]).answer());
    assert_eq!(line["blocks"], file["blocks"]);
    let out = place.path("out.md");
    assert_eq!(said(&["-o", &out]).stdout, "");
    assert_eq!(fs::read_to_string(&out).expect("written"), md.stdout);
}

#[test]
fn json_goes_into_a_file_of_any_name() {
    let place = Place::new();
    let answer = answer(&place.resized());
    // A name without an ending is a folder for everything else.
    let out = place.path("result");
    let said = place.with_answer(&[&place.file], &answer, &["--json", "-o", &out, "-q"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), ""), "{said:?}");
    let written: Value = serde_json::from_str(&fs::read_to_string(&out).expect("a file")).expect("JSON");
    assert_eq!(written["files"].as_array().map(Vec::len), Some(1));
    // As elsewhere, - is standard output.
    let said = place.with_answer(&[&place.file], &answer, &["--json", "-o", "-", "-q"]);
    assert!(said.answer().starts_with('{'), "{said:?}");
}

#[test]
fn damage_in_the_answer_is_told() {
    let place = Place::new();
    let said = place.with_answer(&[&place.file], "```html\n<p data-bbox=\"1 2 30 40\">a<p data-bbox=\"1 2\">b", &[]);
    assert_eq!(said.answer(), "a\n\nb\n");
    for word in ["repaired", "code fence", "2 elements were (p) closed", "1 box could not be read"] {
        assert!(said.stderr.contains(word), "{said:?}");
    }
    let cut = parse(&[&place.file]);
    assert!(cut.code == Some(0) && cut.stderr.contains("cut off"), "{cut:?}");
}

#[test]
fn blocks_are_shown_and_figures_cut_out() {
    let place = Place::new();
    let answer = answer(&place.resized());
    let (marked, layout, figures) = (place.path("marked.png"), place.path("layout.html"), place.path("figures"));
    let said = |words: &[&str]| place.with_answer(&[&place.file], &answer, words);
    assert_eq!(said(&["--annotate", &marked, "-q"]).code, Some(0));
    let drawn = image::open(&marked).expect("a picture").to_rgb8();
    assert!(drawn.dimensions() == (200, 300) && drawn != page());
    assert_eq!(said(&["--annotate", &layout, "-q"]).code, Some(0));
    let html = fs::read_to_string(&layout).expect("a page");
    assert!(html.contains("data:image/jpeg;base64,") && html.contains("id=\"t1-4\""), "whole");
    assert!(html.contains("<title>") && !html.contains("page <1>") && !html.contains("<script"), "no markup of others");
    let out = place.path("out.md");
    assert_eq!(said(&["--figures", &figures, "-o", &out, "-q"]).code, Some(0));
    let md = fs::read_to_string(&out).expect("written");
    assert!(md.contains("![Fig. 1](<figures/page__1-figure01.png>)"), "{md}");
    let figure = image::open(Path::new(&figures).join("page__1-figure01.png")).expect("a picture").to_rgb8();
    let dark = figure.pixels().filter(|p| p[0] == 40).count() as f64;
    assert!(dark / f64::from(figure.width() * figure.height()) > 0.9, "{:?}", figure.dimensions());
    let several = ["--annotate", &layout, &place.file];
    parse(&[&[place.file.as_str()], &several[..]].concat()).fails(2, &["needs a folder"]);
}

/// Programs in the place of poppler's: a document of three pages, all like `page`, of which the second can't be drawn.
#[cfg(unix)]
fn stand_ins(place: &Place) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let bin = place.folder.path().join("bin");
    fs::create_dir(&bin).expect("made");
    let program = |name: &str, script: String| {
        let path = bin.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("allowed");
    };
    program("pdfinfo", "echo 'Pages:           3'; echo \"Page    $2 size:  144 x 216 pts\"".into());
    let draw = format!(
        "case \"$*\" in *'-f 2 '*) echo 'Syntax Error: bad page' >&2; exit 1;; esac; /bin/cat '{}'",
        place.file
    );
    program("pdftoppm", draw);
    bin
}

#[cfg(unix)]
fn with_path(path: &Path, args: &[&str]) -> Run {
    qlens().args(words(args)).env("PATH", path).output().expect("the program starts").into()
}

#[cfg(unix)]
#[test]
fn documents_are_read_page_by_page() {
    let place = Place::new();
    let bin = stand_ins(&place);
    let pdf = place.path("doc.pdf");
    fs::write(&pdf, "%PDF-1.4 not really").expect("written");
    let said = with_path(&bin, &[&pdf, "--jsonl"]);
    assert_eq!(said.code, Some(65), "{said:?}");
    let lines: Vec<Value> = said.stdout.lines().map(as_json).collect();
    let pages: Vec<&Value> = lines.iter().map(|l| &l["page"]).collect();
    assert_eq!(pages, [1, 2, 3]);
    assert!(lines[1]["error"].as_str().is_some_and(|e| e.contains("bad page")), "{}", lines[1]);
    assert_eq!((&lines[2]["width"], &lines[0]["file"]), (&json!(200), &json!(pdf)));
    assert!(said.stderr.contains("1 of 1 files could not be done, or not wholly"), "{said:?}");
    let some = with_path(&bin, &[&pdf, "--pages", "3", "--to", "qwen", "-q"]);
    assert_eq!(some.code, Some(0), "{some:?}");
    // From standard input, too; where no documents are wanted, none is taken in.
    let piped = |args: Vec<String>| -> Run {
        let file = fs::File::open(&pdf).expect("there");
        qlens().args(args).env("PATH", &bin).stdin(file).output().expect("the program starts").into()
    };
    let line = as_json(piped(words(&["-", "--pages", "3", "--jsonl", "-q"])).answer());
    assert_eq!((&line["file"], &line["page"]), (&json!("standard input"), &json!(3)));
    piped(with_model(&["describe", "-"])).fails(65, &["standard input", "PDF document", "qlens parse"]);
    with_path(&bin, &[&pdf, "--pages", "7-"]).fails(2, &["has 3 pages, none of which is among --pages"]);
    // In one page for browsers, each with its number.
    let layout = place.path("doc.html");
    let said = with_path(&bin, &[&pdf, "--pages", "1,3", "--annotate", &layout, "-q"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let html = fs::read_to_string(&layout).expect("a page");
    assert!(html.contains("doc.pdf, page 1</h2>") && html.contains("doc.pdf, page 3</h2>"));
    assert!(html.matches("data:image/jpeg").count() == 2);
}

#[cfg(unix)]
#[test]
fn a_missing_program_is_named_with_its_package() {
    let place = Place::new();
    let pdf = place.path("doc.pdf");
    fs::write(&pdf, "%PDF-1.4").expect("written");
    let nothing = place.folder.path().join("empty");
    fs::create_dir(&nothing).expect("made");
    with_path(&nothing, &[&pdf]).fails(1, &["doc.pdf", "pdfinfo", "poppler-utils"]);
}

/// A document of one page, 144x72 points, with a black block in its left half.
const PDF: &str = "%PDF-1.4
1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj
2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj
3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 144 72]/Contents 4 0 R>>endobj
4 0 obj<</Length 14>>stream
0 0 72 72 re f
endstream endobj
trailer<</Root 1 0 R/Size 5>>
";

#[test]
fn real_documents_where_poppler_is_installed() {
    if Command::new("pdftoppm").arg("-v").output().is_err() {
        eprintln!("SKIPPED: pdftoppm (poppler-utils) isn't installed");
        return;
    }
    let place = Place::new();
    let pdf = place.path("-doc.pdf");
    fs::write(&pdf, PDF).expect("written");
    let said = parse(&[&pdf, "--jsonl", "-q", "--dpi", "100"]);
    let line = as_json(said.answer());
    assert_eq!((&line["width"], &line["height"], &line["page"]), (&json!(200), &json!(100), &json!(1)));
    let answer = "<div class=\"image\" data-bbox=\"0 0 9999 9999\"><img/></div>";
    let figures = place.path("figures");
    let said = place.with_answer(&[&pdf, "--dpi", "100"], answer, &["--figures", &figures, "-q"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let drawn = image::open(Path::new(&figures).join("-doc-p01-figure01.png")).expect("a picture").to_rgb8();
    assert_eq!(
        (drawn.dimensions(), drawn.get_pixel(50, 50).0, drawn.get_pixel(150, 50).0),
        ((200, 100), [0; 3], [255; 3])
    );
    fs::write(&pdf, "%PDF-1.4 damaged").expect("written");
    parse(&[&pdf]).fails(65, &["-doc.pdf", "damaged"]);
}
