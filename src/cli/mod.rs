//! The command line: what was typed in, answers on standard output, everything else on standard error.

#![forbid(unsafe_code)]

mod act;
mod args;
mod ask;
mod bench;
mod bench_args;
mod chat;
mod config;
mod convert;
mod describe;
mod embedded;
mod eval;
mod exit;
mod extract;
mod find;
mod grammar_args;
mod imatrix;
pub mod inspect;
mod interrupt;
mod locate;
mod log;
mod many;
mod memory;
mod models;
mod pages;
mod parse;
mod progress;
mod pull;
mod quantize;
mod quantize_args;
mod reference;
mod repl;
mod report;
mod rm;
mod screen;
mod settings;
mod setup;
mod show;
mod store_args;
mod task_args;
mod trace;
mod weights_args;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{ColorChoice, CommandFactory, FromArgMatches};

use args::{Cli, Command};
use exit::{CliError, Exit};
use screen::Manner;
use settings::{Settings, SettingsError};

pub use reference::reference;

/// Runs the program on the process's own arguments.
pub fn main() -> ExitCode {
    interrupt::install();
    let settled = Settings::load();
    let (cli, settings, at_best) = match parse(settled) {
        Ok(parsed) => parsed,
        Err(said) => return said,
    };
    let manner = Manner::new(cli.talk.quiet, cli.talk.verbose, cli.talk.no_color);
    log::start(manner.verbose);
    settings.unknown.iter().for_each(|line| manner.note(line));
    let done = match &cli.command {
        Command::Describe(args) => describe::run(args, &manner),
        Command::Chat(args) => chat::run(args, &manner),
        Command::Find(args) => find::run(args, &manner),
        Command::Locate(args) => locate::run(args, &manner),
        Command::Parse(args) => parse::run(args, &manner),
        Command::Extract(args) => extract::run(args, &manner),
        Command::Act(args) => act::run(args, &manner),
        Command::Inspect(args) => inspect_command(args),
        Command::Imatrix(args) => imatrix::run(args, &manner),
        Command::Quantize(args) => quantize::run(args, &manner),
        Command::Trace(args) => trace::run(args, &manner),
        Command::Bench(args) => bench::run(args, &manner),
        Command::Eval(args) => eval::run(args, &manner),
        Command::Convert(args) => convert::run(args, &manner),
        Command::Pull(args) => pull::run(args, &manner),
        Command::List(args) => models::list(args, &manner),
        Command::Show(args) => show::run(args),
        Command::Rm(args) => rm::run(args, &manner),
        Command::Default(args) => config::default(args, &settings, &manner),
        Command::Config(args) => config::run(args, &settings),
        Command::Completions(args) => pages::completions(args),
        Command::Man(args) => pages::man(args),
    };
    let exit = match done {
        Ok(()) => at_best,
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

/// The arguments, with the settings as their defaults; or the code to end with when help was asked for or something can't
/// be understood. Settings that can't be used don't keep the help from being read, nor the commands that show and mend
/// them from running; with them comes what a run can end with at best.
fn parse(settled: Result<Settings, SettingsError>) -> Result<(Cli, Settings, Exit), ExitCode> {
    let plain = std::env::args_os().any(|arg| arg == "--no-color");
    let command = || Cli::command().color(if plain { ColorChoice::Never } else { ColorChoice::Auto });
    let (command, settings) = match settled.map(|settings| (settings.apply(command()), settings)) {
        Ok((Ok(command), settings)) => (command, Ok(settings)),
        Ok((Err(e), settings)) => (command(), Err((e, Some(settings)))),
        Err(e) => (command(), Err((e, None))),
    };
    let cli = command.try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches)).map_err(|said| {
        if said.use_stderr() {
            // Without colours, so that every control character in it came from an argument.
            for line in said.render().to_string().lines() {
                let _ = writeln!(io::stderr(), "{}", screen::one_line(line));
            }
            ExitCode::from(Exit::Usage)
        } else {
            let _ = said.print();
            Exit::Done.into()
        }
    })?;
    let (e, kept) = match settings {
        Ok(settings) => return Ok((cli, settings, Exit::Done)),
        Err((e, kept)) => (CliError::Settings(e), kept),
    };
    Manner::new(false, 0, cli.talk.no_color).error(&exit::in_words(&e));
    match (&cli.command, kept) {
        (Command::Config(_), Some(settings)) => Ok((cli, settings, e.exit())),
        (Command::Default(_), Some(settings)) => Ok((cli, settings, Exit::Done)),
        _ => Err(e.exit().into()),
    }
}

fn inspect_command(args: &args::InspectArgs) -> Result<(), CliError> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    inspect::run(&args.file, args.json, &mut out)?;
    out.flush().map_err(CliError::Stdout)
}
