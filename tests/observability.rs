//! Alert rules and dashboard: each can be read, asks for what the program exports, and is explained.
#![allow(clippy::unwrap_used, reason = "what cannot be read fails the test")]

#[path = "observability/dashboard.rs"]
mod dashboard;
#[path = "observability/promql.rs"]
mod promql;
#[path = "observability/rules.rs"]
mod rules;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use dashboard::{DASHBOARD, dashboard, of_all_nodes, panels, queries, text};
use promql::{grouping, selectors};
use rules::{RULES, alerts};

const PAGE: &str = "docs/alerts.md";
/// Labels that Prometheus gives to all series of a node.
const OF_THE_NODE: &[&str] = &["job", "instance", "namespace", "pod", "alertname", "alertstate"];

fn path(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(file: &str) -> String {
    fs::read_to_string(path(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn promtool(args: &[&str]) -> Result<(), String> {
    let run = Command::new("promtool").args(args).current_dir(path("")).output();
    let run = run.expect("promtool is in Debian's package `prometheus`");
    let said =
        || [run.stdout.clone(), run.stderr.clone()].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    if run.status.success() { Ok(()) } else { Err(said()) }
}

/// The files of promtool's tests, with their content.
fn unit_tests() -> Vec<(String, String)> {
    let files = fs::read_dir(path("tests/observability"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let files = files.filter(|name| name.ends_with(".yaml")).map(|name| format!("tests/observability/{name}"));
    files.map(|file| (file.clone(), read(&file))).collect()
}

#[test]
fn promtool_accepts_the_rules() {
    promtool(&["check", "rules", RULES]).unwrap();
}

/// Each fires when it should, does not beside what looks like it, and clears: the files say when.
#[test]
fn promtool_sees_each_alert_fire_and_clear() {
    let run = |(file, _): (String, String)| std::thread::spawn(move || promtool(&["test", "rules", &file]));
    let runs: Vec<_> = unit_tests().into_iter().map(run).collect();
    assert!(runs.len() > 5);
    for run in runs {
        run.join().unwrap().unwrap_or_else(|said| panic!("{said}"));
    }
}

#[test]
fn each_alert_has_a_test_in_which_it_fires_and_one_moment_in_which_nothing_does() {
    let tests: String = unit_tests().into_iter().map(|(_, text)| text).collect();
    for alert in alerts() {
        let beginning = format!("- name: {}\n", alert.name);
        let (_, rest) = tests.split_once(&beginning).unwrap_or_else(|| panic!("no test has the name {}", alert.name));
        let test = rest.split("\n  - name: ").next().unwrap();
        assert!(test.contains(&format!("alertname=\"{}\"", alert.name)), "{} does not fire in its test", alert.name);
        assert!(
            test.contains(&format!("- alertname: {}\n", alert.name)),
            "nothing compares the texts of {}",
            alert.name
        );
        assert!(
            test.trim_end().split("promql_expr_test").nth(1).unwrap().contains("exp_samples: []"),
            "{}",
            alert.name
        );
    }
}

#[test]
fn each_alert_says_what_to_do_and_where_to_read_on() {
    let alerts = alerts();
    assert!(alerts.len() > 25);
    let names: BTreeSet<_> = alerts.iter().map(|alert| &alert.name).collect();
    assert_eq!(names.len(), alerts.len(), "each name is there once");
    for alert in &alerts {
        assert!(alert.name.starts_with("Tidegate"), "{}", alert.name);
        assert!(["critical", "warning"].contains(&alert.severity.as_str()), "{alert:?}");
        assert!(alert.lasts.ends_with(['m', 'h']), "{} fires only when it lasts", alert.name);
        let (what, to_do) = alert.summary.split_once(": ").unwrap_or_default();
        assert!(!what.is_empty() && to_do.starts_with(|c: char| c.is_lowercase()), "{} tells what to do", alert.name);
        assert!(alert.description.ends_with('.'), "{alert:?}");
        assert_eq!(alert.runbook, format!("{PAGE}#{}", alert.name.to_lowercase()));
    }
}

/// The headings of a page, as GitHub makes anchors of them.
fn anchors(page: &str) -> Vec<String> {
    let headings = page
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    let anchor = |heading: &str| {
        let kept = heading
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
            .collect::<String>();
        kept.replace(' ', "-")
    };
    headings.map(anchor).collect()
}

/// The sections of the page, by the alert that they are about.
fn runbook(page: &str) -> BTreeMap<&str, &str> {
    page.split("\n### ").skip(1).filter_map(|section| section.split_once('\n')).collect()
}

#[test]
fn each_alert_has_its_section_and_each_section_its_alert() {
    let (page, alerts) = (read(PAGE), alerts());
    let sections = runbook(&page);
    let names: Vec<_> = alerts.iter().map(|alert| alert.name.as_str()).collect();
    let without: Vec<_> = sections.keys().filter(|name| !names.contains(name)).collect();
    assert!(without.is_empty(), "sections without an alert: {without:?}");
    for alert in &alerts {
        let section =
            sections.get(alert.name.as_str()).unwrap_or_else(|| panic!("{PAGE} has no section {}", alert.name));
        let severity = format!("\n{}{}", alert.severity[..1].to_uppercase(), &alert.severity[1..]);
        assert!(section.starts_with(&severity), "{PAGE} says how severe {} is", alert.name);
        for part in ["* **Clients:** ", "* **Look at:** ", "* **Do:** "] {
            assert!(section.contains(part), "{} lacks {part:?}", alert.name);
        }
    }
}

#[test]
fn the_page_of_alerts_leads_to_what_exists() {
    let (page, log) = (read(PAGE), read("docs/log.md"));
    for link in page.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let text = if file.is_empty() { page.clone() } else { read(&format!("docs/{file}")) };
        assert!(anchor.is_empty() || anchors(&text).iter().any(|found| found == anchor), "{link}");
    }
    // What is quoted with a blank in it, where one is to look, is a message of the log or a command.
    let sections = runbook(&page);
    let looks = sections.values().filter_map(|section| section.split("**Look at:**").nth(1)?.split("**Do:**").next());
    let mut messages = 0;
    for quoted in looks.flat_map(|part| part.split('`').skip(1).step_by(2)).filter(|quoted| quoted.contains(' ')) {
        if ["kubectl ", "SLOWLOG "].iter().any(|command| quoted.starts_with(command)) || quoted.starts_with('…') {
            continue;
        }
        let parts: Vec<_> = quoted.split('…').map(str::trim).collect();
        let has = |line: &str| line.starts_with('|') && parts.iter().all(|part| line.contains(part));
        assert!(log.lines().any(has), "docs/log.md has no `{quoted}`");
        messages += 1;
    }
    assert!(messages > 15, "{messages}");
}

/// The labels of each metric, with the values that the golden page has.
fn exported() -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let (golden, catalog) = (read("src/observe/exposition/golden.txt"), read("src/observe/catalog.rs"));
    let mut metrics: BTreeMap<_, BTreeMap<_, BTreeSet<_>>> = BTreeMap::new();
    for name in
        catalog.split('"').skip(1).step_by(2).filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
    {
        if ["tidegate_", "websocket_", "process_"].iter().any(|ours| name.starts_with(ours)) {
            metrics.insert(name.to_owned(), BTreeMap::new());
        }
    }
    for line in golden.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let metric = metrics.entry(name.to_owned()).or_default();
        let inside = line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(inside, _)| inside);
        for (label, value) in inside.split("\",").filter_map(|part| part.trim_end_matches('"').split_once("=\"")) {
            metric.entry(label.to_owned()).or_default().insert(value.to_owned());
        }
    }
    metrics
}

/// The Rust files of the program, as one text.
fn source(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.is_dir() || path.extension().is_some_and(|end| end == "rs"))
        .map(|path| if path.is_dir() { source(&path) } else { fs::read_to_string(path).unwrap() })
        .collect()
}

/// All expressions, with what each belongs to.
fn expressions() -> Vec<(String, String)> {
    let board = dashboard();
    let of_rules = alerts().into_iter().map(|alert| (alert.name, alert.expr));
    let panel = |panel: &Value| {
        let title = text(&panel["title"]).to_owned();
        queries(panel).map(|(query, _)| (title.clone(), query.to_owned())).collect::<Vec<_>>()
    };
    let of_panels = panels(&board).into_iter().flat_map(panel);
    let annotations = board["annotations"]["list"].as_array().unwrap().iter().filter_map(|list| list["expr"].as_str());
    let of_annotations = annotations.map(|expr| ("an annotation".to_owned(), expr.to_owned()));
    of_rules.chain(of_panels).chain(of_annotations).collect()
}

#[test]
fn every_metric_label_and_value_that_is_asked_for_is_exported() {
    let (metrics, source) = (exported(), source(&path("src")));
    let is_value = |value: &str| source.contains(&format!("\"{value}\""));
    let mut asked = 0;
    for (whose, expr) in expressions() {
        let read = selectors(&expr);
        assert!(!read.is_empty(), "{whose} reads nothing: {expr}");
        for selector in &read {
            asked += 1;
            if ["up", "ALERTS"].contains(&selector.metric) {
                continue;
            }
            let labels =
                metrics.get(selector.metric).unwrap_or_else(|| panic!("{whose}: no metric {}", selector.metric));
            for (label, value) in selector.matchers.iter().filter(|(label, _)| !OF_THE_NODE.contains(label)) {
                let known =
                    labels.get(*label).unwrap_or_else(|| panic!("{whose}: {} has no label {label}", selector.metric));
                for value in value.split('|') {
                    // `auth.+` stands for all that begin so.
                    let is_known = match value.strip_suffix(".+") {
                        Some(beginning) => source.contains(&format!("\"{beginning}.")),
                        None => known.contains(value) || is_value(value),
                    };
                    assert!(is_known, "{whose}: {label}=\"{value}\" of {} is nowhere in the program", selector.metric);
                }
            }
        }
        let labels =
            |label: &str| read.iter().any(|one| metrics.get(one.metric).is_some_and(|all| all.contains_key(label)));
        for label in grouping(&expr).filter(|label| !OF_THE_NODE.contains(label)) {
            assert!(labels(label), "{whose}: nothing of it has the label {label}");
        }
    }
    assert!(asked > 100, "{asked}");
}

/// As recording rules, which promtool reads; JSON is YAML.
#[test]
fn promtool_can_read_every_query_of_the_dashboard() {
    let board = dashboard();
    let queries = panels(&board).into_iter().flat_map(queries).map(|(query, _)| of_all_nodes(query));
    let rules: Vec<_> = queries
        .enumerate()
        .map(|(at, query)| json!({ "record": format!("panel:query:{at}"), "expr": query }))
        .collect();
    assert!(rules.len() > 60, "{}", rules.len());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yaml");
    fs::write(&file, json!({ "groups": [{ "name": "dashboard", "rules": rules }] }).to_string()).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()]).unwrap();
}

/// The cells of Grafana's grid that a panel takes.
fn cells(panel: &Value) -> Vec<(u64, u64)> {
    let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
    assert!(w > 0 && h > 0 && x + w <= 24, "{panel}");
    (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))).collect()
}

/// <https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/>
#[test]
fn the_dashboard_is_as_grafana_reads_it() {
    const KINDS: &[&str] = &["stat", "timeseries", "state-timeline", "bargauge"];
    const UNITS: &[&str] = &["short", "ms", "s", "cps", "ops", "reqps", "Bps", "bytes", "percentunit"];
    let board = dashboard();
    assert_eq!((text(&board["uid"]), text(&board["title"])), ("tidegate", "Tidegate"));
    assert_eq!(board["schemaVersion"], 39, "of Grafana 10.4 and 11");
    let rows = board["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] == "row");
    let all: Vec<_> = panels(&board).into_iter().chain(rows.clone()).collect();
    let ids: BTreeSet<_> = all.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), all.len(), "each id is there once");
    let mut taken = BTreeSet::new();
    for panel in &all {
        assert!(cells(panel).into_iter().all(|cell| taken.insert(cell)), "{} lies upon another panel", panel["title"]);
    }
    for row in rows.filter(|row| row["collapsed"] == false) {
        assert_eq!(row["panels"], json!([]), "the panels of an open row follow it");
    }
    for panel in panels(&board) {
        let title = text(&panel["title"]);
        assert!(KINDS.contains(&text(&panel["type"])), "{title}");
        assert!(text(&panel["description"]).ends_with('.'), "{title} says what is normal");
        assert_eq!(panel["datasource"], json!({ "type": "prometheus", "uid": "${datasource}" }), "{title}");
        let defaults = &panel["fieldConfig"]["defaults"];
        let unit = defaults["unit"].as_str();
        assert!(unit.map_or(defaults["mappings"].is_array(), |unit| UNITS.contains(&unit)), "{title}: {unit:?}");
        let targets = panel["targets"].as_array().unwrap();
        let refs: BTreeSet<_> = targets.iter().map(|target| text(&target["refId"])).collect();
        assert_eq!(refs.len(), targets.len(), "{title}");
        let names: Vec<_> = queries(panel).map(|(_, name)| name).collect();
        for by_name in panel["fieldConfig"]["overrides"].as_array().unwrap() {
            let name = text(&by_name["matcher"]["options"]);
            assert!(names.iter().any(|shown| *shown == name || shown.contains("{{")), "{title} does not show {name}");
        }
    }
}

#[test]
fn every_query_asks_for_the_nodes_that_are_chosen_and_is_named_by_what_it_has() {
    let board = dashboard();
    let variables: Vec<_> =
        board["templating"]["list"].as_array().unwrap().iter().map(|one| text(&one["name"])).collect();
    assert_eq!(variables, ["datasource", "job", "namespace", "pod", "interval"]);
    for (query, name) in panels(&board).into_iter().flat_map(queries) {
        for selector in selectors(query) {
            let chosen = |label: &str, value: &str| selector.matchers.contains(&(label, value));
            assert!(chosen("namespace", "$namespace") && chosen("pod", "$pod"), "{query}");
            assert!(chosen("job", "$job") || selector.metric == "ALERTS", "{query}");
        }
        let labels: Vec<_> = grouping(query).collect();
        for label in name.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap()) {
            assert!(labels.contains(&label), "{name} is nothing that {query} keeps");
        }
    }
    assert!(read(PAGE).contains(DASHBOARD));
}
