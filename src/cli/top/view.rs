//! Draws a model into a buffer of cells.

use std::time::Duration;

use super::{
    head,
    look::Look,
    model::Model,
    table,
    text::{count, span, width_of},
};
use ratatui_core::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

/// From this height on the graphs are higher, and more is said.
const TALL: u16 = 32;
/// Sessions that `--once` prints at most.
const ROWS_ONCE: u16 = 20;

/// As many as fit, from the left.
const KEYS: [&str; 8] =
    ["? help", "q quit", "s sort", "/ search", "p pause", "r reverse", "↑ ↓ scroll", "PgUp PgDn page"];
const HELP: [(&str, &str); 9] = [
    ("q, Ctrl-C", "quit"),
    ("s", "sort by another column: received, rtt, waiting, refused, age, user, id"),
    ("r", "reverse the order"),
    ("/", "search in users, peers and namespaces: Enter searches, Esc leaves"),
    ("Esc", "leave the help, then the search"),
    ("p, space", "hold the picture; figures are collected meanwhile"),
    ("↑ ↓ k j", "scroll by one session"),
    ("PgUp PgDn", "scroll by one page; Home and End to the first and the last"),
    ("?, h", "this help"),
];

/// Draws all of it at `now`, counted from the begin that [`Model::hear`] counts from.
pub(super) fn draw(model: &Model, now: Duration, look: Look, buffer: &mut Buffer) {
    let area = buffer.area;
    let head = head(model, now, look, area);
    let mut at = put(buffer, area.top(), area.bottom().saturating_sub(1), &head);
    let lower = area.bottom().saturating_sub(1);
    if at < lower && model.help {
        put(buffer, at, lower, &help(look));
    } else if at < lower {
        at = put(buffer, at, lower, &[titles(model, area.width, look)]);
        let sessions = rows(model, area.width, look, (lower - at).into());
        put(buffer, at, lower, &sessions);
    }
    if let Some(row) = area.bottom().checked_sub(1).filter(|row| *row >= area.top()) {
        put(buffer, row, area.bottom(), &[foot(model, now, look, area.width.into())]);
    }
}

/// How many sessions fit.
pub(super) fn rows_for_sessions(model: &Model, area: Rect) -> usize {
    let head = head(model, Duration::ZERO, Look { colour: false }, area).len();
    usize::from(area.height).saturating_sub(head + 2)
}

/// The same as text, for programs and for files: all that is known, and the first sessions.
pub(super) fn plain(model: &Model, width: u16) -> String {
    let look = Look { colour: false };
    let room = head::Room { width: width.into(), tall: true, graphs: false };
    let mut lines = head::lines(model, Duration::ZERO, look, &room);
    lines.push(titles(model, width, look));
    lines.extend(rows(model, width, look, ROWS_ONCE.into()));
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    put(&mut buffer, 0, height, &lines);
    as_text(&buffer)
}

/// The lines of a buffer, without the spaces at their ends.
pub(super) fn as_text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for row in buffer.area.top()..buffer.area.bottom() {
        let mut column = buffer.area.left();
        while column < buffer.area.right() {
            let symbol = buffer[(column, row)].symbol();
            text.push_str(symbol);
            // A wide character has more than one cell.
            column += u16::try_from(width_of(symbol).max(1)).unwrap_or(1);
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    text
}

fn head(model: &Model, now: Duration, look: Look, area: Rect) -> Vec<Line<'static>> {
    let room = head::Room { width: area.width.into(), tall: area.height >= TALL, graphs: true };
    head::lines(model, now, look, &room)
}

/// Puts lines below one another from row `at` on, as many as are above row `end`. Returns the row behind them.
fn put(buffer: &mut Buffer, at: u16, end: u16, lines: &[Line<'_>]) -> u16 {
    let area = buffer.area;
    let mut row = at;
    for line in lines.iter().take(end.saturating_sub(at).into()) {
        buffer.set_style(Rect::new(area.left(), row, area.width, 1), line.style);
        buffer.set_line(area.left(), row, line, area.width);
        row += 1;
    }
    row
}

/// The line over the sessions.
fn titles(model: &Model, width: u16, look: Look) -> Line<'static> {
    let mark = if model.descending() { "▼" } else { "▲" };
    let cells = table::columns(width.into(), model.sort).into_iter().map(|(column, width)| {
        let sorted = column.is_of(model.sort);
        let title = match sorted {
            true if column.title.len() < width => format!("{mark}{}", column.title),
            _ => column.title.to_owned(),
        };
        cell(&title, width, column.figures, if sorted { look.strong() } else { Style::default() })
    });
    Line::from(spaced(cells)).style(look.bar())
}

fn rows(model: &Model, width: u16, look: Look, count: usize) -> Vec<Line<'static>> {
    let live = model.shown();
    let columns = table::columns(width.into(), model.sort);
    let shown = live.sessions.rows.iter().skip(model.scrolled()).take(count);
    let lines: Vec<_> = shown
        .map(|session| {
            let cells = columns.iter().map(|(column, width)| {
                let text = (column.cell)(live, session);
                let style = if column.title == "QUALITY" { look.quality(&text) } else { Style::default() };
                cell(&text, *width, column.figures, style)
            });
            Line::from(spaced(cells))
        })
        .collect();
    if !lines.is_empty() {
        return lines;
    }
    let none = match &*model.search {
        "" => "no session is open".to_owned(),
        search => format!("no session has {search:?} in its user, peer or namespaces"),
    };
    vec![Line::from(none)]
}

fn spaced(cells: impl Iterator<Item = Span<'static>>) -> Vec<Span<'static>> {
    let mut spans: Vec<_> = cells.flat_map(|cell| [cell, Span::raw(" ")]).collect();
    spans.pop();
    spans
}

/// Text of exactly this width, cut with an ellipsis.
fn cell(text: &str, width: usize, right: bool, style: Style) -> Span<'static> {
    let mut text = text.to_owned();
    if width_of(&text) > width {
        while width_of(&text) + 1 > width && text.pop().is_some() {}
        text.push('…');
    }
    let space = " ".repeat(width.saturating_sub(width_of(&text)));
    Span::styled(if right { space + &text } else { text + &space }, style)
}

fn foot(model: &Model, now: Duration, look: Look, width: usize) -> Line<'static> {
    if let Some(typed) = &model.typed {
        return Line::from(vec![
            Span::styled(format!(" search: {typed}_"), look.strong()),
            Span::raw("   Enter searches, Esc leaves"),
        ]);
    }
    if let Some((why, since)) = model.lost() {
        let lasts = span(now.saturating_sub(*since).as_secs());
        return Line::styled(format!(" lost for {lasts}, asking again: {why}"), look.bad());
    }
    let place = place(model);
    let room = width.saturating_sub(width_of(&place) + 2);
    let mut keys = String::new();
    for key in KEYS {
        if width_of(&keys) + width_of(key) + 2 <= room {
            keys = format!("{keys} {key} ");
        }
    }
    Line::from(vec![cell(&keys, room, false, Style::default()), Span::styled(format!(" {place}"), look.strong())])
}

/// Which of the sessions are in sight, in which order.
fn place(model: &Model) -> String {
    let sessions = &model.shown().sessions;
    let all = sessions.rows.len() as u64;
    let first = model.scrolled() as u64 + u64::from(all > 0);
    let last = all.min(first + (model.rows() as u64).saturating_sub(1));
    let found = if model.search.is_empty() { String::new() } else { format!(" with {:?}", model.search) };
    let order = if model.descending() { "▼" } else { "▲" };
    let total = count(sessions.total.unwrap_or(all));
    format!("{}–{} of {total}{found} by {} {order}", count(first), count(last), model.sort.name())
}

fn help(look: Look) -> Vec<Line<'static>> {
    let keys = HELP.iter().map(|(key, meaning)| {
        Line::from(vec![Span::styled(format!(" {key:<10}"), look.strong()), Span::raw(*meaning)])
    });
    [Line::from(" Keys").style(look.bar())].into_iter().chain(keys).collect()
}

#[cfg(test)]
mod tests;
