//! The network between a gate and its service, which can break.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

use super::service::Service;

/// Passes connections on to a service, until dropped.
#[derive(Debug)]
pub(crate) struct Cable {
    address: SocketAddr,
    state: Arc<State>,
    listening: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    broken: AtomicBool,
    /// So many bytes of the service pass before it breaks.
    left: AtomicUsize,
    breaks: Notify,
    /// Ends one connection each, in the order in which they were made.
    ends: Mutex<Vec<Arc<Notify>>>,
}

impl Cable {
    pub(crate) async fn to(service: &Service) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state =
            State { broken: false.into(), left: usize::MAX.into(), breaks: Notify::new(), ends: Mutex::default() };
        let state = Arc::new(state);
        let (shared, service) = (state.clone(), service.address());
        let listening = tokio::spawn(async move {
            while let Ok((gate, _)) = listener.accept().await {
                let end = Arc::<Notify>::default();
                shared.ends.lock().unwrap().push(end.clone());
                tokio::spawn(pass(gate, service, shared.clone(), end));
            }
        });
        Self { address, state, listening }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every connection ends, and none can be made.
    pub(crate) fn cut(&self) {
        self.state.cut();
    }

    /// The first so many connections end, and others go on and can be made.
    pub(crate) fn cut_first(&self, connections: usize) {
        self.state.ends.lock().unwrap().iter().take(connections).for_each(|end| end.notify_one());
    }

    /// It is cut after so many more bytes of the service.
    pub(crate) fn cut_after(&self, bytes: usize) {
        self.state.left.store(bytes, Ordering::SeqCst);
    }

    pub(crate) fn repair(&self) {
        self.state.left.store(usize::MAX, Ordering::SeqCst);
        self.state.broken.store(false, Ordering::SeqCst);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl State {
    fn cut(&self) {
        self.broken.store(true, Ordering::SeqCst);
        self.breaks.notify_waiters();
    }
}

async fn pass(mut gate: TcpStream, service: SocketAddr, state: Arc<State>, end: Arc<Notify>) {
    let breaks = state.breaks.notified();
    if state.broken.load(Ordering::SeqCst) {
        return;
    }
    let Ok(mut service) = TcpStream::connect(service).await else { return };
    let (mut from_gate, mut to_gate) = gate.split();
    let (mut from_service, mut to_service) = service.split();
    let back = async {
        let mut buffer = vec![0; 4096];
        while let Ok(len @ 1..) = from_service.read(&mut buffer).await {
            let left = state.left.load(Ordering::SeqCst);
            let passes = len.min(left);
            if left != usize::MAX {
                state.left.store(left - passes, Ordering::SeqCst);
            }
            if to_gate.write_all(&buffer[..passes]).await.is_err() {
                return;
            }
            if passes < len {
                return state.cut();
            }
        }
    };
    tokio::select! {
        () = breaks => {}
        () = end.notified() => {}
        () = back => {}
        _ = copy(&mut from_gate, &mut to_service) => {}
    }
}
