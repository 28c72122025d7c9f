//! Sidecar mode: two pods with Redis beside them.

use tokio::net::TcpStream;

use super::{ADMIN, CLIENTS, SERVICE, crowd::Crowd, figure, merge, replica, sidecar};
use crate::support::{
    Value, eventually, http, json,
    podman::{
        Pods,
        balancer::{Affinity, Balancer},
        kubelet::Pod,
        manifests::Manifests,
    },
};

const REDIS: u16 = 6379;
/// Of one user; the balancer spreads them over both pods.
const CLIENTS_IN_ALL: usize = 8;

/// What a learner is told goes to all clients of the learner.
pub(super) const CONFIG: &str = r#"
[origins]
allow = ["self"]
[[room]]
name = "user:{claims.sub}"
[[mirror]]
event = "tutor:message"
room = "user:{claims.sub}"
"#;

/// Two pods of the chart, with their Redis, behind a balancer.
pub(super) struct Deployed {
    pub(super) replicas: [Pod; 2],
    pub(super) redis: Pod,
    pub(super) balancer: Balancer,
    pub(super) manifests: Manifests,
}

impl Deployed {
    /// With these values, and these Secrets beside.
    pub(super) async fn start(pods: &Pods, values: &Value, secrets: &[Value]) -> Self {
        let template = json!({ "metadata": {}, "spec": { "containers": [{
            "name": "redis", "image": pods.images.redis, "args": ["--save", "", "--appendonly", "no", "--protected-mode", "no"],
            "securityContext": super::confined(),
        }] } });
        let redis = pods.play(&Manifests(vec![]), "redis", &template).await;
        eventually("Redis listens", async || TcpStream::connect(redis.address(REDIS)).await.ok()).await;
        let mut all = json!({ "config": format!("rate_limit = []\n{CONFIG}"), "redis": { "url": format!("redis://{}", redis.address(REDIS)) } });
        merge(&mut all, values);
        let mut manifests = sidecar(pods, &all);
        manifests.0.extend_from_slice(secrets);
        let replicas = [replica(pods, &manifests, "a").await, replica(pods, &manifests, "b").await];
        for replica in &replicas {
            eventually("the node is connected to Redis", async || {
                (figure(replica, "tidegate_redis_up", &[]).await == 1.0).then_some(())
            })
            .await;
        }
        let endpoints = [0, 1].map(|number: usize| (replicas[number].ip, CLIENTS));
        let ready = Some(("/readyz", ADMIN));
        let balancer = Balancer::start(pods, [127, 0, 0, 1].into(), Affinity::Client, &endpoints, ready).await;
        Self { replicas, redis, balancer, manifests }
    }

    /// What the service in a pod says to a user: nobody reaches it but through its gate.
    async fn says(&self, replica: usize, user: &str, what: &Value) {
        let url = format!("http://{}/emit", self.replicas[replica].address(CLIENTS));
        let reply = http::post(&url, &json!({ "learnerId": user, "event": "tutor:message", "args": [what] })).await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }
}

#[tokio::test]
async fn events_reach_clients_on_both_pods_and_nobody_reaches_the_service_around_the_gate() {
    const EVENTS: u64 = 20;
    let Some(pods) = Pods::start().await else { return };
    let deployed = Deployed::start(&pods, &json!({}), &[]).await;
    for replica in &deployed.replicas {
        TcpStream::connect(replica.address(CLIENTS)).await.expect("the gate's port answers");
        let around = TcpStream::connect(replica.address(SERVICE)).await.expect_err("the service's port does not");
        assert_eq!(around.kind(), std::io::ErrorKind::ConnectionRefused);
    }
    let mut crowd = Crowd::gather(&deployed.balancer.url(), &["ada"], CLIENTS_IN_ALL).await;
    for replica in &deployed.replicas {
        assert!(figure(replica, "websocket_connections_total", &[]).await > 0.0, "both pods have clients");
    }
    crowd.steady(CLIENTS_IN_ALL, 10).await;

    for number in 0..EVENTS {
        deployed.says((number % 2) as usize, "ada", &json!({ "number": number })).await;
    }

    eventually("every client has heard every event once", async || {
        let heard = crowd.states().await;
        heard.iter().all(|client| numbers(&client["heard"]) == (0..EVENTS).collect::<Vec<_>>()).then_some(())
    })
    .await;
    for client in crowd.end().await {
        assert_eq!((&client["reasons"], &client["wrong"], &client["unanswered"]), (&json!([]), &json!([]), &json!(0)));
        assert_eq!(client["transport"], "websocket");
    }
}

/// In order.
fn numbers(heard: &Value) -> Vec<u64> {
    let mut numbers: Vec<_> = heard.as_array().unwrap().iter().map(|said| said["number"].as_u64().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}
