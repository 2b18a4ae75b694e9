//! Checkpoints that are wrong in every way: one clear line, the right exit code, and nothing left behind.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::checkpoint::{Checkpoint, Saved};
use super::{convert, left};
use crate::util::{qlens, scratch};

/// Saves the reference changed by `change`, then changes its folder by `spoil`: converting must fail with 65 and `words`.
#[track_caller]
fn refused(change: impl Fn(&mut Checkpoint), spoil: impl Fn(&Path), words: &[&str]) {
    let mut checkpoint = Checkpoint::reference(true);
    change(&mut checkpoint);
    let folder = scratch();
    let input = folder.path().join("in");
    checkpoint.save(&input);
    spoil(&input);
    convert(folder.path(), &[]).fails(65, words);
    assert!(left(folder.path()).is_empty(), "{words:?} left {:?}", left(folder.path()));
}

fn untouched(_: &Path) {}

fn number(tensor: &mut Saved, at: usize, value: f32) {
    match tensor.dtype {
        "F16" => tensor.bytes[at * 2..][..2].copy_from_slice(&half::f16::from_f32(value).to_le_bytes()),
        _ => tensor.bytes[at * 4..][..4].copy_from_slice(&value.to_le_bytes()),
    }
}

fn tensor<'c>(c: &'c mut Checkpoint, name: &str) -> &'c mut Saved {
    c.tensors.get_mut(name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn files_that_are_missing_are_named() {
    for (file, words) in [
        ("config.json", &["there is no config.json"][..]),
        ("model.safetensors", &["there is no model.safetensors"]),
        ("preprocessor_config.json", &["no preprocessor_config.json", "--only text"]),
        ("tokenizer.json", &["no tokenizer.json", "nor vocab.json and merges.txt"]),
    ] {
        refused(|_| {}, |folder| fs::remove_file(folder.join(file)).expect("removed"), words);
    }
    let pickled = |folder: &Path| {
        fs::rename(folder.join("model.safetensors"), folder.join("pytorch_model.bin")).expect("renamed")
    };
    refused(|_| {}, pickled, &["no model.safetensors", "pickled"]);
    let one_of_two = |folder: &Path| fs::remove_file(folder.join("model.safetensors.index.json")).expect("removed");
    refused(|c| c.shards = 2, one_of_two, &["no model.safetensors.index.json"]);
    let second = "model-00002-of-00002.safetensors";
    refused(|c| c.shards = 2, |folder| fs::remove_file(folder.join(second)).expect("removed"), &[second, "is missing"]);
}

#[test]
fn damaged_safetensors_files_are_told() {
    let file = |folder: &Path| folder.join("model.safetensors");
    let cut = |keep: usize| {
        move |folder: &Path| {
            let bytes = fs::read(file(folder)).expect("read");
            fs::write(file(folder), &bytes[..keep.min(bytes.len() - 1)]).expect("written");
        }
    };
    refused(|_| {}, cut(usize::MAX), &["model.safetensors: truncated", "download it again"]);
    refused(|_| {}, cut(100), &["model.safetensors: damaged, or no safetensors file", "at most 92 here"]);
    refused(|_| {}, cut(3), &["3 bytes are no safetensors file"]);
    let length = |n: u64| {
        move |folder: &Path| {
            let mut bytes = fs::read(file(folder)).expect("read");
            bytes[..8].copy_from_slice(&n.to_le_bytes());
            fs::write(file(folder), bytes).expect("written");
        }
    };
    for absurd in [u64::MAX, 1 << 62, 1 << 33] {
        refused(|_| {}, length(absurd), &["model.safetensors: damaged", &absurd.to_string()]);
    }
    refused(|_| {}, length(2), &["model.safetensors: damaged", "its header is not what"]);
    let longer = |folder: &Path| {
        let bytes = fs::read(file(folder)).expect("read");
        fs::write(file(folder), [&bytes[..], b"more"].concat()).expect("written");
    };
    refused(|_| {}, longer, &["4 bytes follow its last tensor"]);
}

#[test]
fn an_index_leads_nowhere_else() {
    let index = |name: &'static str| {
        move |folder: &Path| {
            let path = folder.join("model.safetensors.index.json");
            let text = fs::read_to_string(&path).expect("read");
            fs::write(&path, text.replace("model-00002-of-00002.safetensors", name)).expect("written");
        }
    };
    for name in
        ["../secret.safetensors", "/etc/passwd", "a/b.safetensors", "C:x.safetensors", ".hidden.safetensors", "x.bin"]
    {
        refused(|c| c.shards = 2, index(name), &["index.json: puts tensor", name, "not the name of"]);
    }
    refused(|c| c.shards = 2, index("model-00001-of-00002.safetensors"), &["doesn't hold it"]);
    let broken = |folder: &Path| {
        fs::write(folder.join("model.safetensors.index.json"), r#"{"weight_map": [1]}"#).expect("written")
    };
    refused(|_| {}, broken, &["`weight_map` is [1], not an object"]);
}

#[test]
fn wrong_tensors_are_named() {
    let up = "model.layers.1.mlp.up_proj.weight";
    refused(|c| _ = c.tensors.remove(up), untouched, &["missing tensors (1): ", "`layers.1.mlp.up_proj.weight`"]);
    refused(
        |c| {
            let copy = c.tensors[up].clone();
            c.tensors.insert("model.layers.9.mlp.up_proj.weight".into(), copy);
        },
        untouched,
        &["belong to no part of this model (1): ", "`layers.9.mlp.up_proj.weight`"],
    );
    refused(
        |c| {
            let copy = c.tensors[up].clone();
            c.tensors.insert("model.language_model.layers.1.mlp.up_proj.weight".into(), copy);
        },
        untouched,
        &["in the checkpoint twice", "model.language_model.layers.1"],
    );
    refused(|c| tensor(c, up).shape.reverse(), untouched, &[up, "[256, 512]", "must be [512, 256]"]);
    refused(|c| tensor(c, up).dtype = "I16", untouched, &[up, "is I16, not F32, F16 or BF16"]);
    refused(
        |c| {
            let t = tensor(c, up);
            (t.dtype, t.bytes) = ("F8_E4M3", t.bytes[..t.bytes.len() / 2].to_vec());
        },
        untouched,
        &[up, "is F8_E4M3"],
    );
    refused(|c| *c.at("config.json", "/num_hidden_layers") = json!(2), untouched, &["belong to no part", "layers.2."]);
    refused(|c| *c.at("config.json", "/vocab_size") = json!(1535), untouched, &["embed_tokens", "must be [1535, 256]"]);
}

#[test]
fn numbers_that_are_none_are_found() {
    let down = "model.layers.2.mlp.down_proj.weight";
    refused(
        |c| number(tensor(c, down), 512 * 200 + 7, f32::NAN),
        untouched,
        &[down, "number 102407 is NaN", "the checkpoint is damaged"],
    );
    let bias = "visual.blocks.1.attn.qkv.bias";
    refused(|c| number(tensor(c, bias), 333, f32::NEG_INFINITY), untouched, &[bias, "number 333 is -inf"]);
    refused(
        |c| {
            let t = tensor(c, down);
            let halves = t.bytes.as_chunks().0.iter().map(|&b| half::f16::from_le_bytes(b).to_f32());
            (t.dtype, t.bytes) = ("F32", halves.flat_map(f32::to_le_bytes).collect());
            number(t, 5, 1e6);
        },
        untouched,
        &[down, "number 5 is 1000000, which F16 can't hold; choose BF16 or F32"],
    );
}

#[test]
fn heads_that_contradict_the_settings_are_refused() {
    let table = |c: &Checkpoint| c.tensors["model.embed_tokens.weight"].clone();
    refused(
        |c| {
            let mut head = table(c);
            number(&mut head, 99, 1.5);
            c.tensors.insert("lm_head.weight".into(), head);
        },
        untouched,
        &["tie_word_embeddings", "`lm_head.weight` holds other numbers"],
    );
    refused(
        |c| *c.at("config.json", "/tie_word_embeddings") = json!(false),
        untouched,
        &["missing", "`lm_head.weight`"],
    );
}

#[test]
fn settings_with_which_no_model_can_be_are_told() {
    let set = |pointer: &'static str, value: serde_json::Value| {
        move |c: &mut Checkpoint| *c.at("config.json", pointer) = value.clone()
    };
    for (pointer, value, words) in [
        ("/model_type", json!("qwen2_vl"), &["`model_type` is \"qwen2_vl\"", "qwen2_5_vl"][..]),
        ("/hidden_size", json!(-5), &["`hidden_size` is -5, not a whole number between 1 and"]),
        ("/num_hidden_layers", json!(1e30), &["num_hidden_layers"]),
        ("/num_attention_heads", json!(7), &["num_attention_heads", "together are 256 wide"]),
        ("/num_key_value_heads", json!(3), &["num_key_value_heads", "a divisor of 8"]),
        ("/rope_theta", json!("x"), &["`rope_theta` is \"x\""]),
        ("/rope_scaling/mrope_section", json!([1, 2, 3]), &["mrope_section", "add up to 16"]),
        ("/rope_scaling/type", json!("dynamic"), &["rope_scaling.type", "yarn"]),
        ("/hidden_act", json!("gelu"), &["hidden_act", "silu"]),
        ("/use_sliding_window", json!(true), &["use_sliding_window", "not supported"]),
        ("/vision_config", json!(null), &["vision_config", "missing"]),
        ("/vision_config/depth", json!(0), &["vision_config.depth"]),
        ("/vision_config/num_heads", json!(3), &["num_heads", "multiple of 4"]),
        ("/vision_config/window_size", json!(100), &["window_size", "multiple of 28"]),
        ("/vision_config/fullatt_block_indexes", json!([1, 9]), &["fullatt_block_indexes", "below 4"]),
        ("/vision_config/out_hidden_size", json!(128), &["out_hidden_size", "256"]),
        ("/vision_config/tokens_per_second", json!(4), &["tokens_per_second"]),
    ] {
        refused(set(pointer, value), untouched, words);
    }
    refused(
        |c| *c.at("preprocessor_config.json", "/image_mean") = json!([0.5]),
        untouched,
        &["image_mean", "three numbers"],
    );
    refused(
        |c| *c.at("preprocessor_config.json", "/patch_size") = json!(16),
        untouched,
        &["`patch_size` is 16, not 14"],
    );
    refused(|_| {}, |folder| fs::write(folder.join("config.json"), "{").expect("written"), &["config.json: EOF"]);
    refused(|_| {}, |folder| fs::write(folder.join("config.json"), [0xff, 0xfe]).expect("written"), &["not UTF-8"]);
}

#[test]
fn tokenizers_that_cannot_be_are_told() {
    let at = "/model/merges";
    refused(|c| *c.at("tokenizer.json", at) = json!([]), untouched, &["tokenizer.json: it has no merges"]);
    refused(|c| *c.at("tokenizer.json", at) = json!(["ab", 7]), untouched, &["merge 1 is 7, not a pair"]);
    refused(|c| *c.at("tokenizer.json", at) = json!(["zqzq xyxy"]), untouched, &["tokenizer can't be used", "zqzq"]);
    refused(
        |c| *c.at("tokenizer.json", "/model/type") = json!("Unigram"),
        untouched,
        &["\"Unigram\", not byte-level BPE"],
    );
    let split = "/pre_tokenizer/pretokenizers/0/pattern/Regex";
    refused(|c| *c.at("tokenizer.json", split) = json!(r"\p{L}+"), untouched, &["another rule than Qwen2's"]);
    refused(
        |c| *c.at("tokenizer.json", "/added_tokens/0/id") = json!(9999),
        untouched,
        &["has the number 9999, but the embedding table has 1536 rows"],
    );
    refused(|c| *c.at("tokenizer.json", "/added_tokens/1/id") = json!(0), untouched, &["both have the number 0"]);
    refused(
        |c| {
            let whole = c.json.remove("tokenizer.json").expect("there");
            c.json.insert("vocab.json", whole["model"]["vocab"].clone());
        },
        untouched,
        &["it has no merges"],
    );
}

#[test]
fn what_a_file_says_reaches_no_terminal_raw() {
    let evil = "model.\u{1b}[2J\u{9b}31m";
    let mut checkpoint = Checkpoint::reference(true);
    let copy = checkpoint.tensors["model.norm.weight"].clone();
    checkpoint.tensors.insert(evil.into(), copy);
    let folder = scratch();
    checkpoint.save(&folder.path().join("in"));
    let said = convert(folder.path(), &[]);
    said.fails(65, &["belong to no part"]);
    assert!(!said.stderr.trim_end().chars().any(char::is_control), "{said:?}");
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing() {
    let folder = scratch();
    Checkpoint::reference(true).save(&folder.path().join("in"));
    fs::create_dir(folder.path().join("out")).expect("a folder");
    // A bound on the size of files is what a process can be given without a disk of its own.
    let script = "trap '' XFSZ; ulimit -f 2000; exec \"$0\" convert in out/model.gguf";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", script]).arg(qlens().get_program()).current_dir(folder.path());
    let said = crate::util::Run::from(shell.output().expect("sh starts"));
    said.fails(74, &["out/model.gguf: ", "File too large"]);
    assert!(left(folder.path()).is_empty(), "{:?}", left(folder.path()));
}

#[cfg(unix)]
#[test]
fn a_kill_leaves_no_model() {
    let folder = scratch();
    let (input, out) = (folder.path().join("in"), folder.path().join("out"));
    let (mut checkpoint, rows, table) = (Checkpoint::reference(true), 1usize << 19, "model.embed_tokens.weight");
    *checkpoint.at("config.json", "/vocab_size") = json!(rows);
    checkpoint.tensors.remove(table);
    checkpoint.save(&input);
    // A table of half a gigabyte in a file of its own, which takes no room on the disk but some time to convert.
    let bytes = rows * 256 * 4;
    let header = json!({ table: { "dtype": "F32", "shape": [rows, 256], "data_offsets": [0, bytes] } }).to_string();
    let head = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    fs::write(input.join("big.safetensors"), &head).expect("written");
    let big = fs::OpenOptions::new().write(true).open(input.join("big.safetensors")).expect("opened");
    big.set_len((head.len() + bytes) as u64).expect("sized");
    let others = checkpoint.tensors.keys().map(|name| (name.as_str(), "model.safetensors"));
    let map: serde_json::Map<String, serde_json::Value> =
        others.chain([(table, "big.safetensors")]).map(|(name, file)| (name.to_owned(), json!(file))).collect();
    fs::write(input.join("model.safetensors.index.json"), json!({ "weight_map": map }).to_string()).expect("written");

    fs::create_dir(&out).expect("a folder");
    let target = out.join("model.gguf");
    for signal in ["-KILL", "-TERM"] {
        let args = ["convert".as_ref(), input.as_os_str(), target.as_os_str()];
        let mut child = qlens().args(args).spawn().expect("it starts");
        let start = std::time::Instant::now();
        while left(folder.path()).is_empty() && start.elapsed().as_secs() < 60 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let sent = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(sent.expect("kill runs").success(), "it was still at work");
        let code = child.wait().expect("it ends").code();
        assert_eq!(code, if signal == "-TERM" { Some(130) } else { None }, "{signal}");
        // What force left has a name that nobody takes for a model.
        for name in left(folder.path()) {
            assert!(signal == "-KILL" && name.starts_with('.') && name.ends_with(".part"), "{signal}: {name}");
            fs::remove_file(out.join(name)).expect("removed");
        }
    }
}
