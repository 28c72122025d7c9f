//! Judges a client's CONNECT: its user, its namespace, and whether it resumes an earlier session.

use std::time::Duration;

use crate::{
    policy::{
        auth::{self, AuthError, Credential},
        identity::Identity,
        namespaces,
        token_fault::TokenFault,
        verdict::{Refusal, RefusalKind, Verdict},
    },
    session::{
        action::{Action, Spoken},
        conversation::Conversation,
        ended::{Ended, JOIN_RATE},
        engineio::PendingClaim,
        message::{self, Fate, Message, Note, Side, TOO_BIG, Until},
        now::Now,
        question::{Claim, Question, Returning},
        resume::Recovery,
        upstream::Stage,
    },
    wire::socketio::{
        encode,
        peek::{self, PacketHead, PeekError},
    },
};

/// So many CONNECT packets may be refused before the session is closed.
pub(super) const REFUSED_CONNECTS_MAX: u8 = 16;

/// How long it waits for the session that it claims to answer.
const CLAIM_WITHIN: Duration = Duration::from_secs(2);

/// A client that joins namespaces faster than `socketio.joins` allows. It is closed, and not told so by a CONNECT_ERROR, which is
/// final: when it reconnects, it may join again.
const TOO_MANY: Refusal = Refusal {
    kind: RefusalKind::TooMany,
    code: JOIN_RATE,
    message: "namespaces are joined too fast",
    rule: None,
    fault: None,
};

/// The refusal of a CONNECT where the session is in as many namespaces as `socketio.max_namespaces` allows.
const TOO_MANY_NAMESPACES: Refusal = Refusal {
    kind: RefusalKind::TooMany,
    code: message::TOO_MANY_NAMESPACES,
    message: "The connection is in too many namespaces",
    rule: None,
    fault: None,
};

/// The refusal of a CONNECT for a namespace that has no name which the gate keeps.
const fn unfit(error: PeekError) -> Refusal {
    let message = match error {
        PeekError::NamespaceTooLong => "The name of the namespace is too long",
        _ => "Invalid namespace",
    };
    Refusal { kind: RefusalKind::Malformed, code: error.code(), message, rule: None, fault: None }
}

/// A packet whose head breaks a rule. A CONNECT is refused by the name that it asks for, as Node refuses one for a namespace that
/// it does not have; every other packet ends the session.
pub(super) fn misread(talk: &mut Conversation<'_>, message: &Message<'_>, error: PeekError, now: Now) -> (Fate, Note) {
    let is_name = matches!(error, PeekError::NamespaceTooLong | PeekError::NamespaceCharacter);
    let asks = is_name && message.bytes.starts_with(b"40");
    if asks && !message.complete && message.len <= talk.core.rules.max_connect {
        return (Fate::Gather, Note::None);
    }
    let refusal = unfit(error);
    let is_short = message.complete && message.len <= talk.core.rules.max_connect;
    match peek::refused_namespace(message.bytes).filter(|_| asks && is_short) {
        Some(namespace) => refuse_cheaply(talk, namespace, refusal, now),
        // There is more of it than is ever kept of a CONNECT.
        None if asks && !is_short => dropped_connect(talk, refusal, now),
        None => {
            talk.core.end(Ended::ClientPacket(error.code()));
            (Fate::Drop, Note::None)
        }
    }
}

/// Nobody is told of it, because nobody can say which namespace it asks for.
fn dropped_connect(talk: &mut Conversation<'_>, refusal: Refusal, now: Now) -> (Fate, Note) {
    obey(talk, Verdict::Drop(refusal), now)
}

/// Refuses a CONNECT of which nothing was read but its namespace: it costs what any refusal costs, and is none of those that
/// end a session.
fn refuse_cheaply(talk: &mut Conversation<'_>, namespace: &str, refusal: Refusal, now: Now) -> (Fate, Note) {
    say_error(talk, Spoken::text(refusal_text(namespace, refusal)), now);
    obey(talk, Verdict::Reply { refusal, once_per: Duration::ZERO }, now)
}

/// Refuses a CONNECT for its size, which is known before all of it has come.
pub(super) fn too_big(talk: &mut Conversation<'_>, head: &PacketHead<'_>, now: Now) -> (Fate, Note) {
    talk.core.spend_join(now);
    refuse(talk, head.namespace, TOO_BIG, now)
}

/// Judges a CONNECT with this JSON, or none.
pub(super) fn judge(talk: &mut Conversation<'_>, head: &PacketHead<'_>, json: &[u8], now: Now) -> (Fate, Note) {
    if is_one_too_many(talk, head) {
        return refuse_cheaply(talk, head.namespace, TOO_MANY_NAMESPACES, now);
    }
    if let Some(fate) = claim(talk, head, json, now) {
        return (fate, Note::None);
    }
    let was_in = is_unreturned(talk, head.namespace);
    if was_in && returns(talk, head, json, now) {
        return (Fate::Drop, Note::None);
    }
    let was_known = talk.core.users.are_known();
    let (fate, note) =
        if talk.core.may_join(now) { join(talk, head, json, now) } else { obey(talk, Verdict::Close(TOO_MANY), now) };
    // The first that is accepted is what every session has.
    let is_free = !was_known && talk.core.users.are_known();
    if !matches!(fate, Fate::Wait(_)) && !is_free {
        talk.core.spend_join(now);
    }
    (fate, note)
}

/// What a verdict does to a CONNECT.
fn obey(talk: &mut Conversation<'_>, verdict: Verdict, now: Now) -> (Fate, Note) {
    let (fate, note) = talk.core.obey(verdict, None, now);
    (fate, note.of_connect())
}

/// A CONNECT breaks a rule of the protocol: the session ends.
pub(super) fn malformed(talk: &mut Conversation<'_>, rule: &'static str) -> (Fate, Note) {
    let (fate, note) = talk.core.malformed(rule);
    (fate, note.of_connect())
}

/// Whether it asks for a namespace more than a session may have. What else is wrong with it is told first.
fn is_one_too_many(talk: &Conversation<'_>, head: &PacketHead<'_>) -> bool {
    let namespaces = &talk.service.namespaces;
    talk.client.attachments.awaited == 0
        && head.namespace != "/"
        && namespaces.is_full(talk.core.rules.max_namespaces)
        && namespaces.find(head.namespace).is_none()
}

/// The first CONNECT may ask for a session that the client had before. `None`: it is one like any other.
fn claim(talk: &mut Conversation<'_>, head: &PacketHead<'_>, json: &[u8], now: Now) -> Option<Fate> {
    if talk.core.rules.hold.resume.is_none() || talk.core.users.are_known() {
        return None;
    }
    if let Some(claim) = talk.client.pending.as_ref().and_then(|pending| pending.claim.as_ref()) {
        return match claim.granted {
            None if now.instant < claim.until => Some(Fate::Wait(Until::Answer(claim.ticket, claim.until))),
            Some(true) => Some(hand_over(talk)),
            None | Some(false) => None,
        };
    }
    let Recovery { pid, offset } = Recovery::read(json, talk.core.rules.hold.keeps_in(head.namespace))?;
    let identity = identify(talk, head.namespace, json, now).ok()?;
    let connect = Recovery::left_out_of(json)?;
    let claim = Claim { user: identity.user().map(Box::from), namespace: head.namespace.into(), offset };
    let (sid, peer) = (talk.client.sid, talk.core.peer);
    let returning = Returning { pid, claim: claim.clone(), sid, peer, identity, connect };
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

/// Whether the client has been in this namespace and has yet to come back to it.
fn is_unreturned(talk: &Conversation<'_>, namespace: &str) -> bool {
    let number = talk.service.namespaces.find(namespace).map(|(number, _)| number);
    talk.client.resume.as_ref().zip(number).is_some_and(|(resume, number)| resume.is_unreturned(number))
}

/// A client that has come back asks for another namespace that it was in. False: it does not mean the same session, or may
/// have missed something there, so the namespace is left, and joined as by a new client.
fn returns(talk: &mut Conversation<'_>, head: &PacketHead<'_>, json: &[u8], now: Now) -> bool {
    let pid = talk.client.resume.as_ref().map(|resume| resume.pid);
    let recovery = Recovery::read(json, talk.core.rules.hold.keeps_in(head.namespace));
    let recovery = recovery.filter(|recovery| Some(recovery.pid) == pid);
    let namespaces = &talk.service.namespaces;
    let login = namespaces.find(head.namespace).map(|(number, _)| namespaces.login(number));
    let user = login.and_then(|login| talk.core.users.get(login.user)).map(Identity::user);
    let identity = identify(talk, head.namespace, json, now).ok().filter(|identity| Some(identity.user()) == user);
    if let Some((recovery, identity)) = recovery.zip(identity)
        && Recovery::left_out_of(json).is_some_and(|connect| talk.connects_anew(head.namespace, &connect))
        && talk.return_to(head.namespace, recovery.offset, now)
    {
        talk.enter(head.namespace, identity, now);
        talk.enter_rooms(head.namespace);
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

/// Lets the client ask for a namespace, or refuses it. Its CONNECT is said in its place, or as soon as the service is open.
fn join(talk: &mut Conversation<'_>, head: &PacketHead<'_>, json: &[u8], now: Now) -> (Fate, Note) {
    if talk.client.attachments.awaited > 0 {
        return malformed(talk, "attachment_missing");
    }
    if talk.service.namespaces.find(head.namespace).is_some() {
        return malformed(talk, "connect_twice");
    }
    if !talk.core.rules.policies.namespaces.admits(head.namespace) {
        return refuse(talk, head.namespace, namespaces::Namespaces::REFUSAL, now);
    }
    let identity = match identify(talk, head.namespace, json, now) {
        Ok(identity) => identity,
        Err(Unknown::KeysPending) => return wait_for_keys(talk, now),
        Err(Unknown::Refused(refusal)) if refusal.kind == RefusalKind::Unavailable => {
            return obey(talk, Verdict::Close(refusal), now);
        }
        Err(Unknown::Refused(refusal)) => return refuse(talk, head.namespace, refusal, now),
    };
    if !talk.core.users.admit(&identity, talk.core.rules.policies.auth.admits_many_users()) {
        return refuse(talk, head.namespace, auth::OTHER_USER, now);
    }
    if !talk.service.namespaces.keeps_connect(head.namespace, json, talk.core.rules.max_connect) {
        return refuse(talk, head.namespace, TOO_BIG, now);
    }
    let asked = (head.namespace, json);
    ask(talk, asked, identity, now);
    (Fate::Drop, Note::None)
}

/// Asks the service for a namespace in which the client is this user, with the JSON of a CONNECT.
pub(super) fn ask(talk: &mut Conversation<'_>, (namespace, json): (&str, &[u8]), identity: Identity, now: Now) {
    talk.service.namespaces.connecting(namespace, json);
    talk.client.pending = None;
    let knows_recovery = namespace != "/" || Recovery::read(json, false).is_some();
    if !knows_recovery && talk.client.resume.as_ref().is_some_and(|resume| resume.has_joined_root) {
        // It has been given a `pid` for its namespace, and does not know what that is.
        talk.client.resume = None;
    }
    talk.client.token = None;
    if talk.upstream.stage() == Stage::Unwanted {
        talk.upstream.want(now.instant);
        talk.core.actions.push(Action::Dial { again: false });
    } else if talk.upstream.is_open() {
        if talk.service.parting.ask_or_hold(namespace) {
            let mut text = Vec::new();
            encode::connect(namespace, json, None, &mut text);
            talk.core.say(Side::Service, text);
        }
        talk.ask_held(now);
    }
    talk.enter(namespace, identity, now);
}

impl From<AuthError> for Unknown {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Refused(refusal) => Self::Refused(refusal),
            AuthError::KeysPending => Self::KeysPending,
        }
    }
}

/// Who asks for this namespace? By the token in CONNECT, else by that of the request's head, else as who was known before.
fn identify(talk: &Conversation<'_>, namespace: &str, json: &[u8], now: Now) -> Result<Identity, Unknown> {
    let policies = &talk.core.rules.policies;
    let in_connect = policies.token_sources.from_connect(json).map_err(Unknown::Refused)?;
    let in_head = match (&in_connect, talk.client.token.as_deref()) {
        (None, Some(Err(refusal))) => return Err(Unknown::Refused(*refusal)),
        (_, Some(Ok(token))) => token.as_ref(),
        _ => None,
    };
    match (&in_connect, in_head) {
        (Some(said), Some(shown)) if said != shown => {
            // The service may read either.
            let (said, shown) = (talk.authenticate(said, now)?, talk.authenticate(shown, now)?);
            if said.user() == shown.user() { Ok(said) } else { Err(Unknown::Refused(TokenFault::OtherUser.into())) }
        }
        (Some(token), _) | (None, Some(token)) => Ok(talk.authenticate(token, now)?),
        (None, None) => Ok(known(talk, namespace, now)?),
    }
}

/// Who asks without a token: in a namespace with a login of its own a guest, else who has a name already.
fn known(talk: &Conversation<'_>, namespace: &str, now: Now) -> Result<Identity, AuthError> {
    let auth = &talk.core.rules.policies.auth;
    let users = &talk.core.users;
    let namespaces = &talk.service.namespaces;
    let with_name = || users.iter().filter(|(_, identity)| identity.user().is_some());
    let is_in = |user: u8| namespaces.logins().any(|(_, login)| login.user == user);
    let first = with_name().find(|(user, _)| is_in(*user)).or_else(|| with_name().next());
    match first.filter(|_| !auth.is_optional(namespace)) {
        Some((user, _)) if users.expires(user).is_some_and(|at| now.instant >= at.instant()) => {
            Err(TokenFault::ExpiredSince.into())
        }
        Some((_, identity)) => Ok(auth.unless_revoked(identity.clone(), now.wall())?),
        None => auth.identify(Credential::NoneFor(namespace), talk.client.certified.as_ref(), now.wall()),
    }
}

fn wait_for_keys(talk: &mut Conversation<'_>, now: Now) -> (Fate, Note) {
    let pending = talk.client.pending.get_or_insert_default();
    let until = *pending.keys_since.get_or_insert(now.instant) + auth::KEYS_WITHIN;
    if now.instant >= until {
        return obey(talk, Verdict::Close(auth::KEYS_UNAVAILABLE), now);
    }
    let ticket = talk.core.ticket();
    talk.core.actions.push(Action::Ask(ticket, Question::Keys));
    (Fate::Wait(Until::Answer(ticket, until)), Note::None)
}

/// A final refusal is said inside the session, as CONNECT_ERROR, for it alone stops an official client.
fn refuse(talk: &mut Conversation<'_>, namespace: &str, refusal: Refusal, now: Now) -> (Fate, Note) {
    let error = refusal_text(namespace, refusal);
    refuse_saying(talk, Spoken::text(error), refusal, now)
}

/// The same, said in these words.
pub(super) fn refuse_saying(talk: &mut Conversation<'_>, error: Spoken, refusal: Refusal, now: Now) -> (Fate, Note) {
    talk.client.refused_connects = talk.client.refused_connects.saturating_add(1);
    say_error(talk, error, now);
    let verdict = if talk.client.refused_connects >= REFUSED_CONNECTS_MAX {
        Verdict::Close(refusal)
    } else {
        Verdict::Reply { refusal, once_per: Duration::ZERO }
    };
    obey(talk, verdict, now)
}

fn refusal_text(namespace: &str, refusal: Refusal) -> Vec<u8> {
    let mut text = Vec::new();
    encode::connect_error(namespace, refusal.message, refusal.code, &mut text);
    text
}

fn say_error(talk: &mut Conversation<'_>, error: Spoken, now: Now) {
    talk.core.actions.say(Side::Client, error);
    if talk.service.namespaces.is_empty() {
        talk.client.linger(now);
    }
}
