//! Takes the gate out of manifests again.

use super::{
    draft::Draft,
    error::InjectError,
    manifest::{Object, ObjectKind, objects},
    memory::Memory,
    notes::Notes,
    services,
    sidecar::{DRAINED, NAME, VOLUMES},
};

/// Gives back what the drafts were before the gate was injected for the workloads that are chosen, by title and namespace.
/// `even_shared`: Services too that lead to the gate of other workloads.
pub(super) fn uninject(
    drafts: &mut [Draft],
    notes: &mut Notes,
    even_shared: bool,
    is_chosen: impl Fn(&str, Option<&str>) -> bool,
) -> Result<(), InjectError> {
    let mut freed = Vec::new();
    for draft in drafts.iter_mut() {
        let all: Vec<_> = {
            let tree = draft.tree()?;
            let chosen = |object: &Object| {
                object.injected.as_ref().is_some_and(|title| is_chosen(title, object.namespace.as_deref()))
            };
            objects(&tree).into_iter().filter(chosen).collect()
        };
        for object in all.iter().filter(|object| matches!(object.kind, ObjectKind::Workload { .. })) {
            restore_workload(draft, object)?;
            notes.say(format!("{}: is as it was", object.title));
            freed.push(object.clone());
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
    services::restore(drafts, &freed, even_shared, notes, is_chosen)
}

fn restore_workload(draft: &mut Draft, object: &Object) -> Result<(), InjectError> {
    let memory = Memory::of(draft, object)?;
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
