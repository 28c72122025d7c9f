//! What the cache of `[tls.acme]` holds, and whether it can be used: for people. Makes no file and no connection.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::fs::statvfs;
use zeroize::Zeroizing;

use super::{
    cache::{FileCache, is_writable, would_hold},
    certificate::Ordered,
    entries::{Entries, Entry},
    schedule::{Attempts, Chance},
    table::AcmeTable,
};
use crate::{fault::Fault, observe::gauges::Gauges};

/// A folder that is the cache.
#[derive(Debug)]
pub struct Survey {
    /// The folder, or, as long as it is missing, the one in which it would be made.
    pub folder: PathBuf,
    /// Whether this user can write there; why not.
    pub writable: Result<(), String>,
    /// So many bytes are free there. `None`: the system does not tell.
    pub free: Option<u64>,
    /// The certificate in it. `None`: there is none yet.
    pub held: Option<Result<OrderTimes, String>>,
    /// How many orders have failed since the last that has not.
    pub failures: u32,
}

/// A certificate that was ordered.
#[derive(Debug, Clone, Copy)]
pub struct OrderTimes {
    /// When it ends.
    pub not_after: SystemTime,
    /// When the next one is ordered, at the latest.
    pub renewal: SystemTime,
    /// When something prevents that.
    pub overdue: SystemTime,
}

/// Looks into the folder. For a cache in Redis there is no such folder.
///
/// # Errors
/// What is wrong with the table.
pub async fn survey(table: &AcmeTable) -> Result<Survey, Vec<Fault>> {
    let rules = table.check()?;
    let folder = would_hold(&table.cache).to_owned();
    let entries = Entries::new(Arc::new(FileCache::unopened(&table.cache)), &rules, Arc::new(Gauges::new()));
    let stored = entries.load(Entry::Certificate).await;
    let held = stored.map(|pem| {
        let ordered = Ordered::from_pem(Zeroizing::new(pem), &rules.domains).map_err(|error| error.to_string())?;
        let renewal = UNIX_EPOCH + Duration::from_secs(ordered.validity.renewal(Chance::new(0)));
        Ok(OrderTimes { not_after: ordered.not_after(), renewal, overdue: ordered.overdue() })
    });
    let attempts = entries.load(Entry::Attempts).await;
    let attempts: Attempts = attempts.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
    Ok(Survey {
        writable: is_writable(&folder).map_err(|error| error.to_string()),
        free: statvfs(&folder).ok().map(|about| about.f_bavail.saturating_mul(about.f_frsize)),
        folder,
        held,
        failures: attempts.failures(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn table(cache: &Path) -> AcmeTable {
        AcmeTable { domains: vec!["a.test".to_owned()], cache: cache.to_owned(), ..AcmeTable::default() }
    }

    #[tokio::test]
    async fn a_folder_that_is_missing_is_looked_at_where_it_would_be_made_and_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let found = survey(&table(&folder.path().join("a/b"))).await.unwrap();
        assert_eq!((found.folder.as_path(), found.writable), (folder.path(), Ok(())));
        assert!(found.free.is_some_and(|free| free > 0) && found.held.is_none() && found.failures == 0);
        assert!(!folder.path().join("a").exists());
        assert!(survey(&table(Path::new("/proc/self"))).await.unwrap().writable.is_err(), "nothing can be made there");
        assert!(survey(&AcmeTable { domains: Vec::new(), ..table(folder.path()) }).await.is_err());
    }
}
