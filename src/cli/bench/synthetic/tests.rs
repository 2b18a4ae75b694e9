//! The small shape is written and run; the large ones are planned.

use super::*;
use crate::gguf::Gguf;
use crate::model::{TextConfig, VisionConfig};
use crate::session::{Engine, EngineOptions};

fn quiet() -> Manner {
    Manner { quiet: true, verbose: 0, color: false, progress: false }
}

/// A file with the metadata and no tensor.
fn header(plan: fn(&Spec) -> Result<Plan, GgufError>, spec: &Spec) -> Gguf {
    let plan = plan(spec).expect("planned");
    let mut bytes = Vec::new();
    plan.writer.write_to(&mut bytes, "plan", &mut |_, _| Ok(())).expect("written");
    Gguf::from_vec("plan", bytes).expect("read")
}

#[test]
fn the_shapes_are_the_released_ones() {
    for (typed, hidden, gigabytes) in [("3b:q4_0", 2048, 1.8), ("7b:q4_k_m", 3584, 4.7), ("3b:q8_0", 2048, 3.3)] {
        let spec = Spec::parse(typed).expect(typed);
        let bytes: u64 = text_plan(&spec).expect("planned").fills.iter().map(|f| f.3).sum();
        assert!((0.95..1.05).contains(&(bytes as f64 / 1e9 / gigabytes)), "{typed}: {bytes}");
        let text = TextConfig::from_gguf(&header(text_header, &spec)).expect("a text model");
        assert_eq!((text.hidden_size, text.head_dim), (hidden, 128));
        let vision = VisionConfig::from_gguf(&header(vision_header, &spec)).expect("a vision model");
        assert_eq!((vision.projection_dim, vision.head_dim), (hidden, 80));
        let full: Vec<usize> = (0..32).filter(|&i| vision.full_attention[i]).collect();
        assert_eq!(full, [7, 15, 23, 31]);
    }
}

#[test]
fn a_small_pair_loads_in_each_type() {
    let folder = tempfile::tempdir().expect("a folder");
    for typed in ["tiny:q4_0", "tiny:q4_k_m:q8_0", "tiny:q8_0", "tiny:f16"] {
        let spec = Spec::parse(typed).expect(typed);
        let (text, vision) = (folder.path().join("text.gguf"), folder.path().join("vision.gguf"));
        write(&text, &text_plan(&spec).expect("planned"), &quiet()).expect("written");
        write(&vision, &vision_plan(&spec).expect("planned"), &quiet()).expect("written");
        let options = EngineOptions { mmproj: Some(vision), threads: Some(1), ..EngineOptions::new(&text) };
        let engine = Engine::load(&options).unwrap_or_else(|e| panic!("{typed}: {e}"));
        assert_eq!(engine.vision().expect("a tower").config().n_layers, 8);
        assert_eq!(engine.tokenizer().special_id("<|image_pad|>"), Some(2048 - 271 - 10));
    }
}
