//! Many sessions go back to a service at once, and it is not overrun.

use std::{
    env,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::held;
use crate::support::{Gate, Raw, Service, json};

/// Waits for the first session that has the service again. Returns a moment before that.
async fn first_is_back(gate: &Gate) -> Instant {
    let dials = async || gate.metrics().await.sum("tidegate_upstream_dials_total", &[("result", "ok")]);
    let before = dials().await;
    loop {
        let asked = Instant::now();
        if dials().await > before {
            return asked;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_thousand_sessions_go_back_at_the_pace() {
    let sessions: u32 = if env::var_os("TIDEGATE_LONG").is_some() { 5000 } else { 1000 };
    let pace = 400;
    let mut service = Service::without_auth().await;
    // A dial that a service on a busy machine answers late is not given up and made again.
    let settings = format!(
        "limits.connections_per_ip = 10000\nlimits.connections = 10000\nsession.pace = {pace}\n\
         upstream.connect_timeout = \"20s\""
    );
    let gate = Gate::before(&service).with(&settings).await;
    let mut clients = Vec::new();
    let began = Instant::now();
    for _ in 0..sessions {
        clients.push(Raw::socketio(gate.address).await);
    }
    // The control: what as many dials cost this machine where nothing holds them back.
    let unpaced = began.elapsed().as_secs_f64();
    service.kill().await;
    held(&gate, sessions).await;
    for client in &mut clients {
        client.say(&format!("42[\"silence\",\"{}\"]", "x".repeat(500))).await;
    }
    gate.counts(f64::from(sessions), "tidegate_queue_packets", &[]).await;
    let rss_mb = gate.process_status("VmRSS") / 1000;
    assert!(rss_mb < 30 + u64::from(sessions) / 50, "{rss_mb} MB");

    let (began, ()) = tokio::join!(first_is_back(&gate), service.restart());
    held(&gate, 0).await;
    let took = began.elapsed().as_secs_f64();

    let paced = f64::from(sessions) / f64::from(pace);
    // The pace is kept by the clock of the gate, which ticks ten times a second. That no second has more than its share is
    // a test of the pacer: here a service that was kept waiting by its machine would see many at once.
    assert!(took > paced - 0.5, "faster than the pace: {took} s");
    assert!(took < paced + 5.0 + 3.0 * unpaced, "{took} s; without a pace {unpaced} s");
    for client in &mut clients {
        let mut heard = client.frame().await.text().to_owned();
        while heard == "2" {
            heard = client.frame().await.text().to_owned();
        }
        assert!(heard.starts_with("40{"), "it hears of the new service, and of nothing but pings before: {heard}");
    }
    let seen = service.seen().await;
    assert_eq!((&seen["received"]["silence"], &seen["faults"]), (&json!(sessions), &json!([])));
    assert_eq!(seen["opened"].as_array().unwrap().len(), sessions as usize);
}
