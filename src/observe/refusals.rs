//! The line for each thing that is refused: who, which rule, what was seen of it, and the setting that governs it.
//!
//! What was seen comes from a client: it is bounded, control characters are escaped, and who gathers it leaves out
//! queries, cookies, tokens and session ids.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Instant,
};

use super::line_limit::{LINES_PER_WINDOW, WINDOW};

/// The most bytes of a field whose text comes from a client or a token; the rest is cut off.
pub(super) const FIELD_BYTES_MAX: usize = 256;
/// The most pairs of peer and reason that are told apart.
const PAIRS_MAX: usize = 1024;
/// Lines in one [`WINDOW`] for all peers and reasons together.
const LINES_MAX: u32 = 200;

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

/// Lines written and left out, by peer and reason.
#[derive(Debug)]
pub(super) struct PeerLines {
    pairs: HashMap<(IpAddr, &'static str), Share>,
    all: Share,
}

#[derive(Debug)]
struct Share {
    window: Instant,
    written: u32,
    suppressed: u64,
}

impl Share {
    const fn new(now: Instant) -> Self {
        Self { window: now, written: 0, suppressed: 0 }
    }

    fn has_room(&mut self, max: u32, now: Instant) -> bool {
        if now.saturating_duration_since(self.window) >= WINDOW {
            (self.window, self.written) = (now, 0);
        }
        self.written < max
    }
}

impl PeerLines {
    pub(super) fn new(now: Instant) -> Self {
        Self { pairs: HashMap::new(), all: Share::new(now) }
    }

    /// Whether to write a line, and how many were left out before it: of this pair, or of all that are not told apart.
    pub(super) fn admit(&mut self, peer: IpAddr, reason: &'static str, now: Instant) -> Option<u64> {
        let key = (network(peer), reason);
        if !self.all.has_room(LINES_MAX, now) {
            self.all.suppressed += 1;
            return None;
        }
        if self.pairs.len() >= PAIRS_MAX && !self.pairs.contains_key(&key) {
            // At most once for each line that is written.
            self.pairs.retain(|_, share| now.saturating_duration_since(share.window) < WINDOW || share.suppressed > 0);
            if self.pairs.len() >= PAIRS_MAX {
                self.pairs.clear();
            }
        }
        let share = self.pairs.entry(key).or_insert_with(|| Share::new(now));
        if !share.has_room(LINES_PER_WINDOW, now) {
            share.suppressed += 1;
            return None;
        }
        share.written += 1;
        self.all.written += 1;
        Some(std::mem::take(&mut share.suppressed) + std::mem::take(&mut self.all.suppressed))
    }
}

/// One client has a whole /64 of IPv6.
fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u16) -> IpAddr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, last, 1, 2, 3, 4).into()
    }

    #[test]
    fn ten_lines_a_second_for_each_peer_and_reason() {
        let now = Instant::now();
        let mut lines = PeerLines::new(now);
        let written =
            |lines: &mut PeerLines, from, reason| (0..15).filter(|_| lines.admit(from, reason, now).is_some()).count();
        assert_eq!(written(&mut lines, peer(1), "forbidden"), 10);
        assert_eq!(written(&mut lines, peer(1), "auth.missing"), 10);
        assert_eq!(written(&mut lines, peer(2), "forbidden"), 10, "one peer does not hide another");
        assert_eq!(
            lines.admit(Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 9, 9, 9, 9).into(), "forbidden", now),
            None,
            "one /64"
        );
        assert_eq!(
            lines.admit(peer(1), "forbidden", now + WINDOW),
            Some(5),
            "the next line says how many were left out"
        );
        assert_eq!(lines.admit(peer(1), "forbidden", now + WINDOW), Some(0));
    }

    #[test]
    fn many_peers_cost_a_bounded_number_of_lines_and_entries() {
        let now = Instant::now();
        let mut lines = PeerLines::new(now);
        let written = (0..5000).filter(|&from| lines.admit(peer(from), "forbidden", now).is_some()).count();
        assert_eq!(written, LINES_MAX as usize);
        assert_eq!(lines.admit(peer(1), "forbidden", now + WINDOW), Some(5000 - u64::from(LINES_MAX)));
        for second in 1..30 {
            let now = now + WINDOW * second;
            for from in 0..200 {
                let _ = lines.admit(peer(from + 200 * u16::try_from(second).unwrap()), "x", now);
            }
        }
        assert!(lines.pairs.len() <= PAIRS_MAX);
    }
}
