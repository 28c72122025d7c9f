//! `tidegate run`: runs a node until SIGTERM or SIGINT.

use std::{net::SocketAddr, path::PathBuf};

use super::{configuration::load, failure::Failure};
use crate::{
    config::load::Sources,
    start::{self, StartError},
};

const EXAMPLES: &str = "\
Examples:
  tidegate run --config tidegate.toml
  tidegate run --listen 127.0.0.1:8443 --upstream http://127.0.0.1:4003

SIGHUP, or a change of the file, reloads the configuration.
SIGTERM and SIGINT close all clients and stop.";

/// Run the gate in front of the service until SIGTERM or SIGINT
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The configuration file [default: /etc/tidegate/tidegate.toml, if it exists]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where clients connect; replaces listen.address
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: Option<SocketAddr>,
    /// The service; replaces upstream.url
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let (loaded, sources) = load(Sources { file: args.config, listen: args.listen, upstream: args.upstream })?;
    start::run(loaded, sources.clone()).map_err(|error| match error {
        StartError::Config(error) => Failure::of_config(error, &sources),
        error => Failure::Start(error),
    })
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "an address is IP:PORT, for example 127.0.0.1:8443 or [::1]:8443")
}
