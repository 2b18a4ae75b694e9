//! llama.cpp as a measure for qlens: see scripts/bench-peer.

mod compare;
mod llama;
mod logits;
mod measure;
mod quantize;
mod report;
mod table;

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
    /// Run both programs in turns and write a table
    Compare(compare::CompareArgs),
    /// Write the logits after each token as 32-bit floats
    Logits(logits::LogitsArgs),
    /// Quantize a file with llama.cpp's own quantizer, timed
    Quantize(quantize::QuantizeArgs),
    /// Go on from a prompt with the likeliest tokens
    Generate(quantize::GenerateArgs),
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Measure(args) => println!("{}", serde_json::to_string(&measure::run(&args)?)?),
        Command::Compare(args) => compare::run(&args)?,
        Command::Logits(args) => logits::run(&args)?,
        Command::Quantize(args) => quantize::run(&args)?,
        Command::Generate(args) => quantize::generate(&args)?,
    }
    Ok(())
}
