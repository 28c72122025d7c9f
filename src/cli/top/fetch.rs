//! Asks a node at its operator's address.

use std::{error::Error, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::timeout;

use super::{
    super::{failure::TopError, output::clean_message},
    answers::{Sessions, Status},
    model::Reading,
    query::Query,
};
use crate::units::Secret;

/// How long the node may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A page of 1000 sessions has less than 1 MB.
const BODY_MAX_BYTES: usize = 8 << 20;

/// Where a node answers its operator.
#[derive(Debug)]
pub(super) struct Node {
    /// Scheme, host, port, and a path in front of the node's own.
    url: String,
    bearer: Option<HeaderValue>,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

/// What the node answers instead.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refused {
    message: String,
}

impl Node {
    /// Of `https` the certificate is verified with the trust anchors of this machine.
    pub(super) fn new(url: &str, token: Option<&Secret>) -> Result<Self, TopError> {
        let url = base(url)?;
        let bearer = token.map(|token| HeaderValue::from_bytes(&[b"Bearer ", token.expose()].concat())).transpose()?;
        let bearer = bearer.map(|mut bearer| {
            bearer.set_sensitive(true);
            bearer
        });
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(PATIENCE));
        let tls = HttpsConnectorBuilder::new();
        let tls = if url.starts_with("https:") {
            tls.with_provider_and_platform_verifier(aws_lc_rs::default_provider()).map_err(TopError::Roots)?
        } else {
            // A container may have no trust anchors, and none are needed.
            tls.with_tls_config(trusts_nobody()?)
        };
        let connector = tls.https_or_http().enable_http1().wrap_connector(tcp);
        // The node answers one request for each connection.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { url, bearer, client })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Its status and a page of its sessions.
    pub(super) async fn read(&self, query: &Query) -> Result<Reading, TopError> {
        let target = query.target();
        let both = async { tokio::try_join!(self.get("/status"), self.get(&target)) };
        let slow = || Err(TopError::Slow(self.url.clone()));
        let (status, sessions) = timeout(PATIENCE, both).await.unwrap_or_else(|_| slow())?;
        let foreign = || TopError::Foreign { url: self.url.clone(), status: StatusCode::OK };
        Ok(Reading {
            status: Status::of(&status).ok_or_else(foreign)?,
            sessions: Sessions::of(&sessions).ok_or_else(foreign)?,
        })
    }

    async fn get(&self, target: &str) -> Result<Value, TopError> {
        let mut request = Request::get(format!("{}{target}", self.url)).header(header::ACCEPT, "application/json");
        if let Some(bearer) = &self.bearer {
            request = request.header(header::AUTHORIZATION, bearer);
        }
        let answer = self.client.request(request.body(Empty::new())?).await.map_err(|error| self.unreached(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), BODY_MAX_BYTES).collect().await;
        let body = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => TopError::Foreign { url: self.url.clone(), status },
            None => TopError::Broken { url: self.url.clone(), why: root_cause(&*error) },
        })?;
        let body = body.to_bytes();
        let foreign = |_| TopError::Foreign { url: self.url.clone(), status };
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(foreign);
        }
        let Refused { message } = serde_json::from_slice(&body).map_err(foreign)?;
        Err(self.refused(target, status, &message))
    }

    /// Says what to do where that is known.
    fn refused(&self, target: &str, status: StatusCode, message: &str) -> TopError {
        let url = self.url.clone();
        match (status, target) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) if self.bearer.is_some() => TopError::Token { url },
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => TopError::NoToken { url },
            // The page is there but off, or the node is older than this program.
            (StatusCode::NOT_FOUND, "/status") if !message.contains("admin.token") => TopError::Older { url },
            _ => TopError::Refused { url, status, message: clean_message(message) },
        }
    }

    fn unreached(&self, error: &hyper_util::client::legacy::Error) -> TopError {
        let (url, why) = (self.url.clone(), root_cause(error));
        if error.is_connect() { TopError::Unreached { url, why } } else { TopError::Broken { url, why } }
    }
}

fn trusts_nobody() -> Result<ClientConfig, TopError> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TopError::Roots(io::Error::other(error)))?;
    Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// The URL without a slash at its end and without a query.
fn base(url: &str) -> Result<String, TopError> {
    let wrong = || TopError::Url(url.to_owned());
    let with_scheme = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let uri: Uri = with_scheme.parse().map_err(|_| wrong())?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(wrong());
    };
    // A name and a password in it would be shown on the screen.
    if authority.as_str().contains('@') || authority.host().is_empty() || uri.query().is_some() {
        return Err(wrong());
    }
    Ok(format!("{scheme}://{authority}{}", uri.path().trim_end_matches('/')))
}

/// The innermost error, which says most.
fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::SecretSource;

    #[test]
    fn a_url_is_that_of_a_server() {
        for (url, expected) in [
            ("http://127.0.0.1:9464", Some("http://127.0.0.1:9464")),
            ("127.0.0.1:9464/", Some("http://127.0.0.1:9464")),
            ("gate:9464", Some("http://gate:9464")),
            ("https://gate.example/tidegate/", Some("https://gate.example/tidegate")),
            ("http://[::1]:9464", Some("http://[::1]:9464")),
            ("", None),
            ("ftp://gate", None),
            ("http://", None),
            ("http://ada:pass@gate:9464", None),
            ("http://gate:9464/?limit=3", None),
            ("http://gate :9464", None),
        ] {
            assert_eq!(base(url).ok().as_deref(), expected, "{url}");
        }
    }

    #[tokio::test]
    async fn refusals_say_what_to_do() {
        let told = |token: Option<&Secret>, status, target: &str, message: &str| {
            let node = Node::new("http://127.0.0.1:9464", token).unwrap();
            node.refused(target, status, message).to_string()
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret").unwrap();
        let token = SecretSource::File(file.path().to_owned()).read().unwrap();
        let (unauthorized, forbidden) = (StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN);
        let no_token = told(None, unauthorized, "/status", "Send the token.");
        assert!(no_token.contains("--token-file") && no_token.contains("admin.token"), "{no_token}");
        assert_eq!(told(None, forbidden, "/sessions?limit=50", ""), no_token);
        let wrong = told(Some(&token), unauthorized, "/status", "Send the token.");
        assert!(wrong.contains("another token") && !wrong.contains("s3cret"), "{wrong}");
        let off = told(None, StatusCode::NOT_FOUND, "/status", "Shown only with a token: set admin.token.");
        assert!(off.ends_with("404 Not Found: Shown only with a token: set admin.token."), "{off}");
        let older = told(None, StatusCode::NOT_FOUND, "/status", "There is no such page.");
        assert!(older.contains("older"), "{older}");
        let hostile =
            told(None, StatusCode::BAD_GATEWAY, "/status", &format!("\u{1b}]0;x\u{7}{}", "y".repeat(100_000)));
        assert!(hostile.len() < 2000 && !hostile.contains(char::is_control), "{hostile:?}");
    }
}
