//! Sums the memory that the sessions of a worker keep, and ends the largest if it is too much.

use std::cmp::Reverse;

use super::Worker;
use crate::{relay::cell::SessionCell, session::ended::Shortage};

/// A session that keeps no more than this is not closed for memory, ...
pub(super) const DEAR_BYTES: usize = 16 * 1024;

/// ... nor one that keeps no more than this part of what all sessions may keep.
const DEAR_SHARE: usize = 64;

/// A session that keeps more than this may be closed, where all may keep `max`.
fn dear_above(max: usize) -> usize {
    DEAR_BYTES.min(max / DEAR_SHARE)
}

impl Worker {
    /// The session and its legs keep so many bytes now, of which all sessions may keep `max`. If they keep more, the one of
    /// this worker that keeps most has to end.
    pub fn keeps(&self, cell: &SessionCell, bytes: usize, max: usize) {
        if cell.shortage.get().is_some() || bytes == cell.kept.get() {
            return;
        }
        let grows = bytes > cell.kept.get();
        if self.count(cell, bytes) > max && grows && (bytes > dear_above(max) || !self.none_is_dear.get()) {
            self.shed_dearest(1, Shortage::SessionMemory, max);
        }
    }

    /// The bytes that all sessions keep, once this one keeps so many.
    pub(super) fn count(&self, cell: &SessionCell, bytes: usize) -> usize {
        let before = cell.kept.replace(bytes);
        self.kept.set(self.kept.get().wrapping_sub(before).wrapping_add(bytes));
        self.memory.session_keeps(before, bytes)
    }

    /// Ends the sessions of this worker that keep most, until at least `bytes` are free. A session that keeps little would
    /// free nothing that matters, and stays. `max` is what all sessions may keep.
    pub(super) fn shed_dearest(&self, bytes: usize, shortage: Shortage, max: usize) {
        let floor = dear_above(max);
        let sessions = self.sessions.borrow();
        let dear = sessions.iter().filter(|cell| cell.kept.get() > floor && cell.shortage.get().is_none());
        let mut dear: Vec<_> = dear.collect();
        self.none_is_dear.set(dear.is_empty());
        dear.sort_unstable_by_key(|cell| Reverse(cell.kept.get()));
        let mut freed = 0;
        for cell in dear {
            if freed >= bytes {
                break;
            }
            freed += cell.kept.get();
            // So that no other session ends for what is dropped with this one.
            self.count(cell, 0);
            cell.shortage.set(Some(shortage));
            cell.wake();
        }
    }
}
