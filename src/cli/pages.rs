//! `qlens completions` and `qlens man`: made by the program from the same definitions as its help. So they fit the program
//! that is installed, need no build script, and a package makes them by running what it has just built.

use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;

use super::args::{Cli, CompletionsArgs, ManArgs};
use super::exit::CliError;
use super::interrupt::write_whole;

/// Writes the completions to standard output.
///
/// # Errors
/// It can't be written to.
pub fn completions(args: &CompletionsArgs) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "qlens", &mut script);
    io::stdout().write_all(&script).map_err(CliError::Stdout)
}

/// Writes the manual: its first page to standard output, or all pages into a folder.
///
/// # Errors
/// They can't be written.
pub fn man(args: &ManArgs) -> Result<(), CliError> {
    let mut root = Cli::command();
    root.build();
    match &args.out {
        None => page(root).and_then(|bytes| io::stdout().write_all(&bytes)).map_err(CliError::Stdout),
        Some(folder) => pages(root, folder),
    }
}

fn page(command: clap::Command) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    clap_mangen::Man::new(command).render(&mut bytes)?;
    Ok(bytes)
}

fn pages(root: clap::Command, folder: &Path) -> Result<(), CliError> {
    let write = |path: &Path, command: clap::Command| {
        let written = page(command).and_then(|bytes| write_whole(path, &bytes));
        written.map_err(|source| CliError::Write { path: path.to_path_buf(), source })
    };
    std::fs::create_dir_all(folder).map_err(|source| CliError::Write { path: folder.to_path_buf(), source })?;
    for sub in root.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let name = format!("qlens-{}", sub.get_name());
        write(&folder.join(format!("{name}.1")), sub.clone().name(name))?;
    }
    write(&folder.join("qlens.1"), root)
}
