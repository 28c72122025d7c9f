//! Every metric, declared once: its name, its help, its kind, and how it is read.

use std::{collections::BTreeMap, sync::Arc};

use super::prometheus::{Page, Sample, Unit};
use super::{
    acme::AcmeFigures,
    counter::{Counter, LabelCounters},
    gauges::Gauges,
    histogram::{Histogram, HistogramTotal},
    limits::LimitFigures,
    mirror::MirrorFigures,
    process::ProcessFigures,
    tally::{Delivered, QUALITIES, QualityPing, Tally, Volume, open_sessions},
};
use crate::event_names::{EventNames, EventSlot};

/// The label of everything that is not told apart.
pub(super) const OTHER: &str = "other";

/// One metric.
struct Metric {
    name: &'static str,
    help: &'static str,
    read: Read,
}

/// The kind of a metric, and how it is read. `None`: what it measures is not in use, and the page does not have it.
enum Read {
    Counter(fn(&Scrape<'_>) -> Option<Samples>),
    Gauge(fn(&Scrape<'_>) -> Option<Samples>),
    Histogram(Unit, fn(&Scrape<'_>) -> Vec<Sample<HistogramTotal>>),
}

type Samples = Vec<Sample<f64>>;

const fn counter(name: &'static str, help: &'static str, read: fn(&Scrape<'_>) -> Option<Samples>) -> Metric {
    Metric { name, help, read: Read::Counter(read) }
}

const fn gauge(name: &'static str, help: &'static str, read: fn(&Scrape<'_>) -> Option<Samples>) -> Metric {
    Metric { name, help, read: Read::Gauge(read) }
}

const fn histogram(
    name: &'static str,
    help: &'static str,
    unit: Unit,
    read: fn(&Scrape<'_>) -> Vec<Sample<HistogramTotal>>,
) -> Metric {
    Metric { name, help, read: Read::Histogram(unit, read) }
}

/// In the order of the page.
const METRICS: &[Metric] = &[
    gauge("websocket_connections_total", "Open connections.", |s| one(s.open())),
    counter("websocket_connections_count", "Opened connections.", |s| one(s.sum(|t| t.counts.opened.get()))),
    counter("websocket_disconnections_total", "Closed connections, by reason.", |s| {
        s.by("reason", |t| &t.counts.ended)
    }),
    gauge("websocket_active_sessions", "Open sessions with a verified token.", |s| {
        let left = s.sum(|t| t.counts.left.get());
        one(s.sum(|t| t.counts.authenticated.get()).saturating_sub(left))
    }),
    gauge("tidegate_sessions", "Open sessions, by transport and by the quality of their connection.", |s| {
        let polling = s.balance(Tally::polling_now);
        let websocket = s.open().saturating_sub(polling);
        Some(s.by_quality("websocket", false, websocket).chain(s.by_quality("polling", true, polling)).collect())
    }),
    counter("tidegate_quality_pings_total", "Pings by which clients measure their connection, by result.", |s| {
        split(
            "result",
            std::array::from_fn::<_, { QualityPing::NAMES.len() }, _>(|at| {
                (QualityPing::NAMES[at], s.sum(|t| t.counts.quality_pings[at].get()))
            }),
        )
    }),
    counter("tidegate_upgrades_total", "Upgrades of a session from polling to WebSocket, by result.", |s| {
        s.by_result(|t| &t.counts.upgrades_ok, |t| &t.counts.upgrades_failed)
    }),
    counter("websocket_messages_sent_total", "Messages sent to clients, by event.", |s| s.by_event(|t| &t.sent)),
    counter("websocket_messages_received_total", "Messages received from clients, by event.", |s| {
        s.by_event(|t| &t.received)
    }),
    counter(
        "tidegate_event_names_folded_total",
        "Messages counted as \"other\" because their event name is one too many or unfit for a label.",
        |s| one(s.names.folded()),
    ),
    counter("tidegate_frames_total", "WebSocket frames, by direction.", |s| s.volume(|volume| &volume.frames)),
    counter("tidegate_frame_bytes_total", "Bytes of WebSocket frames with their headers, by direction.", |s| {
        s.volume(|volume| &volume.bytes)
    }),
    counter("websocket_errors_total", "Errors on connections, by type.", |s| s.by("type", |t| &t.counts.errors)),
    counter(
        "tidegate_rate_limit_verdicts_total",
        "Packets that a rate limit did not forward at once, by rule (counted from 0) and action.",
        |s| {
            Some(s.by_label(
                |t| &t.counts.verdicts,
                |label, sample| {
                    let (rule, action) =
                        label.map_or((OTHER.to_owned(), OTHER), |(rule, action)| (rule.to_string(), action));
                    sample.with("rule", rule).with("action", action)
                },
            ))
        },
    ),
    counter("tidegate_refused_total", "Requests that did not become a session, by stage and reason.", |s| {
        Some(s.by_label(
            |t| &t.counts.refused,
            |label, sample| {
                let (stage, reason) = label.unwrap_or((OTHER, OTHER));
                sample.with("stage", stage).with("reason", reason)
            },
        ))
    }),
    counter("tidegate_tls_handshakes_total", "TLS handshakes, by result.", |s| {
        s.by("result", |t| &t.counts.tls_handshakes)
    }),
    gauge(
        "tidegate_connections_max",
        "Connections that can be open: limits.connections, or fewer where the limit of open files allows for no more.",
        |s| one(s.gauges.connections_max()),
    ),
    counter("tidegate_accept_errors_total", "Connections that could not be accepted.", |s| {
        one(s.sum(|t| t.counts.accept_errors.get()))
    }),
    histogram(
        "websocket_message_latency_ms",
        "Milliseconds from a client's message to its ack, by event.",
        Unit::Milliseconds,
        |s| s.latency_by_event(),
    ),
    histogram("tidegate_heartbeat_rtt_seconds", "Round-trip time of a heartbeat to the client.", Unit::Seconds, |s| {
        s.total(|t| &t.rtt)
    }),
    histogram(
        "tidegate_transit_seconds",
        "Time that a batch of frames spends in the gate, sampled.",
        Unit::Seconds,
        |s| s.total(|t| &t.transit),
    ),
    gauge("tidegate_upstream_up", "Whether the service is there, as far as the last dials tell.", |s| {
        Some(s.gauges.service.seen().map(|seen| Sample::of(f64::from(seen.down.is_none()))).into_iter().collect())
    }),
    counter("tidegate_upstream_dials_total", "Connection attempts to the service, by result.", |s| {
        let (ok, failed) = s.gauges.service.dials();
        split("result", [("ok", ok), ("failed", failed)])
    }),
    gauge("tidegate_upstream_connections", "Open connections to the service.", |s| one(s.balance(Tally::upstreams))),
    gauge("tidegate_held_sessions", "Sessions whose client stays connected while the service is down.", |s| {
        one(s.sum(|t| t.held_now().0))
    }),
    gauge("tidegate_held_oldest_seconds", "How long the longest held session has been without the service.", |s| {
        let oldest_ms = s.tallies.iter().map(|t| t.held_now().1).max().unwrap_or_default();
        Some(vec![Sample::of(oldest_ms as f64 / 1000.0)])
    }),
    gauge("tidegate_absent_sessions", "Sessions whose client is absent and may reconnect.", |s| {
        one(s.sum(Tally::absent_now))
    }),
    counter("tidegate_resumes_total", "Clients that asked to resume an earlier session, by result.", |s| {
        s.by_result(|t| &t.counts.resumes_ok, |t| &t.counts.resumes_failed)
    }),
    gauge("tidegate_queue_packets", "Client packets that wait for the service.", |s| {
        one(s.balance(|t| t.queued_now().0))
    }),
    gauge("tidegate_queue_bytes", "Memory of client packets that wait for the service.", |s| {
        one(s.balance(|t| t.queued_now().1))
    }),
    counter("tidegate_queue_dropped_total", "Client packets that waited for the service and never reached it.", |s| {
        one(s.sum(|t| t.counts.queue_dropped.get()))
    }),
    counter(
        "tidegate_events_lost_total",
        "Events that an absent client missed, or may have: it learns of them because its recovered is false.",
        |s| one(s.sum(|t| t.counts.events_lost.get())),
    ),
    counter("tidegate_deliveries_total", "Events from other nodes for clients of this one, by result.", |s| {
        split(
            "result",
            std::array::from_fn::<_, { Delivered::NAMES.len() }, _>(|at| {
                (Delivered::NAMES[at], s.sum(|t| t.counts.deliveries[at].get()))
            }),
        )
    }),
    gauge(
        "tidegate_rooms",
        "Rooms that clients of this node are in. One with clients of several workers counts several times.",
        |s| one(s.sum(Tally::rooms_now)),
    ),
    counter(
        "tidegate_rooms_refused_total",
        "Clients that were not entered in a room, by the setting of the bound.",
        |s| s.by("setting", |t| &t.counts.rooms_refused),
    ),
    counter(
        "tidegate_room_commands_dropped_total",
        "Events and requests of other nodes that a worker has dropped for all of its clients, because too many wait.",
        |s| one(s.sum(|t| t.counts.room_commands_dropped.get())),
    ),
    counter(
        "tidegate_mirror_unresolved_total",
        "Events that were not published, because the room of their [[mirror]] cannot be named for them.",
        |s| one(s.sum(|t| t.counts.mirror_unresolved.get())),
    ),
    gauge(
        "tidegate_session_memory_bytes",
        "Memory that sessions keep for what clients and the service have sent.",
        |s| one(s.gauges.memory.sessions() as u64),
    ),
    gauge("tidegate_request_memory_bytes", "Memory of polling payloads and of answers to polls.", |s| {
        one(s.gauges.memory.requests() as u64)
    }),
    gauge(
        "tidegate_overload_step",
        "What the node does about its memory: 0 nothing, 1 refuses new sessions, 2 also closes those that keep most.",
        |s| one(s.gauges.memory.step() as u64),
    ),
    gauge("tidegate_memory_used_bytes", "Memory in use, of tidegate_memory_limit_bytes.", |s| {
        one(s.gauges.memory.use_of_limit()?.0)
    }),
    gauge("tidegate_memory_limit_bytes", "The limit of memory that was found or configured.", |s| {
        one(s.gauges.memory.use_of_limit()?.1)
    }),
    counter("tidegate_http_requests_total", "Forwarded HTTP requests, by class of the answer.", |s| {
        let classes = [OTHER, "1xx", "2xx", "3xx", "4xx", "5xx"];
        split("code", std::array::from_fn::<_, 6, _>(|class| (classes[class], s.sum(|t| t.counts.http[class].get()))))
    }),
    counter(
        "tidegate_clock_jumps_total",
        "Jumps of the wall clock by more than 30 seconds, or sleeps of so long.",
        |s| one(s.sum(|t| t.counts.clock_jumps.get())),
    ),
    gauge("tidegate_build_info", "Always 1. The label has the version.", |_| {
        Some(vec![Sample::of(1.0).with("version", env!("CARGO_PKG_VERSION"))])
    }),
    gauge("tidegate_config_reload_success", "Whether the last reload of the configuration succeeded.", |s| {
        one(s.gauges.reload().0.into())
    }),
    gauge("tidegate_config_last_reload_success_timestamp_seconds", "When the configuration in use was loaded.", |s| {
        one(s.gauges.reload().1)
    }),
    gauge("tidegate_certificate_reload_success", "Whether the last reload of the certificates succeeded.", |s| {
        one(s.gauges.certificates().0.into())
    }),
    gauge("tidegate_certificate_not_after_seconds", "When each certificate expires, by its first name.", |s| {
        let certificates = s.gauges.certificates().1.into_iter();
        Some(certificates.map(|(name, end)| Sample::of(end as f64).with("name", name)).collect())
    }),
    gauge("tidegate_jwks_last_success_timestamp_seconds", "When the key set was last fetched. 0: never.", |s| {
        one(s.gauges.jwks()?.0)
    }),
    counter("tidegate_jwks_failures_total", "Failed fetches of the key set.", |s| one(s.gauges.jwks()?.1)),
    counter("tidegate_acme_orders_total", "Certificates ordered from the ACME server, by result.", |s| {
        let AcmeFigures { ok, failed, .. } = s.gauges.acme.figures()?;
        split("result", [("ok", ok), ("failed", failed)])
    }),
    gauge("tidegate_acme_next_order_timestamp_seconds", "When the next certificate will be ordered.", |s| {
        one(s.gauges.acme.figures()?.next_order)
    }),
    counter("tidegate_acme_cache_failures_total", "Failed reads and writes of the ACME cache.", |s| {
        one(s.gauges.acme.figures()?.cache_failures)
    }),
    gauge("tidegate_redis_up", "Whether Redis is connected and events of other nodes come.", |s| {
        one(s.gauges.redis()?.up.into())
    }),
    gauge("tidegate_mirror_gap_seconds", "How long, in all, no events of other nodes could come.", |s| {
        Some(vec![Sample::of(s.gauges.redis()?.gap.as_secs_f64())])
    }),
    counter("tidegate_redis_connects_total", "Attempts to connect to Redis, by result.", |s| {
        let figures = s.gauges.redis()?;
        split("result", [("ok", figures.connects_ok), ("failed", figures.connects_failed)])
    }),
    counter(
        "tidegate_redis_dropped_total",
        "Messages between nodes that were dropped, by direction and reason.",
        |s| {
            let dropped = s.gauges.redis()?.dropped.map(|(direction, reason, count)| {
                Sample::of(count as f64).with("direction", direction).with("reason", reason)
            });
            Some(dropped.into())
        },
    ),
    counter("tidegate_mirror_published_total", "Events of the service that this node gave to Redis.", |s| {
        one(s.mirror()?.published)
    }),
    counter("tidegate_mirror_copies_total", "Further local copies of an event that was published once.", |s| {
        one(s.mirror()?.copies)
    }),
    counter(
        "tidegate_mirror_forgotten_total",
        "Events forgotten early because too many are remembered: further copies may be published.",
        |s| one(s.mirror()?.forgotten_early),
    ),
    counter("tidegate_mirror_received_total", "Broadcasts that came from Redis, by who published them.", |s| {
        split("from", s.mirror()?.received)
    }),
    counter(
        "tidegate_mirror_requests_total",
        "Requests that came from Redis, by kind; server_side_emit and question are ignored.",
        |s| split("kind", s.mirror()?.requests),
    ),
    counter(
        "tidegate_mirror_delivered_total",
        "Broadcasts and requests from Redis that the workers were given.",
        |s| one(s.mirror()?.delivered),
    ),
    counter(
        "tidegate_mirror_dropped_total",
        "Messages to Redis (out) and from Redis (in) that went no further, by direction and reason.",
        |s| {
            let labelled = |((direction, reason), count): ((&str, &str), u64)| {
                Sample::of(count as f64).with("direction", direction).with("reason", reason)
            };
            Some(s.mirror()?.dropped.map(labelled).into())
        },
    ),
    counter("tidegate_mirror_malformed_total", "Messages from Redis that are none of the adapter's, by reason.", |s| {
        let labelled =
            |(reason, count): (Option<&str>, u64)| Sample::of(count as f64).with("reason", reason.unwrap_or(OTHER));
        Some(s.mirror()?.malformed.into_iter().map(labelled).collect())
    }),
    gauge(
        "tidegate_mirror_conflict",
        "Whether the service has a Redis adapter of its own on the same key: nothing is published or delivered then.",
        |s| one(s.mirror()?.conflict.into()),
    ),
    gauge("tidegate_revocations", "Tokens, users and sockets that are revoked.", |s| {
        one(s.gauges.revocation.figures()?.entries)
    }),
    counter(
        "tidegate_revocations_forgotten_total",
        "Revocations that were forgotten before their time, because too many were in force.",
        |s| one(s.gauges.revocation.figures()?.forgotten),
    ),
    counter("tidegate_revoked_sessions_total", "Sessions that ended, or left a namespace, by a revocation.", |s| {
        one(s.gauges.revocation.figures()?.sessions)
    }),
    gauge("tidegate_cluster_nodes", "Nodes that are alive, this one among them, as far as Redis tells.", |s| {
        one(s.gauges.limits.figures()?.nodes)
    }),
    gauge("tidegate_shared_limit_up", "Whether limits count on all nodes. 0: each node lets its part through.", |s| {
        one(s.gauges.limits.figures()?.shared?.into())
    }),
    gauge("tidegate_shared_limit_leases", "Users and addresses whose shared budget this node has a part of.", |s| {
        one(s.gauges.limits.figures()?.leases)
    }),
    gauge("tidegate_shared_limit_messages_left", "Messages of shared budgets that this node may let through.", |s| {
        one(s.gauges.limits.figures()?.held)
    }),
    counter("tidegate_shared_limit_messages_total", "Messages leased to this node, and given back by it.", |s| {
        let LimitFigures { granted, returned, .. } = s.gauges.limits.figures()?;
        split("direction", [("leased", granted), ("returned", returned)])
    }),
    counter(
        "tidegate_shared_limit_refused_alone_total",
        "Packets over the part of this node while Redis did not answer.",
        |s| one(s.gauges.limits.figures()?.refused_alone),
    ),
    counter("tidegate_shared_limit_failures_total", "Calls that Redis did not answer, and questions lost.", |s| {
        let LimitFigures { failures, asks_lost, .. } = s.gauges.limits.figures()?;
        split("reason", [("no_answer", failures), ("queue_full", asks_lost)])
    }),
    counter("tidegate_log_lines_lost_total", "Log lines lost because standard error was not read fast enough.", |s| {
        one(s.log_lines_lost)
    }),
    counter("process_cpu_seconds_total", "Processor time, user and system.", |s| s.process(|p| p.cpu_seconds)),
    gauge("process_start_time_seconds", "When the process started.", |s| s.process(|p| p.start_time_seconds)),
    gauge("process_threads", "Threads.", |s| s.process(|p| p.threads)),
    gauge("process_resident_memory_bytes", "Memory in RAM.", |s| s.process(|p| p.resident_memory_bytes)),
    gauge("process_virtual_memory_bytes", "Mapped memory.", |s| s.process(|p| p.virtual_memory_bytes)),
    gauge("process_open_fds", "Open file descriptors.", |s| s.process(|p| p.open_fds)),
    gauge("process_max_fds", "The limit of open file descriptors.", |s| s.process(|p| p.max_fds)),
];

/// What one scrape reads.
pub(super) struct Scrape<'a> {
    pub(super) tallies: &'a [Arc<Tally>],
    pub(super) names: &'a EventNames,
    pub(super) gauges: &'a Gauges,
    pub(super) log_lines_lost: u64,
    /// `None` where the system does not tell.
    pub(super) process: Option<ProcessFigures>,
}

/// Puts every metric on the page.
pub(super) fn write(page: &mut Page, scrape: &Scrape<'_>) {
    for Metric { name, help, read } in METRICS {
        match read {
            Read::Counter(read) => read(scrape).into_iter().for_each(|samples| page.counter(name, help, samples)),
            Read::Gauge(read) => read(scrape).into_iter().for_each(|samples| page.gauge(name, help, samples)),
            Read::Histogram(unit, read) => page.histogram(name, help, *unit, read(scrape)),
        }
    }
}

fn one(value: u64) -> Option<Samples> {
    Some(vec![Sample::of(value as f64)])
}

/// Counts that are told apart by one label.
fn split<const N: usize>(label: &str, counts: [(&str, u64); N]) -> Option<Samples> {
    Some(counts.map(|(value, count)| Sample::of(count as f64).with(label, value)).into())
}

impl Scrape<'_> {
    fn sum(&self, of: impl Fn(&Tally) -> u64) -> u64 {
        self.tallies.iter().map(|tally| of(tally)).sum()
    }

    /// The sum of numbers that go up and down, of which a single tally may be below zero.
    fn balance(&self, of: impl Fn(&Tally) -> i64) -> u64 {
        u64::try_from(self.tallies.iter().map(|tally| of(tally)).sum::<i64>()).unwrap_or_default()
    }

    /// `None`: the node is alone.
    fn mirror(&self) -> Option<MirrorFigures> {
        self.gauges.mirror.figures()
    }

    fn open(&self) -> u64 {
        open_sessions(self.tallies)
    }

    /// The sessions over one transport, of which there are so many.
    fn by_quality(&self, transport: &'static str, polls: bool, all: u64) -> impl Iterator<Item = Sample<f64>> {
        let graded: [u64; QUALITIES.len()] = std::array::from_fn(|at| self.sum(|tally| tally.graded_now(polls)[at]));
        let unknown = ("unknown", all.saturating_sub(graded.iter().sum()));
        let sample = move |(quality, count): (&'static str, u64)| {
            Sample::of(count as f64).with("transport", transport).with("quality", quality)
        };
        QUALITIES.into_iter().zip(graded).chain([unknown]).map(sample)
    }

    fn by_result(&self, ok: fn(&Tally) -> &Counter, failed: fn(&Tally) -> &Counter) -> Option<Samples> {
        let sum = |of: fn(&Tally) -> &Counter| self.sum(|tally| of(tally).get());
        split("result", [("ok", sum(ok)), ("failed", sum(failed))])
    }

    fn volume(&self, of: fn(&Volume) -> &Counter) -> Option<Samples> {
        let from = self.sum(|tally| of(&tally.counts.from_client).get());
        let to = self.sum(|tally| of(&tally.counts.to_client).get());
        split("direction", [("from_client", from), ("to_client", to)])
    }

    /// Counts by one label.
    fn by(&self, name: &str, of: fn(&Tally) -> &LabelCounters<&'static str>) -> Option<Samples> {
        Some(self.by_label(of, |label, sample| sample.with(name, label.unwrap_or(OTHER))))
    }

    /// Counts by label, summed over all tallies. A label of `None` stands for those beyond the bound.
    fn by_label<L: Copy + Ord>(
        &self,
        of: impl Fn(&Tally) -> &LabelCounters<L>,
        labelled: impl Fn(Option<L>, Sample<f64>) -> Sample<f64>,
    ) -> Samples {
        let mut counts = BTreeMap::new();
        for (label, count) in self.tallies.iter().flat_map(|tally| of(tally).read()) {
            *counts.entry(label).or_insert(0) += count;
        }
        counts.into_iter().map(|(label, count): (_, u64)| labelled(label, Sample::of(count as f64))).collect()
    }

    /// Counts by event: those that occurred, and `other` always.
    fn by_event(&self, of: impl Fn(&Tally) -> &[Counter]) -> Option<Samples> {
        let sample = |(slot, name): (EventSlot, &str)| {
            let count = self.sum(|tally| of(tally)[slot.index()].get());
            (count > 0 || slot == EventSlot::OTHER).then(|| Sample::of(count as f64).with("event", name))
        };
        Some(self.names.iter().filter_map(sample).collect())
    }

    fn latency_by_event(&self) -> Vec<Sample<HistogramTotal>> {
        let sample = |(slot, name): (EventSlot, &str)| {
            let parts = self.tallies.iter().filter_map(|tally| tally.latency[slot.index()].get());
            HistogramTotal::of(parts.map(|part| &**part)).map(|total| Sample::of(total).with("event", name))
        };
        self.names.iter().filter_map(sample).collect()
    }

    fn total(&self, of: impl Fn(&Tally) -> &Histogram) -> Vec<Sample<HistogramTotal>> {
        HistogramTotal::of(self.tallies.iter().map(|tally| of(tally))).map(Sample::of).into_iter().collect()
    }

    fn process(&self, of: fn(&ProcessFigures) -> f64) -> Option<Samples> {
        self.process.as_ref().map(|figures| vec![Sample::of(of(figures))])
    }
}
