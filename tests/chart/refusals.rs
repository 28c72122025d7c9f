//! What the chart refuses: a key that is misspelt, a value of another type, and values that go not together.

use serde_json::{Value, json};

use crate::{
    helm::{Release, ci_values, for_all},
    manifests::map,
    matrix::refused_pairs,
    values::{at, defaults},
};

/// Maps whose keys are the operator's or those of Kubernetes.
const OPEN: &[&str] = &[
    "affinity",
    "app.livenessProbe",
    "app.readinessProbe",
    "app.resources",
    "app.securityContext",
    "app.startupProbe",
    "commonLabels",
    "global",
    "ingress.annotations",
    "monitoring.dashboard.annotations",
    "monitoring.dashboard.labels",
    "monitoring.podMonitor.labels",
    "monitoring.rules.labels",
    "monitoring.serviceMonitor.labels",
    "nodeSelector",
    "podAnnotations",
    "podLabels",
    "podSecurityContext",
    "resources",
    "securityContext",
    "service.annotations",
    "serviceAccount.annotations",
    "upstream.podSelector",
];
const MISSPELT: &str = "misspelt";

/// Each place in the values, with what is there: maps, and what is in them.
fn places(values: &Value, path: &str) -> Vec<(String, Value)> {
    let mut all = vec![(path.to_owned(), values.clone())];
    if !OPEN.contains(&path) {
        for (key, value) in map(values) {
            let below = if path.is_empty() { key } else { format!("{path}.{key}") };
            all.extend(places(&value, &below));
        }
    }
    all
}

/// As the messages of JSON schemas name it.
fn pointer(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("/{}", path.replace('.', "/")) }
}

/// Values that render, with these changed.
fn with(changes: &Value) -> Result<String, String> {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let file = folder.path().join("values.yaml");
    // JSON is YAML.
    std::fs::write(&file, changes.to_string()).expect("the file can be written");
    let mut release = Release::ci(&ci_values()[0]);
    release.files.push(file);
    release.template()
}

#[test]
fn a_misspelt_key_is_refused_wherever_it_stands() {
    let defaults = defaults();
    let maps: Vec<String> = places(&defaults, "")
        .into_iter()
        .filter(|(path, value)| value.is_object() && !OPEN.contains(&path.as_str()))
        .map(|(path, _)| path)
        .collect();
    assert!(maps.len() > 20, "values.yaml has maps");
    let said = for_all(&maps, |path| {
        let mut changes = json!({});
        *at(&mut changes, &if path.is_empty() { MISSPELT.to_owned() } else { format!("{path}.{MISSPELT}") }) = json!(1);
        with(&changes)
    });
    for (path, said) in maps.iter().zip(said) {
        let error = said.expect_err(&format!("{path}.{MISSPELT} is taken"));
        let named = format!("'{}': additional properties '{MISSPELT}' not allowed", pointer(path));
        assert!(error.contains(&named), "{path}: {error}");
    }
}

#[test]
fn the_keys_of_maps_that_belong_to_the_operator_are_free() {
    let mut changes = json!({});
    for path in OPEN {
        let key = if *path == "app.startupProbe" { "initialDelaySeconds" } else { "example" };
        // Not each is rendered with these values; what is asked is whether the schema takes it.
        let value = if key == "example" && !path.ends_with("Probe") { json!("1") } else { json!(1) };
        *at(&mut changes, &format!("{path}.{key}")) = value;
    }
    with(&changes).expect("the schema takes them");
}

#[test]
fn every_default_may_be_written_down() {
    with(&json!({})).expect("the values of ci/ render");
    let mut all = defaults();
    // What is needed, and has no default.
    all["app"]["image"] = json!("registry.example.com/chat:1");
    all["auth"]["secretName"] = json!("chat-auth");
    with(&all).expect("the defaults, written down, render");
}

#[test]
fn a_value_of_another_type_is_refused_wherever_it_stands() {
    let leaves: Vec<(String, Value)> = places(&defaults(), "")
        .into_iter()
        .filter(|(path, value)| !path.is_empty() && (!value.is_object() || OPEN.contains(&path.as_str())))
        // Of any type: what umbrella charts share.
        .filter(|(path, _)| path != "global")
        .collect();
    assert!(leaves.len() > 80, "values.yaml has values");
    // None of the values is one of these, wherever it may be a number or a text.
    let wrong = |value: &Value| if value.is_boolean() { json!("yes") } else { json!(true) };
    let said = for_all(&leaves, |(path, value)| {
        let mut changes = json!({});
        *at(&mut changes, path) = wrong(value);
        with(&changes)
    });
    let mut taken = Vec::new();
    for ((path, value), said) in leaves.iter().zip(said) {
        match said {
            Ok(_) => taken.push(format!("{path} = {}", wrong(value))),
            Err(error) => assert!(error.contains(&format!("'{}'", pointer(path))), "{path}: {error}"),
        }
    }
    assert!(taken.is_empty(), "the schema takes {taken:#?}");
}

#[test]
fn values_that_go_not_together_are_refused_with_what_to_set() {
    for release in refused_pairs() {
        let error = release.template().expect_err(&format!("{}: it renders", release.case));
        assert!(error.contains("set ") || error.contains("use "), "{}: it says nothing to do: {error}", release.case);
    }
}

/// Values that Kubernetes or Tidegate would refuse later, when half of an installation is done or its pods do not start.
const LATER: &[(&str, &str)] = &[
    ("replicas", "-1"),
    ("replicas", r#""3""#),
    ("replicas", "1.5"),
    ("mode", r#""Sidecar""#),
    ("app.port", "0"),
    ("app.port", "70000"),
    ("app.port", "8443"),
    ("app.port", "9464"),
    ("app.image", r#""-""#),
    ("app", r#"{"listenEnv": "HOST", "readinessProbe": {"httpGet": {"port": 4003}}}"#),
    ("app", r#"{"listenEnv": "HOST", "env": [{"name": "HOST", "value": "0.0.0.0"}]}"#),
    ("app.listenEnv", r#""1 x""#),
    ("app.env", r#"[{"value": "nameless"}]"#),
    ("app.env", r#"[{"name": "PORT", "value": 4003}]"#),
    ("extraEnv", r#"[{"name": "DEBUG", "value": true}]"#),
    ("leaving.lameDuck", "301"),
    ("leaving.lameDuck", "2.5"),
    ("leaving.shutdownGrace", "-1"),
    ("leaving.shutdownGrace", r#""30s""#),
    ("service.port", "0"),
    ("service.type", r#""ExternalName""#),
    ("service.sessionAffinitySeconds", "86401"),
    ("service.annotations", r#"{"a": 1}"#),
    ("auth.secretName", r#""Chat_Auth""#),
    ("auth.secretKey", r#""a/b""#),
    ("auth.secretKey", r#""""#),
    ("admin.tokenSecret", r#"{"name": "x", "key": ""}"#),
    ("image.digest", r#""abc""#),
    ("image.repository", r#""registry.example.com/tidegate:0.1.0""#),
    ("image.tag", "1.2"),
    ("origins", r#"[""]"#),
    ("redis.url", r#""http://redis""#),
    ("redis.url", r#""redis://user:password@redis""#),
    ("redis.passwordSecret.name", r#""x""#),
    ("redis.username", r#""x""#),
    ("redis", r#"{"username": "x", "urlSecret": {"name": "x"}}"#),
    ("upstream.url", r#""http://chat""#),
    ("upstream.podSelector", r#"{"app": "chat"}"#),
    ("extraEnv", r#"[{"name": "TIDEGATE__LISTEN__ADDRESS", "value": "0.0.0.0:1"}]"#),
    ("imagePullSecrets", r#"["registry"]"#),
    ("podLabels", r#"{"a": 1}"#),
    ("monitoring.podMonitor.interval", r#""15""#),
    ("podDisruptionBudget.maxUnavailable", r#""x""#),
    ("autoscaling", r#"{"enabled": true, "minReplicas": 0}"#),
    ("ingress", r#"{"enabled": true, "host": ""}"#),
    ("ingress", r#"{"enabled": true, "host": "a.example.com", "path": "foo"}"#),
    ("autoscaling", r#"{"enabled": true, "minReplicas": 5, "maxReplicas": 2}"#),
    ("service.nodePort", "30443"),
    ("service.externalTrafficPolicy", r#""Local""#),
    ("service.loadBalancerSourceRanges", r#"["192.0.2.0/24"]"#),
    ("initContainers", r#"[{"name": "tidegate", "image": "x"}]"#),
    ("extraContainers", r#"[{"name": "app", "image": "x"}]"#),
    ("extraVolumes", r#"[{"name": "tidegate-config", "emptyDir": {}}]"#),
    ("extraVolumeMounts", r#"[{"name": "x", "mountPath": "/etc/tidegate"}]"#),
    ("podAnnotations", r#"{"kubectl.kubernetes.io/default-container": "x"}"#),
    ("commonLabels", r#"{"app.kubernetes.io/name": "x"}"#),
    ("tls.certManager", r#"{"enabled": true, "issuerRef": {"name": "x"}, "dnsNames": []}"#),
    ("tls.acme", r#"{"enabled": true, "domains": []}"#),
    ("tls.acme", r#"{"enabled": true, "domains": ["*.example.com"]}"#),
    ("tls.acme", r#"{"enabled": true, "domains": ["a.example.com"], "directory": "acme"}"#),
];
/// Values that would have no effect beside others, which look as if they had one. The first is named in the message.
const IGNORED: &[&[(&str, &str)]] = &[
    &[("checkBeforeUpgrade", "true"), ("existingConfigMap", r#""x""#)],
    &[("restartOnConfigChange", "true"), ("existingConfigMap", r#""x""#)],
    &[
        ("upstream.allowFrom", r#"[{"podSelector": {}}]"#),
        ("mode", r#""gateway""#),
        ("app.image", r#""""#),
        ("upstream.service.name", r#""svc""#),
    ],
    // Every series would be there twice.
    &[
        ("monitoring.serviceMonitor.enabled", "true"),
        ("monitoring.podMonitor.enabled", "true"),
        ("nativeSidecar", "false"),
    ],
];
/// Values beside those, which are as they should be.
const FINE: &[(&str, &str)] = &[
    ("image.repository", r#""registry.example.com:5000/tidegate""#),
    ("replicas", "0"),
    ("app.port", "8444"),
    ("app", r#"{"listenEnv": "HOST", "readinessProbe": {"httpGet": {"port": 8443}}}"#),
    ("app", r#"{"listenEnv": "", "readinessProbe": {"httpGet": {"port": 4003}}}"#),
    ("service", r#"{"type": "NodePort", "nodePort": 30443, "externalTrafficPolicy": "Local"}"#),
    ("service", r#"{"type": "LoadBalancer", "loadBalancerSourceRanges": ["192.0.2.0/24"]}"#),
    ("initContainers", r#"[{"name": "migrate", "image": "x"}]"#),
    ("extraVolumes", r#"[{"name": "config", "emptyDir": {}}]"#),
    ("commonLabels", r#"{"app.kubernetes.io/part-of": "x"}"#),
    ("tls.certManager", r#"{"enabled": true, "issuerRef": {"name": "x"}, "dnsNames": ["*.example.com"]}"#),
    ("leaving", r#"{"lameDuck": 0, "shutdownGrace": 0, "appStop": 0}"#),
    ("leaving.lameDuck", "300"),
    ("service.sessionAffinitySeconds", "86400"),
    ("auth.secretKey", r#""jwt.key-1_a""#),
    ("admin.tokenSecret", r#"{"name": "x", "key": "token"}"#),
    ("origins", r#"["https://a.example.com", "*", "null", "self"]"#),
    ("redis.url", r#""rediss://redis:6380/1""#),
    ("extraEnv", r#"[{"name": "TIDEGATE__LOG__LEVEL", "value": "debug"}]"#),
    (
        "app.env",
        r#"[{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, {"name": "PORT", "value": "4003"}]"#,
    ),
    ("podDisruptionBudget.maxUnavailable", r#""25%""#),
    ("autoscaling", r#"{"enabled": true, "minReplicas": 1}"#),
    ("autoscaling", r#"{"enabled": true, "connectionsPerPod": 1000000}"#),
    ("ingress", r#"{"enabled": true, "host": "*.example.com", "path": "/socket.io/"}"#),
    ("tls.acme", r#"{"enabled": true, "domains": ["a.example.com"]}"#),
    ("global", r#"{"imageRegistry": "registry.example.com"}"#),
    // What the condition of an umbrella chart reads reaches this chart too.
    ("enabled", "true"),
];

/// In a file of values `tls:` without anything below it is null, and Helm takes the whole table away.
#[test]
fn a_table_that_is_taken_away_is_missed() {
    let defaults = defaults();
    let tables: Vec<String> = places(&defaults, "")
        .into_iter()
        .filter(|(path, value)| value.is_object() && !path.is_empty() && !OPEN.contains(&path.as_str()))
        .map(|(path, _)| path)
        .collect();
    let said = for_all(&tables, |path| {
        let mut changes = json!({});
        *at(&mut changes, path) = Value::Null;
        with(&changes)
    });
    for (path, said) in tables.iter().zip(said) {
        let error = said.expect_err(&format!("{path}: null is taken"));
        let key = path.rsplit('.').next().unwrap_or_default();
        assert!(error.contains("missing propert") && error.contains(&format!("'{key}'")), "{path}: {error}");
    }
}

/// A table as its keys, for other keys of it stay as they are.
fn leaves(path: &str, value: Value) -> Vec<(String, Value)> {
    match value {
        Value::Object(table) if !OPEN.contains(&path) => {
            table.into_iter().flat_map(|(key, value)| leaves(&format!("{path}.{key}"), value)).collect()
        }
        value => vec![(path.to_owned(), value)],
    }
}

#[test]
fn what_would_fail_later_is_refused_now() {
    let keys =
        |(path, json): &(&str, &str)| leaves(path, serde_json::from_str(json).expect("values are written as JSON"));
    let release = |row: &(&str, &str)| {
        let needed = Release::new(&format!("{} = {}", row.0, row.1))
            .set("app.image", r#""registry.example.com/chat:1""#)
            .set("auth.secretName", r#""chat-auth""#);
        keys(row).iter().fold(needed, |release, (path, value)| release.set(path, &value.to_string()))
    };
    let late: Vec<Release> = LATER.iter().map(release).collect();
    for (row, said) in LATER.iter().zip(for_all(&late, Release::template)) {
        let error = said.expect_err(&format!("{row:?}: it renders"));
        let is_named = keys(row).iter().any(|(path, _)| error.contains(path) || error.contains(&pointer(path)));
        assert!(is_named, "{row:?}: {error}");
    }
    let ignored: Vec<Release> = IGNORED
        .iter()
        .map(|rows| {
            let needed = release(&rows[0]);
            rows[1..].iter().fold(needed, |release, (path, json)| release.set(path, json))
        })
        .collect();
    for (rows, said) in IGNORED.iter().zip(for_all(&ignored, Release::template)) {
        let error = said.expect_err(&format!("{rows:?}: they render"));
        assert!(error.contains(rows[0].0.trim_end_matches(".enabled")), "{rows:?}: {error}");
    }
    let fine: Vec<Release> = FINE.iter().map(release).collect();
    for render in crate::manifests::render(&fine) {
        assert!(render.faults.is_empty(), "{}: {:?}", render.release.case, render.faults);
    }
}

/// TOML has several ways to say one thing, and `config` is not the only place.
#[test]
fn who_may_connect_is_seen_however_it_is_said() {
    const ALL: &[(&str, &str, bool)] = &[
        ("config", "[auth]\nsecret = { file = \"/key\" }\n", true),
        ("config", "[auth]\nsecret.file = \"/key\"\n", true),
        ("config", "[auth.secret]\nfile = \"/key\"\n", true),
        ("config", "auth = { required = false }\n", true),
        ("config", "auth.jwks_url = \"https://id.example.com/keys\"\n", true),
        ("extraEnv", "TIDEGATE__AUTH__JWKS_URL", true),
        ("config", "[log]\nlevel = \"info\"\n", false),
        ("config", "# auth = {}\n[cookie]\nsecrets = 1\n", false),
        ("extraEnv", "TIDEGATE__LOG__LEVEL", false),
    ];
    let release = |(path, said, _): &(&str, &str, bool)| {
        let value = if *path == "config" { json!(said) } else { json!([{"name": said, "value": "x"}]) };
        Release::new(said).set("app.image", r#""registry.example.com/chat:1""#).set(path, &value.to_string())
    };
    let releases: Vec<Release> = ALL.iter().map(release).collect();
    for ((_, said, is_seen), rendered) in ALL.iter().zip(for_all(&releases, Release::template)) {
        assert_eq!(rendered.is_ok(), *is_seen, "{said}: {rendered:?}");
    }
}

/// YAML takes text for a number where nobody quotes it. Secrets, classes and tags may well be called so.
#[test]
fn text_that_looks_like_a_number_stays_text() {
    let leaves: Vec<String> = places(&defaults(), "")
        .into_iter()
        .filter(|(path, value)| value.is_string() && !path.is_empty())
        .map(|(path, _)| path)
        .collect();
    let release = |path: &String| {
        let is_of_the_gateway = path.starts_with("upstream.") || path.starts_with("tls.");
        let base = Release::ci(if is_of_the_gateway { "gateway-acme-values" } else { "sidecar-full-values" });
        base.set("ingress.enabled", "true").set("ingress.host", r#""chat.example.com""#).set(path, r#""12345""#)
    };
    let releases: Vec<Release> = leaves.iter().map(release).collect();
    // Some are words of a list, addresses or durations, and are refused.
    let said = for_all(&releases, Release::template);
    let taken: Vec<Release> =
        releases.into_iter().zip(said).filter_map(|(release, said)| said.is_ok().then_some(release)).collect();
    assert!(taken.len() > 20, "most are names");
    let faults: Vec<String> = crate::manifests::render(&taken).into_iter().flat_map(|render| render.faults).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}
