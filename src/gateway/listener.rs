//! Accepts connections: one listener per worker, with a pause when descriptors run out.

use std::{
    fs::File,
    future::{Future, poll_fn},
    io,
    net::{SocketAddr, TcpListener as StdListener},
    pin::pin,
    task::Poll,
    time::Duration,
};

use ipnet::IpNet;
use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit, setrlimit},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    task::yield_now,
};

use crate::{gateway::trust_headers, relay::stream::bound_unsent};

/// Connections that wait in the kernel to be accepted; `net.core.somaxconn` may lower it.
const BACKLOG: i32 = 4096;
/// How long sent bytes may stay unacknowledged, or the client's window closed (`TCP_USER_TIMEOUT`).
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that are accepted before others have a turn: sessions, and those that were accepted.
const BATCH: usize = 16;
/// Pause after descriptors or memory ran out.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// `[listen]`: where clients connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListenTable {
    /// Address and port.
    pub address: SocketAddr,
    /// The networks of proxies in front of Tidegate. They are believed where they report the client in `X-Forwarded-For`,
    /// `-Proto`, `-Host` and `-Port`. Of a list the entry counts that belongs to the client's address, so each of them adds
    /// an entry to a header, or sets it, or leaves it as it is.
    #[schemars(with = "Vec<String>", example = ["10.0.0.0/8"])]
    pub trusted_proxies: Vec<IpNet>,
    /// Headers by which other proxies tell who the client is. Those that a client sends are removed, with underscores in
    /// place of hyphens as well, whoever it is. `Forwarded`, `X-Real-IP` and every `X-Forwarded-…` always are.
    pub trust_headers: Vec<String>,
    /// Serve the script of badge, card and offline queue at `/.tidegate/client.js`, for pages that load it from here. A
    /// GET of this path does not reach the service then.
    pub client_script: bool,
    /// Worker threads; a connection stays on its thread. `0`: one per processor.
    pub workers: usize,
}

impl Default for ListenTable {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([0, 0, 0, 0], 8443)),
            trusted_proxies: Vec::new(),
            trust_headers: trust_headers::known(),
            client_script: false,
            workers: 0,
        }
    }
}

/// Binds a non-blocking listener whose port can be bound again (`SO_REUSEPORT`).
///
/// # Errors
/// As `bind(2)` and `listen(2)`.
pub fn bind(address: SocketAddr) -> io::Result<StdListener> {
    listen(address, true)
}

fn listen(address: SocketAddr, shared: bool) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    // Connections have these from their listener, so they need not be set on each.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    bound_unsent(&SockRef::from(&socket));
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Binds one listener for each worker to the same address; the kernel spreads connections over them. With port 0 the
/// port of the first is used for all.
///
/// # Errors
/// As [`bind`].
pub fn bind_all(address: SocketAddr, workers: usize) -> io::Result<Vec<StdListener>> {
    // Fails if the port is taken: SO_REUSEPORT alone would share it silently with another node.
    drop(listen(address, false)?);
    let first = bind(address)?;
    let address = first.local_addr()?;
    let others = (1..workers).map(|_| bind(address));
    std::iter::once(Ok(first)).chain(others).collect()
}

/// Can this address be listened on now? It is not.
///
/// # Errors
/// As `bind(2)`: another program has it, or this machine or user may not.
pub fn probe(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

/// Accepts connections until `stop`. Those of a listener made by [`bind`] have `TCP_NODELAY`, `TCP_USER_TIMEOUT` and
/// `TCP_NOTSENT_LOWAT`.
///
/// When descriptors or memory run out, it calls `on_exhausted`, closes the client that has waited longest, and pauses
/// for 50 ms. Other errors concern a client that has already gone, and are ignored.
pub async fn accept(
    listener: TcpListener,
    stop: impl Future<Output = ()>,
    mut on_connection: impl FnMut(TcpStream, SocketAddr),
    mut on_exhausted: impl FnMut(&io::Error),
) {
    let mut stop = pin!(stop);
    let mut spare = SpareDescriptor::default();
    let mut accepted_at_once = 0;
    loop {
        if accepted_at_once == BATCH {
            accepted_at_once = 0;
            yield_now().await;
        }
        let accepted = tokio::select! {
            biased;
            () = &mut stop => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                accepted_at_once += 1;
                // A listener of IPv6 maps the addresses of IPv4, which lists and limits know as they are.
                on_connection(stream, SocketAddr::new(peer.ip().to_canonical(), peer.port()));
            }
            Err(error) if is_exhausted(&error) => {
                on_exhausted(&error);
                spare.turn_one_away(&listener).await;
                tokio::select! {
                    () = &mut stop => return,
                    () = tokio::time::sleep(EXHAUSTED_PAUSE) => {}
                }
            }
            Err(_) => {}
        }
    }
}

/// Raises the soft limit of open descriptors to the hard one. A session needs two. Returns the soft limit before and
/// after.
///
/// # Errors
/// As `setrlimit(2)`.
pub fn raise_descriptor_limit() -> io::Result<(u64, u64)> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok((soft, hard))
}

/// How many descriptors this process may have open.
///
/// # Errors
/// As `getrlimit(2)`.
pub fn descriptor_limit() -> io::Result<u64> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?.0)
}

fn is_exhausted(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM))
}

/// A spare descriptor. When all others are used, it allows to accept one connection and close it.
struct SpareDescriptor(Option<File>);

impl Default for SpareDescriptor {
    fn default() -> Self {
        Self(File::open("/dev/null").ok())
    }
}

impl SpareDescriptor {
    async fn turn_one_away(&mut self, listener: &TcpListener) {
        self.0 = None;
        // One attempt: if it fails, the client stays in the backlog.
        poll_fn(|cx| {
            drop(listener.poll_accept(cx));
            Poll::Ready(())
        })
        .await;
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use tokio::{
        io::AsyncReadExt,
        sync::oneshot,
        time::{sleep, timeout},
    };

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(40);

    fn loopback() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = bind(loopback()).unwrap();
        let address = listener.local_addr().unwrap();
        (TcpListener::from_std(listener).unwrap(), address)
    }

    #[test]
    fn all_workers_listen_at_the_port_of_the_first() {
        let listeners = bind_all(loopback(), 3).unwrap();
        let ports: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        assert_eq!(ports, [ports[0]; 3]);
        assert_ne!(ports[0], 0);
        let again = bind_all(listeners[0].local_addr().unwrap(), 3);
        assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AddrInUse, "another node must not share them");
    }

    #[tokio::test]
    async fn each_connection_is_accepted_until_stop() {
        let (listener, address) = listener();
        let (stop, stopped) = oneshot::channel::<()>();
        let accepted = Rc::new(Cell::new(0));
        let count = accepted.clone();
        let accepting = accept(
            listener,
            async { drop(stopped.await) },
            move |stream, _| {
                assert!(stream.nodelay().unwrap());
                let socket = SockRef::from(&stream);
                assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
                assert_eq!(socket.tcp_notsent_lowat().unwrap(), 262_144);
                count.set(count.get() + 1);
            },
            |error| panic!("{error}"),
        );
        let clients = async {
            for _ in 0..200 {
                TcpStream::connect(address).await.unwrap();
            }
            while accepted.get() < 200 {
                sleep(Duration::from_millis(1)).await;
            }
            stop.send(()).unwrap();
        };
        timeout(DEADLINE, async { tokio::join!(accepting, clients) }).await.unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "the listener is closed");
    }

    #[tokio::test]
    async fn when_descriptors_run_out_one_client_is_turned_away() {
        let (listener, address) = listener();
        // The loop turns a client away only after `accept` has found one waiting.
        let first = TcpStream::connect(address).await.unwrap();
        let accepted = timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        let mut spare = SpareDescriptor::default();
        spare.turn_one_away(&listener).await;
        let read = timeout(DEADLINE, second.read(&mut [0])).await.unwrap();
        assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
        assert!(spare.0.is_some(), "the descriptor is kept back again");
        drop((first, accepted));
    }

    #[test]
    fn only_errors_of_this_node_pause_the_listener() {
        for (errno, exhausted) in [
            (Errno::EMFILE, true),
            (Errno::ENFILE, true),
            (Errno::ENOBUFS, true),
            (Errno::ENOMEM, true),
            (Errno::ECONNABORTED, false),
            (Errno::EPERM, false),
            (Errno::EPROTO, false),
        ] {
            assert_eq!(is_exhausted(&io::Error::from(errno)), exhausted, "{errno}");
        }
    }

    #[test]
    fn the_descriptor_limit_is_raised_to_the_hard_one() {
        let (before, after) = raise_descriptor_limit().unwrap();
        assert!(before <= after);
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (after, after));
    }
}
