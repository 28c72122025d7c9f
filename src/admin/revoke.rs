//! `POST /revoke`: revokes a token, a user or a socket, and says what that has done here.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::digest::{SHA256, digest};
use hyper::{StatusCode, body::Incoming};
use serde::{Deserialize, Serialize};

use super::answer::{self, Answer};
use crate::{
    observe::journal,
    policy::auth::revoked::{NAME_BYTES_MAX, Revocation, Whom, unix_seconds},
    relay::revoker::{RevocationScope, Revoker},
    units::Period,
};

/// A request has a name and a time.
const BODY_BYTES_MAX: usize = 4096;

/// For how long a token or a user is revoked unless the request says so. No session of common issuers lasts longer.
const LASTS: Duration = Duration::from_hours(30 * 24);

/// The same for a socket, whose id never comes back.
const SOCKET_LASTS: Duration = Duration::from_hours(1);

/// A user's tokens are revoked up to this far behind the clock of the node at most: what is beyond is in milliseconds, or a
/// mistake. Clocks that differ by more let nobody in.
const AHEAD_MAX: Duration = Duration::from_secs(60);

/// For how long at most.
const LASTS_MAX: Duration = Duration::from_hours(366 * 24);

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeRequest {
    jti: Option<String>,
    user: Option<String>,
    socket: Option<String>,
    /// Of a user, the moment until which tokens were issued, by the clock of the issuer, in seconds since 1970. `None`: now, by
    /// the clock of this node.
    at: Option<u64>,
    /// For how long.
    r#for: Option<Period>,
}

/// What was done.
#[derive(Debug, Serialize)]
struct Done {
    /// `jti`, `user` or `socket`.
    revoked: &'static str,
    /// Until when, as HTTP writes dates.
    until: String,
    /// Sessions of this node that end, or whose clients are put out of a namespace.
    sessions: usize,
    /// `nodes`; `later`: the other nodes hear of it once Redis is there again; `node`: there is no other.
    reach: &'static str,
}

/// Does what the request asks for, and logs it.
pub(super) async fn revoke(revoker: &Revoker, body: Incoming, peer: Option<SocketAddr>) -> Answer {
    let body = match answer::body(body, BODY_BYTES_MAX).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let now = SystemTime::now();
    let (kind, revocation) = match serde_json::from_slice(&body).map_err(|error| error.to_string()) {
        Ok(asked) => match revocation(asked, now) {
            Ok(found) => found,
            Err(message) => return answer::refusal(StatusCode::BAD_REQUEST, "body", &message),
        },
        Err(message) => return answer::refusal(StatusCode::BAD_REQUEST, "body", &message),
    };
    let revoker = revoker.clone();
    answer::of_change(async move { carry_out(&revoker, kind, revocation, now, peer).await }).await
}

async fn carry_out(
    revoker: &Revoker,
    kind: &'static str,
    revocation: Revocation,
    now: SystemTime,
    peer: Option<SocketAddr>,
) -> Answer {
    let done = revoker.revoke(std::slice::from_ref(&revocation), now).await;
    let reach = match revoker.reach() {
        RevocationScope::Node => "node",
        RevocationScope::Later => "later",
        RevocationScope::Nodes => "nodes",
    };
    let until = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(revocation.until));
    let (Whom::Token(name) | Whom::Socket(name) | Whom::User { name, .. }) = &revocation.whom;
    journal::nodes::revoked(&journal::nodes::Revoked {
        peer: peer.map(|peer| peer.ip()),
        kind,
        hash: &short_digest(name),
        until: &until,
        sessions: done.sessions,
        reach,
    });
    answer::json(StatusCode::OK, &Done { revoked: kind, until, sessions: done.sessions, reach })
}

fn revocation(asked: RevokeRequest, now: SystemTime) -> Result<(&'static str, Revocation), String> {
    let RevokeRequest { jti, user, socket, at, r#for } = asked;
    let (kind, name, default) = match (jti, user, socket) {
        (Some(jti), None, None) => ("jti", jti, LASTS),
        (None, Some(user), None) => ("user", user, LASTS),
        (None, None, Some(socket)) => ("socket", socket, SOCKET_LASTS),
        _ => return Err("Name exactly one of jti, user and socket.".to_owned()),
    };
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) {
        return Err(format!("{kind} has {} bytes; it must have 1 to {NAME_BYTES_MAX} bytes.", name.len()));
    }
    let lasts = r#for.map_or(default, |period| period.0);
    if !(Duration::from_secs(1)..=LASTS_MAX).contains(&lasts) {
        return Err(format!("for is {}; it must be 1s to {}.", Period(lasts), Period(LASTS_MAX)));
    }
    let now_seconds = unix_seconds(now);
    if at.is_some() && kind != "user" {
        return Err(format!("at goes with user, whose tokens it divides; {kind} names one."));
    }
    if let Some(at) = at.filter(|at| *at > now_seconds + AHEAD_MAX.as_secs()) {
        return Err(format!("at is {at}; it is in seconds since 1970, and here it is {now_seconds}."));
    }
    let whom = match kind {
        "jti" => Whom::Token(name.into()),
        "user" => Whom::User { name: name.into(), at: at.unwrap_or(now_seconds) },
        _ => Whom::Socket(name.into()),
    };
    Ok((kind, Revocation::lasting(whom, lasts, now)))
}

/// What stands for a name in the log.
fn short_digest(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn asked(body: &Value) -> Result<Whom, String> {
        let asked = serde_json::from_value(body.clone()).unwrap();
        revocation(asked, UNIX_EPOCH + Duration::from_secs(NOW)).map(|(_, revocation)| revocation.whom)
    }

    #[test]
    fn the_moment_of_a_user_is_now_or_that_of_the_issuer() {
        for (body, at) in [
            (json!({ "user": "ada" }), NOW),
            (json!({ "user": "ada", "at": NOW - 20 }), NOW - 20),
            (json!({ "user": "ada", "at": NOW + 60 }), NOW + 60),
        ] {
            assert_eq!(asked(&body), Ok(Whom::User { name: "ada".into(), at }), "{body}");
        }
        for (body, part) in [
            (json!({ "user": "ada", "at": NOW + 61 }), "in seconds since 1970"),
            (json!({ "user": "ada", "at": NOW * 1000 }), "in seconds since 1970"),
            (json!({ "jti": "one", "at": NOW }), "at goes with user"),
            (json!({ "socket": "one", "at": NOW }), "at goes with user"),
        ] {
            let refusal = asked(&body).unwrap_err();
            assert!(refusal.contains(part), "{body}: {refusal}");
        }
    }
}
