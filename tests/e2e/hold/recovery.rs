//! A service with connection state recovery, and a network between it and the gate that breaks.

use std::time::Duration;

use super::held;
use crate::support::{Cable, Client, Gate, Service, json, token};

async fn behind_a_cable(variables: &[(&str, &str)]) -> (Service, Cable, Gate, Client) {
    let service = Service::with(variables).await;
    let cable = Cable::to(&service).await;
    let gate = Gate::before_url(&cable.url()).with("rate_limit = []").await;
    let client = gate.client(token("ada")).await;
    (service, cable, gate, client)
}

#[tokio::test]
async fn a_client_that_the_service_knows_still_notices_nothing() {
    let (service, cable, gate, client) = behind_a_cable(&[("RECOVERY", "on")]).await;
    service.emit("ada", "tutor:message", json!([0])).await;
    client.next("tutor:message").await;
    cable.cut();
    held(&gate, 1).await;
    service.disconnection().await;
    for n in 1..=50 {
        service.emit("ada", "tutor:message", json!([n])).await;
    }
    client.send("silence", json!(["meanwhile"])).await;
    cable.repair();

    for n in 1..=50 {
        assert_eq!(client.next("tutor:message").await[0], n);
    }
    assert_eq!(client.ask("echo", json!([1])).await, 1);
    service.emit("ada", "tutor:message", json!([51])).await;
    assert_eq!(client.next("tutor:message").await[0], 51);
    for event in ["connect", "disconnect", "tutor:message"] {
        assert_eq!(client.untaken(event), 0, "{event}");
    }
    assert_eq!(service.received("silence").await, 1);
}

#[tokio::test]
async fn without_recovery_the_service_knows_it_no_more_and_the_client_hears_that() {
    let (service, cable, gate, client) = behind_a_cable(&[]).await;
    cable.cut();
    held(&gate, 1).await;
    service.disconnection().await;
    service.emit("ada", "tutor:message", json!(["missed"])).await;
    cable.repair();

    client.next("connect").await;
    service.emit("ada", "tutor:message", json!(["heard"])).await;
    assert_eq!(client.next("tutor:message").await, json!(["heard"]));
    assert_eq!(client.untaken("disconnect"), 0);
}

#[tokio::test]
async fn half_a_binary_packet_of_the_service_is_not_passed_on() {
    for recovery in ["off", "on"] {
        let (service, cable, gate, client) = behind_a_cable(&[("RECOVERY", recovery)]).await;
        service.emit("ada", "tutor:message", json!(["before"])).await;
        client.next("tutor:message").await;
        cable.cut_after(50_000);
        service.emit("ada", "content:adapted", json!([{ "$binary": "AAEC".repeat(25_000) }])).await;
        held(&gate, 1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(client.untaken("content:adapted"), 0);
        cable.repair();

        // Who recovers has missed it, and gets it.
        if recovery == "on" {
            assert_eq!(client.next("content:adapted").await[0]["$binary"], "AAEC".repeat(25_000));
        }
        assert_eq!(client.ask("echo", json!([1])).await, 1);
        service.emit("ada", "tutor:message", json!(["after"])).await;
        assert_eq!(client.next("tutor:message").await[0], "after");
        assert_eq!((client.untaken("disconnect"), client.untaken("content:adapted")), (0, 0));
    }
}
