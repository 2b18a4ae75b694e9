//! A vocabulary of a real one's size and kind: bytes, merges, the special tokens of Qwen2.5 at their places. What the merges
//! spell is chance, but for some frequent words, so that a question has about as many tokens as in earnest.

use std::collections::HashMap;

/// The special tokens after the text tokens, in the released order.
const SPECIAL: [&str; 22] = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
];

/// Rows of the table beyond the last token, relative to those of the 3B model: 151665 of 151936 are in use.
pub const UNUSED_ROWS: usize = 271;

/// Words that get tokens of their own.
const WORDS: &str = "the of and to in is it you that was for on are with as his they at be this have from or had by but what \
                     some we can out other were all there when up use your how said an each she which do their time if will \
                     way about many then them write would like so these her long make thing see him two has look more day \
                     could go come did number sound no most people my over know water than call first who may down side been \
                     now find any new work part take get place made live where after back little only round man year came \
                     show every good me give our under name picture describe main colours text read words object left right \
                     user assistant system helpful are";

/// Characters in a token at most.
const MAX_CHARS: usize = 14;

/// Tokens, their kinds as GGUF numbers them, and merges.
pub struct Vocabulary {
    /// The tokens' texts in the byte alphabet.
    pub tokens: Vec<String>,
    /// 1 text, 3 control, 4 user-defined, 5 unused.
    pub types: Vec<i32>,
    /// `left right`, in the order of their ranks.
    pub merges: Vec<String>,
}

impl Vocabulary {
    /// A vocabulary of `rows` tokens in all.
    ///
    /// # Panics
    /// `rows` leaves no room for the bytes and special tokens.
    pub fn new(rows: usize, rng: &mut fastrand::Rng) -> Vocabulary {
        let n_text = rows - UNUSED_ROWS - SPECIAL.len();
        let mut texts = Texts::of_bytes();
        texts.add_words(n_text);
        texts.add_chance(n_text, rng);
        let Texts { mut tokens, merges, .. } = texts;
        let mut types = vec![1; tokens.len()];
        for special in SPECIAL {
            tokens.push(special.to_owned());
            types.push(if special.starts_with("<|") { 3 } else { 4 });
        }
        for i in tokens.len()..rows {
            tokens.push(format!("[PAD{i}]"));
            types.push(5);
        }
        Vocabulary { tokens, types, merges }
    }

    /// The id of a special token.
    pub fn special(&self, text: &str) -> Option<u32> {
        self.tokens.iter().rposition(|t| t == text).and_then(|i| u32::try_from(i).ok())
    }
}

/// The text tokens while they come into being: token 256 + i is what merge i makes.
struct Texts {
    tokens: Vec<String>,
    merges: Vec<String>,
    ids: HashMap<String, usize>,
}

impl Texts {
    /// One token per byte, in the byte alphabet of GPT-2 and its order.
    fn of_bytes() -> Texts {
        let visible = ('!'..='~').chain('¡'..='¬').chain('®'..='ÿ');
        let tokens: Vec<String> = visible.chain('\u{100}'..='\u{143}').map(String::from).collect();
        let ids = tokens.iter().cloned().zip(0..).collect();
        Texts { tokens, merges: Vec::new(), ids }
    }

    /// Adds the merge of two tokens, unless its text is there already.
    fn merge(&mut self, left: &str, right: &str) {
        let joined = format!("{left}{right}");
        if !self.ids.contains_key(&joined) {
            self.ids.insert(joined.clone(), self.tokens.len());
            self.merges.push(format!("{left} {right}"));
            self.tokens.push(joined);
        }
    }

    /// Words, each from its beginnings: `Ġt`, `Ġth`, `Ġthe`.
    fn add_words(&mut self, n_text: usize) {
        for word in WORDS.split_whitespace() {
            let mut start = "Ġ".to_owned();
            for c in word.chars() {
                if self.tokens.len() < n_text {
                    self.merge(&start, c.encode_utf8(&mut [0; 4]));
                }
                start.push(c);
            }
        }
    }

    /// Fills up with what chance joins: a beginning, with a space or without, and a piece without one.
    fn add_chance(&mut self, n_text: usize, rng: &mut fastrand::Rng) {
        let letters: Vec<String> = ('a'..='z').chain('A'..='Z').chain('0'..='9').map(String::from).collect();
        let mut pieces = letters.clone();
        let mut starts: Vec<String> = letters.iter().cloned().chain(["Ġ".to_owned(), "Ċ".to_owned()]).collect();
        while self.tokens.len() < n_text {
            let left = &starts[rng.usize(..starts.len())];
            let right = &pieces[rng.usize(..pieces.len())];
            if left.chars().count() + right.chars().count() > MAX_CHARS {
                continue;
            }
            let (left, right) = (left.clone(), right.clone());
            let before = self.tokens.len();
            self.merge(&left, &right);
            if self.tokens.len() > before {
                let new = self.tokens[before].clone();
                if new.starts_with(|c: char| c.is_ascii()) && new.len() <= 4 {
                    pieces.push(new.clone());
                }
                starts.push(new);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_merge_makes_its_token_of_earlier_ones() {
        let v = Vocabulary::new(4096, &mut fastrand::Rng::with_seed(1));
        assert_eq!((v.tokens.len(), v.types.len()), (4096, 4096));
        let place: HashMap<&str, usize> = v.tokens.iter().map(String::as_str).zip(0..).collect();
        assert_eq!(place.len(), 4096, "no text twice");
        for (i, merge) in v.merges.iter().enumerate() {
            let (left, right) = merge.split_once(' ').expect("two halves");
            let token = 256 + i;
            assert_eq!(v.tokens[token], format!("{left}{right}"));
            assert!(place[left] < token && place[right] < token, "{merge}");
        }
        assert_eq!(v.special("<|im_end|>"), Some(4096 - 271 - 22 + 2));
        assert!(place.contains_key("Ġthe"));
    }
}
