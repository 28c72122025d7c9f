//! Decides when a client enters and leaves a room: by the service's answer to CONNECT, by an event and its ack, or by another
//! program.

use std::sync::Arc;

use crate::{
    mirror::{confirm::Confirm, rules::MirrorRules, template::Source},
    session::{
        Session,
        action::Action,
        conversation::Conversation,
        late::AckOf,
        membership::Membership,
        now::Now,
        room_reason::Reason,
        rooms::SessionRooms,
        rules::SessionRules,
        speech::{ClientSpeech, ServiceSpeech},
    },
    wire::socketio::{packet::EventName, peek::PacketHead},
};

impl Session {
    /// Goes on by other rules, which its route and its rooms follow.
    pub(super) fn adopt(&mut self, rules: Arc<SessionRules>, now: Now) {
        let earlier = Arc::clone(&self.core.rules);
        self.core.adopt(rules, now);
        match (&mut self.client, &mut self.service) {
            (ClientSpeech::Json(client), _) => client.adopt(&self.core.rules),
            (_, ServiceSpeech::Plain(service)) => service.adopt(&self.core.rules),
            _ => {}
        }
        if let Some(mut talk) = self.conversation() {
            talk.follow_rules(&earlier.mirror);
        }
    }

    /// Another program puts the client into rooms of a namespace.
    pub(super) fn join_rooms(&mut self, namespace: &str, rooms: &[Box<str>]) {
        if let Some(mut talk) = self.conversation() {
            talk.join_rooms(namespace, rooms);
        }
    }

    /// Another program takes the client out of rooms of a namespace.
    pub(super) fn leave_rooms(&mut self, namespace: &str, rooms: &[Box<str>]) {
        if let Some(mut talk) = self.conversation() {
            talk.leave_rooms(namespace, rooms);
        }
    }

    /// A session that is over is in no room.
    #[cold]
    pub(super) fn leave_rooms_at_end(&mut self) {
        if self.core.ended().is_some()
            && let Some(mut talk) = self.conversation()
        {
            talk.leave_all_rooms();
        }
    }
}

impl Conversation<'_> {
    /// The rules were others before.
    fn follow_rules(&mut self, earlier: &MirrorRules) {
        let (rules, namespaces) = (Arc::clone(&self.core.rules), self.joined());
        let Some(rooms) = &mut self.service.rooms else { return };
        if rules.mirror.rooms != earlier.rooms {
            let number = |at: usize| rules.mirror.rooms.iter().position(|rule| Some(rule) == earlier.rooms.get(at));
            for (at, name) in &namespaces {
                rooms.renumber((*at, name), number, &mut self.core.actions);
            }
        }
        self.enter_all_rooms();
    }

    /// The service has let the client into a namespace, or its token is another one than before: it is in the room of its
    /// socket, and in those that rules name for all clients. What it has asked for before it keeps.
    pub(super) fn enter_rooms(&mut self, namespace: &str) {
        let rules = Arc::clone(&self.core.rules);
        if !rules.mirror.has_others() {
            return;
        }
        let Some((number, Membership::Joined)) = self.service.namespaces.find(namespace) else { return };
        let source = self.source(number, &[]);
        let named: Vec<_> =
            rules.mirror.rooms_of_all(namespace).filter_map(|(_, rule)| rule.name.resolve(&source)).collect();
        let own = self.service.namespaces.socket_id(namespace).to_owned();
        let rooms = self.service.rooms.get_or_insert_default();
        let is_over = |reason, room: &str| match reason {
            Reason::Own => *room != own,
            Reason::Rule => !named.iter().any(|name| **name == *room),
            Reason::Asked(_) | Reason::Outside => false,
        };
        rooms.leave((number, namespace), is_over, &mut self.core.actions);
        if !own.is_empty() {
            self.enter_room(number, namespace, &own, Reason::Own);
        }
        for room in named {
            self.enter_room(number, namespace, &room, Reason::Rule);
        }
    }

    /// The same in all of its namespaces.
    pub(super) fn enter_all_rooms(&mut self) {
        if self.service.rooms.is_some() {
            self.joined().iter().for_each(|(_, name)| self.enter_rooms(name));
        }
    }

    /// Whether an event of the client may concern rooms, so that it must be seen whole.
    #[inline]
    pub(super) fn concerns_rooms(&self, head: &PacketHead<'_>) -> bool {
        let rules = &self.core.rules;
        rules.mirror.name_events()
            && head.kind.is_event()
            && head
                .event
                .as_ref()
                .is_some_and(|name| rules.mirror.name_client_event(rules.names.slot(name.as_bytes()), name.as_bytes()))
    }

    /// The client says an event by which it leaves rooms, or asks for them. `json`: the array of the event.
    #[cold]
    pub(super) fn asks_for_rooms(&mut self, number: u8, head: &PacketHead<'_>, json: &[u8]) {
        let (rules, namespace) = (Arc::clone(&self.core.rules), head.namespace);
        let name = head.event.as_ref().map_or(&b""[..], EventName::as_bytes);
        for (at, rule, by_event) in rules.mirror.rooms_by_event(namespace) {
            let (joins, leaves) =
                (by_event.join.matches(name), by_event.leave.as_ref().is_some_and(|leave| leave.matches(name)));
            if !joins && !leaves {
                continue;
            }
            let room = rule.name.resolve(&self.source(number, json));
            if leaves && let Some(rooms) = &mut self.service.rooms {
                rooms.leave_asked((number, namespace), at, room.as_deref(), &mut self.core.actions);
            }
            let Some(room) = room.filter(|_| joins) else { continue };
            match (&by_event.confirm, head.ack_id) {
                (Confirm::Unasked, _) => self.enter_asked(number, namespace, &room, at),
                // The ack of another event is not to let the client in.
                (_, Some(id)) if self.is_certain(number, namespace, id) => self.ask_for_room((number, id), at, room),
                // Nobody says whether it may.
                (_, Some(_) | None) => {}
            }
        }
    }

    /// Whether an ack of this id answers the event that was said last.
    fn is_certain(&self, number: u8, namespace: &str, id: u64) -> bool {
        let may_be_late = self.service.rooms.as_ref().is_some_and(|rooms| rooms.orphans.have(namespace, id));
        !may_be_late && self.service.acks.is_only((number, id))
    }

    /// Whether this ack is to a socket that the client has left, as far as that is known: it answers nothing.
    #[inline]
    pub(super) fn take_late_ack(&mut self, (number, id): AckOf, namespace: &str) -> bool {
        let Some(rooms) = self.service.rooms.as_mut().filter(|rooms| !rooms.orphans.is_empty()) else { return false };
        // One of the same id that is awaited comes before it or behind it, and nothing tells which.
        !self.service.acks.waiting_in(number).any(|waiting| waiting == id) && rooms.orphans.take(namespace, id)
    }

    fn ask_for_room(&mut self, ack: AckOf, rule: usize, room: Box<str>) {
        let max = self.core.rules.rooms_per_session;
        if !self.service.rooms.get_or_insert_default().ask(ack, rule, room, max) {
            self.rooms_are_full();
        }
    }

    /// An event of the client asks for this ack, and has nothing to do with what an earlier one of the same id has asked for.
    #[inline]
    pub(super) fn asks_for_ack(&mut self, ack: AckOf) {
        if let Some(rooms) = &mut self.service.rooms {
            rooms.asks_anew(ack);
        }
    }

    /// The service answers an event. `json`: the array of the ack.
    #[inline]
    pub(super) fn answers_for_rooms(&mut self, ack: AckOf, json: &[u8]) {
        if self.service.rooms.as_ref().is_some_and(|rooms| rooms.await_ack(ack)) {
            self.let_into_rooms(ack, json);
        }
    }

    #[cold]
    fn let_into_rooms(&mut self, ack: AckOf, json: &[u8]) {
        let rules = Arc::clone(&self.core.rules);
        let Some(name) = self.service.namespaces.name(ack.0).map(str::to_owned) else { return };
        let asked = self.service.rooms.as_mut().map_or_else(Vec::new, |rooms| rooms.answered(ack));
        for (at, room) in asked {
            let by_event = rules.mirror.rooms.get(at).and_then(|rule| rule.by_event.as_ref());
            if by_event.is_some_and(|by_event| by_event.confirm.by(json)) {
                self.enter_asked(ack.0, &name, &room, at);
            }
        }
    }

    /// Another program puts the client into rooms of a namespace, if it is in that.
    fn join_rooms(&mut self, namespace: &str, rooms: &[Box<str>]) {
        let Some((number, Membership::Joined)) = self.service.namespaces.find(namespace) else { return };
        // Where one finds no place the others are not tried: another program decides how many they are.
        let _ = rooms.iter().all(|room| self.enter_room(number, namespace, room, Reason::Outside));
    }

    /// Another program takes the client out of rooms, whatever has brought it there. It stays in that of its own socket.
    fn leave_rooms(&mut self, namespace: &str, rooms: &[Box<str>]) {
        let number = self.service.namespaces.find(namespace).map(|(number, _)| number);
        if let (Some(number), Some(held)) = (number, &mut self.service.rooms) {
            let leaves = |reason, room: &str| reason != Reason::Own && rooms.iter().any(|left| **left == *room);
            held.leave((number, namespace), leaves, &mut self.core.actions);
        }
    }

    /// The session is over, and in no room any more.
    fn leave_all_rooms(&mut self) {
        let Some(mut rooms) = self.service.rooms.take() else { return };
        for number in rooms.namespaces() {
            let name = self.service.namespaces.name(number).unwrap_or_default();
            rooms.leave_namespace((number, name), &mut self.core.actions);
        }
    }

    /// What fills in the names of rooms for the client in a namespace.
    pub(super) fn source<'a>(&'a self, number: u8, event: &'a [u8]) -> Source<'a> {
        let namespaces = &self.service.namespaces;
        Source { token: namespaces.token(number).map(|token| &**token), auth: namespaces.auth_of(number), event }
    }

    fn enter_asked(&mut self, number: u8, namespace: &str, room: &str, rule: usize) {
        self.enter_room(number, namespace, room, Reason::Asked(u8::try_from(rule).unwrap_or(u8::MAX)));
    }

    /// False: there is no place for it.
    fn enter_room(&mut self, number: u8, namespace: &str, room: &str, reason: Reason) -> bool {
        if self.core.ended().is_some() {
            return false;
        }
        let (rooms, max) = (self.service.rooms.get_or_insert_default(), self.core.rules.rooms_per_session);
        let has_entered = rooms.enter((number, namespace), room, reason, max, &mut self.core.actions);
        if !has_entered {
            self.rooms_are_full();
        }
        has_entered
    }

    #[cold]
    fn rooms_are_full(&mut self) {
        let is_first = self.service.rooms.as_deref_mut().is_some_and(SessionRooms::mark_full);
        self.core.actions.push(Action::RoomsFull { is_first });
    }

    /// The namespaces that the client is in, by number and name.
    fn joined(&self) -> Vec<(u8, String)> {
        let namespaces = &self.service.namespaces;
        let numbers = namespaces.numbers(Membership::Joined);
        numbers.filter_map(|number| Some((number, namespaces.name(number)?.to_owned()))).collect()
    }
}
