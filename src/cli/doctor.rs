//! `tidegate doctor`: checks what a configuration needs of its surroundings, and says what to do.

mod bypass;
mod capacity;
mod certificate;
mod clock;
mod finding;
mod handshake;
mod keys;
mod names;
mod node;
mod redis;
mod request;
mod service;
mod websocket;

use std::{path::PathBuf, time::Duration};

use futures_util::future::join_all;
use tokio::{runtime::Builder, time::timeout};

use self::{
    finding::{CONFIGURATION, Checked, Finding, Report, Sighting},
    handshake::Client,
};
use super::{
    check::read,
    configuration::{FileArgs, load},
    failure::{DoctorError, Exit, Failure},
    output::print,
};
use crate::{
    config::load::{Loaded, Sources},
    start::{
        self,
        survey::{self, FirstDescriptors},
    },
    units::{Period, SecretSource},
};

/// For one check with all of its parts. Each of them has less.
const PATIENCE: Duration = Duration::from_secs(6);

/// For a connection to the service, where `upstream.connect_timeout` is longer.
const CONNECT_WITHIN: Period = Period(Duration::from_secs(4));

const EXAMPLES: &str = "\
Examples:
  kubectl exec deploy/chat -c tidegate -- /tidegate doctor /etc/tidegate/config/tidegate.toml
  tidegate doctor tidegate.toml --name chat.example.com --json
  tidegate doctor --bypass 10.0.0.7:4003
  tidegate doctor --handshake https://chat.example.com --token-file token

Each line is ok, warn, fail or skip (not looked at, and why), what was found, and what to do. Run it where
the gate runs: in its pod, or on its machine. Nothing is changed; the service, Redis and the server of keys
are asked once, and no secret is shown. docs/doctor.md explains each line.

Exit codes of doctor: 0 where nothing failed, warnings or not; 1 where a check failed; 2 where the
configuration or the command line is wrong, whatever else has failed.";

/// Check what the gate needs around it: service, certificates, keys, Redis, clocks, and ways around the gate
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(flatten)]
    file: FileArgs,
    /// A host that clients use, for which there must be a certificate; may be repeated
    #[arg(long, value_name = "HOST", conflicts_with_all = ["bypass", "handshake"])]
    name: Vec<String>,
    /// Check only that nothing answers here, from another pod or a laptop: the service's own address; may be repeated
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["file", "config"])]
    bypass: Vec<String>,
    /// Check only the handshake of a Socket.IO client with the gate at this URL, by polling and by WebSocket
    #[arg(long, value_name = "URL", conflicts_with_all = ["file", "config"])]
    handshake: Option<String>,
    /// With --handshake: a file with the client's token, sent in the CONNECT packet and as Authorization: Bearer
    #[arg(long, value_name = "FILE", requires = "handshake")]
    token_file: Option<PathBuf>,
    /// With --handshake: a PEM file with the authorities that may sign the gate's certificate [default: those of this machine]
    #[arg(long, value_name = "FILE", requires = "handshake")]
    ca: Option<PathBuf>,
    /// Print JSON: {"status": …, "checks": [{"check": …, "status": …, "found": …, "fix": …}]}
    #[arg(long)]
    json: bool,
}

pub(super) fn doctor(args: Args) -> Result<Exit, Failure> {
    let from_elsewhere = !args.bypass.is_empty() || args.handshake.is_some();
    let json = args.json;
    // Before anything is opened, and a check raises the limit.
    let first = FirstDescriptors::now();
    let runtime = Builder::new_current_thread().enable_all().build().map_err(DoctorError::Runtime)?;
    let findings = match from_elsewhere {
        true => {
            let client = client(&args)?;
            runtime.block_on(elsewhere(&args.bypass, client.as_ref()))
        }
        false => match load(args.file, Sources::default()) {
            Ok((loaded, sources)) => {
                let (configuration, checks) = (configuration(&loaded, &sources), here(&loaded, &args.name, first));
                [configuration, runtime.block_on(checks)].concat()
            }
            Err(Failure::Config(error) | Failure::ConfigWithoutFile(error)) => mistakes(&error.to_string()),
            Err(failure) => return Err(failure),
        },
    };
    // A name that is still being looked up keeps nobody waiting.
    runtime.shutdown_background();
    let report = Report::of(findings);
    print(&if json { report.json() } else { report.text() })?;
    Ok(report.exit())
}

fn client(args: &Args) -> Result<Option<Client>, DoctorError> {
    let Some(url) = &args.handshake else { return Ok(None) };
    let token = args.token_file.clone().map(|file| SecretSource::File(file).read()).transpose();
    let token = token.map_err(|error| DoctorError::Token(error.to_string()))?;
    Client::new(url, args.ca.clone(), token).map(Some)
}

/// As a client, or as somebody who would go around the gate. No configuration is read.
async fn elsewhere(bypass: &[String], client: Option<&Client>) -> Vec<Finding> {
    let around = join_all(bypass.iter().map(|target| bypass::check_from_elsewhere(target)));
    let seen = async {
        match client {
            Some(client) => client.check().await,
            None => Vec::new(),
        }
    };
    let (around, seen) = tokio::join!(around, seen);
    [around, seen].concat()
}

/// The same as `tidegate check`.
fn configuration(loaded: &Loaded, sources: &Sources) -> Vec<Finding> {
    let first = match start::verify(loaded) {
        Err(error) => mistakes(&error.to_string()),
        Ok(()) => vec![Finding::ok(CONFIGURATION, read(loaded, sources))],
    };
    let warnings = loaded.config.warnings().into_iter();
    first.into_iter().chain(warnings.map(|warning| Finding::warn(CONFIGURATION, warning.to_string()))).collect()
}

fn mistakes(error: &str) -> Vec<Finding> {
    error.lines().map(|line| Finding::fail(CONFIGURATION, line)).collect()
}

/// All checks of a configuration, at once, told in a fixed order.
async fn here(loaded: &Loaded, names: &[String], first: FirstDescriptors) -> Vec<Finding> {
    let config = &loaded.config;
    let mut hurried = config.clone();
    hurried.upstream.connect_timeout = hurried.upstream.connect_timeout.min(CONNECT_WITHIN);
    let service = survey::dialler(&hurried);
    let around = async {
        match &service {
            Ok(service) => bypass::check(config, service).await,
            Err(_) => vec![Finding::skip("bypass", "upstream.url cannot be used")],
        }
    };
    let answers = async {
        match &service {
            Ok(service) => service::check(config, service).await,
            Err(_) => Finding::skip("service", "[upstream] cannot be used").into(),
        }
    };
    let (node, around, service, certificate, keys, redis, dns) = tokio::join!(
        bounded("node", async { node::check(config).await.into() }),
        bounded("bypass", async { around.await.into() }),
        bounded("service", answers),
        bounded("certificate", async { certificate::check(config, names).await.into() }),
        bounded("keys", keys::check(&config.auth)),
        bounded("redis", redis::check(config)),
        bounded("dns", async { names::check(config).await.into() }),
    );
    let sightings: Vec<Sighting> =
        [&keys, &service, &redis].into_iter().filter_map(|checked| checked.sighting.clone()).collect();
    let clock = clock::judge(&sightings, config.auth.leeway.0).into();
    let capacity = capacity::check(config, first).into();
    let in_order = [node, around, service, certificate, keys, redis, clock, capacity, dns];
    in_order.into_iter().flat_map(|checked: Checked| checked.findings).collect()
}

async fn bounded(check: &'static str, checked: impl Future<Output = Checked>) -> Checked {
    let late = || Finding::fail(check, format!("it did not end within {} s", PATIENCE.as_secs())).into();
    timeout(PATIENCE, checked).await.unwrap_or_else(|_| late())
}
