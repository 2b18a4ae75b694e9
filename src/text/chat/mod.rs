//! Conversations, and the prompts that a model's own chat template makes of them.

mod engine;
mod guard;
mod json;
mod leash;
mod prompt;
mod template;
mod time;

#[cfg(test)]
mod tests;

pub use prompt::RenderedPrompt;
pub use template::ChatTemplate;

/// Who speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sets the rules; first in a conversation.
    System,
    /// Asks.
    #[default]
    User,
    /// The model.
    Assistant,
    /// The result of a tool that the model called.
    Tool,
}

impl Role {
    /// The name that templates know.
    pub fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }

    /// The role of this name.
    pub fn from_name(name: &str) -> Option<Role> {
        [Role::System, Role::User, Role::Assistant, Role::Tool].into_iter().find(|r| r.name() == name)
    }
}

/// A part of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Text, taken literally: it never yields special tokens. (One exception: user-defined tokens such as `<tool_call>`
    /// in what the assistant said, which are its own.)
    Text(String),
    /// The place of a picture.
    Image,
    /// The place of a clip.
    Video,
}

/// What one side said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// Who.
    pub role: Role,
    /// What, in order.
    pub content: Vec<Content>,
    /// The tools that the assistant calls with this message.
    pub tool_calls: Vec<ToolCall>,
}

impl Message {
    /// A message without tool calls.
    pub fn new(role: Role, content: Vec<Content>) -> Message {
        Message { role, content, tool_calls: Vec::new() }
    }

    /// A message of text alone.
    pub fn text(role: Role, text: impl Into<String>) -> Message {
        Message::new(role, vec![Content::Text(text.into())])
    }
}

/// A call of a tool by the model.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// Its arguments, an object as a rule.
    pub arguments: serde_json::Value,
}

/// How to write a conversation out.
#[derive(Clone, Debug, Default)]
pub struct RenderOptions {
    /// Ends with the beginning of the assistant's turn, for the model to go on.
    pub add_generation_prompt: bool,
    /// Numbers the media: "Picture 1: ", "Video 1: ".
    pub add_vision_id: bool,
    /// The tools that the model may call, each a JSON object as in the usual chat interfaces. Templates of models without
    /// tools pass over them: see [`ChatTemplate::knows_tools`].
    pub tools: Vec<serde_json::Value>,
}

/// What stands at a place in a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MediumKind {
    /// A picture.
    Image,
    /// A clip.
    Video,
}

impl MediumKind {
    /// The token that holds its place.
    pub(crate) fn pad(self) -> &'static str {
        match self {
            MediumKind::Image => "<|image_pad|>",
            MediumKind::Video => "<|video_pad|>",
        }
    }
}
