//! Judges every request head beneath hyper, which repairs or hides what Node would read differently.
//!
//! ```text
//! client ── raw bytes ──> GuardedIo ── the same bytes, or one synthetic request ──> hyper ──> service
//!                             └── HeadError ──> Refused ──────────────────────────────────────^
//! ```
//!
//! A bad head is answered in its turn, behind the answers to the good ones before it: in its place hyper reads a
//! request with the reserved method [`REFUSED_METHOD`]. So the service asks [`Refused::answer`]
//! before anything else, and [`Refused::answer_in_body`] before it gives its own answer.

pub mod body;
mod error;
pub mod head;
mod patience;
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

use self::{
    body::{BodyFraming, BodyTracker},
    head::HeadScan,
    patience::Patience,
};
pub use self::{
    error::HeadError,
    head::{FIELDS_MAX, REFUSED_METHOD, TARGET_BYTES_MAX, VALUE_BYTES_MAX, judge_head},
};
use crate::{gateway::reply::Body, policy::connections::LimitsTable};

/// How long a connection may stay without a request.
pub const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(60);
/// A body that comes at less than 1 KiB/s is cut off after this.
pub const BODY_GRACE: Duration = Duration::from_secs(10);
/// What is read at first, which most heads fit into.
const READ_BYTES_MIN: usize = 2 * 1024;
/// What is read at once of a body.
const BODY_READ_BYTES: usize = 16 * 1024;
/// What is read and thrown away when a connection is closed, so that its client can read the answer before a reset.
const LINGER_BYTES_MAX: usize = 256 * 1024;
/// What hyper reads in place of a head that was refused.
const SYNTHETIC_REQUEST: &[u8] = b"TIDEGATE-REFUSED / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// The bounds of one request head.
#[derive(Debug, Clone, Copy)]
pub struct HeadRules {
    /// Bytes from the request line to the empty line.
    pub head_bytes: usize,
    /// From the connection to the end of its first head, and from the first byte to the end of every other one.
    pub handshake_timeout: Duration,
    /// How long a body may keep us waiting in all, where each KiB of it earns another second.
    pub body_grace: Duration,
}

impl HeadRules {
    /// As `[limits]` says.
    #[must_use]
    pub fn new(table: &LimitsTable) -> Self {
        Self {
            head_bytes: usize::try_from(table.header_bytes.0).unwrap_or(usize::MAX),
            handshake_timeout: table.handshake_timeout.0,
            body_grace: BODY_GRACE,
        }
    }

    /// hyper as it must be set above a guard.
    #[must_use]
    pub fn http1(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            // hyper sees a head all at once, so for hyper this is the time between two requests.
            .header_read_timeout(KEEP_ALIVE_IDLE + self.handshake_timeout)
            .max_headers(FIELDS_MAX);
        builder
    }
}

/// Why this connection's last request was refused, for the service above hyper.
#[derive(Debug, Clone, Default)]
pub struct Refused(Arc<OnceLock<HeadError>>);

impl Refused {
    /// The fault, once there is one. A pipelined request may be refused while the one before it is being served.
    #[must_use]
    pub fn error(&self) -> Option<HeadError> {
        self.0.get().copied()
    }

    /// The answer to hyper's request with `method`, if that stands for one that was refused.
    #[must_use]
    pub fn answer(&self, method: &Method) -> Option<Response<Body>> {
        if method.as_str() == REFUSED_METHOD { self.error().map(HeadError::answer) } else { None }
    }

    /// The answer to a request whose body broke off while it was served, in place of the service's.
    #[must_use]
    pub fn answer_in_body(&self) -> Option<Response<Body>> {
        self.error().filter(|error| error.is_in_body()).map(HeadError::answer)
    }
}

/// The stream of one client, of which hyper reads only what has been judged.
pub struct GuardedIo<S> {
    stream: S,
    limits: HeadRules,
    patience: Patience,
    refused: Refused,
    /// What has come and hyper has not read.
    held: BytesMut,
    /// How much of the beginning of `held` is judged.
    judged: usize,
    reading: Reading,
    /// hyper has read a request and has not had its turn to serve it.
    unserved: bool,
    lingered: Option<usize>,
}

enum Reading {
    Head(HeadScan),
    Body(BodyTracker),
    /// hyper has the head of an upgrade; what follows is for whoever gets the stream back.
    Upgrade,
    /// hyper has the synthetic request; nothing follows.
    Refused,
    /// The body is bad: once hyper has read what was good of it, it reads this.
    Broken(HeadError),
}

impl<S> GuardedIo<S> {
    /// Begins to guard a connection that has just been made. Must be called within a tokio runtime.
    #[must_use]
    pub fn new(stream: S, limits: HeadRules) -> (Self, Refused) {
        let refused = Refused::default();
        let guarded = Self {
            stream,
            limits,
            patience: Patience::new(limits.handshake_timeout, limits.body_grace),
            refused: refused.clone(),
            held: BytesMut::new(),
            judged: 0,
            reading: Reading::Head(HeadScan::default()),
            unserved: false,
            lingered: None,
        };
        (guarded, refused)
    }

    /// The stream and what the client has sent behind the head of its upgrade request.
    #[must_use]
    pub fn into_parts(self) -> (S, Bytes) {
        (self.stream, self.held.freeze())
    }

    /// Judges the beginning of what is held. True if there is something for hyper or the way of reading has changed.
    fn judge(&mut self) -> bool {
        match &mut self.reading {
            Reading::Head(_) if self.held.is_empty() => false,
            Reading::Head(scan) => {
                self.patience.head_began();
                let judged = scan
                    .end(&self.held, self.limits.head_bytes)
                    .and_then(|end| end.map(|end| judge_head(&self.held[..end]).map(|head| (head, end))).transpose());
                match judged {
                    Ok(None) => return false,
                    Ok(Some((head, end))) => self.admit(head, end),
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

    fn admit(&mut self, head: head::Head, end: usize) {
        self.judged = end;
        if head.upgrade {
            self.reading = Reading::Upgrade;
        } else if head.body == BodyFraming::None {
            self.next_head();
        } else {
            self.reading = Reading::Body(BodyTracker::new(head.body));
            self.patience.body_began();
        }
    }

    fn next_head(&mut self) {
        self.reading = Reading::Head(HeadScan::default());
        self.patience.idle();
    }

    fn refuse(&mut self, error: HeadError) {
        // The first fault is the one that is answered; nothing is judged behind it.
        let _ = self.refused.0.set(error);
        self.held = BytesMut::from(SYNTHETIC_REQUEST);
        self.judged = SYNTHETIC_REQUEST.len();
        self.reading = Reading::Refused;
    }

    /// Gives hyper what is judged, as far as there is room.
    fn pass(&mut self, out: &mut ReadBuf<'_>) {
        let passed = self.judged.min(out.remaining());
        out.put_slice(&self.held[..passed]);
        self.held.advance(passed);
        self.judged -= passed;
    }

    /// The client has not sent what it should have, in time.
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
        let _ = self.refused.0.set(error);
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

impl<S: AsyncRead + Unpin> GuardedIo<S> {
    /// Reads more of what the client sends. Ready with 0 at the end of the stream.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let in_body = matches!(self.reading, Reading::Body(_));
        let free = self.held.capacity() - self.held.len();
        if free < READ_BYTES_MIN / 2 {
            // Doubling, so that a head in many small pieces is not copied again and again.
            self.held.reserve(if in_body { BODY_READ_BYTES } else { self.held.len().max(READ_BYTES_MIN) });
        }
        let read = pin!(self.stream.read_buf(&mut self.held)).poll(cx)?;
        if let Poll::Ready(read) = read
            && in_body
        {
            self.patience.body_came(read);
        }
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
        read.map(Ok)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for GuardedIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.judged > 0 {
                this.pass(out);
                this.unserved = true;
                return Poll::Ready(Ok(()));
            }
            if this.judge() {
                continue;
            }
            match this.reading {
                Reading::Upgrade | Reading::Refused => return Poll::Pending,
                Reading::Broken(error) => return Poll::Ready(Err(this.break_off(error))),
                Reading::Head(_) | Reading::Body(_) => {}
            }
            match this.poll_fill(cx)? {
                // hyper would drop the request unserved, and nobody would know that its client has been and gone.
                Poll::Ready(0) if take(&mut this.unserved) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(0) => return Poll::Ready(Ok(())),
                Poll::Ready(_) => {}
                Poll::Pending => {
                    this.unserved = false;
                    ready!(this.patience.poll_over(cx));
                    this.give_up()?;
                    if this.judged == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
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

    /// Closing a socket with bytes unread resets it, and the client may never see our answer: so those are read away.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingered.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if matches!(this.reading, Reading::Head(_)) && this.held.is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.held = BytesMut::new();
            this.patience.linger();
        }
        let lingered = this.lingered.get_or_insert(0);
        let mut away = [0; READ_BYTES_MIN];
        while *lingered < LINGER_BYTES_MAX {
            let mut away = ReadBuf::new(&mut away);
            match Pin::new(&mut this.stream).poll_read(cx, &mut away) {
                Poll::Ready(Ok(())) if !away.filled().is_empty() => *lingered += away.filled().len(),
                Poll::Ready(_) => break,
                Poll::Pending => {
                    ready!(this.patience.poll_over(cx));
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Takes the stream back from hyper after a 101, with what the client has sent behind its request.
///
/// # Errors
/// The connection as it was, if what hyper served was not a guarded `S`.
pub fn reclaim<S>(upgraded: Upgraded) -> Result<(S, Bytes), Upgraded>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let parts = upgraded.downcast::<TokioIo<GuardedIo<S>>>()?;
    // The guard held back everything behind the head, so hyper has read nothing that is missing here.
    Ok(parts.io.into_inner().into_parts())
}

#[cfg(test)]
mod tests;
