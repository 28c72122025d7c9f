//! A session with both of its ends, on a clock of the test. It does what the relay does, and decides as little.

use std::{
    io::Write as _,
    mem,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{EncodingKey, Header};

use crate::{
    config::Config,
    event_names::EventNames,
    mirror::rules::MirrorRules,
    policy::{
        auth::{
            revoked::{Revocation, Whom},
            shared_keys::SharedKeys,
            shared_revoked::SharedRevoked,
        },
        identity::{CertifiedUser, Details, Identity},
        policies::{Policies, PolicyTables},
    },
    session::{
        Beginning, Session,
        action::{Action, Ready, Spoken},
        ended::Ended,
        engineio::Handshake,
        event::Event,
        hold::HoldRules,
        join_rate::JoinLimit,
        json::{BridgeRules, Bridging, EVENT_FIELD},
        message::{Fate, Message, Note, Side},
        now::Now,
        plain::PlainRules,
        quality::ping_rules::PingRules,
        queue::WholePacket,
        route_answers::RouteInForce,
        rules::SessionRules,
        snapshot::Snapshot,
        view::View,
    },
    units::{Period, SecretSource},
    wire::{
        engineio::id::{Home, Id, NodeId},
        json::check::JsonBounds,
        websocket::frame::OpCode,
    },
};

const SECRET: &[u8] = b"a secret of thirty-two bytes, no less";

pub(in crate::session) const RESTARTED: &str = r#"{"error":"Service restarted","retriable":true}"#;

/// `session.ack_grace`.
pub(in crate::session) const GRACE: Duration = Duration::from_secs(2);

const OPEN: &str = r#"0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;

/// A session, and what has reached either side since the last look.
pub(in crate::session) struct World {
    pub(in crate::session) session: Session,
    rules: Arc<SessionRules>,
    revoked: Arc<SharedRevoked>,
    /// The client has no connection: nothing comes from it.
    is_client_absent: bool,
    pub(in crate::session) now: Now,
    /// Texts and, as `<n bytes>`, attachments.
    pub(in crate::session) at_service: Vec<String>,
    pub(in crate::session) at_client: Vec<String>,
    /// All actions except `Say`.
    pub(in crate::session) actions: Vec<Action>,
    /// The note of the last message.
    pub(in crate::session) note: Note,
}

pub(in crate::session) fn id<K>(random: u8) -> Id<K> {
    Id::new(Home { node: NodeId::new([1; 6]), worker: 0 }, [random; 13])
}

fn rules(revoked: &Arc<SharedRevoked>, change: impl FnOnce(&mut Config)) -> Arc<SessionRules> {
    let mut secret = tempfile::NamedTempFile::new().unwrap();
    secret.write_all(SECRET).unwrap();
    let mut config = Config::default();
    config.auth.secret = Some(SecretSource::File(secret.path().to_owned()));
    config.auth.leeway = Period::OFF;
    config.auth.revoke = true;
    change(&mut config);
    let tables = PolicyTables {
        auth: &config.auth,
        origins: &config.origins,
        namespaces: &config.socketio.namespaces,
        rate_limit: &config.rate_limit,
        sharing: None,
    };
    let mirror = match &config.redis {
        Some(_) => MirrorRules::compile(&config.room, &config.mirror).unwrap(),
        None => MirrorRules::default(),
    };
    let mut policies = Policies::compile(&tables, &Arc::new(SharedKeys::new(Box::new(|| {}))), 1).unwrap();
    policies.auth = policies.auth.keeping(mirror.claims());
    let names = EventNames::new(10, []);
    Arc::new(SessionRules {
        policies: policies.refusing(Arc::clone(revoked)),
        ping: PingRules::compile(&config.quality, &names).unwrap(),
        names: Arc::new(names),
        ping_interval: config.socketio.ping_interval.0,
        ping_timeout: config.socketio.ping_timeout.0,
        connect_timeout: config.socketio.connect_timeout.0,
        idle_timeout: None,
        max_payload: usize::try_from(config.socketio.max_payload.0).unwrap(),
        max_message: usize::try_from(config.upstream.max_message.0).unwrap(),
        max_connect: usize::try_from(config.socketio.max_connect.0).unwrap(),
        hold: HoldRules::compile(&config.session).unwrap(),
        joins: JoinLimit::compile(&config.socketio).unwrap(),
        json: JsonBounds::new(config.socketio.json, config.socketio.json_depth).unwrap(),
        max_namespaces: usize::try_from(config.socketio.max_namespaces).unwrap(),
        mirror,
        rooms_per_session: usize::try_from(config.limits.rooms_per_session).unwrap(),
        routes: Box::default(),
    })
}

impl World {
    /// A client that has not joined a namespace yet.
    pub(in crate::session) fn new(change: impl FnOnce(&mut Config)) -> Self {
        let revoked = Arc::default();
        let (rules, now) = (rules(&revoked, change), Now::new(Instant::now(), SystemTime::now()));
        let pid = rules.hold.resume.is_some().then(|| id(9));
        let handshake = Handshake { sid: id(7), pid, token: Ok(None), certified: None };
        Self::of(Session::socketio(beginning(Arc::clone(&rules)), handshake, now), (rules, revoked), now)
    }

    /// A client whose certificate names this user.
    pub(in crate::session) fn certified(user: &str, change: impl FnOnce(&mut Config)) -> Self {
        let revoked = Arc::default();
        let (rules, now) = (rules(&revoked, change), Now::new(Instant::now(), SystemTime::now()));
        let handshake =
            Handshake { sid: id(7), pid: None, token: Ok(None), certified: Some(CertifiedUser::named(user)) };
        Self::of(Session::socketio(beginning(Arc::clone(&rules)), handshake, now), (rules, revoked), now)
    }

    /// A client of a plain route, whose service has chosen the subprotocol `chat`.
    pub(in crate::session) fn plain(route: PlainRules, change: impl FnOnce(&mut Config)) -> Self {
        let revoked = Arc::default();
        let (rules, now) = (rules(&revoked, change), Now::new(Instant::now(), SystemTime::now()));
        let session =
            Session::plain(beginning(Arc::clone(&rules)), Arc::new(route), Some("chat"), Identity::anonymous(), now);
        Self::of(session, (rules, revoked), now)
    }

    /// A client of a bridged route to this namespace, who is `ada` for a minute, and whose query has a lesson.
    pub(in crate::session) fn bridged(namespace: &str, change: impl FnOnce(&mut Config)) -> Self {
        let revoked = Arc::default();
        let (rules, now) = (rules(&revoked, change), Now::new(Instant::now(), SystemTime::now()));
        let route = BridgeRules {
            path: "/ws".into(),
            namespace: namespace.into(),
            event_field: EVENT_FIELD.into(),
            service_path: "/socket.io/".into(),
            answers: Arc::default(),
        };
        let expires = now.wall() + Duration::from_secs(60);
        let identity = Identity::continued(Some("ada".into()), Some(expires), Details::default());
        let connect = br#"{"lesson":"7","token":"t"}"#.to_vec().into();
        let bridging = Bridging { rules: Arc::new(route), sid: id(7), identity, connect };
        let session = Session::bridged(beginning(Arc::clone(&rules)), bridging, now);
        let mut world = Self::of(session, (rules, revoked), now);
        world.obey();
        world
    }

    /// The same, in its namespace.
    pub(in crate::session) fn bridge_joined(change: impl FnOnce(&mut Config)) -> Self {
        let mut world = Self::bridged("/", change);
        world.opens();
        world.service(r#"40{"sid":"first"}"#);
        world.forget_what_was_said();
        world
    }

    fn of(session: Session, (rules, revoked): (Arc<SessionRules>, Arc<SharedRevoked>), now: Now) -> Self {
        let (at_service, at_client, actions) = (Vec::new(), Vec::new(), Vec::new());
        Self { session, rules, revoked, is_client_absent: false, now, at_service, at_client, actions, note: Note::None }
    }

    /// The same session, as a snapshot that another node continues.
    pub(in crate::session) fn continued(&mut self) -> Option<Self> {
        let snapshot = self.session.snapshot(b"GET /", self.now)?;
        let read = Snapshot::decode(&snapshot.encode().unwrap()).unwrap();
        assert_eq!(read, snapshot);
        let session = Session::restore(read, beginning(Arc::clone(&self.rules)), self.now).unwrap();
        Some(Self {
            is_client_absent: true,
            ..Self::of(session, (Arc::clone(&self.rules), Arc::clone(&self.revoked)), self.now)
        })
    }

    /// A client that needs no token.
    pub(in crate::session) fn without_auth(change: impl FnOnce(&mut Config)) -> Self {
        Self::new(|config| {
            config.auth.required = false;
            change(config);
        })
    }

    /// A client that has joined `/`, with all packets of that exchanged.
    pub(in crate::session) fn joined(change: impl FnOnce(&mut Config)) -> Self {
        let mut world = Self::without_auth(change);
        assert_eq!(world.client("40"), Fate::Drop);
        world.opens();
        world.service(r#"40{"sid":"first"}"#);
        world.at_service.clear();
        world.at_client.clear();
        world.actions.clear();
        world
    }

    pub(in crate::session) fn message(&mut self, from: Side, opcode: OpCode, bytes: &[u8]) -> Fate {
        if from == Side::Client && self.is_client_absent {
            return Fate::Drop;
        }
        let message = Message::whole(opcode, bytes);
        let (fate, note) = self.session.message(from, &message, self.now);
        self.note = note;
        if fate.passes() {
            let mut bytes = bytes.to_vec();
            let passed = fate.passed(&mut bytes);
            let text = match opcode {
                OpCode::Binary => format!("<{} bytes>", passed.len()),
                _ => String::from_utf8(passed.to_vec()).unwrap(),
            };
            self.end_of(from.other()).push(text);
        }
        self.obey();
        fate
    }

    fn end_of(&mut self, side: Side) -> &mut Vec<String> {
        match side {
            Side::Client => &mut self.at_client,
            Side::Service => &mut self.at_service,
        }
    }

    /// The client sends a text message.
    pub(in crate::session) fn client(&mut self, text: &str) -> Fate {
        self.message(Side::Client, OpCode::Text, text.as_bytes())
    }

    /// The client sends an attachment.
    pub(in crate::session) fn attaches(&mut self, bytes: &[u8]) -> Fate {
        self.message(Side::Client, OpCode::Binary, bytes)
    }

    /// The service sends a text message.
    pub(in crate::session) fn service(&mut self, text: &str) -> Fate {
        self.message(Side::Service, OpCode::Text, text.as_bytes())
    }

    /// The service opens its leg.
    pub(in crate::session) fn opens(&mut self) {
        self.service(OPEN);
    }

    pub(in crate::session) fn event(&mut self, event: Event<'_>) -> Note {
        self.is_client_absent &= !matches!(event, Event::Returned(_));
        let note = self.session.event(event, self.now);
        self.obey();
        note
    }

    /// The next packet for the service, taken out of its queue.
    pub(in crate::session) fn takes_packet(&mut self) -> Box<WholePacket> {
        match self.session.poll(Ready::BOTH) {
            Some(Action::Say(Side::Service, Spoken::Packet(packet))) => packet,
            other => panic!("{other:?}"),
        }
    }

    /// The configuration is read again.
    pub(in crate::session) fn reloads(&mut self, change: impl FnOnce(&mut Config)) {
        self.rules = rules(&self.revoked, change);
        self.event(Event::NewRules(Arc::clone(&self.rules)));
    }

    /// The same, and it has these plain routes.
    pub(in crate::session) fn reloads_routes(&mut self, routes: &[RouteInForce], change: impl FnOnce(&mut Config)) {
        let mut rules = rules(&self.revoked, change);
        Arc::get_mut(&mut rules).unwrap().routes = routes.into();
        self.rules = rules;
        self.event(Event::NewRules(Arc::clone(&self.rules)));
    }

    /// This is revoked from now on, for an hour, and the session hears nothing of it.
    pub(in crate::session) fn revoked_meanwhile(&self, whom: Whom) {
        let (now, hour) = (self.now.wall(), Duration::from_secs(3600));
        self.revoked.add(&[Revocation::lasting(whom, hour, now)], now);
    }

    /// The same, and the session hears of it. What the relay would learn.
    pub(in crate::session) fn revokes(&mut self, whom: Whom) -> Option<Vec<Revocation>> {
        self.revoked_meanwhile(whom);
        let found = self.session.find_revoked(self.now);
        if found.is_some() {
            self.event(Event::Revoked);
        }
        found.map(|found| found.tokens)
    }

    /// The service is lost, or a dial fails; the next dial is due at once. True: the session goes on.
    pub(in crate::session) fn loses(&mut self, why: Ended) -> bool {
        self.event(Event::Lost(why));
        let goes_on = self.ended().is_none();
        if goes_on {
            assert!(self.actions.contains(&Action::Detach(Side::Service, why)));
            self.actions.clear();
            self.event(Event::DialLater { at: self.now.instant, reserved: false });
        }
        goes_on
    }

    pub(in crate::session) fn passes(&mut self, time: Duration) {
        self.now = self.now.at(self.now.instant + time);
        self.session.timeout(self.now);
        self.obey();
    }

    /// The wall clock is set.
    pub(in crate::session) fn clock_is_set(&mut self, to: impl FnOnce(SystemTime) -> SystemTime) {
        self.now = Now::new(self.now.instant, to(self.now.wall()));
    }

    /// Time passes for a client that answers pings.
    pub(in crate::session) fn passes_with_a_heartbeat(&mut self, time: Duration) {
        self.passes(time);
        self.client("3");
    }

    /// The client answers each ping that it has got.
    pub(in crate::session) fn answers_pings(&mut self) {
        while let Some(at) = self.at_client.iter().position(|text| text == "2") {
            self.at_client.remove(at);
            self.client("3");
        }
    }

    /// Does what the relay does.
    fn obey(&mut self) {
        while let Some(action) = self.session.poll(Ready::BOTH) {
            let Action::Say(to, spoken) = action else {
                self.is_client_absent |= matches!(action, Action::Detach(Side::Client, _));
                self.actions.push(action);
                continue;
            };
            if let (Side::Service, Spoken::Own(OpCode::Ping, payload)) = (to, &spoken) {
                // As every service does by itself (RFC 6455 §5.5.2).
                self.session.event(Event::Control(Side::Service, OpCode::Pong, payload), self.now);
                continue;
            }
            let texts: Vec<String> = match &spoken {
                Spoken::Own(OpCode::Text, text) => vec![String::from_utf8(text.to_vec()).unwrap()],
                Spoken::Own(opcode, payload) => vec![format!("{opcode:?} {payload:?}")],
                Spoken::Packet(packet) => {
                    let attachments = packet.attachments().map(|bytes| format!("<{} bytes>", bytes.len()));
                    let text = String::from_utf8(packet.payload().to_vec()).unwrap();
                    std::iter::once(text).chain(attachments).collect()
                }
                Spoken::Delivery(delivery) => {
                    let attachments = delivery.attachments.iter().map(|bytes| format!("<{} bytes>", bytes.len()));
                    let text = String::from_utf8(delivery.text().to_vec()).unwrap();
                    std::iter::once(text).chain(attachments).collect()
                }
            };
            self.end_of(to).extend(texts);
        }
    }

    pub(in crate::session) fn ended(&self) -> Option<Ended> {
        self.session.ended()
    }

    pub(in crate::session) const fn view(&self) -> View<'_> {
        self.session.view()
    }

    /// What has reached the service since the last look.
    pub(in crate::session) fn service_got(&mut self) -> Vec<String> {
        mem::take(&mut self.at_service)
    }

    /// What has reached the client since the last look, without pings.
    pub(in crate::session) fn client_got(&mut self) -> Vec<String> {
        mem::take(&mut self.at_client).into_iter().filter(|text| text != "2").collect()
    }

    /// Discards what has happened so far.
    pub(in crate::session) fn forget_what_was_said(&mut self) {
        self.at_service.clear();
        self.at_client.clear();
        self.actions.clear();
    }

    /// The actions since the last look, except `Say`.
    pub(in crate::session) fn done(&mut self) -> Vec<Action> {
        mem::take(&mut self.actions)
    }

    pub(in crate::session) fn token(&self, lives: Duration) -> String {
        self.token_of("ada", lives)
    }

    pub(in crate::session) fn token_of(&self, user: &str, lives: Duration) -> String {
        let exp = (self.now.wall() + lives).duration_since(UNIX_EPOCH).unwrap().as_secs();
        self.signed(&serde_json::json!({ "sub": user, "exp": exp }))
    }

    pub(in crate::session) fn signed(&self, claims: &serde_json::Value) -> String {
        jsonwebtoken::encode(&Header::default(), claims, &EncodingKey::from_secret(SECRET)).unwrap()
    }
}

fn beginning(rules: Arc<SessionRules>) -> Beginning {
    Beginning { rules, peer: IpAddr::V4(Ipv4Addr::LOCALHOST), seed: 1 }
}
