//! Real pods: the chart's renders, played by podman with the repository's image, and stock clients.
//!
//! The machine has no cluster. `support/podman/kubelet.rs` says what a test does in a kubelet's place; HAProxy is in the place of a
//! Service, Prometheus is one of the pods. Where no container can run, these tests say so and pass; with `TIDEGATE_PODS=required`
//! they fail.

mod confined;
mod crowd;
mod gateway;
mod leaving;
mod nodes;
mod observed;

use std::net::Ipv4Addr;

use crate::support::{
    Value, json,
    metrics::Metrics,
    podman::{Pods, kubelet::Pod, manifests::Manifests},
    token::SECRET,
};

/// The port of the service in its pod.
const SERVICE: u16 = 4003;
/// Of the chart: where clients connect, and where the operator does.
const CLIENTS: u16 = 8443;
const ADMIN: u16 = 9464;
/// The Secret with what signs tokens.
const AUTH: &str = "tutor-auth";

/// Values of both modes: the image and the secret, and a time to leave that fits a test.
fn values(pods: &Pods) -> Value {
    let (repository, tag) = pods.images.gate.rsplit_once(':').unwrap();
    json!({
        "image": { "repository": repository, "tag": tag },
        "auth": { "secretName": AUTH },
        "leaving": { "lameDuck": 1, "shutdownGrace": 3, "appStop": 5 },
        // Without this the limit as delivered is in force: a hundred messages a minute.
        "config": "rate_limit = []\n[origins]\nallow = [\"self\"]\n",
    })
}

/// With the service beside the gate. Podman has no native sidecars, so it is a classic one.
fn sidecar(pods: &Pods, more: &Value) -> Manifests {
    let mut all = values(pods);
    merge(
        &mut all,
        &json!({
            "mode": "sidecar", "nativeSidecar": false, "replicas": 2,
            "app": {
                "image": pods.images.service, "port": SERVICE, "listenEnv": "HOST", "args": ["service.mjs", SERVICE.to_string()],
                "env": [{ "name": "NEXTAUTH_SECRET", "value": SECRET }, { "name": "JOURNAL", "value": "/dev/stdout" }],
                "securityContext": confined(),
            },
        }),
    );
    merge(&mut all, more);
    rendered(pods, &all)
}

fn rendered(pods: &Pods, values: &Value) -> Manifests {
    let mut manifests = Manifests::of_chart("tutor", values, &pods.folder("render"));
    // What the operator has made before.
    manifests.0.push(json!({ "kind": "Secret", "metadata": { "name": AUTH }, "stringData": { "secret": SECRET } }));
    manifests
}

/// What the restricted level of Pod Security demands.
fn confined() -> Value {
    json!({
        "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }, "readOnlyRootFilesystem": true,
        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "seccompProfile": { "type": "RuntimeDefault" },
    })
}

/// Puts objects into each other; anything else of `more` takes the place of what there was.
fn merge(all: &mut Value, more: &Value) {
    let (Value::Object(all), Value::Object(more)) = (&mut *all, more) else { return *all = more.clone() };
    for (name, value) in more {
        merge(all.entry(name).or_insert(Value::Null), value);
    }
}

/// A pod of the only Deployment, ready.
async fn replica(pods: &Pods, manifests: &Manifests, name: &str) -> Pod {
    replica_at(pods, pods.reserve(), manifests, name).await
}

/// The same, at an address that was reserved.
async fn replica_at(pods: &Pods, ip: Ipv4Addr, manifests: &Manifests, name: &str) -> Pod {
    let template = &manifests.only("Deployment")["spec"]["template"];
    let pod = pods.play_at(ip, manifests, name, template).await;
    pods.ready(&pod).await;
    pod
}

/// A gate's figure.
async fn figure(pod: &Pod, name: &str, labels: &[(&str, &str)]) -> f64 {
    Metrics::scrape(&format!("http://{}/metrics", pod.address(ADMIN))).await.sum(name, labels)
}
