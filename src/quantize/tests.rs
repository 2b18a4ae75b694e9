//! Rules against what llama.cpp makes of models, files against ggml's functions, importance matrices in both formats.

use std::collections::BTreeMap;

use super::importance::Entry;
use super::*;
use crate::gguf::{GgmlType, Gguf, GgufWriter, Value};
use crate::kernels::ThreadPool;
use crate::quant;

/// A language model of this many blocks with rows of 256 (but for `ffn_down`, whose are of `down`), or a vision model.
fn model(arch: &str, blocks: usize, down: usize, weight: impl Fn(&str, usize) -> f32) -> Gguf {
    let mut tensors: Vec<(String, Vec<usize>)> = Vec::new();
    let (stem, norm) = if arch == "clip" { ("v.blk", "ln1") } else { ("blk", "attn_norm") };
    if arch == "clip" {
        tensors.push(("v.patch_embd.weight".into(), vec![14, 14, 3, 4]));
    } else {
        tensors.push(("token_embd.weight".into(), vec![256, 8]));
        tensors.push(("output_norm.weight".into(), vec![256]));
    }
    for i in 0..blocks {
        for part in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up"] {
            tensors.push((format!("{stem}.{i}.{part}.weight"), vec![256, 4]));
        }
        tensors.push((format!("{stem}.{i}.ffn_down.weight"), vec![down, 4]));
        tensors.push((format!("{stem}.{i}.attn_q.bias"), vec![4]));
        tensors.push((format!("{stem}.{i}.{norm}.weight"), vec![256]));
    }
    let mut writer = GgufWriter::new();
    writer.metadata("general.architecture", arch).unwrap();
    for (key, n) in [("block_count", blocks as u32), ("attention.head_count", 16), ("attention.head_count_kv", 2)] {
        writer.metadata(&format!("{arch}.{key}"), Value::U32(n)).unwrap();
    }
    writer.metadata("general.file_type", Value::U32(1)).unwrap();
    writer.metadata("tokenizer.ggml.model", "gpt2").unwrap();
    for (name, dims) in &tensors {
        let ty = if dims.len() == 1 { GgmlType::F32 } else { GgmlType::F16 };
        writer.tensor(name, ty, dims).unwrap();
    }
    let mut bytes = Vec::new();
    let fill = &mut |i: usize, out: &mut dyn std::io::Write| {
        let (name, dims) = &tensors[i];
        let numbers: Vec<f32> = (0..dims.iter().product()).map(|i| weight(name, i)).collect();
        let ty = if dims.len() == 1 { GgmlType::F32 } else { GgmlType::F16 };
        let raw: Vec<u8> = match ty {
            GgmlType::F32 => numbers.iter().flat_map(|x| x.to_le_bytes()).collect(),
            _ => numbers.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect(),
        };
        out.write_all(&raw)
    };
    writer.write_to(&mut bytes, "model", fill).unwrap();
    Gguf::from_vec("model.gguf", bytes).unwrap()
}

fn waves(name: &str, i: usize) -> f32 {
    ((i * 7 + name.len() * 31) as f32 * 0.37).sin() * 0.1
}

/// The types of the blocks' tensors of this kind, in the order of the blocks.
fn types(plan: &Plan<'_>, part: &str) -> Vec<GgmlType> {
    plan.tensors.iter().filter(|t| t.tensor.name().contains(part)).map(|t| t.ty).collect()
}

fn ty_of(plan: &Plan<'_>, name: &str) -> GgmlType {
    plan.tensors.iter().find(|t| t.tensor.name() == name).unwrap().ty
}

#[test]
fn names_and_numbers_are_llama_cpps() {
    for mix in Mix::ALL {
        assert_eq!(Mix::from_name(&mix.name().to_lowercase()), Some(mix));
        assert_eq!(Mix::ALL.iter().filter(|m| m.number() == mix.number()).count(), 1);
    }
    let number = |name| Mix::from_name(name).map(Mix::number);
    assert_eq!(["q4_k_m", "Q4_K", "IQ4_XS", "BF16"].map(number), [Some(15), Some(15), Some(30), Some(32)]);
    assert_eq!(Mix::from_name("Q7_K"), None);
}

#[cfg(feature = "ggml")]
#[test]
fn q4_k_m_gives_more_bits_to_both_ends_and_every_third() {
    use GgmlType::{Q4_K, Q6_K};
    let gguf = model("qwen2vl", 16, 256, waves);
    let plan = Plan::new(&gguf, &Rules::new(Mix::Q4_K_M), None).unwrap();
    let more = [0, 1, 4, 7, 10, 13, 14, 15];
    let wanted: Vec<GgmlType> = (0..16).map(|i| if more.contains(&i) { Q6_K } else { Q4_K }).collect();
    assert_eq!(types(&plan, "ffn_down.weight"), wanted);
    assert_eq!(types(&plan, "attn_v.weight"), wanted);
    assert!(types(&plan, "attn_output.weight").iter().all(|ty| *ty == Q4_K));
    // The table is the output, too.
    assert_eq!(ty_of(&plan, "token_embd.weight"), Q6_K);
    assert_eq!(ty_of(&plan, "blk.3.attn_q.bias"), GgmlType::F32);
    // What is in no block comes first, then blocks by their numbers.
    let names: Vec<&str> = plan.tensors.iter().map(|t| t.tensor.name()).collect();
    assert_eq!(&names[..3], ["output_norm.weight", "token_embd.weight", "blk.0.attn_k.weight"]);
    let block = |i: usize| names.iter().position(|n| n.starts_with(&format!("blk.{i}.")));
    assert!((1..16).all(|i| block(i - 1) < block(i)));
}

#[cfg(feature = "ggml")]
#[test]
fn small_mixes_need_importance_and_say_so() {
    let gguf = model("qwen2vl", 8, 256, waves);
    for mix in [Mix::IQ1_S, Mix::IQ2_XXS, Mix::IQ3_XXS, Mix::Q2_K_S] {
        let e = Plan::new(&gguf, &Rules::new(mix), None).err().unwrap();
        assert!(matches!(e, QuantizeError::NeedsImportance { .. }), "{mix:?}: {e}");
    }
    let plan = Plan::new(&gguf, &Rules::new(Mix::IQ4_XS), None).unwrap();
    assert_eq!(types(&plan, "ffn_down.weight")[0], GgmlType::Q5_K);
    assert_eq!(types(&plan, "ffn_down.weight")[1], GgmlType::IQ4_XS);
    // Eight query heads share each key head.
    assert!(types(&plan, "attn_v.weight").iter().all(|ty| *ty == GgmlType::Q5_K));
}

#[cfg(feature = "ggml")]
#[test]
fn rows_that_are_no_whole_blocks_get_another_type() {
    let gguf = model("clip", 2, 96, waves);
    let plan = Plan::new(&gguf, &Rules::new(Mix::Q4_K_M), None).unwrap();
    // A vision model's count as those that get more bits, and Q6_K falls back to Q8_0.
    assert!(types(&plan, "ffn_down.weight").iter().all(|ty| *ty == GgmlType::Q8_0));
    assert_eq!((plan.fallbacks(), ty_of(&plan, "v.blk.0.attn_k.weight")), (2, GgmlType::Q4_K));
    assert_eq!(ty_of(&plan, "v.patch_embd.weight"), GgmlType::F16);
    let gguf = model("clip", 1, 40, waves);
    let plan = Plan::new(&gguf, &Rules::new(Mix::Q8_0), None).unwrap();
    assert_eq!(ty_of(&plan, "v.blk.0.ffn_down.weight"), GgmlType::F16);
}

#[cfg(feature = "ggml")]
#[test]
fn exceptions_count_more_than_the_mix() {
    let gguf = model("qwen2vl", 8, 256, waves);
    let mut rules = Rules::new(Mix::Q4_K_M);
    rules.named = vec![("blk.2.".into(), GgmlType::Q8_0), ("attn_v".into(), GgmlType::F16)];
    rules.embedding_type = Some(GgmlType::Q5_0);
    let plan = Plan::new(&gguf, &rules, None).unwrap();
    assert_eq!(ty_of(&plan, "token_embd.weight"), GgmlType::Q5_0);
    assert_eq!(ty_of(&plan, "blk.2.attn_v.weight"), GgmlType::Q8_0);
    assert_eq!(ty_of(&plan, "blk.3.attn_v.weight"), GgmlType::F16);
    let plan = Plan::new(&gguf, &Rules { pure: true, ..Rules::new(Mix::Q4_K_M) }, None).unwrap();
    assert!(plan.tensors.iter().all(|t| [GgmlType::Q4_K, GgmlType::F32].contains(&t.ty)));
}

fn written(plan: &Plan<'_>, threads: usize) -> Result<Vec<u8>, QuantizeError> {
    let mut bytes = Vec::new();
    plan.write(&ThreadPool::new(threads), &mut bytes, "out.gguf", &mut |_| {})?;
    Ok(bytes)
}

/// Importance of every matrix, so that all mixes can be made.
fn importance(gguf: &Gguf) -> Importance {
    let mut entries = BTreeMap::new();
    for t in gguf.tensors().filter(|t| t.dims().len() == 2) {
        let sums = (0..t.row_len()).map(|i| 1.0 + (i % 13) as f32).collect();
        entries.insert(t.name().to_owned(), Entry { sums, count: 3 });
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("imatrix.gguf");
    let mut file = std::fs::File::create(&path).unwrap();
    Importance::write(&entries, "waves", (1, 512), &mut file, "imatrix.gguf").unwrap();
    Importance::open(&path).unwrap()
}

#[cfg(feature = "ggml")]
#[test]
fn every_mix_makes_the_bytes_that_ggml_makes() {
    let gguf = model("qwen2vl", 3, 512, waves);
    let known = importance(&gguf);
    for mix in Mix::ALL {
        for importance in [None, Some(&known)] {
            let plan = match Plan::new(&gguf, &Rules::new(mix), importance) {
                Err(QuantizeError::NeedsImportance { .. }) if importance.is_none() => continue,
                other => other.unwrap(),
            };
            let bytes = written(&plan, 1).unwrap();
            assert_eq!(bytes, written(&plan, 3).unwrap(), "{mix:?}: not the same on more threads");
            let made = Gguf::from_vec("out.gguf", bytes).unwrap();
            assert_eq!(made.metadata().u32("general.file_type").unwrap(), Some(mix.number()));
            assert_eq!(made.metadata().u32("general.quantization_version").unwrap(), Some(2));
            assert_eq!(made.metadata().str("tokenizer.ggml.model").unwrap(), Some("gpt2"));
            let entries = made.metadata().u32("quantize.imatrix.entries_count").unwrap();
            assert_eq!(entries.is_some(), importance.is_some());
            for t in gguf.tensors() {
                let mut floats = vec![0.0; t.row_len() * t.n_rows()];
                quant::dequantize(t.ty(), t.bytes(), &mut floats).unwrap();
                let found = made.tensor(t.name()).unwrap();
                let ty = found.ty();
                let mut wanted = vec![0; found.bytes().len()];
                let columns = importance.and_then(|i| i.columns(t.name(), t).unwrap()).filter(|_| ty != t.ty());
                quant::quantize_chunk(ty, &floats, t.row_len(), columns, &mut wanted).unwrap();
                assert!(found.bytes() == wanted, "{mix:?}: {} as {ty}", t.name());
            }
        }
    }
}

#[test]
fn a_weight_that_is_none_is_told_with_its_place() {
    let bad = |name: &str, i| if name == "blk.1.attn_k.weight" && i == 515 { f32::NAN } else { waves(name, i) };
    let gguf = model("qwen2vl", 2, 256, bad);
    let mix = if cfg!(feature = "ggml") { Mix::Q4_K_M } else { Mix::BF16 };
    for mix in [mix, Mix::F16] {
        let plan = Plan::new(&gguf, &Rules::new(mix), None).unwrap();
        let e = written(&plan, 2).unwrap_err().to_string();
        assert!(e.starts_with("model.gguf: tensor `blk.1.attn_k.weight`, row 2: NaN does not fit into"), "{e}");
    }
}

#[test]
fn what_is_quantized_is_not_quantized_again_unasked() {
    if !cfg!(feature = "ggml") {
        let gguf = model("qwen2vl", 1, 256, waves);
        let e = Plan::new(&gguf, &Rules::new(Mix::Q4_0), None).err().unwrap().to_string();
        assert!(e.contains("built without ggml"), "{e}");
        return;
    }
    let gguf = model("qwen2vl", 2, 256, waves);
    let plan = Plan::new(&gguf, &Rules::new(Mix::Q8_0), None).unwrap();
    let small = Gguf::from_vec("small.gguf", written(&plan, 1).unwrap()).unwrap();
    let e = Plan::new(&small, &Rules::new(Mix::Q4_0), None).err().unwrap().to_string();
    assert!(e.contains("is Q8_0 already") && e.contains("--allow-requantize"), "{e}");
    let rules = Rules { requantize: true, ..Rules::new(Mix::Q4_0) };
    assert!(written(&Plan::new(&small, &rules, None).unwrap(), 1).is_ok());
    // The same type: copied.
    let same = Plan::new(&small, &Rules::new(Mix::Q8_0), None).unwrap();
    assert_eq!(
        written(&same, 1).unwrap().len(),
        same.bytes_after() as usize + small.mapped_bytes() as usize
            - small.tensors().map(|t| t.bytes().len()).sum::<usize>()
    );
}

#[test]
fn other_architectures_are_refused_by_name() {
    let gguf = model("mamba", 1, 256, waves);
    let e = Plan::new(&gguf, &Rules::new(Mix::F16), None).err().unwrap().to_string();
    assert!(e.contains("architecture `mamba`"), "{e}");
}

/// The old format.
fn list(entries: &[(&str, i32, &[f32])], end: &[u8]) -> Vec<u8> {
    let mut bytes = (entries.len() as i32).to_le_bytes().to_vec();
    for (name, calls, sums) in entries {
        bytes.extend((name.len() as i32).to_le_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend(calls.to_le_bytes());
        bytes.extend((sums.len() as i32).to_le_bytes());
        sums.iter().for_each(|x| bytes.extend(x.to_le_bytes()));
    }
    bytes.extend(end);
    bytes
}

fn open(bytes: &[u8]) -> Result<Importance, QuantizeError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("imatrix.dat");
    std::fs::write(&path, bytes).unwrap();
    Importance::open(&path)
}

#[test]
fn the_old_format_is_read_and_its_damage_told() {
    let gguf = model("qwen2vl", 1, 256, waves);
    let tensor = gguf.tensor("blk.0.attn_q.weight").unwrap();
    let columns: Vec<f32> = (0..256).map(|i| i as f32).collect();
    let end = [&5i32.to_le_bytes()[..], &4i32.to_le_bytes(), b"wiki"].concat();
    let bytes = list(&[("blk.0.attn_q.weight", 4, &columns), ("other", 0, &[2.0])], &end);
    let found = open(&bytes).unwrap();
    assert_eq!((found.len(), found.chunks(), found.datasets()), (2, 5, &["wiki".to_owned()][..]));
    assert_eq!(found.columns("blk.0.attn_q.weight", tensor).unwrap().unwrap()[10], 2.5);
    assert!(found.columns("blk.0.attn_k.weight", tensor).unwrap().is_none());
    assert!(matches!(found.columns("other", tensor), Err(QuantizeError::EntryLength { found: 1, wanted: 256, .. })));
    // Every shorter file is either one without the end, or told to be damaged.
    for n in 0..bytes.len() {
        match open(&bytes[..n]) {
            Ok(_) => assert!(n == bytes.len() - end.len() || n == bytes.len() - end.len() + 4, "{n}"),
            Err(e) => assert!(matches!(e, QuantizeError::Importance { .. }), "{n}: {e}"),
        }
    }
    for bad in [f32::NAN, f32::INFINITY, -1.0] {
        let e = open(&list(&[("a", 1, &[1.0, bad])], &[])).unwrap_err().to_string();
        assert!(e.contains("`a`: column 1 is"), "{e}");
    }
    for bytes in [&b"hello, this is a text"[..], &list(&[], &[]), &(-1i32).to_le_bytes()] {
        assert!(matches!(open(bytes), Err(QuantizeError::Importance { .. })));
    }
}

#[test]
fn what_is_written_is_read_again() {
    let gguf = model("qwen2vl", 1, 256, waves);
    let found = importance(&gguf);
    let tensor = gguf.tensor("blk.0.attn_q.weight").unwrap();
    let columns = found.columns("blk.0.attn_q.weight", tensor).unwrap().unwrap();
    assert_eq!((columns[0], columns[12], columns[13]), (1.0 / 3.0, 13.0 / 3.0, 1.0 / 3.0));
    assert_eq!((found.chunks(), found.datasets()), (1, &["waves".to_owned()][..]));
}
