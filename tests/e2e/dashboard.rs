//! What the operator sees: a Prometheus that scrapes real gates, the queries of the dashboard, the alerts.

use std::{fs, path::Path, time::Duration};

use tempfile::TempDir;

use crate::support::{
    Gate, Redis, Service, Value, eventually, http, issuer::Issuer, json, pebble::Pebble, ports::Port,
    prometheus::Prometheus, token, token::now,
};

const DASHBOARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/tidegate/dashboards/tidegate.json");

/// Title and expression of each query, those of folded rows too.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(DASHBOARD).unwrap()).unwrap();
    let (mut queries, mut panels) = (Vec::new(), vec![&dashboard]);
    while let Some(panel) = panels.pop() {
        panels.extend(panel["panels"].as_array().into_iter().flatten());
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expr = target["expr"].as_str().unwrap().replace("$interval", "1m");
            let expr = ["$job", "$namespace", "$pod"].iter().fold(expr, |expr, name| expr.replace(name, ".*"));
            queries.push((panel["title"].as_str().unwrap().to_owned(), expr));
        }
    }
    queries
}

/// A gate without anything beside it.
async fn alone(service: &Service) -> Gate {
    let rules = "socketio.ping_interval = \"300ms\"\nlimits.memory = \"4GB\"\n\
                 [[rate_limit]]\nevents = [\"agent:tutor\"]\nmessages = 1\nper = \"1h\"";
    Gate::before(service).with(rules).await
}

/// A gate with all that another one may leave out: an ordered certificate, Redis, an issuer's keys.
async fn with_everything(service: &Service, redis: &Redis, issuer: &Issuer, cache: &Path) -> (Gate, Pebble) {
    let http = Port::reserve();
    let setup = Gate::before(service);
    let pebble = Pebble::start(http.address, setup.address(), Duration::from_hours(24 * 90)).await;
    let setup = setup.ordering_from(&pebble, cache).without("auth.secret").with(&format!(
        "auth.jwks_url = \"{}\"\nauth.algorithms = [\"RS256\"]\nauth.revoke = true\nadmin.token = {{ env = \"NEXTAUTH_SECRET\" }}\n\
         redis.url = {:?}\ncluster.name = \"tutor\"\n[[rate_limit]]\nscope = \"user\"\nmessages = 100\nper = \"1h\"\nshared = true\n\
         [[room]]\nname = \"user:{{claims.sub}}\"\n[[mirror]]\nevent = \"tutor:message\"\nroom = \"user:{{claims.sub}}\"",
        issuer.jwks_url(),
        redis.url(),
    ));
    (setup.await, pebble)
}

/// A client comes, is answered, and leaves.
async fn visit(gate: &Gate, token: String) {
    let client = gate.client(token).await;
    client.ask("agent:learning", json!([{ "action": "get_recommendation" }])).await;
    client.disconnect().await;
}

/// Those that have no value: nothing, or only what cannot be computed.
async fn without_a_value(prometheus: &Prometheus) -> Vec<(String, String)> {
    let mut without = Vec::new();
    for (title, expr) in queries() {
        let values = prometheus.query(&expr).await;
        if values.iter().all(|series| series["value"][1] == "NaN") {
            without.push((title, expr));
        }
    }
    without
}

#[tokio::test]
async fn each_panel_has_data_and_no_alert_fires() {
    let (service, open, redis, issuer) =
        (Service::start().await, Service::without_auth().await, Redis::start().await, Issuer::start().await);
    issuer.add_key("RS256", "first").await;
    let folder = TempDir::new().unwrap();
    let plain = alone(&service).await;
    let (full, _pebble) = with_everything(&open, &redis, &issuer, &folder.path().join("acme")).await;
    let labels = json!({ "namespace": "tutor", "pod": "tutor-0" });
    let prometheus = Prometheus::scraping(&[(plain.admin_address(), json!({})), (full.admin_address(), labels)]).await;
    let stays = plain.client(token("bob")).await;

    let panels = queries().len();
    assert!(panels > 60, "{panels}");
    eventually("each query of the dashboard has a value", async || {
        visit(&plain, token("ada")).await;
        visit(&plain, token("eve")).await;
        stays.ask("agent:tutor", json!([{ "input": "hi" }])).await;
        visit(&full, issuer.sign("first", &json!({ "sub": "ada", "exp": now() + 600 })).await).await;
        plain.connect(json!({ "token": "none" })).await.refused().await;
        http::get(&format!("{}/sessions/plan?learner=ada", plain.url())).await;
        let without = without_a_value(&prometheus).await;
        eprintln!("without a value: {without:#?}");
        without.is_empty().then_some(())
    })
    .await;

    // A scrape that a busy machine has kept waiting is over by then.
    eventually("no alert fires", async || prometheus.alerts().await.is_empty().then_some(())).await;
    assert_eq!(prometheus.failures().await, [] as [Value; 0]);
    stays.disconnect().await;
}

#[tokio::test]
async fn an_alert_fires_while_the_service_is_down_and_clears() {
    let mut service = Service::start().await;
    let gate = Gate::before(&service).with("session.hold = \"10m\"").await;
    let labels = json!({ "namespace": "tutor", "pod": "tutor-0" });
    let prometheus = Prometheus::scraping(&[(gate.admin_address(), labels)]).await;
    let client = gate.client(token("ada")).await;
    let calm = async || {
        let scraped = !prometheus.query("tidegate_upstream_up").await.is_empty();
        (scraped && prometheus.alerts().await.is_empty()).then_some(())
    };
    eventually("nothing fires", calm).await;

    service.kill().await;

    let down = ("TidegateUpstreamDown".to_owned(), "tutor-0".to_owned());
    eventually("it fires", async || prometheus.alerts().await.contains(&down).then_some(())).await;

    service.restart().await;

    // Alerts of what has happened go on for some time where the outage was a long one, as on a slow machine.
    eventually("it clears", async || (!prometheus.alerts().await.contains(&down)).then_some(())).await;
    client.ask("echo", json!([1])).await;
}
