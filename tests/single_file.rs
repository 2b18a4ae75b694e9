//! Ollama's layout, language model and vision tower in one `qwen25vl` file: the reference pairs rewritten into it answer as
//! the pairs do.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use qlens::gguf::{Gguf, GgufWriter, Tensor, Value};
use qlens::media::{Limits, Source, load_picture};
use qlens::session::{Engine, EngineOptions, MediaOptions, Medium, SessionError, Turn};

fn reference(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name)
}

fn numbers(found: Option<Vec<u32>>) -> Vec<u32> {
    found.expect("a list")
}

/// The metadata of such a file (ollama/ollama, convert/convert_qwen25vl.go and convert_qwen2.go).
fn metadata(text: &Gguf, vision: &Gguf, out: &mut GgufWriter) {
    out.metadata("general.architecture", "qwen25vl").unwrap();
    for (key, value) in text.metadata().iter() {
        match key.strip_prefix("qwen2vl.") {
            Some("rope.dimension_sections") => {
                let sections = numbers(text.metadata().u32s(key).unwrap());
                let sections: Vec<i32> = sections.iter().take(3).map(|&n| n as i32).collect();
                out.metadata("qwen25vl.rope.mrope_section", &sections[..]).unwrap();
            }
            Some(rest) => {
                out.metadata(&format!("qwen25vl.{rest}"), value.clone()).unwrap();
            }
            None if key.starts_with("tokenizer.") => {
                out.metadata(key, value.clone()).unwrap();
            }
            None => {}
        }
    }
    let v = vision.metadata();
    for name in
        ["block_count", "embedding_length", "attention.head_count", "patch_size", "spatial_merge_size", "window_size"]
    {
        if let Some(n) = v.u32(&format!("clip.vision.{name}")).unwrap() {
            out.metadata(&format!("qwen25vl.vision.{name}"), Value::U32(n)).unwrap();
        }
    }
    let (blocks, pattern) =
        (v.require_u32("clip.vision.block_count").unwrap(), v.require_u32("clip.vision.n_wa_pattern").unwrap());
    let full: Vec<i32> = (0..blocks as i32).filter(|i| (i + 1) % pattern as i32 == 0).collect();
    out.metadata("qwen25vl.vision.fullatt_block_indexes", &full[..]).unwrap();
    out.metadata("qwen25vl.vision.attention.layer_norm_epsilon", Value::F32(1e-6)).unwrap();
}

fn single_name(name: &str) -> String {
    match name {
        "v.patch_embd.weight" => "v.patch_embd_0.weight".into(),
        "v.patch_embd.weight.1" => "v.patch_embd_1.weight".into(),
        "v.post_ln.weight" => "v.merger.ln_q.weight".into(),
        _ => name.replace("mm.", "v.merger.mlp."),
    }
}

/// Writes the pair as one file.
fn single_file(text: &Path, vision: &Path, out: &Path) {
    let (text, vision) = (Gguf::open(text).unwrap(), Gguf::open(vision).unwrap());
    let mut writer = GgufWriter::new();
    metadata(&text, &vision, &mut writer);
    let tensors: Vec<Tensor> = text.tensors().chain(vision.tensors()).cloned().collect();
    for t in &tensors {
        let name = if text.tensor(t.name()).is_some() { t.name().to_owned() } else { single_name(t.name()) };
        writer.tensor(&name, t.ty(), t.dims()).unwrap();
    }
    writer.write_file(out, &mut |i, to| to.write_all(tensors[i].bytes())).unwrap();
}

fn picture() -> Medium {
    let source = Source::Path(reference("tiny-tied/image0.png"));
    Medium::Picture(Arc::new(load_picture(&source, &Limits::default()).unwrap()))
}

#[test]
fn a_single_file_computes_what_the_pair_computes() {
    let pairs = [
        ("tiny-tied/model-q8_0.gguf", "tiny-tied/mmproj-q8_0.gguf"),
        ("tiny-tied/model-f16.gguf", "tiny-tied/mmproj-f16.gguf"),
        ("tiny-untied/model-f32.gguf", "tiny-untied/mmproj-f32.gguf"),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (model, mmproj) in pairs {
        let whole = folder.path().join("sha256-0123");
        single_file(&reference(model), &reference(mmproj), &whole);
        let run = |options: EngineOptions| {
            let engine = Engine::load(&options).unwrap();
            let turn = Turn::new(None, vec![picture()], "Describe this image.");
            let t = engine.new_session().trace(&turn, &MediaOptions::default(), 8, &[]).unwrap();
            let bits = |x: &[f32]| x.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
            (t.prompt_tokens, bits(&t.vision_out), bits(&t.logits), t.tokens)
        };
        let pair = run(EngineOptions { mmproj: Some(reference(mmproj)), ..EngineOptions::new(reference(model)) });
        assert!(run(EngineOptions::new(&whole)) == pair, "{model} and {mmproj}");

        let engine = Engine::load(&EngineOptions::new(&whole)).unwrap();
        assert_eq!(engine.mapped_bytes(), std::fs::metadata(&whole).unwrap().len(), "counted once");
    }
}

#[test]
fn a_single_file_without_its_tower_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, cut) = (folder.path().join("whole"), folder.path().join("cut"));
    single_file(&reference("tiny-tied/model-q8_0.gguf"), &reference("tiny-tied/mmproj-q8_0.gguf"), &whole);
    let gguf = Gguf::open(&whole).unwrap();
    for (leave_out, wanted) in
        [("v.blk.0.ffn_gate.weight", "ffn_gate"), ("v.merger.ln_q.weight", "v.merger.ln_q.weight")]
    {
        let mut writer = GgufWriter::new();
        gguf.metadata().iter().for_each(|(key, value)| {
            writer.metadata(key, value.clone()).unwrap();
        });
        let left: Vec<&Tensor> = gguf.tensors().filter(|t| t.name() != leave_out).collect();
        left.iter().for_each(|t| {
            writer.tensor(t.name(), t.ty(), t.dims()).unwrap();
        });
        writer.write_file(&cut, &mut |i, to| to.write_all(left[i].bytes())).unwrap();
        let said = match Engine::load(&EngineOptions::new(&cut)) {
            Err(e) => e.to_string(),
            Ok(engine) => match engine.vision() {
                Err(SessionError::Load(e)) => e.to_string(),
                other => panic!("{leave_out}: {:?}", other.map(|_| ())),
            },
        };
        assert!(said.contains(wanted) && said.contains("missing"), "{said}");
    }
}

#[test]
fn a_vision_file_may_say_how_small_pictures_are_enlarged_to() {
    let folder = tempfile::tempdir().unwrap();
    let mmproj = folder.path().join("mmproj.gguf");
    let original = Gguf::open(&reference("tiny-tied/mmproj-f16.gguf")).unwrap();
    let pixels = |least: Option<Value>, options: &MediaOptions| -> Result<usize, String> {
        let mut writer = GgufWriter::new();
        for (key, value) in original.metadata().iter() {
            writer.metadata(key, value.clone()).unwrap();
        }
        if let Some(least) = least {
            writer.metadata("clip.vision.image_min_pixels", least).unwrap();
        }
        let tensors: Vec<Tensor> = original.tensors().cloned().collect();
        for t in &tensors {
            writer.tensor(t.name(), t.ty(), t.dims()).unwrap();
        }
        writer.write_file(&mmproj, &mut |i, to| to.write_all(tensors[i].bytes())).unwrap();
        let model = reference("tiny-tied/model-f16.gguf");
        let pair = &EngineOptions { mmproj: Some(mmproj.clone()), ..EngineOptions::new(model) };
        let engine = Engine::load(pair).map_err(|e| e.to_string())?;
        let turn = Turn::new(None, vec![picture()], "Describe this image.");
        let trace = engine.new_session().trace(&turn, options, 1, &[]).map_err(|e| e.to_string())?;
        Ok(trace.vision_out.len() / trace.hidden_size * 28 * 28)
    };
    let none = MediaOptions::default();
    let (default, large) = (pixels(None, &none).unwrap(), pixels(Some(Value::U32(700 * 700)), &none).unwrap());
    assert!(large >= 700 * 700 && default < 700 * 700, "{default}, {large}");
    // What is asked for goes first.
    let most = MediaOptions { max_pixels: Some(100 * 100), ..MediaOptions::default() };
    assert!(pixels(Some(Value::U32(700 * 700)), &most).unwrap() <= 100 * 100);
    let least = MediaOptions { min_pixels: Some(3136), ..MediaOptions::default() };
    assert_eq!(pixels(Some(Value::U32(700 * 700)), &least).unwrap(), default);
    for hostile in [Value::U32(0), Value::U32(u32::MAX), Value::U64(u64::MAX)] {
        let said = pixels(Some(hostile), &none).unwrap_err();
        assert!(said.contains("image_min_pixels") && said.contains("between 1 and"), "{said}");
    }
}
