//! From what the configuration says to what every thread obeys.

use std::{sync::Arc, time::SystemTime};

use crate::{
    config::Config,
    event_names::EventNames,
    gateway::{edge::EdgeRules, forward::Forward, head_guard::HeadRules, router::Routes},
    jwks::{KeyServer, KeyServerError},
    observe::{Exposition, gauges::Gauges, journal::Journal, tally::Tally},
    policy::{
        auth::shared_keys::SharedKeys,
        connections::Connections,
        handshake_rate::HandshakeRate,
        policies::{Policies, PolicyTables},
    },
    relay::{
        dial::Dialler,
        worker::{Returns, Rules},
    },
    session::{Terms, Transport, hold::HoldTerms, plain},
    start::{acme, error::StartError},
    tls::{OrderedHere, Tls, TlsError, TlsRules, TlsTable, upstream::UpstreamTls},
    wire::engineio::open::{Open, Sid},
};

/// What every thread obeys, replaced as a whole by a reload.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) session: Arc<Rules>,
    pub(super) edge: Arc<EdgeRules>,
}

/// What outlives a reload.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) names: Arc<EventNames>,
    pub(super) connections: Arc<Connections>,
    pub(super) gauges: Arc<Gauges>,
    pub(super) returns: Returns,
    /// None: clients speak plain HTTP.
    pub(super) tls: Option<Arc<Tls>>,
    /// None: certificates come from files.
    ordered: Option<OrderedHere>,
}

/// The keys that tokens are checked with, where they are published by a key server.
pub(super) struct Keys {
    pub(super) published: Arc<SharedKeys>,
    pub(super) server: Option<KeyServer>,
}

impl Keys {
    /// As `auth.jwks_url` says.
    pub(super) fn of(config: &Config, shared: &Shared) -> Result<Self, KeyServerError> {
        let Some(url) = &config.auth.jwks_url else { return Ok(Self { published: Arc::default(), server: None }) };
        let server = KeyServer::new(url, Arc::clone(&shared.gauges))?;
        Ok(Self { published: server.keys(), server: Some(server) })
    }
}

impl Shared {
    pub(super) fn new(config: &Config, gauges: Arc<Gauges>, ordered: Option<OrderedHere>) -> Result<Self, TlsError> {
        let terms = tls_rules(config, ordered.as_ref(), None)?;
        let terms = terms.inspect(|terms| gauges.certificates_read(&terms.validity()));
        let configured = config.rate_limit.iter().flat_map(|rule| &rule.events).filter(|event| !event.contains('*'));
        let configured = configured.map(String::as_str).chain([plain::MESSAGE]);
        Ok(Self {
            names: Arc::new(EventNames::new(config.metrics.event_names, configured)),
            connections: Connections::new(&config.limits),
            gauges,
            returns: Returns::default(),
            tls: terms.map(|terms| Arc::new(Tls::new(terms))),
            ordered,
        })
    }

    /// TLS as a changed configuration, or changed files, have it. None where that takes a restart: whether a
    /// certificate is ordered, and which, is settled at the start.
    pub(super) fn new_tls_rules(&self, config: &Config) -> Result<Option<TlsRules>, TlsError> {
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

/// How TLS is ended, if it is. `ordered`: the certificate that is ordered, `earlier`: what is in force.
fn tls_rules(
    config: &Config,
    ordered: Option<&OrderedHere>,
    earlier: Option<&TlsRules>,
) -> Result<Option<TlsRules>, TlsError> {
    config.tls.as_ref().map(|table| TlsRules::compile(table, ordered, SystemTime::now(), earlier)).transpose()
}

/// Puts a configuration into effect, or says why that cannot be.
pub(super) fn compile(config: &Config, keys: &Keys, generation: u64) -> Result<Settings, StartError> {
    let tables = PolicyTables {
        auth: &config.auth,
        origins: &config.origins,
        namespaces: &config.socketio.namespaces,
        rate_limit: &config.rate_limit,
    };
    let policies = Policies::compile(&tables, &keys.published, generation)?;
    let certified = config.tls.iter().flat_map(TlsTable::forward_header_names);
    let identity_headers = policies.auth.forward_header_names().cloned().chain(certified).collect();
    let token_keys = policies.token_sources.query_keys().map(str::to_owned).collect();
    let terms = Terms {
        ping_interval: config.socketio.ping_interval.0,
        ping_timeout: config.socketio.ping_timeout.0,
        connect_timeout: config.socketio.connect_timeout.0,
        idle_timeout: Some(config.limits.idle_timeout.0).filter(|idle| !idle.is_zero()),
        hold: HoldTerms::compile(&config.session)?,
    };
    let open = Open {
        sid: Sid::new([0; 15]),
        upgrades: config.socketio.transports.contains(&Transport::Websocket),
        ping_interval_ms: millis(terms.ping_interval),
        ping_timeout_ms: millis(terms.ping_timeout),
        max_payload: config.socketio.max_payload.0,
    };
    let tls = UpstreamTls::compile(&config.upstream, SystemTime::now())?;
    let dialler = Dialler::compile(&config.upstream, tls.map(|tls| Arc::new(tls) as _))?;
    let routes = config.websocket.iter().enumerate();
    let websocket = routes.map(|(at, table)| table.compile(at).map(Arc::new)).collect::<Result<_, _>>()?;
    let edge = EdgeRules {
        routes: Routes::new(&config.socketio, &config.websocket, token_keys),
        websocket,
        head: HeadRules::new(&config.limits),
        handshake_rate: HandshakeRate::new(config.limits.handshakes_per_ip),
        trusted_proxies: config.listen.trusted_proxies.clone(),
        identity_headers,
        open,
        sid_cookie: config.socketio.cookie.clone(),
        max_payload: config.socketio.max_payload.0,
        forward: Forward::new(dialler.clone(), config.upstream.response_timeout.0),
        dialler: dialler.clone(),
    };
    let queue_total = usize::try_from(config.session.queue_total.0).unwrap_or(usize::MAX);
    let send_buffer = usize::try_from(config.limits.send_buffer.0).unwrap_or(usize::MAX);
    let session =
        Rules { policies, terms, dialler, send_buffer, same_address: config.socketio.same_address, queue_total };
    Ok(Settings { session: Arc::new(session), edge: Arc::new(edge) })
}

fn millis(period: std::time::Duration) -> u64 {
    u64::try_from(period.as_millis()).unwrap_or(u64::MAX)
}
