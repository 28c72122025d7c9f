//! An identity provider with a published key set.

use serde_json::{Value, json};
use tokio::{
    io::BufReader,
    process::{Child, ChildStdout},
};

use super::{http, node};

/// A running provider; `tests/upstream/issuer.mjs` says what it can.
#[derive(Debug)]
pub(crate) struct Issuer {
    port: u16,
    _child: Child,
    _output: BufReader<ChildStdout>,
}

impl Issuer {
    pub(crate) async fn start() -> Self {
        let mut child = node::start("issuer.mjs", &[], &[]);
        let (port, output) = node::listening(&mut child).await;
        Self { port, _child: child, _output: output }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn jwks_url(&self) -> String {
        self.url("/jwks")
    }

    /// Makes a key; with the name of an old one it takes its place.
    pub(crate) async fn add_key(&self, alg: &str, kid: &str) {
        http::post(&self.url("/keys"), &json!({ "alg": alg, "kid": kid })).await;
    }

    pub(crate) async fn remove_key(&self, kid: &str) {
        http::post(&self.url("/keys/remove"), &json!({ "kid": kid })).await;
    }

    pub(crate) async fn sign(&self, kid: &str, claims: &Value) -> String {
        self.sign_as(kid, claims, json!({})).await
    }

    /// Signs with members of the token's header set otherwise.
    pub(crate) async fn sign_as(&self, kid: &str, claims: &Value, header: Value) -> String {
        let body = json!({ "kid": kid, "claims": claims, "header": header });
        http::post(&self.url("/sign"), &body).await.json()["token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn pem(&self, kid: &str) -> String {
        http::get(&self.url(&format!("/pem?kid={kid}"))).await.json()["pem"].as_str().unwrap().to_owned()
    }

    /// The status with which the key set is answered from now on.
    pub(crate) async fn answer_with(&self, status: u16) {
        http::post(&self.url("/jwks"), &json!({ "status": status })).await;
    }

    /// How often the key set was fetched.
    pub(crate) async fn hits(&self) -> u64 {
        http::get(&self.url("/hits")).await.json()["hits"].as_u64().unwrap()
    }
}
