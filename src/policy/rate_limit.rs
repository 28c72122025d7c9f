//! How many packets: rules by scope and event pattern, counted with GCRA.

mod limiter;
mod shared_meters;

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{
    limiter::{Limiter, Quota},
    shared_meters::{Counted, SharedMeters},
};
use super::{
    network::Network,
    pattern::Patterns,
    verdict::{Refusal, RefusalKind, Verdict},
};
use crate::{
    event_names::{EventNames, EventSlot},
    fault::{Fault, Faults},
    units::Period,
};

/// A larger value is a mistake: no session sends so much.
const MESSAGES_MAX: u32 = 1_000_000;
/// A packet is judged by each rule that names its event.
const RULES_MAX: usize = 16;
/// In a mask of rules, one bit each: this mask has been computed.
const KNOWN: u32 = 1 << 31;
const PER_MIN: Duration = Duration::from_millis(1);
const PER_MAX: Duration = Duration::from_hours(24);

/// One `[[rate_limit]]`: so many packets at once, then one more each `per / messages`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimitTable {
    /// Whose packets are counted together.
    pub scope: Scope,
    /// The events it counts: names, or patterns with `*`.
    pub events: Vec<String>,
    /// How many packets in `per`.
    pub messages: u32,
    /// The span of time of `messages`.
    pub per: Period,
    /// What happens to a packet over the limit.
    pub exceeded: Exceeded,
}

/// Whose packets are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Those of one session.
    Connection,
    /// Those of one user on this node.
    User,
    /// Those of one IPv4 address or one IPv6 /64 network on this node.
    Ip,
}

/// What happens to a packet over the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Exceeded {
    /// It is answered with an error, and the service does not get it.
    Reply,
    /// It is dropped without an answer.
    Drop,
    /// It waits for its turn, and so does what follows it.
    Delay,
    /// The session is closed.
    Close,
}

impl Default for RateLimitTable {
    fn default() -> Self {
        Self {
            scope: Scope::Connection,
            events: vec!["*".to_owned()],
            messages: 100,
            per: Period::from_secs(60),
            exceeded: Exceeded::Reply,
        }
    }
}

/// All `[[rate_limit]]` rules, in the order of judging.
#[derive(Debug)]
pub struct RateLimits {
    rules: Box<[Rule]>,
    /// Which rules count the event of a slot: one bit each, computed when the slot is first used. Two threads may
    /// compute it at once; they get the same mask.
    by_slot: Box<[AtomicU32]>,
    shared: SharedMeters,
}

#[derive(Debug)]
struct Rule {
    scope: Scope,
    events: Patterns,
    quota: Quota,
    per: Duration,
    exceeded: Exceeded,
    refusal: Refusal,
}

/// What one session has used of each rule. It belongs to the [`RateLimits`] that opened it, so after a reload a
/// session opens new ones, and starts with nothing used.
#[derive(Debug)]
pub struct Meters(Box<[Meter]>);

#[derive(Debug)]
enum Meter {
    Own(Limiter),
    Shared(Arc<Limiter>),
}

impl RateLimits {
    /// Reads the rules.
    ///
    /// # Errors
    /// More than 16 rules, and what is wrong with each of them.
    pub fn compile(tables: &[RateLimitTable]) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        if tables.len() > RULES_MAX {
            let message = format!("has {} rules; at most {RULES_MAX} are allowed", tables.len());
            return Err(Fault::new("rate_limit", message).into());
        }
        let rules = (0..).zip(tables).filter_map(|(at, table)| faults.keep(Rule::compile(at, table))).collect();
        let rules: Box<[_]> = faults.finish(Some(rules))?;
        let by_slot = std::iter::repeat_with(AtomicU32::default).take(EventNames::SLOTS).collect();
        let shared = SharedMeters::new(rules.len());
        Ok(Self { rules, by_slot, shared })
    }

    /// The meters of a new session. Those of a user or an address are shared with its other sessions; for an anonymous
    /// client, a limit per user counts its session alone.
    #[must_use]
    pub fn open(&self, user: Option<&str>, ip: IpAddr, now: Instant) -> Meters {
        let meter = |(at, rule): (usize, &Rule)| {
            let counted = match (rule.scope, user) {
                (Scope::User, Some(user)) => Counted::User(user.into()),
                (Scope::Ip, _) => Counted::Network(Network::from(ip)),
                (Scope::Connection, _) | (Scope::User, None) => return Meter::Own(Limiter::new(rule.quota, now)),
            };
            Meter::Shared(self.shared.get(at, counted, rule.quota, now))
        };
        Meters(self.rules.iter().enumerate().map(meter).collect())
    }

    /// Uses up what is left of each rule that counts this session alone, so that another node can continue with it.
    /// `None` for a rule that counts a user or an address.
    #[must_use]
    pub fn use_up(&self, meters: &Meters, now: Instant) -> Vec<Option<u32>> {
        let left = |(meter, rule): (&Meter, &Rule)| match meter {
            Meter::Own(limiter) => Some(limiter.use_up(rule.quota, now)),
            Meter::Shared(_) => None,
        };
        meters.0.iter().zip(&self.rules).map(left).collect()
    }

    /// The meters of a session that continues with what was [left](Self::use_up). Changed rules count from zero.
    #[must_use]
    pub fn continued(&self, user: Option<&str>, ip: IpAddr, left: &[Option<u32>], now: Instant) -> Meters {
        let mut meters = self.open(user, ip, now);
        if left.len() == meters.0.len() {
            for ((meter, rule), left) in meters.0.iter_mut().zip(&self.rules).zip(left) {
                if let (Meter::Own(_), Some(left)) = (&meter, left) {
                    *meter = Meter::Own(Limiter::with_left(rule.quota, *left, now));
                }
            }
        }
        meters
    }

    /// The verdict on this packet. All rules that count its event are applied in order, and the first refusal ends it.
    ///
    /// What the earlier rules have counted stays counted: a packet over a later limit is still a packet, and
    /// giving it back would let a sender probe one limit for free at the cost of another.
    ///
    /// # Panics
    /// If `meters` were opened by other rules than these.
    #[must_use]
    pub fn judge(&self, meters: &Meters, slot: EventSlot, event: &[u8], now: Instant) -> Verdict {
        self.apply(self.counting(slot, event), meters, now)
    }

    /// The verdict on a packet whose event depends on who reads it: every rule counts it.
    ///
    /// # Panics
    /// If `meters` were opened by other rules than these.
    #[must_use]
    pub fn judge_unclear(&self, meters: &Meters, now: Instant) -> Verdict {
        self.apply((1 << self.rules.len()) - 1, meters, now)
    }

    /// The first refusal of these rules, one bit each.
    #[inline]
    fn apply(&self, mut counting: u32, meters: &Meters, now: Instant) -> Verdict {
        while counting != 0 {
            let at = counting.trailing_zeros() as usize;
            counting &= counting - 1;
            let checked = match &meters.0[at] {
                Meter::Own(limiter) => limiter.check(now),
                Meter::Shared(limiter) => limiter.check(now),
            };
            if let Err(until) = checked {
                return self.rules[at].verdict(until);
            }
        }
        Verdict::Forward
    }

    /// Forgets users and addresses without a session, once their limits would be full again. Call it about every 10 s. True:
    /// there was no room for more, so further ones share an allowance.
    pub fn sweep(&self, now: Instant) -> bool {
        self.shared.sweep(now, |rule| self.rules[rule].per)
    }

    /// The rules that count this event, one bit each.
    fn counting(&self, slot: EventSlot, event: &[u8]) -> u32 {
        if slot == EventSlot::OTHER {
            return self.matching(event);
        }
        let cell = &self.by_slot[slot.index()];
        let mut mask = cell.load(Relaxed);
        if mask & KNOWN == 0 {
            mask = self.matching(event) | KNOWN;
            cell.store(mask, Relaxed);
        }
        mask & !KNOWN
    }

    fn matching(&self, event: &[u8]) -> u32 {
        let bit = |(at, rule): (usize, &Rule)| u32::from(rule.events.matches(event)) << at;
        self.rules.iter().enumerate().map(bit).sum()
    }
}

impl Rule {
    fn compile(at: u8, table: &RateLimitTable) -> Result<Self, Fault> {
        let key = |name: &str| format!("rate_limit[{at}].{name}");
        let messages = NonZeroU32::new(table.messages).filter(|messages| messages.get() <= MESSAGES_MAX);
        let messages = messages.ok_or_else(|| {
            let message = format!(
                "is {}; it must be between 1 and {MESSAGES_MAX}. To turn limits off write rate_limit = []",
                table.messages
            );
            Fault::new(key("messages"), message)
        })?;
        if !(PER_MIN..=PER_MAX).contains(&table.per.0) {
            let (min, max) = (Period(PER_MIN), Period(PER_MAX));
            let message = format!("is {:?}; it must be between {min} and {max}", table.per.to_string());
            return Err(Fault::new(key("per"), message));
        }
        if table.events.is_empty() {
            return Err(Fault::new(key("events"), "is empty; name events, or [\"*\"] for all of them"));
        }
        let events = Patterns::compile(&key("events"), &table.events)?;
        Ok(Self {
            scope: table.scope,
            events,
            quota: Quota { messages, interval: table.per.0 / messages.get() },
            per: table.per.0,
            exceeded: table.exceeded,
            refusal: Refusal {
                kind: RefusalKind::TooMany,
                code: "rate_limit",
                message: "Rate limit exceeded. Please slow down.",
                rule: Some(at),
            },
        })
    }

    fn verdict(&self, until: Instant) -> Verdict {
        match self.exceeded {
            Exceeded::Reply => Verdict::Reply { refusal: self.refusal, once_per: self.per },
            Exceeded::Drop => Verdict::Drop(self.refusal),
            Exceeded::Delay => Verdict::Delay { until },
            Exceeded::Close => Verdict::Close(self.refusal),
        }
    }
}

#[cfg(test)]
mod tests;
