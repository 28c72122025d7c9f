//! One event that another node publishes, for many clients of this one: what each delivery costs Tidegate, beside Node with
//! `@socket.io/redis-adapter`. Both get the same Redis message in the same rounds.

use std::{
    cell::Cell,
    fs, io,
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};

use clap::Args;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    sync::Notify,
    task::{JoinSet, LocalSet},
};

use crate::{
    bounds::{Bound, Verdicts},
    client::{Client, Target},
    load::Reading,
    measure::{self, Spread},
    peers::{self, Peer, Setup},
    process::{self, Process},
    report::shown,
};

/// As `--only` has it.
pub(crate) const FANOUT: &str = "fanout";
/// Who gets each event.
const CLIENTS: usize = 500;
/// The text of an event.
const EVENT_BYTES: usize = 64;
/// Between two events, the next of which waits until all clients have got the one before.
const PAUSE: Duration = Duration::from_millis(20);
/// How long events are published before anything is read.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long the first events may take to reach every client, and any other.
const PATIENCE: Duration = Duration::from_secs(20);
/// What Tidegate may cost, as a part of what Node does.
const RATIO: Bound = Bound::above(0.20, 0.65);
/// The channel of the adapter for all clients of `/`.
pub(crate) const CHANNEL: &str = "socket.io#/#";

/// The command line of the clients, and of who publishes.
#[derive(Debug, Clone, Args)]
pub(crate) struct FanoutArgs {
    /// Where they connect.
    #[arg(long)]
    port: u16,
    /// The process that is measured.
    #[arg(long)]
    pid: u32,
    /// The port of Redis.
    #[arg(long)]
    redis: u16,
    /// How long to measure.
    #[arg(long)]
    seconds: f64,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    /// Sends the same bytes to each client, and does nothing else.
    Floor,
    Tidegate,
    /// Another build of it.
    Other,
    Adapter,
}

impl Server {
    /// In the order of the report.
    fn all(setup: &Setup) -> Vec<Self> {
        let all = [Self::Floor, Self::Tidegate, Self::Other, Self::Adapter];
        all.into_iter().filter(|server| *server != Self::Other || setup.other.is_some()).collect()
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Floor => "a loop of sends",
            Self::Tidegate => "tidegate",
            Self::Other => "other build",
            Self::Adapter => "node, redis-adapter",
        }
    }

    /// Starts it on the proxy's core, and a service behind a proxy.
    fn start(self, setup: &Setup, redis: u16) -> io::Result<(Process, Option<Process>)> {
        let (port, dir) = (process::free_port()?, tempfile::tempdir()?);
        let proxy = match self {
            Self::Floor => return Ok((Process::proxy(&floor(port, redis)?, port, dir)?, None)),
            Self::Adapter => return Ok((Process::proxy(&adapter(port, redis)?, port, dir)?, None)),
            Self::Tidegate => Peer::Tidegate,
            Self::Other => Peer::Other,
        };
        let echo = Process::echo()?;
        let table = peers::redis_table(redis);
        Ok((proxy.start_with(echo.port, setup, false, &[], &table)?, Some(echo)))
    }
}

/// Measures all in turns, prints what each delivery costs, and judges it.
pub(crate) fn measure(setup: &Setup, rounds: usize, seconds: f64, verdicts: &mut Verdicts) -> io::Result<()> {
    println!(
        "\n### {FANOUT}: one event of another node to {CLIENTS} clients, {EVENT_BYTES} bytes: CPU-us per delivery\n"
    );
    let Some(redis) = &setup.redis else {
        println!("redis-server is not installed: left out");
        return Ok(());
    };
    if process::find("node").is_none() {
        println!("node is not installed: left out");
        return Ok(());
    }
    if !Path::new("tests/upstream/node_modules/@socket.io/redis-adapter").is_dir() {
        println!("tests/upstream/node_modules is missing (`npm ci` there): left out");
        return Ok(());
    }
    let servers = Server::all(setup);
    let mut readings = vec![Vec::with_capacity(rounds); servers.len()];
    for round in 0..rounds {
        for nth in 0..servers.len() {
            let at = (nth + round) % servers.len();
            readings[at].push(read(servers[at], setup, redis.port, seconds)?);
        }
    }
    print(&servers, &readings, verdicts);
    Ok(())
}

fn print(servers: &[Server], readings: &[Vec<Reading>], verdicts: &mut Verdicts) {
    let cpu_us = |reading: &Reading| reading.cpu_ns as f64 / 1e3 / reading.units.max(1) as f64;
    println!("| server | median (min-max) | deliveries/s |\n|---|---|---|");
    for (server, readings) in servers.iter().zip(readings) {
        let figure = Spread::of(readings.iter().map(cpu_us).collect()).map_or_else(String::new, shown);
        let rates = readings.iter().map(|reading| reading.units as f64 / reading.seconds).collect();
        let rate = Spread::of(rates).map_or(0.0, |rate| rate.median);
        println!("| {} | {figure} | {rate:.0} |", server.name());
    }
    println!();
    let of = |server: Server| servers.iter().position(|known| *known == server).map(|at| &readings[at]);
    let Some(tidegate) = of(Server::Tidegate) else { return };
    for (server, readings) in servers.iter().zip(readings).filter(|(server, _)| **server != Server::Tidegate) {
        let ratios = tidegate.iter().zip(readings).map(|(tidegate, other)| cpu_us(tidegate) / cpu_us(other)).collect();
        let Some(ratio) = Spread::of(ratios) else { continue };
        let goal = match server {
            Server::Adapter => verdicts.judge("fanout, Tidegate to Node", ratio.median, RATIO),
            _ => String::new(),
        };
        println!("* Tidegate to {}: {}{goal}", server.name(), shown(ratio));
    }
}

fn floor(port: u16, redis: u16) -> io::Result<Vec<String>> {
    process::own_role(&["floor", &port.to_string(), &redis.to_string()])
}

fn adapter(port: u16, redis: u16) -> io::Result<Vec<String>> {
    let script = fs::canonicalize("tests/upstream/fanout_service.mjs")?.display().to_string();
    Ok(vec!["node".to_owned(), script, port.to_string(), redis.to_string()])
}

fn read(server: Server, setup: &Setup, redis: u16, seconds: f64) -> io::Result<Reading> {
    let (process, _service) = server.start(setup, redis)?;
    let options = [("--port", u32::from(process.port)), ("--pid", process.pid()), ("--redis", redis.into())];
    let mut args = vec![FANOUT.to_owned(), "--seconds".to_owned(), seconds.to_string()];
    args.extend(options.into_iter().flat_map(|(name, value)| [name.to_owned(), value.to_string()]));
    let output = process::role_of_load(&args)?.wait_with_output()?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(io::Error::other(format!("{}: {complaint}", server.name())));
    }
    serde_json::from_slice(&output.stdout).map_err(io::Error::other)
}

/// The arguments of the event.
fn event() -> serde_json::Value {
    json!(["news", "x".repeat(EVENT_BYTES.saturating_sub(r#"42["news",""]"#.len()))])
}

/// The packet that each client gets.
pub(crate) fn packet() -> String {
    format!("42{}", event())
}

/// Runs the clients and who publishes, and prints the reading as a line of JSON.
pub(crate) async fn run(args: FanoutArgs) -> io::Result<()> {
    let reading = LocalSet::new().run_until(fan_out(&args)).await?;
    println!("{}", serde_json::to_string(&reading)?);
    Ok(())
}

/// Events that have arrived, and how many are awaited.
#[derive(Default)]
struct Arrivals {
    came: Cell<usize>,
    awaited: Cell<usize>,
    all_came: Notify,
}

impl Arrivals {
    fn add(&self, events: usize) {
        self.came.set(self.came.get() + events);
        if self.came.get() >= self.awaited.get() {
            self.all_came.notify_one();
        }
    }

    /// Waits until `total` events have been received. False: they were not, within `patience`.
    async fn wait_for(&self, total: usize, patience: Duration) -> bool {
        self.awaited.set(total);
        let all = async {
            while self.came.get() < total {
                self.all_came.notified().await;
            }
        };
        tokio::time::timeout(patience, all).await.is_ok()
    }
}

async fn fan_out(args: &FanoutArgs) -> io::Result<Reading> {
    let target = Target { port: args.port, tls: None };
    let clients = join_all(&target).await?;
    let arrivals = Rc::new(Arrivals::default());
    let mut tasks: JoinSet<io::Result<()>> = JoinSet::new();
    for mut client in clients {
        let arrivals = Rc::clone(&arrivals);
        tasks.spawn_local(async move {
            loop {
                arrivals.add(client.events().await?);
            }
        });
    }
    let mut publisher = Publisher::connect(args.redis).await?;
    tokio::select! {
        reading = publish(args, &mut publisher, &arrivals) => reading,
        Some(ended) = tasks.join_next() => {
            ended??;
            Err(io::Error::other("a client ended by itself"))
        }
    }
}

async fn join_all(target: &Target) -> io::Result<Vec<Client>> {
    let mut clients = Vec::with_capacity(CLIENTS);
    for user in 0..CLIENTS {
        clients.push(Client::join(target, user).await?);
    }
    Ok(clients)
}

async fn publish(args: &FanoutArgs, publisher: &mut Publisher, arrivals: &Arrivals) -> io::Result<Reading> {
    let began = Instant::now();
    while !reaches_all(publisher, arrivals, Duration::from_secs(1)).await? {
        if began.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("what is published on {CHANNEL} does not reach the clients")));
        }
    }
    // Node compiles what it has run often.
    publish_for(WARM_UP, publisher, arrivals).await?;
    let (began, before, cpu_ns) = (Instant::now(), arrivals.came.get(), measure::cpu_ns(args.pid)?);
    publish_for(Duration::from_secs_f64(args.seconds), publisher, arrivals).await?;
    let cpu_ns = measure::cpu_ns(args.pid)? - cpu_ns;
    let (units, seconds) = (arrivals.came.get() - before, began.elapsed().as_secs_f64());
    Ok(Reading { units, seconds, cpu_ns, ..Reading::default() })
}

/// Publishes one event after the other.
async fn publish_for(time: Duration, publisher: &mut Publisher, arrivals: &Arrivals) -> io::Result<()> {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(PAUSE);
    while began.elapsed() < time {
        ticks.tick().await;
        if !reaches_all(publisher, arrivals, PATIENCE).await? {
            return Err(io::Error::other("an event has not reached every client"));
        }
    }
    Ok(())
}

/// Publishes one event, and waits until every client has got it.
async fn reaches_all(publisher: &mut Publisher, arrivals: &Arrivals, patience: Duration) -> io::Result<bool> {
    let due = arrivals.came.get() + CLIENTS;
    publisher.publish().await?;
    Ok(arrivals.wait_for(due, patience).await)
}

/// A connection to Redis that publishes one message again and again.
struct Publisher {
    stream: BufReader<TcpStream>,
    command: Vec<u8>,
}

impl Publisher {
    async fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        // As @socket.io/redis-emitter 5 publishes it.
        let packet = json!({ "type": 2, "data": event(), "nsp": "/" });
        let message = json!(["emitter", packet, { "rooms": [], "except": [], "flags": {} }]);
        let message = rmp_serde::to_vec_named(&message).map_err(io::Error::other)?;
        let mut command = format!("*3\r\n$7\r\nPUBLISH\r\n${}\r\n{CHANNEL}\r\n", CHANNEL.len()).into_bytes();
        command.extend_from_slice(format!("${}\r\n", message.len()).as_bytes());
        command.extend_from_slice(&message);
        command.extend_from_slice(b"\r\n");
        Ok(Self { stream: BufReader::new(stream), command })
    }

    async fn publish(&mut self) -> io::Result<()> {
        self.stream.get_mut().write_all(&self.command).await?;
        let mut answer = String::new();
        self.stream.read_line(&mut answer).await?;
        if answer.starts_with(':') { Ok(()) } else { Err(io::Error::other(format!("Redis says {answer}"))) }
    }
}
