//! A service that is killed again and again under load.

use std::{collections::HashMap, env, fs, time::Duration};

use tokio::time::sleep;

use super::held;
use crate::support::{Gate, Service, eventually, json, token};

/// With `scripts/test --long` it takes two minutes, and is what was promised; without, fifteen seconds.
struct Size {
    clients: u32,
    rate: u32,
    rounds: u32,
    up: Duration,
    down: Duration,
}

fn size() -> Size {
    let seconds = Duration::from_secs;
    if env::var_os("TIDEGATE_LONG").is_some() {
        Size { clients: 200, rate: 5, rounds: 10, up: seconds(5), down: seconds(5) }
    } else {
        Size { clients: 60, rate: 5, rounds: 3, up: seconds(2), down: seconds(1) }
    }
}

#[tokio::test]
async fn no_client_of_a_service_that_is_killed_again_and_again_is_disconnected() {
    let Size { clients, rate, rounds, up, down } = size();
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let mut service = Service::with(&[("JOURNAL", journal.to_str().unwrap())]).await;
    let gate =
        Gate::before(&service).with("rate_limit = []\nlimits.connections_per_ip = 1000\nsession.hold = \"5m\"").await;
    let driver = gate.driver().await;
    let with = json!({
        "url": gate.url(), "token": token("ada"), "clients": clients, "rate": rate,
    });
    let emitting = tokio::spawn({
        let driver = driver.clone();
        async move { driver.call("steady", with).await.unwrap() }
    });
    eventually("all speak", async || (service.received("step").await >= u64::from(2 * clients)).then_some(())).await;
    for _ in 0..rounds {
        sleep(up).await;
        service.kill().await;
        held(&gate, clients).await;
        sleep(down).await;
        eventually("events of all clients wait", async || {
            (gate.metrics().await.sum("tidegate_queue_packets", &[]) >= f64::from(clients)).then_some(())
        })
        .await;
        service.restart().await;
        held(&gate, 0).await;
    }
    sleep(up).await;
    driver.call("endSteady", json!({})).await.unwrap();
    let total = emitting.await.unwrap();

    assert_eq!((&total["disconnects"], &total["wrong"]), (&json!([]), &json!([])), "{total}");
    assert_eq!((&total["lost"], &total["doubled"]), (&json!(0), &json!(0)), "{total}");
    let (emitted, acked) = (total["emitted"].as_u64().unwrap(), total["acked"].as_u64().unwrap());
    assert_eq!(acked + total["failed"].as_u64().unwrap(), emitted, "{total}");
    // What fails was on its way when the service went: on a busy machine that may be much, but none of what waited.
    gate.counts(0.0, "tidegate_queue_dropped_total", &[]).await;
    assert_eq!(total["connects"], json!(clients * (rounds + 1)), "each return is announced once: {total}");

    let journal = fs::read_to_string(&journal).unwrap();
    let mut newest: HashMap<&str, u64> = HashMap::new();
    for line in journal.lines() {
        let (client, seq) = line.split_once(' ').unwrap();
        let seq = seq.parse().unwrap();
        let before = newest.insert(client, seq);
        assert!(before.is_none_or(|before| before < seq), "client {client}: {seq} after {before:?}");
    }
    assert!(journal.lines().count() as u64 >= acked, "what was acknowledged had arrived");
}
