//! Takes the gate out of manifests again.

use super::{
    draft::Draft,
    error::{InjectError, Reason},
    manifest::{ORIGINAL, Object, ObjectKind, objects},
    memory::Memory,
    notes::Notes,
    sidecar::{DRAINED, NAME, VOLUMES},
};

/// Gives back what the drafts were before the gate was injected for the workloads that are chosen, by title and namespace.
pub(super) fn uninject(
    drafts: &mut [Draft],
    notes: &mut Notes,
    is_chosen: impl Fn(&str, Option<&str>) -> bool,
) -> Result<(), InjectError> {
    for draft in drafts {
        let all: Vec<_> = {
            let tree = draft.tree()?;
            let chosen = |object: &Object| {
                object.injected.as_ref().is_some_and(|title| is_chosen(title, object.namespace.as_deref()))
            };
            objects(&tree).into_iter().filter(chosen).collect()
        };
        for object in &all {
            match object.kind {
                ObjectKind::Workload { .. } => restore_workload(draft, object)?,
                ObjectKind::Service => restore_service(draft, object)?,
                _ => continue,
            }
            notes.say(format!("{}: is as it was", object.title));
        }
        // From the last to the first, so that those before keep their places.
        for object in all.iter().rev().filter(|object| object.kind == ObjectKind::ConfigMap) {
            match &object.listed {
                Some((list, at)) => draft.remove_item(list, *at)?,
                None => draft.remove_document(object.path.document)?,
            }
            notes.say(format!("{}: is gone", object.title));
        }
    }
    Ok(())
}

fn memory(draft: &Draft, object: &Object) -> Result<Memory, InjectError> {
    let tree = draft.tree()?;
    let text = object.path.find(&tree).and_then(|node| tree.text_at(node, &["metadata", "annotations", ORIGINAL]));
    let memory = text.and_then(Memory::read);
    memory.ok_or_else(|| draft.at_path(&tree, &object.path, Reason::Memory(object.title.clone())))
}

fn restore_workload(draft: &mut Draft, object: &Object) -> Result<(), InjectError> {
    let memory = memory(draft, object)?;
    let spec = object.pod(&draft.tree()?).spec;
    for list in ["initContainers", "containers"] {
        let pod = object.pod(&draft.tree()?);
        let containers = if list == "containers" { pod.containers } else { pod.init_containers };
        if let Some(at) = containers.iter().position(|container| container.name == NAME) {
            draft.remove_item(&spec.key(list), at)?;
            memory.restore(draft, &spec, list)?;
        }
    }
    let pod = object.pod(&draft.tree()?);
    for (at, _) in pod.volumes.iter().enumerate().rev().filter(|(_, name)| VOLUMES.contains(&name.as_str())) {
        draft.remove_item(&spec.key("volumes"), at)?;
    }
    memory.restore(draft, &spec, "volumes")?;
    for (at, container) in pod.containers.iter().enumerate() {
        if container.pre_stop.as_deref() == Some(DRAINED) {
            let container = spec.key("containers").item(at);
            draft.remove_pair(&container.key("lifecycle"), "preStop")?;
            memory.restore(draft, &container, "lifecycle")?;
        }
    }
    const GRACE: &str = "terminationGracePeriodSeconds";
    memory.reset(draft, &spec, (GRACE, GRACE))?;
    memory.erase(draft, &object.metadata())
}

fn restore_service(draft: &mut Draft, object: &Object) -> Result<(), InjectError> {
    let memory = memory(draft, object)?;
    let ports = object.service(&draft.tree()?).ports;
    let list = object.path.keys(&["spec", "ports"]);
    for (at, port) in ports.iter().enumerate() {
        // Another target was put there by somebody else.
        if port.is_tcp && port.target.as_deref() == Some(NAME) {
            memory.reset(draft, &list.item(at), ("targetPort", &target_key(port.port)))?;
        }
    }
    memory.erase(draft, &object.metadata())
}

/// What the memory of a Service calls the `targetPort` of this port.
pub(super) fn target_key(port: u16) -> String {
    format!("targetPort/{port}")
}
