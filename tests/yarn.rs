//! Longer contexts (YaRN) against numbers of the original implementation, from `scripts/make-yarn-golden`.

use std::path::PathBuf;
use std::sync::Arc;

use qlens::gguf::Gguf;
use qlens::kernels::{Cpu, KvType};
use qlens::model::{ChunkInput, CpuCompute, LanguageModel, Position, Yarn};
use serde_json::Value;

fn root(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn golden() -> Value {
    let text = std::fs::read_to_string(root("golden/yarn.json")).expect("readable");
    serde_json::from_str(&text).expect("valid JSON")
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number")).collect()
}

#[test]
fn frequencies_are_the_originals() {
    for case in golden()["frequencies"].as_array().expect("a list") {
        let number = |key: &str| case[key].as_f64().expect("a number");
        let yarn = Yarn { factor: number("factor") as f32, original: number("original") as usize };
        let found = yarn.frequencies(number("theta") as f32, number("dim") as usize);
        let wanted = numbers(&case["inv_freq"]);
        assert_eq!(found.len(), wanted.len());
        for (j, (found, wanted)) in found.iter().zip(wanted).enumerate() {
            assert!((f64::from(*found) / wanted - 1.0).abs() < 1e-6, "{case}: frequency {j} is {found}");
        }
        assert!((f64::from(yarn.attention_factor()) - number("attention")).abs() < 1e-7, "{case}");
    }
}

#[test]
fn a_stretched_model_computes_what_the_original_does() {
    let run = &golden()["run"];
    let tokens: Vec<u32> = numbers(&run["tokens"]).iter().map(|&t| t as u32).collect();
    let positions: Vec<Position> = run["positions"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|p| numbers(p).iter().map(|&x| x as i64).collect::<Vec<_>>().try_into().expect("three rows"))
        .collect();
    let logits = |yarn: Option<Yarn>| {
        let mut compute = CpuCompute::new(Arc::new(Cpu::new(Some(2)).expect("kernels")));
        let gguf = Gguf::open(&root("reference/tiny-untied/model-f32.gguf")).expect("the reference model");
        let mut model = LanguageModel::load(&gguf, &mut compute).expect("loads");
        if let Some(yarn) = yarn {
            model = model.with_yarn(yarn);
        }
        let n = tokens.len();
        let mut state = model.new_state(&mut compute, KvType::F32, n, n).expect("memory");
        model
            .forward(&mut compute, &mut state, &[ChunkInput::Tokens(&tokens)], &positions, &|| true)
            .expect("not interrupted");
        let mut logits = vec![0.0; model.vocab_size()];
        model.logits(&mut compute, &mut state, n - 1, &mut logits);
        logits
    };
    let wanted = numbers(&run["logits"]);
    let spread = (wanted.iter().map(|x| x * x).sum::<f64>() / wanted.len() as f64).sqrt();
    let worst =
        |found: &[f32]| found.iter().zip(&wanted).map(|(f, w)| (f64::from(*f) - w).abs()).fold(0.0, f64::max) / spread;
    let stretched = worst(&logits(Some(Yarn::default())));
    // Positions near 90,000 in float32 angles: a frequency's last bit turns the quickest by 0.005.
    assert!(stretched < 5e-3, "{stretched}");
    let plain = worst(&logits(None));
    assert!(plain > 20.0 * stretched, "without YaRN the numbers differ: {plain}");
}
