//! What Tidegate costs, as ratios to a relay that looks at nothing and to proxies that many people run. Start it with
//! `scripts/bench`; `docs/performance.md` says what is measured and what came of it.

mod client;
mod counts;
mod echo;
mod frames;
mod l4;
mod load;
mod measure;
mod peers;
mod report;
mod scenario;

use std::{future::Future, io, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{
    load::{LoadArgs, Reading},
    peers::{Peer, Process},
    report::Table,
    scenario::Scenario,
};

/// System calls per round trip that Tidegate may make.
const SYSTEM_CALLS_MAX: f64 = 4.8;
/// User instructions per round trip that Tidegate may take, one event in flight.
const INSTRUCTIONS_MAX: f64 = 5_000.0;
/// The same, with 16 in flight.
const INSTRUCTIONS_BATCHED_MAX: f64 = 1_500.0;

/// Measures Tidegate, a plain relay and, where they are installed, nginx and haproxy, in turns, on this machine.
#[derive(Debug, Parser)]
#[command(name = "scripts/bench")]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    plan: Plan,
}

#[derive(Debug, Args)]
struct Plan {
    /// Readings of each proxy in each scenario.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long one reading takes, in seconds.
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// Two rounds of one second.
    #[arg(long)]
    quick: bool,
    /// Only these scenarios, or `counts`: sb, sc, bulk, sf, sidle, latency, counts.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Waiting connections in `sidle`.
    #[arg(long, default_value_t = 4000)]
    connections: usize,
    /// The program to measure.
    #[arg(long, default_value = "target/dist/tidegate", overrides_with = "gate")]
    gate: PathBuf,
    /// `cargo bench` says so to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What this program is when it starts itself.
#[derive(Debug, Subcommand)]
enum Role {
    /// The service.
    #[command(hide = true)]
    Echo { port: u16 },
    /// The reference.
    #[command(hide = true)]
    L4 { port: u16, upstream: u16 },
    /// The clients.
    #[command(hide = true)]
    Load(LoadArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.role {
        Some(Role::Echo { port }) => block_on(echo::run(port)),
        Some(Role::L4 { port, upstream }) => block_on(l4::run(port, upstream)),
        Some(Role::Load(args)) => block_on(load::run(args)),
        None => measure_all(&cli.plan),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// One thread, which is what a core is.
fn block_on(role: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(role)
}

fn measure_all(plan: &Plan) -> io::Result<()> {
    // Inherited by every child; each waiting connection takes two descriptors of a proxy.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let (rounds, seconds) = if plan.quick { (2, 1.0) } else { (plan.rounds, plan.seconds) };
    let (peers, absent): (Vec<Peer>, Vec<Peer>) = Peer::ALL.into_iter().partition(|peer| peer.is_installed());
    for peer in absent {
        println!("{} is not installed: left out", peer.name());
    }
    for scenario in Scenario::ALL {
        if plan.wants(scenario.name()) {
            let mut table = Table::new(scenario, peers.clone());
            for round in 0..rounds {
                table.push(one_round(plan, scenario, &peers, round, seconds)?);
            }
            table.print();
        }
    }
    if plan.wants("counts") { count_all(plan, &peers) } else { Ok(()) }
}

impl Plan {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

/// Each peer once, beginning with another one each time, so that none always follows the same.
fn one_round(
    plan: &Plan,
    scenario: Scenario,
    peers: &[Peer],
    round: usize,
    seconds: f64,
) -> io::Result<Vec<Option<Reading>>> {
    let mut readings = vec![None; peers.len()];
    for nth in 0..peers.len() {
        let at = (nth + round) % peers.len();
        let echo = Process::echo()?;
        let proxy = peers[at].start(echo.port, &plan.gate, &[])?;
        match counts::timed(&proxy, scenario, seconds, plan.connections) {
            Ok(reading) => readings[at] = Some(reading),
            Err(error) => eprintln!("{}, {}: {error}", scenario.name(), peers[at].name()),
        }
    }
    Ok(readings)
}

fn count_all(plan: &Plan, peers: &[Peer]) -> io::Result<()> {
    let echo = Process::echo()?;
    println!("\n### counts: one 64-byte round trip\n");
    if peers::find("strace").is_none() {
        println!("strace is not installed: system calls are left out");
    } else {
        for peer in peers {
            let (calls, named) = counts::system_calls(*peer, &echo, &plan.gate)?;
            println!("* {}: {calls:.2} system calls ({named}){}", peer.name(), goal(*peer, calls, SYSTEM_CALLS_MAX));
        }
    }
    if peers::find("valgrind").is_none() {
        println!("valgrind is not installed: instructions are left out");
        return Ok(());
    }
    for (scenario, max) in [(Scenario::Sb, INSTRUCTIONS_MAX), (Scenario::Sc, INSTRUCTIONS_BATCHED_MAX)] {
        for peer in [Peer::L4, Peer::Tidegate] {
            let instructions = counts::instructions(peer, scenario, &echo, &plan.gate)?;
            let goal = goal(peer, instructions, max);
            println!("* {}: {instructions:.0} user instructions in {}{goal}", peer.name(), scenario.name());
        }
    }
    Ok(())
}

fn goal(peer: Peer, figure: f64, max: f64) -> String {
    match peer {
        Peer::Tidegate => format!("; at most {max}: {}", report::verdict(figure, max)),
        Peer::L4 | Peer::Nginx | Peer::Haproxy => String::new(),
    }
}
