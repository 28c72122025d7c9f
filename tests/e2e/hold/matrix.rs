//! Every transport, every way for a service to go, with and without its own recovery: one table.

use super::held;
use crate::support::{Client, Gate, Service, json, token};

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

/// What the client notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notices {
    /// It is connected once more, under a new id.
    NewId,
    Nothing,
}

/// Each cell is run for a client that polls, for one on a websocket, and for one that is going over from one to the
/// other: the transport of a client makes no difference to the service's leg.
async fn cell(goes: Goes, recovery: &str, expected: Notices) {
    let mut service = Service::with(&[("RECOVERY", recovery), ("PING_MS", "1000")]).await;
    let gate = Gate::before(&service).with("rate_limit = []\nupstream.connect_timeout = \"500ms\"").await;
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
        assert_eq!(noticed(id, client).await, expected, "{goes:?}, recovery {recovery}");
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
    ($($name:ident: $goes:ident, $recovery:literal => $notices:ident;)*) => {
        $(#[tokio::test]
        async fn $name() {
            cell(Goes::$goes, $recovery, Notices::$notices).await;
        })*
    };
}

cells! {
    stopped_without_recovery: Stopped, "off" => NewId;
    killed_without_recovery: Killed, "off" => NewId;
    frozen_without_recovery: Frozen, "off" => NewId;
    // What the service remembers in memory ends with its process.
    stopped_with_recovery: Stopped, "on" => NewId;
    killed_with_recovery: Killed, "on" => NewId;
    frozen_with_recovery: Frozen, "on" => Nothing;
}
