//! The command line. A file for each subcommand.

mod check;
mod completions;
mod configuration;
mod doctor;
mod drain;
mod failure;
mod inject;
mod man;
mod output;
mod revoke;
mod run;
mod token;
mod top;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
};

use clap::{CommandFactory as _, Parser, Subcommand};

pub use self::failure::Exit;
use self::output::{complain, print};

const ENVIRONMENT: &str = "\
Configuration:
  Defaults, then the file, then environment variables TIDEGATE__TABLE__KEY, such as
  TIDEGATE__LISTEN__ADDRESS=0.0.0.0:8443, then the command line; the later counts.";

/// A gate in front of a Socket.IO or WebSocket service: authentication, rate limits, metrics, orderly shutdown.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, after_help = after_help(), arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Drain(drain::Args),
    Check(check::Args),
    Token(token::Args),
    Revoke(revoke::Args),
    Top(top::Args),
    Doctor(doctor::Args),
    Inject(inject::Args),
    Uninject(inject::BackArgs),
    Completions(completions::Args),
    Man(man::Args),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(misuse) => return answer_misuse(&misuse),
    };
    let done = match cli.command {
        Command::Run(args) => run::run(args).map(fine),
        Command::Drain(args) => drain::drain(&args).map(fine),
        Command::Check(args) => check::check(args).map(fine),
        Command::Token(args) => token::token(args).map(fine),
        Command::Revoke(args) => revoke::revoke(args).map(fine),
        Command::Top(args) => top::top(args).map(fine),
        Command::Doctor(args) => doctor::doctor(args),
        Command::Inject(args) => inject::inject(&args).map(fine),
        Command::Uninject(args) => inject::uninject(&args).map(fine),
        Command::Completions(args) => completions::completions(&args, Cli::command()).map(fine),
        Command::Man(args) => man::man(args, Cli::command()).map(fine),
    };
    match done {
        Ok(exit) => exit,
        Err(failure) => {
            failure.to_string().lines().for_each(complain);
            failure.exit()
        }
    }
}

const fn fine((): ()) -> Exit {
    Exit::Fine
}

/// Prints what clap answers: help and version on standard output, errors on standard error.
fn answer_misuse(misuse: &clap::Error) -> Exit {
    let text = misuse.render().to_string();
    if !misuse.use_stderr() {
        return print(&text).map_or(Exit::Failed, |()| Exit::Fine);
    }
    match text.strip_prefix("error: ") {
        Some(reason) => complain(reason.trim_end()),
        // No subcommand: clap answers with the help.
        None => drop(write!(io::stderr(), "{text}")),
    }
    Exit::Configuration
}

fn after_help() -> String {
    let mut text = format!("{ENVIRONMENT}\n\nExit codes:");
    for exit in Exit::ALL {
        let _ = write!(text, "\n  {}  {}", exit as u8, exit.meaning());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_says_what_the_program_exits_with() {
        let help = Cli::command().render_help().to_string();
        for exit in Exit::ALL {
            assert!(help.contains(&format!("{}  {}", exit as u8, exit.meaning())), "{help}");
        }
    }
}
