//! Judges every request head before hyper reads it, because hyper repairs or hides what Node would read differently.
//!
//! ```text
//! client ── raw bytes ──> GuardedIo ── the same bytes, or one synthetic request ──> hyper ──> service
//!                             └── HeadError ──> Refused ──────────────────────────────────────^
//! ```
//!
//! A bad head is answered in its turn, after the good ones before it: hyper reads a request with the reserved method
//! [`REFUSED_METHOD`] in its place. The service must call [`Refused::answer`] before anything else, and
//! [`Refused::answer_in_body`] before it returns its own answer.
//!
//! A first request that asks for a WebSocket can be answered without hyper: see [`GuardedIo::poll_upgrade`].

pub mod body;
mod deadlines;
mod error;
pub mod head;
mod shown;
mod target;

use std::{
    future::Future,
    io,
    mem::take,
    pin::{Pin, pin},
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, Response};
use hyper::{server::conn::http1, upgrade::Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

pub(super) use self::target::respelled;
use self::{
    body::{BodyFraming, BodyTracker},
    deadlines::Deadlines,
    head::HeadScan,
};
pub use self::{
    error::HeadError,
    head::{REFUSED_METHOD, judge_head},
};
use crate::{
    gateway::reply::{self, Body},
    policy::connections::LimitsTable,
};

/// How long a connection may be idle between two requests.
pub const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(60);
/// A body slower than 1 KiB/s is cut off after this time.
pub const BODY_GRACE: Duration = Duration::from_secs(10);
/// Size of the first read; most heads fit into it.
const READ_BYTES_MIN: usize = 2 * 1024;
/// Size of one read within a body.
const BODY_READ_BYTES: usize = 16 * 1024;
/// How much is read and discarded at close, so that the client can read the answer before a reset.
const LINGER_BYTES_MAX: usize = 256 * 1024;
/// hyper's own bound of what it receives at once.
const HYPER_BUFFER: usize = 8192 + 4096 * 100;
/// What hyper reads in place of a refused head.
const SYNTHETIC_REQUEST: &[u8] = b"TIDEGATE-REFUSED / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// The bounds of one request head.
#[derive(Debug, Clone, Copy)]
pub struct HeadRules {
    /// Bytes from the request line to the empty line.
    pub head_bytes: usize,
    /// Header fields.
    pub header_fields: usize,
    /// Time for the first head, from the connection on, and for each further head, from its first byte on.
    pub handshake_timeout: Duration,
    /// Total waiting time for a body; each KiB received adds one second.
    pub body_grace: Duration,
}

impl HeadRules {
    /// Compiles `[limits]`.
    #[must_use]
    pub fn new(table: &LimitsTable) -> Self {
        Self {
            head_bytes: usize::try_from(table.header_bytes.0).unwrap_or(usize::MAX),
            header_fields: table.header_fields.into(),
            handshake_timeout: table.handshake_timeout.0,
            body_grace: BODY_GRACE,
        }
    }

    /// Judges a whole head of at most `head_bytes`.
    fn judge(&self, head: &[u8]) -> Result<head::Head, HeadError> {
        judge_head(head, self.header_fields)
    }

    /// The hyper settings that fit above a guard.
    #[must_use]
    pub fn http1(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            // hyper receives a head in one piece, so this is only the time between two requests.
            .header_read_timeout(KEEP_ALIVE_IDLE + self.handshake_timeout)
            // A head that the guard lets through may be three times as large, see `target::respelled`.
            .max_buf_size(HYPER_BUFFER.max(self.head_bytes.saturating_mul(3)))
            .max_headers(self.header_fields);
        builder
    }
}

/// Why the last request of this connection was refused, for the service above hyper.
#[derive(Debug, Clone, Default)]
pub struct Refused(Arc<OnceLock<Cause>>);

/// What was refused, and what the log may show of it.
#[derive(Debug)]
struct Cause {
    error: HeadError,
    /// `None`: of a body.
    seen: Option<String>,
}

impl Refused {
    /// The error, `None` until there is one. A pipelined request may be refused while the previous one is still served.
    #[must_use]
    pub fn error(&self) -> Option<HeadError> {
        self.0.get().map(|cause| cause.error)
    }

    /// The answer to a request with `method`, if it is the synthetic one. `None` for real requests.
    #[must_use]
    pub fn answer(&self, method: &Method) -> Option<Response<Body>> {
        let cause = self.0.get().filter(|_| method.as_str() == REFUSED_METHOD)?;
        Some(reply::telling(cause.error.answer(), |pending| pending.seen.clone_from(&cause.seen)))
    }

    /// The answer that replaces the service's when the guard cut off the body. `None` otherwise.
    #[must_use]
    pub fn answer_in_body(&self) -> Option<Response<Body>> {
        self.error().filter(|error| error.is_in_body()).map(HeadError::answer)
    }
}

/// The stream of one client. hyper reads only judged bytes from it.
pub struct GuardedIo<S> {
    stream: S,
    limits: HeadRules,
    deadlines: Deadlines,
    refused: Refused,
    /// Bytes that were received and that hyper has not read.
    held: BytesMut,
    /// How many bytes at the beginning of `held` are judged.
    judged: usize,
    reading: Reading,
    /// hyper has read a request and was not polled again to serve it.
    unserved: bool,
    lingered: Option<usize>,
}

enum Reading {
    Head(HeadScan),
    Body(BodyTracker),
    /// hyper has the head of an upgrade; further bytes stay here until [`into_parts`](GuardedIo::into_parts).
    Upgrade,
    /// hyper has the synthetic request; nothing follows.
    Refused,
    /// The body is bad: hyper reads its good beginning, then gets this error.
    Broken(HeadError),
}

impl<S> GuardedIo<S> {
    /// Guards a new connection. Must be called within a tokio runtime.
    #[must_use]
    pub fn new(stream: S, limits: HeadRules) -> (Self, Refused) {
        let refused = Refused::default();
        let guarded = Self {
            stream,
            limits,
            deadlines: Deadlines::new(limits.handshake_timeout, limits.body_grace),
            refused: refused.clone(),
            held: BytesMut::new(),
            judged: 0,
            reading: Reading::Head(HeadScan::default()),
            unserved: false,
            lingered: None,
        };
        (guarded, refused)
    }

    /// The head that hyper would read next.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.held[..self.judged]
    }

    /// The stream, and the bytes behind the head of the upgrade request.
    #[must_use]
    pub fn into_parts(mut self) -> (S, Bytes) {
        self.held.advance(self.judged);
        (self.stream, self.held.freeze())
    }

    /// Judges the beginning of `held`. True if hyper can read or `reading` has changed.
    fn judge(&mut self) -> bool {
        match &mut self.reading {
            Reading::Head(_) if self.held.is_empty() => false,
            Reading::Head(scan) => {
                self.deadlines.head_began();
                let judged = scan.end(&self.held, self.limits.head_bytes).and_then(|end| {
                    end.map(|end| self.limits.judge(&self.held[..end]).map(|head| (head, end))).transpose()
                });
                match judged {
                    Ok(None) => return false,
                    Ok(Some((head, end))) => {
                        let end = self.respell(end);
                        self.admit(head, end);
                    }
                    Err(error) => self.refuse(error),
                }
                true
            }
            Reading::Body(_) if self.held.is_empty() => false,
            Reading::Body(body) => {
                match body.advance(&self.held) {
                    Ok(judged) => self.judged = judged,
                    Err(error) => self.reading = Reading::Broken(error),
                }
                if let Reading::Body(body) = &self.reading
                    && body.is_complete()
                {
                    self.next_head();
                }
                true
            }
            Reading::Upgrade | Reading::Refused | Reading::Broken(_) => false,
        }
    }

    /// Writes the target of the head before `end` as a URL has it. Returns the new end.
    fn respell(&mut self, end: usize) -> usize {
        let Some(mut head) = target::respelled_head(&self.held[..end]) else { return end };
        let new_end = head.len();
        head.extend_from_slice(&self.held[end..]);
        self.held = BytesMut::from(&head[..]);
        new_end
    }

    fn admit(&mut self, head: head::Head, end: usize) {
        self.judged = end;
        if head.upgrade {
            self.reading = Reading::Upgrade;
        } else if head.body == BodyFraming::None {
            self.next_head();
        } else {
            self.reading = Reading::Body(BodyTracker::new(head.body));
            self.deadlines.body_began();
        }
    }

    fn next_head(&mut self) {
        self.reading = Reading::Head(HeadScan::default());
        self.deadlines.idle();
    }

    fn refuse(&mut self, error: HeadError) {
        // Only the first error is answered; nothing behind it is judged.
        let _ = self.refused.0.set(Cause { error, seen: Some(shown::head(error, &self.held)) });
        self.held = BytesMut::from(SYNTHETIC_REQUEST);
        self.judged = SYNTHETIC_REQUEST.len();
        self.reading = Reading::Refused;
    }

    /// Passes judged bytes to hyper, as many as fit.
    fn pass(&mut self, out: &mut ReadBuf<'_>) {
        let passed = self.judged.min(out.remaining());
        out.put_slice(&self.held[..passed]);
        self.held.advance(passed);
        self.judged -= passed;
    }

    /// The deadline for the client's next bytes has passed.
    fn give_up(&mut self) -> io::Result<()> {
        match self.reading {
            Reading::Head(_) if self.held.is_empty() => Ok(()),
            Reading::Body(_) => Err(self.break_off(HeadError::BodyTimeout)),
            _ => {
                self.refuse(HeadError::HeadTimeout);
                Ok(())
            }
        }
    }

    fn break_off(&self, error: HeadError) -> io::Error {
        let _ = self.refused.0.set(Cause { error, seen: None });
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

impl<S: AsyncRead + Unpin> GuardedIo<S> {
    /// Receives more bytes. Ready with 0 at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let in_body = matches!(self.reading, Reading::Body(_));
        let free = self.held.capacity() - self.held.len();
        if free < READ_BYTES_MIN / 2 {
            // Doubled, so that a head in many small pieces is copied few times.
            self.held.reserve(if in_body { BODY_READ_BYTES } else { self.held.len().max(READ_BYTES_MIN) });
        }
        let read = pin!(self.stream.read_buf(&mut self.held)).poll(cx)?;
        if let Poll::Ready(read) = read
            && in_body
        {
            self.deadlines.body_came(read);
        }
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
        read.map(Ok)
    }

    /// Waits for something that is judged. Ready with false at the end of the stream.
    fn poll_judged(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            if self.judged > 0 {
                return Poll::Ready(Ok(true));
            }
            if self.judge() {
                continue;
            }
            match self.reading {
                Reading::Upgrade | Reading::Refused => return Poll::Pending,
                Reading::Broken(error) => return Poll::Ready(Err(self.break_off(error))),
                Reading::Head(_) | Reading::Body(_) => {}
            }
            match self.poll_fill(cx)? {
                // At the end of the stream hyper would drop this request unserved and uncounted.
                Poll::Ready(0) if take(&mut self.unserved) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(0) => return Poll::Ready(Ok(false)),
                Poll::Ready(_) => {}
                Poll::Pending => {
                    self.unserved = false;
                    ready!(self.deadlines.poll_over(cx));
                    self.give_up()?;
                    if self.judged == 0 {
                        return Poll::Ready(Ok(false));
                    }
                }
            }
        }
    }

    /// Waits for the first request, before hyper reads. Ready with true where it is good and asks for a WebSocket: then it
    /// is the [head](Self::head), and the last request of this connection.
    pub fn poll_upgrade(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let judged = ready!(self.poll_judged(cx));
        // What went wrong is hyper's to find, and to answer.
        Poll::Ready(matches!((judged, &self.reading), (Ok(true), Reading::Upgrade)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for GuardedIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if ready!(self.poll_judged(cx))? {
            self.pass(out);
            self.unserved = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GuardedIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Reads remaining bytes before the close: a socket closed with unread bytes is reset, and the answer may be lost.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingered.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if matches!(this.reading, Reading::Head(_)) && this.held.is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.held = BytesMut::new();
            this.deadlines.linger();
        }
        let lingered = this.lingered.get_or_insert(0);
        let mut away = [0; READ_BYTES_MIN];
        while *lingered < LINGER_BYTES_MAX {
            let mut away = ReadBuf::new(&mut away);
            match Pin::new(&mut this.stream).poll_read(cx, &mut away) {
                Poll::Ready(Ok(())) if !away.filled().is_empty() => *lingered += away.filled().len(),
                Poll::Ready(_) => break,
                Poll::Pending => {
                    ready!(this.deadlines.poll_over(cx));
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Takes the stream back from hyper after a 101, with the bytes that the client sent after its request.
///
/// # Errors
/// The unchanged connection, if it is not a guarded `S`.
pub fn reclaim<S>(upgraded: Upgraded) -> Result<(S, Bytes), Upgraded>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let parts = upgraded.downcast::<TokioIo<GuardedIo<S>>>()?;
    // The guard passed no byte after the head to hyper, so none is lost.
    Ok(parts.io.into_inner().into_parts())
}

#[cfg(test)]
mod tests;
