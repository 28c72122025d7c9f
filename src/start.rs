//! Starts a node: joins all parts. It has no logic of its own.

mod acme;
mod compile;
mod control;
mod descriptors;
mod error;
mod memory;
mod thread;

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};

pub use self::error::StartError;
use crate::{
    admin::{Admin, health::Health},
    config::{
        Config,
        error::ConfigError,
        load::{Loaded, Sources},
    },
    fault::{Fault, Faults},
    gateway::{drain::Stage, listener},
    observe::{
        gauges::Gauges,
        journal::{self, LogLevel},
        tally::Tally,
    },
    relay::registry::{self, Registry},
    start::{
        acme::CertificateOrder,
        compile::{Keys, NodeRules, Shared},
        control::Control,
        descriptors::Found,
        thread::ThreadArgs,
    },
    tls::OrderedHere,
    units::{Secret, SecretSource},
    wire::engineio::id::NodeId,
};

/// How long the last log lines may take to be written at exit.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

/// A running node. It keeps running when this is dropped.
#[derive(Debug)]
pub struct Running {
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where the operator connects.
    pub admin: SocketAddr,
    stage: watch::Sender<Stage>,
    grace: Duration,
    workers: Vec<JoinHandle<u64>>,
    control: JoinHandle<()>,
    workers_done: oneshot::Sender<()>,
}

impl Running {
    /// Stops accepting, closes all clients within `limits.shutdown_grace`, and waits for that. Returns the number of their
    /// packets that never reached the service.
    pub fn drain(self) -> u64 {
        self.stage.send_replace(Stage::Draining(self.grace));
        self.wait()
    }

    /// Waits until the node has been drained, for example by a signal. Returns as [`drain`](Self::drain) does.
    pub fn wait(self) -> u64 {
        // A panic was already reported by its thread.
        let unsent = self.workers.into_iter().filter_map(|worker| worker.join().ok()).sum();
        let _ = self.workers_done.send(());
        let _ = self.control.join();
        unsent
    }
}

/// Starts a node and returns at once. It watches neither signals nor files, unlike [`run`].
///
/// # Errors
/// See [`StartError`].
pub fn start(config: Config) -> Result<Running, StartError> {
    launch(config.into(), None)
}

/// Runs a node until SIGTERM or SIGINT has drained it. SIGHUP and a changed file read the `sources` again, of which
/// `loaded` is what they said first.
///
/// # Errors
/// See [`StartError`].
pub fn run(loaded: Loaded, sources: Sources) -> Result<(), StartError> {
    let journal = journal::init(&loaded.config.log)?;
    let source = control::Source { sources, journal: journal.clone() };
    let running = launch(loaded, Some(source)).inspect_err(|_| journal.flush(LOG_PATIENCE))?;
    journal::line(LogLevel::Info, &format!("listening on {}, admin on {}", running.address, running.admin));
    let unsent = running.wait();
    if unsent > 0 {
        let sentence =
            format!("{unsent} packets of clients never reached the service: it was down while this node drained");
        journal::line(LogLevel::Warn, &sentence);
    }
    journal::line(LogLevel::Info, "stopped");
    journal.flush(LOG_PATIENCE);
    Ok(())
}

/// Checks whether a node would start with this configuration. Reads keys and secrets, opens no address, makes no file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn verify(loaded: &Loaded) -> Result<(), ConfigError> {
    let mut faults = Faults::default();
    faults.keep(acme::verify(&loaded.config));
    let found = Found::at_start(&loaded.config, worker_count(&loaded.config));
    faults.keep(prepare(&loaded.config, Arc::new(Gauges::new()), None, found));
    faults.finish(Some(())).map_err(|faults| loaded.place(faults))
}

/// What is made of a configuration before any address is opened.
struct Prepared {
    shared: Shared,
    keys: Keys,
    node_rules: NodeRules,
    admin_token: Option<Secret>,
}

fn prepare(
    config: &Config,
    gauges: Arc<Gauges>,
    ordered: Option<OrderedHere>,
    found: Found,
) -> Result<Prepared, Vec<Fault>> {
    let mut faults = Faults::default();
    let keys = faults.keep(Keys::of(config, &gauges));
    let names = compile::event_names(config);
    let node_rules = keys.as_ref().and_then(|keys| faults.keep(compile::compile(config, keys, &names, 1, found.split)));
    let shared = faults.keep(Shared::compile(config, gauges, ordered, names, found));
    let admin_token = config.admin.token.as_ref().map(SecretSource::read).transpose();
    let admin_token = faults.keep(admin_token.map_err(|error| Fault::new("admin.token", error.to_string())));
    let prepared =
        || Some(Prepared { shared: shared?, keys: keys?, node_rules: node_rules?, admin_token: admin_token? });
    faults.finish(prepared())
}

fn launch(loaded: Loaded, source: Option<control::Source>) -> Result<Running, StartError> {
    let started = Instant::now();
    let config = &loaded.config;
    for warning in config.warnings() {
        journal::line(LogLevel::Warn, &warning.to_string());
    }
    let count = worker_count(config);
    let found = Found::at_start(config, count);
    let certificates = source.as_ref().and_then(|_| control::watch_certificates(config));
    let gauges = Arc::new(Gauges::new());
    let order = CertificateOrder::of(config, &gauges).map_err(|faults| loaded.place(faults))?;
    let prepared = prepare(config, gauges, order.as_ref().map(CertificateOrder::here), found);
    let Prepared { shared, keys, node_rules, admin_token } = prepared.map_err(|faults| loaded.place(faults))?;
    let (shared, order) = (Arc::new(shared), order.map(|order| order.listen(bind)).transpose()?);
    shared.tell_descriptors(config);
    let tallies: Vec<_> = (0..count).map(|_| Tally::new(&config.metrics.latency_buckets_ms)).collect();
    let health = Arc::new(Health::new(started, tallies.clone()));
    health.set_certificate(order.is_none());
    let node_rules = Arc::new(node_rules);

    let address = config.listen.address;
    let refused = |source| StartError::Listen { key: "listen.address", address, source };
    let listeners = listener::bind_all(address, count).map_err(refused)?;
    let address = listeners.first().map_or(Ok(address), TcpListener::local_addr)?;
    let admin_listener = bind("admin.address", config.admin.address)?;
    let admin_address = admin_listener.local_addr()?;

    let (stage, stage_seen) = watch::channel(Stage::Serving);
    let (current, current_seen) = watch::channel(node_rules);
    let mut workers = Vec::with_capacity(count);
    let (handles, inboxes): (Vec<_>, Vec<_>) = tallies.iter().map(|_| registry::channel()).unzip();
    // A node that starts anew is another one: it knows no session of before.
    let registry = Registry::new(NodeId::new(rand::random()), handles);
    for (index, ((listener, tally), inbox)) in listeners.into_iter().zip(&tallies).zip(inboxes).enumerate() {
        workers.push(thread::spawn(
            index,
            ThreadArgs {
                listener,
                tally: Arc::clone(tally),
                shared: Arc::clone(&shared),
                node_rules: current_seen.clone(),
                stage: stage_seen.clone(),
                registry: registry.clone(),
                inbox,
                started,
            },
        )?);
    }
    health.set_listening(true);

    let admin = Admin {
        exposition: Arc::new(shared.exposition(tallies, source.as_ref().map(|source| source.journal.clone()))),
        health: Arc::clone(&health),
        registry,
        token: admin_token.map(Secret::into_bytes),
        connections_max: shared.found.split.side,
    };
    let grace = config.limits.shutdown_grace.0;
    let (workers_done, done) = oneshot::channel();
    let control = Control {
        loaded,
        shared,
        keys,
        order,
        certificates,
        current,
        stage: stage.clone(),
        health,
        admin,
        admin_listener,
        source,
        done,
    };
    let control = control.spawn()?;
    Ok(Running { address, admin: admin_address, stage, grace, workers, control, workers_done })
}

/// One worker per processor unless a number is configured.
fn worker_count(config: &Config) -> usize {
    match config.listen.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    }
}

fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let refused = |source| StartError::Listen { key, address, source };
    let listener = TcpListener::bind(address).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    Ok(listener)
}

#[cfg(test)]
mod tests;
