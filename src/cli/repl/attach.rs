//! What is shown: attaching, listing and taking out pictures and clips.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::num::NonZero;

use super::command::{self, CommandError};
use super::{Repl, clipboard, preview};
use crate::cli::args::{parse_share, parse_temperature};
use crate::cli::exit::CliError;
use crate::cli::screen::one_line;
use crate::cli::{report, setup};
use crate::media::{self, Limits, Source};
use crate::session::{KeptMedium, MediaReport, Medium};

impl Repl<'_> {
    /// Attaches a file; of a clip, so many frames per second.
    pub(super) fn attach_file(&mut self, file: &OsStr, fps: Option<f64>) -> Result<(), CliError> {
        if setup::is_stdin(file) {
            return Err(CliError::StdinBoth);
        }
        let medium = setup::one_medium(file, &self.manner)?;
        self.attach(&medium, fps)
    }

    /// Shows `medium` with the next question, and tells what it costs.
    pub(super) fn attach(&mut self, medium: &Medium, fps: Option<f64>) -> Result<(), CliError> {
        let mut options = self.asker.options.media;
        options.fps = fps.or(options.fps);
        let kept = self.asker.session().measure(medium, &options)?;
        if self.style.talking {
            self.introduce(&kept);
        }
        self.pending.push(kept);
        Ok(())
    }

    fn introduce(&mut self, kept: &KeptMedium) {
        if self.style.preview
            && self.manner.color
            && let Some(picture) = kept.pixels()
            && let Some(drawn) = preview::draw(&picture)
        {
            let mut err = io::stderr();
            let _ = err.write_all(drawn.as_bytes());
            let _ = err.flush();
        }
        let report = kept.report();
        let waiting: usize = self.pending.iter().map(|m| m.report().tokens).sum();
        let used = self.asker.session().held_tokens() + waiting + report.tokens;
        let left = self.engine.ctx().saturating_sub(used);
        self.manner.note(&format!("{}; {left} tokens of context left", described(&report)));
    }

    /// The picture in the clipboard.
    pub(super) fn paste(&mut self) -> Result<(), CliError> {
        let bytes = clipboard::picture()?;
        let source = Source::Bytes { name: "clipboard".to_owned(), bytes: bytes.into() };
        match media::Medium::load(source, &Limits::default())? {
            media::Medium::Picture(picture) => self.attach(&Medium::Picture(picture.into()), None),
            media::Medium::Clip(clip) => self.attach(&Medium::Clip(clip.into(), None), None),
        }
    }

    /// Lists all that is shown.
    pub(super) fn files(&mut self) {
        let shown: Vec<MediaReport> = self.asker.session().media().collect();
        let pending = self.pending.iter().map(KeptMedium::report);
        let places =
            std::iter::repeat_n("in the conversation", shown.len()).chain(std::iter::repeat("with the next question"));
        let mut none = true;
        for (i, (report, place)) in shown.iter().cloned().chain(pending).zip(places).enumerate() {
            none = false;
            self.manner.note(&format!("{:>3}  {} ({place})", i + 1, described(&report)));
        }
        if none {
            self.manner.note("nothing is shown: /image PATH, /video PATH, or drag a file here");
        }
    }

    /// Takes the n-th, or the oldest, out.
    pub(super) fn drop_medium(&mut self, which: Option<usize>) -> Result<(), CliError> {
        let shown = self.asker.session().media().count();
        let all = shown + self.pending.len();
        if all == 0 {
            return Err(CommandError::Nothing("nothing is shown that could be dropped").into());
        }
        let index = which.unwrap_or(1);
        if index == 0 || index > all {
            let wanted = "the number of a picture or clip, as /files shows it";
            return Err(CommandError::Value { found: index.to_string(), wanted }.into());
        }
        let dropped = match (index - 1).checked_sub(shown) {
            Some(pending) => Some(self.pending.remove(pending).report()),
            None => self.asker.session().drop_medium(index - 1),
        };
        if let Some(dropped) = dropped {
            self.manner.note(&format!("dropped {}, {} tokens", dropped.name, dropped.tokens));
        }
        Ok(())
    }

    /// Shows or sets an option.
    pub(super) fn set(&mut self, option: Option<(String, String)>) -> Result<(), CliError> {
        let o = &mut self.asker.options;
        let Some((name, value)) = option else {
            let s = &o.sampling;
            let stats = if self.asker.stats { "on" } else { "off" };
            self.manner.note(&format!(
                "temp {}, top-k {}, top-p {}, seed {}, max-tokens {}, stats {stats}",
                s.temperature, s.top_k, s.top_p, s.seed, o.max_tokens
            ));
            return Ok(());
        };
        let value = value.as_str();
        // As the options take them.
        let typed = |parsed: Result<f32, String>, wanted| {
            parsed.map_err(|_| CommandError::Value { found: value.to_owned(), wanted })
        };
        match name.as_str() {
            "temp" => o.sampling.temperature = typed(parse_temperature(value), TEMP)?,
            "top-p" => o.sampling.top_p = typed(parse_share(value), TOP_P)?,
            "top-k" => o.sampling.top_k = command::number(value, "a number of tokens, 0 for all")?,
            "seed" => o.sampling.seed = command::number(value, "a whole number")?,
            "max-tokens" => {
                let fits = command::number::<NonZero<u32>>(value, "a number of tokens, at least 1")?;
                o.max_tokens = fits.get() as usize;
            }
            "stats" => {
                self.asker.stats = match value {
                    "on" => true,
                    "off" => false,
                    _ => return Err(CommandError::Value { found: value.to_owned(), wanted: "on or off" }.into()),
                }
            }
            _ => {
                return Err(CommandError::Value {
                    found: name,
                    wanted: "temp, top-k, top-p, seed, max-tokens or stats",
                }
                .into());
            }
        }
        Ok(())
    }

    /// Tokens and speed.
    pub(super) fn stats(&mut self) {
        let (held, ctx) = (self.asker.session().held_tokens(), self.engine.ctx());
        let shown: usize = self.asker.session().media().map(|m| m.tokens).sum();
        self.manner.note(&format!("context: {held} of {ctx} tokens held, {shown} of them shown"));
        if let Some(last) = &self.asker.last {
            self.manner.note(&report::short(self.engine, last));
        }
    }
}

const TEMP: &str = "a temperature from 0 to 10";
const TOP_P: &str = "a probability above 0, at most 1";

fn described(report: &MediaReport) -> String {
    let ([w, h], [rw, rh]) = (report.original, report.resized);
    let frames = report.frames.map(|n| format!("{n} frames of ")).unwrap_or_default();
    let name = one_line(&report.name);
    format!("{name}: {w}x{h} pixels, seen as {frames}{rw}x{rh}, {} tokens", report.tokens)
}
