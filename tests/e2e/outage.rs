//! The service is down, killed, stuck: an answer in time, and clients that find back by themselves.

use crate::support::{Gate, Poller, Raw, Service, Way, http, json, poller::SEPARATOR, token};

#[tokio::test]
async fn without_hold_a_client_is_sent_away_from_a_service_that_is_not_there_yet() {
    let mut service = Service::start().await;
    service.kill().await;
    let gate = Gate::before(&service).with(r#"session.hold = "0s""#).await;

    let client = gate.connect(json!({ "token": token("ada") })).await;
    gate.counts(0.0, "tidegate_upstream_up", &[]).await;
    assert!(client.is_active().await, "it goes on trying");
    service.restart().await;

    client.connected_after_errors().await;
    assert_eq!(client.ask("echo", json!([1])).await, 1);
    gate.counts(1.0, "tidegate_upstream_up", &[]).await;
}

#[tokio::test]
async fn without_hold_clients_find_back_after_the_service_was_killed() {
    let mut service = Service::start().await;
    let gate = Gate::before(&service).with(r#"session.hold = "0s""#).await;
    let mut clients = Vec::new();
    for way in Way::ALL {
        let client = gate.client_by(way, token("ada")).await;
        client.travels_by(way.transport()).await;
        clients.push((way, client));
    }

    service.kill().await;
    for (way, client) in &clients {
        assert_eq!(client.disconnected().await, "transport close", "{way:?}");
    }
    service.restart().await;

    for (way, client) in &clients {
        client.connected_after_errors().await;
        assert_eq!(client.ask("echo", json!(["back"])).await, "back", "{way:?}");
    }
    assert_eq!(service.transports().await, 3);
}

#[tokio::test]
async fn a_held_client_goes_on_with_the_service_that_comes_back() {
    let mut service = Service::start().await;
    let gate = Gate::before(&service).await;
    for way in [Way::Polling, Way::Websocket] {
        let client = gate.client_by(way, token("ada")).await;

        service.kill().await;
        gate.counts(0.0, "tidegate_upstream_up", &[]).await;
        client.send("echo", json!([1])).await;
        client.send("echo", json!([{ "$binary": "AQID" }])).await;
        service.restart().await;

        assert_eq!(client.next("echo").await, json!([1]), "{way:?}");
        assert_eq!(client.next("echo").await, json!([{ "$binary": "AQID" }]), "{way:?}");
        assert_eq!(client.ask("echo", json!([2])).await, 2, "{way:?}");
        assert_eq!(client.untaken("disconnect"), 0, "{way:?}");
        client.disconnect().await;
    }
}

#[tokio::test]
async fn a_service_that_is_stuck_while_a_client_comes_is_given_up_in_time() {
    let service = Service::start().await;
    let within = |time: &str| {
        Gate::before(&service).with(&format!("upstream.connect_timeout = \"{time}\"\nsession.hold = \"0s\""))
    };
    let (gate, patient) = (within("500ms").await, within("10m").await);
    service.freeze();

    // The control: a client that came before, to a gate that gives the service more time.
    let waits = patient.connect(json!({ "token": token("bob") })).await;
    patient.counts(1.0, "tidegate_sessions", &[]).await;
    let client = gate.connect(json!({ "token": token("ada") })).await;
    assert_eq!(client.disconnected().await, "transport close");
    assert!(client.is_active().await);
    assert_eq!(waits.untaken("disconnect"), 0, "it was given up for the time that is set");

    service.thaw();
    client.connected_after_errors().await;
    waits.connected().await;
}

#[tokio::test]
async fn what_is_sent_while_the_service_is_stuck_arrives_afterwards() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("rate_limit = []").await;
    for way in Way::ALL {
        service.forget().await;
        let client = gate.client_by(way, token("ada")).await;
        client.send("silence", json!([{ "seq": 0 }])).await;

        service.freeze();
        for seq in 1..200 {
            client.send("silence", json!([{ "seq": seq, "text": "x".repeat(10_000) }])).await;
        }
        assert_eq!(http::get(&gate.admin_url("/livez")).await.status, 200, "{way:?}");
        service.thaw();

        assert_eq!(client.ask("echo", json!(["behind them"])).await, "behind them", "{way:?}");
        let seen = service.seen().await;
        assert_eq!((&seen["received"]["silence"], &seen["disordered"]), (&json!(200), &json!(0)), "{way:?}");
    }
}

#[tokio::test]
async fn a_stuck_service_does_not_hold_up_others() {
    let stuck = Service::start().await;
    let gate = Gate::before(&stuck).with("rate_limit = []\nupstream.response_timeout = \"500ms\"").await;
    let client = gate.client(token("ada")).await;
    let polls = gate.client_by(Way::Polling, token("bob")).await;
    stuck.freeze();

    // More than any buffer on the way holds.
    for _ in 0..30 {
        for client in [&client, &polls] {
            client.send("silence", json!(["x".repeat(900_000)])).await;
        }
    }

    let reply = http::get(&format!("{}/sessions/plan", gate.url())).await;
    assert_eq!(reply.status, 504);
    assert_eq!(http::get(&gate.admin_url("/livez")).await.status, 200);
    let rss_mb = gate.process_status("VmRSS") / 1000;
    assert!(rss_mb < 60, "{rss_mb} MB: what cannot be sent is left unread, not kept");
    stuck.thaw();
    assert_eq!(client.ask("echo", json!([1])).await, 1);
    assert_eq!(polls.ask("echo", json!([1])).await, 1);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_and_costs_others_nothing() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("rate_limit = []\nlimits.send_buffer = \"100KB\"").await;
    let reads = gate.client(token("ada")).await;
    let mut deaf = Raw::socketio(gate.address).await;

    let wave = "x".repeat(500_000);
    for _ in 0..60 {
        service.emit("raw", "content:adapted", json!([wave])).await;
    }

    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "slow_reader")]).await;
    assert_eq!(reads.ask("echo", json!([1])).await, 1);
    assert!(deaf.until_end().await.len() < 60);
    let rss_mb = gate.process_status("VmRSS") / 1000;
    assert!(rss_mb < 60, "{rss_mb} MB");
}

#[tokio::test]
async fn a_client_that_polls_seldom_costs_no_memory_and_loses_nothing() {
    let service = Service::start().await;
    // However long a busy machine takes, it is asked for no sign of life.
    let gate = Gate::before(&service).with("rate_limit = []\nsocketio.ping_interval = \"10m\"").await;
    let others = gate.client(token("ada")).await;
    let idle = Poller::socketio(gate.address).await;

    let wave = "x".repeat(500_000);
    for n in 0..60 {
        service.emit("raw", "content:adapted", json!([n, wave])).await;
    }

    assert_eq!(others.ask("echo", json!([1])).await, 1);
    let rss_mb = gate.process_status("VmRSS") / 1000;
    assert!(rss_mb < 40, "{rss_mb} MB: what is not fetched is left unread, not kept");
    let mut next = 0;
    while next < 60 {
        for packet in idle.poll().await.split(SEPARATOR) {
            assert!(packet.starts_with(&format!("42[\"content:adapted\",{next},\"xxx")), "{packet:.40}");
            assert!(packet.len() > 500_000);
            next += 1;
        }
    }
    idle.echoes().await;
}
