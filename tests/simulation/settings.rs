//! What a seed draws before its first step: the configuration, and who the ends are.

use std::{
    path::Path,
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use tidegate::{
    Config,
    event_names::EventNames,
    mirror::{
        rules::MirrorRules,
        table::{MirrorTable, RoomTable},
    },
    policy::{
        auth::{key_set::KeySet, shared_keys::SharedKeys},
        policies::{Policies, PolicyTables},
        rate_limit::{Exceeded, RateLimitTable, Scope},
    },
    session::{
        hold::{OnLostAck, Overflow},
        plain::{OnUpstreamLoss, PlainRules},
        replay::ReplayRules,
        rules::{SessionRules, Timing},
    },
    units::{ByteSize, Period, SecretSource},
    wire::json::check::JsonReading,
};

use crate::chance::Chance;

const SECRET: &[u8] = include_bytes!("secret");

/// The private key of the issuer, as chosen for these tests alone.
const SEED: [u8; 32] = [7; 32];

/// PKCS#8 of an Ed25519 key (RFC 8410 §7) up to the key itself.
const PKCS8: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

static SECRET_KEY: LazyLock<EncodingKey> = LazyLock::new(|| EncodingKey::from_secret(SECRET));

static ISSUER_KEY: LazyLock<EncodingKey> = LazyLock::new(|| EncodingKey::from_ed_der(&[&PKCS8[..], &SEED].concat()));

/// `socketio.max_connect`: room for a token and what brings a client back.
pub const MAX_CONNECT: u64 = 1000;

/// `limits.rooms_per_session`.
pub const ROOMS_PER_SESSION: usize = 3;

/// `socketio.max_payload`: room for the largest event with its attachments.
pub const MAX_PAYLOAD: u64 = 3000;

/// Who a client says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Nobody in particular.
    None,
    /// A user, by a token that both sides have the secret of.
    Secret,
    /// A user, by a token of an issuer that publishes its keys.
    Published,
}

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    SocketIo,
    Plain,
}

/// What a seed draws before its first step.
pub struct Settings {
    pub dialect: Dialect,
    pub proof: Proof,
    /// The service numbers its events itself (`connectionStateRecovery`), but forgets them when it restarts.
    pub numbers: bool,
    pub devices: usize,
    /// Clients have very many acks open.
    pub floods: bool,
    /// Clients repeat what they have no ack of, as with `retries` of socket.io-client.
    pub repeats: bool,
    pub config: Config,
    pub route: Arc<PlainRules>,
    /// So many messages of a plain client are said to the next service again.
    pub first: usize,
    pub published: Arc<SharedKeys>,
    names: Arc<EventNames>,
}

impl Settings {
    pub fn draw(chance: &mut Chance) -> Self {
        let dialect = chance.weighted(&[(4, Dialect::SocketIo), (1, Dialect::Plain)]);
        let proof = chance.weighted(&[(3, Proof::None), (3, Proof::Secret), (1, Proof::Published)]);
        let (event_field, holds, first) = (chance.percent(70), chance.percent(75), chance.below(3));
        let route = PlainRules {
            event_field: event_field.then(|| "t".into()),
            on_upstream_loss: if holds { OnUpstreamLoss::Hold } else { OnUpstreamLoss::Close },
            replay: ReplayRules::compile("websocket[0]", first, &["sub*".to_owned()]).expect("these rules are right"),
            ..PlainRules::default()
        };
        let mut settings = Self {
            dialect,
            proof,
            numbers: chance.percent(15),
            devices: 2 + chance.below(2),
            floods: chance.percent(8),
            repeats: chance.percent(50),
            config: Config::default(),
            route: Arc::new(route),
            first,
            published: Arc::new(SharedKeys::new(Box::new(|| {}))),
            names: Arc::new(EventNames::new(10, [])),
        };
        settings.draw_config(chance);
        if chance.percent(60) {
            settings.publish();
        }
        settings
    }

    fn draw_config(&mut self, chance: &mut Chance) {
        let config = &mut self.config;
        config.auth.leeway = Period::OFF;
        config.auth.required = self.proof != Proof::None;
        match self.proof {
            Proof::None => {}
            Proof::Secret => {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/secret");
                config.auth.secret = Some(SecretSource::File(path));
            }
            Proof::Published => {
                config.auth.jwks_url = Some("https://issuer.test/jwks".to_owned());
                config.auth.algorithms = vec!["EdDSA".to_owned()];
            }
        }
        config.socketio.namespaces = vec!["/".to_owned(), "/a".to_owned(), "/b".to_owned()];
        config.socketio.joins = chance.weighted(&[(1, 2), (2, 5), (4, 32)]);
        config.socketio.joins_per = Period::from_secs(chance.one_of(&[5, 60]));
        config.socketio.json = chance.one_of(&[JsonReading::Structure, JsonReading::Full]);
        config.socketio.max_connect = ByteSize(MAX_CONNECT);
        config.socketio.max_payload = ByteSize(MAX_PAYLOAD);
        config.socketio.ping_interval = Period::from_secs(chance.between(5, 25));
        config.socketio.ping_timeout = Period::from_secs(chance.between(3, 20));
        let session = &mut config.session;
        session.hold = Period::from_secs(chance.weighted(&[(1, 0), (2, 3), (6, 30)]));
        session.resume = Period::from_secs(chance.weighted(&[(2, 0), (1, 5), (7, 60)]));
        session.queue_packets = chance.weighted(&[(1, 1), (5, 5), (3, 12), (2, 100)]);
        session.queue_bytes = ByteSize(chance.weighted(&[(1, 700), (1, 6000), (4, 1_000_000)]));
        session.overflow = chance.weighted(&[(1, Overflow::Close), (2, Overflow::DropOldest)]);
        session.on_lost_ack = chance.weighted(&[(4, OnLostAck::Error), (1, OnLostAck::Close)]);
        session.ack_grace = Period(Duration::from_millis(chance.weighted(&[(1, 0), (2, 300), (5, 2000)])));
        session.retries = chance.weighted(&[(1, 0), (2, 1), (2, 3)]);
        session.retry_events = if chance.percent(80) { vec!["again".to_owned()] } else { Vec::new() };
        self.draw_limits(chance);
    }

    /// Other limits, as after a reload.
    pub fn draw_limits(&mut self, chance: &mut Chance) {
        let mut limit = |_| RateLimitTable {
            scope: chance.one_of(&[Scope::Connection, Scope::User, Scope::Ip]),
            events: vec![chance.one_of(&["*", "once", "a*"]).to_owned()],
            messages: chance.weighted(&[(1, 2), (2, 10), (4, 100)]),
            per: Period(Duration::from_millis(chance.weighted(&[(1, 300), (2, 10_000), (2, 60_000)]))),
            exceeded: chance.weighted(&[
                (4, Exceeded::Reply),
                (2, Exceeded::Drop),
                (2, Exceeded::Delay),
                (1, Exceeded::Close),
            ]),
            shared: false,
        };
        let limits = (0..3).map(&mut limit).collect::<Vec<_>>();
        let limited = if self.floods { 0 } else { chance.below(3) };
        self.config.rate_limit = limits.into_iter().take(limited).collect();
    }

    /// The configuration as rules: those of generation so many.
    pub fn rules(&self, generation: u64) -> Arc<SessionRules> {
        let Config { auth, origins, socketio, rate_limit, session, limits, .. } = &self.config;
        let tables = PolicyTables { auth, origins, namespaces: &socketio.namespaces, rate_limit, sharing: None };
        let policies = Policies::compile(&tables, &self.published, generation).expect("these policies are right");
        let timing = Timing::compile(socketio, session, limits.idle_timeout).expect("these times are right");
        let rules = SessionRules::new(policies, Arc::clone(&self.names), timing);
        Arc::new(rules.with_others(mirror(), ROOMS_PER_SESSION))
    }

    /// The issuer publishes its key.
    pub fn publish(&self) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&SEED).expect("every 32 bytes are a key");
        let x = URL_SAFE_NO_PAD.encode(pair.public_key());
        let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"one","alg":"EdDSA","x":"{x}"}}]}}"#);
        self.published.loaded(KeySet::from_jwks(set.as_bytes()).expect("the set is right"));
    }

    /// The token of a user, that lives until then.
    pub fn token(&self, user: &str, until: SystemTime) -> Option<String> {
        let exp = until.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = serde_json::json!({ "sub": user, "exp": exp });
        let (header, key) = match self.proof {
            Proof::None => return None,
            Proof::Secret => (Header::default(), &*SECRET_KEY),
            Proof::Published => (Header { kid: Some("one".to_owned()), ..Header::new(Algorithm::EdDSA) }, &*ISSUER_KEY),
        };
        Some(jsonwebtoken::encode(&header, &claims, key).expect("a token can be made"))
    }
}

/// Every client is in a room of `/`, and in one of each of its events that is acknowledged.
fn mirror() -> MirrorRules {
    let text = |text: &str| Some(text.to_owned());
    let rooms = [
        RoomTable { name: "all".to_owned(), ..RoomTable::default() },
        RoomTable {
            name: "event:{arg0}".to_owned(),
            join_on: text("once"),
            leave_on: text("other"),
            confirm: text("ack"),
            confirm_when: text("arg0"),
            confirm_equals: text("done"),
            ..RoomTable::default()
        },
    ];
    let mirrored = MirrorTable { event: "e".to_owned(), room: "*".to_owned(), ..MirrorTable::default() };
    MirrorRules::compile(&rooms, &[mirrored]).expect("these rules are right")
}
