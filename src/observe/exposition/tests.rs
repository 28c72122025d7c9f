//! The page as a whole, and the rules for its names.

use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::observe::{
    limits::LimitFigures,
    memory::OverloadStep,
    mirror::{Dropped, NodeRequest, Sender},
    tally::{Direction, Graded, QualityPing},
};

/// Names that users depend on. They break the naming rules of Prometheus.
const FIXED_NAMES: [&str; 8] = [
    "websocket_connections_total",
    "websocket_connections_count",
    "websocket_disconnections_total",
    "websocket_messages_sent_total",
    "websocket_messages_received_total",
    "websocket_message_latency_ms",
    "websocket_errors_total",
    "websocket_active_sessions",
];

/// Two workers that have counted one of everything.
fn exposition() -> Exposition {
    let names = Arc::new(EventNames::new(10, ["agent:learning", "agent:tutor"]));
    let tallies = vec![Tally::new(&[1, 5, 10]), Tally::new(&[1, 5, 10])];
    for tally in &tallies {
        tally.opened();
        tally.authenticated();
        tally.received(names.slot("agent:learning"));
        tally.latency(names.slot("agent:learning"), Duration::from_millis(4));
        tally.sent(names.slot("say \"hi\""));
        tally.packets(Direction::FromClient, 1, 40);
        tally.packets(Direction::ToClient, 1, 25);
        tally.rtt(Duration::from_millis(30));
        tally.transit(Duration::from_micros(30));
        tally.upstream_open(1);
        tally.http(200);
    }
    let first = &tallies[0];
    let mut graded = Graded::default();
    graded.count(false, 0);
    first.ended("client_closed");
    first.left_authenticated();
    first.error("rate_limit");
    first.verdict(0, "reply");
    first.refused("origin", "origin.refused");
    first.accept_error();
    first.tls_handshake("full");
    first.graded(graded);
    first.quality_ping(QualityPing::Answered);
    first.quality_ping(QualityPing::Limited);
    first.room_refused("limits.rooms_per_session");
    let gauges = Arc::new(Gauges::new());
    gauges.service.dialled(true);
    gauges.service.dialled(true);
    gauges.service.mark_up(Instant::now());
    gauges.jwks_fetched(false);
    gauges.certificates_read(&[("ws.example.com".to_owned(), SystemTime::UNIX_EPOCH + Duration::from_hours(24))]);
    gauges.memory.sampled(70, 100, OverloadStep::None);
    gauges.acme.in_use();
    gauges.revocation.in_use();
    gauges.revocation.revoked(3, 1, 2);
    gauges.acme.ordered(true);
    // Its gap grows while the test runs: that line is left out below.
    gauges.redis.in_use(Instant::now());
    gauges.redis.connected(false);
    gauges.mirror.in_use();
    gauges.mirror.published();
    gauges.mirror.copy();
    gauges.mirror.received(Sender::Emitter);
    gauges.mirror.requested(NodeRequest::Join);
    gauges.mirror.delivered();
    gauges.mirror.dropped(Dropped::OutTooBig);
    gauges.mirror.malformed("not_msgpack");
    gauges.mirror.set_conflict(true);
    gauges.limits.set(LimitFigures {
        shared: Some(true),
        nodes: 3,
        leases: 2,
        held: 31,
        granted: 96,
        returned: 40,
        refused_alone: 5,
        asks_lost: 1,
        failures: 4,
    });
    Exposition::new(tallies, names, gauges, None)
}

/// The page, compared with a golden file, without what depends on the machine and the hour.
#[test]
fn the_page_is_as_recorded() {
    let page = exposition().render();
    let unstable = ["tidegate_config_last_reload", "tidegate_mirror_gap_seconds"];
    let stable = |line: &&str| !line.contains("process_") && !unstable.iter().any(|name| line.starts_with(name));
    let stable: String = page.lines().filter(stable).flat_map(|line| [line, "\n"]).collect();
    let version = concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"");
    assert_eq!(stable.replace(version, "version=\"0.0.0\""), include_str!("golden.txt"));
}

#[test]
fn a_page_without_traffic_has_the_metrics_of_fixed_name() {
    let page =
        Exposition::new(vec![Tally::new(&[1])], Arc::new(EventNames::new(10, [])), Arc::default(), None).render();
    for line in [
        "websocket_connections_total 0",
        "websocket_connections_count 0",
        "websocket_active_sessions 0",
        "websocket_messages_sent_total{event=\"other\"} 0",
        "websocket_messages_received_total{event=\"other\"} 0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
    }
    for name in FIXED_NAMES {
        assert_eq!(page.matches(&format!("# HELP {name} ")).count(), 1, "{name} in\n{page}");
        assert_eq!(page.matches(&format!("# TYPE {name} ")).count(), 1, "{name} in\n{page}");
    }
    assert!(page.contains("# TYPE websocket_message_latency_ms histogram\n"));
}

/// <https://prometheus.io/docs/practices/naming/>: counters alone end in `_total`, and units are base units.
#[test]
fn our_own_names_keep_the_rules_of_prometheus() {
    let page = exposition().render();
    let types: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    assert!(types.len() > 25, "{types:?}");
    for (name, kind) in types {
        if FIXED_NAMES.contains(&name) {
            continue;
        }
        assert!(name.starts_with("tidegate_") || name.starts_with("process_"), "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        assert!(
            !["_ms", "_micro", "_milli", "_kb", "_count", "_sum", "_bucket"].iter().any(|unit| name.contains(unit))
        );
    }
}
