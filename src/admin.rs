//! The operator's address: metrics, health, sessions.

mod access;
mod answer;
mod exposition;
pub mod health;
mod revoke;
mod sessions;

use std::{net::SocketAddr, sync::Arc};

use hyper::{
    Method, Request, StatusCode,
    body::Incoming,
    header::{ALLOW, HeaderValue},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

pub use self::access::OperatorToken;
use self::{access::Access, answer::Answer, health::Health};
use crate::{
    observe::Exposition,
    relay::{registry::Registry, revoker::Revoker},
    side_http::{self, Peer},
    units::SecretSource,
};

const INDEX: &str = "\
Tidegate, the operator's address.

/metrics              figures for Prometheus; /metrics/prometheus is the same
/livez                200 while every worker is alive; for any method and Host
/readyz               200 while new clients can be served, and why not; for any method and Host
/sessions?limit=100   who is connected, page by page: &after=ID, the `next` of the page before
/revoke               POST with the bearer token: ends the sessions of {\"jti\": ID}, {\"user\": NAME} or {\"socket\": ID}
";

/// `[admin]`: the operator's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminTable {
    /// Address and port of `/metrics`, `/metrics/prometheus`, `/livez`, `/readyz`, `/sessions`, `/revoke`.
    pub address: SocketAddr,
    /// The bearer token for pages about users (`/sessions`). Without it they are off unless `address` is loopback. `/revoke`
    /// changes something, and is off without it everywhere.
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
    /// `/livez` and `/readyz`.
    pub health: Arc<Health>,
    /// `/sessions`.
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
    registry: Registry,
    revoker: Option<Revoker>,
    access: Access,
}

/// Answers on `listener` until `stop`, which also cuts off open requests.
pub async fn serve(listener: TcpListener, admin: Admin, stop: impl Future<Output = ()>) {
    let loopback = listener.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
    let Admin { exposition, health, registry, revoker, token, connections_max } = admin;
    let state = Arc::new(AdminState { exposition, health, registry, revoker, access: Access { token, loopback } });
    let answer = move |request: Request<Incoming>| {
        let state = Arc::clone(&state);
        async move { state.answer(request).await }
    };
    tokio::select! {
        () = stop => {}
        () = side_http::serve(listener, connections_max, answer) => {}
    }
}

impl AdminState {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        // Balancers ask in many ways, and what they are told is no secret.
        match uri.path() {
            "/livez" => return health::livez(&self.health),
            "/readyz" => return health::readyz(&self.health),
            _ => {}
        }
        if let Err(denial) = self.access.host(headers) {
            return denial.into();
        }
        if uri.path() == "/revoke" {
            return self.revoke(request).await;
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refusal = answer::refusal(StatusCode::METHOD_NOT_ALLOWED, "method", "Use GET or HEAD.");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        match uri.path() {
            "/" => answer::text(StatusCode::OK, INDEX),
            "/metrics" | "/metrics/prometheus" => exposition::metrics(&self.exposition),
            "/sessions" => match self.access.users(headers) {
                Ok(()) => {
                    let query = uri.query().unwrap_or_default();
                    sessions::sessions(&self.registry, self.health.redis(), query).await
                }
                Err(denial) => denial.into(),
            },
            _ => answer::refusal(StatusCode::NOT_FOUND, "path", "There is no such page; / lists those there are."),
        }
    }

    /// The only request that changes something.
    async fn revoke(&self, request: Request<Incoming>) -> Answer {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
        if *request.method() != Method::POST {
            let mut refusal = answer::refusal(StatusCode::METHOD_NOT_ALLOWED, "method", "Use POST.");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return refusal;
        }
        if let Err(denial) = self.access.changes(request.headers()) {
            revoke::denied(peer);
            return denial.into();
        }
        match &self.revoker {
            Some(revoker) => revoke::revoke(revoker, request.into_body(), peer).await,
            None => {
                answer::refusal(StatusCode::NOT_FOUND, "off", "Tokens are not revoked here: set auth.revoke = true.")
            }
        }
    }
}

#[cfg(test)]
mod tests;
