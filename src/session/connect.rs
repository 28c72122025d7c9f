//! A client's CONNECT: who asks, which namespace, and whether it means a session that the client had before.

use std::time::Duration;

use crate::{
    policy::{
        auth::{self, AuthError},
        identity::Identity,
        namespaces,
        verdict::{Refusal, RefusalKind, Verdict},
    },
    session::{
        action::Action,
        conversation::Conversation,
        ended::{Ended, JOIN_RATE},
        engineio::PendingClaim,
        message::{CONNECT_TOO_BIG, Fate, Note, Side, Until},
        now::Now,
        question::{Claim, Question, Returning},
        resume::Recovery,
    },
    wire::socketio::{encode, peek::PacketHead},
};

/// So many CONNECT packets may be refused before the session is closed.
const REFUSED_CONNECTS_MAX: u8 = 16;

/// How long a CONNECT waits for a key that is being fetched.
const KEYS_WITHIN: Duration = Duration::from_secs(5);

/// How long it waits for the session that it claims to answer.
const CLAIM_WITHIN: Duration = Duration::from_secs(2);

/// A client that joins namespaces faster than `socketio.joins` allows. It is closed, and not told so by a CONNECT_ERROR, which is
/// final: when it reconnects, it may join again.
const TOO_MANY: Refusal =
    Refusal { kind: RefusalKind::TooMany, code: JOIN_RATE, message: "namespaces are joined too fast", rule: None };

/// All that is kept of the CONNECT packets of one session has at most so many times the size of the largest one.
const CONNECTS_KEPT_MAX: usize = 4;

/// The refusal of a CONNECT with more bytes than `socketio.max_connect`.
const TOO_BIG: Refusal = Refusal {
    kind: RefusalKind::Malformed,
    code: CONNECT_TOO_BIG,
    message: "What is said to connect is too large",
    rule: None,
};

/// Refuses a CONNECT for its size, which is known before all of it has come.
pub(super) fn too_big(talk: &mut Conversation<'_>, head: &PacketHead<'_>, now: Now) -> (Fate, Note) {
    talk.core.spend_join(now);
    let (fate, mut note) = refuse(talk, head.namespace, TOO_BIG, now);
    if let Note::Refused(refused) = &mut note {
        refused.is_connect = true;
    }
    (fate, note)
}

/// Judges a CONNECT with this JSON, or none.
pub(super) fn judge(talk: &mut Conversation<'_>, head: &PacketHead<'_>, json: &[u8], now: Now) -> (Fate, Note) {
    if let Some(fate) = claim(talk, head, json, now) {
        return (fate, Note::None);
    }
    let was_in = is_unreturned(talk, head.namespace);
    if was_in && returns(talk, head, json, now) {
        return (Fate::Drop, Note::None);
    }
    // Behind the DISCONNECT that is said of a namespace that the client was in, its CONNECT is said too.
    let passes = talk.upstream.flows() && !was_in;
    let was_known = talk.core.identity.is_some();
    let (fate, mut note) = if talk.core.may_join(now) {
        join(talk, head, json, passes, now)
    } else {
        talk.core.obey(Verdict::Close(TOO_MANY), None, now)
    };
    // The first that is accepted is what every session has.
    let is_free = !was_known && talk.core.identity.is_some();
    if !matches!(fate, Fate::Wait(_)) && !is_free {
        talk.core.spend_join(now);
    }
    if let Note::Refused(refused) = &mut note {
        refused.is_connect = true;
    }
    (fate, note)
}

/// The first CONNECT may ask for a session that the client had before. `None`: it is one like any other.
fn claim(talk: &mut Conversation<'_>, head: &PacketHead<'_>, json: &[u8], now: Now) -> Option<Fate> {
    if talk.core.rules.hold.resume.is_none() || talk.core.identity.is_some() {
        return None;
    }
    if let Some(claim) = talk.client.pending.as_ref().and_then(|pending| pending.claim.as_ref()) {
        return match claim.granted {
            None if now.instant < claim.until => Some(Fate::Wait(Until::Answer(claim.ticket, claim.until))),
            Some(true) => Some(hand_over(talk)),
            None | Some(false) => None,
        };
    }
    let Recovery { pid, offset } = Recovery::read(json)?;
    let identity = identify_silently(talk, json, now)?;
    let claim = Claim { user: identity.user().map(Box::from), namespace: head.namespace.into(), offset };
    let returning = Returning { pid, claim: claim.clone(), sid: talk.client.sid, peer: talk.core.peer, identity };
    let (ticket, until) = (talk.core.ticket(), now.instant + CLAIM_WITHIN);
    talk.core.actions.push(Action::Ask(ticket, Question::Claim(pid, claim)));
    let pending = talk.client.pending.get_or_insert_default();
    pending.claim = Some(PendingClaim { ticket, until, granted: None, returning });
    Some(Fate::Wait(Until::Answer(ticket, until)))
}

fn hand_over(talk: &mut Conversation<'_>) -> Fate {
    if let Some(claim) = talk.client.pending.take().and_then(|pending| pending.claim) {
        talk.core.actions.push(Action::HandOver(Box::new(claim.returning)));
    }
    talk.core.end(Ended::HandedOver);
    Fate::HandOver
}

/// Who asks, as far as that can be told without consequences.
fn identify_silently(talk: &Conversation<'_>, json: &[u8], now: Now) -> Option<Identity> {
    let in_connect = talk.core.rules.policies.token_sources.from_connect(json).ok()?;
    let in_head = talk.client.token.as_ref()?.as_ref().as_ref().ok()?.as_ref();
    if in_connect.as_ref().zip(in_head).is_some_and(|(one, other)| one != other) {
        return None;
    }
    talk.authenticate(in_connect.as_ref().or(in_head), now).ok()
}

/// Whether the client has been in this namespace and has yet to come back to it.
fn is_unreturned(talk: &Conversation<'_>, namespace: &str) -> bool {
    let number = talk.service.namespaces.find(namespace).map(|(number, _)| number);
    talk.client.resume.as_ref().zip(number).is_some_and(|(resume, number)| resume.is_unreturned(number))
}

/// A client that has come back asks for another namespace that it was in. False: it does not mean the same session, or may
/// have missed something there, so the namespace is left, and joined as by a new client.
fn returns(talk: &mut Conversation<'_>, head: &PacketHead<'_>, json: &[u8], now: Now) -> bool {
    let pid = talk.client.resume.as_ref().map(|resume| resume.pid);
    let recovery = Recovery::read(json).filter(|recovery| Some(recovery.pid) == pid);
    let user = talk.core.identity.as_ref().and_then(Identity::user);
    let is_owner = match talk.core.rules.policies.token_sources.from_connect(json) {
        Ok(None) => true,
        Ok(token) => talk.authenticate(token.as_ref(), now).is_ok_and(|identity| identity.user() == user),
        Err(_) => false,
    };
    if recovery.filter(|_| is_owner).is_some_and(|recovery| talk.return_to(head.namespace, recovery.offset)) {
        return true;
    }
    talk.leave_for_client(head.namespace);
    false
}

/// Why it is not known who asks.
enum Unknown {
    KeysPending,
    Refused(Refusal),
}

/// Lets the client ask for a namespace, or refuses it. Where its CONNECT does not pass, it is said as soon as it can be.
fn join(talk: &mut Conversation<'_>, head: &PacketHead<'_>, json: &[u8], passes: bool, now: Now) -> (Fate, Note) {
    if talk.client.attachments.awaited > 0 {
        return talk.core.malformed("attachment_missing");
    }
    if talk.service.namespaces.find(head.namespace).is_some() {
        return talk.core.malformed("connect_twice");
    }
    if !talk.core.rules.policies.namespaces.admits(head.namespace) {
        return refuse(talk, head.namespace, namespaces::Namespaces::REFUSAL, now);
    }
    let identity = match identify(talk, json, now) {
        Ok(identity) => identity,
        Err(Unknown::KeysPending) => return wait_for_keys(talk, now),
        Err(Unknown::Refused(refusal)) if refusal.kind == RefusalKind::Unavailable => {
            return talk.core.obey(Verdict::Close(refusal), None, now);
        }
        Err(Unknown::Refused(refusal)) => return refuse(talk, head.namespace, refusal, now),
    };
    let kept = talk.service.namespaces.connect_bytes().saturating_add(json.len());
    if kept > talk.core.rules.max_connect.saturating_mul(CONNECTS_KEPT_MAX) {
        return refuse(talk, head.namespace, TOO_BIG, now);
    }
    if !talk.service.namespaces.connecting(head.namespace, json) {
        return talk.core.malformed("too_many_namespaces");
    }
    talk.client.pending = None;
    if talk.core.identity.is_none() {
        talk.client.token = None;
        talk.upstream.want(now.instant);
        talk.core.actions.push(Action::Dial { again: false });
    } else if talk.upstream.is_open() && !passes {
        let mut text = Vec::new();
        encode::connect(head.namespace, json, None, &mut text);
        talk.core.say(Side::Service, text);
    }
    talk.core.identify(identity, now);
    (if passes { Fate::Pass } else { Fate::Drop }, Note::None)
}

/// Who asks? By the token in CONNECT, else by that of the handshake, else as who was known before.
fn identify(talk: &Conversation<'_>, json: &[u8], now: Now) -> Result<Identity, Unknown> {
    let sources = &talk.core.rules.policies.token_sources;
    let in_connect = sources.from_connect(json).map_err(Unknown::Refused)?;
    let known = talk.core.identity.as_ref();
    let token = match (&in_connect, talk.client.token.as_deref()) {
        (Some(token), Some(Ok(Some(other)))) if token != other => return Err(Unknown::Refused(auth::INVALID)),
        (Some(token), _) => Some(token),
        (None, Some(Err(refusal))) => return Err(Unknown::Refused(*refusal)),
        (None, Some(Ok(token))) => token.as_ref(),
        (None, None) => match known {
            Some(identity) => return Ok(identity.clone()),
            None => None,
        },
    };
    let identity = talk.authenticate(token, now).map_err(|error| match error {
        AuthError::Refused(refusal) => Unknown::Refused(refusal),
        AuthError::KeysPending => Unknown::KeysPending,
    })?;
    match known {
        Some(known) if known.user() != identity.user() => Err(Unknown::Refused(auth::INVALID)),
        _ => Ok(identity),
    }
}

fn wait_for_keys(talk: &mut Conversation<'_>, now: Now) -> (Fate, Note) {
    let pending = talk.client.pending.get_or_insert_default();
    let until = *pending.keys_since.get_or_insert(now.instant) + KEYS_WITHIN;
    if now.instant >= until {
        return talk.core.obey(Verdict::Close(auth::KEYS_UNAVAILABLE), None, now);
    }
    let ticket = talk.core.ticket();
    talk.core.actions.push(Action::Ask(ticket, Question::Keys));
    (Fate::Wait(Until::Answer(ticket, until)), Note::None)
}

/// A final refusal is said inside the session, as CONNECT_ERROR, for it alone stops an official client.
fn refuse(talk: &mut Conversation<'_>, namespace: &str, refusal: Refusal, now: Now) -> (Fate, Note) {
    talk.client.refused_connects = talk.client.refused_connects.saturating_add(1);
    let mut text = Vec::new();
    encode::connect_error(namespace, refusal.message, refusal.code, &mut text);
    talk.core.say(Side::Client, text);
    if talk.service.namespaces.is_empty() {
        talk.client.linger(now);
    }
    let verdict = if talk.client.refused_connects >= REFUSED_CONNECTS_MAX {
        Verdict::Close(refusal)
    } else {
        Verdict::Reply { refusal, once_per: Duration::ZERO }
    };
    talk.core.obey(verdict, None, now)
}
