//! Figures of shared limits.

use std::sync::{Mutex, PoisonError};

/// The figures at one moment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct LimitFigures {
    /// Whether Redis answers; if not, each node lets its own part through. `None`: no limit is shared.
    pub shared: Option<bool>,
    /// Nodes that are alive.
    pub nodes: u64,
    /// Users and addresses whose budget this node has a part of.
    pub leases: u64,
    /// Messages of them that are left.
    pub held: u64,
    /// Messages that were leased to this node.
    pub granted: u64,
    /// Of them, those that it has given back.
    pub returned: u64,
    /// Packets over the part of this node while nothing was shared.
    pub refused_alone: u64,
    /// Questions for more that found no place.
    pub asks_lost: u64,
    /// Calls that Redis has not answered.
    pub failures: u64,
}

/// The figures as the task of the limits has last shown them. `None`: there is no Redis.
#[derive(Debug, Default)]
pub struct LimitGauges(Mutex<Option<LimitFigures>>);

impl LimitGauges {
    /// Shows these from now on.
    pub fn set(&self, figures: LimitFigures) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(figures);
    }

    pub(super) fn figures(&self) -> Option<LimitFigures> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
