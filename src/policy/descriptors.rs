//! How the file descriptors of a process are split, so that clients never use up those of the operator, of dials and of
//! files.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use super::verdict::{Refusal, RefusalKind};

/// What one client needs: its connection, and the service's.
pub const PER_CLIENT: usize = 2;

/// What a session needs whose client is absent: the service's connection.
pub const PER_ABSENT: usize = 1;

/// The refusal of a client for whom there is no descriptor left.
pub const NONE_LEFT: Refusal = Refusal {
    kind: RefusalKind::Unavailable,
    code: "limit.descriptors",
    message: "Too many connections. Please try again later.",
    rule: None,
    fault: None,
};

/// Who may have how many of the descriptors that the process has yet to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// Those of clients, with their connections to the service.
    pub clients: usize,
    /// Connections to each address beside the gate: the operator's, and that of ACME challenges.
    pub side: usize,
    /// Idle connections to the service that wait for the next forwarded request.
    pub pool: usize,
    /// Connections, on each worker, that only hear why they are refused.
    pub refused: usize,
}

impl Split {
    /// Of `limit` descriptors of which `open` are in use at the start, for `workers` and `sides` addresses beside the
    /// gate. Each part has as much as is useful, but only a share of a small limit; what remains is for clients.
    #[must_use]
    pub fn of(limit: u64, open: usize, workers: usize, sides: usize) -> Self {
        let free = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(open);
        let side = (free / 10).clamp(4, 64);
        let pool = (free / 16).min(32);
        let refused = (free / 32 / workers.max(1)).clamp(1, 32);
        // Key sets, certificates, the configuration, look-ups of names, and connections that are just being closed.
        let files = (free / 8).clamp(8, 128);
        let kept = side.saturating_mul(sides) + pool + refused.saturating_mul(workers) + files;
        Self { clients: free.saturating_sub(kept), side, pool, refused }
    }

    /// How many clients may be connected at once.
    #[must_use]
    pub const fn connections(&self) -> usize {
        self.clients / PER_CLIENT
    }
}

/// The descriptors of clients. Each part of them that is in use is [`SetAside`].
#[derive(Debug)]
pub struct Descriptors {
    limit: usize,
    used: AtomicUsize,
}

/// Descriptors that one client has, or may yet open; free again when this is dropped.
#[derive(Debug)]
#[must_use = "the descriptors are free again as soon as this is dropped"]
pub struct SetAside {
    descriptors: Arc<Descriptors>,
    count: usize,
}

impl Descriptors {
    /// So many, none of them in use.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }

    /// Sets aside so many more.
    ///
    /// # Errors
    /// [`NONE_LEFT`] where there are fewer.
    pub fn set_aside(self: &Arc<Self>, count: usize) -> Result<SetAside, Refusal> {
        let add = |used: usize| used.checked_add(count).filter(|&used| used <= self.limit);
        match self.used.fetch_update(Relaxed, Relaxed, add) {
            Ok(_) => Ok(SetAside { descriptors: Arc::clone(self), count }),
            Err(_) => Err(NONE_LEFT),
        }
    }

    /// How many are set aside.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }
}

impl SetAside {
    /// Keeps so many of them at most; the others are free.
    pub fn keep(&mut self, count: usize) {
        let freed = self.count.saturating_sub(count);
        self.count -= freed;
        self.descriptors.used.fetch_sub(freed, Relaxed);
    }
}

impl Drop for SetAside {
    fn drop(&mut self) {
        self.descriptors.used.fetch_sub(self.count, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_what_the_others_do_not_need() {
        for (limit, open, workers) in [(80, 24, 2), (256, 24, 2), (1024, 40, 4), (20_000, 80, 16), (1 << 20, 300, 64)] {
            let split = Split::of(limit, open, workers, 1);
            let kept = split.side + split.pool + split.refused * workers;
            assert!(open + split.clients + kept + 8 <= limit as usize, "{split:?}");
            assert!(split.clients * 2 >= limit as usize - open, "clients have half at least: {split:?}");
            assert!(split.side >= 4 && split.refused >= 1, "{split:?}");
        }
        let large = Split::of(1 << 20, 300, 4, 1);
        assert_eq!((large.side, large.pool, large.refused), (64, 32, 32));
        assert!(large.connections() > 500_000);
    }

    #[test]
    fn a_limit_that_leaves_nothing_leaves_clients_nothing() {
        for limit in [0, 10, 30] {
            assert_eq!(Split::of(limit, 24, 2, 2).connections(), 0, "{limit}");
        }
    }

    #[test]
    fn what_is_set_aside_is_free_again() {
        let descriptors = Descriptors::new(5);
        let (one, other) = (descriptors.set_aside(2).unwrap(), descriptors.set_aside(2).unwrap());
        assert_eq!(descriptors.set_aside(2).unwrap_err().code, "limit.descriptors");
        let _last = descriptors.set_aside(1).unwrap();
        drop((one, other));
        assert_eq!(descriptors.used(), 1);
        let mut four = descriptors.set_aside(4).unwrap();
        four.keep(5);
        assert_eq!(descriptors.used(), 5, "it has no more than it had");
        four.keep(1);
        assert_eq!(descriptors.used(), 2);
        drop(four);
        assert_eq!(descriptors.used(), 1);
    }
}
