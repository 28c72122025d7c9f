//! Watches the memory of this process, and acts before there is none: refuses new sessions, then closes those that keep most.
//!
//! What counts is what the kernel counts: a process ends when its control group is full (`memory.max`), or when it gets no
//! more from the kernel (`RLIMIT_DATA`, `RLIMIT_AS`).

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    config::Config,
    observe::{
        journal::{self, LogLevel},
        memory::{Memory, OverloadStep},
    },
    relay::registry::Registry,
    units::ByteSize,
};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

/// New sessions are refused from this part of the limit on, ...
const REFUSE_AT: f64 = 0.85;

/// ... until so much less is used.
const REFUSE_UNTIL: f64 = 0.80;

/// The sessions that keep most are closed from this part of the limit on, ...
const CLOSE_AT: f64 = 0.95;

/// ... until so much less is used.
const CLOSE_UNTIL: f64 = 0.90;

/// At most this part of the limit is freed at once: what was freed shows only after the tasks have run.
const PORTION: f64 = 1.0 / 16.0;

/// Below this part of the limit there is time.
const CALM_BELOW: f64 = 0.70;

/// Time between two looks while there is time, ...
const CALM: Duration = Duration::from_millis(100);

/// ... and when there is not.
const ALERT: Duration = Duration::from_millis(25);

/// What all sessions may keep is at most this part of the limit: one over this.
const SESSIONS_SHARE: u64 = 4;

/// What the kernel tells of this process.
const STATUS: &str = "/proc/self/status";

/// A limit of memory that holds for this process, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limit {
    bytes: u64,
    of: Source,
}

/// What sets a limit, and what counts against it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// `limits.memory`: what this process has in RAM and shares with no file.
    Configured,
    /// A control group, version 2, in this folder: what all of its processes have, without the cache of files.
    CgroupV2(PathBuf),
    /// The same, version 1.
    CgroupV1(PathBuf),
    /// `RLIMIT_DATA`: writable memory of this process, used or not.
    Data,
    /// `RLIMIT_AS`: all memory of this process, used or not.
    AddressSpace,
    /// The RAM of this machine.
    Machine,
}

/// The process uses this part of a limit.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Sample {
    used: u64,
    limit: u64,
}

/// What all sessions together may keep under these limits, in bytes.
pub(super) fn bound_of_sessions(config: &Config, limits: &[Limit]) -> usize {
    let tightest = limits.iter().map(|limit| limit.bytes).min().unwrap_or(u64::MAX);
    usize::try_from(config.limits.session_memory.0.min(tightest / SESSIONS_SHARE)).unwrap_or(usize::MAX)
}

/// The limits that hold for this process. The configured one replaces all others; 0 is none.
pub(super) fn limits(config: &Config) -> Vec<Limit> {
    if let Some(ByteSize(bytes)) = config.limits.memory {
        return (bytes > 0).then_some(Limit { bytes, of: Source::Configured }).into_iter().collect();
    }
    let resource = |resource, of| {
        let (soft, _) = getrlimit(resource).ok()?;
        (soft != RLIM_INFINITY).then_some(Limit { bytes: soft, of })
    };
    let found =
        [resource(Resource::RLIMIT_DATA, Source::Data), resource(Resource::RLIMIT_AS, Source::AddressSpace), machine()];
    cgroups().into_iter().chain(found.into_iter().flatten()).collect()
}

fn machine() -> Option<Limit> {
    let bytes = kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
    Some(Limit { bytes, of: Source::Machine })
}

/// The limits of the control groups of this process and of those around them.
fn cgroups() -> Vec<Limit> {
    let Ok(membership) = fs::read_to_string("/proc/self/cgroup") else { return Vec::new() };
    let mut limits = Vec::new();
    for (root, path, version_1) in membership.lines().filter_map(hierarchy) {
        let root = PathBuf::from(root);
        // In a container the path may be that of the machine, and the group is at the root.
        let mut folder = root.join(path.trim_start_matches('/'));
        loop {
            limits.extend(group(folder.clone(), version_1));
            if folder == root || !folder.pop() {
                break;
            }
        }
    }
    limits
}

/// A line of `/proc/self/cgroup`: where the hierarchy is mounted, the path of the group in it, whether it is version 1.
/// `None`: it does not limit memory.
fn hierarchy(line: &str) -> Option<(&'static str, &str, bool)> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    if controllers.is_empty() {
        return Some(("/sys/fs/cgroup", path, false));
    }
    controllers.split(',').any(|name| name == "memory").then_some(("/sys/fs/cgroup/memory", path, true))
}

fn group(folder: PathBuf, version_1: bool) -> Option<Limit> {
    let file = folder.join(if version_1 { "memory.limit_in_bytes" } else { "memory.max" });
    // Version 2 says `max` where there is none, version 1 a number beyond all memory.
    let bytes: u64 = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    let of = if version_1 { Source::CgroupV1(folder) } else { Source::CgroupV2(folder) };
    (bytes > 0 && bytes < 1 << 60).then_some(Limit { bytes, of })
}

impl Limit {
    /// So many are allowed.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What counts against it now. `None`: the system does not tell.
    fn used(&self) -> Option<u64> {
        match &self.of {
            Source::Configured | Source::Machine => {
                let status = fs::read_to_string(STATUS).ok()?;
                Some(kilobytes(&status, "RssAnon:")? + kilobytes(&status, "RssShmem:")?)
            }
            Source::AddressSpace => kilobytes(&fs::read_to_string(STATUS).ok()?, "VmSize:"),
            Source::Data => kilobytes(&fs::read_to_string(STATUS).ok()?, "VmData:"),
            Source::CgroupV2(folder) => {
                let used: u64 = fs::read_to_string(folder.join("memory.current")).ok()?.trim().parse().ok()?;
                let stat = fs::read_to_string(folder.join("memory.stat")).ok()?;
                Some(used.saturating_sub(number(&stat, "inactive_file")? + number(&stat, "active_file")?))
            }
            Source::CgroupV1(folder) => {
                let used: u64 = fs::read_to_string(folder.join("memory.usage_in_bytes")).ok()?.trim().parse().ok()?;
                let stat = fs::read_to_string(folder.join("memory.stat")).ok()?;
                Some(used.saturating_sub(number(&stat, "total_inactive_file")? + number(&stat, "total_active_file")?))
            }
        }
    }

    /// The same where it is for a group of processes: that of a container, for example.
    pub(super) fn used_by_group(&self) -> Option<u64> {
        match self.of {
            Source::CgroupV1(_) | Source::CgroupV2(_) => self.used(),
            Source::Configured | Source::Data | Source::AddressSpace | Source::Machine => None,
        }
    }

    fn sample(&self) -> Option<Sample> {
        Some(Sample { used: self.used()?, limit: self.bytes })
    }

    pub(super) const fn name(&self) -> &'static str {
        match self.of {
            Source::Configured => "limits.memory",
            Source::CgroupV2(_) | Source::CgroupV1(_) => "the control group",
            Source::Data => "RLIMIT_DATA",
            Source::AddressSpace => "RLIMIT_AS",
            Source::Machine => "the machine",
        }
    }
}

/// The number behind this name, which begins a line.
fn number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

/// The bytes of a line `name   12 kB`.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

impl Sample {
    fn part(self) -> f64 {
        self.used as f64 / self.limit.max(1) as f64
    }

    /// The step that follows `step`.
    fn step_after(self, step: OverloadStep) -> OverloadStep {
        let part = self.part();
        let closes = part >= CLOSE_AT || (step == OverloadStep::Closing && part >= CLOSE_UNTIL);
        let refuses = part >= REFUSE_AT || (step >= OverloadStep::Refusing && part >= REFUSE_UNTIL);
        match (closes, refuses) {
            (true, _) => OverloadStep::Closing,
            (false, true) => OverloadStep::Refusing,
            (false, false) => OverloadStep::None,
        }
    }

    /// How many bytes are to be freed now, in the step `Closing`.
    fn to_free(self) -> usize {
        let excess = self.used as f64 - self.limit as f64 * CLOSE_UNTIL;
        excess.clamp(0.0, self.limit as f64 * PORTION) as usize
    }
}

/// Watches the memory as long as the node runs. `limits` are those that hold now.
pub(super) async fn watch(memory: Arc<Memory>, registry: Registry, limits: impl Fn() -> Arc<[Limit]>) {
    let mut step = OverloadStep::None;
    loop {
        let limits = limits();
        let samples = limits.iter().filter_map(|limit| Some((limit, limit.sample()?)));
        let fullest = samples.max_by(|one, other| one.1.part().total_cmp(&other.1.part()));
        let (sample, name) = fullest.map_or((Sample::default(), ""), |(limit, sample)| (sample, limit.name()));
        let next = sample.step_after(step);
        memory.sampled(sample.used, sample.limit, next);
        if next != step {
            log_step(next, name, sample, &memory);
            step = next;
        }
        if step == OverloadStep::Closing {
            registry.shed(sample.to_free());
        }
        tokio::time::sleep(if sample.part() < CALM_BELOW { CALM } else { ALERT }).await;
    }
}

fn log_step(step: OverloadStep, limit: &str, sample: Sample, memory: &Memory) {
    let (level, what) = match step {
        OverloadStep::None => (LogLevel::Info, "there is enough again"),
        OverloadStep::Refusing => (LogLevel::Warn, "new sessions are refused"),
        OverloadStep::Closing => (LogLevel::Error, "the sessions that keep most are closed"),
    };
    let megabytes = |bytes: u64| bytes / 1_000_000;
    let sentence = format!(
        "memory: {} MB of {} MB of {limit} in use, {} MB of it by sessions: {what}",
        megabytes(sample.used),
        megabytes(sample.limit),
        megabytes(memory.sessions() as u64),
    );
    journal::line(level, &sentence);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_1000(used: u64) -> Sample {
        Sample { used, limit: 1000 }
    }

    #[test]
    fn a_step_is_left_only_when_less_is_used_than_where_it_began() {
        use OverloadStep::{Closing, None, Refusing};
        let mut step = None;
        let steps = [
            (840, None),
            (850, Refusing),
            (810, Refusing),
            (949, Refusing),
            (950, Closing),
            (910, Closing),
            (899, Refusing),
            (990, Closing),
            (790, None),
            (849, None),
        ];
        for (used, expected) in steps {
            step = of_1000(used).step_after(step);
            assert_eq!(step, expected, "{used}");
        }
    }

    #[test]
    fn memory_is_freed_in_portions() {
        assert_eq!(of_1000(899).to_free(), 0);
        assert_eq!(of_1000(950).to_free(), 50);
        assert_eq!(of_1000(2000).to_free(), 62);
    }

    #[test]
    fn the_configured_limit_replaces_all_others() {
        let mut config = Config::default();
        assert!(limits(&config).iter().any(|limit| limit.of == Source::Machine));
        config.limits.memory = Some(ByteSize(100_000_000));
        let configured = limits(&config);
        assert_eq!(configured, [Limit { bytes: 100_000_000, of: Source::Configured }]);
        assert_eq!(bound_of_sessions(&config, &configured), 25_000_000);
        config.limits.session_memory = ByteSize(1_000_000);
        assert_eq!(bound_of_sessions(&config, &configured), 1_000_000);
        config.limits.memory = Some(ByteSize(0));
        assert_eq!(limits(&config), []);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_is_used_is_plausible() {
        for of in [Source::Configured, Source::Data, Source::AddressSpace] {
            let used = Limit { bytes: 1, of: of.clone() }.used().unwrap();
            assert!((100_000..100_000_000_000_000).contains(&used), "{of:?}: {used}");
        }
        assert!(machine().unwrap().bytes > 1_000_000);
    }

    #[test]
    fn a_group_of_either_version_is_found() {
        assert_eq!(hierarchy("0::/kubepods/pod1"), Some(("/sys/fs/cgroup", "/kubepods/pod1", false)));
        assert_eq!(hierarchy("4:memory:/docker/1"), Some(("/sys/fs/cgroup/memory", "/docker/1", true)));
        assert_eq!(hierarchy("3:cpu,cpuacct:/"), None);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        fs::write(path.join("memory.max"), "max\n").unwrap();
        assert_eq!(group(path.clone(), false), None);
        fs::write(path.join("memory.max"), "268435456\n").unwrap();
        fs::write(path.join("memory.current"), "200000000\n").unwrap();
        fs::write(path.join("memory.stat"), "anon 1\ninactive_file 30000000\nactive_file 20000000\n").unwrap();
        let limit = group(path.clone(), false).unwrap();
        assert_eq!(limit.sample(), Some(Sample { used: 150_000_000, limit: 268_435_456 }));
        fs::write(path.join("memory.limit_in_bytes"), "9223372036854771712\n").unwrap();
        assert_eq!(group(path, true), None, "no limit");
    }
}
