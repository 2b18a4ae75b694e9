//! Pictures, sizes, patches and clips against what the original implementation computed (`tests/reference`).
//!
//! The folder can be replaced by the environment variable `QLENS_REFERENCE`; a folder may lack a file, and its test
//! then says so and passes. Every table is checked whole, and all of its failures are reported at once.

use std::path::{Path, PathBuf};

use qlens::media::sampling::{SampleOptions, sample};
use qlens::media::{
    Limits, PatchConfig, PixelBudget, Rgb8, Source, load_picture, picture_patches, resize_bicubic, smart_resize,
};
use serde_json::Value;

fn folder() -> PathBuf {
    std::env::var_os("QLENS_REFERENCE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference"), PathBuf::from)
}

fn read_json(path: &Path) -> Option<Value> {
    let Ok(text) = std::fs::read_to_string(path) else {
        println!("{} isn't there: nothing to check", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

/// The rows of a table file.
fn table(name: &str) -> Option<Vec<Value>> {
    read_json(&folder().join(name)).map(|json| json["rows"].as_array().expect("a table has rows").clone())
}

/// The folders of models (those that hold a `golden.json`), with that file.
fn models() -> Vec<(PathBuf, Value)> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(folder())
        .map(|entries| entries.flatten().map(|e| e.path()).filter(|p| p.join("golden.json").is_file()).collect())
        .unwrap_or_default();
    folders.sort();
    if folders.is_empty() {
        println!("{} holds no model folders: nothing to check", folder().display());
    }
    folders.into_iter().filter_map(|f| read_json(&f.join("golden.json")).map(|json| (f, json))).collect()
}

fn media(golden: &Value, kind: &str) -> Vec<(usize, Value)> {
    let all = golden["media"].as_array().cloned().unwrap_or_default();
    all.into_iter().enumerate().filter(|(_, medium)| medium["kind"] == kind).collect()
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap_or_else(|| panic!("{value} isn't a whole number")) as usize
}

fn budget(medium: &Value) -> PixelBudget {
    PixelBudget { min_pixels: number(&medium["min_pixels"]), max_pixels: number(&medium["max_pixels"]) }
}

fn picture(path: &Path) -> Rgb8 {
    load_picture(&Source::Path(path.to_owned()), &Limits::default()).unwrap_or_else(|e| panic!("{e}")).image
}

fn report(checked: usize, failures: Vec<String>) {
    println!("{checked} cases checked");
    assert!(failures.is_empty(), "{} of {checked} cases fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn reference_tables_smart_resize() {
    let Some(rows) = table("smart_resize.json") else { return };
    let check = |row: &Value| {
        let [height, width, min, max] = [0, 1, 2, 3].map(|i| number(&row[i]));
        let wanted = row[4].as_u64().map(|h| (h as usize, number(&row[5])));
        let got = smart_resize(height, width, 28, min, max).ok();
        (got != wanted).then(|| format!("{row}: got {got:?}"))
    };
    report(rows.len(), rows.iter().filter_map(check).collect());
}

#[test]
fn reference_tables_video_sampling() {
    let Some(rows) = table("video_sampling.json") else { return };
    let check = |row: &Value| {
        let real = |i: usize| row[i].as_f64().expect("a number");
        let options = SampleOptions { fps: real(2), ..Default::default() };
        let got = sample(number(&row[0]), real(1), &options).ok()?;
        let indices = &got.indices;
        let numbers = |i: usize| row[i].as_array().expect("a list").iter().map(number).collect::<Vec<_>>();
        let same = indices.len() == number(&row[3])
            && got.sample_fps == real(4)
            && indices.iter().sum::<usize>() == number(&row[5])
            && indices[..4] == numbers(6)
            && indices[indices.len() - 2..] == numbers(7);
        (!same).then(|| format!("{row}: got {} frames at {}: {indices:?}", indices.len(), got.sample_fps))
    };
    report(rows.len(), rows.iter().filter_map(check).collect());
}

/// Decoding, compositing and resizing together give the original's picture, pixel for pixel.
#[test]
fn reference_tables_resized_pictures() {
    let (mut checked, mut failures) = (0, Vec::new());
    for (folder, golden) in models() {
        for (_, medium) in media(&golden, "image") {
            let (Some(file), Some(resized)) = (medium["file"].as_str(), medium["resized"].as_str()) else { continue };
            let (source, wanted) = (picture(&folder.join(file)), picture(&folder.join(resized)));
            let PixelBudget { min_pixels, max_pixels } = budget(&medium);
            checked += 1;
            let (height, width) = smart_resize(source.height, source.width, 28, min_pixels, max_pixels).expect(file);
            let got = resize_bicubic(&source, width, height);
            if got != wanted {
                let differing = got.data.iter().zip(&wanted.data).filter(|(a, b)| a != b).count();
                failures.push(format!(
                    "{}: {got:?}, wanted {wanted:?}, {differing} levels differ",
                    folder.join(file).display()
                ));
            }
        }
    }
    report(checked, failures);
}

#[test]
fn reference_tables_patches() {
    let (mut checked, mut failures) = (0, Vec::new());
    for (folder, golden) in models() {
        let Ok(bytes) = std::fs::read(folder.join("golden.safetensors")) else {
            println!("{} has no golden.safetensors", folder.display());
            continue;
        };
        let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("a safetensors file");
        for (i, medium) in media(&golden, "image") {
            let file = medium["file"].as_str().expect("a file");
            let patches =
                picture_patches(&picture(&folder.join(file)), budget(&medium), &PatchConfig::default()).expect(file);
            checked += 1;
            let place = folder.join(file);
            let grid: Vec<usize> = medium["grid"].as_array().expect("a grid").iter().map(number).collect();
            if grid != patches.grid_thw {
                failures.push(format!("{}: grid {:?}, wanted {grid:?}", place.display(), patches.grid_thw));
            }
            for (key, map) in [("pixel_sum", (|v| v) as fn(f64) -> f64), ("pixel_abs_sum", f64::abs)] {
                let got: f64 = patches.pixel_values.iter().map(|&v| map(f64::from(v))).sum();
                let wanted = medium[key].as_f64().expect("a sum");
                if (got - wanted).abs() > 1e-5 * medium["pixel_abs_sum"].as_f64().unwrap_or(1.0) {
                    failures.push(format!("{}: {key} {got}, wanted {wanted}", place.display()));
                }
            }
            if let Ok(tensor) = tensors.tensor(&format!("case{i}.pixel_values")) {
                let wanted = tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
                let differing = wanted.zip(&patches.pixel_values).filter(|(w, g)| w != *g).count();
                if differing > 0 || tensor.shape() != [patches.pixel_values.len() / 1176, 1176] {
                    failures.push(format!(
                        "{}: {differing} values differ, shape {:?}",
                        place.display(),
                        tensor.shape()
                    ));
                }
            }
        }
    }
    report(checked, failures);
}

/// Sampled frames, their decoding, resizing, grids and times.
#[cfg(feature = "video")]
#[test]
fn reference_tables_clip_frames() {
    let (mut checked, mut failures) = (0, Vec::new());
    for (folder, golden) in models() {
        for (_, medium) in media(&golden, "video") {
            let path = folder.join(medium["file"].as_str().expect("a file"));
            checked += 1;
            let problems = clip_problems(&path, &medium);
            failures.extend(problems.into_iter().map(|problem| format!("{}: {problem}", path.display())));
        }
    }
    report(checked, failures);
}

#[cfg(feature = "video")]
fn clip_problems(path: &Path, medium: &Value) -> Vec<String> {
    use qlens::media::Clip;
    let mut problems = Vec::new();
    let clip = Clip::open(&Source::Path(path.to_owned()), &Limits::default()).unwrap_or_else(|e| panic!("{e}"));
    let PixelBudget { min_pixels, max_pixels } = budget(medium);
    let options = SampleOptions {
        fps: medium["fps"].as_f64().expect("a rate"),
        min_pixels,
        max_pixels: Some(max_pixels),
        ..Default::default()
    };
    let plan = clip.plan(None, &options, &PatchConfig::default()).unwrap_or_else(|e| panic!("{e}"));
    let numbers = |key: &str| medium[key].as_array().expect("a list").iter().map(number).collect::<Vec<_>>();
    if plan.indices != numbers("frame_indices") {
        problems.push(format!("indices {:?}, wanted {:?}", plan.indices, numbers("frame_indices")));
    }
    if plan.grid_thw[..] != numbers("grid") {
        problems.push(format!("grid {:?}, wanted {:?}", plan.grid_thw, numbers("grid")));
    }
    let (rate, seconds) = (medium["sampled_fps"].as_f64(), medium["seconds"].as_f64());
    if Some(plan.sample_fps) != rate || Some(plan.seconds_per_group) != seconds {
        problems.push(format!(
            "{} fps, {} s a group; wanted {rate:?}, {seconds:?}",
            plan.sample_fps, plan.seconds_per_group
        ));
    }
    let frames: Vec<Rgb8> =
        clip.frames(&plan).and_then(Iterator::collect).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let beside = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    let (source, resized) = (beside(".frame1.png"), beside(".frame1.resized.png"));
    if source.exists() && resized.exists() {
        let wanted = picture(&resized);
        let got = &frames[1];
        if (got.width, got.height) != (wanted.width, wanted.height) {
            problems.push(format!("frame 1 is {got:?}, wanted {wanted:?}"));
        } else {
            let sum: u64 = got.data.iter().zip(&wanted.data).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
            let mean = sum as f64 / got.data.len() as f64;
            println!("{}: frame 1 differs by {mean:.4} levels in the mean", path.display());
            if mean > 2.0 {
                problems.push(format!("frame 1 differs by {mean:.3} levels in the mean"));
            }
        }
        // Another scaler may decode a level off, but resizing what was decoded is exact.
        if resize_bicubic(&picture(&source), wanted.width, wanted.height) != wanted {
            problems.push("resizing the given frame differs".to_owned());
        }
    }
    problems
}
