//! The list of policies, in the order of judging: the one place where a new policy is added.

use std::{net::IpAddr, sync::Arc, time::Instant};

use http::request::Parts;

use super::{
    auth::{Auth, AuthTable, shared_keys::SharedKeys, shared_revoked::SharedRevoked},
    identity::Identity,
    namespaces::Namespaces,
    origin::{Origins, OriginsTable, Site},
    rate_limit::{Instead, Meters, RateLimitTable, RateLimits, sharing::Sharing},
    token_source::TokenSources,
    verdict::{Refusal, Verdict},
};
use crate::{
    event_names::EventSlot,
    fault::{Fault, Faults},
};

/// The tables that policies are compiled from.
#[derive(Debug, Clone, Copy)]
pub struct PolicyTables<'a> {
    /// `[auth]`
    pub auth: &'a AuthTable,
    /// `[origins]`
    pub origins: &'a OriginsTable,
    /// `socketio.namespaces`
    pub namespaces: &'a [String],
    /// `[[rate_limit]]`
    pub rate_limit: &'a [RateLimitTable],
    /// What limits of all nodes count with. `None`: there is no `[redis]`.
    pub sharing: Option<&'a Arc<Sharing>>,
}

/// The policies of this node, compiled once and shared by all its sessions. A reload makes new ones.
///
/// **A new policy** is a file in this folder with its table, `compile`, its check and its tests; then a field here
/// and one line in [`admit`](Self::admit) if it checks requests, or in [`judge`](Self::judge) if it checks
/// packets. The order of the lines is the order of judging, and the first refusal ends it. Metrics, log and
/// answers need no change, because a [`Refusal`] carries what they need.
#[derive(Debug)]
pub struct Policies {
    /// Grows with every reload. A session that sees another one than at its last packet
    /// [opens its meters](Self::open_meters) again.
    pub generation: u64,
    /// Verifies tokens.
    pub auth: Auth,
    /// Finds tokens.
    pub token_sources: TokenSources,
    /// Admits web pages.
    pub origins: Origins,
    /// Admits namespaces.
    pub namespaces: Namespaces,
    /// Limits packets.
    pub rate_limits: RateLimits,
}

/// The parts of a client's packet that policies see.
#[derive(Debug, Clone, Copy)]
pub struct JudgedPacket<'a> {
    /// The namespace, `/` for the main one; empty on a plain WebSocket route, which has none.
    pub namespace: &'a str,
    /// The number of the event's name.
    pub slot: EventSlot,
    /// The event's name in UTF-8; empty for a packet that has none. `None`: which event it is depends on who reads it.
    pub event: Option<&'a [u8]>,
    /// What its route does with packets over a limit.
    pub instead: Instead,
    /// When it arrived.
    pub now: Instant,
}

impl Policies {
    /// Compiles all of them. Files with keys are read here. `published` are the keys of `auth.jwks_url`, where that is
    /// set; they outlive a reload.
    ///
    /// # Errors
    /// Every fault of every table; nothing has changed then.
    pub fn compile(
        tables: &PolicyTables<'_>,
        published: &Arc<SharedKeys>,
        generation: u64,
    ) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let auth = faults.keep(Auth::compile(tables.auth, published));
        let token_sources = faults.keep(TokenSources::compile(&tables.auth.token_from));
        let token_sources = token_sources
            .zip(auth.as_ref())
            .map(|(sources, auth)| sources.if_a_key(auth.has_key()).keeping_query(tables.auth.keep_query_token));
        let origins = faults.keep(Origins::compile(tables.origins));
        let namespaces = faults.keep(Namespaces::compile("socketio.namespaces", tables.namespaces));
        let rate_limits = faults.keep(RateLimits::compile(tables.rate_limit, tables.sharing));
        let all = || {
            Some(Self {
                generation,
                auth: auth?,
                token_sources: token_sources?,
                origins: origins?,
                namespaces: namespaces?,
                rate_limits: rate_limits?,
            })
        };
        faults.finish(all())
    }

    /// The same, with the tokens that are revoked, which outlive a reload.
    #[must_use]
    pub fn refusing(self, revoked: Arc<SharedRevoked>) -> Self {
        Self { auth: self.auth.refusing(revoked), ..self }
    }

    /// Checks whether this request to `site` may open a session, as far as that is known before its token is verified.
    ///
    /// # Errors
    /// The first refusal.
    pub fn admit(&self, request: &Parts, site: Site<'_>) -> Result<(), Refusal> {
        self.origins.admit(&request.headers, site)
    }

    /// The meters of a new session, or of one that comes from an older generation.
    #[must_use]
    pub fn open_meters(&self, identity: &Identity, ip: IpAddr, now: Instant) -> Meters {
        self.rate_limits.open(identity.user(), ip, now)
    }

    /// The verdict on this packet. A CONNECT is checked by [`Namespaces::admits`] before it is judged here.
    ///
    /// # Panics
    /// If `meters` were not opened by these policies.
    #[must_use]
    pub fn judge(&self, asked: &JudgedPacket<'_>, meters: &Meters) -> Verdict {
        // After a reload a session may be in a namespace that is no longer allowed. Its transport is closed; the client
        // reconnects and gets a CONNECT_ERROR, which it understands.
        if !asked.namespace.is_empty() && !self.namespaces.admits(asked.namespace) {
            return Verdict::Close(Namespaces::REFUSAL);
        }
        match asked.event {
            Some(event) => self.rate_limits.judge(meters, asked.slot, event, asked.instead, asked.now),
            None => self.rate_limits.judge_unclear(meters, asked.instead, asked.now),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::policy::origin::Origins;

    fn policies(namespaces: &[&str], rate_limit: &[RateLimitTable]) -> Policies {
        let namespaces: Vec<_> = namespaces.iter().map(|&name| name.to_owned()).collect();
        let tables = PolicyTables {
            auth: &AuthTable { required: false, ..AuthTable::default() },
            origins: &OriginsTable::default(),
            namespaces: &namespaces,
            rate_limit,
            sharing: None,
        };
        Policies::compile(&tables, &Arc::default(), 1).unwrap()
    }

    #[test]
    fn a_page_of_another_origin_is_not_admitted() {
        let policies = policies(&["*"], &[]);
        let site = Site { tls: false, host: None, port: None };
        let request = |origin: &str| Request::get("/").header("origin", origin).body(()).unwrap().into_parts().0;
        let admit = |origin| policies.admit(&request(origin), site);
        assert_eq!(admit("http://localhost:3000"), Ok(()));
        assert_eq!(admit("http://evil.test"), Err(Origins::REFUSAL));
    }

    #[test]
    fn a_packet_is_judged_by_its_namespace_and_then_by_the_limits() {
        let policies = policies(&["/"], &[RateLimitTable { messages: 1, ..RateLimitTable::default() }]);
        let now = Instant::now();
        let meters = policies.open_meters(&Identity::anonymous(), IpAddr::from([192, 0, 2, 1]), now);
        let judge = |namespace| {
            let instead = Instead::AsRule;
            policies
                .judge(&JudgedPacket { namespace, slot: EventSlot::OTHER, event: Some(b"chat"), instead, now }, &meters)
        };
        assert_eq!(judge("/admin"), Verdict::Close(Namespaces::REFUSAL));
        assert_eq!(judge("/"), Verdict::Forward, "a packet that was refused before is not counted");
        assert!(matches!(judge("/"), Verdict::Reply { .. }));
        assert!(matches!(judge(""), Verdict::Reply { .. }), "a plain WebSocket route has no namespace to refuse");
    }

    #[test]
    fn every_table_that_is_wrong_is_named() {
        let rules = [RateLimitTable::default(), RateLimitTable { messages: 0, ..RateLimitTable::default() }];
        let tables = PolicyTables {
            auth: &AuthTable::default(),
            origins: &OriginsTable::default(),
            namespaces: &["admin".to_owned()],
            rate_limit: &rules,
            sharing: None,
        };
        let faults = Policies::compile(&tables, &Arc::default(), 1).unwrap_err();
        let keys: Vec<_> = faults.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(keys, ["auth.required", "socketio.namespaces[0]", "rate_limit[1].messages"]);
    }
}
