//! The command line: what it understands, and what the program exits with. A file for each subcommand.

mod check;
mod completions;
mod run;
mod token;

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use self::token::TokenError;
use crate::{
    config::{
        Config,
        error::ConfigError,
        load::{self, Overrides, line_of},
    },
    start::StartError,
};

/// Read where no file is named, if it exists.
const SYSTEM_CONFIG: &str = "/etc/tidegate/tidegate.toml";

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
    Check(check::Args),
    Token(token::Args),
    Completions(completions::Args),
}

/// What the program exits with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is well; a node that was told to stop has sent its clients away.
    Fine = 0,
    /// It failed while running: an address is taken, standard output is closed.
    Failed = 1,
    /// The configuration or the command line has to be mended.
    Configuration = 2,
}

impl Exit {
    const ALL: [Self; 3] = [Self::Fine, Self::Failed, Self::Configuration];

    const fn meaning(self) -> &'static str {
        match self {
            Self::Fine => "all is well",
            Self::Failed => "failed while running",
            Self::Configuration => "the configuration or the command line has to be mended",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a subcommand did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(ConfigError),
    #[error("{0} (no file was read: there is no {SYSTEM_CONFIG}, and none was named)")]
    ConfigWithoutFile(ConfigError),
    #[error(transparent)]
    Start(StartError),
    #[error("{file}:{line}: {error}", file = .file.display())]
    StartFromFile { file: PathBuf, line: usize, error: StartError },
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    /// Says where in the file, if it is something that stands there.
    fn of_start(error: StartError, file: Option<PathBuf>) -> Self {
        let key = match &error {
            StartError::Compile(error) => error.key(),
            StartError::KeyServer(_) => "auth.jwks_url".to_owned(),
            StartError::Tls(error) => error.key(),
            StartError::AdminToken(_) => "admin.token".to_owned(),
            _ => return Self::Start(error),
        };
        let place = file.and_then(|file| Some((line_of(&file, &key)?, file)));
        match place {
            Some((line, file)) => Self::StartFromFile { file, line, error },
            None => Self::Start(error),
        }
    }

    const fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::ConfigWithoutFile(_) | Self::Token(_) => Exit::Configuration,
            Self::Start(error) | Self::StartFromFile { error, .. } if error.is_configuration() => Exit::Configuration,
            Self::Start(_) | Self::StartFromFile { .. } | Self::Output(_) => Exit::Failed,
        }
    }
}

/// Does what the command line of this process says.
#[must_use]
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(misuse) => return answer_misuse(&misuse),
    };
    let done = match cli.command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::check(args),
        Command::Token(args) => token::token(args),
        Command::Completions(args) => completions::completions(&args),
    };
    match done {
        Ok(()) => Exit::Fine,
        Err(failure) => {
            complain(&failure.to_string());
            failure.exit()
        }
    }
}

/// What clap wants to say: help and the version are answers, everything else is a misuse.
fn answer_misuse(misuse: &clap::Error) -> Exit {
    let text = misuse.render().to_string();
    if !misuse.use_stderr() {
        return print(&text).map_or(Exit::Failed, |()| Exit::Fine);
    }
    match text.strip_prefix("error: ") {
        Some(reason) => complain(reason.trim_end()),
        // Nothing was asked for, and the help says what can be.
        None => drop(write!(io::stderr(), "{text}")),
    }
    Exit::Configuration
}

/// The configuration, and the file it is from, if any: the one named, else that of the system.
fn load(named: Option<PathBuf>, overrides: &Overrides) -> Result<(Config, Option<PathBuf>), Failure> {
    // One that may be there and cannot be seen is read, so that the reason is told.
    let system = || Path::new(SYSTEM_CONFIG).try_exists().unwrap_or(true).then(|| SYSTEM_CONFIG.into());
    let path = named.or_else(system);
    match load::load(path.as_deref(), overrides) {
        Ok(config) => Ok((config, path)),
        Err(error) if path.is_none() => Err(Failure::ConfigWithoutFile(error)),
        Err(error) => Err(Failure::Config(error)),
    }
}

/// On standard output. Whoever stops reading, as `head` does, has read enough.
fn print(text: &str) -> io::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// On standard error. Where that is closed there is nobody left to tell.
fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "tidegate: {text}");
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
    use clap::CommandFactory as _;

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
