//! Several nodes with their leases, and the script in a Redis of the test: one thread, one clock, and whatever order and
//! delay the test likes.

mod server;
mod steps;

use std::{
    sync::{Arc, mpsc::Receiver},
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;

use self::server::Server;
use super::{
    PATIENCE, SharedLimits, Task,
    ledger::{LIFE, LeaseLedger},
    script::{Calls, Report, Settled},
};
use crate::{
    cluster::members::{self, MemberId},
    event_names::EventSlot,
    observe::gauges::Gauges,
    policy::{
        rate_limit::{
            Instead, Meters, RateLimitTable, RateLimits, Scope, lease::Lease, lease_requests::LimitKey,
            sharing::Sharing,
        },
        verdict::Verdict,
    },
    units::Period,
};

const PREFIX: &str = "tidegate:{test}:";
const TICK: Duration = Duration::from_millis(10);

/// What is under way between a node and Redis.
struct UnderWay {
    batch: Vec<(Arc<Lease>, Report)>,
    sent: Instant,
    settled: Option<Settled>,
}

struct Node {
    sharing: Arc<Sharing>,
    limits: RateLimits,
    meters: Option<Meters>,
    questions: Receiver<LimitKey>,
    ledger: LeaseLedger,
    calls: Calls,
    under_way: Option<UnderWay>,
    passed: u32,
    /// So many nodes there are at least.
    nodes: u32,
}

impl Node {
    fn new(messages: u32, per: Duration, nodes: usize) -> Self {
        let sharing = Arc::new(Sharing::new(Box::new(|| {})));
        sharing.requests().set_shared(true);
        sharing.requests().set_nodes(u32::try_from(nodes).unwrap());
        let limits = limits_of(&sharing, messages, per);
        let questions = sharing.requests().questions().unwrap();
        let calls = Calls::new(PREFIX.into(), MemberId::draw(), LIFE);
        let (meters, under_way) = (None, None);
        Self {
            sharing,
            limits,
            meters,
            questions,
            ledger: LeaseLedger::default(),
            calls,
            under_way,
            passed: 0,
            nodes: 1,
        }
    }

    /// Ada sends so many packets at once.
    fn sends(&mut self, packets: u32, now: Instant) -> u32 {
        let Self { limits, meters, .. } = self;
        let meters = meters.get_or_insert_with(|| limits.open(Some("ada"), [192, 0, 2, 1].into(), now));
        let judge = || limits.judge(meters, EventSlot::OTHER, b"chat", Instead::AsRule, now) == Verdict::Forward;
        let passed = (0..packets).map(|_| u32::from(judge())).sum();
        self.passed += passed;
        passed
    }

    /// A call begins, unless one is under way.
    fn calls(&mut self, now: Instant) {
        while let Ok(key) = self.questions.try_recv() {
            self.ledger.asked(&self.sharing.find(key).unwrap(), now);
        }
        self.ledger.examine(now);
        if self.under_way.is_none() {
            self.under_way = Some(UnderWay { batch: self.ledger.next_batch(), sent: now, settled: None });
        }
    }

    /// It reaches Redis.
    fn reaches(&mut self, server: &mut Server) {
        if let Some(UnderWay { batch, settled: settled @ None, .. }) = &mut self.under_way {
            let reports = batch.iter().map(|(_, report)| report);
            *settled = Some(self.calls.settle(self.nodes, reports, server).now_or_never().unwrap().unwrap());
        }
    }

    /// The answer is back.
    fn hears(&mut self, now: Instant) {
        match self.under_way.take() {
            Some(UnderWay { batch, sent, .. }) if now - sent > PATIENCE => self.ledger.failed(batch),
            Some(UnderWay { batch, sent, settled: Some(settled) }) => {
                self.ledger.settle(batch, &settled.answers, sent, now);
                settled.wishes.iter().for_each(|wish| self.ledger.wished(wish, now));
            }
            under_way => self.under_way = under_way,
        }
    }

    /// Call or answer is lost.
    fn loses(&mut self) {
        if let Some(UnderWay { batch, .. }) = self.under_way.take() {
            self.ledger.failed(batch);
        }
    }
}

/// One rule, by user.
fn limits_of(sharing: &Arc<Sharing>, messages: u32, per: Duration) -> RateLimits {
    let per = Period(per);
    let rule = RateLimitTable { scope: Scope::User, messages, per, shared: true, ..RateLimitTable::default() };
    RateLimits::compile(&[rule], Some(sharing)).unwrap()
}

struct World {
    server: Server,
    nodes: Vec<Node>,
    now: Instant,
    began: Instant,
}

impl World {
    fn new(nodes: usize, messages: u32, per: Duration) -> Self {
        let now = Instant::now();
        let server = Server::start(PREFIX, nodes);
        Self { server, nodes: (0..nodes).map(|_| Node::new(messages, per, nodes)).collect(), now, began: now }
    }

    /// A hundred, and none comes back while the test runs.
    fn hundred() -> Self {
        Self::new(3, 100, Duration::from_hours(24))
    }

    fn sends(&mut self, node: usize, packets: u32) -> u32 {
        self.nodes[node].sends(packets, self.now)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.server.pass(time);
    }

    /// So many calls of each of these nodes, each answered at once.
    fn tick(&mut self, nodes: &[usize], times: u32) {
        for _ in 0..times {
            self.pass(TICK);
            for &node in nodes {
                let node = &mut self.nodes[node];
                node.calls(self.now);
                node.reaches(&mut self.server);
                node.hears(self.now);
            }
        }
    }

    fn passed(&self) -> u32 {
        self.nodes.iter().map(|node| node.passed).sum()
    }
}

const ALL: [usize; 3] = [0, 1, 2];

#[tokio::test]
async fn a_session_that_asks_is_heard_although_no_rule_in_force_is_shared() {
    for asks in [true, false] {
        let limits = SharedLimits::new(&Arc::new(Gauges::new()));
        let sharing = Arc::clone(limits.sharing());
        let rules = limits_of(&sharing, 100, Duration::from_secs(60));
        let _meters = asks.then(|| rules.open(Some("ada"), [192, 0, 2, 1].into(), Instant::now()));
        let questions = sharing.requests().questions().unwrap();
        let task = Task::new(limits, questions, Calls::new(PREFIX.into(), MemberId::draw(), LIFE));
        let mut is_redis_asked = false;
        let run = task.run(|| {
            is_redis_asked = true;
            None::<Server>
        });
        assert!(run.now_or_never().is_none(), "it runs for ever");
        assert_eq!(is_redis_asked, asks);
    }
}

#[test]
fn a_burst_on_one_node_gets_the_budget_but_for_what_is_kept_for_others() {
    let mut world = World::hundred();
    assert_eq!(world.sends(0, 0), 0);
    world.tick(&ALL, 1);
    assert_eq!(world.sends(0, 300), 96, "four are kept");
    world.tick(&ALL, 1);
    assert_eq!(world.sends(0, 300), 4, "and come with the demand");
    world.tick(&ALL, 100);
    assert_eq!(world.sends(0, 300), 0);
}

#[test]
fn a_burst_on_three_nodes_at_once_gets_the_budget() {
    let mut world = World::hundred();
    for node in ALL {
        world.sends(node, 0);
    }
    world.tick(&ALL, 10);
    assert_eq!(ALL.map(|node| world.sends(node, 100)), [33, 33, 33]);
    world.tick(&ALL, 3);
    assert_eq!(ALL.map(|node| world.sends(node, 100)).iter().sum::<u32>(), 1);
    world.tick(&ALL, 100);
    assert_eq!(ALL.map(|node| world.sends(node, 100)), [0, 0, 0]);
}

#[test]
fn demand_on_one_of_three_nodes_gets_what_the_idle_ones_hold_within_a_few_ticks() {
    let mut world = World::hundred();
    for node in ALL {
        world.sends(node, 0);
    }
    world.tick(&ALL, 100);
    assert_eq!(world.sends(1, 100), 33);
    for _ in 0..20 {
        world.tick(&ALL, 1);
        world.sends(1, 100);
    }
    assert!((95..=100).contains(&world.passed()), "{}", world.passed());
}

#[test]
fn packets_that_come_one_by_one_on_three_nodes_get_the_budget() {
    let mut world = World::hundred();
    for packet in 0..450 {
        world.sends(packet % 3, 1);
        world.tick(&ALL, 1);
    }
    assert_eq!(world.passed(), 100);
}

#[test]
fn first_packets_that_are_faster_than_the_lease_are_one_percent_for_each_node() {
    let mut world = World::hundred();
    assert_eq!(ALL.map(|node| world.sends(node, 100)), [1, 1, 1]);
    world.tick(&ALL, 20);
    for node in ALL {
        world.sends(node, 100);
    }
    assert!((97..=103).contains(&world.passed()), "{}", world.passed());
}

#[test]
fn what_refills_is_there_again_and_at_the_rate_of_the_rule() {
    let mut world = World::new(3, 100, Duration::from_secs(60));
    for node in ALL {
        world.sends(node, 0);
    }
    world.tick(&ALL, 100);
    for _ in 0..5 {
        for node in ALL {
            world.sends(node, 100);
        }
        world.tick(&ALL, 2);
    }
    let before = world.passed();
    assert!((95..=100).contains(&before), "{before}");
    for _ in 0..600 {
        world.tick(&ALL, 10);
        for node in ALL {
            world.sends(node, 1);
        }
    }
    let refilled = world.passed() - before;
    assert!((95..=105).contains(&refilled), "{refilled} in a minute");
    world.tick(&ALL, 7000);
    let after = ALL.map(|node| world.sends(node, 100)).iter().sum::<u32>();
    assert!((95..=100).contains(&after), "{after} at once after a pause of more than a minute");
}

#[test]
fn a_budget_of_one_goes_to_whoever_asks() {
    let mut world = World::new(3, 1, Duration::from_hours(24));
    for node in ALL {
        world.sends(node, 0);
    }
    world.tick(&ALL, 100);
    assert!(ALL.map(|node| world.sends(node, 1)).iter().sum::<u32>() <= 1);
    for _ in 0..100 {
        world.tick(&ALL, 1);
        world.sends(2, 1);
    }
    assert_eq!(world.passed(), 1);
}

#[test]
fn a_node_whose_sessions_have_left_gives_everything_back() {
    let mut world = World::hundred();
    world.sends(0, 0);
    world.tick(&ALL, 10);
    world.nodes[0].meters = None;
    world.tick(&ALL, 2);
    assert!(world.nodes[0].ledger.is_empty());
    assert_eq!(world.nodes[0].ledger.totals().held, 0);
    world.sends(1, 0);
    world.tick(&ALL, 2);
    assert_eq!(world.sends(1, 300), 96);
}

#[test]
fn who_comes_back_before_the_lease_begins_with_the_advance_if_the_budget_has_room() {
    for (sent, first) in [(50, 1), (100, 0)] {
        let mut world = World::hundred();
        while world.passed() < sent {
            let most = sent - world.passed();
            world.sends(0, most);
            world.tick(&ALL, 1);
        }
        for (ticks, first) in [(2, first), (0, 0)] {
            world.nodes[0].meters = None;
            world.tick(&ALL, ticks);
            assert_eq!(world.sends(0, 10), first, "after {sent}, and {ticks} calls");
        }
    }
}

#[test]
fn who_comes_back_after_a_release_is_leased_the_budget_once() {
    let mut world = World::new(1, 4, Duration::from_hours(24));
    assert_eq!(world.sends(0, 2), 1);
    let (node, now) = (&mut world.nodes[0], world.now);
    node.meters = None;
    node.calls(now);
    // Meanwhile the leases are looked at: this one is due once more, and then there is none to report.
    node.calls(now);
    node.reaches(&mut world.server);
    node.hears(now);
    assert_eq!(world.sends(0, 26), 1);
    world.tick(&[0], 1);
    assert_eq!(world.sends(0, 17), 2);
    assert_eq!(world.passed(), 4);
}

#[test]
fn who_comes_back_during_the_release_gets_a_lease_without_a_packet() {
    let mut world = World::hundred();
    let now = world.now;
    world.sends(0, 0);
    world.nodes[0].meters = None;
    world.nodes[0].calls(now);
    world.sends(0, 0);
    world.nodes[0].reaches(&mut world.server);
    world.nodes[0].hears(now);
    world.tick(&ALL, 1);
    assert_eq!(world.sends(0, 300), 96);
}

#[test]
fn what_a_dead_node_held_is_free_after_the_life_of_its_lease() {
    let mut world = World::hundred();
    for node in [0, 1] {
        world.sends(node, 0);
    }
    world.tick(&ALL, 10);
    for _ in 0..50 {
        world.tick(&[1], 1);
        world.sends(1, 10);
    }
    assert!((49..=52).contains(&world.passed()), "{}", world.passed());
    world.pass(LIFE);
    for _ in 0..300 {
        world.tick(&[1], 1);
        world.sends(1, 10);
    }
    assert!((96..=100).contains(&world.passed()), "{}", world.passed());
    assert!(world.nodes[0].sends(100, world.now) > 0, "it does not know how late it is");
    world.nodes[0].ledger.answers_again(world.now);
    assert_eq!(world.nodes[0].sends(100, world.now), 0, "but it looks before it goes on");
}

#[test]
fn a_redis_that_has_lost_its_data_does_not_stop_anybody() {
    let mut world = World::hundred();
    world.sends(0, 0);
    world.tick(&ALL, 10);
    world.sends(0, 50);
    world.tick(&ALL, 10);
    world.server.flush();
    for _ in 0..100 {
        world.tick(&ALL, 10);
        world.sends(0, 10);
    }
    assert!((100..=200).contains(&world.passed()), "{}", world.passed());
}

#[test]
fn the_first_node_that_comes_back_to_an_empty_redis_leaves_something_for_the_next() {
    for (nodes, of_second) in [(3, 4), (1, 0)] {
        let mut world = World::hundred();
        for node in [0, 1] {
            world.sends(node, 0);
        }
        world.tick(&ALL, 100);
        world.server.lose();
        for node in [0, 1] {
            world.nodes[node].nodes = nodes;
            world.server.count(node);
            world.nodes[node].ledger.answers_again(world.now);
            // A lease that is below its share is reported within a window / 25, at most 10 s.
            world.tick(&[node], 1001);
            world.sends(0, 1);
        }
        assert_eq!(world.sends(1, 100), of_second, "where {nodes} were known before");
    }
}

#[tokio::test]
async fn after_an_outage_the_nodes_of_before_count_until_they_may_have_come_back() {
    let limits = SharedLimits::new(&Arc::new(Gauges::new()));
    let questions = limits.sharing().requests().questions().unwrap();
    let mut task = Task::new(limits, questions, Calls::new(PREFIX.into(), MemberId::draw(), LIFE));
    let mut server = Server::start(PREFIX, 2);
    let settles = async |task: &mut Task, server: &mut Server| {
        let answers = task.settle_all(server).await;
        task.show(answers);
        task.limits.sharing.requests().nodes()
    };
    assert_eq!(settles(&mut task, &mut server).await, 2);
    task.show(false);
    server.lose();
    server.count(0);
    assert_eq!(settles(&mut task, &mut server).await, 2, "one is not back yet");
    let now = Instant::now();
    assert!(!task.has_nothing_to_hear(now), "it may wish for something");
    assert_eq!([task.nodes_at_least(now), task.nodes_at_least(now + members::LIFE)], [2, 1]);
    task.back = now.checked_sub(members::LIFE);
    assert_eq!(settles(&mut task, &mut server).await, 1);
    assert!(task.has_nothing_to_hear(Instant::now()));
}

#[test]
fn what_nobody_can_read_begins_anew() {
    let mut world = World::hundred();
    for garbage in ["HSET KEY used x", "HSET KEY at x used 1", "HSET KEY 0123456789abcdef x", "SET KEY x"] {
        world.sends(0, 0);
        world.tick(&ALL, 1001);
        assert_eq!(world.server.replace_budgets(garbage), 1, "there is one");
        world.tick(&ALL, 1001);
        assert!(world.sends(0, 10) > 0, "{garbage}");
    }
}
