//! How a session begins, on the Socket.IO endpoint and on each kind of route.

use std::sync::Arc;

use crate::{
    policy::identity::Identity,
    session::{
        Beginning, Session, connect,
        core::Core,
        engineio::{EngineIo, Handshake},
        json::{Bridging, Json},
        now::Now,
        plain::{Plain, PlainRules},
        socketio::SocketIo,
        speech::{ClientSpeech, ServiceSpeech},
        upstream::Upstream,
    },
};

impl Session {
    /// A session of an Engine.IO client that has yet to join a namespace.
    #[must_use]
    pub fn socketio(beginning: Beginning, handshake: Handshake, now: Now) -> Self {
        let connect_by = now.instant + beginning.rules.connect_timeout;
        let client = EngineIo::new(handshake, beginning.seed, connect_by);
        Self {
            core: Core::new(beginning.rules, beginning.peer, beginning.seed, now),
            upstream: Upstream::unwanted(),
            client: ClientSpeech::EngineIo(client),
            service: ServiceSpeech::SocketIo(SocketIo::default()),
        }
    }

    /// The service was dialled at the client's handshake already.
    pub fn dialled_first(&mut self, now: Now) {
        self.upstream.want(now.instant);
    }

    /// A session on a plain WebSocket route, whose user is known from the handshake and whose service has been dialled and
    /// has chosen `protocol`.
    #[must_use]
    pub fn plain(
        beginning: Beginning,
        rules: Arc<PlainRules>,
        protocol: Option<&str>,
        identity: Identity,
        now: Now,
    ) -> Self {
        let mut core = Core::new(beginning.rules, beginning.peer, beginning.seed, now);
        core.expires = core.enter(identity, |_| false, now).expires;
        let mut plain = Plain::new(rules, protocol);
        plain.adopt(&core.rules);
        let (upstream, client) = (Upstream::flowing(), ClientSpeech::Plain);
        let mut session = Self { core, upstream, client, service: ServiceSpeech::Plain(plain) };
        // It may have been revoked while the service was dialled.
        session.revoke(now);
        session
    }

    /// A session of a client that speaks JSON on a bridged route, whose user is known from the handshake. It asks for the
    /// namespace of the route at once.
    #[must_use]
    pub fn bridged(beginning: Beginning, bridging: Bridging, now: Now) -> Self {
        let Bridging { rules, sid, identity, connect } = bridging;
        let connect_by = now.instant + beginning.rules.connect_timeout;
        let namespace = rules.namespace.clone();
        let mut client = Json::new(EngineIo::bridged(sid, connect_by), rules);
        client.adopt(&beginning.rules);
        let mut session = Self {
            core: Core::new(beginning.rules, beginning.peer, beginning.seed, now),
            upstream: Upstream::unwanted(),
            client: ClientSpeech::Json(client),
            service: ServiceSpeech::SocketIo(SocketIo::default()),
        };
        if let Some(mut talk) = session.conversation() {
            connect::ask(&mut talk, (&namespace, &connect), identity, now);
        }
        // It may have been revoked while its handshake was answered.
        session.revoke(now);
        session
    }
}
