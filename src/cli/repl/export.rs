//! A conversation written for people (Markdown, HTML) or programs (JSON), with its pictures.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use serde::Serialize;

use super::Repl;
use super::command::CommandError;
use crate::cli::exit::CliError;
use crate::cli::interrupt::write_whole;
use crate::cli::screen::{printable, write_json};
use crate::media::write_png;
use crate::session::{KeptMedium, MediaReport, Said};
use crate::text::Role;

/// The JSON of `/export`; docs/json.md describes it.
#[derive(Serialize)]
struct Exported<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    text: &'a str,
    media: Vec<MediaReport>,
}

impl Repl<'_> {
    /// Writes the conversation in the format that the file's ending names.
    pub(super) fn export(&mut self, file: &Path) -> Result<(), CliError> {
        let said = self.asker.session().history();
        if said.is_empty() {
            return Err(CommandError::Nothing("nothing has been said yet").into());
        }
        let model = self.engine.model_path().display().to_string();
        let ending = file.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
        let pictures = beside(file);
        let what = match (file.exists(), ending == "md" && pictures.exists()) {
            (false, false) => None,
            (true, false) => Some(file.display().to_string()),
            (false, true) => Some(format!("files in {}", pictures.display())),
            (true, true) => Some(format!("{}, and files in {}", file.display(), pictures.display())),
        };
        if let Some(what) = what.filter(|_| self.style.talking)
            && !self.agrees(&format!("Replace {what}?"))?
        {
            return Ok(());
        }
        let bytes = match ending.as_str() {
            "json" => json(&model, &said),
            "html" | "htm" => html(&model, &said).into_bytes(),
            "md" => markdown(&said, file)?.into_bytes(),
            _ => {
                let found = file.display().to_string();
                return Err(CommandError::Value { found, wanted: "a name that ends with .md, .json or .html" }.into());
            }
        };
        write_whole(file, &bytes).map_err(|source| CliError::Write { path: file.to_path_buf(), source })?;
        self.manner.note(&format!("written to {}", file.display()));
        Ok(())
    }
}

fn json(model: &str, said: &[Said]) -> Vec<u8> {
    let messages = said.iter().map(|s| {
        let media = s.media.iter().map(KeptMedium::report).collect();
        Message { role: s.role.name(), text: &s.text, media }
    });
    let mut out = Vec::new();
    // Writing to memory can't fail, and these types have no keys that aren't text.
    let _ = write_json(&Exported { model, messages: messages.collect() }, &mut out);
    out.push(b'\n');
    out
}

fn png(medium: &KeptMedium) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    write_png(&medium.pixels()?, &mut bytes).ok()?;
    Some(bytes)
}

/// The folder of a Markdown file's pictures.
fn beside(file: &Path) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!("{stem}-files"))
}

/// Pictures go into a folder beside the file.
fn markdown(said: &[Said], file: &Path) -> Result<String, CliError> {
    let beside = beside(file);
    let folder = PathBuf::from(beside.file_name().unwrap_or_default());
    let mut out = String::from("# Conversation\n");
    let mut n = 0;
    for message in said {
        let _ =
            write!(out, "\n## {}\n\n", if message.role == Role::Assistant { "Answer" } else { message.role.name() });
        for medium in &message.media {
            n += 1;
            let name = medium.report().name.replace(['[', ']', '\n', '\\', '<', '>'], "_");
            match png(medium) {
                None => {
                    let _ = writeln!(out, "(clip: {})\n", printable(&name));
                }
                Some(bytes) => {
                    let path = beside.join(format!("{n}.png"));
                    let failed = |source| CliError::Write { path: path.clone(), source };
                    std::fs::create_dir_all(&beside).map_err(failed)?;
                    write_whole(&path, &bytes).map_err(failed)?;
                    let folder = folder.display().to_string().replace(' ', "%20");
                    let _ = writeln!(out, "![{}]({folder}/{n}.png)\n", printable(&name));
                }
            }
        }
        out.push_str(&printable(&message.text));
        out.push('\n');
    }
    Ok(out)
}

const PAGE: &str = r#"<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Conversation</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
section { margin: 1rem 0; padding: .5rem 1rem; border-left: 4px solid #8888; white-space: pre-wrap; overflow-wrap: anywhere; }
section.user { border-color: #2a6fdb; } section.assistant { border-color: #1a8f5a; white-space: normal; }
pre { overflow-x: auto; } td, th { border: 1px solid #8888; padding: .1rem .5rem; } table { border-collapse: collapse; }
figure { margin: 0 0 .5rem; } img { max-width: 100%; max-height: 24rem; } figcaption, footer { font-size: .8rem; opacity: .7; }
</style>
"#;

fn html(model: &str, said: &[Said]) -> String {
    let mut out = String::from(PAGE);
    for message in said {
        let _ = write!(out, "<section class=\"{}\">", message.role.name());
        for medium in &message.media {
            out.push_str("<figure>");
            if let Some(bytes) = png(medium) {
                let _ = write!(out, "<img alt=\"\" src=\"data:image/png;base64,{}\">", STANDARD.encode(bytes));
            }
            let _ = write!(out, "<figcaption>{}</figcaption></figure>", escaped(&medium.report().name));
        }
        // What a model says is Markdown; what a person typed is what they typed.
        let text = if message.role == Role::Assistant { typeset(&message.text) } else { escaped(&message.text) };
        let _ = writeln!(out, "{text}</section>");
    }
    let _ = writeln!(out, "<footer>{}</footer>\n</html>", escaped(model));
    out
}

/// Markdown as HTML. Tags in it stay text, pictures become their descriptions, and only links to the web are links: the words
/// are a model's, and may have been a picture's before.
fn typeset(text: &str) -> String {
    let web = |url: &str| url.starts_with("https://") || url.starts_with("http://");
    let mut links = Vec::new();
    let text = printable(text);
    let events = Parser::new_ext(&text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH).filter_map(|event| {
        Some(match event {
            Event::Html(tags) | Event::InlineHtml(tags) => Event::Text(tags),
            Event::Start(Tag::Image { .. } | Tag::HtmlBlock) | Event::End(TagEnd::Image | TagEnd::HtmlBlock) => {
                return None;
            }
            Event::Start(Tag::Link { ref dest_url, .. }) => {
                links.push(web(dest_url));
                return links.last().is_some_and(|is_web| *is_web).then_some(event);
            }
            Event::End(TagEnd::Link) => return links.pop().unwrap_or(false).then_some(event),
            // A line's end stays one: models mean it so.
            Event::SoftBreak => Event::HardBreak,
            event => event,
        })
    });
    let mut out = String::new();
    pulldown_cmark::html::push_html(&mut out, events);
    out
}

/// Text that is only text, in elements and in attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hostile() -> Vec<Said> {
        let text = "<script>alert(1)</script> \u{1b}[2J \" ' & ]]> <!--".to_owned();
        vec![
            Said { role: Role::User, text: "<b>".into(), media: vec![] },
            Said { role: Role::Assistant, text, media: vec![] },
        ]
    }

    #[test]
    fn hostile_words_are_only_words() {
        let page = html("\"><img src=x>", &hostile());
        let body = &page[PAGE.len()..];
        assert!(
            !body.contains("<script") && !body.contains("<img") && !body.contains("<!--") && !body.contains('\u{1b}'),
            "{body}"
        );
        assert!(body.contains("&lt;script&gt;alert(1)"));
    }

    #[test]
    fn answers_are_typeset_and_stay_harmless() {
        let text = "**two** `x<y`\n- one\n\n| a | b |\n|---|---|\n| 1 | <i>2</i> |\n\n[a](javascript:alert(1)) [b](https://c.de/\"x) \
                    ![d](https://e.fg/h.png) <img src=x onerror=alert(1)>\n\n<script>\nalert(1)\n</script>";
        let page = typeset(text);
        for part in [
            "<strong>two</strong>",
            "<code>x&lt;y</code>",
            "<li>one</li>",
            "<td>1</td>",
            "&lt;i&gt;2",
            "<a href=\"https://c.de/",
        ] {
            assert!(page.contains(part), "no {part} in {page}");
        }
        for part in ["javascript:", "<img", "<script", "<i>"] {
            assert!(!page.contains(part), "{part} in {page}");
        }
    }

    #[test]
    fn json_says_the_same() {
        let value: serde_json::Value = serde_json::from_slice(&json("m.gguf", &hostile())).expect("JSON");
        assert_eq!(value["messages"][1]["text"], hostile()[1].text);
        assert_eq!(value["messages"][0]["role"], "user");
    }
}
