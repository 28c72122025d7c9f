//! Tidegate in front of a Socket.IO service, in one process: `cargo run --release --example demo`.
//!
//! The first build takes four to seven minutes on two cores: it compiles 250 crates, among them the C code of aws-lc.
//! The demo needs no network, no Node, no Redis, no configuration. The service does not know of the gate.

mod args;
mod life;
mod line;
mod log;
mod pages;
mod service;
mod stage;
mod token;
mod tutor;

use std::{
    env,
    error::Error,
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use tidegate::{
    Config,
    admin::AdminTable,
    gateway::{listener::ListenTable, websocket::WebsocketTable},
    policy::{auth::AuthTable, connections::LimitsTable},
    relay::dial::UpstreamTable,
    session::table::SocketioTable,
    units::{Period, SecretSource},
};
use tracing_subscriber::{Layer, filter::filter_fn, layer::SubscriberExt};

use crate::{
    args::{ADMIN_PORT, PORT},
    life::Life,
    line::Line,
    log::LogBook,
    pages::{LEARNER, Pages},
    stage::Stage,
    token::Secret,
};

/// There are descriptors for as many everywhere.
const CONNECTIONS: u32 = 200;
/// Short, so that a change of the line is soon in the gate's own measurement.
const PING_INTERVAL: Duration = Duration::from_secs(2);

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<_> = env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    match args::instead_of_a_start(&args) {
        Some((help, 0)) => println!("{help}"),
        Some((mistake, code)) => {
            eprintln!("{mistake}");
            return Ok(code.into());
        }
        None => run()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn run() -> Result<(), Box<dyn Error>> {
    let secret = Secret::random()?;
    let token = secret.token_for(LEARNER)?;
    let secret_file = secret.to_file()?;
    let (life, line, log) = (Life::new(), Line::default(), LogBook::default());
    keep(&log)?;
    let (front, controls, admin) = (listener(PORT)?, listener(0)?, listener(ADMIN_PORT)?.local_addr()?);
    let (page, stage) = (front.local_addr()?, controls.local_addr()?);
    let service = service::start(Pages { secret, stage }, life.clone())?;
    let gate = config(service, admin, secret_file.path())?;
    let running = tidegate::start::start(gate)?;
    // The file has been read, and a Ctrl-C would leave it behind.
    drop(secret_file);
    line.start(front, running.address)?;
    Stage { life, line, log, admin }.start(controls)?;
    println!("{}", welcome(page, admin, &token));
    running.wait();
    Ok(())
}

/// What a `tidegate.toml` would contain.
fn config(service: SocketAddr, admin: SocketAddr, secret: &Path) -> io::Result<Config> {
    Ok(Config {
        listen: ListenTable { address: listener(0)?.local_addr()?, client_script: true, ..ListenTable::default() },
        admin: AdminTable { address: admin, ..AdminTable::default() },
        upstream: UpstreamTable { url: format!("http://{service}"), ..UpstreamTable::default() },
        auth: AuthTable {
            secret: Some(SecretSource::File(secret.to_owned())),
            // A browser sets no header on a plain WebSocket.
            token_from: ["connect:token", "header", "query:token"].map(str::to_owned).to_vec(),
            ..AuthTable::default()
        },
        socketio: SocketioTable { ping_interval: Period(PING_INTERVAL), ..SocketioTable::default() },
        // For pages without socket.io-client, as that of examples/react can be.
        websocket: vec![WebsocketTable {
            path: "/ws".to_owned(),
            bridge: Some("/".to_owned()),
            ..WebsocketTable::default()
        }],
        limits: LimitsTable {
            connections: CONNECTIONS,
            lame_duck: Period::OFF,
            shutdown_grace: Period::OFF,
            ..LimitsTable::default()
        },
        ..Config::default()
    })
}

/// The gate's log goes to the page.
fn keep(log: &LogBook) -> Result<(), Box<dyn Error>> {
    let log = log.clone();
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_target(false).with_writer(move || log.clone());
    let ours = filter_fn(|line| *line.level() <= tracing::Level::INFO && line.target().starts_with("tidegate"));
    Ok(tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines.with_filter(ours)))?)
}

/// At this port on loopback, or at a free one if it is taken.
fn listener(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            println!("Port {port} is taken, so it is {} this time.", listener.local_addr()?.port());
            Ok(listener)
        }
        bound => bound,
    }
}

fn welcome(page: SocketAddr, admin: SocketAddr, token: &str) -> String {
    format!(
        "
Tidegate stands in front of a Socket.IO service.

  page     http://{page}/
  status   http://{admin}/ (the operator's page)
  metrics  http://{admin}/metrics/prometheus
  token    {token}
           (learner {LEARNER}, good for one hour; the page has one already)

The page shows four things, each by one button:

  1. Kill the service: the client stays connected, and what it sends waits and is answered when the service is back.
  2. Lose the network: what is written meanwhile waits in the browser, and arrives once and in order.
  3. Send too fast: the service answers 100 messages, Tidegate the 101st.
  4. Slow the line: the client and Tidegate both measure it.

See what was counted:

  curl -s http://{admin}/metrics/prometheus | grep ^websocket_

To put it in front of a service of your own, see the end of the page. Ctrl-C ends it.
"
    )
}
