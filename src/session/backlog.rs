//! What waits for the service, what is lost with it, and who is told of that.

use crate::{
    session::{
        Action, Common, Terms, answer,
        hold::Overflow,
        queue::{Queue, WholePacket},
        socketio::SocketIo,
        upstream::{Away, Stage, Upstream},
    },
    wire::socketio::encode,
};

/// What there is while packets cannot simply go onward.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    pub(super) away: Option<Away>,
    /// The packet of the client that still lacks attachments.
    pub(super) begun: Option<WholePacket>,
    pub(super) queue: Queue,
    /// Packets that will be sent again if their acks are lost.
    pub(super) kept: Queue,
}

/// What it took to find room for a packet.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) dropped: Vec<WholePacket>,
    /// There is none, and the session is to end for it.
    pub(super) is_full: bool,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.away.is_none() && self.begun.is_none() && self.queue.is_empty() && self.kept.is_empty()
    }

    /// Is this event still to be sent?
    fn has_unsent(&self, namespace: u8, ack_id: u64) -> bool {
        let mut unsent = self.queue.iter().chain(&self.begun);
        unsent.any(|packet| packet.namespace == namespace && packet.ack_id == Some(ack_id))
    }
}

impl Upstream {
    /// Puts a packet behind those that wait, if need be in place of older ones.
    pub(super) fn enqueue(&mut self, packet: WholePacket, terms: &Terms) -> Room {
        let bounds = &terms.hold.bounds;
        let mut room = Room::default();
        // What flows does not stay.
        let waits = self.stage != Stage::Flowing;
        while waits && !self.backlog().queue.has_room(packet.bytes(), bounds) {
            self.dropped += 1;
            let oldest = match terms.hold.overflow {
                Overflow::Close => {
                    room.is_full = true;
                    return room;
                }
                // What never fits costs no other packet its place.
                Overflow::DropOldest if !bounds.may_hold(packet.bytes()) => None,
                Overflow::DropOldest => self.backlog().queue.pop(),
            };
            let Some(oldest) = oldest else {
                room.dropped.push(packet);
                return room;
            };
            room.dropped.push(oldest);
        }
        self.backlog().queue.push(packet);
        room
    }
}

impl SocketIo {
    /// The ack of a packet came: it will not be sent again.
    pub(super) fn acknowledged(&mut self, namespace: u8, id: u64) {
        if let Some(backlog) = &mut self.upstream.backlog {
            backlog.kept.retain(|kept| kept.namespace != namespace || kept.ack_id != Some(id));
        }
    }

    /// A namespace was left: nothing of it may reach the service any more, which would close the session for it.
    pub(super) fn forget_packets(&mut self, namespace: u8) {
        let Some(backlog) = &mut self.upstream.backlog else { return };
        let dropped = backlog.queue.retain(|packet| packet.namespace != namespace);
        backlog.kept.retain(|packet| packet.namespace != namespace);
        let begun = backlog.begun.take_if(|packet| packet.namespace == namespace);
        self.upstream.dropped += dropped as u64 + u64::from(begun.is_some());
    }

    /// Of packets that were let go of.
    pub(super) fn fail_acks_of(&mut self, dropped: &[WholePacket], common: &mut Common) {
        for packet in dropped {
            if let Some(id) = packet.ack_id.filter(|id| self.acks.give_up(packet.namespace, *id)) {
                fail_ack(common, self.namespaces.name(packet.namespace), id);
            }
        }
    }

    /// What becomes of the acks that either side awaits.
    pub(super) fn service_gone(&mut self, common: &mut Common, terms: &Terms) {
        match self.upstream.stage {
            Stage::Flowing => self.fail_acks(common, terms),
            // Of the client's packets none was sent, but the service may have asked something already.
            Stage::Rejoining => drop(self.acks.service_gone(|_| true)),
            Stage::Unwanted | Stage::Away { .. } | Stage::Dialling => {}
        }
        // Answers that have not been sent are for nobody now.
        if let Some(backlog) = &mut self.upstream.backlog {
            backlog.queue.retain(WholePacket::is_event);
            backlog.begun.take_if(|packet| !packet.is_event());
        }
    }

    /// What was on its way when the service went: sent again where that does no harm, else its ack fails at once.
    fn fail_acks(&mut self, common: &mut Common, terms: &Terms) {
        let backlog = self.upstream.backlog();
        let mut kept = std::mem::take(&mut backlog.kept);
        kept.retain(|packet| packet.sent <= terms.hold.retries);
        let again: Vec<WholePacket> = std::iter::from_fn(|| kept.pop()).collect();
        backlog.queue.put_back(again.into_iter());
        let lost = self.acks.service_gone(|waiting| backlog.has_unsent(waiting.namespace, waiting.id));
        for waiting in lost {
            fail_ack(common, self.namespaces.name(waiting.namespace), waiting.id);
        }
    }
}

fn fail_ack(common: &mut Common, namespace: Option<&str>, id: u64) {
    let Some(namespace) = namespace else { return };
    let mut text = Vec::new();
    encode::ack(namespace, id, answer::SERVICE_RESTARTED, &mut text);
    common.actions.push_back(Action::SendClient(text.into()));
}
