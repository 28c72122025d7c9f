//! Puts the gate into the pods of a workload, and its Services in front of it.

use serde_json::json;

use super::{
    draft::{Draft, Path},
    error::{InjectError, Reason},
    manifest::{Container, INJECTED, Object, ObjectKind, Pod, ServicePort, objects},
    memory::Memory,
    notes::Notes,
    plan::{ConfigSource, Plan},
    remove::target_key,
    sidecar,
};

/// Which container is the service, and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    at: usize,
    name: String,
    port: u16,
}

/// Adds the sidecar to this workload, and points Services of any draft at it.
pub(super) fn inject(
    drafts: &mut [Draft],
    at: usize,
    workload: &Object,
    plan: &Plan,
    notes: &mut Notes,
) -> Result<(), InjectError> {
    let tree = drafts[at].tree()?;
    let pod = workload.pod(&tree);
    let wrong = |reason| drafts[at].at_path(&tree, &workload.path, reason);
    let target = target(&pod, &workload.title, plan).map_err(wrong)?;
    refuse(&pod, &workload.title, plan).map_err(wrong)?;
    let config_map = match &plan.config {
        ConfigSource::Named(name) => name.clone(),
        ConfigSource::Text(_) => format!("{}-{}", workload.name, sidecar::NAME),
    };
    let mut memory = Memory::default();
    let draft = &mut drafts[at];
    hook(draft, &pod, &target, workload, plan, &mut memory, notes)?;
    for volume in sidecar::volumes(plan, &config_map) {
        memory.add_item(draft, &pod.spec, "volumes", false, &volume)?;
    }
    grace(draft, &pod, workload, plan, &mut memory, notes)?;
    let list = if plan.classic { "containers" } else { "initContainers" };
    let container = sidecar::container(plan, target.port);
    memory.add_item(draft, &pod.spec, list, true, &container)?;
    memory.write(draft, &workload.metadata(), &workload.title)?;
    let form = if plan.classic { "container" } else { "native sidecar" };
    let Target { name, port, .. } = &target;
    notes.say(format!("{}: the gate is its {form}, in front of port {port} of container {name}", workload.title));
    if let ConfigSource::Text(text) = &plan.config {
        add_config_map(draft, workload, &config_map, text)?;
        notes.say(format!("ConfigMap/{config_map}: has the configuration"));
    }
    warn_of_pod(&pod, workload, plan, &target, notes);
    services(drafts, workload, &pod, &target, plan, notes)
}

/// Finds the service among the containers of a pod.
fn target(pod: &Pod, title: &str, plan: &Plan) -> Result<Target, Reason> {
    let names = || pod.containers.iter().map(|container| container.name.clone()).collect();
    if pod.containers.is_empty() {
        return Err(Reason::Missing(format!("the list of containers of {title}")));
    }
    let with_port = |port| pod.containers.iter().position(|container| container.has_port(port));
    let first = pod.containers.iter().position(|container| !container.is_of_mesh()).unwrap_or_default();
    let named = match &plan.container {
        Some(name) => Some(pod.containers.iter().position(|container| container.name == *name).ok_or_else(|| {
            Reason::UnknownContainer { workload: title.to_owned(), name: name.clone(), there: names() }
        })?),
        None => None,
    };
    let chosen = |at: usize, port| Target { at, name: pod.containers[at].name.clone(), port };
    if let Some(port) = plan.port {
        return Ok(chosen(named.or_else(|| with_port(port)).unwrap_or(first), port));
    }
    let places = named.map_or_else(|| (0..pod.containers.len()).collect(), |at| vec![at]);
    let mut ports = places
        .iter()
        .filter(|at| !pod.containers[**at].is_of_mesh())
        .flat_map(|at| pod.containers[*at].ports.iter().filter(|port| port.is_tcp).map(|port| (*at, port.number)));
    match (ports.next(), ports.next()) {
        (Some((at, port)), None) => Ok(chosen(at, port)),
        (Some(first), Some(second)) => {
            let all = [first, second].into_iter().chain(ports).map(|(_, port)| port.to_string()).collect();
            Err(Reason::SeveralPorts { workload: title.to_owned(), ports: all })
        }
        (None, _) => Err(Reason::NoPort(title.to_owned())),
    }
}

/// Pods that the gate cannot be in.
fn refuse(pod: &Pod, title: &str, plan: &Plan) -> Result<(), Reason> {
    let all = || pod.containers.iter().chain(&pod.init_containers);
    if pod.windows {
        return Err(Reason::Windows(title.to_owned()));
    }
    if all().any(|container| container.name == sidecar::NAME) {
        return Err(Reason::ForeignContainer(title.to_owned()));
    }
    if let Some(volume) = pod.volumes.iter().find(|volume| sidecar::VOLUMES.contains(&volume.as_str())) {
        return Err(Reason::ForeignVolume { workload: title.to_owned(), volume: volume.clone() });
    }
    for (port, option) in [(plan.listen_port, "--listen-port"), (plan.admin_port, "--admin-port")] {
        if let Some(container) = all().find(|container| container.has_port(port)) {
            let (workload, container) = (title.to_owned(), container.name.clone());
            return Err(Reason::PortTaken { workload, container, port, option });
        }
    }
    Ok(())
}

/// Lets the service live until its clients have left.
fn hook(
    draft: &mut Draft,
    pod: &Pod,
    target: &Target,
    workload: &Object,
    plan: &Plan,
    memory: &mut Memory,
    notes: &mut Notes,
) -> Result<(), InjectError> {
    if pod.containers[target.at].pre_stop.is_some() {
        notes.warn(&format!(
            "{}: container {} has a preStop hook, which stays as it is; the service may end before its clients have left, unless \
             the hook waits {} s or asks http://127.0.0.1:{}{}",
            workload.title,
            target.name,
            plan.lame_duck.0.as_secs() + plan.shutdown_grace.0.as_secs(),
            plan.admin_port,
            sidecar::DRAINED,
        ));
        return Ok(());
    }
    let container = pod.spec.key("containers").item(target.at);
    memory.add_pair(draft, &container, "lifecycle", ("preStop", &sidecar::hook(plan)))
}

/// Gives the pod the time that leaving takes.
fn grace(
    draft: &mut Draft,
    pod: &Pod,
    workload: &Object,
    plan: &Plan,
    memory: &mut Memory,
    notes: &mut Notes,
) -> Result<(), InjectError> {
    const KEY: &str = "terminationGracePeriodSeconds";
    let needed = plan.grace_seconds;
    if let Some(grace) = &pod.grace
        && grace.parse::<u64>().is_ok_and(|grace| grace >= needed)
    {
        return Ok(());
    }
    memory.set(draft, &pod.spec, (KEY, KEY), &json!(needed))?;
    let before = pod.grace.as_deref().unwrap_or("30");
    notes.say(format!("{}: {KEY} is {needed}, for clients to leave; it was {before}", workload.title));
    Ok(())
}

fn add_config_map(draft: &mut Draft, workload: &Object, name: &str, text: &str) -> Result<(), InjectError> {
    let mut metadata = json!({"name": name});
    if let Some(namespace) = &workload.namespace {
        metadata["namespace"] = json!(namespace);
    }
    metadata["annotations"] = json!({INJECTED: workload.title});
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {sidecar::CONFIG_KEY: text},
    });
    match &workload.listed {
        Some((list, _)) => draft.insert_item(list, false, &object),
        None => draft.append_document(&object),
    }
}

fn warn_of_pod(pod: &Pod, workload: &Object, plan: &Plan, target: &Target, notes: &mut Notes) {
    let title = &workload.title;
    if pod.host_network {
        notes.warn(&format!(
            "{title}: hostNetwork is true, so ports {} and {} must be free on every node that runs it",
            plan.listen_port, plan.admin_port
        ));
    }
    if plan.acme {
        notes.warn(&format!(
            "{title}: every new pod orders a certificate, and authorities limit that; write tls.acme.cache = \"redis\", or give \
             --tls-secret"
        ));
    }
    if workload.kind == (ObjectKind::Workload { template: false }) {
        notes.warn(&format!("{title}: a Pod that runs cannot be given containers; delete it, and apply this one"));
    }
    notes.say(format!(
        "{title}: port {} still answers at the address of the pod; let the service listen on 127.0.0.1, or close the port with a \
         NetworkPolicy (docs/kubernetes.md)",
        target.port
    ));
}

/// Points the Services of the workload at the gate.
fn services(
    drafts: &mut [Draft],
    workload: &Object,
    pod: &Pod,
    target: &Target,
    plan: &Plan,
    notes: &mut Notes,
) -> Result<(), InjectError> {
    let mut is_found = false;
    for draft in drafts.iter_mut() {
        let of_workload =
            |object: &Object| object.kind == ObjectKind::Service && object.is_beside(workload.namespace.as_deref());
        let all: Vec<_> = {
            let tree = draft.tree()?;
            let found = objects(&tree).into_iter().filter(of_workload);
            found.map(|object| (object.service(&tree), object)).filter(|(it, _)| it.selects(&pod.labels)).collect()
        };
        for (service, object) in all {
            let ports = service.ports.iter().enumerate().filter(|(_, port)| leads_to(port, pod, target));
            let ports: Vec<_> = ports.collect();
            if ports.is_empty() {
                continue;
            }
            if service.headless {
                notes.warn(&format!(
                    "{}: has no address of its own, so its clients connect to port {} of the pods, past the gate; let them use port \
                     {}, or a Service with an address",
                    object.title, target.port, plan.listen_port
                ));
                continue;
            }
            is_found = true;
            point(draft, &object, &ports, &workload.title)?;
            let numbers: Vec<_> = ports.iter().map(|(_, port)| port.port.to_string()).collect();
            let with = if plan.tls { "; who connects to it speaks TLS now" } else { "" };
            notes.say(format!("{}: port {} leads to the gate{with}", object.title, numbers.join(", ")));
        }
    }
    if !is_found {
        let namespace = workload.namespace.as_ref().map(|name| format!(" -n {name}")).unwrap_or_default();
        notes.warn(&format!(
            "{}: no Service for port {} is in the input, so clients do not reach the gate yet; print it too, or type, with the port \
             that the Service has:\n  kubectl patch service {}{namespace} -p '{{\"spec\":{{\"ports\":[{{\"port\":{},\"targetPort\":\"{}\"}}]}}}}'",
            workload.title, target.port, workload.name, target.port, sidecar::NAME,
        ));
    }
    Ok(())
}

/// Whether this port of a Service is that of the service.
fn leads_to(port: &ServicePort, pod: &Pod, target: &Target) -> bool {
    let is_number = |text: &str| text.parse() == Ok(target.port);
    let is_name = |text: &str| {
        let named = |container: &Container| {
            container.ports.iter().any(|port| port.number == target.port && port.name.as_deref() == Some(text))
        };
        pod.containers.iter().any(named)
    };
    let leads = port.target.as_ref().map_or(port.port == target.port, |text| is_number(text) || is_name(text));
    port.is_tcp && leads
}

fn point(
    draft: &mut Draft,
    service: &Object,
    ports: &[(usize, &ServicePort)],
    workload: &str,
) -> Result<(), InjectError> {
    let mut memory = Memory::default();
    let list: Path = service.path.keys(&["spec", "ports"]);
    for (at, port) in ports {
        memory.set(draft, &list.item(*at), ("targetPort", &target_key(port.port)), &json!(sidecar::NAME))?;
    }
    memory.write(draft, &service.metadata(), workload)
}

impl Container {
    fn has_port(&self, number: u16) -> bool {
        self.ports.iter().any(|port| port.is_tcp && port.number == number)
    }
}
