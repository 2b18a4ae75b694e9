//! The Qwen2 splitting rule: text → the words inside which byte pairs are merged.
//!
//! By hand, in one pass and without going back further than one run of white space, what this expression matches piece
//! by piece (the alternatives are tried in this order; the tests compare):
//!
//! ```text
//! (?i:'s|'t|'re|'ve|'m|'ll|'d) | [^\r\n\p{L}\p{N}]?\p{L}+ | \p{N} | ?[^\s\p{L}\p{N}]+[\r\n]* | \s*[\r\n]+ | \s+(?!\S) | \s+
//! ```

use unicode_general_category::{GeneralCategory, get_general_category};

/// The words of `text`, in order; together they are the text.
pub(super) fn words(text: &str) -> Words<'_> {
    Words { rest: text }
}

/// See [`words`].
pub(super) struct Words<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let (word, rest) = self.rest.split_at(word_len(self.rest));
        self.rest = rest;
        Some(word)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Number,
    Newline,
    /// White space other than the line's ends.
    Space,
    Other,
}

const ASCII: [Class; 128] = {
    let mut table = [Class::Other; 128];
    let mut b = 0u8;
    while b < 128 {
        table[b as usize] = match b {
            b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
            b'0'..=b'9' => Class::Number,
            b'\r' | b'\n' => Class::Newline,
            b'\t' | 0x0B | 0x0C | b' ' => Class::Space,
            _ => Class::Other,
        };
        b += 1;
    }
    table
};

fn class(c: char) -> Class {
    if let Some(&class) = ASCII.get(c as usize) {
        return class;
    }
    use GeneralCategory::*;
    match get_general_category(c) {
        UppercaseLetter | LowercaseLetter | TitlecaseLetter | ModifierLetter | OtherLetter => Class::Letter,
        DecimalNumber | LetterNumber | OtherNumber => Class::Number,
        _ if c.is_whitespace() => Class::Space,
        _ => Class::Other,
    }
}

/// Bytes of the first word of `text`, at least one character's. `text` isn't empty.
fn word_len(text: &str) -> usize {
    if let Some(n) = contraction(text) {
        return n;
    }
    let Some(first) = text.chars().next() else { return 0 };
    let after = first.len_utf8();
    let rest = &text[after..];
    let kind = class(first);
    match kind {
        Class::Letter => return after + run(rest, Class::Letter),
        Class::Number => return after,
        Class::Newline => {}
        Class::Space | Class::Other => match run(rest, Class::Letter) {
            0 => {}
            letters => return after + letters,
        },
    }
    if kind == Class::Other || first == ' ' {
        let signs = run(rest, Class::Other);
        if kind == Class::Other || signs > 0 {
            return after + signs + run(&rest[signs..], Class::Newline);
        }
    }
    white_space(text)
}

/// Bytes of the run of characters of one class at the start.
fn run(text: &str, wanted: Class) -> usize {
    text.char_indices().find(|&(_, c)| class(c) != wanted).map_or(text.len(), |(i, _)| i)
}

/// Bytes of the word at the start of a run of white space: up to its last line end if it has one; else all of it at the
/// text's end; else all but its last character, which belongs to what follows, unless it is the only one.
fn white_space(text: &str) -> usize {
    let mut last_newline_end = 0;
    let mut last = 0;
    for (i, c) in text.char_indices() {
        match class(c) {
            Class::Newline => last_newline_end = i + c.len_utf8(),
            Class::Space => {}
            _ if last_newline_end > 0 => return last_newline_end,
            _ => return if last > 0 { last } else { i },
        }
        last = i;
    }
    if last_newline_end > 0 { last_newline_end } else { text.len() }
}

/// Bytes of an English contraction at the start. U+017F is an s in any comparison that ignores case.
fn contraction(text: &str) -> Option<usize> {
    let mut chars = text.strip_prefix('\'')?.chars();
    match chars.next()? {
        's' | 'S' | 't' | 'T' | 'm' | 'M' | 'd' | 'D' => Some(2),
        '\u{17F}' => Some(1 + '\u{17F}'.len_utf8()),
        'r' | 'R' | 'v' | 'V' => matches!(chars.next()?, 'e' | 'E').then_some(3),
        'l' | 'L' => matches!(chars.next()?, 'l' | 'L').then_some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fancy_regex::Regex;
    use proptest::prelude::*;

    const RULE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

    fn check(rule: &Regex, text: &str) {
        let want: Vec<&str> = rule.find_iter(text).map(|m| m.unwrap().as_str()).collect();
        let got: Vec<&str> = words(text).collect();
        assert_eq!(got, want, "{text:?}");
        assert_eq!(got.concat(), text);
    }

    /// All texts of up to five characters from a set with one of each kind that the rule tells apart.
    #[test]
    fn short_texts_match_the_expression() {
        let rule = Regex::new(RULE).unwrap();
        let set = ['a', 'S', '1', ' ', '\t', '\n', '\r', '!', '\'', 'l', '\u{A0}', 'é'];
        for len in 0..=5u32 {
            for n in 0..(set.len() as u32).pow(len) {
                let text: String =
                    (0..len).map(|k| set[(n / (set.len() as u32).pow(k)) as usize % set.len()]).collect();
                check(&rule, &text);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn any_text_matches_the_expression(text in any::<String>(), mixed in "[ \t\n\rasS'tlreLvVE1२½!?।\u{301}\u{17F}\u{3000}漢ǅʰ]{0,40}") {
            let rule = Regex::new(RULE).unwrap();
            // Characters younger than the oldest of the tables are no letters in one and letters in another.
            let text: String = text.chars().filter(|&c| c < '\u{2000}').collect();
            check(&rule, &text);
            check(&rule, &mixed);
        }
    }

    #[test]
    fn long_runs_take_linear_time() {
        for unit in ["a", " ", "\n", "!", "1", " \n", "'"] {
            let text = unit.repeat((2 << 20) / unit.len());
            assert_eq!(words(&text).map(str::len).sum::<usize>(), text.len());
        }
    }
}
