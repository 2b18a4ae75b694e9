//! The tables of the original tokenizer and chat template, all cases.
//!
//! They lie in the folder that `QLENS_REFERENCE` names, else in the project's own copy. A folder may lack a file: its test
//! says so and passes.

use std::path::{Path, PathBuf};

use qlens::gguf::Gguf;
use qlens::text::{ChatTemplate, Content, Message, RenderOptions, Role, Special, TokenKind, Tokenizer};
use serde_json::Value;
use unicode_normalization_alignments::UnicodeNormalization;

/// A file of the reference folder, or `None` with a line where it isn't there.
fn reference(name: &str) -> Option<PathBuf> {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference");
    let path = std::env::var_os("QLENS_REFERENCE").map_or_else(own, PathBuf::from).join(name);
    if !path.exists() {
        println!("{} isn't there: nothing to compare", path.display());
        return None;
    }
    Some(path)
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|v| u32::try_from(v.as_u64().unwrap()).unwrap()).collect()
}

/// Fails with all problems at once, and counts what was compared.
fn report(what: &str, compared: usize, problems: &[String]) {
    assert!(compared > 0, "{what}: the table is empty");
    assert!(problems.is_empty(), "{what}: {} of {compared} differ:\n{}", problems.len(), problems.join("\n"));
    println!("{what}: {compared} agree");
}

fn nfc(text: &str) -> String {
    text.nfc().map(|(c, _)| c).collect()
}

fn compare_tokens(tokenizer: &Tokenizer, cases: &Value) -> (usize, Vec<String>) {
    let cases = cases.as_array().unwrap();
    let mut problems = Vec::new();
    for case in cases {
        let (text, want) = (case["text"].as_str().unwrap(), ids(&case["ids"]));
        let got = tokenizer.encode(text, Special::Parse);
        if got != want {
            problems.push(format!("{text:?}\n  got    {got:?}\n  wanted {want:?}"));
        }
        let back = tokenizer.decode(&got);
        // Text is normalized piece by piece between special tokens; so a mark behind one stays what it is.
        let same = if got.iter().any(|&id| tokenizer.kind(id) != Some(TokenKind::Normal)) {
            nfc(&back) == nfc(text)
        } else {
            back == nfc(text)
        };
        if !same {
            problems.push(format!("{text:?}\n  comes back as {back:?}"));
        }
    }
    (cases.len(), problems)
}

#[test]
fn reference_tables_tokenizer() {
    let (Some(table), Some(vocab)) = (reference("tokenizer_cases.json"), reference("qwen2.5-vocab.gguf")) else {
        return;
    };
    let tokenizer = Tokenizer::from_gguf(Gguf::open(&vocab).unwrap().metadata()).unwrap();
    let (n, problems) = compare_tokens(&tokenizer, &read_json(&table));
    report("texts", n, &problems);
}

/// The hardest texts, made by `scripts/make-text-golden`; always with the project's own vocabulary.
#[test]
fn hard_texts_have_the_original_ids() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let vocab = Gguf::open(&tests.join("reference/qwen2.5-vocab.gguf")).unwrap();
    let tokenizer = Tokenizer::from_gguf(vocab.metadata()).unwrap();
    let folder = std::env::var_os("QLENS_TEXT_GOLDEN").map_or_else(|| tests.join("text"), PathBuf::from);
    let (n, problems) = compare_tokens(&tokenizer, &read_json(&folder.join("hard_texts.json")));
    report("hard texts", n, &problems);
}

fn messages(value: &Value) -> Vec<Message> {
    let content = |item: &Value| match item["type"].as_str().unwrap() {
        "text" => Content::Text(item["text"].as_str().unwrap().to_owned()),
        "image" => Content::Image,
        "video" => Content::Video,
        other => panic!("content of type {other}"),
    };
    let message = |m: &Value| {
        let role = Role::from_name(m["role"].as_str().unwrap()).unwrap();
        match &m["content"] {
            Value::String(text) => Message::text(role, text),
            items => Message::new(role, items.as_array().unwrap().iter().map(content).collect()),
        }
    };
    value.as_array().unwrap().iter().map(message).collect()
}

#[test]
fn reference_tables_chat_template() {
    let (Some(table), Some(vocab)) = (reference("chat_template_cases.json"), reference("qwen2.5-vocab.gguf")) else {
        return;
    };
    let template = ChatTemplate::from_gguf(Gguf::open(&vocab).unwrap().metadata()).unwrap();
    let table = read_json(&table);
    let cases = table.as_array().unwrap();
    let mut problems = Vec::new();
    for case in cases {
        let flag = |key: &str| case[key].as_bool().unwrap_or(false);
        let opts = RenderOptions {
            add_generation_prompt: flag("add_generation_prompt"),
            add_vision_id: flag("add_vision_id"),
            tools: case["tools"].as_array().cloned().unwrap_or_default(),
        };
        match template.render(&messages(&case["messages"]), &opts) {
            Ok(prompt) if Some(&*prompt.text()) == case["text"].as_str() => {}
            other => problems.push(format!("{}\n  got    {other:?}\n  wanted {}", case["messages"], case["text"])),
        }
    }
    report("prompts", cases.len(), &problems);
}

/// The prompts of the reference runs: template, tokenizer and the room for media, on each model of the folder.
#[test]
fn reference_tables_tokenizer_prompts() {
    let Some(folder) = reference("") else { return };
    let mut models: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    models.sort();
    let (mut compared, mut problems) = (0, Vec::new());
    for model in models.iter().filter(|p| p.join("golden.json").exists()) {
        let golden = read_json(&model.join("golden.json"));
        for run in golden["runs"].as_array().unwrap().iter().filter(|r| model_file(model, r).exists()) {
            compared += 1;
            if let Some(problem) = compare_prompt(model, &golden, run) {
                problems.push(format!("{} {}: {problem}", model.display(), run["key"]));
            }
        }
    }
    if compared > 0 {
        report("prompts of runs", compared, &problems);
    }
}

fn compare_prompt(model: &Path, golden: &Value, run: &Value) -> Option<String> {
    let gguf = Gguf::open(&model_file(model, run)).unwrap();
    let tokenizer = Tokenizer::from_gguf(gguf.metadata()).unwrap();
    let template = ChatTemplate::from_gguf(gguf.metadata()).unwrap();
    let medium = |i: &Value| &golden["media"][i.as_u64().unwrap() as usize];
    let place = |m: &Value| if m["kind"] == "video" { Content::Video } else { Content::Image };
    let part = |p: &Value| p.as_str().map_or_else(|| place(medium(p)), |text| Content::Text(text.to_owned()));
    let media = run["media"].as_array().unwrap();
    let content = match run["prompt_parts"].as_array() {
        Some(parts) => parts.iter().map(part).collect(),
        None => media.iter().chain([&run["prompt"]]).map(part).collect(),
    };
    let opts = RenderOptions { add_generation_prompt: true, ..RenderOptions::default() };
    let prompt = template.render(&[Message::new(Role::User, content)], &opts).unwrap();
    let counts: Vec<usize> = media.iter().map(|m| medium(m)["n_tokens"].as_u64().unwrap() as usize).collect();
    let (got, places) = tokenizer.expand_media(&tokenizer.encode_prompt(&prompt), &counts).unwrap();
    let want = ids(&run["prompt_tokens"]);
    if got != want {
        return Some(format!("got {got:?}, wanted {want:?}"));
    }
    let lengths: Vec<usize> = places.iter().map(|r| r.len()).collect();
    (lengths != counts).then(|| format!("places {places:?}"))
}

fn model_file(model: &Path, run: &Value) -> PathBuf {
    model.join(format!("model-{}.gguf", run["text"].as_str().unwrap()))
}
