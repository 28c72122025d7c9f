//! The line for each thing that is refused: who, which rule, what was seen of it, and the setting that governs it.
//!
//! What was seen comes from a client: it is bounded, control characters are escaped, and who gathers it leaves out
//! queries, cookies, tokens and session ids.

use std::net::IpAddr;

/// The most bytes of a field whose text comes from a client or a token; the rest is cut off.
pub(super) const FIELD_BYTES_MAX: usize = 256;

/// Something that is refused.
#[derive(Debug, Clone, Copy)]
pub struct Refused<'a> {
    /// The client's address.
    pub peer: IpAddr,
    /// Where it is refused; the label `stage` of `tidegate_refused_total`.
    pub stage: &'static str,
    /// The rule; the label `reason` of `tidegate_refused_total`.
    pub reason: &'static str,
    /// What the client is told of it; of a token, what is wrong with it, which the log alone says.
    pub why: Option<&'a str>,
    /// What was seen, without anything secret.
    pub seen: Option<&'a str>,
    /// The `Origin` header, if there is one.
    pub origin: Option<&'a str>,
    /// Which site was asked for, to compare with the origin.
    pub asked: Option<&'a str>,
    /// The setting, where it is another one than [`setting`] says.
    pub setting: Option<&'static str>,
}

impl Refused<'_> {
    /// One of which nothing more is known.
    #[must_use]
    pub const fn of(peer: IpAddr, stage: &'static str, reason: &'static str) -> Self {
        Self { peer, stage, reason, why: None, seen: None, origin: None, asked: None, setting: None }
    }
}

/// The key of the configuration that governs a rule. `None`: the rule is one of a protocol, which nothing changes.
#[must_use]
pub fn setting(stage: &str, reason: &str) -> Option<&'static str> {
    Some(match reason {
        "http_too_large" => "limits.header_bytes, limits.header_fields",
        "http_connection" => "listen.trust_headers",
        "handshake_timeout" => "limits.handshake_timeout",
        "path_ambiguous" => "socketio.path, websocket.path",
        "no_websocket_route" => "websocket.path",
        "transport_unknown" => "socketio.transports",
        "forbidden" if stage == "connect" => "socketio.namespaces",
        "forbidden" => "origins.allow",
        "auth.missing" => "auth.required, auth.token_from",
        "auth.invalid" => "auth",
        "auth.expired" => "auth.leeway",
        "auth.too_long" => "limits.header_bytes, socketio.max_connect",
        "auth.keys_unavailable" => "auth.jwks_url",
        "auth.other_user" => "auth.users_per_connection",
        "sid_mismatch" => "auth.token_from, socketio.same_address",
        "upgrade_without_token" => "socketio.upgrade_without_token",
        "mailbox_full" | "payload_too_big" => "socketio.max_payload",
        "payload_packets" => "socketio.payload_packets",
        "connect_too_big" => "socketio.max_connect",
        "connect_timeout" => "socketio.connect_timeout",
        "ping_timeout" => "socketio.ping_interval, socketio.ping_timeout",
        "idle_timeout" => "limits.idle_timeout",
        "overloaded" => "limits.memory, limits.session_memory",
        "limit.connections" | "limit.absent" => "limits.connections",
        "limit.connections_per_ip" => "limits.connections_per_ip",
        "limit.absent_per_ip" => "limits.absent_per_ip",
        "limit.requests" => "limits.requests",
        "limit.requests_per_ip" => "limits.requests_per_ip",
        "rate_limit" => "rate_limit",
        "upstream.timeout" => "upstream.response_timeout, upstream.connect_timeout",
        "upstream.unreachable" | "upstream.refused" | "upstream.broken" => "upstream.url",
        _ => return None,
    })
}

/// The beginning of a text, its control characters as they are written in a string of Rust.
pub(super) fn escaped(text: &str) -> String {
    let text = clip(text);
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() { escaped.extend(character.escape_default()) } else { escaped.push(character) }
    }
    escaped
}

pub(super) fn clip(text: &str) -> &str {
    &text[..text.floor_char_boundary(FIELD_BYTES_MAX)]
}
