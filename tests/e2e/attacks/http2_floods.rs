//! Frames of HTTP/2 that carry nothing, by the thousand.

use std::convert::Infallible;

use hyper::{Response, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::support::{Gate, Pki, Service, pki::SecretFolder, soon, tls::TlsClient, token, waits_during};

const FRAMES: usize = 20_000;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// A PING that is sent after the flood, and its answer.
const LAST_PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0the last";
const LAST_PONG: &[u8] = b"\0\0\x08\x06\x01\0\0\0\0the last";

/// One frame of each kind that carries nothing.
const FLOODS: [(&str, &[u8]); 6] = [
    ("PRIORITY", b"\0\0\x05\x02\0\0\0\0\x01\0\0\0\x03\x10"),
    ("PING", b"\0\0\x08\x06\0\0\0\0\0flooding"),
    ("the answer to a PING", b"\0\0\x08\x06\x01\0\0\0\0flooding"),
    ("WINDOW_UPDATE", b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01"),
    ("SETTINGS", b"\0\0\0\x04\0\0\0\0\0"),
    ("a frame of no known kind", b"\0\0\x02\x42\0\0\0\0\0hi"),
];

/// Sends as many as it can, then one PING. Returns what it reads, until the answer to that or the end.
async fn flood(stream: impl AsyncRead + AsyncWrite, frame: &[u8]) -> Vec<u8> {
    let (mut reads, mut writes) = split(stream);
    let write = async {
        writes.write_all(PREFACE).await?;
        for _ in 0..FRAMES / 100 {
            writes.write_all(&frame.repeat(100)).await?;
        }
        writes.write_all(LAST_PING).await
    };
    let read = async {
        let (mut all, mut buffer) = (Vec::new(), [0; 16_384]);
        while let Ok(len @ 1..) = reads.read(&mut buffer).await {
            all.extend(&buffer[..len]);
            if all.ends_with(LAST_PONG) {
                break;
            }
        }
        all
    };
    // A connection that is closed cannot be written to.
    soon("the end of a flood", async { tokio::join!(write, read).1 }).await
}

#[tokio::test]
async fn a_flood_of_frames_that_carry_nothing_closes_its_connection_and_no_other() {
    let (pki, service) = (Pki::new(), Service::start().await);
    let folder = SecretFolder::of(&pki.localhost(1));
    let gate = Gate::before(&service).over_tls(&pki, &folder).with("rate_limit = []").await;
    let good = gate.client(token("ada")).await;
    let mut other = TlsClient::new(&pki).http2(gate.address).await;

    let attack = async {
        let mut floods = JoinSet::new();
        for (what, frame) in FLOODS {
            let stream = TlsClient::new(&pki).offering(&["h2"]).connect(gate.address).await.unwrap();
            floods.spawn(async move { (what, flood(stream, frame).await) });
        }
        floods.join_all().await
    };
    let (waits, floods) = waits_during(&good, attack).await;

    for (what, read) in floods {
        assert!(!read.ends_with(LAST_PONG), "{what} goes on");
    }
    gate.counts(FLOODS.len() as f64, "tidegate_refused_total", &[("reason", "control_flood")]).await;
    gate.log().wait(&["control_flood", "127.0.0.1"]).await;
    assert_eq!(other.request("GET", "/headers", &[], "").await.unwrap().status, 200);
    waits.assert_prompt();
}

/// Much that a client does brings such frames along: requests without end, and large bodies both ways.
#[tokio::test]
async fn a_busy_client_is_not_taken_for_a_flood() {
    let (pki, service) = (Pki::new(), Service::start().await);
    let folder = SecretFolder::of(&pki.localhost(1));
    let gate = Gate::before(&service).over_tls(&pki, &folder).await;
    let http2 = TlsClient::new(&pki).http2(gate.address).await;
    let large = "x".repeat(4_000_000);
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let (mut http2, large) = (http2.clone(), large.clone());
        clients.spawn(async move {
            for _ in 0..60 {
                assert_eq!(http2.request("GET", "/headers", &[], "").await.unwrap().status, 200);
            }
            assert_eq!(http2.request("POST", "/echo", &[], &large).await.unwrap().body.len(), large.len());
        });
    }
    soon("all answers", clients.join_all()).await;
    gate.counts(0.0, "tidegate_refused_total", &[("reason", "control_flood")]).await;
}

/// The control: the same server without the watch reads each flood to its end, and goes on.
#[tokio::test]
async fn control_hyper_alone_goes_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let nothing =
                service_fn(async |_: hyper::Request<Incoming>| Ok::<_, Infallible>(Response::new(String::new())));
            tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), nothing));
        }
    });
    for (what, frame) in FLOODS {
        let read = flood(TcpStream::connect(address).await.unwrap(), frame).await;
        assert!(read.ends_with(LAST_PONG), "{what}");
    }
}
