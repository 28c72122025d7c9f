//! Rounds of readings as tables: each figure a median with its spread, each ratio taken within its round.

use crate::{
    bounds::{Bound, Verdicts},
    load::Reading,
    measure::Spread,
    peers::Peer,
    scenario::{Figure, Goal, Load, Scenario},
};

/// What Tidegate is to cost where it is connected to Redis and has nothing to do for other nodes, as a multiple of what it costs
/// otherwise: what two equal builds lie apart. At most: what other work of the machine adds to that.
const MIRRORING: Bound = Bound::above(1.03, 1.25);

/// The readings of one scenario. A row is a round, with one reading per peer or the reason why there is none.
pub(crate) struct Table {
    scenario: &'static Scenario,
    peers: Vec<Peer>,
    rounds: Vec<Vec<Option<Reading>>>,
}

impl Table {
    /// Without a round yet. The first of `peers` is the one that the others are compared to.
    pub(crate) const fn new(scenario: &'static Scenario, peers: Vec<Peer>) -> Self {
        Self { scenario, peers, rounds: Vec::new() }
    }

    /// One more round, in the order of the peers.
    pub(crate) fn push(&mut self, round: Vec<Option<Reading>>) {
        self.rounds.push(round);
    }

    /// Prints it as Markdown, and judges it.
    pub(crate) fn print(&self, verdicts: &mut Verdicts) {
        let Scenario { name, title, load, tls, .. } = self.scenario;
        println!("\n### {name}: {}{title}\n", if *tls { "over TLS, " } else { "" });
        let (rate, last) = match load {
            Load::Converse => ("round trips/s", "p50 / p99 us"),
            Load::Churn => ("connections/s", "p50 / p99 us"),
            Load::Idle => ("CPU while idle, ms/s", "base, MiB"),
            Load::Flood => ("handshakes/s", "p99 us without / with"),
        };
        println!("| proxy | median (min-max) | ratio to l4 (min-max) | {rate} | {last} |\n|---|---|---|---|---|");
        for at in 0..self.peers.len() {
            self.print_row(at);
        }
        println!();
        self.print_goals(verdicts);
    }

    fn print_row(&self, at: usize) {
        let name = self.peers[at].name();
        let Some(figure) = self.figures(at) else {
            return println!("| {name} | no reading | | | |");
        };
        let ratio = self.ratios(at, 0).map_or_else(String::new, shown);
        let (rate, last) = self.beside(at);
        println!("| {name} | {} | {ratio} | {rate:.0} | {last} |", shown(figure));
    }

    /// The last two columns of a row.
    fn beside(&self, at: usize) -> (f64, String) {
        let median = |of: &dyn Fn(&Reading) -> f64| self.spread(at, of).map_or(0.0, |spread| spread.median);
        match self.scenario.load {
            Load::Converse | Load::Churn => (
                median(&|reading| reading.units as f64 / reading.seconds),
                format!("{:.0} / {:.0}", median(&|reading| reading.p50_us), median(&|reading| reading.p99_us)),
            ),
            Load::Idle => (
                median(&|reading| reading.cpu_ns as f64 / 1e6 / reading.seconds),
                format!("{:.1}", median(&|reading| reading.base_bytes as f64 / 1024.0 / 1024.0)),
            ),
            Load::Flood => (
                median(&|reading| reading.handshakes_per_second),
                format!(
                    "{:.0} / {:.0}",
                    median(&|reading| reading.calm_p99_us),
                    median(&|reading| reading.steady_p99_us)
                ),
            ),
        }
    }

    fn print_goals(&self, verdicts: &mut Verdicts) {
        let Some(tidegate) = self.position(Peer::Tidegate) else { return };
        let scenario = self.scenario.name;
        for (at, peer) in self.peers.iter().enumerate().filter(|(at, _)| *at != tidegate) {
            if *peer == Peer::Mirroring {
                if let Some(ratio) = self.ratios(at, tidegate) {
                    let judged = verdicts.judge(&format!("{scenario}, with Redis to without"), ratio.median, MIRRORING);
                    println!("* with Redis to without: {}{judged}", shown(ratio));
                }
            } else if let Some(ratio) = self.ratios(tidegate, at) {
                let judged = self.judged(Some(*peer), ratio, verdicts);
                println!("* Tidegate to {}: {}{judged}", peer.name(), shown(ratio));
            }
        }
        match self.figures(tidegate) {
            Some(figure) => println!("* Tidegate: {}{}", shown(figure), self.judged(None, figure, verdicts)),
            None => verdicts.lack(scenario),
        }
    }

    /// The verdict on tidegate's ratio to a peer, or on its own figure, where there is a goal for it.
    fn judged(&self, to: Option<Peer>, spread: Spread, verdicts: &mut Verdicts) -> String {
        let bound = self.scenario.goals.iter().find_map(|goal| match (goal, to) {
            (Goal::To(other, bound), Some(peer)) if *other == peer => Some(*bound),
            (Goal::Figure(bound), None) => Some(*bound),
            _ => None,
        });
        let to = to.map_or_else(String::new, |peer| format!(" to {}", peer.name()));
        let name = format!("{}, Tidegate{to}", self.scenario.name);
        bound.map_or_else(String::new, |bound| verdicts.judge(&name, spread.median, bound))
    }

    fn position(&self, of: Peer) -> Option<usize> {
        self.peers.iter().position(|peer| *peer == of)
    }

    fn figures(&self, at: usize) -> Option<Spread> {
        self.spread(at, |reading| self.figure(reading))
    }

    fn ratios(&self, at: usize, to: usize) -> Option<Spread> {
        let ratios = self.rounds.iter().filter_map(|round| {
            let (one, other) = (round.get(at)?.as_ref()?, round.get(to)?.as_ref()?);
            Some(self.figure(one) / self.figure(other))
        });
        Spread::of(ratios.collect())
    }

    fn spread(&self, at: usize, of: impl Fn(&Reading) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(|round| round.get(at)?.as_ref().map(&of)).collect())
    }

    /// What a scenario is judged by.
    fn figure(&self, reading: &Reading) -> f64 {
        let units = reading.units.max(1) as f64;
        let cpu_us = reading.cpu_ns as f64 / 1e3;
        match self.scenario.figure {
            Figure::Cpu => cpu_us / units,
            Figure::CpuPerMegabyte => cpu_us / (units * self.scenario.event_bytes as f64 / 1e6),
            Figure::Resident => reading.resident_bytes as f64 / 1024.0 / units,
            Figure::P50 => reading.p50_us,
            Figure::FloodedP99 => reading.steady_p99_us / reading.calm_p99_us,
        }
    }
}

/// A median with its spread.
pub(crate) fn shown(Spread { median, min, max }: Spread) -> String {
    format!("{median:.2} ({min:.2}-{max:.2})")
}
