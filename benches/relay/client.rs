//! One Socket.IO client: opens a session with its own token, then sends prepared events.

use std::io;

use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;
use tidegate::wire::websocket::{
    frame::{FrameHeader, OpCode, Sender},
    mask,
};
use tokio::net::TcpStream;

use crate::{
    frames::{Frames, Stream},
    tls::Clients,
};

/// What tokens are signed with, and what tidegate is given to check them.
pub(crate) const SECRET: &str = "the-secret-of-the-benchmark-is-not-one";
/// In 2096: no token of a benchmark expires, and none is good for ever.
const EXPIRES: u64 = 4_000_000_000;
const REQUEST: &[u8] =
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// Ids of two digits, so that every event has the same length.
const FIRST_ACK_ID: usize = 10;

/// Where clients connect, and whether over TLS.
#[derive(Clone)]
pub(crate) struct Target {
    /// The proxy's, on loopback.
    pub(crate) port: u16,
    /// `None`: plain TCP.
    pub(crate) tls: Option<Clients>,
}

impl Target {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some(clients) => Box::new(clients.shake_hands(stream).await?),
        })
    }
}

/// A client that has joined `/`.
pub(crate) struct Client {
    frames: Frames,
}

impl Client {
    /// Connects and joins.
    pub(crate) async fn join(target: &Target, user: usize) -> io::Result<Self> {
        let mut frames = Frames::new(target.connect().await?, Sender::Service);
        frames.send(REQUEST).await?;
        let head = frames.head().await?;
        if !head.starts_with("HTTP/1.1 101") {
            return Err(io::Error::other(format!("no WebSocket: {}", head.lines().next().unwrap_or_default())));
        }
        let mut client = Self { frames };
        client.expect(b"0{").await?;
        let mut connect = Vec::new();
        text(format!(r#"40{{"token":"{}"}}"#, token(user)?).as_bytes(), &mut connect);
        client.frames.send(&connect).await?;
        client.expect(b"40").await?;
        Ok(client)
    }

    /// Sends one event, waits for its acknowledgement and compares it.
    pub(crate) async fn echo(&mut self, events: &Events) -> io::Result<()> {
        self.send(events.take(0, 1)).await?;
        self.expect(&events.first_ack).await
    }

    /// Sends frames.
    pub(crate) async fn send(&mut self, frames: &[u8]) -> io::Result<()> {
        self.frames.send(frames).await
    }

    /// Receives until at least one event of `ack_bytes` was acknowledged, and says how many were.
    pub(crate) async fn acks(&mut self, ack_bytes: usize) -> io::Result<usize> {
        let mut acks = 0;
        while acks == 0 {
            self.frames.receive().await?;
            while let Some(packet) = self.next_packet().await? {
                if packet.len() != ack_bytes || !packet.starts_with(b"43") {
                    return Err(unexpected(packet));
                }
                acks += 1;
            }
        }
        Ok(acks)
    }

    /// Receives until at least one event has come, and says how many have.
    pub(crate) async fn events(&mut self) -> io::Result<usize> {
        let mut events = 0;
        while events == 0 {
            self.frames.receive().await?;
            while let Some(packet) = self.next_packet().await? {
                if !packet.starts_with(b"42") {
                    return Err(unexpected(packet));
                }
                events += 1;
            }
        }
        Ok(events)
    }

    async fn expect(&mut self, beginning: &[u8]) -> io::Result<()> {
        loop {
            if let Some(packet) = self.next_packet().await? {
                return if packet.starts_with(beginning) { Ok(()) } else { Err(unexpected(packet)) };
            }
            self.frames.receive().await?;
        }
    }

    /// The next text of the service that was received. Pings are answered.
    async fn next_packet(&mut self) -> io::Result<Option<&[u8]>> {
        while let Some(frame) = self.frames.next()? {
            match frame.opcode {
                OpCode::Text if self.frames.payload(&frame) == b"2" => {
                    let mut pong = Vec::new();
                    text(b"3", &mut pong);
                    self.frames.send(&pong).await?;
                }
                OpCode::Text => return Ok(Some(self.frames.payload(&frame))),
                other => return Err(io::Error::other(format!("an unexpected frame: {other:?}"))),
            }
        }
        Ok(None)
    }
}

/// Masked event frames, one behind the other, to be sent several at a time.
pub(crate) struct Events {
    frames: Vec<u8>,
    frame_bytes: usize,
    in_flight: usize,
    first_ack: Vec<u8>,
    /// The text of each acknowledgement, in bytes.
    pub(crate) ack_bytes: usize,
}

impl Events {
    /// Of `bytes` of text each; no two of `in_flight` neighbours have the same ack id.
    pub(crate) fn new(in_flight: usize, bytes: usize) -> Self {
        let mut frames = Vec::new();
        // Twice around, so that any run of neighbours is one slice.
        for nth in 0..2 * in_flight {
            text(event(FIRST_ACK_ID + nth % in_flight, bytes).as_bytes(), &mut frames);
        }
        let first_ack = event(FIRST_ACK_ID, bytes).replacen("42", "43", 1).replacen(r#""echo","#, "", 1).into_bytes();
        let frame_bytes = frames.len() / (2 * in_flight);
        Self { frames, frame_bytes, in_flight, ack_bytes: first_ack.len(), first_ack }
    }

    /// `count` neighbours beginning with the `nth`; at most as many as may be in flight.
    pub(crate) fn take(&self, nth: usize, count: usize) -> &[u8] {
        let begin = nth % self.in_flight * self.frame_bytes;
        &self.frames[begin..begin + count * self.frame_bytes]
    }
}

fn event(ack_id: usize, bytes: usize) -> String {
    let around = format!(r#"42{ack_id}["echo",""]"#).len();
    format!(r#"42{ack_id}["echo","{}"]"#, "x".repeat(bytes - around))
}

fn text(packet: &[u8], out: &mut Vec<u8>) {
    FrameHeader::encode(OpCode::Text, packet.len() as u64, Some(MASK), out);
    let payload_at = out.len();
    out.extend_from_slice(packet);
    mask::apply(&mut out[payload_at..], MASK, 0);
}

fn token(user: usize) -> io::Result<String> {
    let claims = json!({ "sub": format!("user-{user}"), "exp": EXPIRES });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).map_err(io::Error::other)
}

fn unexpected(packet: &[u8]) -> io::Error {
    let shown = String::from_utf8_lossy(&packet[..packet.len().min(120)]);
    io::Error::other(format!("an answer that was not expected: {shown}"))
}
