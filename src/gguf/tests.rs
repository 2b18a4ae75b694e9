//! The parser on the reference models.

use super::*;

mod hostile;
mod writing;

fn reference(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference").join(name)
}

#[test]
fn opens_the_reference_models() {
    let g = Gguf::open(&reference("tiny-tied/model-q4_0.gguf")).unwrap();
    assert_eq!(g.metadata().require_str("general.architecture").unwrap(), "qwen2vl");
    assert_eq!(g.metadata().u32s("qwen2vl.rope.dimension_sections").unwrap().unwrap(), [4, 6, 6, 0]);
    let tokens = g.metadata().require_strings("tokenizer.ggml.tokens").unwrap();
    assert_eq!((tokens.len(), tokens.get(0), tokens.get(1501)), (1536, "!", "<|im_start|>"));
    let t = g.tensor("token_embd.weight").unwrap();
    assert_eq!((t.ty(), t.dims(), t.row_bytes()), (GgmlType::Q4_0, &[256, 1536][..], 144));
    assert_eq!(t.bytes().len(), 144 * 1536);
}

#[test]
fn a_missing_or_mistyped_key_is_named() {
    let g = Gguf::open(&reference("tiny-tied/mmproj-f16.gguf")).unwrap();
    let e = g.metadata().require_u32("clip.none").unwrap_err().to_string();
    assert!(e.ends_with("metadata `clip.none` is missing"), "{e}");
    let e = g.metadata().u32("general.architecture").unwrap_err().to_string();
    assert!(e.ends_with("metadata `general.architecture` is the text `clip`, not an unsigned 32-bit integer"), "{e}");
}
