//! Lines to standard error that never make the writer wait: a bounded queue, one thread, and a count of what was lost.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// Lines that may wait for a slow reader of standard error. Those beyond it are lost and counted.
const LINES_MAX: usize = 4096;

/// How long the thread pauses after a write. Lines that arrive meanwhile wake no thread and share the next write.
const REST: Duration = Duration::from_millis(5);

/// A write of this many bytes takes no further line.
const WRITE_BYTES: usize = 64 * 1024;

/// The sending end of the queue. Each `write` is one whole line.
#[derive(Debug, Clone)]
pub(super) struct Stderr {
    lines: SyncSender<Box<[u8]>>,
    counts: Arc<Counts>,
}

/// Lines accepted, of these written or failed, and lines lost because the queue was full.
#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU64,
    done: AtomicU64,
    lost: AtomicU64,
}

impl Stderr {
    /// Starts the thread that writes.
    pub(super) fn start() -> io::Result<Self> {
        Self::onto(io::stderr(), LINES_MAX)
    }

    fn onto(out: impl Write + Send + 'static, lines_max: usize) -> io::Result<Self> {
        let (lines, waiting) = sync_channel(lines_max);
        let counts = Arc::new(Counts::default());
        let thread_counts = Arc::clone(&counts);
        thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&waiting, out, &thread_counts))?;
        Ok(Self { lines, counts })
    }

    /// Waits until every line accepted so far is written, but no longer than `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let accepted = self.counts.accepted.load(Relaxed);
        while self.counts.done.load(Relaxed) < accepted && Instant::now() < until {
            thread::sleep(Duration::from_millis(2));
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.counts.lost.load(Relaxed)
    }
}

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let count = match self.lines.try_send(line.into()) {
            Ok(()) => &self.counts.accepted,
            Err(_) => &self.counts.lost,
        };
        count.fetch_add(1, Relaxed);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(waiting: &Receiver<Box<[u8]>>, mut out: impl Write, counts: &Counts) {
    let mut together = Vec::new();
    while let Ok(first) = waiting.recv() {
        let mut lines = 1;
        together.extend_from_slice(&first);
        while together.len() < WRITE_BYTES
            && let Ok(line) = waiting.try_recv()
        {
            lines += 1;
            together.extend_from_slice(&line);
        }
        // An error means that standard error is closed, so it cannot be reported.
        let _ = out.write_all(&together).and_then(|()| out.flush());
        counts.done.fetch_add(lines, Relaxed);
        if together.len() < WRITE_BYTES {
            thread::sleep(REST);
        }
        together.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Hands on what is written, each write as one, and returns from a write only when told to.
    struct Slow {
        go: mpsc::Receiver<()>,
        seen: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.seen.send(bytes.to_vec()).unwrap();
            self.go.recv().unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stands_still_costs_lines_and_not_time() {
        let (go, gate) = mpsc::channel();
        let (seen, writes) = mpsc::channel();
        let mut stderr = Stderr::onto(Slow { go: gate, seen }, 2).unwrap();
        stderr.write_all(b"1\n").unwrap();
        assert_eq!(writes.recv().unwrap(), b"1\n", "the first is written at once");
        for line in [b"2\n", b"3\n", b"4\n", b"5\n"] {
            stderr.write_all(line).unwrap();
        }
        assert_eq!(stderr.lost(), 2, "two wait in the queue");
        go.send(()).unwrap();
        assert_eq!(writes.recv().unwrap(), b"2\n3\n", "and leave together");
        go.send(()).unwrap();
        stderr.flush(Duration::from_secs(10));
        assert_eq!(stderr.counts.done.load(Relaxed), 3);
    }

    #[test]
    fn a_write_is_bounded_and_what_is_beyond_it_follows() {
        let (go, gate) = mpsc::channel();
        let (seen, writes) = mpsc::channel();
        let mut stderr = Stderr::onto(Slow { go: gate, seen }, 200).unwrap();
        stderr.write_all(b"first").unwrap();
        assert_eq!(writes.recv().unwrap(), b"first");
        let line = [b'x'; 1024];
        (0..100).for_each(|_| stderr.write_all(&line).unwrap());
        (0..3).for_each(|_| go.send(()).unwrap());
        assert_eq!(writes.recv().unwrap().len(), WRITE_BYTES);
        assert_eq!(writes.recv().unwrap().len(), 100 * line.len() - WRITE_BYTES);
        stderr.flush(Duration::from_secs(10));
        assert_eq!(stderr.counts.done.load(Relaxed), 101);
    }

    #[test]
    fn a_closed_standard_error_is_no_reason_to_stop() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut stderr = Stderr::onto(Closed, 8).unwrap();
        for _ in 0..3 {
            stderr.write_all(b"line\n").unwrap();
            stderr.flush(Duration::from_secs(10));
        }
        assert_eq!(stderr.lost(), 0);
    }
}
