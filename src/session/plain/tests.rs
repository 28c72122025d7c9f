//! A plain session whose service is lost and comes back, on a clock of the test.

use std::{collections::VecDeque, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    config::Config,
    policy::rate_limit::{Exceeded, Instead},
    session::{action::Action, event::Event, hold::Overflow, route_answers::RouteInForce, tests::world},
    units::{ByteSize, Period},
    wire::websocket::close::CloseCode,
};

const HOLD: Duration = Duration::from_secs(30);

/// From a loss to the next dial.
const BETWEEN: Duration = Duration::from_millis(100);

/// A session, and what its service has got.
struct World {
    world: world::World,
    got: Vec<String>,
}

impl World {
    fn new(first: usize, overflow: Overflow) -> Self {
        Self::with(first, overflow, &[])
    }

    fn with(first: usize, overflow: Overflow, volatile: &[&str]) -> Self {
        let route = PlainRules {
            event_field: Some("t".into()),
            on_upstream_loss: OnUpstreamLoss::Hold,
            replay: ReplayRules::compile("websocket[0]", first, &["sub*".to_owned()]).unwrap(),
            ..PlainRules::default()
        };
        let world = world::World::plain(route, |config| {
            config.auth.required = false;
            config.rate_limit.clear();
            config.socketio.ping_interval = Period::from_secs(3600);
            config.session.hold = Period(HOLD);
            config.session.queue_packets = 5;
            config.session.queue_bytes = ByteSize(1500);
            config.session.overflow = overflow;
            config.session.volatile_events = volatile.iter().map(ToString::to_string).collect();
        });
        Self { world, got: Vec::new() }
    }

    /// The client sends a message that names its own event; what flows arrives.
    fn says(&mut self, text: &str) {
        self.world.client(&format!(r#"{{"t":"{text}"}}"#));
        self.arrive();
    }

    fn says_all(&mut self, texts: &[&str]) {
        for text in texts {
            self.says(text);
        }
    }

    fn arrive(&mut self) {
        let text = |json: String| json[r#"{"t":""#.len()..json.len() - r#""}"#.len()].to_owned();
        self.got.extend(self.world.service_got().into_iter().map(text));
    }

    fn loses(&mut self, ended: Ended) -> bool {
        self.world.loses(ended)
    }

    /// The next dial reaches a service that has got nothing yet.
    fn finds(&mut self, protocol: Option<&str>) -> Result<(), Ended> {
        self.passes(BETWEEN);
        if let Some(ended) = self.world.ended() {
            return Err(ended);
        }
        assert_eq!(self.world.done(), [Action::Dial { again: true }]);
        self.got.clear();
        self.world.event(Event::Connected(protocol));
        self.arrive();
        self.world.ended().map_or(Ok(()), Err)
    }

    /// The next dial finds a service that takes one message less than this, and of that one a part.
    fn breaks_at(&mut self, taken: usize) {
        self.passes(BETWEEN);
        let now = self.world.now;
        self.world.session.event(Event::Connected(Some("chat")), now);
        let packet = (0..taken).map(|_| self.world.takes_packet()).last().unwrap();
        self.world.session.event(Event::Unsent(packet), now);
        self.world.done();
        assert!(self.loses(Ended::ServiceLost));
        // What was still to be said is dropped.
        self.world.service_got();
    }

    fn passes(&mut self, time: Duration) {
        self.world.passes(time);
    }
}

#[test]
fn a_volatile_message_passes_while_the_service_is_there_and_never_waits() {
    let mut world = World::with(1, Overflow::Close, &["cursor", "auth", "sub b"]);
    world.says_all(&["auth", "cursor 1", "cursor"]);
    assert_eq!(world.got, ["auth", "cursor 1", "cursor"]);
    assert!(world.loses(Ended::ServiceLost));
    world.says_all(&["cursor", "cursor 2", "sub a", "sub b"]);
    assert_eq!(world.world.view().dropped(), 1);
    assert_eq!(world.finds(Some("chat")), Ok(()));
    assert_eq!(world.got, ["auth", "cursor 2", "sub a", "sub b"], "what is sent again is kept");
}

#[test]
fn a_message_that_names_no_event_is_never_volatile() {
    let rows: [(_, &[&str]); 2] = [(Some("t"), &[r#"{"u":1}"#]), (None, &[r#"{"u":1}"#, r#"{"t":"message"}"#])];
    for volatile in ["*", MESSAGE] {
        for (event_field, waits) in rows {
            let on_upstream_loss = OnUpstreamLoss::Hold;
            let route =
                PlainRules { event_field: event_field.map(Into::into), on_upstream_loss, ..PlainRules::default() };
            let mut world = world::World::plain(route, |config| {
                config.auth.required = false;
                config.session.volatile_events = vec![volatile.to_owned()];
            });
            assert!(world.loses(Ended::ServiceLost));
            for text in [r#"{"u":1}"#, r#"{"t":"message"}"#] {
                world.client(text);
            }
            world.passes(Duration::ZERO);
            world.event(Event::Connected(Some("chat")));
            assert_eq!(world.service_got(), waits, "{volatile} {event_field:?}");
        }
    }
}

#[test]
fn the_message_that_fills_a_queue_is_named() {
    for (overflow, ended) in [(Overflow::Close, Some(Ended::QueueFull)), (Overflow::DropOldest, None)] {
        let mut world = World::new(0, overflow);
        assert!(world.loses(Ended::ServiceLost));
        world.says_all(&["one", "two", "two", "two", "two"]);
        assert_eq!(world.world.view().filled(), None, "it is not full yet");
        world.says("one");
        assert_eq!((world.world.view().filled(), world.world.ended()), (Some(("hold", "two")), ended));
    }
}

#[test]
fn messages_sent_during_an_outage_arrive_behind_those_sent_again() {
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
    assert_eq!(world.got, ["auth", "sub a", "sub b"], "a message that arrived is not sent again");
}

#[test]
fn an_open_session_follows_what_its_route_does_with_messages_over_a_limit() {
    let limited = |config: &mut Config| {
        config.auth.required = false;
        config.rate_limit[0].messages = 1;
    };
    let answers = |exceeded| Arc::new(RouteAnswers { instead: Instead::Always(exceeded), ..RouteAnswers::default() });
    let route = |path: &str, carries, exceeded| RouteInForce { path: path.into(), carries, answers: answers(exceeded) };
    let rules = PlainRules { path: "/ws".into(), answers: answers(Exceeded::Drop), ..PlainRules::default() };
    let mut world = world::World::plain(rules, limited);
    let closes = route("/ws", Carries::Anything, Exceeded::Close);
    for (routes, stays) in [
        (vec![], true),
        (vec![route("/other", Carries::Anything, Exceeded::Close)], true),
        (vec![route("/ws", Carries::Events, Exceeded::Close), route("/ws", Carries::Bridged, Exceeded::Close)], true),
        (vec![route("/other", Carries::Anything, Exceeded::Drop), closes], false),
    ] {
        world.reloads_routes(&routes, limited);
        for _ in 0..3 {
            world.client("message");
        }
        assert_eq!(world.ended().is_none(), stays, "{routes:?}");
    }
}

#[test]
fn a_message_that_was_not_sent_completely_is_the_next_one() {
    let mut world = World::new(0, Overflow::Close);
    assert!(world.loses(Ended::ServiceLost));
    world.says_all(&["one", "two"]);
    world.breaks_at(1);
    assert_eq!(world.finds(Some("chat")), Ok(()));
    assert_eq!(world.got, ["one", "two"]);
}

#[test]
fn a_message_that_was_not_taken_whole_is_not_also_said_again() {
    for taken in 1..=3 {
        let mut world = World::new(1, Overflow::Close);
        assert!(world.loses(Ended::ServiceLost));
        world.says_all(&["auth", "sub a", "one"]);
        world.breaks_at(taken);
        assert_eq!(world.finds(Some("chat")), Ok(()));
        assert_eq!(world.got, ["auth", "sub a", "one"], "broken at {taken}");
        // The same where it breaks while they are said again.
        assert!(world.loses(Ended::ServiceLost));
        world.breaks_at(taken.min(2));
        assert_eq!(world.finds(Some("chat")), Ok(()));
        assert_eq!(world.got, ["auth", "sub a"], "broken at {taken}");
    }
}

#[test]
fn a_message_that_no_service_has_taken_waits_and_is_counted() {
    for taken in 1..=3 {
        let mut world = World::new(1, Overflow::Close);
        assert!(world.loses(Ended::ServiceLost));
        world.says_all(&["auth", "sub a", "one"]);
        world.breaks_at(taken);
        assert_eq!(world.world.view().unsent(), 4 - taken as u64, "broken at {taken}");
    }
}

#[test]
fn a_service_that_closes_for_good_ends_the_session_and_one_that_restarts_does_not() {
    for (code, waits) in
        [(1000, false), (1005, false), (1008, false), (1011, false), (4000, false), (1001, true), (1012, true)]
    {
        let mut world = World::new(0, Overflow::Close);
        let ended = Ended::ServiceClosed(CloseCode::new(code));
        assert_eq!(world.loses(ended), waits, "{code}");
        assert_eq!(world.world.ended(), (!waits).then_some(ended));
    }
}

#[test]
fn a_client_whose_hold_is_over_is_closed_for_the_lost_service() {
    let mut world = World::new(0, Overflow::Close);
    world.loses(Ended::ServiceClosed(CloseCode::GOING_AWAY));
    world.passes(HOLD - Duration::from_millis(1));
    assert_eq!(world.world.ended(), None);
    world.passes(Duration::from_millis(1));
    assert_eq!(world.world.ended(), Some(Ended::ServiceLost));
}

#[test]
fn a_short_connection_does_not_end_the_outage() {
    let mut world = World::new(0, Overflow::Close);
    let began = world.world.now.instant;
    while world.world.ended().is_none() {
        assert!(world.world.now.instant < began + HOLD * 2, "the session is not given up");
        world.loses(Ended::ServiceLost);
        assert_eq!(world.world.view().service_down_since(), Some(began));
        if world.finds(Some("chat")).is_err() {
            break;
        }
        assert_eq!(world.world.view().service_down_since(), None);
    }
    let mut world = World::new(0, Overflow::Close);
    for _ in 0..100 {
        assert!(world.loses(Ended::ServiceLost));
        assert_eq!(world.finds(Some("chat")), Ok(()));
        world.passes(Duration::from_secs(1));
    }
}

#[test]
fn a_service_with_another_subprotocol_ends_the_session() {
    for other in [None, Some("chat.v2")] {
        let mut world = World::new(0, Overflow::Close);
        world.loses(Ended::ServiceLost);
        assert_eq!(world.finds(other), Err(Ended::ServiceChanged));
    }
}

#[test]
fn a_client_that_sent_more_than_is_remembered_is_not_held() {
    let mut world = World::new(0, Overflow::Close);
    (0..9).for_each(|n| world.says(&format!("sub {n}")));
    assert!(!world.loses(Ended::ServiceLost));
}

proptest! {
    /// For any messages and losses: a service gets the messages to send again, then the rest in order; none twice and
    /// none left out except those that the queue had no room for, which are counted.
    #[test]
    fn no_order_of_outages_loses_doubles_or_reorders_messages(
        steps in prop::collection::vec(0..5_u8, 1..80),
        first in 0..3_usize,
        drops in any::<bool>(),
    ) {
        let mut world = World::new(first, if drops { Overflow::DropOldest } else { Overflow::Close });
        let (mut down, mut said) = (false, 0_u32);
        let mut awaited: VecDeque<String> = VecDeque::new();
        for step in steps {
            match step {
                0 if !down => { prop_assert!(world.loses(Ended::ServiceLost)); down = true; }
                1 if down => {
                    prop_assert_eq!(world.finds(Some("chat")), Ok(()));
                    let again = world.got.len() - awaited.len();
                    prop_assert!(again <= first);
                    prop_assert_eq!(&world.got[again..], awaited.make_contiguous());
                    awaited.clear();
                    down = false;
                }
                0 | 1 => world.passes(Duration::from_millis(10)),
                _ => {
                    let text = format!("say {said}");
                    said += 1;
                    world.says(&text);
                    if down {
                        awaited.push_back(text);
                        if awaited.len() > 5 {
                            if !drops {
                                prop_assert_eq!(world.world.ended(), Some(Ended::QueueFull));
                                prop_assert_eq!(world.world.view().dropped(), 1);
                                return Ok(());
                            }
                            awaited.pop_front();
                        }
                    } else {
                        prop_assert_eq!(world.got.last(), Some(&text));
                    }
                }
            }
            prop_assert!(world.world.view().waiting().0 <= 5);
        }
        prop_assert_eq!(world.world.ended(), None);
    }
}
