//! The phases, each repeated and timed.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::ready;
use super::report::{Limits, Measurement};
use crate::cli::args::{BenchArgs, ModelArgs, Phase};
use crate::cli::exit::CliError;
use crate::cli::progress::Progress;
use crate::cli::screen::Manner;
use crate::kernels::KvType;
use crate::media::{Picture, PictureFormat, PictureInfo, Rgb8};
use crate::model::{ChunkInput, CpuCompute, FEW_TOKENS, LanguageState, ModelError, Position, Stage, VisionObserver};
use crate::session::{
    CHUNK, Engine, GenerateOptions, Lookup, MediaOptions, Medium, Proposer, SessionError, Turn, argmax,
};

/// Tokens that are computed to make a longer context of.
const SEED_TOKENS: usize = 256;
/// Tokens of an answer that repeats its prompt.
const REPEATED: usize = 64;
/// Side in pixels of the picture with which the vision model is warmed up.
const WARM_SIDE: usize = 112;
/// 30 words.
const QUESTION: &str = "Look at this picture and tell me what you see: name each object, say where it is, which colours it \
                        has, and read out all of the text that you find.";

/// A run of the command.
pub struct Bench<'a> {
    /// What was typed.
    pub args: &'a BenchArgs,
    /// The line at the terminal's foot.
    pub progress: Progress,
    /// What has been measured.
    pub measurements: Vec<Measurement>,
}

/// A conversation's memory on the bench.
struct Reader<'e> {
    engine: &'e Engine,
    compute: CpuCompute,
    state: LanguageState<CpuCompute>,
    logits: Vec<f32>,
}

impl Bench<'_> {
    fn wants(&self, phase: Phase) -> bool {
        self.args.phases.contains(&phase)
    }

    /// Loads the model as often as it is to be measured, and keeps the last.
    ///
    /// # Errors
    /// The model can't be loaded.
    pub fn load(&mut self, model: &ModelArgs, manner: &Manner) -> Result<Engine, CliError> {
        let first = ready(model, manner)?;
        if !self.wants(Phase::Load) {
            return Ok(first.value);
        }
        let mut engine = first.value;
        let mut again = vec![first.seconds];
        let quiet = Manner { quiet: true, ..*manner };
        while again.len() < self.args.repeats as usize && again.iter().sum::<f64>() < self.args.budget {
            drop(engine);
            let next = ready(model, &quiet)?;
            again.push(next.seconds);
            engine = next.value;
        }
        self.measurements.push(Measurement::new(Phase::Load, 0, 0, again));
        Ok(engine)
    }

    /// All phases but loading.
    ///
    /// # Errors
    /// A prompt doesn't fit the model, or what the model itself gives.
    pub fn phases(&mut self, engine: &Engine) -> Result<(), CliError> {
        self.check(engine)?;
        let sees = engine.mmproj_name().is_some();
        if self.wants(Phase::Vision) && sees {
            self.vision(engine)?;
        }
        if self.wants(Phase::Prefill) {
            self.prefill(engine)?;
        }
        if self.wants(Phase::Decode) {
            self.decode(engine)?;
        }
        if self.wants(Phase::Repeat) {
            self.repetition(engine)?;
        }
        if self.wants(Phase::FirstToken) && sees {
            self.first_token(engine)?;
        }
        Ok(())
    }

    /// Refuses lengths beyond the model's positions before anything is measured.
    fn check(&self, engine: &Engine) -> Result<(), CliError> {
        let limit = engine.language().config().context_length;
        let longest = |list: &[u32]| list.iter().max().map_or(0, |&n| n as usize);
        let (prompt, depth) = (longest(&self.args.prompts), longest(&self.args.depths));
        let wanted = [
            (Phase::Prefill, "prompts", prompt, prompt),
            (Phase::Decode, "depths", depth, depth + self.args.tokens as usize + 1),
        ];
        for (phase, option, found, needed) in wanted {
            if self.wants(phase) && needed > limit {
                return Err(CliError::BenchTooLong { option, found, needed, limit });
            }
        }
        Ok(())
    }

    /// Repeats `work`, which returns the seconds that count, as often as the options say.
    fn repeat(
        &mut self,
        what: &str,
        mut work: impl FnMut(&mut Progress) -> Result<f64, CliError>,
    ) -> Result<Vec<f64>, CliError> {
        let (start, mut runs) = (Instant::now(), Vec::new());
        let repeats = self.args.repeats as usize;
        while runs.is_empty() || (runs.len() < repeats && start.elapsed().as_secs_f64() < self.args.budget) {
            self.progress.count(what, runs.len(), repeats);
            runs.push(work(&mut self.progress)?);
        }
        Ok(runs)
    }

    fn vision(&mut self, engine: &Engine) -> Result<(), CliError> {
        encode(engine, WARM_SIDE)?;
        for &side in &self.args.sizes {
            let side = side as usize;
            let runs = self.repeat(&format!("looking at {side}x{side} pixels"), |_| encode(engine, side))?;
            self.measurements.push(Measurement::new(Phase::Vision, side, (side / 28).pow(2), runs));
        }
        Ok(())
    }

    fn prefill(&mut self, engine: &Engine) -> Result<(), CliError> {
        let longest = self.args.prompts.iter().max().map_or(0, |&n| n as usize);
        let mut reader = Reader::new(engine, longest)?;
        reader.read(&tokens(engine, 32))?;
        for &n in &self.args.prompts {
            let prompt = tokens(engine, n as usize);
            let runs = self.repeat(&format!("reading {n} tokens"), |_| {
                let start = Instant::now();
                reader.state.truncate(0);
                reader.read(&prompt)?;
                reader.best((prompt.len() - 1) % CHUNK);
                Ok(start.elapsed().as_secs_f64())
            })?;
            self.measurements.push(Measurement::new(Phase::Prefill, n as usize, n as usize, runs));
        }
        Ok(())
    }

    fn decode(&mut self, engine: &Engine) -> Result<(), CliError> {
        let (deepest, answer) = (self.args.depths.iter().max().map_or(0, |&n| n as usize), self.args.tokens as usize);
        let mut reader = Reader::new(engine, deepest + answer + 1)?;
        let seed = tokens(engine, SEED_TOKENS);
        for &depth in &self.args.depths {
            let depth = depth as usize;
            let runs = self.repeat(&format!("answering after {depth} tokens"), |_| {
                reader.deepen(&seed, depth)?;
                let mut token = 1;
                // One more before the clock runs: what the first token of a context sets up is none of decoding's.
                reader.read(&[token])?;
                let start = Instant::now();
                for _ in 0..answer {
                    reader.read(&[token])?;
                    token = reader.best(0);
                }
                Ok(start.elapsed().as_secs_f64())
            })?;
            self.measurements.push(Measurement::new(Phase::Decode, depth, answer, runs));
        }
        Ok(())
    }

    /// An answer that repeats its prompt word for word: all is computed as in earnest, but the tokens that are taken are the
    /// prompt's, whatever a model of random weights would say.
    fn repetition(&mut self, engine: &Engine) -> Result<(), CliError> {
        let prompt = tokens(engine, SEED_TOKENS);
        let mut reader = Reader::new(engine, SEED_TOKENS + REPEATED)?;
        let runs = self.repeat("repeating a prompt", |_| {
            reader.state.truncate(0);
            reader.read(&prompt)?;
            let start = Instant::now();
            reader.say(&prompt, &prompt[..REPEATED], &mut Lookup::new(&|_| true))?;
            Ok(start.elapsed().as_secs_f64())
        })?;
        self.measurements.push(Measurement::new(Phase::Repeat, SEED_TOKENS, REPEATED, runs));
        Ok(())
    }

    fn first_token(&mut self, engine: &Engine) -> Result<(), CliError> {
        let side = self.args.question_size as usize;
        let max_pixels = Some(side * side);
        let options = GenerateOptions {
            max_tokens: 1,
            media: MediaOptions { max_pixels, ..MediaOptions::default() },
            ..GenerateOptions::default()
        };
        let ask = |side: usize| -> Result<f64, CliError> {
            let turn = Turn::new(Some("You are a helpful assistant.".into()), vec![picture(side)], QUESTION);
            // A new conversation each time: it must not know the picture.
            let answer = engine.new_session().ask(&turn, &options, &mut |_| ControlFlow::Continue(()))?;
            Ok(answer.timings.first_token_s)
        };
        ask(WARM_SIDE)?;
        let runs = self.repeat("waiting for an answer", |_| ask(side))?;
        self.measurements.push(Measurement::new(Phase::FirstToken, side, 0, runs));
        Ok(())
    }

    /// What this machine could do, and how near each measurement came.
    pub fn limits(&mut self, engine: &Engine) -> Limits {
        self.progress.say("measuring the machine");
        let limits = Limits::measure(engine);
        for m in &mut self.measurements {
            m.limit = limits.share(engine, m);
        }
        limits
    }
}

impl<'e> Reader<'e> {
    /// Room for `capacity` tokens.
    fn new(engine: &'e Engine, capacity: usize) -> Result<Reader<'e>, CliError> {
        let capacity = capacity.max(CHUNK);
        let mut compute = CpuCompute::new(engine.cpu_arc());
        let state = engine.language().new_state(&mut compute, engine.kv_type(), capacity, CHUNK);
        let state = state.map_err(SessionError::from)?;
        let logits = vec![0.0; FEW_TOKENS * engine.language().vocab_size()];
        Ok(Reader { engine, compute, state, logits })
    }

    /// Reads tokens after what the context holds.
    fn read(&mut self, tokens: &[u32]) -> Result<(), CliError> {
        for chunk in tokens.chunks(CHUNK) {
            let start = self.state.len() as i64;
            let positions: Vec<Position> = (start..).take(chunk.len()).map(|p| [p; 3]).collect();
            let input = [ChunkInput::Tokens(chunk)];
            let read = self.engine.language().forward(&mut self.compute, &mut self.state, &input, &positions, &|| true);
            read.map_err(SessionError::from)?;
        }
        Ok(())
    }

    /// Makes the answer `answer` after `before`, which has been read; guesses are read with the token before them.
    fn say(&mut self, before: &[u32], answer: &[u32], lookup: &mut Lookup<'_>) -> Result<(), CliError> {
        let (mut said, mut done) = (before.to_vec(), 0);
        while done < answer.len() {
            said.push(answer[done]);
            let mut batch = vec![answer[done]];
            let most = (answer.len() - done).min(FEW_TOKENS) - 1;
            lookup.propose(&said, most, &mut batch);
            self.read(&batch)?;
            std::hint::black_box(self.best_of_first(batch.len()));
            let guesses = &batch[1..];
            let right = guesses.iter().zip(&answer[done + 1..]).take_while(|(a, b)| a == b).count();
            lookup.judge(guesses.len(), right);
            said.extend(&guesses[..right]);
            done += 1 + right;
            self.state.truncate(before.len() + done);
        }
        Ok(())
    }

    /// The likeliest token after row `row` of the last chunk.
    fn best(&mut self, row: usize) -> u32 {
        let text = self.engine.language();
        let logits = &mut self.logits[..text.vocab_size()];
        text.logits(&mut self.compute, &mut self.state, row, logits);
        argmax(logits)
    }

    /// The likeliest tokens after each of the first `rows` rows of the last chunk.
    fn best_of_first(&mut self, rows: usize) -> Vec<u32> {
        let text = self.engine.language();
        let logits = &mut self.logits[..rows * text.vocab_size()];
        text.logits(&mut self.compute, &mut self.state, 0, logits);
        logits.chunks(text.vocab_size()).map(argmax).collect()
    }

    /// Makes a context of `depth` tokens: some are computed, and what they leave is repeated.
    fn deepen(&mut self, seed: &[u32], depth: usize) -> Result<(), CliError> {
        self.state.truncate(0);
        if depth > 0 {
            self.read(&seed[..seed.len().min(depth)])?;
            self.state.repeat_to(&mut self.compute, depth);
        }
        Ok(())
    }
}

/// Token ids without a pattern that could help.
fn tokens(engine: &Engine, n: usize) -> Vec<u32> {
    let text = engine.tokenizer().vocab_size().min(1500).saturating_sub(300).max(1);
    (0..n).map(|i| ((i.wrapping_mul(7919).wrapping_add(13)) % text) as u32 + 300).collect()
}

/// Encodes a square picture, already cut into patches, and returns the seconds that took.
fn encode(engine: &Engine, side: usize) -> Result<f64, CliError> {
    let vision = engine.vision()?;
    let config = vision.config();
    let grid = [1, side / config.patch_size, side / config.patch_size];
    let row = config.patch_len() * config.temporal_patch_size;
    let mut rng = fastrand::Rng::with_seed(3);
    let pixels: Vec<f32> = (0..grid[1] * grid[2] * row).map(|_| rng.f32() * 4.0 - 2.0).collect();
    let mut compute = CpuCompute::new(engine.cpu_arc());
    let start = Instant::now();
    vision.encode(&mut compute, &pixels, grid, &mut Unwatched).map_err(|e: ModelError| SessionError::from(e))?;
    Ok(start.elapsed().as_secs_f64())
}

/// Lets an encoding run to its end.
struct Unwatched;

impl VisionObserver for Unwatched {
    fn stage(&mut self, _: Stage, _: usize) -> bool {
        true
    }
}

/// A picture with something everywhere, as if it had been read from a file.
fn picture(side: usize) -> Medium {
    let data = (0..side * side).flat_map(|i| [(i % side) as u8, (i / side) as u8, (i * 7 / 3) as u8]).collect();
    let info = PictureInfo {
        name: "picture".into(),
        format: PictureFormat::Png,
        width: side,
        height: side,
        orientation: 1,
        sha256: [0; 32],
    };
    Medium::Picture(Arc::new(Picture { image: Rgb8 { width: side, height: side, data }, info }))
}

/// Bytes per element of the key/value cache.
pub fn kv_width(ty: KvType) -> usize {
    match ty {
        KvType::F16 => 2,
        KvType::F32 => 4,
    }
}
