//! The client is absent for a while: the service does not notice, and the client misses nothing.

use std::env;

use crate::support::{
    Client, Gate, Raw, Service, Value, Way, eventually,
    frame::{CLOSE, Frame, TEXT, masked},
    json, token,
};

const RESUME: &str = "rate_limit = []\nsession.resume = \"1m\"";

/// A client that comes back half a second after it was cut.
async fn client(gate: &Gate, way: Way) -> Client {
    let mut options = way.options();
    options["reconnectionDelay"] = 500.into();
    options["reconnectionDelayMax"] = 500.into();
    options["randomizationFactor"] = 0.into();
    let client = gate.connect_with(json!({ "token": token("ada") }), options).await;
    client.connected().await;
    client.travels_by(way.transport()).await;
    client
}

/// A client that comes back when it is told to, however long that takes.
async fn client_that_waits(gate: &Gate) -> Client {
    let client = gate.connect_with(json!({ "token": token("ada") }), json!({ "reconnection": false })).await;
    client.connected().await;
    client
}

async fn absent(gate: &Gate, sessions: u32) {
    gate.counts(f64::from(sessions), "tidegate_absent_sessions", &[]).await;
}

/// What the first socket of the service has shown: a field and the `pid` of its CONNECT, and a header.
async fn heard_first(service: &Service) -> Value {
    let connection = service.seen().await["connections"][0].take();
    json!([connection["auth"]["n"], connection["headers"]["x-device"], connection["auth"]["pid"]])
}

async fn number(client: &Client) -> u64 {
    client.next("tutor:message").await[0]["n"].as_u64().unwrap()
}

#[tokio::test]
async fn a_client_that_was_cut_gets_all_that_it_missed_and_the_service_never_noticed() {
    for way in Way::ALL {
        let service = Service::start().await;
        // On several threads the new connection comes in on another than the session is on, half of the time.
        let gate = Gate::before(&service).with(RESUME).with("listen.workers = 4").await;
        let client = client(&gate, way).await;
        client.send("echo", json!(["before"])).await;
        client.next("echo").await;
        let socket = service.seen().await["connections"][0]["sid"].clone();

        client.cut().await;
        for n in 0..50 {
            service.emit("ada", "tutor:message", json!([{ "n": n }, { "$binary": "AQID" }])).await;
        }

        client.disconnected().await;
        assert_eq!(client.connected().await, socket, "{way:?}: it is the same socket");
        assert!(client.recovered().await, "{way:?}");
        for n in 50..60 {
            service.emit("ada", "tutor:message", json!([{ "n": n }])).await;
        }
        for n in 0..60 {
            assert_eq!(number(&client).await, n, "{way:?}");
        }
        assert_eq!(client.untaken("tutor:message"), 0, "{way:?}: none comes twice");
        assert_eq!(client.ask("echo", json!(["after"])).await, "after", "{way:?}");
        let seen = service.seen().await;
        assert_eq!(seen["disconnects"], json!([]), "{way:?}");
        assert_eq!(service.transports().await, 1, "{way:?}");
        gate.counts(1.0, "tidegate_resumes_total", &[("result", "ok")]).await;
        gate.counts(1.0, "websocket_connections_total", &[]).await;
    }
}

/// With `scripts/test --long` for twenty seconds, and longer where the machine is busy.
#[tokio::test]
async fn a_client_that_is_absent_for_many_heartbeats_is_there_for_the_service_all_the_time() {
    let beats_each = if env::var_os("TIDEGATE_LONG").is_some() { 7 } else { 1 };
    let service = Service::with(&[("PING_MS", "300"), ("PONG_MS", "20000")]).await;
    let gate = Gate::before(&service).with(RESUME).await;
    let client = client_that_waits(&gate).await;
    service.emit("ada", "tutor:message", json!([{ "n": 0 }])).await;
    assert_eq!(number(&client).await, 0);
    let heartbeats = async || service.seen().await["heartbeats"].as_u64().unwrap();

    client.cut().await;
    absent(&gate, 1).await;
    for n in 1..=50 {
        service.emit("ada", "tutor:message", json!([{ "n": n }])).await;
        if n % 5 == 0 {
            let before = heartbeats().await;
            eventually("heartbeats are answered", async || (heartbeats().await >= before + beats_each).then_some(()))
                .await;
        }
    }
    client.comes_back().await;

    assert!(client.recovered().await);
    for n in 1..=50 {
        assert_eq!(number(&client).await, n);
    }
    assert_eq!(client.untaken("tutor:message"), 0);
    assert_eq!(service.seen().await["disconnects"], json!([]));
}

#[tokio::test]
async fn events_around_the_moment_of_a_loss_are_neither_lost_nor_doubled() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(RESUME).await;
    let clients = [client(&gate, Way::Websocket).await, client(&gate, Way::Upgrade).await];
    for cut in 0..4 {
        // Back by polling, the second goes over to a websocket each time.
        for client in &clients {
            client.travels_by("websocket").await;
        }
        let first = cut * 40;
        for n in first..first + 40 {
            service.emit("ada", "tutor:message", json!([{ "n": n }])).await;
            if n == first + 10 {
                for client in &clients {
                    client.cut().await;
                }
            }
        }
        for client in &clients {
            client.disconnected().await;
            client.connected().await;
            assert!(client.recovered().await, "cut {cut}, over {}", client.transport().await);
            for n in first..first + 40 {
                assert_eq!(number(client).await, n);
            }
        }
    }
}

#[tokio::test]
async fn what_the_service_asks_meanwhile_is_answered_afterwards() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(RESUME).await;
    let client = client_that_waits(&gate).await;
    client.answer("question", json!(["an answer"])).await;
    let other = gate.client(token("ada")).await;
    let chat = client.namespace("/chat", json!({ "token": token("ada") })).await;
    chat.connected().await;

    client.cut().await;
    absent(&gate, 1).await;
    other.send("echo", json!(["no matter"])).await;

    client.comes_back().await;
    // The stock client asks for it again by itself when the connection is there.
    chat.disconnected().await;
    chat.connected().await;
    assert!(client.recovered().await && chat.recovered().await, "in both namespaces");
    assert_eq!(client.ask("ask", json!([1])).await, json!({ "answer": "an answer" }));
    assert_eq!(chat.ask("say", json!(["hello"])).await, json!({ "success": true }));
    assert_eq!(service.seen().await["disconnects"], json!([]));
}

#[tokio::test]
async fn a_service_that_restarts_later_hears_what_the_client_came_back_with() {
    let mut service = Service::start().await;
    let gate = Gate::before(&service).with(RESUME).await;
    let options = json!({ "reconnection": false, "extraHeaders": { "x-device": "first" } });
    let client = gate.connect_with(json!({ "token": token("ada"), "n": 1 }), options).await;
    client.connected().await;
    assert_eq!(heard_first(&service).await, json!([1, "first", null]));

    client.cut().await;
    absent(&gate, 1).await;
    client.set_auth(json!({ "token": token("ada"), "n": 2 })).await;
    client.set_headers(json!({ "x-device": "second" })).await;
    client.comes_back().await;
    assert!(client.recovered().await);
    assert_eq!(heard_first(&service).await, json!([1, "first", null]), "the service has not noticed");

    service.restart().await;
    client.connected().await;
    assert_eq!(heard_first(&service).await, json!([2, "second", null]));
}

#[tokio::test]
async fn a_service_that_was_dialled_for_the_new_connection_loses_it_when_the_client_goes_on_with_its_session() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(RESUME).with("socketio.dial = \"first\"").await;
    let token = token("ada");
    let head = json!({ "authorization": format!("Bearer {token}") });
    let options = json!({ "reconnection": false, "extraHeaders": head });
    let client = gate.connect_with(json!({ "token": token }), options).await;
    client.connected().await;
    gate.counts(1.0, "tidegate_upstream_connections", &[]).await;
    for returns in 1..=2 {
        client.cut().await;
        absent(&gate, 1).await;
        client.comes_back().await;
        assert!(client.recovered().await);
        assert_eq!(service.transports().await, 1 + returns, "it is dialled at the handshake");
        gate.counts(1.0, "tidegate_upstream_connections", &[]).await;
    }
    assert_eq!(service.seen().await["disconnects"], json!([]));
}

#[tokio::test]
async fn a_client_that_closes_hears_a_close_whether_it_may_come_back_or_not() {
    const GOING_AWAY: u16 = 1001;
    let service = Service::start().await;
    let gate = Gate::before(&service).with(RESUME).await;
    for (code, now_absent) in [(1000, 1), (GOING_AWAY, 1), (4000, 2)] {
        let mut raw = Raw::socketio(gate.address).await;
        raw.send(&masked(CLOSE, &u16::to_be_bytes(code))).await;
        assert_eq!(raw.close_code().await, Some(code));
        absent(&gate, now_absent).await;
    }
}

/// The events among these frames: the number of each, and its offset.
fn events(frames: &[Frame]) -> Vec<(u64, String)> {
    let texts = frames.iter().filter(|frame| frame.opcode == TEXT).map(Frame::text);
    let event = |text: &str| {
        let json: Value = serde_json::from_str(text.strip_prefix("42")?).unwrap();
        Some((json[1]["n"].as_u64().unwrap(), json[2].as_str().unwrap().to_owned()))
    };
    texts.filter_map(event).collect()
}

/// It takes ten seconds until a client is given up that takes nothing.
#[tokio::test]
async fn a_client_whose_network_is_lost_while_the_service_speaks_misses_nothing() {
    const EVENTS: u64 = 60;
    let service = Service::start().await;
    let room = "session.queue_bytes = \"100MB\"\nlimits.send_buffer = \"100MB\"";
    let gate = Gate::before(&service).with(RESUME).with(room).await;
    let token = token("ada");
    let mut lost = Raw::engineio(gate.address).await;
    lost.say(&json!({ "token": token }).to_string().replacen('{', "40{", 1)).await;
    let joined: Value = serde_json::from_str(&lost.frame().await.text()[2..]).unwrap();

    // More than the buffers on the way take.
    for n in 0..EVENTS {
        service.emit("ada", "tutor:message", json!([{ "n": n, "text": "x".repeat(500_000) }])).await;
    }
    absent(&gate, 1).await;
    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "slow_reader")]).await;

    let mut heard = events(&lost.until_end().await);
    assert!(heard.len() < EVENTS as usize);
    let offset = heard.last().map(|(_, offset)| offset);
    let recovery = json!({ "token": token, "pid": joined["pid"], "offset": offset });
    let mut back = Raw::engineio(gate.address).await;
    back.say(&recovery.to_string().replacen('{', "40{", 1)).await;
    let mut is_back = false;
    // What the gate had not read of the service by then comes behind the answer.
    while !is_back || heard.len() < EVENTS as usize {
        let frame = back.frame().await;
        is_back |= frame.opcode == TEXT && frame.text().starts_with("40");
        heard.extend(events(&[frame]));
    }
    assert!(heard.iter().map(|(n, _)| *n).eq(0..EVENTS), "{:?}", heard.iter().map(|(n, _)| n).collect::<Vec<_>>());
    assert_eq!(service.seen().await["disconnects"], json!([]));
}

#[tokio::test]
async fn another_user_with_a_stolen_pid_gets_a_session_of_their_own() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(RESUME).await;
    let owner = client(&gate, Way::Websocket).await;
    let pid = owner.pid().await;

    let recovery = json!({ "token": token("eve"), "pid": pid, "offset": "0" });
    let thief = gate.connect(recovery).await;
    let sid = thief.connected().await;

    assert!(!thief.recovered().await);
    service.emit("ada", "tutor:message", json!([{ "n": 0 }])).await;
    assert_eq!(number(&owner).await, 0);
    assert_eq!(thief.untaken("tutor:message"), 0);
    assert_eq!(thief.ask("echo", json!([1])).await, 1);
    let seen = service.seen().await;
    assert_eq!((seen["connections"].as_array().unwrap().len(), &seen["disconnects"]), (2, &json!([])));
    assert_eq!(seen["connections"][1]["sid"], sid);
    gate.counts(1.0, "tidegate_resumes_total", &[("result", "failed")]).await;
}

#[tokio::test]
async fn a_client_that_leaves_is_gone_and_one_that_does_not_return_is_given_up() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("session.resume = \"1s\"").await;
    let leaves = client(&gate, Way::Websocket).await;
    leaves.disconnect().await;
    assert_eq!(service.disconnection().await["reason"], "client namespace disconnect");
    absent(&gate, 0).await;

    let stays_absent = client_that_waits(&gate).await;
    stays_absent.cut().await;
    gate.log().wait(&["session absent"]).await;
    eventually("the service hears of it after a second", async || {
        (service.seen().await["disconnects"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;
    absent(&gate, 0).await;
    gate.counts(0.0, "tidegate_upstream_connections", &[]).await;
}

#[tokio::test]
async fn a_client_that_was_absent_for_too_much_starts_afresh() {
    for overflow in ["close", "drop_oldest"] {
        let service = Service::start().await;
        let bounds = format!("session.queue_packets = 10\nsession.overflow = \"{overflow}\"");
        let gate = Gate::before(&service).with(RESUME).with(&bounds).await;
        let client = client_that_waits(&gate).await;
        client.cut().await;
        absent(&gate, 1).await;
        for n in 0..20 {
            service.emit("ada", "tutor:message", json!([{ "n": n }])).await;
        }
        client.comes_back().await;
        assert!(!client.recovered().await, "{overflow}: it has missed something, and must know");
        assert_eq!(client.ask("echo", json!([1])).await, 1, "{overflow}");
    }
}

#[tokio::test]
async fn a_service_that_recovers_connections_itself_is_left_to_do_so() {
    let service = Service::with(&[("RECOVERY", "on")]).await;
    let gate = Gate::before(&service).with(RESUME).await;
    let client = client(&gate, Way::Websocket).await;
    service.emit("ada", "tutor:message", json!([{ "n": 0 }])).await;
    number(&client).await;

    client.cut().await;
    service.disconnection().await;
    for n in 1..5 {
        service.emit("ada", "tutor:message", json!([{ "n": n }])).await;
    }

    client.disconnected().await;
    client.connected().await;
    assert!(client.recovered().await);
    for n in 1..5 {
        assert_eq!(number(&client).await, n);
    }
    absent(&gate, 0).await;
}
