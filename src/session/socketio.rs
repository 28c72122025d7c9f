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
        acks::{Acks, ClientAck},
        answer,
        ended::Ended,
        hold::HoldTerms,
        namespaces::{Answered, Membership, Namespaces},
        queue::WholePacket,
        resume::Resume,
        upstream::Upstream,
    },
    wire::{
        engineio::open::Sid,
        socketio::{encode, packet::PacketType, peek::PacketHead},
        websocket::close::CloseCode,
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
    /// Where it stands with the service.
    pub upstream: Upstream,
    /// What it takes to go on with a client that comes back; none: it does not.
    pub resume: Option<Box<Resume>>,
    pub(super) acks: Acks,
    /// What the handshake brought, until the first CONNECT has been accepted.
    credentials: Option<Box<Credentials>>,
    /// Who the client is by its certificate, where no token says it.
    certified: Option<Box<str>>,
    connect_by: Option<Instant>,
    client_attachments: Attachments,
    /// The number that the service knows the client's last ack by, where the client says another.
    ack_for_service: Option<u64>,
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
    /// What the client gets of it.
    pub pass: Pass,
}

/// In which form a packet goes onward.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// As it came.
    #[default]
    AsItIs,
    /// Under this ack id.
    WithAckId(u64),
    /// Not at all.
    Not,
}

impl SocketIo {
    /// A conversation that has yet to begin with a CONNECT, before `connect_by`.
    #[must_use]
    pub fn new(sid: Sid, token: Result<Option<Token>, Refusal>, connect_by: Instant) -> Self {
        Self {
            sid,
            namespaces: Namespaces::default(),
            upstream: Upstream::default(),
            resume: None,
            acks: Acks::default(),
            credentials: Some(Box::new(Credentials { token, keys_wanted_since: None })),
            certified: None,
            connect_by: Some(connect_by),
            client_attachments: Attachments { awaited: 0, pass: false },
            ack_for_service: None,
            refused_connects: 0,
        }
    }

    /// The client has shown the certificate of this user.
    #[must_use]
    pub fn certified(mut self, user: Option<&str>) -> Self {
        self.certified = user.map(Into::into);
        self
    }

    /// The client may come back with this.
    #[must_use]
    pub fn resumable(mut self, pid: Sid) -> Self {
        self.resume = Some(Box::new(Resume::new(pid)));
        self
    }

    /// The client will not say the rest of what it had begun.
    pub(super) fn forget_unfinished(&mut self) {
        self.client_attachments = Attachments { awaited: 0, pass: false };
        self.upstream.forget_begun();
    }

    /// When the session ends unless a namespace has been joined; none: one has.
    #[must_use]
    pub const fn connect_by(&self) -> Option<Instant> {
        self.connect_by
    }

    /// Must this packet of the client be seen whole, because it cannot simply go onward? `here` says whether all of it
    /// is here, to go in one piece.
    #[must_use]
    pub fn takes_whole(&self, head: &PacketHead<'_>, here: bool, hold: &HoldTerms) -> bool {
        !here
            || !self.upstream.flows()
            || head.attachments > 0
            || (head.kind.is_ack() && self.acks.are_renumbered())
            || hold.sends_again(head)
    }

    /// The packet that was just let through, to be [taken](Session::take_packet).
    #[must_use]
    pub fn whole_packet(&self, head: &PacketHead<'_>, text: &[u8], hold: &HoldTerms) -> Option<WholePacket> {
        let (namespace, _) = self.namespaces.find(head.namespace)?;
        let mut bytes = Vec::with_capacity(text.len());
        match head.ack_id.zip(self.ack_for_service) {
            Some((said, id)) => encode::with_ack_id(text, head.data_at, said, id, &mut bytes),
            None => bytes.extend_from_slice(text),
        }
        let ack_id = head.ack_id.filter(|_| head.kind.is_event());
        let mut packet = WholePacket::new(namespace, ack_id, bytes, head.attachments);
        packet.may_be_sent_again = hold.sends_again(head);
        Some(packet)
    }

    /// Must this packet of the service be seen whole, because something is to be read or changed in it?
    #[must_use]
    pub fn reads_whole(&self, head: &PacketHead<'_>) -> bool {
        match head.kind {
            PacketType::Event | PacketType::BinaryEvent if self.resume.is_some() => true,
            PacketType::Event | PacketType::BinaryEvent => match head.ack_id {
                Some(_) => self.acks.are_renumbered(),
                None => self.namespaces.numbers_events(head.namespace),
            },
            PacketType::Connect => true,
            _ => false,
        }
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
        socketio.ack_for_service = None;
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
            PacketType::Ack | PacketType::BinaryAck => {
                match socketio.acks.client_answers(head.ack_id.unwrap_or_default()) {
                    ClientAck::Answers(id) => {
                        socketio.ack_for_service = head.ack_id.filter(|said| *said != id).and(Some(id));
                        Verdict::Forward
                    }
                    ClientAck::Stale => Verdict::Drop(ACK_STALE),
                    ClientAck::Unknown => Verdict::Drop(ACK_UNKNOWN),
                }
            }
            PacketType::Disconnect => {
                if socketio.upstream.is_open() && !socketio.upstream.flows() {
                    let mut text = Vec::new();
                    encode::disconnect(head.namespace, &mut text);
                    common.actions.push_back(Action::SendService(Cow::Owned(text)));
                }
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
        if !socketio.namespaces.connecting(head.namespace, payload) {
            return common.malformed("too_many_namespaces");
        }
        let first = common.identity.is_none();
        if first {
            socketio.credentials = None;
            common.meters = policies.open_meters(&identity, common.peer, now);
            socketio.upstream.want(now);
            common.actions.push_back(Action::Dial);
        } else if socketio.upstream.is_open() && !socketio.upstream.flows() {
            let mut text = Vec::new();
            encode::connect(head.namespace, payload, None, &mut text);
            common.actions.push_back(Action::SendService(Cow::Owned(text)));
        }
        common.know(identity, wall, now);
        Verdict::Forward
    }

    /// The service sent a packet, with this JSON as far as it is [to be read](SocketIo::reads_whole).
    pub fn service_packet(&mut self, head: &PacketHead<'_>, json: &[u8], now: Instant) -> Heard {
        let (Dialect::SocketIo(socketio), common) = self.parts() else { return Heard::default() };
        let mut heard = Heard::default();
        match head.kind {
            PacketType::Connect => match socketio.namespaces.joined(head.namespace, json) {
                Some(Answered::News) => {
                    socketio.connect_by = None;
                    if socketio.namespaces.numbers_events(head.namespace) {
                        // The service does it itself.
                        socketio.resume = None;
                    }
                }
                Some(Answered::Recovered) => heard.pass = Pass::Not,
                None => {}
            },
            PacketType::ConnectError => heard.pass = socketio.refused_by_service(common, head.namespace),
            PacketType::Disconnect => socketio.leave(head.namespace),
            PacketType::Event | PacketType::BinaryEvent => {
                if let Some(id) = head.ack_id {
                    heard.pass = socketio.acks.service_asks(id).map_or(Pass::AsItIs, Pass::WithAckId);
                } else if let Some(offset) = offset_of(json) {
                    match head.attachments {
                        0 => socketio.namespaces.got(head.namespace, offset),
                        _ => socketio.namespaces.gets(head.namespace, offset),
                    }
                }
            }
            PacketType::Ack | PacketType::BinaryAck => {
                if let (Some(id), Some((number, _))) = (head.ack_id, socketio.namespaces.find(head.namespace)) {
                    heard.latency = socketio.acks.service_answers(number, id, now);
                    socketio.acknowledged(number, id);
                }
            }
        }
        socketio.settle();
        heard
    }
}

enum Doubt {
    Wait,
    Refused(Refusal),
}

impl SocketIo {
    /// Who asks? Found out without consequences.
    pub(super) fn who(&self, payload: &[u8], policies: &Policies, wall: SystemTime) -> Option<Identity> {
        let in_connect = policies.token_sources.from_connect(payload).ok()?;
        let in_head = self.credentials.as_ref()?.token.as_ref().ok()?.as_ref();
        if in_connect.as_ref().zip(in_head).is_some_and(|(one, other)| one != other) {
            return None;
        }
        let identity = policies.auth.authenticate(in_connect.as_ref().or(in_head), wall).ok()?;
        Some(identity.or_certified(self.certified.as_deref()))
    }

    /// Does this token name this user, or leave it to a certificate that does?
    pub(super) fn is(&self, user: Option<&str>, token: Option<&Token>, policies: &Policies, wall: SystemTime) -> bool {
        let identity = policies.auth.authenticate(token, wall);
        identity.is_ok_and(|identity| identity.or_certified(self.certified.as_deref()).user() == user)
    }

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
            Ok(identity) => identity.or_certified(self.certified.as_deref()),
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

    /// The service does not let the client into a namespace. To one that is in it already that cannot be said: official
    /// clients would go on as if they were. So it is thrown out or, where it is nowhere else, sent to connect anew.
    fn refused_by_service(&mut self, common: &mut Common, namespace: &str) -> Pass {
        let was = self.namespaces.find(namespace).map(|(_, membership)| membership);
        self.leave(namespace);
        if was != Some(Membership::Joined) {
            return Pass::AsItIs;
        }
        if self.namespaces.is_empty() {
            common.end(Ended::ServiceClosed(CloseCode::NO_STATUS));
        } else {
            let mut text = Vec::new();
            encode::disconnect(namespace, &mut text);
            common.actions.push_back(Action::SendClient(Cow::Owned(text)));
        }
        Pass::Not
    }

    pub(super) fn leave(&mut self, namespace: &str) {
        if let Some((number, _)) = self.namespaces.left(namespace) {
            self.acks.forget(number);
            self.forget_packets(number);
        }
        self.settle();
    }
}

/// The offset of connection state recovery: the last argument of an event, where that is a string without escapes.
fn offset_of(json: &[u8]) -> Option<&str> {
    let arguments = json.strip_suffix(b"\"]")?;
    let begin = arguments.iter().rposition(|&byte| byte == b'"')? + 1;
    let offset = std::str::from_utf8(&arguments[begin..]).ok()?;
    // The first string of an event is its name.
    let is_argument = arguments[..begin - 1].last() == Some(&b',');
    (is_argument && offset.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))).then_some(offset)
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

const ACK_STALE: Refusal =
    Refusal { kind: RefusalKind::Malformed, code: "ack_stale", message: "whoever asked for it is gone", rule: None };

const WITH_ITS_PACKET: Refusal =
    Refusal { kind: RefusalKind::TooMany, code: "with_its_packet", message: "its packet was refused", rule: None };
