//! Reading what a model said: the JSON in it, and words that can be shown.

use serde_json::{Deserializer, Value};

/// Characters of a description that are kept.
const MAX_WORDS: usize = 500;

/// Each complete object or list in an answer, in order, wherever it stands: in code fences or prose, and where the
/// answer was cut off in the middle of a larger one.
pub(super) fn for_each_json(answer: &str, mut each: impl FnMut(Value)) {
    let mut at = 0;
    while let Some(found) = answer[at..].find(['{', '[']) {
        at += found;
        let mut values = Deserializer::from_str(&answer[at..]).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) => {
                at += values.byte_offset().max(1);
                each(value);
            }
            _ => at += 1,
        }
    }
}

/// Whether a model's key is one that is looked for: `Start Time` is `start_time`.
pub(super) fn same_key(key: &str, name: &str) -> bool {
    key.trim().to_lowercase().replace([' ', '-'], "_") == name
}

/// On one line, without what a terminal would act on, and not endless.
pub(super) fn tidy(text: &str) -> String {
    // Controls, and the marks that reorder a line.
    let kept = |c: &char| !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let cleaned = text.split_whitespace().map(|word| word.chars().filter(kept).collect::<String>());
    let words: Vec<String> = cleaned.filter(|word| !word.is_empty()).collect();
    let line = words.join(" ");
    match line.char_indices().nth(MAX_WORDS) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}
