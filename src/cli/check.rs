//! `tidegate check`: checks a configuration and prints its effective form.

use std::path::PathBuf;

use super::{
    configuration::load,
    failure::Failure,
    output::{complain, print},
};
use crate::{
    config::{load::Sources, schema},
    start,
};

const EXAMPLES: &str = "\
Examples:
  tidegate check tidegate.toml
  tidegate check --reference > tidegate.toml
  tidegate check --schema > tidegate.schema.json

Keys and secrets are read, as at a start, and never shown; no address is opened. Standard output
is a TOML file that says the same as all sources together; warnings are on standard error.";

/// Check the configuration and print its effective form
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The configuration file [default: /etc/tidegate/tidegate.toml, if it exists]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Check nothing; print the JSON schema of the configuration file
    #[arg(long, conflicts_with_all = ["file", "reference"])]
    schema: bool,
    /// Check nothing; print every table and key with its meaning and its default
    #[arg(long, conflicts_with = "file")]
    reference: bool,
}

pub(super) fn check(args: Args) -> Result<(), Failure> {
    if args.schema {
        return Ok(print(&format!("{}\n", schema::schema()))?);
    }
    if args.reference {
        return Ok(print(&schema::reference())?);
    }
    let (loaded, sources) = load(Sources { file: args.file, ..Sources::default() })?;
    start::verify(&loaded).map_err(|error| Failure::of_config(error, &sources))?;
    for warning in loaded.config.warnings() {
        complain(&format!("warning: {warning}"));
    }
    Ok(print(&schema::effective(&loaded.config))?)
}
