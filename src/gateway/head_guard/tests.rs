//! The guard beneath a real hyper on loopback, and alone over pieces of a stream.

use std::{cell::Cell, collections::VecDeque, convert::Infallible, net::SocketAddr};

use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use proptest::prelude::*;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::*;
use crate::gateway::reply;

const LIMITS: HeadRules = HeadRules {
    head_bytes: 16_000,
    header_fields: 100,
    handshake_timeout: Duration::from_secs(10),
    body_grace: Duration::from_secs(10),
};
/// The time for a head, where it is to run out: enough for one that is sent at once, also on a machine that is busy.
const SHORT: Duration = Duration::from_millis(500);
const DEADLINE: Duration = Duration::from_secs(40);

/// Answers each request with its line and its body; upgrades `/ws` and there sends back what it was sent.
async fn answer(request: Request<Incoming>, refused: Refused) -> Result<Response<Body>, Infallible> {
    if let Some(refusal) = refused.answer(request.method()) {
        return Ok(refusal);
    }
    if request.uri().path() == "/ws" {
        tokio::spawn(send_back(hyper::upgrade::on(request)));
        let mut response = Response::new(reply::body(""));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(header::UPGRADE, http::HeaderValue::from_static("websocket"));
        response.headers_mut().insert(header::CONNECTION, http::HeaderValue::from_static("upgrade"));
        return Ok(response);
    }
    if request.uri().path() == "/slow" {
        tokio::time::sleep(SHORT * 2).await;
    }
    let refuses_upgrade = request.headers().contains_key(header::UPGRADE);
    let line = format!("{} {}", request.method(), request.uri());
    let response = match request.into_body().collect().await {
        Ok(body) => Response::new(reply::body(format!("<{line} {}>", body.to_bytes().escape_ascii()))),
        Err(_) => refused.answer_in_body().unwrap(),
    };
    Ok(if refuses_upgrade { reply::closing(response) } else { response })
}

async fn send_back(upgrade: hyper::upgrade::OnUpgrade) {
    let (mut stream, mut bytes) = reclaim::<TcpStream>(upgrade.await.unwrap()).unwrap();
    stream.write_all_buf(&mut bytes).await.unwrap();
    let (mut from, mut to) = stream.split();
    tokio::io::copy(&mut from, &mut to).await.unwrap();
}

async fn serve(limits: HeadRules) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (io, refused) = GuardedIo::new(stream, limits);
            let service = service_fn(move |request| answer(request, refused.clone()));
            tokio::spawn(limits.http1().serve_connection(TokioIo::new(io), service).with_upgrades());
        }
    });
    address
}

/// What the client reads until the connection is closed.
async fn exchange(limits: HeadRules, pieces: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(serve(limits).await).await.unwrap();
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("the connection is closed").unwrap();
    String::from_utf8(answer).unwrap()
}

/// The statuses, in order.
fn seen(answers: &str) -> Vec<&str> {
    answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect()
}

#[tokio::test]
async fn a_bad_head_is_answered_and_ends_the_connection() {
    let answers =
        exchange(LIMITS, &[b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"]).await;
    assert_eq!(seen(&answers), ["400"]);
    assert!(answers.contains("connection: close\r\n"), "{answers}");
    assert!(answers.ends_with(r#"{"code":"http_duplicate","message":"The Host header is repeated"}"#), "{answers}");
}

#[tokio::test]
async fn a_bad_head_is_answered_in_its_turn() {
    let answers = exchange(
        LIMITS,
        &[b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\nGET /c HTTP/1.1\nHost: a\r\n\r\n"],
    )
    .await;
    assert_eq!(seen(&answers), ["200", "200", "400"]);
    assert!(answers.find("<GET /slow >") < answers.find("<GET /b >"), "{answers}");
}

#[tokio::test]
async fn a_request_is_heard_although_its_client_has_gone() {
    let (mut client, server) = tokio::io::duplex(1024);
    client.write_all(b"GET /poll HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    drop(client);

    let heard = &Cell::new(false);
    let service = service_fn(|_| async move {
        heard.set(true);
        std::future::pending::<Result<Response<Body>, Infallible>>().await
    });
    let served = LIMITS.http1().serve_connection(TokioIo::new(GuardedIo::new(server, LIMITS).0), service);

    timeout(DEADLINE, served).await.expect("its end is seen").unwrap_err();
    assert!(heard.get());
}

#[tokio::test]
async fn a_client_cannot_refuse_itself() {
    let answers = exchange(LIMITS, &[SYNTHETIC_REQUEST]).await;
    assert_eq!(seen(&answers), ["400"]);
    assert!(answers.contains("This method is reserved"), "{answers}");
}

#[tokio::test]
async fn a_client_that_goes_on_sending_still_reads_why_it_was_refused() {
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(200_000));
    let answers = exchange(LIMITS, &[long.as_bytes()]).await;
    assert_eq!(seen(&answers), ["431"]);
    let answers = exchange(LIMITS, &[format!("GET /{}", "a".repeat(20_000)).as_bytes()]).await;
    assert_eq!(seen(&answers), ["414"]);
}

#[tokio::test]
async fn a_silent_client_gets_no_answer() {
    let limits = HeadRules { handshake_timeout: SHORT, ..LIMITS };
    assert_eq!(exchange(limits, &[]).await, "");
}

#[tokio::test]
async fn a_client_that_stops_within_a_head_gets_408() {
    let limits = HeadRules { handshake_timeout: SHORT, ..LIMITS };
    assert_eq!(seen(&exchange(limits, &[b"GET / HT"]).await), ["408"]);
    let after_another = exchange(limits, &[b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HT"]).await;
    assert_eq!(seen(&after_another), ["200", "408"]);
}

#[tokio::test]
async fn the_time_for_a_head_does_not_run_while_a_request_is_served() {
    let limits = HeadRules { handshake_timeout: SHORT, ..LIMITS };
    let answers = exchange(limits, &[b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]).await;
    assert!(answers.ends_with("<GET /slow >"), "{answers}");
}

#[tokio::test]
async fn a_client_that_stops_within_a_body_gets_408() {
    let limits = HeadRules { body_grace: Duration::from_millis(50), ..LIMITS };
    let answers = exchange(limits, &[b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"]).await;
    assert_eq!(seen(&answers), ["408"]);
    assert!(answers.contains("body_timeout"), "{answers}");
}

#[tokio::test]
async fn a_bad_chunk_is_answered_in_place_of_the_service() {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answers =
        exchange(LIMITS, &[head, b"3\r\nabc\r\n", b"1;a\nb\r\na\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"]).await;
    assert_eq!(seen(&answers), ["400"]);
    assert!(answers.contains("http_framing"), "{answers}");
}

#[tokio::test]
async fn bodies_of_both_kinds_keep_the_connection() {
    let answers = exchange(
        LIMITS,
        &[
            b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcPOST /b HTTP/1.1\r\nHost: a\r\nTransfer-",
            b"Encoding: chunked\r\n\r\n3\r\nd\re\r\n0\r\n\r\nGET /c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        ],
    )
    .await;
    for body in ["<POST /a abc>", r"<POST /b d\re>", "<GET /c >"] {
        assert!(answers.contains(body), "{answers}");
    }
}

#[tokio::test]
async fn a_client_that_waits_for_100_gets_it() {
    let mut stream = TcpStream::connect(serve(LIMITS).await).await.unwrap();
    let head = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut go_on = [0; 25];
    timeout(DEADLINE, stream.read_exact(&mut go_on)).await.unwrap().unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.ends_with("<POST /a abc>"), "{answer}");
}

#[tokio::test]
async fn bytes_behind_an_upgrade_go_to_the_new_owner_of_the_stream() {
    let mut stream = TcpStream::connect(serve(LIMITS).await).await.unwrap();
    let head = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    stream.write_all(&[&head[..], b"GET /early "].concat()).await.unwrap();
    stream.write_all(b"late").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("\r\n\r\nGET /early late"), "{answer}");
}

#[tokio::test]
async fn what_follows_a_refused_upgrade_is_never_served() {
    let head = b"GET /no HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let answers = exchange(LIMITS, &[&[&head[..], b"GET /private HTTP/1.1\r\nHost: a\r\n\r\n"].concat()]).await;
    assert_eq!(seen(&answers), ["200"]);
    assert!(answers.ends_with("<GET /no >"), "{answers}");
}

/// Gives out pieces, each after it was once not there yet.
struct Pieces {
    pieces: VecDeque<Vec<u8>>,
    ready: bool,
}

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.ready = !self.ready;
        if !self.ready {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(mut piece) = self.pieces.pop_front() {
            let rest = piece.split_off(piece.len().min(out.remaining()));
            out.put_slice(&piece);
            if !rest.is_empty() {
                self.pieces.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Whether the first request is to be answered without hyper, and what hyper would read; or what is behind the head.
fn first_request(pieces: &[&[u8]]) -> (bool, Vec<u8>) {
    let pieces = pieces.iter().map(|piece| piece.to_vec()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (mut io, _) = GuardedIo::new(Pieces { pieces, ready: true }, LIMITS);
        let asks = timeout(DEADLINE, std::future::poll_fn(|cx| io.poll_upgrade(cx))).await.unwrap();
        let mut read = Vec::new();
        if asks {
            assert!(io.head().starts_with(b"GET /ws HTTP/1.1\r\n") && io.head().ends_with(b"\r\n\r\n"));
            read.extend_from_slice(&io.into_parts().1);
        } else {
            // After a refusal nothing is read, not even the end.
            let _ = timeout(Duration::from_millis(50), io.read_to_end(&mut read)).await;
        }
        (asks, read)
    })
}

#[test]
fn a_first_request_for_a_websocket_can_be_taken_before_hyper_reads() {
    let upgrade: &[u8] = b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(first_request(&[upgrade]), (true, Vec::new()));
    assert_eq!(
        first_request(&[&upgrade[..9], &upgrade[9..40], &[&upgrade[40..], b"\x81\x00"].concat()]),
        (true, b"\x81\x00".to_vec())
    );
    let plain: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(first_request(&[plain]), (false, plain.to_vec()), "all of it is left to hyper");
    let bad: &[u8] = b"GET /ws HTTP/1.1\r\nHost: a\r\nHost: b\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(first_request(&[bad]), (false, SYNTHETIC_REQUEST.to_vec()));
    assert_eq!(first_request(&[]), (false, Vec::new()));
}

const PIPELINE: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n\
    POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 13\r\n\r\nGET / HTTP/1\n\
    PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\n\n\r\n\0\n\r\n1\r\na\r\n0\r\n\r\n\
    HEAD /d HTTP/1.0\r\nHost: a\r\n\r\n";

fn through_the_guard(bytes: &[u8], cuts: &[usize], room: usize) -> (Vec<u8>, usize) {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % bytes.len()).chain([0, bytes.len()]).collect();
    cuts.sort_unstable();
    let pieces = cuts.windows(2).filter(|cut| cut[0] < cut[1]).map(|cut| bytes[cut[0]..cut[1]].to_vec()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let (mut io, _) = GuardedIo::new(Pieces { pieces, ready: true }, LIMITS);
        let (mut through, mut read) = (Vec::new(), vec![0; room]);
        loop {
            match timeout(DEADLINE, io.read(&mut read)).await.expect("the stream ends").unwrap() {
                0 => return (through, io.held.capacity()),
                some => through.extend(&read[..some]),
            }
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn good_requests_pass_byte_for_byte_however_they_are_cut(
        cuts in proptest::collection::vec(any::<usize>(), 0..40),
        room in 1_usize..300,
    ) {
        let (through, held) = through_the_guard(PIPELINE, &cuts, room);
        prop_assert_eq!(through.escape_ascii().to_string(), PIPELINE.escape_ascii().to_string());
        prop_assert_eq!(held, 0, "a connection without a request owns no buffer");
    }
}
