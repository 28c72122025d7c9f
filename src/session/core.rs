//! Session state that does not depend on the protocols of the legs.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    event_names::EventSlot,
    network::Network,
    policy::{
        identity::Identity,
        policies::JudgedPacket,
        rate_limit::Instead,
        verdict::{Refusal, RefusalKind, Verdict},
    },
    session::{
        action::{Action, Actions, Spoken},
        control_rate::ControlRate,
        ended::{Ended, FLOOD},
        flood::Flood,
        heartbeat::{Heartbeat, PingTimes},
        join_rate::JoinRate,
        message::{Answered, Fate, Note, Pinged, Refused, Side, Ticket, Until},
        namespaces::Login,
        now::{Deadline, Now},
        quality::ping_rate::PingRate,
        rules::SessionRules,
        users::Users,
    },
    wire::websocket::close::CloseCode,
};

/// The time a client has for the fragments of one message, which are held here until it is complete.
const FRAGMENTS_WITHIN: Duration = Duration::from_secs(30);

/// Answers to one side's pings that may wait at once.
const PONGS_WAITING_MAX: usize = 16;

/// Why a session ends on which control frames come faster than [`ControlRate`] admits.
const CONTROL_RATE: &str = "control_rate";

/// The part of a session that knows neither Engine.IO nor Socket.IO.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) rules: Arc<SessionRules>,
    pub(super) users: Users,
    pub(super) peer: IpAddr,
    pub(super) actions: Actions,
    pub(super) heartbeat: Heartbeat,
    /// Of what the client asks by itself to measure its connection.
    ping_rate: PingRate,
    /// When the first namespace is left because its token expires; on a plain route, when the session ends.
    pub(super) expires: Option<Deadline>,
    last_packet: Instant,
    /// The event that has filled a queue in this outage or absence. `None`: no queue was full.
    pub(super) filled: Option<Box<Filled>>,
    /// `None` in nearly every session nearly always.
    rare: Option<Box<Rare>>,
    ended: Option<Box<Ended>>,
    tickets: u32,
    /// State of the generator that spreads dials in time.
    seed: u32,
}

/// The event that takes most of a queue that is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Filled {
    /// `hold` or `resume`.
    pub(super) queue: &'static str,
    pub(super) event: EventSlot,
}

/// What few sessions need: those whose clients are refused, send control frames or fragments, or are closed.
#[derive(Debug)]
struct Rare {
    client_control: ControlRate,
    service_control: ControlRate,
    flood: Flood,
    joins: JoinRate,
    /// When the fragmented message of the client must be complete.
    fragments_until: Option<Instant>,
    /// The last message of the client was delayed, and is judged again as the next one.
    delays: bool,
    /// This one is being judged again.
    is_again: bool,
    /// When the client was last told of refused packets that ask for no ack.
    told: Option<Instant>,
    /// What the side that closed said of it.
    close_reason: Box<str>,
    /// What the client was told of its pings. `None`: what the rules say.
    told_of_pings: Option<PingTimes>,
}

impl Core {
    pub(super) fn new(rules: Arc<SessionRules>, peer: IpAddr, seed: u32, now: Now) -> Self {
        let users = Users::unknown(&rules.policies, peer, now);
        Self {
            heartbeat: Heartbeat::new(now.instant, rules.ping_interval),
            ping_rate: PingRate::default(),
            rules,
            users,
            peer,
            actions: Actions::default(),
            expires: None,
            last_packet: now.instant,
            filled: None,
            rare: None,
            ended: None,
            tickets: 0,
            seed,
        }
    }

    /// This user has a namespace from now on, or the plain route. `in_use` tells which users, by number, have one already.
    pub(super) fn enter(&mut self, identity: Identity, in_use: impl Fn(u8) -> bool, now: Now) -> Login {
        if !self.users.are_known() {
            self.actions.push(Action::Opened);
        }
        self.users.enter(identity, in_use, &self.rules.policies, self.peer, now)
    }

    /// For how long no packet has come that is no heartbeat, and for how long the client has not been told of refused ones.
    pub(super) fn quiet_for(&self, now: Now) -> (Duration, Option<Duration>) {
        let since = |at: Instant| now.instant.saturating_duration_since(at);
        (since(self.last_packet), self.rare.as_ref().and_then(|rare| rare.told).map(since))
    }

    /// It was [so](Self::quiet_for) when the session was saved.
    pub(super) fn restore_quiet(&mut self, (idle, told): (Duration, Option<Duration>), now: Now) {
        let before = |ago: Duration| now.instant.checked_sub(ago);
        self.last_packet = before(idle).unwrap_or(now.instant);
        if let Some(told) = told {
            self.rare(now).told = before(told);
        }
    }

    /// The client is back, with another connection.
    pub(super) fn reattach(&mut self, peer: IpAddr, now: Now) {
        if Network::from(self.peer) != Network::from(peer) {
            self.users.moved(&self.rules.policies, peer, now);
        }
        self.peer = peer;
        if let Some(rare) = &mut self.rare {
            rare.told_of_pings = None;
        }
        self.heartbeat.begin_again(now.instant, self.rules.ping_interval);
        self.actions.push(Action::Opened);
    }

    /// A queue is full, mostly of this event. The first one counts that is found in an outage or absence.
    pub(super) fn record_filled(&mut self, queue: &'static str, event: impl FnOnce() -> Option<EventSlot>) {
        if self.filled.as_ref().is_none_or(|filled| filled.queue != queue) {
            self.filled = event().map(|event| Box::new(Filled { queue, event }));
        }
    }

    /// How often the client is pinged, and how long it may take to answer, as it was told.
    #[inline]
    pub(super) fn pings(&self) -> PingTimes {
        self.rare.as_ref().and_then(|rare| rare.told_of_pings).unwrap_or_else(|| self.rules.pings())
    }

    /// Applies other rules, and counts by them from the start. Pings keep the times that the client was told.
    pub(super) fn adopt(&mut self, rules: Arc<SessionRules>, now: Now) {
        let told = Some(self.pings()).filter(|told| *told != rules.pings());
        if told.is_some() || self.rare.is_some() {
            self.rare(now).told_of_pings = told;
        }
        self.rules = rules;
        self.users.adopt(&self.rules.policies, self.peer, now);
    }

    /// The first end counts.
    pub(super) fn end(&mut self, ended: Ended) {
        self.ended.get_or_insert_with(|| Box::new(ended));
    }

    #[inline]
    pub(super) const fn ended(&self) -> Option<Ended> {
        match &self.ended {
            Some(ended) => Some(**ended),
            None => None,
        }
    }

    /// Only the client has gone, and it may come back.
    pub(super) fn go_on(&mut self) {
        self.ended = None;
        if let Some(rare) = &mut self.rare {
            (rare.fragments_until, rare.delays) = (None, false);
        }
        self.forget_close_reason();
    }

    /// A side has closed, and said this of it.
    pub(super) fn closed_for(&mut self, reason: &str, now: Now) {
        if !reason.is_empty() {
            self.rare(now).close_reason = reason.into();
        }
    }

    /// The session goes on in spite of a Close.
    pub(super) fn forget_close_reason(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.close_reason = Box::default();
        }
    }

    fn rare(&mut self, now: Now) -> &mut Rare {
        self.rare.get_or_insert_with(|| {
            Box::new(Rare {
                client_control: ControlRate::new(now.instant),
                service_control: ControlRate::new(now.instant),
                flood: Flood::new(now.instant),
                joins: JoinRate::new(now.instant),
                fragments_until: None,
                delays: false,
                is_again: false,
                told: None,
                close_reason: Box::default(),
                told_of_pings: None,
            })
        })
    }

    /// A message came from the client, be it a heartbeat. Until when it waits, where its client was refused too much.
    #[inline]
    pub(super) fn client_spoke(&mut self, now: Now) -> Option<Instant> {
        self.heartbeat.heard(now.instant, self.pings().timeout);
        let rare = self.rare.as_mut()?;
        rare.fragments_until = None;
        let Some(until) = rare.flood.pause(now.instant) else {
            rare.is_again = std::mem::take(&mut rare.delays);
            return None;
        };
        if rare.flood.lasts(now.instant) {
            self.end(Ended::ClientPacket(FLOOD));
        }
        Some(until)
    }

    /// Nothing is read of the client, so what it has to say has all of its time again.
    pub(super) fn unread(&mut self, now: Now) {
        self.heartbeat.heard(now.instant, self.pings().timeout);
        self.used(now);
        if let Some(until) = self.rare.as_mut().and_then(|rare| rare.fragments_until.as_mut()) {
            *until = now.instant + FRAGMENTS_WITHIN;
        }
    }

    /// What the side that closed said of it.
    pub(super) fn close_reason(&self) -> &str {
        self.rare.as_ref().map_or("", |rare| &rare.close_reason)
    }

    /// A message came that is no heartbeat.
    #[inline]
    pub(super) const fn used(&mut self, now: Now) {
        self.last_packet = now.instant;
    }

    pub(super) fn fragments(&mut self, now: Now) {
        self.rare(now).fragments_until.get_or_insert(now.instant + FRAGMENTS_WITHIN);
    }

    /// A control frame that is no Close. False: there were too many, and the session ends.
    pub(super) fn admits_control(&mut self, from: Side, now: Now) -> bool {
        let rare = self.rare(now);
        let (rate, ended) = match from {
            Side::Client => (&mut rare.client_control, Ended::ClientFrame(CloseCode::POLICY, CONTROL_RATE)),
            Side::Service => (&mut rare.service_control, Ended::ServiceFrame(CloseCode::POLICY, CONTROL_RATE)),
        };
        let admitted = rate.admits(now.instant);
        if !admitted {
            self.end(ended);
        }
        admitted
    }

    /// A WebSocket ping (RFC 6455 §5.5.2).
    pub(super) fn ping(&mut self, from: Side, payload: &[u8], now: Now) {
        if self.admits_control(from, now) {
            self.actions.pong(from, payload, PONGS_WAITING_MAX);
        }
    }

    /// What the policies say of a packet of this user.
    #[inline]
    pub(super) fn judge(&self, user: u8, namespace: &str, event: Option<&[u8]>, slot: EventSlot, now: Now) -> Verdict {
        let instead = Instead::AsRule;
        let meters = self.users.meters(user);
        self.rules.policies.judge(&JudgedPacket { namespace, event, slot, instead, now: now.instant }, meters)
    }

    /// What the policies say of a message on a plain route. `event`: `None` if it depends on who reads it.
    #[inline]
    pub(super) fn judge_message(&self, event: Option<&[u8]>, slot: EventSlot, instead: Instead, now: Now) -> Verdict {
        let meters = self.users.meters(0);
        self.rules.policies.judge(&JudgedPacket { namespace: "", event, slot, instead, now: now.instant }, meters)
    }

    /// What a verdict does to its message. `event` is the message's name where it has one.
    #[inline]
    pub(super) fn obey(&mut self, verdict: Verdict, event: Option<EventSlot>, now: Now) -> (Fate, Note) {
        if verdict == Verdict::Forward {
            return (Fate::Pass, event.map_or(Note::None, Note::Event));
        }
        self.refuse(verdict, event, now)
    }

    #[cold]
    fn refuse(&mut self, verdict: Verdict, event: Option<EventSlot>, now: Now) -> (Fate, Note) {
        let (refusal, answer) = match verdict {
            Verdict::Forward => return (Fate::Pass, Note::None),
            Verdict::Delay { until, rule } => return (Fate::Wait(Until::Time(until)), self.delays(rule, now)),
            Verdict::Drop(refusal) => (refusal, Answered::Silently),
            Verdict::Reply { refusal, .. } => (refusal, Answered::WithPacket),
            Verdict::Close(refusal) => {
                self.end(Ended::Refused(refusal));
                (refusal, Answered::ByClosing)
            }
        };
        self.rare(now).flood.refuse(now.instant);
        (Fate::Drop, Note::Refused(Box::new(Refused { refusal, answer, event, is_connect: false })))
    }

    /// A message of the client waits, and will be judged again.
    fn delays(&mut self, rule: Option<u8>, now: Now) -> Note {
        let rare = self.rare(now);
        rare.delays = true;
        rule.filter(|_| !rare.is_again).map_or(Note::None, Note::Delayed)
    }

    /// The client breaks a rule of its protocol: the session ends.
    pub(super) fn malformed(&mut self, rule: &'static str) -> (Fate, Note) {
        self.end(Ended::ClientPacket(rule));
        let refusal =
            Refusal { kind: RefusalKind::Malformed, code: rule, message: "malformed packet", rule: None, fault: None };
        let answer = Answered::ByClosing;
        (Fate::Drop, Note::Refused(Box::new(Refused { refusal, answer, event: None, is_connect: false })))
    }

    /// A packet that means nothing: it is dropped and costs its client what a refusal costs.
    pub(super) fn meaningless(&mut self, now: Now) -> (Fate, Note) {
        self.rare(now).flood.refuse(now.instant);
        (Fate::Drop, Note::None)
    }

    /// The client asks for an answer, to measure its connection. Whether it gets it.
    pub(super) fn ping_comes(&mut self, now: Now) -> Pinged {
        if self.ping_rate.admits(now.instant) { Pinged::Answered } else { Pinged::Limited }
    }

    /// What became of such a ping. One that is not answered costs its client what a refusal costs.
    pub(super) fn pinged(&mut self, pinged: Pinged, now: Now) -> Note {
        if pinged != Pinged::Answered {
            self.rare(now).flood.refuse(now.instant);
        }
        Note::Pinged(pinged)
    }

    /// Whether the client may join one more namespace now.
    pub(super) fn may_join(&self, now: Now) -> bool {
        self.rare.as_ref().is_none_or(|rare| rare.joins.has_one(self.rules.joins, now.instant))
    }

    /// The client asks to join a namespace, for which a token may have to be verified.
    pub(super) fn spend_join(&mut self, now: Now) {
        let limit = self.rules.joins;
        let rare = self.rare(now);
        rare.flood.join(now.instant);
        rare.joins.take(limit, now.instant);
    }

    /// Whether the client may be told again of refused packets that ask for no ack.
    pub(super) fn admit_telling(&mut self, once_per: Duration, now: Now) -> bool {
        let told = &mut self.rare(now).told;
        let may = told.is_none_or(|at| now.instant.saturating_duration_since(at) >= once_per);
        if may {
            *told = Some(now.instant);
        }
        may
    }

    pub(super) fn say(&mut self, to: Side, text: Vec<u8>) {
        self.actions.say(to, Spoken::text(text));
    }

    pub(super) const fn ticket(&mut self) -> Ticket {
        self.tickets = self.tickets.wrapping_add(1);
        Ticket(self.tickets)
    }

    /// A number from 0 to 1, another one each time, so that sessions that lose the service together do not come back
    /// together (xorshift, Marsaglia 2003).
    pub(super) fn spread(&mut self) -> f64 {
        let mut x = self.seed.max(1);
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        self.seed = x;
        f64::from(x) / f64::from(u32::MAX)
    }

    /// The ends that time alone brings.
    pub(super) fn timeout(&mut self, now: Now) {
        let due = |at: Option<Instant>| at.is_some_and(|at| now.instant >= at);
        if due(self.fragments_until()) {
            self.end(Ended::ClientFrame(CloseCode::POLICY, "frame_fragments"));
        }
        if due(self.idle_until()) {
            self.end(Ended::IdleTimeout);
        }
    }

    /// When [`timeout`](Self::timeout) has something to do.
    pub(super) fn deadlines(&self) -> [Option<Instant>; 3] {
        [self.expires_at(), self.fragments_until(), self.idle_until()]
    }

    fn expires_at(&self) -> Option<Instant> {
        self.expires.map(|expires| expires.instant())
    }

    /// On a plain route the session ends with its token.
    pub(super) fn expire(&mut self, now: Now) {
        if let Some(expires) = &mut self.expires {
            expires.keep_time(now);
        }
        if self.expires_at().is_some_and(|at| now.instant >= at) {
            self.end(Ended::TokenExpired);
        }
    }

    fn fragments_until(&self) -> Option<Instant> {
        self.rare.as_ref().and_then(|rare| rare.fragments_until)
    }

    fn idle_until(&self) -> Option<Instant> {
        self.rules.idle_timeout.map(|idle| self.last_packet + idle)
    }
}
