//! The GGUF files' metadata: keys, types and order as llama.cpp's converter writes them.

use super::ConvertError;
use super::hyper::{Text, Vision};
use super::vocab::Vocab;
use crate::gguf::{Array, StringArray, Value};
use crate::quantize::Mix;

/// Entries in the file's order.
pub(super) type Entries = Vec<(String, Value)>;

/// `general.quantization_version` of all files today.
const QUANTIZATION_VERSION: u32 = 2;

struct Writer(Entries);

impl Writer {
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.push((key.to_owned(), value.into()));
    }

    fn number(&mut self, key: &str, n: u32) {
        self.put(key, Value::U32(n));
    }

    fn texts(&mut self, key: &str, texts: &[String]) -> Result<(), ConvertError> {
        self.put(key, Value::Array(Array::Strings(StringArray::from_texts(texts)?)));
        Ok(())
    }
}

/// A number of weights as people say it: `3.1B`, `494M`.
fn size_label(weights: u64) -> String {
    let (scaled, unit) = match weights as f64 {
        n if n > 1e12 => (n * 1e-12, "T"),
        n if n > 1e9 => (n * 1e-9, "B"),
        n if n > 1e6 => (n * 1e-6, "M"),
        n => (n * 1e-3, "K"),
    };
    // Two digits at least, where the first isn't zero.
    let decimals = match scaled.round() {
        n if n >= 10.0 => 0,
        n if n >= 1.0 => 1,
        _ => 2,
    };
    format!("{scaled:.decimals$}{unit}")
}

/// The language model's file.
pub(super) fn text(name: &str, t: &Text, vocab: Vocab, mix: Mix, weights: u64) -> Result<Entries, ConvertError> {
    let mut w = Writer(Vec::new());
    w.put("general.architecture", "qwen2vl");
    w.put("general.type", "model");
    w.put("general.name", name);
    w.put("general.size_label", size_label(weights).as_str());
    w.number("qwen2vl.block_count", t.layers);
    w.number("qwen2vl.context_length", t.context);
    w.number("qwen2vl.embedding_length", t.hidden);
    w.number("qwen2vl.feed_forward_length", t.ffn);
    w.number("qwen2vl.attention.head_count", t.heads);
    w.number("qwen2vl.attention.head_count_kv", t.kv_heads);
    w.put("qwen2vl.rope.freq_base", Value::F32(t.rope_theta));
    w.put("qwen2vl.attention.layer_norm_rms_epsilon", Value::F32(t.rms_eps));
    if let Some(yarn) = t.yarn {
        w.put("qwen2vl.rope.scaling.type", "yarn");
        w.put("qwen2vl.rope.scaling.factor", Value::F32(yarn.factor));
        w.number("qwen2vl.rope.scaling.original_context_length", yarn.original);
    }
    w.number("general.file_type", mix.number());
    let sections: Vec<i32> = t.sections.iter().map(|&n| n as i32).chain([0]).collect();
    w.put("qwen2vl.rope.dimension_sections", sections.as_slice());
    w.number("general.quantization_version", QUANTIZATION_VERSION);
    w.put("tokenizer.ggml.model", "gpt2");
    w.put("tokenizer.ggml.pre", "qwen2");
    w.texts("tokenizer.ggml.tokens", &vocab.tokens)?;
    w.put("tokenizer.ggml.token_type", vocab.types.as_slice());
    w.texts("tokenizer.ggml.merges", &vocab.merges)?;
    for (name, id) in vocab.special {
        w.number(&format!("tokenizer.ggml.{name}_token_id"), id);
    }
    for (name, flag) in vocab.add {
        w.put(&format!("tokenizer.ggml.add_{name}_token"), Value::Bool(flag));
    }
    if let Some(template) = vocab.template {
        w.put("tokenizer.chat_template", template.as_str());
    }
    Ok(w.0)
}

/// The vision tower's file.
pub(super) fn vision(name: &str, v: &Vision, text_hidden: u32, mix: Mix, weights: u64) -> Entries {
    let mut w = Writer(Vec::new());
    w.put("general.architecture", "clip");
    w.put("general.type", "mmproj");
    w.put("general.name", name);
    w.put("general.size_label", size_label(weights).as_str());
    w.number("general.file_type", mix.number());
    w.put("clip.has_vision_encoder", Value::Bool(true));
    w.number("clip.vision.projection_dim", text_hidden);
    w.number("clip.vision.image_size", v.image_size);
    w.number("clip.vision.patch_size", v.patch);
    w.number("clip.vision.embedding_length", v.hidden);
    w.number("clip.vision.feed_forward_length", v.ffn);
    w.number("clip.vision.block_count", v.layers);
    w.number("clip.vision.attention.head_count", v.heads);
    w.put("clip.vision.image_mean", &v.mean[..]);
    w.put("clip.vision.image_std", &v.std[..]);
    w.put("clip.projector_type", "qwen2.5vl_merger");
    w.put("clip.use_silu", Value::Bool(true));
    match pattern(v) {
        Some(every) => w.number("clip.vision.n_wa_pattern", every),
        None => w.put("clip.vision.wa_layer_indexes", v.full_attention.as_slice()),
    }
    // All released models have these, and files leave them out.
    if v.merge != 2 {
        w.number("clip.vision.spatial_merge_size", v.merge);
    }
    if v.window != 112 {
        w.number("clip.vision.window_size", v.window);
    }
    // Fixed in the original implementation.
    w.put("clip.vision.attention.layer_norm_epsilon", Value::F32(1e-6));
    w.number("general.quantization_version", QUANTIZATION_VERSION);
    w.0
}

/// Where each k-th block and no other sees the whole picture: k.
fn pattern(v: &Vision) -> Option<u32> {
    let every = v.full_attention.first()? + 1;
    let wanted = (0..v.layers).filter(|i| (i + 1) % every == 0);
    wanted.eq(v.full_attention.iter().copied()).then_some(every)
}

#[cfg(test)]
mod tests {
    use super::size_label;

    #[test]
    fn sizes_are_told_with_two_digits() {
        let said = [3_085_938_688, 494_032_768, 7_615_616_512, 72_706_203_648, 1_543_714, 709_000].map(size_label);
        assert_eq!(said, ["3.1B", "494M", "7.6B", "73B", "1.5M", "709K"]);
    }
}
