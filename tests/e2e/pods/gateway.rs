//! Gateway mode: the gate's pod in front of a Service whose pods are replaced.

use std::net::Ipv4Addr;

use super::{
    CLIENTS, SERVICE, confined,
    crowd::{Crowd, acknowledged},
    figure, merge, rendered, replica, values,
};
use crate::support::{
    Value, json,
    podman::{
        Pods,
        balancer::{Affinity, Balancer},
        kubelet::Pod,
        manifests::Manifests,
    },
    token::SECRET,
};

const CLIENTS_IN_ALL: usize = 24;
/// Each speaks ten times a second: all clients of a pod that stops have just spoken.
const RATE: u32 = 10;

/// The service's own Deployment, which knows nothing of the gate.
fn service(pods: &Pods) -> Value {
    json!({ "metadata": { "labels": { "app": "chat" } }, "spec": {
        "terminationGracePeriodSeconds": 10,
        "containers": [{
            "name": "chat", "image": pods.images.service, "args": ["service.mjs", SERVICE.to_string()],
            "env": [
                { "name": "HOST", "value": "0.0.0.0" }, { "name": "NEXTAUTH_SECRET", "value": SECRET },
                { "name": "JOURNAL", "value": "/dev/stdout" },
            ],
            "securityContext": confined(),
            "ports": [{ "name": "http", "containerPort": SERVICE }],
            "readinessProbe": { "httpGet": { "path": "/seen", "port": "http" } },
        }],
    } })
}

async fn started(pods: &Pods, ip: Ipv4Addr, name: &str) -> Pod {
    let pod = pods.play_at(ip, &Manifests(vec![]), name, &service(pods)).await;
    pods.ready(&pod).await;
    pod
}

#[tokio::test]
async fn a_rollout_of_the_services_pods_disconnects_nobody_and_loses_no_acknowledged_event() {
    let Some(pods) = Pods::start().await else { return };
    let ips = [(); 4].map(|()| pods.reserve());
    let endpoints = ips.map(|ip| (ip, SERVICE));
    let old = [started(&pods, ips[0], "old-a").await, started(&pods, ips[1], "old-b").await];
    let balancer = Balancer::start(&pods, pods.host(), Affinity::None, &endpoints, None).await;
    let mut all = values(&pods);
    merge(&mut all, &json!({ "mode": "gateway", "upstream": { "url": balancer.url() } }));
    let gate = replica(&pods, &rendered(&pods, &all), "gate").await;
    let url = format!("http://{}", gate.address(CLIENTS));
    let mut crowd = Crowd::gather(&url, &["ada", "bob"], CLIENTS_IN_ALL / 2).await;
    crowd.steady(CLIENTS_IN_ALL, RATE).await;

    // As a Deployment does with `maxSurge: 1`: one comes, one goes.
    let mut new = vec![];
    for (number, old) in old.iter().enumerate() {
        new.push(started(&pods, ips[2 + number], &format!("new-{number}")).await);
        pods.delete(old).await;
        crowd.goes_on().await;
    }
    let clients = crowd.end().await;

    let services: Vec<_> = old.iter().chain(&new).map(|pod| (pod, "chat")).collect();
    let acked = acknowledged(&pods, &services, &clients).await;
    for client in &clients {
        let told = (&client["reasons"], &client["wrong"], &client["unanswered"]);
        assert_eq!(told, (&json!([]), &json!([]), &json!(0)), "{client}");
    }
    let failed: u64 = clients.iter().map(|client| client["failed"].as_u64().unwrap()).sum();
    assert!(figure(&gate, "tidegate_upstream_dials_total", &[("result", "ok")]).await > CLIENTS_IN_ALL as f64);
    println!(
        "{CLIENTS_IN_ALL} clients stayed; {acked} events were acknowledged, {failed} failed with `Service restarted`"
    );
}
