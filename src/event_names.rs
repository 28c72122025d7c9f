//! Event names as small numbers, capped, so that counters and rules are arrays indexed by the number.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// Cells of the table; a power of two.
const CELLS: usize = 512;

/// Cells looked at before a name counts as unknown. A flood of names that share a hash costs no more than this.
const PROBES_MIN: usize = 32;

/// As delivered, a longer name makes no label.
pub const LABEL_BYTES: usize = 256;

/// The label of [`EventSlot::OTHER`].
const OTHER_NAME: &str = "other";

/// The number of an event name. [`EventSlot::OTHER`] stands for every name beyond the cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventSlot(u16);

impl EventSlot {
    /// Every name beyond the cap, and what has no name.
    pub const OTHER: Self = Self(0);

    /// For indexing arrays of [`EventNames::SLOTS`] entries.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The event names of the process. Threads read and add without a lock, because a name never moves: a map of the
/// standard library would need a lock for every packet.
///
/// An open-addressed table. Nothing is ever removed, so a name is in the first cell of its probe path that was empty
/// when it was added, and a look-up finds it before any empty cell.
#[derive(Debug)]
pub struct EventNames {
    cells: Box<[OnceLock<Box<str>>]>,
    /// How far a look-up goes: [`PROBES_MIN`], or further where a configured name needed it.
    probes: usize,
    cap: usize,
    /// A longer name of a client makes no label, in bytes.
    label_bytes: usize,
    from_clients: AtomicUsize,
    folded: AtomicU64,
}

impl EventNames {
    /// How many values [`EventSlot::index`] has: one for each cell, and [`EventSlot::OTHER`].
    pub const SLOTS: usize = CELLS + 1;

    /// Holds the `configured` names for good, and at most `cap` more as they are seen.
    ///
    /// A configured name that can be no label (empty, over [`LABEL_BYTES`], with control characters, or `other`) has no slot
    /// of its own, nor have those beyond the 512th.
    #[must_use]
    pub fn new<'a>(cap: usize, configured: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names = Self {
            cells: (0..CELLS).map(|_| OnceLock::new()).collect(),
            probes: PROBES_MIN,
            cap,
            label_bytes: LABEL_BYTES,
            from_clients: AtomicUsize::new(0),
            folded: AtomicU64::new(0),
        };
        for name in configured.into_iter().filter(|name| names.makes_a_label(name)).collect::<Vec<_>>() {
            names.place(name);
        }
        names
    }

    /// The same, where a name of at most so many bytes makes a label.
    #[must_use]
    pub fn labelling(self, label_bytes: usize) -> Self {
        Self { label_bytes, ..self }
    }

    /// The slot of `name`, as text or as its UTF-8 bytes. A new name gets a slot if it fits a label and the cap allows
    /// it; otherwise the slot is [`EventSlot::OTHER`].
    pub fn slot(&self, name: impl AsRef<[u8]>) -> EventSlot {
        let name = name.as_ref();
        // Names of clients may be of any length, and a long one is not to be hashed for nothing.
        if name.len() > self.label_bytes.max(LABEL_BYTES) {
            return self.fold();
        }
        self.find(name).unwrap_or_else(|| self.slot_of_new(name))
    }

    /// The slot of `name`. `None` if it has no slot of its own. Adds and counts nothing.
    #[must_use]
    pub fn find(&self, name: impl AsRef<[u8]>) -> Option<EventSlot> {
        let name = name.as_ref();
        for cell in self.path(name) {
            if same(self.held(cell)?.as_bytes(), name) {
                return Some(slot_of(cell));
            }
        }
        None
    }

    /// The name in `slot`, fit to be a metric label. `other` for [`EventSlot::OTHER`].
    #[must_use]
    pub fn name(&self, slot: EventSlot) -> &str {
        slot.index().checked_sub(1).and_then(|cell| self.held(cell)).unwrap_or(OTHER_NAME)
    }

    /// Every slot in use with its name, [`EventSlot::OTHER`] first.
    pub fn iter(&self) -> impl Iterator<Item = (EventSlot, &str)> {
        let cells = self.cells.iter().enumerate();
        let named = cells.filter_map(|(cell, name)| Some((slot_of(cell), name.get()?.as_ref())));
        std::iter::once((EventSlot::OTHER, OTHER_NAME)).chain(named)
    }

    /// How many calls of [`EventNames::slot`] ended in [`EventSlot::OTHER`] because a name was unfit or one too many.
    #[must_use]
    pub fn folded(&self) -> u64 {
        self.folded.load(Relaxed)
    }

    /// The slot of a name that [`find`](Self::find) did not find.
    #[cold]
    fn slot_of_new(&self, name: &[u8]) -> EventSlot {
        if name == OTHER_NAME.as_bytes() {
            return EventSlot::OTHER;
        }
        let text = std::str::from_utf8(name).ok().filter(|name| self.makes_a_label(name));
        text.and_then(|name| self.find_or_add(name)).unwrap_or_else(|| self.fold())
    }

    #[cold]
    fn fold(&self) -> EventSlot {
        self.folded.fetch_add(1, Relaxed);
        EventSlot::OTHER
    }

    fn makes_a_label(&self, name: &str) -> bool {
        let is_short = name.len() <= self.label_bytes;
        !name.is_empty() && is_short && name != OTHER_NAME && !name.chars().any(char::is_control)
    }

    fn find_or_add(&self, name: &str) -> Option<EventSlot> {
        for cell in self.path(name.as_bytes()) {
            let held = match self.held(cell) {
                Some(held) => held,
                None => self.add(cell, name)?,
            };
            if held == name {
                return Some(slot_of(cell));
            }
        }
        None
    }

    /// The name that `cell` holds afterwards: `name`, or one that another thread has put there first. `None` at the
    /// cap.
    fn add(&self, cell: usize, name: &str) -> Option<&str> {
        let below_cap = |count: usize| (count < self.cap).then_some(count + 1);
        self.from_clients.fetch_update(Relaxed, Relaxed, below_cap).ok()?;
        if self.cells[cell].set(name.into()).is_err() {
            self.from_clients.fetch_sub(1, Relaxed);
        }
        self.held(cell)
    }

    /// Adds a configured name, and lengthens every look-up as far as this one needs.
    fn place(&mut self, name: &str) {
        let home = hash(name.as_bytes());
        for probe in 0..CELLS {
            let cell = &self.cells[(home + probe) % CELLS];
            if **cell.get_or_init(|| name.into()) == *name {
                self.probes = self.probes.max(probe + 1);
                return;
            }
        }
    }

    fn held(&self, cell: usize) -> Option<&str> {
        self.cells[cell].get().map(|name| &**name)
    }

    fn path(&self, name: &[u8]) -> impl Iterator<Item = usize> + use<> {
        let home = hash(name);
        (0..self.probes).map(move |probe| (home + probe) % CELLS)
    }
}

fn slot_of(cell: usize) -> EventSlot {
    EventSlot(u16::try_from(cell + 1).unwrap_or_default())
}

/// FxHash over eight bytes at a time. The top nine bits choose a cell.
fn hash(name: &[u8]) -> usize {
    const SEED: u64 = 0x517c_c1b7_2722_0a95;
    let mix = |hash: u64, word: u64| (hash.rotate_left(5) ^ word).wrapping_mul(SEED);
    let (words, _) = name.as_chunks::<8>();
    let hash = words.iter().fold(name.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    (mix(hash, last_word(name)) >> 55) as usize
}

/// Equality of short names, without the call that a comparison of slices compiles to.
fn same(one: &[u8], other: &[u8]) -> bool {
    let (words, _) = one.as_chunks::<8>();
    let (others, _) = other.as_chunks::<8>();
    one.len() == other.len()
        && words.iter().zip(others).all(|(one, other)| one == other)
        && last_word(one) == last_word(other)
}

/// The last eight bytes of `name`, or all of a shorter one. Names of one length with the same last word and the same
/// whole words before it are equal.
fn last_word(name: &[u8]) -> u64 {
    let half = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
    match (name.last_chunk::<8>(), name.first_chunk::<4>(), name.last_chunk::<4>()) {
        (Some(word), ..) => u64::from_le_bytes(*word),
        (None, Some(first), Some(last)) => half(first) | half(last) << 32,
        _ => name.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

const _: () = assert!(CELLS == 1 << (64 - 55), "nine bits of the hash choose a cell");

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, thread};

    use super::*;

    #[test]
    fn a_name_keeps_its_slot_and_the_slot_its_name() {
        let names = EventNames::new(200, ["lesson:join"]);
        let join = names.find("lesson:join").expect("a configured name is there from the start");
        assert_eq!(names.slot("lesson:join"), join);
        assert_eq!(names.find("chat"), None);
        let chat = names.slot("chat");
        assert_ne!(chat, join);
        assert_eq!((names.slot("chat"), names.find("chat")), (chat, Some(chat)));
        assert_eq!((names.name(join), names.name(chat)), ("lesson:join", "chat"));
        assert_eq!(names.folded(), 0);
    }

    #[test]
    fn every_name_in_use_is_listed_once() {
        let names = EventNames::new(1, ["lesson:join"]);
        let (chat, _) = (names.slot("chat"), names.slot("one too many"));
        let listed: HashSet<_> = names.iter().collect();
        let join = names.slot("lesson:join");
        assert_eq!(listed, HashSet::from([(EventSlot::OTHER, "other"), (join, "lesson:join"), (chat, "chat")]));
        assert_eq!(names.iter().count(), 3);
    }

    #[test]
    fn names_beyond_the_cap_are_other_and_configured_ones_do_not_count() {
        let names = EventNames::new(2, ["a", "b", "c"]);
        let known: HashSet<_> = ["a", "b", "c", "x", "y"].map(|name| names.slot(name)).into();
        assert_eq!(known.len(), 5);
        assert!(!known.contains(&EventSlot::OTHER));
        assert_eq!(names.slot("z"), EventSlot::OTHER);
        assert_eq!(names.slot("z"), EventSlot::OTHER);
        assert_eq!(names.folded(), 2);
        assert_ne!(names.slot("x"), EventSlot::OTHER, "those within the cap stay");
    }

    #[test]
    fn what_is_unfit_for_a_label_is_other() {
        let names = EventNames::new(10, ["other", "", "two\nlines"]);
        let long = "n".repeat(257);
        for unfit in ["", "two\nlines", "\u{7f}", "\u{85}", &long] {
            assert_eq!(names.slot(unfit), EventSlot::OTHER, "{unfit:?}");
            assert_eq!(names.find(unfit), None, "{unfit:?}");
        }
        assert_eq!(names.folded(), 5);
        assert_ne!(names.slot("n".repeat(256)), EventSlot::OTHER);
        assert_ne!(names.slot("naïve \"quoted\""), EventSlot::OTHER);
    }

    #[test]
    fn how_long_a_label_may_be_is_said() {
        let names = EventNames::new(10, ["configured:name"]).labelling(10);
        assert_ne!(names.slot("n".repeat(10)), EventSlot::OTHER);
        assert_eq!(names.slot("n".repeat(11)), EventSlot::OTHER);
        assert_ne!(names.slot("configured:name"), EventSlot::OTHER, "what the configuration names has its label");
        let names = EventNames::new(10, []).labelling(1000);
        assert_ne!(names.slot("n".repeat(1000)), EventSlot::OTHER);
        assert_eq!((names.slot("n".repeat(1001)), names.folded()), (EventSlot::OTHER, 1));
    }

    #[test]
    fn a_client_who_says_other_makes_no_second_series_of_that_name() {
        let names = EventNames::new(10, []);
        assert_eq!(names.slot("other"), EventSlot::OTHER);
        assert_eq!(names.name(EventSlot::OTHER), "other");
        assert_eq!(names.folded(), 0);
    }

    #[test]
    fn every_configured_name_is_found_even_in_a_full_table() {
        let configured: Vec<String> = (0..CELLS).map(|n| format!("event:{n}")).collect();
        let names = EventNames::new(200, configured.iter().map(String::as_str));
        let slots: HashSet<_> = configured.iter().filter_map(|name| names.find(name)).collect();
        assert_eq!(slots.len(), CELLS);
        assert!(slots.iter().all(|slot| slot.index() < EventNames::SLOTS));
        assert_eq!(names.slot("one more"), EventSlot::OTHER);
    }

    #[test]
    fn the_default_cap_is_reached_before_probes_run_out() {
        let names = EventNames::new(200, []);
        let slots: HashSet<_> = (0..200).map(|n| names.slot(format!("tutor:event:{n}"))).collect();
        assert_eq!((slots.len(), names.folded()), (200, 0));
    }

    #[test]
    fn threads_agree_on_every_slot_and_hold_the_cap() {
        let names = EventNames::new(100, []);
        let seen: Vec<Vec<EventSlot>> = thread::scope(|scope| {
            let ask = || (0..150).map(|n| names.slot(format!("e{n}"))).collect();
            let asked: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            asked.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for n in 0..150 {
            let name = format!("e{n}");
            let slots: HashSet<_> =
                seen.iter().map(|slots| slots[n]).filter(|slot| *slot != EventSlot::OTHER).collect();
            assert!(slots.len() <= 1, "{name} has {slots:?}");
            assert!(slots.iter().all(|slot| names.name(*slot) == name));
        }
        assert!(names.from_clients.load(Relaxed) <= 100);
    }
}
