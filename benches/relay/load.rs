//! The clients, all in one thread, and one reading of the proxy under their load.

use std::{
    collections::VecDeque,
    io::{self, BufRead as _, Write as _},
    path::PathBuf,
    rc::Rc,
    time::{Duration, Instant},
};

use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::task::{JoinSet, LocalSet};

use crate::{
    client::{Client, Target},
    flood::{self, Flood},
    measure,
    scenario::{Load, Scenario},
    shared::Shared,
    tls::Clients,
};

/// How long a proxy is loaded before anything is read.
const WARM_UP: Duration = Duration::from_millis(400);
/// Until the last waiting connection has settled.
const SETTLE: Duration = Duration::from_millis(500);
/// Connections that are opened at the same time.
const OPENING: usize = 16;
/// Round trips that follow each other; in a flood, those of a tenth of a second.
const STRETCH: usize = 320;
/// Printed once all connections are open; then a line on standard input starts the load.
pub(crate) const READY: &str = "ready";

/// The command line of the load.
#[derive(Debug, Clone, Args)]
pub(crate) struct LoadArgs {
    /// What to do.
    #[arg(long, value_parser = Scenario::named)]
    pub(crate) scenario: &'static Scenario,
    /// The proxy's port.
    #[arg(long)]
    pub(crate) port: u16,
    /// The file with its certificate, where it speaks TLS.
    #[arg(long)]
    pub(crate) pair: Option<PathBuf>,
    /// The proxy's process.
    #[arg(long)]
    pub(crate) pid: u32,
    /// How long to measure.
    #[arg(long, default_value_t = 1.5)]
    pub(crate) seconds: f64,
    /// Instead: wait for a line, then send so many events in all.
    #[arg(long)]
    pub(crate) count: Option<usize>,
    /// Connections of the idle scenario.
    #[arg(long, default_value_t = 4000)]
    pub(crate) idle: usize,
}

/// The result of one load.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Reading {
    /// Round trips, or connections.
    pub(crate) units: usize,
    /// In which they were made.
    pub(crate) seconds: f64,
    /// Of the proxy.
    pub(crate) cpu_ns: u64,
    /// Of a round trip, or of a connection from first to last, in microseconds.
    pub(crate) p50_us: f64,
    /// The same.
    pub(crate) p99_us: f64,
    /// The median of those of each [`STRETCH`].
    pub(crate) steady_p99_us: f64,
    /// The same before handshakes came in beside.
    pub(crate) calm_p99_us: f64,
    /// Which came in beside.
    pub(crate) handshakes_per_second: f64,
    /// By which the proxy grew.
    pub(crate) resident_bytes: u64,
    /// Of the proxy before the first connection.
    pub(crate) base_bytes: u64,
}

/// Runs one scenario and prints its reading as a line of JSON.
pub(crate) async fn run(args: LoadArgs) -> io::Result<()> {
    let reading = LocalSet::new().run_until(load(&args)).await?;
    println!("{}", serde_json::to_string(&reading)?);
    Ok(())
}

async fn load(args: &LoadArgs) -> io::Result<Reading> {
    let scenario = args.scenario;
    let tls = args.pair.as_deref().map(Clients::new).transpose()?;
    let target = Target { port: args.port, tls };
    let shared = Shared::new(scenario);
    shared.left.set(args.count.unwrap_or(usize::MAX));
    if scenario.load == Load::Idle {
        return idle(args, &target, &shared).await;
    }
    let mut tasks = start(args, &target, &shared).await?;
    if args.count.is_some() {
        finish(tasks).await?;
        return Ok(Reading { units: shared.done.get(), ..Reading::default() });
    }
    let reading = tokio::select! {
        reading = read(args, &target, &shared) => reading?,
        Some(ended) = tasks.join_next() => {
            ended??;
            return Err(io::Error::other("a client ended by itself"));
        }
    };
    shared.left.set(0);
    finish(tasks).await?;
    Ok(reading)
}

/// Starts the clients.
async fn start(args: &LoadArgs, target: &Target, shared: &Rc<Shared>) -> io::Result<JoinSet<io::Result<()>>> {
    let Scenario { load, connections, in_flight, .. } = *args.scenario;
    let mut tasks = JoinSet::new();
    if load == Load::Churn {
        for _ in 0..connections {
            tasks.spawn_local(churn(target.clone(), Rc::clone(shared)));
        }
        return Ok(tasks);
    }
    let clients = open(target, connections, shared).await?;
    await_word(args)?;
    for (nth, client) in clients.into_iter().enumerate() {
        let shared = Rc::clone(shared);
        match load {
            Load::Flood => tasks.spawn_local(flood::talk(client, nth, connections, shared)),
            _ => tasks.spawn_local(converse(client, in_flight, shared)),
        };
    }
    Ok(tasks)
}

async fn read(args: &LoadArgs, target: &Target, shared: &Shared) -> io::Result<Reading> {
    let reading = window(args, shared).await?;
    if args.scenario.load != Load::Flood {
        return Ok(reading);
    }
    let flood = Flood::start(target)?;
    let flooded = window(args, shared).await?;
    Ok(Reading { calm_p99_us: reading.steady_p99_us, handshakes_per_second: flood.end()?, ..flooded })
}

/// Reads the proxy before and after.
async fn window(args: &LoadArgs, shared: &Shared) -> io::Result<Reading> {
    tokio::time::sleep(WARM_UP).await;
    shared.took_ns.borrow_mut().clear();
    let (began, done, cpu_ns) = (Instant::now(), shared.done.get(), measure::cpu_ns(args.pid)?);
    tokio::time::sleep(Duration::from_secs_f64(args.seconds)).await;
    let cpu_ns = measure::cpu_ns(args.pid)? - cpu_ns;
    let (seconds, units) = (began.elapsed().as_secs_f64(), shared.done.get() - done);
    let mut took = shared.took_ns.take();
    let micros = |nanos| f64::from(nanos) / 1e3;
    let steady_p99_us = micros(measure::steady_p99(&took, STRETCH));
    took.sort_unstable();
    let (p50_us, p99_us) = (micros(measure::quantile(&took, 0.5)), micros(measure::quantile(&took, 0.99)));
    Ok(Reading { units, seconds, cpu_ns, p50_us, p99_us, steady_p99_us, ..Reading::default() })
}

async fn finish(mut tasks: JoinSet<io::Result<()>>) -> io::Result<()> {
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Opens clients, each of which has had one event acknowledged.
async fn open(target: &Target, count: usize, shared: &Rc<Shared>) -> io::Result<Vec<Client>> {
    let mut clients = Vec::with_capacity(count);
    let mut opening: JoinSet<io::Result<Client>> = JoinSet::new();
    let open_one = |user: usize| {
        let (target, shared) = (target.clone(), Rc::clone(shared));
        async move {
            let mut client = Client::join(&target, user).await?;
            client.echo(&shared.events).await?;
            Ok(client)
        }
    };
    for user in 0..count {
        if opening.len() == OPENING
            && let Some(opened) = opening.join_next().await
        {
            clients.push(opened??);
        }
        opening.spawn_local(open_one(user));
    }
    while let Some(opened) = opening.join_next().await {
        clients.push(opened??);
    }
    Ok(clients)
}

fn await_word(args: &LoadArgs) -> io::Result<()> {
    if args.count.is_none() {
        return Ok(());
    }
    println!("{READY}");
    io::stdout().flush()?;
    io::stdin().lock().read_line(&mut String::new()).map(drop)
}

/// Keeps events in flight until no more are allowed.
async fn converse(mut client: Client, in_flight: usize, shared: Rc<Shared>) -> io::Result<()> {
    let mut sent: VecDeque<Instant> = VecDeque::with_capacity(in_flight);
    let (mut next, mut wanted) = (0, in_flight);
    loop {
        let claimed = shared.claim(wanted);
        if claimed > 0 {
            let now = Instant::now();
            sent.extend(std::iter::repeat_n(now, claimed));
            client.send(shared.events.take(next, claimed)).await?;
            next += claimed;
        }
        if sent.is_empty() {
            return Ok(());
        }
        wanted = client.acks(shared.events.ack_bytes).await?;
        for _ in 0..wanted {
            let began = sent.pop_front().ok_or_else(|| io::Error::other("more acknowledgements than events"))?;
            shared.finished(began);
        }
    }
}

/// Opens and closes until no more are allowed.
async fn churn(target: Target, shared: Rc<Shared>) -> io::Result<()> {
    while shared.claim(1) == 1 {
        let began = Instant::now();
        let mut client = Client::join(&target, shared.done.get()).await?;
        client.echo(&shared.events).await?;
        drop(client);
        shared.finished(began);
    }
    Ok(())
}

/// What waiting connections cost.
async fn idle(args: &LoadArgs, target: &Target, shared: &Rc<Shared>) -> io::Result<Reading> {
    // The first connection pays for what the proxy makes once.
    drop(open(target, 1, shared).await?);
    tokio::time::sleep(SETTLE).await;
    let base_bytes = measure::resident_bytes(args.pid)?;
    let clients = open(target, args.idle, shared).await?;
    tokio::time::sleep(SETTLE).await;
    let resident_bytes = measure::resident_bytes(args.pid)?.saturating_sub(base_bytes);
    let (began, cpu_ns) = (Instant::now(), measure::cpu_ns(args.pid)?);
    tokio::time::sleep(Duration::from_secs_f64(args.seconds)).await;
    let cpu_ns = measure::cpu_ns(args.pid)? - cpu_ns;
    let seconds = began.elapsed().as_secs_f64();
    Ok(Reading { units: clients.len(), seconds, cpu_ns, resident_bytes, base_bytes, ..Reading::default() })
}
