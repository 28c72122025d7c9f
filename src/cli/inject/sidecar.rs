//! The container of the gate in a pod, its volumes, and the hook of the service. The chart in charts/tidegate makes the same.

use serde_json::{Map, Value, json};

use super::plan::Plan;

/// The name of the container, and of the port for clients.
pub(super) const NAME: &str = "tidegate";
/// The port for the operator.
pub(super) const ADMIN: &str = "tidegate-admin";
/// What the service's hook asks for.
pub(super) const DRAINED: &str = "/drained";
/// All volumes that the gate may have.
pub(super) const VOLUMES: [&str; 4] = [CONFIG, SECRETS, TLS, ACME];
const CONFIG: &str = "tidegate-config";
const SECRETS: &str = "tidegate-auth";
const TLS: &str = "tidegate-tls";
const ACME: &str = "tidegate-acme";

/// Where the Secret of `--secret` is.
pub(super) const SECRETS_FOLDER: &str = "/etc/tidegate/secrets";
/// Where the Secret of `--tls-secret` is.
pub(super) const TLS_FOLDER: &str = "/etc/tidegate/tls";
/// Where account and certificate of ACME are.
pub(super) const ACME_FOLDER: &str = "/var/lib/tidegate/acme";
const CONFIG_FOLDER: &str = "/etc/tidegate/config";
/// The key of the ConfigMap.
pub(super) const CONFIG_KEY: &str = "tidegate.toml";

/// The environment of the container.
pub(super) fn variables(plan: &Plan, port: u16) -> Vec<(String, String)> {
    let every = if plan.ipv6 { "[::]" } else { "0.0.0.0" };
    let mut variables = vec![
        ("LISTEN__ADDRESS", format!("{every}:{}", plan.listen_port)),
        ("ADMIN__ADDRESS", format!("{every}:{}", plan.admin_port)),
        ("UPSTREAM__URL", format!("{}://127.0.0.1:{port}", plan.scheme)),
        ("LIMITS__LAME_DUCK", plan.lame_duck.to_string()),
        ("LIMITS__SHUTDOWN_GRACE", plan.shutdown_grace.to_string()),
    ];
    if let Some((_, Some(key))) = &plan.secret {
        variables.push(("AUTH__SECRET__FILE", format!("{SECRETS_FOLDER}/{key}")));
    }
    if plan.tls_secret.is_some() {
        variables.push(("TLS__CERTIFICATE", format!("{TLS_FOLDER}/tls.crt")));
        variables.push(("TLS__PRIVATE_KEY", format!("{TLS_FOLDER}/tls.key")));
    }
    variables.into_iter().map(|(key, value)| (format!("TIDEGATE__{key}"), value)).collect()
}

/// The container.
pub(super) fn container(plan: &Plan, port: u16) -> Value {
    let probe = |path: &str| json!({"path": path, "port": ADMIN});
    // An authority reaches a pod through the Service, which has only ready ones.
    let ready = if plan.orders { "/readyz?without=certificate" } else { "/readyz" };
    let env: Vec<_> =
        variables(plan, port).into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    let mut container = Map::from_iter([
        ("name".to_owned(), json!(NAME)),
        ("image".to_owned(), json!(plan.image)),
        ("imagePullPolicy".to_owned(), json!("IfNotPresent")),
        ("args".to_owned(), json!(["run", format!("{CONFIG_FOLDER}/{CONFIG_KEY}")])),
    ]);
    if !plan.classic {
        container.insert("restartPolicy".to_owned(), json!("Always"));
    }
    let rest = json!({
        "env": env,
        "ports": [
            {"name": NAME, "containerPort": plan.listen_port},
            {"name": ADMIN, "containerPort": plan.admin_port},
        ],
        "startupProbe": {"httpGet": probe("/livez"), "periodSeconds": 1, "failureThreshold": 30},
        "livenessProbe": {"httpGet": probe("/livez"), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "readinessProbe": {"httpGet": probe(ready), "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 1},
        "lifecycle": {"preStop": {"exec": {"command": ["/tidegate", "drain"]}}},
        // `kubectl describe pod` shows why it does not start.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
            "runAsGroup": 65532,
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": mounts(plan),
    });
    if let Value::Object(rest) = rest {
        container.extend(rest);
    }
    Value::Object(container)
}

fn mounts(plan: &Plan) -> Vec<Value> {
    let read = |name: &str, path: &str| json!({"name": name, "mountPath": path, "readOnly": true});
    let mut mounts = vec![read(CONFIG, CONFIG_FOLDER)];
    if plan.secret.is_some() {
        mounts.push(read(SECRETS, SECRETS_FOLDER));
    }
    if plan.tls_secret.is_some() {
        mounts.push(read(TLS, TLS_FOLDER));
    }
    if plan.acme {
        mounts.push(json!({"name": ACME, "mountPath": ACME_FOLDER}));
    }
    mounts
}

/// The volumes of the pod for these mounts.
pub(super) fn volumes(plan: &Plan, config_map: &str) -> Vec<Value> {
    let mut volumes = vec![json!({"name": CONFIG, "configMap": {"name": config_map}})];
    match &plan.secret {
        Some((name, Some(key))) => volumes.push(json!({
            "name": SECRETS, "secret": {"secretName": name, "items": [{"key": key, "path": key}]}
        })),
        Some((name, None)) => volumes.push(json!({"name": SECRETS, "secret": {"secretName": name}})),
        None => {}
    }
    if let Some(name) = &plan.tls_secret {
        volumes.push(json!({"name": TLS, "secret": {"secretName": name}}));
    }
    if plan.acme {
        volumes.push(json!({"name": ACME, "emptyDir": {"sizeLimit": "16Mi"}}));
    }
    volumes
}

/// The hook that lets the service live until its clients have left.
pub(super) fn hook(plan: &Plan) -> Value {
    json!({"httpGet": {"path": DRAINED, "port": plan.admin_port}})
}
