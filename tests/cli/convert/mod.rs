//! `qlens convert`.

mod awq;
mod checkpoint;
mod damaged;

use std::path::Path;

use qlens::gguf::{GgmlType, Gguf};
use serde_json::{Value, json};

use crate::util::{json as parse, reference, run, scratch};
use checkpoint::{Checkpoint, reference_pair};

/// Converts `folder/in` to `folder/out/model.gguf`, with `more` options.
fn convert(folder: &Path, more: &[&str]) -> crate::util::Run {
    let out = folder.join("out");
    std::fs::create_dir_all(&out).expect("a folder");
    let paths = [folder.join("in"), out.join("model.gguf")].map(|p| p.display().to_string());
    let args: Vec<&str> = ["convert", &paths[0], &paths[1]].into_iter().chain(more.iter().copied()).collect();
    run(args)
}

/// The names of the files that converting left behind.
fn left(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("out")).expect("readable");
    let mut names: Vec<String> =
        entries.map(|e| e.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

fn inspected(path: &Path) -> Value {
    parse(run(["inspect", &path.display().to_string(), "--json"]).answer())
}

/// Both files must hold the same tensors, bit for bit, and all of the reference's metadata.
#[track_caller]
fn same_as_reference(ours: &Path, theirs: &Path) {
    let (a, b) = (Gguf::open(ours).expect("ours opens"), Gguf::open(theirs).expect("theirs opens"));
    assert_eq!(a.tensors().len(), b.tensors().len());
    for wanted in b.tensors() {
        let found = a.tensor(wanted.name()).unwrap_or_else(|| panic!("no {}", wanted.name()));
        assert_eq!((found.ty(), found.dims()), (wanted.ty(), wanted.dims()), "{}", wanted.name());
        assert!(found.bytes() == wanted.bytes(), "{} has other bytes", wanted.name());
    }
    let (mut a, mut b) = (inspected(ours)["metadata"].take(), inspected(theirs)["metadata"].take());
    // The reference goes by the tokenizer's marks alone; llama.cpp's converter, and so ours, by looks, too.
    let tokens = b["tokenizer.ggml.tokens"].as_array().cloned().unwrap_or_default();
    let steers = |token: &Value| token.as_str().is_some_and(|t| t.starts_with("<|") && t.ends_with("|>"));
    for (i, _) in tokens.iter().enumerate().filter(|(_, token)| steers(token)) {
        b["tokenizer.ggml.token_type"][i] = json!(3);
    }
    for (key, wanted) in b.as_object().expect("an object") {
        let found = a.as_object_mut().expect("an object").remove(key);
        // The reference calls its vision tower by a name of its own.
        if (key, &b["general.architecture"]) != (&"general.name".to_owned(), &json!("clip")) {
            assert_eq!(found.as_ref(), Some(wanted), "{key}");
        }
    }
    let more: Vec<&String> = a.as_object().expect("an object").keys().collect();
    for key in more {
        let known = ["general.type", "general.size_label", "general.quantization_version"];
        assert!(known.contains(&key.as_str()), "{key} is in no reference file");
    }
}

#[track_caller]
fn comes_back(checkpoint: &Checkpoint, tied: bool) {
    let folder = scratch();
    checkpoint.save(&folder.path().join("in"));
    let (name, ty) = if tied { ("tiny-tied", "f16") } else { ("tiny-untied", "F32") };
    let said = convert(folder.path(), &["--name", name, "--type", ty, "--mmproj-type", ty]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), ""), "{said:?}");
    assert_eq!(left(folder.path()), ["mmproj-model.gguf", "model.gguf"]);
    let (text, vision) = reference_pair(tied);
    same_as_reference(&folder.path().join("out/model.gguf"), &reference(text));
    same_as_reference(&folder.path().join("out/mmproj-model.gguf"), &reference(vision));
}

#[test]
fn the_tied_reference_comes_back_bit_for_bit() {
    comes_back(&Checkpoint::reference(true), true);
}

#[test]
fn the_untied_reference_comes_back_from_three_shards_with_new_names() {
    let mut checkpoint = Checkpoint::reference(false);
    checkpoint.shards = 3;
    checkpoint.rename(|name| match name.strip_prefix("model.") {
        Some(rest) => format!("model.language_model.{rest}"),
        None if name.starts_with("visual.") => format!("model.{name}"),
        None => name.to_owned(),
    });
    // As transformers 5 nests and names the settings.
    let config = checkpoint.object("config.json", "");
    let mut text = config.clone();
    text.remove("vision_config");
    text["model_type"] = json!("qwen2_5_vl_text");
    let theta = text.remove("rope_theta").expect("there");
    let mut rope = text.remove("rope_scaling").expect("there");
    rope["rope_theta"] = theta;
    rope["rope_type"] = json!("default");
    text.insert("rope_parameters".into(), rope);
    for key in text.keys().filter(|key| !["model_type", "tie_word_embeddings"].contains(&key.as_str())) {
        config.remove(key);
    }
    config.remove("rope_theta");
    config.remove("rope_scaling");
    config.insert("text_config".into(), Value::Object(text));
    let pictures = checkpoint.json.remove("preprocessor_config.json").expect("there");
    checkpoint.json.insert("processor_config.json", json!({ "image_processor": pictures }));
    comes_back(&checkpoint, false);
}

#[test]
fn a_tokenizer_in_two_files_and_a_template_of_its_own_mean_the_same() {
    let mut checkpoint = Checkpoint::reference(true);
    let whole = checkpoint.json.remove("tokenizer.json").expect("there");
    checkpoint.json.insert("vocab.json", whole["model"]["vocab"].clone());
    let pair = |merge: &Value| format!("{} {}\n", merge[0].as_str().expect("text"), merge[1].as_str().expect("text"));
    let merges: String = whole["model"]["merges"].as_array().expect("a list").iter().map(pair).collect();
    checkpoint.other.insert("merges.txt", format!("#version: 0.2\n{merges}").into_bytes());
    let settings = checkpoint.object("tokenizer_config.json", "");
    let added = whole["added_tokens"].as_array().expect("a list");
    let decoder =
        added.iter().map(|t| (t["id"].to_string(), json!({ "content": t["content"], "special": t["special"] })));
    settings.insert("added_tokens_decoder".into(), Value::Object(decoder.collect()));
    let template = settings.remove("chat_template").expect("there");
    let template = template.as_str().expect("text").as_bytes().to_vec();
    checkpoint.other.insert("chat_template.jinja", template);
    comes_back(&checkpoint, true);
}

#[test]
fn a_second_copy_of_the_embedding_table_is_left_out() {
    let mut checkpoint = Checkpoint::reference(true);
    let table = checkpoint.tensors["model.embed_tokens.weight"].clone();
    checkpoint.tensors.insert("lm_head.weight".into(), table);
    let folder = scratch();
    checkpoint.save(&folder.path().join("in"));
    let said = convert(folder.path(), &["--name", "tiny-tied"]);
    assert!(
        said.code == Some(0) && said.stderr.contains("lm_head.weight is the embedding table once more"),
        "{said:?}"
    );
    same_as_reference(&folder.path().join("out/model.gguf"), &reference("tiny-tied/model-f16.gguf"));
}

#[test]
fn smaller_types_keep_what_has_no_blocks_and_can_be_asked() {
    let folder = scratch();
    Checkpoint::reference(true).save(&folder.path().join("in"));
    let said = convert(folder.path(), &["--type", "q8_0", "--mmproj-type", "Q8_0"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let out = |name: &str| folder.path().join("out").join(name);
    let text = Gguf::open(&out("model.gguf")).expect("opens");
    let ty = |file: &Gguf, name: &str| file.tensor(name).unwrap_or_else(|| panic!("no {name}")).ty();
    assert_eq!(ty(&text, "token_embd.weight"), GgmlType::Q8_0);
    assert_eq!(ty(&text, "blk.1.attn_norm.weight"), GgmlType::F32);
    assert_eq!(ty(&text, "blk.1.attn_k.bias"), GgmlType::F32);
    assert_eq!(text.metadata().require_u32("general.file_type").expect("there"), 7);
    let vision = Gguf::open(&out("mmproj-model.gguf")).expect("opens");
    assert_eq!(ty(&vision, "v.blk.0.attn_q.weight"), GgmlType::Q8_0);
    assert_eq!(ty(&vision, "v.blk.0.ffn_down.weight"), GgmlType::F16, "rows of 340 are no whole blocks");
    assert_eq!(ty(&vision, "v.patch_embd.weight.1"), GgmlType::F32);
    let (model, picture) = (out("model.gguf").display().to_string(), crate::util::picture());
    run(["describe", &picture, "-m", &model, "--max-tokens", "2", "-p", "Hi"]).answer();
}

#[cfg(feature = "ggml")]
#[test]
fn mixes_come_out_as_quantize_makes_them_of_the_converted_file() {
    let folder = scratch();
    Checkpoint::reference(false).save(&folder.path().join("in"));
    let said = convert(folder.path(), &["--type", "q4_k_m", "--mmproj-type", "Q5_0"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    for (file, plain, mix) in [
        ("model.gguf", "tiny-untied/model-f32.gguf", "Q4_K_M"),
        ("mmproj-model.gguf", "tiny-untied/mmproj-f32.gguf", "Q5_0"),
    ] {
        let wanted = folder.path().join("wanted.gguf");
        let args = [
            "quantize".to_owned(),
            reference(plain).display().to_string(),
            wanted.display().to_string(),
            mix.to_owned(),
        ];
        assert_eq!(run(args).code, Some(0));
        let (a, b) =
            (Gguf::open(&folder.path().join("out").join(file)).expect("opens"), Gguf::open(&wanted).expect("opens"));
        for t in b.tensors() {
            let found = a.tensor(t.name()).expect("there");
            assert_eq!((found.ty(), found.dims()), (t.ty(), t.dims()), "{}", t.name());
            assert!(found.bytes() == t.bytes(), "{} has other bytes", t.name());
        }
        assert_eq!(
            a.metadata().require_u32("general.file_type").expect("there"),
            b.metadata().require_u32("general.file_type").expect("there")
        );
        crate::quantize::ggml_reads_alike(&folder.path().join("out").join(file).display().to_string());
        std::fs::remove_file(&wanted).expect("removed");
    }
    let model = folder.path().join("out/model.gguf").display().to_string();
    run(["chat", "-m", &model, "--max-tokens", "2", "-p", "Hi"]).answer();
    let small = convert(folder.path(), &["--type", "IQ1_S", "--only", "text", "--dry-run"]);
    small.fails(2, &["IQ1_S", "needs an importance matrix"]);
}

#[test]
fn one_half_alone_needs_no_more_than_its_own_files() {
    let folder = scratch();
    let mut checkpoint = Checkpoint::reference(true);
    checkpoint.json.remove("preprocessor_config.json");
    checkpoint.tensors.remove("visual.merger.ln_q.weight");
    checkpoint.save(&folder.path().join("in"));
    assert_eq!(convert(folder.path(), &["--only", "text"]).code, Some(0));
    assert_eq!(left(folder.path()), ["model.gguf"]);
    convert(folder.path(), &["--only", "text"]).fails(2, &["model.gguf", "exists already"]);

    let folder = scratch();
    let mut checkpoint = Checkpoint::reference(true);
    checkpoint.json.remove("tokenizer.json");
    checkpoint.save(&folder.path().join("in"));
    assert_eq!(convert(folder.path(), &["--only", "mmproj"]).code, Some(0));
    let file = Gguf::open(&folder.path().join("out/model.gguf")).expect("opens");
    assert_eq!(file.metadata().require_str("general.architecture").expect("there"), "clip");
}

#[test]
fn a_dry_run_writes_nothing_and_tells_everything() {
    let folder = scratch();
    Checkpoint::reference(true).save(&folder.path().join("in"));
    let said = convert(folder.path(), &["--dry-run", "--type", "bf16"]);
    for word in
        ["model.gguf: ", "mmproj-model.gguf: ", "token_embd.weight", "256 × 1536", "BF16", "v.patch_embd.weight.1"]
    {
        assert!(said.answer().contains(word), "no {word:?} in {}", said.stdout);
    }
    assert!(left(folder.path()).is_empty());
}

#[test]
fn nothing_is_overwritten() {
    let folder = scratch();
    Checkpoint::reference(true).save(&folder.path().join("in"));
    std::fs::create_dir_all(folder.path().join("out")).expect("a folder");
    for taken in ["model.gguf", "mmproj-model.gguf"] {
        let path = folder.path().join("out").join(taken);
        std::fs::write(&path, "mine").expect("written");
        convert(folder.path(), &[]).fails(2, &[taken, "exists already; nothing is overwritten"]);
        assert_eq!(std::fs::read(&path).expect("there"), b"mine");
        std::fs::remove_file(&path).expect("removed");
    }
    let out = folder.path().join("out/model.gguf").display().to_string();
    convert(folder.path(), &["--mmproj", &out]).fails(2, &["can't be both"]);
    assert!(left(folder.path()).is_empty());
}

#[test]
fn wrong_types_and_places_are_told() {
    let folder = scratch();
    Checkpoint::reference(true).save(&folder.path().join("in"));
    let said = convert(folder.path(), &["--type", "Q9_X"]);
    assert!(said.code == Some(2) && said.stderr.contains("no such type (there are F32, F16, BF16, Q8_0"), "{said:?}");
    let (here, nowhere) = (folder.path().join("in"), folder.path().join("nowhere/model.gguf"));
    let [here, nowhere] = [here, nowhere].map(|p| p.display().to_string());
    run(["convert", &here, &nowhere]).fails(74, &["nowhere"]);
    run(["convert", &nowhere, "out.gguf"]).fails(66, &["nowhere"]);
    run(["convert", &format!("{here}/config.json"), "out.gguf"]).fails(66, &["config.json", "not a folder"]);
}
