//! Losses of the service, on a clock of the test.

use super::*;
use crate::relay::reconnect_pacer::DialTurn;

const MS: Duration = Duration::from_millis(1);

/// A node with two workers, whose sweeps come every hundred milliseconds.
struct Node {
    state: ServiceState,
    start: Instant,
    now: Instant,
    swept: Instant,
    /// Since when the oldest session that flows does so, by worker.
    flows: [Option<Instant>; 2],
}

impl Node {
    /// One on which another session has flowed for long.
    fn with_others() -> Self {
        let mut node = Self::alone();
        node.flows[1] = Some(node.start);
        node.passes(1000);
        node
    }

    /// One on which no other session has the service.
    fn alone() -> Self {
        let start = Instant::now();
        Self { state: ServiceState::default(), start, now: start, swept: start, flows: [None; 2] }
    }

    fn passes(&mut self, ms: u32) {
        self.now += MS * ms;
        while self.swept + 100 * MS <= self.now {
            self.swept += 100 * MS;
            for (worker, since) in self.flows.into_iter().enumerate() {
                self.state.looked(worker, Flowing { sessions: since.iter().len(), since }, self.swept);
            }
        }
    }

    fn loses(&self, session: u64, occasion: Occasion) -> Loss {
        let repeats = u8::from(occasion != Occasion::None);
        let loss = Loss { at: self.now, session, worker: 0, occasion, repeats };
        self.state.lost(&loss);
        loss
    }

    /// The verdict, as soon as there is one, and after how many milliseconds.
    fn verdict(&mut self, loss: &Loss) -> (LossVerdict, u32) {
        for waited in (0..5000).step_by(50) {
            match self.state.judge(loss, self.now) {
                LossVerdict::Undecided(at) => assert!(at > self.now, "it would be asked without end"),
                verdict => return (verdict, waited),
            }
            self.passes(50);
        }
        panic!("no verdict");
    }
}

#[test]
fn a_loss_after_a_packet_while_others_flow_is_an_objection_if_a_dial_succeeds() {
    let mut node = Node::with_others();
    let loss = node.loses(1, Occasion::Packet);
    let (verdict, waited) = node.verdict(&loss);
    assert_eq!(verdict, LossVerdict::Unconfirmed);
    assert!((250..=350).contains(&waited), "others had {waited} ms to lose it too");
    node.state.reached(node.now);
    assert_eq!(node.state.judge(&loss, node.now), LossVerdict::Objection);

    let loss = node.loses(1, Occasion::Packet);
    node.passes(400);
    node.state.dial_failed(false, false, node.now, &"refused", node.now);
    assert_eq!(node.state.judge(&loss, node.now), LossVerdict::Absence, "it takes no connections any more");
}

#[test]
fn a_loss_of_every_session_is_an_absence_however_busy_they_were() {
    let mut node = Node::with_others();
    node.flows[0] = Some(node.start);
    node.passes(100);
    let first = node.loses(1, Occasion::Packet);
    // Of another worker, some time later.
    node.passes(20);
    node.flows[0] = None;
    node.loses(2, Occasion::Packet);
    node.passes(100);
    node.flows[1] = None;
    node.loses(3, Occasion::Packet);
    assert_eq!(node.verdict(&first).0, LossVerdict::Absence);
    assert_eq!(node.state.pacer().ask(false, None, 100, node.now), DialTurn::Probe, "one probes");
    assert_eq!(node.state.pacer().ask(false, None, 100, node.now), DialTurn::Later);
    assert_eq!(node.state.pacer().ask(true, None, 100, node.now), DialTurn::Now, "no dial has failed");
}

#[test]
fn that_every_session_has_lost_it_is_known_before_the_next_look() {
    let mut node = Node::with_others();
    node.flows = [Some(node.start); 2];
    node.passes(100);
    let [first, last] = [(1, 0), (2, 1)].map(|(session, worker)| {
        let loss = Loss { at: node.now, session, worker, occasion: Occasion::Packet, repeats: 1 };
        assert!(matches!(node.state.judge(&loss, node.now), LossVerdict::Undecided(_)), "others may have it still");
        node.state.lost(&loss);
        loss
    });
    assert_eq!(node.state.judge(&first, node.now), LossVerdict::Absence);
    assert_eq!(node.state.judge(&last, node.now), LossVerdict::Absence);
}

#[test]
fn a_session_that_came_after_the_last_look_may_tell_at_the_next() {
    let mut node = Node::alone();
    node.passes(1000);
    let opened = node.now;
    node.state.opened(1, opened);
    node.state.opened(0, opened);
    node.now += MS;
    let loss = node.loses(1, Occasion::Packet);
    assert!(matches!(node.state.judge(&loss, node.now), LossVerdict::Undecided(_)));
    node.flows[1] = Some(opened);
    assert_eq!(node.verdict(&loss).0, LossVerdict::Unconfirmed);
}

#[test]
fn a_session_that_would_not_notice_a_loss_or_came_after_it_proves_nothing() {
    let mut node = Node::with_others();
    let loss = node.loses(1, Occasion::Packet);
    node.flows = [Some(node.now + MS), None];
    assert_eq!(node.verdict(&loss).0, LossVerdict::Unexplained);
}

#[test]
fn a_worker_that_does_not_look_is_not_waited_for_without_end() {
    let mut node = Node::with_others();
    let loss = node.loses(1, Occasion::Packet);
    while let LossVerdict::Undecided(at) = node.state.judge(&loss, node.now) {
        node.now = at;
    }
    assert_eq!(node.state.judge(&loss, node.now), LossVerdict::Unexplained);
    assert!(node.now <= loss.at + PATIENCE + LOOK);
}

#[test]
fn two_losses_without_an_occasion_make_every_loss_near_them_an_absence() {
    let mut node = Node::with_others();
    node.loses(1, Occasion::None);
    node.loses(1, Occasion::None);
    node.passes(300);
    let alone = node.loses(2, Occasion::Packet);
    assert_eq!(node.verdict(&alone).0, LossVerdict::Unconfirmed, "one session twice is one session");
    node.passes(300);
    let before = node.loses(3, Occasion::Packet);
    node.passes(200);
    node.loses(4, Occasion::None);
    node.loses(5, Occasion::None);
    let after = node.loses(6, Occasion::Packet);
    for loss in [before, after] {
        assert_eq!(node.verdict(&loss).0, LossVerdict::Absence);
    }
    node.passes(3000);
    let later = node.loses(7, Occasion::Packet);
    assert_eq!(node.verdict(&later).0, LossVerdict::Unconfirmed);
}

#[test]
fn busy_clients_of_a_replica_that_stops_wait_for_another_one() {
    let mut node = Node::with_others();
    let first = node.loses(1, Occasion::Packet);
    node.passes(200);
    let last = node.loses(2, Occasion::Packet);
    for loss in [first, last] {
        assert_eq!(node.verdict(&loss).0, LossVerdict::Unexplained);
    }
    node.passes(300);
    let later = node.loses(3, Occasion::Packet);
    assert_eq!(node.verdict(&later).0, LossVerdict::Unconfirmed, "alone, and not at that time");
}

#[test]
fn a_hundred_clients_that_make_it_hang_up_are_no_outage_and_are_not_held_without_end() {
    let mut node = Node::with_others();
    for round in 1..=20 {
        let repeats = u8::try_from(round).unwrap();
        let losses: Vec<Loss> =
            (0..100).map(|session| Loss { repeats, ..node.loses(session, Occasion::Packet) }).collect();
        node.state.reached(node.now);
        assert_eq!(node.state.pacer().ask(true, None, 1, node.now), DialTurn::Now, "a new client dials at once");
        for loss in losses {
            let (verdict, waited) = node.verdict(&loss);
            let expected = if repeats < REPEATED { LossVerdict::Unexplained } else { LossVerdict::Objection };
            assert_eq!(verdict, expected, "round {round}");
            assert!(waited <= 1200, "{waited} ms, though others lose it all the time");
        }
        assert_eq!(node.state.reached(node.now), None, "nobody was told of an outage");
    }
}

#[test]
fn losses_all_the_time_keep_no_verdict_back() {
    let mut node = Node::with_others();
    let loss = node.loses(1, Occasion::Packet);
    let mut waited = 0;
    while let LossVerdict::Undecided(_) = node.state.judge(&loss, node.now) {
        node.loses(2, Occasion::Packet);
        node.passes(50);
        waited += 50;
    }
    assert_eq!(node.state.judge(&loss, node.now), LossVerdict::Unexplained);
    assert!((1000..=1200).contains(&waited), "{waited} ms");
}

#[test]
fn the_only_session_is_believed_until_it_loses_the_service_again_and_again() {
    let mut node = Node::alone();
    node.passes(1000);
    let loss = node.loses(1, Occasion::Packet);
    assert_eq!(node.verdict(&loss), (LossVerdict::Unexplained, 0), "nobody else could tell");
    for (occasion, repeats, verdict) in [
        (Occasion::Packet, 2, LossVerdict::Unexplained),
        (Occasion::Unclear, 3, LossVerdict::Unconfirmed),
        (Occasion::Packet, 4, LossVerdict::Unconfirmed),
    ] {
        node.state.reached(node.now);
        node.passes(100);
        let loss = Loss { repeats, ..node.loses(1, occasion) };
        assert_eq!(node.verdict(&loss).0, verdict, "{repeats} times");
    }
    // Losses by itself are nobody's doing.
    let loss = node.loses(1, Occasion::None);
    assert_eq!(node.verdict(&loss).0, LossVerdict::Unexplained);
}

#[test]
fn a_handshake_that_fails_says_something_of_the_service_only_if_no_session_has_it() {
    let mut node = Node::with_others();
    for _ in 0..10 {
        assert_eq!(node.state.dial_failed(false, true, node.now, &"refused", node.now), Failure::OfOne);
    }
    assert!(!node.state.has_failed_since(node.start));
    assert_eq!(node.state.pacer().ask(false, None, 100, node.now), DialTurn::Now);
    node.flows[1] = None;
    node.passes(100);
    assert_eq!(node.state.dial_failed(false, true, node.now, &"refused", node.now), Failure::Down);
    assert_eq!(node.state.dial_failed(false, true, node.now, &"refused", node.now), Failure::StillDown, "told once");
    assert!(node.state.has_failed_since(node.now));
    assert_eq!(node.state.pacer().ask(true, None, 100, node.now), DialTurn::Now, "it takes connections");
    node.state.dial_failed(false, false, node.now, &"refused", node.now);
    assert_eq!(node.state.pacer().ask(true, None, 100, node.now), DialTurn::Probe);
    assert_eq!(node.state.pacer().ask(true, None, 100, node.now), DialTurn::Later, "it takes none");
    node.passes(2000);
    assert_eq!(node.state.reached(node.now), Some(2000 * MS));
}

#[test]
fn a_connection_without_a_handshake_ends_an_outage_in_which_there_was_none() {
    let node = Node::alone();
    let at = |ms: u32| node.start + MS * ms;
    let fails = |connected, began, now| node.state.dial_failed(false, connected, at(began), &"refused", at(now));
    let is_down = || node.state.record().seen().map(|seen| seen.down.is_some());
    assert_eq!(is_down(), None, "not tried yet");
    assert_eq!((node.state.accepted(at(0), at(1)), is_down()), (None, Some(false)));

    assert_eq!(fails(false, 10, 10), Failure::Down);
    assert_eq!((node.state.accepted(at(5), at(11)), is_down()), (None, Some(true)), "it was made before the outage");
    assert_eq!((node.state.accepted(at(20), at(30)), is_down()), (Some(20 * MS), Some(false)));
    assert_eq!((fails(false, 15, 31), is_down()), (Failure::OfOne, Some(false)), "it began during the outage before");

    assert_eq!(fails(true, 15, 40), Failure::Down, "who accepts connections need not answer");
    assert_eq!((node.state.accepted(at(50), at(50)), is_down()), (None, Some(true)));
    assert_eq!(node.state.reached(at(60)), Some(20 * MS));
    assert_eq!((fails(true, 55, 61), is_down()), (Failure::OfOne, Some(false)));
}

/// Eight threads, as many workers would be.
#[test]
fn an_outage_is_told_once_whoever_dials() {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    let state = ServiceState::default();
    let (told, back) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let everybody = |dial: &(dyn Fn() + Sync)| {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..100).for_each(|_| dial()));
            }
        });
    };
    for outage in 1..=3 {
        everybody(&|| {
            let now = Instant::now();
            if state.dial_failed(false, false, now, &"refused", now) == Failure::Down {
                told.fetch_add(1, Relaxed);
            }
        });
        everybody(&|| {
            let now = Instant::now();
            back.fetch_add(state.accepted(now, now).iter().chain(&state.reached(now)).count(), Relaxed);
        });
        assert_eq!((told.load(Relaxed), back.load(Relaxed)), (outage, outage));
    }
}
