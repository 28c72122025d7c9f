//! The lines above the sessions: the node, its service, gauges, rates and refusals.

use std::time::Duration;

use super::{
    answers::{Peer, Status},
    history::SECONDS,
    look::Look,
    model::{Flow, Live, Model},
    text::{UNKNOWN, bytes, count, count_or_unknown, millis, short, short_or_unknown, span, width_of},
};
use ratatui_core::{
    style::Style,
    text::{Line, Span},
};

/// What a line begins with has this width.
const LABEL: usize = 11;
/// A rate has this width.
const RATE: usize = 7;
/// A certificate is near its end.
const EXPIRES_SOON: u64 = 14 * 86_400;
/// Between two figures of a line.
const DOT: &str = " · ";
/// What a graph has to its right: ` peak 1.2k`.
const PEAK: usize = 11;
/// Eighths of a cell.
const LEVELS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
/// As the node names them; others come behind.
const TRANSPORTS: [&str; 3] = ["websocket", "polling", "absent"];
const QUALITIES: [&str; 5] = ["excellent", "good", "fair", "poor", "unknown"];

/// How much there is for them.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) width: usize,
    /// Is there height for more than the least?
    pub(super) tall: bool,
    /// Are rates drawn as graphs too?
    pub(super) graphs: bool,
}

/// All lines, from the top.
pub(super) fn lines(model: &Model, now: Duration, look: Look, room: &Room) -> Vec<Line<'static>> {
    let live = model.shown();
    let status = &live.status;
    let width = room.width;
    let mut lines = vec![title(model, now, look, width), service(status, look), surroundings(status, look)];
    if !status.certificates.is_empty() {
        lines.push(fitted("certs", certificates(status, look), width, look));
    }
    lines.push(fitted("sessions", gauges(status), width, look));
    lines.push(fitted("transport", counts(&status.by_transport, &TRANSPORTS, |_| Style::default()), width, look));
    lines.push(fitted("quality", counts(&status.by_quality, &QUALITIES, |name| look.quality(name)), width, look));
    lines.push(fitted("latency", latency(status), width, look));
    flows(live, look, room, &mut lines);
    lines
}

fn title(model: &Model, now: Duration, look: Look, width: usize) -> Line<'static> {
    let status = &model.shown().status;
    let known = |name: &str, value: Option<String>| value.map(|value| format!("  {name}{value}")).unwrap_or_default();
    let left = format!(
        " tidegate {}{}{}",
        status.node.as_deref().unwrap_or(UNKNOWN),
        known("", status.version.clone()),
        known("up ", status.uptime.map(span)),
    );
    let state = match model.lost() {
        Some((_, since)) => format!("LOST {}", span(now.saturating_sub(*since).as_secs())),
        None if model.is_paused() => "PAUSED".to_owned(),
        None => "live".to_owned(),
    };
    let right = format!("{}  {state} ", model.url);
    let between = width.saturating_sub(width_of(&left) + width_of(&right));
    // The state is in sight also where the names are long.
    let line = match between {
        0 => format!("{left}  {state} "),
        _ => format!("{left}{}{right}", " ".repeat(between)),
    };
    Line::from(line).style(look.bar())
}

fn service(status: &Status, look: Look) -> Line<'static> {
    let url = status.service.url.as_ref().map(|url| format!("{url}{DOT}")).unwrap_or_default();
    Line::from(vec![label("service", look), Span::raw(url), standing(&status.service, status.now(), look)])
}

/// The last reload, and Redis.
fn surroundings(status: &Status, look: Look) -> Line<'static> {
    let reloaded = status.reloaded_at.and_then(|at| Some(status.now()?.saturating_sub(at)));
    let ago = reloaded.map(|ago| format!(", {} ago", span(ago))).unwrap_or_default();
    let loaded = match status.reload_ok {
        Some(true) => Span::styled(format!("loaded{ago}"), look.good()),
        Some(false) => Span::styled(format!("NOT LOADED{DOT}the last one{ago}"), look.bad()),
        None => Span::raw(UNKNOWN),
    };
    let redis = match &status.redis {
        Some(redis) => standing(redis, status.now(), look),
        None => Span::raw("none"),
    };
    Line::from(vec![label("config", look), loaded, Span::raw(format!("{DOT}redis ")), redis])
}

/// `up for 2h 5m`, `DOWN for 12s, refused`.
fn standing(peer: &Peer, now: Option<u64>, look: Look) -> Span<'static> {
    let since = peer.since.and_then(|since| Some(now?.saturating_sub(since)));
    let lasts = since.map(|since| format!(" for {}", span(since))).unwrap_or_default();
    let why = peer.why.as_ref().map(|why| format!(", {why}")).unwrap_or_default();
    match peer.up {
        Some(true) => Span::styled(format!("up{lasts}"), look.good()),
        Some(false) => Span::styled(format!("DOWN{lasts}{why}"), look.bad()),
        None => Span::raw("not asked yet"),
    }
}

fn certificates(status: &Status, look: Look) -> Vec<Span<'static>> {
    let now = status.now();
    let told = status.certificates.iter().map(|(name, end)| match (end, now) {
        (Some(end), Some(now)) if *end <= now => Span::styled(format!("{name} EXPIRED"), look.bad()),
        (Some(end), Some(now)) => {
            let left = end - now;
            let style = if left < EXPIRES_SOON { look.fair() } else { Style::default() };
            let soon = if left < EXPIRES_SOON { ", soon" } else { "" };
            Span::styled(format!("{name} ends in {}{soon}", span(left)), style)
        }
        _ => Span::raw(name.clone()),
    });
    told.collect()
}

fn gauges(status: &Status) -> Vec<Span<'static>> {
    let all = [("open", status.open), ("active", status.active), ("held", status.held), ("absent", status.absent)];
    all.map(|(name, number)| Span::raw(format!("{} {name}", count_or_unknown(number)))).into()
}

/// And memory, which has no line of its own.
fn latency(status: &Status) -> Vec<Span<'static>> {
    let all = [("p50", status.p50), ("p95", status.p95), ("p99", status.p99)];
    let known = |number: Option<f64>| number.map(|number| format!("{} ms", millis(number)));
    let mut items: Vec<_> = all
        .into_iter()
        .map(|(name, number)| Span::raw(format!("{name} {}", known(number).unwrap_or_else(|| UNKNOWN.to_owned()))))
        .collect();
    if let Some(used) = status.memory_used {
        let limit = status.memory_limit.map(|limit| format!(" of {}", bytes(limit))).unwrap_or_default();
        items.push(Span::raw(format!("memory {}{limit}", bytes(used))));
    }
    items
}

/// The counts of these names, and those that have other names.
fn counts(counts: &[(String, u64)], names: &[&str], style: impl Fn(&str) -> Style) -> Vec<Span<'static>> {
    let of = |name: &str| counts.iter().find(|(of, _)| of == name).map(|(_, count)| *count);
    let first = names.iter().map(|name| (*name, of(name)));
    let others =
        counts.iter().filter(|(name, _)| !names.contains(&&**name)).map(|(name, count)| (&**name, Some(*count)));
    let told = first.chain(others).map(|(name, number)| {
        let style = if number.unwrap_or_default() > 0 { style(name) } else { Style::default() };
        Span::styled(format!("{name} {}", count_or_unknown(number)), style)
    });
    told.collect()
}

/// The rates with their graphs, and what was refused.
fn flows(live: &Live, look: Look, room: &Room, lines: &mut Vec<Line<'static>>) {
    let flows = &live.flows;
    let high = if room.tall && room.graphs { 2 } else { 1 };
    lines.extend(graph("received", &flows.received, high, look, room));
    lines.extend(graph("sent", &flows.sent, high, look, room));
    lines.extend(graph("connected", &flows.connections, 1, look, room));
    lines.extend(graph("refused", &flows.refused, 1, look, room));
    let refusals = live.refusals();
    let told = refusals.iter().map(|(reason, number, rate)| {
        let now = if *rate > 0.0 { format!(" (+{}/s)", short(*rate)) } else { String::new() };
        let style = if *rate > 0.0 { look.fair() } else { Style::default() };
        Span::styled(format!("{reason} {}{now}", count(*number)), style)
    });
    lines.push(fitted("  reasons", told.collect(), room.width, look));
    if room.tall {
        let totals = &live.status.totals;
        lines.extend(graph("ended", &flows.disconnected, 1, look, room));
        lines.push(fitted("  reasons", most(&totals.disconnected), room.width, look));
        lines.extend(graph("errors", &flows.errors, 1, look, room));
        lines.push(fitted("  kinds", most(&totals.errors), room.width, look));
    }
}

/// The largest first, without those that did not happen.
fn most(counts: &[(String, u64)]) -> Vec<Span<'static>> {
    let mut sorted: Vec<_> = counts.iter().filter(|(_, count)| *count > 0).collect();
    sorted.sort_by(|(a, a_count), (b, b_count)| b_count.cmp(a_count).then(a.cmp(b)));
    sorted.into_iter().map(|(name, number)| Span::raw(format!("{name} {}", count(*number)))).collect()
}

/// A rate, and its last two minutes, the latest at the right, `high` rows high. The highest column is the peak.
fn graph(name: &str, flow: &Flow, high: usize, look: Look, room: &Room) -> Vec<Line<'static>> {
    let rate = Span::styled(format!("{:>RATE$}/s ", short_or_unknown(flow.rate)), look.strong());
    if !room.graphs {
        return vec![Line::from(vec![label(name, look), rate])];
    }
    let width = room.width.saturating_sub(LABEL + RATE + 4 + PEAK).min(SECONDS);
    let columns = flow.history.columns(width);
    let peak = columns.iter().flatten().copied().fold(0.0, f64::max);
    let begin = " ".repeat(width.saturating_sub(columns.len()));
    let cells = |row: usize| columns.iter().map(|value| level(*value, peak, row, high)).collect::<String>();
    let line = |row: usize| {
        let graph = Span::styled(format!("{begin}{}", cells(row)), look.graph());
        match row {
            0 => Line::from(vec![label(name, look), rate.clone(), graph, Span::raw(format!(" peak {}", short(peak)))]),
            _ => Line::from(vec![label("", look), Span::raw(" ".repeat(RATE + 3)), graph]),
        }
    };
    (0..high).rev().map(line).collect()
}

/// One cell of a column, `row` rows above the lowest. A sample that is not zero is seen, and a gap is empty.
fn level(value: Option<f64>, top: f64, row: usize, high: usize) -> &'static str {
    let Some(value) = value.filter(|value| *value > 0.0 && top > 0.0) else { return LEVELS[0] };
    let eighths = (value / top * (8 * high) as f64).ceil().max(1.0) - (8 * row) as f64;
    LEVELS[eighths.clamp(0.0, 8.0) as usize]
}

/// A line of as many as fit, and how many do not.
fn fitted(name: &str, items: Vec<Span<'static>>, width: usize, look: Look) -> Line<'static> {
    let mut spans = vec![label(name, look)];
    if items.is_empty() {
        spans.push(Span::raw("none"));
    }
    let (mut used, all) = (LABEL, items.len());
    for (place, item) in items.into_iter().enumerate() {
        let dot = if place == 0 { "" } else { DOT };
        // Room for ` · 12 more` unless it is the last.
        let reserve = if place + 1 == all { 0 } else { 10 };
        let needs = width_of(dot) + item.width();
        if used + needs + reserve > width && place > 0 {
            spans.push(Span::raw(format!("{DOT}{} more", all - place)));
            break;
        }
        used += needs;
        spans.extend([Span::raw(dot), item]);
    }
    Line::from(spans)
}

fn label(name: &str, look: Look) -> Span<'static> {
    Span::styled(format!("{name:<LABEL$}"), look.label())
}
