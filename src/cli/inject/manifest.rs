//! What of manifests matters here: workloads with their pods, Services, and who they belong to.

use std::collections::BTreeMap;

use super::{
    path::Path,
    sidecar::NAME,
    yaml::{NodeId, Tree},
};

/// On everything that was added or changed: the workload for which.
pub(super) const INJECTED: &str = "tidegate/injected";
/// On everything that was changed: what stood there.
pub(super) const ORIGINAL: &str = "tidegate/original";

/// What tells a gate where the service is.
const UPSTREAM: &str = "TIDEGATE__UPSTREAM__URL";

/// What other programs put beside a service; never the service itself.
const MESH_CONTAINERS: [&str; 3] = ["istio-proxy", "linkerd-proxy", "cloud-sql-proxy"];

/// An object of the Kubernetes API.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) path: Path,
    pub(super) kind: ObjectKind,
    /// For example `Deployment/tutor`.
    pub(super) title: String,
    pub(super) name: String,
    /// `None`: it is not said.
    pub(super) namespace: Option<String>,
    /// The workload for which it was added or changed.
    pub(super) injected: Option<String>,
    /// The list that it is an item of, and its place there.
    pub(super) listed: Option<(Path, usize)>,
    /// What made it, for example `ReplicaSet/tutor-5d9`.
    pub(super) owner: Option<String>,
}

/// What is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ObjectKind {
    /// It gets a sidecar. `template`: its pods are made from one.
    Workload {
        template: bool,
    },
    Service,
    ConfigMap,
    Policy,
    /// It has pods, and gets no sidecar all the same.
    LeftAlone,
    Other,
}

/// The pods of a workload.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) spec: Path,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) containers: Vec<Container>,
    pub(super) init_containers: Vec<Container>,
    /// The names of its volumes, each at its place in the list.
    pub(super) volumes: Vec<String>,
    pub(super) host_network: bool,
    pub(super) windows: bool,
    pub(super) grace: Option<String>,
}

/// A container, at its place in the list.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) ports: Vec<ContainerPort>,
    /// The path that its preStop hook asks for. `Some("")`: it has another hook.
    pub(super) pre_stop: Option<String>,
    /// Where it finds the service, if it is a gate.
    service: u16,
}

/// The gate of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gate {
    /// Where clients reach it.
    pub(super) listen: u16,
    /// Where the service is.
    pub(super) service: u16,
}

/// A port that a container names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContainerPort {
    pub(super) name: Option<String>,
    pub(super) number: u16,
    pub(super) is_tcp: bool,
    /// Its port of the node.
    pub(super) host: Option<u16>,
}

/// A Service.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) selector: BTreeMap<String, String>,
    pub(super) headless: bool,
    pub(super) ports: Vec<ServicePort>,
}

/// A port of a Service, at its place in the list.
#[derive(Debug)]
pub(super) struct ServicePort {
    pub(super) port: u16,
    pub(super) target: Option<String>,
    pub(super) is_tcp: bool,
}

/// All objects of a text.
pub(super) fn objects(tree: &Tree<'_>) -> Vec<Object> {
    let mut objects = Vec::new();
    for (at, document) in tree.documents.iter().enumerate() {
        let (root, path) = (document.root, Path::root(at));
        let is_list = tree.text_at(root, &["kind"]).is_some_and(|kind| kind.ends_with("List"));
        match tree.get(root, "items") {
            Some(items) if is_list => {
                let list = path.key("items");
                let items = tree.items(items).into_iter().enumerate();
                objects
                    .extend(items.filter_map(|(at, item)| object(tree, item, list.item(at), Some((list.clone(), at)))));
            }
            _ => objects.extend(object(tree, root, path, None)),
        }
    }
    objects
}

fn object(tree: &Tree<'_>, node: NodeId, path: Path, listed: Option<(Path, usize)>) -> Option<Object> {
    let text = |keys: &[&str]| tree.text_at(node, keys).map(str::to_owned);
    let (api, kind, name) = (text(&["apiVersion"])?, text(&["kind"])?, text(&["metadata", "name"])?);
    let owners = tree.get_path(node, &["metadata", "ownerReferences"]).map(|owners| tree.items(owners));
    let owner = owners.unwrap_or_default().first().map(|owner| {
        let word = |key| tree.text_at(*owner, &[key]).unwrap_or("?");
        format!("{}/{}", word("kind"), word("name"))
    });
    Some(Object {
        kind: kind_of(&api, &kind),
        title: format!("{kind}/{name}"),
        namespace: text(&["metadata", "namespace"]),
        injected: text(&["metadata", "annotations", INJECTED]),
        path,
        name,
        listed,
        owner,
    })
}

fn kind_of(api: &str, kind: &str) -> ObjectKind {
    match (api.split('/').next().unwrap_or_default(), kind) {
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet") => ObjectKind::Workload { template: true },
        ("v1", "Pod") => ObjectKind::Workload { template: false },
        ("v1", "Service") => ObjectKind::Service,
        ("v1", "ConfigMap") => ObjectKind::ConfigMap,
        ("networking.k8s.io", "NetworkPolicy") => ObjectKind::Policy,
        ("apps", "ReplicaSet") | ("batch", "Job" | "CronJob") | ("v1", "ReplicationController") => {
            ObjectKind::LeftAlone
        }
        _ => ObjectKind::Other,
    }
}

impl Object {
    pub(super) const fn is_workload(&self) -> bool {
        matches!(self.kind, ObjectKind::Workload { .. }) && self.owner.is_none()
    }

    /// Whether this is the same workload.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.is_workload() && other.is_workload() && self.title == other.title && self.namespace == other.namespace
    }

    /// Whether both can be in one namespace: the command line may say that of those that do not.
    pub(super) fn is_beside(&self, namespace: Option<&str>) -> bool {
        match (self.namespace.as_deref(), namespace) {
            (Some(own), Some(other)) => own == other,
            _ => true,
        }
    }

    /// Where its metadata stands.
    pub(super) fn metadata(&self) -> Path {
        self.path.key("metadata")
    }

    /// Its pods.
    pub(super) fn pod(&self, tree: &Tree<'_>) -> Pod {
        let keys: &[&str] = match self.kind {
            ObjectKind::Workload { template: false } => &[],
            _ => &["spec", "template"],
        };
        let pod = self.path.keys(keys).find(tree);
        let spec = pod.and_then(|pod| tree.get(pod, "spec"));
        let labels = pod.and_then(|pod| tree.get_path(pod, &["metadata", "labels"]));
        let word = |keys: &[&str]| spec.and_then(|spec| tree.text_at(spec, keys)).map(str::to_owned);
        let list = |key| spec.and_then(|spec| tree.get(spec, key)).map(|list| tree.items(list)).unwrap_or_default();
        let containers = |key| list(key).into_iter().map(|container| Container::read(tree, container)).collect();
        let os = ["kubernetes.io/os", "beta.kubernetes.io/os"].map(|label| word(&["nodeSelector", label]));
        let windows = os.into_iter().chain([word(&["os", "name"])]).flatten().any(|os| os == "windows");
        Pod {
            spec: self.path.keys(keys).key("spec"),
            labels: labels.map(|labels| tree.text_map(labels)).unwrap_or_default(),
            containers: containers("containers"),
            init_containers: containers("initContainers"),
            volumes: list("volumes")
                .into_iter()
                .map(|it| tree.text_at(it, &["name"]).unwrap_or_default().to_owned())
                .collect(),
            host_network: word(&["hostNetwork"]).is_some_and(|word| word == "true"),
            windows,
            grace: word(&["terminationGracePeriodSeconds"]),
        }
    }

    /// What it is as a Service.
    pub(super) fn service(&self, tree: &Tree<'_>) -> Service {
        let selector = self.path.keys(&["spec", "selector"]).find(tree);
        let ports = self.path.keys(&["spec", "ports"]).find(tree).map(|ports| tree.items(ports)).unwrap_or_default();
        let port = |node| ServicePort {
            port: number(tree, node, "port"),
            target: tree.text_at(node, &["targetPort"]).map(str::to_owned),
            is_tcp: is_tcp(tree, node),
        };
        Service {
            selector: selector.map(|selector| tree.text_map(selector)).unwrap_or_default(),
            headless: self
                .path
                .find(tree)
                .is_some_and(|node| tree.text_at(node, &["spec", "clusterIP"]) == Some("None")),
            ports: ports.into_iter().map(port).collect(),
        }
    }
}

impl Pod {
    /// Its containers of both kinds.
    pub(super) fn all(&self) -> impl Iterator<Item = &Container> {
        self.init_containers.iter().chain(&self.containers)
    }

    pub(super) fn gate(&self) -> Option<Gate> {
        let gate = self.all().find(|container| container.name == NAME)?;
        let listen = gate.ports.iter().find(|port| port.name.as_deref() == Some(NAME))?.number;
        Some(Gate { listen, service: gate.service })
    }
}

impl Container {
    fn read(tree: &Tree<'_>, node: NodeId) -> Self {
        let ports = tree.get(node, "ports").map(|ports| tree.items(ports)).unwrap_or_default();
        let port = |node: NodeId| ContainerPort {
            name: tree.text_at(node, &["name"]).map(str::to_owned),
            number: number(tree, node, "containerPort"),
            is_tcp: is_tcp(tree, node),
            host: Some(number(tree, node, "hostPort")).filter(|port| *port > 0),
        };
        let variables = tree.get(node, "env").map(|env| tree.items(env)).unwrap_or_default();
        let mut urls = variables.iter().filter(|node| tree.text_at(**node, &["name"]) == Some(UPSTREAM));
        let url = urls.next().and_then(|node| tree.text_at(*node, &["value"]));
        let hook = tree.get_path(node, &["lifecycle", "preStop"]).filter(|hook| !tree.is_null(*hook));
        let path = |hook| tree.text_at(hook, &["httpGet", "path"]).unwrap_or_default().to_owned();
        let word = |key| tree.text_at(node, &[key]).unwrap_or_default().to_owned();
        Self {
            name: word("name"),
            ports: ports.into_iter().map(port).collect(),
            pre_stop: hook.map(path),
            service: url.and_then(|url| url.rsplit(':').next()?.parse().ok()).unwrap_or_default(),
        }
    }

    pub(super) fn has_port(&self, number: u16) -> bool {
        self.ports.iter().any(|port| port.is_tcp && port.number == number)
    }

    /// Whether a mesh has put it there.
    pub(super) fn is_of_mesh(&self) -> bool {
        MESH_CONTAINERS.contains(&&*self.name)
    }
}

impl Service {
    /// Whether these are the labels of its pods.
    pub(super) fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.selector.is_empty() && self.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// Zero where there is none.
pub(super) fn number(tree: &Tree<'_>, node: NodeId, key: &str) -> u16 {
    tree.text_at(node, &[key]).and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn is_tcp(tree: &Tree<'_>, node: NodeId) -> bool {
    tree.text_at(node, &["protocol"]).is_none_or(|protocol| protocol == "TCP")
}
