//! What does a document say, and where?
//!
//! Qwen2.5-VL was trained to answer "QwenVL HTML" with a page's contents as HTML whose elements have boxes
//! (`data-bbox`). The way of an answer: [`read()`] makes it a tree by the rules that browsers follow, and that a list of
//! [`Block`]s in reading order, with boxes in the original's pixels → [`qwen_html`], [`html`], [`markdown()`], [`text`], or
//! the blocks themselves as JSON → [`annotated`], a page that shows the layout beside the original.
//!
//! Whatever a model answers, what comes out is well formed: nothing of its markup is passed on.

mod blocks;
mod dom;
mod markdown;
mod markup;
mod repair;
mod sheet;

pub use blocks::read;
pub use markdown::{markdown, text};
pub use markup::{html, qwen_html};
pub use sheet::{Sheet, annotated};

use serde::{Deserialize, Serialize};

use super::geometry::Rect;

/// The question that the models were trained on.
pub const QUESTION: &str = "QwenVL HTML";

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A heading, with its level.
    Heading,
    /// Running text.
    Paragraph,
    /// Rows of cells.
    Table,
    /// Mathematics, chemistry, music: a notation.
    Formula,
    /// A picture or a chart.
    Figure,
    /// Items.
    List,
    /// What stands beside a figure or a table.
    Caption,
}

impl Kind {
    /// All of them, in the order of their colours.
    pub const ALL: [Kind; 7] =
        [Kind::Heading, Kind::Paragraph, Kind::Table, Kind::Formula, Kind::Figure, Kind::List, Kind::Caption];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Heading => "heading",
            Kind::Paragraph => "paragraph",
            Kind::Table => "table",
            Kind::Formula => "formula",
            Kind::Figure => "figure",
            Kind::List => "list",
            Kind::Caption => "caption",
        }
    }

    /// Its place among all, from 0.
    pub fn index(self) -> usize {
        Kind::ALL.iter().position(|kind| *kind == self).unwrap_or(0)
    }
}

/// A piece of a page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// What it is.
    pub kind: Kind,
    /// Of a heading, 1 to 6; else absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<u8>,
    /// Where it is, in pixels of the original; null where the model didn't say.
    pub bbox: Option<Rect>,
    /// Its words; of a table or list, all of them; of a figure, its caption.
    pub text: String,
    /// Of a table, and of a chart: the cells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<Vec<Cell>>,
    /// Of a list: the items.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Item>,
    /// Of a list: whether its items are numbered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ordered: bool,
    /// Of a formula: the notation, such as `latex`, `smiles` or `abc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notation: Option<String>,
}

/// A cell of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Its words.
    pub text: String,
    /// Whether it heads a row or column.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub header: bool,
    /// Columns that it spans, where more than one.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub colspan: usize,
    /// Rows that it spans, where more than one.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub rowspan: usize,
}

/// An item of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its words, without those of the lists in it.
    pub text: String,
    /// How deep it stands, from 0.
    pub depth: usize,
}

fn one() -> usize {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(n: &usize) -> bool {
    *n == 1
}

/// What a page says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// In reading order.
    pub blocks: Vec<Block>,
    /// What had to be put right in the model's answer, in words.
    pub repairs: Vec<String>,
}

/// A page, and what it is called: what is written of several ones says where each begins.
#[derive(Clone, Debug)]
pub struct Titled<'a> {
    /// Where the page comes from.
    pub name: String,
    /// What it says.
    pub page: &'a Page,
    /// Of its blocks, by their place, files with the figures that were cut out.
    pub figures: Vec<(usize, String)>,
}

impl Titled<'_> {
    /// The file of a block's figure.
    fn figure(&self, block: usize) -> Option<&str> {
        self.figures.iter().find(|(at, _)| *at == block).map(|(_, file)| file.as_str())
    }
}
