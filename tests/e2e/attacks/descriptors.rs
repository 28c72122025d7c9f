//! More clients than there are descriptors: those that fit are served, the others hear so, and the operator is answered
//! all the time.

use std::{future::Future, net::SocketAddr, pin::pin, time::Duration};

use tokio::{net::TcpStream, time::timeout};

use crate::support::{Gate, Pki, Raw, Service, eventually, http, pki::SecretFolder, tls::TlsClient, token};

const DESCRIPTORS: u32 = 80;
const CLIENTS: usize = 100;
/// Clients that do not answer pings stay, and who says nothing has a minute, however slow the machine.
const PATIENT: &str = "socketio.ping_interval = \"10m\"\nlimits.handshake_timeout = \"60s\"";
/// The answer to a request that waits for packets, as a session.
const SERVED: u16 = 101;

/// What a client of the gate hears: it is a session of the service, or the status with which it is refused.
async fn comes(gate: SocketAddr) -> (u16, Raw) {
    let mut raw = Raw::connect(gate).await;
    raw.ask_upgrade("/socket.io/?EIO=4&transport=websocket", "").await;
    let status = raw.status().await;
    if status == SERVED {
        assert!(raw.frame().await.text().starts_with("0{"));
        raw.say(&format!("40{{\"token\":\"{}\"}}", token("raw"))).await;
        assert!(raw.frame().await.text().starts_with("40{\"sid\":"), "who is let in reaches the service");
    }
    (status, raw)
}

/// Asks the operator's address without a pause until `attack` has ended, which goes on meanwhile. Returns how often, with its
/// outcome.
async fn operator_during<T>(gate: &Gate, attack: impl Future<Output = T>) -> (usize, T) {
    let (mut attack, mut asked) = (pin!(attack), 0);
    loop {
        let asks = async {
            for path in ["/livez", "/readyz", "/metrics"] {
                assert_eq!(http::get(&gate.admin_url(path)).await.status, 200, "{path}");
            }
        };
        tokio::select! {
            outcome = &mut attack => return (asked, outcome),
            () = asks => asked += 1,
        }
    }
}

/// The clients that are served, and how many are refused with 503.
async fn all_come(gate: SocketAddr) -> (Vec<Raw>, usize) {
    let mut served = Vec::new();
    let mut refused = 0;
    for _ in 0..CLIENTS {
        match comes(gate).await {
            (SERVED, raw) => served.push(raw),
            (503, _) => refused += 1,
            (status, _) => panic!("{status}"),
        }
    }
    (served, refused)
}

#[tokio::test]
async fn the_doctor_wants_as_many_as_a_node_does() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with_descriptors(1000).await;
    let line = gate.log().wait(&["1000 descriptors", "ulimit -n"]).await;
    let mut doctor = tokio::process::Command::new("prlimit");
    doctor.args(["--nofile=1000", env!("CARGO_BIN_EXE_tidegate"), "doctor"]).arg(gate.file());
    let found = String::from_utf8(doctor.output().await.unwrap().stdout).unwrap();
    let sentence = |text: &str| {
        let (_, rest) = text.split_once("limits.connections is 20000").expect("it warns");
        rest.split_once(" or lower").unwrap().0.to_owned()
    };
    assert_eq!(sentence(&found), sentence(&line));
}

#[tokio::test]
async fn clients_that_fit_are_served_and_the_operator_always() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(PATIENT).with_descriptors(DESCRIPTORS).await;
    gate.log().wait(&["limits.connections is 20000", "80 descriptors", "ulimit -n"]).await;
    let fit = gate.metrics().await.sum("tidegate_connections_max", &[]) as usize;
    assert!((10..DESCRIPTORS as usize / 2).contains(&fit), "{fit}");

    let (asked, (served, refused)) = operator_during(&gate, all_come(gate.address)).await;
    assert!(asked > 1);
    assert_eq!((served.len(), refused), (fit, CLIENTS - fit));
    let (_, (again, _)) = operator_during(&gate, all_come(gate.address)).await;
    assert!(again.is_empty(), "those who are served stay");
    gate.log().wait(&["limit.descriptors", "127.0.0.1"]).await;
    gate.counts(0.0, "tidegate_accept_errors_total", &[]).await;
    gate.counts(0.0, "tidegate_upstream_dials_total", &[("result", "failed")]).await;

    drop((served, again));
    eventually("there is room again", async || {
        (gate.metrics().await.sum("tidegate_sessions", &[]) == 0.0).then_some(())
    })
    .await;
    let (served, _) = all_come(gate.address).await;
    assert_eq!(served.len(), fit, "nothing is lost");
}

/// Clients that connect and say nothing hold what fits; who comes after them is refused at once, not after their time.
#[tokio::test]
async fn silent_connections_keep_nobody_from_an_answer() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with(PATIENT).with_descriptors(DESCRIPTORS).await;
    let silent = async {
        let mut silent = Vec::new();
        for _ in 0..CLIENTS * 3 {
            silent.push(TcpStream::connect(gate.address).await.unwrap());
        }
        let (status, _) = comes(gate.address).await;
        (silent, status)
    };
    let (_, (silent, status)) = operator_during(&gate, silent).await;
    assert_eq!(status, 503);
    gate.counts(0.0, "tidegate_accept_errors_total", &[]).await;
    drop(silent);
    eventually("there is room again", async || (comes(gate.address).await.0 == SERVED).then_some(())).await;
}

/// One connection of HTTP/2 needs a descriptor for each request that it forwards.
#[tokio::test]
async fn requests_of_one_connection_need_descriptors_as_well() {
    let (pki, service) = (Pki::new(), Service::start().await);
    let folder = SecretFolder::of(&pki.localhost(1));
    let gate = Gate::before(&service).over_tls(&pki, &folder).with_descriptors(DESCRIPTORS).await;
    let requests = async {
        let http2 = TlsClient::new(&pki).http2(gate.address).await;
        let mut waiting = Vec::new();
        for _ in 0..60 {
            let mut http2 = http2.clone();
            waiting.push(tokio::spawn(async move { http2.request("GET", "/never", &[], "").await }));
        }
        gate.log().wait(&["limit.descriptors"]).await;
        waiting.into_iter().for_each(|waiting| waiting.abort());
    };
    operator_during(&gate, requests).await;
    gate.counts(0.0, "tidegate_accept_errors_total", &[]).await;
    eventually("there is room again", async || {
        let client = TlsClient::new(&pki).http1(gate.address, "GET", "/headers", &[], "").await;
        client.is_ok_and(|reply| reply.status == 200).then_some(())
    })
    .await;
}

/// The control: the service itself, with as few descriptors, answers nobody beside those who came first, its own
/// operator least of all.
#[tokio::test]
async fn control_without_a_gate_the_operator_is_not_answered() {
    let service = Service::start().await;
    service.limit_descriptors(DESCRIPTORS);
    let mut open = Vec::new();
    for _ in 0..CLIENTS {
        open.push(TcpStream::connect(service.address()).await.unwrap());
    }
    let url = format!("{}/seen", service.url());
    let answer = timeout(Duration::from_secs(1), http::try_request("GET", &url, &[], ""));
    assert!(!matches!(answer.await, Ok(Ok(_))), "it would have needed one descriptor");
    drop(open);
    eventually("it is there again", async || {
        timeout(Duration::from_secs(1), http::try_request("GET", &url, &[], "")).await.ok()?.ok()
    })
    .await;
}
