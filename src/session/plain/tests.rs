//! A plain session whose service goes and comes, with a clock of its own.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr},
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use proptest::prelude::*;

use super::*;
use crate::{
    config::Config,
    policy::{identity::Identity, policies::PolicyTables},
    session::{
        Terms,
        hold::{HoldTerms, Overflow, SessionTable},
        upstream::Onward,
    },
    units::{ByteSize, Period},
    wire::websocket::close::CloseCode,
};

static POLICIES: LazyLock<Policies> = LazyLock::new(|| {
    let mut config = Config::default();
    config.auth.required = false;
    config.rate_limit.clear();
    let tables = PolicyTables {
        auth: &config.auth,
        origins: &config.origins,
        namespaces: &config.socketio.namespaces,
        rate_limit: &config.rate_limit,
    };
    Policies::compile(&tables, &Arc::default(), 1).unwrap()
});

const HOLD: Duration = Duration::from_secs(30);
const BACKOFF: Duration = Duration::from_millis(100);

/// A session, and what a service would have got of it.
struct World {
    session: Session,
    terms: Terms,
    now: Instant,
    got: Vec<String>,
}

impl World {
    fn new(first: usize, overflow: Overflow) -> Self {
        let route = PlainRoute {
            event_field: None,
            on_upstream_loss: OnUpstreamLoss::Hold,
            replay: ReplayTerms::compile("websocket[0]", first, &["sub*".to_owned()]).unwrap(),
        };
        let table = SessionTable {
            hold: Period(HOLD),
            queue_packets: 5,
            queue_bytes: ByteSize(100),
            overflow,
            ..SessionTable::default()
        };
        let terms = Terms {
            ping_interval: Duration::from_secs(3600),
            ping_timeout: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(45),
            idle_timeout: None,
            hold: HoldTerms::compile(&table).unwrap(),
        };
        let (peer, now) = (IpAddr::V4(Ipv4Addr::LOCALHOST), Instant::now());
        let plain = Plain::new(Arc::new(route), Some("chat"));
        let user = Identity::anonymous();
        let session = Session::plain(peer, plain, user, &POLICIES, &terms, SystemTime::now(), now);
        Self { session, terms, now, got: Vec::new() }
    }

    /// The client says something, whose first word is its event; what flows arrives.
    fn says(&mut self, text: &str) {
        let Dialect::Plain(plain) = &self.session.dialect else { panic!() };
        if plain.takes_whole(text, true) {
            let message = plain.whole_message(text, OpCode::Text, text.as_bytes());
            self.session.take_packet(Onward::Packet(message), &self.terms);
        } else {
            self.got.push(text.to_owned());
        }
        self.arrive();
    }

    fn says_all(&mut self, texts: &[&str]) {
        for text in texts {
            self.says(text);
        }
    }

    fn arrive(&mut self) {
        let mut dials = 0;
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::RepeatToService(again) => self.got.push(String::from_utf8(again.payload().to_vec()).unwrap()),
                Action::Dial => dials += 1,
                _ => {}
            }
        }
        assert!(dials <= 1);
        while let Some(packet) = self.session.next_packet() {
            self.got.push(String::from_utf8(packet.payload().to_vec()).unwrap());
            self.session.packet_sent(packet, &self.terms);
        }
    }

    fn loses(&mut self, ended: Ended) -> bool {
        self.session.service_gone(ended, &self.terms, self.now + BACKOFF, self.now)
    }

    /// Time passes to the next dial, which finds a service that has got nothing yet.
    fn finds(&mut self, protocol: Option<&str>) -> Result<(), Ended> {
        self.passes(BACKOFF);
        self.got.clear();
        self.session.service_reached(protocol, self.now)?;
        self.arrive();
        Ok(())
    }

    fn passes(&mut self, time: Duration) {
        self.now += time;
        self.session.handle_timeout(&self.terms, self.now);
        while self.session.poll_action().is_some() {}
    }
}

#[test]
fn what_is_said_while_the_service_is_away_arrives_behind_what_is_said_again() {
    let mut world = World::new(1, Overflow::Close);
    world.says_all(&["auth", "one", "sub a"]);
    assert_eq!(world.got, ["auth", "one", "sub a"]);
    assert!(world.loses(Ended::ServiceLost));
    world.says_all(&["two", "sub b", "three"]);
    assert_eq!(world.finds(Some("chat")), Ok(()));
    assert_eq!(world.got, ["auth", "sub a", "two", "sub b", "three"]);
    world.says("four");
    assert!(world.loses(Ended::ServiceLost));
    assert_eq!(world.finds(Some("chat")), Ok(()));
    assert_eq!(world.got, ["auth", "sub a", "sub b"], "what arrived once is not said again");
}

#[test]
fn a_packet_that_was_not_taken_whole_is_the_next_to_go() {
    let mut world = World::new(0, Overflow::Close);
    assert!(world.loses(Ended::ServiceLost));
    world.says_all(&["one", "two"]);
    world.passes(BACKOFF);
    assert_eq!(world.session.service_reached(Some("chat"), world.now), Ok(()));
    let one = world.session.next_packet().unwrap();
    world.session.packet_unsent(one);
    assert!(world.loses(Ended::ServiceLost));
    assert_eq!(world.finds(Some("chat")), Ok(()));
    assert_eq!(world.got, ["one", "two"]);
}

#[test]
fn a_service_that_is_done_with_the_client_ends_the_session_and_one_that_restarts_does_not() {
    for (code, waits) in
        [(1000, false), (1005, false), (1008, false), (1011, false), (4000, false), (1001, true), (1012, true)]
    {
        let mut world = World::new(0, Overflow::Close);
        let ended = Ended::ServiceClosed(CloseCode::new(code));
        assert_eq!(world.loses(ended), waits, "{code}");
        assert_eq!(world.session.ended(), (!waits).then_some(ended));
    }
}

#[test]
fn a_client_that_waited_in_vain_hears_of_the_loss() {
    let mut world = World::new(0, Overflow::Close);
    world.loses(Ended::ServiceClosed(CloseCode::GOING_AWAY));
    world.passes(HOLD - Duration::from_millis(1));
    assert_eq!(world.session.ended(), None);
    world.passes(Duration::from_millis(1));
    assert_eq!(world.session.ended(), Some(Ended::ServiceLost));
}

#[test]
fn a_service_that_only_looks_in_has_not_come_back() {
    let mut world = World::new(0, Overflow::Close);
    let began = world.now;
    while world.session.ended().is_none() {
        assert!(world.now < began + HOLD * 2, "it is given up");
        world.loses(Ended::ServiceLost);
        assert_eq!(world.session.upstream().away_since(), Some(began));
        assert_eq!(world.finds(Some("chat")), Ok(()));
        assert_eq!(world.session.upstream().away_since(), None);
    }
    let mut world = World::new(0, Overflow::Close);
    for _ in 0..100 {
        assert!(world.loses(Ended::ServiceLost));
        assert_eq!(world.finds(Some("chat")), Ok(()));
        world.passes(Duration::from_secs(1));
        assert_eq!(world.session.upstream().failures(), 0);
    }
}

#[test]
fn another_subprotocol_is_another_service() {
    for other in [None, Some("chat.v2")] {
        let mut world = World::new(0, Overflow::Close);
        world.loses(Ended::ServiceLost);
        assert_eq!(world.finds(other), Err(Ended::ServiceChanged));
    }
}

#[test]
fn who_said_more_than_is_remembered_is_not_held() {
    let mut world = World::new(0, Overflow::Close);
    (0..9).for_each(|n| world.says(&format!("sub {n}")));
    assert!(!world.loses(Ended::ServiceLost));
}

proptest! {
    /// Whatever is said and lost: a service gets what is said again, then the rest in order; nothing twice and nothing
    /// left out but what the queue had no room for, which is counted.
    #[test]
    fn no_order_of_losses_loses_doubles_or_reorders(
        steps in prop::collection::vec(0..5_u8, 1..80),
        first in 0..3_usize,
        drops in any::<bool>(),
    ) {
        let mut world = World::new(first, if drops { Overflow::DropOldest } else { Overflow::Close });
        let (mut away, mut said) = (false, 0_u32);
        let mut awaited: VecDeque<String> = VecDeque::new();
        for step in steps {
            match step {
                0 if !away => { prop_assert!(world.loses(Ended::ServiceLost)); away = true; }
                1 if away => {
                    prop_assert_eq!(world.finds(Some("chat")), Ok(()));
                    let again = world.got.len() - awaited.len();
                    prop_assert!(again <= first);
                    prop_assert_eq!(&world.got[again..], awaited.make_contiguous());
                    awaited.clear();
                    away = false;
                }
                0 | 1 => world.passes(Duration::from_millis(10)),
                _ => {
                    let text = format!("say {said}");
                    said += 1;
                    world.says(&text);
                    if away {
                        awaited.push_back(text);
                        if awaited.len() > 5 {
                            if !drops {
                                prop_assert_eq!(world.session.ended(), Some(Ended::QueueFull));
                                prop_assert_eq!(world.session.upstream().dropped(), 1);
                                return Ok(());
                            }
                            awaited.pop_front();
                        }
                    } else {
                        prop_assert_eq!(world.got.last(), Some(&text));
                    }
                }
            }
            prop_assert!(world.session.upstream().waiting().0 <= 5);
        }
        prop_assert_eq!(world.session.ended(), None);
    }
}
