//! `/sessions`: who is connected, page by page.

use hyper::StatusCode;
use serde::Serialize;

use super::{
    answer::{self, Answer},
    health::Condition,
};
use crate::relay::registry::{Registry, SessionView};

/// Sessions on one page unless the request says otherwise.
const LIMIT_DEFAULT: usize = 100;
/// Sessions on one page at most.
const LIMIT_MAX: usize = 1000;

/// Which page.
#[derive(Debug, PartialEq, Eq)]
struct Query {
    limit: usize,
    /// Only sessions with a higher id.
    after: u64,
}

#[derive(Debug, Serialize)]
struct Listing {
    sessions: Vec<SessionView>,
    /// The `after` of the next page; `None` on the last.
    next: Option<u64>,
    /// Whether the other nodes are heard, which say what else a user does. `None`: the node is alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<Condition>,
}

/// One page of sessions, ascending by id, and the state of Redis.
pub(super) async fn sessions(registry: &Registry, redis: Option<Condition>, query: &str) -> Answer {
    let Some(query) = Query::parse(query) else {
        return answer::refusal(
            StatusCode::BAD_REQUEST,
            "query",
            "Use ?limit=1 to 1000 and ?after=ID, the `next` of the page before.",
        );
    };
    let sessions = registry.sessions(query.after, query.limit).await;
    let next = sessions.last().filter(|_| sessions.len() >= query.limit).map(|session| session.id);
    answer::json(StatusCode::OK, &Listing { sessions, next, redis })
}

impl Query {
    fn parse(query: &str) -> Option<Self> {
        let mut parsed = Self { limit: LIMIT_DEFAULT, after: 0 };
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=')? {
                ("limit", limit) => parsed.limit = limit.parse().ok()?,
                ("after", after) => parsed.after = after.parse().ok()?,
                _ => return None,
            }
        }
        (1..=LIMIT_MAX).contains(&parsed.limit).then_some(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_bounded_and_unknown_parameters_refused() {
        let page = |limit, after| Some(Query { limit, after });
        for (query, expected) in [
            ("", page(100, 0)),
            ("limit=1000", page(1000, 0)),
            ("after=17&limit=5", page(5, 17)),
            ("limit=0", None),
            ("limit=1001", None),
            ("after=-1", None),
            ("user=ada", None),
            ("limit", None),
        ] {
            assert_eq!(Query::parse(query), expected, "{query}");
        }
    }
}
