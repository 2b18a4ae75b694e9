//! `qlens pull`: fetches a model from the hub.

use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::PullArgs;
use super::exit::CliError;
use super::memory::human_bytes;
use super::models::judge;
use super::screen::{Manner, one_line};
use crate::gguf::Gguf;
use crate::store::{Folders, Hub, HubOptions, RemoteFile, Verdict, Wanted, Watch, pull};

const BAR: &str = "{msg} {bar:20} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left";

/// Runs the command.
///
/// # Errors
/// See [`CliError`].
pub fn run(args: &PullArgs, manner: &Manner) -> Result<(), CliError> {
    let wanted = Wanted::parse(&args.name)?;
    let hub = Hub::new(HubOptions {
        endpoint: args.endpoint.clone(),
        token: token(),
        offline: offline(),
        connections: args.connections as usize,
        patience: Duration::from_secs_f64(args.patience),
    })?;
    let folders = Folders::from_env(args.store.models.clone());
    let bars = Bars { manner, bar: Mutex::new(None) };
    let pulled = pull(&hub, &wanted, folders.own(), &bars);
    bars.clear();
    let pulled = pulled?;
    match Gguf::open(&pulled.file).map(|gguf| judge(&gguf))? {
        Verdict::Unusable(why) => manner.note(&format!("{} was fetched, but can't be run: {why}", pulled.name)),
        Verdict::Text { .. } if pulled.mmproj.is_none() => {
            manner.note(&format!("{} has no mmproj file: it can't see pictures", wanted.repo));
        }
        _ => {}
    }
    let (size, folder) = (human_bytes(pulled.bytes), pulled.file.parent().unwrap_or(&pulled.file).display());
    let done = if pulled.fetched == 0 { "is there already, and whole" } else { "is there" };
    manner.note(&format!("{} {done}: {size} in {folder}; ask it with -m {}", pulled.name, pulled.name));
    Ok(())
}

/// `$HF_TOKEN`, else what `hf auth login` has left: `$HF_TOKEN_PATH`, `$HF_HOME/token`, or `~/.cache/huggingface/token`.
fn token() -> Option<String> {
    let var = |name: &str| std::env::var(name).ok().filter(|v| !v.trim().is_empty());
    let file = || {
        let home = || var("HF_HOME").map(Into::into).or_else(|| Some(dirs::home_dir()?.join(".cache/huggingface")));
        let path =
            var("HF_TOKEN_PATH").map(Into::into).or_else(|| home().map(|h: std::path::PathBuf| h.join("token")))?;
        std::fs::read_to_string(path).ok()
    };
    let token = var("HF_TOKEN").or_else(file)?;
    let token = token.trim();
    // Anything else would not be a header.
    (!token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic())).then(|| token.to_owned())
}

/// `HF_HUB_OFFLINE`, as the Hugging Face libraries read it.
fn offline() -> bool {
    let value = std::env::var("HF_HUB_OFFLINE").unwrap_or_default().to_ascii_lowercase();
    ["1", "on", "yes", "true"].contains(&value.as_str())
}

/// A bar per file, on a terminal; a line per file elsewhere.
struct Bars<'a> {
    manner: &'a Manner,
    bar: Mutex<Option<ProgressBar>>,
}

impl Bars<'_> {
    fn with(&self, show: impl FnOnce(&ProgressBar)) {
        if let Ok(bar) = self.bar.lock()
            && let Some(bar) = &*bar
        {
            show(bar);
        }
    }

    fn clear(&self) {
        self.with(ProgressBar::finish_and_clear);
    }
}

impl Watch for Bars<'_> {
    fn begin(&self, file: &RemoteFile, have: u64) {
        self.clear();
        let name = one_line(file.path.rsplit('/').next().unwrap_or(&file.path)).into_owned();
        let size = human_bytes(file.size);
        if have < file.size {
            let there = if have > 0 { format!(", {} of it are there", human_bytes(have)) } else { String::new() };
            self.manner.note(&format!("{name}: {size}{there}"));
        }
        if !self.manner.progress {
            return;
        }
        let bar = ProgressBar::with_draw_target(Some(file.size), ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message("fetching");
        bar.set_position(have);
        bar.reset_eta();
        if let Ok(mut slot) = self.bar.lock() {
            *slot = Some(bar);
        }
    }

    fn got(&self, bytes: u64) {
        self.with(|bar| bar.set_position(bytes));
    }

    fn checked(&self, bytes: u64) {
        self.with(|bar| {
            if bytes < bar.position() {
                bar.reset_eta();
            }
            bar.set_message("checking");
            bar.set_position(bytes);
        });
    }
}
