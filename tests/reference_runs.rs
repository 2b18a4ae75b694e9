//! The reference runs: what the original implementation computes, against what this one does.
//!
//! `QLENS_REFERENCE` names another folder of the same layout. Failing runs are reported all at once.

mod support;

use std::sync::Arc;

use qlens::kernels::KvType;
use qlens::media::{Clip, Limits, Source, load_picture};
use qlens::model::{PositionSpan, Precision, Stage, VisionObserver, WindowOrder, mrope_positions};
use qlens::session::{Engine, EngineOptions, MediaOptions, Medium, TraceOutput, Turn, TurnPart};
use serde_json::Value;
use support::{Golden, ints, kl, reference_json, rms_relative, worst_relative};

/// With exact weights: the largest difference as a share of the standard deviation.
const EXACT: f64 = 1e-3;
/// With exact weights, tokens must agree where the best logit leads by this much.
const SURE: f64 = 0.02;
/// With quantized weights: mean and largest KL divergence.
const KL_MEAN: f64 = 0.002;
const KL_MAX: f64 = 0.01;

/// With a vision tower in 8 bits: the root mean square error as a share of the standard deviation, as of a Q8_0 file.
const VISION_INT8: f64 = 0.08;

fn engine(golden: &Golden, run: &Value) -> Engine {
    engine_in(Precision::Exact, golden, run)
}

fn engine_in(vision_precision: Precision, golden: &Golden, run: &Value) -> Engine {
    let model = golden.dir.join(format!("model-{}.gguf", run["text"].as_str().unwrap()));
    let mmproj = run["mmproj"].as_str().map(|m| golden.dir.join(format!("mmproj-{m}.gguf")));
    let options = EngineOptions { mmproj, kv_type: KvType::F32, vision_precision, ..EngineOptions::new(model) };
    Engine::load(&options).expect("a reference model")
}

fn medium_of(golden: &Golden, medium: &Value) -> Option<Medium> {
    let path = golden.dir.join(medium["file"].as_str().unwrap());
    if medium["kind"] == "video" {
        let clip = Clip::open(&Source::Path(path), &Limits::default()).expect("a reference clip");
        return Some(Medium::Clip(Arc::new(clip), None));
    }
    let picture = load_picture(&Source::Path(path), &Limits::default()).expect("a reference picture");
    Some(Medium::Picture(Arc::new(picture)))
}

fn media_options(medium: &Value) -> MediaOptions {
    MediaOptions {
        min_pixels: medium["min_pixels"].as_u64().map(|n| n as usize),
        max_pixels: medium["max_pixels"].as_u64().map(|n| n as usize),
        fps: medium["fps"].as_f64(),
        ..MediaOptions::default()
    }
}

/// The turn of a run and its media's options, or `None` for media that are not compared here.
fn turn(golden: &Golden, run: &Value) -> Option<(Turn, MediaOptions)> {
    let media = ints(&run["media"]);
    let options = media.first().map(|&m| media_options(golden.medium(m as usize))).unwrap_or_default();
    let parts = match run["prompt_parts"].as_array() {
        Some(parts) => parts.clone(),
        None => run["media"].as_array().unwrap().iter().cloned().chain([run["prompt"].clone()]).collect(),
    };
    let part = |p: &Value| match p.as_u64() {
        Some(index) => {
            let medium = golden.medium(index as usize);
            Some(TurnPart::Medium(medium_of(golden, medium)?, Some(media_options(medium))))
        }
        None => Some(TurnPart::Text(p.as_str().unwrap().to_string())),
    };
    Some((Turn { system: None, parts: parts.iter().map(part).collect::<Option<_>>()? }, options))
}

/// What differs in a run, in words; empty where all agrees.
fn compare(golden: &Golden, run: &Value, trace: &TraceOutput) -> Vec<String> {
    let key = run["key"].as_str().unwrap();
    let exact = matches!(run["text"].as_str().unwrap(), "f16" | "f32");
    let mut wrong = Vec::new();
    let found: Vec<i64> = trace.prompt_tokens.iter().map(|&t| t.into()).collect();
    if found != ints(&run["prompt_tokens"]) {
        wrong.push("prompt tokens".to_string());
    }
    let case = key.rsplit_once('.').map_or(key, |k| k.1);
    if let Some(p) = golden.tensor(&format!("{case}.positions")) {
        let found: Vec<f64> = (0..3).flat_map(|row| trace.positions.iter().map(move |p| p[row] as f64)).collect();
        if found != p {
            wrong.push("positions".to_string());
        }
    }
    if let Some(v) = golden.tensor(&format!("{key}.vision_out")) {
        let worst = worst_relative(&trace.vision_out, v);
        println!("{} {key}: vision_out off by {worst:.2e} of its spread", golden.name());
        if exact && worst > EXACT {
            wrong.push(format!("vision_out off by {worst:.2e} of its spread"));
        }
    }
    let wanted = golden.tensor(&format!("{key}.logits_greedy")).expect("logits in the reference");
    if exact {
        let worst = worst_relative(&trace.logits, wanted);
        println!("{} {key}: logits off by {worst:.2e} of their spread", golden.name());
        if worst > EXACT {
            wrong.push(format!("logits off by {worst:.2e} of their spread"));
        }
    }
    wrong.extend(compare_steps(golden, run, trace, wanted, exact));
    wrong
}

fn compare_steps(golden: &Golden, run: &Value, trace: &TraceOutput, wanted: &[f64], exact: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let steps = ints(&run["greedy"]).len();
    let vocab = wanted.len() / steps;
    let mut divergences = Vec::new();
    for (step, &greedy) in ints(&run["greedy"]).iter().enumerate() {
        let logits = &trace.logits[step * vocab..][..vocab];
        divergences.push(kl(logits, &wanted[step * vocab..][..vocab]));
        let best = (0..vocab).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
        if exact && run["margin"][step].as_f64().unwrap() > SURE && best as i64 != greedy {
            wrong.push(format!("step {step}: token {best} instead of {greedy}"));
        }
    }
    let mean = divergences.iter().sum::<f64>() / steps as f64;
    let max = divergences.iter().copied().fold(0.0, f64::max);
    println!("{} {}: KL mean {mean:.6} max {max:.6}", golden.name(), run["key"]);
    if !exact && (mean > KL_MEAN || max > KL_MAX) {
        wrong.push(format!("KL divergence mean {mean:.5} max {max:.5}"));
    }
    wrong
}

/// Runs all runs of one kind of weights, and fails with the list of what differs.
fn check_runs(exact: bool) {
    let mut failures = Vec::new();
    for golden in Golden::all() {
        for run in golden.runs() {
            if matches!(run["text"].as_str().unwrap(), "f16" | "f32") != exact {
                continue;
            }
            let Some((turn, media)) = turn(&golden, run) else { continue };
            let forced: Vec<u32> = ints(&run["greedy"]).iter().map(|&t| t as u32).collect();
            let engine = engine(&golden, run);
            let trace = engine.new_session().trace(&turn, &media, forced.len(), &forced).expect("a trace");
            let wrong = compare(&golden, run, &trace);
            if !wrong.is_empty() {
                failures.push(format!("{} {}: {}", golden.name(), run["key"], wrong.join("; ")));
            }
        }
    }
    assert!(failures.is_empty(), "{} runs differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn reference_runs_with_exact_weights() {
    check_runs(true);
}

#[test]
fn reference_runs_with_quantized_weights() {
    check_runs(false);
}

#[test]
fn reference_runs_with_the_vision_tower_in_eight_bits() {
    let mut compared = 0;
    for golden in Golden::all() {
        for run in golden.runs() {
            let key = run["key"].as_str().unwrap();
            let floats = matches!(run["mmproj"].as_str(), Some("f16" | "f32"));
            let Some(wanted) = golden.tensor(&format!("{key}.vision_out")).filter(|_| floats) else { continue };
            let (turn, media) = turn(&golden, run).expect("a turn");
            let trace = engine_in(Precision::Int8, &golden, run).new_session().trace(&turn, &media, 1, &[]);
            let off = rms_relative(&trace.expect("a trace").vision_out, wanted);
            println!("{} {key}: vision_out off by {off:.2e} of its spread", golden.name());
            assert!(off < VISION_INT8, "{} {key}: off by {off:.2e} of its spread", golden.name());
            // Rounding must show: otherwise the exact path was taken.
            assert!(off > 1e-4, "{} {key}: off by only {off:.2e}", golden.name());
            compared += 1;
        }
    }
    assert!(compared >= 6, "{compared} runs compared");
}

#[test]
fn reference_runs_prompt_logits() {
    for golden in Golden::all() {
        for run in golden.runs().iter().filter(|r| matches!(r["text"].as_str().unwrap(), "f16" | "f32")) {
            let key = run["key"].as_str().unwrap();
            let Some(wanted) = golden.tensor(&format!("{key}.text.logits_prompt").replace(".text.text", ".text"))
            else {
                continue;
            };
            let (turn, _) = turn(&golden, run).expect("a text run");
            let engine = engine(&golden, run);
            let found = engine.new_session().prompt_logits(&turn).expect("logits");
            let worst = worst_relative(&found, wanted);
            assert!(worst < EXACT, "{} {key}: off by {worst:.2e}", golden.name());

            // The same tokens as they are, in two steps, without a template.
            let ids: Vec<u32> = ints(&run["prompt_tokens"]).iter().map(|&id| id as u32).collect();
            let mut session = engine.new_session();
            let mut found = Vec::new();
            session.start_over().expect("a cache");
            for part in [&ids[..ids.len() / 3], &ids[ids.len() / 3..]] {
                session.read_tokens(part, &mut |_| std::ops::ControlFlow::Continue(())).expect("read");
                let mut logits = vec![0.0; part.len() * engine.language().vocab_size()];
                session.logits_after(0, &mut logits).expect("logits");
                found.extend(logits);
            }
            let worst = worst_relative(&found, wanted);
            assert!(worst < EXACT, "{} {key}: scored, off by {worst:.2e}", golden.name());
        }
    }
}

/// Keeps the activations after each stage.
#[derive(Default)]
struct Keep(Vec<(Stage, Vec<f32>)>);

impl VisionObserver for Keep {
    fn stage(&mut self, _: Stage, _: usize) -> bool {
        true
    }
    fn wants_activations(&self) -> bool {
        true
    }
    fn activations(&mut self, stage: Stage, x: &[f32]) {
        self.0.push((stage, x.to_vec()));
    }
}

#[test]
fn reference_runs_vision_blocks_and_windows() {
    for golden in Golden::all() {
        for run in golden.runs() {
            let key = run["key"].as_str().unwrap();
            let Some(index) = golden.tensor(&format!("{key}.window_index")) else { continue };
            let engine = engine(&golden, run);
            let vision = engine.vision().expect("a vision tower");
            let medium = golden.medium(ints(&run["media"])[0] as usize);
            let grid = ints(&medium["grid"]).iter().map(|&g| g as usize).collect::<Vec<_>>();
            let grid = [grid[0], grid[1], grid[2]];
            let order = WindowOrder::new(grid, vision.config());
            let found: Vec<f64> = order.index.iter().map(|&i| i as f64).collect();
            assert_eq!(found, index, "{} window_index", golden.name());
            let found: Vec<f64> = order.cu_window_seqlens.iter().map(|&i| i as f64).collect();
            assert_eq!(found, golden.tensor(&format!("{key}.cu_window_seqlens")).unwrap(), "cu_window_seqlens");
            check_blocks(&golden, key, medium, &order, &engine);
        }
    }
}

fn check_blocks(golden: &Golden, key: &str, medium: &Value, order: &WindowOrder, engine: &Engine) {
    let Some(Medium::Picture(picture)) = medium_of(golden, medium) else { return };
    let config = engine.patch_config().unwrap();
    let options = media_options(medium);
    let budget =
        qlens::media::PixelBudget { min_pixels: options.min_pixels.unwrap(), max_pixels: options.max_pixels.unwrap() };
    let patches = qlens::media::picture_patches(&picture.image, budget, &config).unwrap();
    let vision = engine.vision().unwrap();
    let mut keep = Keep::default();
    let mut compute = qlens::model::CpuCompute::new(engine.cpu_arc());
    vision.encode(&mut compute, &patches.pixel_values, patches.grid_thw, &mut keep).unwrap();
    let (width, unit) = (vision.config().hidden_size, vision.config().merge_unit());
    for (stage, found) in &keep.0 {
        let (name, wanted) = match stage {
            Stage::PatchEmbed => {
                // The reference's are in reading order.
                let name = format!("{key}.patch_embed");
                let Some(reading) = golden.tensor(&name) else { continue };
                let rows = order.index.iter().flat_map(|&t| &reading[t * unit * width..(t + 1) * unit * width]);
                (name.clone(), rows.copied().collect::<Vec<f64>>())
            }
            Stage::Block(i) => {
                let name = format!("{key}.block{i}_window_order");
                let Some(wanted) = golden.tensor(&name) else { continue };
                (name, wanted.to_vec())
            }
        };
        let worst = worst_relative(found, &wanted);
        println!("{} {name}: off by {worst:.2e} of its spread", golden.name());
        assert!(worst < EXACT, "{} {name}: off by {worst:.2e} of its spread", golden.name());
    }
}

#[test]
fn reference_tables_mrope_positions() {
    let Some(cases) = reference_json("mrope_positions.json") else { return };
    let mut failures = Vec::new();
    for (i, case) in cases.as_array().unwrap().iter().enumerate() {
        let mut media = case["media"].as_array().unwrap().iter();
        let spans: Vec<PositionSpan> = case["layout"]
            .as_array()
            .unwrap()
            .iter()
            .map(|part| {
                if part[0] == "t" {
                    return PositionSpan::Text(part[1].as_u64().unwrap() as usize);
                }
                let m = media.next().expect("a medium for each place");
                let size = |k: usize| m[k].as_u64().unwrap() as usize;
                PositionSpan::Medium {
                    grid: [size(1), size(2) / 2, size(3) / 2],
                    seconds_per_group: m[4].as_f64().unwrap(),
                    tokens_per_second: 2.0,
                }
            })
            .collect();
        let (found, next) = mrope_positions(0, &spans);
        let row = |r: usize| found.iter().map(|p| p[r]).collect::<Vec<i64>>();
        let same = ["t", "h", "w"].iter().enumerate().all(|(r, name)| row(r) == ints(&case[*name]));
        if !same || next != case["next"].as_i64().unwrap() {
            failures.push(format!("case {i}: {}", case["layout"]));
        }
    }
    assert!(failures.is_empty(), "{} cases differ:\n{}", failures.len(), failures.join("\n"));
}
