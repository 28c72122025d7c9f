//! Expiry of a client's namespaces, and its extension by newer tokens.

use crate::{
    policy::{
        auth::{AuthError, INVALID, OTHER_USER},
        identity::Identity,
        token_fault::TokenFault,
        token_source::Token,
        verdict::Refusal,
    },
    session::{
        Session,
        action::Action,
        conversation::Conversation,
        ended::Ended,
        membership::Membership,
        message::Side,
        namespaces::Login,
        now::{Deadline, Now},
    },
    wire::socketio::encode,
};

/// So many namespaces are remembered that the client was put out of.
const EXPIRED_MAX: usize = 64;

impl Session {
    /// A request of the client shows another token than its handshake, or the first one.
    ///
    /// # Errors
    /// The token does not hold, is of another user than this session, or cannot be verified yet.
    pub fn shows(&mut self, token: &Token, now: Now) -> Result<(), AuthError> {
        let Some(mut talk) = self.conversation() else { return Err(INVALID.into()) };
        let identity = talk.authenticate(token, now)?;
        if talk.core.users.are_known() {
            match talk.core.users.find(identity.user()) {
                Some(user) => talk.renew(user, identity, now),
                None if talk.core.users.have_name() => return Err(OTHER_USER.into()),
                // A guest may become this user with the next CONNECT.
                None => talk.client.token = Some(Box::new(Ok(Some(token.clone())))),
            }
            return Ok(());
        }
        match talk.client.token.as_deref() {
            Some(Err(refusal)) => return Err((*refusal).into()),
            Some(Ok(Some(earlier))) => {
                let earlier = talk.authenticate(earlier, now)?;
                if earlier.user() != identity.user() {
                    return Err(OTHER_USER.into());
                }
                // Requests of one client may overtake each other: the one that is good for longer counts.
                if lasts_longer(&earlier, &identity) {
                    return Ok(());
                }
            }
            _ => {}
        }
        talk.client.token = Some(Box::new(Ok(Some(token.clone()))));
        Ok(())
    }
}

fn lasts_longer(one: &Identity, other: &Identity) -> bool {
    other.expires_at().is_some_and(|end| one.expires_at().is_none_or(|later| later > end))
}

impl Conversation<'_> {
    /// The client is this user in a namespace from now on.
    pub(super) fn enter(&mut self, namespace: &str, mut identity: Identity, now: Now) {
        let namespaces = &mut self.service.namespaces;
        namespaces.tokens().for_each(|kept| identity.share(kept));
        let token = identity.details().cloned();
        let is_other = |number: u8| namespaces.name(number) != Some(namespace);
        let used: Vec<u8> =
            namespaces.logins().filter(|(number, _)| is_other(*number)).map(|(_, login)| login.user).collect();
        let login = self.core.enter(identity, |user| used.contains(&user), now);
        namespaces.set_login(namespace, login, token);
        self.service.expired.retain(|expired| **expired != *namespace);
        self.core.expires = self.service.expires(&self.core.users);
    }

    /// A token of this user was shown beside the namespaces. It takes the place of the one by which the client is in them, where
    /// it is good for longer: of those with a token of their own in CONNECT only where rules find the same claims in both.
    fn renew(&mut self, user: u8, identity: Identity, now: Now) {
        let token = identity.details().cloned();
        let shown = identity.expires_at().map(|end| Deadline::at(end, now));
        self.core.users.renew(user, identity, now);
        let (namespaces, sources) = (&mut self.service.namespaces, &self.core.rules.policies.token_sources);
        let has_own = |connect: &[u8]| !matches!(sources.from_connect(connect), Ok(None));
        namespaces.renew(user, (token.as_ref(), shown), has_own);
        self.enter_all_rooms();
        self.core.expires = self.service.expires(&self.core.users);
    }

    /// Where tokens have expired, the client is put out of their namespaces. If it has no other, the session ends.
    pub(super) fn expire(&mut self, now: Now) {
        if self.core.expires.is_none() {
            return;
        }
        self.core.users.keep_time(now);
        let namespaces = &mut self.service.namespaces;
        namespaces.logins_mut().filter_map(|login| login.expires.as_mut()).for_each(|expires| expires.keep_time(now));
        let is_over = |login: Login| login.expires.is_some_and(|at| now.instant >= at.instant());
        let over: Vec<u8> =
            namespaces.logins().filter(|(_, login)| is_over(*login)).map(|(number, _)| number).collect();
        if over.len() == namespaces.logins().count() {
            // Also where the client is in none: no user has a token that is good.
            if !over.is_empty() || self.service.expires(&self.core.users).is_some_and(|at| now.instant >= at.instant())
            {
                return self.core.end(Ended::TokenExpired);
            }
        }
        for number in over {
            self.put_out(number, TokenFault::ExpiredSince);
        }
        self.core.expires = self.service.expires(&self.core.users);
    }

    /// The client is told that it is in this namespace no more, and so is the service.
    pub(super) fn put_out(&mut self, number: u8, why: TokenFault) {
        let Some(namespace) = self.service.namespaces.name(number).map(str::to_owned) else { return };
        let is_absent = self
            .client
            .resume
            .as_ref()
            .is_some_and(|resume| resume.absent_since().is_some() || resume.is_unreturned(number));
        match self.service.namespaces.find(&namespace).filter(|_| !is_absent) {
            Some((_, Membership::Joined)) => self.say_disconnect(Side::Client, &namespace),
            Some(_) => {
                let mut text = Vec::new();
                let Refusal { message, code, .. } = why.into();
                encode::connect_error(&namespace, message, code, &mut text);
                self.core.say(Side::Client, text);
            }
            None => {}
        }
        self.leave_for_client(&namespace);
        self.core.actions.push(Action::PutOut(why));
        if self.service.expired.len() == EXPIRED_MAX {
            self.service.expired.remove(0);
        }
        self.service.expired.push(namespace.into());
    }
}
