//! `tidegate check`: checks a configuration, and says what was read.

use super::{
    configuration::{FileArgs, load},
    failure::Failure,
    output::{complain, print},
};
use crate::{
    config::{
        load::{Loaded, Sources},
        schema,
    },
    start,
};

const EXAMPLES: &str = "\
Examples:
  tidegate check tidegate.toml
  tidegate check --print tidegate.toml > effective.toml
  tidegate check --reference > tidegate.toml
  tidegate check --schema > tidegate.schema.json

Keys and secrets are read, as at a start, and never shown; no address is opened. Where all is well,
one line on standard output begins with \"ok:\" and says what was checked. Mistakes, all of them, and
warnings are on standard error. With --print, standard output is only the TOML, a file that says
the same as all sources together, and the line is on standard error.";

/// Check the configuration, and name every mistake with its place
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    file: FileArgs,
    /// Print the effective configuration: every key, with its value from the file, the environment or the defaults
    #[arg(long)]
    print: bool,
    /// Check nothing; print the JSON schema of the configuration file
    #[arg(long, conflicts_with_all = ["file", "config", "print", "reference"])]
    schema: bool,
    /// Check nothing; print every table and key with its meaning and its default
    #[arg(long, conflicts_with_all = ["file", "config", "print"])]
    reference: bool,
}

pub(super) fn check(args: Args) -> Result<(), Failure> {
    if args.schema {
        return Ok(print(&format!("{}\n", schema::schema()))?);
    }
    if args.reference {
        return Ok(print(&schema::reference())?);
    }
    let (loaded, sources) = load(args.file, Sources::default())?;
    start::verify(&loaded).map_err(|error| Failure::of_config(error, &sources))?;
    for warning in loaded.config.warnings() {
        complain(&format!("warning: {warning}"));
    }
    let checked = checked(&loaded, &sources);
    if args.print {
        complain(&checked);
        return Ok(print(&schema::effective(&loaded.config))?);
    }
    Ok(print(&format!("{checked}\n"))?)
}

/// What was checked, in one line.
fn checked(loaded: &Loaded, sources: &Sources) -> String {
    format!("ok: {}; no address was opened", read(loaded, sources))
}

/// What was read.
pub(super) fn read(loaded: &Loaded, sources: &Sources) -> String {
    let file = sources.file.as_ref().map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
    let variables = match loaded.variables {
        1 => "1 environment variable".to_owned(),
        count => format!("{count} environment variables"),
    };
    let read = match loaded.config.keys_read() {
        keys if keys.is_empty() => "no secret, key or certificate is named".to_owned(),
        keys => format!("read: {}", keys.join(", ")),
    };
    format!("{file} and {variables}; {read}")
}
