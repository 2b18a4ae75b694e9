//! What it costs to hold an answer to a grammar, and what forced tokens save:
//! `cargo run --release --example bench_grammar -- MODEL.gguf [TOKENS] [RUNS]`.
//!
//! Prints the median milliseconds per token of an answer without a grammar, of texts in which the grammar forces next to
//! nothing, and of objects whose names are forced.

use std::ops::ControlFlow;
use std::sync::Arc;

use qlens::session::{Engine, EngineOptions, GenerateOptions, Grammar, Sampling, Session, StopReason, Turn};
use serde_json::{Value, json};

fn main() {
    let mut args = std::env::args().skip(1);
    let model = args.next().expect("usage: bench_grammar MODEL.gguf [TOKENS] [RUNS]");
    let mut number = |default| args.next().map_or(default, |n| n.parse().expect("a number"));
    let (tokens, runs) = (number(64), number(5));
    let engine = Engine::load(&EngineOptions::new(model)).expect("a model");
    let mut session = engine.new_session();
    let text = json!({"type": "string", "minLength": 4000});
    let names = ["invoice_number", "total_amount", "due_date", "customer_name"];
    let properties: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), json!({"type": "string", "maxLength": 4}))).collect();
    let object = json!({"type": "object", "properties": properties, "required": names});
    let objects = json!({"type": "array", "items": object, "minItems": 4000});
    // The vocabulary is made ready once.
    measure(&mut session, Some(&text), 4);
    for (what, schema) in [("no grammar", None), ("free text", Some(&text)), ("objects", Some(&objects))] {
        let mut times: Vec<f64> = (0..runs).map(|_| measure(&mut session, schema, tokens)).collect();
        times.sort_by(f64::total_cmp);
        println!("{what:>12}: {:.3} ms per token", times[runs / 2] * 1e3);
    }
}

/// Seconds for each token of an answer.
fn measure(session: &mut Session<'_>, schema: Option<&Value>, tokens: usize) -> f64 {
    let grammar = schema.map(|schema| Arc::new(Grammar::json(schema).expect("a schema")));
    // Random weights seldom end an answer by themselves; other models are made to try their luck again.
    for seed in 0..100 {
        let sampling = Sampling { temperature: 2.0, seed, ..Sampling::default() };
        let options =
            GenerateOptions { max_tokens: tokens, sampling, grammar: grammar.clone(), ..GenerateOptions::default() };
        session.clear();
        let turn = Turn::new(None, vec![], "Tell me a long story.");
        let answer = session.ask(&turn, &options, &mut |_| ControlFlow::Continue(())).expect("an answer");
        if answer.stop == StopReason::MaxTokens {
            return answer.timings.decode_s / tokens as f64;
        }
    }
    panic!("no answer was as long as {tokens} tokens");
}
