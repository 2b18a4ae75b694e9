//! A checkpoint's folder as transformers saves it, made of the reference's GGUF files: converting it must give them back.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use qlens::gguf::{GgmlType, Gguf, Tensor};
use serde_json::{Map, Value, json};

use crate::util::reference;

/// A tensor as a safetensors file has it: type, outermost dimension first, bytes.
#[derive(Clone, Debug)]
pub struct Saved {
    pub dtype: &'static str,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

/// All that a folder holds; change it, then save it.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub tensors: BTreeMap<String, Saved>,
    /// JSON files by name.
    pub json: BTreeMap<&'static str, Value>,
    /// Other files by name.
    pub other: BTreeMap<&'static str, Vec<u8>>,
    /// Number of safetensors files.
    pub shards: usize,
}

impl Checkpoint {
    /// The tied one in F16, or the untied one in F32.
    pub fn reference(tied: bool) -> Checkpoint {
        let (text, vision) = reference_pair(tied);
        let (text, vision) = (open(text), open(vision));
        let mut tensors = BTreeMap::new();
        text.tensors().for_each(|t| put(&mut tensors, &text_name(t.name()), t));
        for t in vision.tensors().filter(|t| !t.name().starts_with("v.patch_embd")) {
            put(&mut tensors, &vision_name(t.name()), t);
        }
        join_thirds(&mut tensors);
        tensors.insert("visual.patch_embed.proj.weight".into(), patches(&vision));
        let json = BTreeMap::from([
            ("config.json", config(&text, &vision, tied)),
            ("preprocessor_config.json", preprocessor(&vision)),
            ("tokenizer.json", tokenizer(&text)),
            ("tokenizer_config.json", tokenizer_config(&text)),
        ]);
        Checkpoint { tensors, json, other: BTreeMap::new(), shards: 1 }
    }

    /// The value at a JSON pointer of a file, which must be there.
    pub fn at(&mut self, file: &str, pointer: &str) -> &mut Value {
        let file = self.json.get_mut(file).expect("such a file");
        file.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer} is there"))
    }

    /// The object at a JSON pointer.
    pub fn object(&mut self, file: &str, pointer: &str) -> &mut Map<String, Value> {
        self.at(file, pointer).as_object_mut().expect("an object")
    }

    /// Renames every tensor.
    pub fn rename(&mut self, new: impl Fn(&str) -> String) {
        self.tensors = std::mem::take(&mut self.tensors).into_iter().map(|(name, t)| (new(&name), t)).collect();
    }

    /// Writes the folder.
    pub fn save(&self, folder: &Path) {
        fs::create_dir_all(folder).expect("a folder");
        for (name, value) in &self.json {
            fs::write(folder.join(name), value.to_string()).expect("written");
        }
        for (name, bytes) in &self.other {
            fs::write(folder.join(name), bytes).expect("written");
        }
        if self.shards == 1 {
            let all: Vec<_> = self.tensors.iter().collect();
            fs::write(folder.join("model.safetensors"), safetensors(&all)).expect("written");
            return;
        }
        let mut map = Map::new();
        let all: Vec<_> = self.tensors.iter().collect();
        for (i, part) in all.chunks(all.len().div_ceil(self.shards)).enumerate() {
            let name = format!("model-{:05}-of-{:05}.safetensors", i + 1, self.shards);
            part.iter().for_each(|(tensor, _)| _ = map.insert(tensor.to_string(), json!(name)));
            fs::write(folder.join(name), safetensors(part)).expect("written");
        }
        let index = json!({ "metadata": { "total_size": 0 }, "weight_map": map });
        fs::write(folder.join("model.safetensors.index.json"), index.to_string()).expect("written");
    }
}

/// The reference's files.
pub fn reference_pair(tied: bool) -> (&'static str, &'static str) {
    match tied {
        true => ("tiny-tied/model-f16.gguf", "tiny-tied/mmproj-f16.gguf"),
        false => ("tiny-untied/model-f32.gguf", "tiny-untied/mmproj-f32.gguf"),
    }
}

fn open(name: &str) -> Gguf {
    Gguf::open(&reference(name)).expect("a reference file")
}

/// A safetensors file.
pub fn safetensors(tensors: &[(&String, &Saved)]) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::new());
    header.insert("__metadata__".into(), json!({ "format": "pt" }));
    for (name, t) in tensors {
        let start = data.len();
        data.extend(&t.bytes);
        let entry = json!({ "dtype": t.dtype, "shape": t.shape, "data_offsets": [start, data.len()] });
        header.insert(name.to_string(), entry);
    }
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}

fn put(tensors: &mut BTreeMap<String, Saved>, name: &str, t: &Tensor) {
    let dtype = match t.ty() {
        GgmlType::F32 => "F32",
        GgmlType::F16 => "F16",
        other => panic!("{name} is {other}"),
    };
    let shape = t.dims().iter().rev().copied().collect();
    tensors.insert(name.to_owned(), Saved { dtype, shape, bytes: t.bytes().to_vec() });
}

const TEXT: [(&str, &str); 9] = [
    ("attn_norm", "input_layernorm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

const VISION: [(&str, &str); 9] = [
    ("ln1", "norm1"),
    ("ln2", "norm2"),
    ("attn_q", "attn.q"),
    ("attn_k", "attn.k"),
    ("attn_v", "attn.v"),
    ("attn_out", "attn.proj"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

fn text_name(name: &str) -> String {
    match name {
        "token_embd.weight" => "model.embed_tokens.weight".into(),
        "output_norm.weight" => "model.norm.weight".into(),
        "output.weight" => "lm_head.weight".into(),
        _ => block_name(name, "blk.", "model.layers.", &TEXT),
    }
}

fn vision_name(name: &str) -> String {
    match name {
        "v.post_ln.weight" => "visual.merger.ln_q.weight".into(),
        _ => match name.strip_prefix("mm.") {
            Some(rest) => format!("visual.merger.mlp.{rest}"),
            None => block_name(name, "v.blk.", "visual.blocks.", &VISION),
        },
    }
}

/// `PREFIX` `3.` `NAME` `.weight`, each part under its other name.
fn block_name(name: &str, from: &str, to: &str, table: &[(&str, &str)]) -> String {
    let (number, rest) = name.strip_prefix(from).expect("a block").split_once('.').expect("a number");
    let (part, end) = rest.rsplit_once('.').expect("weight or bias");
    let other = table.iter().find(|(ours, _)| *ours == part).unwrap_or_else(|| panic!("{name} is known")).1;
    format!("{to}{number}.{other}.{end}")
}

/// Queries, keys and values become one tensor.
fn join_thirds(tensors: &mut BTreeMap<String, Saved>) {
    let queries: Vec<String> = tensors.keys().filter(|name| name.contains(".attn.q.")).cloned().collect();
    for name in queries {
        let parts = ["q", "k", "v"].map(|n| tensors.remove(&name.replace(".q.", &format!(".{n}."))).expect("there"));
        let mut shape = parts[0].shape.clone();
        shape[0] *= 3;
        let bytes = parts.iter().flat_map(|p| p.bytes.clone()).collect();
        tensors.insert(name.replace(".q.", ".qkv."), Saved { dtype: parts[0].dtype, shape, bytes });
    }
}

/// The convolution over two frames.
fn patches(vision: &Gguf) -> Saved {
    let halves = ["v.patch_embd.weight", "v.patch_embd.weight.1"].map(|name| vision.tensor(name).expect("there"));
    let [w, h, channels, out] = halves[0].dims() else { panic!("four dimensions") };
    let plane = w * h * halves[0].ty().block_bytes();
    let mut bytes = Vec::new();
    for at in 0..out * channels {
        halves.iter().for_each(|half| bytes.extend(&half.bytes()[at * plane..(at + 1) * plane]));
    }
    let dtype = if halves[0].ty() == GgmlType::F32 { "F32" } else { "F16" };
    Saved { dtype, shape: vec![*out, *channels, 2, *h, *w], bytes }
}

fn config(text: &Gguf, vision: &Gguf, tied: bool) -> Value {
    let t = |key: &str| text.metadata().require_u32(&format!("qwen2vl.{key}")).expect("a number");
    let v = |key: &str| vision.metadata().require_u32(&format!("clip.vision.{key}")).expect("a number");
    let sections = text.metadata().u32s("qwen2vl.rope.dimension_sections").expect("numbers").expect("there");
    let full = (0..v("block_count")).filter(|i| (i + 1) % v("n_wa_pattern") == 0).collect::<Vec<_>>();
    json!({
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        "bos_token_id": text.metadata().require_u32("tokenizer.ggml.bos_token_id").expect("there"),
        "hidden_act": "silu",
        "hidden_size": t("embedding_length"),
        "intermediate_size": t("feed_forward_length"),
        "max_position_embeddings": t("context_length"),
        "num_attention_heads": t("attention.head_count"),
        "num_hidden_layers": t("block_count"),
        "num_key_value_heads": t("attention.head_count_kv"),
        "rms_norm_eps": 1e-6,
        "rope_theta": 1000000.0,
        "rope_scaling": { "type": "mrope", "mrope_section": sections[..3] },
        "tie_word_embeddings": tied,
        "use_sliding_window": false,
        "vocab_size": text.tensor("token_embd.weight").expect("there").n_rows(),
        "vision_config": {
            "depth": v("block_count"),
            "hidden_act": "silu",
            "hidden_size": v("embedding_length"),
            "intermediate_size": v("feed_forward_length"),
            "num_heads": v("attention.head_count"),
            "in_chans": 3,
            "out_hidden_size": v("projection_dim"),
            "patch_size": v("patch_size"),
            "spatial_merge_size": 2,
            "spatial_patch_size": v("patch_size"),
            "window_size": 112,
            "fullatt_block_indexes": full,
            "tokens_per_second": 2,
            "temporal_patch_size": 2,
        },
    })
}

fn preprocessor(vision: &Gguf) -> Value {
    // Eight digits, as the released file has them.
    let triple = |key: &str| {
        let numbers = vision.metadata().f32s(key).expect("numbers").expect("there");
        numbers.iter().map(|x| format!("{x:.8}").parse::<f64>().expect("a number")).collect::<Vec<_>>()
    };
    json!({
        "image_processor_type": "Qwen2VLImageProcessor",
        "image_mean": triple("clip.vision.image_mean"),
        "image_std": triple("clip.vision.image_std"),
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
    })
}

fn tokens(text: &Gguf) -> Vec<(String, i32)> {
    let m = text.metadata();
    let types = m.i32s("tokenizer.ggml.token_type").expect("numbers").expect("there");
    let tokens = m.require_strings("tokenizer.ggml.tokens").expect("there");
    tokens.iter().map(str::to_owned).zip(types).collect()
}

fn tokenizer(text: &Gguf) -> Value {
    let tokens = tokens(text);
    let of = |kinds: &'static [i32]| {
        let numbered = tokens.iter().enumerate();
        numbered.filter(|(_, (_, kind))| kinds.contains(kind))
    };
    let vocab: Map<String, Value> = of(&[1]).map(|(id, (token, _))| (token.clone(), json!(id))).collect();
    let added: Vec<Value> =
        of(&[3, 4]).map(|(id, (token, kind))| json!({ "id": id, "content": token, "special": *kind == 3 })).collect();
    let merges = text.metadata().require_strings("tokenizer.ggml.merges").expect("there");
    let merges: Vec<Vec<&str>> = merges.iter().map(|merge| merge.split(' ').collect()).collect();
    let split = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": { "type": "NFC" },
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": split }, "behavior": "Isolated", "invert": false },
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false },
        ] },
        "decoder": { "type": "ByteLevel" },
        "model": { "type": "BPE", "byte_fallback": false, "vocab": vocab, "merges": merges },
    })
}

fn tokenizer_config(text: &Gguf) -> Value {
    let m = text.metadata();
    let tokens = tokens(text);
    let token = |kind: &str| {
        let id = m.require_u32(&format!("tokenizer.ggml.{kind}_token_id")).expect("there");
        tokens[id as usize].0.clone()
    };
    json!({
        "tokenizer_class": "Qwen2Tokenizer",
        "add_bos_token": false,
        "bos_token": null,
        "eos_token": token("eos"),
        "pad_token": { "__type": "AddedToken", "content": token("padding") },
        "chat_template": m.require_str("tokenizer.chat_template").expect("there"),
    })
}
