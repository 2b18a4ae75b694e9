//! What the tests against the original implementation's numbers share.
#![allow(dead_code)] // Each test file uses its own part.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

/// The reference data: `$QLENS_REFERENCE`, or the project's own copy.
pub fn reference_folder() -> PathBuf {
    match std::env::var_os("QLENS_REFERENCE") {
        Some(p) => PathBuf::from(p),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference"),
    }
}

/// A file of the reference data, or `None` (and a line that says so) where the folder lacks it.
pub fn reference_file(name: &str) -> Option<PathBuf> {
    let path = reference_folder().join(name);
    if path.exists() {
        return Some(path);
    }
    println!("{} is not in this reference folder: nothing to compare", path.display());
    None
}

/// A JSON file of the reference data.
pub fn reference_json(name: &str) -> Option<Value> {
    let text = std::fs::read_to_string(reference_file(name)?).expect("a readable reference file");
    Some(serde_json::from_str(&text).expect("valid JSON in the reference"))
}

/// A reference model's folder with its numbers.
pub struct Golden {
    pub dir: PathBuf,
    pub json: Value,
    tensors: HashMap<String, (Vec<usize>, Vec<f64>)>,
}

impl Golden {
    /// All models of the reference folder.
    pub fn all() -> Vec<Golden> {
        let entries = std::fs::read_dir(reference_folder()).into_iter().flatten().flatten();
        let mut dirs: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| p.join("golden.json").exists()).collect();
        dirs.sort();
        if dirs.is_empty() {
            println!("{} holds no models: nothing to compare", reference_folder().display());
        }
        dirs.into_iter().map(Golden::load).collect()
    }

    fn load(dir: PathBuf) -> Golden {
        let json = std::fs::read_to_string(dir.join("golden.json")).expect("golden.json");
        let bytes = std::fs::read(dir.join("golden.safetensors")).expect("golden.safetensors");
        let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let tensors = file.iter().map(|(name, t)| {
            let data: Vec<f64> = match t.dtype() {
                Dtype::F32 => {
                    t.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect()
                }
                Dtype::I64 => {
                    t.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect()
                }
                other => panic!("{name} has type {other:?}"),
            };
            (name.to_string(), (t.shape().to_vec(), data))
        });
        let tensors = tensors.collect();
        Golden { json: serde_json::from_str(&json).expect("valid golden.json"), dir, tensors }
    }

    /// A tensor's numbers, if the reference has it.
    pub fn tensor(&self, name: &str) -> Option<&[f64]> {
        self.tensors.get(name).map(|t| t.1.as_slice())
    }

    /// The runs.
    pub fn runs(&self) -> &[Value] {
        self.json["runs"].as_array().expect("runs")
    }

    /// Medium `index`.
    pub fn medium(&self, index: usize) -> &Value {
        &self.json["media"][index]
    }

    /// The model's name.
    pub fn name(&self) -> String {
        self.dir.file_name().unwrap().to_string_lossy().into_owned()
    }
}

/// A JSON array of integers.
pub fn ints(v: &Value) -> Vec<i64> {
    v.as_array().expect("an array").iter().map(|x| x.as_i64().expect("an integer")).collect()
}

/// Largest difference, as a share of the standard deviation of `wanted`.
pub fn worst_relative(found: &[f32], wanted: &[f64]) -> f64 {
    assert_eq!(found.len(), wanted.len(), "numbers to compare");
    let mean = wanted.iter().sum::<f64>() / wanted.len() as f64;
    let std = (wanted.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / wanted.len() as f64).sqrt();
    let worst = found.iter().zip(wanted).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
    assert!(found.iter().all(|x| x.is_finite()), "all numbers are finite");
    worst / std
}

/// The root mean square difference, as a share of the standard deviation of `wanted`.
pub fn rms_relative(found: &[f32], wanted: &[f64]) -> f64 {
    assert_eq!(found.len(), wanted.len(), "numbers to compare");
    let n = wanted.len() as f64;
    let mean = wanted.iter().sum::<f64>() / n;
    let spread = wanted.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    let error = found.iter().zip(wanted).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum::<f64>() / n;
    (error / spread).sqrt()
}

/// KL divergence of softmax(`found`) from softmax(`wanted`).
pub fn kl(found: &[f32], wanted: &[f64]) -> f64 {
    let found: Vec<f64> = found.iter().map(|&x| x.into()).collect();
    let (found, wanted) = (log_softmax(&found), log_softmax(wanted));
    wanted.iter().zip(&found).map(|(w, f)| w.exp() * (w - f)).sum()
}

fn log_softmax(x: &[f64]) -> Vec<f64> {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = x.iter().map(|v| (v - max).exp()).sum::<f64>().ln();
    x.iter().map(|v| v - max - log_sum).collect()
}
