//! The TLS handshake with clients: bounded in time, in number and per address. Between two handshake computations the
//! open sessions of the worker are served.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    HandshakeKind, ServerConfig,
    server::{Acceptor, ClientHello},
};
use socket2::SockRef;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    sync::{Semaphore, oneshot},
    task::yield_now,
    time::timeout,
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use super::{ClientCertificate, Tls, TlsRules, client_auth::has_expired, io::Socket};
use crate::{
    observe::{journal, tally::Tally},
    relay::stream::ClientStream,
    tls::acme::challenges::is_challenge,
};

/// Concurrent handshakes on one worker. A further one displaces the oldest, so silent connections never block others.
const IN_PROGRESS_MAX: usize = 512;

/// The negotiated protocol (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, also without negotiation.
    Http1,
    /// HTTP/2.
    Http2,
}

/// A client's connection after the handshake.
#[derive(Debug)]
pub struct Arrival {
    /// The decrypted stream.
    pub io: ClientStream,
    /// The negotiated protocol.
    pub protocol: Protocol,
    /// Whether it is encrypted.
    pub tls: bool,
    /// The client's certificate. `None` where it showed none.
    pub certificate: Option<Arc<ClientCertificate>>,
}

impl Arrival {
    /// A connection without TLS.
    #[must_use]
    pub fn plain(stream: TcpStream) -> Self {
        Self { io: Box::new(stream), protocol: Protocol::Http1, tls: false, certificate: None }
    }
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("too many TLS handshakes from this address; limits.handshakes_per_ip bounds them")]
    TooMany,
    #[error("displaced by a newer one: {IN_PROGRESS_MAX} TLS handshakes were in progress")]
    Displaced,
    #[error("the client closed before its TLS handshake began")]
    Abandoned,
    #[error("the TLS handshake was not complete in time")]
    Timeout,
    #[error("the TLS handshake failed: {0}")]
    Failed(#[from] io::Error),
    #[error("the client certificate of the resumed TLS session has expired; the client must show a new one")]
    Expired,
}

impl HandshakeError {
    const fn label(&self) -> &'static str {
        match self {
            Self::TooMany => "rate_limited",
            Self::Displaced => "displaced",
            Self::Abandoned => "abandoned",
            Self::Timeout => "timeout",
            Self::Failed(_) | Self::Expired => "failed",
        }
    }
}

/// The handshakes of one worker.
#[derive(Debug)]
pub struct Handshakes {
    tls: Arc<Tls>,
    tally: Arc<Tally>,
    /// One handshake computes at a time, in the order of arrival.
    turn: Semaphore,
    in_progress: Rc<RefCell<InProgress>>,
}

#[derive(Debug, Default)]
struct InProgress {
    next: u64,
    give_up: BTreeMap<u64, oneshot::Sender<()>>,
}

impl Handshakes {
    /// No handshake is in progress.
    #[must_use]
    pub fn new(tls: Arc<Tls>, tally: Arc<Tally>) -> Self {
        Self { tls, tally, turn: Semaphore::new(1), in_progress: Rc::default() }
    }

    /// Closes a connection from an address that has made too many handshakes, before anything is done for it.
    pub fn refuse(&self, stream: TcpStream, peer: IpAddr) {
        // A reset leaves no state behind in this kernel.
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        drop(stream);
        self.failed(&HandshakeError::TooMany, peer);
    }

    /// Does one handshake. Returns `None` if it fails, which is counted and logged, and for an ACME challenge, which ends
    /// here.
    pub async fn accept(&self, stream: TcpStream, peer: IpAddr, within: Duration) -> Option<Arrival> {
        let (in_progress, given_up) = self.begin();
        let outcome = tokio::select! {
            outcome = timeout(within, self.handshake(stream)) => outcome.unwrap_or(Err(HandshakeError::Timeout)),
            _ = given_up => Err(HandshakeError::Displaced),
        };
        drop(in_progress);
        outcome.inspect_err(|error| self.failed(error, peer)).ok().flatten()
    }

    fn failed(&self, error: &HandshakeError, peer: IpAddr) {
        self.tally.tls_handshake(error.label());
        journal::tls_failed(peer, error.label(), error);
    }

    async fn handshake(&self, stream: TcpStream) -> Result<Option<Arrival>, HandshakeError> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), Socket::new(stream)).await?;
        let rules = self.tls.rules();
        if let Some(answer) = answer_to_challenge(&rules, &start.client_hello()).await {
            start.into_stream(answer).await?.shutdown().await?;
            self.tally.tls_handshake("challenge");
            return Ok(None);
        }
        let accept = {
            // Signing and key exchange take a part of a millisecond here.
            let _turn = self.turn.acquire().await;
            if start.io.is_abandoned() {
                // It had to wait for its turn, and has left meanwhile. Finding that out takes a microsecond.
                return Err(HandshakeError::Abandoned);
            }
            let accept = start.into_stream(Arc::clone(&rules.config));
            // Lets open sessions run before the next handshake computes.
            yield_now().await;
            accept
        };
        let stream = Box::new(accept.await?);
        let (_, connection) = stream.get_ref();
        let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        // A resumed session shows no certificate and gets a new ticket: reject it once the certificate has expired.
        let leaf = connection.peer_certificates().and_then(<[_]>::first).filter(|_| resumed);
        if leaf.is_some_and(|leaf| has_expired(leaf, SystemTime::now())) {
            return Err(HandshakeError::Expired);
        }
        self.tally.tls_handshake(if resumed { "resumed" } else { "full" });
        Ok(Some(arrival(stream, &rules)))
    }

    fn begin(&self) -> (Registration, oneshot::Receiver<()>) {
        let (give_up, given_up) = oneshot::channel();
        let mut in_progress = self.in_progress.borrow_mut();
        if in_progress.give_up.len() >= IN_PROGRESS_MAX
            && let Some((_, oldest)) = in_progress.give_up.pop_first()
        {
            let _ = oldest.send(());
        }
        let number = in_progress.next;
        in_progress.next += 1;
        in_progress.give_up.insert(number, give_up);
        (Registration { number, in_progress: Rc::clone(&self.in_progress) }, given_up)
    }
}

/// The TLS configuration that answers an ACME challenge, without client certificates (RFC 8737). `None` for any other
/// client.
async fn answer_to_challenge(rules: &TlsRules, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
    let ordered = rules.ordered.as_ref().filter(|_| is_challenge(hello))?;
    ordered.challenges.tls_alpn_01(hello.server_name()?).await
}

fn arrival(stream: Box<TlsStream<Socket>>, rules: &TlsRules) -> Arrival {
    let (_, connection) = stream.get_ref();
    let protocol = if connection.alpn_protocol() == Some(b"h2") { Protocol::Http2 } else { Protocol::Http1 };
    let leaf = connection.peer_certificates().and_then(<[_]>::first);
    let certificate = leaf.and_then(|leaf| rules.client.of(leaf)).map(Arc::new);
    Arrival { io: stream, protocol, tls: true, certificate }
}

/// Registers one handshake while it is in progress.
struct Registration {
    number: u64,
    in_progress: Rc<RefCell<InProgress>>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.in_progress.borrow_mut().give_up.remove(&self.number);
    }
}

#[cfg(test)]
mod tests;
