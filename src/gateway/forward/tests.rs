//! The gate's forwarding between a raw client and a service, both real and on loopback.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use http::header;
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::*;
use crate::{
    policy::{connections::LimitsTable, requests::Requests},
    relay::dial::UpstreamTable,
    units::Period,
};

const DEADLINE: Duration = Duration::from_secs(40);

fn upstream(address: SocketAddr) -> UpstreamTable {
    UpstreamTable { url: format!("http://{address}"), ..UpstreamTable::default() }
}

/// A service that answers what it has seen: request line, fields in order of name, body.
async fn echo() -> SocketAddr {
    async fn answer(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
        let mut seen = vec![format!("{} {}", request.method(), request.uri())];
        let fields = request.headers().iter();
        seen.extend(fields.map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))));
        seen[1..].sort();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        seen.push(format!("<{}>", String::from_utf8_lossy(&body)));
        let mut response = Response::new(seen.join("\n"));
        for (name, value) in [("connection", "x-hop"), ("x-hop", "1"), ("keep-alive", "timeout=9"), ("server", "echo")]
        {
            response.headers_mut().append(name, value.parse().unwrap());
        }
        Ok(response)
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let http1 = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http1.serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    address
}

/// A service that reads a request head and then writes what it is told, and closes if told so.
async fn scripted(answer: &'static str, closes: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            if !closes {
                open.push(stream);
            }
        }
    });
    address
}

/// A gate that forwards everything.
async fn gate(table: &UpstreamTable) -> SocketAddr {
    let forward = Forward::new(Dialler::compile(table, None).unwrap(), table.response_timeout.0, 8, Arc::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, socket)) = listener.accept().await {
            let forward = forward.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let forward = forward.clone();
                async move {
                    let peer = Peer::of(socket, request.headers(), &[], false);
                    let (identity, tally) = ([HeaderName::from_static("x-user-id")], Tally::new(&[]));
                    let place = Requests::new(&LimitsTable::default()).admit(peer.address).unwrap();
                    let forwarding = Forwarding { peer: &peer, identity: &identity, place, tally: &tally };
                    Ok::<_, Infallible>(forward.forward(request, forwarding).await)
                }
            });
            let http1 = hyper::server::conn::http1::Builder::new();
            tokio::spawn(http1.serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

async fn exchange(gate: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(gate).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("the connection is closed").unwrap();
    answer
}

async fn get(table: &UpstreamTable) -> String {
    exchange(gate(table).await, "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await
}

#[tokio::test]
async fn the_service_sees_the_request_as_it_came_and_who_sent_it() {
    let gate = gate(&upstream(echo().await)).await;
    let answer = exchange(
        gate,
        "POST /a;b=%41|c?d=%20+e&&f HTTP/1.1\r\nHost: gate.example\r\nConnection: close, x-hop, upgrade\r\nX-Hop: 1\r\n\
         Upgrade: h2c\r\nTE: trailers\r\nX-User-Id: admin\r\nX_User_Id: admin\r\nX-Forwarded-For: 1.1.1.1\r\n\
         Cookie: a=b\r\nContent-Length: 5\r\n\r\nhello",
    )
    .await;
    let seen = [
        "POST /a;b=%41|c?d=%20+e&&f",
        "content-length: 5",
        "cookie: a=b",
        "host: gate.example",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: gate.example",
        "x-forwarded-proto: http",
        "<hello>",
    ];
    assert!(answer.ends_with(&format!("\r\n\r\n{}", seen.join("\n"))), "{answer}");
}

#[tokio::test]
async fn the_answer_is_free_of_what_ends_at_this_hop() {
    let answer = get(&upstream(echo().await)).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("server: echo\r\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(!answer.contains("x-hop") && !answer.contains("keep-alive"), "{answer}");
}

#[tokio::test]
async fn chunked_bodies_stream_both_ways() {
    let service = scripted("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", false).await;
    let answer = get(&upstream(service)).await;
    assert!(answer.contains("transfer-encoding: chunked\r\n") && answer.ends_with("3\r\nabc\r\n0\r\n\r\n"), "{answer}");

    let request = "PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let answer = exchange(gate(&upstream(echo().await)).await, request).await;
    assert!(answer.ends_with("<abcde>") && answer.contains("transfer-encoding: chunked\n"), "{answer}");
}

#[tokio::test]
async fn an_old_client_is_answered_in_its_version() {
    let service = scripted("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", false).await;
    let answer = exchange(gate(&upstream(service)).await, "GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("\r\n\r\nabc"), "{answer}");
}

#[tokio::test]
async fn a_head_request_keeps_the_length_it_asked_for() {
    let service = scripted("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", false).await;
    let request = "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = exchange(gate(&upstream(service)).await, request).await;
    assert!(answer.contains("content-length: 1234\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it() {
    let mut stream = TcpStream::connect(gate(&upstream(echo().await)).await).await.unwrap();
    let head = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut go_on = [0; 25];
    timeout(DEADLINE, stream.read_exact(&mut go_on)).await.unwrap().unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.ends_with("<abc>"), "{answer}");
}

#[tokio::test]
async fn a_request_may_not_strip_an_identity() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-user-id\r\n\r\n";
    let answer = exchange(gate(&upstream(echo().await)).await, request).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("http_connection"), "{answer}");
}

#[tokio::test]
async fn the_client_is_told_what_is_wrong_with_the_service_and_not_where_it_is() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let port = closed.port().to_string();
    let answer = get(&upstream(closed)).await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("upstream.unreachable"), "{answer}");
    assert!(!answer.contains(&port) && !answer.contains("127.0.0.1"), "{answer}");

    let answer = get(&upstream(scripted("", true).await)).await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("upstream.broken"), "{answer}");
    let answer = get(&upstream(scripted("nonsense\r\n\r\n", true).await)).await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("upstream.broken"), "{answer}");
    let switches =
        scripted("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", false).await;
    let answer = get(&upstream(switches)).await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");

    let silent = scripted("", false).await;
    let answer = get(&UpstreamTable { response_timeout: Period(Duration::from_millis(50)), ..upstream(silent) }).await;
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("upstream.timeout"), "{answer}");
}

#[tokio::test]
async fn a_service_may_say_a_few_times_that_it_is_at_work_but_not_for_ever() {
    const FEW: &str = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
        HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let answer = get(&upstream(scripted(FEW, false).await)).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
    let go_on: &str = Box::leak("HTTP/1.1 100 Continue\r\n\r\n".repeat(20).into_boxed_str());
    let answer = get(&upstream(scripted(go_on, false).await)).await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("upstream.broken"), "{answer}");
}

#[tokio::test]
async fn the_time_to_answer_does_not_run_while_an_upload_moves() {
    let table = UpstreamTable { response_timeout: Period(Duration::from_secs(6)), ..upstream(echo().await) };
    let mut stream = TcpStream::connect(gate(&table).await).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 8\r\n\r\n").await.unwrap();
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(900)).await;
        stream.write_all(b"a").await.unwrap();
    }
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.ends_with("<aaaaaaaa>"), "{answer}");
}

#[tokio::test]
async fn a_connection_that_died_in_the_pool_is_not_noticed() {
    // Closes each connection after one answer without having said so.
    let service = scripted("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true).await;
    let gate = gate(&upstream(service)).await;
    for _ in 0..20 {
        let answer = exchange(gate, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn a_date_of_the_service_passes() {
    let service = scripted("HTTP/1.1 204 No Content\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n", false).await;
    let answer = get(&upstream(service)).await;
    assert!(answer.contains("date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"), "{answer}");
    assert_eq!(answer.matches(header::DATE.as_str()).count(), 1);
}
