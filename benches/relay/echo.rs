//! The service behind every proxy: WebSocket, Engine.IO and Socket.IO, as cheap as can be. It opens a session, lets
//! every CONNECT in and answers each event that asks for an ack with the event's own argument.

use std::{
    future::Future,
    io,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use tidegate::wire::websocket::{
    frame::{FrameHeader, OpCode, Sender},
    handshake,
};
use tokio::net::{TcpListener, TcpStream};

use crate::frames::Frames;

const OPEN: &[u8] = br#"0{"sid":"bench","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
const BACKLOG: u32 = 4096;

/// How many sockets have joined: each has an id of its own, as long as those of socket.io.
static SOCKETS: AtomicU64 = AtomicU64::new(0);

/// Serves until killed.
pub(crate) async fn run(port: u16) -> io::Result<()> {
    accept(port, serve).await
}

/// Gives every connection on `port` to `serve`, until killed.
pub(crate) async fn accept<F>(port: u16, serve: impl Fn(TcpStream) -> F) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = listen(port)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // How a connection ends is the load's to judge.
        drop(tokio::spawn(serve(stream)));
    }
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    socket.listen(BACKLOG)
}

/// Serves one connection.
pub(crate) async fn serve(stream: TcpStream) -> io::Result<()> {
    let mut frames = Frames::new(Box::new(stream), Sender::Client);
    let head = frames.head().await?;
    let key = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
    });
    let accept = handshake::accept(key.unwrap_or_default());
    let mut out = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n".to_vec();
    out.extend_from_slice(b"Sec-WebSocket-Accept: ");
    out.extend_from_slice(accept.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
    text(&[OPEN], &mut out);
    loop {
        if !out.is_empty() {
            frames.send(&out).await?;
            out.clear();
        }
        frames.receive().await?;
        while let Some(frame) = frames.next()? {
            let payload = frames.payload(&frame);
            match frame.opcode {
                OpCode::Text => answer(payload, &mut out),
                OpCode::Ping => control(OpCode::Pong, payload, &mut out),
                OpCode::Close => {
                    control(OpCode::Close, payload, &mut out);
                    return frames.send(&out).await;
                }
                OpCode::Binary | OpCode::Continuation | OpCode::Pong => {}
            }
        }
    }
}

/// `40{…}` is let in; `427["name",…]` is answered with `437[…]`.
fn answer(packet: &[u8], out: &mut Vec<u8>) {
    if packet.starts_with(b"40") {
        let socket_id = SOCKETS.fetch_add(1, Relaxed);
        return text(&[format!(r#"40{{"sid":"{socket_id:020}"}}"#).as_bytes()], out);
    }
    let Some(event) = packet.strip_prefix(b"42") else { return };
    let id_len = event.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let Some(comma) = event.iter().position(|byte| *byte == b',') else { return };
    if id_len > 0 {
        text(&[b"43", &event[..id_len], b"[", &event[comma + 1..]], out);
    }
}

fn text(parts: &[&[u8]], out: &mut Vec<u8>) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    FrameHeader::encode(OpCode::Text, len as u64, None, out);
    for part in parts {
        out.extend_from_slice(part);
    }
}

fn control(opcode: OpCode, payload: &[u8], out: &mut Vec<u8>) {
    FrameHeader::encode(opcode, payload.len() as u64, None, out);
    out.extend_from_slice(payload);
}
