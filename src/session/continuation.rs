//! A session becomes plain data when its node stops, and goes on from it on another one.

use http::{HeaderName, HeaderValue};

use crate::{
    policy::identity::Identity,
    session::{
        Beginning, Session,
        acks::Acks,
        core::Core,
        engineio::EngineIo,
        namespaces::Namespaces,
        now::Now,
        resume::Resume,
        snapshot::{Blob, IdentityData, Snapshot, SnapshotError},
        socketio::SocketIo,
        speech::{ClientSpeech, ServiceSpeech},
        upstream::Upstream,
    },
    wire::engineio::id::Pid,
};

impl Session {
    /// The session as plain data, to be [continued](Self::restore) on another node; `handshake` is what the service hears at
    /// its handshake. Both legs must be gone. What is left of the session's budgets is used up, for this session is over.
    /// `None`: it cannot be continued, because its client cannot come back to it or is there.
    pub fn snapshot(&mut self, handshake: &[u8], now: Now) -> Option<Snapshot> {
        let (ClientSpeech::EngineIo(client), ServiceSpeech::SocketIo(service)) = (&self.client, &self.service) else {
            return None;
        };
        let resume = client.resume.as_ref().filter(|_| self.core.ended().is_none())?;
        let identity = self.core.identity.as_ref()?;
        let header = |(name, value): &(HeaderName, HeaderValue)| (name.as_str().to_owned(), value.as_bytes().into());
        let (idle_for, told_for) = self.core.quiet_for(now);
        Some(Snapshot {
            pid: resume.pid.as_str().to_owned(),
            handshake: handshake.into(),
            resume: resume.save(now.instant)?,
            upstream: self.upstream.save(now.instant)?,
            identity: IdentityData {
                user: identity.user().map(Into::into),
                lives: self.core.token_lives(now),
                forward_headers: identity.forward_headers().iter().map(header).collect(),
            },
            certified: client.certified.clone(),
            idle_for,
            told_for,
            refused_connects: client.refused_connects,
            budgets: self.core.use_up_budgets(now),
            namespaces: service.namespaces.save(),
            acks: service.acks.save(&self.core.rules.names, now.instant),
        })
    }

    /// The session of a [snapshot](Self::snapshot): its client is absent, and its service is to be dialled.
    ///
    /// # Errors
    /// [`SnapshotError::Invalid`] for a value that no session has.
    pub fn restore(snapshot: Snapshot, beginning: Beginning, now: Now) -> Result<Self, SnapshotError> {
        let invalid = SnapshotError::Invalid;
        let pid = Pid::parse(&snapshot.pid).ok_or(invalid("pid"))?;
        let header = |(name, value): (String, Blob)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(&value.0).ok()?))
        };
        let IdentityData { user, lives, forward_headers } = snapshot.identity;
        let headers = forward_headers.into_iter().map(header).collect::<Option<_>>().ok_or(invalid("headers"))?;
        let identity = Identity::continued(user, lives.map(|lives| now.wall() + lives), headers);
        let mut core = Core::new(beginning.rules, beginning.peer, beginning.seed, now);
        core.restore(identity, &snapshot.budgets, now);
        core.was_quiet_for((snapshot.idle_for, snapshot.told_for), now);
        let service = SocketIo {
            namespaces: Namespaces::load(snapshot.namespaces).ok_or(invalid("namespaces"))?,
            acks: Acks::load(snapshot.acks, &core.rules.names, now.instant),
            begun: None,
        };
        let resume = Resume::load(pid, snapshot.resume, now.instant);
        let client = EngineIo::absent(resume, snapshot.certified, snapshot.refused_connects);
        Ok(Self {
            core,
            upstream: Upstream::load(snapshot.upstream, now.instant),
            client: ClientSpeech::EngineIo(client),
            service: ServiceSpeech::SocketIo(service),
        })
    }
}
