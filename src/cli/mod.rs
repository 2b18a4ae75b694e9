//! The command line: what was typed in, answers on standard output, everything else on standard error.

#![forbid(unsafe_code)]

mod args;
mod ask;
mod bench;
mod chat;
mod describe;
mod embedded;
mod exit;
mod find;
pub mod inspect;
mod interrupt;
mod log;
mod memory;
mod progress;
mod reference;
mod report;
mod screen;
mod setup;
mod trace;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{ColorChoice, CommandFactory, FromArgMatches};

use args::{Cli, Command};
use exit::{CliError, Exit};
use screen::Manner;

pub use reference::reference;

/// Runs the program on the process's own arguments.
pub fn main() -> ExitCode {
    interrupt::install();
    let cli = match parse() {
        Ok(cli) => cli,
        Err(said) => return said,
    };
    let manner = Manner::new(cli.talk.quiet, cli.talk.verbose, cli.talk.no_color);
    log::start(manner.verbose);
    let done = match &cli.command {
        Command::Describe(args) => describe::run(args, &manner),
        Command::Chat(args) => chat::run(args, &manner),
        Command::Find(args) => find::run(args, &manner),
        Command::Inspect(args) => inspect_command(args),
        Command::Trace(args) => trace::run(args, &manner),
        Command::Bench(args) => bench::run(args, &manner),
    };
    let exit = match done {
        Ok(()) => Exit::Done,
        Err(error) => {
            let exit = error.exit();
            if exit != Exit::Done {
                manner.error(&exit::in_words(&error));
            }
            exit
        }
    };
    exit.into()
}

/// The arguments, or the code to end with when help was asked for or something can't be understood.
fn parse() -> Result<Cli, ExitCode> {
    let plain = std::env::args_os().any(|arg| arg == "--no-color");
    let command = Cli::command().color(if plain { ColorChoice::Never } else { ColorChoice::Auto });
    command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)).map_err(|said| {
        if said.use_stderr() {
            // Without colours, so that every control character in it came from an argument.
            for line in said.render().to_string().lines() {
                let _ = writeln!(io::stderr(), "{}", screen::one_line(line));
            }
            Exit::Usage.into()
        } else {
            let _ = said.print();
            Exit::Done.into()
        }
    })
}

fn inspect_command(args: &args::InspectArgs) -> Result<(), CliError> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    inspect::run(&args.file, args.json, &mut out)?;
    out.flush().map_err(CliError::Stdout)
}
