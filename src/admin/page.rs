//! The status page: a page, its script and its styles, which are the same for everyone and hold no figures.

use hyper::{
    HeaderMap, StatusCode,
    header::{ACCEPT, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, VARY},
};

use super::answer::{self, Answer};

/// It loads what it is made of from here, and speaks with nobody else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// No other page may hold a handle of this one, or have it in a frame.
const OPENER_POLICY: (&str, &str) = ("cross-origin-opener-policy", "same-origin");
const RESOURCE_POLICY: (&str, &str) = ("cross-origin-resource-policy", "same-origin");

/// Whether a browser asks, to show what it gets.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let types = headers.get_all(ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    types.flat_map(|types| types.split(',')).any(|one| {
        let (name, parameters) = one.split_once(';').unwrap_or((one, ""));
        name.trim().eq_ignore_ascii_case("text/html") && parameters.trim() != "q=0"
    })
}

/// The page.
pub(super) fn page() -> Answer {
    let mut page = part("text/html; charset=utf-8", include_str!("page/index.html"));
    page.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    page
}

/// A file of the page. `None`: there is none at this path.
pub(super) fn file(path: &str) -> Option<Answer> {
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    const STYLES: &str = "text/css; charset=utf-8";
    Some(match path {
        "/page.js" => part(SCRIPT, include_str!("page/page.js")),
        "/base.js" => part(SCRIPT, include_str!("page/base.js")),
        "/charts.js" => part(SCRIPT, include_str!("page/charts.js")),
        "/sessions.js" => part(SCRIPT, include_str!("page/sessions.js")),
        "/page.css" => part(STYLES, include_str!("page/page.css")),
        // See uplot.txt.
        "/uplot.js" => part(SCRIPT, include_str!("page/uplot.js")),
        "/uplot.css" => part(STYLES, include_str!("page/uplot.css")),
        _ => return None,
    })
}

fn part(content_type: &'static str, text: &'static str) -> Answer {
    let mut answer = answer::with_type(StatusCode::OK, content_type, text);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    for (name, value) in [OPENER_POLICY, RESOURCE_POLICY] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_the_page_and_programs_the_index() {
        for (accept, wanted) in [
            (Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), true),
            (Some("application/json, TEXT/HTML;q=0.5"), true),
            (Some("text/html;q=0"), false),
            (Some("*/*"), false),
            (Some("text/plain"), false),
            (None, false),
        ] {
            let headers = accept.map(|accept| (ACCEPT, HeaderValue::from_static(accept))).into_iter().collect();
            assert_eq!(is_wanted(&headers), wanted, "{accept:?}");
        }
    }

    #[test]
    fn what_the_page_loads_is_here_and_nothing_of_it_is_in_the_page_itself() {
        let page = include_str!("page/index.html");
        for attribute in ["src=\"", "href=\""] {
            for path in page.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(
                    path.starts_with("data:") || path.starts_with('#') || file(&format!("/{path}")).is_some(),
                    "{path}"
                );
            }
        }
        assert!(!page.contains("style=") && !page.contains("onclick="), "the policy forbids it");
        for script in [
            include_str!("page/base.js"),
            include_str!("page/charts.js"),
            include_str!("page/page.js"),
            include_str!("page/sessions.js"),
        ] {
            for made_of_text in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!script.contains(made_of_text), "{made_of_text}");
            }
        }
    }
}
