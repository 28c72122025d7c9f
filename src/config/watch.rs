//! Notices that the configuration is to be read again: SIGHUP, or the file says something else.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{Event, RecursiveMode, Watcher as _};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// Some file systems tell nothing: the file is looked at this often all the same.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// A file is often written in several steps.
const SETTLE: Duration = Duration::from_millis(100);

/// Watches one configuration file, and SIGHUP.
#[derive(Debug)]
pub struct Watch {
    hangup: Signal,
    file: Option<FileWatch>,
}

/// Why the configuration is to be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// SIGHUP.
    Signal,
    /// The file says something else.
    File,
}

#[derive(Debug)]
struct FileWatch {
    path: PathBuf,
    content: Option<Vec<u8>>,
    stirred: mpsc::Receiver<()>,
    /// Stops when dropped. None where the system has no watch to give; then looking now and then must do.
    _watcher: Option<notify::RecommendedWatcher>,
}

impl Watch {
    /// Begins to watch, from what the file says now.
    ///
    /// # Errors
    /// Signals cannot be received.
    pub fn start(path: Option<&Path>) -> io::Result<Self> {
        Ok(Self { hangup: signal(SignalKind::hangup())?, file: path.map(FileWatch::start) })
    }

    /// Waits for the next reason to read the configuration again.
    pub async fn changed(&mut self) -> Trigger {
        let Some(file) = &mut self.file else {
            self.hangup.recv().await;
            return Trigger::Signal;
        };
        tokio::select! {
            _ = self.hangup.recv() => {
                file.content = fs::read(&file.path).ok();
                Trigger::Signal
            }
            () = file.changed() => Trigger::File,
        }
    }
}

impl FileWatch {
    /// Kubernetes replaces a symbolic link beside the file, so the whole directory is watched, and what counts is
    /// whether the content has changed.
    fn start(path: &Path) -> Self {
        let (stir, stirred) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // Looking is an access too: whoever heeds those looks for ever.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                // One token is enough: it says «look again».
                let _ = stir.try_send(());
            }
        });
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let watcher = watcher.ok().and_then(|mut watcher| {
            watcher.watch(directory, RecursiveMode::NonRecursive).ok()?;
            Some(watcher)
        });
        Self { path: path.to_owned(), content: fs::read(path).ok(), stirred, _watcher: watcher }
    }

    async fn changed(&mut self) {
        loop {
            let look_at = Instant::now() + LOOK_EVERY;
            tokio::select! {
                Some(()) = self.stirred.recv() => sleep_until(Instant::now() + SETTLE).await,
                () = sleep_until(look_at) => {}
            }
            // A file that is gone for a moment is being replaced.
            if let Ok(content) = fs::read(&self.path)
                && self.content.as_ref() != Some(&content)
            {
                self.content = Some(content);
                return;
            }
        }
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
        let file = watch.file.as_mut().unwrap();
        assert_eq!(file.content.as_deref(), Some(&b"a = 2"[..]));
        fs::write(at("another-neighbour"), "").unwrap();
        assert!(tokio::time::timeout(SETTLE * 4, watch.changed()).await.is_err(), "nothing has changed");
    }
    #[tokio::test]
    async fn looking_at_the_file_is_no_reason_to_look_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidegate.toml");
        fs::write(&path, "a = 1").unwrap();
        let mut file = FileWatch::start(&path);
        fs::read(&path).unwrap();
        fs::read(&path).unwrap();
        assert!(tokio::time::timeout(SETTLE, file.stirred.recv()).await.is_err());
        fs::write(&path, "a = 2").unwrap();
        assert_eq!(tokio::time::timeout(PATIENCE, file.stirred.recv()).await, Ok(Some(())));
    }
}
