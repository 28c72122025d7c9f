//! The operator's address: metrics, health, sessions, and a page that shows them.

mod access;
mod answer;
mod close;
mod drained;
mod events;
mod exposition;
pub mod health;
mod page;
mod revoke;
mod sessions;
pub mod status;

use std::{net::SocketAddr, sync::Arc};

use hyper::{Method, Request, StatusCode, body::Incoming};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

pub use self::access::OperatorToken;
use self::{
    access::{Access, Denial},
    answer::Answer,
    drained::Waiters,
    events::Listeners,
    health::Health,
    status::StatusSource,
};
use crate::{
    observe::{Exposition, journal},
    relay::{registry::Registry, revoker::Revoker},
    side_http::{self, LateAnswer, Peer},
    units::SecretSource,
};

const INDEX: &str = "\
Tidegate, the operator's address.

/metrics              figures for Prometheus; /metrics/prometheus is the same
/livez                200 while every worker is alive; for any method and Host
/readyz               200 while new clients can be served, and why not; for any method and Host
/drained              waits until the node has left and its last client is gone, then 200; 503 if nobody asks it to leave;
                      for any method and Host
/status               the node at a glance, as JSON
/events               the same once a second, as server-sent events
/sessions?limit=100   who is connected, page by page: &after=ID, the `next` of the page before;
                      or &search=TEXT&sort=id|user|age|rtt|received|refused|waiting&order=asc|desc&page=N
/config               the configuration in force, without secrets, as TOML
/revoke               POST with the bearer token: ends the sessions of {\"jti\": ID}, {\"user\": NAME} or {\"socket\": ID}
/close                POST with the bearer token: ends the session {\"session\": ID}

A browser is shown all of it as a page.
";

/// `[admin]`: the operator's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminTable {
    /// Address and port of the status page, `/metrics`, `/metrics/prometheus`, `/livez`, `/readyz`, `/drained`, `/status`,
    /// `/events`, `/sessions`, `/config`, `/revoke`, `/close`.
    pub address: SocketAddr,
    /// The bearer token for what the status page shows, users among it (`/status`, `/events`, `/sessions`, `/config`). Without
    /// it that is off unless `address` is loopback. `/revoke` and `/close` change something, and are off without it everywhere.
    /// It has 16 bytes at least; 32 random ones are a good token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = SecretSource::Env("TIDEGATE_ADMIN_TOKEN".to_owned()))]
    pub token: Option<SecretSource>,
}

impl Default for AdminTable {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 9464)), token: None }
    }
}

/// What the operator's address shows.
pub struct Admin {
    /// `/metrics`.
    pub exposition: Arc<Exposition>,
    /// `/livez`, `/readyz` and `/drained`.
    pub health: Arc<Health>,
    /// `/status`, `/events` and `/config`.
    pub status: StatusSource,
    /// `/sessions` and `/close`.
    pub registry: Registry,
    /// `/revoke`. `None`: `auth.revoke` is off.
    pub revoker: Option<Revoker>,
    /// The bearer token of operators, read from [`AdminTable::token`].
    pub token: OperatorToken,
    /// Connections at once. Of more the oldest is closed.
    pub connections_max: usize,
}

/// What answers are made from.
struct AdminState {
    exposition: Arc<Exposition>,
    health: Arc<Health>,
    status: StatusSource,
    listeners: Listeners,
    waiters: Waiters,
    registry: Registry,
    revoker: Option<Revoker>,
    access: Access,
}

/// Answers on `listener` until `stop`, which also cuts off open requests.
pub async fn serve(listener: TcpListener, admin: Admin, stop: impl Future<Output = ()>) {
    let loopback = listener.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
    let Admin { exposition, health, status, registry, revoker, token, connections_max } = admin;
    let access = Access { token, loopback };
    let (listeners, waiters) = (Listeners::new(connections_max), Waiters::new(connections_max));
    let state = Arc::new(AdminState { exposition, health, status, listeners, waiters, registry, revoker, access });
    let answering = Arc::clone(&state);
    let answer = move |request: Request<Incoming>| {
        let state = Arc::clone(&answering);
        async move { state.answer(request).await }
    };
    tokio::select! {
        () = stop => {}
        () = side_http::serve(listener, connections_max, answer) => {}
        () = events::tell(&state.listeners, &state.status, &state.access.token) => {}
    }
}

impl AdminState {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        // Balancers ask in many ways, and what they are told is no secret.
        match uri.path() {
            "/livez" => return health::livez(&self.health),
            "/readyz" => return health::readyz(&self.health, uri.query()),
            "/drained" => {
                let answer = request.extensions().get::<LateAnswer>().cloned().unwrap_or_default();
                let from = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
                return drained::drained(&self.health, &self.waiters, from, answer).await;
            }
            _ => {}
        }
        if let Err(denial) = self.access.host(headers) {
            return denial.into();
        }
        if let "/revoke" | "/close" = uri.path() {
            return self.change(request).await;
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return answer::method("GET, HEAD", "Use GET or HEAD.");
        }
        match uri.path() {
            "/" if page::is_wanted(headers) => page::page(),
            "/" => answer::text(StatusCode::OK, INDEX),
            "/metrics" | "/metrics/prometheus" => exposition::metrics(&self.exposition),
            "/status" | "/sessions" | "/config" | "/events" => {
                self.about_users(request).await.unwrap_or_else(Answer::from)
            }
            path => page::file(path).unwrap_or_else(|| {
                answer::refusal(StatusCode::NOT_FOUND, "path", "There is no such page; / lists those there are.")
            }),
        }
    }

    /// What operators alone may read.
    async fn about_users(&self, request: Request<Incoming>) -> Result<Answer, Denial> {
        let (uri, headers) = (request.uri(), request.headers());
        // Before the token is looked at: one that replaces it meanwhile ends a stream too.
        let generation = self.access.token.generation();
        self.access.users(headers)?;
        Ok(match uri.path() {
            "/events" => events::events(&self.listeners, &self.status, generation),
            "/status" => status::status(&self.status),
            "/config" => status::config(&self.status),
            _ => sessions::sessions(&self.registry, self.health.redis(), uri.query().unwrap_or_default()).await,
        })
    }

    /// The only requests that change something.
    async fn change(&self, request: Request<Incoming>) -> Answer {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
        if *request.method() != Method::POST {
            return answer::method("POST", "Use POST.");
        }
        let closes = request.uri().path() == "/close";
        if let Err(denial) = self.access.changes(request.headers()) {
            let who = peer.map(|peer| peer.ip());
            if closes {
                journal::nodes::close_denied(who)
            } else {
                journal::nodes::revocation_denied(who)
            }
            return denial.into();
        }
        match &self.revoker {
            _ if closes => close::close(&self.registry, request.into_body(), peer).await,
            Some(revoker) => revoke::revoke(revoker, request.into_body(), peer).await,
            None => {
                answer::refusal(StatusCode::NOT_FOUND, "off", "Tokens are not revoked here: set auth.revoke = true.")
            }
        }
    }
}

#[cfg(test)]
mod tests;
