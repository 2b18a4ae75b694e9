//! The page that `parse --annotate OUT.html` writes, in a browser: its boxes have to lie where the blocks are.

use std::path::PathBuf;
use std::process::Command;

use qlens::tasks::geometry::Rect;
use qlens::tasks::parse::{Block, Kind, Page, Sheet, annotated};
use serde_json::Value;

use crate::util::{json, png, scratch};

const BROWSERS: [&str; 5] =
    ["chromium", "chromium-browser", "google-chrome", "chrome-headless-shell", "chromium-headless-shell"];

/// A browser, where there is one: $QLENS_BROWSER, or what is on the path.
fn browser() -> Option<PathBuf> {
    let named = std::env::var_os("QLENS_BROWSER").map(PathBuf::from);
    named
        .into_iter()
        .chain(BROWSERS.map(PathBuf::from))
        .find(|program| Command::new(program).arg("--version").output().is_ok())
}

/// Writes where each element is into the page, where `--dump-dom` finds it.
const MEASURE: &str = r#"<script>
addEventListener("load", () => {
  const place = e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
  const all = {};
  for (const e of document.querySelectorAll(".original > img, .layout, .mark, .block"))
    all[e.id || (e.tagName == "IMG" ? "img" : "layout")] = place(e);
  all.natural = [document.images[0].naturalWidth, document.images[0].naturalHeight];
  all.overflow = [...document.querySelectorAll(".block")].map(e => e.scrollHeight / e.clientHeight);
  const out = document.createElement("output");
  out.id = "measured";
  out.textContent = JSON.stringify(all);
  document.body.append(out);
});
</script>"#;

#[test]
fn boxes_lie_over_the_words_in_a_browser() {
    let Some(browser) = browser() else {
        eprintln!("SKIPPED: no Chromium is installed (or name one in $QLENS_BROWSER)");
        return;
    };
    let (width, height) = (400, 300);
    let corners = [[20.0, 15.0, 380.0, 45.0], [20.0, 60.0, 190.0, 280.0], [210.5, 60.25, 399.0, 299.0]];
    let words = ["A title", &"Many words of running text. ".repeat(20), "<img src=x onerror=alert(1)>"];
    let kinds = [Kind::Heading, Kind::Paragraph, Kind::Caption];
    let block = |i: usize| Block {
        kind: kinds[i],
        level: None,
        bbox: Rect::between([corners[i][0], corners[i][1]], [corners[i][2], corners[i][3]]),
        text: words[i].to_owned(),
        rows: Vec::new(),
        items: Vec::new(),
        ordered: false,
        notation: None,
    };
    let page = Page { blocks: (0..3).map(block).collect(), repairs: Vec::new() };
    let sheet =
        Sheet { name: "x".into(), size: [400, 300], picture: png(width, height), mime: "image/png", page: &page };
    let html = annotated("<x>", &[sheet]);
    // The page forbids scripts; a copy without that line is measured.
    let line = html.lines().find(|line| line.contains("Content-Security-Policy")).expect("it does");
    let open = html.replace(line, "").replace("</body>", &format!("{MEASURE}</body>"));
    let folder = scratch();
    let file = folder.path().join("page.html");
    std::fs::write(&file, open).expect("written");
    let profile = folder.path().join("profile");
    let output = Command::new(&browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1300,900", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}", file.display()))
        .output()
        .expect("the browser runs");
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let measured = dom.split("<output id=\"measured\">").nth(1).and_then(|rest| rest.split("</output>").next());
    let measured =
        json(&measured.unwrap_or_else(|| panic!("{browser:?} measured nothing: {dom}")).replace("&quot;", "\""));
    let place = |id: &str| -> [f64; 4] { [0, 1, 2, 3].map(|i| measured[id][i].as_f64().unwrap_or(f64::NAN)) };
    assert_eq!(measured["natural"], Value::from(vec![width, height]), "the picture is shown");
    for (sheet, marks) in [("img", "o"), ("layout", "t")] {
        let [left, top, right, bottom] = place(sheet);
        let scale = [(right - left) / f64::from(width), (bottom - top) / f64::from(height)];
        assert!((scale[0] - scale[1]).abs() < 0.01 && scale[0] > 1.0, "undistorted and large: {scale:?}");
        for (i, wanted) in corners.iter().enumerate() {
            let found = place(&format!("{marks}1-{}", i + 1));
            for (side, (found, wanted)) in found.iter().zip(wanted).enumerate() {
                let seen = (found - [left, top][side % 2]) / scale[side % 2];
                assert!((seen - wanted).abs() < 1.0, "{sheet} {i}: {seen} {wanted}");
            }
        }
    }
    for share in measured["overflow"].as_array().expect("a list") {
        assert!(share.as_f64().is_some_and(|share| share < 1.1), "the words fit: {measured}");
    }
}
