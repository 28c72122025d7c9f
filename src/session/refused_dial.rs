//! Passes a refused dial on to the client: a CONNECT_ERROR where it is in no namespace yet, else the end of the session.

use crate::{
    policy::verdict::{Refusal, RefusalKind},
    session::{
        connect::REFUSED_CONNECTS_MAX,
        conversation::Conversation,
        ended::Ended,
        membership::Membership,
        message::{Answered, Note, Refused, Side},
        now::Now,
    },
    wire::socketio::encode,
};

/// What a refusal of the service is to metrics and log. To the client it says what the service says.
const BY_SERVICE: Refusal = Refusal {
    kind: RefusalKind::Forbidden,
    code: "upstream.refused",
    message: "The service refused the connection",
    rule: None,
    fault: None,
};

/// Answers every CONNECT that waits with a CONNECT_ERROR, at which official clients stop for this namespace. `None`: the
/// client is in a namespace already, and its session cannot go on.
pub(super) fn tell(talk: &mut Conversation<'_>, status: u16, message: &str, now: Now) -> Option<Note> {
    if talk.service.namespaces.numbers(Membership::Joined).next().is_some() || talk.client.absent_since().is_some() {
        return None;
    }
    for namespace in talk.service.namespaces.asked_for() {
        talk.leave(&namespace);
        let mut text = Vec::new();
        encode::connect_error_of_service(&namespace, message, BY_SERVICE.code, status, &mut text);
        talk.core.say(Side::Client, text);
    }
    talk.upstream.unwant();
    talk.client.linger(now);
    talk.client.refused_connects = talk.client.refused_connects.saturating_add(1);
    let answer = if talk.client.refused_connects >= REFUSED_CONNECTS_MAX {
        talk.core.end(Ended::Refused(BY_SERVICE));
        Answered::ByClosing
    } else {
        Answered::WithPacket
    };
    Some(Note::Refused(Box::new(Refused { refusal: BY_SERVICE, answer, event: None, is_connect: true })))
}
