//! Compiles the configuration into the rules of every thread.

use std::{sync::Arc, time::SystemTime};

use crate::{
    config::Config,
    event_names::EventNames,
    fault::{Fault, Faults},
    gateway::{
        edge::EdgeRules, forward::Forward, head_guard::HeadRules, router::Routes, trust_headers,
        websocket::route::PlainRoute,
    },
    jwks::KeyServer,
    mirror::rules::MirrorRules,
    observe::{
        Exposition,
        gauges::Gauges,
        journal::{self, Journal, LogLevel},
        tally::Tally,
    },
    policy::{
        auth::{shared_keys::SharedKeys, shared_revoked::SharedRevoked},
        connections::{Connections, LimitsTable},
        descriptors::Split,
        handshake_rate::HandshakeRate,
        policies::{Policies, PolicyTables},
        rate_limit::sharing::Sharing,
        requests::Requests,
        token_source::TokenSources,
    },
    relay::{
        dial::Dialler, registry::Registry, revoker::Revoker, room_index::RoomBounds, rules::RelayRules,
        service_state::ServiceState, worker::SharedState,
    },
    session::{
        plain,
        quality::ping_rules::PingRules,
        rules::{SessionRules, Timing},
        table::Transport,
    },
    start::{
        departure::DepartureTimes,
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
    pub(super) departure: DepartureTimes,
}

impl NodeRules {
    /// Tells the state that outlives rules that these are in force, for the threads that hear of them next.
    pub(super) fn take_effect(self) -> Arc<Self> {
        self.session.session.policies.rate_limits.take_effect();
        Arc::new(self)
    }
}

/// The state that outlives a reload.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) lasting: Lasting,
    pub(super) connections: Arc<Connections>,
    pub(super) requests: Arc<Requests>,
    pub(super) found: Found,
    pub(super) gauges: Arc<Gauges>,
    pub(super) workers: SharedState,
    /// `None`: clients use plain HTTP.
    pub(super) tls: Option<Arc<Tls>>,
    /// `None`: certificates come from files.
    pub(super) ordered: Option<OrderedHere>,
}

/// What rules refer to and a reload leaves as it is.
#[derive(Debug, Clone)]
pub(super) struct Lasting {
    pub(super) names: Arc<EventNames>,
    pub(super) service: Arc<ServiceState>,
    /// What is revoked.
    pub(super) revoked: Arc<SharedRevoked>,
    /// Of the limits that count on all nodes.
    pub(super) sharing: Arc<Sharing>,
    pub(super) split: Split,
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

    /// Those that were fetched before, whose server is asked already.
    pub(super) fn kept(published: &Arc<SharedKeys>) -> Self {
        Self { published: Arc::clone(published), server: None }
    }
}

impl Shared {
    pub(super) fn new(
        config: &Config,
        gauges: Arc<Gauges>,
        ordered: Option<OrderedHere>,
        found: Found,
        tls: Option<TlsRules>,
        workers: SharedState,
        lasting: Lasting,
    ) -> Self {
        let rules = tls.inspect(|rules| gauges.certificates_read(&rules.validity()));
        Self {
            lasting,
            connections: Connections::new(&config.limits),
            requests: Requests::new(&config.limits),
            found,
            workers,
            gauges,
            tls: rules.map(|rules| Arc::new(Tls::new(rules))),
            ordered,
        }
    }

    /// Shows how many connections there can be, and warns where the configuration asks for more.
    pub(super) fn tell_descriptors(&self, config: &Config) {
        self.gauges.set_connections_max(self.found.connections(config));
        if let Some(warning) = self.found.warning(config) {
            journal::line(LogLevel::Warn, &warning);
        }
    }

    /// What revokes tokens. `None`: `auth.revoke` is off.
    pub(super) fn revoker(&self, config: &Config, registry: &Registry) -> Option<Revoker> {
        let revoker = || Revoker::new(Arc::clone(&self.lasting.revoked), registry.clone(), Arc::clone(&self.gauges));
        config.auth.revoke.then(revoker)
    }

    pub(super) fn exposition(&self, tallies: Vec<Arc<Tally>>, journal: Option<Journal>) -> Exposition {
        Exposition::new(tallies, Arc::clone(&self.lasting.names), Arc::clone(&self.gauges), journal)
    }
}

/// The event names that have a slot from the start: those of the limits, of rooms and of what is mirrored.
pub(super) fn event_names(config: &Config) -> Arc<EventNames> {
    let limited = config.rate_limit.iter().flat_map(|rule| &rule.events);
    let of_rooms = config.room.iter().flat_map(|rule| rule.join_on.iter().chain(&rule.leave_on));
    let configured = limited.chain(of_rooms).chain(config.mirror.iter().map(|rule| &rule.event));
    let configured = configured.filter(|event| !event.contains('*')).map(String::as_str);
    let configured = configured.chain([plain::MESSAGE, &config.quality.ping_event]);
    let label_bytes = usize::try_from(config.metrics.event_name_bytes).unwrap_or(usize::MAX);
    Arc::new(EventNames::new(config.metrics.event_names, configured).labelling(label_bytes))
}

/// The TLS rules. `None` without `[tls]`. `ordered`: the certificate that is ordered, `earlier`: the rules in force.
pub(super) fn tls_rules(
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
    lasting: &Lasting,
    generation: u64,
) -> Result<NodeRules, Vec<Fault>> {
    let Lasting { names, service, revoked, sharing, split } = lasting;
    let tables = PolicyTables {
        auth: &config.auth,
        origins: &config.origins,
        namespaces: &config.socketio.namespaces,
        rate_limit: &config.rate_limit,
        sharing: config.redis.as_ref().map(|_| sharing),
    };
    let mut faults = Faults::default();
    faults.keep(config.check());
    let dialler = faults.keep(dialler(config));
    let policies = faults.keep(Policies::compile(&tables, &keys.published, generation));
    let policies = policies.map(|policies| policies.refusing(Arc::clone(revoked)));
    let sources = policies.as_ref().map(|policies| &policies.token_sources);
    let token_keys = sources.into_iter().flat_map(TokenSources::query_keys).map(str::to_owned).collect();
    let routes = Routes::compile(&config.socketio, &config.websocket, token_keys);
    let routes = faults.keep(routes.and_then(|routes| routes.with_client_script(config.listen.client_script)));
    let timing = faults.keep(Timing::compile(&config.socketio, &config.session, config.limits.idle_timeout));
    let mirror = faults.keep(mirror(config));
    let ping = faults.keep(PingRules::compile(&config.quality, names));
    let trust_headers = faults.keep(trust_headers::compile(&config.listen.trust_headers));
    let facts = (!config.session.hold.0.is_zero(), !config.quality.ping_event.is_empty());
    let websocket = config.websocket.iter().enumerate().map(|(at, table)| table.compile(at, &config.socketio, facts));
    let websocket: Vec<_> = websocket.filter_map(|route| faults.keep(route)).collect();
    let node_rules = || {
        let (mut policies, timing, dialler, mirror, ping) = (policies?, timing?, dialler?, mirror?, ping?);
        policies.auth = policies.auth.keeping(mirror.claims());
        let memory = memory::limits(config);
        let departure = DepartureTimes::of(&config.limits);
        let session_memory = memory::bound_of_sessions(config, &memory);
        let (answer_within, service) = (config.upstream.response_timeout.0, Arc::clone(service));
        let forward = Forward::new(dialler.clone(), answer_within, split.pool, service);
        let plain_routes = websocket.iter().map(PlainRoute::in_force).collect();
        let mut edge = edge(config, &policies, &timing, &dialler, routes?, websocket, forward);
        edge.identity_headers.extend(trust_headers?);
        edge.request_memory = session_memory;
        let session = SessionRules::new(policies, Arc::clone(names), timing)
            .with_others(mirror, usize::try_from(config.limits.rooms_per_session).unwrap_or(usize::MAX))
            .with_ping(ping)
            .with_routes(plain_routes);
        let session = faults.keep(session.with_max_message(config.upstream.max_message))?;
        let session = RelayRules { session_memory, ..rules(config, session, dialler) };
        Some(NodeRules { session: Arc::new(session), edge: Arc::new(edge), memory: memory.into(), departure })
    };
    let node_rules = node_rules();
    faults.finish(node_rules)
}

/// The rules of rooms and of what is mirrored. A node without `[redis]` is alone, and obeys none.
fn mirror(config: &Config) -> Result<MirrorRules, Vec<Fault>> {
    let rules = MirrorRules::compile(&config.room, &config.mirror)?;
    Ok(if config.redis.is_some() { rules } else { MirrorRules::default() })
}

pub(super) fn dialler(config: &Config) -> Result<Dialler, Vec<Fault>> {
    let tls = UpstreamTls::compile(&config.upstream, SystemTime::now())?;
    Dialler::compile(&config.upstream, tls.map(|tls| Arc::new(tls) as _))
}

fn rules(config: &Config, session: SessionRules, dialler: Dialler) -> RelayRules {
    let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    RelayRules {
        session: Arc::new(session),
        dialler,
        send_buffer: bytes(config.limits.send_buffer.0),
        rooms: room_bounds(&config.limits),
        session_memory: usize::MAX,
        mailbox: bytes(config.socketio.max_payload.0).saturating_add(MAILBOX_BESIDE),
        same_address: config.socketio.same_address,
        upgrade_without_token: config.socketio.upgrade_without_token,
    }
}

fn room_bounds(limits: &LimitsTable) -> RoomBounds {
    let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    RoomBounds { rooms: count(limits.rooms), members: count(limits.room_members.unwrap_or(limits.connections)) }
}

fn edge(
    config: &Config,
    policies: &Policies,
    timing: &Timing,
    dialler: &Dialler,
    routes: Routes,
    websocket: Vec<PlainRoute>,
    forward: Forward,
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
        dial: config.socketio.dial,
        sid_cookie: config.socketio.cookie.clone(),
        max_payload: config.socketio.max_payload.0,
        forward,
        payload_packets: usize::try_from(config.socketio.payload_packets).unwrap_or(usize::MAX),
        request_memory: usize::MAX,
        dialler: dialler.clone(),
    }
}

fn millis(period: std::time::Duration) -> u64 {
    u64::try_from(period.as_millis()).unwrap_or(u64::MAX)
}
