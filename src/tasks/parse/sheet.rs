//! One HTML page, with all that it needs in it, that shows each page of a document twice: as it is, with the blocks
//! marked, and beside it what was read, where it was read. What the pointer is on is marked on both sides.
//!
//! Boxes are placed in shares of the page, so they fit at every size of the window. Nothing in it runs: there is no
//! script, and the page forbids itself whatever it doesn't hold.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::annotate::COLOURS;
use super::super::geometry::Rect;
use super::markup::{clean, escaped};
use super::{Kind, Page};

/// A page as it is shown.
#[derive(Clone, Debug)]
pub struct Sheet<'a> {
    /// What it is called.
    pub name: String,
    /// Its width and height in pixels.
    pub size: [usize; 2],
    /// The picture of it, a whole JPEG or PNG file.
    pub picture: Vec<u8>,
    /// The picture's type, `image/jpeg` or `image/png`.
    pub mime: &'static str,
    /// What was read.
    pub page: &'a Page,
}

const STYLE: &str = "
:root { color-scheme: light; }
body { margin: 0; padding: 1rem; background: #eee; color: #111; font: 16px/1.4 system-ui, sans-serif; }
h1.title { font-size: 1.2rem; margin: 0 0 1rem; } h2.name { font-size: 1rem; margin: 1.5rem 0 .5rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; align-items: start; }
@media (max-width: 40rem) { .pair { grid-template-columns: 1fr; } }
.sheet { position: relative; background: #fff; box-shadow: 0 1px 4px #0006; container-type: inline-size; overflow: hidden; }
.sheet > img { position: absolute; left: 0; top: 0; width: 100%; height: 100%; }
.mark, .block { position: absolute; box-sizing: border-box; }
.mark { border: 2px solid var(--c); background: color-mix(in srgb, var(--c) 12%, transparent); }
.mark > span { position: absolute; right: 100%; top: -2px; background: var(--c); color: var(--ink); font: 700 11px/1.3 system-ui, sans-serif; padding: 0 .3em; }
.block { outline: 1px solid color-mix(in srgb, var(--c) 50%, transparent); overflow: hidden; line-height: 1.2; }
.block:hover { overflow: auto; z-index: 1; background: #fff; }
.block > * { margin: 0; padding: 0; font-size: inherit; } .block table { border-collapse: collapse; width: 100%; }
.block td, .block th { border: 1px solid #0004; padding: 0 .2em; text-align: left; font-size: inherit; }
.block ul, .block ol { padding-left: 1.2em; } .block pre { white-space: pre-wrap; font-family: ui-monospace, monospace; }
.block h1, .block h2, .block h3, .block h4, .block h5, .block h6 { font-weight: 700; }
.mark.edge > span { right: auto; left: 0; }
.mark:target, .block:target { outline: 3px solid var(--c); }
.rest, .repairs { font-size: .9rem; } .rest > * { margin: .3rem 0; }
.key { display: flex; flex-wrap: wrap; gap: .3rem 1rem; list-style: none; padding: 0; font-size: .85rem; }
.key li { border-left: 1em solid var(--c); padding-left: .4em; }
";

/// The whole page.
pub fn annotated(title: &str, sheets: &[Sheet<'_>]) -> String {
    let mut body = format!("<h1 class=\"title\">{}</h1>\n{}", escaped(title), key());
    // What is pointed at on one side is marked on the other.
    let mut pairs = String::new();
    for (i, sheet) in sheets.iter().enumerate() {
        one(i + 1, sheet, sheets.len() > 1, &mut body, &mut pairs);
    }
    let mut colours = String::new();
    for kind in Kind::ALL {
        let [r, g, b] = COLOURS[kind.index() % COLOURS.len()];
        // Blue and vermilion are dark enough for white letters.
        let ink = if u32::from(r) * 3 + u32::from(g) * 6 + u32::from(b) > 1250 { "#111" } else { "#fff" };
        let _ = writeln!(colours, ".{} {{ --c: #{r:02x}{g:02x}{b:02x}; --ink: {ink}; }}", kind.name());
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
         style-src 'unsafe-inline'\">\n\
         <title>{}</title>\n<style>{STYLE}{colours}{pairs}</style></head>\n<body>\n{body}</body></html>\n",
        escaped(title)
    )
}

fn key() -> String {
    let item = |kind: Kind| format!("<li class=\"{0}\">{0}</li>", kind.name());
    format!("<ul class=\"key\">{}</ul>\n", Kind::ALL.map(item).concat())
}

fn one(number: usize, sheet: &Sheet<'_>, named: bool, body: &mut String, pairs: &mut String) {
    let [width, height] = sheet.size.map(|side| side.max(1));
    let shape = format!("style=\"aspect-ratio: {width} / {height}\"");
    if named {
        let _ = writeln!(body, "<h2 class=\"name\">{}</h2>", escaped(&sheet.name));
    }
    let (mut marks, mut blocks, mut rest) = (String::new(), String::new(), String::new());
    for (i, block) in sheet.page.blocks.iter().enumerate() {
        let kind = block.kind.name();
        let Some(rect) = &block.bbox else {
            let _ = writeln!(rest, "{}", clean(block, None));
            continue;
        };
        let id = format!("{number}-{}", i + 1);
        let place = place(rect, [width, height]);
        // The number stands before the block, where there is room.
        let edge = if rect.left < width as f64 * 0.05 { " edge" } else { "" };
        let _ = writeln!(
            marks,
            "<a class=\"mark {kind}{edge}\" id=\"o{id}\" href=\"#t{id}\" style=\"{place}\" title=\"{kind}\"><span>{}</span></a>",
            i + 1
        );
        let size = letters(rect, block.kind, &block.text) / width as f64 * 100.0;
        let _ = writeln!(
            blocks,
            "<div class=\"block {kind}\" id=\"t{id}\" style=\"{place};font-size:{size:.3}cqw\">{}</div>",
            clean(block, None)
        );
        let _ = writeln!(
            pairs,
            "body:has(#o{id}:hover) #t{id}, body:has(#t{id}:hover) #o{id} {{ outline: 3px solid var(--c); }}"
        );
    }
    let picture = STANDARD.encode(&sheet.picture);
    let _ = write!(
        body,
        "<div class=\"pair\" id=\"p{number}\">\n\
         <div class=\"sheet original\" {shape}><img alt=\"\" src=\"data:{};base64,{picture}\">\n{marks}</div>\n\
         <div class=\"sheet layout\" {shape}>\n{blocks}</div>\n</div>\n",
        sheet.mime
    );
    if !rest.is_empty() {
        let _ = write!(body, "<div class=\"rest\"><p>Without a place:</p>\n{rest}</div>\n");
    }
    if !sheet.page.repairs.is_empty() {
        let said: Vec<String> = sheet.page.repairs.iter().map(|line| format!("<li>{}</li>", escaped(line))).collect();
        let _ = writeln!(body, "<div class=\"repairs\"><p>Repaired:</p><ul>{}</ul></div>", said.concat());
    }
}

/// Where a box is, in shares of the page.
fn place(rect: &Rect, [width, height]: [usize; 2]) -> String {
    let (across, down) = (100.0 / width as f64, 100.0 / height as f64);
    format!(
        "left:{:.4}%;top:{:.4}%;width:{:.4}%;height:{:.4}%",
        rect.left * across,
        rect.top * down,
        rect.width() * across,
        rect.height() * down
    )
}

/// The height of letters, in pixels of the page, with which the words about fill their box, and fit.
fn letters(rect: &Rect, kind: Kind, text: &str) -> f64 {
    // Of a letter's height: its width on the average, a line's height, and what a list's marks take.
    const WIDTH: f64 = 0.56;
    const LINE: f64 = 1.2;
    const MARKS: f64 = 1.2;
    let text = if text.is_empty() { "(figure)" } else { text };
    let across = if kind == Kind::Table { table_width(text) } else { 0.0 };
    let fits = |size: f64| {
        if kind == Kind::Table {
            return across * size <= rect.width() && text.lines().count() as f64 * LINE * size <= rect.height();
        }
        let room = rect.width() - if kind == Kind::List { MARKS * size } else { 0.0 };
        let per_line = (room / (WIDTH * size)).floor();
        // Words that don't fit whole leave some of a line empty.
        let needed = |line: &str| match line.chars().count() as f64 {
            n if n <= per_line => 1.0,
            n => (n / (per_line - 4.0).max(1.0)).ceil(),
        };
        text.lines().map(needed).sum::<f64>() * LINE * size <= rect.height()
    };
    // Captions inside of figures needn't be as large as those.
    let largest: f64 = if kind == Kind::Figure { 28.0 } else { 400.0 };
    let sizes = std::iter::successors(Some(largest.min(rect.height() / LINE)), |size| Some(size * 0.96));
    sizes.take_while(|size| *size > 2.0).find(|size| fits(*size)).unwrap_or(2.0)
}

/// How wide a table is whose cells (between tabs) aren't broken into lines, in heights of a letter.
fn table_width(text: &str) -> f64 {
    // Tables hold figures and capitals, which are wider than running text; a cell has its padding and its border.
    const WIDTH: f64 = 0.68;
    const CELL: f64 = 0.6;
    let mut columns: Vec<usize> = Vec::new();
    for row in text.lines() {
        for (i, cell) in row.split('\t').enumerate() {
            let length = cell.chars().count();
            match columns.get_mut(i) {
                Some(widest) => *widest = length.max(*widest),
                None => columns.push(length),
            }
        }
    }
    columns.iter().map(|&widest| widest as f64 * WIDTH + CELL).sum()
}

#[cfg(test)]
mod tests {
    use super::super::Block;
    use super::*;

    fn page() -> Page {
        let block = |kind, corners: [f64; 4], text: &str| Block {
            bbox: Rect::between([corners[0], corners[1]], [corners[2], corners[3]]),
            text: text.into(),
            ..Block::of(kind)
        };
        let mut blocks = vec![
            block(Kind::Heading, [10.0, 10.0, 110.0, 30.0], "A <b>title</b>"),
            block(Kind::Paragraph, [10.0, 40.0, 190.0, 90.0], "</style><script>alert(1)</script>"),
        ];
        blocks.push(Block { text: "nowhere".into(), ..Block::of(Kind::Paragraph) });
        Page { blocks, repairs: vec!["1 <x> was closed".into()] }
    }

    #[test]
    fn the_page_holds_all_and_runs_nothing() {
        let page = page();
        let sheet = Sheet {
            name: "a\"><script>".into(),
            size: [200, 100],
            picture: b"picture".to_vec(),
            mime: "image/jpeg",
            page: &page,
        };
        let html = annotated("t</title><script>x", &[sheet.clone(), sheet]);
        assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
        assert!(html.contains("A &lt;b&gt;title&lt;/b&gt;") && html.contains("1 &lt;x&gt; was closed"));
        assert!(html.contains("style=\"left:5.0000%;top:10.0000%;width:50.0000%;height:20.0000%\""), "{html}");
        assert!(html.contains("id=\"o2-2\" href=\"#t2-2\"") && html.contains("Without a place:"));
        assert!(html.contains(&format!("data:image/jpeg;base64,{}", STANDARD.encode("picture"))));
        // No address leads out of the page.
        assert!(!html.contains("http:") && !html.contains("https:") && !html.contains("url("));
        let dom = super::super::dom::Dom::parse(html.trim_start_matches("<!doctype html>"));
        assert_eq!(dom.errors, 0, "well formed");
    }

    #[test]
    fn letters_fill_their_box() {
        let rect = Rect { left: 0.0, top: 0.0, right: 400.0, bottom: 40.0 };
        assert!(letters(&rect, Kind::Heading, "one line") > 30.0);
        assert!(letters(&rect, Kind::Heading, &"x".repeat(40)) < 18.0);
        assert!((2.0..10.0).contains(&letters(&rect, Kind::Paragraph, &"many words ".repeat(40))));
        assert!(letters(&rect, Kind::Figure, "") <= 28.0);
        let table = letters(&rect, Kind::Table, "name\t12345678901234567890\nlonger\t1");
        assert!((12.0..20.0).contains(&table), "{table}: its cells stand in one line each");
        let nothing = Rect { left: 0.0, top: 0.0, right: 0.1, bottom: 0.1 };
        assert_eq!(letters(&nothing, Kind::List, "x"), 2.0);
    }
}
