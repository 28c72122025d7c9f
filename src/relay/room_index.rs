//! Who of one worker's sessions is in which room.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use crate::{relay::room_command::Selection, session::action::RoomOf};

/// The bounds of all rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomBounds {
    /// So many rooms may there be on the node. A room with members on several workers counts once for each.
    pub rooms: usize,
    /// So many sessions of one worker may be in a room.
    pub members: usize,
}

/// Why a session is not in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomFull {
    /// There are too many rooms.
    Rooms,
    /// The room has too many members.
    Members,
}

/// The rooms that one session is in, or was refused: what makes its end cost no more than they do.
#[derive(Debug, Default)]
pub struct OwnRooms(Vec<OwnRoom>);

#[derive(Debug)]
struct OwnRoom {
    namespace: Rc<str>,
    room: Rc<str>,
    /// False: it was refused.
    is_entered: bool,
}

impl OwnRooms {
    fn position(&self, RoomOf { namespace, room }: &RoomOf) -> Option<usize> {
        self.0.iter().position(|own| *own.room == **room && *own.namespace == **namespace)
    }

    fn is_in(&self, namespace: &str) -> bool {
        self.0.iter().any(|own| *own.namespace == *namespace)
    }

    /// Whether this selection has the session in it.
    #[must_use]
    pub fn are_selected(&self, Selection { namespace, rooms, except }: &Selection) -> bool {
        let is_in_any = |rooms: &[Box<str>]| {
            let is_one = |own: &OwnRoom| rooms.iter().any(|room| **room == *own.room);
            self.0.iter().any(|own| own.is_entered && *own.namespace == **namespace && is_one(own))
        };
        self.is_in(namespace) && (rooms.is_empty() || is_in_any(rooms)) && !is_in_any(except)
    }
}

/// Numbers of sessions, ascending. Most rooms have one member, and most that join are the newest.
#[derive(Debug, Default)]
struct Members(Vec<u64>);

impl Members {
    fn insert(&mut self, session: u64) {
        if let Err(at) = self.0.binary_search(&session) {
            self.0.insert(at, session);
        }
    }

    fn remove(&mut self, session: u64) {
        if let Ok(at) = self.0.binary_search(&session) {
            self.0.remove(at);
        }
    }
}

/// The rooms of one namespace.
#[derive(Debug, Default)]
struct Namespace {
    /// Every session that is in a room here, which each is that has joined: its socket id is a room.
    all: Members,
    rooms: HashMap<Rc<str>, Members>,
}

/// The rooms of one worker's sessions.
#[derive(Debug, Default)]
pub struct RoomIndex {
    namespaces: HashMap<Rc<str>, Namespace>,
    count: RoomCount,
}

/// How many rooms there are.
#[derive(Debug, Default)]
struct RoomCount {
    here: usize,
    /// Those of all workers.
    on_node: Arc<AtomicUsize>,
}

impl RoomCount {
    /// One more, if there are fewer than `max` on the node.
    fn add(&mut self, max: usize) -> bool {
        let has_place = self.on_node.load(Relaxed) < max;
        if has_place {
            self.on_node.fetch_add(1, Relaxed);
            self.here += 1;
        }
        has_place
    }

    fn remove(&mut self) {
        self.on_node.fetch_sub(1, Relaxed);
        self.here -= 1;
    }
}

impl Drop for RoomCount {
    fn drop(&mut self) {
        self.on_node.fetch_sub(self.here, Relaxed);
    }
}

impl RoomIndex {
    /// An index without rooms, which are counted in `on_node` with those of other workers.
    #[must_use]
    pub fn new(on_node: Arc<AtomicUsize>) -> Self {
        Self { namespaces: HashMap::new(), count: RoomCount { here: 0, on_node } }
    }

    /// How many rooms there are here.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count.here
    }

    /// Is there no room?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A session enters a room, and with it the namespace.
    ///
    /// # Errors
    /// A bound is reached. The session is in the namespace, but not in the room.
    pub fn join(
        &mut self,
        session: u64,
        own: &mut OwnRooms,
        room: &RoomOf,
        bounds: RoomBounds,
    ) -> Result<(), RoomFull> {
        let known = own.position(room);
        if known.is_some_and(|at| own.0[at].is_entered) {
            return Ok(());
        }
        let namespace = shared_key(&self.namespaces, &room.namespace);
        let rooms = self.namespaces.entry(Rc::clone(&namespace)).or_default();
        rooms.all.insert(session);
        let name = shared_key(&rooms.rooms, &room.room);
        let joined = match rooms.rooms.get_mut(&name) {
            Some(members) if members.0.len() >= bounds.members => Err(RoomFull::Members),
            Some(members) => {
                members.insert(session);
                Ok(())
            }
            None if self.count.add(bounds.rooms) => {
                rooms.rooms.insert(Rc::clone(&name), Members(vec![session]));
                Ok(())
            }
            None => Err(RoomFull::Rooms),
        };
        match known {
            Some(at) => own.0[at].is_entered = joined.is_ok(),
            None => {
                // Nearly every session has the room of its socket alone.
                if own.0.is_empty() {
                    own.0.reserve_exact(1);
                }
                own.0.push(OwnRoom { namespace, room: name, is_entered: joined.is_ok() });
            }
        }
        joined
    }

    /// A session leaves a room and, if it has no other there, the namespace.
    pub fn leave(&mut self, session: u64, own: &mut OwnRooms, room: &RoomOf) {
        if let Some(at) = own.position(room) {
            let left = own.0.swap_remove(at);
            self.leave_room(session, &left);
            if !own.is_in(&left.namespace) {
                self.leave_namespace(session, &left.namespace);
            }
        }
    }

    /// A session leaves all of its rooms.
    pub fn forget(&mut self, session: u64, own: &mut OwnRooms) {
        let left = std::mem::take(&mut own.0);
        left.iter().for_each(|left| self.leave_room(session, left));
        left.iter().for_each(|left| self.leave_namespace(session, &left.namespace));
    }

    fn leave_room(&mut self, session: u64, left: &OwnRoom) {
        let rooms = self.namespaces.get_mut(&left.namespace).map(|namespace| &mut namespace.rooms);
        let Some(rooms) = rooms.filter(|_| left.is_entered) else { return };
        if let Some(members) = rooms.get_mut(&left.room) {
            members.remove(session);
            if members.0.is_empty() {
                rooms.remove(&left.room);
                self.count.remove();
            }
        }
    }

    fn leave_namespace(&mut self, session: u64, name: &str) {
        let Some(namespace) = self.namespaces.get_mut(name) else { return };
        namespace.all.remove(session);
        if namespace.all.0.is_empty() {
            self.namespaces.remove(name);
        }
    }

    /// The sessions of a selection, each once, ascending.
    #[must_use]
    pub fn select(&self, Selection { namespace, rooms, except }: &Selection) -> Vec<u64> {
        let Some(namespace) = self.namespaces.get(&**namespace) else { return Vec::new() };
        let mut selected = match &rooms[..] {
            [] => namespace.all.0.clone(),
            rooms => namespace.union(rooms),
        };
        if !except.is_empty() {
            let excepted = namespace.union(except);
            selected.retain(|session| excepted.binary_search(session).is_err());
        }
        selected
    }
}

impl Namespace {
    /// The members of these rooms, each once, ascending. A room may be named any number of times.
    fn union(&self, rooms: &[Box<str>]) -> Vec<u64> {
        let distinct: HashSet<&str> = rooms.iter().map(|room| &**room).collect();
        let members = distinct.into_iter().filter_map(|room| self.rooms.get(room));
        let mut union: Vec<u64> = members.flat_map(|members| &members.0).copied().collect();
        union.sort_unstable();
        union.dedup();
        union
    }
}

/// This text, as it is a key already or for it to become one.
fn shared_key<V>(map: &HashMap<Rc<str>, V>, text: &str) -> Rc<str> {
    map.get_key_value(text).map_or_else(|| Rc::from(text), |(key, _)| Rc::clone(key))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    const BOUNDS: RoomBounds = RoomBounds { rooms: 100, members: 100 };

    fn room(namespace: &str, room: &str) -> RoomOf {
        RoomOf { namespace: namespace.into(), room: room.into() }
    }

    fn selection(namespace: &str, rooms: &[&str], except: &[&str]) -> Selection {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.into()).collect();
        Selection { namespace: namespace.into(), rooms: texts(rooms), except: texts(except) }
    }

    #[test]
    fn a_session_is_in_a_namespace_as_long_as_it_is_in_a_room_there() {
        let (mut index, mut own) = (RoomIndex::default(), OwnRooms::default());
        let everybody = |index: &RoomIndex| index.select(&selection("/", &[], &[]));
        index.join(7, &mut own, &room("/", "socket"), BOUNDS).unwrap();
        index.join(7, &mut own, &room("/", "lobby"), BOUNDS).unwrap();
        assert_eq!(everybody(&index), [7]);
        index.leave(7, &mut own, &room("/", "socket"));
        assert_eq!(everybody(&index), [7]);
        index.leave(7, &mut own, &room("/", "lobby"));
        assert_eq!(everybody(&index), [0; 0]);
        assert!(index.is_empty() && index.namespaces.is_empty(), "nothing is left of it");
    }

    #[test]
    fn a_room_that_is_refused_leaves_its_session_in_the_namespace_and_is_tried_again() {
        let (mut index, bounds) = (RoomIndex::default(), RoomBounds { rooms: 2, members: 1 });
        let [mut one, mut other] = [OwnRooms::default(), OwnRooms::default()];
        index.join(1, &mut one, &room("/", "a"), bounds).unwrap();
        index.join(1, &mut one, &room("/", "b"), bounds).unwrap();
        assert_eq!(index.join(2, &mut other, &room("/", "a"), bounds), Err(RoomFull::Members));
        assert_eq!(index.join(2, &mut other, &room("/", "c"), bounds), Err(RoomFull::Rooms));
        assert_eq!(index.select(&selection("/", &[], &[])), [1, 2]);
        assert_eq!(index.select(&selection("/", &["a", "c"], &[])), [1]);
        index.forget(1, &mut one);
        index.join(2, &mut other, &room("/", "c"), bounds).unwrap();
        assert_eq!((index.select(&selection("/", &["c"], &[])), index.len()), (vec![2], 1));
        index.forget(2, &mut other);
        assert!(index.is_empty() && index.namespaces.is_empty());
    }

    #[test]
    fn rooms_of_all_workers_count_together() {
        let on_node = Arc::new(AtomicUsize::new(0));
        let [mut here, mut there] = [(); 2].map(|()| RoomIndex::new(Arc::clone(&on_node)));
        let [mut one, mut other] = [OwnRooms::default(), OwnRooms::default()];
        let bounds = RoomBounds { rooms: 1, members: 1 };
        here.join(1, &mut one, &room("/", "a"), bounds).unwrap();
        assert_eq!(there.join(2, &mut other, &room("/", "a"), bounds), Err(RoomFull::Rooms));
        drop(here);
        there.join(2, &mut other, &room("/", "a"), bounds).unwrap();
        assert_eq!(on_node.load(Relaxed), 1);
    }

    /// A step of one of eight sessions.
    #[derive(Debug, Clone)]
    enum Step {
        Joins(u64, RoomOf),
        Leaves(u64, RoomOf),
        Ends(u64),
    }

    fn a_room() -> impl Strategy<Value = RoomOf> {
        (prop::sample::select(vec!["/", "/chat"]), "[a-d]").prop_map(|(namespace, name)| room(namespace, &name))
    }

    fn step() -> impl Strategy<Value = Step> {
        let session = 0..8_u64;
        prop_oneof![
            6 => (session.clone(), a_room()).prop_map(|(session, room)| Step::Joins(session, room)),
            3 => (session.clone(), a_room()).prop_map(|(session, room)| Step::Leaves(session, room)),
            1 => session.prop_map(Step::Ends),
        ]
    }

    proptest! {
        /// After any steps a selection is what sets say: the union of the rooms, or all, without the union of the others.
        #[test]
        fn a_selection_is_set_algebra(
            steps in prop::collection::vec(step(), 0..60),
            rooms in prop::collection::vec("[a-e]", 0..4),
            except in prop::collection::vec("[a-e]", 0..4),
        ) {
            let (mut index, mut own) = (RoomIndex::default(), BTreeMap::<u64, OwnRooms>::new());
            let mut model = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Joins(session, room) => {
                        index.join(session, own.entry(session).or_default(), &room, BOUNDS).unwrap();
                        model.insert((session, room.namespace, room.room));
                    }
                    Step::Leaves(session, room) => {
                        index.leave(session, own.entry(session).or_default(), &room);
                        model.remove(&(session, room.namespace, room.room));
                    }
                    Step::Ends(session) => {
                        index.forget(session, own.entry(session).or_default());
                        model.retain(|(other, ..)| *other != session);
                    }
                }
            }
            for namespace in ["/", "/chat", "/other"] {
                let texts = |texts: &[String]| texts.iter().map(|text| text.as_str().into()).collect::<Vec<Box<str>>>();
                let of = Selection { namespace: namespace.into(), rooms: texts(&rooms), except: texts(&except) };
                let here = || model.iter().filter(|(_, other, _)| **other == *namespace);
                let in_any = |rooms: &[Box<str>]| -> BTreeSet<u64> {
                    here().filter(|(.., room)| rooms.contains(room)).map(|(session, ..)| *session).collect()
                };
                let all: BTreeSet<u64> = here().map(|(session, ..)| *session).collect();
                let wanted = if of.rooms.is_empty() { all } else { in_any(&of.rooms) };
                let expected: Vec<u64> = wanted.difference(&in_any(&of.except)).copied().collect();
                let by_own = own.iter().filter(|(_, own)| own.are_selected(&of)).map(|(session, _)| *session);
                prop_assert_eq!(by_own.collect::<Vec<_>>(), &*expected);
                prop_assert_eq!(index.select(&of), expected);
            }
            let rooms: BTreeSet<_> = model.iter().map(|(_, namespace, room)| (namespace, room)).collect();
            prop_assert_eq!(index.len(), rooms.len());
            prop_assert_eq!(index.count.on_node.load(Relaxed), rooms.len());
        }
    }
}
