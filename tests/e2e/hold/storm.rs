//! Many sessions go back to a service at once, and it is not overrun.

use std::{env, time::Instant};

use super::held;
use crate::support::{Gate, Raw, Service, json};

#[tokio::test]
async fn a_thousand_sessions_go_back_at_the_pace() {
    let sessions: u32 = if env::var_os("TIDEGATE_LONG").is_some() { 5000 } else { 1000 };
    let pace = 400;
    let mut service = Service::without_auth().await;
    let settings = format!("limits.connections_per_ip = 10000\nlimits.connections = 10000\nsession.pace = {pace}");
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

    service.restart().await;
    let began = Instant::now();
    held(&gate, 0).await;
    let took = began.elapsed().as_secs_f64();

    assert!(took < f64::from(sessions) / f64::from(pace) + 5.0, "{took} s");
    for client in &mut clients {
        let mut heard = client.frame().await.text().to_owned();
        while heard == "2" {
            heard = client.frame().await.text().to_owned();
        }
        assert!(heard.starts_with("40{"), "it hears of the new service, and of nothing but pings before: {heard}");
    }
    let seen = service.seen().await;
    assert_eq!((&seen["received"]["silence"], &seen["faults"]), (&json!(sessions), &json!([])));
    let opened: Vec<u64> = seen["opened"].as_array().unwrap().iter().map(|at| at.as_u64().unwrap()).collect();
    assert_eq!(opened.len(), sessions as usize);
    let busiest = opened.iter().map(|from| opened.iter().filter(|at| (*from..from + 1000).contains(at)).count()).max();
    // The clock of the gate ticks ten times a second.
    assert!(busiest.unwrap() <= pace as usize * 12 / 10, "{busiest:?} in one second");
}
