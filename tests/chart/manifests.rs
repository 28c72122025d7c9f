//! Manifests as JSON, judged by the schemas of Kubernetes, and the questions that the rules ask them.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use serde_json::{Map, Value, json};

use crate::{
    helm::{NEWEST, OLDEST, OLDEST_WITH_SIDECARS, Release, for_all, repository},
    values::given,
};

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python/bin/python");

/// A release, and what Helm makes of it.
#[derive(Clone, Debug)]
pub(crate) struct Render {
    pub(crate) release: Release,
    /// The values that it was given, with the defaults.
    pub(crate) values: Value,
    pub(crate) text: String,
    pub(crate) manifests: Vec<Value>,
    /// What the schemas refuse.
    pub(crate) faults: Vec<String>,
}

/// Renders them all. What Helm refuses fails the test.
pub(crate) fn render(releases: &[Release]) -> Vec<Render> {
    let texts = for_all(releases, |release| {
        release.template().unwrap_or_else(|error| panic!("{}: Helm refuses {release:?}: {error}", release.case))
    });
    let versions: Vec<Vec<&str>> = texts.iter().map(|text| versions(text)).collect();
    let asked: Vec<_> = texts.iter().zip(&versions).map(|(yaml, of)| json!({"yaml": yaml, "versions": of})).collect();
    let judged = judge(&Value::from(asked));
    assert_eq!(judged.len(), releases.len(), "each is judged");
    let all = releases.iter().zip(given(releases)).zip(texts).zip(judged);
    all.map(|(((release, values), text), judged)| Render {
        release: release.clone(),
        values,
        text,
        manifests: items(&judged["manifests"]).to_vec(),
        faults: items(&judged["faults"]).iter().map(|fault| word(fault).to_owned()).collect(),
    })
    .collect()
}

/// The oldest and the newest version that take these manifests.
fn versions(text: &str) -> Vec<&'static str> {
    let native = text.lines().any(|line| line.trim() == "restartPolicy: Always");
    vec![if native { OLDEST_WITH_SIDECARS } else { OLDEST }, NEWEST]
}

/// Reads YAML texts. The schemas are those of each text's `versions`.
pub(crate) fn judge(asked: &Value) -> Vec<Value> {
    let mut python = Command::new(PYTHON)
        .arg(repository("tests/chart/validate.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{PYTHON}: {error}; scripts/test installs it"));
    // It reads everything before it writes anything.
    python.stdin.take().expect("it is piped").write_all(asked.to_string().as_bytes()).expect("python reads");
    let output = python.wait_with_output().expect("python ends");
    assert!(output.status.success(), "tests/chart/validate.py failed; see above");
    serde_json::from_slice(&output.stdout).expect("it writes JSON")
}

/// The one document of a YAML text.
pub(crate) fn document(yaml: &str) -> Value {
    let judged = judge(&json!([{"yaml": yaml, "versions": []}]));
    assert_eq!(judged[0]["faults"], json!([]), "{yaml}");
    judged[0]["manifests"][0].clone()
}

/// The elements of a list, none if there is no list.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text, empty if there is none.
pub(crate) fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The name of a manifest, a container, a port or a volume.
pub(crate) fn name(value: &Value) -> &str {
    let named = if value["metadata"].is_object() { &value["metadata"]["name"] } else { &value["name"] };
    word(named)
}

/// The map at this place, empty if there is none.
pub(crate) fn map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// Whether an object with these labels has all those of a selector.
pub(crate) fn selects(match_labels: &Value, labels: &Value) -> bool {
    let wanted = map(match_labels);
    !wanted.is_empty() && wanted.iter().all(|(key, value)| labels[key] == *value)
}

impl Render {
    pub(crate) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.manifests.iter().filter(move |manifest| manifest["kind"] == kind)
    }

    /// The Deployment, of which there is one.
    pub(crate) fn deployment(&self) -> &Value {
        let mut all = self.of_kind("Deployment");
        let first = all.next().unwrap_or_else(|| panic!("{}: there is no Deployment", self.release.case));
        assert!(all.next().is_none(), "{}: there are two Deployments", self.release.case);
        first
    }

    /// The pod template of the Deployment.
    pub(crate) fn template(&self) -> &Value {
        &self.deployment()["spec"]["template"]
    }

    /// The container of Tidegate.
    pub(crate) fn tidegate(&self) -> &Value {
        container(&self.template()["spec"], "tidegate").expect("the pod has a container named tidegate")
    }

    /// The container of the service, in sidecar mode.
    pub(crate) fn app(&self) -> Option<&Value> {
        container(&self.template()["spec"], "app")
    }

    /// Whether Tidegate is an init container.
    pub(crate) fn native(&self) -> bool {
        items(&self.template()["spec"]["initContainers"]).iter().any(|one| name(one) == "tidegate")
    }

    /// Each pod's `metadata` and `spec`: that of the Deployment first, then those of tests and Jobs.
    pub(crate) fn pods(&self) -> Vec<&Value> {
        let jobs = self.of_kind("Job").map(|job| &job["spec"]["template"]);
        [self.template()].into_iter().chain(self.of_kind("Pod")).chain(jobs).collect()
    }

    /// A number that the environment of Tidegate has in seconds, for example `TIDEGATE__LIMITS__LAME_DUCK`.
    pub(crate) fn seconds(&self, variable: &str) -> Option<u64> {
        self.variable(variable)?.strip_suffix('s')?.parse().ok()
    }

    pub(crate) fn variable(&self, variable: &str) -> Option<&str> {
        items(&self.tidegate()["env"]).iter().find(|one| name(one) == variable)?["value"].as_str()
    }
}

/// All containers of a pod, with init containers.
pub(crate) fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    items(&spec["initContainers"]).iter().chain(items(&spec["containers"]))
}

pub(crate) fn container<'a>(spec: &'a Value, wanted: &str) -> Option<&'a Value> {
    containers(spec).find(|one| name(one) == wanted)
}

/// To break a render.
impl Render {
    /// Changes all manifests of a kind. Says whether there is one.
    pub(crate) fn change(&mut self, kind: &str, mut change: impl FnMut(&mut Value)) -> bool {
        let mut found = false;
        for manifest in self.manifests.iter_mut().filter(|manifest| manifest["kind"] == kind) {
            change(manifest);
            found = true;
        }
        found
    }

    /// Changes the pod template of the Deployment.
    pub(crate) fn change_pod(&mut self, change: impl Fn(&mut Value)) -> bool {
        self.change("Deployment", |deployment| change(&mut deployment["spec"]["template"]))
    }

    /// Changes a container of the Deployment. Says whether it is there.
    pub(crate) fn change_container(&mut self, wanted: &str, change: impl Fn(&mut Value)) -> bool {
        let mut found = false;
        self.change("Deployment", |deployment| {
            for list in ["initContainers", "containers"] {
                let all = deployment["spec"]["template"]["spec"][list].as_array_mut();
                for one in all.into_iter().flatten().filter(|one| one["name"] == wanted) {
                    change(one);
                    found = true;
                }
            }
        });
        found
    }
}
