//! The control thread: the operator's address, the key set, signals, reloads. No frame passes here.

use std::{
    io,
    net::TcpListener,
    sync::{Arc, OnceLock},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    runtime::Runtime,
    sync::{mpsc, oneshot, watch},
};

use crate::{
    admin::{self, Admin, health::Health},
    config::{load::Loaded, watch::FilesWatch},
    gateway::drain::Stage,
    observe::{
        journal::{self, LogLevel},
        tally::{Tally, open_sessions},
    },
    relay::revoker::Revoker,
    start::{
        acme::CertificateOrder,
        compile::{Keys, NodeRules, Shared},
        departure,
        key_task::KeyTask,
        memory,
        process_stage::ProcessStage,
        reload::{Node, Reload, Source},
    },
};

/// How often unused limits are forgotten.
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// How often the expiry of certificates is checked.
const EXPIRY_LOOK: Duration = Duration::from_secs(3600);

/// How long those who wait for the end of the drain have to be answered before the process ends.
const LAST_ANSWERS: Duration = Duration::from_millis(50);

/// Why a node that was drained is not ready.
const DRAINED: &str = "the node is drained: it has no clients and takes none; SIGTERM ends it";

/// The parts of the control thread.
pub(super) struct Control {
    pub(super) loaded: Loaded,
    pub(super) shared: Arc<Shared>,
    pub(super) keys: Keys,
    pub(super) order: Option<CertificateOrder>,
    /// Those that the configuration names; with `source`.
    pub(super) files: Option<FilesWatch>,
    pub(super) current: watch::Sender<Arc<NodeRules>>,
    pub(super) stage: watch::Sender<Stage>,
    pub(super) health: Arc<Health>,
    pub(super) tallies: Vec<Arc<Tally>>,
    pub(super) admin: Admin,
    pub(super) admin_listener: TcpListener,
    pub(super) source: Option<Source>,
    /// The workers have ended, and so many packets of their clients never reached the service.
    pub(super) done: oneshot::Receiver<u64>,
}

/// What the control thread runs on. Signals are received by way of it from when they are asked for.
pub(super) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

impl Control {
    /// Starts the control thread. It ends when the workers have, unless the process stays.
    pub(super) fn spawn(self, runtime: Runtime) -> io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name(ProcessStage::Serving.name().to_owned()).spawn(move || {
            if let Err(error) = runtime.block_on(self.live()) {
                journal::line(LogLevel::Error, &format!("the control thread stopped: {error}"));
            }
        })
    }

    async fn live(self) -> io::Result<()> {
        let Self {
            loaded,
            shared,
            keys,
            order,
            files,
            current,
            stage,
            health,
            tallies,
            admin,
            admin_listener,
            source,
            done,
        } = self;
        let admin_listener = tokio::net::TcpListener::from_std(admin_listener)?;
        let (registry, token, revoker) = (admin.registry.clone(), admin.token.clone(), admin.revoker.clone());
        let in_force = admin.status.in_force.clone();
        let (_stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(admin::serve(admin_listener, admin, async {
            let _ = stopped.await;
        }));
        let keys = KeyTask::spawn(keys, &health, registry.clone());
        tokio::spawn(tidy(current.clone(), revoker));
        tokio::spawn({
            let (memory, registry, current) =
                (Arc::clone(&shared.gauges.memory), registry.clone(), current.subscribe());
            memory::watch(memory, registry, move || Arc::clone(&current.borrow().memory))
        });
        tokio::spawn(watch_expiry(Arc::clone(&shared)));
        if let Some(order) = order {
            order.begin(Arc::clone(&health), shared.found.split.side)?;
        }
        let drain_began = Arc::new(OnceLock::new());
        let (stay, mut stays) = watch::channel(false);
        let showing = tokio::spawn({
            let (health, stage, began) = (Arc::clone(&health), stage.subscribe(), Arc::clone(&drain_began));
            show_stage(health, stage, stays.clone(), began)
        });
        if let (Some(source), Some(files)) = (source, files) {
            tokio::spawn(obey(departure::signals()?, current.subscribe(), tallies.clone(), stage, stay));
            let node = Node { shared, current, health: Arc::clone(&health), registry, token, in_force };
            tokio::spawn(Reload::new(loaded, source, node, keys, files).on_changes());
        }
        let unsent = done.await.unwrap_or_default();
        // No earlier stage is shown any more.
        showing.abort();
        tell_drained(drain_began.get().map(Instant::elapsed), &tallies, unsent);
        if health.set_drained(DRAINED) {
            tokio::time::sleep(LAST_ANSWERS).await;
        }
        ProcessStage::Drained.show();
        if *stays.borrow() {
            journal::line(LogLevel::Info, "the process stays, without clients, until SIGTERM or SIGINT");
            // An error means that nobody listens to signals, so nothing could end it.
            let _ = stays.wait_for(|stays| !*stays).await;
        }
        Ok(())
    }
}

/// Enters the stages of leaving as signals ask for them.
async fn obey(
    signals: mpsc::Receiver<departure::Request>,
    rules: watch::Receiver<Arc<NodeRules>>,
    tallies: Vec<Arc<Tally>>,
    stage: watch::Sender<Stage>,
    stay: watch::Sender<bool>,
) {
    let times = || rules.borrow().departure;
    let sessions = || open_sessions(&tallies);
    let tell = |sentence: &str| journal::line(LogLevel::Info, sentence);
    let enter = |next| {
        stage.send_replace(next);
    };
    let stays = |stays| {
        stay.send_replace(stays);
    };
    departure::follow(signals, times, tokio::time::sleep, sessions, tell, enter, stays).await;
}

/// Says how the drain went. `took`: nothing is said of its time if there was none.
fn tell_drained(took: Option<Duration>, tallies: &[Arc<Tally>], unsent: u64) {
    if let Some(took) = took {
        let left = open_sessions(tallies);
        let sentence = format!("drained in {:.1} s; {left} sessions were cut off", took.as_secs_f64());
        journal::line(LogLevel::Info, &sentence);
    }
    if unsent > 0 {
        let sentence =
            format!("{unsent} packets of clients never reached the service: it was down while this node drained");
        journal::line(LogLevel::Warn, &sentence);
    }
}

/// Shows at `/readyz` and to other processes that the node leaves, and notes when it begins to drain.
async fn show_stage(
    health: Arc<Health>,
    mut stage: watch::Receiver<Stage>,
    stays: watch::Receiver<bool>,
    drain_began: Arc<OnceLock<Instant>>,
) {
    while stage.changed().await.is_ok() {
        match *stage.borrow_and_update() {
            Stage::Serving => {}
            Stage::Leaving(lame_duck) => {
                let signal = if *stays.borrow() { "SIGUSR1" } else { "SIGTERM" };
                health.set_draining(&format!("{signal} has come; new clients are served for {lame_duck:?}, then none"));
                ProcessStage::LameDuck.show();
            }
            Stage::Draining(_) => {
                drain_began.get_or_init(Instant::now);
                health.set_draining("the node is draining: it takes no new clients and closes the others");
                ProcessStage::Draining.show();
            }
        }
    }
}

/// Frees the limits of users and addresses that have left, and revocations that have ended, at a fixed interval.
async fn tidy(current: watch::Sender<Arc<NodeRules>>, revoker: Option<Revoker>) {
    loop {
        tokio::time::sleep(TIDY_EVERY).await;
        if let Some(revoker) = &revoker {
            revoker.tidy(SystemTime::now());
        }
        let node_rules = Arc::clone(&current.borrow());
        let now = Instant::now();
        if node_rules.session.session.policies.rate_limits.sweep(now) {
            journal::table_full("[[rate_limit]]");
        }
        if node_rules.edge.handshake_rate.sweep(now) {
            journal::table_full("limits.handshakes_per_ip");
        }
    }
}

/// Logs a warning while a certificate is about to expire, or has expired.
async fn watch_expiry(shared: Arc<Shared>) {
    let Some(tls) = &shared.tls else { return };
    loop {
        let now = SystemTime::now();
        for (name, not_after) in tls.rules().ending(now) {
            match not_after.duration_since(now) {
                Ok(left) => {
                    let hours = left.as_secs() / 3600;
                    let sentence =
                        format!("the certificate for {name} ends in {hours} hours, and there is no other yet");
                    journal::line(LogLevel::Warn, &sentence);
                }
                Err(_) => {
                    let sentence =
                        format!("the certificate for {name} has expired; clients refuse it until it is renewed");
                    journal::line(LogLevel::Error, &sentence);
                }
            }
        }
        tokio::time::sleep(EXPIRY_LOOK).await;
    }
}
