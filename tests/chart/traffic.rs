//! Rules for what reaches whom: Services, policies of the network, monitors, scaling.

use serde_json::{Value, json};

use crate::{
    manifests::{Render, items, map, name, selects, word},
    rules::{Faults, Rule, unless},
};

/// Tidegate's ports.
const CLIENTS: u64 = 8443;
const ADMIN: u64 = 9464;

pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "the Service of the clients leads to Tidegate alone",
        judge: services,
        break_it: |render| render.change("Service", |one| one["spec"]["ports"][0]["targetPort"] = json!(4003)),
    },
    Rule {
        name: "what selects pods selects those of the Deployment, and no others",
        judge: selectors,
        break_it: |render| {
            render.change("Service", |one| one["spec"]["selector"]["app.kubernetes.io/name"] = json!("other"))
        },
    },
    Rule {
        name: "the policy of the network opens nothing but Tidegate's ports",
        judge: policies,
        break_it: |render| {
            render.change("NetworkPolicy", |one| {
                let open = json!({"ports": [{"port": 4003}]});
                one["spec"]["ingress"].as_array_mut().expect("it has a list").push(open);
            })
        },
    },
    Rule {
        name: "with several pods a client reaches the same one again",
        judge: |render| {
            let replicas = render.deployment()["spec"]["replicas"].as_u64();
            // Whoever sets another affinity has a proxy that chooses the pod.
            let several = replicas != Some(1) && render.values["service"]["sessionAffinity"] == "";
            let services = render.of_kind("Service").filter(|one| one["spec"]["clusterIP"] != "None");
            let loose = services.filter(|one| several && one["spec"]["sessionAffinity"] != "ClientIP");
            loose.map(|one| format!("{} sends it anywhere", name(one))).collect()
        },
        break_it: |render| {
            render.deployment()["spec"]["replicas"] == 3
                && render.change("Service", |one| one["spec"]["sessionAffinity"] = json!("None"))
        },
    },
    Rule {
        name: "monitors find a port that exists, and the pods behind it",
        judge: monitors,
        break_it: |render| {
            render.change("PodMonitor", |one| one["spec"]["podMetricsEndpoints"][0]["port"] = json!("metrics"))
        },
    },
    Rule {
        name: "what sets the number of pods finds the Deployment, which does not set it too",
        judge: scaling,
        break_it: |render| {
            render.of_kind("HorizontalPodAutoscaler").count() == 1
                && render.change("Deployment", |one| one["spec"]["replicas"] = json!(1))
        },
    },
    Rule {
        name: "an Ingress leads to a port of the Service",
        judge: ingresses,
        break_it: |render| {
            render.change("Ingress", |one| {
                one["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["port"] = json!({"name": "other"});
            })
        },
    },
    Rule {
        name: "beside its service Tidegate speaks with it over loopback",
        judge: |render| {
            let Some(app) = render.app() else { return Vec::new() };
            let url = render.variable("TIDEGATE__UPSTREAM__URL").unwrap_or_default();
            let is_published = items(&app["ports"]).iter().any(|port| port["hostPort"].is_number());
            let is_so = url.starts_with("http://127.0.0.1:") && !is_published;
            unless(is_so, || format!("it dials {url}")).into_iter().collect()
        },
        break_it: |render| {
            render.app().is_some()
                && render.change_container("tidegate", |one| {
                    let all = one["env"].as_array_mut().into_iter().flatten();
                    all.filter(|one| one["name"] == "TIDEGATE__UPSTREAM__URL").for_each(|one| {
                        one["value"] = json!("http://svc:4003");
                    });
                })
        },
    },
];

/// The number of a port that is named by name or number.
fn number(render: &Render, port: &Value) -> Option<u64> {
    let named = || items(&render.tidegate()["ports"]).iter().find(|one| one["name"] == *port);
    port.as_u64().or_else(|| named()?["containerPort"].as_u64())
}

fn services(render: &Render) -> Faults {
    let mut faults = Vec::new();
    let mut for_clients = 0;
    for service in render.of_kind("Service") {
        let targets: Vec<Option<u64>> =
            items(&service["spec"]["ports"]).iter().map(|port| number(render, &port["targetPort"])).collect();
        let is_inner = service["spec"]["clusterIP"] == "None" && service["spec"]["type"] == "ClusterIP";
        for_clients += usize::from(targets == [Some(CLIENTS)]);
        let is_so = targets == [Some(CLIENTS)] || is_inner && targets == [Some(ADMIN)];
        faults.extend(unless(is_so, || format!("{} leads to {targets:?}", name(service))));
    }
    faults.extend(unless(for_clients == 1, || format!("{for_clients} Services are for clients")));
    faults
}

/// Each selector of pods, with what it belongs to. A policy for the pods of another service is not meant.
fn selecting(render: &Render) -> Vec<(String, &Value)> {
    let path = |manifest: &Value| match word(&manifest["kind"]) {
        "Service" => Some("/spec/selector"),
        "Deployment" | "PodDisruptionBudget" | "PodMonitor" => Some("/spec/selector/matchLabels"),
        "NetworkPolicy" if !name(manifest).ends_with("-upstream") => Some("/spec/podSelector/matchLabels"),
        _ => None,
    };
    let mut all: Vec<(String, &Value)> = render
        .manifests
        .iter()
        .filter_map(|manifest| {
            let selector = manifest.pointer(path(manifest)?).unwrap_or(&Value::Null);
            Some((format!("{}/{}", word(&manifest["kind"]), name(manifest)), selector))
        })
        .collect();
    for spread in items(&render.template()["spec"]["topologySpreadConstraints"]) {
        all.push(("topologySpreadConstraints".to_owned(), &spread["labelSelector"]["matchLabels"]));
    }
    all
}

fn selectors(render: &Render) -> Faults {
    let labels = &render.template()["metadata"]["labels"];
    let mut faults = Vec::new();
    for (what, selector) in selecting(render) {
        faults.extend(unless(selects(selector, labels), || format!("{what} does not select the pods")));
        for pod in &render.pods()[1..] {
            let is_apart = !selects(selector, &pod["metadata"]["labels"]);
            faults.extend(unless(is_apart, || format!("{what} selects {} too", pod["metadata"])));
        }
        let is_of_the_release = selector["app.kubernetes.io/instance"] == *render.release.name;
        faults.extend(unless(is_of_the_release, || format!("{what} selects pods of other releases")));
    }
    faults
}

fn policies(render: &Render) -> Faults {
    let mut faults = Vec::new();
    let own: Vec<&Value> = render.of_kind("NetworkPolicy").filter(|one| !name(one).ends_with("-upstream")).collect();
    let wanted = usize::from(render.values["networkPolicy"]["enabled"] == true);
    faults.extend(unless(own.len() == wanted, || format!("{} policies, not {wanted}", own.len())));
    for policy in own {
        let spec = &policy["spec"];
        faults.extend(unless(spec["policyTypes"] == json!(["Ingress"]), || "it is not for what comes in".to_owned()));
        for rule in items(&spec["ingress"]) {
            let ports: Vec<Option<u64>> =
                items(&rule["ports"]).iter().map(|one| number(render, &one["port"])).collect();
            let is_so = match ports.as_slice() {
                [Some(CLIENTS)] => true,
                [Some(ADMIN)] => !items(&rule["from"]).is_empty(),
                _ => items(&render.values["networkPolicy"]["extraIngress"]).contains(rule),
            };
            faults.extend(unless(is_so, || format!("it opens {rule}")));
        }
    }
    for policy in render.of_kind("NetworkPolicy").filter(|one| name(one).ends_with("-upstream")) {
        let first = &policy["spec"]["ingress"][0]["from"][0];
        let pods = &first["podSelector"]["matchLabels"];
        let is_so = selects(pods, &render.template()["metadata"]["labels"])
            && first["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] == *render.release.namespace;
        faults.extend(unless(is_so, || format!("the service's policy lets in {first}")));
        let is_open = items(&policy["spec"]["ingress"]).iter().any(|rule| items(&rule["from"]).is_empty());
        faults.extend(unless(!is_open, || "the service's policy lets everybody in".to_owned()));
    }
    faults
}

fn monitors(render: &Render) -> Faults {
    let mut faults = Vec::new();
    for monitor in render.of_kind("PodMonitor") {
        for endpoint in items(&monitor["spec"]["podMetricsEndpoints"]) {
            let is_so = number(render, &endpoint["port"]) == Some(ADMIN) && endpoint["path"] == "/metrics";
            faults.extend(unless(is_so, || format!("{endpoint} is not where the metrics are")));
        }
    }
    for monitor in render.of_kind("ServiceMonitor") {
        faults.extend(unless(!render.native(), || "Prometheus does not find native sidecars so".to_owned()));
        let selector = &monitor["spec"]["selector"]["matchLabels"];
        let found: Vec<&Value> =
            render.of_kind("Service").filter(|one| selects(selector, &one["metadata"]["labels"])).collect();
        let [service] = found.as_slice() else {
            faults.push(format!("it finds {} Services", found.len()));
            continue;
        };
        for endpoint in items(&monitor["spec"]["endpoints"]) {
            let port = items(&service["spec"]["ports"]).iter().find(|port| port["name"] == endpoint["port"]);
            let leads = port.and_then(|port| number(render, &port["targetPort"]));
            faults.extend(unless(leads == Some(ADMIN), || format!("{endpoint} leads to {leads:?}")));
        }
    }
    let annotations = &render.template()["metadata"]["annotations"];
    let port = &annotations["prometheus.io/port"];
    faults.extend(unless(port.is_null() || port == "9464", || format!("the annotation names port {port}")));
    faults
}

fn scaling(render: &Render) -> Faults {
    let deployment = render.deployment();
    let mut faults = Vec::new();
    for scaler in render.of_kind("HorizontalPodAutoscaler") {
        let target = &scaler["spec"]["scaleTargetRef"];
        let is_so = target["kind"] == "Deployment" && target["name"] == deployment["metadata"]["name"];
        faults.extend(unless(is_so, || format!("it scales {target}")));
        faults.extend(unless(deployment["spec"]["replicas"].is_null(), || "the Deployment sets it too".to_owned()));
        let period = scaler["spec"]["behavior"]["scaleDown"]["policies"][0]["periodSeconds"].as_u64();
        // What Kubernetes takes, which its schema does not say.
        let is_so = period.is_some_and(|period| (1..=1800).contains(&period));
        faults.extend(unless(is_so, || format!("it takes pods away each {period:?} seconds")));
    }
    faults
}

fn ingresses(render: &Render) -> Faults {
    let mut faults = Vec::new();
    for ingress in render.of_kind("Ingress") {
        let paths = items(&ingress["spec"]["rules"]).iter().flat_map(|rule| items(&rule["http"]["paths"]));
        for backend in paths.map(|path| &path["backend"]["service"]) {
            let service = render.of_kind("Service").find(|one| one["metadata"]["name"] == backend["name"]);
            let ports = service.map(|one| items(&one["spec"]["ports"])).unwrap_or_default();
            let is_so = ports.iter().any(|port| {
                map(&backend["port"])
                    .iter()
                    .all(|(key, value)| port[if key == "number" { "port" } else { key }] == *value)
            });
            faults.extend(unless(is_so, || format!("there is no {backend}")));
        }
    }
    faults
}
