//! `/sessions`: who is connected, page by page.

use hyper::StatusCode;
use serde::Serialize;

use super::{
    answer::{self, Answer},
    health::Condition,
};
use crate::{
    relay::{
        listing::{Query, Search, Sort},
        registry::{Page, Registry, SessionView},
    },
    wire::query,
};

/// Sessions on one page unless the request says otherwise.
const LIMIT_DEFAULT: usize = 100;
/// Sessions on one page at most.
const LIMIT_MAX: usize = 1000;
/// So many sessions can be passed over by `page`: each worker remembers as many.
const SKIP_MAX: usize = 100_000;
/// A text to search for has at most so many bytes.
const SEARCH_BYTES_MAX: usize = 256;

const USE: &str = "Use ?limit=1 to 1000; after=ID, the `next` of the page before; or search=TEXT, \
                   sort=id|user|age|rtt|received|refused|waiting, order=asc|desc and page=1 and on, within the first 100000.";

#[derive(Debug, Serialize)]
struct Listing {
    sessions: Vec<SessionView>,
    /// The `after` of the next page; `None` on the last, and where the order is another one.
    next: Option<u64>,
    /// How many match, on all pages.
    total: usize,
    /// Whether the other nodes are heard, which say what else a user does. `None`: the node is alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    redis: Option<Condition>,
}

/// One page of sessions, and the state of Redis.
pub(super) async fn sessions(registry: &Registry, redis: Option<Condition>, query: &str) -> Answer {
    let Some(query) = parse(query) else { return answer::refusal(StatusCode::BAD_REQUEST, "query", USE) };
    let (limit, by_id) = (query.limit, query.sort == Sort::Id && !query.descending);
    let page = registry.list(query).await;
    let next = next(&page, limit).filter(|_| by_id);
    let Page { sessions, total, .. } = page;
    answer::json(StatusCode::OK, &Listing { sessions, next, total, redis })
}

/// Behind which session the next page begins. A page may be full although some of it have ended since.
fn next(page: &Page, limit: usize) -> Option<u64> {
    page.last.filter(|_| page.chosen >= limit)
}

fn parse(query: &str) -> Option<Query> {
    let mut parsed =
        Query { sort: Sort::Id, descending: false, search: Search::default(), after: 0, skip: 0, limit: LIMIT_DEFAULT };
    let mut page = 1_usize;
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=')? {
            ("limit", limit) => parsed.limit = limit.parse().ok()?,
            ("after", after) => parsed.after = after.parse().ok()?,
            ("page", number) => page = number.parse().ok()?,
            ("search", _) => parsed.search = search(query)?,
            ("sort", name) => parsed.sort = sort(name)?,
            ("order", "asc") => parsed.descending = false,
            ("order", "desc") => parsed.descending = true,
            _ => return None,
        }
    }
    parsed.skip = page.checked_sub(1)?.checked_mul(parsed.limit)?;
    // `after` names a place in the order of ids, which no other order has.
    let by_id = parsed.sort == Sort::Id && !parsed.descending && page == 1;
    let is_bounded = (1..=LIMIT_MAX).contains(&parsed.limit) && parsed.skip <= SKIP_MAX;
    (is_bounded && (by_id || parsed.after == 0)).then_some(parsed)
}

fn sort(name: &str) -> Option<Sort> {
    Some(match name {
        "id" => Sort::Id,
        "user" => Sort::User,
        "age" => Sort::Age,
        "rtt" => Sort::Rtt,
        "received" => Sort::Received,
        "refused" => Sort::Refused,
        "waiting" => Sort::Waiting,
        _ => return None,
    })
}

fn search(query: &str) -> Option<Search> {
    let text = query::Query::new(query).get("search")?;
    (text.len() <= SEARCH_BYTES_MAX).then(|| Search::new(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_not_the_last_because_sessions_of_it_have_ended() {
        let page = |chosen, last| Page { chosen, last, ..Page::default() };
        assert_eq!(next(&page(5, Some(17)), 5), Some(17), "all of them have ended");
        assert_eq!(next(&page(4, Some(17)), 5), None);
        assert_eq!(next(&page(0, None), 5), None);
    }

    #[test]
    fn pages_are_bounded_and_unknown_parameters_refused() {
        let plain = parse("").unwrap();
        let page = |limit, after| Some(Query { limit, after, ..plain.clone() });
        let sorted = |sort, descending, skip| Some(Query { sort, descending, skip, ..plain.clone() });
        let with = |text: &str| Some(Query { search: Search::new(text), ..plain.clone() });
        let long = format!("search={}", "x".repeat(SEARCH_BYTES_MAX));
        for (query, expected) in [
            ("", page(100, 0)),
            ("limit=1000", page(1000, 0)),
            ("after=17&limit=5", page(5, 17)),
            ("sort=rtt", sorted(Sort::Rtt, false, 0)),
            ("sort=age&order=desc&page=3", sorted(Sort::Age, true, 200)),
            ("order=desc", sorted(Sort::Id, true, 0)),
            ("page=1001", sorted(Sort::Id, false, SKIP_MAX)),
            ("search=", page(100, 0)),
            ("search=a%26b+c%zz", with("a&b c%zz")),
            (&long, with(&"x".repeat(SEARCH_BYTES_MAX))),
            ("limit=0", None),
            ("limit=1001", None),
            ("after=-1", None),
            ("after=17&sort=rtt", None),
            ("after=17&order=desc", None),
            ("after=17&page=2", None),
            ("page=0", None),
            ("page=1002", None),
            ("page=18446744073709551615", None),
            ("sort=name", None),
            ("order=up", None),
            (&format!("{long}x"), None),
            ("user=ada", None),
            ("limit", None),
        ] {
            assert_eq!(parse(query), expected, "{query}");
        }
    }
}
