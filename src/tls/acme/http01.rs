//! Plain HTTP beside TLS: answers HTTP-01 challenges (RFC 8555 §8.3) and redirects browsers to https.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use super::challenges::Challenges;

/// Concurrent connections. A further one closes the oldest, so silent clients never keep the authority out.
const CONNECTIONS_MAX: usize = 256;
/// How long a request head may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may take with its one request and answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How large a request head may be.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// The pause after a failed `accept`, so that a lack of descriptors does not become a lack of processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the authority looks (RFC 8555 §8.3).
const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";

/// Answers on `listener` until it is dropped.
pub async fn serve(listener: TcpListener, challenges: Arc<Challenges>) {
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        oldest_first.retain(|connection| !connection.is_finished());
        if oldest_first.len() >= CONNECTIONS_MAX
            && let Some(oldest) = oldest_first.pop_front()
        {
            oldest.abort();
        }
        oldest_first.push_back(connections.spawn(connection(stream, Arc::clone(&challenges))));
    }
}

async fn connection(stream: TcpStream, challenges: Arc<Challenges>) {
    let service = service_fn(|request: Request<_>| {
        let challenges = Arc::clone(&challenges);
        async move { Ok::<_, Infallible>(answer(&request, &challenges).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A connection that is cut off here was idle for too long.
    let _ = timeout(CONNECTION_TIMEOUT, serving).await;
}

async fn answer<B>(request: &Request<B>, challenges: &Challenges) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "Use https.\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    if let Some(token) = request.uri().path().strip_prefix(CHALLENGE_PATH) {
        return match challenges.http_01(token).await {
            Some(key_authorization) => octets(StatusCode::OK, key_authorization),
            None => plain(StatusCode::NOT_FOUND, "No such challenge is open.\n"),
        };
    }
    let Some(host) = host(request) else { return plain(StatusCode::BAD_REQUEST, "The Host header is missing.\n") };
    // Only to names of ours: else this would lead to wherever a link wants.
    if !challenges.is_domain(&host) {
        return plain(StatusCode::NOT_FOUND, "There is nothing here by that name.\n");
    }
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    // `*` stands for the server as a whole, and behind a name it would make another of it.
    let target = if target == "*" { "/" } else { target };
    match HeaderValue::try_from(format!("https://{host}{target}")) {
        Ok(location) => {
            let mut response = plain(StatusCode::PERMANENT_REDIRECT, "Use https.\n");
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        Err(_) => plain(StatusCode::BAD_REQUEST, "The request target is malformed.\n"),
    }
}

/// The name that was asked for, in lower case, without a port.
fn host<B>(request: &Request<B>) -> Option<String> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (host, None) = (hosts.next()?.to_str().ok()?, hosts.next()) else { return None };
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    Some(name.to_ascii_lowercase())
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = octets(status, text);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn octets(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::tls::acme::{
        challenges::{Open, tests::challenges},
        table::ChallengeType,
    };

    async fn asked(method: &str, target: &str, hosts: &[&str]) -> (u16, String) {
        let challenges = challenges(&["ws.test", "b.test"]);
        let (challenge_type, domain) = (ChallengeType::Http01, "ws.test".to_owned());
        let (token, key_authorization) = ("tok".to_owned(), "tok.thumb".to_owned());
        challenges.open(vec![Open { challenge_type, domain, token, key_authorization }]).await;
        let mut request = Request::builder().method(method).uri(target);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        let response = answer(&request.body(()).unwrap(), &challenges).await;
        let location = response.headers().get(header::LOCATION).map(|location| location.to_str().unwrap().to_owned());
        (response.status().as_u16(), location.unwrap_or_default())
    }

    #[tokio::test]
    async fn only_names_of_ours_are_led_to_https() {
        for (method, target, hosts, status, location) in [
            ("GET", "/a/b?c=d", &["ws.test"][..], 308, "https://ws.test/a/b?c=d"),
            ("HEAD", "/", &["WS.Test:80"], 308, "https://ws.test/"),
            ("GET", "//evil.test/", &["b.test"], 308, "https://b.test//evil.test/"),
            ("GET", "http://evil.test/x", &["ws.test"], 308, "https://ws.test/x"),
            ("GET", "*", &["ws.test"], 308, "https://ws.test/"),
            ("GET", "/", &["evil.test"], 404, ""),
            ("GET", "/", &["ws.test@evil.test"], 404, ""),
            ("GET", "/", &["evil.test", "ws.test"], 400, ""),
            ("GET", "/", &[], 400, ""),
            ("POST", "/", &["ws.test"], 405, ""),
            ("CONNECT", "ws.test:443", &["ws.test"], 405, ""),
        ] {
            let got = asked(method, target, hosts).await;
            assert_eq!(got, (status, location.to_owned()), "{method} {target} {hosts:?}");
        }
    }

    #[tokio::test]
    async fn an_open_challenge_is_answered_for_every_client() {
        for (path, status) in [
            ("/.well-known/acme-challenge/tok", 200),
            ("/.well-known/acme-challenge/other", 404),
            ("/.well-known/acme-challenge/", 404),
            ("/.well-known/acme-challenge/../tok", 404),
        ] {
            assert_eq!(asked("GET", path, &["ws.test"]).await.0, status, "{path}");
        }
    }
    #[tokio::test]
    async fn silent_connections_never_keep_the_authority_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, Arc::new(challenges(&["ws.test"]))));
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS_MAX * 2 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut authority = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {CHALLENGE_PATH}other HTTP/1.1\r\nHost: ws.test\r\n\r\n");
        authority.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(HEADER_TIMEOUT / 2, authority.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        serving.abort();
    }
}
