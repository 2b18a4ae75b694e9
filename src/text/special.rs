//! Special tokens: found in text whole, the longest first.

use super::vocab::TokenKind;

/// The texts of a vocabulary's special tokens.
///
/// A sorted list, narrowed character by character while a text is read: no step looks further than the longest special
/// token, however many share a beginning.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpecialTokens {
    /// Sorted by text; no two are equal, none is empty.
    sorted: Vec<Special>,
    /// Whether a special token begins with this byte.
    first: Vec<bool>,
}

/// One special token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Special {
    pub text: Box<str>,
    pub id: u32,
    pub kind: TokenKind,
}

/// A piece of a text; see [`SpecialTokens::split`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Plain(&'a str),
    Special(u32),
}

impl SpecialTokens {
    /// Of several with one text the first counts.
    pub(crate) fn new(mut tokens: Vec<Special>) -> SpecialTokens {
        tokens.retain(|t| !t.text.is_empty());
        tokens.sort_by(|a, b| a.text.cmp(&b.text));
        tokens.dedup_by(|later, earlier| later.text == earlier.text);
        let mut first = vec![false; 256];
        for t in &tokens {
            first[usize::from(t.text.as_bytes()[0])] = true;
        }
        SpecialTokens { sorted: tokens, first }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Special> {
        self.sorted.iter()
    }

    /// The token with exactly this text.
    pub(crate) fn get(&self, text: &str) -> Option<&Special> {
        self.sorted.binary_search_by(|t| (*t.text).cmp(text)).ok().map(|i| &self.sorted[i])
    }

    /// The longest special token that `text` begins with.
    pub(crate) fn longest_prefix(&self, text: &str) -> Option<&Special> {
        let mut found = None;
        let mut range = self.sorted.as_slice();
        for (depth, &b) in text.as_bytes().iter().enumerate() {
            // All in `range` share their first `depth` bytes with the text; a missing byte sorts before every byte.
            let key = |t: &Special| t.text.as_bytes().get(depth).copied();
            let start = range.partition_point(|t| key(t) < Some(b));
            let end = range.partition_point(|t| key(t) <= Some(b));
            range = &range[start..end];
            match range.first() {
                None => break,
                Some(t) if t.text.len() == depth + 1 => found = Some(t),
                Some(_) => {}
            }
        }
        found
    }

    /// Splits at special tokens, from the left, the longest at each place. A token of one character counts only where
    /// `guard` doesn't follow it: there is no room for a guard inside.
    pub(crate) fn split<'a>(&self, text: &'a str, guard: Option<char>) -> Vec<Piece<'a>> {
        let mut pieces = Vec::new();
        let (mut start, mut at) = (0, 0);
        let bytes = text.as_bytes();
        while let Some(skip) = bytes[at..].iter().position(|&b| self.begins(b)) {
            at += skip;
            match self.longest_prefix(&text[at..]).filter(|t| !is_guarded(t, &text[at + t.text.len()..], guard)) {
                None => at += 1 + bytes[at + 1..].iter().take_while(|&&b| b & 0xC0 == 0x80).count(),
                Some(token) => {
                    if start < at {
                        pieces.push(Piece::Plain(&text[start..at]));
                    }
                    pieces.push(Piece::Special(token.id));
                    at += token.text.len();
                    start = at;
                }
            }
        }
        if start < text.len() {
            pieces.push(Piece::Plain(&text[start..]));
        }
        pieces
    }

    fn begins(&self, byte: u8) -> bool {
        self.first.get(usize::from(byte)).copied().unwrap_or(false)
    }
}

fn is_guarded(token: &Special, rest: &str, guard: Option<char>) -> bool {
    token.text.chars().nth(1).is_none() && guard.is_some_and(|g| rest.starts_with(g))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(texts: &[&str]) -> SpecialTokens {
        let special = |(i, t): (usize, &&str)| Special { text: (*t).into(), id: i as u32, kind: TokenKind::Control };
        SpecialTokens::new(texts.iter().enumerate().map(special).collect())
    }

    #[test]
    fn the_longest_wins_and_the_first_of_equals() {
        let s = set(&["<a", "<a>b", "<a>", "<a>", "b", "é"]);
        use Piece::*;
        assert_eq!(
            s.split("x<a>c<a<a>by", None),
            [Plain("x"), Special(2), Plain("c"), Special(0), Special(1), Plain("y")]
        );
        assert_eq!(s.split("ééè", None), [Special(5), Special(5), Plain("è")]);
        assert_eq!(s.split("", None), []);
        assert_eq!(SpecialTokens::default().split("<a>", None), [Plain("<a>")]);
        assert_eq!(s.get("<a>").unwrap().id, 2);
        assert_eq!(s.get("<"), None);
    }

    #[test]
    fn a_token_of_one_character_is_held_off_by_the_guard_behind_it() {
        let s = set(&["b", "<a>"]);
        use Piece::*;
        assert_eq!(s.split("b|b<a>|", Some('|')), [Plain("b|"), Special(0), Special(1), Plain("|")]);
    }

    proptest! {
        #[test]
        fn matches_naive(texts in prop::collection::vec("[<a>é]{1,4}", 0..8), text in "[<a>éb]{0,30}") {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let s = set(&texts);
            for (i, _) in text.char_indices() {
                let want = texts.iter().filter(|t| text[i..].starts_with(**t)).map(|t| t.len()).max();
                prop_assert_eq!(s.longest_prefix(&text[i..]).map(|t| t.text.len()), want);
            }
        }
    }
}
