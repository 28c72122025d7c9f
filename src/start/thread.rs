//! One worker thread: its runtime, listener and edge, from start to drain.

use std::{
    io,
    net::TcpListener,
    rc::Rc,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::{LocalSet, spawn_local},
};

use crate::{
    gateway::{
        drain::{self, Stage},
        edge::Edge,
        listener,
        serve::Server,
    },
    observe::{journal, tally::Tally},
    relay::{
        registry::{Registry, WorkerInbox},
        worker::Worker,
    },
    start::compile::{NodeRules, Shared},
    tls::handshake::Handshakes,
};

/// The interval of the sweep is this part of the shortest session timeout, ...
const TICKS_PER_PING: u32 = 20;

/// ... within these bounds.
const TICK_MIN: Duration = Duration::from_millis(10);
const TICK_MAX: Duration = Duration::from_millis(250);

/// How long sessions may send their last bytes after the grace.
const LAST_BYTES: Duration = Duration::from_secs(3);

/// How often a draining thread checks whether all sessions and requests have ended.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// What a worker thread is given.
pub(super) struct ThreadArgs {
    pub(super) listener: TcpListener,
    pub(super) tally: Arc<Tally>,
    pub(super) shared: Arc<Shared>,
    pub(super) node_rules: watch::Receiver<Arc<NodeRules>>,
    pub(super) stage: watch::Receiver<Stage>,
    pub(super) registry: Registry,
    pub(super) inbox: WorkerInbox,
    pub(super) started: Instant,
}

/// Starts a worker thread. It ends when it has been drained, with the number of packets that never reached the service.
pub(super) fn spawn(index: usize, args: ThreadArgs) -> io::Result<JoinHandle<u64>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || LocalSet::new().block_on(&runtime, run(index, args)))
}

async fn run(index: usize, args: ThreadArgs) -> u64 {
    let ThreadArgs { listener, tally, shared, mut node_rules, mut stage, registry, mut inbox, started } = args;
    let current = Arc::clone(&node_rules.borrow_and_update());
    let tick = (current.session.session.ping_interval.min(current.session.session.ping_timeout) / TICKS_PER_PING)
        .clamp(TICK_MIN, TICK_MAX);
    let rules = Arc::clone(&current.session);
    let worker = Worker::new(registry, index, &shared.workers, rules, Arc::clone(&tally));
    let (connections, requests) = (Arc::clone(&shared.connections), Arc::clone(&shared.requests));
    let (descriptors, refused_max) = (Arc::clone(&shared.found.descriptors), shared.found.split.refused);
    let handshakes = shared.tls.as_ref().map(|tls| Handshakes::new(Arc::clone(tls), Arc::clone(&tally)));
    let edge = Rc::new(Edge::new(Rc::clone(&worker), connections, requests, descriptors, Arc::clone(&current.edge)));
    let server = Server::new(Rc::clone(&edge), handshakes, refused_max, stage.clone());

    spawn_local({
        let worker = Rc::clone(&worker);
        async move { worker.sweep(started, tick).await }
    });
    spawn_local({
        let worker = Rc::clone(&worker);
        async move { worker.serve_rooms().await }
    });
    spawn_local({
        let worker = Rc::clone(&worker);
        async move {
            while let Some(command) = inbox.next().await {
                worker.run(command);
            }
        }
    });
    spawn_local({
        let worker = Rc::clone(&worker);
        async move {
            while node_rules.changed().await.is_ok() {
                let current = Arc::clone(&node_rules.borrow_and_update());
                worker.adopt(Arc::clone(&current.session));
                edge.adopt(Arc::clone(&current.edge));
            }
        }
    });

    let draining = drain::begins(stage.clone());
    if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
        let on_connection = |stream, peer| server.accept(stream, peer);
        let on_exhausted = |error: &io::Error| {
            tally.accept_error();
            journal::accept_failed(error);
        };
        listener::accept(listener, draining, on_connection, on_exhausted).await;
    }
    let unsent_before = tally.queue_dropped_so_far();
    send_away(&worker, &server, &mut stage).await;
    tally.retire();
    tally.queue_dropped_so_far() - unsent_before
}

async fn send_away(worker: &Worker, server: &Server, stage: &mut watch::Receiver<Stage>) {
    let mut until = Instant::now();
    stage.mark_changed();
    while !worker.is_empty() || !server.is_idle() {
        if stage.has_changed().unwrap_or(false) {
            // A second signal shortens the grace.
            if let Stage::Draining(grace) = *stage.borrow_and_update() {
                worker.drain(grace);
                until = Instant::now() + grace + LAST_BYTES;
            }
        }
        if Instant::now() >= until {
            break;
        }
        tokio::time::sleep(DRAIN_LOOK).await;
    }
}
