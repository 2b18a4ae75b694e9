//! The command line's reference, docs/cli.md, made from the same definitions as `--help`.

use clap::CommandFactory;

use super::args::Cli;

/// The whole reference as Markdown.
pub fn reference() -> String {
    let mut root = Cli::command().term_width(100);
    root.build();
    let mut page =
        "# The command line\n\nMade from the program's own help; don't edit, see tests/cli/reference.rs.\n".to_owned();
    let mut subcommands: Vec<clap::Command> =
        root.get_subcommands().filter(|c| c.get_name() != "help").cloned().collect();
    section(&mut page, &mut root);
    for command in &mut subcommands {
        section(&mut page, command);
    }
    page
}

fn section(page: &mut String, command: &mut clap::Command) {
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let help = command.clone().term_width(100).render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    page.push_str(&format!("\n## {name}\n\n```text\n{}\n```\n", help.join("\n").trim_end()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_help_ends_with_is_not_broken_anew() {
        let root = Cli::command();
        for command in root.get_subcommands().chain([&root]) {
            let ending = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let long: Vec<&str> = ending.lines().filter(|line| line.chars().count() > 100).collect();
            assert!(long.is_empty(), "{}: {long:?}", command.get_name());
        }
    }
}
