//! Requests that stand still, over HTTP/2, where one connection carries many.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::support::{
    Gate, Pki, Raw, Service, eventually, pki::SecretFolder, scripted::Scripted, tls::TlsClient, token, waits_during,
};

/// What one attacker opens.
const CONNECTIONS: usize = 8;
const STREAMS: usize = 60;

/// Uploads to a service that never answers. Returns how many of its connections they hold, and how many were refused.
async fn uploads_without_end(settings: &str) -> (usize, usize) {
    let (pki, service) = (Pki::new(), Scripted::start("").await);
    let folder = SecretFolder::of(&pki.localhost(1));
    let setup = Gate::before_url(&service.url()).over_tls(&pki, &folder).with(settings);
    let gate = setup.await;
    let mut uploads = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let http2 = TlsClient::new(&pki).http2(gate.address).await;
        for _ in 0..STREAMS {
            let mut http2 = http2.clone();
            uploads.spawn(async move { http2.post_nothing("/upload").await.status });
        }
    }
    eventually("every upload holds a connection or is refused", async || {
        let refused = gate.metrics().await.sum("tidegate_refused_total", &[("reason", "limit.requests_per_ip")]);
        let refused = refused as usize;
        (service.connections() + refused >= CONNECTIONS * STREAMS).then_some((service.connections(), refused))
    })
    .await
}

#[tokio::test]
async fn an_address_holds_only_its_share_of_the_service() {
    let (held, refused) = uploads_without_end("").await;
    assert_eq!((held, refused), (100, CONNECTIONS * STREAMS - 100), "limits.requests_per_ip");

    let control = uploads_without_end("limits.requests_per_ip = 10000\nlimits.requests = 10000").await;
    assert_eq!(control, (CONNECTIONS * STREAMS, 0), "without the limit it holds all that it asks for");
}

#[tokio::test]
async fn over_the_limit_a_client_hears_when_to_come_again() {
    let (pki, service) = (Pki::new(), Scripted::start("").await);
    let folder = SecretFolder::of(&pki.localhost(1));
    for (settings, status, reason) in
        [("limits.requests_per_ip = 1", 429, "limit.requests_per_ip"), ("limits.requests = 1", 503, "limit.requests")]
    {
        let gate = Gate::before_url(&service.url()).over_tls(&pki, &folder).with(settings).await;
        let (before, mut http2) = (service.connections(), TlsClient::new(&pki).http2(gate.address).await);
        let mut held = http2.clone();
        let held = tokio::spawn(async move { held.post_nothing("/upload").await });
        eventually("it holds a connection", async || (service.connections() > before).then_some(())).await;

        let refused = http2.request("GET", "/", &[], "").await.unwrap();
        assert_eq!((refused.status, refused.header("retry-after")), (status, Some("5")));
        assert_eq!(refused.json()["code"], reason);
        gate.log().wait(&[reason, "127.0.0.1"]).await;
        let over_http1 = TlsClient::new(&pki).http1(gate.address, "GET", "/", &[], "").await.unwrap();
        assert_eq!(over_http1.status, status, "whatever the version");
        held.abort();
    }
}

/// A byte a second is progress, and no reason to wait for ever.
#[tokio::test]
async fn a_slow_upload_ends_over_both_versions_and_others_are_answered_meanwhile() {
    let (pki, service) = (Pki::new(), Service::start().await);
    let folder = SecretFolder::of(&pki.localhost(1));
    let gate = Gate::before(&service).over_tls(&pki, &folder).with("rate_limit = []").await;
    let plain = Gate::before(&service).await;
    let good = gate.client(token("ada")).await;
    let pause = Duration::from_secs(1);

    let over_http2 = async {
        let mut uploads = JoinSet::new();
        let http2 = TlsClient::new(&pki).http2(gate.address).await;
        for _ in 0..STREAMS {
            let mut http2 = http2.clone();
            uploads.spawn(async move { http2.post_slowly("/sink", pause).await.map(|reply| reply.status) });
        }
        uploads.join_all().await
    };
    let over_http1 = async {
        let mut raw = Raw::connect(plain.address).await;
        raw.send(b"POST /sink HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\na").await;
        raw.status().await
    };
    let (waits, (http2, http1)) = waits_during(&good, async { tokio::join!(over_http2, over_http1) }).await;

    assert_eq!(http1, 408);
    assert!(http2.iter().all(|status| *status == Ok(408)), "{http2:?}");
    gate.counts(STREAMS as f64, "tidegate_refused_total", &[("stage", "request"), ("reason", "body_timeout")]).await;
    plain.counts(1.0, "tidegate_refused_total", &[("stage", "request"), ("reason", "body_timeout")]).await;
    waits.assert_prompt();
}
