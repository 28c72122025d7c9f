//! Stores account, certificate and open challenges, for the next start and for other replicas.

use std::{
    fmt,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use rustix::fs::{Access, access};
use tokio::task::spawn_blocking;

/// The largest entry. Larger files are not ours.
const ENTRY_BYTES_MAX: u64 = 1024 * 1024;

/// Only the user that runs Tidegate may read and write the folder.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The entry that is locked: an empty file that stays.
const LOCK: &str = "lock";

/// The future result of a cache operation.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, CacheError>> + Send + 'a>>;

/// Entries by name, the same for all replicas.
///
/// Only the holder of the lock stores and removes. Loading needs no lock and sees an entry before or after a change,
/// never in between. A name consists of letters, digits, hyphens and dots, and does not begin with a dot.
pub trait Cache: fmt::Debug + Send + Sync {
    /// The content of an entry. `None` if there is no such entry.
    fn load(&self, name: &str) -> Answer<'_, Option<Vec<u8>>>;

    /// Makes or replaces an entry. If that fails the old content stays.
    fn store(&self, name: &str, content: Vec<u8>) -> Answer<'_, ()>;

    /// Removes an entry, if there is one.
    fn remove(&self, name: &str) -> Answer<'_, ()>;

    /// Takes the lock. `None` if another replica holds it. It is released when its holder dies.
    fn try_lock(&self) -> Answer<'_, Option<Lock>>;

    /// Whether a replica orders for itself while the cache cannot lock.
    fn orders_without_lock(&self) -> bool {
        true
    }
}

/// The lock of a cache, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _held: Box<dyn fmt::Debug + Send>,
}

impl Lock {
    /// Wraps a value that releases the lock when it is dropped.
    #[must_use]
    pub fn over(held: impl fmt::Debug + Send + 'static) -> Self {
        Self { _held: Box::new(held) }
    }
}

/// Why a cache operation failed.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be {verb}: {source}{}", path.display(), advice(.source))]
pub struct CacheError {
    /// The operation, as a participle.
    pub verb: &'static str,
    /// The file, folder or key.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: io::Error,
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; give the user that runs Tidegate read and write access",
        io::ErrorKind::ReadOnlyFilesystem => "; it has to be on a volume that can be written to",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; make room there",
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => "; it has to be a folder",
        _ => "",
    }
}

/// A folder, on a volume that replicas may share.
///
/// The lock is the operating system's (`flock`), not a file with an owner and a time: it ends with its holder, it needs
/// no synchronised clocks, and NFS (as Linux mounts it) and CephFS share it between machines.
#[derive(Debug, Clone)]
pub struct FileCache {
    folder: Arc<Path>,
}

impl FileCache {
    /// Checks whether this can be the folder. Makes nothing, so that another user can run `check`.
    ///
    /// # Errors
    /// The path, or a parent of it, is not a folder.
    pub fn verify(folder: &Path) -> Result<(), CacheError> {
        match folder.ancestors().find(|path| path.exists()) {
            Some(there) if !there.is_dir() => {
                Err(CacheError { verb: "made", path: folder.to_owned(), source: io::ErrorKind::NotADirectory.into() })
            }
            _ => Ok(()),
        }
    }

    /// Asks whether [`open`](Self::open) would succeed now, for this user. Makes nothing.
    ///
    /// # Errors
    /// The folder could not be made or written to.
    pub fn could_open(folder: &Path) -> Result<(), CacheError> {
        let lock = folder.join(LOCK);
        match OpenOptions::new().write(true).open(&lock) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (verb, path) = if folder.exists() { ("written", lock.as_path()) } else { ("made", folder) };
                is_writable(would_hold(folder)).map_err(failed(verb, path))
            }
            opened => opened.map(drop).map_err(failed("written", &lock)),
        }
    }

    /// Opens the folder. A missing one is made, for this user only.
    ///
    /// # Errors
    /// The folder cannot be made or written to.
    pub fn open(folder: &Path) -> Result<Self, CacheError> {
        let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
        made.map_err(|source| CacheError { verb: "made", path: folder.to_owned(), source })?;
        open_lock(&folder.join(LOCK))?;
        Ok(Self { folder: folder.into() })
    }

    /// The folder as it is, for somebody who only reads.
    pub(super) fn unopened(folder: &Path) -> Self {
        Self { folder: folder.into() }
    }

    /// Runs on a blocking thread, because a shared volume may hang.
    fn on_disk<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce(&Path) -> Result<T, CacheError> + Send + 'static,
    ) -> Answer<'_, T> {
        let path = self.folder.join(name);
        Box::pin(async move {
            match spawn_blocking({
                let path = path.clone();
                move || work(&path)
            })
            .await
            {
                Ok(outcome) => outcome,
                Err(stopped) => Err(CacheError { verb: "reached", path, source: io::Error::other(stopped) }),
            }
        })
    }
}

impl Cache for FileCache {
    fn load(&self, name: &str) -> Answer<'_, Option<Vec<u8>>> {
        self.on_disk(name, |path| read(path).map_err(failed("read", path)))
    }

    fn store(&self, name: &str, content: Vec<u8>) -> Answer<'_, ()> {
        self.on_disk(name, move |path| {
            let new = path.with_added_extension("new");
            let written = replace(path, &new, &content);
            if written.is_err() {
                // A partial file takes up space, and the disk may be full.
                let _ = fs::remove_file(&new);
            }
            written.map_err(failed("written", path))
        })
    }

    fn remove(&self, name: &str) -> Answer<'_, ()> {
        self.on_disk(name, |path| match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removed", path)(error)),
            _ => Ok(()),
        })
    }

    fn try_lock(&self) -> Answer<'_, Option<Lock>> {
        self.on_disk(LOCK, |path| {
            let file = open_lock(path)?;
            match file.try_lock() {
                Ok(()) => Ok(Some(Lock::over(file))),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(failed("locked", path)(error)),
            }
        })
    }
}

/// The folder, or, as long as it is missing, the one in which it would be made.
pub(super) fn would_hold(folder: &Path) -> &Path {
    folder.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."))
}

/// Whether this user can read this folder and make files in it.
pub(super) fn is_writable(folder: &Path) -> io::Result<()> {
    Ok(access(folder, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)?)
}

fn failed(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CacheError {
    let path = path.to_owned();
    move |source| CacheError { verb, path, source }
}

fn open_lock(path: &Path) -> Result<File, CacheError> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(path);
    opened.map_err(failed("written", path))
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    file.take(ENTRY_BYTES_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > ENTRY_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large for an entry of Tidegate"));
    }
    Ok(Some(content))
}

/// Writes `new`, syncs it to disk, and renames it to `path`.
fn replace(path: &Path, new: &Path, content: &[u8]) -> io::Result<()> {
    // A file left over from a crash may have other permissions.
    match fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(new, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
