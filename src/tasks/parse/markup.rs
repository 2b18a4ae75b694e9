//! Pages as HTML: with boxes, as the models write it, and clean, for browsers.

use std::fmt::Write as _;

use super::{Block, Cell, Item, Kind, Titled};

/// `text` where HTML has text or an attribute's value.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn lines(text: &str) -> String {
    escaped(text).replace('\n', "<br>")
}

/// QwenVL HTML with boxes in whole pixels of the original; of several pages, each in an element of its own.
pub fn qwen_html(pages: &[Titled<'_>]) -> String {
    let mut out = "<html><body>\n".to_owned();
    for titled in pages {
        if pages.len() > 1 {
            let _ = writeln!(out, "<div class=\"page\" data-name=\"{}\">", escaped(&titled.name));
        }
        for block in &titled.page.blocks {
            qwen_block(block, &mut out);
        }
        if pages.len() > 1 {
            out.push_str("</div>\n");
        }
    }
    out.push_str("</body></html>\n");
    out
}

fn qwen_block(block: &Block, out: &mut String) {
    let bbox = block.bbox.map_or(String::new(), |rect| {
        let [left, top, right, bottom] = rect.corners();
        format!(" data-bbox=\"{left:.0} {top:.0} {right:.0} {bottom:.0}\"")
    });
    let words = lines(&block.text);
    let _ = match block.kind {
        Kind::Heading => {
            let level = block.level.unwrap_or(1).clamp(1, 6);
            writeln!(out, "<h{level}{bbox}>{words}</h{level}>")
        }
        Kind::Paragraph => writeln!(out, "<p{bbox}>{words}</p>"),
        Kind::Caption => writeln!(out, "<p class=\"caption\"{bbox}>{words}</p>"),
        Kind::Table => writeln!(out, "<table{bbox}>{}</table>", rows(&block.rows)),
        Kind::List => writeln!(out, "{}", list(&block.items, block.ordered, &bbox)),
        Kind::Formula => {
            let notation = escaped(block.notation.as_deref().unwrap_or("latex"));
            writeln!(out, "<div class=\"formula\" format=\"{notation}\"{bbox}><img{bbox}/><div>{words}</div></div>")
        }
        Kind::Figure if !block.rows.is_empty() => {
            writeln!(out, "<div class=\"chart\"{bbox}><img{bbox}/><table>{}</table></div>", rows(&block.rows))
        }
        Kind::Figure if block.text.is_empty() => writeln!(out, "<div class=\"image\"{bbox}><img{bbox}/></div>"),
        Kind::Figure => writeln!(out, "<div class=\"image caption\"{bbox}><img{bbox}/><p>{words}</p></div>"),
    };
}

fn rows(rows: &[Vec<Cell>]) -> String {
    let mut out = String::new();
    for row in rows {
        out.push_str("<tr>");
        for cell in row {
            let tag = if cell.header { "th" } else { "td" };
            let span = |name: &str, n: usize| if n > 1 { format!(" {name}=\"{n}\"") } else { String::new() };
            let spans = span("colspan", cell.colspan) + &span("rowspan", cell.rowspan);
            let _ = write!(out, "<{tag}{spans}>{}</{tag}>", lines(&cell.text));
        }
        out.push_str("</tr>");
    }
    out
}

fn list(items: &[Item], ordered: bool, attributes: &str) -> String {
    let outer = if ordered { "ol" } else { "ul" };
    let mut out = format!("<{outer}{attributes}>");
    // Lists that are open within the outer one; each stands in an item that is open, too.
    let mut depth = 0;
    for (i, item) in items.iter().enumerate() {
        // Only one step down at a time: a list stands in an item.
        let wanted = item.depth.min(if i == 0 { 0 } else { depth + 1 });
        if wanted > depth {
            out.push_str("<ul>");
            depth = wanted;
        } else if i > 0 {
            out.push_str("</li>");
            while depth > wanted {
                out.push_str("</ul></li>");
                depth -= 1;
            }
        }
        let _ = write!(out, "<li>{}", lines(&item.text));
    }
    if !items.is_empty() {
        out.push_str("</li>");
    }
    out.push_str(&"</ul></li>".repeat(depth));
    let _ = write!(out, "</{outer}>");
    out
}

const STYLE: &str =
    "body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } th, td { border: 1px solid #8888; padding: .2rem .6rem; text-align: left; }
figure { margin: 1rem 0; } img { max-width: 100%; } figcaption, .caption { font-size: .9rem; opacity: .8; }
.formula { overflow-x: auto; } section + section { border-top: 2px solid #8888; margin-top: 2rem; }";

/// A whole page of HTML for browsers: headings, paragraphs, tables, lists, figures; no boxes.
pub fn html(pages: &[Titled<'_>]) -> String {
    let title = pages.first().map_or("", |titled| titled.name.as_str());
    let mut out = format!(
        "<!doctype html>\n<html><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src 'self' data: file:; \
         style-src 'unsafe-inline'\">\n<title>{}</title>\n<style>\n{STYLE}\n</style></head>\n<body>\n",
        escaped(title)
    );
    for titled in pages {
        let _ = writeln!(out, "<section aria-label=\"{}\">", escaped(&titled.name));
        for (i, block) in titled.page.blocks.iter().enumerate() {
            let _ = writeln!(out, "{}", clean(block, titled.figure(i)));
        }
        out.push_str("</section>\n");
    }
    out.push_str("</body></html>\n");
    out
}

/// A block as an element without a box.
pub(super) fn clean(block: &Block, figure: Option<&str>) -> String {
    let words = lines(&block.text);
    match block.kind {
        Kind::Heading => {
            let level = block.level.unwrap_or(1).clamp(1, 6);
            format!("<h{level}>{words}</h{level}>")
        }
        Kind::Paragraph => format!("<p>{words}</p>"),
        Kind::Caption => format!("<p class=\"caption\">{words}</p>"),
        Kind::Table => format!("<table>{}</table>", rows(&block.rows)),
        Kind::List => list(&block.items, block.ordered, ""),
        Kind::Formula => {
            let notation = escaped(block.notation.as_deref().unwrap_or("latex"));
            format!("<pre class=\"formula\" data-notation=\"{notation}\">{}</pre>", escaped(&block.text))
        }
        Kind::Figure => {
            let picture = figure.map_or(String::new(), |file| format!("<img src=\"{}\" alt=\"\">", address(file)));
            let table =
                if block.rows.is_empty() { String::new() } else { format!("<table>{}</table>", rows(&block.rows)) };
            let caption = match (block.rows.is_empty() && !words.is_empty(), figure) {
                (true, _) => format!("<figcaption>{words}</figcaption>"),
                (false, None) => "<figcaption>(figure)</figcaption>".to_owned(),
                (false, Some(_)) => String::new(),
            };
            format!("<figure>{picture}{table}{caption}</figure>")
        }
    }
}

/// A file's name as the address of a picture: nothing in it is a scheme or a query.
fn address(file: &str) -> String {
    let mut out = String::new();
    for byte in file.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' | b'~' => out.push(byte.into()),
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_in_lists_close_what_they_open() {
        let item = |text: &str, depth| Item { text: text.into(), depth };
        let items = [item("a", 0), item("b", 2), item("c", 1), item("d", 0), item("e", 1)];
        assert_eq!(
            list(&items, true, ""),
            "<ol><li>a<ul><li>b</li><li>c</li></ul></li><li>d<ul><li>e</li></ul></li></ol>"
        );
        assert_eq!(list(&[], false, " x"), "<ul x></ul>");
        assert_eq!(list(&[item("a", 3)], false, ""), "<ul><li>a</li></ul>");
    }

    #[test]
    fn words_and_names_are_no_markup() {
        assert_eq!(escaped("<b a='1' b=\"2\">&"), "&lt;b a=&#39;1&#39; b=&quot;2&quot;&gt;&amp;");
        assert_eq!(address("a b/\"x\"?.png"), "a%20b/%22x%22%3F.png");
        assert_eq!(address("javascript:x"), "javascript%3Ax");
    }
}
