//! Sessions with little traffic, and their latency during a flood of TLS handshakes.

use std::{
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{MissedTickBehavior, interval, interval_at},
};

use crate::{
    client::{Client, Target},
    runtime::block_on,
    scenario::{FLOOD_PAUSE, HANDSHAKE_PAUSE},
    shared::Shared,
    tls::Clients,
};

/// Concurrent handshakes at most.
const UNDER_WAY_MAX: usize = 256;

/// Sends an event every [`FLOOD_PAUSE`] until no more are allowed; each of `of` clients at a time of its own.
pub(crate) async fn talk(mut client: Client, nth: usize, of: usize, shared: Rc<Shared>) -> io::Result<()> {
    let share = FLOOD_PAUSE.mul_f64(nth as f64 / of as f64);
    let mut ticks = interval_at((Instant::now() + share).into(), FLOOD_PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while shared.claim(1) == 1 {
        ticks.tick().await;
        let began = Instant::now();
        client.echo(&shared.events).await?;
        shared.finished(began);
    }
    Ok(())
}

/// Handshakes at a fixed rate, from a thread of their own so that they do not delay the clock of the sessions.
pub(crate) struct Flood {
    state: Arc<State>,
    began: Instant,
    thread: JoinHandle<io::Result<()>>,
}

#[derive(Default)]
struct State {
    over: AtomicBool,
    made: AtomicUsize,
}

impl Flood {
    /// Begins. Fails for a target without TLS.
    pub(crate) fn start(target: &Target) -> io::Result<Self> {
        let clients = target.tls.clone().ok_or_else(|| io::Error::other("a flood of handshakes needs TLS"))?;
        let (port, state) = (target.port, Arc::<State>::default());
        let shared = Arc::clone(&state);
        let thread = thread::spawn(move || block_on(shake_hands(port, clients, shared)));
        Ok(Self { state, began: Instant::now(), thread })
    }

    /// Ends it. Returns the handshakes per second.
    pub(crate) fn end(self) -> io::Result<f64> {
        let per_second = self.state.made.load(Ordering::Relaxed) as f64 / self.began.elapsed().as_secs_f64();
        self.state.over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| io::Error::other("the flood of handshakes broke off"))??;
        Ok(per_second)
    }
}

async fn shake_hands(port: u16, clients: Clients, state: Arc<State>) -> io::Result<()> {
    let mut ticks = interval(HANDSHAKE_PAUSE);
    let mut under_way: JoinSet<io::Result<()>> = JoinSet::new();
    while !state.over.load(Ordering::Relaxed) {
        ticks.tick().await;
        while let Some(ended) = under_way.try_join_next() {
            ended??;
        }
        if under_way.len() < UNDER_WAY_MAX {
            let (clients, state) = (clients.clone(), Arc::clone(&state));
            under_way.spawn(async move {
                let stream = TcpStream::connect(("127.0.0.1", port)).await?;
                drop(clients.shake_hands(stream).await?);
                state.made.fetch_add(1, Ordering::Relaxed);
                Ok(())
            });
        }
    }
    Ok(())
}
