//! Many sessions go back to a service at once, and it is not overrun.

use std::{
    env,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::held;
use crate::support::{Gate, Raw, Service, eventually, json};

/// Waits for the first session that has the service again. Returns a moment before that, however long this machine lets it wait
/// between two looks.
async fn first_is_back(gate: &Gate) -> Instant {
    let dials = async || gate.metrics().await.sum("tidegate_upstream_dials_total", &[("result", "ok")]);
    let before = dials().await;
    let mut had_not = Instant::now();
    loop {
        let asked = Instant::now();
        if dials().await > before {
            return had_not;
        }
        had_not = asked;
        sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until no session is held, for as long as some go back.
async fn all_are_back(gate: &Gate, sessions: u32) {
    let mut left = f64::from(sessions);
    while left > 0.0 {
        left = eventually("one more goes back", async || {
            Some(gate.metrics().await.sum("tidegate_held_sessions", &[])).filter(|now| *now < left)
        })
        .await;
    }
}

#[tokio::test]
async fn a_thousand_sessions_go_back_at_the_pace() {
    let sessions: u32 = if env::var_os("TIDEGATE_LONG").is_some() { 5000 } else { 1000 };
    let pace = 400;
    let mut service = Service::without_auth().await;
    // A dial that a service on a busy machine answers late is not given up and made again, and nobody is given up meanwhile.
    let settings = format!(
        "limits.connections_per_ip = 10000\nlimits.connections = 10000\nsession.pace = {pace}\n\
         upstream.connect_timeout = \"1m\"\nsession.hold = \"5m\"\nsocketio.ping_interval = \"10m\""
    );
    let gate = Gate::before(&service).with(&settings).await;
    let mut clients = Vec::new();
    for _ in 0..sessions {
        clients.push(Raw::socketio(gate.address).await);
    }
    service.kill().await;
    held(&gate, sessions).await;
    for client in &mut clients {
        client.say(&format!("42[\"silence\",\"{}\"]", "x".repeat(500))).await;
    }
    gate.counts(f64::from(sessions), "tidegate_queue_packets", &[]).await;
    let rss_mb = gate.process_status("VmRSS") / 1000;
    assert!(rss_mb < 30 + u64::from(sessions) / 50, "{rss_mb} MB");

    let (began, ()) = tokio::join!(first_is_back(&gate), service.restart());
    all_are_back(&gate, sessions).await;
    let took = began.elapsed().as_secs_f64();

    let paced = f64::from(sessions) / f64::from(pace);
    // The pace is kept by the clock of the gate, which ticks ten times a second. That no second has more than its share, nor
    // less, is a test of the pacer: here a service that was kept waiting by its machine would see many at once.
    assert!(took > paced - 0.5, "faster than the pace: {took} s");
    for client in &mut clients {
        let heard = client.frame().await;
        assert!(heard.text().starts_with("40{"), "it hears of the new service, and of nothing before: {heard:?}");
    }
    let seen = service.seen().await;
    assert_eq!((&seen["received"]["silence"], &seen["faults"]), (&json!(sessions), &json!([])));
    assert_eq!(seen["opened"].as_array().unwrap().len(), sessions as usize);
}
