//! Sidecar mode: a pod that is replaced leaves in order, and its clients go on with another.

use super::{
    ADMIN, CLIENTS,
    crowd::{Crowd, acknowledged},
    replica_at, sidecar,
};
use crate::support::{
    json,
    podman::{
        Pods,
        balancer::{Affinity, Balancer},
    },
};

const CLIENTS_IN_ALL: usize = 16;
const RATE: u32 = 10;
/// A client of a pod that leaves is back within five seconds: a stock client has tried twice by then, after 1.5 s and 3 s more at
/// the latest. How long its second try takes on a busy machine is not the gate's doing.
const ATTEMPTS: u64 = 2;

#[tokio::test]
async fn clients_of_a_pod_that_leaves_are_back_on_another_within_five_seconds_and_lose_no_acknowledged_event() {
    let Some(pods) = Pods::start().await else { return };
    let manifests = sidecar(&pods, &json!({}));
    let ips = [(); 3].map(|()| pods.reserve());
    let a = replica_at(&pods, ips[0], &manifests, "a").await;
    let b = replica_at(&pods, ips[1], &manifests, "b").await;
    let ready = Some(("/readyz", ADMIN));
    let endpoints = ips.map(|ip| (ip, CLIENTS));
    let balancer = Balancer::start(&pods, [127, 0, 0, 1].into(), Affinity::Client, &endpoints, ready).await;
    let mut crowd = Crowd::gather(&balancer.url(), &["ada", "bob"], CLIENTS_IN_ALL / 2).await;
    let of_a = super::figure(&a, "websocket_connections_total", &[]).await as usize;
    assert!(of_a > 0 && of_a < CLIENTS_IN_ALL, "both pods have clients: {of_a} of {CLIENTS_IN_ALL} are on one");
    crowd.steady(CLIENTS_IN_ALL, RATE).await;

    let c = replica_at(&pods, ips[2], &manifests, "c").await;
    let left = pods.delete(&a).await;
    crowd.goes_on().await;
    let clients = crowd.end().await;

    println!("{left:?}");
    let (drained, answer) = left.hook("tidegate");
    assert_eq!(answer, 0, "`tidegate drain` ends well: {left:?}");
    let (held, answer) = left.hook("app");
    assert_eq!(answer, 200, "/drained says that its clients have left: {left:?}");
    let ((app, app_code), (gate, gate_code)) = (left.end("app"), left.end("tidegate"));
    assert!(held <= app && app <= gate && drained <= gate, "clients leave, then the service, then the gate: {left:?}");
    assert_eq!((app_code, gate_code), (0, 0), "both end well: {left:?}");

    let (moved, stayed): (Vec<_>, Vec<_>) = clients.iter().partition(|client| client["reasons"] != json!([]));
    assert_eq!(moved.len(), of_a, "clients of the other pod notice nothing: {clients:?}");
    let mut returns = vec![];
    for client in &moved {
        let times = client["returns"].as_array().unwrap();
        assert_eq!((times.len(), &client["connected"]), (1, &json!(true)), "{client}");
        returns.push(times[0].as_u64().unwrap());
        assert!(client["attempts"][0].as_u64().is_some_and(|attempts| attempts <= ATTEMPTS), "{client}");
        assert_eq!(client["wrong"], json!([]), "{client}");
    }
    for client in &stayed {
        assert_eq!((&client["unanswered"], &client["wrong"]), (&json!(0), &json!([])), "{client}");
    }
    let acked = acknowledged(&pods, &[(&a, "app"), (&b, "app"), (&c, "app")], &clients).await;
    let unanswered: u64 = moved.iter().map(|client| client["unanswered"].as_u64().unwrap()).sum();
    returns.sort_unstable();
    println!(
        "{of_a} clients moved, with {} in their own words, and were absent for {returns:?} ms; {acked} events were acknowledged, \
         and {unanswered} were on their way when their client was disconnected",
        moved[0]["reasons"]
    );
}
