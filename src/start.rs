//! Starts a node: joins the parts, and decides what concerns the process: overload, leaving, reload.

mod acme;
mod cluster;
mod compile;
mod control;
mod departure;
mod descriptors;
mod error;
mod key_task;
mod memory;
mod prepare;
pub mod process_stage;
mod reload;
pub mod survey;
mod thread;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    runtime::Runtime,
    sync::{oneshot, watch},
};

pub use self::error::StartError;
use crate::{
    admin::{
        Admin,
        health::Health,
        status::{InForce, StatusSource},
    },
    config::{
        Config,
        error::ConfigError,
        load::{Loaded, Sources},
        watch::Watch,
    },
    gateway::{drain::Stage, listener},
    observe::{
        gauges::Gauges,
        journal::{self, LogLevel},
        overview::Overview,
        tally::Tally,
    },
    relay::{
        registry::{self, Registry, WorkerInbox},
        service_state::ServiceState,
        worker::SharedState,
    },
    start::{
        acme::CertificateOrder,
        cluster::Cluster,
        compile::{Lasting, NodeRules, Shared},
        control::Control,
        descriptors::{FirstDescriptors, Found},
        prepare::{Beside, Prepared, prepare, redis_rules},
        thread::ThreadArgs,
    },
    tls::{OrderedHere, TlsRules},
    units::Secret,
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
    rules: watch::Receiver<Arc<NodeRules>>,
    workers: Vec<JoinHandle<u64>>,
    control: JoinHandle<()>,
    workers_done: oneshot::Sender<u64>,
    cluster: Option<JoinHandle<()>>,
    cluster_done: oneshot::Sender<()>,
}

impl Running {
    /// Stops accepting at once, without `limits.lame_duck`, closes all clients within `limits.shutdown_grace`, and waits for that. Returns the number of their
    /// packets that never reached the service.
    pub fn drain(self) -> u64 {
        let grace = self.rules.borrow().departure.grace;
        self.stage.send_replace(Stage::Draining(grace));
        self.wait()
    }

    /// Waits until the node has been drained, for example by a signal, and need not stay. Returns as [`drain`](Self::drain) does.
    pub fn wait(self) -> u64 {
        // A panic was already reported by its thread.
        let unsent = self.workers.into_iter().filter_map(|worker| worker.join().ok()).sum();
        // What the service has said last is published before anybody hears that the node is drained.
        drop(self.cluster_done);
        let _ = self.cluster.map(JoinHandle::join);
        let _ = self.workers_done.send(unsent);
        let _ = self.control.join();
        unsent
    }
}

/// Starts a node and returns at once. It watches neither signals nor files, unlike [`run`].
///
/// # Errors
/// See [`StartError`].
pub fn start(config: Config) -> Result<Running, StartError> {
    launch(config.into(), None, FirstDescriptors::now(), control::runtime)
}

/// Runs a node until SIGTERM or SIGINT has drained it, or has come after SIGUSR1 did. SIGHUP and a changed file read the `sources` again.
///
/// # Errors
/// See [`StartError`].
pub fn run(sources: Sources) -> Result<(), StartError> {
    let first = FirstDescriptors::now();
    let runtime = control::runtime()?;
    // From before they are read: a change while the node starts is one like any other.
    let watch = runtime.block_on(async { Watch::start(sources.file.as_deref()) })?;
    let loaded = sources.load(verify)?;
    let journal = journal::init(&loaded.config.log)?;
    let source = reload::Source { sources, journal: journal.clone(), watch };
    let running = launch(loaded, Some(source), first, || Ok(runtime)).inspect_err(|_| journal.flush(LOG_PATIENCE))?;
    journal::line(LogLevel::Info, &format!("listening on {}, admin on {}", running.address, running.admin));
    running.wait();
    journal::line(LogLevel::Info, "stopped");
    journal.flush(LOG_PATIENCE);
    Ok(())
}

/// Checks whether a node would start with this configuration. Reads keys and secrets, opens no address, makes no file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn verify(loaded: &Loaded) -> Result<(), ConfigError> {
    let config = &loaded.config;
    let found = Found::at_start(config, worker_count(config), FirstDescriptors::now());
    let (gauges, names) = (Arc::new(Gauges::new()), compile::event_names(config));
    let service = Arc::new(ServiceState::new(Arc::clone(&gauges.service)));
    let sharing = Cluster::of(None, &gauges).sharing();
    let lasting = Lasting { names, service, revoked: Arc::default(), sharing, split: found.split };
    prepare(config, &Beside::at_start(&gauges, &lasting)).map_err(|faults| loaded.place(faults))?;
    Ok(())
}

fn launch(
    loaded: Loaded,
    source: Option<reload::Source>,
    first: FirstDescriptors,
    runtime: impl FnOnce() -> io::Result<Runtime>,
) -> Result<Running, StartError> {
    let started = Instant::now();
    let config = &loaded.config;
    reload::warn_of(config);
    let count = worker_count(config);
    let found = Found::at_start(config, count, first);
    // Watched before they are read.
    let files = source.as_ref().map(|_| reload::watch_files(&[config]));
    let (gauges, names) = (Arc::new(Gauges::new()), compile::event_names(config));
    // What is wrong with `[redis]` is told below, with everything else.
    let cluster = Cluster::of(redis_rules(config).unwrap_or_default(), &gauges);
    let service = Arc::new(ServiceState::new(Arc::clone(&gauges.service)));
    let workers = SharedState::new(Arc::clone(&gauges.memory), Arc::clone(&service)).with_outlet(cluster.outlet());
    let sharing = cluster.sharing();
    let lasting = Lasting { names, service, revoked: Arc::default(), sharing, split: found.split };
    let prepared = prepare(config, &Beside::at_start(&gauges, &lasting)).map_err(|faults| loaded.place(faults))?;
    let Prepared { keys, node_rules, tls, admin_token, redis: _ } = prepared;
    let Ordering { order, ordered, tls } = ordering(&loaded, &gauges, &cluster, tls)?;
    let shared = Arc::new(Shared::new(config, gauges, ordered, found, tls, workers, lasting));
    shared.tell_descriptors(config);
    let tallies: Vec<_> = (0..count).map(|_| Tally::new(&config.metrics.latency_buckets_ms)).collect();
    let health = health(config, started, &tallies, &shared.gauges, order.is_none());

    let (listeners, address) = bind_workers(config.listen.address, count)?;
    let (admin_listener, admin_address) = bind_admin(config.admin.address)?;

    let (stage, stage_seen) = watch::channel(Stage::Serving);
    let (current, rules) = watch::channel(node_rules.take_effect());
    let (handles, inboxes): (Vec<_>, Vec<_>) = tallies.iter().map(|_| registry::channel()).unzip();
    // A node that starts anew is another one: it knows no session of before.
    let registry = Registry::new(NodeId::new(rand::random()), handles);
    let revoker = shared.revoker(config, &registry);
    let of_worker = |((listener, tally), inbox): ((TcpListener, &Arc<Tally>), WorkerInbox)| ThreadArgs {
        listener,
        tally: Arc::clone(tally),
        shared: Arc::clone(&shared),
        node_rules: rules.clone(),
        stage: stage_seen.clone(),
        registry: registry.clone(),
        inbox,
        started,
    };
    let args = listeners.into_iter().zip(&tallies).zip(inboxes).map(of_worker);
    let workers = args.enumerate().map(|(index, args)| thread::spawn(index, args)).collect::<Result<_, _>>()?;
    health.set_listening(true);

    let admin = Admin {
        exposition: Arc::new(shared.exposition(tallies.clone(), source.as_ref().map(|source| source.journal.clone()))),
        health: Arc::clone(&health),
        status: status_source(config, started, &tallies, &shared.gauges),
        registry: registry.clone(),
        revoker: revoker.clone(),
        token: admin_token.map(Secret::into_bytes).into(),
        connections_max: shared.found.split.side,
    };
    let (workers_done, done) = oneshot::channel();
    let control = Control {
        loaded,
        shared,
        keys,
        order,
        files,
        current,
        stage: stage.clone(),
        health,
        tallies,
        admin,
        admin_listener,
        source,
        done,
    }
    .spawn(runtime()?)?;
    let (cluster_done, done) = oneshot::channel();
    let cluster = cluster.spawn(registry, revoker, stage.subscribe(), done)?;
    Ok(Running { address, admin: admin_address, stage, rules, workers, control, workers_done, cluster, cluster_done })
}

/// A certificate that is ordered, and the TLS rules with it. Without `[tls.acme]` they are as they were.
struct Ordering {
    order: Option<CertificateOrder>,
    ordered: Option<OrderedHere>,
    tls: Option<TlsRules>,
}

/// Begins after everything else was found right, because it makes the folder of its cache.
fn ordering(
    loaded: &Loaded,
    gauges: &Arc<Gauges>,
    cluster: &Cluster,
    tls: Option<TlsRules>,
) -> Result<Ordering, StartError> {
    let (config, place) = (&loaded.config, |faults| loaded.place(faults));
    let Some(order) = CertificateOrder::of(config, gauges, cluster.link()).map_err(place)? else {
        return Ok(Ordering { order: None, ordered: None, tls });
    };
    let ordered = order.here();
    let tls = compile::tls_rules(config, Some(&ordered), None).map_err(place)?;
    Ok(Ordering { order: Some(order.listen(bind)?), ordered: Some(ordered), tls })
}

/// What `/readyz` asks. `certified`: no certificate is ordered.
fn health(config: &Config, started: Instant, tallies: &[Arc<Tally>], gauges: &Gauges, certified: bool) -> Arc<Health> {
    let needs_redis = config.redis.as_ref().is_some_and(|redis| redis.required);
    let health = Health::new(started, tallies.to_vec(), Arc::clone(&gauges.service));
    health.set_certificate(certified);
    Arc::new(health.with_redis(Arc::clone(&gauges.redis), needs_redis))
}

/// What the status page shows.
fn status_source(config: &Config, started: Instant, tallies: &[Arc<Tally>], gauges: &Arc<Gauges>) -> StatusSource {
    // A container has the name of its pod. Elsewhere than on Linux nothing is found here.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let in_force = InForce::default();
    in_force.set(reload::shown(config));
    StatusSource {
        node: if host.trim().is_empty() { "tidegate".to_owned() } else { host.trim().to_owned() },
        started: (started, SystemTime::now()),
        overview: Overview::new(tallies.to_vec(), Arc::clone(gauges)),
        in_force,
    }
}

/// One worker per processor unless a number is configured.
fn worker_count(config: &Config) -> usize {
    match config.listen.workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    }
}

/// A listener for each worker, at one address.
fn bind_workers(address: SocketAddr, count: usize) -> Result<(Vec<TcpListener>, SocketAddr), StartError> {
    let refused = |source| StartError::Listen { key: "listen.address", address, source };
    let listeners = listener::bind_all(address, count).map_err(refused)?;
    let address = listeners.first().map_or(Ok(address), TcpListener::local_addr)?;
    Ok((listeners, address))
}

fn bind_admin(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listener = bind("admin.address", address)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    let refused = |source| StartError::Listen { key, address, source };
    let listener = TcpListener::bind(address).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    Ok(listener)
}

#[cfg(test)]
mod tests;
