//! Publishes the node's stage as the name of its control thread, readable in `/proc`.
//!
//! It can be read in `/proc` without the configuration, the network or a token, also while the configuration has a mistake.

use nix::{sys::prctl, unistd::Pid};

/// What the control thread is called, from its start to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProcessStage {
    /// The node serves.
    Serving,
    /// It leaves, and serves still.
    LameDuck,
    /// It takes no new clients and closes the others.
    Draining,
    /// It has no clients, and is about to end or stays until it is told to.
    Drained,
}

impl ProcessStage {
    const ALL: [Self; 4] = [Self::Serving, Self::LameDuck, Self::Draining, Self::Drained];

    /// The name of the thread: at most 15 bytes, which is what Linux keeps.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serving => "control",
            Self::LameDuck => "lame duck",
            Self::Draining => "draining",
            Self::Drained => "drained",
        }
    }

    /// Which one a thread of this name shows. `None`: it is another thread.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }

    /// Shows it, from the control thread.
    pub(super) fn show(self) {
        if let Ok(name) = std::ffi::CString::new(self.name()) {
            // Linux takes any name.
            let _ = prctl::set_name(&name);
        }
    }

    /// What the process shows now. `None`: it has no control thread, because it starts, has ended, or is something else.
    #[must_use]
    pub fn of_process(pid: Pid) -> Option<Self> {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let names = threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
        names.filter_map(|name| Self::of(name.trim_end())).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_reads_what_the_thread_shows() {
        let own = Pid::this();
        let (told, heard) = std::sync::mpsc::channel();
        let (next, goes_on) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            for stage in ProcessStage::ALL {
                stage.show();
                told.send(stage).unwrap();
                goes_on.recv().unwrap();
            }
        });
        for stage in heard {
            assert_eq!(ProcessStage::of_process(own), Some(stage));
            next.send(()).unwrap();
        }
        thread.join().unwrap();
        assert_eq!(ProcessStage::of_process(own), None, "no thread of another name is one");
    }

    #[test]
    fn linux_keeps_the_whole_name() {
        for stage in ProcessStage::ALL {
            assert!(stage.name().len() <= 15, "{stage:?}");
            assert_eq!(ProcessStage::of(stage.name()), Some(stage));
        }
        assert_eq!(ProcessStage::of("worker-0"), None);
    }
}
