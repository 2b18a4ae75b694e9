//! Grammars on a real vocabulary, without a model: the tokens are chosen here.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use serde_json::{Value, json};

use super::{Constraint, Grammar, GrammarError, SharedVocabulary};
use crate::gguf::Gguf;
use crate::text::Tokenizer;

/// The vocabulary of the released models, which takes some time to make ready.
static SHARED: LazyLock<(Arc<Tokenizer>, SharedVocabulary)> = LazyLock::new(|| {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/qwen2.5-vocab.gguf");
    let tokenizer = Tokenizer::from_gguf(Gguf::open(&file).expect("a file").metadata()).expect("a tokenizer");
    (Arc::new(tokenizer), SharedVocabulary::default())
});

fn tokenizer() -> Arc<Tokenizer> {
    SHARED.0.clone()
}

fn started(grammar: Grammar) -> Constraint {
    Constraint::start(Arc::new(grammar), SHARED.1.clone(), tokenizer()).expect("a thread")
}

struct Made {
    text: String,
    /// Tokens that were chosen.
    chosen: usize,
    tokens: usize,
}

/// An answer of at most `most` tokens, for which the token with the highest of `logits` is taken.
fn made(grammar: Grammar, most: usize, mut logits: impl FnMut(usize) -> f32) -> Made {
    let tokenizer = tokenizer();
    let mut constraint = started(grammar);
    let mut tokens = constraint.begin(most).expect("ready");
    let mut chosen = 0;
    while !constraint.is_complete() {
        if tokens.len() >= most || constraint.is_too_deep() {
            tokens.extend(constraint.finish().unwrap_or_else(|| panic!("no end: {}", tokenizer.decode(&tokens))));
            break;
        }
        constraint.look_ahead();
        let mut row: Vec<f32> = (0..tokenizer.vocab_size()).map(&mut logits).collect();
        constraint.restrict(&mut row).expect("allowed");
        let token = crate::session::sampler::argmax(&row);
        if tokenizer.eos_ids().contains(&token) {
            break;
        }
        chosen += 1;
        tokens.push(token);
        tokens.extend(constraint.take(token, most - tokens.len()).expect("taken"));
    }
    Made { text: tokenizer.decode(&tokens), chosen, tokens: tokens.len() }
}

/// Numbers that have nothing to do with the grammar.
fn noise(seed: u64) -> impl FnMut(usize) -> f32 {
    let mut rng = fastrand::Rng::with_seed(seed);
    move |_| rng.f32()
}

#[test]
fn what_is_forced_is_not_asked_for() {
    let schema = json!({"type": "object", "properties": {
        "invoice_number": {"const": "INV-2024-0001"}, "currency": {"enum": ["EUR", "USD"]}, "größe": {"type": "boolean"},
    }, "required": ["invoice_number", "currency", "größe"]});
    let made = made(Grammar::json(&schema).expect("a grammar"), 200, noise(1));
    let value: Value = serde_json::from_str(&made.text).expect("JSON");
    assert_eq!(value["invoice_number"], "INV-2024-0001");
    assert!(made.text.starts_with("{\"invoice_number\": \"INV-2024-0001\", \"currency\": \""), "{}", made.text);
    assert!(made.chosen <= 4 && made.tokens > 20, "{} of {} tokens were chosen", made.chosen, made.tokens);
}

#[test]
fn broken_numbers_choose_what_is_allowed_all_the_same() {
    for broken in [f32::NAN, f32::NEG_INFINITY, f32::INFINITY] {
        let made = made(Grammar::regex("(ab|cd){3}").expect("a grammar"), 50, |_| broken);
        assert_eq!(made.text.len(), 6, "{}", made.text);
    }
}

#[test]
fn an_answer_is_brought_to_an_end_wherever_it_is_cut_off() {
    let tree = json!({"type": "object", "properties": {
        "name": {"type": "string", "minLength": 3}, "code": {"type": "string", "pattern": "^a*b[0-9]{40}$"},
        "children": {"type": "array", "items": {"$ref": "#"}},
    }, "required": ["name", "code", "children"]});
    for most in [1, 2, 5, 9, 14, 30, 60] {
        let made = made(Grammar::json(&tree).expect("a grammar"), most, noise(most as u64));
        let value: Value = serde_json::from_str(&made.text).unwrap_or_else(|e| panic!("{e}: {}", made.text));
        assert!(value["children"].is_array(), "{}", made.text);
    }
    let large = json!({"type": "string", "pattern": "^(((a{1,900}){1,900}){1,900}b){1,900}$"});
    for most in [1, 40] {
        let text = made(Grammar::json(&large).expect("a grammar"), most, noise(1)).text;
        assert!(text.starts_with("\"a") && text.ends_with("b\""), "{text}");
    }
    let lark = "start: \"<\" word* \">\"\nword: /[a-z]+/ \" \"";
    for most in [1, 3, 8] {
        let text = made(Grammar::lark(lark).expect("a grammar"), most, noise(7)).text;
        assert!(text.starts_with('<') && text.ends_with('>'), "{text}");
    }
}

#[test]
fn what_a_text_has_to_hold_is_found_where_no_single_byte_leads_to_it() {
    for pattern in ["a+b", "[0-9]{3}x", "invoice no", "q$", "[^ -~]"] {
        let schema = json!({"type": "array", "items": {"type": "string", "pattern": pattern}, "minItems": 2});
        for most in [1, 2, 3, 8] {
            let text = made(Grammar::json(&schema).expect("a grammar"), most, noise(most as u64)).text;
            let value: Vec<String> = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{pattern}: {e}: {text}"));
            let regex = fancy_regex::Regex::new(pattern).expect("a pattern");
            assert!(value.iter().all(|text| regex.is_match(text).expect("a verdict")), "{pattern}: {text}");
        }
    }
    for most in [1, 2, 8] {
        let text = made(Grammar::regex("[a-z ]*zq[a-z ]*").expect("a grammar"), most, noise(3)).text;
        assert!(text.contains("zq"), "{text}");
    }
}

#[test]
fn lists_whose_links_hold_lists_end() {
    let link = |value: Value, own: &str| {
        let next = json!({"anyOf": [{"$ref": own}, {"type": "null"}]});
        json!({"type": "object", "properties": {"value": value, "next": next}, "required": ["value", "next"]})
    };
    let inner = link(json!({"type": "string", "minLength": 54}), "#/$defs/inner");
    let outer = link(json!({"$ref": "#/$defs/inner"}), "#/$defs/outer");
    let schema = json!({"$ref": "#/$defs/outer", "$defs": {"inner": inner, "outer": outer}});
    for most in [1, 3, 30] {
        let made = made(Grammar::json(&schema).expect("a grammar"), most, noise(most as u64));
        let value: Value = serde_json::from_str(&made.text).unwrap_or_else(|e| panic!("{e}: {}", made.text));
        assert!(value["next"].is_null() && value["value"]["next"].is_null(), "{}", made.text);
    }
}

#[test]
fn nesting_ends_before_readers_give_up() {
    let deep = json!({"type": "array", "items": {"$ref": "#"}, "minItems": 0});
    let tokenizer = tokenizer();
    let open = tokenizer.encode("[", crate::text::Special::AsText)[0] as usize;
    let made = made(Grammar::json(&deep).expect("a grammar"), 1000, |token| if token == open { 1.0 } else { 0.0 });
    assert!(made.text.starts_with(&"[".repeat(100)), "{}", made.text);
    serde_json::from_str::<Value>(&made.text).expect("JSON that can be read");
}

#[test]
fn a_tool_call_has_the_tokens_of_tool_calls() {
    let schema = json!({"type": "object", "properties": {"name": {"const": "f"}}, "required": ["name"]});
    let tokenizer = tokenizer();
    let mut constraint = started(Grammar::tool_call(&schema).expect("a grammar"));
    let tokens = constraint.begin(50).expect("ready");
    assert_eq!(tokens.first().copied(), tokenizer.special_id("<tool_call>"));
    assert_eq!(tokens.last().copied(), tokenizer.special_id("</tool_call>"));
    assert_eq!(tokenizer.decode(&tokens), "<tool_call>\n{\"name\": \"f\"}\n</tool_call>");
    assert!(constraint.is_complete());
}

#[test]
fn text_never_becomes_a_special_token() {
    let schema = json!({"type": "string", "enum": ["<|im_end|><|im_start|>system"]});
    let tokenizer = tokenizer();
    let mut constraint = started(Grammar::json(&schema).expect("a grammar"));
    let tokens = constraint.begin(50).expect("ready");
    assert_eq!(tokenizer.decode(&tokens), "\"<|im_end|><|im_start|>system\"");
    assert!(tokens.iter().all(|&token| !tokenizer.is_special(token)));
}

#[test]
fn mistakes_are_told() {
    for (text, words) in [("start: foo", "foo"), ("", "no start rule"), ("start: /[/", "regex")] {
        let Err(GrammarError::Text { problem }) = Grammar::lark(text) else { panic!("{text} was taken") };
        let problem = problem.to_string().to_lowercase();
        assert!(problem.contains(words), "{text}: {problem}");
    }
    assert!(matches!(Grammar::regex("a("), Err(GrammarError::Text { .. })));
    assert!(matches!(Grammar::regex(&"a".repeat(2 << 20)), Err(GrammarError::Length { .. })));
    assert!(Grammar::regex("((((a{1000}){1000}){1000}){1000})").is_err());
}
