//! TLS at the gate: who sees which certificate, when it changes, and what a client may be asked for.

mod client_auth;
mod http2;
mod limits;
mod replace;

use crate::support::{
    Gate, Pki, Service, Way, json,
    pki::{Request, SecretFolder},
    tls::TlsClient,
    token,
    token::now,
};

#[tokio::test]
async fn a_stock_client_talks_with_the_service_over_tls() {
    let (pki, service) = (Pki::new(), Service::start().await);
    let folder = SecretFolder::of(&pki.localhost(1));
    let gate = Gate::before(&service).over_tls(&pki, &folder).await;
    for way in Way::ALL {
        service.forget().await;

        let client = gate.client_by(way, token("ada")).await;
        let answer = client.ask("agent:learning", json!([{ "action": "process_answer", "answer": "42" }])).await;
        service.emit("ada", "tutor:message", json!([{ "text": "∴".repeat(30_000) }])).await;

        assert_eq!(answer, json!({ "success": true, "correct": true }), "{way:?}");
        assert_eq!(client.next("tutor:message").await[0]["text"].as_str().unwrap().chars().count(), 30_000, "{way:?}");
        client.travels_by(way.transport()).await;
        let seen = service.seen().await;
        assert_eq!(seen["upgrades"][0]["headers"]["x-forwarded-proto"], "https", "{way:?}");
        client.disconnect().await;
    }
    let ends = gate.metrics().await.sum("tidegate_certificate_not_after_seconds", &[("name", "localhost")]);
    assert!((0.0..=86_400.0).contains(&(ends - now() as f64)), "{ends}");
}

#[tokio::test]
async fn a_name_finds_its_certificate_and_another_name_the_first_one_or_none() {
    let (pki, service) = (Pki::new(), Service::start().await);
    let first = SecretFolder::of(&pki.localhost(1));
    let other = SecretFolder::of(&pki.issue(&Request::server(&["other.test"]).serial(2)));
    let tables = format!(
        "[[tls.certificates]]\ncertificate = {:?}\nprivate_key = {:?}",
        other.path().join("tls.crt"),
        other.path().join("tls.key")
    );
    let client = TlsClient::new(&pki);
    let gate = Gate::before(&service).over_tls(&pki, &first).with(&tables).await;

    assert_eq!(client.serial(gate.address).await, Ok(1));
    assert_eq!(client.clone().asking_for("other.test").serial(gate.address).await, Ok(2));
    let foreign = client.clone().asking_for("foreign.test").serial(gate.address).await.unwrap_err();
    assert!(foreign.contains("not valid for name"), "it is shown the first one: {foreign}");

    let strict =
        Gate::before(&service).over_tls(&pki, &first).with("tls.unknown_name = \"refuse\"").with(&tables).await;
    assert_eq!(client.clone().asking_for("other.test").serial(strict.address).await, Ok(2));
    let foreign = client.asking_for("foreign.test").serial(strict.address).await.unwrap_err();
    assert!(foreign.contains("alert"), "{foreign}");
    strict.counts(1.0, "tidegate_tls_handshakes_total", &[("result", "failed")]).await;
}

#[tokio::test]
async fn versions_below_the_oldest_are_refused() {
    let (pki, service) = (Pki::new(), Service::start().await);
    let folder = SecretFolder::of(&pki.localhost(1));
    let tls12 = TlsClient::with(&pki, &[&rustls::version::TLS12], None);
    let tls13 = TlsClient::with(&pki, &[&rustls::version::TLS13], None);

    let gate = Gate::before(&service).over_tls(&pki, &folder).await;
    assert_eq!((tls12.serial(gate.address).await, tls13.serial(gate.address).await), (Ok(1), Ok(1)));
    let strict = Gate::before(&service).over_tls(&pki, &folder).with("tls.min_version = \"1.3\"").await;
    assert!(tls12.serial(strict.address).await.unwrap_err().contains("ProtocolVersion"));
    assert_eq!(tls13.serial(strict.address).await, Ok(1));
}

#[tokio::test]
async fn what_cannot_be_used_is_told_and_nothing_is_listened_on() {
    let (pki, service) = (Pki::new(), Service::start().await);
    let (good, other) = (SecretFolder::of(&pki.localhost(1)), SecretFolder::of(&pki.localhost(2)));
    let expired = SecretFolder::of(&pki.issue(&Request::server(&["localhost"]).expired()));
    let path = |folder: &SecretFolder, name: &str| format!("{:?}", folder.path().join(name));
    for (change, file, fix) in [
        (format!("tls.private_key = {}", path(&other, "tls.key")), "tls.key", "both files of the same pair"),
        (format!("tls.certificate = {:?}", good.path()), "", "is a directory; name the PEM file in it"),
        (format!("tls.certificate = {}", path(&good, "none.crt")), "none.crt", "cannot be read"),
        (format!("tls.client_ca = {}", path(&good, "tls.key")), "tls.key", "holds no certificate"),
        ("tls.forward_client = { x-client = \"cn\" }".to_owned(), "", "tls.forward_client needs tls.client_ca"),
        (
            format!("tls.client_ca = {}\ntls.forward_client = {{ content-length = \"cn\" }}", path(&good, "tls.crt")),
            "content-length",
            "a meaning of its own",
        ),
        (
            "tls.forward_client = { X-User = \"cn\" }\nauth.forward_claims = { x-user = \"sub\" }".to_owned(),
            "",
            "give one of them another name",
        ),
        (
            format!("tls.certificate = {}\ntls.private_key = {}", path(&expired, "tls.crt"), path(&expired, "tls.key")),
            "tls.crt",
            "renew it",
        ),
    ] {
        let setup = Gate::before(&service).over_tls(&pki, &good).with(&change);
        let checked = setup.cli(&["check", "FILE"]).await;
        assert!(checked.stderr.contains("tidegate.toml:"), "the line is named: {}", checked.stderr);
        assert_eq!(checked.code, Some(2), "{change}");
        assert!(checked.stderr.contains(file) && checked.stderr.contains(fix), "{change}: {}", checked.stderr);
        let started = setup.fails().await;
        assert_eq!(started.code, Some(2), "{change}");
        assert!(started.stderr.contains(fix), "{change}: {}", started.stderr);
    }
    let half = Gate::before(&service).over_tls(&pki, &good).without("tls.private_key").fails().await;
    assert!(half.code == Some(2) && half.stderr.contains("tls.private_key is missing"), "{}", half.stderr);
    let good = Gate::before(&service).over_tls(&pki, &good).cli(&["check", "FILE"]).await;
    assert_eq!(good.code, Some(0), "{}", good.stderr);
}
