//! Applies a revocation to a session: which of its namespaces end, and whether it ends as a whole.

use crate::{
    policy::{
        auth::revoked::{Revocation, Revoked, Whom, unix_seconds},
        identity::Identity,
        token_fault::TokenFault,
    },
    session::{
        Session, conversation::Conversation, ended::Ended, namespaces::Namespaces, now::Now, socketio::SocketIo,
        speech::ServiceSpeech, users::Users,
    },
};

/// What [`Session::find_revoked`] has found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FoundRevoked {
    /// The tokens of sockets that are revoked. They are to be revoked too, or their clients come back with them.
    pub tokens: Vec<Revocation>,
}

impl Session {
    /// Whether something of this session is revoked, so that [`Event::Revoked`](super::event::Event::Revoked) has something to
    /// do. Changes nothing.
    #[must_use]
    pub fn find_revoked(&self, now: Now) -> Option<FoundRevoked> {
        let (list, users) = (self.core.rules.policies.auth.revoked(), &self.core.users);
        if list.is_empty() || self.ended().is_some() {
            return None;
        }
        let ServiceSpeech::SocketIo(service) = &self.service else {
            return is_user_revoked(&list, users, now).then(FoundRevoked::default);
        };
        let numbers = revoked_namespaces(&list, service, users, now);
        if numbers.is_empty() && !(service.namespaces.is_empty() && is_user_revoked(&list, users, now)) {
            return None;
        }
        let of_socket = numbers.iter().filter(|number| is_socket_revoked(&list, service, **number, now));
        Some(FoundRevoked { tokens: of_socket.filter_map(|number| token(&service.namespaces, *number)).collect() })
    }

    /// Ends what is revoked of the session.
    pub(super) fn revoke(&mut self, now: Now) {
        if let Some(mut talk) = self.conversation() {
            return talk.revoke(now);
        }
        if is_user_revoked(&self.core.rules.policies.auth.revoked(), &self.core.users, now) {
            self.core.end(Ended::TokenRevoked);
        }
    }
}

impl Conversation<'_> {
    /// The client is put out of the namespaces whose token, user or socket is revoked. If it has no other, the session ends.
    pub(super) fn revoke(&mut self, now: Now) {
        let list = self.core.rules.policies.auth.revoked();
        if list.is_empty() {
            return;
        }
        let over = revoked_namespaces(&list, self.service, &self.core.users, now);
        if over.len() == self.service.namespaces.logins().count() {
            // Also where the client is in none.
            if !over.is_empty() || is_user_revoked(&list, &self.core.users, now) {
                self.core.end(Ended::TokenRevoked);
            }
            return;
        }
        for number in over {
            self.put_out(number, TokenFault::Revoked);
        }
        self.core.expires = self.service.expires(&self.core.users);
    }
}

/// The numbers of the namespaces that the client has to leave.
fn revoked_namespaces(list: &Revoked, service: &SocketIo, users: &Users, now: Now) -> Vec<u8> {
    let is_over = |number: u8, user: u8| {
        let (user, token) = (users.get(user).and_then(Identity::user), service.namespaces.token(number));
        list.has_token(user, token.map(|token| &**token), now.wall()) || is_socket_revoked(list, service, number, now)
    };
    let logins = service.namespaces.logins();
    logins.filter(|(number, login)| is_over(*number, login.user)).map(|(number, _)| number).collect()
}

fn is_socket_revoked(list: &Revoked, service: &SocketIo, number: u8, now: Now) -> bool {
    let socket = service.namespaces.name(number).map(|namespace| service.namespaces.socket_id(namespace));
    socket.is_some_and(|id| list.has_socket(id, now.wall()))
}

fn is_user_revoked(list: &Revoked, users: &Users, now: Now) -> bool {
    users.iter().any(|(_, identity)| list.has(identity, now.wall()))
}

/// The revocation of the token that has opened the namespace with this number. `None`: it has no name.
fn token(namespaces: &Namespaces, number: u8) -> Option<Revocation> {
    let (jti, expires) = (namespaces.token(number)?.jti.clone()?, namespaces.login(number).expires?);
    Some(Revocation { whom: Whom::Token(jti), until: unix_seconds(expires.wall()).saturating_add(1) })
}
