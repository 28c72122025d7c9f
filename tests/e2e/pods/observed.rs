//! Sidecar mode, as the operator sees it: the chart's dashboard and alerts over a Prometheus that scrapes what the chart says.

use std::time::Duration;

use super::{
    crowd::Crowd,
    nodes::{CONFIG, Deployed},
};
use crate::support::{
    Pki, eventually, json,
    pki::Request,
    podman::{
        Pods,
        prometheus::{Prometheus, panels},
    },
};

const CLIENTS_IN_ALL: usize = 8;
const DAY: Duration = Duration::from_secs(86_400);
/// Panels of what is not set up here: there is no ACME server, and no issuer whose keys are fetched.
const WITHOUT_DATA: [&str; 2] = ["Orders of certificates", "Age of the key set"];

/// Limits that something here runs into, heartbeats that come during the test, and clients that are held however long the outage
/// lasts on a slow machine.
const MORE: &str = r#"
[auth]
revoke = true
[session]
hold = "10m"
[socketio]
ping_interval = "1s"
[[rate_limit]]
scope = "connection"
events = ["echo"]
messages = 2
per = "60s"
exceeded = "reply"
[[rate_limit]]
scope = "user"
events = ["step"]
messages = 100000
per = "60s"
shared = true
"#;

#[tokio::test]
async fn every_panel_has_data_and_alerts_fire_while_something_is_wrong_and_clear_after() {
    let Some(pods) = Pods::start().await else { return };
    let pki = Pki::new();
    // For a day.
    let pair = pki.issue(&Request::server(&["localhost"]).ending_in(DAY));
    let secret = |name: &str, data| json!({ "kind": "Secret", "metadata": { "name": name }, "stringData": data });
    let secrets = [
        secret("tutor-tls", json!({ "tls.crt": pair.certificate, "tls.key": pair.private_key })),
        secret("tutor-admin", json!({ "token": "0123456789abcdef0123456789abcdef" })),
    ];
    let enabled = json!({ "enabled": true });
    let values = json!({
        "config": format!("{CONFIG}{MORE}"),
        "tls": { "secretName": "tutor-tls" },
        "admin": { "tokenSecret": { "name": "tutor-admin" } },
        "monitoring": { "podMonitor": enabled, "rules": enabled, "dashboard": enabled },
    });
    let deployed = Deployed::start(&pods, &values, &secrets).await;
    let prometheus = Prometheus::start(&pods, &deployed.manifests).await;
    prometheus.discovers(&deployed.replicas.each_ref());

    let authority = pki.authority();
    let url = format!("https://localhost:{}", deployed.balancer.address.port());
    let mut crowd = Crowd::trusting(Some(&authority), &url, &["ada", "bob"], CLIENTS_IN_ALL / 2).await;
    crowd.steady(CLIENTS_IN_ALL, 5).await;
    shows_everything(&crowd, &url, &authority, &prometheus, &deployed).await;

    let ends = ["TidegateCertificateEnds", "TidegateCertificateExpiring"];
    eventually("what fires is the certificate's end", async || (prometheus.firing().await == ends).then_some(())).await;
    let pair = pki.issue(&Request::server(&["localhost"]).ending_in(90 * DAY));
    for replica in &deployed.replicas {
        let files = [("tls.crt", &pair.certificate), ("tls.key", &pair.private_key)];
        replica.update("tidegate-tls", &files.map(|(name, content)| (name.to_owned(), content.clone().into_bytes())));
    }
    nothing_fires(&prometheus).await;
    outage(&pods, &deployed, &prometheus).await;
    redis_unreachable(&pods, &deployed, &prometheus).await;

    for client in crowd.end().await {
        assert_eq!((&client["reasons"], &client["wrong"], &client["unanswered"]), (&json!([]), &json!([]), &json!(0)));
    }
}

/// Everything that a panel shows happens; each panel of the render then has data.
async fn shows_everything(crowd: &Crowd, url: &str, authority: &str, prometheus: &Prometheus, deployed: &Deployed) {
    assert!(crowd.call("echo", json!({ "times": 4 })).await.as_u64() > Some(0), "the limit refuses some");
    let refused = crowd.call("refused", json!({ "url": url, "ca": authority, "token": "nonsense" })).await;
    assert_eq!(refused, "Invalid authentication token");
    let got = crowd.call("get", json!({ "url": format!("{url}/sessions/plan"), "ca": authority })).await;
    assert_eq!(got, 200);

    let map = deployed.manifests.0.iter().find(|object| object["data"].get("tidegate.json").is_some());
    let dashboard = map.expect("the render has the dashboard")["data"]["tidegate.json"].as_str().unwrap();
    let panels = panels(&serde_json::from_str(dashboard).unwrap());
    assert!(panels.len() > 20, "{panels:?}");
    let mut empty = vec![];
    for (title, expressions) in &panels {
        for expression in expressions {
            let expression =
                ["$job", "$namespace", "$pod"].iter().fold(expression.clone(), |all, name| all.replace(name, ".*"));
            let expression = expression.replace("$interval", "1m");
            assert!(!expression.contains('$'), "a variable of {title} is not known: {expression}");
            if WITHOUT_DATA.contains(&title.as_str()) {
                assert_eq!(
                    prometheus.query(&expression).await,
                    [json!(null); 0],
                    "{title} has data: take it off the list"
                );
                empty.push(title.as_str());
            } else {
                prometheus.has(&expression).await;
            }
        }
    }
    empty.dedup();
    assert_eq!(empty, WITHOUT_DATA, "the panels are there");
    println!("{} panels have data", panels.len() - empty.len());
}

/// The service of both pods is stopped, and starts again.
async fn outage(pods: &Pods, deployed: &Deployed, prometheus: &Prometheus) {
    for replica in &deployed.replicas {
        assert_eq!(pods.stop(replica, "app", Duration::from_secs(5)).await, 0);
    }
    for alert in ["TidegateUpstreamDown", "TidegateSessionsHeld"] {
        prometheus.fires(alert, true).await;
    }
    println!("while the service is down these fire: {:?}", prometheus.firing().await);
    for replica in &deployed.replicas {
        pods.start_again(replica, "app").await;
    }
    for alert in ["TidegateUpstreamDown", "TidegateSessionsHeld"] {
        prometheus.fires(alert, false).await;
    }
}

/// Redis stands still, and goes on.
async fn redis_unreachable(pods: &Pods, deployed: &Deployed, prometheus: &Prometheus) {
    pods.pause(&deployed.redis, "redis").await;
    prometheus.fires("TidegateRedisDown", true).await;
    pods.resume(&deployed.redis, "redis").await;
    prometheus.fires("TidegateRedisDown", false).await;
    nothing_fires(prometheus).await;
}

async fn nothing_fires(prometheus: &Prometheus) {
    eventually("no alert fires", async || prometheus.firing().await.is_empty().then_some(())).await;
}
