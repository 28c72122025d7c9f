//! The line between the browser and the gate: a TCP relay that passes every byte on, as late as it is told.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// The longest delay that can be set.
pub(crate) const DELAY_MAX: Duration = Duration::from_secs(2);
/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;
/// Chunks that are on their way in one direction at most.
const CHUNKS_ON_THEIR_WAY: usize = 256;

/// How much longer a round trip takes. Clones are of the same line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line(Arc<AtomicU64>);

impl Line {
    /// From now on round trips take so much longer, half of it in each direction.
    pub(crate) fn delay(&self, round_trip: Duration) {
        self.0.store(round_trip.min(DELAY_MAX).as_millis() as u64, Ordering::Relaxed);
    }

    /// What was set last, in milliseconds.
    pub(crate) fn delay_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn one_way(&self) -> Duration {
        Duration::from_millis(self.delay_ms()) / 2
    }

    /// Passes the connections of `listener` on to `gate`, on a thread of its own, until the process ends.
    pub(crate) fn start(&self, listener: std::net::TcpListener, gate: SocketAddr) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let line = self.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("line".to_owned()).spawn(move || {
            if let Err(error) = runtime.block_on(accept(listener, gate, line)) {
                eprintln!("the line of the demo has broken: {error}");
            }
        })?;
        Ok(())
    }
}

async fn accept(listener: std::net::TcpListener, gate: SocketAddr, line: Line) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (browser, _) = listener.accept().await?;
        // An error concerns one connection, and both of its ends learn of it.
        tokio::spawn(connect(browser, gate, line.clone()));
    }
}

async fn connect(browser: TcpStream, gate: SocketAddr, line: Line) -> io::Result<()> {
    let gate = TcpStream::connect(gate).await?;
    for end in [&browser, &gate] {
        end.set_nodelay(true)?;
    }
    let (from_browser, to_browser) = browser.into_split();
    let (from_gate, to_gate) = gate.into_split();
    tokio::try_join!(carry(from_browser, to_gate, &line), carry(from_gate, to_browser, &line))?;
    Ok(())
}

/// One direction, in order. Its end is as late as its bytes.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, line: &Line) -> io::Result<()> {
    let (leave, mut arrive) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_ON_THEIR_WAY);
    let reads = async move {
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            if from.read_buf(&mut chunk).await? == 0
                || leave.send((Instant::now() + line.one_way(), chunk)).await.is_err()
            {
                return Ok(());
            }
        }
    };
    let writes = async move {
        while let Some((due, chunk)) = arrive.recv().await {
            sleep_until(due).await;
            to.write_all(&chunk).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(reads, writes)?;
    Ok(())
}
