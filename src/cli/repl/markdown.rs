//! Answers on a terminal: light Markdown as it streams in, wrapped at the terminal's width.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::cli::screen::printable;

const BOLD: &str = "\u{1b}[1m";
const ITALIC: &str = "\u{1b}[3m";
const CODE: &str = "\u{1b}[36m";
const DIM: &str = "\u{1b}[2m";
const OFF: &str = "\u{1b}[0m";

/// What kind of line is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Its beginning isn't read yet.
    Start,
    Text,
    Heading,
    Quote,
    /// Shown as it is: in a fence, or an answer that is data.
    Verbatim,
    /// The line that opens or closes a fence.
    Fence,
}

/// Turns Markdown into text with escape sequences, word by word.
#[derive(Debug)]
pub struct Markdown {
    width: usize,
    line: Line,
    /// The answer is JSON or HTML: nothing in it is Markdown.
    data: bool,
    begun: bool,
    fenced: bool,
    bold: bool,
    code: bool,
    /// Characters of the word (or of the line's beginning) that is still coming.
    held: String,
    column: usize,
    indent: usize,
    /// Spaces that are owed before the next word.
    gap: usize,
}

impl Markdown {
    /// For a terminal of so many columns.
    pub fn new(width: usize) -> Markdown {
        Markdown {
            width: width.max(20),
            line: Line::Start,
            data: false,
            begun: false,
            fenced: false,
            bold: false,
            code: false,
            held: String::new(),
            column: 0,
            indent: 0,
            gap: 0,
        }
    }

    /// Takes more of the answer; what can be shown of it goes to `out`.
    pub fn push(&mut self, text: &str, out: &mut String) {
        for c in printable(text).chars() {
            if !self.begun && !c.is_whitespace() {
                self.begun = true;
                self.data = matches!(c, '[' | '{' | '<');
            }
            self.take(c, out);
        }
    }

    /// The answer is over.
    pub fn end(&mut self, out: &mut String) {
        if self.line == Line::Start {
            self.begin(out, true);
        }
        self.flush(out);
        self.style_off(out);
    }

    fn take(&mut self, c: char, out: &mut String) {
        if self.data {
            out.push(c);
            return;
        }
        match (self.line, c) {
            (Line::Start, '\n') => {
                self.begin(out, true);
                self.take_in_line('\n', out);
            }
            (Line::Start, c) => {
                self.held.push(c);
                self.begin(out, false);
            }
            (_, c) => self.take_in_line(c, out),
        }
    }

    fn take_in_line(&mut self, c: char, out: &mut String) {
        match c {
            '\n' => {
                self.flush(out);
                self.style_off(out);
                if self.line != Line::Fence {
                    out.push('\n');
                }
                (self.line, self.column, self.indent, self.gap) = (Line::Start, 0, 0, 0);
            }
            _ if self.line == Line::Fence => {}
            c if self.line == Line::Verbatim => out.push(c),
            ' ' | '\t' if !self.code => {
                self.flush(out);
                self.gap += 1;
            }
            c => {
                self.held.push(c);
                // Scripts without spaces may be parted anywhere.
                if c.width().unwrap_or(0) > 1 || self.held.width() >= self.width {
                    self.flush(out);
                }
            }
        }
    }

    /// Looks at a line's first characters until they tell what it is; `whole` says that no more are coming.
    fn begin(&mut self, out: &mut String, whole: bool) {
        let held = std::mem::take(&mut self.held);
        let body = held.trim_start();
        let fence = body.starts_with("```");
        let undecided = body.is_empty()
            || (body.len() < 3 && "```".starts_with(body))
            || "######".starts_with(body)
            || matches!(body, "-" | "*" | "+" | ">" | "**")
            || (body.len() < 4 && body.bytes().all(|b| b.is_ascii_digit()))
            || (body.ends_with(['.', ')'])
                && body.len() < 5
                && body[..body.len() - 1].bytes().all(|b| b.is_ascii_digit()));
        if !whole && undecided && !fence {
            self.held = held;
            return;
        }
        let spaces = held.len() - body.len();
        if fence {
            self.fenced = !self.fenced;
            self.line = Line::Fence;
        } else if self.fenced {
            self.line = Line::Verbatim;
            out.push_str(DIM);
            out.push_str("  ");
            out.push_str(&held);
        } else if body.starts_with('#') && body.trim_start_matches('#').starts_with(' ') {
            self.line = Line::Heading;
            out.push_str(BOLD);
            self.held = body.trim_start_matches('#').trim_start().to_owned();
        } else if let Some(rest) = body.strip_prefix("> ") {
            self.line = Line::Quote;
            out.push_str(DIM);
            self.mark("│ ", 0, out);
            self.held = rest.to_owned();
        } else if let Some(rest) = ["- ", "* ", "+ "].iter().find_map(|mark| body.strip_prefix(mark)) {
            self.line = Line::Text;
            self.mark("• ", spaces, out);
            self.held = rest.to_owned();
        } else if let Some((mark, rest)) = numbered(body) {
            self.line = Line::Text;
            self.mark(mark, spaces, out);
            self.held = rest.to_owned();
        } else {
            self.line = Line::Text;
            self.gap = spaces;
            // What was held may be words already.
            body.chars().for_each(|c| self.take_in_line(c, out));
        }
    }

    /// A list's bullet: what follows is indented by as much.
    fn mark(&mut self, mark: &str, spaces: usize, out: &mut String) {
        let spaces = spaces.min(self.width / 2);
        out.extend(std::iter::repeat_n(' ', spaces));
        out.push_str(mark);
        self.column = spaces + mark.width();
        self.indent = self.column;
    }

    /// Writes the word that is held, on this line or the next.
    fn flush(&mut self, out: &mut String) {
        if self.held.is_empty() || self.line == Line::Start {
            return;
        }
        let word = std::mem::take(&mut self.held);
        let mut shown = String::new();
        let width = self.styled(&word, &mut shown);
        if self.column + self.gap + width > self.width && self.column > self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', self.indent));
            self.column = self.indent;
        } else {
            out.extend(std::iter::repeat_n(' ', self.gap));
            self.column += self.gap;
        }
        self.gap = 0;
        out.push_str(&shown);
        self.column += width;
    }

    /// The word with its marks turned into styles; gives its width.
    fn styled(&mut self, word: &str, out: &mut String) -> usize {
        let (mut rest, mut width) = (word, 0);
        // Emphasis of one word; over several words a star may as well be a star.
        let inner = ["*", "_"].iter().find_map(|m| word.strip_prefix(m)?.strip_suffix(m));
        if let Some(inner) = inner.filter(|i| !i.is_empty() && !i.contains(['*', '_', '`']) && !self.code) {
            out.push_str(ITALIC);
            out.push_str(inner);
            self.restyle(out);
            return inner.width();
        }
        while let Some(c) = rest.chars().next() {
            if c == '`' {
                self.code = !self.code;
                rest = &rest[1..];
                self.restyle(out);
            } else if !self.code && rest.starts_with("**") && word != "**" {
                self.bold = !self.bold;
                rest = &rest[2..];
                self.restyle(out);
            } else {
                out.push(c);
                width += c.width().unwrap_or(0);
                rest = &rest[c.len_utf8()..];
            }
        }
        width
    }

    fn restyle(&self, out: &mut String) {
        out.push_str(OFF);
        let styles =
            [(self.bold || self.line == Line::Heading, BOLD), (self.code, CODE), (self.line == Line::Quote, DIM)];
        styles.iter().filter(|(on, _)| *on).for_each(|(_, style)| out.push_str(style));
    }

    /// No style goes beyond its line, so that a mark without its partner harms one line.
    fn style_off(&mut self, out: &mut String) {
        let styled = self.bold || self.code || matches!(self.line, Line::Heading | Line::Quote | Line::Verbatim);
        (self.bold, self.code) = (false, false);
        if styled {
            out.push_str(OFF);
        }
    }
}

/// The mark of a numbered list, `12. `, and what follows.
fn numbered(body: &str) -> Option<(&str, &str)> {
    let digits = body.bytes().take_while(u8::is_ascii_digit).count();
    let after = &body[digits..];
    let fits = (1..=3).contains(&digits) && (after.starts_with(". ") || after.starts_with(") "));
    fits.then(|| body.split_at(digits + 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str, width: usize) -> String {
        let (mut markdown, mut out) = (Markdown::new(width), String::new());
        markdown.push(text, &mut out);
        markdown.end(&mut out);
        out
    }

    fn plain(text: &str) -> String {
        let mut out = String::new();
        let mut parts = text.split('\u{1b}');
        out.push_str(parts.next().unwrap_or_default());
        parts.for_each(|part| out.push_str(part.split_once('m').map_or("", |(_, rest)| rest)));
        out
    }

    #[test]
    fn marks_become_styles() {
        assert_eq!(shown("a **bold word** here", 40), format!("a {OFF}{BOLD}bold word{OFF} here"));
        assert_eq!(shown("# Title\ntext", 40), format!("{BOLD}Title{OFF}\ntext"));
        assert_eq!(plain(&shown("- one\n- *two*\n1. three\n> said", 40)), "• one\n• two\n1. three\n│ said");
        assert_eq!(plain(&shown("```rust\nlet **x** = 1;\n```\nafter", 40)), "  let **x** = 1;\nafter");
        assert_eq!(shown("use `a_b`.", 40), format!("use {OFF}{CODE}a_b{OFF}."));
    }

    #[test]
    fn what_only_looks_like_marks_stays() {
        for text in [
            "2 ** 3 is 8",
            "snake_case_name",
            "a * b * c",
            "*see below",
            "-5 degrees",
            "3.14 is pi",
            "2024 was",
            "#tag",
        ] {
            assert_eq!(plain(&shown(text, 40)), text);
        }
    }

    #[test]
    fn data_is_left_alone() {
        let json = "[{\"bbox_2d\": [1, 2, 3, 4], \"label\": \"**a**  b\"}]";
        assert_eq!(shown(json, 20), json);
    }

    #[test]
    fn lines_are_wrapped_with_a_hanging_indent() {
        assert_eq!(shown("- aaaa bbbb cccc dddd eeee", 20), "• aaaa bbbb cccc\n  dddd eeee");
        assert_eq!(shown("日本語日本語日本語日本語", 20), "日本語日本語日本語日\n本語");
    }

    #[test]
    fn no_control_sequence_of_the_model_passes() {
        assert_eq!(shown("a\u{1b}[31mb\u{9b}2Jc\u{7}", 40), "a[31mb2Jc");
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(text in "[-a-c*`#> \n1.日_]{0,60}", cut in 0usize..60) {
            let cut = text.char_indices().map(|(i, _)| i).nth(cut).unwrap_or(text.len());
            let (mut markdown, mut out) = (Markdown::new(20), String::new());
            markdown.push(&text[..cut], &mut out);
            markdown.push(&text[cut..], &mut out);
            markdown.end(&mut out);
            prop_assert_eq!(out, shown(&text, 20));
        }

        #[test]
        fn words_survive_and_lines_fit(words in prop::collection::vec("[a-z]{1,12}", 1..40)) {
            let text = words.join(" ");
            let out = plain(&shown(&text, 30));
            prop_assert_eq!(out.split_whitespace().collect::<Vec<_>>(), words);
            prop_assert!(out.lines().all(|line| line.width() <= 30), "{}", out);
        }
    }
}
