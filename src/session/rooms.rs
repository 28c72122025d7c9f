//! The rooms of one session: its socket ids, what rules and other programs put it into, and what it has asked for.

use std::collections::VecDeque;

use crate::session::{
    action::{Action, Actions, Offered, RoomOf},
    late::AckOf,
    orphans::Orphans,
    queue::{allocated, allocated_text},
    room_reason::Reason,
    snapshot::{AskedData, RoomData},
};

/// The rooms of one session in all of its namespaces.
#[derive(Debug, Default)]
pub(super) struct SessionRooms {
    /// Few, so that a list is as good as a map. A room may be there for several reasons.
    held: Vec<Held>,
    asked: VecDeque<Asked>,
    /// What looks like an answer to it and may be none.
    pub(super) orphans: Orphans,
    /// What is offered once the last attachment has come of the packet of the service that has begun.
    pub(super) begun: Vec<Offered>,
    /// Somebody was told that there are too many.
    told_full: bool,
}

/// A room that the client is in.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    /// The number of the namespace.
    namespace: u8,
    reason: Reason,
    room: Box<str>,
}

/// A room that the client has asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    /// The ack that says whether it gets in.
    ack: AckOf,
    /// The number of the rule.
    rule: u8,
    room: Box<str>,
}

/// A namespace, by number and name.
pub(super) type Named<'a> = (u8, &'a str);

impl SessionRooms {
    /// The client is in a room, of which a session may have `max` beside those of its sockets. False: there are too many.
    pub(super) fn enter(
        &mut self,
        (namespace, name): Named<'_>,
        room: &str,
        reason: Reason,
        max: usize,
        actions: &mut Actions,
    ) -> bool {
        let is_it = |held: &&Held| held.namespace == namespace && *held.room == *room;
        if self.held.iter().filter(is_it).any(|held| held.reason == reason) {
            return true;
        }
        let counted = self.held.iter().filter(|held| held.reason != Reason::Own).count();
        if reason != Reason::Own && counted >= max {
            return false;
        }
        if !self.held.iter().any(|held| is_it(&held)) {
            actions.push(Action::JoinRoom(RoomOf { namespace: name.into(), room: room.into() }));
        }
        if self.held.is_empty() {
            // Nearly every session has the room of its socket alone.
            self.held.reserve_exact(1);
        }
        self.held.push(Held { namespace, reason, room: room.into() });
        true
    }

    /// Takes the client out of rooms of a namespace, as far as it is there for reasons that `leaves` names.
    pub(super) fn leave(
        &mut self,
        (namespace, name): Named<'_>,
        leaves: impl Fn(Reason, &str) -> bool,
        actions: &mut Actions,
    ) {
        let leaves = |held: &mut Held| held.namespace == namespace && leaves(held.reason, &held.room);
        let left: Vec<Held> = self.held.extract_if(.., leaves).collect();
        for (at, Held { room, .. }) in left.iter().enumerate() {
            let stays = self.held.iter().any(|held| held.namespace == namespace && held.room == *room);
            let is_told = left[..at].iter().any(|earlier| earlier.room == *room);
            if !stays && !is_told {
                actions.push(Action::LeaveRoom(RoomOf { namespace: name.into(), room: room.clone() }));
            }
        }
    }

    /// The client leaves a namespace, and each room of it.
    pub(super) fn leave_namespace(&mut self, namespace: Named<'_>, actions: &mut Actions) {
        self.leave(namespace, |_, _| true, actions);
        self.asked.retain(|asked| asked.ack.0 != namespace.0);
    }

    /// The client has asked for a room, as it may for `max` at once. False: the earliest one is forgotten for it.
    pub(super) fn ask(&mut self, ack: AckOf, rule: usize, room: Box<str>, max: usize) -> bool {
        let has_room = self.asked.len() < max;
        if !has_room {
            self.asked.pop_front();
        }
        self.asked.push_back(Asked { ack, rule: numbered(rule), room });
        has_room
    }

    /// An event asks for this ack, or is refused: what was asked for by an earlier one of the same id is forgotten.
    pub(super) fn asks_anew(&mut self, ack: AckOf) {
        self.asked.retain(|asked| asked.ack != ack);
    }

    /// Whether this ack says whether the client gets into a room.
    pub(super) fn await_ack(&self, ack: AckOf) -> bool {
        self.asked.iter().any(|asked| asked.ack == ack)
    }

    /// What was asked for by the event of this ack: each room with the number of its rule.
    pub(super) fn answered(&mut self, ack: AckOf) -> Vec<(usize, Box<str>)> {
        let mut answered = Vec::new();
        self.asked.retain_mut(|asked| {
            let is_it = asked.ack == ack;
            if is_it {
                answered.push((asked.rule.into(), std::mem::take(&mut asked.room)));
            }
            !is_it
        });
        answered
    }

    /// The client leaves a room that it has asked for by this rule, or all of them: it has been let in, or may be yet.
    pub(super) fn leave_asked(&mut self, namespace: Named<'_>, rule: usize, room: Option<&str>, actions: &mut Actions) {
        let rule = numbered(rule);
        let is_it = |other: &str| room.is_none_or(|room| *room == *other);
        self.asked.retain(|asked| asked.ack.0 != namespace.0 || asked.rule != rule || !is_it(&asked.room));
        self.leave(namespace, |reason, other| reason == Reason::Asked(rule) && is_it(other), actions);
    }

    /// The rules have other numbers now, or are gone: those rooms are left for which there is none.
    pub(super) fn renumber(
        &mut self,
        namespace: Named<'_>,
        number: impl Fn(usize) -> Option<usize>,
        actions: &mut Actions,
    ) {
        let later = |rule: u8| number(rule.into()).map(numbered);
        let is_gone = |reason, _: &str| matches!(reason, Reason::Asked(rule) if later(rule).is_none());
        self.leave(namespace, is_gone, actions);
        for held in self.held.iter_mut().filter(|held| held.namespace == namespace.0) {
            if let Reason::Asked(rule) = &mut held.reason {
                *rule = later(*rule).unwrap_or(*rule);
            }
        }
        // Whoever is still to answer was asked under other rules.
        self.asked.retain(|asked| asked.ack.0 != namespace.0);
    }

    /// There are too many. True: nobody was told of that before.
    pub(super) const fn mark_full(&mut self) -> bool {
        !std::mem::replace(&mut self.told_full, true)
    }

    /// The numbers of the namespaces in which there are any.
    pub(super) fn namespaces(&self) -> Vec<u8> {
        let mut numbers: Vec<_> = self.held.iter().map(|held| held.namespace).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// What it takes, in bytes of memory.
    pub(super) fn memory(&self) -> usize {
        let rooms = self.held.iter().map(|held| &held.room).chain(self.asked.iter().map(|asked| &asked.room));
        let begun = self.begun.iter().map(|offered| allocated(offered.json.capacity())).sum::<usize>();
        let lists = self.held.capacity() * size_of::<Held>() + self.asked.capacity() * size_of::<Asked>();
        rooms.map(|room| allocated_text(room)).sum::<usize>() + allocated(lists) + begun + self.orphans.memory()
    }

    /// As plain data.
    pub(super) fn save(&self) -> (Vec<RoomData>, Vec<AskedData>) {
        let held = self.held.iter().map(|Held { namespace, reason, room }| RoomData {
            namespace: *namespace,
            reason: *reason,
            room: room.clone(),
        });
        let asked = self.asked.iter().map(|Asked { ack: (namespace, id), rule, room }| AskedData {
            namespace: *namespace,
            id: *id,
            rule: *rule,
            room: room.clone(),
        });
        (held.collect(), asked.collect())
    }

    /// The rooms that the client had asked for, as [saved](Self::save).
    pub(super) fn load_asked(&mut self, asked: Vec<AskedData>, max: usize) {
        let asked = asked.into_iter().take(max);
        self.asked =
            asked.map(|AskedData { namespace, id, rule, room }| Asked { ack: (namespace, id), rule, room }).collect();
    }
}

/// There are [fewer rules](crate::mirror::rules) than one byte can count.
fn numbered(rule: usize) -> u8 {
    u8::try_from(rule).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: Named<'static> = (1, "/chat");

    fn told(actions: &mut Actions) -> Vec<String> {
        let next = std::iter::from_fn(|| actions.next(crate::session::action::Ready::BOTH));
        let tell = |action| match action {
            Action::JoinRoom(RoomOf { namespace, room }) => format!("+{namespace} {room}"),
            Action::LeaveRoom(RoomOf { namespace, room }) => format!("-{namespace} {room}"),
            other => panic!("{other:?}"),
        };
        next.map(tell).collect()
    }

    #[test]
    fn a_room_is_joined_once_and_left_with_its_last_reason() {
        let (mut rooms, mut actions) = (SessionRooms::default(), Actions::default());
        for reason in [Reason::Rule, Reason::Outside, Reason::Rule] {
            assert!(rooms.enter(CHAT, "r", reason, 2, &mut actions));
        }
        assert_eq!(told(&mut actions), ["+/chat r"]);
        rooms.leave(CHAT, |reason, _| reason == Reason::Rule, &mut actions);
        assert_eq!(told(&mut actions), [""; 0]);
        rooms.enter(CHAT, "r", Reason::Asked(0), 2, &mut actions);
        rooms.leave((0, "/"), |_, _| true, &mut actions);
        assert_eq!(told(&mut actions), [""; 0]);
        rooms.leave_namespace(CHAT, &mut actions);
        assert_eq!(told(&mut actions), ["-/chat r"], "once");
        assert!(rooms.namespaces().is_empty());
    }

    #[test]
    fn the_rooms_of_a_session_are_bounded_beside_those_of_its_sockets() {
        let (mut rooms, mut actions) = (SessionRooms::default(), Actions::default());
        for n in 0..5 {
            let entered = rooms.enter(CHAT, &n.to_string(), Reason::Outside, 3, &mut actions);
            assert_eq!(entered, n < 3);
        }
        assert!(rooms.enter(CHAT, "sid", Reason::Own, 3, &mut actions));
        assert!(rooms.mark_full() && !rooms.mark_full());
        assert!(rooms.memory() > 0);
    }

    #[test]
    fn what_was_asked_for_is_answered_once_and_bounded() {
        let mut rooms = SessionRooms::default();
        for id in 0..40 {
            assert_eq!(rooms.ask((1, id), 3, "r".into(), 32), id < 32);
        }
        assert!(!rooms.await_ack((1, 7)) && !rooms.await_ack((0, 8)) && rooms.await_ack((1, 8)));
        assert_eq!((rooms.answered((1, 8)), rooms.answered((1, 8))), (vec![(3, "r".into())], Vec::new()));
        rooms.asks_anew((1, 9));
        assert_eq!(rooms.answered((1, 9)), []);
    }

    #[test]
    fn a_room_that_was_left_is_not_entered_by_an_ack_that_comes_later() {
        let (mut rooms, mut actions) = (SessionRooms::default(), Actions::default());
        rooms.ask((1, 1), 0, "a".into(), 9);
        rooms.ask((1, 2), 0, "b".into(), 9);
        rooms.leave_asked(CHAT, 0, Some("a"), &mut actions);
        assert_eq!((rooms.await_ack((1, 1)), rooms.await_ack((1, 2))), (false, true));
        rooms.enter(CHAT, "c", Reason::Asked(0), 9, &mut actions);
        rooms.enter(CHAT, "d", Reason::Asked(1), 9, &mut actions);
        rooms.leave_asked(CHAT, 0, None, &mut actions);
        assert!(!rooms.await_ack((1, 2)));
        assert_eq!(told(&mut actions), ["+/chat c", "+/chat d", "-/chat c"]);
    }

    #[test]
    fn rooms_follow_their_rules_where_those_have_other_numbers() {
        let (mut rooms, mut actions) = (SessionRooms::default(), Actions::default());
        for rule in 0..3 {
            rooms.enter(CHAT, &rule.to_string(), Reason::Asked(rule), 9, &mut actions);
        }
        told(&mut actions);
        rooms.renumber(CHAT, |rule| rule.checked_sub(1), &mut actions);
        rooms.leave_asked(CHAT, 0, None, &mut actions);
        assert_eq!(told(&mut actions), ["-/chat 0", "-/chat 1"]);
    }
}
