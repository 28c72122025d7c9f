//! A Socket.IO conversation: who may join, which packet may pass, whose attachments these are.

use std::{
    borrow::Cow,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    event_names::EventSlot,
    policy::{
        auth::{self, AuthError},
        identity::Identity,
        namespaces,
        policies::{Asked, Policies},
        token_source::Token,
        verdict::{Refusal, RefusalKind, Verdict},
    },
    session::{
        Action, Common, Dialect, Session,
        acks::Acks,
        answer,
        ended::Ended,
        namespaces::{Membership, Namespaces},
    },
    wire::{
        engineio::open::Sid,
        socketio::{encode, packet::PacketType, peek::PacketHead},
    },
};

/// A client whose CONNECT was refused for good has this long to go by itself.
const REFUSED_LINGER: Duration = Duration::from_secs(5);

/// So many CONNECT packets may be refused before the session is closed.
const REFUSED_CONNECTS_MAX: u8 = 16;

/// How long a CONNECT waits for a key that is being fetched, and how often it is judged again.
const KEYS_PATIENCE: Duration = Duration::from_secs(5);
const KEYS_RETRY: Duration = Duration::from_millis(50);

/// A Socket.IO conversation.
#[derive(Debug)]
pub struct SocketIo {
    /// The Engine.IO session id the client knows.
    pub sid: Sid,
    /// Which namespaces are asked for and joined.
    pub namespaces: Namespaces,
    acks: Acks,
    /// What the handshake brought, until the first CONNECT has been accepted.
    credentials: Option<Box<Credentials>>,
    connect_by: Option<Instant>,
    client_attachments: Attachments,
    service_attachments: u8,
    refused_connects: u8,
}

/// What the handshake said of who the client is.
#[derive(Debug)]
pub struct Credentials {
    /// The token in header, query, cookie or subprotocol; or why what stood there was refused.
    pub token: Result<Option<Token>, Refusal>,
    keys_wanted_since: Option<Instant>,
}

/// The binary messages that belong to the packet before them.
#[derive(Debug, Clone, Copy)]
struct Attachments {
    awaited: u8,
    pass: bool,
}

/// What a packet of the service meant.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// It was the ack of this event, after this long.
    pub latency: Option<(EventSlot, Duration)>,
}

impl SocketIo {
    /// A conversation that has yet to begin with a CONNECT, before `connect_by`.
    #[must_use]
    pub fn new(sid: Sid, token: Result<Option<Token>, Refusal>, connect_by: Instant) -> Self {
        Self {
            sid,
            namespaces: Namespaces::default(),
            acks: Acks::default(),
            credentials: Some(Box::new(Credentials { token, keys_wanted_since: None })),
            connect_by: Some(connect_by),
            client_attachments: Attachments { awaited: 0, pass: false },
            service_attachments: 0,
            refused_connects: 0,
        }
    }

    /// When the session ends unless a namespace has been joined; none: one has.
    #[must_use]
    pub const fn connect_by(&self) -> Option<Instant> {
        self.connect_by
    }

    /// Is the service in the middle of a packet with attachments, between which nothing else may stand?
    #[must_use]
    pub const fn service_in_packet(&self) -> bool {
        self.service_attachments > 0
    }
}

impl Session {
    /// The client sent a packet other than CONNECT.
    pub fn client_packet(
        &mut self,
        head: &PacketHead<'_>,
        slot: EventSlot,
        policies: &Policies,
        now: Instant,
    ) -> Verdict {
        let (Dialect::SocketIo(socketio), common) = self.parts() else { return Verdict::Forward };
        if socketio.client_attachments.awaited > 0 {
            return common.malformed("attachment_missing");
        }
        let Some((number, Membership::Joined)) = socketio.namespaces.find(head.namespace) else {
            return common.malformed("namespace_not_joined");
        };
        let verdict = match head.kind {
            PacketType::Event | PacketType::BinaryEvent => {
                let event = head.event.as_ref().map_or("", |name| name.as_str());
                let asked = Asked { namespace: head.namespace, event, slot, now };
                let verdict = policies.judge(&asked, &common.meters);
                if let (Verdict::Forward, Some(id)) = (verdict, head.ack_id) {
                    socketio.acks.client_asks(number, id, slot, now);
                }
                verdict
            }
            PacketType::Ack | PacketType::BinaryAck if socketio.acks.client_answers() => Verdict::Forward,
            PacketType::Ack | PacketType::BinaryAck => Verdict::Drop(ACK_UNKNOWN),
            PacketType::Disconnect => {
                socketio.leave(head.namespace);
                Verdict::Forward
            }
            PacketType::Connect | PacketType::ConnectError => return common.malformed("packet_direction"),
        };
        if !matches!(verdict, Verdict::Delay { .. }) {
            let pass = verdict == Verdict::Forward;
            socketio.client_attachments = Attachments { awaited: head.attachments, pass };
        }
        match verdict {
            Verdict::Reply { once_per, .. } => common.tell(head, once_per, now),
            Verdict::Close(refusal) => common.end(Ended::Refused(refusal)),
            Verdict::Forward | Verdict::Drop(_) | Verdict::Delay { .. } => {}
        }
        verdict
    }

    /// The client sent a binary message: it passes where its packet passed.
    pub fn client_attachment(&mut self) -> Verdict {
        let (Dialect::SocketIo(socketio), common) = self.parts() else { return Verdict::Forward };
        let attachments = &mut socketio.client_attachments;
        if attachments.awaited == 0 {
            return common.malformed("attachment_stray");
        }
        attachments.awaited -= 1;
        if attachments.pass { Verdict::Forward } else { Verdict::Drop(WITH_ITS_PACKET) }
    }

    /// The client asks to join a namespace; `payload` is the JSON of its CONNECT, or empty.
    pub fn client_connect(
        &mut self,
        head: &PacketHead<'_>,
        payload: &[u8],
        policies: &Policies,
        wall: SystemTime,
        now: Instant,
    ) -> Verdict {
        let (Dialect::SocketIo(socketio), common) = self.parts() else { return Verdict::Forward };
        if socketio.client_attachments.awaited > 0 {
            return common.malformed("attachment_missing");
        }
        if socketio.namespaces.find(head.namespace).is_some() {
            return common.malformed("connect_twice");
        }
        if !policies.namespaces.admits(head.namespace) {
            return socketio.refuse(common, head.namespace, namespaces::Namespaces::REFUSAL, now);
        }
        let identity = match socketio.identify(common.identity.as_ref(), payload, policies, wall, now) {
            Ok(identity) => identity,
            Err(Doubt::Wait) => return Verdict::Delay { until: now + KEYS_RETRY },
            Err(Doubt::Refused(refusal)) if refusal.kind == RefusalKind::Unavailable => {
                common.end(Ended::Refused(refusal));
                return Verdict::Close(refusal);
            }
            Err(Doubt::Refused(refusal)) => return socketio.refuse(common, head.namespace, refusal, now),
        };
        if !socketio.namespaces.connecting(head.namespace) {
            return common.malformed("too_many_namespaces");
        }
        let first = common.identity.is_none();
        if first {
            socketio.credentials = None;
            common.meters = policies.open_meters(&identity, common.peer, now);
            common.actions.push_back(Action::Dial);
        }
        common.know(identity, wall, now);
        Verdict::Forward
    }

    /// The service sent a packet.
    pub fn service_packet(&mut self, head: &PacketHead<'_>, now: Instant) -> Heard {
        let (Dialect::SocketIo(socketio), _) = self.parts() else { return Heard::default() };
        let mut heard = Heard::default();
        socketio.service_attachments = head.attachments;
        match head.kind {
            PacketType::Connect => {
                if socketio.namespaces.joined(head.namespace) {
                    socketio.connect_by = None;
                }
            }
            PacketType::ConnectError | PacketType::Disconnect => socketio.leave(head.namespace),
            PacketType::Event | PacketType::BinaryEvent if head.ack_id.is_some() => socketio.acks.service_asks(),
            PacketType::Event | PacketType::BinaryEvent => {}
            PacketType::Ack | PacketType::BinaryAck => {
                if let (Some(id), Some((number, _))) = (head.ack_id, socketio.namespaces.find(head.namespace)) {
                    heard.latency = socketio.acks.service_answers(number, id, now);
                }
            }
        }
        heard
    }

    /// The service sent a binary message.
    pub const fn service_attachment(&mut self) {
        if let Dialect::SocketIo(socketio) = &mut self.dialect {
            socketio.service_attachments = socketio.service_attachments.saturating_sub(1);
        }
    }
}

enum Doubt {
    Wait,
    Refused(Refusal),
}

impl SocketIo {
    /// Who asks? By the token in CONNECT, else by that of the handshake, else as who was known before.
    fn identify(
        &mut self,
        known: Option<&Identity>,
        payload: &[u8],
        policies: &Policies,
        wall: SystemTime,
        now: Instant,
    ) -> Result<Identity, Doubt> {
        let in_connect = policies.token_sources.from_connect(payload).map_err(Doubt::Refused)?;
        let token = match (&in_connect, self.credentials.as_deref()) {
            (Some(token), Some(Credentials { token: Ok(Some(other)), .. })) if token != other => {
                return Err(Doubt::Refused(auth::INVALID));
            }
            (Some(token), _) => Some(token),
            (None, Some(Credentials { token: Err(refusal), .. })) => return Err(Doubt::Refused(*refusal)),
            (None, Some(Credentials { token: Ok(token), .. })) => token.as_ref(),
            (None, None) => match known {
                Some(identity) => return Ok(identity.clone()),
                None => None,
            },
        };
        let identity = match policies.auth.authenticate(token, wall) {
            Ok(identity) => identity,
            Err(AuthError::Refused(refusal)) => return Err(Doubt::Refused(refusal)),
            Err(AuthError::KeysPending) => return Err(self.wait_for_keys(now)),
        };
        match known {
            Some(known) if known.user() != identity.user() => Err(Doubt::Refused(auth::INVALID)),
            _ => Ok(identity),
        }
    }

    fn wait_for_keys(&mut self, now: Instant) -> Doubt {
        let Some(credentials) = &mut self.credentials else { return Doubt::Refused(auth::INVALID) };
        let since = *credentials.keys_wanted_since.get_or_insert(now);
        if now.saturating_duration_since(since) < KEYS_PATIENCE {
            Doubt::Wait
        } else {
            Doubt::Refused(auth::KEYS_UNAVAILABLE)
        }
    }

    /// A final refusal is said inside the session, as CONNECT_ERROR, for it alone stops an official client.
    fn refuse(&mut self, common: &mut Common, namespace: &str, refusal: Refusal, now: Instant) -> Verdict {
        self.refused_connects = self.refused_connects.saturating_add(1);
        let mut text = Vec::new();
        encode::connect_error(namespace, refusal.message, refusal.code, &mut text);
        common.actions.push_back(Action::SendClient(Cow::Owned(text)));
        if self.namespaces.is_empty() {
            let linger = now + REFUSED_LINGER;
            self.connect_by = Some(self.connect_by.map_or(linger, |by| by.min(linger)));
        }
        if self.refused_connects >= REFUSED_CONNECTS_MAX {
            common.end(Ended::Refused(refusal));
            return Verdict::Close(refusal);
        }
        Verdict::Reply { refusal, once_per: Duration::ZERO }
    }

    fn leave(&mut self, namespace: &str) {
        if let Some(number) = self.namespaces.left(namespace) {
            self.acks.forget(number);
        }
    }
}

impl Common {
    fn malformed(&mut self, rule: &'static str) -> Verdict {
        self.end(Ended::ClientPacket(rule));
        Verdict::Close(Refusal { kind: RefusalKind::Malformed, code: rule, message: "malformed packet", rule: None })
    }

    fn tell(&mut self, head: &PacketHead<'_>, once_per: Duration, now: Instant) {
        let mut text = Vec::new();
        match head.ack_id {
            Some(id) => encode::ack(head.namespace, id, answer::RATE_LIMITED, &mut text),
            None if self.may_tell(once_per, now) => {
                encode::event(head.namespace, answer::RATE_LIMITED_EVENT, answer::RATE_LIMITED, &mut text);
            }
            None => return,
        }
        self.actions.push_back(Action::SendClient(Cow::Owned(text)));
    }
}

const ACK_UNKNOWN: Refusal =
    Refusal { kind: RefusalKind::Malformed, code: "ack_unknown", message: "nobody asked for this ack", rule: None };

const WITH_ITS_PACKET: Refusal =
    Refusal { kind: RefusalKind::TooMany, code: "with_its_packet", message: "its packet was refused", rule: None };
