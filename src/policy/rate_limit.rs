//! How many packets: rules by scope and event pattern, counted with GCRA.

pub mod lease;
pub mod lease_requests;
mod limiter;
mod shared_meters;
pub mod sharing;

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{
    lease::{Budget, Lease},
    lease_requests::LimitKey,
    limiter::{Limiter, Quota},
    shared_meters::{Counted, SharedMeters},
    sharing::{Sharing, rule_number},
};
use super::{
    event_masks::EventMasks,
    pattern::Patterns,
    verdict::{Refusal, RefusalKind, Verdict},
};
use crate::{
    event_names::EventSlot,
    fault::{Fault, Faults},
    network::Network,
    units::Period,
};

/// A larger value is a mistake: no session sends so much.
const MESSAGES_MAX: u32 = 1_000_000;
/// A packet is judged by each rule that names its event.
const RULES_MAX: usize = 16;
const _: () = assert!(RULES_MAX <= EventMasks::BITS);
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
    #[schemars(range(min = 1, max = MESSAGES_MAX))]
    pub messages: u32,
    /// The span of time of `messages`.
    pub per: Period,
    /// What happens to a packet over the limit.
    pub exceeded: Exceeded,
    /// Whether all nodes have one budget for a user or an address, kept in `[redis]`; otherwise each node has its own.
    /// At most one percent of `messages`, or one message, more pass for each node; while there is demand, at most four percent
    /// remain unused. While Redis does not answer, each node lets `messages / nodes` through, and at least one.
    pub shared: bool,
}

/// Whose packets are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Those of one session.
    Connection,
    /// Those of one user, on this node or, with `shared`, on all.
    User,
    /// Those of one IPv4 address or one IPv6 /64 network, on this node or, with `shared`, on all.
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

/// What one route does with packets over a limit, in place of what the rule says.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Instead {
    /// What the rule says.
    #[default]
    AsRule,
    /// What the rule says, but a session is closed where the rule would have a packet answered.
    NoReply,
    /// Always this.
    Always(Exceeded),
}

impl Instead {
    const fn of(self, exceeded: Exceeded) -> Exceeded {
        match (self, exceeded) {
            (Self::Always(exceeded), _) => exceeded,
            (Self::NoReply, Exceeded::Reply) => Exceeded::Close,
            (Self::NoReply | Self::AsRule, exceeded) => exceeded,
        }
    }
}

impl Default for RateLimitTable {
    fn default() -> Self {
        Self {
            scope: Scope::Connection,
            events: vec!["*".to_owned()],
            messages: 100,
            per: Period::from_secs(60),
            exceeded: Exceeded::Reply,
            shared: false,
        }
    }
}

/// All `[[rate_limit]]` rules, in the order of judging.
#[derive(Debug)]
pub struct RateLimits {
    rules: Box<[Rule]>,
    /// Which rules count an event: one bit each.
    masks: EventMasks,
    shared: SharedMeters,
    /// `None`: the node is alone, and no rule is shared.
    sharing: Option<Arc<Sharing>>,
}

#[derive(Debug)]
struct Rule {
    scope: Scope,
    events: Patterns,
    quota: Quota,
    per: Duration,
    exceeded: Exceeded,
    refusal: Refusal,
    /// Its number on all nodes. `None`: it is counted on this node alone.
    shared: Option<u64>,
}

/// What one session has used of each rule. It belongs to the [`RateLimits`] that opened it, so after a reload a
/// session opens new ones, and starts with nothing used.
#[derive(Debug)]
pub struct Meters(Box<[Meter]>);

#[derive(Debug)]
enum Meter {
    /// Of the session, or of a guest in it.
    Own(Limiter),
    /// Of the session, whose users share it.
    Session(Arc<Limiter>),
    /// Of a user or an address, on this node.
    Shared(Arc<Limiter>),
    /// Of a user or an address, on all nodes.
    Leased(Arc<Lease>),
}

impl RateLimits {
    /// Reads the rules, which [take effect](Self::take_effect) later or never. `sharing`: the budgets of all nodes; `None` where the node is alone.
    ///
    /// # Errors
    /// More than 16 rules, and what is wrong with each of them.
    pub fn compile(tables: &[RateLimitTable], sharing: Option<&Arc<Sharing>>) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        if tables.len() > RULES_MAX {
            let message = format!("has {} rules; at most {RULES_MAX} are allowed", tables.len());
            return Err(Fault::new("rate_limit", message).into());
        }
        let rule = |(at, table)| faults.keep(Rule::compile(at, table, sharing.is_some()));
        let rules = (0..).zip(tables).filter_map(rule).collect();
        let mut rules: Box<[_]> = faults.finish(Some(rules))?;
        tell_twins_apart(&mut rules);
        let shared = SharedMeters::new(rules.len());
        Ok(Self { rules, masks: EventMasks::new(), shared, sharing: sharing.cloned() })
    }

    /// These rules are in force now: whether Redis is asked depends on whether one of them is shared.
    pub fn take_effect(&self) {
        if let Some(sharing) = &self.sharing {
            sharing.want(self.rules.iter().any(|rule| rule.shared.is_some()));
        }
    }

    /// The meters of a new session. Those of a user or an address are shared with its other sessions; for an anonymous
    /// client, a limit per user counts its session alone.
    #[must_use]
    pub fn open(&self, user: Option<&str>, ip: IpAddr, now: Instant) -> Meters {
        let meter = |(at, rule): (usize, &Rule)| match (rule.scope, user) {
            (Scope::User, Some(user)) => self.of_user(at, user, now),
            (Scope::Ip, _) => self.of_address(at, ip, now),
            (Scope::Connection, _) | (Scope::User, None) => Meter::Own(Limiter::new(rule.quota, now)),
        };
        Meters(self.rules.iter().enumerate().map(meter).collect())
    }

    fn of_user(&self, at: usize, user: &str, now: Instant) -> Meter {
        let leased = self.leased(at, |rule| LimitKey::of_user(rule, user), now);
        leased.unwrap_or_else(|| {
            Meter::Shared(self.shared.get(at, Counted::User(user.into()), self.rules[at].quota, now))
        })
    }

    fn of_address(&self, at: usize, ip: IpAddr, now: Instant) -> Meter {
        let leased = self.leased(at, |rule| LimitKey::of_address(rule, ip), now);
        leased.unwrap_or_else(|| {
            Meter::Shared(self.shared.get(at, Counted::Network(Network::from(ip)), self.rules[at].quota, now))
        })
    }

    /// The session goes on at another address: what counts an address counts that one.
    pub fn moved(&self, meters: &mut Meters, ip: IpAddr, now: Instant) {
        for (at, (meter, rule)) in meters.0.iter_mut().zip(&self.rules).enumerate() {
            if rule.scope == Scope::Ip {
                *meter = self.of_address(at, ip, now);
            }
        }
    }

    /// `None`: the rule counts on this node alone.
    fn leased(&self, at: usize, key: impl FnOnce(u64) -> LimitKey, now: Instant) -> Option<Meter> {
        let rule = &self.rules[at];
        let (number, sharing) = rule.shared.zip(self.sharing.as_ref())?;
        let budget = Budget { messages: rule.quota.messages, per: rule.per };
        Some(Meter::Leased(sharing.open(key(number), budget, now)))
    }

    /// Uses up what is left of each rule that counts this session alone, so that another node can continue with it.
    /// `None` for a rule that counts a user or an address.
    #[must_use]
    pub fn use_up(&self, meters: &Meters, now: Instant) -> Vec<Option<u32>> {
        let left = |(meter, rule): (&Meter, &Rule)| match meter {
            Meter::Own(limiter) => Some(limiter.use_up(rule.quota, now)),
            Meter::Session(limiter) => Some(limiter.use_up(rule.quota, now)),
            Meter::Shared(_) | Meter::Leased(_) => None,
        };
        meters.0.iter().zip(&self.rules).map(left).collect()
    }

    /// The meters of a session that continues with what was [left](Self::use_up). Changed rules count from zero.
    #[must_use]
    pub fn continued(&self, user: Option<&str>, ip: IpAddr, left: &[Option<u32>], now: Instant) -> Meters {
        self.with_left(self.open(user, ip, now), left, now)
    }

    /// The same for [another user](Self::open_beside) of the session.
    #[must_use]
    pub fn continued_beside(
        &self,
        meters: &mut Meters,
        user: Option<&str>,
        left: &[Option<u32>],
        now: Instant,
    ) -> Meters {
        self.with_left(self.open_beside(meters, user, now), left, now)
    }

    fn with_left(&self, mut meters: Meters, left: &[Option<u32>], now: Instant) -> Meters {
        if left.len() == meters.0.len() {
            for ((meter, rule), left) in meters.0.iter_mut().zip(&self.rules).zip(left) {
                if let (Meter::Own(_), Some(left)) = (&meter, left) {
                    *meter = Meter::Own(Limiter::with_left(rule.quota, *left, now));
                }
            }
        }
        meters
    }

    /// The meters of another user of the session that has these: what counts the session or its address counts both users
    /// together. A limit per user counts this one alone; that of a guest counts the guest of this session.
    #[must_use]
    pub fn open_beside(&self, meters: &mut Meters, user: Option<&str>, now: Instant) -> Meters {
        // Nearly every session has one user, and shares nothing.
        let shared = |(meter, rule): (Meter, &Rule)| match (meter, rule.scope) {
            (Meter::Own(limiter), Scope::Connection) => Meter::Session(Arc::new(limiter)),
            (meter, _) => meter,
        };
        meters.0 = std::mem::take(&mut meters.0).into_iter().zip(&self.rules).map(shared).collect();
        let beside = |((at, rule), meter): ((usize, &Rule), &Meter)| match (rule.scope, user, meter) {
            (Scope::User, Some(user), _) => self.of_user(at, user, now),
            (Scope::Connection | Scope::Ip, _, Meter::Session(limiter)) => Meter::Session(Arc::clone(limiter)),
            (Scope::Connection | Scope::Ip, _, Meter::Shared(limiter)) => Meter::Shared(Arc::clone(limiter)),
            (Scope::Connection | Scope::Ip, _, Meter::Leased(lease)) => Meter::Leased(Arc::clone(lease)),
            (Scope::User, None, _) | (_, _, Meter::Own(_)) => Meter::Own(Limiter::new(rule.quota, now)),
        };
        Meters(self.rules.iter().enumerate().zip(&meters.0).map(beside).collect())
    }

    /// A guest has become a user: what the guest has used of the limits per user, the user has used.
    pub fn charge(&self, guest: &Meters, user: &Meters, now: Instant) {
        for ((rule, guest), user) in self.rules.iter().zip(&guest.0).zip(&user.0) {
            let (Scope::User, Meter::Own(guest)) = (rule.scope, guest) else { continue };
            let used = || rule.quota.messages.get().saturating_sub(guest.use_up(rule.quota, now));
            match user {
                Meter::Shared(user) => user.spend(used(), now),
                Meter::Leased(user) => user.charge(used()),
                Meter::Own(_) | Meter::Session(_) => {}
            }
        }
    }

    /// The verdict on this packet. All rules that count its event are applied in order, and the first refusal ends it.
    ///
    /// What the earlier rules have counted stays counted: a packet over a later limit is still a packet, and
    /// giving it back would let a sender probe one limit for free at the cost of another.
    ///
    /// # Panics
    /// If `meters` were opened by other rules than these.
    #[must_use]
    pub fn judge(&self, meters: &Meters, slot: EventSlot, event: &[u8], instead: Instead, now: Instant) -> Verdict {
        self.apply(self.counting(slot, event), meters, instead, now)
    }

    /// The verdict on a packet whose event depends on who reads it: every rule counts it.
    ///
    /// # Panics
    /// If `meters` were opened by other rules than these.
    #[must_use]
    pub fn judge_unclear(&self, meters: &Meters, instead: Instead, now: Instant) -> Verdict {
        self.apply((1 << self.rules.len()) - 1, meters, instead, now)
    }

    /// The first refusal of these rules, one bit each.
    #[inline]
    fn apply(&self, mut counting: u32, meters: &Meters, instead: Instead, now: Instant) -> Verdict {
        while counting != 0 {
            let at = counting.trailing_zeros() as usize;
            counting &= counting - 1;
            let checked = match &meters.0[at] {
                Meter::Own(limiter) => limiter.check(now),
                Meter::Session(limiter) | Meter::Shared(limiter) => limiter.check(now),
                Meter::Leased(lease) => lease.check(now),
            };
            if let Err(until) = checked {
                return self.rules[at].verdict(instead, until);
            }
        }
        Verdict::Forward
    }

    /// Forgets users and addresses without a session, once their limits would be full again. Call it about every 10 s. True:
    /// there was no room for more, so further ones share an allowance.
    pub fn sweep(&self, now: Instant) -> bool {
        let full = self.shared.sweep(now, |rule| self.rules[rule].per);
        self.sharing.as_ref().is_some_and(|sharing| sharing.sweep(now)) || full
    }

    /// The rules that count this event, one bit each.
    fn counting(&self, slot: EventSlot, event: &[u8]) -> u32 {
        self.masks.of(slot, || self.matching(event))
    }

    fn matching(&self, event: &[u8]) -> u32 {
        let bit = |(at, rule): (usize, &Rule)| u32::from(rule.events.matches(event)) << at;
        self.rules.iter().enumerate().map(bit).sum()
    }
}

impl Rule {
    /// `can_share`: there is a place that all nodes share.
    fn compile(at: u8, table: &RateLimitTable, can_share: bool) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let key = |name: &str| format!("rate_limit[{at}].{name}");
        let messages = NonZeroU32::new(table.messages).filter(|messages| messages.get() <= MESSAGES_MAX);
        let messages = messages.ok_or_else(|| {
            let message = format!(
                "is {}; it must be between 1 and {MESSAGES_MAX}. To turn limits off write rate_limit = []",
                table.messages
            );
            Fault::new(key("messages"), message)
        });
        let messages = faults.keep(messages);
        if !(PER_MIN..=PER_MAX).contains(&table.per.0) {
            let (min, max) = (Period(PER_MIN), Period(PER_MAX));
            let message = format!("is {:?}; it must be between {min} and {max}", table.per.to_string());
            faults.add(key("per"), message);
        }
        if table.events.is_empty() {
            faults.add(key("events"), "is empty; name events, or [\"*\"] for all of them");
        }
        let events = faults.keep(Patterns::compile(&key("events"), &table.events));
        if table.shared {
            faults.keep(sharable(table.scope, can_share).map_err(|message| Fault::new(key("shared"), message)));
        }
        let rule = messages.zip(events).map(|(messages, events)| Self {
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
                fault: None,
            },
            shared: table.shared.then(|| number(table)),
        });
        faults.finish(rule)
    }

    fn verdict(&self, instead: Instead, until: Instant) -> Verdict {
        match instead.of(self.exceeded) {
            Exceeded::Reply => Verdict::Reply { refusal: self.refusal, once_per: self.per },
            Exceeded::Drop => Verdict::Drop(self.refusal),
            Exceeded::Delay => Verdict::Delay { until, rule: self.refusal.rule },
            Exceeded::Close => Verdict::Close(self.refusal),
        }
    }
}

/// Whether a rule of this scope can count on all nodes; if not, why and what to do.
fn sharable(scope: Scope, can_share: bool) -> Result<(), &'static str> {
    match (scope, can_share) {
        (Scope::Connection, _) => Err(
            "is true, and scope = \"connection\" counts one session, which one node has; write scope = \"user\" or \
                 \"ip\", or remove shared",
        ),
        (Scope::User | Scope::Ip, false) => {
            Err("is true, and the budget of all nodes is kept in Redis; add [redis] with its url, or remove shared")
        }
        (Scope::User | Scope::Ip, true) => Ok(()),
    }
}

/// The number of a rule on all nodes: the same while it counts the same.
fn number(table: &RateLimitTable) -> u64 {
    let scope: &[u8] = if table.scope == Scope::User { b"user" } else { b"ip" };
    let (messages, per) = (table.messages.to_be_bytes(), table.per.0.as_nanos().to_be_bytes());
    let events = table.events.iter().map(|event| event.as_bytes());
    rule_number([scope, &messages, &per].into_iter().chain(events))
}

/// Rules that count the same have a budget each, as they have on one node.
fn tell_twins_apart(rules: &mut [Rule]) {
    for at in 0..rules.len() {
        while let Some(number) = rules[at].shared
            && rules[..at].iter().any(|earlier| earlier.shared == Some(number))
        {
            rules[at].shared = Some(number.wrapping_add(1));
        }
    }
}

#[cfg(test)]
mod tests;
