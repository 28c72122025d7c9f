//! Clients that make the service close its connections, again and again. It is down for none of the others.

use std::{
    future::Future,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use crate::support::{
    Cable, Client, Gate, Poller, Raw, Service, eventually,
    frame::{CLOSE, TEXT, masked},
    json,
    poller::SEPARATOR,
    soon,
    tidegate::Setup,
    token, waits_during,
};

const OBJECTED: &[(&str, &str)] = &[("reason", "service_objected")];

fn hang_up(how: &str) -> String {
    format!("42[\"hang_up\",{{\"how\":\"{how}\"}}]")
}

/// Clients that do not answer pings stay, however slow the machine.
fn gate(url: &str) -> Setup {
    let settings = "rate_limit = []\nlimits.connections_per_ip = 10000\nsocketio.ping_interval = \"10m\"";
    Gate::before_url(url).with(settings)
}

/// Clients that are connected and do nothing wrong.
async fn bystanders(gate: &Gate, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for user in 0..count {
        clients.push(gate.client(token(&format!("user-{user}"))).await);
    }
    clients
}

/// No client has noticed anything, and each is answered.
async fn assert_undisturbed(clients: &[Client]) {
    for client in clients {
        assert_eq!(client.ask("echo", json!([1])).await, 1);
        assert_eq!((client.untaken("disconnect"), client.untaken("connect")), (0, 0));
    }
}

/// The service was down for nobody.
async fn assert_no_outage(gate: &Gate) {
    let log = gate.logged().await;
    let lines = [log.containing("the service is down"), log.containing("the service is back")].concat();
    assert!(lines.is_empty(), "{lines:#?}");
}

#[tokio::test]
async fn a_client_whose_packet_makes_the_service_hang_up_is_closed_and_no_other_notices() {
    let service = Service::start().await;
    let gate = gate(&service.url()).await;
    let others = bystanders(&gate, 3).await;

    let attack = async {
        for how in ["close", "fin", "rst"] {
            let mut raw = Raw::socketio(gate.address).await;
            raw.say(&hang_up(how)).await;
            let frames = raw.until_end().await;
            let close = frames.iter().find(|frame| frame.opcode == CLOSE).expect("a close frame");
            assert_eq!((close.close_code(), &close.payload[2..]), (1008, &b"service_objected"[..]), "{how}");

            let poller = Poller::socketio(gate.address).await;
            poller.send(&hang_up(how)).await;
            let heard = poller.poll().await;
            assert_eq!(heard.split(SEPARATOR).next_back(), Some("1"), "{how}: {heard}");
            poller.assert_ended(how).await;
        }
        // The same where it will not even let the client in.
        let mut raw = Raw::engineio(gate.address).await;
        raw.say(&format!("40{{\"learnerId\":\"unbearable\",\"token\":\"{}\"}}", token("raw"))).await;
        assert_eq!(raw.close_code().await, Some(1008));
    };
    let (waits, ()) = waits_during(&others[0], attack).await;

    waits.assert_prompt();
    gate.counts(7.0, "websocket_disconnections_total", OBJECTED).await;
    gate.counts(7.0, "websocket_errors_total", &[("type", "service_objected")]).await;
    assert_eq!(gate.log().wait_for(7, &["is not held"]).await.len(), 7);
    assert_undisturbed(&others).await;
    assert_no_outage(&gate).await;
}

#[tokio::test]
async fn a_client_of_a_plain_route_too() {
    let service = Service::plain().await;
    let route = "auth.token_from = [\"query:token\"]\n[[websocket]]\npath = \"/ws\"\non_upstream_loss = \"hold\"";
    let gate = gate(&service.url()).with(route).await;
    let target = format!("/ws?token={}", token("ada"));
    let mut other = gate.websocket(&target, &[]).await.unwrap();
    other.echo("before").await;

    for text in ["hang up", "close 4000", "half"] {
        let mut client = gate.websocket(&target, &[]).await.unwrap();
        client.send(text).await;
        let expected = if text == "close 4000" { (4000, String::new()) } else { (1008, "service_objected".to_owned()) };
        assert_eq!(client.closed().await, expected, "{text}");
    }

    assert_eq!(other.echo("after").await.into_text().unwrap(), "after");
    gate.counts(2.0, "websocket_disconnections_total", OBJECTED).await;
    assert_no_outage(&gate).await;
}

#[tokio::test]
async fn the_only_client_is_believed_twice() {
    let service = Service::start().await;
    let gate = gate(&service.url()).await;
    let mut raw = Raw::socketio(gate.address).await;
    for _ in 0..2 {
        raw.say(&hang_up("close")).await;
        let returned = raw.frame().await;
        assert!(returned.text().starts_with("40{"), "{returned:?}");
    }
    raw.say(&hang_up("close")).await;

    assert_eq!(raw.close_code().await, Some(1008));
    gate.counts(1.0, "websocket_disconnections_total", OBJECTED).await;
    assert_no_outage(&gate).await;
}

/// Makes it hang up whenever it is let in, and comes again when it is closed or has waited for so long.
async fn hangs_up_for_ever(address: SocketAddr, patience: Duration) {
    loop {
        let mut raw = Raw::socketio(address).await;
        let _ = timeout(patience, async {
            loop {
                // The connection may have ended already.
                let _ = raw.try_send(&masked(TEXT, hang_up("close").as_bytes())).await;
                loop {
                    match raw.try_frame().await {
                        Some(frame) if frame.payload.starts_with(b"40{") => break,
                        Some(frame) if frame.opcode == TEXT => {}
                        _ => return,
                    }
                }
            }
        })
        .await;
    }
}

/// How long so many new clients took to join here and there, in turn, while a hundred others make the service hang up here,
/// until they have been closed often `enough`. The longest first.
async fn joins_during_the_attack(
    here: SocketAddr,
    there: SocketAddr,
    clients: usize,
    enough: impl Future<Output = ()>,
) -> [Vec<Duration>; 2] {
    // Half of them wait for what happens, the others come anew whatever happens.
    let patience = |attacker| Duration::from_millis(if attacker % 2 == 0 { 10_000 } else { 500 });
    let attackers: Vec<_> =
        (0..100).map(|attacker| tokio::spawn(hangs_up_for_ever(here, patience(attacker)))).collect();
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..clients {
        for (address, took) in [here, there].into_iter().zip(&mut took) {
            let began = Instant::now();
            let mut raw = Raw::socketio(address).await;
            took.push(began.elapsed());
            raw.say("421[\"echo\",1]").await;
            assert_eq!(raw.frame().await.text(), "431[1]", "it stays");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    enough.await;
    attackers.iter().for_each(tokio::task::JoinHandle::abort);
    for took in &mut took {
        took.sort_unstable_by(|one, other| other.cmp(one));
    }
    took
}

#[tokio::test]
async fn beside_a_hundred_that_make_it_hang_up_every_new_client_joins_within_a_second() {
    let service = Service::without_auth().await;
    let gate = gate(&service.url()).await;
    let others = bystanders(&gate, 3).await;

    // One control: without a gate, the service itself bears the attack.
    let attack = joins_during_the_attack(service.address(), service.address(), 15, async {});
    let (control_waits, [attacked, _]) = waits_during(&others[0], attack).await;
    let enough = eventually("a hundred are closed", async || {
        (gate.metrics().await.sum("websocket_disconnections_total", OBJECTED) >= 100.0).then_some(())
    });
    // The other: who joins at the service itself, while it is attacked through the gate, on a machine that is as busy.
    let attack = joins_during_the_attack(gate.address, service.address(), 25, enough);
    let (waits, [took, beside]) = waits_during(&others[0], attack).await;

    let figures = format!(
        "joins {:?}, at the service {:?}, without the gate {:?}; acks {:?}, while the service is attacked without the gate {:?}",
        &took[..5],
        &beside[..5],
        &attacked[..5],
        waits.p99(),
        control_waits.p99()
    );
    eprintln!("{figures}");
    let bound = Duration::from_secs(1).max(attacked[0] * 2).max(beside[0] * 4);
    assert!(took[0] < bound, "{figures}");
    assert_undisturbed(&others).await;
    assert_no_outage(&gate).await;
}

#[tokio::test]
async fn a_service_that_is_killed_objects_to_nobody_however_busy() {
    for clients in [1, 3] {
        let mut service = Service::start().await;
        let gate = gate(&service.url()).await;
        let clients = bystanders(&gate, clients).await;
        for round in 0..3 {
            for client in &clients {
                assert_eq!(client.ask("echo", json!([round])).await, round);
            }
            service.kill().await;
            gate.counts(clients.len() as f64, "tidegate_held_sessions", &[]).await;
            service.restart().await;
            for client in &clients {
                client.next("connect").await;
                assert_eq!(client.ask("echo", json!([round])).await, round);
            }
        }
        for client in &clients {
            assert_eq!(client.untaken("disconnect"), 0);
        }
        gate.counts(0.0, "websocket_disconnections_total", OBJECTED).await;
        // Where the first dial already finds it again, nobody was told.
        let log = gate.logged().await;
        let told = |line| log.containing(line).len();
        let (down, back) = (told("the service is down"), told("the service is back"));
        assert!(down <= 3 && back == down, "down {down}, back {back}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_fetch_what_it_gets_is_no_witness_that_the_service_is_there() {
    let mut service = Service::start().await;
    let gate = gate(&service.url()).await;
    let idle = Poller::socketio(gate.address).await;
    let busy = gate.client(token("ada")).await;
    // The gate leaves unread what the idle client does not fetch, and will not notice that its connection ends.
    service.emit("raw", "content:adapted", json!(["x".repeat(500_000)])).await;
    gate.counts(1.0, "websocket_messages_sent_total", &[("event", "content:adapted")]).await;
    assert_eq!(busy.ask("echo", json!([1])).await, 1);
    service.kill().await;

    gate.counts(1.0, "tidegate_held_sessions", &[]).await;
    service.restart().await;
    busy.next("connect").await;
    assert_eq!(busy.ask("echo", json!([1])).await, 1);
    assert_eq!(busy.untaken("disconnect"), 0);
    gate.counts(0.0, "websocket_disconnections_total", OBJECTED).await;
    drop(idle);
}

#[tokio::test]
async fn clients_of_a_part_of_the_service_that_goes_are_held() {
    let service = Service::start().await;
    let cable = Cable::to(&service).await;
    let gate = gate(&cable.url()).await;
    let clients = bystanders(&gate, 4).await;
    // Nothing that a client has sent is the reason for what happens so long after it.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(clients[2].ask("echo", json!([1])).await, 1);
    cable.cut_first(3);

    for client in &clients[..3] {
        client.next("connect").await;
        assert_eq!(client.ask("echo", json!([1])).await, 1, "the busy one too");
        assert_eq!(client.untaken("disconnect"), 0);
    }
    assert_undisturbed(&clients[3..]).await;
    gate.counts(0.0, "websocket_disconnections_total", OBJECTED).await;
    assert_no_outage(&gate).await;
}

#[tokio::test]
async fn who_delays_the_hang_up_is_dialled_for_again_and_keeps_nobody_waiting() {
    let service = Service::start().await;
    let gate = gate(&service.url()).await;
    let others = bystanders(&gate, 2).await;
    let mut raws = Vec::new();
    for _ in 0..5 {
        let mut raw = Raw::socketio(gate.address).await;
        raw.say("42[\"hang_up\",{\"how\":\"close\",\"afterMs\":1500}]").await;
        raws.push(raw);
    }
    for raw in &mut raws {
        let returned = soon("the session goes on", raw.frame()).await;
        assert!(returned.text().starts_with("40{"), "{returned:?}");
    }
    // Seven clients, five of them twice.
    gate.counts(12.0, "tidegate_upstream_dials_total", &[("result", "ok")]).await;
    assert_undisturbed(&others).await;
    assert_no_outage(&gate).await;
    eventually("nobody is held any more", async || {
        (gate.metrics().await.sum("tidegate_held_sessions", &[]) == 0.0).then_some(())
    })
    .await;
}
