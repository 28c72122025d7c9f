//! What no single table can tell, and what works but may not be meant.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{error::Warning, model::Config};
use crate::{
    fault::{Fault, Faults},
    session::hold::SessionTable,
};

/// A client may be sent this much at once, whatever `limits.send_buffer` says.
const SEND_BUFFER_MIN: u64 = 64 * 1024;

impl Config {
    /// Do the tables that nothing is compiled from hold, and do all tables go together?
    ///
    /// # Errors
    /// Each key that cannot be put into effect beside the others.
    pub fn check(&self) -> Result<(), Vec<Fault>> {
        let mut faults = Faults::default();
        self.check_addresses(&mut faults);
        faults.keep(self.limits.check());
        if self.limits.send_buffer.0 < self.socketio.max_payload.0.min(SEND_BUFFER_MIN) {
            let message = format!("is {}; it must be at least \"64KiB\"", self.limits.send_buffer);
            faults.add("limits.send_buffer", message);
        }
        self.check_effects(&mut faults);
        faults.keep(self.metrics.check());
        for certified in self.tls.iter().flat_map(|tls| tls.forward_client.keys()) {
            if self.auth.forward_claims.keys().any(|claimed| claimed.eq_ignore_ascii_case(certified)) {
                let message = "is in auth.forward_claims too; give one of them another name";
                faults.add(format!("tls.forward_client.{certified}"), message);
            }
        }
        faults.finish(Some(()))
    }

    /// No two listeners at one address, and no service where the gate itself listens.
    fn check_addresses(&self, faults: &mut Faults) {
        let (listen, admin) = (self.listen.address, self.admin.address);
        if listen == admin && listen.port() != 0 {
            faults.add("admin.address", format!("is {admin}, as listen.address; give the operator another port"));
        } else if listen.port() == admin.port() && (includes(listen, admin.ip()) || includes(admin, listen.ip())) {
            let message =
                format!("is {admin}, whose port listen.address {listen} takes; give the operator another port");
            faults.add("admin.address", message);
        }
        let Ok(url) = self.upstream.url.parse::<http::Uri>() else { return };
        let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("https") { 443 } else { 80 });
        let ips = match url.host().unwrap_or_default().trim_matches(['[', ']']) {
            "localhost" => vec![IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)],
            host => host.parse().into_iter().collect(),
        };
        let is_here = |ip: IpAddr| listen.ip() == ip || ip.is_loopback() && includes(listen, ip);
        if port == listen.port() && ips.into_iter().any(is_here) {
            let message =
                format!("is {:?}, where the gate itself listens (listen.address); name the service", self.upstream.url);
            faults.add("upstream.url", message);
        }
    }

    /// What is written out must do something.
    fn check_effects(&self, faults: &mut Faults) {
        let (session, origins, auth) = (&self.session, &self.origins, &self.auth);
        let needs = [("hold", session.hold.0.is_zero()), ("retries", session.retries == 0)];
        for (key, _) in needs.into_iter().filter(|(_, is_off)| !session.retry_events.is_empty() && *is_off) {
            let message = format!("has no effect: session.{key} is zero, and no event is sent again");
            faults.add("session.retry_events", message);
        }
        if let Some(at) = session.retry_events.iter().position(|event| session.volatile_events.contains(event)) {
            let message = format!(
                "is {:?} and has no effect: it is in volatile_events too; take it out of one of them",
                session.retry_events[at]
            );
            faults.add(format!("session.retry_events[{at}]"), message);
        }
        let default = SessionTable::default();
        for (key, list, default) in [
            ("resume_namespaces", &session.resume_namespaces, &default.resume_namespaces),
            ("resume_events", &session.resume_events, &default.resume_events),
        ] {
            if session.resume.0.is_zero() && list != default {
                faults.add(
                    format!("session.{key}"),
                    "has no effect: session.resume is zero, and no event is kept; give it a time, or remove this key",
                );
            }
        }
        let allows = |word: &str| origins.allow.iter().any(|origin| origin == word);
        if allows("*") && origins.allow.len() > 1 {
            faults.add("origins.allow", "has \"*\", which names every page; leave the others out");
        }
        if !origins.hosts.is_empty() && !allows("self") {
            faults.add(
                "origins.hosts",
                "has no effect: \"self\" is not in origins.allow; add it there, or remove this key",
            );
        }
        if auth.revoke && self.admin.token.is_none() && self.redis.is_none() {
            faults.add(
                "auth.revoke",
                "has no effect: nobody can revoke without admin.token or [redis]; give one of them, or remove this key",
            );
        }
        for (key, text) in [("auth.issuer", &auth.issuer), ("auth.audience", &auth.audience)] {
            if text.as_deref() == Some("") {
                faults.add(key, "is empty, which no token has; write what tokens have, or remove this key");
            }
        }
        if let Some(cookie) = self.socketio.cookie.as_deref().filter(|name| !is_cookie_name(name)) {
            let message = format!(
                "is {cookie:?}; the name of a cookie has letters, digits, '_', '-' and '.', for example \"io\""
            );
            faults.add("socketio.cookie", message);
        }
        if auth.keep_query_token && !auth.token_from.iter().any(|source| source.starts_with("query:")) {
            faults.add(
                "auth.keep_query_token",
                "has no effect: auth.token_from has no \"query:NAME\"; add it there, or remove this key",
            );
        }
    }

    /// What works, and may not be meant.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let allows = |word: &str| self.origins.allow.iter().any(|origin| origin == word);
        let (open_origin, null_origin) = (allows("*"), allows("null"));
        let rebindable = allows("self") && self.origins.hosts.is_empty() && !self.auth.required && self.tls.is_none();
        let trusts_all = self.listen.trusted_proxies.iter().any(|network| network.prefix_len() == 0);
        let no_sessions = !self.admin.address.ip().is_loopback() && self.admin.token.is_none();
        let alone = self.redis.is_none();
        let all = [
            (!self.auth.required, "auth.required", "is false: sessions without a token are let in"),
            (
                self.auth.allow_weak_secret,
                "auth.allow_weak_secret",
                "is true: a short secret can be guessed from a token; not for production",
            ),
            (open_origin, "origins.allow", "has \"*\": every web page may connect as its visitor"),
            (
                null_origin,
                "origins.allow",
                "has \"null\": a sandboxed frame of every web page may connect as its visitor",
            ),
            (
                rebindable,
                "origins.hosts",
                "is empty, and neither a token nor a certificate is asked for: a page whose name is made to resolve to this \
                 address is \"self\" too; name the hosts that are",
            ),
            (
                trusts_all,
                "listen.trusted_proxies",
                "trusts every address: clients can claim any address in X-Forwarded-For",
            ),
            (alone && !self.room.is_empty(), "room", "has no effect without [redis]: this node is alone"),
            (alone && !self.mirror.is_empty(), "mirror", "has no effect without [redis]: this node is alone"),
            (no_sessions, "admin.address", "is not loopback and there is no admin.token: /sessions is off"),
        ];
        let found = all.into_iter().filter(|(found, ..)| *found);
        found.map(|(_, key, message)| Warning { key, message }).collect()
    }
}

/// Whether a listener at `address`, which may be every address of its family, takes this one.
fn includes(address: SocketAddr, ip: IpAddr) -> bool {
    address.port() != 0 && address.ip().is_unspecified() && address.is_ipv4() == ip.is_ipv4()
}

/// RFC 6265 §4.1.1.
fn is_cookie_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::TlsTable;

    fn warned(config: &Config) -> Vec<&'static str> {
        config.warnings().iter().map(|warning| warning.key).collect()
    }

    #[test]
    fn a_foreign_name_that_resolves_here_is_told_of_where_nothing_else_is_asked_for() {
        let mut config = Config::default();
        assert!(!warned(&config).contains(&"origins.hosts"), "a page of that name has no token");
        config.auth.required = false;
        assert!(warned(&config).contains(&"origins.hosts"));
        for change in [
            |config: &mut Config| config.origins.hosts = vec!["app.example".to_owned()],
            |config: &mut Config| config.origins.allow = vec!["https://app.example".to_owned()],
            // A browser finds that the certificate is not for that name.
            |config: &mut Config| config.tls = Some(TlsTable::default()),
        ] {
            let mut config = config.clone();
            change(&mut config);
            assert!(!warned(&config).contains(&"origins.hosts"), "{:?}", config.origins);
        }
    }

    fn refused(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = Config::default();
        change(&mut config);
        let faults = config.check().err().unwrap_or_default();
        faults.into_iter().map(|fault| fault.key).collect()
    }

    #[test]
    fn two_listeners_take_no_address_from_each_other() {
        for (listen, admin, is_refused) in [
            ("0.0.0.0:9464", "127.0.0.1:9464", true),
            ("127.0.0.1:9464", "0.0.0.0:9464", true),
            ("[::]:9464", "[::1]:9464", true),
            ("127.0.0.1:9464", "127.0.0.1:9464", true),
            ("127.0.0.2:9464", "127.0.0.1:9464", false),
            ("0.0.0.0:9464", "[::1]:9464", false),
            ("0.0.0.0:0", "127.0.0.1:0", false),
            ("0.0.0.0:8443", "127.0.0.1:9464", false),
        ] {
            let keys = refused(|config| {
                (config.listen.address, config.admin.address) = (listen.parse().unwrap(), admin.parse().unwrap());
            });
            assert_eq!(keys == ["admin.address"], is_refused, "{listen} {admin} {keys:?}");
        }
    }

    #[test]
    fn the_service_is_not_the_gate_itself() {
        for (listen, url, is_refused) in [
            ("0.0.0.0:8443", "http://127.0.0.1:8443", true),
            ("0.0.0.0:8443", "https://localhost:8443", true),
            ("127.0.0.1:8443", "http://127.0.0.1:8443/", true),
            ("10.0.0.7:8443", "http://10.0.0.7:8443", true),
            ("[::]:8443", "http://[::1]:8443", true),
            ("127.0.0.1:80", "http://127.0.0.1", true),
            ("0.0.0.0:443", "https://localhost", true),
            ("127.0.0.1:443", "http://127.0.0.1", false),
            ("127.0.0.2:8443", "http://localhost:8443", false),
            ("10.0.0.7:8443", "http://127.0.0.1:8443", false),
            ("0.0.0.0:8443", "http://10.0.0.8:8443", false),
            ("0.0.0.0:8443", "http://chat:8443", false),
            ("0.0.0.0:8443", "http://127.0.0.1:4003", false),
        ] {
            let keys = refused(|config| {
                (config.listen.address, config.upstream.url) = (listen.parse().unwrap(), url.to_owned());
            });
            assert_eq!(keys == ["upstream.url"], is_refused, "{listen} {url} {keys:?}");
        }
    }

    #[test]
    fn a_cookie_and_what_a_token_must_have_are_named() {
        for cookie in ["", "a b", "a=b", "a;b", "\u{e9}"] {
            assert_eq!(refused(|config| config.socketio.cookie = Some(cookie.to_owned())), ["socketio.cookie"]);
        }
        assert!(refused(|config| config.socketio.cookie = Some("__Host-io.1".to_owned())).is_empty());
        assert_eq!(refused(|config| config.auth.issuer = Some(String::new())), ["auth.issuer"]);
        assert_eq!(refused(|config| config.auth.audience = Some(String::new())), ["auth.audience"]);
    }

    #[test]
    fn a_token_in_the_query_is_kept_only_where_one_is_looked_for() {
        let mut config = Config::default();
        config.auth.keep_query_token = true;
        config.auth.token_from = vec!["header".to_owned()];
        assert_eq!(config.check().unwrap_err()[0].key, "auth.keep_query_token");
        config.auth.token_from = vec!["query:token".to_owned()];
        assert!(config.check().is_ok());
    }

    #[test]
    fn origins_that_any_page_can_have_are_told_of() {
        for (allow, expected) in [("*", 1), ("null", 1), ("file://", 0), ("self", 0)] {
            let mut config = Config::default();
            config.origins.allow = vec![allow.to_owned()];
            let warned = warned(&config).into_iter().filter(|key| *key == "origins.allow").count();
            assert_eq!(warned, expected, "{allow}");
        }
    }
}
