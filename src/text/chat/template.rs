//! The model file's chat template: messages → prompt.

use minijinja::Value;
use minijinja::value::Serde;
use serde_json::{Map, Value as Json, json};

use super::engine::Engine;
use super::guard::{Edges, Guard, choose_sentinel};
use super::{Content, MediumKind, Message, RenderOptions, RenderedPrompt, Role};
use crate::gguf::Metadata;
use crate::text::TextError;
use crate::text::special::{Piece, SpecialTokens};
use crate::text::vocab::RawVocab;

const KEY: &str = "tokenizer.chat_template";
/// The template for conversations with tools, where a file has another for these.
const TOOLS_KEY: &str = "tokenizer.chat_template.tool_use";
/// Most bytes in a template. The longest in use have some 20,000.
const MAX_TEMPLATE_BYTES: usize = 256 << 10;
/// Most bytes of text in a conversation: more than any model's context holds.
const MAX_CONVERSATION_BYTES: usize = 16 << 20;

/// What Qwen2.5-VL was trained with, for files that leave it out. The default system message is a part of it.
const BUILT_IN: &str = include_str!("qwen2_5_vl.jinja");

/// Writes conversations as the model was trained to read them.
///
/// Made from the file's own Jinja template, which runs with limits on work, memory, nesting and output, and can reach
/// nothing but the conversation and the time. Shared freely between threads.
pub struct ChatTemplate {
    engine: Engine,
    with_tools: Option<Engine>,
    knows_tools: bool,
    is_built_in: bool,
    special: SpecialTokens,
    edges: Edges,
    bos: String,
    eos: String,
}

impl ChatTemplate {
    /// Reads `tokenizer.chat_template`; where a file has none and its vocabulary has the tokens of ChatML, uses the template
    /// of Qwen2.5-VL.
    ///
    /// # Errors
    /// A key of the wrong type, a template that is too long or has an error in it, a vocabulary that can't be read, and
    /// none at all for a model whose template isn't known.
    pub fn from_gguf(m: &Metadata) -> Result<ChatTemplate, TextError> {
        let raw = RawVocab::from_gguf(m)?;
        let token = |key: &str| -> Result<String, TextError> {
            Ok(m.u32(key)?.and_then(|id| raw.text(id)).unwrap_or_default().to_owned())
        };
        let source = Source { template: m.str(KEY)?, tool_template: m.str(TOOLS_KEY)? };
        // The original passes a beginning only where the tokenizer adds one.
        let adds_bos = m.bool("tokenizer.ggml.add_bos_token")? != Some(false);
        let bos = if adds_bos { token("tokenizer.ggml.bos_token_id")? } else { String::new() };
        ChatTemplate::new(source, raw.special_tokens(), bos, token("tokenizer.ggml.eos_token_id")?)
    }

    pub(super) fn new(
        source: Source<'_>,
        special: SpecialTokens,
        bos: String,
        eos: String,
    ) -> Result<ChatTemplate, TextError> {
        let template = match source.template {
            Some(text) => text,
            None => {
                if let Some(token) = ["<|im_start|>", "<|im_end|>"].into_iter().find(|t| special.get(t).is_none()) {
                    return Err(TextError::NoTemplate { token });
                }
                BUILT_IN
            }
        };
        let engine = compile(KEY, template)?;
        let with_tools = source.tool_template.map(|text| compile(TOOLS_KEY, text)).transpose()?;
        Ok(ChatTemplate {
            knows_tools: with_tools.is_some() || template.contains("tools"),
            is_built_in: source.template.is_none(),
            edges: Edges::of(&special),
            engine,
            with_tools,
            special,
            bos,
            eos,
        })
    }

    /// Whether the template has a place for [`RenderOptions::tools`]; those that haven't pass over them.
    pub fn knows_tools(&self) -> bool {
        self.knows_tools
    }

    /// Whether the file has no template and the program's own is used.
    pub fn is_built_in(&self) -> bool {
        self.is_built_in
    }

    /// Writes out a conversation.
    ///
    /// A message of text alone reaches the template as a string, others as a list of items.
    ///
    /// # Errors
    /// What the template objects to, errors in it, more work or output than it may; media that it has no place for.
    pub fn render(&self, messages: &[Message], opts: &RenderOptions) -> Result<RenderedPrompt, TextError> {
        let mut texts = Vec::new();
        messages.iter().for_each(|m| collect_message(m, &mut texts));
        opts.tools.iter().for_each(|t| collect_json(t, &mut texts));
        let bytes = texts.iter().map(|t| t.len()).fold(0, usize::saturating_add);
        if bytes > MAX_CONVERSATION_BYTES {
            return Err(TextError::ConversationLength { bytes, allowed: MAX_CONVERSATION_BYTES });
        }
        // What its parts cost a template beside their text.
        let size = bytes + 64 * texts.len() + 256 * messages.len();
        let sentinel = choose_sentinel(texts.iter().copied())?;
        let guard = Guard::new(&self.special, &self.edges, sentinel);
        let context = json!({
            "messages": messages.iter().map(|m| message(m, &guard)).collect::<Vec<_>>(),
            "tools": match &*opts.tools {
                [] => Json::Null,
                tools => tools.iter().map(|t| mark_json(t, &guard)).collect(),
            },
            "documents": null,
            "add_generation_prompt": opts.add_generation_prompt,
            "add_vision_id": opts.add_vision_id,
            "bos_token": self.bos,
            "eos_token": self.eos,
        });
        let engine = self.with_tools.as_ref().filter(|_| !opts.tools.is_empty()).unwrap_or(&self.engine);
        let marked = engine.render(Value::from(Serde(context)), size)?;
        let media = self.placed(&marked, sentinel);
        check_media(messages, &media)?;
        Ok(RenderedPrompt::new(marked, sentinel, media))
    }

    /// The media for which the template wrote a place.
    fn placed(&self, marked: &str, sentinel: char) -> Vec<MediumKind> {
        let kinds = [MediumKind::Image, MediumKind::Video];
        let ids = kinds.map(|k| (k, self.special.get(k.pad()).map(|t| t.id)));
        let pieces = self.special.split(marked, Some(sentinel)).into_iter();
        pieces
            .filter_map(|piece| match piece {
                Piece::Special(id) => ids.iter().find(|(_, pad)| *pad == Some(id)).map(|(kind, _)| *kind),
                Piece::Plain(_) => None,
            })
            .collect()
    }
}

/// The templates in a file.
pub(super) struct Source<'a> {
    pub template: Option<&'a str>,
    pub tool_template: Option<&'a str>,
}

fn compile(key: &'static str, source: &str) -> Result<Engine, TextError> {
    if source.len() > MAX_TEMPLATE_BYTES {
        return Err(TextError::TemplateLength { key, found: source.len(), allowed: MAX_TEMPLATE_BYTES });
    }
    Engine::new(source.to_owned())
}

fn check_media(messages: &[Message], placed: &[MediumKind]) -> Result<(), TextError> {
    let wanted: Vec<MediumKind> = messages
        .iter()
        .flat_map(|m| &m.content)
        .filter_map(|c| match c {
            Content::Text(_) => None,
            Content::Image => Some(MediumKind::Image),
            Content::Video => Some(MediumKind::Video),
        })
        .collect();
    if wanted == placed {
        return Ok(());
    }
    let count = |of: &[MediumKind], kind| of.iter().filter(|k| **k == kind).count();
    let [images, placed_images] = [&wanted, placed].map(|of| count(of, MediumKind::Image));
    let [videos, placed_videos] = [&wanted, placed].map(|of| count(of, MediumKind::Video));
    if (images, videos) == (placed_images, placed_videos) {
        return Err(TextError::MediaOrder);
    }
    Err(TextError::MediaPlaces { images, videos, placed_images, placed_videos })
}

/// A message as templates know it.
fn message(m: &Message, guard: &Guard<'_>) -> Json {
    let mut out = Map::new();
    out.insert("role".into(), m.role.name().into());
    out.insert("content".into(), content(&m.content, m.role, guard));
    if !m.tool_calls.is_empty() {
        let call = |c: &super::ToolCall| {
            let function =
                json!({"name": guard.mark(&c.name, Role::User), "arguments": mark_json(&c.arguments, guard)});
            json!({"type": "function", "function": function})
        };
        out.insert("tool_calls".into(), m.tool_calls.iter().map(call).collect());
    }
    Json::Object(out)
}

fn content(content: &[Content], role: Role, guard: &Guard<'_>) -> Json {
    let text = |c: &Content| match c {
        Content::Text(text) => Some(text.clone()),
        Content::Image | Content::Video => None,
    };
    // Templates of text models append the content to strings; those of all models take text alone in this form.
    if let Some(texts) = content.iter().map(text).collect::<Option<Vec<String>>>() {
        return guard.mark(&texts.concat(), role).into();
    }
    let item = |c: &Content| match c {
        Content::Text(text) => json!({"type": "text", "text": guard.mark(text, role)}),
        Content::Image => json!({"type": "image"}),
        Content::Video => json!({"type": "video"}),
    };
    content.iter().map(item).collect()
}

/// All strings of a value marked, keys too.
fn mark_json(value: &Json, guard: &Guard<'_>) -> Json {
    let mark = |text: &str| guard.mark(text, Role::User);
    match value {
        Json::String(text) => mark(text).into(),
        Json::Array(items) => items.iter().map(|v| mark_json(v, guard)).collect(),
        Json::Object(map) => map.iter().map(|(k, v)| (mark(k), mark_json(v, guard))).collect(),
        Json::Null | Json::Bool(_) | Json::Number(_) => value.clone(),
    }
}

fn collect_message<'a>(m: &'a Message, texts: &mut Vec<&'a str>) {
    texts.extend(m.content.iter().filter_map(|c| match c {
        Content::Text(text) => Some(text.as_str()),
        Content::Image | Content::Video => None,
    }));
    for call in &m.tool_calls {
        texts.push(&call.name);
        collect_json(&call.arguments, texts);
    }
}

/// All strings of a value, and an empty one for each other scalar.
fn collect_json<'a>(value: &'a Json, texts: &mut Vec<&'a str>) {
    match value {
        Json::String(text) => texts.push(text),
        Json::Array(items) => items.iter().for_each(|v| collect_json(v, texts)),
        Json::Object(map) => map.iter().for_each(|(k, v)| {
            texts.push(k);
            collect_json(v, texts);
        }),
        Json::Null | Json::Bool(_) | Json::Number(_) => texts.push(""),
    }
}
