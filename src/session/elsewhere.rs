//! Handles requests of other nodes and programs: events for the client, and its disconnection.

use std::sync::Arc;

use crate::{
    event_names::EventSlot,
    session::{
        action::Spoken,
        conversation::Conversation,
        delivery::Delivery,
        ended::Ended,
        membership::Membership,
        message::{Note, Reached, Side},
        now::Now,
        queue::WholePacket,
    },
    wire::socketio::encode,
};

/// The longest number that an event gets as one more argument, with what is around it, in bytes.
const NUMBER_BYTES: usize = 24;

impl Conversation<'_> {
    /// An event from another node. The client gets it where it is in the namespace, whether the service is there or not; one
    /// that may come back gets it as it gets an event of the service.
    pub(super) fn delivered(&mut self, delivery: &Arc<Delivery>, now: Now) -> Note {
        let Some((number, Membership::Joined)) = self.service.namespaces.find(&delivery.namespace) else {
            return Note::None;
        };
        let slot = delivery.slot(&self.core.rules.names);
        self.core.used(now);
        let Some(resume) = &self.client.resume else {
            // A client that speaks JSON has not got its `pid`.
            let holds_pid = !self.client.is_bridged && self.service.namespaces.numbers_events(&delivery.namespace);
            return self.say_delivery(delivery, holds_pid, slot);
        };
        let hold = &self.core.rules.hold;
        let is_absent = resume.is_unreturned(number);
        if !delivery.is_volatile && delivery.head().is_some_and(|head| hold.is_kept(&head)) {
            let mut packet = Box::new(numbered(delivery, number, resume.next_number()));
            packet.event = slot;
            self.say_or_keep(packet);
            return Note::Delivered(slot, if is_absent { Reached::Kept } else { Reached::Said });
        }
        if is_absent {
            return Note::Delivered(slot, Reached::Dropped);
        }
        let holds_pid = hold.keeps_in(&delivery.namespace);
        self.say_delivery(delivery, holds_pid, slot)
    }

    fn say_delivery(&mut self, delivery: &Arc<Delivery>, holds_pid: bool, slot: EventSlot) -> Note {
        let delivery = if holds_pid { delivery.shielded() } else { delivery };
        self.core.actions.say(Side::Client, Spoken::Delivery(Arc::clone(delivery)));
        Note::Delivered(slot, Reached::Said)
    }

    /// Another program puts the client out of a namespace. With `close` the client leaves all of them and its connection is
    /// closed, as `socket.disconnect(true)` of socket.io does.
    pub(super) fn disconnected(&mut self, namespace: &str, close: bool) {
        if !matches!(self.service.namespaces.find(namespace), Some((_, Membership::Joined))) {
            return;
        }
        if !close {
            return self.put_out_of(namespace);
        }
        let joined: Vec<String> = self.service.namespaces.names().map(str::to_owned).collect();
        joined.iter().for_each(|namespace| self.put_out_of(namespace));
        self.core.end(Ended::Disconnected);
    }

    /// Both sides hear that the client has left; one that is absent does not.
    fn put_out_of(&mut self, namespace: &str) {
        let number = self.service.namespaces.find(namespace).map(|(number, _)| number);
        let resume = self.client.resume.as_ref();
        let is_absent = resume.zip(number).is_some_and(|(resume, number)| resume.is_unreturned(number));
        if !is_absent {
            self.say_disconnect(Side::Client, namespace);
        }
        self.leave_for_client(namespace);
    }
}

/// The event with its number as one more argument, for a client that may come back.
fn numbered(delivery: &Delivery, namespace: u8, number: u64) -> WholePacket {
    let mut text = Vec::with_capacity(delivery.text().len() + NUMBER_BYTES);
    encode::with_argument(delivery.text(), number, &mut text);
    let mut packet = WholePacket::new(namespace, None, text, 0);
    delivery.attachments.iter().for_each(|bytes| packet.attach(bytes.to_vec()));
    packet
}
