//! The figures of the status page: what operators look at, in one value.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

use super::{
    catalog::OTHER,
    counter::{Counter, LabelCounters},
    gauges::Gauges,
    histogram::HistogramTotal,
    process::ProcessFigures,
    redis::RedisSeen,
    service_record::Seen,
    tally::{QUALITIES, Tally, open_sessions},
};

/// How far back the latencies of acks reach.
const LATENCY_WINDOW: Duration = Duration::from_secs(60);

/// Where the figures come from.
#[derive(Debug)]
pub struct Overview {
    tallies: Vec<Arc<Tally>>,
    gauges: Arc<Gauges>,
    /// The latencies so far at earlier moments, the oldest first. Buckets that are missing were empty.
    marks: Mutex<VecDeque<(Instant, Vec<u64>)>>,
}

/// One moment by both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// By the clock that nobody sets.
    pub instant: Instant,
    /// By the wall clock.
    pub wall: SystemTime,
}

impl Moment {
    /// What was then, in seconds since 1970.
    fn unix(self, then: Instant) -> u64 {
        let wall = self.wall.checked_sub(self.instant.saturating_duration_since(then));
        wall.and_then(|wall| wall.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs())
    }
}

/// The figures at one moment.
#[derive(Debug, Serialize)]
pub struct Figures {
    /// Sessions that are open now.
    pub sessions: SessionFigures,
    /// Counts since the start.
    pub totals: Totals,
    /// Milliseconds from a client's message to its ack, in the last minute. `None`: there was no ack.
    pub latency_ms: Option<Percentiles>,
    /// The service.
    pub upstream: Reachability,
    /// Redis. `None`: the node does not use it.
    pub redis: Option<Reachability>,
    /// What the gate shows to clients.
    pub certificates: Vec<Certificate>,
    /// The memory of the node.
    pub memory: MemoryFigures,
    /// The configuration.
    pub reload: ReloadFigures,
}

/// Sessions that are open now.
#[derive(Debug, Serialize)]
pub struct SessionFigures {
    open: u64,
    /// With a verified token.
    active: u64,
    /// Their service is down.
    held: u64,
    /// Their client is absent.
    absent: u64,
    by_transport: ByTransport,
    by_quality: ByQuality,
}

#[derive(Debug, Serialize)]
struct ByTransport {
    websocket: u64,
    polling: u64,
    absent: u64,
}

#[derive(Debug, Serialize)]
struct ByQuality {
    excellent: u64,
    good: u64,
    fair: u64,
    poor: u64,
    unknown: u64,
}

/// Counts since the start.
#[derive(Debug, Serialize)]
pub struct Totals {
    connections: u64,
    /// Messages from clients.
    received: u64,
    /// Messages to clients.
    sent: u64,
    /// Requests and messages, by the rule that has refused them.
    refused: BTreeMap<String, u64>,
    disconnected: BTreeMap<String, u64>,
    errors: BTreeMap<String, u64>,
}

/// Half of all, 95 and 99 of a hundred took no longer.
#[derive(Debug, PartialEq, Serialize)]
pub struct Percentiles {
    p50: f64,
    p95: f64,
    p99: f64,
}

/// Whether another program is there.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Reachability {
    /// `None`: it was not tried yet.
    pub up: Option<bool>,
    /// Since when that is so, in seconds since 1970.
    pub since: Option<u64>,
    /// Why it is not there.
    pub why: Option<String>,
}

/// One certificate, by its first name.
#[derive(Debug, Serialize)]
pub struct Certificate {
    name: String,
    /// Its end, in seconds since 1970.
    not_after: u64,
}

/// Bytes of memory.
#[derive(Debug, Serialize)]
pub struct MemoryFigures {
    /// By the process, or by all that the limit is for.
    used: Option<u64>,
    limit: Option<u64>,
    /// What sessions keep of what clients and the service have sent.
    sessions: u64,
}

/// The last reload.
#[derive(Debug, Serialize)]
pub struct ReloadFigures {
    ok: bool,
    /// When the configuration in use was loaded, in seconds since 1970.
    last_success: u64,
}

impl Overview {
    /// `tallies`: one for each worker, all with the same buckets.
    #[must_use]
    pub const fn new(tallies: Vec<Arc<Tally>>, gauges: Arc<Gauges>) -> Self {
        Self { tallies, gauges, marks: Mutex::new(VecDeque::new()) }
    }

    /// Remembers the latencies so far. To be called a few times a minute.
    pub fn mark(&self, now: Instant) {
        // Before the first ack there are no buckets, which are as good as empty ones.
        let buckets = self.latencies().map(|total| total.buckets).unwrap_or_default();
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.push_back((now, buckets));
        // The oldest is as old as the window, or a little older.
        while marks.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= LATENCY_WINDOW) {
            marks.pop_front();
        }
    }

    /// The figures as of now.
    #[must_use]
    pub fn figures(&self, now: Moment) -> Figures {
        let (tallies, gauges) = (&self.tallies, &self.gauges);
        let service = gauges.service.seen().map_or(Reachability { up: None, since: None, why: None }, |seen| {
            let Seen { since, down } = seen;
            Reachability { up: Some(down.is_none()), since: Some(now.unix(since)), why: down }
        });
        let redis = gauges.redis.seen().map(|RedisSeen { since, down }| Reachability {
            up: Some(down.is_none()),
            since: Some(now.unix(since)),
            why: down,
        });
        let ends = gauges.certificates().1.into_iter();
        let (ok, last_success) = gauges.reload();
        let of_limit = gauges.memory.use_of_limit();
        let resident = || Some(ProcessFigures::read()?.resident_memory_bytes as u64);
        Figures {
            sessions: sessions(tallies),
            totals: totals(tallies),
            latency_ms: self.percentiles(),
            upstream: service,
            redis,
            certificates: ends.map(|(name, not_after)| Certificate { name, not_after }).collect(),
            memory: MemoryFigures {
                used: of_limit.map(|(used, _)| used).or_else(resident),
                limit: of_limit.map(|(_, limit)| limit),
                sessions: gauges.memory.sessions() as u64,
            },
            reload: ReloadFigures { ok, last_success },
        }
    }

    /// Of all events together.
    fn latencies(&self) -> Option<HistogramTotal> {
        HistogramTotal::of(self.tallies.iter().flat_map(|tally| &tally.latency).filter_map(|one| Some(&**one.get()?)))
    }

    fn percentiles(&self) -> Option<Percentiles> {
        let mut total = self.latencies()?;
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, before)) = marks.front() {
            total.buckets.iter_mut().zip(before).for_each(|(bucket, before)| *bucket = bucket.saturating_sub(*before));
        }
        let of = |part| total.quantile(part).map(|time: Duration| time.as_micros() as f64 / 1000.0);
        Some(Percentiles { p50: of(0.5)?, p95: of(0.95)?, p99: of(0.99)? })
    }
}

fn sum(tallies: &[Arc<Tally>], of: impl Fn(&Tally) -> u64) -> u64 {
    tallies.iter().map(|tally| of(tally)).sum()
}

fn sessions(tallies: &[Arc<Tally>]) -> SessionFigures {
    let open = open_sessions(tallies);
    let left = sum(tallies, |tally| tally.counts.left.get());
    let absent = sum(tallies, Tally::absent_now).min(open);
    let polling = u64::try_from(tallies.iter().map(|tally| tally.polling_now()).sum::<i64>()).unwrap_or_default();
    SessionFigures {
        open,
        active: sum(tallies, |tally| tally.counts.authenticated.get()).saturating_sub(left),
        held: sum(tallies, |tally| tally.held_now().0),
        absent,
        by_transport: ByTransport { websocket: open.saturating_sub(polling).saturating_sub(absent), polling, absent },
        by_quality: by_quality(tallies, open),
    }
}

fn by_quality(tallies: &[Arc<Tally>], open: u64) -> ByQuality {
    let graded = tallies.iter().flat_map(|tally| [false, true].map(|polls| tally.graded_now(polls)));
    let [excellent, good, fair, poor] = graded.fold([0; QUALITIES.len()], |mut sum, of| {
        sum.iter_mut().zip(of).for_each(|(sum, of)| *sum += of);
        sum
    });
    // A session may have been graded since the open ones were counted.
    let unknown = open.saturating_sub(excellent + good + fair + poor);
    ByQuality { excellent, good, fair, poor, unknown }
}

fn totals(tallies: &[Arc<Tally>]) -> Totals {
    let messages = |of: fn(&Tally) -> &[Counter]| sum(tallies, |tally| of(tally).iter().map(Counter::get).sum());
    let mut refused = by_label(tallies, |tally| &tally.counts.refused, |(_, reason)| reason.to_owned());
    // What is delayed passes later.
    let rate_limits = tallies.iter().flat_map(|tally| tally.counts.verdicts.read());
    for (label, count) in rate_limits.filter(|(label, _)| label.is_none_or(|(_, action)| action != "delay")) {
        let rule = label.map_or_else(|| OTHER.to_owned(), |(rule, _)| format!("rate_limit[{rule}]"));
        *refused.entry(rule).or_insert(0) += count;
    }
    let own = |label: &'static str| label.to_owned();
    Totals {
        connections: sum(tallies, |tally| tally.counts.opened.get()),
        received: messages(|tally| &tally.received),
        sent: messages(|tally| &tally.sent),
        refused,
        disconnected: by_label(tallies, |tally| &tally.counts.ended, own),
        errors: by_label(tallies, |tally| &tally.counts.errors, own),
    }
}

fn by_label<L: Copy + PartialEq>(
    tallies: &[Arc<Tally>],
    of: impl Fn(&Tally) -> &LabelCounters<L>,
    name: impl Fn(L) -> String,
) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for (label, count) in tallies.iter().flat_map(|tally| of(tally).read()) {
        *counts.entry(label.map_or_else(|| OTHER.to_owned(), &name)).or_insert(0) += count;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_names::EventSlot;

    fn figures(overview: &Overview) -> serde_json::Value {
        let now = Moment { instant: Instant::now(), wall: UNIX_EPOCH + Duration::from_secs(1_000_000) };
        serde_json::to_value(overview.figures(now)).unwrap()
    }

    #[test]
    fn counts_of_all_workers_are_summed_and_refusals_are_told_by_rule() {
        let tallies = vec![Tally::new(&[1, 5]), Tally::new(&[1, 5])];
        for tally in &tallies {
            tally.opened();
            tally.opened();
            tally.ended("client_closed");
            tally.refused("connect", "auth.missing");
            tally.refused("handshake", "auth.missing");
            tally.verdict(1, "reply");
            tally.verdict(1, "delay");
            tally.received(EventSlot::OTHER);
        }
        tallies[0].polling(1);
        let shown = figures(&Overview::new(tallies, Arc::default()));
        assert_eq!(shown["sessions"]["open"], 2);
        assert_eq!(shown["sessions"]["by_transport"], serde_json::json!({ "websocket": 1, "polling": 1, "absent": 0 }));
        assert_eq!(shown["totals"]["refused"], serde_json::json!({ "auth.missing": 4, "rate_limit[1]": 2 }));
        assert_eq!(shown["totals"]["disconnected"], serde_json::json!({ "client_closed": 2 }));
        assert_eq!((&shown["totals"]["received"], &shown["totals"]["connections"]), (&2.into(), &4.into()));
        assert_eq!((&shown["redis"], &shown["upstream"]["up"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    }

    #[test]
    fn latencies_are_those_of_the_last_minute() {
        let tally = Tally::new(&[10, 20, 40]);
        let overview = Overview::new(vec![Arc::clone(&tally)], Arc::default());
        let (start, p50) = (Instant::now(), || figures(&overview)["latency_ms"]["p50"].as_f64());
        assert_eq!(p50(), None, "nothing was acknowledged");
        tally.latency(EventSlot::OTHER, Duration::from_millis(30));
        assert_eq!(p50(), Some(30.0), "the middle of its bucket");
        overview.mark(start);
        tally.latency(EventSlot::OTHER, Duration::from_millis(5));
        assert_eq!(p50(), Some(5.0), "what was before the mark does not count");
        for seconds in [30, 60, 90] {
            overview.mark(start + Duration::from_secs(seconds));
        }
        assert_eq!(p50(), None);
        assert_eq!(overview.marks.lock().unwrap().len(), 3);
    }

    #[test]
    fn the_first_acks_count_for_a_minute_too() {
        let tally = Tally::new(&[10, 20, 40]);
        let overview = Overview::new(vec![Arc::clone(&tally)], Arc::default());
        let (start, p50) = (Instant::now(), || figures(&overview)["latency_ms"]["p50"].as_f64());
        overview.mark(start);
        tally.latency(EventSlot::OTHER, Duration::from_millis(30));
        for seconds in [10, 20, 60] {
            assert_eq!(p50(), Some(30.0), "before the mark at {seconds} s");
            overview.mark(start + Duration::from_secs(seconds));
        }
        overview.mark(start + Duration::from_secs(70));
        assert_eq!(p50(), None, "it was before the mark at 10 s");
    }

    #[test]
    fn what_is_down_is_dated_by_the_wall_clock() {
        let gauges = Arc::new(Gauges::new());
        let now = Moment { instant: Instant::now(), wall: UNIX_EPOCH + Duration::from_secs(1_000_000) };
        gauges.service.mark_down(&"refused", now.instant);
        let later = Moment { instant: now.instant + Duration::from_secs(90), wall: now.wall + Duration::from_secs(90) };
        let upstream = Overview::new(Vec::new(), gauges).figures(later).upstream;
        let why = Some("refused".to_owned());
        assert_eq!(upstream, Reachability { up: Some(false), since: Some(1_000_000), why });
    }
}
