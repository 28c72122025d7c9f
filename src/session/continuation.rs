//! Converts a session into plain data, and continues it from that data, for a hand-over to another node. Not in use yet: only the
//! simulation restores snapshots.

use crate::{
    policy::identity::{CertifiedUser, Identity},
    session::{
        Beginning, Session,
        acks::Acks,
        core::Core,
        digest::Digests,
        engineio::EngineIo,
        namespaces::Namespaces,
        now::{Deadline, Now},
        resume::Resume,
        snapshot::{Snapshot, SnapshotError, TokenData, UserData},
        socketio::SocketIo,
        speech::{ClientSpeech, ServiceSpeech},
        upstream::Upstream,
        users::Users,
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
        let (idle_for, told_for) = self.core.quiet_for(now);
        let user = |(identity, expires, budgets): (&Identity, Option<Deadline>, Vec<Option<u32>>)| UserData {
            name: identity.user().map(Into::into),
            lives: expires.map(|expires| expires.left(now)),
            token: TokenData::of(identity.details().map(|details| &**details)),
            budgets,
        };
        if !self.core.users.are_known() {
            return None;
        }
        let (rooms, asked) = service.rooms.as_ref().map(|rooms| rooms.save()).unwrap_or_default();
        Some(Snapshot {
            pid: resume.pid.as_str().to_owned(),
            handshake: handshake.into(),
            resume: resume.save(now.instant)?,
            upstream: self.upstream.save(now.instant)?,
            users: self.core.users.save(&self.core.rules.policies, now).map(user).collect(),
            certified: client.certified.as_ref().map(|user| user.name().into()),
            idle_for,
            told_for,
            refused_connects: client.refused_connects,
            namespaces: service.namespaces.save(|user| self.core.users.token(user), now),
            acks: service.acks.save(&self.core.rules.names, now.instant),
            rooms,
            asked,
        })
    }

    /// The session of a [snapshot](Self::snapshot): its client is absent, and its service is to be dialled.
    ///
    /// # Errors
    /// [`SnapshotError::Invalid`] for a value that no session has.
    pub fn restore(snapshot: Snapshot, beginning: Beginning, now: Now) -> Result<Self, SnapshotError> {
        let invalid = SnapshotError::Invalid;
        let pid = Pid::parse(&snapshot.pid).ok_or(invalid("pid"))?;
        let user = |user: UserData| {
            let UserData { name, lives, token, budgets } = user;
            Some((Identity::continued(name, lives.map(|lives| now.wall() + lives), token.details()?), budgets))
        };
        let users = snapshot.users.into_iter().map(user).collect::<Option<_>>().ok_or(invalid("headers"))?;
        let mut core = Core::new(beginning.rules, beginning.peer, beginning.seed, now);
        let users = Users::load(users, &core.rules.policies, core.peer, now);
        core.users = users.ok_or(invalid("users"))?;
        core.restore_quiet((snapshot.idle_for, snapshot.told_for), now);
        let upstream = Upstream::load(snapshot.upstream, now.instant);
        let mut acks = Acks::load(snapshot.acks, &core.rules.names, now.instant);
        for packet in upstream.backlog().into_iter().flat_map(|backlog| backlog.queue.iter()) {
            if let Some((id, digests)) = packet.ack_id.zip(Digests::of(packet)) {
                acks.set_whole_digest((packet.namespace, id), digests.whole());
            }
        }
        let namespaces = Namespaces::load(snapshot.namespaces, |user| core.users.token(user), now);
        let namespaces = namespaces.ok_or(invalid("namespaces"))?;
        let mut service = SocketIo { namespaces, acks, ..SocketIo::default() };
        service.load_rooms(snapshot.rooms, snapshot.asked, &mut core);
        core.expires = service.expires(&core.users);
        let certified = snapshot.certified.map(CertifiedUser::named);
        let resume = Resume::load(pid, snapshot.resume, now.instant);
        let client = EngineIo::absent(resume, certified, snapshot.refused_connects);
        let (client, service) = (ClientSpeech::EngineIo(client), ServiceSpeech::SocketIo(service));
        let mut session = Self { core, upstream, client, service };
        // It may have been revoked while the session was nowhere.
        session.revoke(now);
        Ok(session)
    }
}
