//! Rules as sessions use them, on a clock of the test.

use proptest::prelude::*;

use super::*;
use crate::event_names::EventNames;

fn rule(messages: u32, per_secs: u64) -> RateLimitTable {
    RateLimitTable { messages, per: Period::from_secs(per_secs), ..RateLimitTable::default() }
}

fn limits(tables: &[RateLimitTable]) -> RateLimits {
    RateLimits::compile(tables, None).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// How many of `attempts` packets at one moment are forwarded.
fn forwarded(limits: &RateLimits, meters: &Meters, attempts: u32, now: Instant) -> u32 {
    let judge = |_| limits.judge(meters, EventSlot::OTHER, b"chat", Instead::AsRule, now) == Verdict::Forward;
    (0..attempts).map(judge).map(u32::from).sum()
}

#[test]
fn a_hundred_packets_pass_and_the_next_one_is_answered() {
    let (limits, now) = (limits(&[RateLimitTable::default()]), Instant::now());
    let meters = limits.open(None, ip("192.0.2.1"), now);
    assert_eq!(forwarded(&limits, &meters, 100, now), 100);
    let refusal = Refusal {
        kind: RefusalKind::TooMany,
        code: "rate_limit",
        message: "Rate limit exceeded. Please slow down.",
        rule: Some(0),
        fault: None,
    };
    let verdict = limits.judge(&meters, EventSlot::OTHER, b"chat", Instead::AsRule, now);
    assert_eq!(verdict, Verdict::Reply { refusal, once_per: Duration::from_secs(60) });
}

#[test]
fn one_more_passes_after_each_interval_and_all_after_the_window() {
    let (limits, start) = (limits(&[rule(100, 60)]), Instant::now());
    let meters = limits.open(None, ip("192.0.2.1"), start);
    let after = |millis| start + Duration::from_millis(millis);
    assert_eq!(forwarded(&limits, &meters, 200, start), 100);
    assert_eq!(forwarded(&limits, &meters, 5, after(599)), 0);
    assert_eq!(forwarded(&limits, &meters, 5, after(600)), 1);
    assert_eq!(forwarded(&limits, &meters, 5, after(1800)), 2);
    assert_eq!(forwarded(&limits, &meters, 200, after(1800 + 60_000)), 100);
    assert_eq!(forwarded(&limits, &meters, 200, after(1800)), 0, "a clock that went back refills nothing");
}

#[test]
fn each_rule_decides_what_happens_to_a_packet_over_it() {
    let now = Instant::now();
    for exceeded in [Exceeded::Reply, Exceeded::Drop, Exceeded::Delay, Exceeded::Close] {
        let limits = limits(&[RateLimitTable { exceeded, ..rule(2, 10) }]);
        let meters = limits.open(None, ip("192.0.2.1"), now);
        assert_eq!(forwarded(&limits, &meters, 2, now), 2);
        match (exceeded, limits.judge(&meters, EventSlot::OTHER, b"chat", Instead::AsRule, now)) {
            (Exceeded::Reply, Verdict::Reply { .. })
            | (Exceeded::Drop, Verdict::Drop(_))
            | (Exceeded::Close, Verdict::Close(_)) => {}
            (Exceeded::Delay, Verdict::Delay { until, rule: Some(0) }) => {
                assert_eq!(until, now + Duration::from_secs(5));
                assert_eq!(forwarded(&limits, &meters, 1, until - Duration::from_nanos(1)), 0);
                assert_eq!(forwarded(&limits, &meters, 1, until), 1);
            }
            (_, verdict) => panic!("{exceeded:?} became {verdict:?}"),
        }
    }
}

#[test]
fn a_rule_counts_the_events_it_names_and_the_first_to_refuse_answers() {
    let names = EventNames::new(10, ["agent:learn", "chat"]);
    let agent = RateLimitTable { events: vec!["agent:*".to_owned(), "tutor".to_owned()], ..rule(1, 60) };
    let (limits, now) = (limits(&[agent, rule(3, 60)]), Instant::now());
    let meters = limits.open(None, ip("192.0.2.1"), now);
    let judge = |event: &str| match limits.judge(
        &meters,
        names.find(event).unwrap_or(EventSlot::OTHER),
        event.as_bytes(),
        Instead::AsRule,
        now,
    ) {
        Verdict::Forward => None,
        Verdict::Reply { refusal, .. } => refusal.rule,
        verdict => panic!("{verdict:?}"),
    };
    assert_eq!(judge("agent:learn"), None);
    assert_eq!(judge("agent:learn"), Some(0));
    assert_eq!(judge("agent:unlisted"), Some(0), "a name without a slot is matched as text");
    assert_eq!(judge("tutor"), Some(0));
    assert_eq!(judge("chat"), None);
    assert_eq!(judge(""), None);
    assert_eq!(judge("chat"), Some(1));
    assert_eq!(judge("agent:learn"), Some(0), "the rule that is written first");
}

#[test]
fn a_session_that_goes_on_at_another_address_counts_there() {
    let (here, there) = (ip("192.0.2.1"), ip("198.51.100.1"));
    let per_address = RateLimitTable { scope: Scope::Ip, ..rule(3, 60) };
    let (limits, now) = (limits(&[per_address, rule(4, 60)]), Instant::now());
    let mut meters = limits.open(None, here, now);
    assert_eq!(forwarded(&limits, &meters, 2, now), 2);
    limits.moved(&mut meters, there, now);
    assert_eq!(forwarded(&limits, &meters, 9, now), 2, "what it has used of its own limit it has used");
    assert_eq!(forwarded(&limits, &limits.open(None, there, now), 9, now), 0);
    assert_eq!(forwarded(&limits, &limits.open(None, here, now), 9, now), 1);
}

#[test]
fn what_may_be_any_event_counts_in_every_rule() {
    let chat = RateLimitTable { events: vec!["chat".to_owned()], ..rule(2, 60) };
    let (limits, now) = (limits(&[chat, rule(9, 60)]), Instant::now());
    let meters = limits.open(None, ip("192.0.2.1"), now);
    assert_eq!(limits.judge_unclear(&meters, Instead::AsRule, now), Verdict::Forward);
    assert_eq!(limits.judge(&meters, EventSlot::OTHER, b"chat", Instead::AsRule, now), Verdict::Forward);
    assert!(
        matches!(limits.judge_unclear(&meters, Instead::AsRule, now), Verdict::Reply { refusal, .. } if refusal.rule == Some(0))
    );
    assert_eq!(limits.judge(&meters, EventSlot::OTHER, b"message", Instead::AsRule, now), Verdict::Forward);
}

#[test]
fn users_and_addresses_share_a_limit_over_their_sessions() {
    let now = Instant::now();
    let at = [ip("192.0.2.1"), ip("192.0.2.2"), ip("::ffff:192.0.2.1"), ip("2001:db8::1"), ip("2001:db8::2")];
    let (ada, bob, anonymous) = (Some("ada"), Some("bob"), None);
    for (scope, one, other, shared) in [
        (Scope::Connection, (ada, at[0]), (ada, at[0]), false),
        (Scope::User, (ada, at[0]), (ada, at[1]), true),
        (Scope::User, (ada, at[0]), (bob, at[0]), false),
        (Scope::User, (anonymous, at[0]), (anonymous, at[0]), false),
        (Scope::Ip, (ada, at[0]), (bob, at[0]), true),
        (Scope::Ip, (ada, at[0]), (ada, at[1]), false),
        (Scope::Ip, (ada, at[0]), (ada, at[2]), true),
        (Scope::Ip, (ada, at[3]), (ada, at[4]), true),
    ] {
        let limits = limits(&[RateLimitTable { scope, ..rule(10, 60) }]);
        let [one_session, other_session] = [one, other].map(|(user, ip)| limits.open(user, ip, now));
        assert_eq!(forwarded(&limits, &one_session, 7, now), 7);
        let left = if shared { 3 } else { 10 };
        assert_eq!(forwarded(&limits, &other_session, 20, now), left, "{scope:?} {one:?} {other:?}");
    }
}

#[test]
fn a_user_who_reconnects_within_the_window_has_the_same_limit_as_before() {
    let (limits, now) = (limits(&[RateLimitTable { scope: Scope::User, ..rule(10, 60) }]), Instant::now());
    let meters = limits.open(Some("ada"), ip("192.0.2.1"), now);
    assert_eq!(forwarded(&limits, &meters, 20, now), 10);
    drop(meters);
    limits.sweep(now);
    let later = now + Duration::from_secs(6);
    limits.sweep(later);
    let meters = limits.open(Some("ada"), ip("192.0.2.1"), later);
    assert_eq!(forwarded(&limits, &meters, 20, later), 1);
}

#[test]
fn what_is_left_of_a_slow_limit_goes_on_elsewhere() {
    let (now, day) = (Instant::now(), 24 * 60 * 60);
    for (messages, per) in [(1, day), (2, 60), (100, 60), (MESSAGES_MAX, day)] {
        let limits = limits(&[rule(messages, per)]);
        let meters = limits.open(None, ip("192.0.2.1"), now);
        assert_eq!(forwarded(&limits, &meters, 1, now), 1);
        let left = limits.use_up(&meters, now);
        assert_eq!(left, [Some(messages - 1)]);
        assert_eq!(forwarded(&limits, &meters, 1, now), 0, "all of it is used");
        let continued = limits.continued(None, ip("192.0.2.1"), &left, now);
        assert_eq!(limits.use_up(&continued, now), left);
    }
}

/// Limits that are shared, with the place of the questions.
fn shared(tables: &[RateLimitTable], sharing: &Arc<Sharing>) -> RateLimits {
    RateLimits::compile(tables, Some(sharing)).unwrap()
}

fn shared_rule(scope: Scope, messages: u32) -> RateLimitTable {
    RateLimitTable { scope, shared: true, ..rule(messages, 60) }
}

#[test]
fn a_shared_rule_asks_when_a_session_opens_and_lets_through_what_is_fetched() {
    let (sharing, now) = (Arc::new(Sharing::new(Box::new(|| {}))), Instant::now());
    let questions = sharing.requests().questions().unwrap();
    sharing.requests().set_shared(true);
    for scope in [Scope::User, Scope::Ip] {
        let limits = shared(&[shared_rule(scope, 100)], &sharing);
        let meters = limits.open(Some("ada"), ip("192.0.2.1"), now);
        let key = questions.try_recv().unwrap();
        sharing.find(key).unwrap().settle(0, 9, Duration::ZERO, now);
        assert_eq!(forwarded(&limits, &meters, 20, now), 10, "nine and the advance");
        let other = limits.open(Some("ada"), ip("192.0.2.1"), now);
        assert_eq!(forwarded(&limits, &other, 20, now), 0, "another session of the same user and address");
    }
}

#[test]
fn a_reload_keeps_the_budget_of_a_rule_that_counts_the_same() {
    let (sharing, now) = (Arc::new(Sharing::new(Box::new(|| {}))), Instant::now());
    let key = |rule| {
        let meters = shared(&[rule], &sharing).open(Some("ada"), ip("192.0.2.1"), now);
        match &meters.0[0] {
            Meter::Leased(lease) => lease.key(),
            meter => panic!("{meter:?}"),
        }
    };
    let before = key(shared_rule(Scope::User, 100));
    assert_eq!(before, key(RateLimitTable { exceeded: Exceeded::Drop, ..shared_rule(Scope::User, 100) }));
    assert_ne!(before, key(shared_rule(Scope::User, 101)));
    assert_ne!(before, key(shared_rule(Scope::Ip, 100)));
    assert_ne!(before, key(RateLimitTable { events: vec!["chat".to_owned()], ..shared_rule(Scope::User, 100) }));
    assert_ne!(before, key(RateLimitTable { per: Period::from_secs(61), ..shared_rule(Scope::User, 100) }));
}

#[test]
fn rules_that_are_only_checked_leave_those_in_force_shared() {
    let sharing = Arc::new(Sharing::new(Box::new(|| {})));
    let [with, without] = [&[shared_rule(Scope::User, 4)][..], &[]].map(|tables| shared(tables, &sharing));
    assert!(!sharing.is_wanted(), "neither is in force");
    with.take_effect();
    assert!(sharing.is_wanted());
    shared(&[], &sharing);
    assert!(sharing.is_wanted(), "they were checked, and refused for something else");
    without.take_effect();
    assert!(!sharing.is_wanted());
}

#[test]
fn two_shared_rules_that_count_the_same_have_a_budget_each() {
    let sharing = Arc::new(Sharing::new(Box::new(|| {})));
    let limits = shared(&vec![shared_rule(Scope::User, 4); 3], &sharing);
    let meters = limits.open(Some("ada"), ip("192.0.2.1"), Instant::now());
    assert_eq!(forwarded(&limits, &meters, 9, Instant::now()), 4);
}

#[test]
fn what_a_guest_has_used_is_charged_to_the_shared_budget_of_the_user() {
    let (sharing, now) = (Arc::new(Sharing::new(Box::new(|| {}))), Instant::now());
    let limits = shared(&[shared_rule(Scope::User, 100)], &sharing);
    let guest = limits.open(None, ip("192.0.2.1"), now);
    assert_eq!(forwarded(&limits, &guest, 7, now), 7);
    let user = limits.open(Some("ada"), ip("192.0.2.1"), now);
    limits.charge(&guest, &user, now);
    let key = sharing.requests().questions().unwrap().try_recv().unwrap();
    assert_eq!(sharing.find(key).unwrap().stock().used, 7);
}

#[test]
fn without_rules_everything_passes() {
    let (limits, now) = (limits(&[]), Instant::now());
    let meters = limits.open(Some("ada"), ip("192.0.2.1"), now);
    assert_eq!(forwarded(&limits, &meters, 10_000, now), 10_000);
}

#[test]
fn a_meter_is_small_because_every_session_has_some() {
    assert!(size_of::<Meter>() <= 48);
}

#[test]
fn rules_have_bounds() {
    let compile =
        |table: RateLimitTable| RateLimits::compile(&[table], None).map(drop).map_err(|faults| faults[0].to_string());
    let events = |events: &[&str]| RateLimitTable {
        events: events.iter().map(|&event| event.to_owned()).collect(),
        ..RateLimitTable::default()
    };
    let per = |per| RateLimitTable { per, ..rule(1, 1) };
    for (table, message) in [
        (rule(0, 60), "messages is 0; it must be between 1 and 1000000. To turn limits off write rate_limit = []"),
        (
            rule(MESSAGES_MAX + 1, 60),
            "messages is 1000001; it must be between 1 and 1000000. To turn limits off write rate_limit = []",
        ),
        (per(Period::OFF), "per is \"0s\"; it must be between 1ms and 1d"),
        (per(Period::from_secs(86_401)), "per is \"86401s\"; it must be between 1ms and 1d"),
        (events(&[]), "events is empty; name events, or [\"*\"] for all of them"),
        (
            RateLimitTable { shared: true, ..rule(1, 1) },
            "shared is true, and scope = \"connection\" counts one session, which one node has; write scope = \"user\" or \"ip\", or remove shared",
        ),
        (
            RateLimitTable { shared: true, scope: Scope::User, ..rule(1, 1) },
            "shared is true, and the budget of all nodes is kept in Redis; add [redis] with its url, or remove shared",
        ),
        (events(&["a", ""]), "events[1] is empty; write a name, or \"*\" for every name"),
    ] {
        assert_eq!(compile(table), Err(format!("rate_limit[0].{message}")));
    }
    assert!(compile(per(Period(Duration::from_micros(999)))).is_err());
    assert!(compile(RateLimitTable { per: Period(PER_MIN), ..rule(MESSAGES_MAX, 1) }).is_ok());
    assert!(RateLimits::compile(&vec![rule(1, 1); 16], None).is_ok());
    let too_many = RateLimits::compile(&vec![rule(1, 1); 17], None).unwrap_err();
    assert_eq!(too_many, [Fault::new("rate_limit", "has 17 rules; at most 16 are allowed")]);
}

proptest! {
    /// In any span of time, for any order of packets, sessions and pauses, no more than `messages` pass at
    /// once and one for each interval.
    #[test]
    fn never_more_pass_than_the_rule_says(
        messages in 1_u32..20,
        per_millis in 1_u64..5000,
        steps in prop::collection::vec((0_u64..400, 0_usize..3, 1_u32..5), 1..100),
    ) {
        let table = RateLimitTable { scope: Scope::User, per: Period(Duration::from_millis(per_millis)), ..rule(messages, 1) };
        let (limits, start) = (limits(&[table]), Instant::now());
        let sessions = [(); 3].map(|()| limits.open(Some("ada"), ip("192.0.2.1"), start));
        let interval = Duration::from_millis(per_millis) / messages;
        let (mut now, mut passed) = (start, Vec::new());
        for (pause, session, attempts) in steps {
            now += Duration::from_millis(pause);
            let count = forwarded(&limits, &sessions[session], attempts, now);
            passed.extend(std::iter::repeat_n(now, count as usize));
        }
        for (first, &from) in passed.iter().enumerate() {
            for (last, &to) in passed.iter().enumerate().skip(first) {
                let most = u128::from(messages) + (to - from).as_nanos() / interval.as_nanos();
                prop_assert!((last - first + 1) as u128 <= most, "{} in {:?}", last - first + 1, to - from);
            }
        }
    }
}
