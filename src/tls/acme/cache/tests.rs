//! What is kept in a folder, and what a folder that cannot keep anything does.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use tempfile::TempDir;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn cache() -> (TempDir, FileCache) {
    let folder = TempDir::new().unwrap();
    let cache = FileCache::open(&folder.path().join("deep/acme")).unwrap();
    (folder, cache)
}

#[tokio::test]
async fn an_entry_is_loaded_as_it_was_stored_last() {
    let (_folder, cache) = cache();
    assert_eq!(cache.load("a.pem").await.unwrap(), None);
    cache.store("a.pem", b"one".to_vec()).await.unwrap();
    cache.store("a.pem", b"two".to_vec()).await.unwrap();
    cache.store("b.pem", b"other".to_vec()).await.unwrap();
    assert_eq!(cache.load("a.pem").await.unwrap().as_deref(), Some(&b"two"[..]));
    cache.remove("a.pem").await.unwrap();
    cache.remove("a.pem").await.unwrap();
    assert_eq!(cache.load("a.pem").await.unwrap(), None);
    assert_eq!(cache.load("b.pem").await.unwrap().as_deref(), Some(&b"other"[..]));
}

#[tokio::test]
async fn only_the_user_of_tidegate_may_read_what_is_stored() {
    let (folder, cache) = cache();
    cache.store("a.pem", b"secret".to_vec()).await.unwrap();
    let folder = folder.path().join("deep/acme");
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("a.pem")), 0o600);
    assert_eq!(mode(&folder.join("lock")), 0o600);
}

#[tokio::test]
async fn what_a_crash_left_behind_is_neither_followed_nor_in_the_way() {
    let (folder, cache) = cache();
    let elsewhere = folder.path().join("elsewhere");
    fs::write(&elsewhere, "untouched").unwrap();
    symlink(&elsewhere, folder.path().join("deep/acme/a.pem.new")).unwrap();
    cache.store("a.pem", b"new".to_vec()).await.unwrap();
    assert_eq!(fs::read(&elsewhere).unwrap(), b"untouched");
    assert_eq!(cache.load("a.pem").await.unwrap().as_deref(), Some(&b"new"[..]));
}

#[tokio::test]
async fn one_replica_at_a_time_has_the_lock() {
    let (folder, cache) = cache();
    let other = FileCache::open(&folder.path().join("deep/acme")).unwrap();
    let lock = cache.try_lock().await.unwrap();
    assert!(lock.is_some());
    assert!(other.try_lock().await.unwrap().is_none());
    drop(lock);
    assert!(other.try_lock().await.unwrap().is_some());
}

#[tokio::test]
async fn where_nothing_can_be_stored_the_old_entry_stays() {
    let (folder, cache) = cache();
    cache.store("a.pem", b"old".to_vec()).await.unwrap();
    // A folder in the place of the temporary file: even root cannot write there.
    fs::create_dir(folder.path().join("deep/acme/a.pem.new")).unwrap();
    let error = cache.store("a.pem", b"new".to_vec()).await.unwrap_err();
    assert!(error.to_string().contains("a.pem cannot be written"), "{error}");
    assert_eq!(cache.load("a.pem").await.unwrap().as_deref(), Some(&b"old"[..]));
}

#[tokio::test]
async fn a_file_that_is_too_large_is_no_entry() {
    let (folder, cache) = cache();
    let size = usize::try_from(ENTRY_BYTES_MAX).unwrap();
    fs::write(folder.path().join("deep/acme/a.pem"), vec![b'x'; size + 1]).unwrap();
    let error = cache.load("a.pem").await.unwrap_err();
    assert!(error.to_string().contains("too large"), "{error}");
    cache.store("a.pem", vec![b'x'; size]).await.unwrap();
    assert_eq!(cache.load("a.pem").await.unwrap().unwrap().len(), size);
}

#[test]
fn what_is_no_folder_is_refused_when_opened() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        for error in [FileCache::verify(&path).unwrap_err(), FileCache::open(&path).unwrap_err()] {
            assert!(error.to_string().contains("cannot be made") && error.to_string().contains("folder"), "{error}");
        }
    }
    FileCache::verify(folder.path()).unwrap();
    FileCache::verify(&folder.path().join("deep/acme")).unwrap();
    assert!(!folder.path().join("deep").exists(), "asking makes nothing");
}

#[test]
fn what_cannot_be_opened_is_told_when_asked_and_asking_makes_nothing() {
    let folder = TempDir::new().unwrap();
    let (good, bad) = (folder.path().join("deep/acme"), folder.path().join("bad"));
    FileCache::could_open(&good).unwrap();
    assert!(!folder.path().join("deep").exists());
    FileCache::open(&good).unwrap();
    FileCache::could_open(&good).unwrap();
    // A folder in the place of the lock: even root cannot write there.
    fs::create_dir_all(bad.join(LOCK)).unwrap();
    let (asked, opened) = (FileCache::could_open(&bad).unwrap_err(), FileCache::open(&bad).unwrap_err());
    assert_eq!(asked.to_string(), opened.to_string());
    assert!(FileCache::could_open(std::path::Path::new("/proc/self/acme")).is_err(), "nothing can be made there");
}
