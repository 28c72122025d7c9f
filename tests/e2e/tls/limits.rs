//! Handshakes are bounded, and tickets spare them.

use std::net::Ipv4Addr;

use futures_util::future::join_all;

use crate::support::{Gate, Pki, Raw, Service, eventually, json, pki::SecretFolder, tls::TlsClient, token};

#[tokio::test]
async fn an_address_shakes_hands_only_so_often_and_others_as_ever() {
    const ATTEMPTS: usize = 40;
    let (pki, service) = (Pki::new(), Service::start().await);
    let folder = SecretFolder::of(&pki.localhost(1));
    let gate = Gate::before(&service).over_tls(&pki, &folder).with("limits.handshakes_per_ip = 1").await;
    let visitor = TlsClient::new(&pki);

    // At once, as a busy machine may take longer for each than it takes until one more is allowed.
    let serials = join_all((0..ATTEMPTS).map(|_| visitor.serial(gate.address))).await;
    let admitted = serials.iter().filter(|serial| serial.is_ok()).count();
    assert!((4..ATTEMPTS).contains(&admitted), "four seconds' worth at once, not {admitted}");
    let limited = (ATTEMPTS - admitted) as f64;
    gate.counts(limited, "tidegate_tls_handshakes_total", &[("result", "rate_limited")]).await;

    let other = Raw::connect_from(Ipv4Addr::new(127, 0, 0, 2), gate.address).await;
    visitor.over(other.into_stream()).await.unwrap();
}

#[tokio::test]
async fn a_silent_connection_is_closed_and_keeps_no_other_out() {
    const SILENT: usize = 600;
    let (pki, service) = (Pki::new(), Service::start().await);
    let folder = SecretFolder::of(&pki.localhost(1));
    let limits = "limits.connections_per_ip = 2000\nlimits.handshakes_per_ip = 0\nlisten.workers = 1";
    let gate = Gate::before(&service).over_tls(&pki, &folder).with(limits).await;
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        silent.push(Raw::connect(gate.address).await);
    }

    let client = gate.client(token("ada")).await;
    assert_eq!(client.ask("echo", json!([1])).await, 1);
    for raw in &mut silent {
        assert_eq!(raw.rest().await, "");
    }
    eventually("each is counted", async || {
        let metrics = gate.metrics().await;
        let count = |result| metrics.sum("tidegate_tls_handshakes_total", &[("result", result)]);
        let enough = count("displaced") >= (SILENT - 512) as f64;
        (enough && count("displaced") + count("timeout") == SILENT as f64).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_comes_back_resumes() {
    let (pki, service) = (Pki::new(), Service::start().await);
    let mut folder = SecretFolder::of(&pki.localhost(1));
    let gate = Gate::before(&service).over_tls(&pki, &folder).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let visitor = TlsClient::with(&pki, &[version], None);
        for _ in 0..2 {
            assert_eq!(visitor.http1(gate.address, "GET", "/headers", &[], "").await.unwrap().status, 200);
        }
    }
    gate.counts(2.0, "tidegate_tls_handshakes_total", &[("result", "resumed")]).await;

    // A new certificate makes nobody begin anew.
    let visitor = TlsClient::new(&pki);
    assert_eq!(visitor.http1(gate.address, "GET", "/headers", &[], "").await.unwrap().status, 200);
    folder.put(&pki.localhost(2));
    gate.log().wait(&["new certificate for localhost"]).await;
    assert_eq!(visitor.http1(gate.address, "GET", "/headers", &[], "").await.unwrap().status, 200);
    gate.counts(3.0, "tidegate_tls_handshakes_total", &[("result", "resumed")]).await;
}
