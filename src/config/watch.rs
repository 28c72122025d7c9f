//! Notices that files say something else; and that the configuration is to be read again, for that or for SIGHUP.

use std::{
    collections::BTreeSet,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{Event, RecursiveMode, Watcher as _};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// Some file systems tell nothing: files are looked at this often all the same.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A file is often written in several steps.
const SETTLE: Duration = Duration::from_millis(100);

/// A file that is gone, or cannot be read, is being replaced; after this time it no longer is.
const GONE_FOR: Duration = Duration::from_secs(2);

/// Watches one configuration file, and SIGHUP.
#[derive(Debug)]
pub struct Watch {
    hangup: Signal,
    file: Option<FilesWatch>,
}

/// Why the configuration is to be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// SIGHUP.
    Signal,
    /// The file says something else.
    File,
}

/// Watches files for what they say.
#[derive(Debug)]
pub struct FilesWatch {
    paths: Vec<PathBuf>,
    seen: Seen,
    /// Since when not all of them could be read, and that has not been told.
    gone_since: Option<Instant>,
    look_at: Instant,
    stirred: mpsc::Receiver<()>,
    /// Stops when dropped. None where the system has no watch to give; then looking now and then must do.
    _watcher: Option<notify::RecommendedWatcher>,
}

/// What was there when we looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// A digest, for one of the files may hold a key.
    digest: u64,
    /// All could be read.
    whole: bool,
}

impl Watch {
    /// Begins to watch, from what the file says now.
    ///
    /// # Errors
    /// Signals cannot be received.
    pub fn start(path: Option<&Path>) -> io::Result<Self> {
        Ok(Self { hangup: signal(SignalKind::hangup())?, file: path.map(|path| FilesWatch::start([path.to_owned()])) })
    }

    /// Waits for the next reason to read the configuration again. What has happened before is not lost when this is
    /// dropped.
    pub async fn changed(&mut self) -> Trigger {
        let Some(file) = &mut self.file else {
            self.hangup.recv().await;
            return Trigger::Signal;
        };
        tokio::select! {
            _ = self.hangup.recv() => {
                file.seen = Seen::of(&file.paths);
                Trigger::Signal
            }
            () = file.changed() => Trigger::File,
        }
    }
}

impl FilesWatch {
    /// Begins to watch, from what the files say now.
    ///
    /// Kubernetes replaces a symbolic link beside a file, so whole directories are watched, and what counts is whether
    /// the content has changed.
    #[must_use]
    pub fn start(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let paths: Vec<_> = paths.into_iter().collect();
        let (stir, stirred) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Reading a file is an access too: heeding those would never end.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                // One token is enough: it says «look again».
                let _ = stir.try_send(());
            }
        });
        let parents = paths.iter().map(|path| path.parent().filter(|parent| !parent.as_os_str().is_empty()));
        let directories: BTreeSet<&Path> = parents.map(|parent| parent.unwrap_or(Path::new("."))).collect();
        let watcher = watcher.ok().and_then(|mut watcher| {
            directories.iter().try_for_each(|path| watcher.watch(path, RecursiveMode::NonRecursive)).ok()?;
            Some(watcher)
        });
        let seen = Seen::of(&paths);
        Self { paths, seen, gone_since: None, look_at: Instant::now() + LOOK_EVERY, stirred, _watcher: watcher }
    }

    /// Waits until they say something else, or have been gone or unreadable for a while. What has happened before is not
    /// lost when this is dropped.
    pub async fn changed(&mut self) {
        loop {
            tokio::select! {
                Some(()) = self.stirred.recv() => self.look_at = self.look_at.min(Instant::now() + SETTLE),
                () = sleep_until(self.look_at) => {
                    let now = Instant::now();
                    self.look_at = now + LOOK_EVERY;
                    let seen = Seen::of(&self.paths);
                    if seen.whole || seen == self.seen {
                        self.gone_since = None;
                    } else if *self.gone_since.get_or_insert(now) + GONE_FOR > now {
                        self.look_at = now + GONE_FOR;
                        continue;
                    }
                    if seen != self.seen {
                        self.seen = seen;
                        return;
                    }
                }
            }
        }
    }
}

impl Seen {
    fn of(paths: &[PathBuf]) -> Self {
        let mut hasher = DefaultHasher::new();
        let mut whole = true;
        for path in paths {
            let content = fs::read(path).map_err(|error| error.kind());
            whole &= content.is_ok();
            content.hash(&mut hasher);
        }
        Self { digest: hasher.finish(), whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_swapped_directory_as_kubernetes_does_it_is_noticed_and_a_touched_file_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (version, text) in [("v1", "a = 1"), ("v2", "a = 2")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("tidegate.toml"), text).unwrap();
        }
        std::os::unix::fs::symlink("v1", at("..data")).unwrap();
        std::os::unix::fs::symlink("..data/tidegate.toml", at("tidegate.toml")).unwrap();

        let mut watch = Watch::start(Some(&at("tidegate.toml"))).unwrap();
        fs::write(at("v1").join("tidegate.toml"), "a = 1").unwrap();
        fs::write(at("neighbour"), "").unwrap();
        std::os::unix::fs::symlink("v2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_eq!(tokio::time::timeout(PATIENCE, watch.changed()).await, Ok(Trigger::File));
        fs::write(at("another-neighbour"), "").unwrap();
        assert!(tokio::time::timeout(SETTLE * 4, watch.changed()).await.is_err(), "nothing has changed");
    }

    #[tokio::test]
    async fn a_file_that_is_gone_for_a_moment_is_being_replaced_and_after_a_while_it_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let paths = [at("tls.crt"), at("tls.key")];
        paths.iter().for_each(|path| fs::write(path, "old").unwrap());
        let mut files = FilesWatch::start(paths.clone());

        fs::rename(at("tls.key"), at("away")).unwrap();
        assert!(tokio::time::timeout(SETTLE * 4, files.changed()).await.is_err(), "it may come back");
        fs::rename(at("away"), at("tls.key")).unwrap();
        assert!(tokio::time::timeout(GONE_FOR * 2, files.changed()).await.is_err(), "it came back");

        fs::remove_file(at("tls.key")).unwrap();
        assert_eq!(tokio::time::timeout(PATIENCE, files.changed()).await, Ok(()));
        assert!(tokio::time::timeout(GONE_FOR * 2, files.changed()).await.is_err(), "that has been told");
        fs::create_dir(at("tls.key")).unwrap();
        assert_eq!(tokio::time::timeout(PATIENCE, files.changed()).await, Ok(()), "it is no file");
    }

    #[tokio::test]
    async fn looking_at_the_file_is_no_reason_to_look_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidegate.toml");
        fs::write(&path, "a = 1").unwrap();
        let mut file = FilesWatch::start([path.clone()]);
        fs::read(&path).unwrap();
        fs::read(&path).unwrap();
        assert!(tokio::time::timeout(SETTLE, file.stirred.recv()).await.is_err());
        fs::write(&path, "a = 2").unwrap();
        assert_eq!(tokio::time::timeout(PATIENCE, file.changed()).await, Ok(()));
    }
}
