//! Socket.IO with the service: which namespaces are joined, which acks are awaited, what a lost service leaves behind.

use crate::{
    session::{
        acks::Acks,
        answer,
        core::Core,
        digest::Digests,
        hold::OnLostAck,
        late::AckOf,
        message::Side,
        namespaces::Namespaces,
        now::Deadline,
        orphans::Orphans,
        parting::Parting,
        queue::{WholePacket, allocated_text},
        rooms::SessionRooms,
        snapshot::{AskedData, RoomData},
        upstream::{Stage, Upstream},
        users::Users,
    },
    wire::socketio::{encode, packet::PacketType, peek::PacketHead},
};

/// What the service speaks: Socket.IO v5 inside Engine.IO v4, over a websocket.
#[derive(Debug, Default)]
pub(super) struct SocketIo {
    pub(super) namespaces: Namespaces,
    pub(super) acks: Acks,
    /// The namespaces that the client was put out of because its token was good no more, until it asks for them again. What it says
    /// there before it knows is dropped.
    pub(super) expired: Vec<Box<str>>,
    /// Which namespaces the service may not have left yet.
    pub(super) parting: Parting,
    /// The packet of the service that still lacks attachments. It goes on when it is complete, for the service may be lost
    /// before.
    pub(super) begun: Option<Box<WholePacket>>,
    /// `None` where there are no other nodes.
    pub(super) rooms: Option<Box<SessionRooms>>,
}

impl SocketIo {
    /// What it keeps, in bytes of memory.
    pub(super) fn memory(&self) -> usize {
        let begun = self.begun.as_ref().map_or(0, |packet| packet.memory());
        let expired = self.expired.iter().map(|name| allocated_text(name)).sum::<usize>();
        let rooms = self.rooms.as_ref().map_or(0, |rooms| rooms.memory());
        self.namespaces.memory() + self.acks.memory() + self.parting.memory() + begun + expired + rooms
    }

    /// When the first token expires of those that namespaces were opened with or, where the client is in none, the last one
    /// that it has shown. `None`: never.
    pub(super) fn expires(&self, users: &Users) -> Option<Deadline> {
        if self.namespaces.is_empty() {
            return users.all_expire();
        }
        self.namespaces.logins().filter_map(|(_, login)| login.expires).reduce(Deadline::min)
    }

    /// Whether this packet of the service must be seen whole, because something in it is read or changed. `resumable`: the
    /// client may come back, so every event is numbered and kept, and every other packet is said or dropped in one piece.
    pub(super) fn reads_whole(&self, head: &PacketHead<'_>, resumable: bool) -> bool {
        match head.kind {
            _ if resumable => true,
            PacketType::Event | PacketType::BinaryEvent => match head.ack_id {
                Some(_) => self.acks.are_renumbered(),
                None => self.namespaces.numbers_events(head.namespace),
            },
            PacketType::Connect => true,
            PacketType::Ack | PacketType::BinaryAck => self.acks.has_late() || self.lets_into_room(head),
            _ => false,
        }
    }

    /// Whether this ack says whether the client gets into a room.
    fn lets_into_room(&self, head: &PacketHead<'_>) -> bool {
        let Some(rooms) = &self.rooms else { return false };
        let number = self.namespaces.find(head.namespace).map(|(number, _)| number);
        number.zip(head.ack_id).is_some_and(|ack| rooms.await_ack(ack))
    }

    /// The rooms of a session that is continued here. None is kept where there are no other nodes.
    pub(super) fn load_rooms(&mut self, rooms: Vec<RoomData>, asked: Vec<AskedData>, core: &mut Core) {
        if !core.rules.mirror.has_others() {
            return;
        }
        let mut loaded = Box::new(SessionRooms::default());
        for RoomData { namespace, reason, room } in rooms {
            let Some(name) = self.namespaces.name(namespace) else { continue };
            loaded.enter((namespace, name), &room, reason, core.rules.rooms_per_session, &mut core.actions);
        }
        loaded.load_asked(asked, core.rules.rooms_per_session);
        self.rooms = Some(loaded);
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
            if let Some(rooms) = &mut self.rooms {
                rooms.orphans.add(namespace, self.acks.waiting_in(number));
            }
            self.acks.forget(number);
            upstream.forget_packets(number);
        }
        self.settle(upstream);
        left
    }

    /// Whether an ack is lost with the service now, and must not fail by itself.
    pub(super) fn loses_session(&self, core: &Core, upstream: &Upstream) -> bool {
        let (retries, backlog) = (core.rules.hold.retries, upstream.backlog());
        let stays = |namespace, id| {
            backlog.is_some_and(|backlog| backlog.has_unsent(namespace, id) || backlog.keeps(namespace, id, retries))
        };
        let closes = core.rules.hold.on_lost_ack == OnLostAck::Close;
        self.acks.has_untracked() || (closes && self.acks.would_lose(|waiting| stays(waiting.namespace, waiting.id)))
    }

    /// The service is lost: what becomes of the acks that either side awaits. `tells`: the client is there.
    pub(super) fn service_lost(&mut self, core: &mut Core, upstream: &mut Upstream, tells: bool) {
        self.begun = None;
        if let Some(rooms) = &mut self.rooms {
            rooms.begun.clear();
            rooms.orphans = Orphans::default();
        }
        self.parting.forget();
        match upstream.stage() {
            Stage::Flowing => self.lose_acks(core, upstream, tells),
            // None of the client's packets was sent, but the service may have asked something already.
            Stage::Rejoining => drop(self.acks.service_lost(tells, |_| true)),
            Stage::Unwanted | Stage::Down { .. } | Stage::Dialling => {}
        }
        // No service waits for the answers that have not been sent.
        let backlog = upstream.backlog_mut();
        backlog.queue.retain(WholePacket::is_event);
        backlog.begun.take_if(|packet| !packet.is_event());
    }

    /// What was on its way is sent again where that does no harm; the acks of everything else are lost.
    fn lose_acks(&mut self, core: &mut Core, upstream: &mut Upstream, tells: bool) {
        let retries = core.rules.hold.retries;
        let backlog = upstream.backlog_mut();
        let mut kept = std::mem::take(&mut backlog.kept);
        kept.retain(|packet| packet.sent <= retries);
        let again: Vec<WholePacket> = std::iter::from_fn(|| kept.pop()).collect();
        backlog.queue.put_back(again.into_iter());
        let at_once = self.acks.service_lost(tells, |waiting| backlog.has_unsent(waiting.namespace, waiting.id));
        self.fail_acks(at_once, core);
    }

    /// Packets of the client were dropped from its queue. False: their acks must not fail by themselves.
    pub(super) fn lose_acks_of(&mut self, dropped: &[WholePacket], core: &mut Core) -> bool {
        for packet in dropped {
            let Some(id) = packet.ack_id else { continue };
            if core.rules.hold.on_lost_ack == OnLostAck::Close {
                return false;
            }
            let digest = Digests::of(packet).map(Digests::whole).unwrap_or_default();
            let at_once = self.acks.lose((packet.namespace, id), digest);
            self.fail_acks(at_once, core);
        }
        true
    }

    /// These acks fail now.
    pub(super) fn fail_acks(&self, acks: impl IntoIterator<Item = AckOf>, core: &mut Core) {
        for (namespace, id) in acks {
            let Some(namespace) = self.namespaces.name(namespace) else { continue };
            let mut text = Vec::new();
            encode::ack(namespace, id, answer::SERVICE_RESTARTED, &mut text);
            core.say(Side::Client, text);
        }
    }
}
