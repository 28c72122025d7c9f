//! A Socket.IO session in parts, and what more than one of them does together.

use std::time::Duration;

use crate::{
    policy::{
        auth::{AuthError, Credential},
        identity::Identity,
        token_source::Token,
    },
    session::{
        action::{Action, Spoken},
        core::Core,
        digest::Digests,
        ended::Ended,
        engineio::{Attachments, EngineIo},
        hold::Overflow,
        membership::Membership,
        message::Side,
        now::Now,
        question::{Claim, Returning},
        queue::{WholePacket, fills},
        socketio::SocketIo,
        upstream::{Stage, Upstream},
        waiting::enqueue,
    },
    wire::{
        engineio::packet::EnginePacket,
        socketio::encode,
        websocket::{close::CloseCode, frame::OpCode},
    },
};

/// A client that has come back joins its other namespaces within this, or has left them.
const OTHERS_RETURN_WITHIN: Duration = Duration::from_secs(10);

/// The ping of Engine.IO.
const ENGINE_PING: &[u8] = &[EnginePacket::Ping.digit()];

/// The parts, borrowed for one message or event.
pub(super) struct Conversation<'a> {
    pub(super) client: &'a mut EngineIo,
    pub(super) service: &'a mut SocketIo,
    pub(super) upstream: &'a mut Upstream,
    pub(super) core: &'a mut Core,
}

impl Conversation<'_> {
    /// Who this token names, or the certificate where no token does.
    pub(super) fn authenticate(&self, token: &Token, now: Now) -> Result<Identity, AuthError> {
        let auth = &self.core.rules.policies.auth;
        auth.identify(Credential::Token(Some(token)), self.client.certified.as_ref(), now.wall())
    }

    /// Takes a packet of the client that cannot simply pass. It goes to the service at once where packets flow, else when
    /// they do.
    pub(super) fn take(&mut self, packet: WholePacket, now: Now) {
        if !packet.is_whole() {
            self.upstream.backlog_mut().begun = Some(packet);
            return;
        }
        if self.core.rules.hold.knows_repeats() && packet.ack_id.is_some() {
            if self.repeats(&packet, now) {
                return;
            }
            if !self.upstream.queues() && self.service.acks.late().is_some_and(|late| late.may_hear()) {
                self.await_echoes(now);
            }
        }
        let dropped = enqueue(packet, self.upstream, self.core);
        self.lose_acks_of(&dropped);
    }

    fn lose_acks_of(&mut self, dropped: &[WholePacket]) {
        if !self.service.lose_acks_of(dropped, self.core) {
            self.core.end(Ended::AcksLost);
        }
    }

    /// A packet may repeat one whose ack is lost, or that waits for the service, or for its ack from a service that has come
    /// back. True: the service has that one, and this one goes no further.
    fn repeats(&mut self, packet: &WholePacket, now: Now) -> bool {
        let Some((id, digests)) = packet.ack_id.zip(Digests::of(packet)) else { return false };
        let (of, waits) = ((packet.namespace, id), self.upstream.queues());
        let Some(earlier) = self.service.acks.repeats(of, digests, waits, now.instant) else { return false };
        let is_unsent = self.upstream.replaces(packet.namespace, earlier);
        let at_once = if is_unsent {
            self.service.acks.replaces((packet.namespace, earlier), id)
        } else {
            self.service.acks.stands_for((packet.namespace, earlier), id, now.instant)
        };
        self.service.fail_acks(at_once, self.core);
        !is_unsent
    }

    /// The client is told that it is connected anew, and official clients that repeat packets do so at once.
    pub(super) fn tells_connected(&mut self, namespace: &str, now: Now) {
        let is_there = self.client.absent_since().is_none();
        let number = self.service.namespaces.find(namespace).map(|(number, _)| number);
        let has_asking = number.is_some_and(|number| self.upstream.has_asking(number));
        if !is_there || !self.core.rules.hold.knows_repeats() {
            return;
        }
        self.service.acks.mark_told(now.instant);
        if has_asking {
            self.await_echoes(now);
        }
    }

    /// Sends nothing to the service before every repeat has come of what the client said until it heard that it is connected.
    /// Two answers to pings show that: the client answers the first before it looks at what came with it, and the second
    /// behind that.
    fn await_echoes(&mut self, now: Now) {
        let is_asked = self.ask_echo(now);
        self.upstream.await_echoes(if is_asked { 2 } else { 3 });
    }

    /// Pings the client. False: it has yet to answer an earlier ping.
    fn ask_echo(&mut self, now: Now) -> bool {
        let asks = self.core.heartbeat.ask(now.instant, self.core.pings().timeout);
        if asks {
            self.say_ping();
        }
        asks
    }

    /// Pings the client, which may have earlier pings to answer.
    pub(super) fn say_ping(&mut self) {
        self.core.actions.say(Side::Client, Spoken::text(ENGINE_PING));
        if let Some(resume) = &mut self.client.resume {
            resume.pinged();
        }
    }

    /// The client has answered a ping.
    pub(super) fn echoed(&mut self, now: Now) {
        if !self.upstream.awaits_echoes() {
            return;
        }
        if self.upstream.echoed() {
            self.ask_echo(now);
        } else if let Some(late) = self.service.acks.late() {
            late.heard();
        }
    }

    /// The service is back: the client has its time to repeat what it sent.
    pub(super) fn service_back(&mut self, now: Now) {
        let until = now.instant + self.core.rules.hold.ack_grace;
        if self.upstream.stage() == Stage::Flowing
            && let Some(late) = self.service.acks.late()
            && late.service_back(until)
        {
            self.fail_overdue(now);
        }
    }

    /// What has come of a packet may be a repeat, which is known when all of it has come.
    fn fail_overdue(&mut self, now: Now) {
        if self.upstream.has_begun() {
            return;
        }
        if self.service.acks.deadline().is_some_and(|at| now.instant >= at) {
            self.upstream.stop_awaiting_echoes();
            let failed = self.service.acks.timeout(now.instant);
            self.service.fail_acks(failed, self.core);
        }
    }

    /// One side leaves a namespace: nothing of it reaches the other any more.
    pub(super) fn leave(&mut self, namespace: &str) {
        let Some(number) = self.service.leave(namespace, self.upstream) else { return };
        if let Some(resume) = &mut self.client.resume {
            resume.forget(number);
        }
        if let Some(rooms) = &mut self.service.rooms {
            rooms.leave_namespace((number, namespace), &mut self.core.actions);
        }
    }

    /// The client leaves a namespace without saying so itself.
    pub(super) fn leave_for_client(&mut self, namespace: &str) {
        if self.upstream.is_open() {
            self.part_from(namespace);
        }
        self.leave(namespace);
    }

    /// Says DISCONNECT to the service, now or when it has answered.
    pub(super) fn part_from(&mut self, namespace: &str) {
        let is_answered = self.service.namespaces.is_answered(namespace);
        if self.service.parting.leave(namespace, is_answered) {
            self.service.parting.count_disconnect();
            self.say_disconnect(Side::Service, namespace);
        }
    }

    /// The service answers a CONNECT. True: the client has left that namespace before, and this answer is not for it.
    pub(super) fn answers_one_that_left(&mut self, namespace: &str, lets_in: bool) -> bool {
        let is_left = self.service.parting.answered(namespace);
        if is_left && lets_in {
            self.service.parting.count_disconnect();
            self.say_disconnect(Side::Service, namespace);
        }
        is_left
    }

    /// The service has answered a WebSocket ping.
    pub(super) fn service_ponged(&mut self, payload: &[u8], now: Now) {
        self.service.parting.ponged(payload);
        self.ask_held(now);
    }

    /// Asks the service for the namespaces that it has left, and pings it where that has to be shown.
    pub(super) fn ask_held(&mut self, now: Now) {
        while let Some(namespace) = self.service.parting.next() {
            let packet = self.service.namespaces.connect_of(&namespace);
            packet.into_iter().for_each(|packet| self.core.say(Side::Service, packet));
        }
        if let Some(payload) = self.service.parting.ping(now.instant) {
            self.core.actions.say(Side::Service, Spoken::Own(OpCode::Ping, payload.to_vec().into()));
        }
    }

    /// Says DISCONNECT for a namespace.
    pub(super) fn say_disconnect(&mut self, to: Side, namespace: &str) {
        let mut text = Vec::new();
        encode::disconnect(namespace, &mut text);
        self.core.say(to, text);
    }

    /// The service does not let the client into a namespace. Whether the client may hear that: to one that is in it already
    /// it cannot be said, for official clients would go on as if they were. Such a client is thrown out or, where it is
    /// nowhere else, sent to connect anew.
    pub(super) fn refused(&mut self, namespace: &str) -> bool {
        let was = self.service.namespaces.find(namespace).map(|(_, membership)| membership);
        self.leave(namespace);
        if self.client.is_bridged {
            self.core.end(Ended::ConnectRefused);
            return true;
        }
        if was != Some(Membership::Joined) {
            return true;
        }
        if self.service.namespaces.is_empty() {
            self.core.end(Ended::ServiceClosed(CloseCode::NO_STATUS));
        } else {
            self.say_disconnect(Side::Client, namespace);
        }
        false
    }

    /// Only the client's connection has ended.
    pub(super) fn client_lost(&mut self, why: Ended, now: Now) {
        self.core.go_on();
        self.service.acks.client_lost();
        self.client.attachments = Attachments::default();
        self.upstream.forget_begun();
        self.upstream.stop_awaiting_echoes();
        // Nobody hears the answer of the service, so the client asks again when it is back.
        for namespace in self.service.namespaces.asked_for() {
            self.leave_for_client(&namespace);
        }
        let joined = self.service.namespaces.numbers(Membership::Joined);
        self.core.filled = None;
        if let Some(resume) = &mut self.client.resume {
            resume.client_lost(joined, why, now.instant);
        }
        self.core.actions.push(Action::Detach(Side::Client, why));
    }

    /// The client is back, with another connection and perhaps another token.
    pub(super) fn client_returned(&mut self, returning: Returning, now: Now) {
        let Returning { pid: _, claim: Claim { namespace, offset, .. }, sid, peer, identity, connect } = returning;
        self.client.sid = sid;
        self.core.reattach(peer, now);
        let fits = self.connects_anew(&namespace, &connect);
        self.enter(&namespace, identity, now);
        self.enter_rooms(&namespace);
        if let Some(resume) = &mut self.client.resume {
            resume.client_returned(now.instant + OTHERS_RETURN_WITHIN);
        }
        if !fits || !self.return_to(&namespace, offset, now) {
            self.core.end(Ended::Unrecovered);
        }
        // It may have been on its way here when that was looked at.
        self.revoke(now);
    }

    /// The client comes back to a namespace with this JSON in its CONNECT, by which the service is asked from now on. False:
    /// with it too much would be kept of such packets.
    pub(super) fn connects_anew(&mut self, namespace: &str, json: &[u8]) -> bool {
        let namespaces = &mut self.service.namespaces;
        let fits = namespaces.keeps_connect(namespace, json, self.core.rules.max_connect);
        if fits {
            namespaces.connects_anew(namespace, json);
        }
        fits
    }

    /// The client is back in a namespace: it hears what it has missed, and then that it is in. Where the oldest packets are
    /// dropped it hears what there is, and that it has not recovered. False: nobody can tell what it has missed.
    pub(super) fn return_to(&mut self, namespace: &str, offset: Option<u64>, now: Now) -> bool {
        let (Some((number, _)), Some(resume)) = (self.service.namespaces.find(namespace), &mut self.client.resume)
        else {
            return false;
        };
        let hold = &self.core.rules.hold;
        let recovers = resume.recovers(number, offset);
        let goes_on = recovers || hold.overflow == Overflow::DropOldest;
        if !goes_on {
            resume.names(number, offset);
            return false;
        }
        if !recovers {
            resume.misses(number, offset);
        }
        // Another join tells the client that it has missed something.
        if !recovers || !hold.keeps_in(namespace) {
            self.service.namespaces.set_join(namespace, resume.next_join());
        }
        for packet in resume.missed(number, offset) {
            self.core.actions.say(Side::Client, Spoken::Packet(Box::new(packet)));
        }
        resume.mark_returned(number);
        let mut text = Vec::new();
        let namespaces = &self.service.namespaces;
        let pid = (resume.pid, namespaces.join_of(namespace));
        encode::connected(namespace, namespaces.socket_id(namespace), pid, &mut text);
        self.core.say(Side::Client, text);
        if self.upstream.has_asking(number) {
            self.tells_connected(namespace, now);
        }
        true
    }

    /// Says a packet of the service to the client, or keeps it for an absent one.
    pub(super) fn say_or_keep(&mut self, packet: Box<WholePacket>) {
        let mut is_there = true;
        if let Some(resume) = &mut self.client.resume {
            is_there = !resume.is_unreturned(packet.namespace);
            if packet.is_event() && !packet.is_volatile {
                let hold = &self.core.rules.hold;
                let closes = hold.overflow == Overflow::Close;
                if !resume.keep(&packet, &hold.bounds) {
                    self.core.record_filled("resume", || fills(resume.packets()));
                    if closes {
                        self.core.end(Ended::QueueFull);
                    }
                }
            }
        }
        if is_there {
            self.core.actions.say(Side::Client, Spoken::Packet(packet));
        }
    }

    /// Time has come: attachments are missing, or the client does not come back, or not to all of its namespaces.
    pub(super) fn timeout(&mut self, now: Now) {
        if self.client.attachments.until().is_some_and(|until| now.instant >= until) {
            self.core.end(Ended::ClientPacket("attachment_timeout"));
        }
        self.fail_overdue(now);
        self.service.parting.timeout(now.instant);
        self.ask_held(now);
        let Some(resume) = &mut self.client.resume else { return };
        if let Some(why) = resume.given_up(&self.core.rules.hold, now.instant) {
            return self.core.end(why);
        }
        for number in resume.overdue(now.instant) {
            if let Some(namespace) = self.service.namespaces.name(number).map(str::to_owned) {
                self.leave_for_client(&namespace);
            }
        }
    }
}
