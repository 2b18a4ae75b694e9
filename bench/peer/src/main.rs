//! llama.cpp as a measure for qlens: see scripts/bench-peer.

mod llama;
mod measure;
mod report;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures llama.cpp as `qlens bench` measures qlens, and both beside each other.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure llama.cpp and print JSON
    Measure(measure::MeasureArgs),
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Measure(args) => println!("{}", serde_json::to_string(&measure::run(&args)?)?),
    }
    Ok(())
}
