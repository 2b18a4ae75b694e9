//! `qlens act`: the next step towards a goal on a screen. It is printed; nothing is carried out.

use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use super::args::KvKind;
use super::exit::CliError;
use super::grammar_args::{ActArgs, DeviceKind};
use super::progress::Progress;
use super::report::{self, Before};
use super::screen::{Manner, write_json};
use super::setup;
use crate::session::{GenerateOptions, Medium, StopReason};
use crate::tasks::act::{Action, Device, act};

/// Bytes of a history.
const MAX_HISTORY_BYTES: u64 = 16 << 20;

/// Runs the command.
///
/// # Errors
/// See [`CliError`].
pub fn run(args: &ActArgs, manner: &Manner) -> Result<(), CliError> {
    let history = args.history.as_deref().map(history).transpose()?.unwrap_or_default();
    let options = GenerateOptions {
        max_tokens: args.sampling.max_tokens(1024),
        sampling: setup::sampling(&args.sampling, false),
        lookup: !args.sampling.no_lookup,
        media: setup::picture_options(&args.sizes)?,
        ..GenerateOptions::default()
    };
    let began = Instant::now();
    let screenshot = setup::one_medium(args.screenshot.as_os_str(), manner)?;
    let read_s = began.elapsed().as_secs_f64();
    if let Medium::Clip(clip, _) = &screenshot {
        return Err(CliError::NotAPicture { name: clip.info().name.clone() });
    }
    let engine = setup::engine(&args.model, KvKind::F16, manner)?;
    let before = Before { load_s: engine.seconds, read_s };
    let engine = engine.value;
    let device = match args.device {
        DeviceKind::Computer => Device::Computer,
        DeviceKind::Phone => Device::Phone,
    };
    let mut progress = Progress::start(manner, "getting ready");
    let asked = (device, args.goal.as_str(), history.as_slice());
    let made = act(&mut engine.new_session(), asked, screenshot, &options, &mut |event| {
        progress.event(&event);
        ControlFlow::Continue(())
    });
    progress.stop();
    let (action, answer) = made?;
    if answer.stop != StopReason::End {
        manner.note(&format!("(brought to an end after {} tokens: see --max-tokens)", options.max_tokens));
    }
    if manner.verbose > 0 {
        report::verbose(&engine, &answer, before, manner);
    }
    let mut out = io::stdout().lock();
    write_json(&action, &mut out).and_then(|()| writeln!(out)).and_then(|()| out.flush()).map_err(CliError::Stdout)
}

/// The actions in a file, one to a line.
fn history(path: &Path) -> Result<Vec<Action>, CliError> {
    let mut text = String::new();
    let opened = std::fs::File::open(path).and_then(|file| file.take(MAX_HISTORY_BYTES).read_to_string(&mut text));
    opened.map_err(|source| CliError::Read { path: path.to_path_buf(), source })?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(i, line)| {
            let wrong = |source| CliError::NoAction { path: path.to_path_buf(), line: i + 1, source };
            serde_json::from_str(line).map_err(wrong)
        })
        .collect()
}
