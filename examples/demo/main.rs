//! Tidegate in front of a Socket.IO service, in one process: `cargo run --release --example demo`.
//!
//! The first build takes up to ten minutes on two cores: it compiles 240 crates, among them the C code of aws-lc.
//! The demo needs no network, no Node, no Redis, no configuration. The service and its page do not know of the gate.

mod service;
mod token;

use std::{
    error::Error,
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
};

use tidegate::{
    Config,
    admin::AdminTable,
    gateway::listener::ListenTable,
    observe::journal::{LogFormat, LogLevel, LogTable},
    policy::{auth::AuthTable, connections::LimitsTable},
    relay::dial::UpstreamTable,
    units::{Period, SecretSource},
};

use crate::{service::LEARNER, token::Secret};

/// The port of the service in the README. Its clients connect to it, so the gate listens there.
const PORT: u16 = 4003;
const ADMIN_PORT: u16 = 9464;

fn main() -> Result<(), Box<dyn Error>> {
    let secret = Secret::random()?;
    let token = secret.token_for(LEARNER)?;
    let secret_file = secret.to_file()?;
    let service = service::start(secret)?;
    let gate = config(service, secret_file.path())?;
    let running = tidegate::start::start(gate)?;
    // The file has been read, and a Ctrl-C would leave it behind.
    drop(secret_file);
    println!("{}", welcome(running.address, running.admin, &token));
    running.wait();
    Ok(())
}

/// What a `tidegate.toml` would contain.
fn config(service: SocketAddr, secret: &Path) -> io::Result<Config> {
    Ok(Config {
        listen: ListenTable { address: loopback(PORT)?, ..ListenTable::default() },
        admin: AdminTable { address: loopback(ADMIN_PORT)?, ..AdminTable::default() },
        upstream: UpstreamTable { url: format!("http://{service}"), ..UpstreamTable::default() },
        auth: AuthTable { secret: Some(SecretSource::File(secret.to_owned())), ..AuthTable::default() },
        limits: LimitsTable { lame_duck: Period::OFF, shutdown_grace: Period::OFF, ..LimitsTable::default() },
        log: LogTable { format: LogFormat::Text, level: LogLevel::Warn },
        ..Config::default()
    })
}

/// This port on loopback, or a free one if it is taken.
fn loopback(port: u16) -> io::Result<SocketAddr> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
            println!("Port {port} is taken, so it is {} this time.", address.port());
            Ok(address)
        }
        free => free?.local_addr(),
    }
}

fn welcome(address: SocketAddr, admin: SocketAddr, token: &str) -> String {
    format!(
        "
Tidegate stands in front of a Socket.IO service.

  page     http://{address}/
  metrics  http://{admin}/metrics/prometheus
  token    {token}
           (learner {LEARNER}, good for one hour; the page has one already)

Four things to try:

  1. Open the page and press \"Kill the service\": it is down for five seconds, the client stays connected, and what it
     sends meanwhile waits and is answered when the service is back.
  2. Press \"Send 101 messages\": the service answers 100 of them, Tidegate the 101st.
  3. Press \"Connect with a bad token\": the client gets the reason, and does not retry.
  4. See what was counted:
     curl -s http://{admin}/metrics/prometheus | grep ^websocket_

To put it in front of a service of your own, see the end of the page. Ctrl-C ends it.
"
    )
}
