//! A node with 256 MiB of memory, seven attacks at once, and 300 clients that do nothing wrong.

use std::{env, net::Ipv4Addr, sync::LazyLock, time::Duration};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::support::{
    Gate, Raw, Service,
    frame::{BINARY, TEXT, fragment, masked},
    json, token,
};

/// What the node may have.
const MEMORY: u64 = 256 * 1024 * 1024;

/// With the control: far more than it takes for a node to have got as much.
const PATIENCE: Duration = Duration::from_secs(150);

/// With `scripts/test --long` it is what was promised; without, a part of it.
struct Size {
    clients: u32,
    lasts: Duration,
    /// Connections of each attack, which all come from an address of their own.
    attackers: usize,
}

fn size() -> Size {
    if env::var_os("TIDEGATE_LONG").is_some() {
        Size { clients: 300, lasts: Duration::from_secs(40), attackers: 100 }
    } else {
        Size { clients: 60, lasts: Duration::from_secs(8), attackers: 25 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attack {
    /// Packets whose last attachment never comes.
    Unfinished,
    /// Packets with ten attachments, of which nine come: 9 MB.
    LargeAttachments,
    /// CONNECT packets of 980 kB.
    LargeConnects,
    /// Large answers that are not read.
    DeafReaders,
    /// Payloads of a POST that stop before their end.
    HalfPayloads,
    /// Packets of seven bytes as fast as they go.
    SmallPackets,
    /// Messages whose last fragment never comes.
    Fragments,
}

const ATTACKS: [Attack; 7] = [
    Attack::Unfinished,
    Attack::LargeAttachments,
    Attack::LargeConnects,
    Attack::DeafReaders,
    Attack::HalfPayloads,
    Attack::SmallPackets,
    Attack::Fragments,
];

impl Attack {
    /// What a client says after it has joined; made once, because that takes longer than sending it.
    fn pieces(self) -> &'static [Vec<u8>] {
        static ALL: LazyLock<Vec<Vec<Vec<u8>>>> = LazyLock::new(|| ATTACKS.map(Attack::made).into());
        &ALL[ATTACKS.iter().position(|attack| *attack == self).expect("it is one of them")]
    }

    fn made(self) -> Vec<Vec<u8>> {
        let large = vec![b'x'; 900_000];
        let holders =
            |count| -> String { (0..count).map(|n| format!(",{{\"_placeholder\":true,\"num\":{n}}}")).collect() };
        let announces = |count| masked(TEXT, format!("45{count}-[\"silence\"{}]", holders(count)).as_bytes());
        match self {
            Self::Unfinished => vec![announces(2), masked(BINARY, &large)],
            Self::LargeAttachments => [vec![announces(10)], vec![masked(BINARY, &large); 9]].concat(),
            Self::LargeConnects => {
                let asks = |n| format!("40/{n},{{\"x\":\"{}\"}}", "x".repeat(980_000));
                (0..10).map(|n| masked(TEXT, asks(n).as_bytes())).collect()
            }
            Self::DeafReaders => {
                let asks = format!("42[\"echo\",\"{}\"]", "x".repeat(400_000));
                vec![masked(TEXT, asks.as_bytes()); 5]
            }
            Self::SmallPackets => vec![masked(TEXT, b"42[\"a\"]").repeat(500); 10],
            Self::Fragments => vec![fragment(TEXT, &[b"42[\"silence\",\"", &large[..]].concat())],
            Self::HalfPayloads => Vec::new(),
        }
    }

    /// One connection of the attack, again and again, each for so long.
    async fn go_on(self, source: Ipv4Addr, gate: std::net::SocketAddr, lasts: Duration) {
        loop {
            let once = async {
                if let Some(_connection) = self.once(source, gate).await {
                    sleep(lasts / 2).await;
                }
            };
            let _ = timeout(lasts, once).await;
            sleep(Duration::from_millis(200)).await;
        }
    }

    async fn once(self, source: Ipv4Addr, gate: std::net::SocketAddr) -> Option<Raw> {
        let mut raw = Raw::try_connect_from(source, gate).await.ok()?;
        if matches!(self, Self::HalfPayloads) {
            raw.try_send(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost\r\n\r\n").await.ok()?;
            if !raw.head().await.starts_with("HTTP/1.1 200 ") {
                return None;
            }
            let open = raw.body(100).await?;
            let sid = open.split("\"sid\":\"").nth(1)?.split('"').next()?.to_owned();
            let head = format!(
                "POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: localhost\r\n\
                 Content-Type: text/plain\r\nContent-Length: 999999\r\n\r\n"
            );
            raw.try_send(head.as_bytes()).await.ok()?;
            raw.try_send(&vec![b'x'; 900_000]).await.ok()?;
            return Some(raw);
        }
        raw.try_send(
            format!("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n{}\r\n", crate::support::raw::UPGRADE)
                .as_bytes(),
        )
        .await
        .ok()?;
        if !raw.head().await.starts_with("HTTP/1.1 101 ") {
            return None;
        }
        let connect = format!("40{{\"token\":\"{}\"}}", token("attacker"));
        raw.try_send(&masked(TEXT, connect.as_bytes())).await.ok()?;
        // The open packet, and the answer to CONNECT.
        raw.try_frame().await?;
        raw.try_frame().await?;
        for piece in self.pieces() {
            raw.try_send(piece).await.ok()?;
        }
        Some(raw)
    }
}

/// These attacks at once, with so many connections each, of which each lasts so long.
fn attack(gate: &Gate, attacks: &[Attack], connections: usize, lasts: Duration) -> JoinSet<()> {
    let mut attackers = JoinSet::new();
    for (at, &attack) in attacks.iter().enumerate() {
        let source = Ipv4Addr::new(127, 0, 0, u8::try_from(at + 2).unwrap());
        for _ in 0..connections {
            attackers.spawn(attack.go_on(source, gate.address, lasts));
        }
    }
    attackers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_node_survives_seven_attacks_and_no_good_client_notices() {
    let Size { clients, lasts, attackers } = size();
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let service = Service::with(&[("JOURNAL", journal.to_str().unwrap())]).await;
    let settings = "limits.connections_per_ip = 2000\n[[rate_limit]]\nmessages = 200\nper = \"10s\"";
    let gate = Gate::before(&service).with(settings).with_data_limit(MEMORY).await;
    let driver = gate.driver().await;
    let with = json!({
        "url": gate.url(), "token": token("ada"), "clients": clients, "rate": 2, "ms": lasts.as_millis() as u64,
        "patience": 60_000,
    });
    let emitting = tokio::spawn(async move { driver.call("steady", with).await.unwrap() });
    gate.counts(f64::from(clients), "websocket_active_sessions", &[]).await;

    let attackers = attack(&gate, &ATTACKS, attackers, Duration::from_secs(10));
    let total = emitting.await.unwrap();
    drop(attackers);

    let metrics = gate.metrics().await;
    let ended: Vec<_> = metrics.samples("websocket_disconnections_total").collect();
    let refused: Vec<_> = metrics.samples("tidegate_refused_total").collect();
    println!("p99 {} ms; peak {} kB; ended {ended:?}, refused {refused:?}", total["p99"], gate.process_status("VmHWM"));
    assert_eq!(total["disconnects"], json!([]), "{total}");
    assert_eq!((&total["lost"], &total["wrong"], &total["failed"]), (&json!(0), &json!([]), &json!(0)), "{total}");
    assert_eq!(total["connects"], json!(clients), "{total}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_a_small_node_without_bounds_dies_of_those_attacks_that_leave_something() {
    let service = Service::start().await;
    // Connections that answer no pings stay, so that also a slow machine gets more than there is room for.
    let settings = "limits.connections_per_ip = 400\nsocketio.ping_interval = \"10m\"\nlimits.memory = \"0B\"\nlimits.session_memory = \"100GB\"\n\
        socketio.max_payload = \"100MB\"\nsocketio.max_connect = \"1MiB\"";
    let mut gate = Gate::before(&service).with(settings).with_data_limit(MEMORY).await;

    let attacks = [Attack::Unfinished, Attack::LargeAttachments, Attack::HalfPayloads, Attack::Fragments];
    let attackers = attack(&gate, &attacks, 300, PATIENCE);

    assert_eq!(gate.exit_within(PATIENCE).await, None, "it is aborted");
    drop(attackers);
}
