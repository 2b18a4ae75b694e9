use proptest::prelude::*;

use super::super::{Titled, annotated, html, markdown, qwen_html, text};
use super::*;

fn view() -> View {
    View::new([2000, 1000], [280, 280]).expect("pixels")
}

fn page(answer: &str) -> Page {
    read(answer, &view(), false)
}

fn titled(page: &Page) -> Vec<Titled<'_>> {
    vec![Titled { name: "doc".into(), page, figures: vec![] }]
}

/// As the demo model and Qwen2.5-VL's technical report write it.
const WHOLE: &str = r#"<html><body>
<h1 data-bbox="14 28 140 56">A  title &amp; more</h1>
<p data-bbox="14 70 266 98">One<br>two</p>
<table data-bbox="14 110 266 180"><tr><th>a</th><th>b</th></tr><tr><td colspan="2">c</td></tr></table>
<ol data-bbox="14 190 140 210"><li>x<ul><li>y</li></ul></li><li>z</li></ol>
<div class="image caption" data-bbox="140 190 266 230"><img data-bbox="140 190 266 220"/><p>Figure 1</p></div>
<div class="chart" data-bbox="140 230 266 240"><img data-bbox="140 230 266 240"/><table><tr><td>1</td></tr></table></div>
<div class="formula" data-bbox="14 240 140 250"><img data-bbox="14 240 140 250"/><div>E = mc^2</div></div>
<div class="music sheet" format="abc notation" data-bbox="14 260 140 270"><img/><div>X:1
K:C</div></div>
</body></html>"#;

#[test]
fn a_whole_page_becomes_blocks_in_the_originals_pixels() {
    let page = page(WHOLE);
    assert_eq!(page.repairs, Vec::<String>::new());
    let kinds: Vec<Kind> = page.blocks.iter().map(|b| b.kind).collect();
    use Kind::*;
    assert_eq!(kinds, [Heading, Paragraph, Table, List, Figure, Figure, Formula, Formula]);
    let [title, words, table, list, figure, chart, formula, music] = &page.blocks[..] else { panic!() };
    assert_eq!((title.level, title.text.as_str()), (Some(1), "A title & more"));
    assert_eq!(title.bbox.map(|r| r.corners()), Some([100.0, 100.0, 1000.0, 200.0]));
    assert_eq!(words.text, "One\ntwo");
    assert_eq!(table.text, "a\tb\nc");
    assert!(table.rows[0][0].header && table.rows[1][0].colspan == 2);
    let items: Vec<(&str, usize)> = list.items.iter().map(|i| (i.text.as_str(), i.depth)).collect();
    assert_eq!((items, list.ordered), (vec![("x", 0), ("y", 1), ("z", 0)], true));
    assert_eq!(figure.text, "Figure 1");
    assert_eq!(chart.rows[0][0].text, "1");
    assert_eq!((formula.text.as_str(), formula.notation.as_deref()), ("E = mc^2", Some("latex")));
    assert_eq!((music.text.as_str(), music.notation.as_deref()), ("X:1\nK:C", Some("abc notation")));
}

#[test]
fn formats() {
    let page = page(WHOLE);
    insta::assert_snapshot!("markdown", markdown(&titled(&page)));
    insta::assert_snapshot!("text", text(&titled(&page)));
    insta::assert_snapshot!("html", html(&titled(&page)));
    insta::assert_snapshot!("qwen_html", qwen_html(&titled(&page)));
    let figures = vec![(4, "figures/a b.png".to_owned())];
    let two = [Titled { name: "a--b, page 1".into(), page: &page, figures }, titled(&page).remove(0)];
    let said = markdown(&two);
    assert!(said.starts_with("<!-- a- -b, page 1 -->\n\n# A title"), "{said}");
    assert!(said.contains("![Figure 1](<figures/a b.png>)\n"), "{said}");
    assert!(html(&two).contains("<img src=\"figures/a%20b.png\" alt=\"\">"));
    assert!(text(&two).starts_with("--- a--b, page 1 ---\n\nA title & more\n"));
}

#[test]
fn what_is_written_is_read_again() {
    let first = page(WHOLE);
    // Boxes are in the original's pixels now.
    let own = View::new([2000, 1000], [2000, 1000]).expect("pixels");
    let again = read(&qwen_html(&titled(&first)), &own, false);
    assert_eq!(again.repairs, Vec::<String>::new());
    let bare = |page: &Page| -> Vec<(Kind, String, Option<[f64; 4]>)> {
        page.blocks.iter().map(|b| (b.kind, b.text.clone(), b.bbox.map(|r| r.corners().map(f64::round)))).collect()
    };
    assert_eq!(bare(&again), bare(&first));
}

/// An answer, the blocks in it, and what is told of its damage.
type Damaged<'a> = (&'a str, &'a [(Kind, &'a str)], &'a str);

#[test]
fn damage_is_mended_and_told() {
    let cases: [Damaged<'_>; 9] = [
        ("```html\n<p data-bbox=\"1 2 30 40\">a</p>\n```", &[(Kind::Paragraph, "a")], "code fence"),
        (
            "<p data-bbox=\"1 2 30 40\">a<p data-bbox=\"1 50 30 90\">b",
            &[(Kind::Paragraph, "a"), (Kind::Paragraph, "b")],
            "2 elements were (p) closed",
        ),
        ("<p data-bbox=\"1 2 30\">a</p>", &[(Kind::Paragraph, "a")], "1 box could not be read"),
        ("<p data-bbox=\"300 2 310 9\">a</p>", &[(Kind::Paragraph, "a")], "1 box was outside"),
        ("<p>a</p>", &[(Kind::Paragraph, "a")], "1 block has no box"),
        ("Just words", &[(Kind::Paragraph, "Just words")], "1 block has no box"),
        ("<p data-bbox=\"1 2 30 40\">a</p></div>", &[(Kind::Paragraph, "a")], "closing tag"),
        (
            "<h2 data-bbox=\"1 2 30 40\">a</h2><table data-bbox=\"1 50 9 60\"><tr><td>b",
            &[(Kind::Heading, "a"), (Kind::Table, "b")],
            "3 elements were (table, tr, td) closed",
        ),
        ("<div data-bbox=\"1 2 30 40\"><b>bold</b> words</div>", &[(Kind::Paragraph, "bold words")], ""),
    ];
    for (answer, blocks, told) in cases {
        let page = page(answer);
        let found: Vec<(Kind, &str)> = page.blocks.iter().map(|b| (b.kind, b.text.as_str())).collect();
        assert_eq!(found, blocks, "{answer}");
        let said = page.repairs.join("; ");
        assert!(said.contains(told) && said.is_empty() == told.is_empty(), "{answer}: {said}");
    }
    assert!(read("<p>a", &view(), true).repairs[0].contains("cut off"));
}

#[test]
fn hostile_answers_end_soon_and_do_no_harm() {
    let deep = "<div data-bbox=\"1 2 3 4\">".repeat(1500) + "x";
    assert!(page(&deep).blocks.iter().any(|b| b.text == "x"));
    assert_eq!(page(&"<p>a</p>".repeat(5000)).blocks.len(), MAX_BLOCKS);
    page(&"<table><tr><td>".repeat(300));
    page(&"<ul><li>".repeat(1000));
    let page = page(
        "<p data-bbox=\"1 2 30 40\">a\u{1b}[2J\u{9b}31m &#27;[1m &lt;script&gt; \u{202e}b</p><script>alert(1)</script>",
    );
    assert_eq!(page.blocks.len(), 1);
    assert_eq!(page.blocks[0].text, "a[2J31m [1m <script> b");
}

proptest! {
    #[test]
    fn any_answer_becomes_well_formed_pages(
        pieces in prop::collection::vec(
            prop_oneof![
                prop::sample::select(vec![
                    "<p data-bbox=\"1 2 30 40\">", "</p>", "<table>", "<tr>", "<td colspan=\"3\">", "</td>", "</table>", "<ul>",
                    "<li>", "</ul>", "<div class=\"image\">", "<img data-bbox=\"5 5 9 9\"/>", "</div>", "<h2>", "</h2>",
                    "<div class=\"formula\">", "<script>", "</script>", "<!--", "-->", "<br>", "&lt;", "\"", "'", "```", "|",
                ]).prop_map(str::to_owned),
                "\\PC{0,6}",
            ],
            0..30,
        ),
    ) {
        let page = read(&pieces.concat(), &view(), false);
        for block in &page.blocks {
            prop_assert!(!block.text.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{:?}", block.text);
        }
        let pages = titled(&page);
        let _ = (markdown(&pages), text(&pages));
        let sheet = super::super::Sheet {
            name: "x".into(), size: [2000, 1000], picture: vec![1], mime: "image/png", page: &page,
        };
        for html in [html(&pages), annotated("x", &[sheet])] {
            let dom = Dom::parse(html.trim_start_matches("<!doctype html>"));
            prop_assert_eq!(dom.errors, 0, "{}", html);
            prop_assert!(dom.find(0, |id| dom.name(id) == "script").is_none());
        }
        prop_assert_eq!(repair::tags(&qwen_html(&pages)), Vec::<String>::new());
        // As JSON and back.
        let json = serde_json::to_string(&page).expect("json");
        let read_again: Page = serde_json::from_str(&json).expect("a page");
        prop_assert_eq!(read_again.blocks.len(), page.blocks.len());
    }
}
