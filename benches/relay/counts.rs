//! Figures that do not depend on other load of the machine: system calls and instructions of one round trip.

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::{
    load::{READY, Reading},
    peers::{Peer, Setup},
    process::{self, Process},
    scenario::Scenario,
};

/// Round trips that are traced.
const TRACED: usize = 20_000;
/// Round trips of the two runs whose instructions are compared: what is done once cancels out.
const FEWER: usize = 4_000;
const MORE: usize = 12_000;
/// Until strace holds every thread.
const ATTACH: Duration = Duration::from_secs(1);

/// System calls per round trip, with the most frequent by name.
pub(crate) fn system_calls(
    peer: Peer,
    scenario: &Scenario,
    echo: &Process,
    setup: &Setup,
) -> io::Result<(f64, String)> {
    let proxy = peer.start(echo.port, setup, scenario.tls, &[])?;
    let dir = tempfile::tempdir()?;
    let summary = dir.path().join("summary");
    let mut strace = None;
    counted(&proxy, scenario, setup, TRACED, || {
        let child = Command::new("strace")
            .args(["-c", "-f", "-o"])
            .arg(&summary)
            .args(["-p", &proxy.pid().to_string()])
            .stderr(Stdio::null())
            .spawn()?;
        strace = Some(child);
        thread::sleep(ATTACH);
        Ok(())
    })?;
    if let Some(mut strace) = strace {
        Command::new("kill").args(["-INT", &strace.id().to_string()]).status()?;
        strace.wait()?;
    }
    let per_round_trip = |calls: u64| calls as f64 / TRACED as f64;
    let calls = parse_summary(&fs::read_to_string(summary)?);
    let total: u64 = calls.iter().map(|(_, calls)| calls).sum();
    let often = calls.iter().filter(|(_, calls)| per_round_trip(*calls) >= 0.02);
    let named: Vec<String> = often.map(|(name, calls)| format!("{:.2} {name}", per_round_trip(*calls))).collect();
    Ok((per_round_trip(total), named.join(", ")))
}

/// The lines of `strace -c`: share, seconds, microseconds per call, calls, perhaps errors, name.
fn parse_summary(summary: &str) -> Vec<(String, u64)> {
    let rows = summary.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let calls = fields.get(3)?.parse().ok()?;
        Some(((*fields.last()?).to_owned(), calls))
    });
    rows.filter(|(name, _)| name != "total").collect()
}

/// User instructions per round trip, by callgrind.
pub(crate) fn instructions(peer: Peer, scenario: &Scenario, echo: &Process, setup: &Setup) -> io::Result<f64> {
    let fewer = instructions_of(peer, scenario, FEWER, echo, setup)?;
    let more = instructions_of(peer, scenario, MORE, echo, setup)?;
    Ok(more.saturating_sub(fewer) as f64 / (MORE - FEWER) as f64)
}

fn instructions_of(peer: Peer, scenario: &Scenario, count: usize, echo: &Process, setup: &Setup) -> io::Result<u64> {
    let dir = tempfile::tempdir()?;
    let profile = dir.path().join("profile");
    let under =
        ["valgrind".to_owned(), "--tool=callgrind".to_owned(), format!("--callgrind-out-file={}", profile.display())];
    let proxy = peer.start(echo.port, setup, scenario.tls, &under)?;
    counted(&proxy, scenario, setup, count, || Ok(()))?;
    proxy.terminate()?;
    let profile = fs::read_to_string(profile)?;
    let total = profile.lines().find_map(|line| line.strip_prefix("summary:").or(line.strip_prefix("totals:")));
    total
        .and_then(|total| total.trim().parse().ok())
        .ok_or_else(|| io::Error::other("callgrind wrote no total; did the proxy start?"))
}

/// Sends `count` events once `attach` has been done, all connections being open by then.
fn counted(
    proxy: &Process,
    scenario: &Scenario,
    setup: &Setup,
    count: usize,
    attach: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let mut load = process::load(&load_args(proxy, scenario, setup, &["--count".to_owned(), count.to_string()]))?;
    let mut output = BufReader::new(load.stdout.take().ok_or_else(|| io::Error::other("the load has no output"))?);
    let mut line = String::new();
    output.read_line(&mut line)?;
    if line.trim() == READY {
        attach()?;
        if let Some(mut input) = load.stdin.take() {
            input.write_all(b"go\n")?;
        }
    }
    let (mut rest, mut complaint) = (String::new(), String::new());
    output.read_to_string(&mut rest)?;
    if let Some(mut errors) = load.stderr.take() {
        errors.read_to_string(&mut complaint)?;
    }
    let status = load.wait()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(complaint.trim().to_owned())) }
}

/// One reading of a proxy under load.
pub(crate) fn timed(
    proxy: &Process,
    scenario: &Scenario,
    setup: &Setup,
    seconds: f64,
    idle: usize,
) -> io::Result<Reading> {
    let more = ["--seconds".to_owned(), seconds.to_string(), "--idle".to_owned(), idle.to_string()];
    let output = process::load(&load_args(proxy, scenario, setup, &more))?.wait_with_output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    serde_json::from_slice(&output.stdout).map_err(io::Error::other)
}

fn load_args(proxy: &Process, scenario: &Scenario, setup: &Setup, more: &[String]) -> Vec<String> {
    let (port, pid) = (proxy.port.to_string(), proxy.pid().to_string());
    let args = ["--scenario", scenario.name, "--port", &port, "--pid", &pid].map(str::to_owned);
    let pair = scenario.tls.then(|| ["--pair".to_owned(), setup.certificate.file().display().to_string()]);
    args.into_iter().chain(pair.into_iter().flatten()).chain(more.iter().cloned()).collect()
}
