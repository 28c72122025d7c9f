//! Service events that are mirrored to other nodes.

use std::sync::Arc;

use crate::{
    session::{
        action::{Action, Offered},
        conversation::Conversation,
        membership::Membership,
        now::Now,
        offset::without_offset,
        queue::WholePacket,
    },
    wire::socketio::{packet::EventName, peek::PacketHead},
};

impl Conversation<'_> {
    /// Whether a rule may publish this packet of the service, so that it must be seen whole.
    #[inline]
    pub(super) fn may_offer(&self, head: &PacketHead<'_>) -> bool {
        let rules = &self.core.rules;
        rules.mirror.name_events()
            && head.kind.is_event()
            && head.ack_id.is_none()
            && head
                .event
                .as_ref()
                .is_some_and(|name| rules.mirror.name_service_event(rules.names.slot(name.as_bytes()), name.as_bytes()))
    }

    /// Offers an event of the service by each rule that names it: at once, or when its attachments have come. `json`: the array
    /// of the event, to its end.
    #[cold]
    pub(super) fn offer(&mut self, head: &PacketHead<'_>, json: &[u8], now: Now) {
        let (rules, namespace) = (Arc::clone(&self.core.rules), head.namespace);
        let Some((number, Membership::Joined)) = self.service.namespaces.find(namespace) else { return };
        if self.service.parting.holds(namespace) {
            return;
        }
        let name = head.event.as_ref().map_or(&b""[..], EventName::as_bytes);
        let numbered = self.service.namespaces.numbers_events(namespace);
        let numbered = numbered.then(|| without_offset(json, now.wall())).flatten();
        let (json, offset) = match &numbered {
            Some((json, offset)) => (&json[..], Some(*offset)),
            None => (json, None),
        };
        for (at, rule) in rules.mirror.mirrors_of(namespace, name) {
            let room = match &rule.room {
                None => None,
                Some(room) => match room.resolve(&self.source(number, json)) {
                    Some(room) => Some(room),
                    None => {
                        let is_first = rule.is_first_unresolved();
                        self.core.actions.push(Action::NotOffered { rule: at, is_first });
                        continue;
                    }
                },
            };
            let offered = Offered {
                rule: at,
                namespace: namespace.into(),
                room,
                json: json.to_vec(),
                attachments: Vec::new(),
                offset: offset.map(Into::into),
            };
            match head.attachments {
                0 => self.core.actions.push(Action::Offer(Box::new(offered))),
                _ => self.service.rooms.get_or_insert_default().begun.push(offered),
            }
        }
    }

    /// The last attachment of a packet of the service has come.
    #[inline]
    pub(super) fn offer_begun(&mut self, packet: &WholePacket) {
        let Some(rooms) = &mut self.service.rooms else { return };
        for mut offered in std::mem::take(&mut rooms.begun) {
            offered.attachments = packet.attachments().map(<[u8]>::to_vec).collect();
            self.core.actions.push(Action::Offer(Box::new(offered)));
        }
    }
}
