//! How often one session may join a namespace. Each join costs the service what a new connection does: its middleware and its
//! connection handlers run.

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use crate::{fault::Fault, policy::gcra::Gcra, session::table::SocketioTable};

/// A larger number limits nothing.
const JOINS: RangeInclusive<u32> = 1..=1_000_000;

/// So many joins at once, then one more after each interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinLimit {
    at_once: u32,
    interval: Duration,
}

impl JoinLimit {
    /// As `socketio.joins` and `socketio.joins_per` say.
    ///
    /// # Errors
    /// One of them is out of bounds.
    pub fn compile(table: &SocketioTable) -> Result<Self, Fault> {
        if !JOINS.contains(&table.joins) {
            let message = format!("is {}; it must be between {} and {}", table.joins, JOINS.start(), JOINS.end());
            return Err(Fault::new("socketio.joins", message));
        }
        let per = table.joins_per.above_zero("socketio.joins_per")?;
        Ok(Self { at_once: table.joins, interval: per / table.joins })
    }
}

/// The joins that one session has left.
#[derive(Debug)]
pub(super) struct JoinRate(Gcra);

impl JoinRate {
    /// As many as may be made at once.
    pub(super) const fn new(now: Instant) -> Self {
        Self(Gcra::new(now))
    }

    /// Whether there is one left.
    pub(super) fn has_one(&self, limit: JoinLimit, now: Instant) -> bool {
        let mut left = self.0;
        left.take(1, limit.interval, limit.at_once, now).is_ok()
    }

    /// One is made, if there is one left.
    pub(super) fn take(&mut self, limit: JoinLimit, now: Instant) {
        // A refusal takes nothing.
        let _ = self.0.take(1, limit.interval, limit.at_once, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Period;

    #[test]
    fn so_many_at_once_and_then_one_after_each_interval() {
        let table = SocketioTable { joins: 4, joins_per: Period::from_secs(8), ..SocketioTable::default() };
        let (limit, start) = (JoinLimit::compile(&table).unwrap(), Instant::now());
        let mut rate = JoinRate::new(start);
        let mut joins = |now| {
            let left = rate.has_one(limit, now);
            rate.take(limit, now);
            left
        };
        assert_eq!((0..9).filter(|_| joins(start)).count(), 4);
        let later = start + Duration::from_secs(2);
        assert_eq!((0..9).filter(|_| joins(later)).count(), 1);
    }

    #[test]
    fn no_join_and_no_time_are_no_limit() {
        let key = |table: SocketioTable| JoinLimit::compile(&table).unwrap_err().key;
        assert_eq!(key(SocketioTable { joins: 0, ..SocketioTable::default() }), "socketio.joins");
        assert_eq!(key(SocketioTable { joins_per: Period::OFF, ..SocketioTable::default() }), "socketio.joins_per");
    }
}
