//! `tidegate inject` on manifests of the kinds that people have, and `uninject`, which takes it back.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::support::{Value, json, process, soon, tidegate::PROGRAM, token::SECRET};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/inject");
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python/bin/python");
const JUDGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upstream/manifests.py");

/// Manifests, and the options with which the gate goes into them beside `--config` and `--secret`.
const MANIFESTS: [(&str, &[&str]); 12] = [
    ("helm.yaml", &[]),
    ("containers.yaml", &["--port", "4003", "--stop-time", "1m"]),
    ("host-network.yaml", &["--listen-port", "18443", "--admin-port", "19464"]),
    ("init-containers.yaml", &[]),
    ("statefulset.yaml", &["--classic"]),
    ("pod.yaml", &["--port", "3000", "--image", "registry.example.com/tidegate:1"]),
    ("crlf.yaml", &["--tls-secret", "lobby-tls"]),
    ("empty.yaml", &[]),
    ("odd.yaml", &[]),
    ("list.yaml", &[]),
    ("list.json", &[]),
    ("stream.json", &["--classic"]),
];

/// What the program printed.
#[derive(Debug)]
struct Printed {
    code: Option<i32>,
    out: String,
    told: String,
}

async fn tidegate(arguments: &[&str], input: &str) -> Printed {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(FOLDER).env_remove("NEXTAUTH_SECRET");
    let mut child = process::spawn(&mut command);
    let mut stdin = child.stdin.take().unwrap();
    // A program that reads files alone may have ended.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = soon("the program ends", child.wait_with_output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Printed { code: output.status.code(), out: text(output.stdout), told: text(output.stderr) }
}

async fn inject(options: &[&str], input: &str) -> Printed {
    let always = ["inject", "--config", "tidegate.toml", "--secret", "chat-jwt:secret"];
    tidegate(&[&always, options].concat(), input).await
}

/// The same, where nothing is wrong.
async fn injected(options: &[&str], input: &str) -> String {
    let printed = inject(options, input).await;
    assert_eq!(printed.code, Some(0), "{printed:?}");
    printed.out
}

fn original(name: &str) -> String {
    fs::read_to_string(Path::new(FOLDER).join(name)).unwrap()
}

/// `helm.yaml` becomes `helm.gated.yaml`.
fn golden(name: &str) -> PathBuf {
    let (stem, kind) = name.rsplit_once('.').unwrap();
    Path::new(FOLDER).join(format!("{stem}.gated.{kind}"))
}

#[tokio::test]
async fn each_manifest_becomes_what_its_golden_file_says() {
    for (name, options) in MANIFESTS {
        let printed = inject(&[options, &[name]].concat(), "").await;
        assert_eq!(printed.code, Some(0), "{name}: {printed:?}");
        for (path, found) in [(golden(name), &printed.out), (golden(name).with_extension("txt"), &printed.told)] {
            if env::var_os("UPDATE_EXPECT").is_some() {
                fs::write(&path, found).unwrap();
            }
            let expected = fs::read_to_string(&path).unwrap_or_default();
            let take = "UPDATE_EXPECT=1 cargo nextest run --test e2e inject takes it over";
            assert!(*found == expected, "{} differs; found\n{found}\n{take}", path.display());
        }
    }
}

#[tokio::test]
async fn twice_is_once_and_back_is_the_original() {
    for (name, options) in MANIFESTS {
        let once = injected(&[options, &["-"]].concat(), &original(name)).await;
        assert!(injected(&[options, &["-"]].concat(), &once).await == once, "{name}: twice");
        let others = ["--port", "4010", "--image", "other:2", "-"];
        let after = injected(&others, &once).await;
        assert!(after == injected(&others, &original(name)).await, "{name}: with other options");
        for gated in [once, after] {
            let back = tidegate(&["uninject", "-"], &gated).await;
            assert_eq!(back.code, Some(0), "{name}: {back:?}");
            assert!(back.out == original(name), "{name}: back\n{}", back.out);
        }
    }
}

#[tokio::test]
async fn other_readers_find_the_gate_and_nothing_else() {
    assert!(Path::new(PYTHON).exists(), "there is no {PYTHON}; scripts/test makes it");
    let folder = TempDir::new().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, SECRET).unwrap();
    let mut command = Command::new(PYTHON);
    command.arg(JUDGE);
    for (name, options) in MANIFESTS {
        let gated = folder.path().join(name);
        fs::write(&gated, injected(&[options, &[name]].concat(), "").await).unwrap();
        command.arg(Path::new(FOLDER).join(name)).arg(gated);
    }
    let output = soon("the judge ends", process::spawn(&mut command).wait_with_output()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let judged = String::from_utf8(output.stdout).unwrap();
    let faults: Vec<_> = judged.lines().filter(|line| line.starts_with("fault ")).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let configs: Vec<_> = judged.lines().filter_map(|line| line.strip_prefix("config ")).collect();
    assert_eq!(configs.len(), MANIFESTS.len());
    for config in configs {
        let config: Value = serde_json::from_str(config).unwrap();
        assert_checks(&config, &secret).await;
    }
}

/// The file of the ConfigMap is good in the environment of the sidecar.
async fn assert_checks(config: &Value, secret: &Path) {
    let file = secret.with_extension("toml");
    fs::write(&file, config["toml"].as_str().unwrap()).unwrap();
    let mut command = Command::new(PROGRAM);
    command.arg("check").arg(&file);
    for (name, value) in config["env"].as_object().unwrap() {
        // Its certificate is not here.
        if !name.starts_with("TIDEGATE__TLS__") {
            command.env(name, value.as_str().unwrap());
        }
    }
    command.env("TIDEGATE__AUTH__SECRET__FILE", secret);
    let output = soon("the check ends", process::spawn(&mut command).wait_with_output()).await.unwrap();
    assert!(output.status.success(), "{config}: {}", String::from_utf8_lossy(&output.stderr));
}

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec:\n  containers:\n  - name: a\n    image: a\n";

#[tokio::test]
async fn what_cannot_be_done_is_refused_with_its_place_and_nothing_is_printed() {
    let two = format!("{POD}---\n{}", POD.replace("name: a", "name: b"));
    let anchored = POD.replace("spec:\n", "spec: &spec\n");
    let tabbed = POD.replace("  containers:", "\tcontainers:");
    let foreign = POD.replace("- name: a", "- name: tidegate");
    let windows = POD.replace("  containers:", "  nodeSelector: {kubernetes.io/os: windows}\n  containers:");
    let taken = format!("{POD}    ports: [{{containerPort: 9464}}]\n");
    let double = format!("{POD}    image: b\n");
    let volume = format!("{POD}  volumes:\n  - name: tidegate-config\n");
    let ports = format!("{POD}    ports: [{{containerPort: 1}}, {{containerPort: 2}}]\n");
    // (input, options, what is said)
    let table: &[(&str, &[&str], &str)] = &[
        ("", &[], "there is no Deployment, StatefulSet, DaemonSet or Pod to inject in standard input"),
        (&two, &[], "there are 2 workloads, Pod/a, Pod/b; name those that get the sidecar, for example --only Pod/a"),
        (&two, &["--only", "c"], "--only c names no workload; there is Pod/a, Pod/b"),
        (&anchored, &[], "standard input:6: spec has the anchor of an alias"),
        (&tabbed, &[], "standard input:6: this is no YAML: tabs"),
        ("a: {{ .Values.a }}: b\n", &[], "a template of Helm is rendered first, with helm template"),
        (&foreign, &[], "standard input:1: Pod/a has a container named tidegate"),
        (&windows, &[], "standard input:1: Pod/a runs on Windows"),
        (
            &taken,
            &[],
            "container a of Pod/a uses port 9464, which the gate needs; choose another one with --admin-port",
        ),
        (&double, &[], "standard input:9: image stands twice in spec.containers[0]; remove one of them"),
        (&volume, &[], "Pod/a has a volume named tidegate-config already; rename it"),
        (POD, &["--container", "b"], "Pod/a has no container b; it has a"),
    ];
    for (input, options, said) in table {
        let refused = inject(&[&["--port", "4003"], *options].concat(), input).await;
        assert_eq!((refused.code, &*refused.out), (Some(2), ""), "{said}: {refused:?}");
        assert!(refused.told.contains(said), "{said}: {}", refused.told);
    }
    assert_eq!(inject(&["--port", "4003"], POD).await.code, Some(0));
    assert_eq!(inject(&["--port", "4003", "--only", "pod/b"], &two).await.code, Some(0));
    assert_eq!(inject(&["--port", "4003", "--admin-port", "9465"], &taken).await.code, Some(0));
    for (input, said) in [(POD, "Pod/a names no containerPort"), (&ports, "Pod/a names 2 ports, 1, 2")] {
        let refused = inject(&[], input).await;
        assert_eq!((refused.code, &*refused.out), (Some(2), ""), "{said}: {refused:?}");
        assert!(refused.told.contains(said), "{said}: {}", refused.told);
    }
}

#[tokio::test]
async fn the_configuration_is_checked_as_the_pod_will_read_it() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("gate.toml");
    let file = file.to_str().unwrap();
    let with = async |toml: &str, options: &[&str]| {
        fs::write(file, toml).unwrap();
        tidegate(&[&["inject", "--config", file, "--port", "4003"], options].concat(), POD).await
    };
    let table: &[(&str, &[&str], &str)] = &[
        ("", &[], "--secret NAME:KEY makes auth.secret of the key KEY"),
        ("", &["--secret", "s"], "auth.required is true, but there is no key that verifies tokens"),
        ("[limits]\nconections = 1", &["--secret", "s:k"], "gate.toml:2: limits.conections is"),
        (
            "[auth]\nsecret = { file = \"secret\" }",
            &["--secret", "s"],
            "write { file = \"/etc/tidegate/secrets/secret\" }",
        ),
        ("[auth]\nsecret = { env = \"JWT\" }", &[], "gate.toml:2: auth.secret is the environment variable \"JWT\""),
        ("[auth]\nsecret = { file = \"/etc/tidegate/secrets/k\" }", &[], "name with --secret the Secret"),
        ("limits.lame_duck = \"1s\"", &["--secret", "s:k", "--lame-duck", "1h"], "limits.lame_duck is \"1h\""),
        // What is wrong wherever it is read.
        ("auth.public_key = \"/etc/tidegate/secrets/p\"", &["--secret", "s:k"], "is given together with auth.secret"),
        (
            "auth.public_key = \"/etc/tidegate/secrets/p\"",
            &["--secret", "s"],
            "but auth.public_key can only be used for",
        ),
        (
            "redis.url_from = { file = \"/etc/tidegate/secrets/r\" }\nredis.password = { file = \"/etc/tidegate/secrets/w\" }\n\
             auth.secret = { file = \"/etc/tidegate/secrets/k\" }",
            &["--secret", "s"],
            "redis.password is given, and redis.url_from says it too",
        ),
        (
            "auth.secret = { file = \"/etc/tidegate/secrets/k\" }\n[tls.acme]\ndomains = [\"a.example.com\"]\ncache = \"redis\"",
            &["--secret", "s"],
            "there is no table [redis]",
        ),
        (
            "[tls.acme]\ndomains = [\"a.example.com\"]\ncache = \"/tmp/a\"",
            &["--secret", "s:k"],
            "/var/lib/tidegate/acme",
        ),
    ];
    for (toml, options, said) in table {
        let refused = with(toml, options).await;
        assert_eq!((refused.code, &*refused.out), (Some(2), ""), "{toml}: {refused:?}");
        assert!(refused.told.contains(said), "{said}: {}", refused.told);
    }
    let good = with("[auth]\nsecret = { file = \"/etc/tidegate/secrets/k\" }", &["--secret", "s"]).await;
    assert_eq!(good.code, Some(0), "{good:?}");
    let tls = with("[limits]\nlame_duck = \"1s\"", &["--secret", "s:k", "--tls-secret", "t"]).await;
    assert_eq!(tls.code, Some(0), "{tls:?}");
    assert!(tls.out.contains("value: /etc/tidegate/tls/tls.crt") && tls.out.contains("Seconds: 46"), "{tls:?}");
    let acme = with("[tls.acme]\ndomains = [\"a.example.com\"]", &["--secret", "s:k"]).await;
    assert!(acme.out.contains("mountPath: /var/lib/tidegate/acme"), "{acme:?}");
    assert!(acme.told.contains("every new pod orders a certificate"), "{acme:?}");
    assert!(acme.out.contains("path: \"/readyz?without=certificate\""), "the authority comes before: {acme:?}");
    assert!(good.out.contains("path: /readyz\n") && !acme.told.contains("http_address"), "{good:?} {acme:?}");
    let shared = "auth.secret = { file = \"/etc/tidegate/secrets/k\" }\ncluster.secret = { file = \"/etc/tidegate/secrets/c\" }\n\
                  [redis]\nurl = \"redis://redis:6379\"\n[tls.acme]\ndomains = [\"a.example.com\"]\ncache = \"redis\"\n\
                  challenges = [\"http-01\"]\nhttp_address = \"0.0.0.0:8080\"";
    let shared = with(shared, &["--secret", "s"]).await;
    assert!(shared.out.contains("path: \"/readyz?without=certificate\""), "{shared:?}");
    assert!(shared.told.contains("no port leads to tls.acme.http_address"), "{shared:?}");
    let named = tidegate(&["inject", "--config-map", "mine", "--port", "4003"], POD).await;
    assert!(named.out.contains("name: mine\n") && !named.out.contains("kind: ConfigMap"), "{named:?}");
}

#[tokio::test]
async fn files_are_read_together_and_printed_one_after_another() {
    let folder = TempDir::new().unwrap();
    let [pod, service] = ["pod.yaml", "service.yaml"].map(|name| folder.path().join(name).display().to_string());
    let labelled = POD.replace("  name: a\nspec", "  name: a\n  labels: {app: a}\nspec");
    fs::write(&pod, &labelled).unwrap();
    let ports = "spec: {selector: {app: a}, ports: [{port: 80, targetPort: 4003}]}";
    fs::write(&service, format!("apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\n{ports}\n")).unwrap();
    let both = inject(&["--port", "4003", &service, &pod], "").await;
    assert_eq!(both.code, Some(0), "{both:?}");
    assert!(both.out.contains("targetPort: 8443") && both.told.contains("Service/a: port 80 leads"), "{both:?}");
    assert_eq!(both.out.matches("---\n").count(), 2, "{both:?}");
    let alone = inject(&["--port", "4003", &pod], "").await;
    assert!(alone.told.contains("kubectl patch service a -p"), "{alone:?}");
    let missing = inject(&["--port", "4003", &pod, "nowhere.yaml"], "").await;
    assert_eq!((missing.code, &*missing.out), (Some(1), ""), "{missing:?}");
    assert!(missing.told.contains("cannot read nowhere.yaml"), "{missing:?}");
    let untouched = tidegate(&["uninject", &pod], "").await;
    assert_eq!((untouched.code, untouched.out), (Some(0), labelled), "{}", untouched.told);
    assert!(untouched.told.contains("nothing here was injected"), "{}", untouched.told);
}

/// Both say the same container, so that a pod does not depend on how the gate came into it.
#[tokio::test]
async fn the_sidecar_is_that_of_the_chart() {
    let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/chart/golden/sidecar-min-values.yaml");
    let folder = TempDir::new().unwrap();
    let gated = folder.path().join("gated.yaml");
    let options = ["inject", "--config-map", "chat-tidegate", "--secret", "chat-auth:secret", "--port", "4003"];
    fs::write(&gated, tidegate(&options, POD).await.out).unwrap();
    const SCRIPT: &str = "
import json, sys, yaml
def pods(path):
    for it in filter(None, yaml.safe_load_all(open(path))):
        pod = it['spec'].get('template', it)['spec'] if it['kind'] in ('Deployment', 'Pod') else {}
        for container in pod.get('initContainers', []):
            app = pod['containers'][0]
            yield [container, pod['volumes'], app['lifecycle'], pod['terminationGracePeriodSeconds']]
print(json.dumps([list(pods(path)) for path in sys.argv[1:]]))
";
    let mut command = Command::new(PYTHON);
    command.args(["-c", SCRIPT, chart]).arg(&gated);
    let output = soon("Python ends", process::spawn(&mut command).wait_with_output()).await.unwrap();
    let both: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_ne!(both[0], json!([]), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(both[0], both[1]);
}
