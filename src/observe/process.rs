//! Figures of this process from `/proc`. Elsewhere than on Linux there are none.

use std::fs;

/// `times` and `starttime` of proc(5) are in units of `USER_HZ`, which is 100 on every processor Rust's std runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// One reading. Names and units are those of every Prometheus client library.
#[derive(Debug)]
pub(super) struct ProcessFigures {
    pub(super) cpu_seconds: f64,
    pub(super) start_time_seconds: f64,
    pub(super) threads: f64,
    pub(super) resident_memory_bytes: f64,
    pub(super) virtual_memory_bytes: f64,
    pub(super) open_fds: f64,
    pub(super) max_fds: f64,
}

impl ProcessFigures {
    /// `None` where `/proc` is absent or not what Linux writes.
    pub(super) fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name in brackets, and may itself hold brackets and blanks.
        let fields: Vec<&str> = stat.get(stat.rfind(')')? + 2..)?.split_ascii_whitespace().collect();
        // proc(5) counts from 1, and the first field here is its third.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let boot = number_after(&fs::read_to_string("/proc/stat").ok()?, "btime ")?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
            start_time_seconds: boot + field(22)? / TICKS_PER_SECOND,
            threads: field(20)?,
            resident_memory_bytes: number_after(&status, "VmRSS:")? * 1024.0,
            virtual_memory_bytes: number_after(&status, "VmSize:")? * 1024.0,
            open_fds: open_fds()?,
            max_fds: number_after(&fs::read_to_string("/proc/self/limits").ok()?, "Max open files")?,
        })
    }
}

/// The first number behind `label`, which begins a line. `unlimited` is infinite.
fn number_after(text: &str, label: &str) -> Option<f64> {
    let word = text.lines().find_map(|line| line.strip_prefix(label))?.split_ascii_whitespace().next()?;
    if word == "unlimited" { Some(f64::INFINITY) } else { word.parse().ok() }
}

fn open_fds() -> Option<f64> {
    const DIRECTORY: &str = "/proc/self/fd";
    // Since Linux 6.2 the directory's size is the number; listing tens of thousands takes milliseconds.
    let size = fs::metadata(DIRECTORY).ok()?.len();
    if size > 0 { Some(size as f64) } else { Some(fs::read_dir(DIRECTORY).ok()?.count() as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn figures_are_plausible() {
        let figures = ProcessFigures::read().unwrap();
        assert!(figures.resident_memory_bytes > 1e5 && figures.resident_memory_bytes < figures.virtual_memory_bytes);
        assert!(figures.threads >= 1.0);
        assert!(figures.open_fds >= 3.0 && figures.open_fds <= figures.max_fds);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((now - 3600.0..=now + 1.0).contains(&figures.start_time_seconds), "{figures:?}");
    }

    #[test]
    fn a_limit_may_be_unlimited() {
        let limits = "Max open files            unlimited            unlimited            files";
        assert_eq!(number_after(limits, "Max open files"), Some(f64::INFINITY));
    }
}
