//! Puts the gate into the pods of a workload.

use serde_json::json;

use super::{
    draft::Draft,
    error::{InjectError, Reason},
    manifest::{INJECTED, Object, Pod},
    memory::Memory,
    notes::Notes,
    plan::{ConfigSource, Plan},
    sidecar, warnings,
};

/// Which container is the service, and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    at: usize,
    name: String,
    port: u16,
}

/// Adds the sidecar to this workload.
pub(super) fn inject(draft: &mut Draft, workload: &Object, plan: &Plan, notes: &mut Notes) -> Result<(), InjectError> {
    let tree = draft.tree()?;
    let pod = workload.pod(&tree);
    let wrong = |reason| draft.at_path(&tree, &workload.path, reason);
    let target = target(&pod, &workload.title, plan).map_err(wrong)?;
    refuse(&pod, &workload.title, plan).map_err(wrong)?;
    let config_map = match &plan.config {
        ConfigSource::Named(name) => name.clone(),
        ConfigSource::Text(_) => format!("{}-{}", workload.name, sidecar::NAME),
    };
    let mut memory = Memory::default();
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
    warnings::of_pod(&pod, workload, plan, target.port, notes);
    Ok(())
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
    if pod.windows {
        return Err(Reason::Windows(title.to_owned()));
    }
    if pod.all().any(|container| container.name == sidecar::NAME) {
        return Err(Reason::ForeignContainer(title.to_owned()));
    }
    if let Some(volume) = pod.volumes.iter().find(|volume| sidecar::VOLUMES.contains(&volume.as_str())) {
        return Err(Reason::ForeignVolume { workload: title.to_owned(), volume: volume.clone() });
    }
    for container in pod.all() {
        let names = container.ports.iter().filter_map(|port| port.name.as_deref());
        if let Some(port) = names.into_iter().find(|name| [sidecar::NAME, sidecar::ADMIN].contains(name)) {
            let (container, port) = (container.name.clone(), port.to_owned());
            return Err(Reason::ForeignPort { workload: title.to_owned(), container, port });
        }
    }
    for (port, option) in [(plan.listen_port, "--listen-port"), (plan.admin_port, "--admin-port")] {
        if let Some(container) = pod.all().find(|container| container.has_port(port)) {
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
