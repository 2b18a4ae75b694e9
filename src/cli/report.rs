//! What a run took: for programs (`--json`) and for people (`-v`).

use std::io::{self, Write};

use serde::Serialize;

use super::memory::{human_bytes, peak_resident_bytes};
use super::screen::{Manner, write_json};
use crate::session::{Answer, Engine, MediaReport, StopReason, Timings};

/// Seconds that passed before the question was asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Before {
    /// Opening and checking the model.
    pub load_s: f64,
    /// Reading and decoding the pictures.
    pub read_s: f64,
}

/// The JSON of `describe` and `chat`; docs/json.md is its description, and a promise.
#[derive(Serialize)]
struct Report<'a> {
    answer: &'a str,
    stop: StopReason,
    model: String,
    mmproj: Option<&'a str>,
    tokens: Tokens,
    timings: Seconds<'a>,
    media: &'a [MediaReport],
    memory: Memory,
}

#[derive(Serialize)]
struct Memory {
    peak_resident_bytes: Option<u64>,
    mapped_bytes: u64,
}

#[derive(Serialize)]
struct Tokens {
    prompt: usize,
    media: usize,
    cached: usize,
    answer: usize,
}

#[derive(Serialize)]
struct Seconds<'a> {
    load_s: f64,
    read_s: f64,
    #[serde(flatten)]
    session: &'a Timings,
}

/// Writes the report as one line of JSON.
///
/// # Errors
/// Whatever writing to `out` gives.
pub fn json(engine: &Engine, answer: &Answer, before: Before, out: &mut dyn Write) -> io::Result<()> {
    let report = Report {
        answer: &answer.text,
        stop: answer.stop,
        model: engine.model_path().display().to_string(),
        mmproj: engine.mmproj_name(),
        tokens: Tokens {
            prompt: answer.prompt_tokens,
            media: answer.media.iter().map(|m| m.tokens).sum(),
            cached: answer.cached_tokens,
            answer: answer.answer_tokens,
        },
        timings: Seconds { load_s: before.load_s, read_s: before.read_s, session: &answer.timings },
        media: &answer.media,
        memory: Memory { peak_resident_bytes: peak_resident_bytes(), mapped_bytes: engine.mapped_bytes() },
    };
    write_json(&report, &mut *out)?;
    writeln!(out)?;
    out.flush()
}

/// What the run took, on standard error.
pub fn verbose(engine: &Engine, answer: &Answer, before: Before, manner: &Manner) {
    let t = &answer.timings;
    model(engine, before.load_s, manner);
    for m in &answer.media {
        let [w, h] = m.original;
        let [rw, rh] = m.resized;
        manner.note(&format!("{}: {w}x{h} pixels, seen as {rw}x{rh}, {} tokens", m.name, m.tokens));
    }
    if !answer.media.is_empty() {
        let (read, resize) = (before.read_s, t.media_s);
        manner
            .note(&format!("pictures: read in {read:.2} s, resized in {resize:.2} s, encoded in {:.2} s", t.vision_s));
    }
    let new = answer.prompt_tokens.saturating_sub(answer.cached_tokens);
    let known =
        if answer.cached_tokens > 0 { format!(" ({} more were known)", answer.cached_tokens) } else { String::new() };
    manner.note(&format!("question: {}{known}; first token after {:.2} s", pace(new, t.prefill_s), t.first_token_s));
    manner.note(&format!("answer: {}", pace(answer.answer_tokens, t.decode_s)));
    memory(engine, manner);
}

/// Which files, kernels and threads.
pub fn model(engine: &Engine, load_s: f64, manner: &Manner) {
    let mmproj = engine.mmproj_name().map(|name| format!(" with {name}")).unwrap_or_default();
    manner.note(&format!("model: {}{mmproj}, opened in {load_s:.2} s", engine.model_path().display()));
    let cpu = engine.cpu();
    let kernels = format!("{:?}", cpu.isa()).to_lowercase();
    manner.note(&format!("kernels: {kernels}, {} threads; context {} tokens", cpu.threads(), engine.ctx()));
}

/// The most memory that was resident so far, and how much of the address space the weights are.
pub fn memory(engine: &Engine, manner: &Manner) {
    let mapped = human_bytes(engine.mapped_bytes());
    match peak_resident_bytes() {
        Some(peak) => {
            manner.note(&format!("memory: {} resident at most; model files of {mapped} mapped", human_bytes(peak)))
        }
        None => manner.note(&format!("memory: model files of {mapped} mapped")),
    }
}

fn pace(tokens: usize, seconds: f64) -> String {
    let rate = if seconds > 0.0 { format!(", {:.1} a second", tokens as f64 / seconds) } else { String::new() };
    format!("{tokens} tokens in {seconds:.2} s{rate}")
}

/// What an answer took, in a few words.
pub fn short(engine: &Engine, answer: &Answer) -> String {
    let t = &answer.timings;
    let new = answer.prompt_tokens.saturating_sub(answer.cached_tokens);
    let used = answer.prompt_tokens + answer.answer_tokens;
    format!(
        "({new} tokens read, {} known; first word after {:.2} s; {}; {used} of {} tokens used)",
        answer.cached_tokens,
        t.first_token_s,
        pace(answer.answer_tokens, t.decode_s),
        engine.ctx()
    )
}
