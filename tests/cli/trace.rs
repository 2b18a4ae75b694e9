//! `qlens trace` against the original implementation's numbers.

use std::fs;

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use crate::util::{json, picture, reference, run, scratch, with_model};

fn i64s(tensor: &TensorView<'_>) -> Vec<i64> {
    tensor.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().expect("8 bytes"))).collect()
}

/// The golden run of the small model in Q8_0 with this medium.
fn golden(medium: usize) -> serde_json::Value {
    let golden = json(&fs::read_to_string(reference("tiny-tied/golden.json")).expect("readable"));
    let wanted = |run: &&serde_json::Value| run["text"] == "q8_0" && run["media"] == serde_json::json!([medium]);
    let run = golden["runs"].as_array().expect("a list").iter().find(wanted).expect("there is such a run").clone();
    serde_json::json!({ "run": run, "media": golden["media"][medium], "model": golden["model"] })
}

fn numbers(value: &serde_json::Value) -> Vec<i64> {
    value.as_array().expect("a list").iter().map(|n| n.as_i64().expect("a number")).collect()
}

#[test]
fn a_picture_run_has_the_promised_tensors_and_the_golden_prompt() {
    let golden = golden(1);
    let folder = scratch();
    let out = folder.path().join("out.safetensors");
    let (out_name, picture) = (out.display().to_string(), picture());
    let prompt = golden["run"]["prompt"].as_str().expect("text").to_owned();
    let bounds = ["min_pixels", "max_pixels"].map(|key| golden["media"][key].to_string());
    let forced: Vec<String> = numbers(&golden["run"]["greedy"]).iter().map(i64::to_string).collect();
    let mut args = with_model(&["trace", "-p", &prompt, "-o", &out_name, &picture]);
    args.extend(
        ["--min-pixels", &bounds[0], "--max-pixels", &bounds[1], "--force", &forced.join(",")].map(String::from),
    );
    let said = run(args);
    assert_eq!((said.code, said.stdout.as_str(), said.stderr.as_str()), (Some(0), "", ""));

    let bytes = fs::read(&out).expect("written");
    let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let tensor = |name: &str| tensors.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    let size = |key: &str| golden["model"][key].as_u64().expect("a number") as usize;
    let (wanted, steps) = (numbers(&golden["run"]["prompt_tokens"]), forced.len());
    assert_eq!(i64s(&tensor("prompt_tokens")), wanted);
    assert_eq!(tensor("positions").shape(), [3, wanted.len()]);
    let media_tokens = golden["media"]["n_tokens"].as_u64().expect("a number") as usize;
    assert_eq!(tensor("vision_out").shape(), [media_tokens, size("hidden")]);
    assert_eq!(tensor("logits").shape(), [steps, size("vocab")]);
    assert_eq!(i64s(&tensor("tokens")), numbers(&golden["run"]["greedy"]), "forced tokens come back");
}

#[test]
fn text_alone_has_no_vision_output_and_one_step() {
    let folder = scratch();
    let out = folder.path().join("out.safetensors");
    let out_name = out.display().to_string();
    let said = run(with_model(&["trace", "-p", "Hello", "-o", &out_name]));
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    let bytes = fs::read(&out).expect("written");
    let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let mut names = tensors.names();
    names.sort_unstable();
    assert_eq!(names, ["logits", "positions", "prompt_tokens", "tokens"]);
    assert_eq!(tensors.tensor("tokens").expect("there").shape(), [1]);
    assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), 1, "no temporary file stays");
}

#[test]
fn a_forced_token_outside_the_vocabulary_is_refused() {
    run(with_model(&["trace", "-p", "Hello", "-o", "never.safetensors", "--force", "5,999999"]))
        .fails(2, &["999999", "0 to 1535", "model-q8_0.gguf"]);
}

#[cfg(unix)]
#[test]
fn a_device_is_written_to_and_not_replaced() {
    let said = run(with_model(&["trace", "-p", "Hello", "-o", "/dev/null"]));
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    assert!(!fs::metadata("/dev/null").expect("there").is_file());
}
