//! TLS handshakes that are begun and abandoned, as fast as an attacker can.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

use crate::support::{Gate, Pki, Service, bystander::Waits, pki::SecretFolder, token, waits_during};

const ATTACKERS: usize = 32;
const LASTS: Duration = Duration::from_secs(3);
/// Handshakes a second of one address, few enough that a slow machine begins more.
const RATE: f64 = 5.0;

/// The first bytes of a client, which make the gate compute.
fn hello() -> Vec<u8> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
    let mut connection = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}

/// Returns how many were begun.
async fn abandon(gate: SocketAddr) -> usize {
    let (hello, until) = (Arc::new(hello()), Instant::now() + LASTS);
    let mut attackers = JoinSet::new();
    for _ in 0..ATTACKERS {
        let hello = Arc::clone(&hello);
        attackers.spawn(async move {
            let mut begun = 0;
            while Instant::now() < until {
                let Ok(mut stream) = TcpStream::connect(gate).await else { continue };
                let _ = stream.write_all(&hello).await;
                // The gate has computed its part when it answers.
                let _ = stream.read(&mut [0; 1]).await;
                begun += 1;
            }
            begun
        });
    }
    attackers.join_all().await.into_iter().sum()
}

/// What an attack came to.
#[derive(Debug)]
struct Outcome {
    /// How long a good client waited.
    waits: Waits,
    /// How long the attack lasted.
    lasted: Duration,
    /// Handshakes that were begun, and those that the gate took up.
    begun: usize,
    taken_up: usize,
}

async fn attack(settings: &str) -> Outcome {
    let (pki, service) = (Pki::new(), Service::start().await);
    let folder = SecretFolder::of(&pki.localhost(1));
    let gate = Gate::before(&service).over_tls(&pki, &folder).with("rate_limit = []").with(settings).await;
    let good = gate.client(token("ada")).await;
    let began = Instant::now();
    let (waits, begun) = waits_during(&good, abandon(gate.address)).await;
    let metrics = gate.metrics().await;
    let taken_up = ["failed", "displaced", "timeout", "full", "abandoned"]
        .map(|result| metrics.sum("tidegate_tls_handshakes_total", &[("result", result)]) as usize);
    Outcome { waits, lasted: began.elapsed(), begun, taken_up: taken_up.iter().sum() }
}

#[tokio::test]
async fn handshakes_over_the_rate_are_closed_before_they_cost_anything() {
    let limited = attack(&format!("limits.handshakes_per_ip = {RATE}")).await;
    eprintln!("with limits.handshakes_per_ip: {limited:?}");
    let most = RATE * (5.0 + limited.lasted.as_secs_f64());
    assert!((limited.taken_up as f64) < most, "four seconds' worth at once, and then the rate: {limited:?}");
    limited.waits.assert_prompt();

    // The control: the same attack without the limit.
    let control = attack("limits.handshakes_per_ip = 0").await;
    eprintln!("without: {control:?}");
    assert!(control.taken_up * 2 > control.begun, "the gate takes them up: {control:?}");
    // What costs is to take one up; the figures of processor time are of little use where all is short.
    let share = |outcome: &Outcome| outcome.taken_up as f64 / outcome.begun as f64;
    assert!(share(&limited) < share(&control) / 2.0, "{limited:?} {control:?}");
}
