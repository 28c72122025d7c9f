//! The sessions of one worker, by everything that names one.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use crate::wire::engineio::id::{Pid, Sid};

/// Sessions by number, sid and `pid`. `S` is what the worker holds of one.
#[derive(Debug)]
pub struct Directory<S> {
    by_id: BTreeMap<u64, Rc<S>>,
    by_sid: HashMap<Sid, Rc<S>>,
    by_pid: HashMap<Pid, Rc<S>>,
    /// Sids of this worker whose clients went on with another session, perhaps of another worker.
    moved: HashMap<Sid, Pid>,
}

impl<S> Default for Directory<S> {
    fn default() -> Self {
        Self { by_id: BTreeMap::new(), by_sid: HashMap::new(), by_pid: HashMap::new(), moved: HashMap::new() }
    }
}

/// Where the session of a sid is.
#[derive(Debug, PartialEq, Eq)]
pub enum Whereabouts<S> {
    /// Here.
    Here(Rc<S>),
    /// Its client went on with the session of this `pid`.
    Moved(Pid),
    /// Nowhere.
    Unknown,
}

impl<S> Directory<S> {
    /// Enters a session.
    pub fn insert(&mut self, id: u64, sid: Option<Sid>, pid: Option<Pid>, session: &Rc<S>) {
        self.by_id.insert(id, Rc::clone(session));
        if let Some(sid) = sid {
            self.by_sid.insert(sid, Rc::clone(session));
        }
        if let Some(pid) = pid {
            self.by_pid.insert(pid, Rc::clone(session));
        }
    }

    /// The session of this number, with these names, is over. False: its sid leads to it from another worker.
    pub fn remove(&mut self, id: u64, sid: Option<Sid>, pid: Option<Pid>) -> bool {
        self.by_id.remove(&id);
        if let Some(pid) = pid {
            self.by_pid.remove(&pid);
        }
        sid.is_none_or(|sid| self.by_sid.remove(&sid).is_some())
    }

    /// No client uses this sid any more.
    pub fn forget_sid(&mut self, sid: Sid) {
        self.moved.remove(&sid);
        self.by_sid.remove(&sid);
    }

    /// The client with this sid goes on with the session of this `pid`.
    pub fn moved(&mut self, sid: Sid, pid: Pid) {
        self.moved.insert(sid, pid);
    }

    /// The session of this number.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&Rc<S>> {
        self.by_id.get(&id)
    }

    /// The session that the client of this sid has.
    #[must_use]
    pub fn find(&self, sid: Sid) -> Whereabouts<S> {
        match (self.moved.get(&sid), self.by_sid.get(&sid)) {
            (Some(pid), _) => Whereabouts::Moved(*pid),
            (None, Some(session)) => Whereabouts::Here(Rc::clone(session)),
            (None, None) => Whereabouts::Unknown,
        }
    }

    /// The session that this `pid` gives back.
    #[must_use]
    pub fn resumable(&self, pid: Pid) -> Option<Rc<S>> {
        self.by_pid.get(&pid).cloned()
    }

    /// All sessions, ascending by number.
    pub fn iter(&self) -> impl Iterator<Item = &Rc<S>> {
        self.by_id.values()
    }

    /// The sessions above this number, ascending.
    pub fn above(&self, id: u64) -> impl Iterator<Item = &Rc<S>> {
        self.by_id.range(id.saturating_add(1)..).map(|(_, session)| session)
    }

    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Is there no session?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::engineio::id::{Home, Id, NodeId};

    fn id<K>(random: u8) -> Id<K> {
        Id::new(Home { node: NodeId::new([1; 6]), worker: 0 }, [random; 13])
    }

    fn directory() -> Directory<&'static str> {
        let mut directory = Directory::default();
        directory.insert(1, Some(id(1)), Some(id(1)), &Rc::new("one"));
        directory.insert(2, Some(id(2)), None, &Rc::new("two"));
        directory.insert(3, None, None, &Rc::new("three"));
        directory
    }

    #[test]
    fn a_session_is_found_by_each_of_its_names_until_it_is_over() {
        let mut directory = directory();
        assert_eq!(directory.find(id(1)), Whereabouts::Here(Rc::new("one")));
        assert_eq!(directory.resumable(id(1)), Some(Rc::new("one")));
        assert_eq!((directory.find(id(9)), directory.resumable(id(2))), (Whereabouts::Unknown, None));
        assert!(directory.remove(1, Some(id(1)), Some(id(1))));
        assert_eq!((directory.find(id(1)), directory.resumable(id(1))), (Whereabouts::Unknown, None));
        assert_eq!((directory.len(), directory.get(1)), (2, None));
    }

    #[test]
    fn the_sid_of_a_client_that_went_on_elsewhere_leads_there() {
        let mut directory = directory();
        directory.moved(id(2), id(1));
        assert!(directory.remove(2, Some(id(2)), None));
        assert_eq!(directory.find(id(2)), Whereabouts::Moved(id(1)), "also when the session that it had is over");
        directory.forget_sid(id(2));
        assert_eq!(directory.find(id(2)), Whereabouts::Unknown);
        assert!(
            !directory.remove(1, Some(id(9)), Some(id(1))),
            "the sid that its client has now leads here from elsewhere"
        );
    }

    #[test]
    fn they_are_listed_in_the_order_of_opening() {
        let directory = directory();
        assert_eq!(directory.above(1).map(|session| **session).collect::<Vec<_>>(), ["two", "three"]);
        assert_eq!(directory.iter().count(), 3);
        assert_eq!(directory.above(u64::MAX).count(), 0);
    }
}
