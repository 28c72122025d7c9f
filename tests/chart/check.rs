//! The configuration that the chart gives to Tidegate is one that this Tidegate starts with.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::{Value, json};

use crate::{
    helm::{Release, ci_values},
    manifests::{Render, items, map, name, render, word},
    rules::{Rule, unless},
    values::text,
};

/// What `existingConfigMap` has, in the releases that name one. It says who may connect where the values do not.
const GIVEN_CONFIG: &str = "[origins]\nallow = [\"https://app.example.com\"]\n";
const GIVEN_CONFIG_WITHOUT_KEY: &str = "[auth]\nalgorithms = [\"RS256\"]\njwks_url = \"https://id.example.com/keys\"\n";
/// 32 bytes, as the shortest key of HS256 has, as hexadecimal digits.
const KEY: &str = "7ab1c1f0c4f2435d9b3ac7e0b1f8d2a65e60d1a49c1b47e88f3f5a2c9d0e7b16";

/// The Secrets of the cluster: those that the values name, each with the keys that they name.
fn cluster(render: &Render) -> HashMap<String, Vec<(String, String)>> {
    let mut all: HashMap<String, Vec<(String, String)>> = HashMap::new();
    let values = &render.values;
    let redis = "redis://:password@redis:6379";
    for (secret, key, content) in [
        ("auth.secretName", "auth.secretKey", KEY),
        ("admin.tokenSecret.name", "admin.tokenSecret.key", KEY),
        ("cluster.secret.name", "cluster.secret.key", KEY),
        ("redis.passwordSecret.name", "redis.passwordSecret.key", "password"),
        ("redis.urlSecret.name", "redis.urlSecret.key", redis),
    ] {
        let of = all.entry(text(values, secret).to_owned()).or_default();
        of.push((text(values, key).to_owned(), content.to_owned()));
    }
    let ordered = rcgen::generate_simple_self_signed(["chat.example.com".to_owned()]).expect("a certificate is made");
    let (certificate, key) = (ordered.cert.pem(), ordered.signing_key.serialize_pem());
    let certificate = [("ca.crt", certificate.clone()), ("tls.crt", certificate), ("tls.key", key)];
    let ordered = render.of_kind("Certificate").map(|one| word(&one["spec"]["secretName"]));
    for secret in ordered.chain([text(values, "tls.secretName")]) {
        all.entry(secret.to_owned()).or_default().extend(certificate.clone().map(|(key, pem)| (key.to_owned(), pem)));
    }
    all.remove("");
    all
}

/// The files of a volume, by their names below the place where it is mounted.
fn files(render: &Render, volume: &Value) -> Vec<(String, String)> {
    let (source, of) = if let Some(secret) = volume["secret"]["secretName"].as_str() {
        let mut secrets = cluster(render);
        let of = secrets.remove(secret).unwrap_or_else(|| panic!("{}: no value names {secret}", render.release.case));
        (&volume["secret"], of)
    } else if let Some(wanted) = volume["configMap"]["name"].as_str() {
        let maps = render.of_kind("ConfigMap").find(|one| name(one) == wanted);
        let texts = maps.map(|one| map(&one["data"])).unwrap_or_default();
        let of = texts.into_iter().map(|(key, text)| (key, word(&text).to_owned())).collect();
        let is_given = text(&render.values, "existingConfigMap") == wanted;
        let has_key = !text(&render.values, "auth.secretName").is_empty();
        let given = if has_key { GIVEN_CONFIG } else { GIVEN_CONFIG_WITHOUT_KEY };
        let given = vec![("tidegate.toml".to_owned(), given.to_owned())];
        (&volume["configMap"], if is_given { given } else { of })
    } else {
        return Vec::new();
    };
    let chosen = items(&source["items"]);
    if chosen.is_empty() {
        return of;
    }
    let file = |item: &Value| {
        let found = of.iter().find(|(key, _)| key == word(&item["key"]));
        let (_, content) = found.unwrap_or_else(|| panic!("{}: there is no key {item}", render.release.case));
        (word(&item["path"]).to_owned(), content.clone())
    };
    chosen.iter().map(file).collect()
}

/// Puts the files of the container below a folder, and lets this build check what the container would run.
fn check(render: &Render) -> Output {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let root = folder.path();
    let (container, spec) = (render.tidegate(), &render.template()["spec"]);
    let mounts: Vec<(&str, &Value)> = items(&container["volumeMounts"])
        .iter()
        .map(|mount| {
            let volume = items(&spec["volumes"]).iter().find(|volume| name(volume) == name(mount));
            (word(&mount["mountPath"]), volume.expect("what is mounted exists"))
        })
        .collect();
    let moved = |text: &str| mounts.iter().fold(text.to_owned(), |text, (path, _)| move_below(root, path, &text));
    for (path, volume) in &mounts {
        let place = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(&place).expect("the folder can be made");
        for (file, content) in files(render, volume) {
            fs::write(place.join(file), moved(&content)).expect("the file can be written");
        }
    }
    let arguments: Vec<&str> = items(&container["args"]).iter().map(word).collect();
    let ["run", rest @ ..] = arguments.as_slice() else {
        panic!("{}: the container does not run the gate: {arguments:?}", render.release.case)
    };
    let environment = items(&container["env"]).iter();
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .arg("check")
        .args(rest.iter().map(|argument| moved(argument)))
        .env_clear()
        .envs(environment.map(|variable| (name(variable), moved(word(&variable["value"])))))
        .output()
        .expect("tidegate runs")
}

/// Where a path of the container is on this machine. Only whole words are paths.
fn move_below(root: &Path, path: &str, text: &str) -> String {
    let at_the_start = if text.starts_with(path) { root.display().to_string() } else { String::new() };
    at_the_start + &text.replace(&format!("\"{path}"), &format!("\"{}{path}", root.display()))
}

/// The admin address is open to the pod's network for the probes; what would show sessions is off without a token.
const EXPECTED: &str = "admin.address is not loopback and there is no admin.token";

pub(crate) const RULES: &[Rule] = &[Rule {
    name: "Tidegate starts with the configuration, and warns of nothing",
    judge: |render| {
        let output = check(render);
        let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let warns = errors.lines().any(|line| !line.contains(EXPECTED));
        let is_so = output.status.success() && said.starts_with("ok:") && !warns;
        unless(is_so, || format!("{said}{errors}")).into_iter().collect()
    },
    break_it: |render| {
        render.change_container("tidegate", |one| one["env"][0]["name"] = json!("TIDEGATE__LISTEN__ADRESS"))
    },
}];

#[test]
fn a_mistake_that_the_chart_does_not_see_is_found_by_tidegate() {
    let release = |path, json| Release::ci(&ci_values()[0]).set(path, json);
    let renders = render(&[
        release("config", r#""[rate_limits]\nper = 60""#),
        release("extraEnv", r#"[{"name": "TIDEGATE__SOCKETIO__PAHT", "value": "/"}]"#),
        release("trustedProxies", r#"["10.0.0.0/33"]"#),
    ]);
    for (render, found) in renders.iter().zip(["rate_limits", "PAHT", "10.0.0.0/33"]) {
        let output = check(render);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(found), "{found}: {errors}");
    }
}

/// TOML in a YAML text in a template: what an operator writes arrives, but for the kind of line ends.
#[test]
fn the_configuration_arrives_as_it_was_written() {
    let all = [
        "[log]\nlevel = \"info\"\n",
        "\n\n[log]\nlevel = \"info\"\n",
        "  [log]\n  level = \"info\"\n[admin]\n",
        "# {{ .Values.mode }} $(HOME) %s \u{e9}\n[log]\nlevel = \"info\" # no newline at the end",
        "[log]\n\tlevel = 'info'\n\n\n",
        "[log]\r\nlevel = 'info'\r\n",
        "a = '''\n--- \nkey: value\n'''\n",
        "",
    ];
    let releases = all.map(|written| {
        let release = Release::ci(&ci_values()[0]).set("existingConfigMap", r#""""#);
        release.set("checkBeforeUpgrade", "true").set("config", &Value::from(written).to_string())
    });
    for (written, render) in all.iter().zip(render(&releases)) {
        let configs = render.of_kind("ConfigMap").filter_map(|one| one["data"]["tidegate.toml"].as_str());
        let arrived: Vec<&str> = configs.map(str::trim_end).collect();
        let written = written.replace("\r\n", "\n");
        assert_eq!(arrived, [written.trim_end(); 2], "as the file, and as what a Job checks; {:?}", render.faults);
    }
}

/// Pods read a changed file by themselves, so a change of it disconnects nobody who has not asked for that.
#[test]
fn a_change_of_the_configuration_replaces_pods_only_where_that_is_asked() {
    let release = |config: &str, restart: &str| {
        let release = Release::ci(&ci_values()[0]).set("existingConfigMap", r#""""#);
        release.set("config", &Value::from(config).to_string()).set("restartOnConfigChange", restart)
    };
    let renders = render(&[
        release("[log]\nlevel = 'info'", "false"),
        release("[log]\nlevel = 'debug'", "false"),
        release("[log]\nlevel = 'info'", "true"),
        release("[log]\nlevel = 'debug'", "true"),
    ]);
    let [kept, still_kept, replaced, again] = renders.as_slice() else { unreachable!("four were rendered") };
    assert_eq!(kept.template(), still_kept.template());
    assert_ne!(replaced.template(), again.template());
}
