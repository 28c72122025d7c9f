//! Frames of an HTTP/2 connection: those that carry nothing are counted the same however they are cut, whatever is let in
//! comes unchanged, and a client that is closed for a flood is told so.
#![no_main]

use std::{
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Instant,
};

use libfuzzer_sys::fuzz_target;
use tidegate::gateway::http2::frame_watch::WatchedIo;
use tidegate_fuzz::Input;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// RFC 9113 §3.4.
const PREFACE_BYTES: usize = 24;
const HEADER_BYTES: usize = 9;
/// Frames that carry nothing: at once, each second, for a request, and for so many bytes.
const AT_ONCE: usize = 200;
const PER_SECOND: f64 = 20.0;
const PER_REQUEST: usize = 4;
const BYTES_PER_FRAME: usize = 1024;
/// How often a frame of the input is repeated, so that a short input can be a flood.
const TIMES: usize = 64;

// Behind the layout of `Input` is the preface, left out, and the frames. With the last option each of them is said many times.
fuzz_target!(|data: &[u8]| {
    let Some(input) = Input::new(data) else { return };
    let mut bytes = vec![b'P'; PREFACE_BYTES];
    for frame in frames(input.bytes) {
        let times = if input.options & 1 == 0 { 1 } else { TIMES };
        (0..times).for_each(|_| bytes.extend_from_slice(frame));
    }

    let began = Instant::now();
    let at_once = read(std::iter::once(&bytes[..]));
    let in_pieces = read(input.pieces(&bytes));
    let by_time = began.elapsed().as_secs_f64() * PER_SECOND;

    for reading in [at_once, in_pieces] {
        assert!(bytes.starts_with(&reading.passed), "what is let in comes unchanged");
        if reading.flooded {
            assert!(is_flood(&bytes, 0), "it is closed for fewer frames than it may send");
            assert_eq!(reading.answer[..5], [0, 0, 8, 7, 0], "GOAWAY");
            assert_eq!(reading.answer[13..], [0, 0, 0, 0x0b], "ENHANCE_YOUR_CALM");
        } else {
            assert!(!is_flood(&bytes, by_time as usize + 1), "a flood is let in");
            assert_eq!(reading.passed.len(), bytes.len());
            assert!(reading.answer.is_empty());
        }
    }
});

/// The frames of these bytes, the last one perhaps cut off.
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let len = match bytes {
            [] => return None,
            [high, middle, low, _, _, _, _, _, _, ..] => {
                HEADER_BYTES + (usize::from(*high) << 16) + (usize::from(*middle) << 8) + usize::from(*low)
            }
            _ => bytes.len(),
        };
        bytes.split_off(..len.min(bytes.len()))
    })
}

/// Whether a frame that carries nothing is one too many, where time has given `more`.
fn is_flood(bytes: &[u8], mut more: usize) -> bool {
    let (mut left, mut moved) = (AT_ONCE, 0);
    for frame in frames(&bytes[PREFACE_BYTES..]) {
        let [high, middle, low, kind, ..] = *frame else { break };
        if frame.len() < HEADER_BYTES {
            break;
        }
        let len = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        match (kind, len) {
            (0, 1..) => {
                moved += len;
                left = (left + moved / BYTES_PER_FRAME).min(AT_ONCE);
                moved %= BYTES_PER_FRAME;
            }
            (1, _) => left = (left + PER_REQUEST).min(AT_ONCE),
            (9, _) => {}
            _ if left > 0 => left -= 1,
            _ if more > 0 => more -= 1,
            _ => return true,
        }
    }
    false
}

struct Reading {
    passed: Vec<u8>,
    flooded: bool,
    answer: Vec<u8>,
}

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]> + Unpin) -> Reading {
    let mut answer = Vec::new();
    let mut stream = Recorded { pieces, here: &[], answer: &mut answer };
    let (watched, flooded) = WatchedIo::new(&mut stream);
    let mut watched = pin!(watched);
    let (mut passed, mut room) = (Vec::new(), [0; 4096]);
    loop {
        let mut into = ReadBuf::new(&mut room);
        match watched.as_mut().poll_read(&mut Context::from_waker(Waker::noop()), &mut into) {
            Poll::Ready(Ok(())) if into.filled().is_empty() => break,
            Poll::Ready(Ok(())) => passed.extend_from_slice(into.filled()),
            Poll::Ready(Err(_)) => break,
            Poll::Pending => unreachable!("there is always a piece, or the end"),
        }
    }
    let flooded = flooded.is_set();
    Reading { passed, flooded, answer }
}

/// A socket that gives these pieces, and records what is written.
struct Recorded<'a, 'b, P> {
    pieces: P,
    here: &'a [u8],
    answer: &'b mut Vec<u8>,
}

impl<'a, P: Iterator<Item = &'a [u8]> + Unpin> AsyncRead for Recorded<'a, '_, P> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.here.is_empty() {
            self.here = self.pieces.next().unwrap_or_default();
        }
        let len = self.here.len().min(into.remaining());
        let (now, later) = self.here.split_at(len);
        into.put_slice(now);
        self.here = later;
        Poll::Ready(Ok(()))
    }
}

impl<P: Unpin> AsyncWrite for Recorded<'_, '_, P> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().answer.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
