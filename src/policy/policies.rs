//! The list of policies, in the order of judging: the one place where a new policy is entered.

use std::{net::IpAddr, sync::Arc, time::Instant};

use http::request::Parts;

use super::{
    auth::{Auth, AuthTable, shared_keys::SharedKeys},
    compile_error::CompileError,
    identity::Identity,
    namespaces::Namespaces,
    origin::{Origins, OriginsTable},
    rate_limit::{Meters, RateLimitTable, RateLimits},
    token_source::TokenSources,
    verdict::{Refusal, Verdict},
};
use crate::event_names::EventSlot;

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
}

/// Everything this node decides by, compiled once and shared by all its sessions. A reload makes new ones.
///
/// **A new policy** is a file in this folder with its table, `compile`, its question and its tests; then a field here
/// and one line in [`admit`](Self::admit) if it is asked about requests, or in [`judge`](Self::judge) if it is asked
/// about packets. The order of the lines is the order of judging, and the first refusal ends it. Metrics, log and
/// answers follow by themselves, because a [`Refusal`] carries what they need.
#[derive(Debug)]
pub struct Policies {
    /// Ascending with every reload. A session that sees another one than at its last packet
    /// [opens its meters](Self::open_meters) anew.
    pub generation: u64,
    /// Whose token is it?
    pub auth: Auth,
    /// Where is the token?
    pub token_sources: TokenSources,
    /// Which web pages?
    pub origins: Origins,
    /// Which namespaces?
    pub namespaces: Namespaces,
    /// How many packets?
    pub rate_limits: RateLimits,
}

/// A packet from a client, as far as policies see it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The namespace, `/` for the main one; empty on a plain WebSocket route, which has none.
    pub namespace: &'a str,
    /// The number of the event's name.
    pub slot: EventSlot,
    /// The event's name; empty for a packet that has none.
    pub event: &'a str,
    /// When it came.
    pub now: Instant,
}

impl Policies {
    /// Compiles all of them. Files with keys are read here. `published` are the keys of `auth.jwks_url`, where that is
    /// set; they outlive a reload.
    ///
    /// # Errors
    /// The first [`CompileError`]; nothing is changed by then.
    pub fn compile(
        tables: &PolicyTables<'_>,
        published: &Arc<SharedKeys>,
        generation: u64,
    ) -> Result<Self, CompileError> {
        Ok(Self {
            generation,
            auth: Auth::compile(tables.auth, published)?,
            token_sources: TokenSources::compile(&tables.auth.token_from)?,
            origins: Origins::compile(tables.origins)?,
            namespaces: Namespaces::compile(tables.namespaces)?,
            rate_limits: RateLimits::compile(tables.rate_limit)?,
        })
    }

    /// May this request open a session, as far as can be told before anybody is known?
    ///
    /// # Errors
    /// The first refusal.
    pub fn admit(&self, request: &Parts) -> Result<(), Refusal> {
        self.origins.admit(&request.headers)
    }

    /// The meters of a new session, or of one that comes from an older generation.
    #[must_use]
    pub fn open_meters(&self, identity: &Identity, ip: IpAddr, now: Instant) -> Meters {
        self.rate_limits.open(identity.user(), ip, now)
    }

    /// What may become of this packet? A CONNECT is answered by [`Namespaces::admits`] before it is judged here.
    ///
    /// # Panics
    /// Where `meters` were not opened by these policies.
    #[must_use]
    pub fn judge(&self, asked: &Asked<'_>, meters: &Meters) -> Verdict {
        // After a reload a session may be in a namespace that is closed by now. Its transport is closed; the client
        // comes again and hears a CONNECT_ERROR, which it understands.
        if !asked.namespace.is_empty() && !self.namespaces.admits(asked.namespace) {
            return Verdict::Close(Namespaces::REFUSAL);
        }
        self.rate_limits.judge(meters, asked.slot, asked.event, asked.now)
    }
}
