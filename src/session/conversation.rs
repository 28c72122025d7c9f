//! A Socket.IO session in parts, and what more than one of them does together.

use std::time::Duration;

use crate::{
    policy::{auth::AuthError, identity::Identity, token_source::Token},
    session::{
        action::{Action, Spoken},
        core::Core,
        ended::Ended,
        engineio::{Attachments, EngineIo},
        hold::Overflow,
        membership::Membership,
        message::Side,
        now::Now,
        question::{Claim, Returning},
        queue::WholePacket,
        socketio::SocketIo,
        upstream::Upstream,
    },
    wire::{socketio::encode, websocket::close::CloseCode},
};

/// A client that has come back joins its other namespaces within this, or has left them.
const OTHERS_RETURN_WITHIN: Duration = Duration::from_secs(10);

/// The parts, borrowed for one message or event.
pub(super) struct Conversation<'a> {
    pub(super) client: &'a mut EngineIo,
    pub(super) service: &'a mut SocketIo,
    pub(super) upstream: &'a mut Upstream,
    pub(super) core: &'a mut Core,
}

impl Conversation<'_> {
    /// Who this token names, or the certificate where no token does.
    pub(super) fn authenticate(&self, token: Option<&Token>, now: Now) -> Result<Identity, AuthError> {
        let identity = self.core.rules.policies.auth.authenticate(token, now.wall())?;
        Ok(identity.or_certified(self.client.certified.as_deref()))
    }

    /// Takes a packet of the client that cannot simply pass. It goes to the service at once where packets flow, else when
    /// they do.
    pub(super) fn take(&mut self, packet: WholePacket) {
        if !packet.is_whole() {
            self.upstream.backlog_mut().begun = Some(packet);
            return;
        }
        let room = self.upstream.enqueue(packet, &self.core.rules.hold);
        self.service.fail_acks_of(&room.dropped, self.core);
        if room.is_full {
            self.core.end(Ended::QueueFull);
        }
    }

    /// One side leaves a namespace: nothing of it reaches the other any more.
    pub(super) fn leave(&mut self, namespace: &str) {
        if let (Some(number), Some(resume)) = (self.service.leave(namespace, self.upstream), &mut self.client.resume) {
            resume.forget(number);
        }
    }

    /// The client leaves a namespace without saying so itself.
    pub(super) fn leave_for_client(&mut self, namespace: &str) {
        if self.upstream.is_open() {
            self.say_disconnect(Side::Service, namespace);
        }
        self.leave(namespace);
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
        // Nobody hears the answer of the service, so the client asks again when it is back.
        for namespace in self.service.namespaces.asked_for() {
            self.leave_for_client(&namespace);
        }
        let joined = self.service.namespaces.numbers(Membership::Joined);
        if let Some(resume) = &mut self.client.resume {
            resume.client_lost(joined, why, now.instant);
        }
        self.core.actions.push(Action::Detach(Side::Client, why));
    }

    /// The client is back, with another connection and perhaps another token.
    pub(super) fn client_returned(&mut self, returning: Returning, now: Now) {
        let Returning { pid: _, claim: Claim { namespace, offset, .. }, sid, peer, identity } = returning;
        self.client.sid = sid;
        self.core.reattach(peer, identity, now);
        if let Some(resume) = &mut self.client.resume {
            resume.client_returned(now.instant + OTHERS_RETURN_WITHIN);
        }
        if !self.return_to(&namespace, offset) {
            self.core.end(Ended::Unrecovered);
        }
    }

    /// The client is back in a namespace: it hears what it has missed, and then that it is in. False: nobody can tell what
    /// it has missed.
    pub(super) fn return_to(&mut self, namespace: &str, offset: Option<u64>) -> bool {
        let (Some((number, _)), Some(resume)) = (self.service.namespaces.find(namespace), &mut self.client.resume)
        else {
            return false;
        };
        if !resume.recovers(number, offset) {
            resume.names(number, offset);
            return false;
        }
        for packet in resume.missed(number, offset) {
            self.core.actions.say(Side::Client, Spoken::Packet(Box::new(packet)));
        }
        resume.is_back_in(number);
        let mut text = Vec::new();
        let namespaces = &self.service.namespaces;
        let pid = (resume.pid, namespaces.join_of(namespace));
        encode::connected(namespace, namespaces.socket_id(namespace), pid, &mut text);
        self.core.say(Side::Client, text);
        true
    }

    /// Says a packet of the service to the client, or keeps it for an absent one.
    pub(super) fn say_or_keep(&mut self, packet: Box<WholePacket>) {
        let mut is_there = true;
        if let Some(resume) = &mut self.client.resume {
            is_there = !resume.is_unreturned(packet.namespace);
            if packet.is_event() {
                let hold = &self.core.rules.hold;
                if !resume.keep(&packet, &hold.bounds) && hold.overflow == Overflow::Close {
                    self.core.end(Ended::QueueFull);
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
