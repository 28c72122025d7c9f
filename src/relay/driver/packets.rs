//! What goes to one side packet by packet: kept and changed ones, and events from other nodes.

use std::sync::Arc;

use super::{Driver, Turn};
use crate::{
    observe::tally::Delivered,
    relay::{
        ledger::Volume,
        room_mail::{MailEntry, RoomMail},
    },
    session::{
        delivery::Delivery,
        ended::Ended,
        event::Event,
        message::{Note, Reached, Side},
        queue::WholePacket,
    },
};

/// So many events of other nodes are taken before the legs are looked at again.
const MAIL_PER_ROUND: usize = 128;

impl Driver {
    /// Says a packet of the service to the client.
    pub(super) fn say_packet(&mut self, packet: &WholePacket, turn: &Turn<'_, '_>) {
        for (opcode, payload) in packet.frames() {
            self.ledger.count(Side::Service, Volume::one(payload.len() as u64));
            self.client.leg.say(opcode, payload, turn.now.instant);
        }
    }

    /// Sends a packet of the client. Where the connection breaks before all of it is taken, no service has got it, and the
    /// next one shall.
    pub(super) fn send_packet(&mut self, packet: Box<WholePacket>, turn: &mut Turn<'_, '_>) {
        let (service, now) = (&mut self.service, turn.now.instant);
        let mut frames = packet.frames();
        if frames.try_for_each(|(opcode, payload)| service.send_message(opcode, payload, now, turn.cx)).is_err() {
            drop(frames);
            turn.session.event(Event::Unsent(packet), turn.now);
            self.lost(Ended::ServiceLost, turn);
        }
    }

    /// Sends an event from another node to the client. As of a message that passes, nothing follows from it where the leg takes
    /// all of it at once.
    pub(super) fn deliver(&mut self, delivery: &Delivery, turn: &mut Turn<'_, '_>) {
        self.ledger.count(Side::Service, Volume::of(delivery));
        let more_follows = self.cell.has_room_mail();
        if self.client.leg.deliver(delivery, more_follows, turn.now.instant, turn.cx).is_err() {
            self.lost(Ended::ClientLost, turn);
        } else if self.client.leg.memory() > 0 {
            turn.acts();
        }
    }

    /// Whether another node wants something that can be done now: nothing of it tears a message of the service that passes.
    pub(super) fn has_room_mail(&self) -> bool {
        self.cell.has_room_mail() && self.service.leg.between_frames()
    }

    /// What other nodes want of this session, in order. What cannot be done yet stays in the mailbox, which is bounded.
    pub(super) fn take_room_mail(&mut self, turn: &mut Turn<'_, '_>) {
        for _ in 0..MAIL_PER_ROUND {
            if !self.has_room_mail() || turn.session.ended().is_some() {
                return;
            }
            let Some(MailEntry { mail, of }) = self.cell.next_room_mail() else { return };
            // By now it has entered and left whatever came before.
            if of.is_none_or(|of| self.cell.rooms.borrow().are_selected(&of)) {
                self.take_one(&mail, turn);
                self.obey(turn);
            }
        }
    }

    fn take_one(&mut self, mail: &RoomMail, turn: &mut Turn<'_, '_>) {
        let event = match mail {
            RoomMail::Deliver(delivery) if delivery.is_volatile && !self.client.leg.takes() => {
                return self.worker.tally.delivered(Delivered::Behind);
            }
            RoomMail::Deliver(delivery) => Event::Delivered(Arc::clone(delivery)),
            RoomMail::Join(of) => Event::JoinRooms(&of.namespace, &of.rooms),
            RoomMail::Leave(of) => Event::LeaveRooms(&of.namespace, &of.rooms),
            RoomMail::Disconnect(namespace, close) => Event::Disconnected(namespace, *close),
        };
        let note = turn.session.event(event, turn.now);
        if !matches!(note, Note::Delivered(_, Reached::Said)) {
            turn.acts();
        }
        self.ledger.note(Side::Service, note, turn.session.view());
    }
}
