//! AWQ checkpoints: 4-bit layers come out as exactly the numbers that they stand for.

use half::f16;
use qlens::gguf::Gguf;
use serde_json::json;

use super::checkpoint::{Checkpoint, Saved};
use super::convert;
use crate::util::scratch;

const GROUP: usize = 128;
/// Nibble n of a word, counted from the lowest, holds this one of its eight outputs.
const ORDER: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];

/// A layer in 4 bits: its tensors, and the weights that it stands for, `[outs, ins]`.
fn layer(outs: usize, ins: usize, seed: u64) -> ([Saved; 3], Vec<f32>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut nibbles = |rows: usize| -> Vec<u32> { (0..rows * outs).map(|_| random.u32(..16)).collect() };
    let (codes, zeros) = (nibbles(ins), nibbles(ins / GROUP));
    let scales: Vec<f16> = (0..ins / GROUP * outs).map(|_| f16::from_f32(random.f32() * 0.05)).collect();
    let packed = |values: &[u32]| -> Saved {
        let word = |eight: &[u32]| (0..8).fold(0u32, |word, n| word | eight[ORDER[n]] << (4 * n));
        let bytes = values.chunks(8).flat_map(|eight| word(eight).to_le_bytes()).collect();
        Saved { dtype: "I32", shape: vec![values.len() / outs, outs / 8], bytes }
    };
    let weight = |o: usize, i: usize| {
        let at = i / GROUP * outs + o;
        (codes[i * outs + o] as f32 - zeros[at] as f32) * scales[at].to_f32()
    };
    let weights = (0..outs).flat_map(|o| (0..ins).map(move |i| (o, i))).map(|(o, i)| weight(o, i)).collect();
    let scale_bytes = scales.iter().flat_map(|s| s.to_le_bytes()).collect();
    let scales = Saved { dtype: "F16", shape: vec![ins / GROUP, outs], bytes: scale_bytes };
    ([packed(&codes), packed(&zeros), scales], weights)
}

/// The tied reference with all linear layers of its blocks in 4 bits, and what those stand for by their GGUF names.
fn quantized() -> (Checkpoint, Vec<(String, Vec<f32>)>) {
    let mut checkpoint = Checkpoint::reference(true);
    let linear: Vec<String> = checkpoint
        .tensors
        .keys()
        .filter(|name| name.ends_with("_proj.weight") && name.contains("layers."))
        .cloned()
        .collect();
    let mut weights = Vec::new();
    for (seed, name) in linear.iter().enumerate() {
        let plain = checkpoint.tensors.remove(name).expect("there");
        let (parts, numbers) = layer(plain.shape[0], plain.shape[1], seed as u64);
        let stem = name.trim_end_matches(".weight");
        for (part, tensor) in ["qweight", "qzeros", "scales"].iter().zip(parts) {
            checkpoint.tensors.insert(format!("{stem}.{part}"), tensor);
        }
        weights.push((stem.to_owned(), numbers));
    }
    let settings = json!({
        "quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": true,
        "modules_to_not_convert": ["visual"],
    });
    checkpoint.object("config.json", "").insert("quantization_config".into(), settings);
    (checkpoint, weights)
}

#[test]
fn every_weight_is_exact_in_f32() {
    let (checkpoint, weights) = quantized();
    let folder = scratch();
    checkpoint.save(&folder.path().join("in"));
    let said = convert(folder.path(), &["--type", "F32", "--only", "text", "--threads", "3"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let file = Gguf::open(&folder.path().join("out/model.gguf")).expect("opens");
    for (stem, wanted) in weights {
        let name = stem.replace("model.layers", "blk").replace("self_attn.o_proj", "attn_output");
        let name = name.replace("self_attn.", "attn_").replace("mlp.", "ffn_").replace("_proj", "") + ".weight";
        let tensor = file.tensor(&name).unwrap_or_else(|| panic!("no {name}"));
        let found: Vec<f32> = tensor.bytes().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        assert!(found == wanted, "{name} has other weights");
    }
}

#[test]
fn layouts_that_are_not_understood_are_refused() {
    let (original, _) = quantized();
    let refused = |change: &dyn Fn(&mut Checkpoint), words: &[&str]| {
        let mut checkpoint = original.clone();
        change(&mut checkpoint);
        let folder = scratch();
        checkpoint.save(&folder.path().join("in"));
        convert(folder.path(), &[]).fails(65, words);
    };
    let set = |key: &'static str, value: serde_json::Value| {
        move |c: &mut Checkpoint| *c.at("config.json", &format!("/quantization_config/{key}")) = value.clone()
    };
    refused(&set("bits", json!(8)), &["`quantization_config.bits` is 8, not 4"]);
    refused(&set("group_size", json!(64)), &["group_size", "128"]);
    refused(&set("version", json!("gemv")), &["version", "gemm"]);
    refused(&set("quant_method", json!("gptq")), &["quant_method", "awq", "convert the original"]);
    refused(
        &|c| _ = c.tensors.remove("model.layers.1.mlp.up_proj.qzeros"),
        &["missing tensors (1): ", "up_proj.qzeros"],
    );
    refused(
        &|c| c.tensors.get_mut("model.layers.0.mlp.up_proj.qweight").expect("there").dtype = "F32",
        &["up_proj.qweight` is F32, not I32"],
    );
    refused(
        &|c| c.tensors.get_mut("model.layers.0.mlp.up_proj.scales").expect("there").shape.reverse(),
        &["up_proj.scales", "[512, 2]", "[2, 512]"],
    );
    refused(&|c| _ = c.object("config.json", "").remove("quantization_config"), &["missing tensors", "q_proj.weight"]);
}
