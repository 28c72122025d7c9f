//! Rounds of readings as tables: each figure a median with its spread, each ratio taken within its round.

use crate::{load::Reading, measure::Spread, peers::Peer, scenario::Scenario};

/// The readings of one scenario. A row is a round, with one reading per peer or the reason why there is none.
pub(crate) struct Table {
    scenario: Scenario,
    peers: Vec<Peer>,
    rounds: Vec<Vec<Option<Reading>>>,
}

impl Table {
    /// Without a round yet. The first of `peers` is the one that the others are compared to.
    pub(crate) const fn new(scenario: Scenario, peers: Vec<Peer>) -> Self {
        Self { scenario, peers, rounds: Vec::new() }
    }

    /// One more round, in the order of the peers.
    pub(crate) fn push(&mut self, round: Vec<Option<Reading>>) {
        self.rounds.push(round);
    }

    /// Prints it as Markdown.
    pub(crate) fn print(&self) {
        println!("\n### {}: {}\n", self.scenario.name(), self.scenario.title());
        let (rate, last) = match self.scenario {
            Scenario::Sidle => ("CPU while idle, ms/s", "base, MiB"),
            Scenario::Sf => ("connections/s", "p50 / p99 us"),
            _ => ("round trips/s", "p50 / p99 us"),
        };
        println!("| proxy | median (min-max) | ratio to l4 (min-max) | {rate} | {last} |\n|---|---|---|---|---|");
        for at in 0..self.peers.len() {
            self.print_row(at);
        }
        self.print_goals();
    }

    fn print_row(&self, at: usize) {
        let name = self.peers[at].name();
        let Some(figure) = self.figures(at) else {
            return println!("| {name} | no reading | | | |");
        };
        let ratio = self.ratios(at, 0).map_or_else(String::new, |ratio| shown(ratio, 2));
        let rate = self.spread(at, |reading| match self.scenario {
            Scenario::Sidle => reading.cpu_ns as f64 / 1e6 / reading.seconds,
            _ => reading.units as f64 / reading.seconds,
        });
        let last = match self.scenario {
            Scenario::Sidle => {
                let base = self.spread(at, |reading| reading.base_bytes as f64 / 1024.0 / 1024.0);
                base.map_or_else(String::new, |base| format!("{:.1}", base.median))
            }
            _ => {
                let p50 = self.spread(at, |reading| reading.p50_us).map_or(0.0, |p50| p50.median);
                let p99 = self.spread(at, |reading| reading.p99_us).map_or(0.0, |p99| p99.median);
                format!("{p50:.0} / {p99:.0}")
            }
        };
        let rate = rate.map_or_else(String::new, |rate| format!("{:.0}", rate.median));
        println!("| {name} | {} | {ratio} | {rate} | {last} |", shown(figure, 2));
    }

    fn print_goals(&self) {
        let Some(tidegate) = self.peers.iter().position(|peer| *peer == Peer::Tidegate) else { return };
        if let (Some(max), Some(ratio)) = (self.scenario.ratio_max(), self.ratios(tidegate, 0)) {
            println!("\nGoal: at most {max:.2} x l4: {}.", verdict(ratio.median, max));
        }
        if let (Some(max), Some(figure)) = (self.scenario.figure_max(), self.figures(tidegate)) {
            println!("\nGoal: at most {max:.1}: {}.", verdict(figure.median, max));
        }
        for (at, peer) in self.peers.iter().enumerate() {
            if matches!(peer, Peer::Nginx | Peer::Haproxy)
                && let Some(ratio) = self.ratios(tidegate, at)
            {
                println!("Tidegate to {}: {}.", peer.name(), shown(ratio, 2));
            }
        }
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
        match self.scenario {
            Scenario::Sb | Scenario::Sc | Scenario::Sf => cpu_us / units,
            Scenario::Bulk => cpu_us / (units * self.scenario.event_bytes() as f64 / 1e6),
            Scenario::Sidle => reading.resident_bytes as f64 / 1024.0 / units,
            Scenario::Latency => reading.p50_us,
        }
    }
}

/// The verdict on a figure that has a greatest allowed value.
pub(crate) fn verdict(figure: f64, max: f64) -> &'static str {
    if figure <= max { "met" } else { "MISSED" }
}

fn shown(spread: Spread, digits: usize) -> String {
    format!("{:.digits$} ({:.digits$}-{:.digits$})", spread.median, spread.min, spread.max)
}
