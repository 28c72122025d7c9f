//! Decides whether a returning client gets its earlier session back.

use crate::session::{
    Session,
    ended::Ended,
    engineio::EngineIo,
    hold::Overflow,
    membership::Membership,
    question::Claim,
    resume::Resume,
    speech::{ClientSpeech, ServiceSpeech},
};

impl Session {
    /// Whether this session takes back a client with this claim.
    #[must_use]
    pub fn takes_back(&self, claim: &Claim) -> bool {
        self.claimed_namespace(claim).is_some_and(|(resume, number)| self.goes_on(resume, number, claim))
    }

    /// Whether the session goes on with this client: it has everything that the client has missed, or may drop the oldest.
    fn goes_on(&self, resume: &Resume, number: u8, claim: &Claim) -> bool {
        self.core.rules.hold.overflow == Overflow::DropOldest || resume.recovers(number, claim.offset)
    }

    /// The session's own client claims it. True: [it gets it back](Self::takes_back). One that may have missed something
    /// goes on with a session of its own, and this one ends, for nobody comes back to it any more.
    pub fn claimed(&mut self, claim: &Claim) -> bool {
        let Some((resume, number)) = self.claimed_namespace(claim) else { return false };
        let goes_on = self.goes_on(resume, number, claim);
        if !goes_on {
            if let ClientSpeech::EngineIo(EngineIo { resume: Some(resume), .. }) = &mut self.client {
                resume.names(number, claim.offset);
                resume.gives_up();
            }
            self.core.end(Ended::Unrecovered);
            self.leave_rooms_at_end();
        }
        goes_on
    }

    /// What is kept for the client with this claim, and the number of the namespace. `None`: it is not the client of this
    /// session, or cannot come back there.
    fn claimed_namespace(&self, claim: &Claim) -> Option<(&Resume, u8)> {
        let (ClientSpeech::EngineIo(client), ServiceSpeech::SocketIo(service)) = (&self.client, &self.service) else {
            return None;
        };
        let keeps_clients = self.core.rules.hold.resume.is_some();
        let (number, membership) = service.namespaces.find(&claim.namespace)?;
        let owner = self.core.users.get(service.namespaces.login(number).user);
        let is_owner = owner.is_some_and(|identity| identity.user() == claim.user.as_deref());
        let may_return = keeps_clients && is_owner && membership == Membership::Joined && self.ended().is_none();
        client.resume.as_deref().filter(|_| may_return).map(|resume| (resume, number))
    }
}
