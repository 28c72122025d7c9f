//! What Tidegate costs, as ratios to a relay that copies bytes and to common proxies. Start it with
//! `scripts/bench`; `docs/performance.md` has the method and the results.

mod bounds;
mod client;
mod counts;
mod echo;
mod fanout;
mod flood;
mod floor;
mod frames;
mod l4;
mod load;
mod measure;
mod peers;
mod process;
mod report;
mod runtime;
mod scenario;
mod shared;
mod tls;

use std::{io, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, builder::PossibleValuesParser};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::{
    bounds::{Bound, Verdicts},
    fanout::{FANOUT, FanoutArgs},
    load::{LoadArgs, Reading},
    peers::{Peer, Setup},
    process::Process,
    report::Table,
    runtime::block_on,
    scenario::{SB, SC, Scenario, TB},
};

/// What is counted, not timed, by this name.
const COUNTS: &str = "counts";
/// System calls per round trip that Tidegate may make.
const SYSTEM_CALLS: Bound = Bound::met(4.8);
/// User instructions per round trip that Tidegate may take, one event in flight.
const INSTRUCTIONS: Bound = Bound::above(5_000.0, 8_300.0);
/// The same, with 16 in flight. They vary by a tenth, with the number of messages that arrive at once.
const INSTRUCTIONS_BATCHED: Bound = Bound::above(1_500.0, 3_800.0);

/// Measures Tidegate, a plain relay and, where they are installed, nginx and haproxy, in turns, on this machine.
#[derive(Debug, Parser)]
#[command(name = "scripts/bench", bin_name = "scripts/bench")]
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
    /// Only these; `fanout` needs redis-server and Node, `counts` is system calls and instructions.
    #[arg(long, value_delimiter = ',', value_parser = names())]
    only: Vec<String>,
    /// Waiting connections in `sidle` and `tidle`.
    #[arg(long, default_value_t = 4000)]
    connections: usize,
    /// The program to measure.
    #[arg(long, default_value = "target/dist/tidegate", overrides_with = "gate")]
    gate: PathBuf,
    /// Another build of it, to be measured beside.
    #[arg(long)]
    other: Option<PathBuf>,
    /// `cargo bench` says so to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The role of this program when it starts itself.
#[derive(Debug, Subcommand)]
enum Role {
    /// The service.
    #[command(hide = true)]
    Echo { port: u16 },
    /// The reference.
    #[command(hide = true)]
    L4 { port: u16, upstream: u16, pair: Option<PathBuf> },
    /// The clients.
    #[command(hide = true)]
    Load(LoadArgs),
    /// What a delivery costs at least.
    #[command(hide = true)]
    Floor { port: u16, redis: u16 },
    /// Clients that wait for events of another node.
    #[command(hide = true)]
    Fanout(FanoutArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.role {
        Some(Role::Echo { port }) => block_on(echo::run(port)),
        Some(Role::L4 { port, upstream, pair }) => block_on(l4::run(port, upstream, pair)),
        Some(Role::Load(args)) => block_on(load::run(args)),
        Some(Role::Floor { port, redis }) => block_on(floor::run(port, redis)),
        Some(Role::Fanout(args)) => block_on(fanout::run(args)),
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

fn measure_all(plan: &Plan) -> io::Result<()> {
    // Inherited by every child; each waiting connection takes two descriptors of a proxy.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let (rounds, seconds) = if plan.quick { (2, 1.0) } else { (plan.rounds, plan.seconds) };
    let setup = Setup::new(plan.gate.clone(), plan.other.clone())?;
    let (peers, absent): (Vec<Peer>, Vec<Peer>) = plan.peers().partition(|peer| peer.is_installed());
    for peer in absent {
        println!("{} is not installed: left out", peer.name());
    }
    let mut verdicts = Verdicts::default();
    for scenario in scenario::ALL {
        if plan.wants(scenario.name) {
            let mut table = Table::new(scenario, peers.clone());
            for round in 0..rounds {
                table.push(one_round(plan, scenario, &setup, &peers, round, seconds)?);
            }
            table.print(&mut verdicts);
        }
    }
    if plan.wants(FANOUT) {
        fanout::measure(&setup, rounds, seconds, &mut verdicts)?;
    }
    if plan.wants(COUNTS) {
        count_all(&setup, &peers, &mut verdicts)?;
    }
    verdicts.all_kept()
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(scenario::ALL.iter().map(|scenario| scenario.name).chain([FANOUT, COUNTS]))
}

impl Plan {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    fn peers(&self) -> impl Iterator<Item = Peer> {
        Peer::ALL.into_iter().filter(|peer| *peer != Peer::Other || self.other.is_some())
    }
}

/// Each peer once, beginning with another one each time, so that none always follows the same.
fn one_round(
    plan: &Plan,
    scenario: &Scenario,
    setup: &Setup,
    peers: &[Peer],
    round: usize,
    seconds: f64,
) -> io::Result<Vec<Option<Reading>>> {
    let mut readings = vec![None; peers.len()];
    for nth in 0..peers.len() {
        let at = (nth + round) % peers.len();
        let echo = Process::echo()?;
        let reading = peers[at]
            .start(echo.port, setup, scenario.tls, &[])
            .and_then(|proxy| counts::timed(&proxy, scenario, setup, seconds, plan.connections));
        match reading {
            Ok(reading) => readings[at] = Some(reading),
            Err(error) => eprintln!("{}, {}: {error}", scenario.name, peers[at].name()),
        }
    }
    Ok(readings)
}

fn count_all(setup: &Setup, peers: &[Peer], verdicts: &mut Verdicts) -> io::Result<()> {
    let echo = Process::echo()?;
    println!("\n### counts: one 64-byte round trip\n");
    let goal = |verdicts: &mut Verdicts, peer: Peer, what: &str, figure: f64, bound: Bound| match peer {
        Peer::Tidegate => verdicts.judge(what, figure, bound),
        _ => String::new(),
    };
    if process::find("strace").is_none() {
        println!("strace is not installed: system calls are left out");
    } else {
        for scenario in [&SB, &TB] {
            for peer in peers {
                let (peer_name, what) = (peer.name(), format!("system calls in {}", scenario.name));
                match counts::system_calls(*peer, scenario, &echo, setup) {
                    Ok((calls, named)) => {
                        let goal = goal(verdicts, *peer, &what, calls, SYSTEM_CALLS);
                        println!("* {peer_name}: {calls:.2} {what} ({named}){goal}");
                    }
                    Err(error) => {
                        eprintln!("{what}, {peer_name}: {error}");
                        if *peer == Peer::Tidegate {
                            verdicts.lack(&what);
                        }
                    }
                }
            }
        }
    }
    if process::find("valgrind").is_none() {
        println!("valgrind is not installed: instructions are left out");
        return Ok(());
    }
    for (scenario, bound) in [(&SB, INSTRUCTIONS), (&SC, INSTRUCTIONS_BATCHED)] {
        for peer in [Peer::L4, Peer::Tidegate] {
            let what = format!("user instructions in {}", scenario.name);
            let instructions = counts::instructions(peer, scenario, &echo, setup)?;
            let goal = goal(verdicts, peer, &what, instructions, bound);
            println!("* {}: {instructions:.0} {what}{goal}", peer.name());
        }
    }
    Ok(())
}
