//! The handshake: bounded in time, in number and per address, and never more than one step of it between two turns of
//! the sessions that are open.

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
    policy::handshake_rate::HandshakeRate,
    relay::stream::ClientStream,
    tls::acme::challenges::is_challenge,
};

/// Handshakes under way at once on one worker; one more, and the oldest is given up. Whoever only connects and says
/// nothing keeps nobody else out.
const UNDER_WAY_MAX: usize = 512;

/// What a connection speaks (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, also where the client names none.
    Http1,
    /// HTTP/2.
    Http2,
}

/// A client that has arrived.
#[derive(Debug)]
pub struct Arrival {
    /// Its connection.
    pub io: ClientStream,
    /// What it speaks.
    pub protocol: Protocol,
    /// Is it encrypted?
    pub tls: bool,
    /// What its certificate says, where it showed one.
    pub certificate: Option<Arc<ClientCertificate>>,
}

impl Arrival {
    /// Without TLS.
    #[must_use]
    pub fn plain(stream: TcpStream) -> Self {
        Self { io: Box::new(stream), protocol: Protocol::Http1, tls: false, certificate: None }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("too many TLS handshakes from this address; limits.handshakes_per_ip bounds them")]
    TooMany,
    #[error("given up for a newer one: {UNDER_WAY_MAX} TLS handshakes were under way")]
    Displaced,
    #[error("the TLS handshake was not complete in time")]
    Timeout,
    #[error("the TLS handshake failed: {0}")]
    Failed(#[from] io::Error),
    #[error("the certificate has expired that the client showed when its session began; it has to show a new one")]
    Expired,
}

impl HandshakeError {
    const fn label(&self) -> &'static str {
        match self {
            Self::TooMany => "rate_limited",
            Self::Displaced => "displaced",
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
    /// Who has it may compute. Waiters get it in their order, each in a turn of its own.
    turn: Semaphore,
    under_way: Rc<RefCell<UnderWay>>,
}

#[derive(Debug, Default)]
struct UnderWay {
    next: u64,
    give_up: BTreeMap<u64, oneshot::Sender<()>>,
}

impl Handshakes {
    /// None is under way.
    #[must_use]
    pub fn new(tls: Arc<Tls>, tally: Arc<Tally>) -> Self {
        Self { tls, tally, turn: Semaphore::new(1), under_way: Rc::default() }
    }

    /// Makes one. `rate` bounds those of its address, where that is one client's. None where it fails, which is counted
    /// and logged, and where an authority only wanted to know whether a name is ours.
    pub async fn accept(
        &self,
        stream: TcpStream,
        peer: IpAddr,
        within: Duration,
        rate: Option<&HandshakeRate>,
    ) -> Option<Arrival> {
        let outcome = if rate.is_some_and(|rate| !rate.admit(peer)) {
            Err(HandshakeError::TooMany)
        } else {
            let (under_way, given_up) = self.begin();
            let outcome = tokio::select! {
                outcome = timeout(within, self.shake_hands(stream)) => outcome.unwrap_or(Err(HandshakeError::Timeout)),
                _ = given_up => Err(HandshakeError::Displaced),
            };
            drop(under_way);
            outcome
        };
        outcome
            .inspect_err(|error| {
                self.tally.tls_handshake(error.label());
                journal::tls_failed(peer, error.label(), error);
            })
            .ok()
            .flatten()
    }

    async fn shake_hands(&self, stream: TcpStream) -> Result<Option<Arrival>, HandshakeError> {
        let start = LazyConfigAcceptor::new(Acceptor::default(), Socket::new(stream)).await?;
        let rules = self.tls.rules();
        if let Some(answer) = answer_to_challenge(&rules, &start.client_hello()).await {
            start.into_stream(answer).await?.shutdown().await?;
            self.tally.tls_handshake("challenge");
            return Ok(None);
        }
        let accept = {
            // Signing and key exchange, a part of a millisecond, happen in here.
            let _turn = self.turn.acquire().await;
            let accept = start.into_stream(Arc::clone(&rules.config));
            // Whoever is next computes only after the reactor has looked for what open sessions have to do.
            yield_now().await;
            accept
        };
        let stream = Box::new(accept.await?);
        let (_, connection) = stream.get_ref();
        let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        // Whoever resumes is not asked for its certificate again, and gets a new ticket each time.
        let leaf = connection.peer_certificates().and_then(<[_]>::first).filter(|_| resumed);
        if leaf.is_some_and(|leaf| has_expired(leaf, SystemTime::now())) {
            return Err(HandshakeError::Expired);
        }
        self.tally.tls_handshake(if resumed { "resumed" } else { "full" });
        Ok(Some(arrival(stream, &rules)))
    }

    fn begin(&self) -> (Mark, oneshot::Receiver<()>) {
        let (give_up, given_up) = oneshot::channel();
        let mut under_way = self.under_way.borrow_mut();
        if under_way.give_up.len() >= UNDER_WAY_MAX
            && let Some((_, oldest)) = under_way.give_up.pop_first()
        {
            let _ = oldest.send(());
        }
        let number = under_way.next;
        under_way.next += 1;
        under_way.give_up.insert(number, give_up);
        (Mark { number, under_way: Rc::clone(&self.under_way) }, given_up)
    }
}

/// How an authority is answered that asks whether a name is ours, by a handshake without client certificates (RFC
/// 8737). None for everybody else.
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

/// One handshake among those under way.
struct Mark {
    number: u64,
    under_way: Rc<RefCell<UnderWay>>,
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.under_way.borrow_mut().give_up.remove(&self.number);
    }
}

#[cfg(test)]
mod tests;
