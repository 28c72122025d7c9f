//! A stock client and an untouched service, with Tidegate between them as if it were not there.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::support::{Gate, Poller, Raw, Service, Way, eventually, http, json, token};

#[tokio::test]
async fn a_stock_client_talks_with_the_service() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    for way in Way::ALL {
        service.forget().await;

        let auth = json!({ "token": token("ada"), "learnerId": "ada-1" });
        let client = gate.connect_with(auth, way.options()).await;
        let sid = client.connected().await;
        let answer = client.ask("agent:learning", json!([{ "action": "process_answer", "answer": "42" }])).await;

        assert_eq!(answer, json!({ "success": true, "correct": true }), "{way:?}");
        let seen = service.seen().await;
        assert_eq!(seen["connections"].as_array().unwrap().len(), 1, "{way:?}");
        assert_eq!(seen["connections"][0]["sid"], sid, "the client has the id that the service gave");
        assert_eq!(seen["connections"][0]["auth"]["learnerId"], "ada-1", "the service gets the whole `auth`");
        assert_eq!(seen["events"][0]["args"], json!([{ "action": "process_answer", "answer": "42" }]), "{way:?}");
        client.travels_by(way.transport()).await;
        client.disconnect().await;
    }
}

#[tokio::test]
async fn the_service_sees_a_websocket_whatever_the_client_travels_by() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    for way in Way::ALL {
        service.forget().await;

        let client = gate.client_by(way, token("ada")).await;
        client.ask("echo", json!([1])).await;
        client.travels_by(way.transport()).await;

        let seen = service.seen().await;
        assert_eq!((&seen["polls"], &seen["http"]), (&json!([]), &json!([])), "{way:?}");
        assert_eq!(seen["upgrades"].as_array().unwrap().len(), 1, "{way:?}");
        let url = seen["upgrades"][0]["url"].as_str().unwrap();
        assert!(url.contains("transport=websocket") && !url.contains("sid="), "{way:?}: {url}");
    }
}

#[tokio::test]
async fn events_of_the_service_reach_the_client_in_order() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    for way in Way::ALL {
        let client = gate.client_by(way, token("ada")).await;

        for n in 0..50 {
            service.emit("ada", "tutor:message", json!([{ "n": n, "text": "déjà vu ∴ 🌊" }])).await;
        }
        service.emit("bob", "tutor:message", json!(["for somebody else"])).await;
        service.emit("ada", "break:suggested", json!([])).await;

        for n in 0..50 {
            assert_eq!(client.next("tutor:message").await, json!([{ "n": n, "text": "déjà vu ∴ 🌊" }]), "{way:?}");
        }
        client.next("break:suggested").await;
        assert_eq!(client.untaken("tutor:message"), 0, "{way:?}");
        client.disconnect().await;
    }
}

#[tokio::test]
async fn the_service_can_ask_the_client() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    for way in Way::ALL {
        let client = gate.client_by(way, token("ada")).await;
        client.answer("question", json!([{ "mood": "curious ∴ 🌊" }])).await;

        let answer = client.ask("ask", json!([{ "about": "mood" }])).await;

        assert_eq!(answer, json!({ "answer": { "mood": "curious ∴ 🌊" } }), "{way:?}");
    }
}

#[tokio::test]
async fn every_socket_of_a_learner_gets_what_is_for_the_learner() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let mut devices = Vec::new();
    for way in Way::ALL {
        devices.push(gate.client_by(way, token("ada")).await);
    }

    service.emit("ada", "content:adapted", json!([{ "level": 2 }])).await;

    for device in devices {
        assert_eq!(device.next("content:adapted").await, json!([{ "level": 2 }]));
    }
}

#[tokio::test]
async fn binary_attachments_pass_unchanged_both_ways() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    for way in Way::ALL {
        let client = gate.client_by(way, token("ada")).await;

        let sent = json!(["a", { "$binary": "AQIDBA==" }, { "deep": [{ "$binary": "/w==" }, { "$binary": "" }] }]);
        client.send("echo", sent.clone()).await;
        let echoed = client.next("echo").await;
        let acked = client.ask("agent:speech", json!([{ "audioBuffer": { "$binary": "AAECAwQ=" } }])).await;
        let as_text = client.ask("agent:speech", json!([{ "audioBuffer": "AAECAwQ=" }])).await;

        assert_eq!(echoed, sent, "{way:?}");
        assert_eq!(acked, json!({ "success": true, "bytes": 5 }), "{way:?}");
        assert_eq!(as_text, json!({ "success": true, "bytes": 5 }), "{way:?}");
        // The ack itself can carry bytes, that of the client too.
        assert_eq!(client.ask("echo", json!([{ "$binary": "CQ==" }])).await, json!({ "$binary": "CQ==" }), "{way:?}");
        client.answer("question", json!([{ "$binary": "CgsM" }])).await;
        assert_eq!(client.ask("ask", json!([1])).await, json!({ "answer": { "$binary": "CgsM" } }), "{way:?}");
    }
}

#[tokio::test]
async fn messages_of_every_size_up_to_the_limit_pass() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    for way in Way::ALL {
        let client = gate.client_by(way, token("ada")).await;

        // Around the steps of RFC 6455's length, of read buffers, and just below Socket.IO's own limit.
        for len in [0, 100, 125, 126, 4096, 16_384, 65_535, 65_536, 300_000, 999_900] {
            let text = "x".repeat(len);
            assert_eq!(client.ask("echo", json!([text])).await, json!(text), "{way:?}, {len} characters");
        }
    }
}

#[tokio::test]
async fn large_attachments_pass_both_ways() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    // A payload of polling has them in base64, which must stay below the limit as well.
    for (way, len) in [(Way::Upgrade, 900_000), (Way::Polling, 740_000), (Way::Websocket, 900_000)] {
        let client = gate.client_by(way, token("ada")).await;
        client.travels_by(way.transport()).await;

        let bytes: Vec<u8> = (0..len).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let attachment = json!({ "$binary": STANDARD.encode(&bytes) });
        let echoed = client.ask("echo", json!([attachment])).await;
        // What the service sends is not limited.
        let more = json!([{ "$binary": STANDARD.encode([&bytes[..], &bytes[..]].concat()) }]);
        service.emit("ada", "content:adapted", more.clone()).await;

        assert!(echoed == attachment, "{way:?}");
        assert!(client.next("content:adapted").await == more, "{way:?}");
        client.disconnect().await;
    }
}

#[tokio::test]
async fn a_message_over_the_limit_ends_the_session_and_does_not_reach_the_service() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(r#"socketio.max_payload = "100KB""#).await;
    // Over polling the client takes the refusal of a payload for an error of its transport.
    for (way, reason) in [(Way::Polling, "transport error"), (Way::Websocket, "transport close")] {
        let client = gate.client_by(way, token("ada")).await;

        client.send("echo", json!(["x".repeat(100_100)])).await;

        assert_eq!(client.disconnected().await, reason, "{way:?}");
        client.connected().await;
        assert_eq!(service.received("echo").await, 0, "{way:?}");
        assert_eq!(client.ask("echo", json!(["x".repeat(99_900)])).await.as_str().unwrap().len(), 99_900, "{way:?}");
        service.forget().await;
    }
}

#[tokio::test]
async fn two_namespaces_share_one_connection() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    for way in Way::ALL {
        service.forget().await;
        let main = gate.client_by(way, token("ada")).await;

        let chat = main.namespace("/chat", json!({ "token": token("ada") })).await;
        chat.connected().await;
        let said = chat.ask("say", json!(["hello"])).await;

        assert_eq!(said, json!({ "success": true }), "{way:?}");
        assert_eq!(chat.next("said").await, json!(["hello"]), "{way:?}");
        assert_eq!(main.untaken("said"), 0, "{way:?}");
        assert_eq!(service.transports().await, 1, "{way:?}");

        chat.disconnect().await;
        assert_eq!(service.disconnection().await["namespace"], "/chat", "{way:?}");
        assert_eq!(main.ask("echo", json!(["still here"])).await, "still here", "{way:?}");
        main.disconnect().await;
        eventually("the service sees both go", async || {
            (service.seen().await["disconnects"].as_array().unwrap().len() == 2).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn namespaces_outside_the_list_are_refused_by_the_gate() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(r#"socketio.namespaces = ["/"]"#).await;
    let main = gate.client(token("ada")).await;

    let refusal = main.namespace("/chat", json!({ "token": token("ada") })).await.refused().await;

    assert_eq!(refusal, json!({ "message": "Invalid namespace", "data": { "code": "forbidden" } }));
    assert_eq!(main.ask("echo", json!(["still here"])).await, "still here");
    assert_eq!(service.seen().await["connections"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_the_middleware_of_the_service_refuses_reaches_the_client() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;

    let banned = gate.connect(json!({ "token": token("ada"), "learnerId": "banned" })).await;
    let main = gate.client(token("ada")).await;
    let private = main.namespace("/chat", json!({ "token": token("ada"), "room": "private" })).await;

    let expected = json!({ "message": "This learner is banned", "data": { "code": "banned", "until": "2027" } });
    assert_eq!(banned.refused().await, expected);
    assert_eq!(private.refused().await, json!({ "message": "No entry", "data": { "code": "room.private" } }));
    assert_eq!(main.ask("echo", json!([1])).await, 1);
}

#[tokio::test]
async fn a_namespace_that_the_service_does_not_have_is_the_services_answer() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let main = gate.client(token("ada")).await;

    let nowhere = main.namespace("/nowhere", json!({ "token": token("ada") })).await;

    assert_eq!(nowhere.refused().await, json!({ "message": "Invalid namespace", "data": null }));
}

#[tokio::test]
async fn the_service_learns_how_a_client_left() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    for way in Way::ALL {
        service.forget().await;
        let polite = gate.client_by(way, token("ada")).await;
        polite.disconnect().await;
        assert_eq!(service.disconnection().await["reason"], "client namespace disconnect", "{way:?}");

        service.forget().await;
        let mut options = way.options();
        options["reconnection"] = json!(false);
        let cut = gate.connect_with(json!({ "token": token("ada") }), options).await;
        cut.connected().await;
        cut.travels_by(way.transport()).await;
        cut.cut().await;
        assert_eq!(service.disconnection().await["reason"], "transport close", "{way:?}");
    }
}

#[tokio::test]
async fn the_client_learns_how_the_service_ended_it() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    for way in Way::ALL {
        let kicked = gate.client_by(way, token("ada")).await;
        let left = gate.client_by(way, token("bob")).await;

        service.disconnect("ada", true).await;
        service.disconnect("bob", false).await;

        assert_eq!(kicked.disconnected().await, "io server disconnect", "{way:?}");
        assert_eq!(left.disconnected().await, "io server disconnect", "{way:?}");
        assert!(!kicked.is_active().await, "{way:?}: the client does not come back by itself");
        // And may come back when its page wants to.
        kicked.connect_again().await;
        kicked.connected().await;
        kicked.disconnect().await;
    }
}

#[tokio::test]
async fn heartbeats_keep_an_idle_session_and_end_a_silent_one() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("socketio.ping_interval = \"1s\"\nsocketio.ping_timeout = \"10s\"").await;

    let idle = gate.client(token("ada")).await;
    let polls = gate.client_by(Way::Polling, token("bob")).await;
    let mut silent = Raw::socketio(gate.address).await;
    let gone = Poller::socketio(gate.address).await;
    let pings = silent.until_end().await.iter().filter(|frame| frame.payload == b"2").count();

    assert_eq!(pings, 1, "one ping, and the end when no pong comes");
    eventually("the service sees the silent ones go", async || {
        (service.seen().await["disconnects"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;
    gone.assert_ended("a client that polls no more").await;
    gate.counts(2.0, "websocket_disconnections_total", &[("reason", "ping_timeout")]).await;
    for alive in [&idle, &polls] {
        assert_eq!(alive.ask("echo", json!([1])).await, 1, "it answered every ping in the meantime");
        assert_eq!(alive.untaken("disconnect"), 0);
    }
    eventually("two beats of each", async || {
        (gate.metrics().await.sum("tidegate_heartbeat_rtt_seconds_count", &[]) >= 4.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_services_own_heartbeat_is_not_the_clients() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;

    let mut client = Raw::engineio(gate.address).await;
    client.say("2").await;

    // A client never pings in this protocol; the session ends, and the service has not heard of it.
    client.until_end().await;
    assert_eq!(service.transports().await, 0);
}

#[tokio::test]
async fn a_client_of_an_older_protocol_is_told_so() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;

    let url = format!("{}/socket.io/?EIO=3&transport=websocket", gate.url());
    let reply = http::get(&url).await;

    assert_eq!(reply.status, 400, "{reply:?}");
    assert_eq!(service.transports().await, 0);
}

#[tokio::test]
async fn the_polling_transport_is_refused_where_only_websocket_is_allowed() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(r#"socketio.transports = ["websocket"]"#).await;

    let polling = http::get(&format!("{}/socket.io/?EIO=4&transport=polling", gate.url())).await;

    assert_eq!((polling.status, polling.json()), (400, json!({ "code": 0, "message": "Transport unknown" })));
    assert_eq!(service.transports().await, 0);
}
