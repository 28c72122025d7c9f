//! `tidegate drain`: sends the clients of the running node elsewhere, and waits until they are gone.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    failure::{DrainError, Failure},
    output::{clean, print},
};
use crate::start::process_stage::ProcessStage;

/// How often the node is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long a node that has just started may take until it knows the signal, and then to obey it.
const PATIENCE: Duration = Duration::from_secs(10);
/// What Linux adds to the path of a program whose file was replaced.
const DELETED: &[u8] = b" (deleted)";
/// So much of the arguments of a node is shown.
const SHOWN_MAX: usize = 200;

const EXAMPLES: &str = "\
Examples:
  tidegate drain
  tidegate drain --pid 4711

Asks the node that runs here, by SIGUSR1, to leave in order: it is not ready any more (/readyz is
503) and serves on for limits.lame_duck, then closes its clients within limits.shutdown_grace. Its
process stays, without clients, until SIGTERM; what waits for the last client may ask /drained at
admin.address. This command returns when the last client is gone. It reads no configuration, so it
works also while that has a mistake. In Kubernetes it is the preStop hook of a sidecar.";

/// Send the clients of the running node elsewhere, and wait until they are gone
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The process of the node, where several run
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pid: Option<i32>,
}

/// A process.
#[derive(Debug, Clone, Copy)]
struct Process(Pid);

/// What can be seen of a process.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    pid: i32,
    /// Its file, if this user may see it.
    program: Option<PathBuf>,
    /// Its view of file systems, if this user may see it: each container has one of its own.
    mounts: Option<PathBuf>,
    /// Separated and ended by NUL.
    arguments: Vec<u8>,
}

pub(super) fn drain(args: &Args) -> Result<(), Failure> {
    let process = match args.pid {
        Some(pid) => named(pid)?,
        None => only(seen().map_err(DrainError::Proc)?, &own_program(), mounts("self").as_deref())?,
    };
    let Some(stage) = process.knows_the_signal()? else {
        return Ok(print(&format!("process {} has ended\n", process.0))?);
    };
    if stage == ProcessStage::Drained {
        return Ok(print(&format!("process {} is drained already\n", process.0))?);
    }
    match kill(process.0, Signal::SIGUSR1) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(source) => return Err(DrainError::Signal { pid: process.0.as_raw(), source }.into()),
    }
    process.follow()
}

/// The process of this number, if it is a node. Its file may be another one than this program's, as after an upgrade.
fn named(pid: i32) -> Result<Process, DrainError> {
    match see(pid) {
        Some(seen) if runs_a_node(&seen.arguments) => Ok(Process(Pid::from_raw(pid))),
        _ => Err(DrainError::NoNode(pid)),
    }
}

/// The one node of `program` among these. Of several the one with the same `mounts`: where containers see each other's processes,
/// the others are those of other containers.
fn only(processes: Vec<Seen>, program: &Path, mounts: Option<&Path>) -> Result<Process, DrainError> {
    let is_node = |seen: &Seen| {
        seen.program.as_deref().is_some_and(|other| undeleted(other) == undeleted(program))
            && runs_a_node(&seen.arguments)
    };
    let nodes: Vec<_> = processes.into_iter().filter(is_node).collect();
    match &*nodes {
        [] => Err(DrainError::NoneRuns),
        [node] => Ok(Process(Pid::from_raw(node.pid))),
        several => {
            let mut near = several.iter().filter(|node| mounts.is_some() && node.mounts.as_deref() == mounts);
            match (near.next(), near.next()) {
                (Some(node), None) => Ok(Process(Pid::from_raw(node.pid))),
                _ => {
                    let told = several.iter().map(|node| (node.pid, shown(&node.arguments)));
                    Err(DrainError::Several(told.collect()))
                }
            }
        }
    }
}

impl Process {
    /// Waits until the process would not be ended by the signal. Returns its stage; `None` if it has ended.
    fn knows_the_signal(self) -> Result<Option<ProcessStage>, DrainError> {
        let until = Instant::now() + PATIENCE;
        loop {
            let Ok(status) = fs::read_to_string(format!("/proc/{}/status", self.0)) else { return Ok(None) };
            // Where that is not told (gVisor), the control thread is all that is known.
            if catches(&status, Signal::SIGUSR1) != Some(false)
                && let Some(stage) = ProcessStage::of_process(self.0)
            {
                return Ok(Some(stage));
            }
            if is_dead(&status) {
                return Ok(None);
            }
            if Instant::now() >= until {
                return Err(DrainError::Older(self.0.as_raw()));
            }
            sleep(LOOK);
        }
    }

    /// Whether there is still a node of this number.
    fn lives(self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0));
        status.is_ok_and(|status| !is_dead(&status)) && named(self.0.as_raw()).is_ok()
    }

    /// Says what the node does until it is drained, or has ended.
    fn follow(self) -> Result<(), Failure> {
        let (began, mut told) = (Instant::now(), ProcessStage::Serving);
        loop {
            let stage = ProcessStage::of_process(self.0);
            // The list of its threads may lack the one while another ends.
            if stage.is_none() && self.lives() {
                sleep(LOOK);
                continue;
            }
            match stage {
                Some(ProcessStage::Serving) if began.elapsed() > PATIENCE => {
                    return Err(DrainError::Deaf { pid: self.0.as_raw(), waited: PATIENCE }.into());
                }
                Some(stage) if stage == told => {}
                stage => {
                    print(&format!("process {} {}\n", self.0, stage.map_or("has ended", said)))?;
                    told = stage.unwrap_or(told);
                }
            }
            if matches!(stage, None | Some(ProcessStage::Drained)) {
                return Ok(());
            }
            sleep(LOOK);
        }
    }
}

/// What a node does, after its number.
const fn said(stage: ProcessStage) -> &'static str {
    match stage {
        ProcessStage::Serving => "serves",
        ProcessStage::LameDuck => "is not ready any more, and serves on for limits.lame_duck",
        ProcessStage::Draining => "takes no new clients, and closes the others within limits.shutdown_grace",
        ProcessStage::Drained => "is drained: no client is left",
    }
}

/// This program, by the path of its file. Empty, which no other is, if it is not known.
fn own_program() -> PathBuf {
    fs::read_link("/proc/self/exe").unwrap_or_default()
}

/// All processes.
fn seen() -> io::Result<Vec<Seen>> {
    let entries = fs::read_dir("/proc")?.flatten();
    Ok(entries.filter_map(|entry| see(entry.file_name().to_str()?.parse().ok()?)).collect())
}

/// By which view of file systems a process sees files.
fn mounts(pid: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()
}

/// A process, while there is one of this number.
fn see(pid: i32) -> Option<Seen> {
    let folder = PathBuf::from(format!("/proc/{pid}"));
    let arguments = fs::read(folder.join("cmdline")).ok()?;
    Some(Seen { pid, program: fs::read_link(folder.join("exe")).ok(), mounts: mounts(&pid.to_string()), arguments })
}

/// Whether these are the arguments of `tidegate run`, whatever the program is called.
fn runs_a_node(arguments: &[u8]) -> bool {
    arguments.split(|byte| *byte == 0).nth(1) == Some(b"run")
}

/// The path as it was before the file was replaced.
fn undeleted(program: &Path) -> &[u8] {
    let path = program.as_os_str().as_encoded_bytes();
    path.strip_suffix(DELETED).unwrap_or(path)
}

/// Arguments as a person reads them.
fn shown(arguments: &[u8]) -> String {
    let text = String::from_utf8_lossy(arguments.strip_suffix(b"\0").unwrap_or(arguments)).replace('\0', " ");
    clean(&text.chars().take(SHOWN_MAX).collect::<String>())
}

/// Whether a process has a handler for a signal, by its `/proc/PID/status`, if that tells it.
fn catches(status: &str, signal: Signal) -> Option<bool> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
    let mask = u64::from_str_radix(mask.trim(), 16).ok()?;
    Some(mask >> (signal as u32 - 1) & 1 == 1)
}

/// Whether it has ended, and its parent has not noticed.
fn is_dead(status: &str) -> bool {
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| state.trim_start().starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, program: &str, arguments: &str) -> Seen {
        Seen { pid, program: Some(program.into()), mounts: None, arguments: arguments.replace(' ', "\0").into() }
    }

    #[test]
    fn the_node_is_the_one_process_of_this_program_that_runs_one() {
        let others = || {
            vec![
                process(1, "/pause", "/pause"),
                process(6, "/usr/bin/node", "node run tidegate"),
                process(7, "/tidegate", "/tidegate drain "),
                process(8, "/tidegate", "/tidegate check run "),
                process(9, "/tidegate", ""),
                Seen { program: None, ..process(10, "", "/tidegate run ") },
            ]
        };
        let own = Path::new("/tidegate");
        assert!(matches!(only(others(), own, None), Err(DrainError::NoneRuns)));
        for node in [
            process(12, "/tidegate", "/tidegate run "),
            process(12, "/tidegate", "./gate run --config a.toml "),
            process(12, "/tidegate (deleted)", "/tidegate run "),
        ] {
            let found = only(others().into_iter().chain([node]).collect(), own, None);
            assert_eq!(found.unwrap().0.as_raw(), 12);
        }
        let own_was_replaced = Path::new("/tidegate (deleted)");
        assert_eq!(only(vec![process(12, "/tidegate", "t run")], own_was_replaced, None).unwrap().0.as_raw(), 12);
    }

    #[test]
    fn of_several_nodes_that_of_this_container_is_meant() {
        let node = |pid, mounts: Option<&str>| Seen {
            mounts: mounts.map(PathBuf::from),
            ..process(pid, "/tidegate", "/tidegate run ")
        };
        let (own, other) = (Some("mnt:[1]"), Some("mnt:[2]"));
        let found = |nodes: Vec<Seen>, mounts: Option<&str>| {
            only(nodes, Path::new("/tidegate"), mounts.map(Path::new)).ok().map(|process| process.0.as_raw())
        };
        for (mounts, nodes, expected) in [
            (own, vec![node(7, other), node(8, own), node(9, None)], Some(8)),
            (own, vec![node(7, other), node(8, other)], None),
            (own, vec![node(7, own), node(8, own), node(9, other)], None),
            (None, vec![node(7, None), node(8, other)], None),
            // As from a shell, where the unit of the node has a view of its own.
            (own, vec![node(7, other)], Some(7)),
        ] {
            assert_eq!(found(nodes, mounts), expected);
        }
        assert!(mounts("self").is_some());
        assert_eq!(see(std::process::id().try_into().unwrap()).unwrap().mounts, mounts("self"));
    }

    #[test]
    fn a_node_without_its_thread_has_not_ended_while_its_process_lives() {
        let folder = tempfile::TempDir::new().unwrap();
        fs::write(folder.path().join("run"), "read line\nsleep 0.3\n").unwrap();
        let mut command = std::process::Command::new("sh");
        let command = command.arg("run").current_dir(folder.path()).stdin(std::process::Stdio::piped());
        let mut node = command.spawn().unwrap();
        let process = Process(Pid::from_raw(node.id().try_into().unwrap()));
        // Linux shows its arguments a moment after it has begun.
        while !process.lives() {
            std::thread::yield_now();
        }
        assert_eq!(ProcessStage::of_process(process.0), None);
        drop(node.stdin.take());
        process.follow().unwrap();
        // Until somebody waits for it, it is there as a zombie.
        assert!(!process.lives() && see(node.id().try_into().unwrap()).is_some(), "it was followed to its end");
        node.wait().unwrap();
        assert!(!process.lives());
    }

    #[test]
    fn of_several_nodes_each_is_listed() {
        let nodes =
            vec![process(12, "/tidegate", "tidegate run a.toml "), process(13, "/tidegate", "tidegate run \u{1b}[2J ")];
        let error = only(nodes, Path::new("/tidegate"), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "2 nodes run here; name one of them with --pid PID:\n  --pid 12  (tidegate run a.toml)\n  --pid 13  (tidegate run \u{fffd}[2J)"
        );
    }

    #[test]
    fn a_process_that_the_signal_would_end_is_known_by_its_mask() {
        for (mask, expected) in [
            ("0000000000000200", Some(true)),
            ("00000001800042ea", Some(true)),
            ("00000001800040ea", Some(false)),
            ("0000000000000000", Some(false)),
            ("ffffffffffffffff", Some(true)),
            ("no mask", None),
        ] {
            let status = format!("Name:\ttidegate\nSigIgn:\tffffffffffffffff\nSigCgt:\t{mask}\n");
            assert_eq!(catches(&status, Signal::SIGUSR1), expected, "{mask}");
        }
        assert_eq!(catches("Name:\ttidegate\n", Signal::SIGUSR1), None, "gVisor tells none");
        let own = fs::read_to_string("/proc/self/status").unwrap();
        assert!(!is_dead(&own) && is_dead("State:\tZ (zombie)\n"));
    }

    #[test]
    fn another_program_is_never_sent_the_signal() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(matches!(named(own), Err(DrainError::NoNode(pid)) if pid == own), "it runs tests");
        assert!(matches!(named(i32::MAX), Err(DrainError::NoNode(_))), "there is none of this number");
    }
}
