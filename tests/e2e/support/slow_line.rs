//! The network between clients and a gate, which takes its time.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

/// Passes connections on to a gate, until dropped.
#[derive(Debug)]
pub(crate) struct SlowLine {
    pub(crate) address: SocketAddr,
    /// In microseconds.
    one_way: Arc<AtomicU64>,
    listening: JoinHandle<()>,
}

impl SlowLine {
    /// One that takes no time yet.
    pub(crate) async fn to(gate: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let one_way = Arc::new(AtomicU64::new(0));
        let shared = Arc::clone(&one_way);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, gate, Arc::clone(&shared)));
            }
        });
        Self { address, one_way, listening }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on the way to the gate and back takes so long, half of it each.
    pub(crate) fn takes(&self, there_and_back: Duration) {
        let one_way = u64::try_from(there_and_back.as_micros() / 2).unwrap();
        self.one_way.store(one_way, Ordering::SeqCst);
    }
}

impl Drop for SlowLine {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn pass(client: TcpStream, gate: SocketAddr, one_way: Arc<AtomicU64>) {
    let Ok(gate) = TcpStream::connect(gate).await else { return };
    client.set_nodelay(true).unwrap();
    gate.set_nodelay(true).unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_gate, to_gate) = gate.into_split();
    tokio::join!(carry(from_client, to_gate, &one_way), carry(from_gate, to_client, &one_way));
}

/// Carries bytes one way, in order and each for as long as the way takes.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, one_way: &AtomicU64) {
    let (sender, mut under_way) = mpsc::unbounded_channel();
    let enters = async move {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(len @ 1..) = from.read(&mut buffer).await {
            let arrives = Instant::now() + Duration::from_micros(one_way.load(Ordering::SeqCst));
            if sender.send((arrives, buffer[..len].to_vec())).is_err() {
                return;
            }
        }
    };
    let leaves = async move {
        while let Some((arrives, bytes)) = under_way.recv().await {
            sleep_until(arrives).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(enters, leaves);
}
