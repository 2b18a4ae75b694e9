//! `qlens quantize` and `qlens imatrix`.
#![cfg_attr(not(feature = "ggml"), allow(unused_imports))]

use std::fs;
use std::path::Path;

use crate::util::{json, picture, reference, run, scratch};

fn source(name: &str) -> String {
    reference("tiny-tied").join(name).display().to_string()
}

/// What is in a folder, by name.
fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("readable").map(|e| e.expect("an entry").file_name());
    let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Asserts that ggml's own reader finds in a file what ours does.
#[cfg(feature = "ggml")]
pub fn ggml_reads_alike(file: &str) {
    let ours = qlens::gguf::Gguf::open(Path::new(file)).expect("our own file");
    let theirs = ggml_sys::contents(Path::new(file)).unwrap_or_else(|| panic!("ggml can't read {file}"));
    assert_eq!(theirs.entries, ours.metadata().iter().len(), "{file}");
    let bytes = fs::read(file).expect("read");
    let mut names: Vec<&str> = theirs.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    for tensor in &theirs.tensors {
        let own = ours.tensor(&tensor.name).unwrap_or_else(|| panic!("{}", tensor.name));
        assert_eq!(qlens::gguf::GgmlType::from_u32(tensor.ty), Some(own.ty()), "{}", tensor.name);
        assert!(bytes[theirs.data_offset + tensor.offset..].starts_with(own.bytes()), "{}", tensor.name);
    }
    let mut own: Vec<&str> = ours.tensors().map(qlens::gguf::Tensor::name).collect();
    names.sort_unstable();
    own.sort_unstable();
    assert_eq!(names, own, "{file}");
}

#[cfg(feature = "ggml")]
#[test]
fn a_pair_is_made_smaller_and_answers() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (model, mmproj) = (path("model.gguf"), path("mmproj.gguf"));
    for (from, to, mix) in [("model-f16.gguf", &model, "q4_k_m"), ("mmproj-f16.gguf", &mmproj, "Q8_0")] {
        let said = run(["quantize", &source(from), to, mix]);
        assert_eq!((said.code, said.stdout.as_str()), (Some(0), ""), "{said:#?}");
        assert!(said.stderr.contains("bits per weight"), "{said:#?}");
    }
    assert_eq!(files(folder.path()), ["mmproj.gguf", "model.gguf"]);
    run(["describe", &picture(), "-m", &model, "--mmproj", &mmproj, "--max-tokens", "4"]).answer();
    [&model, &mmproj].into_iter().for_each(|file| ggml_reads_alike(file));
    let made = json(run(["inspect", "--json", &model]).answer());
    assert_eq!(
        (&made["metadata"]["general.file_type"], &made["metadata"]["general.quantization_version"]),
        (&15.into(), &2.into())
    );
    let before = json(run(["inspect", "--json", &source("model-f16.gguf")]).answer());
    for (key, value) in before["metadata"].as_object().expect("an object") {
        if !["general.file_type", "general.quantization_version"].contains(&key.as_str()) {
            assert!(made["metadata"][key] == *value, "{key} is kept");
        }
    }
}

#[cfg(feature = "ggml")]
#[test]
fn a_dry_run_tells_the_truth_and_makes_nothing() {
    let folder = scratch();
    let out = folder.path().join("out.gguf").display().to_string();
    let model = source("model-f16.gguf");
    let command = ["quantize", &model, &out, "Q5_K_S"];
    let told = run([&command[..], &["--dry-run"]].concat());
    assert!(told.answer().contains("token_embd.weight") && told.stdout.contains("→ Q5_K"), "{told:#?}");
    let plan = json(run([&command[..], &["--dry-run", "--json"]].concat()).answer());
    assert_eq!((files(folder.path()), &plan["dry_run"]), (Vec::new(), &true.into()));
    let done = json(run([&command[..], &["--json"]].concat()).answer());
    assert_eq!((&done["tensors"], &done["bytes_after"]), (&plan["tensors"], &plan["bytes_after"]));
    let found = json(run(["inspect", "--json", &out]).answer());
    for (planned, found) in
        plan["tensors"].as_array().expect("a list").iter().zip(found["tensors"].as_array().expect("a list"))
    {
        assert_eq!(
            (&planned["name"], &planned["to"], &planned["bytes"]),
            (&found["name"], &found["type"], &found["bytes"])
        );
    }
}

#[test]
fn nothing_is_overwritten() {
    let folder = scratch();
    let out = folder.path().join("out.gguf");
    fs::write(&out, "mine").expect("written");
    let said = run(["quantize", &source("model-f16.gguf"), &out.display().to_string(), "BF16"]);
    said.fails(2, &["out.gguf", "exists already"]);
    assert_eq!(fs::read(&out).expect("there"), b"mine");
    assert_eq!(files(folder.path()), ["out.gguf"]);
}

#[test]
fn bad_input_is_told_in_one_line_and_leaves_nothing() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let whole = fs::read(source("model-f16.gguf")).expect("readable");
    fs::write(path("short.gguf"), &whole[..whole.len() / 2]).expect("written");
    fs::write(path("text.gguf"), "no model at all").expect("written");
    // The last tensor's end becomes NaN, whatever float it is.
    let mut nan = whole.clone();
    let end = nan.len() - 64;
    nan[end..].fill(0xff);
    fs::write(path("nan.gguf"), nan).expect("written");
    let before = files(folder.path());
    let quantize = |input: &str| run(["quantize", &path(input), &path("out.gguf"), "BF16"]);
    quantize("short.gguf").fails(65, &["short.gguf", "truncated"]);
    quantize("text.gguf").fails(65, &["text.gguf", "not a GGUF file"]);
    quantize("nan.gguf").fails(65, &["nan.gguf", "tensor `", "row ", "NaN"]);
    quantize("none.gguf").fails(66, &["none.gguf"]);
    run(["quantize", &source("model-q8_0.gguf"), &path("out.gguf"), "BF16"])
        .fails(2, &["Q8_0 already", "--allow-requantize"]);
    run(["quantize", &source("model-f16.gguf"), &path("no/out.gguf"), "BF16"]).fails(74, &["no/out.gguf"]);
    run(["quantize", &source("model-f16.gguf"), &path("out.gguf"), "BF16", "--imatrix", &path("none.dat")])
        .fails(66, &["none.dat"]);
    run(["quantize", &source("model-f16.gguf"), &path("out.gguf"), "BF16", "--imatrix", &path("text.gguf")])
        .fails(65, &["text.gguf", "no importance matrix"]);
    assert_eq!(files(folder.path()), before);
}

#[cfg(feature = "ggml")]
#[test]
fn few_bits_need_an_importance_matrix() {
    let folder = scratch();
    let out = folder.path().join("out.gguf").display().to_string();
    run(["quantize", &source("model-f16.gguf"), &out, "IQ2_XXS"]).fails(2, &["IQ2_XXS", "--imatrix"]);
    assert_eq!(files(folder.path()), Vec::<String>::new());
}

#[cfg(not(feature = "ggml"))]
#[test]
fn without_ggml_it_says_so() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name).display().to_string();
    run(["quantize", &source("model-f16.gguf"), &path("out.gguf"), "Q4_K_M"])
        .fails(1, &["built without ggml", "feature `ggml`"]);
    assert_eq!(run(["quantize", &source("model-f16.gguf"), &path("bf16.gguf"), "BF16"]).code, Some(0));
    assert_eq!(files(folder.path()), ["bf16.gguf"]);
}

/// A disk that takes no more: here, a limit for files, whose signal the shell ignores for us.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_nothing_behind() {
    let folder = scratch();
    let out = folder.path().join("out.gguf");
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_qlens")]);
    let said = shell.args(["quantize", &source("model-f16.gguf")]).arg(&out).arg("BF16").output().expect("sh is there");
    let said = crate::util::Run::from(said);
    said.fails(74, &["out.gguf"]);
    assert_eq!(files(folder.path()), Vec::<String>::new());
}

/// Killed in the middle of a type that takes long, by Ctrl-C and by force.
#[cfg(all(unix, feature = "ggml"))]
#[test]
fn no_kill_leaves_a_file_that_looks_whole() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use qlens::gguf::{GgmlType, GgufWriter, Value};

    let folder = scratch();
    let (input, out) = (folder.path().join("in.gguf"), folder.path().join("out.gguf"));
    let mut writer = GgufWriter::new();
    writer.metadata("general.architecture", "qwen2vl").expect("new");
    for key in ["block_count", "attention.head_count"] {
        writer.metadata(&format!("qwen2vl.{key}"), Value::U32(1)).expect("new");
    }
    writer.tensor("blk.0.ffn_up.weight", GgmlType::F32, &[4096, 4096]).expect("fits");
    let row: Vec<u8> = (0..4096u32).flat_map(|i| ((i * 37 % 255) as f32 * 0.01 - 1.0).to_le_bytes()).collect();
    let fill = &mut |_: usize, out: &mut dyn std::io::Write| (0..4096).try_for_each(|_| out.write_all(&row));
    writer.write_file(&input, fill).expect("written");
    for signal in ["-KILL", "-INT"] {
        let mut command = crate::util::qlens();
        command.args(["quantize", "--threads", "1"]).args([&input, &out]).arg("IQ3_S");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
        let start = Instant::now();
        while files(folder.path()).len() < 2 {
            assert!(start.elapsed() < Duration::from_secs(60) && child.try_wait().expect("known").is_none());
            std::thread::sleep(Duration::from_millis(1));
        }
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill is there");
        assert!(sent.success());
        let ended = child.wait().expect("ends");
        assert!(!out.exists(), "{signal}");
        if signal == "-INT" {
            assert_eq!(ended.code(), Some(130));
            assert_eq!(files(folder.path()), ["in.gguf"]);
        }
        // What force left has a name that nobody takes for a model.
        for name in files(folder.path()).iter().filter(|name| *name != "in.gguf") {
            assert!(name.starts_with(".qlens-") && name.ends_with(".part"), "{name}");
            fs::remove_file(folder.path().join(name)).expect("removed");
        }
    }
}

#[cfg(feature = "ggml")]
#[test]
fn an_importance_matrix_is_made_and_used() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (imatrix, out) = (path("imatrix.gguf"), path("out.gguf"));
    let (text, tower) = (source("model-f16.gguf"), source("mmproj-f16.gguf"));
    let model = ["-m", &text, "--mmproj", &tower, "--max-tokens", "8"];
    let said = run([&["imatrix", &picture(), "-p", "What is it?", "-p", "Why?", "-o", &imatrix][..], &model].concat());
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), ""), "{said:#?}");
    assert!(said.stderr.contains("2 conversations"), "{said:#?}");
    run([&["imatrix", "-p", "Why?", "-o", &imatrix][..], &model].concat())
        .fails(2, &["imatrix.gguf", "exists already"]);
    run([&["imatrix", "-o", &path("none.gguf")][..], &model].concat()).fails(2, &["--prompts"]);
    let found = json(run(["inspect", "--json", &imatrix]).answer());
    assert_eq!(found["metadata"]["general.type"], "imatrix");
    let names: Vec<&str> =
        found["tensors"].as_array().expect("a list").iter().filter_map(|t| t["name"].as_str()).collect();
    for name in ["blk.0.attn_q.weight.in_sum2", "blk.0.ffn_down.weight.counts", "v.blk.0.ffn_down.weight.in_sum2"] {
        assert!(names.contains(&name), "no {name} in {names:?}");
    }
    let said = run(["quantize", &source("model-f16.gguf"), &out, "IQ3_XXS", "--imatrix", &imatrix]);
    assert_eq!(said.code, Some(0), "{said:#?}");
    let made = json(run(["inspect", "--json", &out]).answer());
    assert_eq!(made["metadata"]["quantize.imatrix.file"], imatrix.as_str());
    assert_eq!(made["metadata"]["quantize.imatrix.entries_count"].as_u64(), Some(names.len() as u64 / 2));
    let said = run(["describe", &picture(), "-m", &out, "--mmproj", &source("mmproj-f16.gguf"), "--max-tokens", "4"]);
    said.answer();
    assert!(said.stderr.contains("IQ3_XXS") && said.stderr.contains("slower"), "{said:#?}");
}
