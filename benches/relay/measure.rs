//! Figures of a process from the kernel, and statistics of a list.

use std::{fs, io};

/// How long the threads of a process have run, in nanoseconds. Exact to the last switch or tick of each.
pub(crate) fn cpu_ns(pid: u32) -> io::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
        let ran = schedstat.split(' ').next().and_then(|ran| ran.parse::<u64>().ok());
        sum += ran.ok_or_else(|| io::Error::other("schedstat has no run time"))?;
    }
    Ok(sum)
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> io::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kib = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Rss:"))
        .and_then(|rss| rss.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("smaps_rollup has no Rss"))
}

/// The figure below which `part` of all lie. 0 where there is none.
pub(crate) fn quantile(sorted: &[u32], part: f64) -> u32 {
    let last = sorted.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of an index is an index")]
    let at = (last as f64 * part).round() as usize;
    sorted.get(at).copied().unwrap_or_default()
}

/// The slowest hundredth of each `stretch`, as the median of all stretches: what stalls the whole machine for a moment
/// spoils one of them and no more.
pub(crate) fn steady_p99(in_order: &[u32], stretch: usize) -> u32 {
    let p99 = |figures: &[u32]| {
        let mut sorted = figures.to_vec();
        sorted.sort_unstable();
        quantile(&sorted, 0.99)
    };
    let mut of_each: Vec<u32> = in_order.chunks_exact(stretch).map(p99).collect();
    of_each.sort_unstable();
    quantile(&of_each, 0.5)
}

/// Median, least and greatest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one figure.
    pub(crate) fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let upper = figures[figures.len() / 2];
        let lower = figures[(figures.len() - 1) / 2];
        Some(Self { median: f64::midpoint(lower, upper), min, max })
    }
}
