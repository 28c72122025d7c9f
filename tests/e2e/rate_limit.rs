//! 100 packets a minute for each connection, and whatever other rules are written.

use std::time::{Duration, Instant};

use socket2::{SockFilter, SockRef};
use tokio::net::TcpStream;

use crate::support::{
    Client, Gate, Service, Value, Way, eventually,
    frame::PING,
    json,
    raw::{Raw, upgrade_refusal},
    token,
};

/// What a client hears of a packet over the limit.
fn refusal() -> Value {
    json!({ "error": "Rate limit exceeded. Please slow down.", "rateLimited": true })
}

/// Asks so many times, one after the other; the answers.
async fn ask_times(client: &Client, times: usize, event: &str) -> Vec<Value> {
    let mut answers = Vec::new();
    for seq in 0..times {
        answers.push(client.ask(event, json!([{ "action": "get_recommendation", "seq": seq }])).await);
    }
    answers
}

#[tokio::test]
async fn the_101st_packet_is_answered_not_forwarded() {
    let service = Service::start().await;
    // An hour, so that no allowance comes back while a slow machine counts.
    let gate = Gate::before(&service).with("[[rate_limit]]\nmessages = 100\nper = \"1h\"").await;
    let ada = gate.client(token("ada")).await;
    let bob = gate.client(token("bob")).await;

    let answers = ask_times(&ada, 100, "agent:learning").await;
    let refused = ask_times(&ada, 2, "agent:learning").await;

    assert!(answers.iter().all(|answer| answer["success"] == true), "{answers:?}");
    assert_eq!(refused, [refusal(), refusal()]);
    assert_eq!(service.received("agent:learning").await, 100);
    let unaffected = bob.ask("agent:learning", json!([{ "action": "get_recommendation" }])).await;
    assert_eq!(unaffected["success"], true);
    gate.counts(2.0, "websocket_errors_total", &[("type", "rate_limit")]).await;
    gate.counts(2.0, "tidegate_rate_limit_verdicts_total", &[("rule", "0"), ("action", "reply")]).await;
}

/// A hundred for an hour, asked for 150 times at once; `sent` is how, and answers with the answers.
async fn assert_a_burst_is_cut(sent: impl AsyncFn(&Gate) -> Vec<Value>) {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("[[rate_limit]]\nmessages = 100\nper = \"1h\"").await;

    let answers = sent(&gate).await;

    assert_eq!(answers.len(), 150);
    assert!(answers[..100].iter().all(|answer| answer["success"] == true), "{answers:?}");
    assert!(answers[100..].iter().all(|answer| *answer == refusal()), "{answers:?}");
    let seen = service.seen().await;
    assert_eq!(seen["received"]["agent:learning"], 100, "Node's own count");
    assert_eq!((&seen["faults"], &seen["polls"]), (&json!([]), &json!([])));
    gate.counts(50.0, "websocket_errors_total", &[("type", "rate_limit")]).await;
    gate.counts(50.0, "tidegate_rate_limit_verdicts_total", &[("rule", "0"), ("action", "reply")]).await;
    gate.counts(150.0, "websocket_messages_received_total", &[("event", "agent:learning")]).await;
    gate.counts(100.0, "websocket_message_latency_ms_count", &[("event", "agent:learning")]).await;
}

/// Asks so many times at once; over polling that is one payload.
async fn burst(client: &Client, times: usize) -> Vec<Value> {
    client.ask_at_once(times, "agent:learning", json!([{ "action": "get_recommendation" }])).await
}

#[tokio::test]
async fn a_burst_by_polling_is_cut_after_a_hundred_packets() {
    assert_a_burst_is_cut(async |gate| burst(&gate.client_by(Way::Polling, token("ada")).await, 150).await).await;
}

#[tokio::test]
async fn a_burst_by_websocket_is_cut_after_a_hundred_packets() {
    assert_a_burst_is_cut(async |gate| burst(&gate.client_by(Way::Websocket, token("ada")).await, 150).await).await;
}

#[tokio::test]
async fn a_burst_half_before_and_half_after_the_upgrade_is_cut_after_a_hundred_packets() {
    assert_a_burst_is_cut(async |gate| {
        let waits = json!({ "transports": ["polling", "websocket"], "upgrade": false });
        let client = gate.connect_with(json!({ "token": token("ada") }), waits).await;
        client.connected().await;
        let mut answers = burst(&client, 75).await;
        assert_eq!(client.transport().await, "polling");
        client.upgrade().await;
        answers.extend(burst(&client, 75).await);
        assert_eq!(client.transport().await, "websocket");
        answers
    })
    .await;
}

#[tokio::test]
async fn the_limit_is_there_without_being_asked_for() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let client = gate.client(token("ada")).await;

    let began = Instant::now();
    let answers = ask_times(&client, 130, "agent:learning").await;

    let accepted = answers.iter().filter(|answer| **answer != refusal()).count();
    // One comes back every 600 ms.
    let returned = usize::try_from(began.elapsed().as_millis() / 600 + 1).unwrap();
    assert!((100..=100 + returned).contains(&accepted), "{accepted} accepted");
}

#[tokio::test]
async fn a_new_connection_begins_anew() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("[[rate_limit]]\nmessages = 2\nper = \"1h\"").await;
    let client = gate.client(token("ada")).await;
    assert_eq!(ask_times(&client, 3, "echo").await[2], refusal());

    client.disconnect().await;
    client.connect_again().await;
    client.connected().await;

    assert_eq!(ask_times(&client, 1, "echo").await[0]["seq"], 0);
}

#[tokio::test]
async fn a_packet_without_an_ack_id_is_refused_by_one_event_a_window() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("[[rate_limit]]\nevents = [\"silence\"]\nmessages = 3\nper = \"1h\"").await;
    for way in Way::ALL {
        service.forget().await;
        let client = gate.client_by(way, token("ada")).await;

        for seq in 0..10 {
            client.send("silence", json!([{ "seq": seq }])).await;
        }

        assert_eq!(client.next("rate_limited").await, json!([refusal()]), "{way:?}");
        // Behind all ten, on the same way.
        assert_eq!(client.ask("echo", json!([1])).await, 1, "{way:?}");
        assert_eq!(client.untaken("rate_limited"), 0, "{way:?}: told once");
        assert_eq!(service.received("silence").await, 3, "{way:?}");
    }
}

#[tokio::test]
async fn a_refused_packet_takes_its_attachments_with_it() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("[[rate_limit]]\nevents = [\"agent:*\"]\nmessages = 1\nper = \"1h\"").await;
    for way in Way::ALL {
        service.forget().await;
        let client = gate.client_by(way, token("ada")).await;
        let speech = json!([{ "audioBuffer": { "$binary": "AAECAwQ=" }, "more": [{ "$binary": "/w==" }] }]);

        let first = client.ask("agent:speech", speech.clone()).await;
        let second = client.ask("agent:speech", speech).await;
        let behind = client.ask("echo", json!([{ "$binary": "BwgJ" }])).await;

        assert_eq!(first, json!({ "success": true, "bytes": 5 }), "{way:?}");
        assert_eq!(second, refusal(), "{way:?}");
        assert_eq!(behind, json!({ "$binary": "BwgJ" }), "{way:?}: what follows has its own attachment");
        assert_eq!(service.received("agent:speech").await, 1, "{way:?}");
        assert_eq!(service.seen().await["faults"], json!([]), "{way:?}");
    }
}

#[tokio::test]
async fn a_rule_counts_the_events_it_names() {
    let service = Service::start().await;
    let gate = Gate::before(&service)
        .with(
            r#"[[rate_limit]]
               events = ["agent:*"]
               messages = 2
               per = "1h"
               [[rate_limit]]
               events = ["echo"]
               messages = 4
               per = "1h""#,
        )
        .await;
    let client = gate.client(token("ada")).await;

    client.ask("agent:tutor", json!([{ "input": "hi" }])).await;
    client.ask("agent:learning", json!([{ "action": "get_recommendation" }])).await;

    assert_eq!(client.ask("agent:tutor", json!([{ "input": "hi" }])).await, refusal(), "together they are two");
    let echoes = ask_times(&client, 5, "echo").await;
    assert_eq!(echoes.iter().position(|answer| *answer == refusal()), Some(4));
    client.answer("question", json!(["yes"])).await;
    assert_eq!(client.ask("ask", json!([1])).await, json!({ "answer": "yes" }), "no rule counts this one");
}

#[tokio::test]
async fn no_rule_means_no_limit() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("rate_limit = []").await;
    let client = gate.client(token("ada")).await;

    let answers = ask_times(&client, 150, "echo").await;

    assert!(!answers.contains(&refusal()));
    assert_eq!(service.received("echo").await, 150);
}

#[tokio::test]
async fn drop_says_nothing() {
    let service = Service::start().await;
    let gate = Gate::before(&service)
        .with("[[rate_limit]]\nevents = [\"echo\"]\nmessages = 2\nper = \"1h\"\nexceeded = \"drop\"")
        .await;
    for way in Way::ALL {
        service.forget().await;
        let client = gate.client_by(way, token("ada")).await;

        ask_times(&client, 2, "echo").await;

        assert!(client.ask_within(300, "echo", json!([3])).await.is_err(), "{way:?}");
        assert_eq!(client.ask("agent:tutor", json!([{ "input": "hi" }])).await["success"], true, "{way:?}");
        assert_eq!(client.untaken("rate_limited"), 0, "{way:?}");
        assert_eq!(service.received("echo").await, 2, "{way:?}");
    }
}

#[tokio::test]
async fn delay_makes_packets_wait_their_turn() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("[[rate_limit]]\nmessages = 5\nper = \"1s\"\nexceeded = \"delay\"").await;
    for way in [Way::Polling, Way::Websocket] {
        service.forget().await;
        let client = gate.client_by(way, token("ada")).await;

        let began = Instant::now();
        for seq in 0..9 {
            client.send("silence", json!([{ "seq": seq }])).await;
        }
        assert_eq!(client.ask("echo", json!([1])).await, 1, "{way:?}");

        // Five at once, then five at 200 ms each.
        let waited = began.elapsed();
        assert!(waited >= Duration::from_millis(900), "{way:?}: {waited:?}");
        let seen = service.seen().await;
        assert_eq!((&seen["received"]["silence"], &seen["disordered"]), (&json!(9), &json!(0)), "{way:?}");
    }
}

/// A client that may be silent for eight seconds, and is delayed for sixteen.
async fn outlasts_a_delay(way: Way) {
    let service = Service::start().await;
    let gate = Gate::before(&service)
        .with("socketio.ping_interval = \"2s\"\nsocketio.ping_timeout = \"6s\"")
        .with("[[rate_limit]]\nmessages = 1\nper = \"8s\"\nexceeded = \"delay\"")
        .await;
    let client = gate.client_by(way, token("ada")).await;

    client.send("silence", json!([{ "seq": 0 }])).await;
    client.send("silence", json!([{ "seq": 1 }])).await;
    // Its pongs stand behind this one.
    assert_eq!(client.ask_within(60_000, "echo", json!([1])).await.unwrap(), 1, "{way:?}");

    let seen = service.seen().await;
    assert_eq!((&seen["received"]["silence"], &seen["disordered"]), (&json!(2), &json!(0)), "{way:?}");
    assert_eq!(seen["connections"].as_array().unwrap().len(), 1, "{way:?}");
    assert_eq!(client.untaken("disconnect"), 0, "{way:?}");
}

#[tokio::test]
async fn a_delay_may_be_longer_than_a_client_may_be_silent() {
    tokio::join!(outlasts_a_delay(Way::Polling), outlasts_a_delay(Way::Websocket));
}

/// Its network drops everything from now on: the kernel acknowledges nothing that comes for it.
fn goes_silent(client: &TcpStream) {
    const BPF_RET: u16 = 0x06;
    SockRef::from(client).attach_filter(&[SockFilter::new(BPF_RET, 0, 0, 0)]).unwrap();
}

/// Nothing is read of it, so nobody but TCP finds out, after 30 s in which a ping is not acknowledged, and the gate hears of it
/// when it sends the next one.
#[tokio::test]
async fn a_delayed_client_that_is_gone_without_a_word_ends_and_one_that_is_there_does_not() {
    let service = Service::plain().await;
    let gate = Gate::before(&service)
        .with(
            r#"
            socketio.ping_interval = "5s"
            socketio.ping_timeout = "10s"
            [[websocket]]
            path = "/ws"
            exceeded = "delay"
            [[rate_limit]]
            messages = 1
            per = "1h"
            "#,
        )
        .await;
    let delayed = async || {
        let token = format!("Authorization: Bearer {}\r\n", token("ada"));
        let mut client = Raw::upgraded(gate.address, "/ws", &token).await;
        client.say("first").await;
        client.say("second").await;
        client
    };
    let (mut here, gone) = (delayed().await, delayed().await.into_stream());
    gate.counts(2.0, "tidegate_rate_limit_verdicts_total", &[("action", "delay")]).await;

    goes_silent(&gone);

    let mut pings = async |count: usize| {
        let mut came = 0;
        while came < count {
            came += usize::from(here.frame().await.opcode == PING);
        }
    };
    // One after five seconds, and one every ten from then on.
    pings(4).await;
    gate.log().wait(&["session ended"]).await;
    pings(1).await;
    assert_eq!(gate.logged().await.containing("session ended").len(), 1);
}

#[tokio::test]
async fn close_ends_the_session() {
    let service = Service::start().await;
    let gate = Gate::before(&service)
        .with("[[rate_limit]]\nevents = [\"echo\"]\nmessages = 2\nper = \"1h\"\nexceeded = \"close\"")
        .await;
    for (way, closed) in [(Way::Websocket, 1.0), (Way::Polling, 2.0)] {
        service.forget().await;
        let client = gate.client_by(way, token("ada")).await;

        ask_times(&client, 2, "echo").await;
        client.send("echo", json!([3])).await;

        // Over polling the refused payload or the last poll may be answered first.
        let reason = client.disconnected().await;
        assert!(matches!((way, &*reason), (_, "transport close") | (Way::Polling, "transport error")), "{reason}");
        client.connected().await;
        assert_eq!(service.received("echo").await, 2, "{way:?}");
        gate.counts(closed, "websocket_disconnections_total", &[("reason", "rate_limit")]).await;
    }
}

#[tokio::test]
async fn a_users_sockets_can_be_counted_together() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("[[rate_limit]]\nscope = \"user\"\nmessages = 10\nper = \"1h\"").await;
    let (tablet, laptop) = (gate.client(token("ada")).await, gate.client(token("ada")).await);
    let bob = gate.client(token("bob")).await;

    let first = ask_times(&tablet, 5, "echo").await;
    let second = ask_times(&laptop, 6, "echo").await;

    assert!(!first.contains(&refusal()));
    assert_eq!(second.iter().position(|answer| *answer == refusal()), Some(5));
    assert!(!ask_times(&bob, 10, "echo").await.contains(&refusal()));
}

#[tokio::test]
async fn an_address_can_be_counted_as_one() {
    let service = Service::start().await;
    let gate = Gate::before(&service)
        .with("listen.trusted_proxies = [\"127.0.0.0/8\"]\n[[rate_limit]]\nscope = \"ip\"\nmessages = 4\nper = \"1h\"")
        .await;
    let from = async |user: &str, ip: &str| {
        let options = json!({ "extraHeaders": { "x-forwarded-for": ip } });
        let client = gate.connect_with(json!({ "token": token(user) }), options).await;
        client.connected().await;
        client
    };
    let (ada, bob) = (from("ada", "192.0.2.1").await, from("bob", "192.0.2.1").await);
    let far = from("ada", "192.0.2.2").await;

    assert!(!ask_times(&ada, 3, "echo").await.contains(&refusal()));
    let shared = ask_times(&bob, 2, "echo").await;

    assert_eq!(shared.iter().position(|answer| *answer == refusal()), Some(1));
    assert!(!ask_times(&far, 4, "echo").await.contains(&refusal()));
}

#[tokio::test]
async fn one_connection_more_than_allowed_is_turned_away() {
    let service = Service::start().await;
    for (setting, status, code) in [
        ("limits.connections = 2", 503, "limit.connections"),
        ("limits.connections_per_ip = 2", 429, "limit.connections_per_ip"),
    ] {
        let gate = Gate::before(&service).with(setting).await;
        let first = gate.client(token("ada")).await;
        let _second = gate.client(token("ada")).await;

        let third = gate.connect(json!({ "token": token("ada") })).await;
        let refused = upgrade_refusal(gate.address, "/socket.io/?EIO=4&transport=websocket").await;
        assert_eq!((refused.0, refused.1["code"].as_str().unwrap()), (status, code), "{refused:?}");
        assert!(refused.1["message"].is_string(), "{refused:?}");

        eventually("the refusals are counted", async || {
            let counted = gate.metrics().await.sum("tidegate_refused_total", &[("reason", code)]);
            (counted >= 2.0).then_some(())
        })
        .await;
        first.disconnect().await;
        third.connected_after_errors().await;
    }
}
