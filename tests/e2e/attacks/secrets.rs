//! A client that reads what the gate writes down: the log, the metrics, the list of sessions, the bodies of errors.

use std::collections::BTreeSet;

use crate::support::{Client, Gate, Poller, Raw, Service, Way, http, json, token};

/// Everything that the gate has written down so far.
async fn written(gate: &Gate) -> String {
    let sessions = http::get(&gate.admin_url("/sessions")).await;
    assert_eq!(sessions.status, 200);
    let metrics = http::get(&gate.admin_url("/metrics")).await;
    [gate.log().all().join("\n"), gate.metrics().await.text, sessions.text().to_owned(), metrics.text().to_owned()]
        .join("\n")
}

/// Every word that could be the id of a session. Other words have no capitals.
fn ids(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c)));
    words.filter(|word| word.len() == 28 && word.contains(char::is_uppercase)).collect()
}

/// The control: as the gate is delivered the token comes in CONNECT alone, so whoever knows a sid speaks for its user.
#[tokio::test]
async fn whoever_knows_a_sid_speaks_for_its_user_and_nothing_written_down_tells_it() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("log.level = \"trace\"").await;
    let owner = Poller::socketio(gate.address).await;

    let thief = owner.with_headers(&[]);
    thief.send("42[\"echo\",\"as the owner\"]").await;
    assert_eq!(owner.poll().await, "42[\"echo\",\"as the owner\"]", "the control: the sid is enough");

    gate.log().wait(&["session opened"]).await;
    let written = written(&gate).await;
    assert_eq!(ids(&written), BTreeSet::new(), "none of these is the id of a session");
}

#[tokio::test]
async fn no_sid_and_no_pid_is_written_down_on_any_level_or_told_in_an_error() {
    let service = Service::start().await;
    let mut gate =
        Gate::before(&service).with("log.level = \"trace\"\nsession.resume = \"1m\"\nsession.hold = \"30s\"").await;
    let mut secrets = Vec::new();
    let mut clients: Vec<Client> = Vec::new();
    for way in Way::ALL {
        let client = gate.client_by(way, token("ada")).await;
        client.travels_by(way.transport()).await;
        secrets.extend([client.session().await, client.pid().await]);
        clients.push(client);
    }
    // They come back, are refused, claim what is not theirs, and end.
    clients[0].cut().await;
    clients[0].disconnected().await;
    clients[0].connected().await;
    secrets.push(clients[0].session().await);
    let pid = clients[1].pid().await;
    let thief = gate.connect(json!({ "token": token("eve"), "pid": pid, "offset": "0" })).await;
    thief.connected().await;
    secrets.extend([thief.session().await, thief.pid().await]);
    clients[2].disconnect().await;

    let owner = Poller::socketio(gate.address).await;
    secrets.push(owner.sid.clone());
    let target = owner.target("polling");
    let mut answers = String::new();
    for request in [
        format!("GET {target}&sid={} HTTP/1.1\r\nHost: localhost\r\n\r\n", owner.sid),
        format!("PUT {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n\r\n"),
        format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n4x["),
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        format!("GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\r\n", owner.target("websocket")),
    ] {
        let mut raw = Raw::connect(gate.address).await;
        raw.send(request.as_bytes()).await;
        answers += &raw.answer().await;
    }
    // The service itself tells what was asked for.
    let mut raw = Raw::connect(gate.address).await;
    raw.send(format!("GET /nowhere?sid={} HTTP/1.1\r\nHost: localhost\r\n\r\n", owner.sid).as_bytes()).await;
    assert!(raw.head().await.contains("404"));
    let before = written(&gate).await;
    gate.signal("TERM");
    gate.exit().await;
    gate.log().wait(&["stopped"]).await;
    let written = before + &answers + &gate.log().all().join("\n");
    for secret in secrets {
        assert_eq!(secret.len(), 28);
        assert!(!written.contains(&secret), "{secret} was written down:\n{written}");
    }
    assert_eq!(ids(&written), BTreeSet::new());
}
