//! Plain HTTP beside TLS: answers HTTP-01 challenges (RFC 8555 §8.3) and redirects browsers to https.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, header};
use tokio::net::TcpListener;

use super::challenges::Challenges;
use crate::side_http::{self, Answer, text};

/// Where the authority looks (RFC 8555 §8.3).
const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";

/// Answers on `listener` until it is dropped, at most so many connections at once: an authority needs one for a moment.
pub async fn serve(listener: TcpListener, challenges: Arc<Challenges>, connections_max: usize) {
    let answer = move |request: Request<_>| {
        let challenges = Arc::clone(&challenges);
        async move { answer(&request, &challenges).await }
    };
    side_http::serve(listener, connections_max, answer).await;
}

async fn answer<B>(request: &Request<B>, challenges: &Challenges) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "Use https.\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    if let Some(token) = request.uri().path().strip_prefix(CHALLENGE_PATH) {
        return match challenges.http_01(token).await {
            Some(key_authorization) => {
                side_http::with_type(StatusCode::OK, "application/octet-stream", Bytes::from(key_authorization))
            }
            None => text(StatusCode::NOT_FOUND, "No such challenge is open.\n"),
        };
    }
    let Some(host) = host(request) else { return text(StatusCode::BAD_REQUEST, "The Host header is missing.\n") };
    // Only to names of ours: else this would lead to wherever a link wants.
    if !challenges.is_domain(&host) {
        return text(StatusCode::NOT_FOUND, "There is nothing here by that name.\n");
    }
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    // `*` stands for the server as a whole, and behind a name it would make another of it.
    let target = if target == "*" { "/" } else { target };
    match HeaderValue::try_from(format!("https://{host}{target}")) {
        Ok(location) => {
            let mut response = text(StatusCode::PERMANENT_REDIRECT, "Use https.\n");
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        Err(_) => text(StatusCode::BAD_REQUEST, "The request target is malformed.\n"),
    }
}

/// The name that was asked for, in lower case, without a port.
fn host<B>(request: &Request<B>) -> Option<String> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (host, None) = (hosts.next()?.to_str().ok()?, hosts.next()) else { return None };
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    Some(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
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
}
