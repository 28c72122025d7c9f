//! What became of every packet, and how much each rate limit has admitted.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use tidegate::{
    policy::rate_limit::{RateLimitTable, Scope},
    session::message::Answered,
};

/// An event of a client, by its number.
#[derive(Debug, Default, Clone)]
pub struct Sent {
    pub seat: usize,
    pub namespace: String,
    pub acks: BTreeSet<u64>,
    /// It may reach the service more than once.
    pub again: bool,
    /// The gate has let it through; with every attachment, where it has any.
    pub admitted: bool,
    pub whole: bool,
    pub refused: Option<Answered>,
    /// The legs on which it was said to the service.
    pub written: Vec<usize>,
    /// The acks that the service has given, or that a limit has.
    pub answered: BTreeSet<u64>,
    /// The acks that the gate has made fail, for the service was lost.
    pub failed: BTreeSet<u64>,
    /// The acks that do not come, because the event was dropped by a limit.
    pub unanswered: BTreeSet<u64>,
    /// When the gate has judged it last.
    pub judged_at: Option<Instant>,
    /// The client has repeated it later than it had time to, or sooner than clients do.
    pub is_late: bool,
}

/// An event of the service, by its number.
#[derive(Debug, Clone)]
pub struct Emitted {
    pub namespace: String,
    /// Its place among the events of its session and namespace. `None`: the client is not in it.
    pub place: Option<usize>,
    /// The connection on which it was said to the client last.
    pub said_on: Option<usize>,
}

#[derive(Default)]
pub struct Ledger {
    next: u64,
    pub sent: BTreeMap<u64, Sent>,
    pub emitted: BTreeMap<u64, Emitted>,
    /// The events for the client, by session and namespace, in order.
    pub streams: BTreeMap<(usize, String), Vec<u64>>,
    /// The number of the event that asked for this ack: by session, namespace, ack id.
    pub asked: BTreeMap<(usize, String, u64), u64>,
    pub rates: Rates,
}

impl Ledger {
    /// A number that nothing had before.
    pub const fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The events between these places that a client must have got.
    pub fn missed(&self, seat: usize, namespace: &str, from: usize, to: usize) -> Vec<u64> {
        let stream = self.streams.get(&(seat, namespace.to_owned())).map_or(&[][..], Vec::as_slice);
        stream.iter().take(to).skip(from).copied().collect()
    }
}

/// What has passed each limit.
#[derive(Default)]
pub struct Rates {
    /// The limits of each generation of the rules.
    pub generations: Vec<Vec<RateLimitTable>>,
    /// When everything that was counted is worn off: by generation, limit, and whose packets are counted.
    full_at: BTreeMap<(usize, usize, String), Instant>,
}

/// Whose packet passes.
pub struct Passing<'a> {
    pub seat: usize,
    pub user: Option<&'a str>,
    pub peer: IpAddr,
    pub event: &'a str,
    pub now: Instant,
}

impl Rates {
    /// An event passes.
    pub fn admit(&mut self, generation: usize, passing: &Passing<'_>) {
        let Passing { seat, user, peer, event, now } = *passing;
        for (at, rule) in self.generations[generation].iter().enumerate().filter(|(_, rule)| names(rule, event)) {
            let whose = match (rule.scope, user) {
                (Scope::User, Some(user)) => user.to_owned(),
                (Scope::Ip, _) => peer.to_string(),
                _ => seat.to_string(),
            };
            let interval = rule.per.0 / rule.messages;
            let full_at = self.full_at.entry((generation, at, whose)).or_insert(now);
            *full_at = (*full_at).max(now) + interval;
            let most = now + interval * rule.messages + Duration::from_nanos(1000);
            assert!(*full_at <= most, "more packets have passed than limit {at} allows: {rule:?}");
        }
    }
}

fn names(rule: &RateLimitTable, event: &str) -> bool {
    rule.events.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => event.starts_with(beginning),
        None => pattern == event,
    })
}
