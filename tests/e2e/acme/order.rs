//! Certificates that are ordered from Pebble, by the parts that a gate is made of.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use rustls::server::Acceptor;
use tempfile::TempDir;
use tidegate::{
    observe::gauges::Gauges,
    tls::acme::{
        Acme, AcmeTable, ChallengeType, Ordered,
        challenges::{Challenges, is_challenge},
        http01,
    },
};
use tokio::{
    net::TcpListener,
    sync::mpsc::{self, UnboundedReceiver},
    task::JoinHandle,
};
use tokio_rustls::LazyConfigAcceptor;

use crate::support::{eventually, pebble::Pebble, ports::Port, soon};

/// A server, and a node that shows it in one way that the names lead to it.
pub(super) struct World {
    pub(super) pebble: Pebble,
    pub(super) table: AcmeTable,
    pub(super) folder: TempDir,
    ports: [Port; 2],
    answering: Vec<JoinHandle<()>>,
}

impl World {
    pub(super) async fn with(challenge_type: ChallengeType) -> Self {
        Self::issuing(challenge_type, Duration::from_secs(3600)).await
    }

    /// Its certificates last so long.
    pub(super) async fn issuing(challenge_type: ChallengeType, validity: Duration) -> Self {
        let [http, tls] = [Port::reserve(), Port::reserve()];
        let pebble = Pebble::start(http.address, tls.address, validity).await;
        let folder = TempDir::new().unwrap();
        let table = AcmeTable {
            domains: vec!["gate.test".to_owned(), "b.gate.test".to_owned()],
            contact: vec!["mailto:ops@gate.test".to_owned()],
            directory: pebble.directory(),
            cache: folder.path().join("acme"),
            root_ca: Some(pebble.root_ca()),
            challenges: vec![challenge_type],
            http_address: Some(http.address),
        };
        let mut world = Self { pebble, table, folder, ports: [http, tls], answering: Vec::new() };
        world.answer_with(&world.node().challenges()).await;
        world
    }

    /// From now on this node answers the authority, and no other.
    pub(super) async fn answer_with(&mut self, challenges: &Arc<Challenges>) {
        for task in self.answering.drain(..) {
            task.abort();
            let _ = task.await;
        }
        let [http, tls] = &self.ports;
        let [http, tls] = [http, tls].map(|port| TcpListener::bind(port.address));
        let over_http = http01::serve(http.await.unwrap(), Arc::clone(challenges), 16);
        let in_handshakes = answer_handshakes(tls.await.unwrap(), Arc::clone(challenges));
        self.answering = vec![tokio::spawn(over_http), tokio::spawn(in_handshakes)];
    }

    /// A replica: what answers the authority is another one, that shares its cache.
    fn node(&self) -> Acme {
        Acme::new(&self.table, Arc::new(Gauges::new())).unwrap()
    }

    /// What a replica publishes.
    pub(super) fn run(&self) -> UnboundedReceiver<Ordered> {
        publishing(self.node())
    }

    /// Waits until the certificate is kept.
    pub(super) async fn kept(&self) -> PathBuf {
        eventually("a certificate in the cache", async || {
            let entries = fs::read_dir(self.folder.path().join("acme")).unwrap();
            let mut paths = entries.map(|entry| entry.unwrap().path());
            paths.find(|path| path.extension().is_some_and(|extension| extension == "pem"))
        })
        .await
    }
}

pub(super) fn publishing(node: Acme) -> UnboundedReceiver<Ordered> {
    let (publish, published) = mpsc::unbounded_channel();
    tokio::spawn(node.run(move |ordered| drop(publish.send(ordered.clone()))));
    published
}

async fn answer_handshakes(listener: TcpListener, challenges: Arc<Challenges>) {
    while let Ok((stream, _)) = listener.accept().await {
        let challenges = Arc::clone(&challenges);
        tokio::spawn(async move {
            let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await.unwrap();
            assert!(is_challenge(&start.client_hello()));
            let name = start.client_hello().server_name().unwrap().to_owned();
            let config = challenges.tls_alpn_01(&name).await.unwrap();
            start.into_stream(config).await.unwrap();
        });
    }
}

pub(super) async fn next(published: &mut UnboundedReceiver<Ordered>) -> Ordered {
    soon("a certificate", published.recv()).await.unwrap()
}

#[tokio::test]
async fn replicas_that_share_a_cache_order_one_certificate() {
    let world = World::with(ChallengeType::Http01).await;
    let mut replicas: Vec<_> = (0..4).map(|_| world.run()).collect();
    let mut serials = Vec::new();
    for replica in &mut replicas {
        serials.push(next(replica).await.key().cert[0].clone());
    }
    serials.dedup();
    assert_eq!(serials.len(), 1);
}

#[tokio::test]
async fn an_account_that_the_server_has_forgotten_is_made_anew() {
    let mut world = World::with(ChallengeType::Http01).await;
    let first = next(&mut world.run()).await;
    fs::remove_file(world.kept().await).unwrap();
    world.pebble.stop().await;
    world.pebble.restart().await;
    let second = next(&mut world.run()).await;
    assert_ne!(first.key().cert, second.key().cert);
}
