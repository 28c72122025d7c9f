//! Which sessions `/sessions` shows, and in which order: each worker finds its best in slices.

use std::{cmp::Reverse, collections::BinaryHeap, fmt::Write as _, sync::Arc};

use crate::session::view::View;

/// By what sessions are ordered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// The number of the session.
    #[default]
    Id,
    /// The name of the user.
    User,
    /// The time since it opened.
    Age,
    /// The last heartbeat's round trip.
    Rtt,
    /// Packets from the client.
    Received,
    /// Packets of the client that were refused.
    Refused,
    /// Packets of the client that wait for the service.
    Waiting,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The order; sessions that have no such value are last.
    pub sort: Sort,
    /// The largest first.
    pub descending: bool,
    /// What a user, the peer or a namespace must have in it.
    pub search: Search,
    /// Only ids above this are listed; all count.
    pub after: u64,
    /// So many of the best are left out.
    pub skip: usize,
    /// So many are listed.
    pub limit: usize,
}

impl Query {
    /// Does every session match, and are they wanted in the order in which a worker has them?
    fn is_plain(&self) -> bool {
        self.sort == Sort::Id && !self.descending && self.search.0.is_empty()
    }
}

/// A text to look for. The case of ASCII letters does not matter; an empty one is everywhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search(Box<str>);

impl Search {
    /// For this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    fn is_in(&self, text: &str) -> bool {
        let wanted = self.0.as_bytes();
        wanted.is_empty() || text.as_bytes().windows(wanted.len()).any(|part| part.eq_ignore_ascii_case(wanted))
    }

    /// Whether it is in a user, the peer or a namespace of this session. `peer` is room to write in.
    #[must_use]
    pub fn finds(&self, view: View<'_>, peer: &mut String) -> bool {
        if self.0.is_empty() {
            return true;
        }
        peer.clear();
        let _ = write!(peer, "{}", view.peer());
        self.is_in(peer) || view.is_known_by(|name| self.is_in(name))
    }
}

/// By what one session is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Such a number.
    Number(u64),
    /// Such a text.
    Text(&'a str),
    /// The session has no such value.
    Missing,
}

/// The same, so that the first to be shown is the least.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(u64),
    Text(Box<str>),
    Descending(Reverse<Box<str>>),
    Missing,
}

impl Key {
    fn of(value: Value<'_>, descending: bool) -> Self {
        match (value, descending) {
            (Value::Number(number), false) => Self::Number(number),
            (Value::Number(number), true) => Self::Number(u64::MAX - number),
            (Value::Text(text), false) => Self::Text(text.into()),
            (Value::Text(text), true) => Self::Descending(Reverse(text.into())),
            (Value::Missing, _) => Self::Missing,
        }
    }
}

/// A session by its place; of equal ones the older is first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ranked {
    key: Key,
    id: u64,
}

/// What one worker has found so far. It goes to the worker and back for each slice, so that sessions have their turns
/// in between.
#[derive(Debug)]
pub struct Scan {
    query: Arc<Query>,
    /// Sessions up to this one were looked at.
    seen: u64,
    matching: usize,
    /// The worst is at the top, and leaves first.
    best: BinaryHeap<Ranked>,
    done: bool,
}

impl Scan {
    /// Nothing was looked at.
    #[must_use]
    pub fn new(query: Arc<Query>) -> Self {
        // Where all match, those before need not be looked at to be counted.
        let seen = if query.is_plain() { query.after } else { 0 };
        Self { query, seen, matching: 0, best: BinaryHeap::new(), done: false }
    }

    /// What is asked for.
    #[must_use]
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// Where all sessions match and come in order: so many more are wanted.
    #[must_use]
    pub fn plain(&self) -> Option<usize> {
        self.query.is_plain().then(|| self.most().saturating_sub(self.best.len()))
    }

    /// Only sessions above this are to be looked at.
    #[must_use]
    pub const fn seen(&self) -> u64 {
        self.seen
    }

    /// This session was looked at.
    pub const fn saw(&mut self, id: u64) {
        self.seen = id;
    }

    /// So many more match.
    pub const fn count(&mut self, matching: usize) {
        self.matching += matching;
    }

    /// A session that matches is among the best, or is not.
    pub fn offer(&mut self, id: u64, value: Value<'_>) {
        if id <= self.query.after {
            return;
        }
        self.best.push(Ranked { key: Key::of(value, self.query.descending), id });
        if self.best.len() > self.most() {
            self.best.pop();
        }
    }

    /// No session is left.
    pub const fn end(&mut self) {
        self.done = true;
    }

    /// Was every session looked at?
    #[must_use]
    pub const fn is_done(&self) -> bool {
        self.done
    }

    fn most(&self) -> usize {
        self.query.skip.saturating_add(self.query.limit)
    }
}

/// What all workers have found.
#[derive(Debug, Default)]
pub struct Matches {
    best: Vec<Ranked>,
    /// So many match.
    pub total: usize,
}

impl Matches {
    /// One worker is done.
    pub fn add(&mut self, scan: Scan) {
        self.total += scan.matching;
        self.best.extend(scan.best);
    }

    /// The sessions that are listed, in order.
    #[must_use]
    pub fn ids(mut self, query: &Query) -> Vec<u64> {
        self.best.sort_unstable();
        self.best.iter().skip(query.skip).take(query.limit).map(|ranked| ranked.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(sort: Sort, descending: bool, skip: usize, limit: usize) -> Query {
        Query { sort, descending, search: Search::default(), after: 0, skip, limit }
    }

    /// What is listed of these sessions on two workers.
    fn listed(query: Query, sessions: &[(u64, Value<'_>)]) -> (Vec<u64>, usize) {
        let query = Arc::new(query);
        let mut found = Matches::default();
        for worker in 0..2 {
            let mut scan = Scan::new(Arc::clone(&query));
            for (id, value) in sessions.iter().filter(|(id, _)| id % 2 == worker) {
                scan.count(1);
                scan.offer(*id, *value);
                assert!(scan.best.len() <= query.skip + query.limit, "no more is kept than is wanted");
            }
            found.add(scan);
        }
        let total = found.total;
        (found.ids(&query), total)
    }

    #[test]
    fn the_best_of_all_workers_are_listed_and_those_without_a_value_are_last() {
        use Value::{Missing, Number};
        let sessions = [(1, Number(30)), (2, Missing), (3, Number(10)), (4, Number(20)), (5, Missing), (6, Number(20))];
        for (descending, skip, limit, expected) in [
            (false, 0, 3, &[3, 4, 6][..]),
            (false, 3, 3, &[1, 2, 5]),
            (true, 0, 3, &[1, 4, 6]),
            (true, 3, 2, &[3, 2]),
            (true, 6, 2, &[]),
        ] {
            let listed = listed(query(Sort::Rtt, descending, skip, limit), &sessions);
            assert_eq!(listed, (expected.to_vec(), 6), "descending {descending}, {skip} left out");
        }
    }

    #[test]
    fn texts_are_ordered_both_ways() {
        use Value::{Missing, Text};
        let sessions = [(1, Text("bob")), (2, Text("ada")), (3, Missing), (4, Text("eve"))];
        assert_eq!(listed(query(Sort::User, false, 0, 9), &sessions).0, [2, 1, 4, 3]);
        assert_eq!(listed(query(Sort::User, true, 0, 9), &sessions).0, [4, 1, 2, 3]);
    }

    #[test]
    fn a_page_begins_behind_the_id_of_the_one_before_and_the_total_stays() {
        let sessions = [1, 2, 3, 4].map(|id| (id, Value::Number(id)));
        let query = Query { after: 2, ..query(Sort::Id, false, 0, 1) };
        assert_eq!(listed(query, &sessions), (vec![3], 4));
    }

    #[test]
    fn a_search_ignores_the_case_of_letters() {
        for (wanted, text, found) in [
            ("", "", true),
            ("", "ada", true),
            ("ADA", "lady ada", true),
            ("ada", "ad", false),
            ("127.0", "127.0.0.1", true),
            ("ÄDA", "äda", false),
            ("ä", "äda", true),
        ] {
            assert_eq!(Search::new(wanted).is_in(text), found, "{wanted} in {text}");
        }
    }
}
