//! Events and commands of other nodes that wait in the mailbox of a session.

use std::{
    collections::{HashSet, VecDeque},
    rc::Rc,
    sync::Arc,
};

use crate::{relay::room_command::Selection, session::delivery::Delivery};

/// What an entry costs a mailbox beside the bytes of its event.
const OVERHEAD_BYTES: usize = 128;

/// So many bytes may a mailbox hold of what is no event: a client that is to be put out is put out, however many events wait
/// for it.
const OTHERS_BYTES_MAX: usize = 64 * 1024;

/// Rooms of one namespace, the same for all sessions of a worker that are to join or leave them.
#[derive(Debug, PartialEq, Eq)]
pub struct RoomsOf {
    /// The namespace.
    pub namespace: Box<str>,
    /// The rooms.
    pub rooms: Vec<Box<str>>,
    /// What they take in a mailbox, in bytes.
    bytes: usize,
}

impl RoomsOf {
    /// These rooms.
    #[must_use]
    pub fn new(namespace: Box<str>, rooms: Vec<Box<str>>) -> Self {
        let bytes = rooms.iter().map(|room| size_of::<Box<str>>() + room.len()).sum();
        Self { namespace, rooms, bytes }
    }
}

/// An empty mailbox keeps room for so many entries, so that one event after the other costs no allocation.
const KEPT_ENTRIES: usize = 8;

/// What other nodes want of one session.
#[derive(Debug, Clone)]
pub enum RoomMail {
    /// Say this event to the client.
    Deliver(Arc<Delivery>),
    /// Put it into these rooms.
    Join(Rc<RoomsOf>),
    /// Take it out of these rooms.
    Leave(Rc<RoomsOf>),
    /// Put it out of this namespace; with `true`, close its connection.
    Disconnect(Rc<str>, bool),
}

impl RoomMail {
    /// The rooms that it has the session enter or leave.
    fn rooms(&self) -> Option<&RoomsOf> {
        match self {
            Self::Join(of) | Self::Leave(of) => Some(of),
            Self::Deliver(_) | Self::Disconnect(..) => None,
        }
    }

    /// What it adds to a mailbox, in bytes. An event or a list of rooms counts for each session, although all share it.
    fn bytes(&self) -> usize {
        match self {
            Self::Deliver(delivery) => OVERHEAD_BYTES + delivery.bytes(),
            Self::Join(of) | Self::Leave(of) => OVERHEAD_BYTES + of.bytes,
            Self::Disconnect(..) => OVERHEAD_BYTES,
        }
    }
}

/// What other nodes want of one session, and whether it is meant.
#[derive(Debug, Clone)]
pub struct MailEntry {
    /// What they want.
    pub mail: RoomMail,
    /// Those who are meant, where that depends on rooms that the session still has to enter or to leave. `None`: it is meant.
    pub of: Option<Rc<Selection>>,
}

impl MailEntry {
    fn bytes(&self) -> usize {
        self.mail.bytes() + self.of.as_ref().map_or(0, |of| of.bytes())
    }
}

/// Rooms that a command names, in one namespace.
#[derive(Debug)]
pub struct RoomNames<'a> {
    namespace: &'a str,
    rooms: HashSet<&'a str>,
}

impl<'a> RoomNames<'a> {
    /// All rooms of a selection.
    #[must_use]
    pub fn of(selection: &'a Selection) -> Self {
        let rooms = selection.rooms.iter().chain(&selection.except).map(|room| &**room).collect();
        Self { namespace: &selection.namespace, rooms }
    }
}

/// What waits for one session, in order.
#[derive(Debug, Default)]
pub struct RoomMailbox {
    mail: VecDeque<MailEntry>,
    /// Of it, joins and leaves.
    changes: usize,
    events_bytes: usize,
    others_bytes: usize,
}

impl RoomMailbox {
    /// Adds something. It takes one event of any size, and more as long as all have at most `max` bytes together. False: there
    /// is no room for this.
    pub fn post(&mut self, entry: MailEntry, max: usize) -> bool {
        let max = if let RoomMail::Deliver(_) = entry.mail { max } else { OTHERS_BYTES_MAX };
        let (of_kind, added) = (self.of_kind(&entry.mail), entry.bytes());
        if *of_kind > 0 && of_kind.saturating_add(added) > max {
            return false;
        }
        *of_kind += added;
        self.changes += usize::from(entry.mail.rooms().is_some());
        self.mail.push_back(entry);
        true
    }

    /// Whether rooms are still to be entered or left.
    #[must_use]
    pub const fn has_changes(&self) -> bool {
        self.changes > 0
    }

    /// Whether some of these are among them.
    #[must_use]
    pub fn changes(&self, names: &RoomNames<'_>) -> bool {
        let concerns = |of: &RoomsOf| {
            *of.namespace == *names.namespace && of.rooms.iter().any(|room| names.rooms.contains(&**room))
        };
        self.has_changes() && self.mail.iter().filter_map(|entry| entry.mail.rooms()).any(concerns)
    }

    /// The bytes of what is an event as this is, or is none.
    const fn of_kind(&mut self, mail: &RoomMail) -> &mut usize {
        if let RoomMail::Deliver(_) = mail { &mut self.events_bytes } else { &mut self.others_bytes }
    }

    /// Is there nothing?
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.mail.is_empty()
    }

    /// Takes what came first.
    pub fn take(&mut self) -> Option<MailEntry> {
        let entry = self.mail.pop_front()?;
        *self.of_kind(&entry.mail) -= entry.bytes();
        self.changes -= usize::from(entry.mail.rooms().is_some());
        if self.mail.is_empty() && self.mail.capacity() > KEPT_ENTRIES {
            self.mail = VecDeque::new();
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn meant(mail: RoomMail) -> MailEntry {
        MailEntry { mail, of: None }
    }

    fn event(bytes: usize) -> MailEntry {
        meant(RoomMail::Deliver(Arc::new(Delivery::new("/", vec![b'x'; bytes].into(), Vec::new(), false))))
    }

    #[test]
    fn one_event_of_any_size_waits_and_others_as_far_as_there_is_room() {
        let mut mailbox = RoomMailbox::default();
        assert!(mailbox.post(event(10_000), 1000));
        assert!(!mailbox.post(event(1), 1000));
        assert!(mailbox.take().is_some() && mailbox.take().is_none());
        assert!(mailbox.post(event(500), 1000));
        assert!(!mailbox.post(event(500), 1000), "the entries cost something too");
        assert!(mailbox.post(event(200), 1000));
    }

    #[test]
    fn a_burst_leaves_no_memory_behind() {
        let mut mailbox = RoomMailbox::default();
        (0..1000).for_each(|_| assert!(mailbox.post(event(1), 1_000_000)));
        while mailbox.take().is_some() {}
        assert!(mailbox.mail.capacity() <= KEPT_ENTRIES);
        assert_eq!((mailbox.events_bytes, mailbox.others_bytes), (0, 0));
    }

    #[test]
    fn a_mailbox_full_of_events_takes_the_disconnection_and_no_endless_number_of_them() {
        let mut mailbox = RoomMailbox::default();
        assert!(mailbox.post(event(1_000_000), 1000));
        let taken =
            (0..100_000).take_while(|_| mailbox.post(meant(RoomMail::Disconnect("/".into(), true)), 1000)).count();
        assert_eq!(taken, OTHERS_BYTES_MAX / OVERHEAD_BYTES);
        let mut rooms = RoomMailbox::default();
        let join = || meant(RoomMail::Join(Rc::new(RoomsOf::new("/".into(), vec!["x".repeat(20_000).into()]))));
        assert_eq!((0..100).take_while(|_| rooms.post(join(), 1000)).count(), 3);
    }

    #[test]
    fn a_change_of_rooms_concerns_those_who_name_them_until_it_is_taken() {
        let (mut mailbox, names) =
            (RoomMailbox::default(), |names: &[&str]| names.iter().map(|&name| name.into()).collect());
        let of = |namespace: &str, rooms: &[&str], except: &[&str]| Selection {
            namespace: namespace.into(),
            rooms: names(rooms),
            except: names(except),
        };
        let rooms = RoomsOf::new("/".into(), names(&["a", "b"]));
        assert!(mailbox.post(event(1), 1000) && !mailbox.has_changes());
        assert!(mailbox.post(meant(RoomMail::Leave(Rc::new(rooms))), 1000));
        for (selection, expected) in [
            (of("/", &["b", "c"], &[]), true),
            (of("/", &["c"], &["a"]), true),
            (of("/", &["c"], &["d"]), false),
            (of("/", &[], &[]), false),
            (of("/chat", &["a"], &[]), false),
        ] {
            assert_eq!(mailbox.changes(&RoomNames::of(&selection)), expected, "{selection:?}");
        }
        assert!(mailbox.take().is_some() && mailbox.has_changes());
        assert!(mailbox.take().is_some() && !mailbox.has_changes());
    }

    #[test]
    fn whom_an_event_is_for_counts_with_it() {
        let mut mailbox = RoomMailbox::default();
        let of = Selection { rooms: vec!["x".repeat(900).into()], ..Selection::default() };
        let of = Some(Rc::new(of));
        assert!(mailbox.post(event(1), 1000));
        assert!(!mailbox.post(MailEntry { of, ..event(1) }, 1000));
        assert!(mailbox.post(event(1), 1000));
        while mailbox.take().is_some() {}
        assert_eq!((mailbox.events_bytes, mailbox.others_bytes), (0, 0));
    }
}
