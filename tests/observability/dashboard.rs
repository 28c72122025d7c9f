//! The dashboard, as Grafana reads it.

use serde_json::Value;

use super::read;

pub(crate) const DASHBOARD: &str = "charts/tidegate/dashboards/tidegate.json";

pub(crate) fn dashboard() -> Value {
    serde_json::from_str(&read(DASHBOARD)).expect("the dashboard is JSON")
}

/// All panels but the rows, those of folded rows too.
pub(crate) fn panels(dashboard: &Value) -> Vec<&Value> {
    let nested = |panel: &'_ Value| panel["panels"].as_array().is_some();
    let all = dashboard["panels"].as_array().expect("it has panels").iter();
    all.flat_map(
        |panel| if nested(panel) { panel["panels"].as_array().into_iter().flatten().collect() } else { vec![panel] },
    )
    .collect()
}

/// The queries of a panel, with the names under which they are shown.
pub(crate) fn queries(panel: &Value) -> impl Iterator<Item = (&str, &str)> {
    let targets = panel["targets"].as_array().expect("a panel has queries").iter();
    targets.map(|target| (text(&target["expr"]), text(&target["legendFormat"])))
}

/// What Prometheus is asked where all nodes are chosen.
pub(crate) fn of_all_nodes(query: &str) -> String {
    ["$job", "$namespace", "$pod"]
        .iter()
        .fold(query.replace("$interval", "5m"), |query, name| query.replace(name, ".*"))
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is a text"))
}
