//! The operator's address: metrics, health, sessions.

mod access;
mod answer;
mod exposition;
pub mod health;
mod sessions;

use std::{net::SocketAddr, sync::Arc};

use hyper::{
    HeaderMap, Method, Request, StatusCode, Uri,
    body::Incoming,
    header::{ALLOW, HeaderValue},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use self::{access::Access, answer::Answer, health::Health};
use crate::{observe::Exposition, relay::registry::Registry, side_http, units::SecretSource};

const INDEX: &str = "\
Tidegate, the operator's address.

/metrics              figures for Prometheus; /metrics/prometheus is the same
/livez                200 while every worker is alive
/readyz               200 while new clients can be served, and why not
/sessions?limit=100   who is connected, page by page: &after=ID, the `next` of the page before
";

/// `[admin]`: the operator's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminTable {
    /// Address and port of `/metrics`, `/metrics/prometheus`, `/livez`, `/readyz`, `/sessions`.
    pub address: SocketAddr,
    /// The bearer token for pages about users (`/sessions`). Without it they are off unless `address` is loopback.
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
    /// The bearer token of operators, read from [`AdminTable::token`].
    pub token: Option<Zeroizing<Vec<u8>>>,
    /// Connections at once. Of more the oldest is closed.
    pub connections_max: usize,
}

/// What answers are made from.
struct AdminState {
    exposition: Arc<Exposition>,
    health: Arc<Health>,
    registry: Registry,
    access: Access,
}

/// Answers on `listener` until `stop`, which also cuts off open requests.
pub async fn serve(listener: TcpListener, admin: Admin, stop: impl Future<Output = ()>) {
    let loopback = listener.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
    let Admin { exposition, health, registry, token, connections_max } = admin;
    let state = Arc::new(AdminState { exposition, health, registry, access: Access { token, loopback } });
    let answer = move |request: Request<Incoming>| {
        let state = Arc::clone(&state);
        async move { state.answer(request.method(), request.uri(), request.headers()).await }
    };
    tokio::select! {
        () = stop => {}
        () = side_http::serve(listener, connections_max, answer) => {}
    }
}

impl AdminState {
    async fn answer(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Answer {
        if let Err(denial) = self.access.host(headers) {
            return denial.into();
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refusal = answer::refusal(StatusCode::METHOD_NOT_ALLOWED, "method", "Use GET or HEAD.");
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refusal;
        }
        match uri.path() {
            "/" => answer::text(StatusCode::OK, INDEX),
            "/metrics" | "/metrics/prometheus" => exposition::metrics(&self.exposition),
            "/livez" => health::livez(&self.health),
            "/readyz" => health::readyz(&self.health),
            "/sessions" => match self.access.users(headers) {
                Ok(()) => sessions::sessions(&self.registry, uri.query().unwrap_or_default()).await,
                Err(denial) => denial.into(),
            },
            _ => answer::refusal(StatusCode::NOT_FOUND, "path", "There is no such page; / lists those there are."),
        }
    }
}

#[cfg(test)]
mod tests;
