//! A network like radio: what is sent over it may disappear, and neither end hears of it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

/// Passes connections on until it goes silent for them; those that are made afterwards pass.
#[derive(Debug)]
pub(crate) struct Air {
    address: SocketAddr,
    line: Arc<Mutex<Arc<Line>>>,
    listening: JoinHandle<()>,
}

/// What the connections of one time have in common.
#[derive(Debug)]
struct Line {
    /// So many more bytes pass to the client; nothing passes from it once there are none.
    left: AtomicUsize,
}

impl Line {
    fn open() -> Arc<Self> {
        Arc::new(Self { left: usize::MAX.into() })
    }
}

impl Air {
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let line = Arc::new(Mutex::new(Line::open()));
        let current = Arc::clone(&line);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let line = Arc::clone(&current.lock().unwrap());
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(server).await else { return };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::spawn(pass(from_server, to_client, Arc::clone(&line), true));
                    pass(from_client, to_server, line, false).await;
                });
            }
        });
        Self { address, line, listening }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The connections that there are become silent, once so many more bytes have reached the client.
    pub(crate) fn silence_after(&self, bytes: usize) {
        let mut line = self.line.lock().unwrap();
        line.left.store(bytes, SeqCst);
        *line = Line::open();
    }
}

impl Drop for Air {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Not even the end of a connection that is silent passes, nor does it close before its end has.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, line: Arc<Line>, counts: bool) {
    let mut buffer = vec![0; 4096];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        let left = line.left.load(SeqCst);
        let passes = len.min(left);
        if counts && left != usize::MAX {
            line.left.store(left - passes, SeqCst);
        }
        if to.write_all(&buffer[..passes]).await.is_err() {
            return;
        }
    }
    if line.left.load(SeqCst) == usize::MAX {
        let _ = to.shutdown().await;
    } else {
        // As long as the test runs.
        std::future::pending::<()>().await;
    }
}
