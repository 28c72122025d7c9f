//! Which metrics there are: the brief's eight, and ours. One line of help each.

use std::{collections::BTreeMap, sync::Arc};

use super::prometheus::{Page, Sample, Unit};
use super::{
    acme::AcmeFigures,
    counter::{Counter, LabelCounters},
    gauges::Gauges,
    histogram::{Histogram, HistogramTotal},
    process::ProcessFigures,
    tally::{Tally, Volume, upstream_up},
};
use crate::event_names::{EventNames, EventSlot};

/// The label of everything that is not told apart.
const OTHER: &str = "other";

/// What one scrape reads.
pub(super) struct Scrape<'a> {
    pub(super) tallies: &'a [Arc<Tally>],
    pub(super) names: &'a EventNames,
    pub(super) gauges: &'a Gauges,
    pub(super) log_lines_lost: u64,
}

/// Puts every metric on the page.
pub(super) fn write(page: &mut Page, scrape: &Scrape<'_>) {
    connections(page, scrape);
    messages(page, scrape);
    refusals(page, scrape);
    durations(page, scrape);
    upstream(page, scrape);
    node(page, scrape);
    if let Some(figures) = ProcessFigures::read() {
        process(page, &figures);
    }
}

fn connections(page: &mut Page, scrape: &Scrape<'_>) {
    // What ends is read before what begins: the other way round a gauge could dip below zero.
    let ended = scrape.sum(|tally| tally.ended.total());
    let left = scrape.sum(|tally| tally.left.get());
    let opened = scrape.sum(|tally| tally.opened.get());
    let authenticated = scrape.sum(|tally| tally.authenticated.get());
    let open = opened.saturating_sub(ended);
    page.gauge("websocket_connections_total", "Connections open now.", one(open));
    page.counter("websocket_connections_count", "Connections established.", one(opened));
    page.counter(
        "websocket_disconnections_total",
        "Connections that ended, by reason.",
        scrape.by_label(|tally| &tally.ended).map(|(reason, n)| Sample::of(n).with("reason", reason.unwrap_or(OTHER))),
    );
    page.gauge(
        "websocket_active_sessions",
        "Authenticated sessions open now.",
        one(authenticated.saturating_sub(left)),
    );
    let polling: i64 = scrape.tallies.iter().map(|tally| tally.polling_now()).sum();
    let polling = u64::try_from(polling).unwrap_or_default();
    page.gauge(
        "tidegate_sessions",
        "Sessions open now, by transport.",
        [("websocket", open.saturating_sub(polling)), ("polling", polling)]
            .map(|(transport, n)| Sample::of(n as f64).with("transport", transport)),
    );
    let ok = scrape.sum(|tally| tally.upgrades_ok.get());
    let failed = scrape.sum(|tally| tally.upgrades_failed.get());
    page.counter(
        "tidegate_upgrades_total",
        "Upgrades of sessions from polling to a websocket, by result.",
        [("ok", ok), ("failed", failed)].map(|(result, n)| Sample::of(n as f64).with("result", result)),
    );
}

fn messages(page: &mut Page, scrape: &Scrape<'_>) {
    page.counter(
        "websocket_messages_sent_total",
        "Messages sent to clients, by event.",
        scrape.by_event(|tally| &tally.sent),
    );
    page.counter(
        "websocket_messages_received_total",
        "Messages received from clients, by event.",
        scrape.by_event(|tally| &tally.received),
    );
    page.counter(
        "tidegate_event_names_folded_total",
        "Messages counted as \"other\" because the cap on event names was reached.",
        one(scrape.names.folded()),
    );
    let volume = |of: fn(&Volume) -> &Counter| {
        let from = scrape.sum(|tally| of(&tally.from_client).get());
        let to = scrape.sum(|tally| of(&tally.to_client).get());
        [("from_client", from), ("to_client", to)].map(|(way, n)| Sample::of(n as f64).with("direction", way))
    };
    page.counter("tidegate_frames_total", "WebSocket frames, by direction.", volume(|volume| &volume.frames));
    page.counter(
        "tidegate_frame_bytes_total",
        "Bytes of WebSocket frames with their headers, by direction.",
        volume(|volume| &volume.bytes),
    );
}

fn refusals(page: &mut Page, scrape: &Scrape<'_>) {
    page.counter(
        "websocket_errors_total",
        "Errors on connections, by type.",
        scrape.by_label(|tally| &tally.errors).map(|(kind, n)| Sample::of(n).with("type", kind.unwrap_or(OTHER))),
    );
    page.counter(
        "tidegate_rate_limit_verdicts_total",
        "Packets a rate limit did not forward at once, by rule (counted from 0) and action.",
        scrape.by_label(|tally| &tally.verdicts).map(|(label, n)| {
            let (rule, action) = label.map_or((OTHER.to_owned(), OTHER), |(rule, action)| (rule.to_string(), action));
            Sample::of(n).with("rule", rule).with("action", action)
        }),
    );
    page.counter(
        "tidegate_refused_total",
        "Requests that did not become a session, by stage and reason.",
        scrape.by_label(|tally| &tally.refused).map(|(label, n)| {
            let (stage, reason) = label.unwrap_or((OTHER, OTHER));
            Sample::of(n).with("stage", stage).with("reason", reason)
        }),
    );
    page.counter(
        "tidegate_tls_handshakes_total",
        "TLS handshakes, by result.",
        scrape
            .by_label(|tally| &tally.tls_handshakes)
            .map(|(result, n)| Sample::of(n).with("result", result.unwrap_or(OTHER))),
    );
    page.counter(
        "tidegate_accept_errors_total",
        "Connections that could not be accepted.",
        one(scrape.sum(|tally| tally.accept_errors.get())),
    );
}

fn durations(page: &mut Page, scrape: &Scrape<'_>) {
    page.histogram(
        "websocket_message_latency_ms",
        "Milliseconds from a client's message to its ack, by event.",
        Unit::Milliseconds,
        scrape.latency_by_event(),
    );
    page.histogram(
        "tidegate_heartbeat_rtt_seconds",
        "Round trip of a heartbeat to the client.",
        Unit::Seconds,
        scrape.histogram(|tally| &tally.rtt),
    );
    page.histogram(
        "tidegate_transit_seconds",
        "Time a batch of frames spends in the gate, sampled.",
        Unit::Seconds,
        scrape.histogram(|tally| &tally.transit),
    );
}

fn upstream(page: &mut Page, scrape: &Scrape<'_>) {
    page.gauge(
        "tidegate_upstream_up",
        "Whether the last connection to the service succeeded.",
        upstream_up(scrape.tallies).map(|up| Sample::of(f64::from(up))),
    );
    let ok = scrape.sum(|tally| tally.dials_ok.get());
    let failed = scrape.sum(|tally| tally.dials_failed.get());
    page.counter(
        "tidegate_upstream_dials_total",
        "Connections tried to the service, by result.",
        [("ok", ok), ("failed", failed)].map(|(result, n)| Sample::of(n as f64).with("result", result)),
    );
    let open: i64 = scrape.tallies.iter().map(|tally| tally.upstreams()).sum();
    page.gauge(
        "tidegate_upstream_connections",
        "Connections to the service open now.",
        [Sample::of(open.max(0) as f64)],
    );
    let held = || scrape.tallies.iter().map(|tally| tally.held_now());
    page.gauge(
        "tidegate_held_sessions",
        "Sessions whose clients stay connected while the service is away.",
        one(held().map(|(sessions, _)| sessions).sum()),
    );
    let oldest_ms = held().map(|(_, oldest)| oldest).max().unwrap_or_default();
    page.gauge(
        "tidegate_held_oldest_seconds",
        "How long the longest held session has been without the service.",
        [Sample::of(oldest_ms as f64 / 1000.0)],
    );
    page.gauge(
        "tidegate_away_sessions",
        "Sessions whose clients are away and may come back.",
        one(scrape.tallies.iter().map(|tally| tally.away_now()).sum()),
    );
    let ok = scrape.sum(|tally| tally.resumes_ok.get());
    let failed = scrape.sum(|tally| tally.resumes_failed.get());
    page.counter(
        "tidegate_resumes_total",
        "Clients that asked for the session they had before, by result.",
        [("ok", ok), ("failed", failed)].map(|(result, n)| Sample::of(n as f64).with("result", result)),
    );
    let queued = |of: fn((i64, i64)) -> i64| -> i64 { scrape.tallies.iter().map(|tally| of(tally.queued_now())).sum() };
    page.gauge(
        "tidegate_queue_packets",
        "Packets of clients that wait for the service.",
        [Sample::of(queued(|(packets, _)| packets).max(0) as f64)],
    );
    page.gauge(
        "tidegate_queue_bytes",
        "Bytes of the packets that wait for the service.",
        [Sample::of(queued(|(_, bytes)| bytes).max(0) as f64)],
    );
    page.counter(
        "tidegate_queue_dropped_total",
        "Packets that waited for the service and never reached it.",
        one(scrape.sum(|tally| tally.queue_dropped.get())),
    );
    let classes = [OTHER, "1xx", "2xx", "3xx", "4xx", "5xx"];
    let answered = |class: usize| scrape.sum(|tally| tally.http[class].get());
    page.counter(
        "tidegate_http_requests_total",
        "Ordinary HTTP requests forwarded, by class of the answer.",
        classes.iter().enumerate().map(|(class, code)| Sample::of(answered(class) as f64).with("code", *code)),
    );
}

fn node(page: &mut Page, scrape: &Scrape<'_>) {
    page.gauge(
        "tidegate_build_info",
        "Always 1; the version is in the label.",
        [Sample::of(1.0).with("version", env!("CARGO_PKG_VERSION"))],
    );
    let (reload_ok, reload_last_success) = scrape.gauges.reload();
    page.gauge(
        "tidegate_config_reload_success",
        "Whether the last reading of the configuration succeeded.",
        one(u64::from(reload_ok)),
    );
    page.gauge(
        "tidegate_config_last_reload_success_timestamp_seconds",
        "When the configuration in force was read.",
        one(reload_last_success),
    );
    let (certificates_ok, certificates) = scrape.gauges.certificates();
    page.gauge(
        "tidegate_certificate_reload_success",
        "Whether the last reading of the certificates succeeded.",
        one(u64::from(certificates_ok)),
    );
    page.gauge(
        "tidegate_certificate_not_after_seconds",
        "When each certificate ends, by its first name.",
        certificates.into_iter().map(|(name, end)| Sample::of(end as f64).with("name", name)),
    );
    if let Some((last_success, failures)) = scrape.gauges.jwks() {
        page.gauge(
            "tidegate_jwks_last_success_timestamp_seconds",
            "When the key set was last fetched; 0 is never.",
            one(last_success),
        );
        page.counter("tidegate_jwks_failures_total", "Times the key set could not be fetched.", one(failures));
    }
    if let Some(figures) = scrape.gauges.acme.figures() {
        acme(page, figures);
    }
    page.counter(
        "tidegate_log_lines_lost_total",
        "Log lines lost because standard error was not read quickly enough.",
        one(scrape.log_lines_lost),
    );
}

fn acme(page: &mut Page, figures: AcmeFigures) {
    page.counter(
        "tidegate_acme_orders_total",
        "Certificates ordered from the ACME server, by result.",
        [("ok", figures.ok), ("failed", figures.failed)].map(|(result, n)| Sample::of(n as f64).with("result", result)),
    );
    page.gauge(
        "tidegate_acme_next_order_timestamp_seconds",
        "When the next certificate is to be ordered.",
        one(figures.next_order),
    );
    page.counter(
        "tidegate_acme_cache_failures_total",
        "Times the cache of ACME could not be read or written.",
        one(figures.cache_failures),
    );
}

fn process(page: &mut Page, figures: &ProcessFigures) {
    page.counter("process_cpu_seconds_total", "Processor time, user and system.", [Sample::of(figures.cpu_seconds)]);
    for (name, help, value) in [
        ("process_start_time_seconds", "When the process started.", figures.start_time_seconds),
        ("process_threads", "Threads.", figures.threads),
        ("process_resident_memory_bytes", "Memory in RAM.", figures.resident_memory_bytes),
        ("process_virtual_memory_bytes", "Memory mapped.", figures.virtual_memory_bytes),
        ("process_open_fds", "File descriptors open.", figures.open_fds),
        ("process_max_fds", "File descriptors allowed.", figures.max_fds),
    ] {
        page.gauge(name, help, [Sample::of(value)]);
    }
}

const fn one(value: u64) -> [Sample<f64>; 1] {
    [Sample::of(value as f64)]
}

impl Scrape<'_> {
    fn sum(&self, of: impl Fn(&Tally) -> u64) -> u64 {
        self.tallies.iter().map(|tally| of(tally)).sum()
    }

    /// Counts by label, all tallies together. `None` is what the tallies did not tell apart.
    fn by_label<L: Copy + Ord>(
        &self,
        of: impl Fn(&Tally) -> &LabelCounters<L>,
    ) -> impl Iterator<Item = (Option<L>, f64)> {
        let mut counts = BTreeMap::new();
        for (label, count) in self.tallies.iter().flat_map(|tally| of(tally).read()) {
            *counts.entry(label).or_insert(0) += count;
        }
        counts.into_iter().map(|(label, count): (_, u64)| (label, count as f64))
    }

    /// Counts by event: those that occurred, and `other` always.
    fn by_event(&self, of: impl Fn(&Tally) -> &[Counter]) -> impl Iterator<Item = Sample<f64>> {
        self.names.iter().filter_map(move |(slot, name)| {
            let count = self.sum(|tally| of(tally)[slot.index()].get());
            (count > 0 || slot == EventSlot::OTHER).then(|| Sample::of(count as f64).with("event", name))
        })
    }

    fn latency_by_event(&self) -> impl Iterator<Item = Sample<HistogramTotal>> {
        self.names.iter().filter_map(|(slot, name)| {
            let parts = self.tallies.iter().filter_map(|tally| tally.latency[slot.index()].get());
            HistogramTotal::of(parts.map(|part| &**part)).map(|total| Sample::of(total).with("event", name))
        })
    }

    fn histogram(&self, of: impl Fn(&Tally) -> &Histogram) -> Option<Sample<HistogramTotal>> {
        HistogramTotal::of(self.tallies.iter().map(|tally| of(tally))).map(Sample::of)
    }
}
