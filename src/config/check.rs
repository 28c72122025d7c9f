//! What no single value can tell: combinations that cannot be meant, bounds that one key sets for another.

use std::collections::BTreeSet;

use http::{HeaderName, Uri};

use super::{
    Config,
    error::{ConfigError, Warning},
};
use crate::{
    gateway::websocket::WebsocketTable,
    session::{plain::OnUpstreamLoss, replay::REPLAY_BOUNDS},
};

/// Event names that can become labels; the slots of [`EventNames`](crate::event_names::EventNames) leave room for
/// those that the configuration names.
const EVENT_NAMES_MAX: usize = 400;

/// A packet is judged by each rule that names its event.
const RATE_LIMITS_MAX: usize = 16;

/// A request head is held in memory while it comes.
const HEADER_BYTES: std::ops::RangeInclusive<u64> = 1024..=1024 * 1024;

/// Messages are put together in memory where they are fragmented.
const MAX_PAYLOAD: std::ops::RangeInclusive<u64> = 1..=100 * 1024 * 1024;

type Checked = Result<(), ConfigError>;

impl Config {
    /// Is this what can be meant? What it says that may not have been meant comes back as warnings.
    ///
    /// # Errors
    /// The first key that cannot be put into effect beside the others.
    pub fn check(&self) -> Result<Vec<Warning>, ConfigError> {
        self.check_listen()?;
        self.check_auth()?;
        self.check_origins()?;
        self.check_socketio()?;
        self.check_websocket()?;
        self.check_rate_limits()?;
        self.check_limits()?;
        self.check_metrics()?;
        Ok(self.warnings())
    }

    fn check_listen(&self) -> Checked {
        let (listen, admin) = (self.listen.address, self.admin.address);
        if listen == admin && listen.port() != 0 {
            return refuse("admin.address", format!("is {admin}, as listen.address; give the operator another port"));
        }
        self.check_upstream_url()?;
        above_zero("upstream.connect_timeout", self.upstream.connect_timeout.0.is_zero())?;
        above_zero("upstream.response_timeout", self.upstream.response_timeout.0.is_zero())
    }

    fn check_upstream_url(&self) -> Checked {
        const EXAMPLE: &str = "for example \"http://127.0.0.1:4003\"";
        let url = &self.upstream.url;
        let wrong = |why: &str| refuse("upstream.url", format!("is {url:?}; {why}, {EXAMPLE}"));
        let Ok(uri) = url.parse::<Uri>() else { return wrong("it must be http://HOST:PORT or https://HOST:PORT") };
        let Some(authority) = uri.authority() else {
            return wrong("it must be http://HOST:PORT or https://HOST:PORT");
        };
        match uri.scheme_str() {
            Some("http" | "https") => {}
            _ => return wrong("it must be http://HOST:PORT or https://HOST:PORT"),
        }
        if authority.as_str().contains('@') {
            let message =
                format!("has a user name in it, which would be sent to nobody; it must be http://HOST:PORT, {EXAMPLE}");
            return refuse("upstream.url", message);
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return wrong("it must be http://HOST:PORT, without a path");
        }
        let names_port = authority.as_str() != authority.host();
        if names_port && authority.port_u16().is_none_or(|port| port == 0) {
            return wrong("its port must be a number from 1 to 65535");
        }
        Ok(())
    }

    fn check_auth(&self) -> Checked {
        let auth = &self.auth;
        let keys: Vec<&str> = [
            ("auth.secret", auth.secret.is_some()),
            ("auth.public_key", auth.public_key.is_some()),
            ("auth.jwks_url", auth.jwks_url.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, given)| given.then_some(key))
        .collect();
        if auth.required && keys.is_empty() {
            let message = "is true, but there is no key; give one of auth.secret, auth.public_key and auth.jwks_url, or \
                           set auth.required = false to let everybody in";
            return refuse("auth.required", message);
        }
        if let [first, second, ..] = keys[..] {
            return refuse(second, format!("is given beside {first}; give one of them"));
        }
        if auth.token_from.is_empty() && auth.required {
            return refuse("auth.token_from", "is empty; name where a token stands, for example [\"connect:token\"]");
        }
        for name in auth.forward_claims.keys() {
            let header = name.parse::<HeaderName>();
            if header.is_err() || name.contains('_') {
                let key = format!("auth.forward_claims.{name}");
                return refuse(key, "is no header name; use letters, digits and hyphens, for example x-user-id");
            }
            let certified = self.tls.iter().flat_map(|tls| tls.forward_client.keys());
            if let Some(same) = certified.into_iter().find(|certified| certified.eq_ignore_ascii_case(name)) {
                let key = format!("tls.forward_client.{same}");
                return refuse(key, "is in auth.forward_claims too; give one of them another name");
            }
        }
        Ok(())
    }

    fn check_origins(&self) -> Checked {
        for (index, origin) in self.origins.allow.iter().enumerate() {
            let uri = origin.parse::<Uri>().ok();
            let is_origin =
                uri.is_some_and(|uri| uri.scheme().is_some() && uri.path() == "/" && !origin.ends_with('/'));
            if origin != "*" && !is_origin {
                let message = format!(
                    "is {origin:?}; an origin is scheme://host[:port], for example \"https://app.example.com\""
                );
                return refuse(format!("origins.allow[{index}]"), message);
            }
        }
        Ok(())
    }

    fn check_socketio(&self) -> Checked {
        let socketio = &self.socketio;
        let path = &socketio.path;
        if !is_path(path) || !path.ends_with('/') || path == "/" {
            let message =
                format!("is {path:?}; it begins and ends with a slash and has no query, for example \"/socket.io/\"");
            return refuse("socketio.path", message);
        }
        if socketio.transports.is_empty() {
            return refuse("socketio.transports", "is empty; clients need one, for example [\"websocket\"]");
        }
        above_zero("socketio.ping_interval", socketio.ping_interval.0.is_zero())?;
        above_zero("socketio.ping_timeout", socketio.ping_timeout.0.is_zero())?;
        above_zero("socketio.connect_timeout", socketio.connect_timeout.0.is_zero())?;
        within("socketio.max_payload", socketio.max_payload.0, &MAX_PAYLOAD)
    }

    fn check_websocket(&self) -> Checked {
        let mut paths = BTreeSet::new();
        for (index, route) in self.websocket.iter().enumerate() {
            let key = format!("websocket[{index}].path");
            if !is_path(&route.path) {
                return refuse(key, format!("is {:?}; a path begins with a slash and has no query", route.path));
            }
            if route.path.starts_with(self.socketio.path.trim_end_matches('/')) {
                let message = format!("is {:?}, which socketio.path {:?} takes", route.path, self.socketio.path);
                return refuse(key, message);
            }
            if !paths.insert(&route.path) {
                return refuse(key, format!("is {:?} a second time", route.path));
            }
            self.check_replay(index, route)?;
        }
        Ok(())
    }

    fn check_replay(&self, index: usize, route: &WebsocketTable) -> Checked {
        let key = |name: &str| format!("websocket[{index}].{name}");
        let holds = route.on_upstream_loss == OnUpstreamLoss::Hold;
        if holds && self.session.hold.0.is_zero() {
            let message = "is \"hold\", but session.hold is \"0s\", which holds nobody; give session.hold a time, or write \
                           \"close\"";
            return refuse(key("on_upstream_loss"), message);
        }
        if usize::from(route.replay_first) > REPLAY_BOUNDS.packets {
            let message =
                format!("is {}; at most {} messages are said again", route.replay_first, REPLAY_BOUNDS.packets);
            return refuse(key("replay_first"), message);
        }
        let replay = match (route.replay_first, route.replay_events.as_slice()) {
            (0, []) => return Ok(()),
            (0, _) => "replay_events",
            _ => "replay_first",
        };
        if !holds {
            let message = "is given, but no client is held here; write on_upstream_loss = \"hold\" beside it";
            return refuse(key(replay), message);
        }
        if !route.replay_events.is_empty() && route.event_field.is_none() {
            return refuse(key("replay_events"), "needs event_field, which says where a message names its event");
        }
        Ok(())
    }

    fn check_rate_limits(&self) -> Checked {
        if self.rate_limit.len() > RATE_LIMITS_MAX {
            return refuse("rate_limit", format!("has more than {RATE_LIMITS_MAX} rules"));
        }
        for (index, rule) in self.rate_limit.iter().enumerate() {
            let key = |name: &str| format!("rate_limit[{index}].{name}");
            if rule.messages == 0 {
                return refuse(
                    key("messages"),
                    "is 0; it must be at least 1. To turn limits off write rate_limit = []",
                );
            }
            if rule.events.is_empty() {
                return refuse(key("events"), "is empty; name events, or [\"*\"] for all of them");
            }
            above_zero(key("per"), rule.per.0.is_zero())?;
        }
        Ok(())
    }

    fn check_limits(&self) -> Checked {
        let limits = &self.limits;
        if limits.connections == 0 {
            return refuse("limits.connections", "is 0, which lets nobody in");
        }
        if limits.connections_per_ip == 0 {
            return refuse("limits.connections_per_ip", "is 0, which lets nobody in");
        }
        above_zero("limits.handshake_timeout", limits.handshake_timeout.0.is_zero())?;
        within("limits.header_bytes", limits.header_bytes.0, &HEADER_BYTES)?;
        if limits.send_buffer.0 < self.socketio.max_payload.0.min(64 * 1024) {
            return refuse("limits.send_buffer", format!("is {}; it must be at least \"64KiB\"", limits.send_buffer));
        }
        Ok(())
    }

    fn check_metrics(&self) -> Checked {
        let buckets = &self.metrics.latency_buckets_ms;
        if buckets.is_empty() || !buckets.is_sorted_by(|one, next| one < next) {
            return refuse(
                "metrics.latency_buckets_ms",
                "needs at least one bound, and each larger than the one before",
            );
        }
        if self.metrics.event_names > EVENT_NAMES_MAX {
            let message = format!("is {}; at most {EVENT_NAMES_MAX} names can be labels", self.metrics.event_names);
            return refuse("metrics.event_names", message);
        }
        Ok(())
    }

    fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let mut warn = |key: &str, message: &str| {
            warnings.push(Warning { key: key.to_owned(), message: message.to_owned() });
        };
        if !self.auth.required {
            warn("auth.required", "is false: sessions without a token are let in");
        }
        if self.auth.allow_weak_secret {
            warn("auth.allow_weak_secret", "is true: a short secret can be guessed from a token; not for production");
        }
        if self.origins.allow.iter().any(|origin| origin == "*") {
            warn("origins.allow", "has \"*\": every web page may connect as its visitor");
        }
        if self.listen.trusted_proxies.iter().any(|network| network.prefix_len() == 0) {
            warn("listen.trusted_proxies", "trusts every address: clients can claim any address in X-Forwarded-For");
        }
        if !self.admin.address.ip().is_loopback() && self.admin.token.is_none() {
            warn("admin.address", "is not loopback and there is no admin.token: /sessions is off");
        }
        warnings
    }
}

/// Could a request have this path? A request's target has no spaces, and its query is not part of the path.
fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.parse::<Uri>().is_ok_and(|uri| uri.path() == text)
}

fn refuse(key: impl Into<String>, message: impl Into<String>) -> Checked {
    Err(ConfigError::of_key(key, message))
}

fn above_zero(key: impl Into<String>, is_zero: bool) -> Checked {
    if is_zero { refuse(key, "is \"0s\"; it must be longer") } else { Ok(()) }
}

fn within(key: &str, bytes: u64, bounds: &std::ops::RangeInclusive<u64>) -> Checked {
    if bounds.contains(&bytes) {
        return Ok(());
    }
    let size = crate::units::ByteSize;
    refuse(key, format!("is {}; it must be between {} and {}", size(bytes), size(*bounds.start()), size(*bounds.end())))
}
