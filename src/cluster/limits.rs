//! Limits with `shared = true`: one budget in Redis for all nodes.
//!
//! A packet is judged by the [`Lease`] that its node holds, and never waits. This task fetches leases before they are used
//! up, reports what was used, and gives back what another node wishes for.
//!
//! **Accuracy.** What all nodes have used and hold never exceeds the budget, so no more than `messages` pass, but for the
//! first packets of a sender on a node before its lease is there: one for each node, or one percent of `messages`. A node
//! whose senders are idle keeps up to 4 percent divided by the nodes, and so does the budget for a node that joins;
//! everything else reaches the node with the demand after a few round trips to Redis.
//!
//! **Without Redis** each node lets `messages / nodes` through, at least one, and counts what it has let through before.

mod ledger;
mod script;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::Receiver,
    },
    time::{Duration, Instant},
};

use redis::aio::ConnectionLike;
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

use self::{
    ledger::{LIFE, LeaseLedger},
    script::{Calls, Report},
};
use crate::{
    cluster::{
        link::Link,
        members::{self, MemberId},
    },
    observe::{
        gauges::Gauges,
        journal::{self, LogLevel},
        limits::LimitFigures,
    },
    policy::rate_limit::{lease::Lease, lease_requests::LimitKey, sharing::Sharing},
};

/// How often Redis is asked for the wishes of other nodes while this one holds leases.
const TICK: Duration = Duration::from_millis(10);

/// The same without leases, to know whether Redis answers.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// Redis is gone when it has not answered for so long.
const PATIENCE: Duration = Duration::from_millis(250);

/// When Redis is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// How soon a node that ends looks for further leases that no session holds.
const LAST_TICK: Duration = Duration::from_millis(1);

/// The shared limits of this node, before it runs.
#[derive(Debug)]
pub struct SharedLimits {
    sharing: Arc<Sharing>,
    woken: Arc<Notify>,
    gauges: Arc<Gauges>,
    ends: Arc<AtomicBool>,
}

impl SharedLimits {
    /// No leases yet.
    #[must_use]
    pub fn new(gauges: &Arc<Gauges>) -> Self {
        let woken = Arc::new(Notify::new());
        let wake = Arc::clone(&woken);
        let sharing = Arc::new(Sharing::new(Box::new(move || wake.notify_one())));
        Self { sharing, woken, gauges: Arc::clone(gauges), ends: Arc::default() }
    }

    /// For the rules that are shared.
    #[must_use]
    pub const fn sharing(&self) -> &Arc<Sharing> {
        &self.sharing
    }

    /// To be called when the last session has ended.
    pub fn end(&self) -> impl FnOnce() + use<> {
        let (ends, woken) = (Arc::clone(&self.ends), Arc::clone(&self.woken));
        move || {
            ends.store(true, Relaxed);
            woken.notify_one();
        }
    }

    /// Counts the nodes and fetches leases. When the node ends, and Redis is there, gives all of them back and returns.
    pub async fn run(self, link: Link, prefix: Arc<str>) {
        let Some(questions) = self.sharing.requests().questions() else { return };
        let node = MemberId::draw();
        let sharing = Arc::clone(&self.sharing);
        // Where limits are shared each call counts, and knows of nodes that have yet to come back.
        let counted = move |nodes| {
            if !sharing.is_wanted() {
                sharing.requests().set_nodes(nodes);
            }
        };
        let shows = tokio::spawn(members::show(link.clone(), Arc::clone(&prefix), node.clone(), counted));
        let task = Task::new(self, questions, Calls::new(Arc::clone(&prefix), node.clone(), LIFE));
        task.run(|| link.connection()).await;
        shows.abort();
        if let Some(mut connection) = link.connection() {
            members::leave(&mut connection, &prefix, &node).await;
        }
    }
}

struct Task {
    limits: SharedLimits,
    questions: Receiver<LimitKey>,
    calls: Calls,
    ledger: LeaseLedger,
    /// Whether Redis answers.
    shared: bool,
    /// Whether the log says that it does not.
    told_gone: bool,
    /// Why it does not. Empty: there is no connection.
    cause: String,
    called: Option<Instant>,
    failures: u64,
    /// How many nodes there were when Redis was lost last, ...
    nodes_before: u32,
    /// ... and since when it answers again.
    back: Option<Instant>,
}

impl Task {
    fn new(limits: SharedLimits, questions: Receiver<LimitKey>, calls: Calls) -> Self {
        Self {
            limits,
            questions,
            calls,
            ledger: LeaseLedger::default(),
            shared: false,
            told_gone: false,
            cause: String::new(),
            called: None,
            failures: 0,
            nodes_before: 1,
            back: None,
        }
    }

    async fn run<C: ConnectionLike>(mut self, mut connection: impl FnMut() -> Option<C>) {
        loop {
            // Redis, and whether it is there, means nothing to limits that are not shared.
            while !self.limits.sharing.is_wanted() && self.ledger.is_empty() && !self.ends() {
                self.show_figures(None);
                let _ = timeout(IDLE_TICK, self.limits.woken.notified()).await;
                // A session that the last rules opened may still ask.
                self.collect();
            }
            self.collect();
            if self.ends() && self.ledger.is_empty() {
                return;
            }
            self.cause.clear();
            let answers = match connection() {
                Some(mut connection) => self.settle_all(&mut connection).await,
                None => {
                    self.calls.hear_from_the_first();
                    false
                }
            };
            self.show(answers);
            match (answers, self.ledger.is_empty()) {
                (answers, has_none) if self.ends() => {
                    if has_none || !answers {
                        return;
                    }
                    sleep(LAST_TICK).await;
                }
                (false, _) => sleep(RETRY).await,
                (true, true) => _ = timeout(IDLE_TICK, self.limits.woken.notified()).await,
                (true, false) => _ = timeout(TICK, self.limits.woken.notified()).await,
            }
        }
    }

    fn ends(&self) -> bool {
        self.limits.ends.load(Relaxed)
    }

    /// Hears the questions and looks at the leases.
    fn collect(&mut self) {
        let now = Instant::now();
        while let Ok(key) = self.questions.try_recv() {
            if let Some(lease) = self.limits.sharing.find(key) {
                self.ledger.asked(&lease, now);
            }
        }
        self.ledger.examine(now);
    }

    /// Settles everything that is due, by one call at least. False: Redis does not answer.
    async fn settle_all(&mut self, connection: &mut impl ConnectionLike) -> bool {
        loop {
            let (batch, sent) = (self.ledger.next_batch(), Instant::now());
            if batch.is_empty() && self.has_nothing_to_hear(sent) {
                return true;
            }
            self.called = Some(sent);
            let nodes = self.nodes_at_least(sent);
            let call = self.calls.settle(nodes, batch.iter().map(|(_, report)| report), connection);
            let settled = match timeout(PATIENCE, call).await {
                Ok(Ok(settled)) => settled,
                Ok(Err(error)) => return self.failed(batch, error.to_string()),
                Err(_) => return self.failed(batch, format!("Redis has not answered for {PATIENCE:?}")),
            };
            let now = Instant::now();
            self.limits.sharing.requests().set_nodes(settled.nodes);
            self.ledger.settle(batch, &settled.answers, sent, now);
            for wish in &settled.wishes {
                self.ledger.wished(wish, now);
            }
            if !self.ledger.has_due() {
                return true;
            }
        }
    }

    fn failed(&mut self, batch: Vec<(Arc<Lease>, Report)>, cause: String) -> bool {
        (self.failures, self.cause) = (self.failures + 1, cause);
        self.ledger.failed(batch);
        false
    }

    /// A Redis that has lost its data knows the other nodes only when they have connected again. Until then those of before are
    /// counted, so that the first one does not take all of a budget.
    fn nodes_at_least(&self, now: Instant) -> u32 {
        let is_settled = self.back.is_some_and(|back| now.saturating_duration_since(back) >= members::LIFE);
        if is_settled { 1 } else { self.nodes_before }
    }

    /// A node without others hears no wishes. Whether Redis answers is asked all the same, now and then.
    fn has_nothing_to_hear(&self, now: Instant) -> bool {
        let recently = self.called.is_some_and(|called| now.saturating_duration_since(called) < IDLE_TICK);
        self.shared && recently && self.limits.sharing.requests().nodes() == 1
    }

    /// What holds from now on, for the packets, the metrics and the log.
    fn show(&mut self, answers: bool) {
        let requests = self.limits.sharing.requests();
        if self.shared != answers {
            if answers {
                let now = Instant::now();
                self.ledger.answers_again(now);
                self.back = Some(now);
            } else {
                (self.nodes_before, self.back) = (requests.nodes(), None);
            }
            requests.set_shared(answers);
        }
        // At the start there is no connection yet.
        let is_gone = !answers && (self.shared || self.told_gone || !self.cause.is_empty());
        if is_gone != self.told_gone {
            tell(is_gone, &self.cause, requests.nodes());
        }
        (self.shared, self.told_gone) = (answers, is_gone);
        self.show_figures(Some(answers));
    }

    fn show_figures(&self, shared: Option<bool>) {
        let (requests, totals) = (self.limits.sharing.requests(), self.ledger.totals());
        self.limits.gauges.limits.set(LimitFigures {
            shared,
            nodes: requests.nodes().into(),
            leases: self.ledger.len() as u64,
            held: totals.held,
            granted: totals.granted,
            returned: totals.returned,
            refused_alone: requests.refused_alone(),
            asks_lost: requests.asks_lost(),
            failures: self.failures,
        });
    }
}

fn tell(is_gone: bool, cause: &str, nodes: u32) {
    if is_gone {
        let cause = if cause.is_empty() { "there is no connection to Redis" } else { cause };
        let sentence = format!("shared limits count on this node alone, which lets 1/{nodes} of each through: {cause}");
        journal::line(LogLevel::Warn, &sentence);
    } else {
        journal::line(LogLevel::Info, "shared limits count on all nodes again");
    }
}

#[cfg(test)]
mod tests;
