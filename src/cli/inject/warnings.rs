//! What may not be meant in manifests that get the gate.

use super::{
    draft::Draft,
    error::InjectError,
    manifest::{ContainerPort, Object, ObjectKind, Pod, number, objects},
    notes::Notes,
    plan::Plan,
    yaml::{NodeId, Tree},
};

/// What is said of pods with the gate in front of this port.
pub(super) fn of_pod(pod: &Pod, workload: &Object, plan: &Plan, port: u16, notes: &mut Notes) {
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
    if plan.http_challenges {
        notes.warn(&format!(
            "{title}: no port leads to tls.acme.http_address, so the authority does not reach it; leave out tls.acme.http_address and \
             tls.acme.challenges, and let port 443 of the domains lead to the gate"
        ));
    }
    if workload.kind == (ObjectKind::Workload { template: false }) {
        notes.warn(&format!("{title}: a Pod that runs cannot be given containers; delete it, and apply this one"));
    }
    let is_service = |it: &&ContainerPort| it.is_tcp && it.number == port;
    let ports = pod.all().flat_map(|container| &container.ports).filter(is_service);
    // With hostNetwork it says no more than the container's port does.
    if let Some(host) = ports.filter_map(|port| port.host).find(|_| !pod.host_network) {
        notes.warn(&format!(
            "{title}: port {host} of each node leads to the service, past the gate; remove hostPort, and let clients use the Service"
        ));
    }
    notes.say(format!(
        "{title}: port {port} still answers at the address of the pod; let the service listen on 127.0.0.1, or close the port with a \
         NetworkPolicy (docs/kubernetes.md)"
    ));
}

/// Warns of each NetworkPolicy that lets clients to the service and not to its gate.
pub(super) fn of_policies(drafts: &[Draft], chosen: &[Object], notes: &mut Notes) -> Result<(), InjectError> {
    let mut pods = Vec::new();
    for draft in drafts {
        let tree = draft.tree()?;
        let is_chosen = |object: &Object| chosen.iter().any(|workload| workload.is(object));
        pods.extend(objects(&tree).into_iter().filter(is_chosen).map(|object| (object.pod(&tree), object)));
    }
    for draft in drafts {
        let tree = draft.tree()?;
        for policy in objects(&tree).into_iter().filter(|object| object.kind == ObjectKind::Policy) {
            let Some(spec) = policy.path.key("spec").find(&tree) else { continue };
            for (pod, workload) in pods.iter().filter(|(_, it)| policy.is_beside(it.namespace.as_deref())) {
                let Some(gate) = pod.gate().filter(|_| selects(&tree, spec, pod)) else { continue };
                if admits(&tree, spec, pod, gate.service) && !admits(&tree, spec, pod, gate.listen) {
                    notes.warn(&format!(
                        "{}: lets clients to port {} of {} and not to the gate; let it name port {} in its place",
                        policy.title, gate.service, workload.title, gate.listen
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Whether a policy is for what reaches these pods. An expression is taken to fit.
fn selects(tree: &Tree<'_>, spec: NodeId, pod: &Pod) -> bool {
    let types = tree.get(spec, "policyTypes").map(|types| tree.items(types));
    let is_ingress = types.is_none_or(|types| types.iter().any(|it| tree.scalar(*it) == Some("Ingress")));
    let labels = tree.get_path(spec, &["podSelector", "matchLabels"]).map(|labels| tree.text_map(labels));
    is_ingress && labels.unwrap_or_default().iter().all(|(key, value)| pod.labels.get(key) == Some(value))
}

/// Whether some rule of a policy lets somebody to this port.
fn admits(tree: &Tree<'_>, spec: NodeId, pod: &Pod, wanted: u16) -> bool {
    let rules = tree.get(spec, "ingress").map(|rules| tree.items(rules)).unwrap_or_default();
    let is_named = |name: &str| {
        let mut ports = pod.all().flat_map(|container| &container.ports);
        ports.any(|port| port.number == wanted && port.name.as_deref() == Some(name))
    };
    let is_it = |port: &NodeId| match tree.text_at(*port, &["port"]) {
        None => true,
        Some(name) if name.parse::<u16>().is_err() => is_named(name),
        Some(_) => {
            let (first, last) = (number(tree, *port, "port"), number(tree, *port, "endPort"));
            (first..=last.max(first)).contains(&wanted)
        }
    };
    rules.iter().any(|rule| {
        let ports = tree.get(*rule, "ports").map(|ports| tree.items(ports)).unwrap_or_default();
        ports.is_empty() || ports.iter().any(is_it)
    })
}
