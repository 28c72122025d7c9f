//! The control thread: the operator's address, the key set, signals, reloads. No frame passes here.

use std::{
    io,
    net::TcpListener,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{oneshot, watch},
    task::JoinHandle as Task,
};

use crate::{
    admin::{self, Admin, health::Health},
    config::{
        Config,
        error::ConfigError,
        load::{Loaded, Sources},
        watch::{FilesWatch, Watch},
    },
    fault::{Fault, Faults},
    gateway::drain::Stage,
    observe::journal::{self, Journal, LogLevel},
    policy::auth::shared_keys::SharedKeys,
    relay::registry::Registry,
    start::{
        acme::{self, CertificateOrder},
        compile::{self, Keys, NodeRules, Shared},
        memory,
    },
    tls::{TlsRules, TlsTable, upstream},
};

/// The grace of a second SIGTERM.
const IMPATIENT_GRACE: Duration = Duration::from_secs(2);

/// How often unused limits are forgotten.
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// How often the expiry of certificates is checked.
const EXPIRY_LOOK: Duration = Duration::from_secs(3600);

/// How often a node without keys checks whether it has some.
const KEYS_LOOK: Duration = Duration::from_millis(100);

/// Where the configuration came from, so that it can be read again.
pub(super) struct Source {
    pub(super) sources: Sources,
    pub(super) journal: Journal,
}

/// The parts of the control thread.
pub(super) struct Control {
    pub(super) loaded: Loaded,
    pub(super) shared: Arc<Shared>,
    pub(super) keys: Keys,
    pub(super) order: Option<CertificateOrder>,
    /// Watched before the files are read.
    pub(super) certificates: Option<FilesWatch>,
    pub(super) current: watch::Sender<Arc<NodeRules>>,
    pub(super) stage: watch::Sender<Stage>,
    pub(super) health: Arc<Health>,
    pub(super) admin: Admin,
    pub(super) admin_listener: TcpListener,
    pub(super) source: Option<Source>,
    pub(super) done: oneshot::Receiver<()>,
}

impl Control {
    /// Starts the control thread; it ends when the workers have.
    pub(super) fn spawn(self) -> io::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("control".to_owned()).spawn(move || {
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
            certificates,
            current,
            stage,
            health,
            admin,
            admin_listener,
            source,
            done,
        } = self;
        let admin_listener = tokio::net::TcpListener::from_std(admin_listener)?;
        let registry = admin.registry.clone();
        let (_stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(admin::serve(admin_listener, admin, async {
            let _ = stopped.await;
        }));
        let keys = KeyTask::spawn(keys, &health, registry.clone());
        tokio::spawn(tidy(current.clone()));
        tokio::spawn({
            let (memory, registry, current) =
                (Arc::clone(&shared.gauges.memory), registry.clone(), current.subscribe());
            memory::watch(memory, registry, move || Arc::clone(&current.borrow().memory))
        });
        tokio::spawn(watch_expiry(Arc::clone(&shared)));
        if let Some(order) = order {
            order.begin(Arc::clone(&health), shared.found.split.side)?;
        }
        tokio::spawn({
            let (health, mut stage) = (Arc::clone(&health), stage.subscribe());
            async move {
                if stage.wait_for(Stage::is_draining).await.is_ok() {
                    health.set_draining(true);
                }
            }
        });
        if let Some(source) = source {
            let drain = Drain { stage, grace: loaded.config.limits.shutdown_grace.0 };
            let term = signal(SignalKind::terminate())?;
            let int = signal(SignalKind::interrupt())?;
            tokio::spawn(drain.on_signals(term, int));
            let watch = Watch::start(source.sources.file.as_deref())?;
            let reload =
                Reload { loaded, shared, certificates, current, health, keys, registry, source, generation: 1 };
            tokio::spawn(reload.on_changes(watch));
        }
        let _ = done.await;
        Ok(())
    }
}

/// Frees the limits of users and addresses that have left, at a fixed interval.
async fn tidy(current: watch::Sender<Arc<NodeRules>>) {
    loop {
        tokio::time::sleep(TIDY_EVERY).await;
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

/// Fetches keys, and makes the node ready once it has some. Stops when dropped.
struct KeyTask {
    published: Arc<SharedKeys>,
    tasks: Vec<Task<()>>,
}

impl KeyTask {
    fn spawn(keys: Keys, health: &Arc<Health>, registry: Registry) -> Self {
        let Keys { published, server } = keys;
        let mut tasks = Vec::new();
        if let Some(server) = server {
            health.set_keys(false, "no key set has been fetched from auth.jwks_url yet");
            tasks.push(tokio::spawn(server.run(move || registry.keys_changed())));
            tasks.push(tokio::spawn({
                let (published, health) = (Arc::clone(&published), Arc::clone(health));
                async move {
                    while !published.ready() {
                        tokio::time::sleep(KEYS_LOOK).await;
                    }
                    health.set_keys(true, "");
                }
            }));
        } else {
            health.set_keys(true, "");
        }
        Self { published, tasks }
    }
}

impl Drop for KeyTask {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

struct Drain {
    stage: watch::Sender<Stage>,
    grace: Duration,
}

impl Drain {
    async fn on_signals(self, mut term: Signal, mut int: Signal) {
        let mut graces = [self.grace, IMPATIENT_GRACE].into_iter().chain(std::iter::repeat(Duration::ZERO));
        loop {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            let grace = graces.next().unwrap_or_default();
            journal::line(LogLevel::Info, &format!("draining: clients are disconnected within {grace:?}"));
            self.stage.send_replace(Stage::Draining(grace));
        }
    }
}

/// Reads the configuration again. A configuration with a fault changes nothing.
struct Reload {
    /// The configuration in force.
    loaded: Loaded,
    shared: Arc<Shared>,
    certificates: Option<FilesWatch>,
    current: watch::Sender<Arc<NodeRules>>,
    health: Arc<Health>,
    keys: KeyTask,
    registry: Registry,
    source: Source,
    generation: u64,
}

impl Reload {
    async fn on_changes(mut self, mut watch: Watch) {
        loop {
            tokio::select! {
                _ = watch.changed() => {}
                () = changed(self.certificates.as_mut()) => {
                    self.renew_certificates();
                    continue;
                }
            }
            let started = Instant::now();
            let outcome = self.reload();
            self.shared.gauges.reloaded(outcome.is_ok());
            match outcome {
                Ok(()) => journal::line(LogLevel::Info, &format!("configuration reloaded in {:?}", started.elapsed())),
                Err(error) => log_mistakes("the configuration was not reloaded, the old one stays in force", &error),
            }
        }
    }

    /// Only files of certificates have changed: the configuration is not read again, because it may be half written.
    fn renew_certificates(&mut self) {
        if let Err(faults) = self.try_renew_certificates() {
            self.shared.gauges.certificates_failed();
            let error = self.loaded.place(faults);
            log_mistakes("the new certificate cannot be used, the old one stays in force", &error);
        }
    }

    fn try_renew_certificates(&mut self) -> Result<(), Vec<Fault>> {
        let config = &self.loaded.config;
        let rules = self.shared.new_tls_rules(config)?;
        if config.upstream.tls.is_some() {
            let keys = Keys { published: Arc::clone(&self.keys.published), server: None };
            let node_rules =
                compile::compile(config, &keys, &self.shared.names, self.generation + 1, self.shared.found.split)?;
            self.generation += 1;
            self.current.send_replace(Arc::new(node_rules));
            journal::line(LogLevel::Info, "the certificates for the service were read again");
        }
        if let (Some(tls), Some(rules)) = (&self.shared.tls, rules) {
            let new = rules.new_since(&tls.rules());
            if new.is_empty() {
                journal::line(LogLevel::Info, "the files of [tls] were read again; the certificates are the same");
            }
            for (name, not_after) in new {
                let days = not_after.duration_since(SystemTime::now()).map_or(0, |left| left.as_secs() / 86_400);
                journal::line(LogLevel::Info, &format!("new certificate for {name}, good for {days} days"));
            }
            self.shared.gauges.certificates_read(&rules.validity());
            tls.replace(rules);
        } else if self.shared.tls.is_none() {
            self.shared.gauges.certificates_read(&[]);
        }
        Ok(())
    }

    fn reload(&mut self) -> Result<(), ConfigError> {
        let loaded = self.source.sources.load()?;
        let certificates = watch_certificates(&loaded.config);
        let new = self.compile(&loaded.config).map_err(|faults| loaded.place(faults))?;
        for warning in loaded.config.warnings() {
            journal::line(LogLevel::Warn, &warning.to_string());
        }
        for key in needs_restart(&self.loaded.config, &loaded.config) {
            journal::line(LogLevel::Warn, &format!("{key} was changed: that takes effect at the next start"));
        }
        self.generation += 1;
        self.shared.connections.set_limits(&loaded.config.limits);
        self.shared.requests.set_limits(&loaded.config.limits);
        self.shared.tell_descriptors(&loaded.config);
        self.source.journal.set_level(loaded.config.log.level);
        if self.loaded.config.auth.jwks_url != loaded.config.auth.jwks_url {
            self.keys = KeyTask::spawn(new.keys, &self.health, self.registry.clone());
        }
        if let (Some(tls), Some(rules)) = (&self.shared.tls, new.tls) {
            self.shared.gauges.certificates_read(&rules.validity());
            tls.replace(rules);
        }
        self.current.send_replace(Arc::new(new.node_rules));
        (self.loaded, self.certificates) = (loaded, certificates);
        Ok(())
    }

    /// Compiles everything that a changed configuration replaces. Changes nothing.
    fn compile(&self, config: &Config) -> Result<Replacement, Vec<Fault>> {
        let keys = if self.loaded.config.auth.jwks_url == config.auth.jwks_url {
            Keys { published: Arc::clone(&self.keys.published), server: None }
        } else {
            Keys::of(config, &self.shared.gauges)?
        };
        let mut faults = Faults::default();
        let node_rules = faults.keep(compile::compile(
            config,
            &keys,
            &self.shared.names,
            self.generation + 1,
            self.shared.found.split,
        ));
        faults.keep(acme::verify(config));
        let tls = faults.keep(self.shared.new_tls_rules(config));
        let replacement = || Some(Replacement { keys, node_rules: node_rules?, tls: tls? });
        faults.finish(replacement())
    }
}

/// What a reload replaces.
struct Replacement {
    keys: Keys,
    node_rules: NodeRules,
    /// `None`: TLS stays as it is.
    tls: Option<TlsRules>,
}

/// Logs a line for each fault, with its place.
fn log_mistakes(what: &str, error: &ConfigError) {
    for mistake in error.mistakes() {
        journal::line(LogLevel::Error, &format!("{what}: {mistake}"));
    }
}

/// Watches the files of certificates. Begun before they are read, so that no change is missed.
pub(super) fn watch_certificates(config: &Config) -> Option<FilesWatch> {
    let clients = config.tls.iter().flat_map(TlsTable::files);
    let service = config.upstream.tls.iter().flat_map(upstream::files);
    let files: Vec<_> = clients.chain(service).cloned().collect();
    (!files.is_empty()).then(|| FilesWatch::start(files))
}

/// Waits until the files change; without end if there are none.
async fn changed(files: Option<&mut FilesWatch>) {
    match files {
        Some(files) => files.changed().await,
        None => std::future::pending().await,
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

fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    [
        ("listen.address", old.listen.address != new.listen.address),
        ("listen.workers", old.listen.workers != new.listen.workers),
        ("tls", old.tls.is_some() != new.tls.is_some()),
        ("tls.acme", acme::table(old) != acme::table(new)),
        ("admin", old.admin != new.admin),
        ("metrics", old.metrics != new.metrics),
        ("log.format", old.log.format != new.log.format),
        ("limits.shutdown_grace", old.limits.shutdown_grace != new.limits.shutdown_grace),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}
