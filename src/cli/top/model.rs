//! What the screen shows: made of the answers of the node and of keys, without a clock, a socket or a terminal.

use std::{collections::HashMap, time::Duration};

use super::{
    answers::{Session, Sessions, Status, Totals},
    history::History,
    key::Key,
    query::{LIMIT_MAX, Query, Sort},
};

/// Two answers that are closer than this give no rate: a key asks for another page at any time.
const RATE_OVER: Duration = Duration::from_millis(900);
/// The longest text that is searched for.
const SEARCH_MAX: usize = 64;

/// Everything.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    /// Where the node is asked.
    pub(super) url: String,
    live: Live,
    /// What was shown when the display was paused; `live` goes on.
    frozen: Option<Box<Live>>,
    pub(super) sort: Sort,
    /// Is the order the other one than that of [`Sort::descends`]?
    reversed: bool,
    /// Only sessions with this text.
    pub(super) search: String,
    /// What is being typed for `search`.
    pub(super) typed: Option<String>,
    pub(super) help: bool,
    /// How many sessions are above the first one that is shown.
    scrolled: usize,
    /// How many sessions fit the screen.
    rows: usize,
}

/// What comes from the node.
#[derive(Debug, Clone, Default)]
pub(super) struct Live {
    pub(super) status: Status,
    pub(super) sessions: Sessions,
    pub(super) flows: Flows,
    /// Packets a second from and to a session, by its id.
    session_rates: HashMap<u64, (Option<f64>, Option<f64>)>,
    /// Refusals a second by reason.
    refused_rates: HashMap<String, f64>,
    /// Why the node is not heard, and since when.
    pub(super) lost: Option<(String, Duration)>,
    /// What rates are computed from.
    base: Option<Base>,
}

/// What is shown as rates.
#[derive(Debug, Clone, Default)]
pub(super) struct Flows {
    pub(super) received: Flow,
    pub(super) sent: Flow,
    pub(super) connections: Flow,
    pub(super) refused: Flow,
    pub(super) disconnected: Flow,
    pub(super) errors: Flow,
}

/// A rate each second, now and before.
#[derive(Debug, Clone, Default)]
pub(super) struct Flow {
    /// `None`: there was one answer only, or the node has been started again.
    pub(super) rate: Option<f64>,
    pub(super) history: History,
}

/// An earlier answer.
#[derive(Debug, Clone)]
struct Base {
    at: Duration,
    status: Status,
    /// Packets from and to each session that was shown.
    packets: HashMap<u64, (Option<u64>, Option<u64>)>,
}

/// One answer of the node.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    pub(super) status: Status,
    pub(super) sessions: Sessions,
}

/// What a key asks for beside another display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing.
    Nothing,
    /// The end.
    Quit,
}

impl Model {
    pub(super) fn new(url: &str) -> Self {
        Self { url: url.to_owned(), rows: 10, ..Self::default() }
    }

    /// What is to be shown.
    pub(super) fn shown(&self) -> &Live {
        self.frozen.as_deref().unwrap_or(&self.live)
    }

    pub(super) const fn is_paused(&self) -> bool {
        self.frozen.is_some()
    }

    /// Whether the connection is lost now, also where the display is paused.
    pub(super) const fn lost(&self) -> Option<&(String, Duration)> {
        self.live.lost.as_ref()
    }

    /// The screen has this many rows for sessions.
    pub(super) fn resized(&mut self, rows: usize) {
        self.rows = rows;
    }

    /// How many sessions are in sight.
    pub(super) const fn rows(&self) -> usize {
        self.rows
    }

    /// The node has answered at `at`, counted from any begin.
    pub(super) fn hear(&mut self, reading: Reading, at: Duration) {
        self.live.hear(reading, at);
        self.scroll_to(self.scrolled);
    }

    /// The node did not answer, for this reason.
    pub(super) fn lose(&mut self, why: String, at: Duration) {
        self.live.lose(why, at);
    }

    /// How many sessions are above those that are shown.
    pub(super) fn scrolled(&self) -> usize {
        self.scrolled.min(self.shown().sessions.rows.len())
    }

    pub(super) const fn descending(&self) -> bool {
        self.sort.descends() != self.reversed
    }

    /// What the node is to be asked for.
    pub(super) fn query(&self) -> Query {
        let needed = (self.scrolled + 2 * self.rows).next_multiple_of(50);
        let limit = needed.clamp(50, LIMIT_MAX);
        Query { sort: self.sort, descending: self.descending(), search: self.search.clone(), limit }
    }

    /// A key was pressed.
    pub(super) fn press(&mut self, key: Key) -> Wish {
        match (key, &mut self.typed) {
            (Key::Interrupt, _) => return Wish::Quit,
            (key, Some(_)) => self.edit(key),
            (Key::Char('q'), None) => return Wish::Quit,
            (Key::Escape, None) => self.step_back(),
            (Key::Char('s'), None) => {
                (self.sort, self.reversed) = (self.sort.next(), false);
                self.ask_anew();
            }
            (Key::Char('r'), None) => {
                self.reversed = !self.reversed;
                self.ask_anew();
            }
            (Key::Char('/'), None) => self.typed = Some(self.search.clone()),
            (Key::Char('p' | ' '), None) => {
                self.frozen = if self.frozen.is_some() { None } else { Some(Box::new(self.live.clone())) };
            }
            (Key::Char('?' | 'h'), None) => self.help = !self.help,
            (key, None) => self.scroll(key),
        }
        Wish::Nothing
    }

    /// Other sessions are wanted than those in sight, from the first on; a pause would hide them.
    fn ask_anew(&mut self) {
        (self.frozen, self.scrolled) = (None, 0);
    }

    /// Leaves what was entered last: the help, then the search.
    fn step_back(&mut self) {
        if self.help {
            self.help = false;
        } else {
            self.search.clear();
            self.ask_anew();
        }
    }

    fn edit(&mut self, key: Key) {
        let Some(typed) = &mut self.typed else { return };
        match key {
            Key::Char(c) if typed.chars().count() < SEARCH_MAX => typed.push(c),
            Key::Backspace => drop(typed.pop()),
            Key::Enter => {
                self.search = self.typed.take().unwrap_or_default().trim().to_owned();
                self.ask_anew();
            }
            Key::Escape => self.typed = None,
            _ => {}
        }
    }

    fn scroll(&mut self, key: Key) {
        let page = self.rows.max(1);
        let place = match key {
            Key::Up | Key::Char('k') => self.scrolled.saturating_sub(1),
            Key::Down | Key::Char('j') => self.scrolled + 1,
            Key::PageUp => self.scrolled.saturating_sub(page),
            Key::PageDown => self.scrolled + page,
            Key::Home | Key::Char('g') => 0,
            Key::End | Key::Char('G') => usize::MAX,
            _ => return,
        };
        self.scroll_to(place);
    }

    /// The last session stays at the lower edge.
    fn scroll_to(&mut self, place: usize) {
        let there = self.shown().sessions.rows.len();
        self.scrolled = place.min(there.saturating_sub(self.rows));
    }
}

impl Live {
    /// Packets a second from and to this session.
    pub(super) fn rates_of(&self, session: &Session) -> (Option<f64>, Option<f64>) {
        self.session_rates.get(&session.id).copied().unwrap_or_default()
    }

    /// Refusals by reason with their rate; those that happen now first, then those that were most.
    pub(super) fn refusals(&self) -> Vec<(&str, u64, f64)> {
        let rate = |reason: &str| self.refused_rates.get(reason).copied().unwrap_or_default();
        let refused = self.status.totals.refused.iter().filter(|(_, count)| *count > 0);
        let mut refused: Vec<_> = refused.map(|(reason, count)| (&**reason, *count, rate(reason))).collect();
        refused.sort_by(|(a, a_count, a_rate), (b, b_count, b_rate)| {
            b_rate.total_cmp(a_rate).then(b_count.cmp(a_count)).then(a.cmp(b))
        });
        refused
    }

    fn hear(&mut self, reading: Reading, at: Duration) {
        self.lost = None;
        let Reading { status, sessions } = reading;
        let base = self.base.take().filter(|base| base.status.started_at == status.started_at);
        match base {
            Some(base) if at.saturating_sub(base.at) < RATE_OVER => self.base = Some(base),
            base => {
                self.flow(base.as_ref(), &status, &sessions, at);
                let packets = sessions.rows.iter().map(|row| (row.id, (row.received, row.sent))).collect();
                self.base = Some(Base { at, status: status.clone(), packets });
            }
        }
        (self.status, self.sessions) = (status, sessions);
    }

    /// Computes all rates.
    fn flow(&mut self, base: Option<&Base>, status: &Status, sessions: &Sessions, at: Duration) {
        let seconds = base.map_or(1.0, |base| at.saturating_sub(base.at).as_secs_f64());
        let rate = |now: Option<u64>, before: Option<u64>| per_second(now?.checked_sub(before?)?, seconds);
        let before = base.map(|base| &base.status.totals);
        let now = &status.totals;
        let of = |pick: fn(&Totals) -> Option<u64>| rate(pick(now), before.and_then(pick));
        self.flows.received.push(of(|totals| totals.received));
        self.flows.sent.push(of(|totals| totals.sent));
        self.flows.connections.push(of(|totals| totals.connections));
        self.flows.refused.push(of(|totals| Some(sum(&totals.refused))));
        self.flows.disconnected.push(of(|totals| Some(sum(&totals.disconnected))));
        self.flows.errors.push(of(|totals| Some(sum(&totals.errors))));

        // A reason that was not there has not happened.
        let earlier = |reason: &str| before.map(|before| count_of(&before.refused, reason));
        let by_reason = now.refused.iter();
        self.refused_rates = by_reason
            .filter_map(|(reason, count)| Some((reason.clone(), rate(Some(*count), earlier(reason))?)))
            .collect();
        let rows = sessions.rows.iter();
        self.session_rates = rows
            .filter_map(|row| {
                let (received, sent) = base?.packets.get(&row.id)?;
                Some((row.id, (rate(row.received, *received), rate(row.sent, *sent))))
            })
            .collect();
    }

    fn lose(&mut self, why: String, at: Duration) {
        let since = self.lost.take().map_or(at, |(_, since)| since);
        self.lost = Some((why, since));
        let Flows { received, sent, connections, refused, disconnected, errors } = &mut self.flows;
        for flow in [received, sent, connections, refused, disconnected, errors] {
            flow.push(None);
        }
        self.session_rates.clear();
        self.refused_rates.clear();
        // What happened meanwhile did not happen in one second.
        self.base = None;
    }
}

impl Flow {
    fn push(&mut self, rate: Option<f64>) {
        self.rate = rate;
        self.history.push(rate);
    }
}

fn per_second(count: u64, seconds: f64) -> Option<f64> {
    (seconds > 0.0).then(|| count as f64 / seconds)
}

fn sum(counts: &[(String, u64)]) -> u64 {
    counts.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

fn count_of(counts: &[(String, u64)], name: &str) -> u64 {
    counts.iter().find(|(of, _)| of == name).map_or(0, |(_, count)| *count)
}

#[cfg(test)]
mod tests;
