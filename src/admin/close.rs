//! `POST /close`: ends one session, and says whose it was.

use std::net::SocketAddr;

use hyper::{StatusCode, body::Incoming};
use serde::{Deserialize, Serialize};

use super::answer::{self, Answer};
use crate::{observe::journal, relay::registry::Registry};

/// A request has a number.
const BODY_BYTES_MAX: usize = 256;

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CloseRequest {
    /// The `id` of `/sessions`.
    session: u64,
}

/// What was done.
#[derive(Debug, Serialize)]
struct Done {
    closed: u64,
    user: Option<String>,
}

/// Does what the request asks for, and logs it.
pub(super) async fn close(registry: &Registry, body: Incoming, peer: Option<SocketAddr>) -> Answer {
    let body = match answer::body(body, BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let CloseRequest { session } = match serde_json::from_slice(&body) {
        Ok(asked) => asked,
        Err(error) => {
            let message = format!("{error}. Send {{\"session\": ID}}, the id of /sessions.");
            return answer::refusal(StatusCode::BAD_REQUEST, "body", &message);
        }
    };
    let registry = registry.clone();
    answer::of_change(async move { close_session(&registry, session, peer).await }).await
}

async fn close_session(registry: &Registry, session: u64, peer: Option<SocketAddr>) -> Answer {
    let Some(closed) = registry.close(session).await else {
        return answer::refusal(StatusCode::NOT_FOUND, "session", "There is no such session, or it has ended already.");
    };
    journal::nodes::closed(peer.map(|peer| peer.ip()), session, closed.sid_hash.as_deref());
    answer::json(StatusCode::OK, &Done { closed: session, user: closed.user })
}
