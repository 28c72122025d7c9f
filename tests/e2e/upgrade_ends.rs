//! What ends while a session goes over to a websocket: the probe, the client, the service, the session itself.

use std::time::{Duration, Instant};

use crate::support::{Gate, Poller, Raw, Service, eventually, json, poller::SEPARATOR, token};

/// A session whose websocket has been asked and answered, and that has yet to go over.
async fn probed(gate: &Gate) -> (Poller, Raw) {
    let poller = Poller::socketio(gate.address).await;
    let mut socket = poller.websocket().await;
    socket.say("2probe").await;
    assert_eq!(socket.frame().await.text(), "3probe");
    (poller, socket)
}

/// Ten seconds, engine.io's `upgradeTimeout`, which is no setting here.
#[tokio::test]
async fn a_probe_that_comes_to_nothing_is_given_up_and_polling_goes_on() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let began = Instant::now();
    let silent = Poller::socketio(gate.address).await;
    let mut never_asks = silent.websocket().await;
    let (halfway, mut never_goes) = probed(&gate).await;

    silent.echoes().await;
    halfway.echoes().await;
    assert!(never_asks.until_end().await.is_empty());
    never_goes.until_end().await;

    assert!(began.elapsed() >= Duration::from_secs(9), "{:?}", began.elapsed());
    gate.counts(2.0, "tidegate_upgrades_total", &[("result", "failed")]).await;
    for poller in [silent, halfway] {
        poller.echoes().await;
        let waiting = poller.polling();
        poller.send("42[\"echo\",1]").await;
        assert_eq!(waiting.await.unwrap().text(), "42[\"echo\",1]", "no poll is released empty any more");
        let mut socket = poller.websocket().await;
        socket.go_over().await;
        socket.say("42[\"echo\",2]").await;
        assert_eq!(socket.frame().await.text(), "42[\"echo\",2]");
    }
}

#[tokio::test]
async fn a_websocket_that_is_lost_before_the_upgrade_leaves_the_session() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let (poller, socket) = probed(&gate).await;

    service.emit("raw", "content:adapted", json!([1])).await;
    drop(socket);

    gate.counts(1.0, "tidegate_upgrades_total", &[("result", "failed")]).await;
    let mut packets = String::new();
    while !packets.contains("content:adapted") {
        packets = poller.poll().await;
    }
    assert_eq!(packets, "42[\"content:adapted\",1]");
    poller.echoes().await;
    assert_eq!(service.seen().await["disconnects"], json!([]));
}

#[tokio::test]
async fn a_websocket_that_is_closed_before_the_upgrade_leaves_the_session() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let (poller, mut socket) = probed(&gate).await;

    socket.send(&crate::support::frame::masked(crate::support::frame::CLOSE, b"\x03\xe8")).await;
    socket.until_end().await;

    poller.echoes().await;
    gate.counts(1.0, "tidegate_upgrades_total", &[("result", "failed")]).await;
}

#[tokio::test]
async fn a_client_that_leaves_during_the_probe_has_left() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let (poller, mut socket) = probed(&gate).await;

    poller.send("1").await;

    assert!(socket.until_end().await.is_empty());
    assert_eq!(poller.poll().await, "6", "a poll that comes behind the goodbye is released");
    poller.assert_ended("after it has left").await;
    assert_eq!(service.disconnection().await["reason"], "transport close");
    gate.counts(0.0, "tidegate_sessions", &[]).await;
}

#[tokio::test]
async fn a_client_whose_poll_breaks_off_during_the_probe_is_gone() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("listen.workers = 1").await;
    let poller = Poller::socketio(gate.address).await;
    let mut socket = poller.websocket().await;

    let mut waiting = Raw::connect(gate.address).await;
    waiting.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", poller.target("polling")).as_bytes()).await;
    // The one thread has read the poll when it has answered what came later.
    poller.send("42[\"silence\"]").await;
    drop(waiting);

    assert!(socket.until_end().await.is_empty());
    assert_eq!(service.disconnection().await["reason"], "transport close");
    poller.assert_ended("after its poll broke off").await;
}

#[tokio::test]
async fn a_service_that_disconnects_during_the_probe_is_heard_by_poll() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let (poller, mut socket) = probed(&gate).await;

    service.disconnect("raw", true).await;

    // What releases polls for the upgrade may come first.
    let mut heard = Vec::new();
    while heard.last().is_none_or(|packet| packet != "1") {
        heard.extend(poller.poll().await.split(SEPARATOR).map(str::to_owned));
    }
    heard.retain(|packet| packet != "6");
    assert_eq!(heard, ["41", "1"]);
    socket.until_end().await;
    poller.assert_ended("after the service ended it").await;
}

#[tokio::test]
async fn a_service_that_dies_during_the_probe_ends_both() {
    let mut service = Service::start().await;
    let gate = Gate::before(&service).with(r#"session.hold = "0s""#).await;
    let (poller, mut socket) = probed(&gate).await;

    service.kill().await;

    let mut last = "6".to_owned();
    while last == "6" {
        last = poller.poll().await;
    }
    assert_eq!(last, "1");
    socket.until_end().await;
    poller.assert_ended("after the service died").await;
    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "service_lost")]).await;
}

/// Official clients stop to poll as soon as they are answered, and wait for nothing but their own `5` to be sent.
#[tokio::test]
async fn a_client_that_has_stopped_to_poll_hears_the_end_on_its_websocket() {
    let mut service = Service::start().await;
    let gate = Gate::before(&service).with(r#"session.hold = "0s""#).await;
    let (kicked, mut kicked_socket) = probed(&gate).await;
    service.disconnect("raw", true).await;
    service.disconnection().await;
    let (_lost, mut lost_socket) = probed(&gate).await;
    service.kill().await;
    gate.counts(2.0, "websocket_disconnections_total", &[]).await;

    for socket in [&mut kicked_socket, &mut lost_socket] {
        socket.say("5").await;
    }

    assert_eq!(kicked_socket.frame().await.text(), "41");
    assert_eq!(kicked_socket.close_code().await, Some(1005));
    assert_eq!(lost_socket.close_code().await, Some(1012));
    kicked.assert_ended("after the end").await;
    gate.counts(0.0, "tidegate_sessions", &[]).await;
}

#[tokio::test]
async fn a_session_may_go_over_while_the_service_is_down() {
    let mut service = Service::start().await;
    let gate = Gate::before(&service).await;
    let (poller, mut socket) = probed(&gate).await;

    service.kill().await;
    gate.counts(0.0, "tidegate_upstream_up", &[]).await;
    poller.send("421[\"echo\",\"by poll\"]").await;
    socket.say("5").await;
    socket.say("422[\"echo\",\"by websocket\"]").await;
    service.restart().await;

    let mut heard = Vec::new();
    while heard.last().is_none_or(|text| text != "432[\"by websocket\"]") {
        heard.push(socket.frame().await.text().to_owned());
    }
    // Pings, whose answers would show that the client has repeated what it wants to repeat.
    heard.retain(|text| text != "2");
    assert!(heard[0].starts_with("40{\"sid\":"), "the namespace is joined anew: {heard:?}");
    assert_eq!(heard[1..], ["431[\"by poll\"]", "432[\"by websocket\"]"], "in their order");
}

#[tokio::test]
async fn a_token_that_expires_during_the_probe_ends_both() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(r#"auth.leeway = "0s""#).await;
    let poller = Poller::engineio(gate.address).await;
    poller.join(&json!({ "token": crate::support::token::token_for("raw", 10) }).to_string()).await;
    let mut socket = poller.websocket().await;

    assert_eq!(poller.poll().await, "1");

    assert!(socket.until_end().await.is_empty());
    poller.assert_ended("after its token expired").await;
    eventually("the service sees it go", async || Some(service.disconnection().await)).await;
    gate.client(token("raw")).await;
}
