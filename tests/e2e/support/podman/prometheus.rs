//! A pod with Prometheus, which scrapes what the chart's monitor says and evaluates the chart's rules.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::{Pods, kubelet::Pod, manifests::Manifests};
use crate::support::{eventually, http, prometheus::FIRING};

const PORT: u16 = 9090;
/// Between two scrapes, and between two evaluations of the rules, in place of the 15 s of the chart and the minute of Prometheus.
const INTERVAL: &str = "1s";

/// It ends with its pods.
#[derive(Debug)]
pub(crate) struct Prometheus {
    pod: Pod,
    folder: PathBuf,
    monitor: Value,
}

impl Prometheus {
    /// With the only PodMonitor of the render, and the rules of its PrometheusRule, whose windows and `for` are a second or ten
    /// where they are minutes or more: a test cannot wait for those, and asks what fires, not how late.
    pub(crate) async fn start(pods: &Pods, manifests: &Manifests) -> Self {
        let monitor = manifests.only("PodMonitor").clone();
        let folder = pods.folder("prometheus");
        let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
        let namespace = monitor["metadata"]["namespace"].as_str().unwrap();
        let job = format!("{namespace}/{}", monitor["metadata"]["name"].as_str().unwrap());
        let config = json!({
            "global": { "scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL },
            "rule_files": ["/etc/prometheus/rules.json"],
            "scrape_configs": [{
                "job_name": job,
                "metrics_path": endpoint["path"],
                "scheme": endpoint["scheme"].as_str().unwrap_or("http"),
                "honor_labels": endpoint["honorLabels"].as_bool().unwrap_or(false),
                "relabel_configs": relabelling(&endpoint["relabelings"]),
                "metric_relabel_configs": relabelling(&endpoint["metricRelabelings"]),
                "file_sd_configs": [{ "files": ["/etc/prometheus/targets.json"], "refresh_interval": "1s" }],
            }],
        });
        fs::write(folder.join("prometheus.yml"), config.to_string()).unwrap();
        fs::write(folder.join("targets.json"), "[]").unwrap();
        let rules = &manifests.only("PrometheusRule")["spec"];
        fs::write(folder.join("rules.json"), quick(rules).to_string()).unwrap();
        let template = json!({ "metadata": {}, "spec": {
            "securityContext": { "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532 },
            "containers": [{
                "name": "prometheus", "image": pods.images.prometheus,
                "args": ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/data"],
                "ports": [{ "name": "http", "containerPort": PORT }],
                "readinessProbe": { "httpGet": { "path": "/-/ready", "port": "http" } },
                "volumeMounts": [{ "name": "config", "mountPath": "/etc/prometheus" }, { "name": "data", "mountPath": "/data" }],
            }],
            "volumes": [{ "name": "config", "hostPath": { "path": folder } }, { "name": "data", "emptyDir": {} }],
        } });
        let pod = pods.play(&Manifests(vec![]), "prometheus", &template).await;
        pods.ready(&pod).await;
        Self { pod, folder, monitor }
    }

    /// From now on these are the pods that there are: what the monitor selects is scraped, with the labels that the operator gives.
    pub(crate) fn discovers(&self, pods: &[&Pod]) {
        let endpoint = &self.monitor["spec"]["podMetricsEndpoints"][0];
        let wanted = self.monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
        let mut targets = vec![];
        for pod in pods.iter().filter(|pod| wanted.iter().all(|(name, value)| pod.labels.get(name) == Some(value))) {
            for container in pod.containers() {
                let named = container["ports"].as_array().into_iter().flatten();
                for port in named.filter(|port| port["name"] == endpoint["port"]) {
                    let address = pod.address(Pod::port(container, &port["name"]));
                    targets.push(json!({ "targets": [address.to_string()], "labels": {
                        "namespace": self.monitor["metadata"]["namespace"], "pod": pod.name, "container": container["name"],
                        "endpoint": endpoint["port"],
                    } }));
                }
            }
        }
        assert!(!targets.is_empty(), "the monitor selects none of these pods");
        let new = self.folder.join("new.json");
        fs::write(&new, Value::from(targets).to_string()).unwrap();
        fs::rename(new, self.folder.join("targets.json")).unwrap();
    }

    /// The series that an expression has now; an error is one of the expression.
    pub(crate) async fn query(&self, expression: &str) -> Vec<Value> {
        let query: String = form_urlencoded(expression);
        let url = format!("http://{}/api/v1/query?query={query}", self.pod.address(PORT));
        let answer = http::get(&url).await.json();
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    /// Waits until an expression has series.
    pub(crate) async fn has(&self, expression: &str) -> Vec<Value> {
        eventually(&format!("Prometheus has data for {expression}"), async || {
            Some(self.query(expression).await).filter(|series| !series.is_empty())
        })
        .await
    }

    /// The names of the alerts that fire, in order.
    pub(crate) async fn firing(&self) -> Vec<String> {
        let series = self.query(FIRING).await;
        let name = |one: &Value| one["metric"]["alertname"].as_str().unwrap().to_owned();
        let mut names: Vec<_> = series.iter().map(name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Waits until this alert fires, or does not.
    pub(crate) async fn fires(&self, alert: &str, whether: bool) {
        let what = if whether { "fires" } else { "does not fire" };
        eventually(&format!("{alert} {what}"), async || {
            (self.firing().await.iter().any(|name| name == alert) == whether).then_some(())
        })
        .await;
    }
}

/// A relabelling of the operator's, as Prometheus has it: its fields are in snake case.
fn relabelling(rules: &Value) -> Value {
    let snake = |name: &str| {
        let lower = |letter: char| {
            if letter.is_uppercase() { format!("_{}", letter.to_lowercase()) } else { letter.to_string() }
        };
        name.chars().map(lower).collect::<String>()
    };
    let one = |rule: &Value| -> Value {
        rule.as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (snake(name), value.clone()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    rules.as_array().into_iter().flatten().map(one).collect()
}

/// The rules with short windows: `for: 10m` is a second, `[5m]` is ten.
fn quick(rules: &Value) -> Value {
    let mut rules = rules.clone();
    for group in rules["groups"].as_array_mut().unwrap() {
        group.as_object_mut().unwrap().remove("interval");
        for rule in group["rules"].as_array_mut().unwrap() {
            for name in ["for", "keep_firing_for"] {
                if rule.get(name).is_some() {
                    rule[name] = "1s".into();
                }
            }
            rule["expr"] = short_windows(rule["expr"].as_str().unwrap()).into();
        }
    }
    rules
}

/// Each `[5m]`, of whatever length, is `[10s]`.
pub(crate) fn short_windows(expression: &str) -> String {
    let mut parts = expression.split('[');
    let mut short = parts.next().unwrap().to_owned();
    for part in parts {
        let (_, rest) = part.split_once(']').unwrap();
        short += "[10s]";
        short += rest;
    }
    short
}

#[test]
fn windows_of_any_length_are_ten_seconds() {
    let expression = "rate(a[5m]) / ignoring(x) increase(b[1h30m]) > 2";
    assert_eq!(short_windows(expression), "rate(a[10s]) / ignoring(x) increase(b[10s]) > 2");
    assert_eq!(short_windows("up == 0"), "up == 0");
}

fn form_urlencoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { (byte as char).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// The panels of a Grafana dashboard: the title of each, and its expressions.
pub(crate) fn panels(dashboard: &Value) -> Vec<(String, Vec<String>)> {
    let all = dashboard["panels"].as_array().unwrap().iter();
    let nested = all.flat_map(|panel| std::iter::once(panel).chain(panel["panels"].as_array().into_iter().flatten()));
    let of = |panel: &Value| {
        let targets = panel["targets"].as_array().into_iter().flatten();
        let expressions = targets.filter_map(|target| target["expr"].as_str()).map(str::to_owned).collect::<Vec<_>>();
        (panel["title"].as_str().unwrap_or_default().to_owned(), expressions)
    };
    nested.map(of).filter(|(_, expressions)| !expressions.is_empty()).collect()
}
