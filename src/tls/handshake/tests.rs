use std::{fs, io::Write as _, net::TcpListener, time::SystemTime};

use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::{
    io::AsyncReadExt as _,
    net::UnixStream,
    task::{LocalSet, spawn_local},
};

use super::*;
use crate::tls::{TlsTable, provider};

const CLIENTS: usize = 100;
const TURNS: usize = 20;

fn tls() -> Tls {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["gate.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    let file = |name: &str, content: String| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        Some(path)
    };
    let (certificate, private_key) = (file("tls.crt", certificate.pem()), file("tls.key", key.serialize_pem()));
    let table = TlsTable { certificate, private_key, ..TlsTable::default() };
    Tls::new(TlsRules::compile(&table, None, SystemTime::now(), None).unwrap())
}

/// The first that a client says.
fn hello() -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), "gate.test".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// Clients that have said hello, and their ends.
fn clients() -> Vec<(TcpStream, std::net::TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let clients = (0..CLIENTS).map(|_| {
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(&hello()).unwrap();
        client.set_nonblocking(true).unwrap();
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        (TcpStream::from_std(ours).unwrap(), client)
    });
    clients.collect()
}

fn answered(clients: &[std::net::TcpStream]) -> usize {
    clients.iter().filter(|client| client.peek(&mut [0]).is_ok_and(|bytes| bytes > 0)).count()
}

#[tokio::test]
async fn between_two_handshakes_an_open_session_has_its_turn() {
    let work = async {
        let handshakes = Rc::new(Handshakes::new(Arc::new(tls()), Tally::new(&[])));
        let (ours, theirs): (Vec<_>, Vec<_>) = clients().into_iter().unzip();
        for stream in ours {
            let handshakes = Rc::clone(&handshakes);
            let (peer, within) = (IpAddr::from([127, 0, 0, 1]), Duration::from_secs(60));
            spawn_local(async move { handshakes.accept(stream, peer, within).await });
        }
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let mut turn = async || {
            near.write_all(b"x").await.unwrap();
            // Having got less than it has room for, it asks the reactor the next time.
            assert_eq!(far.read(&mut [0; 2]).await.unwrap(), 1);
        };
        for _ in 0..TURNS {
            turn().await;
        }
        let early = answered(&theirs);
        assert!(early <= TURNS + 5, "{early} handshakes within {TURNS} turns");
        while answered(&theirs) < CLIENTS {
            turn().await;
        }
    };
    timeout(Duration::from_secs(60), LocalSet::new().run_until(work)).await.unwrap();
}

#[tokio::test]
async fn nothing_is_computed_for_a_client_that_has_left() {
    let handshakes = Handshakes::new(Arc::new(tls()), Tally::new(&[]));
    for (ours, theirs) in clients() {
        drop(theirs);
        let outcome = handshakes.handshake(ours).await;
        assert!(matches!(outcome, Err(HandshakeError::Abandoned)), "{outcome:?}");
    }
}
