//! HTTP requests, each on a connection of its own.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use serde_json::Value;

use super::soon;

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A GET without further headers.
pub(crate) async fn get(url: &str) -> Reply {
    request("GET", url, &[], "").await
}

/// A POST of JSON.
pub(crate) async fn post(url: &str, body: &Value) -> Reply {
    request("POST", url, &[("content-type", "application/json")], body.to_string()).await
}

/// Any request; panics when there is no answer.
pub(crate) async fn request(method: &str, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
    let answer = try_request(method, url, headers, body).await;
    answer.unwrap_or_else(|error| panic!("{method} {url}: {error}"))
}

/// As `request`; no answer is a sentence.
pub(crate) async fn try_request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Reply, String> {
    let (parts, body) = begin(method, url, headers, body).await?.into_parts();
    let body = soon("the end of a body", body.collect()).await.map_err(|error| error.to_string())?.to_bytes();
    Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
}

/// The answer as soon as its head is there, its body still to be read.
pub(crate) async fn begin(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Response<Incoming>, String> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build_http();
    soon(&format!("the answer to {method} {url}"), client.request(request)).await.map_err(|error| format!("{error:?}"))
}
