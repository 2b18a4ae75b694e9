//! Finding the mmproj file that belongs to a model.

use std::path::{Path, PathBuf};

/// The mmproj files beside `model`, best guess first.
///
/// Candidates are the `.gguf` files in the same folder with `mmproj` in their name. Those that share more name parts
/// with the model come first, then F16, F32, BF16, Q8_0 and others by name. Whether one fits is for the caller to see.
pub fn find_mmproj(model: &Path) -> Vec<PathBuf> {
    let folder = match model.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let wanted = name_parts(model);
    let mut found: Vec<(usize, usize, PathBuf)> = entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| p != model && is_mmproj(p))
        .map(|p| {
            let parts = name_parts(&p);
            let shared = wanted.iter().filter(|w| parts.contains(w)).count();
            (usize::MAX - shared, precision_rank(&parts), p)
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, _, path)| path).collect()
}

fn is_mmproj(path: &Path) -> bool {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("").to_ascii_lowercase();
    name.ends_with(".gguf") && name.contains("mmproj")
}

/// The words of a file name, without those that say the precision.
fn name_parts(path: &Path) -> Vec<String> {
    let stem = path.file_stem().and_then(|n| n.to_str()).unwrap_or("").to_ascii_lowercase();
    stem.split(['-', '.', ' ']).filter(|w| !w.is_empty()).map(str::to_string).collect()
}

fn precision_rank(parts: &[String]) -> usize {
    let order = ["f16", "f32", "bf16", "q8_0"];
    order.iter().position(|p| parts.iter().any(|w| w == p)).unwrap_or(order.len())
}
