//! A speaker of HTTP and WebSocket that may send any bytes at all.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::{
    frame::{CLOSE, Frame, TEXT, masked},
    soon, token,
};

/// The headers of a good upgrade request.
pub(crate) const UPGRADE: &str = "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// One TCP connection.
#[derive(Debug)]
pub(crate) struct Raw {
    stream: TcpStream,
    /// Read and not yet used.
    read: Vec<u8>,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::connect_from(Ipv4Addr::LOCALHOST, address).await
    }

    /// From another address of this machine.
    pub(crate) async fn connect_from(source: Ipv4Addr, address: SocketAddr) -> Self {
        Self::try_connect_from(source, address).await.unwrap()
    }

    /// As `connect_from`, towards a peer that may not accept.
    pub(crate) async fn try_connect_from(source: Ipv4Addr, address: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((source, 0).into())?;
        let stream = socket.connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::new() })
    }

    /// An upgraded connection.
    pub(crate) async fn upgraded(address: SocketAddr, target: &str, headers: &str) -> Self {
        let mut raw = Self::connect(address).await;
        raw.ask_upgrade(target, headers).await;
        let head = raw.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        raw
    }

    /// An Engine.IO session, its open packet read, no namespace joined.
    pub(crate) async fn engineio(address: SocketAddr) -> Self {
        let mut raw = Self::upgraded(address, "/socket.io/?EIO=4&transport=websocket", "").await;
        let open = raw.frame().await;
        assert!(open.text().starts_with("0{"), "{open:?}");
        raw
    }

    /// A Socket.IO session that has joined the namespace `/`.
    pub(crate) async fn socketio(address: SocketAddr) -> Self {
        let mut raw = Self::engineio(address).await;
        raw.say(&format!("40{{\"token\":\"{}\"}}", token("raw"))).await;
        let connected = raw.frame().await;
        assert!(connected.text().starts_with("40{\"sid\":"), "{connected:?}");
        raw
    }

    /// The connection itself, of which nothing was read.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Asks for an upgrade; `headers` are whole lines.
    pub(crate) async fn ask_upgrade(&mut self, target: &str, headers: &str) {
        self.send(format!("GET {target} HTTP/1.1\r\n{UPGRADE}{headers}\r\n").as_bytes()).await;
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.unwrap();
    }

    /// As `send`, towards a peer that may have closed already.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// A text frame as it should be.
    pub(crate) async fn say(&mut self, text: &str) {
        self.send(&masked(TEXT, text.as_bytes())).await;
    }

    /// Nothing more will be sent.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// The head of the next HTTP answer. An end before it is an empty head.
    pub(crate) async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = self.read.split_off(end + 4);
                return String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap();
            }
            if !self.fill().await {
                return String::new();
            }
        }
    }

    /// The next HTTP answer, with as much of a body as its `Content-Length` says.
    pub(crate) async fn answer(&mut self) -> String {
        let head = self.head().await;
        let length = head.to_lowercase().lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let length: usize = length.unwrap_or_else(|| panic!("{head:?} does not say how long the body is"));
        while self.read.len() < length {
            assert!(self.fill().await, "the end before {length} bytes of a body");
        }
        let rest = self.read.split_off(length);
        head + &String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap()
    }

    /// Takes the place of polling: the probe, and the word that it is over.
    pub(crate) async fn go_over(&mut self) {
        self.say("2probe").await;
        assert_eq!(self.frame().await.text(), "3probe");
        self.say("5").await;
    }

    /// The status of the next HTTP answer. 0: the connection ended instead.
    pub(crate) async fn status(&mut self) -> u16 {
        let head = self.head().await;
        head.split(' ').nth(1).map_or(0, |status| status.parse().unwrap())
    }

    /// The next frame.
    pub(crate) async fn frame(&mut self) -> Frame {
        self.try_frame().await.expect("a frame before the end")
    }

    /// The next frame, if there is one before the end.
    pub(crate) async fn try_frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, len)) = parse(&self.read) {
                self.read.drain(..len);
                return Some(frame);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Reads to the end: the frames that came before it.
    pub(crate) async fn until_end(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.try_frame().await {
            frames.push(frame);
        }
        frames
    }

    /// Reads to the end: the code of the close frame before it, if there was one.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        self.until_end().await.iter().find(|frame| frame.opcode == CLOSE).map(Frame::close_code)
    }

    /// At least so many bytes of a body, if they come before the end.
    pub(crate) async fn body(&mut self, bytes: usize) -> Option<String> {
        while self.read.len() < bytes {
            if !self.fill().await {
                return None;
            }
        }
        String::from_utf8(std::mem::take(&mut self.read)).ok()
    }

    /// The rest of the connection as text: the body of an answer after which it closes.
    pub(crate) async fn rest(&mut self) -> String {
        while self.fill().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.read)).into_owned()
    }

    /// Reads more; false at the end.
    async fn fill(&mut self) -> bool {
        let mut buffer = [0; 16_384];
        // A reset is an end as well.
        let len = soon("bytes or the end", self.stream.read(&mut buffer)).await.unwrap_or(0);
        self.read.extend(&buffer[..len]);
        len > 0
    }
}

/// The status and the JSON body with which an upgrade is refused.
pub(crate) async fn upgrade_refusal(address: SocketAddr, target: &str) -> (u16, Value) {
    let mut raw = Raw::connect(address).await;
    raw.send(format!("GET {target} HTTP/1.1\r\n{UPGRADE}\r\n").as_bytes()).await;
    let status = raw.status().await;
    let body = raw.rest().await;
    (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{status} {body:?}: {error}")))
}

/// The frame at the beginning of `bytes` and its length. A server neither masks nor, here, fragments.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &length) = (bytes.first()?, bytes.get(1)?);
    assert_eq!(first & 0xF0, 0x80, "a whole message without reserved bits");
    let (head, len) = match length {
        short @ 0..=125 => (2, usize::from(short)),
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap())).unwrap()),
        _ => panic!("a server masked its frame"),
    };
    let payload = bytes.get(head..head + len)?.to_vec();
    Some((Frame { opcode: first & 0x0F, payload }, head + len))
}
