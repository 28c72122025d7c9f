//! The table of sessions: which columns fit a width, and what is in them.

use super::{
    answers::Session,
    model::Live,
    query::Sort,
    text::{UNKNOWN, count, millis, short_or_unknown, short_span, short_whole},
};

/// A column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// The least it needs.
    width: usize,
    /// The most it makes use of.
    width_max: usize,
    /// Are figures in it, which end at one line?
    pub(super) figures: bool,
    /// Less important ones give way first.
    rank: u8,
    /// The order that is by this column.
    sort: Option<Sort>,
    pub(super) cell: fn(&Live, &Session) -> String,
}

/// From left to right.
static COLUMNS: [Column; 14] = [
    Column::text("USER", 10, 40, 0, user).by(Sort::User),
    Column::text("PEER", 15, 39, 0, |_, session| or_unknown(session.peer.as_deref())),
    Column::text("VIA", 6, 6, 1, via),
    Column::text("QUALITY", 9, 9, 1, |_, session| session.quality.clone().unwrap_or_else(|| "unknown".to_owned())),
    Column::figures("RTT ms", 7, 0, |_, session| session.rtt.map_or_else(|| UNKNOWN.to_owned(), millis)).by(Sort::Rtt),
    Column::figures("JITTER", 6, 4, |_, session| session.jitter.map_or_else(|| UNKNOWN.to_owned(), millis)),
    Column::figures("LOSS %", 6, 4, |_, session| session.loss.map_or_else(|| UNKNOWN.to_owned(), millis)),
    Column::figures("IN/s", 5, 0, |live, session| short_or_unknown(live.rates_of(session).0)),
    Column::figures("OUT/s", 5, 0, |live, session| short_or_unknown(live.rates_of(session).1)),
    Column::figures("RECV", 5, 2, |_, session| brief(session.received)).by(Sort::Received),
    Column::figures("REFUSED", 8, 3, |_, session| brief(session.refused)).by(Sort::Refused),
    Column::figures("WAIT", 5, 1, |_, session| brief(session.waiting)).by(Sort::Waiting),
    Column::figures("AGE", 4, 0, |_, session| session.age.map_or_else(|| UNKNOWN.to_owned(), short_span)).by(Sort::Age),
    Column::figures("ID", 9, 5, |_, session| session.id.to_string()).by(Sort::Id),
];

impl Column {
    const fn text(title: &'static str, width: usize, width_max: usize, rank: u8, cell: Cell) -> Self {
        Self { title, width, width_max, figures: false, rank, sort: None, cell }
    }

    const fn figures(title: &'static str, width: usize, rank: u8, cell: Cell) -> Self {
        Self { title, width, width_max: width, figures: true, rank, sort: None, cell }
    }

    const fn by(mut self, sort: Sort) -> Self {
        self.sort = Some(sort);
        self
    }

    /// Whether it is this one that the sessions are sorted by.
    pub(super) fn is_of(&self, sort: Sort) -> bool {
        self.sort == Some(sort)
    }
}

type Cell = fn(&Live, &Session) -> String;

/// The columns that fit, each with its width. Between two of them is one space.
pub(super) fn columns(width: usize, sort: Sort) -> Vec<(&'static Column, usize)> {
    let rank = |column: &Column| if column.is_of(sort) && column.rank > 0 { 1 } else { column.rank };
    let mut by_rank: Vec<_> = COLUMNS.iter().enumerate().collect();
    by_rank.sort_by_key(|(place, column)| (rank(column), !column.is_of(sort), *place));
    let mut used = 0;
    let mut fitting: Vec<_> = by_rank
        .into_iter()
        .filter(|(_, column)| {
            let needs = used + column.width + usize::from(used > 0);
            let fits = needs <= width;
            used = if fits { needs } else { used };
            fits
        })
        .map(|(place, column)| (place, column, column.width))
        .collect();
    fitting.sort_by_key(|(place, ..)| *place);
    // What is left is shared by those that can use it, from the left.
    let mut rest = width.saturating_sub(used);
    for (_, column, width) in &mut fitting {
        let more = rest.min(column.width_max - *width);
        (*width, rest) = (*width + more, rest - more);
    }
    fitting.into_iter().map(|(_, column, width)| (column, width)).collect()
}

fn user(_: &Live, session: &Session) -> String {
    let Some(user) = &session.user else { return UNKNOWN.to_owned() };
    if session.users_beside == 0 { user.clone() } else { format!("{user} +{}", count(session.users_beside as u64)) }
}

/// In six characters.
fn via(_: &Live, session: &Session) -> String {
    let transport = or_unknown(session.transport.as_deref());
    match &*transport {
        "websocket" => "ws".to_owned(),
        "polling" => "poll".to_owned(),
        _ => transport,
    }
}

fn brief(number: Option<u64>) -> String {
    number.map_or_else(|| UNKNOWN.to_owned(), |number| short_whole(number as f64))
}

fn or_unknown(text: Option<&str>) -> String {
    text.unwrap_or(UNKNOWN).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(width: usize, sort: Sort) -> Vec<&'static str> {
        let columns = columns(width, sort);
        let used: usize = columns.iter().map(|(_, width)| width + 1).sum();
        assert!(used <= width + 1, "{width}: {columns:?}");
        columns.iter().map(|(column, _)| column.title).collect()
    }

    #[test]
    fn what_matters_less_gives_way_and_the_sorted_column_stays() {
        let all: Vec<_> = COLUMNS.iter().map(|column| column.title).collect();
        assert_eq!(titles(200, Sort::Age), all);
        let narrow = ["USER", "PEER", "VIA", "QUALITY", "RTT ms", "IN/s", "OUT/s", "RECV", "WAIT", "AGE"];
        assert_eq!(titles(80, Sort::Age), narrow);
        assert_eq!(titles(80, Sort::Received), narrow);
        assert!(titles(80, Sort::Refused).contains(&"REFUSED"));
        assert!(titles(80, Sort::Id).contains(&"ID"));
        assert_eq!(titles(20, Sort::Age), ["USER", "AGE"]);
        assert_eq!(titles(3, Sort::Age), [""; 0]);
    }

    #[test]
    fn names_take_what_is_left() {
        let width = |of: usize, title: &str| {
            columns(of, Sort::Age).into_iter().find(|(column, _)| column.title == title).map(|(_, width)| width)
        };
        assert_eq!(width(82, "USER"), Some(12));
        assert_eq!((width(300, "USER"), width(300, "PEER")), (Some(40), Some(39)));
    }
}
