//! Rules for pods: what they may do, how they start, and how they leave.

use serde_json::{Value, json};

use crate::{
    manifests::{Render, containers, items, map, name, word},
    rules::{Faults, Rule, unless},
};

pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "Tidegate's containers satisfy the restricted level of Pod Security",
        judge: |render| render.pods().into_iter().flat_map(|pod| restricted(&pod["spec"])).collect(),
        break_it: |render| {
            render
                .change_container("tidegate", |one| one["securityContext"]["capabilities"]["add"] = json!(["NET_RAW"]))
        },
    },
    Rule {
        name: "Tidegate's containers have a root that is read-only",
        judge: |render| {
            let pods = render.pods().into_iter();
            let ours = pods.flat_map(|pod| containers(&pod["spec"])).filter(|one| is_ours(one));
            let writable = ours.filter(|one| one["securityContext"]["readOnlyRootFilesystem"] != true);
            writable.map(|one| format!("{} can write to its root", name(one))).collect()
        },
        break_it: |render| {
            render.change_container("tidegate", |one| one["securityContext"]["readOnlyRootFilesystem"] = json!(false))
        },
    },
    Rule {
        name: "the service gains no privileges and has no capabilities",
        judge: |render| {
            let Some(app) = render.app() else { return Vec::new() };
            let context = &app["securityContext"];
            let is_so =
                context["allowPrivilegeEscalation"] == false && context["capabilities"]["drop"] == json!(["ALL"]);
            unless(is_so, || format!("its context is {context}")).into_iter().collect()
        },
        break_it: |render| render.change_container("app", |one| one["securityContext"] = json!({})),
    },
    Rule {
        name: "pods get no token of Kubernetes, and no variables for Services",
        judge: |render| {
            let is_closed = |pod: &&Value| {
                pod["spec"]["automountServiceAccountToken"] == false && pod["spec"]["enableServiceLinks"] == false
            };
            let open = render.pods().into_iter().filter(|pod| !is_closed(pod));
            open.map(|pod| format!("the pod {} is open", name(pod))).collect()
        },
        break_it: |render| render.change_pod(|pod| pod["spec"]["enableServiceLinks"] = json!(true)),
    },
    Rule {
        name: "probes ask Tidegate, never the service",
        judge: probes,
        break_it: |render| {
            render.change_container("tidegate", |one| one["startupProbe"]["httpGet"]["path"] = json!("/"))
        },
    },
    Rule {
        name: "clients and the service have time to leave",
        judge: grace,
        break_it: |render| render.change_pod(|pod| pod["spec"]["terminationGracePeriodSeconds"] = json!(30)),
    },
    Rule {
        name: "the service stays until its clients have left",
        judge: hooks,
        break_it: |render| render.change_container("app", |one| one["lifecycle"] = Value::Null),
    },
    Rule {
        name: "Tidegate is a native sidecar, an ordinary container before the service, or alone",
        judge: place,
        break_it: |render| {
            render.native() && render.change_container("tidegate", |one| one["restartPolicy"] = Value::Null)
        },
    },
    Rule {
        name: "what is mounted exists, and nothing is mounted into something that is mounted",
        judge: mounts,
        break_it: |render| {
            render.change_container("tidegate", |one| one["volumeMounts"][0]["mountPath"] = json!("/etc/tidegate"))
                && render.tidegate()["volumeMounts"][1].is_object()
        },
    },
    Rule {
        name: "files that change are mounted as folders",
        judge: |render| {
            let mounts = items(&render.tidegate()["volumeMounts"]).iter();
            let frozen = mounts.filter(|mount| mount["subPath"].is_string());
            frozen.map(|mount| format!("{} is a subPath, which is never updated", mount["mountPath"])).collect()
        },
        break_it: |render| {
            render.change_container("tidegate", |one| one["volumeMounts"][0]["subPath"] = json!("tidegate.toml"))
        },
    },
    Rule {
        name: "a pod that orders its certificate for itself is alone",
        judge: rollouts,
        break_it: |render| {
            render.values["tls"]["acme"]["cache"] == "volume"
                && render.values["tls"]["acme"]["enabled"] == true
                && render.change("Deployment", |one| one["spec"]["strategy"]["type"] = json!("RollingUpdate"))
        },
    },
    Rule {
        name: "every pod runs on the nodes that are chosen",
        judge: nodes,
        break_it: |render| {
            render.template()["spec"]["nodeSelector"].is_object()
                && render.change_pod(|pod| pod["spec"]["nodeSelector"] = Value::Null)
        },
    },
    Rule {
        name: "secrets are files",
        judge: secrets,
        break_it: |render| {
            render.change_container("tidegate", |one| {
                one["env"][0] = json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}});
            })
        },
    },
    Rule {
        name: "images have a version",
        judge: |render| {
            let all = render.pods().into_iter().flat_map(|pod| containers(&pod["spec"])).map(|one| word(&one["image"]));
            let loose = all.filter(|image| image.ends_with(":latest") || !image.contains([':', '@']));
            loose.map(|image| format!("{image} can become another image")).collect()
        },
        break_it: |render| render.change_container("tidegate", |one| one["image"] = json!("tidegate:latest")),
    },
    Rule {
        name: "ports of a pod differ, and Tidegate listens on those that are named",
        judge: ports,
        break_it: |render| render.change_container("tidegate", |one| one["ports"][1]["containerPort"] = json!(8443)),
    },
];

/// Whether a container runs Tidegate's image.
fn is_ours(container: &Value) -> bool {
    ["tidegate", "handshake", "check"].contains(&name(container))
}

/// The volumes that the restricted level allows.
const VOLUMES: &[&str] =
    &["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];

/// https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
fn restricted(spec: &Value) -> Faults {
    let mut faults = Vec::new();
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        faults.extend(unless(spec[key] != true, || format!("{key} is true")));
    }
    for volume in items(&spec["volumes"]) {
        let is_allowed = map(volume).keys().all(|key| key == "name" || VOLUMES.contains(&key.as_str()));
        faults.extend(unless(is_allowed, || format!("the volume {volume} is not allowed")));
    }
    for one in containers(spec).filter(|one| is_ours(one)) {
        let context = &one["securityContext"];
        // The context of the container counts over that of the pod.
        let of = |key: &str| if context[key].is_null() { &spec["securityContext"][key] } else { &context[key] };
        let added = items(&context["capabilities"]["add"]);
        let checks = [
            ("runs as root", *of("runAsNonRoot") == true && *of("runAsUser") != 0),
            ("may gain privileges", context["allowPrivilegeEscalation"] == false && context["privileged"] != true),
            ("keeps capabilities", items(&context["capabilities"]["drop"]).contains(&json!("ALL"))),
            ("adds capabilities", added.iter().all(|one| one == "NET_BIND_SERVICE")),
            ("has no seccomp profile", ["RuntimeDefault", "Localhost"].contains(&word(&of("seccompProfile")["type"]))),
            ("takes a port of the node", items(&one["ports"]).iter().all(|port| port["hostPort"].is_null())),
            ("has a procMount", context["procMount"].is_null()),
        ];
        faults.extend(checks.iter().filter_map(|(what, good)| unless(*good, || format!("{} {what}", name(one)))));
    }
    faults
}

fn probes(render: &Render) -> Faults {
    let tidegate = render.tidegate();
    // A certificate can be ordered only where the pod is reached, which it is when it is ready.
    let is_ordered = render.values["tls"]["acme"]["enabled"] == true;
    let ready = if is_ordered { "/readyz?without=certificate" } else { "/readyz" };
    let expected = [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", ready)];
    let wrong = expected.iter().filter_map(|(probe, path)| {
        let found = &tidegate[probe]["httpGet"];
        unless(found["path"] == *path && found["port"] == "tidegate-admin", || {
            format!("{probe} is {}", tidegate[probe])
        })
    });
    wrong.collect()
}

fn grace(render: &Render) -> Faults {
    let spec = &render.template()["spec"];
    let (Some(lame_duck), Some(shutdown)) =
        (render.seconds("TIDEGATE__LIMITS__LAME_DUCK"), render.seconds("TIDEGATE__LIMITS__SHUTDOWN_GRACE"))
    else {
        return vec!["the environment does not say how long leaving takes".to_owned()];
    };
    let stop =
        if render.app().is_some() { render.values["leaving"]["appStop"].as_u64().unwrap_or_default() } else { 0 };
    let needed = lame_duck + shutdown + stop + 5;
    let found = &spec["terminationGracePeriodSeconds"];
    unless(*found == needed, || format!("terminationGracePeriodSeconds is {found}, not {needed}")).into_iter().collect()
}

fn hooks(render: &Render) -> Faults {
    let ours = &render.tidegate()["lifecycle"];
    let Some(app) = render.app() else {
        return unless(ours.is_null(), || format!("a gateway has hooks: {ours}")).into_iter().collect();
    };
    let drain = json!({"preStop": {"exec": {"command": ["/tidegate", "drain"]}}});
    let drained = json!({"preStop": {"httpGet": {"path": "/drained", "port": 9464}}});
    let all = [("Tidegate", ours, drain), ("the service", &app["lifecycle"], drained)];
    all.iter().filter_map(|(who, found, hook)| unless(*found == hook, || format!("{who} has {found}"))).collect()
}

fn place(render: &Render) -> Faults {
    let spec = &render.template()["spec"];
    let policy = &render.tidegate()["restartPolicy"];
    let is_so = if render.native() {
        render.app().is_some() && policy == "Always"
    } else {
        name(&spec["containers"][0]) == "tidegate" && policy.is_null()
    };
    unless(is_so, || format!("restartPolicy is {policy}")).into_iter().collect()
}

fn mounts(render: &Render) -> Faults {
    let mut faults = Vec::new();
    for pod in render.pods() {
        let spec = &pod["spec"];
        let volumes: Vec<&str> = items(&spec["volumes"]).iter().map(name).collect();
        for (at, volume) in volumes.iter().enumerate() {
            faults.extend(unless(!volumes[..at].contains(volume), || format!("two volumes are called {volume}")));
        }
        for one in containers(spec) {
            let mounts = items(&one["volumeMounts"]);
            for mount in mounts {
                faults.extend(unless(volumes.contains(&name(mount)), || format!("there is no volume {}", name(mount))));
                let path = format!("{}/", word(&mount["mountPath"]));
                let within = mounts.iter().filter(|other| format!("{}/", word(&other["mountPath"])).starts_with(&path));
                faults.extend(unless(within.count() == 1, || format!("something is mounted into {path}")));
            }
        }
        for volume in items(&spec["volumes"]) {
            // What the operator names is there already.
            if items(&render.values["extraVolumes"]).contains(volume) {
                continue;
            }
            let wanted = &volume["configMap"]["name"];
            let is_there = render.of_kind("ConfigMap").any(|one| one["metadata"]["name"] == *wanted);
            let is_given = render.values["existingConfigMap"] == *wanted;
            faults
                .extend(unless(wanted.is_null() || is_there || is_given, || format!("there is no ConfigMap {wanted}")));
            let claim = &volume["persistentVolumeClaim"]["claimName"];
            let is_there = render.of_kind("PersistentVolumeClaim").any(|one| one["metadata"]["name"] == *claim);
            let is_given = render.values["tls"]["acme"]["persistence"]["existingClaim"] == *claim;
            faults.extend(unless(claim.is_null() || is_there || is_given, || format!("there is no claim {claim}")));
        }
    }
    faults
}

/// An image is for some nodes, and a taint is for all pods of a hook too, which would wait for ever.
fn nodes(render: &Render) -> Faults {
    let mut faults = Vec::new();
    for pod in render.pods() {
        let spec = &pod["spec"];
        for (place, key) in [
            ("/nodeSelector", "nodeSelector"),
            ("/tolerations", "tolerations"),
            ("/affinity/nodeAffinity", "affinity"),
            ("/priorityClassName", "priorityClassName"),
        ] {
            let wanted = &render.values[key];
            let wanted = if key == "affinity" { &wanted["nodeAffinity"] } else { wanted };
            let found = spec.pointer(place).unwrap_or(&Value::Null);
            let is_empty =
                map(wanted).is_empty() && items(wanted).is_empty() && wanted.as_str().is_none_or(str::is_empty);
            let is_so = found == wanted || found.is_null() && is_empty;
            faults.extend(unless(is_so, || format!("the pod {} has {found} in {place}", name(pod))));
        }
    }
    faults
}

/// A second pod would be asked for the challenges of the first, or wait for its volume.
fn rollouts(render: &Render) -> Faults {
    let acme = &render.values["tls"]["acme"];
    let is_alone = acme["enabled"] == true && acme["cache"] == "volume";
    let expected = if is_alone { "Recreate" } else { "RollingUpdate" };
    let found = &render.deployment()["spec"]["strategy"]["type"];
    unless(*found == expected, || format!("pods are replaced by {found}, not {expected}")).into_iter().collect()
}

fn secrets(render: &Render) -> Faults {
    let mut faults = Vec::new();
    for one in render.pods().into_iter().flat_map(|pod| containers(&pod["spec"])).filter(|one| is_ours(one)) {
        let from = items(&one["env"]).iter().filter(|variable| !variable["valueFrom"]["secretKeyRef"].is_null());
        faults.extend(from.map(|variable| format!("{} is a Secret in the environment", name(variable))));
        faults.extend(unless(one["envFrom"].is_null(), || {
            "the environment is taken as a whole from elsewhere".to_owned()
        }));
    }
    faults.extend(render.of_kind("Secret").map(|one| format!("{} would be readable in the release", name(one))));
    faults
}

fn ports(render: &Render) -> Faults {
    let spec = &render.template()["spec"];
    let numbers: Vec<&Value> =
        containers(spec).flat_map(|one| items(&one["ports"])).map(|port| &port["containerPort"]).collect();
    let mut faults: Faults = numbers
        .iter()
        .enumerate()
        .filter_map(|(at, port)| unless(!numbers[..at].contains(port), || format!("two containers listen on {port}")))
        .collect();
    for (port, variable) in [("tidegate", "TIDEGATE__LISTEN__ADDRESS"), ("tidegate-admin", "TIDEGATE__ADMIN__ADDRESS")]
    {
        let number = items(&render.tidegate()["ports"]).iter().find(|one| name(one) == port);
        let any = if render.values["ipv6"] == true { "[::]" } else { "0.0.0.0" };
        let listens = number.map(|one| format!("{any}:{}", one["containerPort"]));
        faults.extend(unless(listens.as_deref() == render.variable(variable), || format!("{port} is {listens:?}")));
    }
    faults
}
