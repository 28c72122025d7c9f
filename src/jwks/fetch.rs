//! One GET of a key set, with bounds on time and size.

use std::{
    io,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::crypto::aws_lc_rs;
use tokio::time::timeout;

use crate::policy::auth::key_set::{KeySet, KeySetError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// For everything: name, connection, answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
const BODY_MAX_BYTES: usize = 256 * 1024;

/// Why a fetch failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the server cannot be reached")]
    Unreachable(#[from] hyper_util::client::legacy::Error),
    #[error("the server did not answer within {} s", FETCH_TIMEOUT.as_secs())]
    TimedOut,
    /// Redirects are not followed: the configuration names the only server.
    #[error("the server answered {0}, not 200")]
    Status(StatusCode),
    #[error("the answer has more than {BODY_MAX_BYTES} bytes")]
    TooLong,
    #[error("the answer broke off")]
    BrokeOff(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error(transparent)]
    KeySet(#[from] KeySetError),
}

/// A key set, and when the server says that it is.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) set: KeySet,
    /// `None`: it does not say, or a cache has answered, which repeats what the server said earlier.
    pub(super) date: Option<SystemTime>,
}

/// Gets the key set from one address.
#[derive(Debug)]
pub(super) struct Fetcher {
    uri: Uri,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

impl Fetcher {
    /// The server is verified with the trust anchors of this machine.
    pub(super) fn new(uri: Uri) -> io::Result<Self> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_platform_verifier(aws_lc_rs::default_provider())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        // Ten minutes pass between two requests, so connections are not kept.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { uri, client })
    }

    /// The URL without its query, which may be confidential.
    pub(super) fn address(&self) -> String {
        let host = self.uri.authority().map_or("", |authority| authority.as_str());
        format!("{}://{host}{}", self.uri.scheme_str().unwrap_or("https"), self.uri.path())
    }

    pub(super) async fn fetch(&self) -> Result<Fetched, FetchError> {
        timeout(FETCH_TIMEOUT, self.get()).await.unwrap_or(Err(FetchError::TimedOut))
    }

    async fn get(&self) -> Result<Fetched, FetchError> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().insert(header::ACCEPT, header::HeaderValue::from_static("application/json"));
        let response = self.client.request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let from_cache = response.headers().contains_key(header::AGE);
        let date = response.headers().get(header::DATE).filter(|_| !from_cache).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        let body = Limited::new(response.into_body(), BODY_MAX_BYTES).collect().await;
        let document = body.map_err(|error| match error.downcast::<LengthLimitError>() {
            Ok(_) => FetchError::TooLong,
            Err(error) => FetchError::BrokeOff(error),
        })?;
        Ok(Fetched { set: KeySet::from_jwks(&document.to_bytes())?, date })
    }
}
