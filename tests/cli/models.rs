//! Models at hand: laid out as each program lays them out, listed, named, shown, removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use qlens::gguf::{Gguf, GgufWriter, Tensor};
use serde_json::Value;

use crate::util::{Run, json, picture, qlens, reference, scratch};

const TEXT: &str = "tiny-tied/model-q8_0.gguf";
const TOWER: &str = "tiny-tied/mmproj-q8_0.gguf";

/// A home folder in which programs have left their models.
pub struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    pub fn new() -> Home {
        Home { folder: scratch() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file of the reference data there.
    fn put(&self, from: &str, to: &str) -> PathBuf {
        let to = self.path(to);
        fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        fs::copy(reference(from), &to).expect("copied");
        to
    }

    fn write(&self, to: &str, text: &str) {
        let to = self.path(to);
        fs::create_dir_all(to.parent().expect("a folder")).expect("made");
        fs::write(to, text).expect("written");
    }

    /// The program of the person who lives here.
    pub fn qlens(&self) -> Command {
        let mut command = qlens();
        let home = self.folder.path();
        command.env("HOME", home).env("XDG_CACHE_HOME", home.join(".cache")).env("XDG_DATA_HOME", home.join("data"));
        command.env("XDG_CONFIG_HOME", home.join("config")).env("OLLAMA_MODELS", home.join("ollama"));
        command
    }

    pub fn run(&self, args: &[&str]) -> Run {
        self.qlens().args(args).output().expect("the program starts").into()
    }

    fn list(&self) -> Value {
        json(self.run(&["list", "--json"]).answer())
    }
}

/// `[name, type, kind, holder]` of each model.
fn rows(listing: &Value) -> Vec<[String; 4]> {
    let text = |m: &Value, key: &str| m[key].as_str().expect("a text").to_owned();
    let models = listing["models"].as_array().expect("a list");
    models.iter().map(|m| ["name", "type", "kind", "holder"].map(|key| text(m, key))).collect()
}

/// As huggingface_hub lays it out: blobs, and links to them in a snapshot.
#[cfg(unix)]
fn hugging_face(home: &Home) {
    let repo = ".cache/huggingface/hub/models--some-org--Tiny-VL-GGUF";
    home.write(&format!("{repo}/refs/main"), "0123abcd");
    for (from, name, revision) in
        [(TEXT, "Tiny-VL-Q8_0.gguf", "0123abcd"), (TOWER, "mmproj-Tiny-VL-Q8_0.gguf", "ffff0000")]
    {
        let blob = home.put(from, &format!("{repo}/blobs/{}", name.len()));
        let link = home.path(&format!("{repo}/snapshots/{revision}/{name}"));
        fs::create_dir_all(link.parent().expect("a folder")).expect("made");
        let up = Path::new("../../blobs").join(blob.file_name().expect("a name"));
        std::os::unix::fs::symlink(up, link).expect("linked");
    }
    // What is still being downloaded.
    home.write(&format!("{repo}/blobs/abc.incomplete"), "GGUF");
}

#[cfg(unix)]
#[test]
fn hugging_faces_cache_is_found_and_its_files_run() {
    let home = Home::new();
    hugging_face(&home);
    let wanted = ["some-org/Tiny-VL-GGUF:Q8_0", "Q8_0", "pair", "Hugging Face"].map(str::to_owned);
    assert_eq!(rows(&home.list()), [wanted]);
    // By its name, without the type, in other letters, and moved by either variable.
    let direct: Run = {
        let files = [reference(TEXT).display().to_string(), reference(TOWER).display().to_string()];
        home.run(&["describe", &picture(), "-m", &files[0], "--mmproj", &files[1], "--max-tokens", "8"])
    };
    for name in ["some-org/Tiny-VL-GGUF:Q8_0", "some-org/tiny-vl-gguf", "Some-Org/Tiny-VL-GGUF:q8_0", "Tiny-VL-Q8_0"] {
        let run = home.run(&["describe", &picture(), "-m", name, "--max-tokens", "8"]);
        assert_eq!(run.answer(), direct.answer(), "{name}");
    }
    let moved = home.path("elsewhere");
    fs::rename(home.path(".cache/huggingface"), &moved).expect("moved");
    assert_eq!(rows(&home.list()).len(), 0);
    for (variable, place) in [("HF_HOME", moved.clone()), ("HF_HUB_CACHE", moved.join("hub"))] {
        let found = home.qlens().args(["list", "--json"]).env(variable, place).output().expect("starts");
        assert_eq!(rows(&json(Run::from(found).answer())).len(), 1, "{variable}");
    }
}

#[test]
fn llama_cpps_cache_is_found_by_its_manifests() {
    let home = Home::new();
    let cache = ".cache/llama.cpp";
    for repo in ["Tiny-VL-GGUF", "Tiny"] {
        home.write(&format!("{cache}/manifest=some-org={repo}=latest.json"), r#"{"ggufFile":{"rfilename":"x.gguf"}}"#);
        home.put(TEXT, &format!("{cache}/some-org_{repo}_model-Q8_0.gguf"));
    }
    home.put(TOWER, &format!("{cache}/some-org_Tiny-VL-GGUF_mmproj-Q8_0.gguf"));
    home.put("tiny-untied/model-f32.gguf", &format!("{cache}/by-hand.gguf"));
    home.write(&format!("{cache}/some-org_Tiny_other.gguf.downloadInProgress"), "GGUF");
    let found = rows(&home.list());
    let wanted = [
        ["by-hand", "F32", "text", "llama.cpp"],
        ["some-org/Tiny:Q8_0", "Q8_0", "text", "llama.cpp"],
        ["some-org/Tiny-VL-GGUF:Q8_0", "Q8_0", "pair", "llama.cpp"],
    ];
    assert_eq!(found, wanted.map(|row| row.map(str::to_owned)));
    let moved =
        home.qlens().args(["list", "--json"]).env("LLAMA_CACHE", home.path("nothing")).output().expect("starts");
    assert_eq!(rows(&json(Run::from(moved).answer())).len(), 0);
}

/// Ollama's manifest of a model with these layers.
fn ollama(home: &Home, name: &str, layers: &[(&str, &str)]) {
    let layer = |(kind, digest): &(&str, &str)| {
        format!(r#"{{"mediaType":"application/vnd.ollama.image.{kind}","digest":"{digest}","size":1}}"#)
    };
    let layers: Vec<String> = layers.iter().map(layer).collect();
    home.write(
        &format!("ollama/manifests/{name}"),
        &format!(r#"{{"schemaVersion":2,"layers":[{}]}}"#, layers.join(",")),
    );
}

#[test]
fn ollamas_manifests_and_blobs_are_found() {
    let home = Home::new();
    let digest = |c: char| format!("sha256:{}", c.to_string().repeat(64));
    let blob = |c: char| format!("ollama/blobs/sha256-{}", c.to_string().repeat(64));
    home.put(TEXT, &blob('a'));
    home.put(TOWER, &blob('b'));
    ollama(&home, "registry.example/library/tiny-vl/8b", &[("model", &digest('a')), ("projector", &digest('b'))]);
    ollama(&home, "registry.example/someone/tiny-vl/latest", &[("model", &digest('a')), ("license", &digest('c'))]);
    ollama(&home, "hub.example/owner/repo/Q8_0", &[("model", &digest('a')), ("projector", &digest('b'))]);
    // A digest that leads out of the folder, and files that are no manifests.
    ollama(&home, "registry.example/library/evil/latest", &[("model", "sha256:../../../secret")]);
    home.write("ollama/manifests/registry.example/library/broken/latest", "{");
    home.write("ollama/manifests/stray", "{}");
    let found = rows(&home.list());
    let wanted = [
        ["hub.example/owner/repo:Q8_0", "Q8_0", "pair", "Ollama"],
        ["tiny-vl:8b", "Q8_0", "pair", "Ollama"],
        ["someone/tiny-vl:latest", "Q8_0", "text", "Ollama"],
    ];
    assert_eq!(found, wanted.map(|row| row.map(str::to_owned)));
    home.run(&["describe", &picture(), "-m", "tiny-vl:8b", "--max-tokens", "4"]).answer();
    home.run(&["chat", "-p", "Hello", "-m", "someone/tiny-vl", "--max-tokens", "4"]).answer();
}

#[test]
fn lm_studios_folders_are_found_wherever_they_were_moved() {
    for models in [".lmstudio/models", ".cache/lm-studio/models", "moved/models"] {
        let home = Home::new();
        if models.starts_with("moved") {
            home.write(".lmstudio-home-pointer", &format!("{}\n", home.path("moved").display()));
        }
        home.put(TEXT, &format!("{models}/publisher/Tiny-VL/Tiny-VL-Q8_0.gguf"));
        home.put(TOWER, &format!("{models}/publisher/Tiny-VL/mmproj-Tiny-VL-f16.gguf"));
        let found = rows(&home.list());
        assert_eq!(found, [["publisher/Tiny-VL:Q8_0", "Q8_0", "pair", "LM Studio"].map(str::to_owned)], "{models}");
    }
}

#[test]
fn our_own_folder_comes_first_and_can_be_elsewhere() {
    let home = Home::new();
    home.put(TEXT, "data/qlens/models/o/r/m-Q8_0.gguf");
    home.put(TEXT, ".lmstudio/models/o/r/m-Q8_0.gguf");
    home.put(TOWER, "data/qlens/models/o/r/mmproj-m-Q8_0.gguf");
    let holders: Vec<String> =
        rows(&home.list()).into_iter().map(|[_, _, kind, holder]| format!("{holder} {kind}")).collect();
    assert_eq!(holders, ["qlens pair", "LM Studio text"]);
    // The same name twice: the one that can see is meant.
    home.run(&["describe", &picture(), "-m", "o/r:Q8_0", "--max-tokens", "4"]).answer();
    let elsewhere = home.path("elsewhere").display().to_string();
    assert_eq!(rows(&json(home.run(&["list", "--json", "--models", &elsewhere]).answer())).len(), 1);
}

#[test]
fn what_cannot_be_run_is_left_out_and_told_with_the_reason() {
    let home = Home::new();
    let own = "data/qlens/models/o/r";
    home.put(TEXT, &format!("{own}/good-Q8_0.gguf"));
    home.write(&format!("{own}/junk.gguf"), "not a model");
    let whole = fs::read(reference(TEXT)).expect("read");
    fs::write(home.path(&format!("{own}/cut.gguf")), &whole[..whole.len() - 1000]).expect("written");
    let mut other = GgufWriter::new();
    other.metadata("general.architecture", "llama").expect("fits");
    other.write_file(&home.path(&format!("{own}/other.gguf")), &mut |_, _| Ok(())).expect("written");
    unknown_type(&home.path(&format!("{own}/rare.gguf")));
    let listing = home.list();
    assert_eq!(rows(&listing).len(), 1, "{listing}");
    let quiet = home.run(&["list"]);
    assert!(quiet.answer().contains("good") || quiet.answer().contains("o/r:Q8_0"), "{quiet:?}");
    assert!(quiet.stderr.contains("4 other GGUF files"), "{quiet:?}");
    let told = home.run(&["list", "-v"]).stderr;
    for (file, reason) in [("junk", "not a GGUF file"), ("cut", "truncated"), ("other", "`llama`"), ("rare", "type I8")]
    {
        let line =
            told.lines().find(|l| l.contains(&format!("{file}.gguf"))).unwrap_or_else(|| panic!("{file}: {told}"));
        assert!(line.contains(reason) && line.matches(".gguf").count() == 1, "{line}");
    }
}

/// The reference model with a matrix of a type that there is no kernel for.
fn unknown_type(path: &Path) {
    let gguf = Gguf::open(&reference(TEXT)).expect("opens");
    let mut out = GgufWriter::new();
    for (key, value) in gguf.metadata().iter() {
        out.metadata(key, value.clone()).expect("fits");
    }
    let rare = qlens::gguf::GgmlType::from_u32(24).expect("I8");
    out.tensor("rare.weight", rare, &[256, 1]).expect("fits");
    let tensors: Vec<&Tensor> = gguf.tensors().collect();
    for t in &tensors {
        out.tensor(t.name(), t.ty(), t.dims()).expect("fits");
    }
    out.tensor("rare2.weight", rare, &[256, 2]).expect("fits");
    let fill = &mut |i: usize, to: &mut dyn std::io::Write| match i {
        0 => to.write_all(&[0; 256]),
        i if i <= tensors.len() => to.write_all(tensors[i - 1].bytes()),
        _ => to.write_all(&[0; 512]),
    };
    out.write_file(path, fill).expect("written");
}

#[test]
fn a_name_that_nothing_is_called_by_says_what_to_do() {
    let home = Home::new();
    home.run(&["chat", "-p", "x", "-m", "owner/repo:Q4_K_M"])
        .fails(69, &["owner/repo:Q4_K_M", "qlens pull owner/repo:Q4_K_M"]);
    home.run(&["chat", "-p", "x", "-m", "qwen2.5-vl-3b"]).fails(69, &["qlens pull qwen2.5-vl-3b"]);
    home.run(&["chat", "-p", "x", "-m", "what"]).fails(69, &["`what`", "qlens pull"]);
    home.run(&["show", "what"]).fails(69, &["`what`"]);
    home.run(&["rm", "what", "-y"]).fails(69, &["`what`"]);
    // A path stays a path.
    home.run(&["chat", "-p", "x", "-m", "./what"]).fails(66, &["./what"]);
    home.run(&["chat", "-p", "x", "-m", "what.gguf"]).fails(66, &["what.gguf"]);
}

#[test]
fn an_empty_computer_is_told_how_to_begin() {
    let said = Home::new().run(&["list"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), ""), "{said:?}");
    assert!(said.stderr.contains("qlens pull qwen2.5-vl-3b"), "{said:?}");
}

#[test]
fn a_catalog_model_is_found_under_its_short_name() {
    let home = Home::new();
    let repo = "data/qlens/models/ggml-org/Qwen2.5-VL-3B-Instruct-GGUF";
    home.put(TEXT, &format!("{repo}/Qwen2.5-VL-3B-Instruct-Q8_0.gguf"));
    home.put(TOWER, &format!("{repo}/mmproj-Qwen2.5-VL-3B-Instruct-Q8_0.gguf"));
    for name in ["qwen2.5-vl-3b", "qwen2.5-vl-3b:q8_0"] {
        home.run(&["describe", &picture(), "-m", name, "--max-tokens", "4"]).answer();
    }
    home.run(&["chat", "-p", "x", "-m", "qwen2.5-vl-3b:Q4_0"]).fails(69, &["qlens pull qwen2.5-vl-3b:Q4_0"]);
}

#[test]
fn show_tells_what_it_is_and_what_fits() {
    let home = Home::new();
    home.put(TEXT, "data/qlens/models/o/r/m-Q8_0.gguf");
    let here = json(home.run(&["show", "o/r", "--json"]).answer());
    assert_eq!(
        (here["model"]["type"].as_str(), here["card"]["layers"].as_u64().map(|n| n > 0)),
        (Some("Q8_0"), Some(true))
    );
    let needs = here["memory"]["needs"].as_array().expect("a list");
    let bytes: Vec<u64> = needs.iter().map(|n| n["bytes"].as_u64().expect("a number")).collect();
    assert!(bytes.is_sorted() && bytes[0] > here["model"]["bytes"].as_u64().expect("a number"), "{here}");
    let known = home.run(&["show", "qwen2.5-vl-72b"]);
    assert!(known.answer().contains("qlens pull qwen2.5-vl-72b") && known.stdout.contains("F16"), "{known:?}");
    let known = json(home.run(&["show", "qwen2.5-vl-7b", "--json"]).answer());
    assert!(known["model"].is_null() && known["catalog"] == "qwen2.5-vl-7b", "{known}");
}

#[test]
fn rm_removes_ours_and_nothing_else() {
    let home = Home::new();
    let own = "data/qlens/models";
    let files = ["o/r/m-Q8_0.gguf", "o/r/m-F16.gguf"].map(|name| home.put(TEXT, &format!("{own}/{name}")));
    let tower = home.put(TOWER, &format!("{own}/o/r/mmproj-m-Q8_0.gguf"));
    let theirs = home.put(TEXT, ".lmstudio/models/p/q/n-Q8_0.gguf");
    let halves = [".part", ".part.json"].map(|end| home.put(TEXT, &format!("{own}/o/r/m-Q8_0.gguf{end}")));
    home.run(&["rm", "o/r:Q8_0"]).fails(2, &["--yes"]);
    home.run(&["rm", "p/q:Q8_0", "-y"]).fails(2, &["LM Studio"]);
    assert_eq!(home.run(&["rm", "o/r:Q8_0", "-y"]).code, Some(0));
    assert_eq!([&files[0], &files[1], &tower].map(|f| f.exists()), [false, true, true], "the other needs the tower");
    assert!(halves.iter().all(|half| !half.exists()), "what was left of a download goes too");
    assert_eq!(home.run(&["rm", "o/r:F16", "-y"]).code, Some(0));
    assert!(!home.path(&format!("{own}/o")).exists() && home.path(own).exists(), "empty folders go too");
    assert!(theirs.exists());
}
