//! The `qlens` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    qlens::cli::main()
}
