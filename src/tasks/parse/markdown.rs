//! Pages as Markdown and as plain text.

use std::fmt::Write as _;

use super::blocks::of_rows;
use super::{Block, Cell, Item, Kind, Titled};

/// Pages as Markdown (GitHub's, for its tables); of several, a remark says where each begins.
pub fn markdown(pages: &[Titled<'_>]) -> String {
    let mut out = String::new();
    for titled in pages {
        if pages.len() > 1 {
            // Two hyphens in a row would end the remark.
            let name = titled.name.replace("--", "- -").replace(['<', '>'], "_");
            let _ = writeln!(out, "{}<!-- {name} -->", if out.is_empty() { "" } else { "\n" });
        }
        for (i, block) in titled.page.blocks.iter().enumerate() {
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(&of_block(block, titled.figure(i)));
        }
    }
    out
}

fn of_block(block: &Block, figure: Option<&str>) -> String {
    let words = escaped(&block.text);
    match block.kind {
        Kind::Heading => {
            let level = usize::from(block.level.unwrap_or(1).clamp(1, 6));
            format!("{} {}\n", "#".repeat(level), words.replace('\n', " "))
        }
        // Two spaces at the end of a line break it.
        Kind::Paragraph => format!("{}\n", words.replace('\n', "  \n")),
        Kind::Caption => format!("*{}*\n", words.replace('\n', " ")),
        Kind::Table => table(&block.rows),
        Kind::List => list(&block.items, block.ordered),
        Kind::Formula => formula(block),
        Kind::Figure => {
            let alt = words.replace('\n', " ");
            let picture = match figure {
                Some(file) => format!("![{alt}](<{}>)\n", file.replace(['<', '>', '\n'], "_")),
                None if alt.is_empty() => "*(figure)*\n".to_owned(),
                None => format!("*(figure: {alt})*\n"),
            };
            if block.rows.is_empty() { picture } else { format!("{picture}\n{}", table(&block.rows)) }
        }
    }
}

fn formula(block: &Block) -> String {
    match block.notation.as_deref() {
        Some("latex") | None => {
            let bare = block.text.trim_matches('$').trim().trim_start_matches("\\[").trim_end_matches("\\]");
            // A line of dollars inside would end it.
            format!("$$\n{}\n$$\n", bare.replace("$$", "").trim())
        }
        Some(notation) => {
            let longest = block.text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
            let fence = "`".repeat(longest.max(2) + 1);
            let word: String = notation.chars().filter(char::is_ascii_alphanumeric).collect();
            format!("{fence}{word}\n{}\n{fence}\n", block.text)
        }
    }
}

/// A table whose first row is its head, as Markdown wants one; what spans several cells stands in the first of them.
fn table(rows: &[Vec<Cell>]) -> String {
    let grid = grid(rows);
    let Some(columns) = grid.iter().map(Vec::len).max().filter(|&n| n > 0) else { return String::new() };
    let mut out = String::new();
    for (i, row) in grid.iter().enumerate() {
        let cell = |j: usize| row.get(j).map_or(String::new(), |text| escaped(text).replace('\n', "<br>"));
        let cells: Vec<String> = (0..columns).map(|j| format!(" {} ", cell(j))).collect();
        let _ = writeln!(out, "|{}|", cells.join("|"));
        if i == 0 {
            let _ = writeln!(out, "|{}", "---|".repeat(columns));
        }
    }
    out
}

/// The cells in their columns.
fn grid(rows: &[Vec<Cell>]) -> Vec<Vec<&str>> {
    const MAX_COLUMNS: usize = 1000;
    // Of each column, how many more rows are taken by a cell above.
    let mut taken: Vec<usize> = Vec::new();
    let mut grid = Vec::new();
    for row in rows {
        let mut line = Vec::new();
        let mut cells = row.iter();
        let mut next = cells.next();
        while next.is_some() || taken.get(line.len()..).is_some_and(|rest| rest.iter().any(|&n| n > 0)) {
            let column = line.len();
            if column >= MAX_COLUMNS {
                break;
            }
            if let Some(left) = taken.get_mut(column).filter(|left| **left > 0) {
                *left -= 1;
                line.push("");
                continue;
            }
            let Some(cell) = next else {
                line.push("");
                continue;
            };
            for i in 0..cell.colspan.max(1) {
                let at = column + i;
                if taken.len() <= at {
                    taken.resize(at + 1, 0);
                }
                taken[at] = cell.rowspan.saturating_sub(1);
                line.push(if i == 0 { cell.text.as_str() } else { "" });
            }
            next = cells.next();
        }
        grid.push(line);
    }
    grid
}

fn list(items: &[Item], ordered: bool) -> String {
    let mut out = String::new();
    let mut number = 0;
    for item in items {
        let mark = if ordered && item.depth == 0 {
            number += 1;
            format!("{number}.")
        } else {
            "-".to_owned()
        };
        // Nested items have to stand below the first letter of those above.
        let indent = if ordered { "   " } else { "  " }.repeat(item.depth);
        let _ = writeln!(out, "{indent}{mark} {}", escaped(&item.text).replace('\n', " "));
    }
    out
}

/// Words that Markdown takes as they are.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for (i, line) in text.lines().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        // What begins a heading, list, quotation, rule or table only does so at the start of a line.
        let digits = line.bytes().take_while(u8::is_ascii_digit).count();
        let begins = line.starts_with(['#', '-', '+', '=', '>', '~', '|']);
        let numbered = digits > 0 && line[digits..].starts_with(['.', ')']);
        if begins {
            out.push('\\');
        }
        for (at, c) in line.char_indices() {
            match c {
                '\\' | '`' | '*' | '_' | '[' | ']' | '|' => out.extend(['\\', c]),
                '<' => out.push_str("&lt;"),
                '&' => out.push_str("&amp;"),
                '.' | ')' if numbered && at == digits => out.extend(['\\', c]),
                c => out.push(c),
            }
        }
    }
    // `|` at the start got two backslashes.
    out.replace("\\\\|", "\\|")
}

/// Pages as plain text: blocks with an empty line between them, cells with a tab; of several pages, a line says where
/// each begins.
pub fn text(pages: &[Titled<'_>]) -> String {
    let mut out = String::new();
    for titled in pages {
        if pages.len() > 1 {
            let _ = writeln!(out, "{}--- {} ---", if out.is_empty() { "" } else { "\n" }, titled.name);
        }
        for block in &titled.page.blocks {
            let words = match block.kind {
                Kind::List => plain_list(&block.items, block.ordered),
                Kind::Figure if block.text.is_empty() => of_rows(&block.rows),
                _ => block.text.clone(),
            };
            if words.is_empty() {
                continue;
            }
            if !out.is_empty() {
                out.push('\n');
            }
            let _ = writeln!(out, "{words}");
        }
    }
    out
}

fn plain_list(items: &[Item], ordered: bool) -> String {
    let mut number = 0;
    let line = |item: &Item| {
        let mark = if ordered && item.depth == 0 {
            number += 1;
            format!("{number}.")
        } else {
            "-".to_owned()
        };
        format!("{}{mark} {}", "  ".repeat(item.depth), item.text.replace('\n', " "))
    };
    items.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words() {
        let cases = [
            ("# no heading", "\\# no heading"),
            ("1. no list", "1\\. no list"),
            ("2024) x", "2024\\) x"),
            ("3.5 is a number", "3\\.5 is a number"),
            ("a_b *c* [d](e) `f`", "a\\_b \\*c\\* \\[d\\](e) \\`f\\`"),
            ("<script>&amp;", "&lt;script>&amp;amp;"),
            ("- no\n+ list", "\\- no\n\\+ list"),
            ("|x|", "\\|x\\|"),
        ];
        for (words, wanted) in cases {
            assert_eq!(escaped(words), wanted);
        }
    }

    #[test]
    fn cells_that_span_keep_the_others_in_their_columns() {
        let cell = |text: &str, colspan, rowspan| Cell { text: text.into(), header: false, colspan, rowspan };
        let rows = vec![
            vec![cell("a", 2, 1), cell("b", 1, 2)],
            vec![cell("c", 1, 1), cell("d|\nd", 1, 1)],
            vec![cell("e", 1, 1)],
        ];
        let wanted = "| a |  | b |\n|---|---|---|\n| c | d\\|<br>d |  |\n| e |  |  |\n";
        assert_eq!(table(&rows), wanted);
        assert_eq!(table(&[]), "");
        let huge = vec![vec![cell("x", 100, 100); 50]; 3];
        assert!(grid(&huge).iter().all(|row| row.len() <= 1100));
    }
}
