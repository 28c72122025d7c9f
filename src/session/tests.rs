//! Conversations played through the state machine, with a clock of their own.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, LazyLock},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use jsonwebtoken::{EncodingKey, Header};
use proptest::prelude::*;

use super::{
    Action, Session, Terms,
    ended::Ended,
    hold::{HoldTerms, SessionTable},
    plain::Plain,
    socketio::SocketIo,
};
use crate::{
    config::Config,
    event_names::EventSlot,
    policy::{
        auth::shared_keys::SharedKeys,
        identity::Identity,
        policies::{Policies, PolicyTables},
        verdict::Verdict,
    },
    units::SecretSource,
    wire::{engineio::open::Sid, socketio::peek, websocket::close::CloseCode},
};

const SECRET: &[u8] = b"a secret of thirty-two bytes, no less";

static TERMS: LazyLock<Terms> = LazyLock::new(|| Terms {
    ping_interval: Duration::from_secs(25),
    ping_timeout: Duration::from_secs(20),
    connect_timeout: Duration::from_secs(45),
    idle_timeout: None,
    hold: HoldTerms::compile(&SessionTable::default()).unwrap(),
});

struct World {
    session: Session,
    policies: Policies,
    now: Instant,
    wall: SystemTime,
}

impl World {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut secret = tempfile::NamedTempFile::new().unwrap();
        secret.write_all(SECRET).unwrap();
        let mut config = Config::default();
        config.auth.secret = Some(SecretSource::File(secret.path().to_owned()));
        config.auth.leeway = crate::units::Period::OFF;
        change(&mut config);
        let tables = PolicyTables {
            auth: &config.auth,
            origins: &config.origins,
            namespaces: &config.socketio.namespaces,
            rate_limit: &config.rate_limit,
        };
        let policies = Policies::compile(&tables, &Arc::new(SharedKeys::new(Box::new(|| {}))), 1).unwrap();
        let now = Instant::now();
        let socketio = SocketIo::new(Sid::new([7; 15]), Ok(None), now + TERMS.connect_timeout);
        let session = Session::socketio(IpAddr::V4(Ipv4Addr::LOCALHOST), socketio, &policies, &TERMS, now);
        Self { session, policies, now, wall: SystemTime::now() }
    }

    fn without_auth() -> Self {
        Self::new(|config| config.auth.required = false)
    }

    fn joined() -> Self {
        let mut world = Self::without_auth();
        assert_eq!(world.client("40"), Verdict::Forward);
        world.service(r#"40{"sid":"x"}"#);
        while world.session.poll_action().is_some() {}
        world
    }

    fn plain() -> Self {
        let mut world = Self::without_auth();
        let (peer, plain) = (IpAddr::V4(Ipv4Addr::LOCALHOST), Plain::new(Arc::default(), None));
        let user = Identity::anonymous();
        world.session = Session::plain(peer, plain, user, &world.policies, &TERMS, world.wall, world.now);
        world
    }

    fn client(&mut self, text: &str) -> Verdict {
        let head = peek::peek_client(text.as_bytes(), true).unwrap();
        if head.kind == crate::wire::socketio::packet::PacketType::Connect {
            let payload = &text.as_bytes()[head.data_at..];
            return self.session.client_connect(&head, payload, &self.policies, self.wall, self.now);
        }
        self.session.client_packet(&head, EventSlot::OTHER, &self.policies, self.now)
    }

    fn service(&mut self, text: &str) -> Option<Duration> {
        let head = peek::peek_service(text.as_bytes(), true).unwrap();
        self.session.service_packet(&head, &text.as_bytes()[head.data_at..], self.now).latency.map(|(_, took)| took)
    }

    fn token(&self, lives: Duration) -> String {
        let exp = (self.wall + lives).duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = serde_json::json!({ "sub": "ada", "exp": exp });
        jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET)).unwrap()
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.session.poll_action()).collect()
    }

    fn said(&mut self) -> Vec<String> {
        let texts = self.actions().into_iter().filter_map(|action| match action {
            Action::SendClient(text) => Some(String::from_utf8(text.into_owned()).unwrap()),
            _ => None,
        });
        texts.collect()
    }
}

const LIMITED: &str = r#"{"error":"Rate limit exceeded. Please slow down.","rateLimited":true}"#;

#[test]
fn a_client_without_a_token_hears_connect_error_and_the_service_nothing() {
    let mut world = World::new(|_| ());
    assert!(matches!(world.client("40"), Verdict::Reply { .. }));
    let error = r#"44{"message":"Authentication token required","data":{"code":"auth.missing"}}"#;
    assert_eq!(world.actions(), [Action::SendClient(error.as_bytes().into())]);
}

#[test]
fn a_bad_token_is_refused_and_a_good_one_dials() {
    let mut world = World::new(|_| ());
    assert!(matches!(world.client(r#"40{"token":"not.a.token"}"#), Verdict::Reply { .. }));
    let error = r#"44{"message":"Invalid authentication token","data":{"code":"auth.invalid"}}"#;
    assert_eq!(world.said(), [error]);
    let connect = format!(r#"40{{"token":"{}"}}"#, world.token(Duration::from_secs(60)));
    assert_eq!(world.client(&connect), Verdict::Forward);
    assert_eq!(world.actions(), [Action::Dial, Action::Authenticated]);
    assert_eq!(world.session.identity().and_then(|identity| identity.user()), Some("ada"));
}

#[test]
fn an_open_session_ends_with_its_token() {
    let mut world = World::new(|_| ());
    let connect = format!(r#"40{{"token":"{}"}}"#, world.token(Duration::from_secs(5)));
    assert_eq!(world.client(&connect), Verdict::Forward);
    world.actions();
    let deadline = world.session.next_deadline(&TERMS);
    let lives = deadline - world.now;
    assert!(lives > Duration::from_secs(3) && lives <= Duration::from_secs(5), "{lives:?}");
    world.session.handle_timeout(&TERMS, deadline - Duration::from_millis(1));
    assert_eq!(world.session.ended(), None);
    world.session.handle_timeout(&TERMS, deadline);
    assert_eq!(world.session.ended(), Some(Ended::TokenExpired));
}

#[test]
fn the_101st_packet_in_a_window_is_answered_not_forwarded() {
    let mut world = World::joined();
    for id in 0..100 {
        assert_eq!(world.client(&format!(r#"42{id}["agent:learning",{{}}]"#)), Verdict::Forward);
    }
    assert!(matches!(world.client(r#"42100["agent:learning",{}]"#), Verdict::Reply { .. }));
    assert_eq!(world.said(), [format!("43100[{LIMITED}]")]);
}

#[test]
fn a_packet_without_an_ack_is_answered_once_a_window() {
    let mut world = World::joined();
    for _ in 0..150 {
        world.client(r#"42["agent:learning",{}]"#);
    }
    assert_eq!(world.said(), [format!(r#"42["rate_limited",{LIMITED}]"#)]);
}

#[test]
fn a_binary_event_is_refused_together_with_its_attachments() {
    let mut world = World::joined();
    for _ in 0..100 {
        world.client(r#"42["x"]"#);
    }
    let binary = r#"452-9["audio",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    assert!(matches!(world.client(binary), Verdict::Reply { .. }));
    assert!(matches!(world.session.client_attachment(), Verdict::Drop(_)));
    assert!(matches!(world.session.client_attachment(), Verdict::Drop(_)));
    assert_eq!(world.said(), [format!("439[{LIMITED}]")]);
    assert!(matches!(world.session.client_attachment(), Verdict::Close(_)), "a third was not announced");
}

#[test]
fn what_no_official_client_does_ends_the_session() {
    let cases: [(&[&str], &str); 5] = [
        (&[r#"42["too-early"]"#], "namespace_not_joined"),
        (&["40", "40"], "connect_twice"),
        (&["40/a,", r#"42/b,["x"]"#], "namespace_not_joined"),
        (&["40", r#"42["before-the-answer"]"#], "namespace_not_joined"),
        (&["40", "41"], "namespace_not_joined"),
    ];
    for (packets, rule) in cases {
        let mut world = World::without_auth();
        for packet in packets {
            world.client(packet);
        }
        assert_eq!(world.session.ended(), Some(Ended::ClientPacket(rule)), "{packets:?}");
    }
}

#[test]
fn text_between_a_packet_and_its_attachments_ends_the_session() {
    let mut world = World::joined();
    world.client(r#"451-["x",{"_placeholder":true,"num":0}]"#);
    assert!(matches!(world.client(r#"42["x"]"#), Verdict::Close(_)));
    assert_eq!(world.session.ended(), Some(Ended::ClientPacket("attachment_missing")));
}

#[test]
fn an_ack_passes_only_where_the_service_asked() {
    let mut world = World::joined();
    assert!(matches!(world.client("430[1]"), Verdict::Drop(_)));
    world.service(r#"420["question"]"#);
    assert_eq!(world.client("430[1]"), Verdict::Forward);
    assert!(matches!(world.client("430[1]"), Verdict::Drop(_)));
}

#[test]
fn latency_is_from_the_packet_to_its_ack() {
    let mut world = World::joined();
    world.client(r#"427["agent:learning",{}]"#);
    world.now += Duration::from_millis(12);
    assert_eq!(world.service(r#"437[{"success":true}]"#), Some(Duration::from_millis(12)));
    assert_eq!(world.service(r#"437[{"success":true}]"#), None);
}

#[test]
fn a_namespace_that_is_not_allowed_is_refused_and_the_others_stay() {
    let mut world = World::new(|config| {
        config.auth.required = false;
        config.socketio.namespaces = vec!["/".to_owned(), "/chat*".to_owned()];
    });
    assert_eq!(world.client("40"), Verdict::Forward);
    assert_eq!(world.client("40/chat-1,"), Verdict::Forward);
    world.actions();
    assert!(matches!(world.client("40/admin,"), Verdict::Reply { .. }));
    assert_eq!(world.said(), [r#"44/admin,{"message":"Invalid namespace","data":{"code":"forbidden"}}"#]);
}

#[test]
fn a_client_that_joins_nothing_is_closed() {
    let mut world = World::without_auth();
    let by = world.now + TERMS.connect_timeout;
    world.session.handle_timeout(&TERMS, world.now + TERMS.ping_interval);
    assert_eq!(world.said(), ["2"]);
    world.session.client_pong(&TERMS, world.now + TERMS.ping_interval);
    world.session.handle_timeout(&TERMS, by);
    assert_eq!(world.session.ended(), Some(Ended::ConnectTimeout));
}

#[test]
fn each_ping_is_answered_and_a_flood_ends_the_session() {
    let mut world = World::joined();
    for payload in [&b""[..], b"a", &[0xff; 125]] {
        world.session.client_pinged(payload, world.now);
        world.session.service_pinged(payload, world.now);
        assert_eq!(world.actions(), [Action::PongClient(payload.into()), Action::PongService(payload.into())]);
    }
    let flood = |pinged: fn(&mut Session, Instant)| {
        let mut world = World::joined();
        (0..100).for_each(|_| pinged(&mut world.session, world.now));
        world.session.ended()
    };
    let client = flood(|session, now| session.client_pinged(b"x", now));
    assert_eq!(client, Some(Ended::ClientFrame(CloseCode::POLICY, "control_rate")));
    let unasked = flood(|session, now| assert!(session.client_control(now) || session.ended().is_some()));
    assert_eq!(unasked, client, "pongs that nobody asked for are no better");
    let service = flood(|session, now| session.service_pinged(b"x", now));
    assert_eq!(service, Some(Ended::ServiceFrame(CloseCode::POLICY, "control_rate")));
}

#[test]
fn pongs_that_cannot_leave_do_not_pile_up() {
    let mut world = World::joined();
    for n in 0..1000_u64 {
        world.session.client_pinged(&n.to_be_bytes(), world.now + Duration::from_millis(200) * n as u32);
    }
    assert_eq!(world.session.ended(), None);
    let waiting = world.actions();
    assert_eq!(waiting.len(), 16);
    assert_eq!(waiting.first(), Some(&Action::PongClient(0_u64.to_be_bytes().into())));
    assert_eq!(waiting.last(), Some(&Action::PongClient(999_u64.to_be_bytes().into())), "the latest is answered");
}

#[test]
fn a_fragmented_message_has_thirty_seconds() {
    let seconds = |n| Duration::from_secs(n);
    let mut world = World::plain();
    let ends = |world: &mut World, after| {
        world.session.handle_timeout(&TERMS, world.now + seconds(after));
        world.session.ended()
    };
    // Each is whole in time, though there is always one under way.
    for second in (0..100).step_by(20) {
        world.session.client_heard(&TERMS, world.now + seconds(second));
        world.session.client_pong(&TERMS, world.now + seconds(second));
        world.session.client_fragments(true, world.now + seconds(second));
        assert_eq!(ends(&mut world, second + 20), None, "{second}");
    }
    // The next fragments of the last one, begun at 80 s, do not prolong it.
    world.session.client_fragments(true, world.now + seconds(105));
    assert!(world.session.next_deadline(&TERMS) <= world.now + seconds(110));
    assert_eq!(ends(&mut world, 110), Some(Ended::ClientFrame(CloseCode::POLICY, "frame_fragments")));
}

proptest! {
    /// Whatever is sent, in whatever order: no more events pass than the rule allows, an attachment passes only with
    /// its packet.
    #[test]
    fn no_order_of_packets_gets_more_through(packets in prop::collection::vec(0..7_u8, 1..400)) {
        let mut world = World::joined();
        let (mut passed, mut attachment_may_pass) = (0, false);
        for packet in packets {
            let verdict = match packet {
                0 => world.client(r#"42["a"]"#),
                1 => world.client(r#"421["a"]"#),
                2 => world.client(r#"451-["a",{"_placeholder":true,"num":0}]"#),
                3 => world.client("430[1]"),
                4 => { world.service(r#"420["q"]"#); continue }
                5 => { world.session.handle_timeout(&TERMS, world.now); continue }
                _ => {
                    let verdict = world.session.client_attachment();
                    prop_assert!(verdict != Verdict::Forward || attachment_may_pass);
                    verdict
                }
            };
            if packet < 3 && verdict == Verdict::Forward {
                passed += 1;
            }
            attachment_may_pass = packet == 2 && verdict == Verdict::Forward;
            if world.session.ended().is_some() {
                break;
            }
        }
        prop_assert!(passed <= 100);
    }
}

mod absence;
mod held;
mod resumed;
