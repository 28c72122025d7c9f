//! Compiles the configuration into the rules of every thread.

use std::{sync::Arc, time::SystemTime};

use crate::{
    config::Config,
    event_names::EventNames,
    fault::{Fault, Faults},
    gateway::{edge::EdgeRules, forward::Forward, head_guard::HeadRules, router::Routes, trust_headers},
    jwks::KeyServer,
    observe::{
        Exposition,
        gauges::Gauges,
        journal::{self, Journal, LogLevel},
        tally::Tally,
    },
    policy::{
        auth::shared_keys::SharedKeys,
        connections::Connections,
        descriptors::Split,
        handshake_rate::HandshakeRate,
        policies::{Policies, PolicyTables},
        requests::Requests,
        token_source::TokenSources,
    },
    relay::{dial::Dialler, rules::RelayRules, worker::SharedState},
    session::{
        plain::{self, PlainRules},
        rules::{SessionRules, Timing},
        table::Transport,
    },
    start::{
        acme,
        descriptors::Found,
        memory::{self, Limit},
    },
    tls::{OrderedHere, Tls, TlsRules, TlsTable, upstream::UpstreamTls},
    wire::engineio::open::Open,
};

/// A mailbox holds one payload, and this many bytes of other requests.
const MAILBOX_BESIDE: usize = 64 * 1024;

/// The rules of every thread, replaced as a whole by a reload.
#[derive(Debug)]
pub(super) struct NodeRules {
    pub(super) session: Arc<RelayRules>,
    pub(super) edge: Arc<EdgeRules>,
    pub(super) memory: Arc<[Limit]>,
}

/// The state that outlives a reload.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) names: Arc<EventNames>,
    pub(super) connections: Arc<Connections>,
    pub(super) requests: Arc<Requests>,
    pub(super) found: Found,
    pub(super) gauges: Arc<Gauges>,
    pub(super) workers: SharedState,
    /// `None`: clients use plain HTTP.
    pub(super) tls: Option<Arc<Tls>>,
    /// `None`: certificates come from files.
    ordered: Option<OrderedHere>,
}

/// The keys that verify tokens, and the server that publishes them. `None`: no server does.
pub(super) struct Keys {
    pub(super) published: Arc<SharedKeys>,
    pub(super) server: Option<KeyServer>,
}

impl Keys {
    /// As `auth.jwks_url` says.
    pub(super) fn of(config: &Config, gauges: &Arc<Gauges>) -> Result<Self, Fault> {
        let Some(url) = &config.auth.jwks_url else { return Ok(Self { published: Arc::default(), server: None }) };
        let server = KeyServer::new(url, Arc::clone(gauges))?;
        Ok(Self { published: server.keys(), server: Some(server) })
    }
}

impl Shared {
    pub(super) fn compile(
        config: &Config,
        gauges: Arc<Gauges>,
        ordered: Option<OrderedHere>,
        names: Arc<EventNames>,
        found: Found,
    ) -> Result<Self, Vec<Fault>> {
        let rules = tls_rules(config, ordered.as_ref(), None)?;
        let rules = rules.inspect(|rules| gauges.certificates_read(&rules.validity()));
        Ok(Self {
            names,
            connections: Connections::new(&config.limits),
            requests: Requests::new(&config.limits),
            found,
            workers: SharedState::new(Arc::clone(&gauges.memory)),
            gauges,
            tls: rules.map(|rules| Arc::new(Tls::new(rules))),
            ordered,
        })
    }

    /// Shows how many connections there can be, and warns where the configuration asks for more.
    pub(super) fn tell_descriptors(&self, config: &Config) {
        self.gauges.set_connections_max(self.found.connections(config));
        if let Some(warning) = self.found.warning(config) {
            journal::line(LogLevel::Warn, &warning);
        }
    }

    /// The TLS rules of a changed configuration or of changed files. `None` if the change needs a restart: whether a
    /// certificate is ordered, and which one, is fixed at the start.
    pub(super) fn new_tls_rules(&self, config: &Config) -> Result<Option<TlsRules>, Vec<Fault>> {
        let Some(tls) = &self.tls else { return Ok(None) };
        if acme::table(config).is_some() != self.ordered.is_some() {
            return Ok(None);
        }
        tls_rules(config, self.ordered.as_ref(), Some(&tls.rules()))
    }

    pub(super) fn exposition(&self, tallies: Vec<Arc<Tally>>, journal: Option<Journal>) -> Exposition {
        Exposition::new(tallies, Arc::clone(&self.names), Arc::clone(&self.gauges), journal)
    }
}

/// The event names that have a slot from the start: those of the limits.
pub(super) fn event_names(config: &Config) -> Arc<EventNames> {
    let configured = config.rate_limit.iter().flat_map(|rule| &rule.events).filter(|event| !event.contains('*'));
    let configured = configured.map(String::as_str).chain([plain::MESSAGE]);
    Arc::new(EventNames::new(config.metrics.event_names, configured))
}

/// The TLS rules. `None` without `[tls]`. `ordered`: the certificate that is ordered, `earlier`: the rules in force.
fn tls_rules(
    config: &Config,
    ordered: Option<&OrderedHere>,
    earlier: Option<&TlsRules>,
) -> Result<Option<TlsRules>, Vec<Fault>> {
    config.tls.as_ref().map(|table| TlsRules::compile(table, ordered, SystemTime::now(), earlier)).transpose()
}

/// Compiles a configuration, or lists all of its faults.
pub(super) fn compile(
    config: &Config,
    keys: &Keys,
    names: &Arc<EventNames>,
    generation: u64,
    split: Split,
) -> Result<NodeRules, Vec<Fault>> {
    let tables = PolicyTables {
        auth: &config.auth,
        origins: &config.origins,
        namespaces: &config.socketio.namespaces,
        rate_limit: &config.rate_limit,
    };
    let mut faults = Faults::default();
    faults.keep(config.check());
    let dialler = faults.keep(dialler(config));
    let policies = faults.keep(Policies::compile(&tables, &keys.published, generation));
    let sources = policies.as_ref().map(|policies| &policies.token_sources);
    let token_keys = sources.into_iter().flat_map(TokenSources::query_keys).map(str::to_owned).collect();
    let routes = faults.keep(Routes::compile(&config.socketio, &config.websocket, token_keys));
    let timing = faults.keep(Timing::compile(&config.socketio, &config.session, config.limits.idle_timeout));
    let trust_headers = faults.keep(trust_headers::compile(&config.listen.trust_headers));
    let may_hold = !config.session.hold.0.is_zero();
    let websocket = config.websocket.iter().enumerate().map(|(at, table)| table.compile(at, may_hold));
    let websocket: Vec<_> = websocket.filter_map(|route| faults.keep(route)).map(Arc::new).collect();
    let node_rules = || {
        let (policies, timing, dialler) = (policies?, timing?, dialler?);
        let memory = memory::limits(config);
        let session_memory = memory::bound_of_sessions(config, &memory);
        let mut edge = edge(config, &policies, &timing, &dialler, routes?, websocket, split);
        edge.identity_headers.extend(trust_headers?);
        edge.request_memory = session_memory;
        let session = SessionRules::new(policies, Arc::clone(names), timing);
        let session = RelayRules { session_memory, ..rules(config, session, dialler) };
        Some(NodeRules { session: Arc::new(session), edge: Arc::new(edge), memory: memory.into() })
    };
    faults.finish(node_rules())
}

fn dialler(config: &Config) -> Result<Dialler, Vec<Fault>> {
    let tls = UpstreamTls::compile(&config.upstream, SystemTime::now())?;
    Dialler::compile(&config.upstream, tls.map(|tls| Arc::new(tls) as _))
}

fn rules(config: &Config, session: SessionRules, dialler: Dialler) -> RelayRules {
    let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    RelayRules {
        session: Arc::new(session),
        dialler,
        send_buffer: bytes(config.limits.send_buffer.0),
        session_memory: usize::MAX,
        mailbox: bytes(config.socketio.max_payload.0).saturating_add(MAILBOX_BESIDE),
        same_address: config.socketio.same_address,
    }
}

fn edge(
    config: &Config,
    policies: &Policies,
    timing: &Timing,
    dialler: &Dialler,
    routes: Routes,
    websocket: Vec<Arc<PlainRules>>,
    split: Split,
) -> EdgeRules {
    let certified = config.tls.iter().flat_map(TlsTable::forward_header_names);
    EdgeRules {
        routes,
        websocket,
        head: HeadRules::new(&config.limits),
        handshake_rate: HandshakeRate::new(config.limits.handshakes_per_ip),
        trusted_proxies: config.listen.trusted_proxies.clone(),
        identity_headers: policies.auth.forward_header_names().cloned().chain(certified).collect(),
        open: Open {
            upgrades: config.socketio.transports.contains(&Transport::Websocket),
            ping_interval_ms: millis(timing.ping_interval),
            ping_timeout_ms: millis(timing.ping_timeout),
            max_payload: config.socketio.max_payload.0,
        },
        sid_cookie: config.socketio.cookie.clone(),
        max_payload: config.socketio.max_payload.0,
        forward: Forward::new(dialler.clone(), config.upstream.response_timeout.0, split.pool),
        payload_packets: usize::try_from(config.socketio.payload_packets).unwrap_or(usize::MAX),
        request_memory: usize::MAX,
        dialler: dialler.clone(),
    }
}

fn millis(period: std::time::Duration) -> u64 {
    u64::try_from(period.as_millis()).unwrap_or(u64::MAX)
}
