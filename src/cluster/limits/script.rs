//! The script that settles leases, as a call: its arguments and its answer.

use std::{sync::Arc, time::Duration};

use redis::{ErrorKind, RedisError, RedisResult, Script, aio::ConnectionLike};

use crate::{
    cluster::members::{self, MemberId},
    policy::rate_limit::{
        lease::{Budget, Stock},
        lease_requests::LimitKey,
    },
};

/// What a node reports of one lease, and asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) key: LimitKey,
    pub(super) budget: Budget,
    pub(super) stock: Stock,
    pub(super) purpose: Purpose,
}

/// What a report is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To have it counted, and no more.
    Report,
    /// To have the share of this node, where nobody else uses it.
    Share,
    /// A packet was refused: to have more, from other nodes as well.
    More,
    /// No session uses it any more.
    Release,
}

/// What becomes of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    /// Messages more, or fewer.
    pub(super) change: i64,
    /// Until there may be more.
    pub(super) wait: Duration,
    /// The share of this node in the budget.
    pub(super) share: u32,
    /// Messages that nobody holds.
    pub(super) room: u32,
}

/// Another node has too little of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) key: LimitKey,
    /// So many may a node keep that uses them now, ...
    pub(super) busy: u32,
    /// ... and so many one that does not.
    pub(super) idle: u32,
}

/// The answer to a call.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) nodes: u32,
    pub(super) wishes: Vec<Wish>,
    /// In the order of the reports.
    pub(super) answers: Vec<Answer>,
}

/// As Redis sends it: nodes; id, key, node, busy and idle of each wish; change, wait, share and room of each lease.
type Raw = (u32, Vec<(String, String, String, u32, u32)>, Vec<(i64, u64, u32, u32)>);

/// The id before all wishes.
const FIRST: &str = "0-0";

/// The script, and what every call of it says.
pub(super) struct Calls {
    script: Script,
    prefix: Arc<str>,
    node: MemberId,
    life_us: u64,
    /// The last wish that was read.
    seen: String,
}

impl Calls {
    pub(super) fn new(prefix: Arc<str>, node: MemberId, life: Duration) -> Self {
        let life_us = u64::try_from(life.as_micros()).unwrap_or(u64::MAX);
        Self { script: Script::new(SCRIPT), prefix, node, life_us, seen: FIRST.to_owned() }
    }

    /// Reads all wishes with the next call, of another connection: the clock of another server may be behind that of the last. A wish of before asks
    /// for what this node does not have.
    pub(super) fn hear_from_the_first(&mut self) {
        FIRST.clone_into(&mut self.seen);
    }

    /// Settles these, and reads what others wish for since the last call. `nodes`: there are so many at least.
    pub(super) async fn settle(
        &mut self,
        nodes: u32,
        reports: impl ExactSizeIterator<Item = &Report>,
        connection: &mut impl ConnectionLike,
    ) -> RedisResult<Settled> {
        let count = reports.len();
        let mut call = self.script.prepare_invoke();
        call.key(format!("{}limit:wishes", self.prefix)).key(members::nodes_key(&self.prefix));
        call.arg(self.node.as_str()).arg(self.life_us).arg(&self.seen).arg(nodes);
        for Report { key, budget, stock, purpose } in reports {
            let per_us = budget.per.as_secs_f64() * 1e6;
            call.key(format!("{}limit:{key}", self.prefix));
            call.arg(budget.messages.get()).arg(per_us).arg(stock.used).arg(stock.settled).arg(stock.left);
            call.arg(purpose.name());
        }
        let (nodes, wishes, answers): Raw = call.invoke_async(connection).await?;
        if answers.len() != count {
            return Err(RedisError::from((ErrorKind::UnexpectedReturnType, "the script of shared limits")));
        }
        if let Some((id, ..)) = wishes.last() {
            self.seen.clone_from(id);
        }
        let others = wishes.into_iter().filter(|(_, _, node, ..)| node != self.node.as_str());
        let wish =
            |(_, key, _, busy, idle): (_, String, _, _, _)| Some(Wish { key: LimitKey::at_end_of(&key)?, busy, idle });
        let answer =
            |(change, wait_us, share, room)| Answer { change, wait: Duration::from_micros(wait_us), share, room };
        let (wishes, answers) = (others.filter_map(wish).collect(), answers.into_iter().map(answer).collect());
        Ok(Settled { nodes, wishes, answers })
    }
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Share => "share",
            Self::More => "more",
            Self::Release => "release",
        }
    }
}

/// What runs in Redis.
pub(super) const SCRIPT: &str = include_str!("lease.lua");
