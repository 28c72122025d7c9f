//! Manifests as a cluster would get them.

use std::{path::Path, process::Command};

use serde_json::Value;

use super::output;

/// Objects of one render, or of a test.
#[derive(Debug, Clone)]
pub(crate) struct Manifests(pub(crate) Vec<Value>);

impl Manifests {
    /// What the repository's chart renders with these values.
    pub(crate) fn of_chart(release: &str, values: &Value, folder: &Path) -> Self {
        const ROOT: &str = env!("CARGO_MANIFEST_DIR");
        let file = folder.join("values.json");
        std::fs::write(&file, values.to_string()).unwrap();
        let helm = Path::new(ROOT).join("target/kubernetes/helm");
        assert!(helm.exists(), "{} is missing: scripts/test installs it", helm.display());
        let mut command = Command::new(helm);
        command.args(["template", release]).arg(Path::new(ROOT).join("charts/tidegate"));
        command.args(["--namespace", "tutor", "--values"]).arg(&file);
        for api in ["monitoring.coreos.com/v1", "monitoring.coreos.com/v1/PodMonitor"] {
            command.args(["--api-versions", api]);
        }
        let rendered = output(&mut command).unwrap_or_else(|error| panic!("helm template: {error}"));
        let file = folder.join("rendered.yaml");
        std::fs::write(&file, rendered).unwrap();
        Self(yaml(&file))
    }

    /// The only object of this kind.
    pub(crate) fn only(&self, kind: &str) -> &Value {
        let found: Vec<_> = self.0.iter().filter(|object| object["kind"] == kind).collect();
        let [only] = found[..] else { panic!("{} objects are a {kind}", found.len()) };
        only
    }

    /// A ConfigMap's or Secret's entries; those of a Secret are not encoded any more.
    pub(super) fn entries(&self, kind: &str, name: &str) -> Vec<(String, Vec<u8>)> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let found = self.0.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        let object = found.unwrap_or_else(|| panic!("there is no {kind} {name}"));
        let of = |field: &str| object[field].as_object().into_iter().flatten().collect::<Vec<_>>();
        let plain = |(key, value): (&String, &Value)| (key.clone(), value.as_str().unwrap().as_bytes().to_vec());
        let decoded =
            |(key, value): (&String, &Value)| (key.clone(), STANDARD.decode(value.as_str().unwrap()).unwrap());
        match kind {
            "Secret" => of("data").into_iter().map(decoded).chain(of("stringData").into_iter().map(plain)).collect(),
            _ => of("data").into_iter().map(plain).collect(),
        }
    }
}

/// The documents of a file.
pub(crate) fn yaml(file: &Path) -> Vec<Value> {
    const READ: &str =
        "import json, sys, yaml; print(json.dumps([d for d in yaml.safe_load_all(open(sys.argv[1])) if d]))";
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python");
    assert!(python.exists(), "{} is missing: scripts/test installs it", python.display());
    let json = output(Command::new(python).args(["-c", READ]).arg(file)).unwrap_or_else(|error| panic!("{error}"));
    serde_json::from_str(&json).unwrap()
}
