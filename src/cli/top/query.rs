//! Which sessions the node is asked for.

use super::text::encoded;

/// The node gives no longer page.
pub(super) const LIMIT_MAX: usize = 1000;

/// By what sessions are sorted; the node does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Sort {
    #[default]
    Received,
    Rtt,
    Waiting,
    Refused,
    Age,
    User,
    Id,
}

impl Sort {
    pub(super) const ALL: [Self; 7] =
        [Self::Received, Self::Rtt, Self::Waiting, Self::Refused, Self::Age, Self::User, Self::Id];

    /// As the node is asked, and for people.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Rtt => "rtt",
            Self::Waiting => "waiting",
            Self::Refused => "refused",
            Self::Age => "age",
            Self::User => "user",
            Self::Id => "id",
        }
    }

    /// Whether the largest comes first unless the order is reversed.
    pub(super) const fn descends(self) -> bool {
        !matches!(self, Self::User | Self::Id)
    }

    /// The one behind it, in a ring.
    pub(super) fn next(self) -> Self {
        let place = Self::ALL.iter().position(|sort| *sort == self).unwrap_or_default();
        Self::ALL[(place + 1) % Self::ALL.len()]
    }
}

/// For the command line.
pub(super) fn by_name(name: &str) -> Result<Sort, String> {
    let names = || Sort::ALL.map(Sort::name).join(", ");
    Sort::ALL.into_iter().find(|sort| sort.name() == name).ok_or_else(|| format!("there are {}", names()))
}

/// A page of sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) sort: Sort,
    pub(super) descending: bool,
    pub(super) search: String,
    pub(super) limit: usize,
}

impl Query {
    /// The path with its query.
    pub(super) fn target(&self) -> String {
        let Self { sort, descending, search, limit } = self;
        let order = if *descending { "desc" } else { "asc" };
        let mut target = format!("/sessions?limit={limit}&sort={}&order={order}", sort.name());
        if !search.is_empty() {
            target.push_str("&search=");
            target.push_str(&encoded(search));
        }
        target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_is_asked_for_one_page() {
        let mut query = Query { sort: Sort::default(), descending: true, search: String::new(), limit: 50 };
        assert_eq!(query.target(), "/sessions?limit=50&sort=received&order=desc");
        query = Query { sort: Sort::User, descending: false, search: "ada & co".to_owned(), limit: 1000 };
        assert_eq!(query.target(), "/sessions?limit=1000&sort=user&order=asc&search=ada%20%26%20co");
    }

    #[test]
    fn each_order_comes_once() {
        let mut seen = vec![Sort::default()];
        while let Some(next) = seen.last().map(|last| last.next()).filter(|next| *next != Sort::default()) {
            seen.push(next);
        }
        assert_eq!(seen, Sort::ALL);
    }
}
