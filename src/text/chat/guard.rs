//! Keeps text that was typed or read from a file from being taken for special tokens.
//!
//! Before a template sees such text, a sentinel (a character that occurs in no part of the conversation) is put behind each
//! character that a special token could begin with, and before each that one could end with. So whatever the template does
//! with the text (joins, cuts, drops parts), none of these characters can become the first or last of a special token: not
//! within the text, nor together with the text beside it. The tokenizer takes the sentinels out where they can do no more
//! harm: after the prompt has been split at the special tokens.

use std::collections::HashSet;

use super::Role;
use crate::text::TextError;
use crate::text::TokenKind;
use crate::text::special::SpecialTokens;

/// Marks texts for one conversation.
pub(super) struct Guard<'a> {
    special: &'a SpecialTokens,
    edges: &'a Edges,
    sentinel: char,
}

/// The characters at the ends of a vocabulary's special tokens.
#[derive(Clone, Debug, Default)]
pub(super) struct Edges {
    first: HashSet<char>,
    last: HashSet<char>,
    /// Bytes of the longest special token.
    longest: usize,
}

impl Edges {
    pub(super) fn of(special: &SpecialTokens) -> Edges {
        Edges {
            first: special.iter().filter_map(|t| t.text.chars().next()).collect(),
            last: special.iter().filter_map(|t| t.text.chars().next_back()).collect(),
            longest: special.iter().map(|t| t.text.len()).max().unwrap_or(0),
        }
    }
}

impl<'a> Guard<'a> {
    pub(super) fn new(special: &'a SpecialTokens, edges: &'a Edges, sentinel: char) -> Guard<'a> {
        Guard { special, edges, sentinel }
    }

    /// The text with sentinels. In what the assistant said, user-defined tokens (`<tool_call>`, `</think>`) stay whole: the
    /// model itself wrote them, and templates look for them.
    pub(super) fn mark(&self, text: &str, role: Role) -> String {
        let mut out = String::with_capacity(text.len() + 16);
        let mut at = 0;
        let mut marked = false;
        while let Some(c) = text[at..].chars().next() {
            if role == Role::Assistant
                && let Some(token) = self.own_token(&text[at..])
            {
                out.push_str(&text[at..at + token]);
                at += token;
                continue;
            }
            if self.edges.last.contains(&c) && !out.ends_with(self.sentinel) {
                out.push(self.sentinel);
                marked = true;
            }
            out.push(c);
            if self.edges.first.contains(&c) {
                out.push(self.sentinel);
                marked = true;
            }
            at += c.len_utf8();
        }
        if marked { out } else { self.mark_middle(out) }
    }

    /// Bytes of the user-defined token at the start, if there is one.
    fn own_token(&self, text: &str) -> Option<usize> {
        let begins = text.chars().next().is_some_and(|c| self.edges.first.contains(&c));
        let token = self.special.longest_prefix(text).filter(|_| begins)?;
        (token.kind == TokenKind::UserDefined && token.text.chars().nth(1).is_some()).then_some(token.text.len())
    }

    /// Text with neither a beginning nor an end could still be the middle of a special token whose ends the template
    /// writes.
    fn mark_middle(&self, mut text: String) -> String {
        let core = text.trim();
        if core.is_empty() || core.len() > self.edges.longest || !self.special.iter().any(|t| t.text.contains(core)) {
            return text;
        }
        let start = text.len() - text.trim_start().len();
        let behind = start + core.chars().next().map_or(0, char::len_utf8);
        text.insert(behind, self.sentinel);
        text
    }
}

/// A character that none of these texts contains: one of the noncharacters that Unicode sets aside for a program's own
/// use, or else of the private use planes.
///
/// # Errors
/// [`TextError::NoSentinel`] where the texts use all of these (131,104 characters).
pub(super) fn choose_sentinel<'a>(texts: impl Iterator<Item = &'a str>) -> Result<char, TextError> {
    let candidates = || ('\u{FDD0}'..='\u{FDEF}').chain('\u{F0000}'..='\u{FFFFD}').chain('\u{100000}'..='\u{10FFFD}');
    let is_candidate = |c: &char| matches!(c, '\u{FDD0}'..='\u{FDEF}' | '\u{F0000}'..);
    let used: HashSet<char> = texts.flat_map(str::chars).filter(is_candidate).collect();
    candidates().find(|c| !used.contains(c)).ok_or(TextError::NoSentinel)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::special::Special;

    fn special() -> SpecialTokens {
        let tokens = [("<|end|>", TokenKind::Control), ("<call>", TokenKind::UserDefined), ("<", TokenKind::Control)];
        SpecialTokens::new(
            tokens
                .iter()
                .enumerate()
                .map(|(id, &(text, kind))| Special { text: text.into(), id: id as u32, kind })
                .collect(),
        )
    }

    fn mark(text: &str, role: Role) -> String {
        let special = special();
        Guard::new(&special, &Edges::of(&special), '*').mark(text, role)
    }

    #[test]
    fn marks_ends_and_middles() {
        assert_eq!(mark("a<|end|>b", Role::User), "a*<*|end|*>b");
        assert_eq!(mark("<call>", Role::User), "*<*call*>");
        assert_eq!(mark(" end\n", Role::User), " e*nd\n");
        assert_eq!(mark("plain", Role::User), "plain");
        assert_eq!(mark("", Role::User), "");
        assert_eq!(mark(" ", Role::User), " ");
    }

    #[test]
    fn the_assistants_own_tokens_stay_whole() {
        assert_eq!(mark("<call>x<|end|>", Role::Assistant), "<call>x*<*|end|*>");
        // Whatever the template cuts out, no control token comes of it.
        assert_eq!(mark("<<call>|end|>", Role::Assistant), "*<*<call>|end|*>");
    }

    #[test]
    fn the_sentinel_is_a_character_that_nobody_used() {
        assert_eq!(choose_sentinel(["a", "b"].into_iter()).unwrap(), '\u{FDD0}');
        assert_eq!(choose_sentinel(["\u{FDD0}", "x\u{FDD1}"].into_iter()).unwrap(), '\u{FDD2}');
        let noncharacters: String = ('\u{FDD0}'..='\u{FDEF}').collect();
        assert_eq!(choose_sentinel([&*noncharacters].into_iter()).unwrap(), '\u{F0000}');
        let all: String = ('\u{F0000}'..='\u{10FFFF}').collect();
        assert!(matches!(choose_sentinel([&*noncharacters, &*all].into_iter()), Err(TextError::NoSentinel)));
    }
}
