//! One HTTP request over a connection that is made as those of the gate are.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::finding::Sighting;
use crate::{cli::output::clean_message, relay::dial::Dialler};

/// For one request, with its connection.
pub(super) const PATIENCE: Duration = Duration::from_secs(4);
/// A page of metrics has less.
const BODY_BYTES_MAX: usize = 8 << 20;

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    before: SystemTime,
    after: SystemTime,
}

impl Answer {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Status and text in one short line.
    pub(super) fn brief(&self) -> String {
        let text = self.text();
        format!("{}: {}", self.status, clean_message(text.trim()))
    }

    /// The clock of the server, if it says the time. A cache repeats what the server said earlier.
    pub(super) fn sighting(&self, whose: &str) -> Option<Sighting> {
        if self.headers.contains_key(header::AGE) {
            return None;
        }
        let date = self.headers.get(header::DATE)?.to_str().ok()?;
        let said = httpdate::parse_http_date(date).ok()?;
        Some(Sighting { whose: whose.to_owned(), before: self.before, said, after: self.after, to_the_second: true })
    }
}

/// A GET of a path and its query.
pub(super) async fn get(server: &Dialler, target: &str, headers: HeaderMap) -> Result<Answer, String> {
    send(server, target, headers, None).await
}

/// The same, or a POST of this body.
pub(super) async fn send(
    server: &Dialler,
    target: &str,
    headers: HeaderMap,
    body: Option<String>,
) -> Result<Answer, String> {
    let method = if body.is_some() { "POST" } else { "GET" };
    let mut request = Request::builder().method(method).uri(target).header(header::HOST, server.authority().as_str());
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "text/plain;charset=UTF-8");
    }
    let body = Full::new(Bytes::from(body.unwrap_or_default()));
    let mut request = request.body(body).map_err(|error| error.to_string())?;
    request.headers_mut().extend(headers);
    let answered = timeout(PATIENCE, sent(server, request)).await;
    answered.unwrap_or_else(|_| Err(format!("{} does not answer within {} s", server.authority(), PATIENCE.as_secs())))
}

async fn sent(server: &Dialler, request: Request<Full<Bytes>>) -> Result<Answer, String> {
    // The errors of dials speak of the service, which is not what is asked by every check.
    let io = server.connect().await.map_err(|error| error.to_string().replace("the service at ", ""))?;
    let told = |error: hyper::Error| format!("{} does not answer in HTTP: {error}", server.authority());
    let (mut sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(told)?;
    let exchange = async move {
        let before = SystemTime::now();
        let answer = sender.send_request(request).await.map_err(told)?;
        let after = SystemTime::now();
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes(), before, after })
    };
    // The connection ends with the exchange, which says how.
    let (exchanged, _) = tokio::join!(exchange, connection);
    exchanged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_that_a_cache_repeats_is_no_sight_of_a_clock() {
        let now = SystemTime::now();
        let sighted = |headers: &[(&'static str, &'static str)]| {
            let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            let status = StatusCode::OK;
            Answer { status, headers, body: Bytes::new(), before: now, after: now }.sighting("a").is_some()
        };
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert!(sighted(&[date]));
        assert!(!sighted(&[date, ("age", "3")]) && !sighted(&[date, ("age", "0")]) && !sighted(&[]));
    }
}
