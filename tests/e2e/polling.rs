//! Long-polling request by request, as engine.io answers it.

use std::net::Ipv4Addr;

use crate::support::{
    Gate, Poller, Raw, Service, Value, eventually, http, json,
    poller::{BAD_REQUEST, SEPARATOR, UNKNOWN_SID},
    token,
};

#[tokio::test]
async fn the_handshake_is_answered_with_the_open_packet() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;

    let reply = http::get(&format!("{}/socket.io/?EIO=4&transport=polling&t=x", gate.url())).await;

    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/plain; charset=UTF-8")));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("set-cookie"), None);
    let open: Value = serde_json::from_str(&reply.text()[1..]).unwrap();
    let sid = open["sid"].as_str().unwrap();
    assert_eq!(sid.len(), 28);
    let expected = format!(
        "0{{\"sid\":\"{sid}\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\"pingTimeout\":20000,\
         \"maxPayload\":1000000}}"
    );
    assert_eq!(reply.text(), expected);
    assert_eq!(service.transports().await, 0, "the service is dialled when the first namespace is joined");
}

#[tokio::test]
async fn the_open_packet_says_what_is_configured() {
    let service = Service::start().await;
    let gate = Gate::before(&service)
        .with(
            "socketio.transports = [\"polling\"]\nsocketio.ping_interval = \"7s\"\nsocketio.ping_timeout = \"5s\"\n\
             socketio.max_payload = \"100KB\"",
        )
        .await;

    let reply = http::get(&format!("{}/socket.io/?EIO=4&transport=polling", gate.url())).await;

    let rest = "\"upgrades\":[],\"pingInterval\":7000,\"pingTimeout\":5000,\"maxPayload\":100000}";
    assert!(reply.text().ends_with(rest), "{}", reply.text());
}

#[tokio::test]
async fn packets_come_with_a_get_and_go_with_a_post() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let poller = Poller::socketio(gate.address).await;

    let waiting = poller.polling();
    let posted = poller.post("420[\"echo\",\"déjà vu 🌊\"]").await;
    let polled = waiting.await.unwrap();

    assert_eq!((posted.status, posted.text()), (200, "ok"));
    assert_eq!(posted.header("content-type"), Some("text/html"));
    assert_eq!((polled.status, polled.text()), (200, "430[\"déjà vu 🌊\"]"));
    assert_eq!(polled.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(polled.header("cache-control"), Some("no-store"));

    // Several packets in one payload each way, with attachments among them.
    poller.send("421[\"echo\",1]\x1e452-2[\"echo\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]\x1ebAQIDBA==\x1eb\x1e423[\"echo\",3]").await;
    let packets = poller.packets(5).await;
    let echo = "462-2[{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]";
    assert_eq!(packets, ["431[1]", echo, "bAQIDBA==", "b", "433[3]"]);
}

#[tokio::test]
async fn what_is_no_request_of_engine_io_4_gets_its_error() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let sid = Poller::socketio(gate.address).await.sid;
    let with_sid = |rest: &str| rest.replace("SID", &sid);

    let table = [
        ("GET", "/socket.io/?EIO=4", 0, "Transport unknown"),
        ("GET", "/socket.io/?EIO=4&transport=webtransport", 0, "Transport unknown"),
        ("GET", "/socket.io/?EIO=4&transport=Polling", 0, "Transport unknown"),
        ("GET", "/socket.io/?EIO=4&transport=polling&j=0", 0, "Transport unknown"),
        ("GET", "/socket.io/?EIO=4&transport=polling&sid=SID&j=0", 0, "Transport unknown"),
        ("POST", "/socket.io/?EIO=4&transport=polling&sid=SID&j=0", 0, "Transport unknown"),
        ("GET", "/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA", 1, "Session ID unknown"),
        ("POST", "/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA", 1, "Session ID unknown"),
        ("GET", "/socket.io/?EIO=4&transport=polling&sid=../../etc/passwd", 1, "Session ID unknown"),
        ("GET", "/socket.io/?EIO=4&transport=polling&sid=", 1, "Session ID unknown"),
        ("POST", "/socket.io/?EIO=4&transport=polling", 2, "Bad handshake method"),
        ("PUT", "/socket.io/?EIO=4&transport=polling", 2, "Bad handshake method"),
        ("GET", "/socket.io/?EIO=4&transport=websocket", 3, "Bad request"),
        ("GET", "/socket.io/?EIO=4&transport=websocket&sid=SID", 3, "Bad request"),
        ("PUT", "/socket.io/?EIO=4&transport=polling&sid=SID", 3, "Bad request"),
        ("GET", "/socket.io/?EIO=4&transport=polling&transport=polling", 3, "Bad request"),
        ("GET", "/socket.io/?EIO=4&EIO=4&transport=polling", 3, "Bad request"),
        ("GET", "/socket.io/?EIO=4&transport=polling&sid=SID&sid=SID", 3, "Bad request"),
        ("GET", "/socket.io/?EIO=4&transport=polling&sid=SID&s%69d=SID", 3, "Bad request"),
        ("GET", "/socket.io/sub/path?EIO=4&transport=polling", 3, "Bad request"),
        ("POST", "/socket.io/sub/path?EIO=4&transport=polling&sid=SID", 3, "Bad request"),
        ("GET", "/socket.io?EIO=3&transport=polling", 5, "Unsupported protocol version"),
        ("GET", "/socket.io/?EIO=3&transport=polling&sid=SID", 3, "Bad request"),
        ("POST", "/socket.io/?EIO=3&transport=polling&sid=SID", 3, "Bad request"),
        ("GET", "/socket.io/?transport=polling&sid=SID", 3, "Bad request"),
        ("GET", "/socket.io/?EIO=3&transport=polling", 5, "Unsupported protocol version"),
        ("GET", "/socket.io/?transport=polling", 5, "Unsupported protocol version"),
    ];
    let before = gate.metrics().await.sum("tidegate_refused_total", &[]);
    for (method, target, code, message) in table {
        let url = gate.url() + &with_sid(target);
        let reply = http::request(method, &url, &[], "42[\"silence\"]").await;
        assert_eq!(
            (reply.status, reply.json()),
            (400, json!({ "code": code, "message": message })),
            "{method} {target}"
        );
    }
    let foreign = [("origin", "https://evil.example")];
    let reply = http::request("GET", &format!("{}/socket.io/?EIO=4&transport=polling", gate.url()), &foreign, "").await;
    assert_eq!((reply.status, &reply.json()["code"]), (403, &json!("forbidden")));
    gate.counts(before + table.len() as f64 + 1.0, "tidegate_refused_total", &[]).await;
    let seen = service.seen().await;
    assert_eq!((&seen["polls"], &seen["http"], &seen["received"]), (&json!([]), &json!([]), &json!({})));
}

#[tokio::test]
async fn two_gets_at_once_end_the_session() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let poller = Poller::socketio(gate.address).await;

    let (one, other) = (poller.polling(), poller.polling());
    let mut answers = [one.await.unwrap(), other.await.unwrap()].map(|reply| (reply.status, reply.text().to_owned()));
    answers.sort();

    assert_eq!(answers, [(200, "1".to_owned()), (400, BAD_REQUEST.to_owned())]);
    poller.assert_ended("after two polls at once").await;
    assert_eq!(service.disconnection().await["reason"], "transport close");
    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "poll_overlap")]).await;
}

#[tokio::test]
async fn two_posts_at_once_end_the_session() {
    let service = Service::start().await;
    // What waits for its turn keeps its payload waiting.
    let gate = Gate::before(&service).with("[[rate_limit]]\nmessages = 1\nper = \"1h\"\nexceeded = \"delay\"").await;
    let poller = Poller::socketio(gate.address).await;

    let waiting = poller.posting("42[\"silence\",1]\x1e42[\"silence\",2]");
    eventually("the first packet arrives", async || (service.received("silence").await == 1).then_some(())).await;
    let second = poller.post("42[\"echo\"]").await;
    let first = waiting.await.unwrap();

    assert_eq!((second.status, second.text()), (400, BAD_REQUEST));
    assert_eq!(first.status, 400, "not all of it has arrived");
    poller.assert_ended("after two payloads at once").await;
    service.disconnection().await;
    assert_eq!(service.seen().await["received"], json!({ "silence": 1 }));
    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "post_overlap")]).await;
    gate.counts(1.0, "tidegate_rate_limit_verdicts_total", &[("rule", "0"), ("action", "delay")]).await;
}

/// A poll that the gate has read. Its one thread has done so when it has answered `other`, which comes later.
async fn waiting(gate: &Gate, poller: &Poller, other: &Poller) -> Raw {
    let mut raw = Raw::connect(gate.address).await;
    raw.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", poller.target("polling")).as_bytes()).await;
    other.echoes().await;
    raw
}

#[tokio::test]
async fn a_client_that_leaves_is_let_go() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("listen.workers = 1").await;
    let (poller, other) = (Poller::socketio(gate.address).await, Poller::socketio(gate.address).await);

    let mut waiting = waiting(&gate, &poller, &other).await;
    poller.send("1").await;

    assert!(waiting.answer().await.ends_with("\r\n\r\n6"));
    poller.assert_ended("a poll after it has left").await;
    let late = poller.post("42[\"echo\"]").await;
    assert_eq!((late.status, late.text()), (400, UNKNOWN_SID));
    assert_eq!(service.disconnection().await["reason"], "transport close");
    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "client_closed")]).await;
    gate.counts(1.0, "tidegate_sessions", &[]).await;
}

#[tokio::test]
async fn a_poll_whose_client_goes_away_ends_the_session() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("listen.workers = 1").await;
    let (poller, other) = (Poller::socketio(gate.address).await, Poller::socketio(gate.address).await);

    drop(waiting(&gate, &poller, &other).await);

    assert_eq!(service.disconnection().await["reason"], "transport close");
    poller.assert_ended("after its poll broke off").await;
    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "client_lost")]).await;
    // A connection that breaks between two polls is nothing.
    drop(Raw::connect(gate.address).await);
    other.echoes().await;
}

#[tokio::test]
async fn the_requests_of_several_sessions_may_share_a_connection() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let poller = Poller::socketio(gate.address).await;
    let mut raw = Raw::connect(gate.address).await;

    for n in 0..3 {
        let payload = format!("42{n}[\"echo\",{n}]");
        let post = format!(
            "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{payload}",
            poller.target("polling"),
            payload.len()
        );
        raw.send(post.as_bytes()).await;
        assert!(raw.answer().await.ends_with("\r\n\r\nok"));
        raw.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", poller.target("polling")).as_bytes()).await;
        assert!(raw.answer().await.ends_with(&format!("\r\n\r\n43{n}[{n}]")));
        raw.send(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(raw.answer().await.contains("\r\n\r\n0{\"sid\":"), "another session");
    }
}

#[tokio::test]
async fn a_session_is_found_on_whichever_thread_its_requests_come_in() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("listen.workers = 4\nrate_limit = []").await;

    // The kernel spreads connections over the threads, and every request here has its own.
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(Poller::socketio(gate.address).await);
    }
    for n in 0..20 {
        for poller in &sessions {
            poller.send(&format!("42{n}[\"echo\",{n}]")).await;
        }
        for poller in &sessions {
            assert_eq!(poller.packets(1).await, [format!("43{n}[{n}]")]);
        }
    }
    // And over a websocket that another thread may have accepted.
    let mut sockets = Vec::new();
    for poller in &sessions {
        let mut socket = poller.websocket().await;
        socket.go_over().await;
        socket.say("4299[\"echo\",99]").await;
        assert_eq!(socket.frame().await.text(), "4399[99]");
        sockets.push(socket);
    }
    gate.counts(8.0, "tidegate_sessions", &[("transport", "websocket")]).await;
    assert_eq!(service.transports().await, 8);
}

#[tokio::test]
async fn the_sid_is_a_cookie_where_that_is_wanted() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("socketio.cookie = \"io\"").await;
    let handshake = format!("{}/socket.io/?EIO=4&transport=polling", gate.url());
    let reply = http::get(&handshake).await;
    let open: Value = serde_json::from_str(&reply.text()[1..]).unwrap();
    let expected = format!("io={}; Path=/; HttpOnly; SameSite=Lax", open["sid"].as_str().unwrap());
    assert_eq!(reply.header("set-cookie"), Some(&*expected));

    // It opens nothing: a session is found by its query alone.
    let with_cookie = [("cookie", &*expected)];
    assert!(http::request("GET", &handshake, &with_cookie, "").await.text().starts_with("0{"));
}

#[tokio::test]
async fn connections_and_polling_sessions_are_limited_together() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("limits.connections_per_ip = 12").await;
    let handshake = format!("{}/socket.io/?EIO=4&transport=polling", gate.url());
    let first = Poller::socketio(gate.address).await;

    let mut opened = 1;
    let refused = loop {
        let reply = http::get(&handshake).await;
        match reply.status {
            200 => opened += 1,
            _ => break reply,
        }
    };
    let mut elsewhere = Raw::connect_from(Ipv4Addr::new(127, 0, 0, 2), gate.address).await;
    elsewhere.send(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\n\r\n").await;

    assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("limit.connections_per_ip")));
    // The connections that asked are counted as long as they are open: at worst the three of the first session, and one for
    // each of the others.
    assert!((5..=11).contains(&opened), "{opened} sessions");
    assert_eq!(elsewhere.status().await, 200);
    eventually("there is a place for its own requests", async || (first.post("1").await.status == 200).then_some(()))
        .await;
    eventually("its place is free", async || (http::get(&handshake).await.status == 200).then_some(())).await;
}

#[tokio::test]
async fn a_client_that_joins_nothing_is_told_why_and_closed() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("socketio.connect_timeout = \"10s\"").await;
    let silent = Poller::engineio(gate.address).await;
    let refused = Poller::engineio(gate.address).await;

    refused.send("40{\"token\":\"nonsense\"}").await;
    let why = refused.poll().await;
    let end = silent.poll().await;

    assert!(
        why.split(SEPARATOR).next().unwrap().starts_with("44{\"message\":\"Invalid authentication token\""),
        "{why}"
    );
    assert_eq!(end, "1");
    gate.counts(2.0, "websocket_disconnections_total", &[("reason", "connect_timeout")]).await;
    assert_eq!(service.transports().await, 0);
    let good = Poller::engineio(gate.address).await;
    good.join(&json!({ "token": token("ada") }).to_string()).await;
    good.echoes().await;
}
