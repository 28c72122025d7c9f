//! Whether the service has a Redis adapter of its own, as far as is known: read by every thread, set by the guard alone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::{Notify, watch};

/// How long a message waits at most for a check that it has asked for.
const CHECK_PATIENCE: Duration = Duration::from_secs(1);

/// What is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing yet. Nothing is published or delivered, because it might be the second time.
    Nothing,
    /// Nobody but gates is on the key.
    Alone,
    /// An adapter is: what is published would reach the clients twice, by the adapter and by the gates.
    Adapter,
}

/// What is known, shared.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: AtomicU8,
    /// Somebody wants a check now.
    wanted: Notify,
    /// How many checks have ended.
    checks: watch::Sender<u64>,
}

impl Standing {
    /// What is known.
    pub(super) fn known(&self) -> Known {
        [Known::Nothing, Known::Alone, Known::Adapter][usize::from(self.0.known.load(Relaxed))]
    }

    /// A check has ended. `None`: it said nothing, and what was known still holds. Returns what was known before.
    pub(super) fn checked(&self, known: Option<Known>) -> Known {
        let before = self.known();
        if let Some(known) = known {
            self.0.known.store(known as u8, Relaxed);
        }
        self.0.checks.send_modify(|checks| *checks += 1);
        before
    }

    /// Waits until somebody wants a check.
    pub(super) async fn wanted(&self) {
        self.0.wanted.notified().await;
    }

    /// Wants a check, and waits until one has ended, for [`CHECK_PATIENCE`] at most.
    pub(super) async fn check(&self) {
        let mut checks = self.0.checks.subscribe();
        self.0.wanted.notify_one();
        let _ = tokio::time::timeout(CHECK_PATIENCE, checks.changed()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_wants_a_check_waits_for_its_result() {
        let standing = Standing::default();
        assert_eq!(standing.known(), Known::Nothing);
        let guard = standing.clone();
        let checks = async move {
            guard.wanted().await;
            guard.checked(Some(Known::Adapter))
        };
        let ((), before) = tokio::join!(standing.check(), checks);
        assert_eq!((before, standing.known()), (Known::Nothing, Known::Adapter));
    }

    #[test]
    fn a_check_that_says_nothing_changes_nothing() {
        let standing = Standing::default();
        standing.checked(Some(Known::Alone));
        assert_eq!(standing.checked(None), Known::Alone);
        assert_eq!(standing.known(), Known::Alone);
    }
}
