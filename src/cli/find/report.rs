//! `find --json`; docs/json.md is its description, and a promise.

use std::path::PathBuf;

use serde::Serialize;

use super::super::args::FindArgs;
use super::super::memory::peak_resident_bytes;
use super::super::report::Before;
use super::super::screen::write_json;
use crate::media::Clip;
use crate::session::Engine;
use crate::tasks::find::{Found, Level, Pass, Request, Skipped, clock};

/// What is reported on.
pub struct Report<'a> {
    /// What was typed.
    pub args: &'a FindArgs,
    /// The model.
    pub engine: &'a Engine,
    /// The clip.
    pub clip: &'a Clip,
    /// What was asked.
    pub request: &'a Request,
    /// What was found.
    pub found: &'a Found,
    /// What happened before.
    pub before: Before,
    /// The pictures that were written.
    pub files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Json<'a> {
    what: &'a str,
    question: &'a str,
    events: Vec<Event<'a>>,
    clip: ClipFacts<'a>,
    passes: &'a [Pass],
    skipped: &'a [Skipped],
    outside: usize,
    unclear: usize,
    tokens: usize,
    budget: Option<usize>,
    files: Vec<String>,
    model: String,
    mmproj: Option<&'a str>,
    timings: Timings,
    memory: Memory,
}

#[derive(Serialize)]
struct Event<'a> {
    start: f64,
    end: f64,
    start_time: String,
    end_time: String,
    description: &'a str,
    level: Level,
}

#[derive(Serialize)]
struct ClipFacts<'a> {
    name: &'a str,
    width: usize,
    height: usize,
    fps: f64,
    duration: f64,
    start: f64,
    end: f64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Timings {
    load_s: f64,
    read_s: f64,
    looks_s: f64,
}

#[derive(Serialize)]
struct Memory {
    peak_resident_bytes: Option<u64>,
    mapped_bytes: u64,
}

/// One line of JSON.
pub fn json(report: &Report<'_>) -> String {
    let Report { args, engine, clip, request, found, before, files } = report;
    let info = clip.info();
    let (start, end) = request.part.map_or((0.0, None), |part| (part.start, part.end));
    let event = |event: &'_ crate::tasks::find::Event| (clock(event.start), clock(event.end));
    let json = Json {
        what: &args.what,
        question: &request.question,
        events: found
            .events
            .iter()
            .map(|e| {
                let (start_time, end_time) = event(e);
                Event { start: e.start, end: e.end, start_time, end_time, description: &e.description, level: e.level }
            })
            .collect(),
        clip: ClipFacts {
            name: &info.name,
            width: info.width,
            height: info.height,
            fps: info.fps,
            duration: info.duration,
            start,
            end: end.map_or(info.duration, |end| end.min(info.duration)),
            warnings: info.warning.iter().map(ToString::to_string).collect(),
        },
        passes: &found.passes,
        skipped: &found.skipped,
        outside: found.outside,
        unclear: found.unclear,
        tokens: found.tokens,
        budget: request.budget,
        files: files.iter().map(|path| path.display().to_string()).collect(),
        model: engine.model_path().display().to_string(),
        mmproj: engine.mmproj_name(),
        timings: Timings {
            load_s: before.load_s,
            read_s: before.read_s,
            looks_s: found.passes.iter().filter(|pass| !pass.resumed).map(|pass| pass.seconds).sum(),
        },
        memory: Memory { peak_resident_bytes: peak_resident_bytes(), mapped_bytes: engine.mapped_bytes() },
    };
    let mut line = Vec::new();
    // Writing to memory doesn't fail.
    let _ = write_json(&json, &mut line);
    let mut line = String::from_utf8(line).unwrap_or_default();
    line.push('\n');
    line
}
