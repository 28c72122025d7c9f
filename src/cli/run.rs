//! `tidegate run`: runs a node until SIGTERM or SIGINT.

use std::net::SocketAddr;

use super::{
    configuration::{FileArgs, sources},
    failure::Failure,
};
use crate::{
    config::load::{Sources, address::no_address},
    start::{self, StartError},
};

const EXAMPLES: &str = "\
Examples:
  tidegate run tidegate.toml
  tidegate run --listen 127.0.0.1:8443 --upstream http://127.0.0.1:4003

SIGHUP, or a change of the file, reloads the configuration.
SIGTERM: not ready any more (/readyz is 503), new clients are still served for
limits.lame_duck (5s); then all are closed within limits.shutdown_grace (30s).
SIGINT skips the first part. A second signal of either kind ends it and leaves
2 s, a third leaves none. SIGUSR1, which `tidegate drain` sends: as SIGTERM, and
the process stays, without clients, until SIGTERM. In Kubernetes,
terminationGracePeriodSeconds must be at least 5 s more than lame_duck and
shutdown_grace together.";

/// Run the gate in front of the service until SIGTERM or SIGINT
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    file: FileArgs,
    /// Where clients connect; replaces listen.address
    #[arg(long, value_name = "ADDR", value_parser = address)]
    listen: Option<SocketAddr>,
    /// The service; replaces upstream.url
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let sources = sources(args.file, Sources { file: None, listen: args.listen, upstream: args.upstream })?;
    start::run(sources.clone()).map_err(|error| match error {
        StartError::Config(error) => Failure::of_config(error, &sources),
        error => Failure::Start(error),
    })
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| no_address(text))
}
