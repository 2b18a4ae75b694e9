//! Settings: the file, then the environment, then what is typed; and the pages made of the command line.

use std::fs;

use crate::models::Home;
use crate::util::{Run, json, reference, run, scratch};

fn config(home: &Home, text: &str) -> String {
    let path = home.path("my.toml");
    fs::write(&path, text).expect("written");
    path.display().to_string()
}

#[test]
fn the_later_wins_and_each_tells_where_it_is_from() {
    let home = Home::new();
    let file = config(&home, "threads = 3\nctx = 2048\n\"max-tokens\" = 7\ntemp = 0.5\n");
    let run = |args: &[&str]| -> Run {
        let said = home.qlens().args(args).env("QLENS_CONFIG", &file).env("QLENS_CTX", "4096").output();
        said.expect("starts").into()
    };
    let shown = json(run(&["config", "--json"]).answer());
    let of = |key: &str| {
        let rows = shown["settings"].as_array().expect("a list");
        let row = rows.iter().find(|r| r["key"] == key).expect("told");
        (row["value"].as_str().map(str::to_owned), row["origin"].as_str().expect("a text").to_owned())
    };
    assert_eq!(of("threads"), (Some("3".into()), file.clone()));
    assert_eq!(of("ctx"), (Some("4096".into()), "$QLENS_CTX".into()));
    assert_eq!(of("temp"), (Some("0.5".into()), file.clone()));
    assert_eq!(of("fps"), (None, "default".into()));
    let text = run(&["config"]);
    assert!(text.answer().contains("4096") && text.stdout.contains("$QLENS_CTX"), "{text:?}");

    // What is set is what is done; what is typed goes before it.
    let model = reference("tiny-tied/model-q8_0.gguf").display().to_string();
    let tokens = |more: &[&str]| {
        let args = [&["chat", "-p", "Tell me a long story", "--json", "-m", &model][..], more].concat();
        json(run(&args).answer())["tokens"]["answer"].as_u64().expect("a number")
    };
    assert!(tokens(&[]) <= 7);
    assert_eq!(tokens(&["--max-tokens", "1"]), 1);
}

#[test]
fn a_tilde_in_the_file_is_the_home_folder() {
    let home = Home::new();
    let file = config(&home, "models = \"~/my models\"\nendpoint = \"~/no-path\"\n");
    let said: Run = home.qlens().args(["config", "--json"]).env("QLENS_CONFIG", &file).output().expect("starts").into();
    let shown = json(said.answer());
    let of = |key: &str| {
        let rows = shown["settings"].as_array().expect("a list");
        rows.iter().find(|r| r["key"] == key).expect("told")["value"].as_str().map(str::to_owned)
    };
    assert_eq!(of("models"), Some(home.path("my models").display().to_string()));
    assert_eq!(of("endpoint"), Some("~/no-path".to_owned()));
}

#[test]
fn unknown_keys_are_told_and_bad_values_refused() {
    let home = Home::new();
    let run = |text: &str, args: &[&str]| -> Run {
        let file = config(&home, text);
        home.qlens().args(args).env("QLENS_CONFIG", file).output().expect("starts").into()
    };
    let said = run("thread = 3\n[colours]\nred = 1\n", &["config"]);
    said.answer();
    assert!(said.stderr.contains("`thread` means nothing; did you mean `threads`?"), "{said:?}");
    assert!(said.stderr.contains("`colours` means nothing"), "{said:?}");
    run("threads = 0\n", &["list"]).fails(65, &["my.toml: `threads`", "1..=1024"]);
    run("no-color = 3\n", &["list"]).fails(65, &["my.toml: `no-color`", "neither true nor false"]);
    let said = run("threads = 0\n", &["config"]);
    assert_eq!(said.code, Some(65), "{said:?}");
    assert!(said.stderr.contains("1..=1024"), "{said:?}");
    assert!(
        said.stdout.lines().any(|l| l.starts_with("threads") && l.contains("my.toml")),
        "it says from where: {said:?}"
    );
    assert_eq!(run("threads = 0\n", &["default", "--clear"]).code, Some(0), "what mends a file works");
    run("threads = [1]\n", &["config"]).fails(65, &["my.toml: `threads`", "a number"]);
    run("threads = 3\nthreads 4\n", &["config"]).fails(65, &["my.toml", "line 2"]);
    assert_eq!(run("threads = \n", &["--help"]).code, Some(0), "the help can be read whatever the file says");
    let said = home.qlens().args(["list"]).env("QLENS_THREADS", "many").output().expect("starts");
    Run::from(said).fails(65, &["$QLENS_THREADS", "many"]);
    assert_eq!(run("no-color = true\n", &["list"]).code, Some(0));
}

#[test]
fn a_default_is_set_shown_used_and_cleared_and_the_rest_of_the_file_stays() {
    let home = Home::new();
    let file = config(&home, "# mine\nthreads = 1 # one\n");
    let run =
        |args: &[&str]| -> Run { home.qlens().args(args).env("QLENS_CONFIG", &file).output().expect("starts").into() };
    run(&["default", "nothing"]).fails(69, &["`nothing`"]);
    let own = home.path("data/qlens/models/o/r");
    fs::create_dir_all(&own).expect("made");
    fs::copy(reference("tiny-tied/model-q8_0.gguf"), own.join("m-Q8_0.gguf")).expect("copied");
    assert_eq!(run(&["default", "o/r"]).code, Some(0));
    assert_eq!(fs::read_to_string(&file).expect("read"), "# mine\nthreads = 1 # one\nmodel = \"o/r:Q8_0\"\n");
    assert_eq!(run(&["default"]).answer(), "o/r:Q8_0\n");
    assert!(run(&["list"]).answer().starts_with("* o/r:Q8_0"));
    run(&["chat", "-p", "Hello", "--max-tokens", "2"]).answer();
    assert_eq!(run(&["default", "--clear"]).code, Some(0));
    assert_eq!(fs::read_to_string(&file).expect("read"), "# mine\nthreads = 1 # one\n");
    let demo = run(&["chat", "-p", "Hello"]);
    assert!(demo.stderr.contains("the small model inside this program"), "{demo:?}");
}

#[test]
fn completions_and_pages_are_made_for_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(["completions", shell]);
        assert!(["pull", "max-pixels"].iter().all(|word| script.answer().contains(word)), "{shell}");
    }
    assert!(run(["man"]).answer().contains(".TH"));
    let folder = scratch();
    let out = folder.path().join("man1");
    assert_eq!(run(["man", "--out", &out.display().to_string()]).code, Some(0));
    for page in ["qlens.1", "qlens-describe.1", "qlens-pull.1"] {
        let text = fs::read_to_string(out.join(page)).expect(page);
        assert!(text.contains(".SH NAME") && text.contains(".SH OPTIONS"), "{page}");
    }
}
