//! One conversation as a state machine: no socket, no clock, no log, no metric.
//!
//! What happens goes in by [`message`](Session::message), [`event`](Session::event) and [`timeout`](Session::timeout), and
//! what must be done comes out of [`poll`](Session::poll). After each of the first three the caller polls until there is
//! nothing, and closes both legs once the session has [`ended`](Session::ended). Messages are judged one by one, and what
//! the session says instead of one, or of several, is said in the place of the last of them.
//!
//! Each leg has a speech of its own. Everything that does not depend on it is in `core` and `upstream`.

pub mod acks;
pub mod action;
pub mod answer;
pub mod backoff;
mod beginnings;
mod claims;
mod client_packet;
mod connect;
mod continuation;
pub mod control_rate;
mod conversation;
mod core;
pub mod delivery;
mod digest;
mod elsewhere;
pub mod ended;
pub mod engineio;
pub mod event;
mod expiry;
pub mod flood;
pub mod heartbeat;
pub mod hold;
pub mod join_rate;
mod joining;
pub mod json;
mod late;
mod membership;
pub mod message;
mod namespace_set;
pub mod namespaces;
pub mod now;
mod offers;
mod offset;
mod orphans;
mod other_parser;
mod parting;
pub mod plain;
pub mod quality;
pub mod question;
pub mod queue;
mod reach;
mod refused_dial;
pub mod replay;
mod resume;
pub mod revocation;
mod room_reason;
mod rooms;
pub mod route_answers;
pub mod rules;
mod said_connect;
mod service_packet;
pub mod snapshot;
mod socketio;
mod speech;
pub mod table;
mod upstream;
mod users;
pub mod view;
mod waiting;

use std::{net::IpAddr, sync::Arc, time::Instant};

use self::{
    action::{Action, Ready, Spoken},
    backoff::{backoff, backoff_of_busy},
    conversation::Conversation,
    core::Core,
    ended::Ended,
    engineio::EngineIo,
    event::Event,
    heartbeat::{Beat, Pong},
    json::Json,
    message::{Fate, Message, Note, Side},
    now::Now,
    question::Answer,
    queue::WholePacket,
    rules::SessionRules,
    speech::{ClientSpeech, ServiceSpeech},
    upstream::{Due, Stage, Upstream},
    view::View,
};
use crate::wire::websocket::{
    close::{self, CloseCode},
    frame::OpCode,
};

/// What a Close without a body says (RFC 6455 §7.1.5).
const NO_CLOSE: (CloseCode, &str) = (CloseCode::NO_STATUS, "");

/// One conversation.
#[derive(Debug)]
pub struct Session {
    core: Core,
    upstream: Upstream,
    client: ClientSpeech,
    service: ServiceSpeech,
}

/// What every session begins with.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// What it obeys.
    pub rules: Arc<SessionRules>,
    /// The client's address.
    pub peer: IpAddr,
    /// Chance, for spreading dials in time and for the numbers of events. It protects nothing.
    pub seed: u32,
}

impl Session {
    /// What happens to a message of one side, and what was learned from it. It is judged again whenever its fate was
    /// [`Fate::Gather`] or [`Fate::Wait`].
    #[inline]
    pub fn message(&mut self, from: Side, message: &Message<'_>, now: Now) -> (Fate, Note) {
        let (fate, note) = match from {
            Side::Client => self.client_message(message, now),
            Side::Service => self.service_message(message, now),
        };
        self.conclude(now);
        (fate, note)
    }

    #[inline]
    fn client_message(&mut self, message: &Message<'_>, now: Now) -> (Fate, Note) {
        if let Some(until) = self.core.client_spoke(now) {
            return (Fate::Wait(message::Until::Time(until)), Note::None);
        }
        let Self { core, upstream, client, service } = self;
        match (client, service) {
            (ClientSpeech::EngineIo(client), ServiceSpeech::SocketIo(service)) => {
                client_packet::judge(&mut Conversation { client, service, upstream, core }, message, now)
            }
            (ClientSpeech::Json(Json { client, rules, .. }), ServiceSpeech::SocketIo(service)) => {
                json::judge(rules, &mut Conversation { client, service, upstream, core }, message, now)
            }
            (_, ServiceSpeech::Plain(service)) => service.judge_client(message, core, upstream, now),
            // No constructor pairs these.
            (ClientSpeech::Plain, ServiceSpeech::SocketIo(_)) => (Fate::Drop, Note::None),
        }
    }

    #[inline]
    fn service_message(&mut self, message: &Message<'_>, now: Now) -> (Fate, Note) {
        let Self { core, upstream, client, service } = self;
        let judged = match (client, service) {
            (
                ClientSpeech::EngineIo(client) | ClientSpeech::Json(Json { client, .. }),
                ServiceSpeech::SocketIo(service),
            ) => service_packet::judge(&mut Conversation { client, service, upstream, core }, message, now),
            (_, ServiceSpeech::Plain(service)) => Ok(service.judge_service(message, core, upstream, now)),
            (ClientSpeech::Plain, ServiceSpeech::SocketIo(_)) => Ok((Fate::Drop, Note::None)),
        };
        judged.unwrap_or_else(|why| {
            self.lost(why, now);
            (Fate::Drop, Note::None)
        })
    }

    /// Takes note of what has happened beside messages and time.
    pub fn event(&mut self, event: Event<'_>, now: Now) -> Note {
        let mut note = Note::None;
        match event {
            Event::Lost(why) => self.lost(why, now),
            Event::Refused(status, message) => note = self.refused(status, message, now),
            Event::DialLater { at, reserved } => self.upstream.dial_later(at, reserved),
            Event::Connected(protocol) => {
                if let ServiceSpeech::Plain(service) = &self.service {
                    service.connected(protocol, &mut self.core, &mut self.upstream, now);
                }
            }
            Event::Control(from, OpCode::Close, payload) => self.closed(from, payload, now),
            Event::Control(from, OpCode::Ping, payload) => self.core.ping(from, payload, now),
            Event::Control(Side::Client, ..) => note = self.client_pong(now),
            Event::Control(Side::Service, _, payload) => {
                if let Some(mut talk) = self.conversation() {
                    talk.service_ponged(payload, now);
                }
            }
            Event::Passed => self.upstream.passes_in_parts(false),
            Event::Fragments => self.core.fragments(now),
            Event::Answer(ticket, answer) => {
                if let (ClientSpeech::EngineIo(client), Answer::Claim(granted)) = (&mut self.client, answer) {
                    client.answered(ticket, granted);
                }
            }
            Event::Returned(returning) => {
                if let Some(mut talk) = self.conversation() {
                    talk.client_returned(returning, now);
                }
            }
            Event::Unread(side) => self.unread(side, now),
            Event::Unsent(packet) => self.unsent(*packet),
            Event::Delivered(delivery) => {
                if let Some(mut talk) = self.conversation() {
                    note = talk.delivered(&delivery, now);
                }
            }
            Event::Disconnected(namespace, close) => {
                if let Some(mut talk) = self.conversation() {
                    talk.disconnected(namespace, close);
                }
            }
            Event::Revoked => self.revoke(now),
            Event::JoinRooms(namespace, rooms) => self.join_rooms(namespace, rooms),
            Event::LeaveRooms(namespace, rooms) => self.leave_rooms(namespace, rooms),
            Event::NewRules(rules) => self.adopt(rules, now),
            Event::Drain => self.core.end(Ended::Drained),
        }
        self.conclude(now);
        note
    }

    /// Does what is due, once time has come to [`deadline`](Self::deadline).
    pub fn timeout(&mut self, now: Now) {
        self.core.timeout(now);
        match self.conversation() {
            Some(mut talk) => talk.expire(now),
            None => self.core.expire(now),
        }
        if self.client.of_socketio().and_then(EngineIo::connect_by).is_some_and(|at| now.instant >= at) {
            self.core.end(Ended::ConnectTimeout);
        }
        match self.upstream.timeout(&self.core.rules.hold, now.instant) {
            Some(Due::Dial) => self.core.actions.push(Action::Dial { again: self.upstream.is_redial() }),
            Some(Due::GiveUp(why)) => self.core.end(why),
            None if self.upstream.is_silent(now.instant) => self.lost(Ended::ServiceSlow, now),
            None => {}
        }
        if let Some(mut talk) = self.conversation() {
            talk.timeout(now);
        }
        if self.client.absent_since().is_none() {
            self.beat(now);
        }
        self.conclude(now);
    }

    /// What a side has to say within some time has all of that time again: nothing is read of it.
    fn unread(&mut self, side: Side, now: Now) {
        if side == Side::Service {
            return self.upstream.unread(now.instant);
        }
        self.core.unread(now);
        if let Some(talk) = self.conversation() {
            talk.client.attachments.unread(now);
        }
    }

    fn beat(&mut self, now: Now) {
        let pings = self.core.pings();
        match self.core.heartbeat.beat(now.instant, pings.timeout) {
            Beat::Wait if self.core.heartbeat.again(now.instant, pings.again_after()) => self.say_ping(),
            Beat::Wait => {}
            Beat::Dead => self.core.end(Ended::PingTimeout),
            Beat::Ping => self.say_ping(),
        }
    }

    fn say_ping(&mut self) {
        match self.conversation() {
            Some(mut talk) => talk.say_ping(),
            None => self.core.actions.say(Side::Client, Spoken::Own(OpCode::Ping, b"".into())),
        }
    }

    /// What must be done next, as far as that can be done now. What waits for a side that is not `ready` waits on.
    #[inline]
    pub fn poll(&mut self, ready: Ready) -> Option<Action> {
        if self.has_actions() { self.next_action(ready) } else { None }
    }

    /// Whether [`poll`](Self::poll) may have something to do. Nearly every session has nothing nearly always.
    #[inline]
    #[must_use]
    pub fn has_actions(&self) -> bool {
        !self.core.actions.is_empty() || self.upstream.has_packets()
    }

    fn next_action(&mut self, ready: Ready) -> Option<Action> {
        while let Some(action) = self.core.actions.next(ready) {
            let action = match (&self.client, action) {
                (ClientSpeech::Json(client), Action::Say(Side::Client, spoken)) => {
                    client.rules.say(spoken, &mut self.core)
                }
                (_, action) => Some(action),
            };
            if action.is_some() {
                return action;
            }
        }
        if !ready.service || self.core.ended().is_some() {
            return None;
        }
        let mut packet = self.upstream.next_packet()?;
        packet.sent = packet.sent.saturating_add(1);
        match &mut self.service {
            ServiceSpeech::Plain(service) => packet.may_be_sent_again |= service.remember(&packet),
            ServiceSpeech::SocketIo(_) if packet.may_be_sent_again => self.keep(packet.clone()),
            ServiceSpeech::SocketIo(_) => {}
        }
        Some(Action::Say(Side::Service, Spoken::Packet(Box::new(packet))))
    }

    /// Until its ack comes.
    fn keep(&mut self, packet: WholePacket) {
        let kept = &mut self.upstream.backlog_mut().kept;
        if kept.has_room(&packet, &self.core.rules.hold.bounds) {
            kept.push(packet);
        }
    }

    /// The connection broke before this packet was sent: the next one gets it, once.
    fn unsent(&mut self, mut packet: WholePacket) {
        match &mut self.service {
            ServiceSpeech::Plain(service) => {
                if !service.forget_unsent(&packet) {
                    return;
                }
            }
            ServiceSpeech::SocketIo(_) => {
                if let Some(id) = packet.ack_id {
                    self.upstream.acknowledged(packet.namespace, id);
                }
            }
        }
        packet.sent = packet.sent.saturating_sub(1);
        self.upstream.backlog_mut().queue.put_back(std::iter::once(packet));
    }

    /// When [`timeout`](Self::timeout) has something to do.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let hold = &self.core.rules.hold;
        let beat = self.client.absent_since().is_none().then(|| self.core.heartbeat.due());
        let acks = self.service.deadline().filter(|_| !self.upstream.has_begun());
        let again = self.core.heartbeat.again_at(self.core.pings().again_after()).filter(|_| beat.is_some());
        let others = [self.upstream.deadline(hold), acks, self.service.pong_by(), beat, again];
        let deadlines = self.core.deadlines().into_iter().chain(self.client.deadlines(hold)).chain(others);
        let deadline = deadlines.flatten().min();
        // An absent client always has a timeout, so a deadline always exists.
        deadline.unwrap_or_else(|| self.core.heartbeat.due())
    }

    /// Why both legs are to be closed, once the actions are done that can be.
    #[must_use]
    pub const fn ended(&self) -> Option<Ended> {
        self.core.ended()
    }

    /// The session is over: what still waited is wiped. So many packets of the client never reached the service.
    pub fn abandon(&mut self) -> u64 {
        let unsent = self.view().unsent();
        self.upstream.forget_backlog();
        if let ClientSpeech::EngineIo(EngineIo { resume: Some(resume), .. }) = &mut self.client {
            resume.abandon();
        }
        unsent
    }

    /// The session as others see it.
    #[must_use]
    pub const fn view(&self) -> View<'_> {
        let Self { core, upstream, client, service } = self;
        View { core, upstream, client, service }
    }

    const fn conversation(&mut self) -> Option<Conversation<'_>> {
        match (&mut self.client, &mut self.service) {
            (
                ClientSpeech::EngineIo(client) | ClientSpeech::Json(Json { client, .. }),
                ServiceSpeech::SocketIo(service),
            ) => Some(Conversation { client, service, upstream: &mut self.upstream, core: &mut self.core }),
            _ => None,
        }
    }

    /// A side sent a Close.
    fn closed(&mut self, from: Side, payload: &[u8], now: Now) {
        let (code, reason) = match close::parse_close(payload) {
            Ok(said) => said.unwrap_or(NO_CLOSE),
            Err(error) => return self.core.end(Ended::broken_frame(from, error.close_code())),
        };
        self.core.closed_for(reason, now);
        self.lost(if from == Side::Client { Ended::ClientClosed(code) } else { Ended::ServiceClosed(code) }, now);
    }

    /// The service has answered a dial, and does not let this client in.
    fn refused(&mut self, status: u16, message: &str, now: Now) -> Note {
        let refused = self.conversation().and_then(|mut talk| refused_dial::tell(&mut talk, status, message, now));
        refused.unwrap_or_else(|| {
            self.lost(Ended::ServiceRefused, now);
            Note::None
        })
    }

    /// The client sent a WebSocket pong. One that answers a ping counts in no limit: many may come at once that stood behind
    /// delayed messages.
    fn client_pong(&mut self, now: Now) -> Note {
        let interval = self.core.pings().interval;
        let pong = match self.client {
            ClientSpeech::EngineIo(_) => Pong::Unasked,
            _ => self.core.heartbeat.answered_by_any(now.instant, interval),
        };
        let note = match pong {
            Pong::Unasked => {
                self.core.admits_control(Side::Client, now);
                return Note::None;
            }
            Pong::Earlier => return Note::None,
            Pong::OneOfSeveral => Note::None,
            Pong::Last(rtt) => Note::RoundTrip(rtt),
        };
        if let Some(mut talk) = self.conversation() {
            talk.echoed(now);
        }
        note
    }

    /// A side is lost. Where that is the service, the session may go on without it for a while.
    fn lost(&mut self, why: Ended, now: Now) {
        let is_known = match self.upstream.stage() {
            Stage::Down { .. } if why.service_may_return() => true,
            _ => why.client_may_return() && self.client.absent_since().is_some(),
        };
        if self.ended().is_some() || is_known {
            return;
        }
        let is_torn = self.upstream.is_passing_in_parts();
        if is_torn || !why.service_may_return() || self.core.rules.hold.hold.is_none() || !self.service.holds_after(why)
        {
            return self.core.end(why);
        }
        if let ServiceSpeech::SocketIo(service) = &mut self.service {
            let tells = self.client.absent_since().is_none();
            // The client fails the acks itself that it waits for when its connection closes.
            if tells && self.upstream.stage() == Stage::Flowing && service.loses_session(&self.core, &self.upstream) {
                return self.core.end(Ended::AcksLost);
            }
            service.service_lost(&mut self.core, &mut self.upstream, tells);
        }
        self.core.filled = self.core.filled.take().filter(|filled| filled.queue != "hold");
        // A client that has waited for the service is told of the outage, not of the Close that began it.
        let outage = if matches!(why, Ended::ServiceClosed(_)) { Ended::ServiceLost } else { why };
        let wait = if why == Ended::ServiceBusy { backoff_of_busy } else { backoff };
        let dial_at = now.instant + wait(self.upstream.failures(), self.core.spread());
        self.upstream.lose(outage, dial_at, now.instant);
        self.core.forget_close_reason();
        self.core.actions.push(Action::Detach(Side::Service, why));
    }

    /// Looks after an end, if there is one, and after a service that is back.
    #[inline]
    fn conclude(&mut self, now: Now) {
        if let ClientSpeech::Json(Json { client, .. }) = &self.client
            && matches!(&self.service, ServiceSpeech::SocketIo(service) if service.namespaces.is_empty())
        {
            self.core.end(if client.connect_by().is_some() { Ended::ConnectRefused } else { Ended::Disconnected });
        }
        if self.core.ended().is_some() {
            self.keep_for_client(now);
            return self.leave_rooms_at_end();
        }
        if matches!(&self.service, ServiceSpeech::SocketIo(service) if service.acks.has_late())
            && let Some(mut talk) = self.conversation()
        {
            talk.service_back(now);
        }
    }

    /// An end that concerns the client's connection alone: the client may come back. A page that is left does not come
    /// back, nor does a client that is in no namespace.
    #[cold]
    fn keep_for_client(&mut self, now: Now) {
        let Some(why) = self.core.ended().filter(|why| why.client_may_return()) else { return };
        let is_kept = self.core.rules.hold.resume.is_some();
        let Some(mut talk) = self.conversation().filter(|_| is_kept) else { return };
        let is_present = talk.client.resume.as_ref().is_some_and(|resume| resume.absent_since().is_none());
        if is_present && talk.service.namespaces.names().next().is_some() {
            talk.client_lost(why, now);
        }
    }
}

#[cfg(test)]
mod tests;
