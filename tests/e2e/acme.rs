//! The certificate is ordered by the gate itself, from Pebble, and clients notice nothing of it.

mod order;
mod shared;
mod trouble;

use std::{fs::File, path::PathBuf, time::Duration};

use tempfile::TempDir;

use crate::support::{
    Gate, Pki, Service, eventually, http, json, pebble::Pebble, pki::Request, ports::Port, tidegate::Setup,
    tls::TlsClient, token,
};

const LONG: Duration = Duration::from_hours(1);

/// A service, and an authority that finds `localhost` at the first gate.
struct World {
    service: Service,
    pebble: Pebble,
    folder: TempDir,
    http: Port,
}

impl World {
    /// With the gate that the authority will look at; certificates last so long.
    async fn new(validity: Duration) -> (Self, Setup) {
        let (service, http) = (Service::start().await, Port::reserve());
        let setup = Gate::before(&service);
        let pebble = Pebble::start(http.address, setup.address(), validity).await;
        let world = Self { service, pebble, folder: TempDir::new().unwrap(), http };
        let setup = setup.ordering_from(&world.pebble, &world.cache());
        (world, setup)
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("acme")
    }

    /// Another gate with the same cache.
    fn replica(&self) -> Setup {
        Gate::before(&self.service).ordering_from(&self.pebble, &self.cache())
    }

    fn client(&self) -> TlsClient {
        TlsClient::believing_in(self.pebble.issuer(), rustls::DEFAULT_VERSIONS, None).forgetful()
    }
}

async fn orders(gate: &Gate) -> f64 {
    gate.metrics().await.sum("tidegate_acme_orders_total", &[("result", "ok")])
}

#[tokio::test]
async fn a_certificate_is_ordered_in_a_handshake_and_serves_stock_clients() {
    let (world, setup) = World::new(LONG).await;
    let gate = setup.await;

    let client = gate.client(token("ada")).await;
    assert_eq!(client.ask("echo", json!(["over TLS"])).await, "over TLS");
    gate.counts(1.0, "tidegate_acme_orders_total", &[("result", "ok")]).await;
    let metrics = gate.metrics().await;
    assert!(metrics.sum("tidegate_tls_handshakes_total", &[("result", "challenge")]) >= 1.0, "the authority came");
    assert!(metrics.sum("tidegate_certificate_not_after_seconds", &[("name", "localhost")]) > 0.0);
    let refused = world.client().offering(&["acme-tls/1"]).serial(gate.address).await.unwrap_err();
    assert!(refused.contains("alert"), "no challenge is open any more: {refused}");
}

#[tokio::test]
async fn an_authority_comes_through_where_clients_must_show_a_certificate() {
    let (world, setup) = World::new(LONG).await;
    let pki = Pki::new();
    std::fs::write(world.folder.path().join("ca.crt"), pki.authority()).unwrap();
    let ca = world.folder.path().join("ca.crt");
    let gate = setup.with(&format!("tls.client_ca = {ca:?}\ntls.client_auth = \"required\"")).await;

    let pair = pki.issue(&Request::client("ada"));
    let known = TlsClient::believing_in(world.pebble.issuer(), rustls::DEFAULT_VERSIONS, Some(&pair));
    assert!(known.http1(gate.address, "GET", "/headers", &[], "").await.is_ok());
    let unknown = world.client().http1(gate.address, "GET", "/headers", &[], "").await;
    assert!(unknown.is_err(), "{:?}", unknown.map(|reply| reply.status));
}

#[tokio::test]
async fn a_certificate_is_ordered_over_http_and_browsers_are_sent_on() {
    let (world, setup) = World::new(LONG).await;
    let address = world.http.address;
    let gate = setup.with(&format!("tls.acme.challenges = [\"http-01\"]\ntls.acme.http_address = \"{address}\"")).await;

    assert!(world.client().serial(gate.address).await.is_ok());
    gate.counts(0.0, "tidegate_tls_handshakes_total", &[("result", "challenge")]).await;
    let sent_on = http::get(&format!("http://localhost:{}/chat?room=1", address.port())).await;
    assert_eq!((sent_on.status, sent_on.header("location")), (308, Some("https://localhost/chat?room=1")));
    let elsewhere = http::get(&format!("http://{address}/chat")).await;
    assert_eq!((elsewhere.status, elsewhere.header("location")), (404, None), "it is no name of ours");
}

#[tokio::test]
async fn without_a_certificate_yet_the_gate_lives_and_refuses_cleanly() {
    let (mut world, setup) = World::new(LONG).await;
    world.pebble.stop().await;
    let gate = setup.unready().await;

    gate.counts(1.0, "tidegate_acme_orders_total", &[("result", "failed")]).await;
    gate.log().wait(&["no certificate for localhost could be ordered from", "the next attempt is in"]).await;
    let refused = world.client().serial(gate.address).await.unwrap_err();
    assert!(refused.contains("alert"), "{refused}");
    assert_eq!(http::get(&gate.admin_url("/livez")).await.status, 200);
    let ready = http::get(&gate.admin_url("/readyz")).await;
    assert!(ready.status == 503 && ready.text().contains("no certificate yet"), "{}", ready.text());
    eventually("the next attempt is announced", async || {
        let next = gate.metrics().await.sum("tidegate_acme_next_order_timestamp_seconds", &[]);
        (next > token::now() as f64).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_restart_uses_what_was_ordered_without_asking_the_authority() {
    let (mut world, setup) = World::new(LONG).await;
    let gate = setup.await;
    let serial = world.client().serial(gate.address).await.unwrap();
    drop(gate);
    world.pebble.stop().await;

    let again = world.replica().await;
    assert_eq!(world.client().serial(again.address).await, Ok(serial));
    assert_eq!(orders(&again).await, 0.0);
}

#[tokio::test]
async fn a_renewal_is_not_noticed_by_who_is_connected() {
    let (mut world, setup) = World::new(Duration::from_secs(20)).await;
    let gate = setup.await;
    let client = gate.client(token("ada")).await;
    let first = world.client().serial(gate.address).await.unwrap();

    let second = eventually("a new certificate", async || {
        world.client().serial(gate.address).await.ok().filter(|serial| *serial != first)
    })
    .await;
    world.pebble.stop().await;
    assert_eq!(client.ask("echo", json!(["still here"])).await, "still here");
    assert_eq!(client.untaken("disconnect"), 0);
    gate.signal("HUP");
    gate.log().wait(&["configuration reloaded"]).await;
    assert_eq!(world.client().serial(gate.address).await, Ok(second), "a reload keeps it");
}

#[tokio::test]
async fn of_two_replicas_one_orders_and_the_other_answers_the_authority() {
    let (world, asked) = World::new(LONG).await;
    world.pebble.freeze();
    let ordering = world.replica().unready().await;
    eventually("it has the lock, and waits for the authority", async || {
        File::open(world.cache().join("lock")).unwrap().try_lock().is_err().then_some(())
    })
    .await;
    let asked = asked.unready().await;
    world.pebble.thaw();

    for gate in [&ordering, &asked] {
        eventually("it is ready", async || (http::get(&gate.admin_url("/readyz")).await.status == 200).then_some(()))
            .await;
    }
    assert_eq!((orders(&ordering).await, orders(&asked).await), (1.0, 0.0));
    let challenges = asked.metrics().await.sum("tidegate_tls_handshakes_total", &[("result", "challenge")]);
    assert!(challenges >= 1.0, "the authority came to the one that had not ordered");
    let client = world.client();
    assert_eq!(client.serial(ordering.address).await, client.serial(asked.address).await);
}

#[tokio::test]
async fn what_cannot_be_ordered_is_told_at_check_and_at_start() {
    let (world, _) = World::new(LONG).await;
    let file = world.pebble.root_ca();
    for (change, key, fix) in [
        ("tls.acme.domains = []".to_owned(), "tls.acme.domains", "for example"),
        ("tls.acme.domains = [\"*.a.test\"]".to_owned(), "tls.acme.domains", "cert-manager"),
        ("tls.acme.domain = \"a.test\"".to_owned(), "tls.acme.domain", "domains"),
        ("tls.acme.contact = [\"ops@a.test\"]".to_owned(), "tls.acme.contact", "mailto:"),
        ("tls.acme.directory = \"http://a.test\"".to_owned(), "tls.acme.directory", "https://"),
        (format!("tls.acme.cache = {file:?}"), "tls.acme.cache", "it has to be a folder"),
        ("tls.acme.root_ca = \"none.pem\"".to_owned(), "tls.acme.root_ca", "none.pem"),
        ("tls.acme.challenges = [\"http-01\"]".to_owned(), "tls.acme.challenges", "tls.acme.http_address"),
        (format!("tls.certificate = {file:?}"), "tls.certificate", "remove one of them"),
    ] {
        let setup = world.replica().with(&change);
        let checked = setup.cli(&["check", "FILE"]).await;
        assert_eq!(checked.code, Some(2), "{change}");
        assert!(checked.stderr.contains("tidegate.toml:"), "the line is named: {}", checked.stderr);
        assert!(checked.stderr.contains(key) && checked.stderr.contains(fix), "{change}: {}", checked.stderr);
        let started = setup.fails().await;
        assert!(started.code == Some(2) && started.stderr.contains(fix), "{change}: {}", started.stderr);
    }
    let good = world.replica().cli(&["check", "FILE"]).await;
    assert_eq!(good.code, Some(0), "{}", good.stderr);
}
