//! The tokenizer: from `tokenizer.json`, or from `vocab.json` and `merges.txt`, to what a GGUF file holds of it.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::ConvertError;
use super::error::TokenizerProblem;
use super::folder::{Folder, Settings, shown};

/// Qwen2's rule for splitting text, which GGUF files call `qwen2`.
const SPLIT: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

// What a token is for, as numbers in the file.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

/// A tokenizer as a GGUF file holds it.
#[derive(Debug)]
pub(super) struct Vocab {
    pub tokens: Vec<String>,
    pub types: Vec<i32>,
    pub merges: Vec<String>,
    /// `bos`, `eos`, `unk`, `padding`… and the token's number, in the order in which they were found.
    pub special: Vec<(&'static str, u32)>,
    /// `add_bos_token` and the like.
    pub add: Vec<(&'static str, bool)>,
    pub template: Option<String>,
}

/// The kinds of special token: in the folder's files, and in GGUF files.
const SPECIAL: [(&str, &str); 7] = [
    ("bos", "bos"),
    ("eos", "eos"),
    ("unk", "unknown"),
    ("sep", "seperator"),
    ("pad", "padding"),
    ("cls", "cls"),
    ("mask", "mask"),
];

/// A token that was added to the vocabulary.
#[derive(Debug)]
struct Added {
    text: String,
    id: u64,
    special: bool,
}

/// What the folder's files say, before it is laid out.
struct Raw {
    file: PathBuf,
    vocab: Map<String, Value>,
    added: Vec<Added>,
    merges: Vec<String>,
}

impl Vocab {
    /// Reads the tokenizer for an embedding table of `rows` rows. `config` may name special tokens.
    pub fn read(folder: &Folder, config: &Settings, rows: usize) -> Result<Vocab, ConvertError> {
        let settings = folder.json("tokenizer_config.json")?;
        let raw = match folder.json("tokenizer.json")? {
            Some(whole) => from_one_file(folder, &whole)?,
            None => from_two_files(folder, settings.as_ref())?,
        };
        if raw.merges.is_empty() {
            return Err(raw.wrong(TokenizerProblem::NoMerges));
        }
        let (tokens, types) = raw.table(rows)?;
        let (special, add) = special_tokens(folder, settings.as_ref(), config, &raw)?;
        let template = template(folder, settings.as_ref())?;
        Ok(Vocab { tokens, types, merges: raw.merges, special, add, template })
    }
}

impl Raw {
    fn wrong(&self, problem: TokenizerProblem) -> ConvertError {
        ConvertError::Tokenizer { file: self.file.clone(), problem }
    }

    /// The tokens by number, and what each is for; numbers without a token are called `[PAD…]`.
    fn table(&self, rows: usize) -> Result<(Vec<String>, Vec<i32>), ConvertError> {
        let mut tokens: Vec<Option<String>> = vec![None; rows];
        let mut types = vec![UNUSED; rows];
        let quoted = |text: &str| shown(&Value::from(text));
        let mut place = |text: &str, id: u64, kind: i32| -> Result<(), ConvertError> {
            let Some(at) = usize::try_from(id).ok().filter(|&at| at < rows) else {
                return Err(self.wrong(TokenizerProblem::Id { token: quoted(text), id, rows }));
            };
            match &tokens[at] {
                // Added tokens may stand in the vocabulary, too.
                Some(other) if other != text => {
                    let (first, second) = (quoted(other), quoted(text));
                    return Err(self.wrong(TokenizerProblem::SameId { first, second, id: at }));
                }
                _ => {}
            }
            tokens[at] = Some(text.to_owned());
            types[at] = kind;
            Ok(())
        };
        for (text, id) in &self.vocab {
            let id = id.as_u64().ok_or_else(|| {
                self.wrong(TokenizerProblem::Model {
                    found: format!("a vocabulary in which {} is {}", quoted(text), shown(id)),
                })
            })?;
            place(text, id, NORMAL)?;
        }
        for added in &self.added {
            let control = added.special || looks_special(&added.text);
            place(&added.text, added.id, if control { CONTROL } else { USER_DEFINED })?;
        }
        let tokens = tokens.into_iter().enumerate().map(|(i, token)| token.unwrap_or_else(|| format!("[PAD{i}]")));
        Ok((tokens.collect(), types))
    }
}

/// Some added tokens that steer aren't marked as special; llama.cpp's converter goes by their looks.
fn looks_special(text: &str) -> bool {
    text.starts_with("<|") && text.ends_with("|>")
}

/// `tokenizer.json` has it all.
fn from_one_file(folder: &Folder, whole: &Settings) -> Result<Raw, ConvertError> {
    let wrong = |problem| ConvertError::Tokenizer { file: whole.file.clone(), problem };
    let model = whole.inner("model")?.ok_or_else(|| whole.wrong("model", "an object"))?;
    if model.str("type")?.is_some_and(|kind| kind != "BPE") || model.bool("byte_fallback")? == Some(true) {
        return Err(wrong(TokenizerProblem::Model { found: model.get("type").map(shown).unwrap_or_default() }));
    }
    check_split(whole)?;
    let vocab = model.inner("vocab")?.ok_or_else(|| model.wrong("vocab", "an object"))?.object;
    let mut added = Vec::new();
    for token in list(whole, "added_tokens")? {
        let text = token.get("content").and_then(Value::as_str);
        let (Some(text), Some(id)) = (text, token.get("id").and_then(Value::as_u64)) else {
            return Err(whole.wrong("added_tokens", "a list of tokens with `content` and `id`"));
        };
        let special = token.get("special").and_then(Value::as_bool).unwrap_or(false);
        added.push(Added { text: text.to_owned(), id, special });
    }
    let mut merges = Vec::new();
    for (index, merge) in list(&model, "merges")?.iter().enumerate() {
        let text = merge_text(merge).ok_or_else(|| wrong(TokenizerProblem::Merge { index, found: shown(merge) }))?;
        merges.push(text);
    }
    if merges.is_empty() {
        merges = merges_file(folder)?;
    }
    Ok(Raw { file: whole.file.clone(), vocab, added, merges })
}

fn list<'a>(settings: &'a Settings, key: &str) -> Result<&'a [Value], ConvertError> {
    match settings.get(key) {
        None => Ok(&[]),
        Some(value) => value.as_array().map(Vec::as_slice).ok_or_else(|| settings.wrong(key, "a list")),
    }
}

/// Two tokens with a space between; since transformers 4.45 a merge is a list of two.
fn merge_text(merge: &Value) -> Option<String> {
    match merge {
        Value::String(text) => Some(text.clone()),
        Value::Array(pair) => match pair.as_slice() {
            // A space inside of a token is written as byte-level BPE writes it.
            [Value::String(a), Value::String(b)] => Some(format!("{} {}", a.replace(' ', "Ġ"), b.replace(' ', "Ġ"))),
            _ => None,
        },
        _ => None,
    }
}

/// `vocab.json`, `merges.txt`, and the added tokens in the tokenizer's settings or in a file of their own.
fn from_two_files(folder: &Folder, settings: Option<&Settings>) -> Result<Raw, ConvertError> {
    let vocab = folder.json("vocab.json")?.ok_or_else(|| ConvertError::NoFile {
        folder: folder.path().to_owned(),
        file: "tokenizer.json",
        hint: "nor vocab.json and merges.txt; download the tokenizer too",
    })?;
    let mut added = Vec::new();
    if let Some(settings) = settings
        && let Some(by_id) = settings.inner("added_tokens_decoder")?
    {
        for (id, token) in &by_id.object {
            let text = token.get("content").and_then(Value::as_str);
            let (Some(text), Ok(id)) = (text, id.parse::<u64>()) else {
                return Err(settings.wrong("added_tokens_decoder", "tokens with `content` by their numbers"));
            };
            let special = token.get("special").and_then(Value::as_bool).unwrap_or(false);
            added.push(Added { text: text.to_owned(), id, special });
        }
    } else if let Some(by_text) = folder.json("added_tokens.json")? {
        for (text, id) in &by_text.object {
            let id = id.as_u64().ok_or_else(|| by_text.wrong(text, "a token's number"))?;
            added.push(Added { text: text.clone(), id, special: false });
        }
    }
    added.sort_by_key(|token| token.id);
    Ok(Raw { file: vocab.file, vocab: vocab.object, added, merges: merges_file(folder)? })
}

/// `merges.txt`, where there is one.
fn merges_file(folder: &Folder) -> Result<Vec<String>, ConvertError> {
    const NAME: &str = "merges.txt";
    let Some(text) = folder.text(NAME)? else { return Ok(Vec::new()) };
    // The first line tells a version; any other line may begin with a # of its own.
    let lines = text.lines().enumerate().filter(|(i, line)| !(*i == 0 && line.starts_with("#version")));
    let mut merges = Vec::new();
    for (_, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let mut parts = line.trim_end().split(' ');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(a), Some(b), None) if !a.is_empty() && !b.is_empty() => merges.push(format!("{a} {b}")),
            _ => {
                let (index, found) = (merges.len(), shown(&Value::from(line)));
                let file = folder.file(NAME);
                return Err(ConvertError::Tokenizer { file, problem: TokenizerProblem::Merge { index, found } });
            }
        }
    }
    Ok(merges)
}

/// The rule by which text is split before pairs are merged must be the one that GGUF files call `qwen2`.
fn check_split(whole: &Settings) -> Result<(), ConvertError> {
    let Some(rule) = whole.inner("pre_tokenizer")? else {
        let problem = TokenizerProblem::Split { found: "none".into() };
        return Err(ConvertError::Tokenizer { file: whole.file.clone(), problem });
    };
    let steps: Vec<Value> = match rule.get("pretokenizers") {
        Some(Value::Array(steps)) => steps.clone(),
        _ => vec![Value::Object(rule.object.clone())],
    };
    let split = steps.iter().find_map(|step| step.get("pattern")?.get("Regex")?.as_str());
    if split == Some(SPLIT) {
        return Ok(());
    }
    let found = split.map_or_else(|| shown(&Value::Object(rule.object.clone())), |s| shown(&Value::from(s)));
    Err(ConvertError::Tokenizer { file: whole.file.clone(), problem: TokenizerProblem::Split { found } })
}

type Special = (Vec<(&'static str, u32)>, Vec<(&'static str, bool)>);

/// The special tokens: by their text in the tokenizer's settings, else by their number in the model's.
fn special_tokens(
    folder: &Folder,
    settings: Option<&Settings>,
    config: &Settings,
    raw: &Raw,
) -> Result<Special, ConvertError> {
    let ids: HashMap<&str, u64> = raw.added.iter().rev().map(|token| (token.text.as_str(), token.id)).collect();
    let mut found = Vec::new();
    let mut add = Vec::new();
    let mut know = |name: &'static str, id: Option<u64>| {
        if let Some(id) = id.and_then(|id| u32::try_from(id).ok())
            && !found.iter().any(|&(known, _)| known == name)
        {
            found.push((name, id));
        }
    };
    if let Some(settings) = settings {
        for (key, name) in SPECIAL {
            if let Some(flag) = settings.get(&format!("add_{key}_token")).and_then(Value::as_bool) {
                add.push((key, flag));
            }
            let text =
                settings.get(&format!("{key}_token")).and_then(|t| t.as_str().or_else(|| t.get("content")?.as_str()));
            know(name, text.and_then(|text| ids.get(text).copied()));
        }
    }
    let others = [Some(config.clone()), config.inner("text_config")?, folder.json("generation_config.json")?];
    for settings in others.iter().flatten() {
        for (key, name) in SPECIAL {
            let value = settings.get(&format!("{key}_token_id"));
            // A list of ends: the first ends a turn.
            know(name, value.and_then(|v| v.as_u64().or_else(|| v.as_array()?.first()?.as_u64())));
        }
    }
    Ok((found, add))
}

/// The chat template: in the tokenizer's settings, or in a file of its own.
fn template(folder: &Folder, settings: Option<&Settings>) -> Result<Option<String>, ConvertError> {
    if let Some(settings) = settings {
        match settings.get("chat_template") {
            Some(Value::String(text)) => return Ok(Some(text.clone())),
            Some(Value::Array(several)) => {
                let named = |t: &&Value| t.get("name").and_then(Value::as_str) == Some("default");
                let text = several.iter().find(named).or(several.first()).and_then(|t| t.get("template")?.as_str());
                let wanted = "a text, or a list of templates";
                return text.map(|t| Some(t.to_owned())).ok_or_else(|| settings.wrong("chat_template", wanted));
            }
            None => {}
            Some(_) => return Err(settings.wrong("chat_template", "a text, or a list of templates")),
        }
    }
    if let Some(text) = folder.text("chat_template.jinja")? {
        return Ok(Some(text));
    }
    match folder.json("chat_template.json")? {
        Some(file) => Ok(file.str("chat_template")?.map(str::to_owned)),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_are_read_in_both_forms() {
        assert_eq!(merge_text(&serde_json::json!("a b")).as_deref(), Some("a b"));
        assert_eq!(merge_text(&serde_json::json!(["a", " b"])).as_deref(), Some("a Ġb"));
        assert_eq!(merge_text(&serde_json::json!(["a"])), None);
        assert_eq!(merge_text(&serde_json::json!(7)), None);
    }

    #[test]
    fn what_steers_is_known_by_its_looks() {
        assert!(looks_special("<|fim_prefix|>"));
        assert!(!looks_special("<tool_call>"));
    }
}
