//! Certificates are replaced under open connections.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{
    Gate, Pki, Service, Way, eventually, json,
    pki::{Request, SecretFolder},
    tls::TlsClient,
    token,
};

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_disturbs_no_other() {
    const CLIENTS: usize = 30;
    const SWAPS: u64 = 5;
    let (pki, service) = (Pki::new(), Service::start().await);
    let mut folder = SecretFolder::of(&pki.localhost(1));
    let gate =
        Gate::before(&service).over_tls(&pki, &folder).with("limits.handshakes_per_ip = 0\nrate_limit = []").await;
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        clients.push(gate.client_by(Way::ALL[n % 3], token(&format!("user-{n}"))).await);
    }

    let visitor = TlsClient::new(&pki).forgetful();
    for serial in 2..2 + SWAPS {
        folder.put(&pki.localhost(serial));
        let all = clients.iter().map(|client| client.ask("echo", json!([serial])));
        for answer in futures_util::future::join_all(all).await {
            assert_eq!(answer, serial);
        }
        eventually("the new certificate is shown", async || {
            (visitor.serial(gate.address).await == Ok(serial)).then_some(())
        })
        .await;
    }

    for client in &clients {
        assert_eq!(client.ask("echo", json!(["still here"])).await, "still here");
        assert_eq!(client.untaken("disconnect"), 0);
    }
    gate.counts(0.0, "websocket_disconnections_total", &[]).await;
    gate.counts(1.0, "tidegate_certificate_reload_success", &[]).await;
}

#[tokio::test]
async fn a_bad_pair_changes_nothing_until_it_is_repaired() {
    let (pki, service) = (Pki::new(), Service::start().await);
    let mut folder = SecretFolder::of(&pki.localhost(1));
    let gate = Gate::before(&service).over_tls(&pki, &folder).await;
    let visitor = TlsClient::new(&pki).forgetful();
    let mut serial = 1;
    for bad in ["mixed", "expired", "no certificate"] {
        let mut pair = pki.localhost(99);
        match bad {
            "mixed" => pair.private_key = pki.localhost(98).private_key,
            "expired" => pair = pki.issue(&Request::server(&["localhost"]).serial(99).expired()),
            _ => pair.certificate = String::new(),
        }
        folder.put(&pair);

        gate.counts(0.0, "tidegate_certificate_reload_success", &[]).await;
        gate.log().wait(&["the old one stays in force", "tls.crt"]).await;
        assert_eq!(visitor.serial(gate.address).await, Ok(serial), "{bad}");

        serial += 1;
        folder.put(&pki.localhost(serial));
        gate.counts(1.0, "tidegate_certificate_reload_success", &[]).await;
        assert_eq!(visitor.serial(gate.address).await, Ok(serial), "{bad}");
    }
    gate.signal("HUP");
    gate.log().wait(&["configuration reloaded"]).await;
    assert_eq!(visitor.serial(gate.address).await, Ok(serial));
}

#[tokio::test]
async fn a_configuration_that_is_broken_at_the_same_time_keeps_no_certificate_back() {
    let (pki, service) = (Pki::new(), Service::start().await);
    let mut folder = SecretFolder::of(&pki.localhost(1));
    let mut gate = Gate::before(&service).over_tls(&pki, &folder).await;
    let visitor = TlsClient::new(&pki).forgetful();

    folder.put(&pki.localhost(2));
    gate.change("limits.no_such_key = 1");
    gate.signal("HUP");

    gate.log().wait(&["was not reloaded", "no_such_key"]).await;
    eventually("the new certificate", async || (visitor.serial(gate.address).await == Ok(2)).then_some(())).await;
}

#[tokio::test]
async fn one_that_was_not_renewed_keeps_no_other_from_being_replaced() {
    let (pki, service) = (Pki::new(), Service::start().await);
    let mut folder = SecretFolder::of(&pki.localhost(1));
    let brief = pki.issue(&Request::server(&["brief.test"]).ending_in(Duration::from_secs(20)));
    let (certificate, private_key) =
        (folder.file("brief.crt", &brief.certificate), folder.file("brief.key", &brief.private_key));
    let further = format!("tls.certificates = [{{ certificate = {certificate:?}, private_key = {private_key:?} }}]");
    let gate = Gate::before(&service).over_tls(&pki, &folder).with(&further).await;

    let metrics = gate.metrics().await;
    let end = metrics.sum("tidegate_certificate_not_after_seconds", &[("name", "brief.test")]);
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    eventually("it has expired", async || (now() > end + 1.0).then_some(())).await;
    folder.put(&pki.localhost(2));
    gate.log().wait(&["new certificate for localhost"]).await;
    assert_eq!(TlsClient::new(&pki).serial(gate.address).await, Ok(2));
    assert!(gate.log().containing("new certificate for brief.test").is_empty());
}

#[tokio::test]
async fn a_key_that_is_gone_is_told_and_the_old_one_stays_until_it_is_back() {
    let (pki, service) = (Pki::new(), Service::start().await);
    let folder = SecretFolder::of(&pki.localhost(1));
    let gate = Gate::before(&service).over_tls(&pki, &folder).await;
    let (key, away) = (folder.path().join("tls.key"), folder.path().join("away"));

    std::fs::rename(&key, &away).unwrap();
    gate.log().wait(&["the old one stays in force", "tls.key cannot be read"]).await;
    gate.counts(0.0, "tidegate_certificate_reload_success", &[]).await;
    assert_eq!(TlsClient::new(&pki).forgetful().serial(gate.address).await, Ok(1));

    std::fs::rename(&away, &key).unwrap();
    gate.counts(1.0, "tidegate_certificate_reload_success", &[]).await;
}
