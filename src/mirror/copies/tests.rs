use proptest::prelude::*;

use super::*;

fn keys() -> Keys {
    Keys::new(&[7; 32])
}

fn parts(json: &[u8]) -> Parts<'_> {
    Parts { rule: 0, namespace: "/", room: Some("lesson:5"), json, attachments: &[], offset: None }
}

fn key(json: &str) -> Key {
    keys().key(&parts(json.as_bytes()))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Offers copies, each of a session at a time in milliseconds. How many are published.
fn published(copies: &mut Copies, key: Key, start: Instant, offers: &[(u64, u64)]) -> usize {
    offers.iter().filter(|(session, at)| copies.offer(key, *session, start + ms(*at))).count()
}

#[test]
fn the_copies_of_one_broadcast_are_published_once() {
    let (mut copies, start) = (Copies::new(Bounds::default()), Instant::now());
    assert_eq!(published(&mut copies, key("[1]"), start, &[(1, 0), (2, 0), (3, 4)]), 1);
    assert_eq!(published(&mut copies, key("[2]"), start, &[(3, 9)]), 1, "other bytes are another event");
}

#[test]
fn a_slow_client_does_not_make_it_twice() {
    let (mut copies, start) = (Copies::new(Bounds::default()), Instant::now());
    assert_eq!(published(&mut copies, key("[1]"), start, &[(1, 0), (2, 900), (3, 9_000), (4, 15_000)]), 1);
}

#[test]
fn the_same_bytes_said_again_are_published_again() {
    let (mut copies, start) = (Copies::new(Bounds::default()), Instant::now());
    let offers = [(1, 0), (2, 1), (1, 1_000), (2, 1_002), (2, 2_000), (1, 2_001)];
    assert_eq!(published(&mut copies, key("[1]"), start, &offers), 3);
}

#[test]
fn a_session_that_comes_later_counts_from_the_broadcast_that_it_came_for() {
    let (mut copies, start) = (Copies::new(Bounds::default()), Instant::now());
    let broadcasts: Vec<_> = (0..5).map(|n| (1, n * 1_000)).collect();
    assert_eq!(published(&mut copies, key("[1]"), start, &broadcasts), 5);
    // Session 2 is in the room now, and its copy comes first; then it is alone.
    assert_eq!(published(&mut copies, key("[1]"), start, &[(2, 5_000), (1, 5_003), (2, 6_000)]), 2);
    // The copy of session 3 comes last.
    assert_eq!(published(&mut copies, key("[1]"), start, &[(2, 7_000), (3, 7_003), (3, 8_000)]), 2);
}

#[test]
fn of_the_second_broadcast_too() {
    let (mut copies, start) = (Copies::new(Bounds::default()), Instant::now());
    assert_eq!(published(&mut copies, key("[1]"), start, &[(1, 0), (2, 1_000), (1, 1_002), (2, 2_000)]), 3);
}

#[test]
fn a_user_who_comes_back_gets_the_same_bytes_published_again() {
    let (mut copies, start) = (Copies::new(Bounds::default()), Instant::now());
    assert_eq!(published(&mut copies, key("[1]"), start, &[(1, 0)]), 1);
    copies.session_ended(1);
    assert_eq!(published(&mut copies, key("[1]"), start, &[(2, 1_000)]), 1);
}

#[test]
fn an_event_is_forgotten_when_it_is_idle() {
    let (mut copies, start) = (Copies::new(Bounds::default()), Instant::now());
    assert_eq!(published(&mut copies, key("[1]"), start, &[(1, 0), (2, 10_000)]), 2);
    assert_eq!((copies.events(), copies.forgotten_early()), (1, 0));
}

#[test]
fn numbered_broadcasts_are_told_apart_exactly() {
    let (mut copies, start) = (Copies::new(Bounds::default()), Instant::now());
    let numbered = |offset| keys().key(&Parts { offset: Some(offset), ..parts(b"[1]") });
    assert_eq!(published(&mut copies, numbered("Q86E9hm"), start, &[(1, 0), (2, 3), (1, 5), (3, 9_000)]), 1);
    assert_eq!(published(&mut copies, numbered("Q86E9hn"), start, &[(3, 1), (1, 2)]), 1);
}

#[test]
fn what_is_remembered_is_bounded() {
    let bounds = Bounds { keys: 3, counters: 8, ..Bounds::default() };
    let (mut copies, start) = (Copies::new(bounds), Instant::now());
    for n in 0..10 {
        assert!(copies.offer(key(&n.to_string()), 1, start));
    }
    assert_eq!((copies.events(), copies.forgotten_early()), (3, 7));
    let all: Vec<_> = (0..20).map(|session| (session, 1)).collect();
    assert_eq!(published(&mut copies, key("all"), start, &all), 1, "a session without a counter publishes nothing");
    assert!(copies.by_session.len() <= 8);
    assert_eq!(published(&mut copies, key("all"), start, &[(0, 2)]), 1, "those that have one go on");
}

#[test]
fn a_session_that_ends_leaves_nothing_behind() {
    let (mut copies, start) = (Copies::new(Bounds::default()), Instant::now());
    for n in 0..10 {
        copies.offer(key(&n.to_string()), n % 2, start);
    }
    copies.session_ended(0);
    copies.session_ended(1);
    assert!(copies.by_session.is_empty() && copies.events.values().all(|event| event.copies.is_empty()));
    copies.offer(key("later"), 3, start + ms(10_000));
    assert_eq!((copies.events(), copies.by_use.len()), (1, 1));
}

#[test]
fn every_part_of_an_event_decides_its_key() {
    let (one, two) = (vec![b"a".to_vec(), b"b".to_vec()], vec![b"ab".to_vec()]);
    let all = [
        parts(b"[1]"),
        Parts { rule: 1, ..parts(b"[1]") },
        Parts { namespace: "/chat", ..parts(b"[1]") },
        Parts { room: None, ..parts(b"[1]") },
        Parts { room: Some(""), ..parts(b"[1]") },
        Parts { attachments: &one, ..parts(b"[1]") },
        Parts { attachments: &two, ..parts(b"[1]") },
        Parts { offset: Some("7"), ..parts(b"[1]") },
        Parts { room: Some("lesson:5["), ..parts(b"1]") },
    ];
    let keys: BTreeSet<_> = all.iter().map(|parts| self::keys().key(parts)).collect();
    assert_eq!(keys.len(), all.len());
    assert_ne!(Keys::new(&[8; 32]).key(&parts(b"[1]")), key("[1]"), "by the seed alone");
}

/// A node where the service says the same bytes again and again, which is the worst case.
struct Simulated {
    broadcasts: u64,
    /// Between two broadcasts, in milliseconds.
    every: u64,
    /// Before so many of 1,000 broadcasts one session joins or leaves.
    churn: u64,
}

/// Deterministic, and good enough to shuffle copies.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % n
    }

    /// Microseconds, exponentially distributed around 5 ms.
    fn skew(&mut self) -> u64 {
        let unit = (self.below(1 << 20) + 1) as f64 / (1 << 20) as f64;
        (-5_000.0 * unit.ln()) as u64
    }
}

impl Simulated {
    /// How many broadcasts too many or too few were published.
    fn errors(&self, seed: u64) -> i64 {
        let mut dice = Dice(seed);
        let mut members: Vec<u64> = (0..2 + dice.below(8)).collect();
        let (mut next, mut free_at) = (members.len() as u64, BTreeMap::<u64, u64>::new());
        let mut arrivals = Vec::new();
        for broadcast in 0..self.broadcasts {
            if dice.below(1_000) < self.churn {
                if dice.below(2) == 0 || members.len() < 2 {
                    members.push(next);
                    next += 1;
                } else {
                    members.swap_remove(dice.below(members.len() as u64) as usize);
                }
            }
            for member in &members {
                // Each session is a queue of its own.
                let at = (broadcast * self.every * 1_000 + dice.skew()).max(free_at.get(member).copied().unwrap_or(0));
                free_at.insert(*member, at);
                arrivals.push((at, *member));
            }
        }
        arrivals.sort_by_key(|(at, _)| *at);
        let (mut copies, start, key) = (Copies::new(Bounds::default()), Instant::now(), key("[1]"));
        let published = |(at, session): &(u64, u64)| copies.offer(key, *session, start + Duration::from_micros(*at));
        let published = arrivals.iter().map(published).filter(|is_published| *is_published).count();
        published as i64 - self.broadcasts as i64
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn while_nobody_joins_or_leaves_it_is_exact(seed: u64, every in prop::sample::select(vec![5_u64, 50, 500])) {
        let simulated = Simulated { broadcasts: 400, every, churn: 0 };
        prop_assert_eq!(simulated.errors(seed), 0);
    }
}

/// What the documentation of `[[mirror]]` says of rooms that sessions join and leave.
#[test]
fn joins_and_leaves_cost_few_errors() {
    for (churn, most_per_million) in [(10, 130), (100, 1_000)] {
        let simulated = Simulated { broadcasts: 400, every: 50, churn };
        let errors: u64 = (0..150).map(|seed| simulated.errors(seed).unsigned_abs()).sum();
        let per_million = errors * 1_000_000 / (150 * 400);
        assert!(per_million <= most_per_million, "{per_million} of a million with churn {churn}");
    }
}

#[test]
fn of_many_idle_events_a_few_are_forgotten_for_one_copy_and_none_counts_any_more() {
    let (mut copies, start) = (Copies::new(Bounds::default()), Instant::now());
    let events: Vec<_> = (0..1000).map(|n| key(&format!("[{n}]"))).collect();
    assert!(events.iter().all(|event| copies.offer(*event, 1, start)));
    let later = start + ms(10_000);
    assert!(copies.offer(events[999], 2, later), "it is another event by now");
    assert!(!copies.offer(events[999], 1, later));
    assert!((1000 - FORGOTTEN_AT_ONCE..999).contains(&copies.events()), "{}", copies.events());
    (0..8).for_each(|_| _ = copies.offer(events[999], 1, later));
    assert_eq!((copies.events(), copies.by_use.len(), copies.by_session.len()), (1, 1, 2));
}
