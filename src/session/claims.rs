//! A client that claims a session that it had before: whether it gets it back.

use crate::session::{
    Session,
    ended::Ended,
    engineio::EngineIo,
    membership::Membership,
    question::Claim,
    resume::Resume,
    speech::{ClientSpeech, ServiceSpeech},
};

impl Session {
    /// Whether this session takes back a client with this claim, and has everything that it has missed of the namespace.
    #[must_use]
    pub fn takes_back(&self, claim: &Claim) -> bool {
        self.claimed_namespace(claim).is_some_and(|(resume, number)| resume.recovers(number, claim.offset))
    }

    /// The session's own client claims it. True: [it gets it back](Self::takes_back). One that may have missed something
    /// goes on with a session of its own, and this one ends, for nobody comes back to it any more.
    pub fn claimed(&mut self, claim: &Claim) -> bool {
        let Some((resume, number)) = self.claimed_namespace(claim) else { return false };
        let recovers = resume.recovers(number, claim.offset);
        if !recovers {
            if let ClientSpeech::EngineIo(EngineIo { resume: Some(resume), .. }) = &mut self.client {
                resume.names(number, claim.offset);
                resume.gives_up();
            }
            self.core.end(Ended::Unrecovered);
        }
        recovers
    }

    /// What is kept for the client with this claim, and the number of the namespace. `None`: it is not the client of this
    /// session, or cannot come back there.
    fn claimed_namespace(&self, claim: &Claim) -> Option<(&Resume, u8)> {
        let (ClientSpeech::EngineIo(client), ServiceSpeech::SocketIo(service)) = (&self.client, &self.service) else {
            return None;
        };
        let keeps_clients = self.core.rules.hold.resume.is_some();
        let is_owner = self.core.identity.as_ref().is_some_and(|identity| identity.user() == claim.user.as_deref());
        let (number, membership) = service.namespaces.find(&claim.namespace)?;
        let may_return = keeps_clients && is_owner && membership == Membership::Joined && self.ended().is_none();
        client.resume.as_deref().filter(|_| may_return).map(|resume| (resume, number))
    }
}
