//! A service that says exactly what a scenario wants, right or wrong.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{
    eventually,
    frame::{self, CLOSE, Frame},
};

/// Listens until dropped.
#[derive(Debug)]
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    heard: Heard,
    listening: JoinHandle<()>,
}

/// What came behind the head of each connection that has ended.
type Heard = Arc<Mutex<Vec<Vec<u8>>>>;

impl Scripted {
    /// Answers the head of each request with `answer`, in which `{accept}` stands for the right
    /// `Sec-WebSocket-Accept`, and says no more; the connection stays open until the other side closes it.
    pub(crate) async fn start(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<AtomicUsize>::default();
        let heard = Heard::default();
        let (answer, counted, hearing) = (answer.into(), connections.clone(), heard.clone());
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, answer.clone(), hearing.clone()));
            }
        });
        Self { address, connections, heard, listening }
    }

    /// A right upgrade, and `frames` behind it.
    pub(crate) async fn upgraded(frames: &[u8]) -> Self {
        Self::start([UPGRADED.as_bytes(), frames].concat()).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The frames of its one connection, once that has ended.
    pub(crate) async fn heard(&self) -> Vec<Frame> {
        let bytes = eventually("the connection ends", async || self.heard.lock().unwrap().first().cloned()).await;
        frame::of_client(&bytes)
    }

    /// The code of the close frame with which its one connection ended, if there was one.
    pub(crate) async fn close_code(&self) -> Option<u16> {
        self.heard().await.iter().find(|frame| frame.opcode == CLOSE).map(Frame::close_code)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// The head of a right answer to an upgrade.
pub(crate) const UPGRADED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: {accept}\r\n\r\n";

async fn serve(mut stream: TcpStream, answer: Vec<u8>, heard: Heard) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("sec-websocket-key").then_some(value)
    });
    let accept = derive_accept_key(key.unwrap_or_default().as_bytes());
    let _ = stream.write_all(&replaced(&answer, b"{accept}", accept.as_bytes())).await;
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut rest).await;
    heard.lock().unwrap().push(rest);
}

/// `bytes`, the first `from` in it being `to`.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    match bytes.windows(from.len()).position(|window| window == from) {
        Some(at) => [&bytes[..at], to, &bytes[at + from.len()..]].concat(),
        None => bytes.to_vec(),
    }
}
