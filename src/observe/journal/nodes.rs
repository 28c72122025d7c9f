//! Lines about rooms, about what goes between nodes, and about revocations.

use std::{fmt, net::IpAddr};

use tracing::{info, warn};

use super::repeated_warning;

/// A line for the first event that the `[[mirror]]` rule with this number does not publish.
pub fn not_mirrored(rule: usize) {
    warn!(
        "mirror[{rule}].room cannot be named for an event of the service: a claim or an argument is missing, or no text; such \
         events are not published (tidegate_mirror_unresolved_total)"
    );
}

/// A line for a session that is in as many rooms as it may. Limited like a refused handshake.
pub fn rooms_full(peer: IpAddr) {
    let Some(suppressed) = admitted!("rooms") else { return };
    warn!(
        %peer,
        suppressed,
        "a client is in as many rooms as it may, or waits for them, and does not get into another one: \
         limits.rooms_per_session"
    );
}

/// A line for an event or a message that does not go between nodes. `kind` is limited like a refused handshake.
pub fn mirror_trouble(kind: &'static str, why: &dyn fmt::Display) {
    repeated_warning(kind, why);
}

/// The fields of the line for a revocation by the operator.
#[derive(Debug, Clone)]
pub struct Revoked<'a> {
    /// Who asked for it.
    pub peer: Option<IpAddr>,
    /// What was revoked: `jti`, `user` or `socket`.
    pub kind: &'static str,
    /// The beginning of the SHA-256 of its name, in hex.
    pub hash: &'a str,
    /// Until when.
    pub until: &'a str,
    /// Sessions of this node that it has met.
    pub sessions: usize,
    /// How far it reaches: `node`, `later` or `nodes`.
    pub reach: &'static str,
}

/// A line for a revocation by the operator.
pub fn revoked(revoked: &Revoked<'_>) {
    let Revoked { peer, kind, hash, until, sessions, reach } = revoked;
    info!(peer = peer.map(tracing::field::display), kind, hash, until, sessions, reach, "the operator revoked");
}

/// A line for a session that the operator ends. `id` and `sid_hash` are those of its own lines, which name its user.
pub fn closed(peer: Option<IpAddr>, id: u64, sid_hash: Option<&str>) {
    info!(peer = peer.map(tracing::field::display), id, sid_hash, "the operator closed a session");
}

/// A line for a session that somebody wanted to end without the right token. Limited like a refused handshake.
pub fn close_denied(peer: Option<IpAddr>) {
    let who = peer.map_or_else(|| "somebody".to_owned(), |peer| peer.to_string());
    repeated_warning("close", &format_args!("{who} asked /close without the token of admin.token: nothing was closed"));
}

/// A line for a revocation that was asked for without the right token. Limited like a refused handshake.
pub fn revocation_denied(peer: Option<IpAddr>) {
    let who = peer.map_or_else(|| "somebody".to_owned(), |peer| peer.to_string());
    repeated_warning(
        "revocation",
        &format_args!("{who} asked /revoke without the token of admin.token: nothing was revoked"),
    );
}
