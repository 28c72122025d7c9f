//! Debian's Prometheus with the alert rules, which scrapes gates.

use std::{fs, net::SocketAddr};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::{
    eventually, http,
    ports::Port,
    process::{self, Lines},
};

/// What fires now, but for alerts that tell of a machine with too little time: this one is perhaps busy with something else.
pub(crate) const FIRING: &str = "ALERTS{alertstate=\"firing\",alertname!~\"TidegateSlow|TidegateLatencyHigh\"}";

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/tidegate/rules/tidegate.yaml");

/// A running Prometheus; it ends with the value.
#[derive(Debug)]
pub(crate) struct Prometheus {
    port: Port,
    log: Lines,
    _child: Child,
    _folder: TempDir,
}

impl Prometheus {
    /// Scrapes these admin addresses twice a second, each with labels of its own. Alerts fire at once, whatever their `for`.
    pub(crate) async fn scraping(targets: &[(SocketAddr, Value)]) -> Self {
        let (port, folder) = (Port::reserve(), TempDir::new().unwrap());
        let rules = fs::read_to_string(RULES).unwrap();
        let at_once = |line: &str| if line.starts_with("        for: ") { "        for: 0s" } else { line }.to_owned();
        let rules: Vec<_> = rules.lines().map(at_once).collect();
        let [rule_file, config_file] = ["rules.yaml", "prometheus.yaml"].map(|name| folder.path().join(name));
        fs::write(&rule_file, rules.join("\n")).unwrap();
        let targets: Vec<_> =
            targets.iter().map(|(target, labels)| json!({ "targets": [target], "labels": labels })).collect();
        // JSON is YAML.
        let config = json!({
            "global": { "scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms" },
            "rule_files": [rule_file],
            "scrape_configs": [{ "job_name": "gates", "static_configs": targets }],
        });
        fs::write(&config_file, config.to_string()).unwrap();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", config_file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address={}", port.address));
        let mut child = process::spawn(&mut command);
        let log = Lines::of(child.stderr.take().expect("it is piped").into_owned_fd());
        let prometheus = Self { port, log, _child: child, _folder: folder };
        eventually("Prometheus is ready", async || {
            http::try_request("GET", &prometheus.url("/-/ready"), &[], "")
                .await
                .ok()
                .filter(|reply| reply.status == 200)
        })
        .await;
        prometheus
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.port.address)
    }

    /// The result of an expression, now: a list of `metric` and `value`.
    pub(crate) async fn query(&self, expr: &str) -> Vec<Value> {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let reply = http::request("POST", &self.url("/api/v1/query"), &form, format!("query={}", escaped(expr))).await;
        let answer = reply.json();
        assert_eq!(answer["status"], "success", "{expr}: {answer}");
        answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{expr}: {answer}")).clone()
    }

    /// The names of the alerts that fire, each with its pod.
    pub(crate) async fn alerts(&self) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let firing = self.query(FIRING).await;
        firing.iter().map(|alert| (text(&alert["metric"]["alertname"]), text(&alert["metric"]["pod"]))).collect()
    }

    /// What the last evaluation of a rule could not do, of all rules.
    pub(crate) async fn failures(&self) -> Vec<Value> {
        let answer = http::get(&self.url("/api/v1/rules")).await.json();
        let groups = answer["data"]["groups"].as_array().unwrap().clone();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone());
        rules.filter(|rule| rule["health"] != "ok").collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.log.tell_if_failing("the log of Prometheus");
    }
}

/// As a value of a form is written.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
