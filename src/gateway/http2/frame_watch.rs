//! Watches the frames of a connection (RFC 9113 §4.1) before hyper reads them: frames that carry nothing cost the gate more
//! than the client, and h2 bounds only some of them.

use std::{
    cell::Cell,
    fmt, io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Frames without a payload of a request that may come at once, ...
const CONTROL_FRAMES_MAX: u32 = 200;
/// ... and how many more each second.
const CONTROL_FRAMES_PER_SECOND: f64 = 20.0;
/// How many more each request may bring: priorities, window updates, a reset.
const PER_HEADERS: u32 = 4;
/// So many bytes in either direction may bring one more: they need window updates, and clients measure their way with pings.
const BYTES_PER_FRAME: usize = 1024;

/// RFC 9113 §3.4.
const PREFACE_BYTES: usize = 24;
const HEADER_BYTES: usize = 9;
/// RFC 9113 §6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
/// A GOAWAY frame (RFC 9113 §6.8) with `ENHANCE_YOUR_CALM`, which leaves open which streams were served.
const CALM_DOWN: [u8; HEADER_BYTES + 8] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0x0b];

/// Whether the client has sent too many frames that carry nothing.
#[derive(Debug, Clone, Default)]
pub struct Flooded(Rc<Cell<bool>>);

impl Flooded {
    /// The connection was closed for that.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.get()
    }
}

/// A client's connection whose frames are counted.
pub struct WatchedIo<S> {
    stream: S,
    received: Frames,
    sent: Frames,
    allowance: Allowance,
    flooded: Flooded,
}

impl<S> WatchedIo<S> {
    /// At the first byte.
    #[must_use]
    pub fn new(stream: S) -> (Self, Flooded) {
        let flooded = Flooded::default();
        let (received, sent) = (Frames::after(PREFACE_BYTES), Frames::after(0));
        let allowance = Allowance::new(Instant::now());
        (Self { stream, received, sent, allowance, flooded: flooded.clone() }, flooded)
    }

    fn wrote(&mut self, mut bytes: &[u8]) {
        self.allowance.moved(bytes.len());
        while self.sent.next(&mut bytes).is_some() {}
    }
}

impl<S> fmt::Debug for WatchedIo<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedIo").field("allowance", &self.allowance).finish_non_exhaustive()
    }
}

/// Where in a stream of frames.
#[derive(Debug)]
struct Frames {
    /// Bytes of the preface or of a payload that are still to come.
    skip: usize,
    header: [u8; HEADER_BYTES],
    /// How much of the header is there.
    there: usize,
}

impl Frames {
    const fn after(skip: usize) -> Self {
        Self { skip, header: [0; HEADER_BYTES], there: 0 }
    }

    /// The kind and length of the frame that begins next in `bytes`, which are taken. `None` at their end.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<(u8, usize)> {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        let taken = (HEADER_BYTES - self.there).min(bytes.len() - skipped);
        let (head, rest) = bytes[skipped..].split_at(taken);
        self.header[self.there..self.there + taken].copy_from_slice(head);
        self.there += taken;
        *bytes = rest;
        if self.there < HEADER_BYTES {
            return None;
        }
        let [high, middle, low, kind, ..] = self.header;
        self.there = 0;
        self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        Some((kind, self.skip))
    }

    /// Between two frames.
    const fn at_boundary(&self) -> bool {
        self.skip == 0 && self.there == 0
    }
}

/// How many frames that carry nothing may still come.
#[derive(Debug)]
struct Allowance {
    left: u32,
    /// When time last gave more.
    since: Instant,
    /// Bytes that have not given one more yet.
    bytes: usize,
}

impl Allowance {
    const fn new(now: Instant) -> Self {
        Self { left: CONTROL_FRAMES_MAX, since: now, bytes: 0 }
    }

    fn give(&mut self, more: u32) {
        self.left = self.left.saturating_add(more).min(CONTROL_FRAMES_MAX);
    }

    fn moved(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= BYTES_PER_FRAME {
            self.give(u32::try_from(self.bytes / BYTES_PER_FRAME).unwrap_or(u32::MAX));
            self.bytes %= BYTES_PER_FRAME;
        }
    }

    /// One frame came. False where it is one too many. The clock is read only where that depends on it.
    fn frame(&mut self, kind: u8, len: usize, now: impl FnOnce() -> Instant) -> bool {
        match kind {
            // Its end may be an empty frame, once a request.
            DATA if len > 0 => self.moved(len),
            HEADERS => self.give(PER_HEADERS),
            // h2 bounds them.
            CONTINUATION => {}
            _ => {
                if self.left == 0 {
                    let now = now();
                    let more = now.saturating_duration_since(self.since).as_secs_f64() * CONTROL_FRAMES_PER_SECOND;
                    if more < 1.0 {
                        return false;
                    }
                    // It saturates.
                    self.give(more as u32);
                    self.since = now;
                }
                self.left -= 1;
            }
        }
        true
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WatchedIo<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, into))?;
        let mut bytes = &into.filled()[before..];
        while let Some((kind, len)) = this.received.next(&mut bytes) {
            if !this.allowance.frame(kind, len, Instant::now) {
                this.flooded.0.set(true);
                if this.sent.at_boundary() {
                    // The client is told if it can be told at once.
                    let _ = Pin::new(&mut this.stream).poll_write(cx, &CALM_DOWN);
                    let _ = Pin::new(&mut this.stream).poll_flush(cx);
                }
                return Poll::Ready(Err(io::Error::other("too many frames that carry nothing")));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedIo<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        this.wrote(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, slices))?;
        let mut left = written;
        for slice in slices {
            let here = left.min(slice.len());
            this.wrote(&slice[..here]);
            left -= here;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const PRIORITY: u8 = 2;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;
    const UNKNOWN: u8 = 0x42;

    fn frame(kind: u8, len: usize) -> Vec<u8> {
        let mut frame = u32::try_from(len).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, 0, 0, 0, 0, 0]);
        frame.resize(HEADER_BYTES + len, 0);
        frame
    }

    /// What the gate reads of this many frames, in pieces of that size, and what it answers.
    async fn read(frames: &[u8], piece: usize) -> (io::Result<usize>, Vec<u8>) {
        let (mut client, gate) = duplex(1 << 20);
        let (mut io, flooded) = WatchedIo::new(gate);
        client.write_all(&[b'P'; PREFACE_BYTES]).await.unwrap();
        client.write_all(frames).await.unwrap();
        client.shutdown().await.unwrap();
        let (mut read, mut buffer) = (Ok(0), vec![0; piece]);
        while let Ok(total) = read {
            read = match io.read(&mut buffer).await {
                Ok(0) => break,
                Ok(more) => Ok(total + more),
                Err(error) => Err(error),
            };
        }
        assert_eq!(flooded.is_set(), read.is_err());
        drop(io);
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        (read, answer)
    }

    #[tokio::test]
    async fn each_kind_of_frame_that_carries_nothing_is_bounded() {
        for kind in [PRIORITY, SETTINGS, PING, WINDOW_UPDATE, UNKNOWN, DATA] {
            let some = frame(kind, 0).repeat(CONTROL_FRAMES_MAX as usize);
            assert_eq!(read(&some, 4096).await.0.unwrap(), PREFACE_BYTES + some.len(), "{kind}");
            for piece in [1, 7, 4096] {
                let (flood, answer) = read(&frame(kind, 5 * usize::from(kind != DATA)).repeat(20_000), piece).await;
                assert!(flood.is_err(), "{kind}");
                assert_eq!(answer, CALM_DOWN, "{kind}");
            }
        }
    }

    #[tokio::test]
    async fn requests_and_their_bodies_may_come_without_end() {
        let request =
            [frame(HEADERS, 40), frame(PRIORITY, 5), frame(WINDOW_UPDATE, 4), frame(DATA, 900), frame(DATA, 0)];
        assert!(read(&request.concat().repeat(500), 777).await.0.is_ok());
        let upload = [frame(DATA, 16_384), frame(PING, 8)].concat().repeat(60);
        assert!(read(&upload, 4096).await.0.is_ok());
    }

    #[test]
    fn time_gives_more_and_so_do_bytes_to_the_client() {
        let began = Instant::now();
        let mut allowance = Allowance::new(began);
        let spend = |allowance: &mut Allowance, at| (0..10_000).take_while(|_| allowance.frame(PING, 8, || at)).count();
        assert_eq!(spend(&mut allowance, began), 200);
        assert_eq!(spend(&mut allowance, began + Duration::from_secs(1)), 20);
        assert_eq!(spend(&mut allowance, began + Duration::from_secs(3600)), 200, "no more than at first");
        allowance.moved(50 * 1024);
        assert_eq!(spend(&mut allowance, began + Duration::from_secs(3600)), 50);
    }
}
