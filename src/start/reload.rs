//! Reloads the configuration and the files it names. An invalid one changes nothing and keeps `tidegate_config_reload_success`
//! at 0.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{sync::watch, time::sleep};

use crate::{
    admin::{
        OperatorToken,
        health::Health,
        status::{InForce, Shown},
    },
    cluster::link::RedisRules,
    config::{
        Config,
        changes::{Changes, is_read_at_start},
        error::ConfigError,
        load::{Loaded, Sources},
        schema,
        watch::{FilesWatch, Trigger, Watch},
    },
    fault::{Fault, Faults},
    gateway::listener,
    observe::journal::{self, Journal, LogLevel},
    relay::registry::Registry,
    start::{
        acme,
        compile::{self, Keys, NodeRules, Shared},
        key_task::KeyTask,
        prepare::{Beside, Prepared, admin_token, prepare, redis_rules},
    },
    tls::TlsRules,
    units::Secret,
};

/// How often a new key server is asked again that gave no keys.
const KEYS_AGAIN: Duration = Duration::from_secs(10);

/// Where the configuration came from, so that it can be read again.
pub(super) struct Source {
    pub(super) sources: Sources,
    pub(super) journal: Journal,
    /// Since before it was read first.
    pub(super) watch: Watch,
}

/// The parts of the node that a reload changes.
pub(super) struct Node {
    pub(super) shared: Arc<Shared>,
    pub(super) current: watch::Sender<Arc<NodeRules>>,
    pub(super) health: Arc<Health>,
    pub(super) registry: Registry,
    pub(super) token: OperatorToken,
    /// What operators are shown of the configuration.
    pub(super) in_force: InForce,
}

/// Reads the configuration again.
pub(super) struct Reload {
    /// The last configuration without a mistake, with its places.
    loaded: Loaded,
    /// The same, but for the keys that need a restart: these are as the node has started.
    in_force: Config,
    /// What this node's keys in Redis begin with. `None`: it is alone.
    prefix: Option<Arc<str>>,
    source: Source,
    node: Node,
    keys: KeyTask,
    /// The files of both.
    files: FilesWatch,
    /// Why the configuration is not the one in force, and the files it names: one of them may be what it lacks.
    failure: Option<ConfigError>,
    wanted: Option<FilesWatch>,
    /// Whether that is a new key server, which gave no keys.
    keyless: bool,
    /// What is wrong with files that have changed since.
    stale: Stale,
    generation: u64,
}

/// Why the configuration is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Signal,
    File,
    /// A file that the configuration names, or nothing but time, after the last reload failed.
    Again,
}

/// The faults of files whose earlier content is still in use, by who uses it.
#[derive(Debug, Default)]
struct Stale {
    clients: Vec<Fault>,
    service: Vec<Fault>,
    operator: Vec<Fault>,
}

impl Stale {
    fn faults(&self) -> impl Iterator<Item = &Fault> {
        [&self.clients, &self.service, &self.operator].into_iter().flatten()
    }
}

impl Reload {
    pub(super) fn new(loaded: Loaded, source: Source, node: Node, keys: KeyTask, files: FilesWatch) -> Self {
        let in_force = loaded.config.clone();
        let prefix = prefix(&redis_rules(&in_force).unwrap_or_default());
        let (failure, wanted, stale) = (None, None, Stale::default());
        Self {
            loaded,
            in_force,
            prefix,
            source,
            node,
            keys,
            files,
            failure,
            wanted,
            keyless: false,
            stale,
            generation: 1,
        }
    }

    pub(super) async fn on_changes(mut self) {
        loop {
            tokio::select! {
                trigger = self.source.watch.changed() => {
                    self.reload(if trigger == Trigger::Signal { Cause::Signal } else { Cause::File }, &[]).await;
                }
                paths = self.files.changed() => {
                    // Everything is read again by a reload. Otherwise the configuration is not: it may be half written.
                    if self.failure.is_none() || !self.reload(Cause::Again, &paths).await {
                        self.renew(&paths);
                    }
                }
                () = changed(self.wanted.as_mut()) => {
                    self.reload(Cause::Again, &[]).await;
                }
                () = sleep(KEYS_AGAIN), if self.keyless => {
                    self.reload(Cause::Again, &[]).await;
                }
            }
        }
    }

    /// Whether the configuration is in force now. `told`: the files in use that are known to have changed.
    async fn reload(&mut self, cause: Cause, told: &[PathBuf]) -> bool {
        match self.try_reload(cause, told).await {
            Ok(()) => true,
            Err(error) => {
                // A file has changed, and nothing is better or worse: that was told.
                if cause != Cause::Again || self.failure.as_ref() != Some(&error) {
                    log_mistakes("the configuration was not reloaded, the old one stays in force", &error);
                }
                self.failure = Some(error);
                self.node.shared.gauges.reloaded(false);
                false
            }
        }
    }

    async fn try_reload(&mut self, cause: Cause, told: &[PathBuf]) -> Result<(), ConfigError> {
        (self.wanted, self.keyless) = (None, false);
        let loaded = self.source.sources.load(|read| {
            let prepared = self.prepare(&read.config, &Changes::between(&self.in_force, &read.config));
            prepared.map(drop).map_err(|faults| read.place(faults))
        })?;
        let changes = Changes::between(&self.in_force, &loaded.config);
        let files = watch_files(&[&loaded.config, &changes.in_force]);
        let checked = self.prepare(&loaded.config, &changes);
        let prepared = match checked.and_then(|checked| self.effective(checked, &changes)) {
            Ok(prepared) => prepared.with_keys().await.map_err(|fault| {
                self.keyless = true;
                vec![fault]
            }),
            faults => faults,
        };
        let prepared = match prepared {
            Ok(prepared) => prepared,
            Err(faults) => {
                self.wanted = Some(files);
                return Err(loaded.place(faults));
            }
        };
        warn_of(&loaded.config);
        let next_prefix = prefix(&prepared.redis);
        let renewed = named(&loaded.config, &[&files.changed_since(&self.files), told].concat());
        let (waiting, renewed): (Vec<_>, Vec<_>) = renewed.into_iter().partition(|key| is_read_at_start(key));
        if cause == Cause::Signal || !changes.now.is_empty() || !renewed.is_empty() || self.stale.faults().count() > 0 {
            self.put_in_force(&changes, prepared);
        }
        let mended = self.failure.take().is_some();
        journal::line(LogLevel::Info, &outcome(&changes, &renewed, mended));
        warn_of_files(&waiting);
        if !changes.at_start.is_empty() {
            let keys = changes.at_start.join(", ");
            let sentence = format!("what runs differs from the configuration until the next start: {keys}");
            journal::line(LogLevel::Warn, &sentence);
        }
        if let (Some(now), Some(next)) = (&self.prefix, &next_prefix)
            && now != next
        {
            let sentence = "the next start takes another cluster.name: nodes of the old one and of the new one share no limits and revocations";
            journal::line(LogLevel::Warn, sentence);
        }
        for mistake in loaded.place(taken_addresses(&self.in_force, &loaded.config)).mistakes() {
            journal::line(LogLevel::Warn, &mistake.to_string());
        }
        (self.loaded, self.in_force, self.files, self.stale) = (loaded, changes.in_force, files, Stale::default());
        self.node.in_force.set(shown(&self.in_force));
        self.node.shared.gauges.certificates_reloaded(true);
        self.node.shared.gauges.reloaded(true);
        Ok(())
    }

    /// All that a start would make of it. Changes nothing.
    fn prepare(&self, config: &Config, changes: &Changes) -> Result<Prepared, Vec<Fault>> {
        let shared = &self.node.shared;
        let same_server = self.in_force.auth.jwks_url == config.auth.jwks_url;
        let earlier = shared.tls.as_ref().filter(|_| !changes.keeps_tls).map(|tls| tls.rules());
        let beside = Beside {
            gauges: &shared.gauges,
            lasting: &shared.lasting,
            generation: self.generation + 1,
            published: same_server.then_some(&self.keys.published),
            ordered: shared.ordered.as_ref().filter(|_| !changes.keeps_tls),
            earlier: earlier.as_deref(),
            runs: true,
        };
        prepare(config, &beside)
    }

    /// What takes effect of it now: keys that wait for a start are as they run.
    fn effective(&self, checked: Prepared, changes: &Changes) -> Result<Prepared, Vec<Fault>> {
        if changes.at_start.is_empty() {
            return Ok(checked);
        }
        let (shared, config) = (&self.node.shared, &changes.in_force);
        let mut faults = Faults::default();
        let node_rules = compile::compile(config, &checked.keys, &shared.lasting, self.generation + 1);
        let node_rules = faults.keep(node_rules);
        let tls = match &shared.tls {
            Some(tls) if !changes.keeps_tls => {
                faults.keep(compile::tls_rules(config, shared.ordered.as_ref(), Some(&tls.rules())))
            }
            _ => Some(None),
        };
        let effective = || Some(Prepared { node_rules: node_rules?, tls: tls?, ..checked });
        faults.finish(effective()).map_err(|faults| faults.into_iter().map(until_the_start).collect())
    }

    fn put_in_force(&mut self, changes: &Changes, prepared: Prepared) {
        let (node, config) = (&self.node, &changes.in_force);
        let Prepared { keys, node_rules, tls, admin_token, redis: _ } = prepared;
        node.shared.connections.set_limits(&config.limits);
        node.shared.requests.set_limits(&config.limits);
        node.shared.tell_descriptors(config);
        self.source.journal.set_level(config.log.level);
        if self.in_force.auth.jwks_url != config.auth.jwks_url {
            node.shared.gauges.jwks_reset();
            self.keys = KeyTask::spawn(keys, &node.health, node.registry.clone());
        }
        if let Some(rules) = tls.filter(|_| !changes.keeps_tls) {
            replace_tls(&node.shared, rules);
        }
        node.token.set(admin_token.map(Secret::into_bytes));
        self.take_effect(node_rules);
    }

    fn take_effect(&mut self, node_rules: NodeRules) {
        self.generation += 1;
        self.node.current.send_replace(node_rules.take_effect());
    }

    /// Puts the new content of these files in force: of each user of them all, or nothing.
    fn renew(&mut self, paths: &[PathBuf]) {
        let was_mistaken = self.is_mistaken();
        let mut keys = named(&self.in_force, paths);
        keys.extend(named(&self.loaded.config, paths));
        keys.sort_unstable();
        keys.dedup();
        let (waiting, keys): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| is_read_at_start(key));
        warn_of_files(&waiting);
        let of =
            |table: &str| -> Vec<_> { keys.iter().filter(|key| key.starts_with(table)).map(String::as_str).collect() };
        let (clients, certificates) = (of("tls."), of("upstream.tls."));
        let (tokens, operator) = (of("auth."), of("admin."));
        if !clients.is_empty() {
            self.stale.clients = self.renew_clients().err().unwrap_or_default();
            self.tell(&self.stale.clients);
        }
        if !certificates.is_empty() || !tokens.is_empty() {
            self.stale.service = self.renew_rules().err().unwrap_or_default();
            self.tell(&self.stale.service);
            if self.stale.service.is_empty() && !certificates.is_empty() {
                journal::line(LogLevel::Info, "the certificates for the service were read again");
            }
            if self.stale.service.is_empty() && !tokens.is_empty() {
                journal::line(LogLevel::Info, &format!("the file of {} was read again", tokens.join(", ")));
            }
        }
        if !operator.is_empty() {
            match admin_token(&self.loaded.config) {
                Ok(token) => {
                    self.node.token.set(token.map(Secret::into_bytes));
                    self.stale.operator.clear();
                    journal::line(LogLevel::Info, "the file of admin.token was read again");
                }
                Err(fault) => self.stale.operator = vec![fault],
            }
            self.tell(&self.stale.operator);
        }
        let gauges = &self.node.shared.gauges;
        gauges.certificates_reloaded(!self.stale.faults().any(is_of_certificate));
        let is_mistaken = self.is_mistaken();
        if was_mistaken || is_mistaken || !tokens.is_empty() || !operator.is_empty() {
            gauges.reloaded(!is_mistaken);
        }
    }

    fn renew_clients(&self) -> Result<(), Vec<Fault>> {
        let shared = &self.node.shared;
        let Some(tls) = &shared.tls else { return Ok(()) };
        let rules = compile::tls_rules(&self.in_force, shared.ordered.as_ref(), Some(&tls.rules()))?;
        if rules.is_some_and(|rules| replace_tls(shared, rules) == 0) {
            journal::line(LogLevel::Info, "the files of [tls] were read again; the certificates are the same");
        }
        Ok(())
    }

    fn renew_rules(&mut self) -> Result<(), Vec<Fault>> {
        let (keys, generation) = (Keys::kept(&self.keys.published), self.generation + 1);
        let node_rules = compile::compile(&self.in_force, &keys, &self.node.shared.lasting, generation)?;
        self.take_effect(node_rules);
        Ok(())
    }

    fn tell(&self, faults: &[Fault]) {
        for fault in faults {
            let what = match is_of_certificate(fault) {
                true => "the new certificate cannot be used, the old one stays in force",
                false => "the new file cannot be used, what it said before stays in force",
            };
            log_mistakes(what, &self.loaded.place(vec![fault.clone()]));
        }
    }

    /// Is something that is written not in force, beside certificates?
    fn is_mistaken(&self) -> bool {
        self.failure.is_some() || self.stale.faults().any(|fault| !is_of_certificate(fault))
    }
}

/// What would be good after a start contradicts what runs until then.
fn until_the_start(fault: Fault) -> Fault {
    let message =
        format!("{}; that is so beside what runs until the next start: restart the node instead", fault.message);
    Fault { message, ..fault }
}

/// The number of certificates that are new.
fn replace_tls(shared: &Shared, rules: TlsRules) -> usize {
    let Some(tls) = &shared.tls else { return 0 };
    let new = rules.new_since(&tls.rules());
    for (name, not_after) in &new {
        let days = not_after.duration_since(SystemTime::now()).map_or(0, |left| left.as_secs() / 86_400);
        journal::line(LogLevel::Info, &format!("new certificate for {name}, good for {days} days"));
    }
    shared.gauges.certificates_read(&rules.validity());
    tls.replace(rules);
    new.len()
}

/// Does it belong to `tidegate_certificate_reload_success`?
fn is_of_certificate(fault: &Fault) -> bool {
    ["tls", "upstream.tls"].iter().any(|table| fault.key.starts_with(table))
}

/// What a reload that succeeded says of itself.
fn outcome(changes: &Changes, renewed: &[String], mended: bool) -> String {
    let renewed = renewed.iter().map(|key| format!("the file of {key}"));
    let changed: Vec<_> = changes.now.iter().cloned().chain(renewed).collect();
    let what = match (changed.is_empty(), changes.at_start.is_empty()) {
        (false, _) => format!("{} changed", changed.join(", ")),
        (true, true) => "nothing changed".to_owned(),
        (true, false) => "nothing changed that takes effect now".to_owned(),
    };
    let new: Vec<_> = changes.for_new_sessions().collect();
    let new = if new.is_empty() { String::new() } else { format!("; for new sessions only: {}", new.join(", ")) };
    let mended = if mended { "; the mistakes are gone" } else { "" };
    format!("configuration reloaded: {what}{new}{mended}")
}

/// The addresses that the next start would listen on, and that cannot be had now. That may change until then.
fn taken_addresses(in_force: &Config, new: &Config) -> Vec<Fault> {
    let http = |config: &Config| acme::table(config).and_then(|acme| acme.http_address);
    let addresses = [
        ("listen.address", Some(in_force.listen.address), Some(new.listen.address)),
        ("admin.address", Some(in_force.admin.address), Some(new.admin.address)),
        ("tls.acme.http_address", http(in_force), http(new)),
    ];
    // This process leaves its own ports before the next one starts.
    let own: Vec<_> = addresses.iter().filter_map(|(_, now, _)| now.as_ref().map(SocketAddr::port)).collect();
    let changed = addresses.into_iter().filter(|(_, now, next)| now != next);
    let changed = changed.filter_map(|(key, _, next)| Some((key, next.filter(|next| !own.contains(&next.port()))?)));
    let refused = changed.filter_map(|(key, address)| Some((key, address, listener::probe(address).err()?)));
    let fault = |(key, address, error): (&str, SocketAddr, _)| {
        let message = format!("is {address}, which cannot be listened on now: {error}; free it before the next start");
        Fault::new(key, message)
    };
    refused.map(fault).collect()
}

/// What operators are shown of a configuration: as `check --print` prints it.
pub(super) fn shown(config: &Config) -> Shown {
    Shown { toml: schema::effective(config).into(), upstream: config.upstream.url.as_str().into() }
}

fn prefix(redis: &Option<RedisRules>) -> Option<Arc<str>> {
    redis.as_ref().map(|redis| Arc::clone(&redis.prefix))
}

/// Logs what works and may not be meant.
pub(super) fn warn_of(config: &Config) {
    for warning in config.warnings() {
        journal::line(LogLevel::Warn, &warning.to_string());
    }
}

/// Logs that new files of these keys are not in force.
fn warn_of_files(waiting: &[String]) {
    for key in waiting {
        let sentence = format!("the file of {key} has changed: what runs differs from it until the next start");
        journal::line(LogLevel::Warn, &sentence);
    }
}

/// Logs a line for each mistake, with its place.
fn log_mistakes(what: &str, error: &ConfigError) {
    for mistake in error.mistakes() {
        journal::line(LogLevel::Error, &format!("{what}: {mistake}"));
    }
}

/// Watches all files that these configurations name. Begun before they are read, so that no change is missed.
pub(super) fn watch_files(configs: &[&Config]) -> FilesWatch {
    FilesWatch::start(configs.iter().flat_map(|config| config.files()).map(|file| file.path))
}

/// The keys that name these files.
fn named(config: &Config, paths: &[PathBuf]) -> Vec<String> {
    let is_one = |path: &Path| paths.iter().any(|one| one == path);
    config.files().into_iter().filter(|file| is_one(&file.path)).map(|file| file.key).collect()
}

/// Waits until the files change; without end if there are none.
async fn changed(files: Option<&mut FilesWatch>) {
    match files {
        Some(files) => _ = files.changed().await,
        None => std::future::pending().await,
    }
}
