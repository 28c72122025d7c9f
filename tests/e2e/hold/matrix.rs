//! Every transport, every way for a service to go, without its own recovery, with one in memory and with one that
//! outlives it: one table.

use super::held;
use crate::support::{Client, Gate, Redis, Service, json, token};

/// How the service goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goes {
    /// SIGTERM: it closes its connections, ends and is started again.
    Stopped,
    /// SIGKILL: its connections break, and it is started again.
    Killed,
    /// SIGSTOP: it says nothing for longer than it promised to, and then goes on.
    Frozen,
}

/// What the service remembers of a socket that is gone, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recovery {
    Off,
    Memory,
    /// In Redis, by the streams adapter.
    Streams,
}

/// What the client notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notices {
    /// It is connected once more, under a new id.
    NewId,
    Nothing,
}

/// Each cell is run for a client that polls, for one on a websocket, and for one that is going over from one to the
/// other: the transport of a client makes no difference to the service's leg.
async fn cell(goes: Goes, recovery: Recovery, expected: Notices) {
    let redis = if recovery == Recovery::Streams { Some(Redis::start().await) } else { None };
    let port = redis.as_ref().map_or_else(String::new, |redis| redis.port().to_string());
    let on = if recovery == Recovery::Off { "off" } else { "on" };
    let mut variables = vec![("RECOVERY", on), ("REDIS_PORT", &*port)];
    if goes == Goes::Frozen {
        // What it promises is soon broken when it is frozen, and not when a busy machine keeps it waiting.
        variables.extend([("PING_MS", "1000"), ("PONG_MS", "5000")]);
    }
    let mut service = Service::with(&variables).await;
    let gate = Gate::before(&service).with("rate_limit = []\nsession.hold = \"5m\"").await;
    let mut clients = Vec::new();
    for options in [json!({ "transports": ["polling"] }), json!({}), json!({ "transports": ["polling", "websocket"] })]
    {
        let mut options = options;
        options["upgrade"] = json!(false);
        let client = gate.connect_with(json!({ "token": token("ada") }), options).await;
        clients.push((client.connected().await, client));
    }
    service.emit("ada", "tutor:message", json!(["before"])).await;
    for (_, client) in &clients {
        client.next("tutor:message").await;
    }

    let upgrading = clients[2].1.clone();
    tokio::join!(upgrading.upgrade(), go(goes, &mut service, &gate));

    for (id, client) in &clients {
        assert_eq!(client.ask("echo", json!([1])).await, 1);
        service.emit("ada", "tutor:message", json!(["after"])).await;
        assert_eq!(client.next("tutor:message").await[0], "after");
        assert_eq!(noticed(id, client).await, expected, "{goes:?}, recovery {recovery:?}");
    }
}

async fn go(goes: Goes, service: &mut Service, gate: &Gate) {
    match goes {
        Goes::Stopped => {
            service.stop().await;
            service.restart().await;
        }
        Goes::Killed => service.restart().await,
        Goes::Frozen => {
            service.freeze();
            held(gate, 3).await;
            service.thaw();
        }
    }
    held(gate, 0).await;
}

async fn noticed(id: &str, client: &Client) -> Notices {
    assert_eq!((client.untaken("disconnect"), client.untaken("connect_error")), (0, 0));
    if client.untaken("connect") == 0 {
        return Notices::Nothing;
    }
    assert_ne!(client.connected().await, id);
    assert_eq!(client.untaken("connect"), 0, "once is enough");
    Notices::NewId
}

macro_rules! cells {
    ($($name:ident: $goes:ident, $recovery:ident => $notices:ident;)*) => {
        $(#[tokio::test]
        async fn $name() {
            cell(Goes::$goes, Recovery::$recovery, Notices::$notices).await;
        })*
    };
}

cells! {
    stopped_without_recovery: Stopped, Off => NewId;
    killed_without_recovery: Killed, Off => NewId;
    frozen_without_recovery: Frozen, Off => NewId;
    // What the service remembers in memory ends with its process.
    stopped_with_recovery_in_memory: Stopped, Memory => NewId;
    killed_with_recovery_in_memory: Killed, Memory => NewId;
    frozen_with_recovery_in_memory: Frozen, Memory => Nothing;
    // The adapter writes a socket down when it sees it go, which a killed process does not.
    stopped_with_recovery_in_streams: Stopped, Streams => Nothing;
    killed_with_recovery_in_streams: Killed, Streams => NewId;
    frozen_with_recovery_in_streams: Frozen, Streams => Nothing;
}
