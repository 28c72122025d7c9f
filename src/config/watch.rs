//! Detects changed files, and SIGHUP, as triggers of a reload.

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

/// Some file systems tell nothing: files are looked at this often all the same. Tests wait for what is told.
const LOOK_EVERY: Duration = Duration::from_secs(if cfg!(test) { 3600 } else { 10 });

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
    /// What each of them said when we looked, or when the watch began.
    seen: Vec<Seen>,
    /// Since when one of them could no longer be read, and that has not been told.
    gone_since: Option<Instant>,
    look_at: Instant,
    stirred: mpsc::Receiver<()>,
    /// Stops when dropped. None where the system has no watch to give; then looking now and then must do.
    watcher: Option<notify::RecommendedWatcher>,
    /// What it watches.
    folders: BTreeSet<PathBuf>,
}

/// What was there when we looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// A digest, for the file may hold a key.
    digest: u64,
    readable: bool,
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
                file.seen = look(&file.paths);
                Trigger::Signal
            }
            _ = file.changed() => Trigger::File,
        }
    }
}

impl FilesWatch {
    /// Begins to watch, from what the files say now. They, and the folders that they are in, may be missing.
    ///
    /// Kubernetes replaces a symbolic link beside a file, so whole folders are watched, and what counts is whether the
    /// content has changed.
    #[must_use]
    pub fn start(paths: impl IntoIterator<Item = PathBuf>) -> Self {
        let paths: Vec<_> = paths.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let (stir, stirred) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Reading a file is an access too: heeding those would never end.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                // One token is enough: it says «look again».
                let _ = stir.try_send(());
            }
        });
        let mut watch = Self {
            paths,
            seen: Vec::new(),
            gone_since: None,
            look_at: Instant::now() + LOOK_EVERY,
            stirred,
            watcher: watcher.ok(),
            folders: BTreeSet::new(),
        };
        watch.watch_folders();
        watch.seen = look(&watch.paths);
        watch
    }

    /// Waits until some say something else, or have been gone or unreadable for a while: those. Without files it waits
    /// without end. What has happened before is not lost when this is dropped.
    pub async fn changed(&mut self) -> Vec<PathBuf> {
        if self.paths.is_empty() {
            return std::future::pending().await;
        }
        loop {
            tokio::select! {
                Some(()) = self.stirred.recv() => self.look_at = self.look_at.min(Instant::now() + SETTLE),
                () = sleep_until(self.look_at) => {
                    let now = Instant::now();
                    self.look_at = now + LOOK_EVERY;
                    self.watch_folders();
                    let seen = look(&self.paths);
                    let is_gone = seen.iter().zip(&self.seen).any(|(now, before)| !now.readable && now != before);
                    if !is_gone {
                        self.gone_since = None;
                    } else if *self.gone_since.get_or_insert(now) + GONE_FOR > now {
                        self.look_at = now + GONE_FOR;
                        continue;
                    }
                    if seen != self.seen {
                        let before = std::mem::replace(&mut self.seen, seen);
                        return self.other_than(&before);
                    }
                }
            }
        }
    }

    /// Those that say something else than when `earlier` looked. Those that it did not watch are not among them.
    #[must_use]
    pub fn changed_since(&self, earlier: &Self) -> Vec<PathBuf> {
        let before =
            |path| earlier.paths.iter().zip(&earlier.seen).find_map(|(one, seen)| (one == path).then_some(seen));
        let pairs = self.paths.iter().zip(&self.seen);
        pairs
            .filter(|(path, seen)| before(*path).is_some_and(|before| before != *seen))
            .map(|(path, _)| path.clone())
            .collect()
    }

    fn other_than(&self, before: &[Seen]) -> Vec<PathBuf> {
        let all = self.paths.iter().zip(self.seen.iter().zip(before));
        all.filter(|(_, (now, before))| now != before).map(|(path, _)| path.clone()).collect()
    }

    /// A folder that was replaced is another one under the same name, and one that is missing may come: so they are looked
    /// up again each time.
    fn watch_folders(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let folders: BTreeSet<_> = self.paths.iter().flat_map(|path| folders_of(path)).collect();
        for gone in self.folders.difference(&folders) {
            let _ = watcher.unwatch(gone);
        }
        for folder in &folders {
            let _ = watcher.watch(folder, RecursiveMode::NonRecursive);
        }
        self.folders = folders;
    }
}

/// The folder of the file, or what there is of it, and the one that a link leads to.
fn folders_of(path: &Path) -> impl Iterator<Item = PathBuf> {
    let own =
        path.ancestors().skip(1).map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let own = own.into_iter().find(|folder| folder.is_dir()).map(Path::to_owned);
    let linked = fs::canonicalize(path).ok().and_then(|path| path.parent().map(Path::to_owned));
    own.into_iter().chain(linked)
}

fn look(paths: &[PathBuf]) -> Vec<Seen> {
    paths.iter().map(|path| Seen::of(path)).collect()
}

impl Seen {
    fn of(path: &Path) -> Self {
        let mut hasher = DefaultHasher::new();
        let readable = match fs::metadata(path).map_err(|error| error.kind()) {
            Ok(about) if about.is_file() || about.is_dir() => {
                let content = fs::read(path).map_err(|error| error.kind());
                content.hash(&mut hasher);
                content.is_ok()
            }
            // A pipe can be read only once, and that is for its owner.
            about => about.is_ok(),
        };
        Self { digest: hasher.finish(), readable }
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

        loop {
            let away = Instant::now();
            fs::rename(at("tls.key"), at("away")).unwrap();
            let told = tokio::time::timeout(SETTLE * 4, files.changed()).await;
            let for_a_moment = away.elapsed() < GONE_FOR;
            fs::rename(at("away"), at("tls.key")).unwrap();
            let told_later = tokio::time::timeout(GONE_FOR * 2, files.changed()).await;
            // Where the machine stood still it was longer than that.
            if for_a_moment {
                assert!(told.is_err(), "it may come back");
                assert!(told_later.is_err(), "it came back");
                break;
            }
        }

        fs::remove_file(at("tls.key")).unwrap();
        assert_eq!(tokio::time::timeout(PATIENCE, files.changed()).await, Ok(vec![at("tls.key")]));
        assert!(tokio::time::timeout(GONE_FOR * 2, files.changed()).await.is_err(), "that has been told");
        fs::create_dir(at("tls.key")).unwrap();
        assert_eq!(tokio::time::timeout(PATIENCE, files.changed()).await, Ok(vec![at("tls.key")]), "it is no file");
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
        assert_eq!(tokio::time::timeout(PATIENCE, file.changed()).await, Ok(vec![path]));
    }

    #[tokio::test]
    async fn a_folder_that_is_missing_goes_and_returns_is_watched_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("run").join("secrets");
        let path = folder.join("token");
        let mut file = FilesWatch::start([path.clone()]);
        let told = async |file: &mut FilesWatch| tokio::time::timeout(PATIENCE, file.changed()).await;

        fs::create_dir_all(&folder).unwrap();
        fs::write(&path, "one").unwrap();
        assert_eq!(told(&mut file).await, Ok(vec![path.clone()]), "it has come");
        fs::rename(&folder, directory.path().join("away")).unwrap();
        assert_eq!(told(&mut file).await, Ok(vec![path.clone()]), "it is gone");
        fs::create_dir(&folder).unwrap();
        fs::write(&path, "two").unwrap();
        assert_eq!(told(&mut file).await, Ok(vec![path.clone()]), "another one is in its place");
        fs::write(&path, "three").unwrap();
        assert_eq!(told(&mut file).await, Ok(vec![path]), "and is watched");
    }

    #[tokio::test]
    async fn what_a_link_into_another_folder_leads_to_is_watched_too() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("links")).unwrap();
        fs::create_dir(at("real")).unwrap();
        fs::write(at("real").join("token"), "one").unwrap();
        let path = at("links").join("token");
        std::os::unix::fs::symlink("../real/token", &path).unwrap();
        let mut file = FilesWatch::start([path.clone()]);
        fs::write(at("real").join("token"), "two").unwrap();
        assert_eq!(tokio::time::timeout(PATIENCE, file.changed()).await, Ok(vec![path]));
    }

    #[tokio::test]
    async fn one_file_that_stays_away_keeps_no_other_back() {
        let directory = tempfile::tempdir().unwrap();
        let (missing, path) = (directory.path().join("missing"), directory.path().join("tls.crt"));
        let mut files = FilesWatch::start([missing, path.clone()]);
        fs::write(&path, "new").unwrap();
        assert_eq!(tokio::time::timeout(PATIENCE, files.changed()).await, Ok(vec![path]));
        assert_eq!(files.gone_since, None, "nothing was waited for");
    }

    #[test]
    fn a_pipe_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("secret");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(Seen::of(&pipe).readable, "without a writer, reading would wait");
    }
}
