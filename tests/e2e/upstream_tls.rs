//! TLS towards the service: whom the gate believes, and what it shows.

use crate::support::{
    Gate, Pki, Service, Way, http, json,
    pki::{Pair, Request, SecretFolder},
    ports::Port,
    tidegate::Setup,
    token,
};

/// A service behind TLS, with the files that a gate needs to reach it.
struct World {
    pki: Pki,
    service: Service,
    port: Port,
    folder: SecretFolder,
}

impl World {
    async fn new(request: &Request) -> Self {
        Self::wanting(request, false).await
    }

    async fn wanting(request: &Request, client_certificate: bool) -> Self {
        let (pki, port) = (Pki::new(), Port::reserve());
        let Pair { certificate, private_key } = pki.issue(request);
        let (number, authority) = (port.address.port().to_string(), pki.authority());
        let mut variables =
            vec![("TLS_PORT", number.as_str()), ("TLS_CERT", certificate.as_str()), ("TLS_KEY", private_key.as_str())];
        if client_certificate {
            variables.push(("TLS_CLIENT_CA", authority.as_str()));
        }
        let service = Service::with(&variables).await;
        let folder = SecretFolder::of(&pki.issue(&Request::client("gate")));
        folder.file("ca.crt", &pki.authority());
        Self { pki, service, port, folder }
    }

    fn gate(&self) -> Setup {
        Gate::before_url(&format!("https://localhost:{}", self.port.address.port()))
    }

    fn believing(&self) -> Setup {
        self.gate().with(&format!("upstream.tls.ca = {:?}", self.folder.path().join("ca.crt")))
    }
}

#[tokio::test]
async fn a_stock_client_talks_with_a_service_behind_tls() {
    let world = World::new(&Request::server(&["localhost"])).await;
    let gate = world.believing().await;
    for way in Way::ALL {
        let client = gate.client_by(way, token("ada")).await;
        let large = "∴".repeat(30_000);
        assert_eq!(client.ask("echo", json!([large])).await, large, "{way:?}");
        world.service.emit("ada", "tutor:message", json!([large])).await;
        assert_eq!(client.next("tutor:message").await, json!([large]), "{way:?}");
        client.disconnect().await;
    }
    let reply = http::get(&format!("{}/headers", gate.url())).await;
    assert_eq!((reply.status, &reply.json()["headers"]["x-forwarded-proto"]), (200, &json!("http")));
}

#[tokio::test]
async fn clients_are_held_while_such_a_service_restarts() {
    let mut world = World::new(&Request::server(&["localhost"])).await;
    let gate = world.believing().await;
    let client = gate.client(token("ada")).await;

    world.service.kill().await;
    gate.counts(1.0, "tidegate_held_sessions", &[]).await;
    client.send("count", json!([1])).await;
    world.service.restart().await;

    client.next("connect").await;
    assert_eq!(client.ask("echo", json!(["again"])).await, "again");
    assert_eq!(client.untaken("disconnect"), 0);
}

#[tokio::test]
async fn a_service_that_is_not_who_it_should_be_gets_nothing_and_the_log_says_why() {
    let good = World::new(&Request::server(&["localhost"])).await;
    let other_name = World::new(&Request::server(&["other.test"])).await;
    let expired = World::new(&Request::server(&["localhost"]).expired()).await;
    let authority = World::new(&Request::server(&["localhost"]).authority()).await;
    let stranger = good.folder.file("stranger.crt", &Pki::new().authority());
    let plain = Gate::before_url(&good.service.url().replace("http://", "https://"));
    let ca = |world: &World| world.believing();
    for (setup, status, why) in [
        (ca(&good), 200, None),
        (
            good.gate().with(&format!("upstream.tls.ca = {stranger:?}")),
            502,
            Some("set upstream.tls.ca to that authority"),
        ),
        (good.gate(), 502, Some("set upstream.tls.ca to that authority")),
        (ca(&other_name), 502, Some("set upstream.tls.server_name")),
        (ca(&other_name).with("upstream.tls.server_name = \"other.test\""), 200, None),
        (ca(&expired), 502, Some("has expired; renew it")),
        (ca(&authority), 502, Some("basicConstraints=CA:FALSE")),
        (plain, 502, Some("is upstream.url meant to begin with http://")),
    ] {
        let gate = setup.await;
        assert_eq!(http::get(&format!("{}/headers", gate.url())).await.status, status, "{why:?}");
        match why {
            None => drop(gate.client(token("ada")).await),
            Some(why) => {
                gate.log().wait(&["there is no TLS with the service at ", why]).await;
                let refused = gate.websocket("/ws", &[]).await;
                assert!(refused.is_err(), "{why}");
            }
        }
    }
    assert_eq!(expired.service.seen().await["http"], json!([]), "nothing was sent");
}

#[tokio::test]
async fn a_service_that_wants_a_certificate_gets_ours() {
    let world = World::wanting(&Request::server(&["localhost"]), true).await;
    let shown = format!(
        "upstream.tls.certificate = {:?}\nupstream.tls.private_key = {:?}",
        world.folder.path().join("tls.crt"),
        world.folder.path().join("tls.key")
    );
    let gate = world.believing().with(&shown).await;
    assert_eq!(gate.client(token("ada")).await.ask("echo", json!([1])).await, 1);
    assert_eq!(http::get(&format!("{}/headers", gate.url())).await.status, 200);

    let bare = world.believing().await;
    assert_eq!(http::get(&format!("{}/headers", bare.url())).await.status, 502);
    let client = bare.connect(json!({ "token": token("ada") })).await;
    bare.log().wait(&["CertificateRequired"]).await;
    assert_eq!(client.untaken("connect"), 0);
}

#[tokio::test]
async fn a_new_authority_is_believed_without_a_restart() {
    let world = World::new(&Request::server(&["localhost"])).await;
    let gate = world.believing().await;
    let client = gate.client(token("ada")).await;
    let url = format!("{}/headers", gate.url());
    assert_eq!(http::get(&url).await.status, 200);

    world.folder.file("ca.crt", "");
    gate.counts(0.0, "tidegate_certificate_reload_success", &[]).await;
    world.folder.file("ca.crt", &Pki::new().authority());
    gate.counts(1.0, "tidegate_certificate_reload_success", &[]).await;
    assert_eq!(http::get(&url).await.status, 502, "the old authority is believed no longer");
    world.folder.file("ca.crt", &world.pki.authority());
    gate.log().wait(&["the certificates for the service were read again"]).await;
    crate::support::eventually("the service is believed again", async || {
        (http::get(&url).await.status == 200).then_some(())
    })
    .await;
    assert_eq!(client.ask("echo", json!(["still here"])).await, "still here");
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let world = World::new(&Request::server(&["localhost"])).await;
    for (change, fix) in [
        ("upstream.tls.ca = \"/nowhere/ca.crt\"", "upstream.tls.ca: /nowhere/ca.crt cannot be read"),
        ("upstream.tls.certificate = \"gate.crt\"", "upstream.tls.private_key is missing"),
        ("upstream.tls.server_name = \"no name\"", "must be a host name or an IP address"),
    ] {
        let checked = world.gate().with(change).cli(&["check", "FILE"]).await;
        assert!(checked.code == Some(2) && checked.stderr.contains(fix), "{change}: {}", checked.stderr);
    }
    let plain = Gate::before_url("http://127.0.0.1:1").with("upstream.tls.server_name = \"a\"");
    let checked = plain.cli(&["check", "FILE"]).await;
    assert!(checked.code == Some(2) && checked.stderr.contains("https://"), "{}", checked.stderr);
}
