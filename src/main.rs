//! The program: an exit code around the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate::cli::main().into()
}
