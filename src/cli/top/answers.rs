//! What a node says of itself: `/status` and `/sessions`. A member that is null, missing or of another kind is unknown.

use serde_json::Value;

use crate::cli::output::clean;

/// `/status`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Status {
    pub(super) node: Option<String>,
    pub(super) version: Option<String>,
    /// In seconds since 1970.
    pub(super) started_at: Option<u64>,
    pub(super) uptime: Option<u64>,
    pub(super) open: Option<u64>,
    pub(super) active: Option<u64>,
    pub(super) held: Option<u64>,
    pub(super) absent: Option<u64>,
    pub(super) by_transport: Vec<(String, u64)>,
    pub(super) by_quality: Vec<(String, u64)>,
    pub(super) totals: Totals,
    pub(super) p50: Option<f64>,
    pub(super) p95: Option<f64>,
    pub(super) p99: Option<f64>,
    pub(super) service: Peer,
    /// `None`: there is no `[redis]`.
    pub(super) redis: Option<Peer>,
    /// Name, and until when in seconds since 1970.
    pub(super) certificates: Vec<(String, Option<u64>)>,
    pub(super) memory_used: Option<u64>,
    pub(super) memory_limit: Option<u64>,
    pub(super) reload_ok: Option<bool>,
    /// In seconds since 1970.
    pub(super) reloaded_at: Option<u64>,
}

/// What only grows while the node runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Totals {
    pub(super) connections: Option<u64>,
    pub(super) received: Option<u64>,
    pub(super) sent: Option<u64>,
    pub(super) refused: Vec<(String, u64)>,
    pub(super) disconnected: Vec<(String, u64)>,
    pub(super) errors: Vec<(String, u64)>,
}

/// Somebody whom the node speaks with.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Peer {
    pub(super) url: Option<String>,
    pub(super) up: Option<bool>,
    /// In seconds since 1970.
    pub(super) since: Option<u64>,
    /// Why it is not there.
    pub(super) why: Option<String>,
}

/// A page of `/sessions`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sessions {
    pub(super) rows: Vec<Session>,
    /// How many match, on all pages.
    pub(super) total: Option<u64>,
}

/// One of `/sessions`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Session {
    pub(super) id: u64,
    pub(super) user: Option<String>,
    /// Of several users of one session, how many there are beside `user`.
    pub(super) users_beside: usize,
    pub(super) peer: Option<String>,
    pub(super) transport: Option<String>,
    pub(super) namespaces: String,
    pub(super) quality: Option<String>,
    pub(super) rtt: Option<f64>,
    pub(super) jitter: Option<f64>,
    pub(super) loss: Option<f64>,
    pub(super) received: Option<u64>,
    pub(super) sent: Option<u64>,
    pub(super) refused: Option<u64>,
    pub(super) waiting: Option<u64>,
    pub(super) age: Option<u64>,
}

impl Status {
    /// `None`: it is no object, so it is not from a node.
    pub(super) fn of(answer: &Value) -> Option<Self> {
        answer.as_object()?;
        let total = |name: &str| whole(answer, &format!("/totals/{name}"));
        let totals_by = |name: &str| counts(answer, &format!("/totals/{name}"));
        Some(Self {
            node: text(answer, "/node"),
            version: text(answer, "/version"),
            started_at: whole(answer, "/started_at"),
            uptime: whole(answer, "/uptime_seconds"),
            open: whole(answer, "/sessions/open"),
            active: whole(answer, "/sessions/active"),
            held: whole(answer, "/sessions/held"),
            absent: whole(answer, "/sessions/absent"),
            by_transport: counts(answer, "/sessions/by_transport"),
            by_quality: counts(answer, "/sessions/by_quality"),
            totals: Totals {
                connections: total("connections"),
                received: total("received"),
                sent: total("sent"),
                refused: totals_by("refused"),
                disconnected: totals_by("disconnected"),
                errors: totals_by("errors"),
            },
            p50: number(answer, "/latency_ms/p50"),
            p95: number(answer, "/latency_ms/p95"),
            p99: number(answer, "/latency_ms/p99"),
            service: answer.get("upstream").map(Peer::of).unwrap_or_default(),
            redis: answer.get("redis").filter(|redis| redis.is_object()).map(Peer::of),
            certificates: list(answer, "certificates").iter().map(certificate).collect(),
            memory_used: whole(answer, "/memory/used"),
            memory_limit: whole(answer, "/memory/limit"),
            reload_ok: answer.pointer("/reload/ok").and_then(Value::as_bool),
            reloaded_at: whole(answer, "/reload/last_success"),
        })
    }

    /// What time it is at the node, so that a wrong clock here changes no figure.
    pub(super) fn now(&self) -> Option<u64> {
        self.started_at?.checked_add(self.uptime?)
    }
}

impl Peer {
    fn of(value: &Value) -> Self {
        Self {
            url: text(value, "/url"),
            up: value.get("up").and_then(Value::as_bool),
            since: whole(value, "/since"),
            why: text(value, "/why"),
        }
    }
}

impl Sessions {
    /// `None`: there is no list, so it is not from a node.
    pub(super) fn of(answer: &Value) -> Option<Self> {
        let rows = answer.get("sessions")?.as_array()?.iter().map(Session::of).collect();
        Some(Self { rows, total: whole(answer, "/total") })
    }
}

impl Session {
    fn of(value: &Value) -> Self {
        let namespaces: Vec<_> = list(value, "namespaces").iter().filter_map(Value::as_str).map(clean).collect();
        Self {
            id: whole(value, "/id").unwrap_or_default(),
            user: text(value, "/user"),
            users_beside: list(value, "users").len().saturating_sub(1),
            peer: text(value, "/peer"),
            transport: text(value, "/transport"),
            namespaces: namespaces.join(" "),
            quality: text(value, "/quality"),
            rtt: number(value, "/rtt_avg_ms").or_else(|| number(value, "/rtt_ms")),
            jitter: number(value, "/jitter_ms"),
            loss: number(value, "/loss_percent"),
            received: whole(value, "/packets_received"),
            sent: whole(value, "/packets_sent"),
            refused: whole(value, "/packets_refused"),
            waiting: whole(value, "/waiting_packets"),
            age: whole(value, "/age_seconds"),
        }
    }
}

fn certificate(value: &Value) -> (String, Option<u64>) {
    (text(value, "/name").unwrap_or_else(|| "certificate".to_owned()), whole(value, "/not_after"))
}

fn text(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer)?.as_str().map(clean)
}

fn number(value: &Value, pointer: &str) -> Option<f64> {
    value.pointer(pointer)?.as_f64()
}

fn whole(value: &Value, pointer: &str) -> Option<u64> {
    let value = value.pointer(pointer)?;
    value.as_u64().or_else(|| value.as_f64().map(|number| number as u64))
}

fn counts(value: &Value, pointer: &str) -> Vec<(String, u64)> {
    let Some(members) = value.pointer(pointer).and_then(Value::as_object) else { return Vec::new() };
    members.iter().filter_map(|(name, count)| Some((clean(name), count.as_u64()?))).collect()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_null_missing_or_of_another_kind_is_unknown() {
        let unknown = Status::default();
        for answer in [
            json!({}),
            json!({ "node": null, "sessions": null, "totals": null, "upstream": null, "redis": null }),
            json!({ "node": 7, "sessions": [], "totals": "many", "latency_ms": { "p50": "fast" }, "certificates": {} }),
        ] {
            assert_eq!(Status::of(&answer), Some(unknown.clone()), "{answer}");
        }
        assert_eq!(Status::of(&json!([])), None);
        assert_eq!(Sessions::of(&json!({})), None);
        let bare = Sessions::of(&json!({ "sessions": [{}, { "user": null, "rtt_ms": null, "users": null }] }));
        assert_eq!(bare.unwrap().rows, [Session::default(), Session::default()]);
    }

    #[test]
    fn what_is_there_is_read() {
        let status = Status::of(&json!({
            "node": "n\u{7}1", "started_at": 1000, "uptime_seconds": 12.9, "sessions": { "by_quality": { "good": 3 } },
            "totals": { "received": 9, "refused": { "rate": 2 } }, "redis": { "up": false, "since": 1001, "why": "refused" },
            "certificates": [{ "name": "a", "not_after": 5 }, {}],
        }));
        let status = status.unwrap();
        assert_eq!((status.node.as_deref(), status.now()), (Some("n\u{fffd}1"), Some(1012)));
        assert_eq!(status.by_quality, [("good".to_owned(), 3)]);
        assert_eq!((status.totals.received, &*status.totals.refused), (Some(9), &[("rate".to_owned(), 2)][..]));
        assert_eq!(
            status.redis,
            Some(Peer { url: None, up: Some(false), since: Some(1001), why: Some("refused".to_owned()) })
        );
        assert_eq!(status.certificates, [("a".to_owned(), Some(5)), ("certificate".to_owned(), None)]);
        let sessions = Sessions::of(&json!({
            "total": 7,
            "sessions": [{ "id": 4, "rtt_ms": 5.5, "rtt_avg_ms": 6.5, "users": ["a", "b", "c"], "namespaces": ["/", "/c"] }],
        }));
        let sessions = sessions.unwrap();
        assert_eq!((sessions.total, sessions.rows[0].rtt, sessions.rows[0].users_beside), (Some(7), Some(6.5), 2));
        assert_eq!(sessions.rows[0].namespaces, "/ /c");
    }
}
