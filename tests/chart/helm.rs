//! Runs Helm on the chart: without a cluster, and without what its user has configured.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Mutex,
    thread,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const HELM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/kubernetes/helm");
/// The oldest that the chart supports.
const OLDEST_HELM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/kubernetes/helm-3");
/// Where the chart lies in the repository.
pub(crate) const CHART: &str = "charts/tidegate";
/// How many Helms run at once.
const AT_ONCE: usize = 2;

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(ROOT).join(path)
}

/// A text file of the chart.
pub(crate) fn chart_file(path: &str) -> String {
    let path = repository(CHART).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The values files in `ci/`, by name, without `.yaml`.
pub(crate) fn ci_values() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(repository(CHART).join("ci"))
        .expect("the chart has a folder ci")
        .map(|entry| entry.expect("the folder can be read").file_name().into_string().expect("names are UTF-8"))
        .filter_map(|name| Some(name.strip_suffix(".yaml")?.to_owned()))
        .collect();
    names.sort();
    assert!(!names.is_empty(), "{CHART}/ci has no values files");
    names
}

/// What is asked of Helm.
#[derive(Clone, Debug)]
pub(crate) struct Release {
    /// What the tests call it.
    pub(crate) case: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) kubernetes: &'static str,
    /// Files of values, absolute or from the root of the repository.
    pub(crate) files: Vec<PathBuf>,
    /// `--set` and `--set-json` with their arguments.
    pub(crate) sets: Vec<String>,
}

impl Release {
    pub(crate) fn new(case: &str) -> Self {
        Self {
            case: case.to_owned(),
            name: "chat".to_owned(),
            namespace: "talk".to_owned(),
            kubernetes: NEWEST,
            files: Vec::new(),
            sets: Vec::new(),
        }
    }

    /// With a values file of `ci/`.
    pub(crate) fn ci(name: &str) -> Self {
        let mut release = Self::new(name);
        release.files.push(repository(CHART).join(format!("ci/{name}.yaml")));
        release
    }

    /// Sets a value, written as JSON.
    pub(crate) fn set(mut self, path: &str, json: &str) -> Self {
        self.sets.push(format!("{path}={json}"));
        self
    }

    pub(crate) fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    pub(crate) fn on(mut self, kubernetes: &'static str) -> Self {
        self.kubernetes = kubernetes;
        self
    }

    /// The manifests as one text, or what Helm complains of.
    pub(crate) fn template(&self) -> Result<String, String> {
        self.template_by(HELM)
    }

    /// The same, by the oldest Helm that the chart supports.
    pub(crate) fn template_by_the_oldest_helm(&self) -> Result<String, String> {
        self.template_by(OLDEST_HELM)
    }

    fn template_by(&self, program: &str) -> Result<String, String> {
        let mut arguments = vec!["template".to_owned(), self.name.clone(), CHART.to_owned()];
        arguments.extend([format!("--namespace={}", self.namespace), format!("--kube-version={}.0", self.kubernetes)]);
        arguments.extend(self.values());
        text(in_a_home_of_its_own(Command::new(program).args(&arguments)))
    }

    /// What Helm tells who has installed the chart.
    pub(crate) fn notes(&self) -> Result<String, String> {
        let mut arguments = ["install", &self.name, CHART, "--dry-run=client"].map(str::to_owned).to_vec();
        arguments.push(format!("--namespace={}", self.namespace));
        arguments.extend(self.values());
        let said = text(helm(&arguments))?;
        let (_, notes) = said.split_once("\nNOTES:\n").ok_or("there are no notes")?;
        Ok(notes.to_owned())
    }

    /// What `helm lint --strict` says, as an error if it finds something.
    pub(crate) fn lint(&self) -> Result<String, String> {
        let mut arguments = vec!["lint".to_owned(), "--strict".to_owned(), CHART.to_owned()];
        arguments.push(format!("--kube-version={}.0", self.kubernetes));
        arguments.extend(self.values());
        let output = helm(&arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        text(output).map_err(|error| said + &error)
    }

    fn values(&self) -> Vec<String> {
        let files = self.files.iter().map(|file| format!("--values={}", file.display()));
        files.chain(self.sets.iter().map(|set| format!("--set-json={set}"))).collect()
    }
}

/// The oldest supported Kubernetes, as `kubeVersion` in Chart.yaml has it, and the oldest with native sidecars.
pub(crate) const OLDEST: &str = "1.25";
pub(crate) const OLDEST_WITH_SIDECARS: &str = "1.29";
/// The newest whose schemas are installed.
pub(crate) const NEWEST: &str = "1.37";

fn helm(arguments: &[String]) -> Output {
    in_a_home_of_its_own(Command::new(HELM).args(arguments))
}

/// What a line of a shell with Helm in it prints, or complains of, in the folder of the repository.
pub(crate) fn typed(line: &str) -> Result<String, String> {
    let folder = repository("target/kubernetes");
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
    text(in_a_home_of_its_own(Command::new("bash").args(["-c", line]).env("PATH", path)))
}

fn in_a_home_of_its_own(command: &mut Command) -> Output {
    let home = repository("target/kubernetes/home");
    let output = command
        .current_dir(ROOT)
        .env("HELM_CONFIG_HOME", &home)
        .env("HELM_CACHE_HOME", &home)
        .env("HELM_DATA_HOME", &home)
        .env("KUBECONFIG", "/dev/null")
        .output();
    output.unwrap_or_else(|error| panic!("{:?}: {error}; scripts/test installs it", command.get_program()))
}

fn text(output: Output) -> Result<String, String> {
    let said = |bytes: Vec<u8>| String::from_utf8(bytes).expect("Helm writes UTF-8");
    if output.status.success() { Ok(said(output.stdout)) } else { Err(said(output.stderr)) }
}

/// Does this for all of them, some at a time, and gives the results in the same order.
pub(crate) fn for_all<T: Sync, R: Send>(all: &[T], act: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = Mutex::new(all.iter().enumerate());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((at, one)) = next.lock().expect("no other thread has panicked").next() else { break };
                    let result = act(one);
                    done.lock().expect("no other thread has panicked").push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no thread has panicked");
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
