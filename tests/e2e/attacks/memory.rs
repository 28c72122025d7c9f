//! Clients that make the gate keep bytes: attachments, CONNECT packets, queues of small packets.
//!
//! The control of each is the same attack on a gate whose bounds are set so high that they do not matter.

use futures_util::future::join_all;

use crate::support::{
    Gate, Raw, Service, eventually,
    frame::{BINARY, TEXT, masked},
    token, waits_during,
};

/// Clients that do not answer pings stay, however long a slow machine takes.
const MUTE: &str = "socketio.ping_interval = \"10m\"";

/// Bounds that do not matter.
const UNBOUNDED: &str = "limits.memory = \"0B\"\nlimits.session_memory = \"100GB\"\nsocketio.max_payload = \"100MB\"\n\
    socketio.max_connect = \"1MiB\"\nsession.queue_bytes = \"1GB\"";

/// How many megabytes the process grew at most since it had `before` of them.
fn grew_by(gate: &Gate, before: u64) -> u64 {
    gate.process_status("VmHWM").saturating_sub(before) / 1000
}

/// So many clients announce ten attachments and send nine of 990 kB.
async fn attach(gate: &Gate, clients: usize) -> Vec<Raw> {
    let holders: String = (0..10).map(|n| format!(",{{\"_placeholder\":true,\"num\":{n}}}")).collect();
    let head = masked(TEXT, format!("4510-[\"silence\"{holders}]").as_bytes());
    let binary = masked(BINARY, &vec![7; 990_000]);
    let mut attackers = Vec::new();
    for _ in 0..clients {
        let mut raw = Raw::socketio(gate.address).await;
        let _ = raw.try_send(&head).await;
        for _ in 0..9 {
            if raw.try_send(&binary).await.is_err() {
                break;
            }
        }
        attackers.push(raw);
    }
    attackers
}

#[tokio::test]
async fn attachments_that_never_end_cost_no_memory() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let good = gate.client(token("ada")).await;

    let before = gate.process_status("VmHWM");
    let (waits, _attackers) = waits_during(&good, attach(&gate, 40)).await;

    let grown = grew_by(&gate, before);
    println!("p99 of {} waits: {:?}; grew by {grown} MB", waits.len(), waits.p99());
    gate.counts(40.0, "websocket_disconnections_total", &[("reason", "packet_too_big")]).await;
    gate.log().wait(&["session ended", "packet_too_big", "socketio.max_payload"]).await;
    assert!(grown < 40, "{grown} MB");
    assert_eq!(good.untaken("disconnect"), 0);
    assert_eq!(service.received("silence").await, 0);
}

#[tokio::test]
async fn control_attachments_cost_memory_where_they_have_no_bound() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(UNBOUNDED).await;

    let before = gate.process_status("VmHWM");
    // All at once: each has ten seconds for its attachments, in which a slow machine does not get them all.
    let _attackers = join_all((0..20).map(|_| attach(&gate, 1))).await;

    eventually("more is kept than where it has a bound", async || (grew_by(&gate, before) > 45).then_some(())).await;
}

/// Clients that each leave 900 kB of a packet unfinished, whose last attachment never comes.
async fn leave_unfinished(gate: &Gate, clients: usize) -> Vec<Raw> {
    let head = masked(TEXT, b"452-[\"silence\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]");
    let binary = masked(BINARY, &vec![7; 900_000]);
    let mut attackers = Vec::new();
    for _ in 0..clients {
        let mut raw = Raw::socketio(gate.address).await;
        let _ = raw.try_send(&[&head[..], &binary].concat()).await;
        attackers.push(raw);
    }
    attackers
}

#[tokio::test]
async fn what_all_sessions_keep_of_unfinished_packets_is_bounded() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(MUTE).with("limits.session_memory = \"4MB\"").await;
    let good = gate.client(token("ada")).await;
    let before = gate.process_status("VmHWM");

    let (_, attackers) = waits_during(&good, leave_unfinished(&gate, 60)).await;

    let kept = gate.metrics().await.sum("tidegate_session_memory_bytes", &[]);
    assert!((0.8e6..=4e6).contains(&kept), "{kept}");
    // On a slow machine some have had their ten seconds before the last one has come, or the gate has not read the last ones yet.
    let closed = async |labels: &[_]| gate.metrics().await.sum("websocket_disconnections_total", labels);
    eventually("those that do not fit are closed", async || (closed(&[]).await >= 40.0).then_some(())).await;
    let for_memory = closed(&[("reason", "session_memory")]).await;
    assert!(for_memory > 0.0, "{for_memory} were closed for memory");
    let grown = grew_by(&gate, before);
    assert!(grown < 50, "{grown} MB");
    eventually("the others have had their ten seconds", async || (closed(&[]).await >= 60.0).then_some(())).await;
    let late = closed(&[("reason", "attachment_timeout")]).await;
    assert!(late >= 1.0, "{late}");
    assert_eq!(good.untaken("disconnect"), 0);
    drop(attackers);
}

/// So many clients ask for two namespaces with 980 kB each. How much the gate grew, in megabytes.
async fn connect(gate: &Gate, clients: usize) -> u64 {
    let before = gate.process_status("VmHWM");
    let mut attackers = Vec::new();
    for _ in 0..clients {
        let mut raw = Raw::engineio(gate.address).await;
        for namespace in ["", "/chat,"] {
            let asks = format!("40{namespace}{{\"token\":\"{}\",\"x\":\"{}\"}}", token("eve"), "x".repeat(980_000));
            let _ = raw.try_send(&masked(TEXT, asks.as_bytes())).await;
            raw.try_frame().await;
        }
        attackers.push(raw);
    }
    grew_by(gate, before)
}

#[tokio::test]
async fn a_large_connect_is_refused_and_not_kept() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let good = gate.client(token("ada")).await;

    let (_, grown) = waits_during(&good, connect(&gate, 30)).await;

    gate.counts(60.0, "tidegate_refused_total", &[("stage", "connect"), ("reason", "connect_too_big")]).await;
    gate.log().wait(&["connect_too_big", "socketio.max_connect"]).await;
    assert!(grown < 25, "{grown} MB");
    assert_eq!((service.transports().await, good.untaken("disconnect")), (1, 0));
}

#[tokio::test]
async fn control_a_large_connect_costs_memory_where_it_may_be_large() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(UNBOUNDED).with(MUTE).await;

    let grown = connect(&gate, 30).await;

    assert!(grown > 45, "{grown} MB");
}

/// Clients of a service that is down send so many packets of seven bytes each, until the gate shows at most so many megabytes
/// as kept: how much that is, how much the gate grew at its peak, and how much its heap has grown, in megabytes.
async fn queue_up(bounds: &str, most: u64, clients: usize, packets: usize) -> [u64; 3] {
    let mut service = Service::start().await;
    // However long the gate takes to read it all.
    let hold = format!("{MUTE}\nsession.hold = \"10m\"");
    let settings = "rate_limit = []\nsession.queue_packets = 10000000\nsession.queue_bytes = \"1GB\"";
    let gate = Gate::before(&service).with(settings).with(&hold).with(bounds).await;
    let good = gate.client(token("ada")).await;
    let mut attackers = Vec::new();
    for _ in 0..clients {
        attackers.push(Raw::socketio(gate.address).await);
    }
    service.kill().await;
    gate.counts(clients as f64 + 1.0, "tidegate_held_sessions", &[]).await;
    let [before, heap] = ["VmHWM", "RssAnon"].map(|name| gate.process_status(name));
    let packet = masked(TEXT, b"42[\"a\"]");
    let many = packet.repeat(packets);
    let mut kept = 0;
    for (sent, raw) in (1..).zip(&mut attackers) {
        let _ = raw.try_send(&many).await;
        kept = eventually("all that was sent so far has been read", async || {
            let metrics = gate.metrics().await;
            let ended = metrics.sum("websocket_disconnections_total", &[]);
            let waits = metrics.sum("tidegate_queue_packets", &[]);
            let kept = metrics.sum("tidegate_queue_bytes", &[]) as u64 / 1_000_000;
            (kept <= most && waits >= (f64::from(sent) - ended) * packets as f64).then_some(kept)
        })
        .await;
    }
    assert_eq!(good.untaken("disconnect"), 0);
    [kept, grew_by(&gate, before), gate.process_status("RssAnon").saturating_sub(heap) / 1000]
}

#[tokio::test]
async fn small_packets_that_wait_are_bounded_by_what_they_take() {
    let [_, grown, _] = queue_up("limits.session_memory = \"20MB\"", 20, 10, 50_000).await;
    assert!(grown < 60, "{grown} MB");
}

#[tokio::test]
async fn control_what_is_shown_of_small_packets_is_what_they_take() {
    // The peak counts pages of the program too, which a machine short of memory takes back meanwhile.
    let [kept, _, grown] = queue_up("limits.session_memory = \"100GB\"", u64::MAX, 10, 50_000).await;
    assert!(grown > 40, "{grown} MB");
    assert!(kept * 10 > grown * 7, "{kept} MB shown, {grown} MB taken");
}
