//! Points Services at the gate, and back to where they led. A Service may have the pods of several workloads.

use serde_json::json;

use super::{
    draft::Draft,
    error::{InjectError, Reason},
    manifest::{Gate, Object, ObjectKind, Pod, Service, ServicePort, objects},
    memory::Memory,
    notes::Notes,
    plan::Plan,
    sidecar::NAME,
};

/// What the memory of a Service calls the port that stands for the gate.
const GATE: &str = "gate";

/// A workload whose pods Services may select.
#[derive(Debug)]
struct Member {
    object: Object,
    pod: Pod,
    gate: Option<Gate>,
}

/// Points the Services of the chosen workloads at their gates, which are there.
pub(super) fn point(
    drafts: &mut [Draft],
    chosen: &[Object],
    plan: &Plan,
    notes: &mut Notes,
) -> Result<(), InjectError> {
    let members = members(drafts)?;
    let is_chosen = |member: &Member| chosen.iter().any(|workload| workload.is(&member.object));
    let mut found: Vec<&str> = Vec::new();
    for draft in drafts.iter_mut() {
        for (object, service) in all(draft)? {
            let selected = selected(&members, &object, &service);
            if selected.iter().any(|member| is_chosen(member))
                && lead(draft, &object, &service, &selected, plan, notes)?
            {
                found.extend(selected.iter().map(|member| &*member.object.title));
            }
        }
    }
    for Member { object, gate, .. } in members.iter().filter(|member| is_chosen(member)) {
        if let (Some(gate), false) = (gate, found.contains(&&*object.title)) {
            warn_of_no_service(object, *gate, notes);
        }
    }
    Ok(())
}

/// Leads a Service back to where it led before, for workloads that have lost their gate. While pods of others have it, it stays,
/// unless `even_shared`.
pub(super) fn restore(
    drafts: &mut [Draft],
    freed: &[Object],
    even_shared: bool,
    notes: &mut Notes,
    is_chosen: impl Fn(&str, Option<&str>) -> bool,
) -> Result<(), InjectError> {
    let members = members(drafts)?;
    for draft in drafts.iter_mut() {
        for (object, service) in all(draft)? {
            let selected = selected(&members, &object, &service);
            let titles = |is_it: &dyn Fn(&Member) -> bool| {
                let all = selected.iter().filter(|member| is_it(member)).map(|member| member.object.title.clone());
                all.collect::<Vec<_>>().join(", ")
            };
            let left = titles(&|member| freed.iter().any(|workload| workload.is(&member.object)));
            let is_meant = |title: &String| is_chosen(title, object.namespace.as_deref()) || !left.is_empty();
            if !object.injected.as_ref().is_some_and(is_meant) {
                continue;
            }
            let others = titles(&|member| member.object.injected.is_some() && member.gate.is_some());
            if others.is_empty() || even_shared {
                restore_one(draft, &object, &service)?;
                notes.say(format!("{}: is as it was", object.title));
            } else {
                let left =
                    if left.is_empty() { String::new() } else { format!("; it does not reach those of {left} now") };
                notes.warn(&format!(
                    "{}: still leads to the gate, which the pods of {others} have{left}; take the gate out of all of them together",
                    object.title
                ));
            }
        }
    }
    Ok(())
}

fn members(drafts: &[Draft]) -> Result<Vec<Member>, InjectError> {
    let mut members = Vec::new();
    for draft in drafts {
        let tree = draft.tree()?;
        let has_pods = |object: &Object| {
            object.owner.is_none() && matches!(object.kind, ObjectKind::Workload { .. } | ObjectKind::LeftAlone)
        };
        members.extend(objects(&tree).into_iter().filter(has_pods).map(|object| {
            let pod = object.pod(&tree);
            Member { gate: pod.gate(), pod, object }
        }));
    }
    Ok(members)
}

fn all(draft: &Draft) -> Result<Vec<(Object, Service)>, InjectError> {
    let tree = draft.tree()?;
    let services = objects(&tree).into_iter().filter(|object| object.kind == ObjectKind::Service);
    Ok(services.map(|object| (object.clone(), object.service(&tree))).collect())
}

fn selected<'m>(members: &'m [Member], object: &Object, service: &Service) -> Vec<&'m Member> {
    let is_it = |it: &&Member| object.is_beside(it.object.namespace.as_deref()) && service.selects(&it.pod.labels);
    members.iter().filter(is_it).collect()
}

/// Whether this Service leads to the gate now.
fn lead(
    draft: &mut Draft,
    object: &Object,
    service: &Service,
    selected: &[&Member],
    plan: &Plan,
    notes: &mut Notes,
) -> Result<bool, InjectError> {
    let listen = plan.listen_port.to_string();
    let with_gate = |it: &&&Member| it.gate.is_some_and(|gate| gate.listen == plan.listen_port);
    let mut gated = selected.iter().filter(with_gate);
    let ports: Vec<_> = service
        .ports
        .iter()
        .enumerate()
        .filter(|(_, port)| selected.iter().filter(with_gate).any(|member| leads_to(port, member)))
        .collect();
    let numbers: Vec<_> = ports.iter().map(|(_, port)| port.port.to_string()).collect();
    let there: Vec<_> = service.ports.iter().filter(|port| is_gate(port, &listen)).collect();
    if ports.is_empty() && (object.injected.is_none() || !there.is_empty()) {
        there.iter().for_each(|port| {
            notes.say(format!("{}: port {} leads to the gate already", object.title, port.port));
        });
        return Ok(!there.is_empty());
    }
    let Some(first) = gated.next() else { return Ok(false) };
    if service.headless {
        let service = first.gate.map(|gate| gate.service).unwrap_or_default();
        notes.warn(&format!(
            "{}: has no address of its own, so its clients connect to port {service} of the pods, past the gate; let them use port \
             {listen}, or a Service with an address",
            object.title
        ));
        return Ok(false);
    }
    if let Some(stranger) = selected.iter().find(|it| !with_gate(it)) {
        let reason = Reason::Shared {
            service: object.title.clone(),
            workload: stranger.object.title.clone(),
            chosen: first.object.title.clone(),
            port: plan.listen_port,
        };
        return Err(draft.at_path(&draft.tree()?, &object.path, reason));
    }
    if ports.is_empty() {
        return Ok(false);
    }
    let mut memory = Memory::default();
    let list = object.path.keys(&["spec", "ports"]);
    for (at, port) in &ports {
        // Its number: before Kubernetes 1.32 the name of a native sidecar's port leads nowhere.
        memory.set(draft, &list.item(*at), ("targetPort", &target_key(port.port)), &json!(plan.listen_port))?;
    }
    memory.keep(GATE, &listen);
    memory.write(draft, &object.metadata(), &first.object.title)?;
    let with = if plan.tls { "; who connects to it speaks TLS now" } else { "" };
    notes.say(format!("{}: port {} leads to the gate{with}", object.title, numbers.join(", ")));
    Ok(true)
}

/// Whether this port of a Service is that of the service behind a gate.
fn leads_to(port: &ServicePort, member: &Member) -> bool {
    let service = member.gate.map(|gate| gate.service).unwrap_or_default();
    let is_name = |text: &str| {
        let mut ports = member.pod.containers.iter().flat_map(|container| &container.ports);
        ports.any(|port| port.number == service && port.name.as_deref() == Some(text))
    };
    let is_it = |text: &String| text.parse() == Ok(service) || is_name(text);
    port.is_tcp && port.target.as_ref().map_or(port.port == service, is_it)
}

/// Whether this port of a Service leads to a gate that listens there.
fn is_gate(port: &ServicePort, listen: &str) -> bool {
    port.is_tcp && port.target.as_deref().is_some_and(|target| target == NAME || target == listen)
}

fn warn_of_no_service(workload: &Object, gate: Gate, notes: &mut Notes) {
    let namespace = workload.namespace.as_ref().map(|name| format!(" -n {name}")).unwrap_or_default();
    notes.warn(&format!(
        "{}: no Service for port {} is in the input, so clients do not reach the gate yet; print it too, or type, with the name and \
         the port that the Service has:\n  kubectl patch service {}{namespace} -p '{{\"spec\":{{\"ports\":[{{\"port\":{},\"targetPort\":{}}}]}}}}'",
        workload.title, gate.service, workload.name, gate.service, gate.listen,
    ));
}

fn restore_one(draft: &mut Draft, object: &Object, service: &Service) -> Result<(), InjectError> {
    let memory = Memory::of(draft, object)?;
    let list = object.path.keys(&["spec", "ports"]);
    let listen = memory.kept(GATE).unwrap_or(NAME).to_owned();
    for (at, port) in service.ports.iter().enumerate() {
        // Another target was put there by somebody else.
        if !is_gate(port, &listen) {
            continue;
        }
        if !memory.knows(&target_key(port.port)) {
            let reason = Reason::UnknownTarget { service: object.title.clone(), port: port.port };
            return Err(draft.at_path(&draft.tree()?, &list.item(at), reason));
        }
        memory.reset(draft, &list.item(at), ("targetPort", &target_key(port.port)))?;
    }
    memory.erase(draft, &object.metadata())
}

/// What the memory of a Service calls the `targetPort` of this port.
fn target_key(port: u16) -> String {
    format!("targetPort/{port}")
}
