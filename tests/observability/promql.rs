//! What an expression of PromQL reads: series and the labels by which they are selected.

/// One series that an expression names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selector<'a> {
    pub(crate) metric: &'a str,
    /// Label and value, or pattern, of each matcher.
    pub(crate) matchers: Vec<(&'a str, &'a str)>,
}

/// The series that an expression names. Names of functions, operators and labels are none.
pub(crate) fn selectors(expr: &str) -> Vec<Selector<'_>> {
    let mut found = Vec::new();
    let mut rest = expr;
    while let Some(start) = rest.find(is_name) {
        let end = rest[start..].find(|c| !is_name(c)).map_or(rest.len(), |length| start + length);
        let (name, behind) = (&rest[start..end], &rest[end..]);
        rest = behind;
        if !is_metric(name) {
            continue;
        }
        let (matchers, behind) = behind.strip_prefix('{').map_or((Vec::new(), behind), matchers);
        rest = behind;
        found.push(Selector { metric: name, matchers });
    }
    found
}

/// The labels in parentheses behind `by`, `without`, `on` and `ignoring`.
pub(crate) fn grouping(expr: &str) -> impl Iterator<Item = &str> {
    let lists = ["by (", "without (", "on (", "ignoring ("].into_iter().flat_map(move |word| expr.split(word).skip(1));
    lists.filter_map(|rest| rest.split(')').next()).flat_map(|list| list.split(',').map(str::trim))
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Whether it is a name of ours, or one that Prometheus itself makes.
fn is_metric(name: &str) -> bool {
    ["tidegate_", "websocket_", "process_"].iter().any(|ours| name.starts_with(ours))
        || ["up", "ALERTS"].contains(&name)
}

/// The matchers up to the brace, and what follows it.
fn matchers(mut rest: &str) -> (Vec<(&str, &str)>, &str) {
    let mut matchers = Vec::new();
    while let Some((label, behind)) = rest.split_once('"').filter(|(label, _)| !label.contains('}')) {
        let (value, behind) = behind.split_once('"').expect("a value ends");
        matchers.push((label.trim_matches(|c: char| !is_name(c)), value));
        rest = behind;
    }
    (matchers, rest.split_once('}').expect("a selector ends").1)
}

#[test]
fn series_are_told_from_functions_and_labels() {
    let expr = r#"sum by (reason) (rate(tidegate_refused_total{reason=~"a|b", stage!="c"}[5m])) > 2 * up and on (job) websocket_x{}"#;
    let expected =
        [("tidegate_refused_total", vec![("reason", "a|b"), ("stage", "c")]), ("up", vec![]), ("websocket_x", vec![])];
    assert_eq!(selectors(expr), expected.map(|(metric, matchers)| Selector { metric, matchers }));
    assert_eq!(grouping(expr).collect::<Vec<_>>(), ["reason", "job"]);
}
