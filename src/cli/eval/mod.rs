//! `qlens eval`: perplexity, and divergence from another model.

mod report;

use std::ops::ControlFlow;
use std::path::Path;

use super::args::{EvalArgs, KvKind, ModelArgs};
use super::exit::CliError;
use super::progress::Progress;
use super::screen::Manner;
use super::setup;
use crate::session::{Engine, Medium, Turn};
use crate::tasks::eval::{Chunks, Pair, Scores, answer, over_text};
use crate::text::Special;
use report::{Question, Report, Text};

/// Tokens of a chunk, as in llama.cpp's tool.
const CHUNK: u32 = 512;

/// Runs the command.
///
/// # Errors
/// See [`CliError`].
pub fn run(args: &EvalArgs, manner: &Manner) -> Result<(), CliError> {
    let questions = !args.files.is_empty() || !args.prompts.is_empty();
    if args.text.is_none() && !questions {
        return Err(CliError::EvalNeeds {
            missing: "a text (--text FILE), or pictures or a question (-p) and a --base",
        });
    }
    if questions && args.base.is_none() {
        return Err(CliError::EvalNeeds { missing: "a model to compare with (--base MODEL) when questions are asked" });
    }
    // Before the models: a mistyped name should not wait for them.
    let text = args.text.as_deref().map(read).transpose()?;
    let media = setup::media(&args.files, &args.media, manner)?.value;
    let mut model = args.model.clone();
    if text.is_some() {
        model.ctx = Some(model.ctx.unwrap_or(CHUNK));
    }
    let progress = Progress::start(manner, "loading");
    let engine = setup::engine(&model, KvKind::F16, manner)?.value;
    let base = args.base.as_ref().map(|base| {
        let base = ModelArgs { model: Some(base.clone()), mmproj: args.base_mmproj.clone(), ..model.clone() };
        setup::engine(&base, KvKind::F16, manner).map(|loaded| loaded.value)
    });
    let base = base.transpose()?;
    let pair = base.as_ref().map(|base| Pair::new(&engine, base)).transpose()?;
    let mut run = Run { args, progress, start: std::time::Instant::now() };
    let mut report = match (&text, pair) {
        (Some(text), pair) => run.text(&engine, pair, text)?,
        (None, Some(pair)) => run.questions(pair, media)?,
        (None, None) => return Err(CliError::EvalNeeds { missing: "a --base" }),
    };
    report.models(&engine, base.as_ref());
    report.seconds = run.start.elapsed().as_secs_f64();
    run.progress.stop();
    if args.json { report.json() } else { report.table() }.map_err(CliError::Stdout)
}

/// A text file; `-` is standard input.
fn read(path: &Path) -> Result<String, CliError> {
    let bytes = if setup::is_stdin(path.as_os_str()) {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes).map_err(CliError::Stdin)?;
        bytes
    } else {
        std::fs::read(path).map_err(|source| CliError::Read { path: path.to_owned(), source })?
    };
    String::from_utf8(bytes).map_err(|_| CliError::NotText { path: path.to_owned() })
}

struct Run<'a> {
    args: &'a EvalArgs,
    progress: Progress,
    start: std::time::Instant,
}

impl Run<'_> {
    fn text(&mut self, engine: &Engine, pair: Option<Pair<'_>>, text: &str) -> Result<Report, CliError> {
        self.progress.say("splitting the text into tokens");
        let ids = engine.tokenizer().encode(text, Special::AsText);
        let chunks = Chunks::of(ids.len(), engine.ctx(), self.args.chunks.map(|n| n as usize))?;
        let total = chunks.tokens * chunks.count;
        let progress = &mut self.progress;
        let scores = over_text(engine, pair, &ids, chunks, &mut |done, scores| {
            progress.count(&format!("perplexity {:.3}", scores.loss.value().exp()), done, total);
            ControlFlow::Continue(())
        })?;
        let file = self.args.text.clone().unwrap_or_default().display().to_string();
        let text = Text { file, tokens: ids.len(), ctx: chunks.tokens, chunks: chunks.count };
        Ok(Report::new(scores, pair.is_some(), Some(text), Vec::new()))
    }

    fn questions(&mut self, pair: Pair<'_>, media: Vec<Medium>) -> Result<Report, CliError> {
        let options = setup::media_options(&self.args.media)?;
        let one_at_a_time: Vec<Option<Medium>> =
            if media.is_empty() { vec![None] } else { media.into_iter().map(Some).collect() };
        let asked: Vec<(Option<Medium>, &str)> = one_at_a_time
            .iter()
            .flat_map(|medium| {
                let own = [default_prompt(medium.as_ref())];
                let prompts: Vec<&str> = self.args.prompts.iter().map(String::as_str).collect();
                let prompts = if prompts.is_empty() { own.to_vec() } else { prompts };
                prompts.into_iter().map(|prompt| (medium.clone(), prompt))
            })
            .collect();
        let mut scores = Scores::default();
        let mut questions = Vec::new();
        for (i, (medium, prompt)) in asked.iter().enumerate() {
            self.progress.count(&format!("question {} of {}", i + 1, asked.len()), i, asked.len());
            let turn = Turn::new(None, medium.iter().cloned().collect(), *prompt);
            let mut watch = |_: crate::session::Event<'_>| ControlFlow::Continue(());
            let before = scores.divergences.len();
            let said = answer(pair, &turn, &options, self.args.tokens as usize, &mut scores, &mut watch)?;
            let own = &scores.divergences[before..];
            questions.push(Question {
                file: medium.as_ref().map(name),
                prompt: (*prompt).to_owned(),
                answer: said.text,
                prompt_tokens: said.prompt_tokens,
                media_tokens: said.media_tokens,
                tokens: said.tokens,
                kl_mean: own.iter().sum::<f64>() / own.len().max(1) as f64,
                kl_max: own.iter().copied().fold(0.0, f64::max),
            });
        }
        Ok(Report::new(scores, true, None, questions))
    }
}

fn name(medium: &Medium) -> String {
    match medium {
        Medium::Picture(picture) => picture.info.name.clone(),
        Medium::Clip(clip, _) => clip.info().name.clone(),
    }
}

fn default_prompt(medium: Option<&Medium>) -> &'static str {
    match medium {
        Some(Medium::Clip(..)) => "Describe this video.",
        _ => "Describe this image.",
    }
}
