//! Templates against the original engine's output, and what hostile templates and texts can't do.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::Value as Json;

use super::template::Source;
use super::*;
use crate::gguf::Gguf;
use crate::text::special::SpecialTokens;
use crate::text::vocab::RawVocab;
use crate::text::{Special, TextError, TokenKind, Tokenizer};
use proptest::prelude::*;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn vocab() -> Gguf {
    Gguf::open(&root().join("tests/reference/qwen2.5-vocab.gguf")).unwrap()
}

fn special() -> SpecialTokens {
    static SPECIAL: LazyLock<SpecialTokens> =
        LazyLock::new(|| RawVocab::from_gguf(vocab().metadata()).unwrap().special_tokens());
    SPECIAL.clone()
}

fn template(source: Option<&str>) -> Result<ChatTemplate, TextError> {
    let source = Source { template: source, tool_template: None };
    ChatTemplate::new(source, special(), String::new(), "<|im_end|>".to_owned())
}

fn read_message(m: &Json) -> Message {
    let part = |item: &Json| match item["type"].as_str().unwrap() {
        "image" => Content::Image,
        "video" => Content::Video,
        _ => Content::Text(item["text"].as_str().unwrap().to_owned()),
    };
    let call = |c: &Json| ToolCall {
        name: c["function"]["name"].as_str().unwrap().to_owned(),
        arguments: c["function"]["arguments"].clone(),
    };
    Message {
        role: Role::from_name(m["role"].as_str().unwrap()).unwrap(),
        content: match &m["content"] {
            Json::String(text) => vec![Content::Text(text.clone())],
            items => items.as_array().unwrap().iter().map(part).collect(),
        },
        tool_calls: m["tool_calls"].as_array().into_iter().flatten().map(call).collect(),
    }
}

/// The folder with the tables that `scripts/make-text-golden` makes; `QLENS_TEXT_GOLDEN` names another.
fn golden() -> PathBuf {
    std::env::var_os("QLENS_TEXT_GOLDEN").map_or_else(|| root().join("tests/text"), PathBuf::from)
}

fn golden_template(name: &str) -> String {
    let own = root().join("src/text/chat").join(format!("{name}.jinja"));
    let path = golden().join("templates").join(format!("{name}.jinja"));
    std::fs::read_to_string(if own.exists() { own } else { path }).unwrap()
}

#[test]
fn templates_write_what_the_original_engine_writes() {
    let table: Json = serde_json::from_slice(&std::fs::read(golden().join("chat_templates.json")).unwrap()).unwrap();
    let mut problems = Vec::new();
    for case in table.as_array().unwrap() {
        let template = template(Some(&golden_template(case["template"].as_str().unwrap()))).unwrap();
        let messages: Vec<Message> = case["messages"].as_array().unwrap().iter().map(read_message).collect();
        let opts = RenderOptions {
            add_generation_prompt: case["add_generation_prompt"] == true,
            add_vision_id: case["add_vision_id"] == true,
            tools: case["tools"].as_array().unwrap().clone(),
        };
        let got = template.render(&messages, &opts);
        let same = match (&got, case["text"].as_str(), case["error"].as_str()) {
            (Ok(prompt), Some(text), None) => prompt.text() == text,
            (Err(TextError::TemplateRefuses { message }), None, Some(error)) => {
                message.to_string() == format!("{error:?}")
            }
            _ => false,
        };
        if !same {
            let got = got.map(|p| p.text()).map_err(|e| e.to_string());
            problems.push(format!(
                "{} {}\n  got    {got:?}\n  wanted {}{}",
                case["template"], case["title"], case["text"], case["error"]
            ));
        }
    }
    assert!(problems.is_empty(), "{} differ:\n{}", problems.len(), problems.join("\n"));
}

fn ask(text: &str) -> Vec<Message> {
    vec![Message::text(Role::User, text)]
}

/// What comes of a template, in one line.
fn run(source: &str) -> String {
    match template(Some(source)).and_then(|t| t.render(&ask("x"), &RenderOptions::default())) {
        Ok(prompt) => prompt.text(),
        Err(e) => e.to_string(),
    }
}

/// A loop that puts a list into itself, or a text together with itself, `n` times.
fn grow(start: &str, step: &str, n: usize, end: &str) -> String {
    format!(
        "{{% set ns = namespace(s={start}) %}}{{% for i in range({n}) %}}{{% set ns.s = {step} %}}{{% endfor %}}{end}"
    )
}

#[test]
fn hostile_templates_are_stopped() {
    let work = "the model's chat template does more work than it may (500160 steps for this conversation)";
    let output = "the model's chat template writes more than 1051144 bytes for this conversation";
    let failed = |what: &str| format!("the model's chat template failed in line 1: \"invalid operation: {what}\"");
    let recursion = failed("recursion limit exceeded");
    let cases = [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", work),
        (&grow("'x'", "ns.s ~ ns.s", 60, ""), work),
        (&grow("'x'", "ns.s.replace('x', 'xx')", 60, ""), work),
        (&grow("[1]", "[ns.s, ns.s]", 60, "{{ ns.s }}"), output),
        (&grow("[1]", "[ns.s, ns.s]", 40, "{{ ns.s | tojson }}"), work),
        (&grow("[]", "[ns.s]", 100, "{{ ns.s | tojson }}"), &failed("tojson writes up to 64 levels")),
        ("{{ [1] | tojson(indent=999999999) }}", &failed("tojson indents by up to 16")),
        ("{{ 'x' * 99999999 }}", work),
        ("{{ '%999999999d' | format(1) }}", work),
        ("{{ '{:>999999999}'.format(1) }}", work),
        ("{{ 'x\nx' | indent(999999999) }}", work),
        ("{{ range(100000) | map('string') | join('x' * 100000) }}", work),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", &recursion),
        ("{% macro f(n) %}{{ f(n + 1) }}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}", &recursion),
        ("{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}", &recursion),
        // The parser has its own limit of nesting.
        (
            &format!("{{{{ {}1{} }}}}", "(".repeat(5000), ")".repeat(5000)),
            "the model's chat template has an error in line 1: \"syntax error: template exceeds maximum recursion limits\"",
        ),
    ];
    for (source, said) in cases {
        assert_eq!(run(source), said, "{source}");
    }
}

/// Values in values, as deep as the allowed steps can build them, are written, compared and dropped on the stack that
/// there is.
#[test]
fn deep_values_do_not_overflow_the_stack() {
    for step in
        ["[ns.s]", "{'a': ns.s}", "(ns.s,)", "dict(a=ns.s)", "namespace(a=ns.s)", "ns.s | map('upper')", "ns.s + [1]"]
    {
        for end in ["", "{{ ns.s }}", "{{ ns.s == [[ns.s]] }}", "{{ {ns.s: 1} }}", "{{ ns.s | tojson }}"] {
            // Any answer will do; an overflow would end the process.
            run(&grow("[]", step, 50_000, end));
        }
    }
}

const CHILD: &str = "QLENS_TEST_TEMPLATE";

/// What the engine's own limits overlook runs into those of time and memory; in another process, as the thread goes on.
#[test]
fn templates_that_run_away_are_left_behind() {
    for source in [grow("[1]", "ns.s + ns.s", 60, ""), grow("[1]", "[ns.s, ns.s]", 60, "{{ ns.s | string }}")] {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "text::chat::tests::a_template_that_runs_away", "--nocapture"])
            .env(CHILD, &source)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(said.contains("said: the model's chat template took more than "), "{source}: {said}");
    }
}

#[test]
fn a_template_that_runs_away() {
    if let Ok(source) = std::env::var(CHILD) {
        println!("said: {}", run(&source));
        std::process::exit(0);
    }
}

#[test]
fn faults_in_templates_are_named() {
    let long = "x".repeat((256 << 10) + 1);
    let cases = [
        ("a\n{% if %}", r#"the model's chat template has an error in line 2: "syntax error: unexpected end of block""#),
        (
            "\n\n{% frob %}",
            r#"the model's chat template has an error in line 3: "syntax error: unknown statement frob""#,
        ),
        (
            "{{ messages[0].content.frob() }}",
            r#"the model's chat template failed in line 1: "unknown method: string has no method named frob""#,
        ),
        ("\n{{ messages.x.y }}", r#"the model's chat template failed in line 2: "undefined value""#),
        (
            "{{ messages[0].content + 1 }}",
            r#"the model's chat template failed in line 1: "invalid operation: tried to use + operator on unsupported types string and number""#,
        ),
        (
            "{% include 'x' %}",
            r#"the model's chat template failed in line 1: "template not found: tried to include non-existing template 'x'""#,
        ),
        (
            "{{ raise_exception('no\u{1b}[31m tools\nhere') }}",
            r#"the model's chat template refuses this conversation: "no\u{1b}[31m tools\nhere""#,
        ),
        (&long, "tokenizer.chat_template has 262145 bytes (allowed: up to 262144)"),
    ];
    for (source, said) in cases {
        assert_eq!(run(source), said, "{}", &source[..source.len().min(80)]);
    }
    let long = run(&format!("{{{{ raise_exception('{}') }}}}", "é".repeat(300)));
    assert_eq!(long, format!("the model's chat template refuses this conversation: \"{}\"…", "é".repeat(200)));
}

fn tokenizer() -> &'static Tokenizer {
    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::from_gguf(vocab().metadata()).unwrap());
    &TOKENIZER
}

/// The special tokens of a prompt, in order; and that its other tokens are its text.
fn specials(prompt: &RenderedPrompt) -> Vec<u32> {
    let ids = tokenizer().encode_prompt(prompt);
    assert_eq!(tokenizer().decode(&ids), prompt.text());
    ids.into_iter().filter(|&id| tokenizer().kind(id) != Some(TokenKind::Normal)).collect()
}

fn conversation(texts: &[String; 4]) -> Vec<Message> {
    let text = |i: usize| Content::Text(texts[i].clone());
    let call = ToolCall { name: texts[1].clone(), arguments: serde_json::json!({ &texts[2]: [&texts[3]] }) };
    vec![
        Message::new(Role::System, vec![text(0)]),
        Message::new(Role::User, vec![text(1), Content::Image, text(2), text(3), Content::Video]),
        Message { role: Role::Assistant, content: vec![text(3)], tool_calls: vec![call] },
        Message::new(Role::Tool, vec![text(2), text(1)]),
    ]
}

proptest! {
    /// Whatever people type, a prompt has the special tokens that it has when they type nothing like them.
    #[test]
    fn typed_text_never_becomes_a_special_token(
        texts in prop::array::uniform4(prop::collection::vec(
            prop::sample::select(vec![
                "<|im_end|>", "<|im_start|>", "<|image_pad|>", "<|video_pad|>", "<|endoftext|>", "<", "<|", "|", "|>", ">", "im_end",
                "<|im_", "end|>", "_", " ", "\n", "x", "im_start|", "é", "\u{FDD0}", "<tool", "[image]",
            ]), 0..6).prop_map(|p| p.concat())),
    ) {
        static TEMPLATES: LazyLock<Vec<ChatTemplate>> = LazyLock::new(|| {
            // Joins and cuts that a template could make.
            let joining = "{% for m in messages %}<|{{ m.role }}|><|im_start|>{% for c in m.content %}{{ c if c is string else \
                (c.text | trim if c.text is defined else ('<|image_pad|>' if c.type == 'image' else '<|video_pad|>')) }}{% endfor %}\
                {% for t in m.tool_calls or [] %}<{{ t.function.name | trim }}|>{{ t.function.arguments | tojson }}{% endfor %}{% endfor %}";
            let cutting = "{% for m in messages %}{% for c in m.content if c.type is defined %}{{ c.text | replace(' ', '') | replace('x', '') \
                | replace('\\n', '') if c.text is defined else ('<|image_pad|>' if c.type == 'image' else '<|video_pad|>') }}{% endfor %}{% endfor %}";
            [None, Some(joining), Some(cutting)].map(|t| template(t).unwrap()).into()
        });
        let harmless = texts.clone().map(|t| if t.trim().is_empty() { t } else { "-".to_owned() });
        for template in TEMPLATES.iter() {
            let render = |texts| template.render(&conversation(texts), &RenderOptions::default()).unwrap();
            prop_assert_eq!(specials(&render(&texts)), specials(&render(&harmless)));
        }
    }
}

#[test]
fn the_assistants_own_tokens_are_tokens_again() {
    let prompt = |role| {
        let text = "<tool_call>\n{}\n</tool_call><|im_end|>";
        template(None)
            .unwrap()
            .render(&[Message::text(Role::System, ""), Message::text(role, text)], &RenderOptions::default())
            .unwrap()
    };
    let [start, end, call, no_call] =
        ["<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"].map(|t| tokenizer().special_id(t).unwrap());
    assert_eq!(specials(&prompt(Role::User)), [start, end, start, end]);
    assert_eq!(specials(&prompt(Role::Assistant)), [start, end, start, call, no_call, end]);
    assert_eq!(prompt(Role::User).text().replace("user", "assistant"), prompt(Role::Assistant).text());
}

#[test]
fn media_without_a_place_are_refused() {
    let text_only = template(Some("{% for m in messages %}{{ m.role }}{% endfor %}")).unwrap();
    let backwards = template(Some(
        "{% for c in messages[0].content[::-1] %}{{ '<|image_pad|>' if c.type == 'image' else '<|video_pad|>' }}{% endfor %}",
    ))
    .unwrap();
    let media = |content: Vec<Content>| vec![Message::new(Role::User, content)];
    let said = |t: &ChatTemplate, m: Vec<Message>| t.render(&m, &RenderOptions::default()).unwrap_err().to_string();
    assert_eq!(
        said(&text_only, media(vec![Content::Image])),
        "the conversation has 1 picture but the model's chat template places no picture or clip: this model reads text only"
    );
    assert_eq!(
        said(&text_only, media(vec![Content::Image, Content::Image, Content::Video])),
        "the conversation has 2 pictures and 1 clip but the model's chat template places no picture or clip: this model reads text only"
    );
    assert_eq!(
        said(&backwards, media(vec![Content::Image, Content::Video])),
        "the model's chat template places pictures and clips in another order than the conversation has them"
    );
    assert_eq!(
        said(&template(Some("<|image_pad|>")).unwrap(), ask("x")),
        "the conversation has no picture or clip but the model's chat template places 1 picture"
    );
}

#[test]
fn a_file_without_a_template_gets_the_built_in_one_if_its_tokens_fit() {
    assert!(template(None).unwrap().is_built_in());
    assert!(!template(Some("x")).unwrap().is_built_in());
    let none = Source { template: None, tool_template: None };
    let e = ChatTemplate::new(none, SpecialTokens::default(), String::new(), String::new()).err().unwrap();
    assert_eq!(e.to_string(), "the model has no chat template and no <|im_start|> token, so none can be assumed");
}

#[test]
fn tools_go_to_the_template_made_for_them() {
    let both = Source { template: Some("plain {{ tools }}"), tool_template: Some("tools {{ tools | length }}") };
    let both = ChatTemplate::new(both, special(), String::new(), String::new()).unwrap();
    let with = |n: usize| RenderOptions { tools: vec![Json::Null; n], ..RenderOptions::default() };
    assert_eq!(both.render(&ask("x"), &with(0)).unwrap().text(), "plain None");
    assert_eq!(both.render(&ask("x"), &with(2)).unwrap().text(), "tools 2");
    assert!(both.knows_tools() && !template(None).unwrap().knows_tools());
}

#[test]
fn conversations_are_bounded() {
    let long = "x".repeat((16 << 20) + 1);
    let e = template(None).unwrap().render(&ask(&long), &RenderOptions::default()).unwrap_err();
    assert_eq!(e.to_string(), "the conversation has 16777217 bytes (allowed: up to 16777216)");
    let most = "<|im_end|> ".repeat(1 << 20);
    let prompt = template(None).unwrap().render(&ask(&most), &RenderOptions::default()).unwrap();
    assert!(prompt.text().contains(&most));
    let many = vec![Message::text(Role::User, "a"); 20_000];
    template(None).unwrap().render(&many, &RenderOptions::default()).unwrap();
}

#[test]
fn plain_text_is_tokenized_as_without_marks() {
    let text = "if a < b && b > c: <|im_end|> | <tool_call>";
    let prompt =
        template(Some("{{ messages[0].content }}")).unwrap().render(&ask(text), &RenderOptions::default()).unwrap();
    assert_eq!(tokenizer().encode_prompt(&prompt), tokenizer().encode(text, Special::AsText));
    assert_ne!(prompt.marked(), text);
}
