//! Socket.IO with the service: which namespaces are joined, which acks are awaited, what a lost service leaves behind.

use crate::{
    session::{
        acks::Acks,
        answer,
        core::Core,
        message::Side,
        namespaces::Namespaces,
        queue::WholePacket,
        upstream::{Stage, Upstream},
    },
    wire::socketio::{encode, packet::PacketType, peek::PacketHead},
};

/// What the service speaks: Socket.IO v5 inside Engine.IO v4, over a websocket.
#[derive(Debug, Default)]
pub(super) struct SocketIo {
    pub(super) namespaces: Namespaces,
    pub(super) acks: Acks,
    /// The packet of the service that still lacks attachments. It goes on when it is complete, for the service may be lost
    /// before.
    pub(super) begun: Option<Box<WholePacket>>,
}

impl SocketIo {
    /// What it keeps, in bytes of memory.
    pub(super) fn memory(&self) -> usize {
        let begun = self.begun.as_ref().map_or(0, |packet| packet.memory());
        self.namespaces.memory() + self.acks.memory() + begun
    }

    /// Whether this packet of the service must be seen whole, because something in it is read or changed. `resumable`: the
    /// client may come back, so every event is numbered and kept.
    pub(super) fn reads_whole(&self, head: &PacketHead<'_>, resumable: bool) -> bool {
        match head.kind {
            PacketType::Event | PacketType::BinaryEvent if resumable => true,
            PacketType::Event | PacketType::BinaryEvent => match head.ack_id {
                Some(_) => self.acks.are_renumbered(),
                None => self.namespaces.numbers_events(head.namespace),
            },
            PacketType::Connect => true,
            _ => false,
        }
    }

    /// The service has opened: every namespace is asked for, with what the client said there.
    pub(super) fn rejoin(&mut self, core: &mut Core, upstream: &mut Upstream) {
        for packet in self.namespaces.ask_again() {
            core.say(Side::Service, packet);
        }
        // No answer comes where the client has left every namespace meanwhile.
        self.settle(upstream);
    }

    /// Packets flow once every CONNECT is answered that was said again.
    pub(super) fn settle(&self, upstream: &mut Upstream) {
        if upstream.stage() == Stage::Rejoining && self.namespaces.all_answered() {
            upstream.joined();
        }
    }

    /// One side leaves a namespace: its number, where the client was in it or had asked for it.
    pub(super) fn leave(&mut self, namespace: &str, upstream: &mut Upstream) -> Option<u8> {
        let left = self.namespaces.left(namespace).map(|(number, _)| number);
        if let Some(number) = left {
            self.acks.forget(number);
            upstream.forget_packets(number);
        }
        self.settle(upstream);
        left
    }

    /// The service is lost: what becomes of the acks that either side awaits.
    pub(super) fn service_lost(&mut self, core: &mut Core, upstream: &mut Upstream) {
        self.begun = None;
        match upstream.stage() {
            Stage::Flowing => self.fail_acks(core, upstream),
            // None of the client's packets was sent, but the service may have asked something already.
            Stage::Rejoining => drop(self.acks.service_lost(|_| true)),
            Stage::Unwanted | Stage::Down { .. } | Stage::Dialling => {}
        }
        // No service waits for the answers that have not been sent.
        let backlog = upstream.backlog_mut();
        backlog.queue.retain(WholePacket::is_event);
        backlog.begun.take_if(|packet| !packet.is_event());
    }

    /// What was on its way is sent again where that does no harm; the acks of everything else fail.
    fn fail_acks(&mut self, core: &mut Core, upstream: &mut Upstream) {
        let retries = core.rules.hold.retries;
        let backlog = upstream.backlog_mut();
        let mut kept = std::mem::take(&mut backlog.kept);
        kept.retain(|packet| packet.sent <= retries);
        let again: Vec<WholePacket> = std::iter::from_fn(|| kept.pop()).collect();
        backlog.queue.put_back(again.into_iter());
        for waiting in self.acks.service_lost(|waiting| backlog.has_unsent(waiting.namespace, waiting.id)) {
            self.fail_ack(core, waiting.namespace, waiting.id);
        }
    }

    /// Packets of the client were dropped from its queue.
    pub(super) fn fail_acks_of(&mut self, dropped: &[WholePacket], core: &mut Core) {
        for packet in dropped {
            if let Some(id) = packet.ack_id
                && self.acks.give_up(packet.namespace, id)
            {
                self.fail_ack(core, packet.namespace, id);
            }
        }
    }

    fn fail_ack(&self, core: &mut Core, namespace: u8, id: u64) {
        let Some(namespace) = self.namespaces.name(namespace) else { return };
        let mut text = Vec::new();
        encode::ack(namespace, id, answer::SERVICE_RESTARTED, &mut text);
        core.say(Side::Client, text);
    }
}
