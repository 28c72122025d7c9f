//! Engine.IO with the client: its identity, its missing attachments, and the state for its return.

use std::time::{Duration, Instant};

use crate::{
    policy::{identity::CertifiedUser, token_source::Token, verdict::Refusal},
    session::{message::Ticket, now::Now, question::Returning, queue::allocated, resume::Resume},
    wire::engineio::id::{ID_RANDOM_BYTES, Pid, Sid},
};

/// A client whose CONNECT was refused for good has this long to go by itself.
const REFUSED_LINGER: Duration = Duration::from_secs(5);

/// What an Engine.IO client brings with its handshake.
#[derive(Debug)]
pub struct Handshake {
    /// The id that the client knows its session by.
    pub sid: Sid,
    /// What the client shows to come back. `None`: it cannot.
    pub pid: Option<Pid>,
    /// The token in header, query, cookie or subprotocol; or why what stood there was refused.
    pub token: Result<Option<Token>, Refusal>,
    /// The user whom a client certificate names.
    pub certified: Option<CertifiedUser>,
}

/// What the client speaks: Socket.IO v5 inside Engine.IO v4, over either transport.
#[derive(Debug)]
pub(super) struct EngineIo {
    pub(super) sid: Sid,
    /// What it takes to go on with a client that comes back. `None`: it cannot come back.
    pub(super) resume: Option<Box<Resume>>,
    /// What the handshake brought, until the first CONNECT has been accepted.
    pub(super) token: Option<Box<Result<Option<Token>, Refusal>>>,
    /// Who the client is by its certificate, where no token says it.
    pub(super) certified: Option<CertifiedUser>,
    pub(super) attachments: Attachments,
    /// What a CONNECT waits for.
    pub(super) pending: Option<Box<Pending>>,
    pub(super) refused_connects: u8,
    /// The client speaks JSON, of which the gate makes packets and back: it is no official client, hears each refusal, and may
    /// speak before it has joined.
    pub(super) is_bridged: bool,
    connect_by: Option<Instant>,
}

/// A packet of a client must have all of its attachments within this, for they are kept here until then.
const ATTACHMENTS_WITHIN: Duration = Duration::from_secs(10);

/// The binary messages that belong to the packet of the client before them.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Attachments {
    pub(super) awaited: u8,
    /// Whether they pass, as their packet does.
    pub(super) pass: bool,
    /// How many bytes they may still have together.
    room: u32,
    /// When the last of them must have come.
    until: Option<Instant>,
}

impl Attachments {
    /// Of a packet without any.
    const NONE: Self = Self { awaited: 0, pass: false, room: 0, until: None };

    /// Those of a packet of `packet` bytes, which has at most `max` bytes with them.
    pub(super) fn of(awaited: u8, pass: bool, packet: usize, max: usize, now: Now) -> Self {
        let room = u32::try_from(max.saturating_sub(packet)).unwrap_or(u32::MAX);
        Self { awaited, pass, room, until: (awaited > 0).then(|| now.instant + ATTACHMENTS_WITHIN) }
    }

    /// Whether there is room for the next one.
    pub(super) fn admits(&self, bytes: usize) -> bool {
        u32::try_from(bytes).is_ok_and(|bytes| bytes <= self.room)
    }

    /// The next one has come.
    pub(super) fn came(&mut self, bytes: usize) {
        self.awaited = self.awaited.saturating_sub(1);
        self.room = self.room.saturating_sub(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.until = self.until.filter(|_| self.awaited > 0);
    }

    /// The client is not read now, so it has all of its time again.
    pub(super) fn unread(&mut self, now: Now) {
        self.until = self.until.map(|_| now.instant + ATTACHMENTS_WITHIN);
    }

    /// When the last of them must have come. `None`: none is awaited.
    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }
}

/// Answers that a CONNECT waits for.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Since when it has waited for a key that is being fetched.
    pub(super) keys_since: Option<Instant>,
    /// The session that it asks for.
    pub(super) claim: Option<PendingClaim>,
}

/// A session that the client claims.
#[derive(Debug)]
pub(super) struct PendingClaim {
    pub(super) ticket: Ticket,
    pub(super) until: Instant,
    /// `None`: there is no answer yet.
    pub(super) granted: Option<bool>,
    pub(super) returning: Returning,
}

impl EngineIo {
    /// A client that has yet to begin with a CONNECT, before `connect_by`. `seed` is chance.
    pub(super) fn new(handshake: Handshake, seed: u32, connect_by: Instant) -> Self {
        let Handshake { sid, pid, token, certified } = handshake;
        Self {
            sid,
            resume: pid.map(|pid| Box::new(Resume::new(pid, seed))),
            token: Some(Box::new(token)),
            certified,
            attachments: Attachments::default(),
            pending: None,
            refused_connects: 0,
            is_bridged: false,
            connect_by: Some(connect_by),
        }
    }

    /// A client that speaks JSON, and joins the namespace of its route before `connect_by`. It cannot come back.
    pub(super) const fn bridged(sid: Sid, connect_by: Instant) -> Self {
        Self {
            sid,
            resume: None,
            token: None,
            certified: None,
            attachments: Attachments::NONE,
            pending: None,
            refused_connects: 0,
            is_bridged: true,
            connect_by: Some(connect_by),
        }
    }

    /// An absent client that can come back with this.
    pub(super) fn absent(resume: Resume, certified: Option<CertifiedUser>, refused_connects: u8) -> Self {
        Self {
            // No client knows it: the one that comes back brings another.
            sid: Sid::new(resume.pid.home(), [0; ID_RANDOM_BYTES]),
            resume: Some(Box::new(resume)),
            token: None,
            certified,
            attachments: Attachments::default(),
            pending: None,
            refused_connects,
            is_bridged: false,
            connect_by: None,
        }
    }

    /// When the session ends unless a namespace has been joined. `None`: one has.
    pub(super) const fn connect_by(&self) -> Option<Instant> {
        self.connect_by
    }

    /// A namespace has been joined.
    pub(super) const fn joined(&mut self) {
        self.connect_by = None;
    }

    /// The only CONNECT was refused for good.
    pub(super) fn linger(&mut self, now: Now) {
        let until = now.instant + REFUSED_LINGER;
        self.connect_by = Some(self.connect_by.map_or(until, |by| by.min(until)));
    }

    /// The question with this ticket is answered.
    pub(super) fn answered(&mut self, ticket: Ticket, granted: bool) {
        let claim = self.pending.as_mut().and_then(|pending| pending.claim.as_mut());
        if let Some(claim) = claim.filter(|claim| claim.ticket == ticket) {
            claim.granted = Some(granted);
        }
    }

    /// What it keeps whose length the sides have decided, in bytes of memory.
    pub(super) fn memory(&self) -> usize {
        let claim = self.pending.as_ref().and_then(|pending| pending.claim.as_ref());
        let connect = claim.map_or(0, |claim| allocated(claim.returning.connect.capacity()));
        connect + self.resume.as_ref().map_or(0, |resume| resume.memory())
    }

    /// Since when the client is absent. `None`: it is there.
    pub(super) fn absent_since(&self) -> Option<Instant> {
        self.resume.as_ref().and_then(|resume| resume.absent_since())
    }
}
