//! What may be typed at the commands about models at hand and about settings.

use std::path::PathBuf;

use clap::Args;

/// Where our own models are.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// Our own folder of models [default: qlens/models in the data folder]
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
}

/// `qlens pull`.
#[derive(Debug, Args)]
pub struct PullArgs {
    /// The model
    #[arg(value_name = "NAME[:TYPE]")]
    pub name: String,
    /// The hub's address
    #[arg(long, value_name = "URL", default_value = "https://huggingface.co")]
    pub endpoint: String,
    /// Pieces that are fetched at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=32))]
    pub connections: u32,
    /// How long a connection may be silent before it is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, value_parser = parse_patience)]
    pub patience: f64,
    /// Our folder.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// `qlens list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// The default, to mark it: the setting `model`.
    #[arg(long = "model", id = "model", value_name = "MODEL", hide = true)]
    pub default: Option<String>,
    /// Our folder.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// `qlens show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The model, at hand or known to `pull`
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Our folder.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// `qlens rm`.
#[derive(Debug, Args)]
pub struct RmArgs {
    /// The model
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Don't ask
    #[arg(short, long)]
    pub yes: bool,
    /// Our folder.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// `qlens default`.
#[derive(Debug, Args)]
pub struct DefaultArgs {
    /// The model; without one, the current default is shown
    #[arg(value_name = "NAME", conflicts_with = "clear")]
    pub name: Option<String>,
    /// Set none
    #[arg(long)]
    pub clear: bool,
    /// Our folder.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// `qlens config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `qlens completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// `qlens man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write the pages of all commands into this folder
    #[arg(short, long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

fn parse_patience(typed: &str) -> Result<f64, String> {
    let seconds = typed.parse::<f64>().ok().filter(|s| (0.1..=3600.0).contains(s));
    seconds.ok_or_else(|| "must be 0.1 to 3600 seconds".to_owned())
}
