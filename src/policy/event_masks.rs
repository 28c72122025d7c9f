//! Which rules name an event, remembered by the number of the event.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::event_names::{EventNames, EventSlot};

/// In a mask: it has been computed.
const KNOWN: u32 = 1 << 31;

/// A mask for each event, of which a rule or a kind of rules has one bit. It is computed when the event comes first. Two threads
/// may compute it at once; they get the same mask. The default is that of rules that name no event.
#[derive(Debug, Default)]
pub struct EventMasks(Box<[AtomicU32]>);

impl EventMasks {
    /// So many bits may a mask have.
    pub const BITS: usize = 31;

    /// Nothing is computed yet.
    #[must_use]
    pub fn new() -> Self {
        Self(std::iter::repeat_with(AtomicU32::default).take(EventNames::SLOTS).collect())
    }

    /// Whether no rule names any event.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mask of the event with this number, by `matching` where it is not known.
    #[inline]
    pub fn of(&self, slot: EventSlot, matching: impl FnOnce() -> u32) -> u32 {
        let Some(cell) = self.0.get(slot.index()) else { return 0 };
        if slot == EventSlot::OTHER {
            return matching();
        }
        let mut mask = cell.load(Relaxed);
        if mask & KNOWN == 0 {
            mask = matching() | KNOWN;
            cell.store(mask, Relaxed);
        }
        mask & !KNOWN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_computed_once_for_each_event_that_has_a_number() {
        let (masks, names) = (EventMasks::new(), EventNames::new(10, []));
        let (join, leave) = (names.slot(b"join"), names.slot(b"leave"));
        assert_eq!((masks.of(join, || 5), masks.of(join, || 6), masks.of(leave, || 0)), (5, 5, 0));
        assert_eq!(
            (masks.of(leave, || 7), masks.of(EventSlot::OTHER, || 1), masks.of(EventSlot::OTHER, || 2)),
            (0, 1, 2)
        );
    }

    #[test]
    fn where_no_rule_names_an_event_nothing_is_computed() {
        assert_eq!(EventMasks::default().of(EventSlot::OTHER, || 1), 0);
        assert!(EventMasks::default().is_empty() && !EventMasks::new().is_empty());
    }
}
