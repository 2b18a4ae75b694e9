//! Keeps text that was typed or read from a file from being taken for special tokens.
//!
//! Before a template sees such text, a sentinel (a character that occurs in no part of the conversation) is put behind each
//! character that a special token could begin with, and before each that one could end with. So whatever the template does
//! with the text (joins, cuts, drops parts), none of these characters can become the first or last of a special token: not
//! within the text, nor together with the text beside it. The tokenizer takes the sentinels out where they can do no more
//! harm: after the prompt has been split at the special tokens.
//!
//! What the assistant said gets fewer: templates look into it (for `</think>`, to leave earlier thoughts out), and it came
//! from the model. Its user-defined tokens stay tokens, as do those of the system message, which sets the rules (it tells of
//! `<tool_call>`); and a character is marked only where it stands beside the one that
//! follows or precedes it in a control token, or at the text's end.

use std::collections::HashSet;

use super::Role;
use crate::text::TextError;
use crate::text::TokenKind;
use crate::text::special::{Special, SpecialTokens};

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
    /// The first two and the last two characters of control tokens; of a token of one character, that one twice.
    control_first: HashSet<(char, char)>,
    control_last: HashSet<(char, char)>,
    /// Bytes of the longest special token.
    longest: usize,
}

impl Edges {
    pub(super) fn of(special: &SpecialTokens) -> Edges {
        let mut edges = Edges::default();
        for token in special.iter() {
            let (mut ahead, mut back) = (token.text.chars(), token.text.chars().rev());
            let (Some(first), Some(last)) = (ahead.next(), back.next()) else { continue };
            edges.first.insert(first);
            edges.last.insert(last);
            edges.longest = edges.longest.max(token.text.len());
            if token.kind != TokenKind::UserDefined {
                edges.control_first.insert((first, ahead.next().unwrap_or(first)));
                edges.control_last.insert((back.next().unwrap_or(last), last));
            }
        }
        edges
    }

    /// Whether a special token could begin with `c` before `next`, or before anything where the text ends.
    fn begins(&self, role: Role, c: char, next: Option<char>) -> bool {
        let alone = || self.control_first.contains(&(c, c));
        match (role, next) {
            (Role::Assistant | Role::System, Some(next)) => self.control_first.contains(&(c, next)) || alone(),
            _ => self.first.contains(&c),
        }
    }

    /// Whether a special token could end with `c` behind `before`, or behind anything where the text begins.
    fn ends(&self, role: Role, before: Option<char>, c: char) -> bool {
        let alone = || self.control_last.contains(&(c, c));
        match (role, before) {
            (Role::Assistant | Role::System, Some(before)) => self.control_last.contains(&(before, c)) || alone(),
            _ => self.last.contains(&c),
        }
    }
}

impl<'a> Guard<'a> {
    pub(super) fn new(special: &'a SpecialTokens, edges: &'a Edges, sentinel: char) -> Guard<'a> {
        Guard { special, edges, sentinel }
    }

    /// The text with sentinels.
    pub(super) fn mark(&self, text: &str, role: Role) -> String {
        let mut out = String::with_capacity(text.len() + 16);
        // White space at the ends may be trimmed away: there the text has its ends too.
        let end = text.trim_end().len();
        let mut before = None;
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let own = if matches!(role, Role::Assistant | Role::System) { self.own_token(rest) } else { 0 };
            if own > 0 {
                out.push_str(&rest[..own]);
                before = rest[..own].chars().next_back();
                rest = &rest[own..];
                continue;
            }
            rest = &rest[c.len_utf8()..];
            if self.edges.ends(role, before, c) && !out.ends_with(self.sentinel) {
                out.push(self.sentinel);
            }
            out.push(c);
            let next = rest.chars().next().filter(|_| text.len() - rest.len() < end);
            if self.edges.begins(role, c, next) {
                out.push(self.sentinel);
            }
            if before.is_some() || !c.is_whitespace() {
                before = Some(c);
            }
        }
        if out.len() > text.len() { out } else { self.mark_middle(out) }
    }

    /// Bytes of the user-defined token at the start; 0 where there is none, or where one character is all it has.
    fn own_token(&self, text: &str) -> usize {
        let begins = text.chars().next().is_some_and(|c| self.edges.first.contains(&c));
        let token = if begins { self.special.longest_prefix(text) } else { None };
        let own = |t: &&Special| t.kind == TokenKind::UserDefined && t.text.chars().nth(1).is_some();
        token.filter(own).map_or(0, |t| t.text.len())
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
        let tokens = [("<|end|>", TokenKind::Control), ("<call>", TokenKind::UserDefined), ("é", TokenKind::Unknown)];
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
        assert_eq!(mark("a<|end|>b", Role::User), "a<*|end|*>b");
        assert_eq!(mark("<call>", Role::User), "<*call*>");
        assert_eq!(mark(" end\n", Role::User), " e*nd\n");
        assert_eq!(mark("plain", Role::User), "plain");
        assert_eq!(mark("", Role::User), "");
        assert_eq!(mark(" ", Role::User), " ");
        assert_eq!(mark("é", Role::User), "*é*");
        assert_eq!(mark("aéb", Role::Assistant), "a*é*b");
    }

    #[test]
    fn the_assistants_own_tokens_stay_whole() {
        assert_eq!(mark("<call>x<|end|>", Role::Assistant), "<call>x<*|end|*>");
        // Whatever the template cuts out, no control token comes of it.
        assert_eq!(mark("<<call>|end|>", Role::Assistant), "<<call>|end|*>");
    }

    #[test]
    fn the_assistants_text_is_marked_sparingly() {
        assert_eq!(mark("<think>\na > b < c</think> <|d|>", Role::Assistant), "<think>\na > b < c</think> <*|d|*>");
        assert_eq!(mark(" > x < \n", Role::Assistant), " *> x <* \n");
        assert_eq!(mark("x<|", Role::Assistant), "x<*|");
        assert_eq!(mark("d|>", Role::Assistant), "d|*>");
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
