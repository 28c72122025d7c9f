//! One WebSocket connection: receives into the worker's buffer, sends from it, and keeps only what the peer does not
//! take.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    relay::{
        inflow::Inflow,
        leg::untaken::{Unsent, Untaken},
        stream::{ClientStream, Sending},
    },
    session::answer::Close,
    wire::{
        engineio::payload,
        websocket::{
            close,
            frame::{FrameHeader, OpCode, Sender},
            mask,
        },
    },
};

/// One WebSocket connection after its handshake.
#[derive(Debug)]
pub struct WebSocketLeg<S> {
    io: S,
    /// The incoming frames.
    pub inflow: Inflow,
    /// The role of Tidegate: towards the service it is the client, and masks.
    speaker: Sender,
    /// The peer wants binary messages as base64 in text.
    base64: bool,
    /// `None`: the peer's connection has taken everything, as it nearly always has.
    untaken: Option<Untaken>,
    shut: bool,
    /// The peer has ended its direction.
    ended: bool,
}

impl WebSocketLeg<ClientStream> {
    /// The same leg on the reactor of this thread.
    ///
    /// # Errors
    /// An error of the operating system.
    pub fn rebind(self) -> io::Result<Self> {
        Ok(Self { io: self.io.rebind()?, ..self })
    }
}

impl<S: AsyncRead + AsyncWrite + Sending + Unpin> WebSocketLeg<S> {
    /// A leg over `io`, of which `read_ahead` has already been read.
    pub fn new(io: S, speaker: Sender, mut inflow: Inflow, read_ahead: &[u8]) -> Self {
        if !read_ahead.is_empty() {
            inflow.put_in_front(read_ahead);
        }
        Self { io, inflow, speaker, base64: false, untaken: None, shut: false, ended: false }
    }

    /// The same leg, with bytes that are sent before every frame.
    #[must_use]
    pub fn beginning_with(mut self, bytes: Vec<u8>, now: Instant) -> Self {
        if !bytes.is_empty() {
            self.queue(now).bytes = bytes;
        }
        self
    }

    /// The same leg, on which binary messages are [said](Self::say) as base64 in text if the peer wants them so: the query `b64`
    /// of Engine.IO.
    #[must_use]
    pub fn saying_base64(self, base64: bool) -> Self {
        Self { base64, ..self }
    }

    /// Receives into `buffer`, behind what was carried over. Reads nothing while a message that was put back waits
    /// alone.
    ///
    /// # Errors
    /// The socket's; [`UnexpectedEof`](io::ErrorKind::UnexpectedEof) if the peer has ended its direction.
    #[inline]
    pub fn fill(&mut self, buffer: &mut [u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.inflow.has_put_back() {
            return Poll::Ready(Ok(self.inflow.take_carry(buffer)));
        }
        let mut into = ReadBuf::new(&mut buffer[self.inflow.carried()..]);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut into))?;
        let received = into.filled().len();
        if received == 0 {
            self.ended = true;
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        Poll::Ready(Ok(self.inflow.take_carry(buffer) + received))
    }

    /// Sends whole frames, or parts of one that follow each other. What the socket does not take is kept.
    ///
    /// # Errors
    /// The socket's.
    #[inline]
    pub fn send(&mut self, mut bytes: &[u8], now: Instant, cx: &mut Context<'_>) -> io::Result<()> {
        if self.unsent().is_none() {
            let held = self.untaken.is_some().then(|| self.io.sent());
            while !bytes.is_empty() {
                match Pin::new(&mut self.io).poll_write(cx, bytes) {
                    Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                    Poll::Ready(Ok(written)) => bytes = &bytes[written..],
                    Poll::Ready(Err(error)) => return Err(error),
                    Poll::Pending => break,
                }
            }
            if Pin::new(&mut self.io).poll_flush(cx)?.is_ready() {
                self.untaken = None;
            } else {
                let untaken = self.untaken.get_or_insert(Untaken { since: now, unsent: None });
                if held.is_some_and(|sent| sent != self.io.sent()) {
                    untaken.since = now;
                }
            }
        }
        if !bytes.is_empty() {
            self.queue(now).bytes.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// What waits for the stream, to be added to.
    fn queue(&mut self, now: Instant) -> &mut Unsent {
        let untaken = self.untaken.get_or_insert(Untaken { since: now, unsent: None });
        let unsent = untaken.unsent.get_or_insert_default();
        unsent.forget_sent();
        unsent
    }

    /// Queues a frame of Tidegate; [`flush`](Self::flush) sends it. Only between two frames that pass.
    pub fn say(&mut self, opcode: OpCode, payload: &[u8], now: Instant) {
        let (speaker, base64) = (self.speaker, self.base64 && opcode == OpCode::Binary);
        let unsent = self.queue(now);
        let begin = unsent.bytes.len();
        if base64 {
            say_base64(payload, &mut unsent.bytes);
        } else {
            say_frame(opcode, payload, speaker, &mut unsent.bytes);
        }
        unsent.mark_own(begin);
    }

    /// Queues messages of the gate's own, as frames that are made already.
    pub fn say_made(&mut self, frames: &[u8], now: Instant) {
        let unsent = self.queue(now);
        let begin = unsent.bytes.len();
        unsent.bytes.extend_from_slice(frames);
        unsent.mark_own(begin);
    }

    /// Sends messages of the gate's own, as frames that are made already: where nothing waits, without a copy. Only between two
    /// frames that pass.
    ///
    /// # Errors
    /// The socket's.
    pub fn send_made(&mut self, frames: &[u8], now: Instant, cx: &mut Context<'_>) -> io::Result<()> {
        if self.unsent().is_some() {
            self.say_made(frames, now);
            return Ok(());
        }
        self.send(frames, now, cx)?;
        if let Some(unsent) = self.untaken.as_mut().and_then(|untaken| untaken.unsent.as_mut()) {
            unsent.mark_own(0);
        }
        Ok(())
    }

    /// Whether the peer takes every message as it is, and not as base64.
    #[must_use]
    pub const fn takes_binary(&self) -> bool {
        !self.base64
    }

    /// Queues a Close.
    pub fn say_close(&mut self, close: Close<'_>, now: Instant) {
        let mut payload = Vec::new();
        close::encode_close(close.code, close.reason, &mut payload);
        self.say(OpCode::Close, &payload, now);
    }

    /// Whether [`flush`](Self::flush) has something to do.
    #[inline]
    #[must_use]
    pub const fn has_unsent(&self) -> bool {
        self.untaken.is_some()
    }

    /// Sends what is queued.
    pub fn flush(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(untaken) = &mut self.untaken else { return Poll::Ready(Ok(())) };
        let before = (self.io.sent(), untaken.waiting());
        let flushed = untaken.flush(&mut self.io, cx);
        let is_taking = match before {
            (None, waiting) => untaken.waiting() < waiting,
            (sent, _) => self.io.sent() != sent,
        };
        if is_taking {
            untaken.since = now;
        }
        ready!(flushed)?;
        self.untaken = None;
        Poll::Ready(Ok(()))
    }

    const fn unsent(&self) -> Option<&Unsent> {
        match &self.untaken {
            Some(Untaken { unsent: Some(unsent), .. }) => Some(unsent),
            _ => None,
        }
    }

    /// How many bytes the stream has yet to take.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        match &self.untaken {
            Some(untaken) => untaken.waiting(),
            None => 0,
        }
    }

    /// What the leg keeps of either direction, in bytes of memory.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.unsent().map_or(0, |unsent| unsent.bytes.capacity()) + self.inflow.memory()
    }

    /// How many of them are beside the largest frame of Tidegate's own: a message that it kept may have any size.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.unsent().map_or(0, |unsent| unsent.waiting() - unsent.of_largest())
    }

    /// Since when the peer takes none of the queued bytes. `None` while none are queued.
    #[must_use]
    pub const fn stalled_since(&self) -> Option<Instant> {
        match &self.untaken {
            Some(untaken) => Some(untaken.since),
            None => None,
        }
    }

    /// The end: sends what is queued and nothing after it, and reads until the peer has ended too.
    pub fn end(&mut self, buffer: &mut [u8], now: Instant, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(self.flush(now, cx))?;
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            self.shut = true;
        }
        while !self.ended {
            let mut into = ReadBuf::new(buffer);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut into))?;
            self.ended = into.filled().is_empty();
        }
        Poll::Ready(Ok(()))
    }
}

fn say_frame(opcode: OpCode, payload: &[u8], speaker: Sender, out: &mut Vec<u8>) {
    let key = match speaker {
        Sender::Client => Some(rand::random::<[u8; 4]>()),
        Sender::Service => None,
    };
    FrameHeader::encode(opcode, payload.len() as u64, key, out);
    let payload_at = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = key {
        mask::apply(&mut out[payload_at..], key, 0);
    }
}

/// To a client, whose frames are not masked.
fn say_base64(payload: &[u8], out: &mut Vec<u8>) {
    FrameHeader::encode(OpCode::Text, payload::binary_len(payload.len()) as u64, None, out);
    payload::write_binary(payload, out);
}

#[cfg(test)]
mod tests {
    use std::{task::Waker, time::Duration};

    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};

    use super::*;

    /// Takes bytes at once and holds those that the stream below does not take, as TLS does.
    struct Holding {
        below: DuplexStream,
        held: Vec<u8>,
        sent: u64,
    }

    impl Sending for Holding {
        fn sent(&self) -> Option<u64> {
            Some(self.sent)
        }
    }

    impl Sending for DuplexStream {}

    impl AsyncRead for Holding {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Holding {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.get_mut().held.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let Self { below, held, sent } = self.get_mut();
            while !held.is_empty() {
                let written = ready!(Pin::new(&mut *below).poll_write(cx, held))?;
                held.drain(..written);
                *sent += written as u64;
            }
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A leg over a stream that holds bytes, whose peer takes 1000 at a time.
    fn holding() -> (WebSocketLeg<Holding>, DuplexStream) {
        let (below, far) = duplex(1000);
        let io = Holding { below, held: Vec::new(), sent: 0 };
        (WebSocketLeg::new(io, Sender::Service, Inflow::new(Sender::Client, 100, false), &[]), far)
    }

    #[tokio::test]
    async fn a_peer_has_stalled_only_while_something_waits_for_it() {
        let (mut leg, mut far) = holding();
        let (began, cx) = (Instant::now(), &mut Context::from_waker(Waker::noop()));
        let later = began + Duration::from_secs(5);
        leg.send(&[b'x'; 1500], began, cx).unwrap();
        assert_eq!((leg.waiting(), leg.stalled_since()), (0, Some(began)), "TLS holds a part");
        leg.send(b"more", later, cx).unwrap();
        assert_eq!(leg.stalled_since(), Some(began), "the peer has taken nothing since");
        far.read_exact(&mut [0; 1000]).await.unwrap();
        leg.send_made(b"and more", later, cx).unwrap();
        assert_eq!((leg.has_unsent(), leg.stalled_since()), (false, None), "it has taken all that there was");
        leg.send(&[b'x'; 1500], later, cx).unwrap();
        assert_eq!(leg.stalled_since(), Some(later));
    }

    #[tokio::test]
    async fn a_peer_that_takes_what_tls_holds_has_not_stalled() {
        let (mut leg, mut far) = holding();
        let (began, cx) = (Instant::now(), &mut Context::from_waker(Waker::noop()));
        let at = |seconds| began + Duration::from_secs(seconds);
        leg.send(&[b'x'; 3500], began, cx).unwrap();
        assert!(leg.flush(at(1), cx).is_pending());
        assert_eq!((leg.waiting(), leg.stalled_since()), (0, Some(began)), "TLS holds the rest, and nothing moves");
        far.read_exact(&mut [0; 1000]).await.unwrap();
        assert!(leg.flush(at(2), cx).is_pending());
        assert_eq!(leg.stalled_since(), Some(at(2)), "a part of the rest has gone");
        far.read_exact(&mut [0; 1000]).await.unwrap();
        leg.send(b"more", at(3), cx).unwrap();
        assert_eq!(leg.stalled_since(), Some(at(3)), "and another one, before what comes next");
        leg.say(OpCode::Ping, b"", at(4));
        assert!(leg.flush(at(4), cx).is_pending());
        assert_eq!(leg.stalled_since(), Some(at(3)), "what TLS takes has not gone");
    }

    /// A leg whose peer takes 1000 bytes at a time.
    fn leg() -> (WebSocketLeg<DuplexStream>, DuplexStream) {
        let (near, far) = duplex(1000);
        (WebSocketLeg::new(near, Sender::Service, Inflow::new(Sender::Client, 100, false), &[]), far)
    }

    #[tokio::test]
    async fn a_peer_that_never_takes_all_costs_what_waits_for_it_and_no_more() {
        let ((mut leg, mut far), cx) = (leg(), &mut Context::from_waker(Waker::noop()));
        let mut sent = 0_u32;
        for taken in 0..5000 {
            let _ = leg.flush(Instant::now(), cx);
            while leg.waiting() < 20_000 {
                let numbers: Vec<u8> = (sent..sent + 1000).flat_map(u32::to_be_bytes).collect();
                leg.send(&numbers, Instant::now(), cx).unwrap();
                sent += 1000;
            }
            let mut bytes = [0; 1000];
            far.read_exact(&mut bytes).await.unwrap();
            let expected: Vec<u8> = (taken * 250..(taken + 1) * 250).flat_map(u32::to_be_bytes).collect();
            assert_eq!(bytes[..], expected, "in order and whole");
            // Or the runtime lets nothing through any more.
            tokio::task::yield_now().await;
        }
        assert!(leg.memory() < 200_000, "{}", leg.memory());
    }

    #[tokio::test]
    async fn frames_that_are_made_already_go_out_at_once_or_wait_as_what_is_said() {
        let ((mut leg, mut far), now, cx) = (leg(), Instant::now(), &mut Context::from_waker(Waker::noop()));
        leg.send_made(b"at once", now, cx).unwrap();
        assert!(!leg.has_unsent());
        let mut got = [0; 7];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"at once");
        leg.say_made(b"first", now);
        leg.send_made(b"second", now, cx).unwrap();
        assert!(leg.flush(now, cx).is_ready(), "in one write");
        let mut got = [0; 11];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"firstsecond");
        leg.send_made(&[b'x'; 5000], now, cx).unwrap();
        assert_eq!((leg.waiting(), leg.backlog()), (4000, 0), "of one message any part may wait");
    }

    #[test]
    fn one_message_of_any_size_may_wait_whatever_is_said_behind_it() {
        let ((mut leg, _far), now, cx) = (leg(), Instant::now(), &mut Context::from_waker(Waker::noop()));
        leg.say(OpCode::Text, &[b'x'; 100_000], now);
        assert_eq!(leg.backlog(), 0);
        leg.say(OpCode::Ping, b"", now);
        assert_eq!(leg.backlog(), 2, "a heartbeat");
        let _ = leg.flush(now, cx);
        assert_eq!(leg.backlog(), 2, "of the message a part is sent");
        leg.say(OpCode::Text, &[b'x'; 50_000], now);
        assert_eq!(leg.backlog(), 2 + 4 + 50_000, "another one");
        leg.say(OpCode::Text, &[b'x'; 200_000], now);
        assert_eq!(leg.backlog(), leg.waiting() - 200_010, "now that is the largest");
    }
}
