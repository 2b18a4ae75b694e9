//! What was found, as a table and as the JSON of docs/json.md.

use std::io::{self, Write};

use serde::Serialize;

use crate::cli::screen::{one_line, write_json};
use crate::session::Engine;
use crate::tasks::eval::{Mean, Scores, percentile};

/// The text that was read.
#[derive(Clone, Debug, Serialize)]
pub struct Text {
    /// As it was named.
    pub file: String,
    /// Its tokens.
    pub tokens: usize,
    /// Tokens of a chunk.
    pub ctx: usize,
    /// Chunks that were read.
    pub chunks: usize,
}

/// A question that was answered.
#[derive(Clone, Debug, Serialize)]
pub struct Question {
    /// The picture or clip.
    pub file: Option<String>,
    /// What was asked.
    pub prompt: String,
    /// What the base said.
    pub answer: String,
    /// Tokens of the question.
    pub prompt_tokens: usize,
    /// Of those, tokens of pictures and clips.
    pub media_tokens: usize,
    /// Tokens that were compared.
    pub tokens: usize,
    /// KL divergence from the base at them.
    pub kl_mean: f64,
    /// The greatest.
    pub kl_max: f64,
}

/// A mean and its standard error.
#[derive(Clone, Copy, Debug, Serialize)]
struct Value {
    value: f64,
    error: f64,
}

impl Value {
    fn of(mean: Mean) -> Value {
        Value { value: mean.value(), error: mean.error() }
    }

    /// The exponential of a mean, and its error to the first order.
    fn exp_of(mean: Mean) -> Value {
        let value = mean.value().exp();
        Value { value, error: value * mean.error() }
    }
}

/// How far the model strays from the base.
#[derive(Clone, Debug, Serialize)]
struct Compared {
    perplexity: Value,
    perplexity_ratio: Value,
    kl_mean: Value,
    kl_max: f64,
    kl_percentiles: Percentiles,
    same_top: Value,
    probability_change: Value,
    probability_change_rms: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Percentiles {
    p50: f64,
    p90: f64,
    p95: f64,
    p99: f64,
    p999: f64,
}

/// All of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    model: String,
    mmproj: Option<String>,
    base: Option<String>,
    base_mmproj: Option<String>,
    text: Option<Text>,
    questions: Vec<Question>,
    scored: u64,
    perplexity: Value,
    against_base: Option<Compared>,
    /// Of the evaluation, without loading.
    pub seconds: f64,
}

impl Report {
    /// From the scores, of a comparison or of one model alone.
    pub fn new(scores: Scores, compared: bool, text: Option<Text>, questions: Vec<Question>) -> Report {
        let mut sorted = scores.divergences.clone();
        sorted.sort_by(f64::total_cmp);
        let p = |share| percentile(&sorted, share);
        let against_base = compared.then(|| Compared {
            perplexity: Value::exp_of(scores.base_loss),
            perplexity_ratio: Value::exp_of(scores.loss_difference),
            kl_mean: Value::of(scores.divergence),
            kl_max: sorted.last().copied().unwrap_or(0.0),
            kl_percentiles: Percentiles { p50: p(0.5), p90: p(0.9), p95: p(0.95), p99: p(0.99), p999: p(0.999) },
            same_top: Value::of(scores.same_top),
            probability_change: Value::of(scores.probability_change),
            probability_change_rms: scores.probability_change.rms(),
        });
        Report {
            model: String::new(),
            mmproj: None,
            base: None,
            base_mmproj: None,
            text,
            questions,
            scored: scores.loss.count(),
            perplexity: Value::exp_of(scores.loss),
            against_base,
            seconds: 0.0,
        }
    }

    /// Names the models.
    pub fn models(&mut self, model: &Engine, base: Option<&Engine>) {
        let name = |e: &Engine| e.model_path().display().to_string();
        let vision = |e: &Engine| e.mmproj_name().filter(|_| !self.questions.is_empty()).map(str::to_owned);
        (self.model, self.mmproj) = (name(model), vision(model));
        (self.base, self.base_mmproj) = (base.map(name), base.and_then(vision));
    }

    /// One JSON object on a line.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub fn json(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        write_json(self, &mut out)?;
        writeln!(out)
    }

    /// For people.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub fn table(&self) -> io::Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        writeln!(out, "model  {}", one_line(&self.model))?;
        if let Some(base) = &self.base {
            writeln!(out, "base   {}", one_line(base))?;
        }
        if let Some(t) = &self.text {
            let (file, tokens) = (one_line(&t.file), t.tokens);
            writeln!(out, "text   {file}: {} chunks of {} tokens, of {tokens} tokens", t.chunks, t.ctx)?;
        }
        for q in &self.questions {
            let (file, prompt) = (q.file.as_deref().unwrap_or("no picture"), one_line(&q.prompt));
            writeln!(out, "asked  {}, \"{prompt}\": {} tokens, KL {:.6}", one_line(file), q.tokens, q.kl_mean)?;
        }
        writeln!(out, "scored {} tokens\n", self.scored)?;
        let row =
            |out: &mut dyn Write, what: &str, v: Value| writeln!(out, "{what:28} {:>12.6} ± {:.6}", v.value, v.error);
        row(&mut out, "perplexity", self.perplexity)?;
        if let Some(c) = &self.against_base {
            row(&mut out, "perplexity of the base", c.perplexity)?;
            row(&mut out, "perplexity / the base's", c.perplexity_ratio)?;
            row(&mut out, "KL divergence, mean", c.kl_mean)?;
            let p = &c.kl_percentiles;
            for (what, x) in [
                ("median", p.p50),
                ("90 %", p.p90),
                ("95 %", p.p95),
                ("99 %", p.p99),
                ("99.9 %", p.p999),
                ("most", c.kl_max),
            ] {
                writeln!(out, "{:28} {x:>12.6}", format!("KL divergence, {what}"))?;
            }
            let percent = |v: Value| Value { value: 100.0 * v.value, error: 100.0 * v.error };
            row(&mut out, "same likeliest token, %", percent(c.same_top))?;
            row(&mut out, "token's probability, %", percent(c.probability_change))?;
            writeln!(out, "{:28} {:>12.6}", "the same, root mean square", 100.0 * c.probability_change_rms)?;
        }
        out.flush()
    }
}
