//! What is wrong with the HTML that a model wrote, in words: the parser mends it, and a person should know.

use std::cell::RefCell;

use html5ever::TokenizerResult;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};

/// Elements without an end.
const VOID: [&str; 13] =
    ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"];
/// Names that are told of many.
const MAX_NAMES: usize = 5;

/// Tags that don't fit together.
#[derive(Debug, Default)]
struct Tags {
    open: Vec<String>,
    unclosed: Vec<String>,
    stray: Vec<String>,
}

struct Balance(RefCell<Tags>);

impl TokenSink for Balance {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let Token::TagToken(Tag { kind, name, .. }) = token else { return TokenSinkResult::Continue };
        let name = name.to_string();
        if VOID.contains(&name.as_str()) {
            return TokenSinkResult::Continue;
        }
        let mut tags = self.0.borrow_mut();
        match kind {
            TagKind::StartTag => {
                let raw = match name.as_str() {
                    "style" | "xmp" | "noframes" | "iframe" => Some(RawKind::Rawtext),
                    "script" => Some(RawKind::ScriptData),
                    "title" | "textarea" => Some(RawKind::Rcdata),
                    _ => None,
                };
                tags.open.push(name);
                raw.map_or(TokenSinkResult::Continue, TokenSinkResult::RawData)
            }
            TagKind::EndTag => {
                match tags.open.iter().rposition(|open| *open == name) {
                    None => tags.stray.push(name),
                    Some(at) => {
                        let unclosed = tags.open.drain(at..).skip(1).collect::<Vec<_>>();
                        tags.unclosed.extend(unclosed);
                    }
                }
                TokenSinkResult::Continue
            }
        }
    }
}

/// What is amiss with the tags: which were never closed, and which closed nothing.
pub(super) fn tags(html: &str) -> Vec<String> {
    let tokenizer = Tokenizer::new(Balance(RefCell::default()), TokenizerOpts::default());
    let input = BufferQueue::default();
    input.push_back(StrTendril::from(html));
    while let TokenizerResult::Script(()) = tokenizer.feed(&input) {}
    tokenizer.end();
    let Tags { open, mut unclosed, stray } = tokenizer.sink.0.into_inner();
    unclosed.extend(open);
    let mut said = Vec::new();
    if !unclosed.is_empty() {
        said.push(format!("{} closed", counted(&unclosed, "element was", "elements were")));
    }
    if !stray.is_empty() {
        said.push(format!(
            "{} left out",
            counted(&stray, "closing tag without an element was", "closing tags without elements were")
        ));
    }
    said
}

/// `3 elements were (p, td)`.
fn counted(names: &[String], one: &str, many: &str) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for name in names {
        if !kinds.contains(&name.as_str()) {
            kinds.push(name);
        }
    }
    let more = if kinds.len() > MAX_NAMES { ", …" } else { "" };
    let kinds: Vec<String> = kinds.into_iter().take(MAX_NAMES).map(|kind| kind.chars().take(20).collect()).collect();
    let what = if names.len() == 1 { one } else { many };
    format!("{} {what} ({}{more})", names.len(), kinds.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_that_fit_together_and_others() {
        let whole = "<html><body><p data-bbox=\"1 2 3 4\">a<br>b</p><img/><style>a</p>b</style></body></html>";
        assert_eq!(tags(whole), Vec::<String>::new());
        assert_eq!(tags("<table><tr><td>a</tr></table><p>b"), ["2 elements were (td, p) closed"]);
        assert_eq!(tags("<p>a</p></div>"), ["1 closing tag without an element was (div) left out"]);
        assert_eq!(tags("<p>a</p"), ["1 element was (p) closed"]);
    }
}
