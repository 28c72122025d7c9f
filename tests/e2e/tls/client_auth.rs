//! Client certificates: who comes in, what the service hears of it, and who it is for our limits.

use std::time::Duration;

use crate::{
    revocation::{OPERATOR, revoke},
    support::{
        Gate, Pki, Raw, Service, eventually, http, json,
        pki::{Pair, Request, SecretFolder},
        tidegate::Setup,
        tls::TlsClient,
        token,
    },
};

struct World {
    pki: Pki,
    service: Service,
    folder: SecretFolder,
}

impl World {
    async fn new() -> Self {
        let pki = Pki::new();
        let folder = SecretFolder::of(&pki.localhost(1));
        folder.file("ca.crt", &pki.authority());
        Self { service: Service::without_auth().await, pki, folder }
    }

    fn gate(&self, auth: &str) -> Setup {
        Gate::before(&self.service).over_tls(&self.pki, &self.folder).with(&format!(
            "tls.client_ca = {:?}\ntls.client_auth = \"{auth}\"\n\
             tls.forward_client = {{ x-client-san = \"san\", x-client-cn = \"cn\", x-client-fingerprint = \"fingerprint\" }}",
            self.folder.path().join("ca.crt")
        ))
    }

    fn client(&self, name: &str) -> Pair {
        self.pki.issue(&Request::client(name))
    }
}

#[tokio::test]
async fn where_a_certificate_is_required_no_client_connects_without_a_valid_one() {
    let world = World::new().await;
    let gate = world.gate("required").await;
    let stranger = Pki::new().issue(&Request::client("mallory"));
    let expired = world.pki.issue(&Request::client("late").expired());

    let good = TlsClient::showing(&world.pki, &world.client("ada"));
    assert_eq!(good.http1(gate.address, "GET", "/headers", &[], "").await.unwrap().status, 200);
    for (who, client) in [
        ("without", TlsClient::new(&world.pki)),
        ("of another authority", TlsClient::showing(&world.pki, &stranger)),
        ("expired", TlsClient::showing(&world.pki, &expired)),
    ] {
        let refused = client.http1(gate.address, "GET", "/headers", &[], "").await.map(|reply| reply.status);
        assert!(refused.is_err(), "{who}: {refused:?}");
    }
    eventually("the refusals are counted", async || {
        (gate.metrics().await.sum("tidegate_tls_handshakes_total", &[("result", "failed")]) == 3.0).then_some(())
    })
    .await;
    assert_eq!(world.service.seen().await["http"].as_array().unwrap().len(), 1, "the service saw one request");
}

#[tokio::test]
async fn the_service_gets_the_name_of_the_certificate_and_no_client_can_forge_it() {
    let world = World::new().await;
    let gate = world.gate("optional").await;
    let forged = [("x-client-cn", "root"), ("X-Client-San", "URI:spiffe://test/root"), ("x_client_cn", "root")];

    let ada = world.client("ada");
    let reply = TlsClient::showing(&world.pki, &ada).http1(gate.address, "GET", "/headers", &forged, "").await.unwrap();
    assert_eq!(reply.status, 200);
    let anonymous = TlsClient::new(&world.pki).http1(gate.address, "GET", "/headers", &forged, "").await.unwrap();
    assert_eq!(anonymous.status, 200);

    let headers = &reply.json()["headers"];
    assert_eq!((&headers["x-client-cn"], &headers["x-client-san"]), (&json!("ada"), &json!("URI:spiffe://test/ada")));
    assert_eq!(headers["x-client-fingerprint"].as_str().unwrap().len(), 64);
    assert_eq!(headers["x_client_cn"], json!(null));
    let headers = &anonymous.json()["headers"];
    for name in ["x-client-cn", "x-client-san", "x-client-fingerprint", "x_client_cn"] {
        assert_eq!(headers[name], json!(null), "{name} was forged");
    }
}

#[tokio::test]
async fn no_client_forges_the_name_of_a_certificate_while_the_end_of_tls_waits_for_a_start() {
    let world = World::new().await;
    let mut gate = world.gate("optional").await;
    let mut settings = gate.settings();
    settings.change("session.hold = \"31s\"");
    for key in ["certificate", "private_key", "client_ca", "client_auth", "forward_client"] {
        settings.remove(&format!("tls.{key}"));
    }
    gate.write(&settings);
    gate.log().wait(&["configuration reloaded: session.hold changed\""]).await;
    gate.log().wait(&["until the next start: tls\""]).await;

    let forged = [("x-client-cn", "root")];
    for (client, name) in [
        (TlsClient::new(&world.pki), json!(null)),
        (TlsClient::showing(&world.pki, &world.client("ada")), json!("ada")),
    ] {
        let reply = client.http1(gate.address, "GET", "/headers", &forged, "").await.unwrap();
        assert_eq!(reply.json()["headers"]["x-client-cn"], name);
    }
}

#[tokio::test]
async fn a_certificate_names_the_user_where_no_token_does() {
    let world = World::new().await;
    let gate = world.gate("required").with("tls.client_user = \"cn\"\nauth.required = false").await;
    let options = |pair: &Pair| json!({ "cert": pair.certificate, "key": pair.private_key });
    let ada = world.client("ada");

    let certified = gate.connect_with(json!({}), options(&ada)).await;
    certified.connected().await;
    let with_token = gate.connect_with(json!({ "token": token("grace") }), options(&ada)).await;
    with_token.connected().await;

    let sessions = http::get(&gate.admin_url("/sessions")).await.json();
    let mut users: Vec<_> = sessions["sessions"].as_array().unwrap().iter().map(|one| one["user"].clone()).collect();
    users.sort_by_key(ToString::to_string);
    assert_eq!(users, [json!("ada"), json!("grace")]);
    let seen = world.service.seen().await;
    assert_eq!(seen["upgrades"][0]["headers"]["x-client-cn"], "ada");
}

#[tokio::test]
async fn the_service_is_not_dialled_for_a_certified_user_who_is_revoked() {
    let world = World::new().await;
    let settings = "tls.client_user = \"cn\"\nsocketio.dial = \"first\"\nauth.required = false\nauth.revoke = true\n\
                    admin.token = { env = \"TIDEGATE_ADMIN_TOKEN\" }";
    let gate = world.gate("required").with(settings).variable("TIDEGATE_ADMIN_TOKEN", OPERATOR).await;
    let options = |pair: &Pair| json!({ "cert": pair.certificate, "key": pair.private_key });
    assert_eq!(revoke(&gate, &json!({ "user": "ada" })).await.status, 200);

    let ada = gate.connect_with(json!({}), options(&world.client("ada"))).await;
    assert_eq!(ada.refused().await["data"]["code"], "auth.revoked");
    assert_eq!(world.service.transports().await, 0);
    gate.connect_with(json!({}), options(&world.client("bob"))).await.connected().await;
    assert_eq!(world.service.transports().await, 1);
}

#[tokio::test]
async fn a_revoked_certificate_is_refused_from_the_moment_the_list_says_so() {
    let world = World::new().await;
    let crl = world.folder.file("ca.crl", &world.pki.revoked(&[7]));
    let gate = world.gate("required").with(&format!("tls.client_crl = {crl:?}")).await;
    let client = |serial| {
        let pair = world.pki.issue(&Request::client("ada").serial(serial));
        TlsClient::showing(&world.pki, &pair)
    };
    let (revoked, good) = (client(7), client(8));
    let status = async |client: &TlsClient| {
        client.http1(gate.address, "GET", "/headers", &[], "").await.map(|reply| reply.status)
    };

    assert!(status(&revoked).await.is_err());
    // Twice, so that the client has a ticket and would not be asked for its certificate again.
    assert_eq!((status(&good).await, status(&good).await), (Ok(200), Ok(200)));
    gate.counts(1.0, "tidegate_tls_handshakes_total", &[("result", "resumed")]).await;
    world.folder.file("ca.crl", &world.pki.revoked(&[7, 8]));
    eventually("the client is refused", async || status(&good).await.is_err().then_some(())).await;
}

#[tokio::test]
async fn a_ticket_does_not_outlive_the_certificate_that_it_was_given_for() {
    let world = World::new().await;
    let gate = world.gate("required").await;
    let brief = world.pki.issue(&Request::client("ada").ending_in(Duration::from_secs(15)));
    let client = TlsClient::showing(&world.pki, &brief);
    let status = async || client.http1(gate.address, "GET", "/headers", &[], "").await.map(|reply| reply.status);
    assert_eq!((status().await, status().await), (Ok(200), Ok(200)));
    gate.counts(1.0, "tidegate_tls_handshakes_total", &[("result", "resumed")]).await;
    eventually("the client is refused", async || status().await.is_err().then_some(())).await;
    assert!(status().await.is_err());
}

#[tokio::test]
async fn plain_http_at_a_gate_with_tls_gets_no_answer() {
    let world = World::new().await;
    let gate = world.gate("optional").await;
    let mut raw = Raw::connect(gate.address).await;
    raw.send(b"GET /headers HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = raw.rest().await;
    assert!(!answer.contains("HTTP"), "{answer}");
    assert_eq!(world.service.seen().await["http"], json!([]));
}
