//! Clients that do at random what a client may do and what it may not: nothing breaks, nothing stays behind.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::timeout;

use crate::support::{
    Gate, Poller, Raw, Service,
    frame::{BINARY, CLOSE, PING, TEXT, masked},
    json, soon, token,
};

const CLIENTS: u64 = 40;
const STEPS: usize = 30;

/// A poll is answered with a ping by then. Now and then a client gives up before.
const PATIENCE: Duration = Duration::from_millis(400);

/// One client's life: mostly what it may do, and at any time what it may not.
struct Life<'a> {
    gate: &'a Gate,
    random: StdRng,
    poller: Poller,
    sockets: Vec<Raw>,
}

impl Life<'_> {
    fn payload(&mut self) -> String {
        let text = match self.random.random_range(0..20) {
            0 => &format!("40/chat,{}", json!({ "token": token("raw") })),
            1..5 => "42[\"echo\",1]\x1e421[\"echo\",2]",
            5..8 => "451-[\"silence\",{\"_placeholder\":true,\"num\":0}]\x1ebAQID",
            8 => "451-[\"silence\",{\"_placeholder\":true,\"num\":0}]",
            9 => ["bAQID", "1", "2", "41", "42/nowhere,[\"echo\"]", ""][self.random.random_range(0..6)],
            10..14 => "3",
            14..17 => "42[\"agent:tutor\",{\"input\":\"hi\"}]",
            _ => return format!("42[\"silence\",\"{}\"]", "x".repeat(self.random.random_range(0..70_000))),
        };
        text.to_owned()
    }

    /// Whatever it is answered, it goes on; where there is no session any more it opens another.
    async fn step(&mut self) {
        let patience = PATIENCE.mul_f64(if self.random.random_bool(0.1) { 0.02 } else { 1.0 });
        let payload = self.payload();
        let reply = match self.random.random_range(0..20) {
            0..6 => timeout(patience, self.poller.post(payload)).await.ok(),
            6..11 => timeout(patience, self.poller.get()).await.ok(),
            11 => {
                let both = (timeout(patience, self.poller.post(payload)), timeout(patience, self.poller.get()));
                tokio::join!(both.0, both.1).1.ok()
            }
            12..15 => {
                let mut raw = Raw::connect(self.gate.address).await;
                raw.ask_upgrade(&self.poller.target("websocket"), "").await;
                let probe = [masked(TEXT, b"2probe"), masked(TEXT, b"5"), masked(TEXT, payload.as_bytes())];
                let _ = raw.try_send(&probe[..self.random.random_range(0..=3)].concat()).await;
                self.sockets.push(raw);
                None
            }
            15..19 => {
                let frame = match self.random.random_range(0..8) {
                    0 => masked(PING, b"x"),
                    1 => masked(BINARY, b"x"),
                    2 => masked(CLOSE, b"\x03\xe8"),
                    3 => masked(TEXT, b"5"),
                    _ => masked(TEXT, payload.as_bytes()),
                };
                if let Some(socket) = self.sockets.last_mut() {
                    let _ = socket.try_send(&frame).await;
                }
                None
            }
            _ => {
                self.sockets.pop();
                None
            }
        };
        if reply.is_some_and(|reply| reply.status == 400) {
            self.poller = begin(self.gate).await;
        }
    }
}

/// A session that has joined a namespace, whatever else it has heard meanwhile.
///
/// On a machine that is busy a session may end before: a heartbeat that is late by five seconds ends it, as it should.
async fn begin(gate: &Gate) -> Poller {
    soon("a session joins", async {
        loop {
            let poller = Poller::engineio(gate.address).await;
            if joins(&poller).await {
                return poller;
            }
        }
    })
    .await
}

/// False: the session has ended.
async fn joins(poller: &Poller) -> bool {
    let mut reply = poller.post(format!("40{}", json!({ "token": token("raw") }))).await;
    while reply.status == 200 {
        if reply.text().contains("40{") {
            return true;
        }
        reply = poller.get().await;
    }
    assert_eq!(reply.status, 400, "{reply:?}");
    false
}

async fn live(gate: &Gate, seed: u64) {
    let poller = begin(gate).await;
    let mut life = Life { gate, random: StdRng::seed_from_u64(seed), poller, sockets: Vec::new() };
    for _ in 0..STEPS {
        life.step().await;
    }
}

#[tokio::test]
async fn whatever_clients_do_the_gate_stays_and_nothing_of_them_is_left() {
    let service = Service::start().await;
    let gate = Gate::before(&service)
        .with(
            "socketio.ping_interval = \"200ms\"\nsocketio.ping_timeout = \"5s\"\nsocketio.connect_timeout = \"5s\"\n\
             limits.connections_per_ip = 5000\nlisten.workers = 3",
        )
        .await;

    futures_util::future::join_all((0..CLIENTS).map(|seed| live(&gate, seed))).await;

    for (name, labels) in [
        ("tidegate_sessions", &[][..]),
        ("websocket_connections_total", &[]),
        ("websocket_active_sessions", &[]),
        ("tidegate_upstream_connections", &[]),
        ("websocket_disconnections_total", &[("reason", "panic")]),
    ] {
        gate.counts(0.0, name, labels).await;
    }
    let metrics = gate.metrics().await;
    for result in ["ok", "failed"] {
        assert!(metrics.sum("tidegate_upgrades_total", &[("result", result)]) > 0.0, "{}", metrics.text);
    }
    let opened = metrics.sum("websocket_connections_count", &[]);
    assert!(opened >= CLIENTS as f64);
    gate.counts(opened, "websocket_disconnections_total", &[]).await;
    let seen = service.seen().await;
    assert_eq!(seen["faults"], json!([]), "the service never has to find a fault itself");
    assert_eq!(seen["polls"], json!([]));
    // A client that connects now is served.
    begin(&gate).await;
}
