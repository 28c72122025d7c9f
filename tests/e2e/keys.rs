//! Tokens signed with private keys: a public key in a file, or a key set that its issuer publishes and rotates.

use std::fs;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use tempfile::TempDir;

use crate::support::{
    Gate, Service, Value, eventually, http,
    issuer::Issuer,
    json,
    tidegate::Setup,
    token::{now, token},
};

fn claims(user: &str) -> Value {
    json!({ "sub": user, "exp": now() + 600 })
}

/// A gate that believes the key set of `issuer`.
fn believing(issuer: &Issuer, service: &Service) -> Setup {
    Gate::before(service).without("auth.secret").with(&format!(
        "auth.jwks_url = \"{}\"\nauth.algorithms = [\"RS256\", \"PS256\", \"ES256\", \"ES384\", \"EdDSA\"]",
        issuer.jwks_url()
    ))
}

#[tokio::test]
async fn a_public_key_in_a_file_verifies_its_family_alone() {
    let service = Service::without_auth().await;
    let issuer = Issuer::start().await;
    for alg in ["RS256", "PS256", "ES256", "ES384", "EdDSA"] {
        issuer.add_key(alg, alg).await;
        issuer.add_key(alg, "another").await;
    }
    let folder = TempDir::new().unwrap();
    for alg in ["RS256", "PS256", "ES256", "ES384", "EdDSA"] {
        let file = folder.path().join(alg);
        let pem = issuer.pem(alg).await;
        fs::write(&file, &pem).unwrap();
        let gate = Gate::before(&service)
            .without("auth.secret")
            .with(&format!("auth.public_key = {file:?}\nauth.algorithms = [\"{alg}\"]"))
            .await;

        gate.client(issuer.sign(alg, &claims("ada")).await).await;

        // The attack on those who let the token choose: the public key as the secret of an HMAC.
        let confused = EncodingKey::from_secret(pem.as_bytes());
        let forged = encode(&Header::new(Algorithm::HS256), &claims("root"), &confused).unwrap();
        let other_key = if alg == "EdDSA" { issuer.sign("another", &claims("root")).await } else { token("root") };
        for refused in [forged, other_key] {
            let client = gate.connect(json!({ "token": refused })).await;
            assert_eq!(client.refused().await["data"]["code"], "auth.invalid", "{alg}");
        }
    }
    assert_eq!(service.transports().await, 5);
}

#[tokio::test]
async fn a_published_key_set_verifies_tokens_of_all_its_keys() {
    let service = Service::without_auth().await;
    let issuer = Issuer::start().await;
    for alg in ["RS256", "ES256", "EdDSA"] {
        issuer.add_key(alg, &format!("key-{alg}")).await;
    }
    let gate = believing(&issuer, &service).await;

    for alg in ["RS256", "ES256", "EdDSA"] {
        gate.client(issuer.sign(&format!("key-{alg}"), &claims("ada")).await).await;
    }

    // A name for another key, and one that nobody has.
    let claims = claims("root");
    for kid in ["key-ES256", "../../etc/passwd"] {
        let token = issuer.sign_as("key-RS256", &claims, json!({ "kid": kid })).await;
        let client = gate.connect(json!({ "token": token })).await;
        assert_eq!(client.refused().await["data"]["code"], "auth.invalid", "{kid}");
    }
    // Unknown names do not make the gate ask again and again.
    assert!(issuer.hits().await <= 3, "{} fetches", issuer.hits().await);
    assert_eq!(service.transports().await, 3);
}

#[tokio::test]
async fn a_key_that_is_published_later_is_fetched_when_its_first_token_comes() {
    let service = Service::without_auth().await;
    let issuer = Issuer::start().await;
    issuer.add_key("ES256", "old").await;
    let gate = believing(&issuer, &service).await;
    let stays = gate.client(issuer.sign("old", &claims("ada")).await).await;

    issuer.add_key("ES256", "new").await;
    issuer.remove_key("old").await;

    // The fetch may be held back for a while after another one, so the first token may come too early.
    eventually("a token of the new key is good", async || {
        let client = gate.connect(json!({ "token": issuer.sign("new", &claims("ada")).await })).await;
        client.settled().await.ok()
    })
    .await;
    assert_eq!(stays.ask("echo", json!([1])).await, 1, "who is in stays in");
}

#[tokio::test]
async fn while_keys_cannot_be_fetched_for_the_first_time_clients_are_asked_to_try_again() {
    let service = Service::without_auth().await;
    let issuer = Issuer::start().await;
    issuer.add_key("ES256", "key").await;
    issuer.answer_with(500).await;

    let gate = believing(&issuer, &service).unready().await;
    let client = gate.connect(json!({ "token": issuer.sign("key", &claims("ada")).await })).await;
    let not_ready = http::get(&gate.admin_url("/readyz")).await;
    eventually("the client tries again", async || (client.untaken("reconnect_attempt") > 1).then_some(())).await;
    assert_eq!(not_ready.status, 503, "{not_ready:?}");
    assert_eq!(service.transports().await, 0);

    issuer.answer_with(200).await;
    client.connected_after_errors().await;
    eventually("the node is ready", async || (http::get(&gate.admin_url("/readyz")).await.status == 200).then_some(()))
        .await;
}

#[tokio::test]
async fn a_new_key_server_takes_over_once_it_has_given_keys() {
    let service = Service::without_auth().await;
    let (old, new) = (Issuer::start().await, Issuer::start().await);
    old.add_key("ES256", "old").await;
    new.add_key("ES256", "new").await;
    new.answer_with(404).await;
    let mut gate = believing(&old, &service).await;
    let ready = async |gate: &Gate| http::get(&gate.admin_url("/readyz")).await.status == 200;

    gate.change(&format!("auth.jwks_url = \"{}?secret=x\"", new.jwks_url()));
    let line = format!("auth.jwks_url is {}, which gives no key set: the server answered 404", new.jwks_url());
    gate.log().wait(&["the configuration was not reloaded", &line]).await;
    gate.counts(0.0, "tidegate_config_reload_success", &[]).await;
    assert!(ready(&gate).await, "it has the keys of before");
    gate.client(old.sign("old", &claims("ada")).await).await;

    // Nobody asks for the reload that follows.
    new.answer_with(200).await;
    gate.counts(1.0, "tidegate_config_reload_success", &[]).await;
    assert!(ready(&gate).await, "it has the new keys");
    gate.client(new.sign("new", &claims("ada")).await).await;
    let client = gate.connect(json!({ "token": old.sign("old", &claims("ada")).await })).await;
    assert_eq!(client.refused().await["data"]["code"], "auth.invalid");
}

#[tokio::test]
async fn figures_of_a_key_server_that_is_no_longer_asked_are_gone() {
    let service = Service::without_auth().await;
    let issuer = Issuer::start().await;
    issuer.add_key("ES256", "key").await;
    let mut gate = believing(&issuer, &service).await;
    let figure = "tidegate_jwks_last_success_timestamp_seconds";
    assert!(gate.metrics().await.samples(figure).any(|(_, fetched)| fetched > 0.0));

    let folder = TempDir::new().unwrap();
    let file = folder.path().join("key.pem");
    fs::write(&file, issuer.pem("key").await).unwrap();
    let mut settings = gate.settings();
    settings.remove("auth.jwks_url");
    settings.change(&format!("auth.public_key = {file:?}\nauth.algorithms = [\"ES256\"]"));
    gate.write(&settings);
    gate.log().wait(&["configuration reloaded", "auth.jwks_url"]).await;
    gate.client(issuer.sign("key", &claims("ada")).await).await;
    assert_eq!(gate.metrics().await.samples(figure).count(), 0);
}
