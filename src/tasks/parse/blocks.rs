//! From a model's HTML to blocks in reading order.

use super::super::geometry::{Rect, View};
use super::dom::{Dom, Id, Node};
use super::{Block, Cell, Item, Kind, Page, repair};

/// Bytes of an answer that are read; more is a model that has got stuck.
const MAX_ANSWER: usize = 1 << 18;
/// Blocks of a page.
const MAX_BLOCKS: usize = 2000;
/// Elements within elements that are looked into one by one; what lies deeper counts as words.
const MAX_DEPTH: usize = 64;
/// Columns or rows that a cell may span.
const MAX_SPAN: usize = 100;

/// What an answer says of a page that was shown as `view` says; `cut_off` where the answer was ended by a bound.
pub fn read(answer: &str, view: &View, cut_off: bool) -> Page {
    let mut end = answer.len().min(MAX_ANSWER);
    while !answer.is_char_boundary(end) {
        end -= 1;
    }
    let mut repairs = Vec::new();
    if cut_off || end < answer.len() {
        repairs.push("the answer was cut off: the end of the page is missing".to_owned());
    }
    let (html, fenced) = without_fence(&answer[..end]);
    if fenced {
        repairs.push("a code fence around the answer was taken away".to_owned());
    }
    let tags = repair::tags(html);
    let dom = Dom::parse(html);
    if tags.is_empty() && dom.errors > 0 {
        repairs.push(format!("{} errors in the HTML were mended", dom.errors));
    }
    repairs.extend(tags);
    let mut reader = Reader { dom: &dom, view, blocks: Vec::new(), unreadable: 0, outside: 0, too_many: false };
    let body = dom.find(0, |id| dom.name(id) == "body").unwrap_or(0);
    reader.inside(body, None, 0);
    let Reader { blocks, unreadable, outside, too_many, .. } = reader;
    let count = |n: usize, one: &str, many: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {many}") };
    if unreadable > 0 {
        repairs.push(format!("{} not be read", count(unreadable, "box could", "boxes could")));
    }
    if outside > 0 {
        repairs.push(format!("{} outside of the page", count(outside, "box was", "boxes were")));
    }
    let boxless = blocks.iter().filter(|block| block.bbox.is_none()).count().saturating_sub(unreadable + outside);
    if boxless > 0 {
        repairs.push(format!("{} no box", count(boxless, "block has", "blocks have")));
    }
    if too_many {
        repairs.push(format!("only the first {MAX_BLOCKS} blocks were kept"));
    }
    Page { blocks, repairs }
}

/// What stands inside of a code fence, where the answer is one.
fn without_fence(answer: &str) -> (&str, bool) {
    let Some(rest) = answer.trim_start().strip_prefix("```") else { return (answer, false) };
    let inside = rest.split_once('\n').map_or(rest, |(_, inside)| inside);
    (inside.trim_end().strip_suffix("```").unwrap_or(inside), true)
}

struct Reader<'a> {
    dom: &'a Dom,
    view: &'a View,
    blocks: Vec<Block>,
    /// Boxes that aren't four numbers.
    unreadable: usize,
    /// Boxes outside of the page, or without an area.
    outside: usize,
    too_many: bool,
}

/// What an element means.
enum Meaning {
    Block(Kind),
    /// Look at what is in it.
    Inside,
    /// It says nothing.
    Nothing,
}

impl Reader<'_> {
    fn class(&self, id: Id) -> String {
        self.dom.attribute(id, "class").unwrap_or_default().to_lowercase()
    }

    fn meaning(&self, id: Id) -> Meaning {
        let class = self.class(id);
        let has = |word: &str| class.contains(word);
        match self.dom.name(id) {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => Meaning::Block(Kind::Heading),
            "table" => Meaning::Block(Kind::Table),
            "ul" | "ol" | "dl" => Meaning::Block(Kind::List),
            "img" | "figure" | "picture" | "svg" => Meaning::Block(Kind::Figure),
            "figcaption" | "caption" => Meaning::Block(Kind::Caption),
            "math" => Meaning::Block(Kind::Formula),
            "head" | "style" | "script" | "title" | "noscript" | "template" | "colgroup" => Meaning::Nothing,
            _ if has("formula") || has("music") => Meaning::Block(Kind::Formula),
            // "image caption" is a figure with its caption in it.
            _ if has("image") || has("chart") || has("figure") => Meaning::Block(Kind::Figure),
            _ if has("caption") => Meaning::Block(Kind::Caption),
            "p" | "pre" | "address" | "blockquote" | "code" => Meaning::Block(Kind::Paragraph),
            _ => Meaning::Inside,
        }
    }

    /// Whether an element is a part of running text.
    fn is_inline(&self, id: Id) -> bool {
        matches!(
            self.dom.name(id),
            "a" | "b"
                | "i"
                | "u"
                | "s"
                | "em"
                | "strong"
                | "sub"
                | "sup"
                | "small"
                | "mark"
                | "span"
                | "br"
                | "font"
                | "code"
                | "q"
                | "cite"
                | "abbr"
                | "time"
                | "kbd"
                | "del"
                | "ins"
                | "label"
        )
    }

    /// The blocks in an element. Words that stand in none become paragraphs; `around` is the box of what they stand in.
    fn inside(&mut self, id: Id, around: Option<Rect>, depth: usize) {
        let mut loose = String::new();
        for &child in self.dom.children(id) {
            match self.dom.node(child) {
                Node::Text(text) => loose.push_str(text),
                Node::Other => {}
                Node::Element(..) if self.is_inline(child) || depth > MAX_DEPTH => loose.push_str(&self.raw(child)),
                Node::Element(..) => {
                    self.loose(&mut loose, around);
                    match self.meaning(child) {
                        Meaning::Nothing => {}
                        Meaning::Block(kind) => self.block(child, kind, around),
                        Meaning::Inside => {
                            let bbox = self.bbox(child).or(around);
                            self.inside(child, bbox, depth + 1);
                        }
                    }
                }
            }
        }
        self.loose(&mut loose, around);
    }

    fn loose(&mut self, words: &mut String, bbox: Option<Rect>) {
        let text = tidy(&std::mem::take(words));
        if !text.is_empty() {
            self.push(Block { bbox, text, ..Block::of(Kind::Paragraph) });
        }
    }

    fn push(&mut self, block: Block) {
        if self.blocks.len() < MAX_BLOCKS { self.blocks.push(block) } else { self.too_many = true }
    }

    /// The box of an element, in the original's pixels.
    fn bbox(&mut self, id: Id) -> Option<Rect> {
        let told = self.dom.attribute(id, "data-bbox").or_else(|| self.dom.attribute(id, "bbox"))?;
        let numbers: Option<Vec<f64>> = told
            .split(|c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '(' | ')'))
            .filter(|word| !word.is_empty())
            .map(|word| word.parse().ok().filter(|x: &f64| x.is_finite()))
            .collect();
        let Some([a, b, c, d]) = numbers.as_deref() else {
            self.unreadable += 1;
            return None;
        };
        let rect = self.view.rect([*a, *b, *c, *d]);
        self.outside += usize::from(rect.is_none());
        rect
    }

    fn block(&mut self, id: Id, kind: Kind, around: Option<Rect>) {
        let bbox = self.bbox(id).or_else(|| self.inner_box(id, kind)).or(around);
        let block = Block { bbox, ..Block::of(kind) };
        match kind {
            Kind::Heading => {
                let level = self.dom.name(id)[1..].parse().ok();
                let text = tidy(&self.raw(id));
                self.push_words(Block { level, text, ..block });
            }
            Kind::Paragraph | Kind::Caption => {
                // A paragraph can hold what is no words: browsers allow pictures in one.
                let figures: Vec<Id> = self.figures_in(id);
                let text = if self.dom.name(id) == "pre" { verbatim(&self.raw(id)) } else { tidy(&self.raw(id)) };
                self.push_words(Block { text, ..block });
                for figure in figures {
                    self.block(figure, Kind::Figure, bbox);
                }
            }
            Kind::Table => self.table(id, block),
            Kind::List => self.list(id, block),
            Kind::Formula => self.formula(id, block),
            Kind::Figure => self.figure(id, block),
        }
    }

    /// The box of the picture in a figure that has none of its own.
    fn inner_box(&mut self, id: Id, kind: Kind) -> Option<Rect> {
        let wanted = matches!(kind, Kind::Figure | Kind::Formula);
        let inner = self.dom.find(id, |inner| self.dom.attribute(inner, "data-bbox").is_some())?;
        wanted.then(|| self.bbox(inner)).flatten()
    }

    fn figures_in(&self, id: Id) -> Vec<Id> {
        let mut found = Vec::new();
        let mut open: Vec<Id> = self.dom.children(id).iter().rev().copied().collect();
        while let Some(id) = open.pop() {
            if self.dom.name(id) == "img" { found.push(id) } else { open.extend(self.dom.children(id).iter().rev()) }
        }
        found
    }

    fn push_words(&mut self, block: Block) {
        if !block.text.is_empty() {
            self.push(block);
        }
    }

    fn figure(&mut self, id: Id, block: Block) {
        let table = self.dom.find(id, |inner| self.dom.name(inner) == "table");
        let rows = table.map_or_else(Vec::new, |table| self.rows(table));
        let caption = self.dom.find(id, |inner| self.dom.name(inner) == "figcaption");
        let words = match (caption, table) {
            (Some(caption), _) => self.raw(caption),
            (None, Some(_)) => String::new(),
            (None, None) => self.raw(id),
        };
        let mut text = tidy(&words);
        if text.is_empty() {
            text = self.dom.attribute(id, "alt").map(tidy).unwrap_or_default();
        }
        self.push(Block { text, rows, ..block });
    }

    fn formula(&mut self, id: Id, block: Block) {
        let class = self.class(id);
        let notation = match self.dom.attribute(id, "format").map(tidy).filter(|format| !format.is_empty()) {
            Some(format) => format.chars().take(40).collect(),
            None if class.contains("music") => "abc".to_owned(),
            None if class.contains("chemical") => "smiles".to_owned(),
            None => "latex".to_owned(),
        };
        let music = class.contains("music");
        let text = if music { verbatim(&self.raw(id)) } else { tidy(&self.raw(id)) };
        self.push(Block { text, notation: Some(notation), ..block });
    }

    fn table(&mut self, id: Id, block: Block) {
        let caption = self.dom.find(id, |inner| self.dom.name(inner) == "caption");
        if let Some(caption) = caption {
            let bbox = self.bbox(caption);
            let text = tidy(&self.raw(caption));
            self.push_words(Block { bbox, text, ..Block::of(Kind::Caption) });
        }
        let rows = self.rows(id);
        if !rows.is_empty() {
            self.push(Block { text: of_rows(&rows), rows, ..block });
        }
    }

    /// The cells of a table; of a table in a cell, the words.
    fn rows(&self, table: Id) -> Vec<Vec<Cell>> {
        let mut rows = Vec::new();
        let mut open: Vec<Id> = self.dom.children(table).iter().rev().copied().collect();
        while let Some(id) = open.pop() {
            match self.dom.name(id) {
                "tr" => {
                    let cells = self.dom.children(id).iter().filter(|&&c| matches!(self.dom.name(c), "td" | "th"));
                    let row: Vec<Cell> = cells.map(|&c| self.cell(c)).collect();
                    if !row.is_empty() {
                        rows.push(row);
                    }
                }
                "table" => {}
                _ => open.extend(self.dom.children(id).iter().rev()),
            }
        }
        rows
    }

    fn cell(&self, id: Id) -> Cell {
        let span = |name: &str| {
            let told = self.dom.attribute(id, name).and_then(|told| told.trim().parse::<usize>().ok());
            told.unwrap_or(1).clamp(1, MAX_SPAN)
        };
        Cell {
            text: tidy(&self.raw(id)),
            header: self.dom.name(id) == "th",
            colspan: span("colspan"),
            rowspan: span("rowspan"),
        }
    }

    fn list(&mut self, id: Id, block: Block) {
        let mut items = Vec::new();
        self.items(id, 0, &mut items);
        let bullet = |item: &Item| format!("{}{}", "  ".repeat(item.depth), item.text);
        let text = items.iter().map(bullet).collect::<Vec<_>>().join("\n");
        let ordered = self.dom.name(id) == "ol";
        self.push_words(Block { text, items, ordered, ..block });
    }

    fn items(&self, list: Id, depth: usize, items: &mut Vec<Item>) {
        let is_list = |id: Id| matches!(self.dom.name(id), "ul" | "ol" | "dl");
        for &child in self.dom.children(list) {
            if is_list(child) && depth < MAX_DEPTH {
                self.items(child, depth + 1, items);
                continue;
            }
            let inner: Vec<Id> = self.dom.children(child).iter().copied().filter(|&id| is_list(id)).collect();
            let mut words = String::new();
            match self.dom.node(child) {
                Node::Text(text) => words.push_str(text),
                _ => {
                    for &id in self.dom.children(child).iter().filter(|id| depth >= MAX_DEPTH || !inner.contains(id)) {
                        words.push_str(&self.raw(id));
                    }
                }
            }
            let text = tidy(&words);
            if !text.is_empty() {
                items.push(Item { text, depth });
            }
            if depth < MAX_DEPTH {
                inner.into_iter().for_each(|id| self.items(id, depth + 1, items));
            }
        }
    }

    /// All words in a node, as they stand; a break in a line is a form feed until [`tidy`].
    fn raw(&self, id: Id) -> String {
        let mut words = String::new();
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            match self.dom.node(id) {
                Node::Text(text) => words.push_str(&text.replace('\u{c}', " ")),
                Node::Element(..) => match self.dom.name(id) {
                    "br" => words.push('\u{c}'),
                    "style" | "script" => continue,
                    "p" | "div" | "li" | "tr" | "td" | "th" if !words.is_empty() => words.push('\u{c}'),
                    _ => {}
                },
                Node::Other => {}
            }
            open.extend(self.dom.children(id).iter().rev());
        }
        words
    }
}

impl Block {
    /// A block of this kind, with nothing in it.
    pub(super) fn of(kind: Kind) -> Block {
        Block {
            kind,
            level: None,
            bbox: None,
            text: String::new(),
            rows: Vec::new(),
            items: Vec::new(),
            ordered: false,
            notation: None,
        }
    }
}

/// A line for each row, with tabs between the cells.
pub(super) fn of_rows(rows: &[Vec<Cell>]) -> String {
    let line = |row: &Vec<Cell>| row.iter().map(|cell| cell.text.replace('\n', " ")).collect::<Vec<_>>().join("\t");
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What a terminal or a viewer would act on: controls, and the marks that reorder a line.
fn disturbs(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Words with one space between them; form feeds become line breaks.
fn tidy(text: &str) -> String {
    let line = |line: &str| {
        let words = line.split_whitespace().map(|word| word.chars().filter(|c| !disturbs(*c)).collect::<String>());
        words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    };
    let lines: Vec<String> = text.split('\u{c}').map(line).filter(|line| !line.is_empty()).collect();
    lines.join("\n")
}

/// Lines as they stand, without those at both ends that are empty.
fn verbatim(text: &str) -> String {
    let line =
        |line: &str| line.chars().filter(|c| *c == '\t' || !disturbs(*c)).collect::<String>().trim_end().to_owned();
    let lines: Vec<String> = text.replace('\u{c}', "\n").split('\n').map(line).collect();
    lines.join("\n").trim_matches('\n').to_owned()
}

#[cfg(test)]
mod tests;
