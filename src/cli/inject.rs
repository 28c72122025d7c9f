//! `tidegate inject` and `tidegate uninject`: put the gate into manifests of Kubernetes, and take it out again.

mod add;
mod args;
mod draft;
pub(super) mod error;
mod lines;
mod manifest;
mod memory;
mod notes;
mod path;
mod places;
mod plan;
mod planning;
mod remove;
mod services;
mod sidecar;
mod warnings;
mod write;
mod yaml;

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

pub(super) use self::args::{Args, BackArgs};
use self::{
    draft::Draft,
    error::{InjectError, Reason},
    manifest::{Object, ObjectKind, objects},
    notes::Notes,
    plan::Plan,
};
use super::{
    failure::Failure,
    output::{clean, complain, print},
};

pub(super) fn inject(args: &Args) -> Result<(), Failure> {
    let plan = Plan::of(args)?;
    let drafts = read(&args.manifests)?;
    let (drafts, notes) = injected(drafts, &plan)?;
    finish(&drafts, &notes)
}

pub(super) fn uninject(args: &BackArgs) -> Result<(), Failure> {
    let mut drafts = read(&args.manifests)?;
    let mut notes = Notes::default();
    let is_chosen =
        |title: &str, _: Option<&str>| args.only.is_empty() || args.only.iter().any(|name| is_named(title, name));
    remove::uninject(&mut drafts, &mut notes, false, is_chosen)?;
    if notes.is_empty() {
        notes.say("nothing here was injected; it is printed as it is".to_owned());
    }
    finish(&drafts, &notes)
}

/// The drafts with the gate, made from what they were without it.
fn injected(mut drafts: Vec<Draft>, plan: &Plan) -> Result<(Vec<Draft>, Notes), InjectError> {
    let mut notes = Notes::default();
    let mut plain = drafts.clone();
    remove::uninject(&mut plain, &mut Notes::default(), true, |_, _| true)?;
    let chosen = choose(&plain, plan, &mut notes)?;
    // All their Services too: those that other workloads have beside them are pointed anew below.
    remove::uninject(&mut drafts, &mut Notes::default(), true, |title, namespace| {
        chosen.iter().any(|workload| workload.title == title && workload.is_beside(namespace))
    })?;
    for draft in &drafts {
        let tree = draft.tree()?;
        if let Some(block) = tree.open_block {
            return Err(draft.at(&tree, block, Reason::OpenBlock));
        }
    }
    for workload in &chosen {
        for draft in &mut drafts {
            let found = objects(&draft.tree()?).into_iter().find(|object| workload.is(object));
            if let Some(object) = found {
                add::inject(draft, &object, plan, &mut notes)?;
                break;
            }
        }
    }
    services::point(&mut drafts, &chosen, plan, &mut notes)?;
    warnings::of_policies(&drafts, &chosen, &mut notes)?;
    Ok((drafts, notes))
}

/// The workloads that get the gate: those that are named, or the only one that may be meant.
fn choose(drafts: &[Draft], plan: &Plan, notes: &mut Notes) -> Result<Vec<Object>, InjectError> {
    let mut all: Vec<(Object, bool)> = Vec::new();
    for draft in drafts {
        let tree = draft.tree()?;
        for object in objects(&tree) {
            let pod_less = match (&object.owner, object.kind) {
                (Some(owner), ObjectKind::Workload { .. } | ObjectKind::LeftAlone) => Some(format!("{owner} makes it")),
                (None, ObjectKind::LeftAlone) => Some("a gate is for pods that serve clients and stay".to_owned()),
                _ => None,
            };
            if let Some(why) = pod_less {
                notes.say(format!("{}: is left alone, because {why}", object.title));
            } else if object.is_workload() {
                let ports = object.pod(&tree).containers;
                let mut ports = ports.iter().flat_map(|container| &container.ports);
                let has_port = ports.any(|port| Some(port.number) == plan.port);
                all.push((object, has_port));
            }
        }
    }
    let titles = |all: &[(Object, bool)]| all.iter().map(|(object, _)| object.title.clone()).collect::<Vec<_>>();
    if all.is_empty() {
        let names: Vec<_> = drafts.iter().map(|draft| draft.name.as_str()).collect();
        return Err(InjectError::NoWorkload(names.join(", ")));
    }
    if !plan.only.is_empty() {
        if let Some(name) = plan.only.iter().find(|name| !all.iter().any(|(object, _)| is_named(&object.title, name))) {
            return Err(InjectError::UnknownWorkload { name: name.clone(), there: titles(&all) });
        }
        all.retain(|(object, _)| plan.only.iter().any(|name| is_named(&object.title, name)));
    } else if all.len() > 1 {
        if all.iter().filter(|(_, has_port)| *has_port).count() != 1 {
            return Err(InjectError::SeveralWorkloads(titles(&all)));
        }
        all.retain(|(_, has_port)| *has_port);
    }
    Ok(all.into_iter().map(|(object, _)| object).collect())
}

/// Whether a name of the command line means `Deployment/tutor`.
fn is_named(title: &str, name: &str) -> bool {
    let same_kind = |(kind, rest): (&str, &str)| {
        title.split_once('/').is_some_and(|(own, title)| own.eq_ignore_ascii_case(kind) && title == rest)
    };
    title.split_once('/').is_some_and(|(_, title)| title == name) || name.split_once('/').is_some_and(same_kind)
}

/// Reads all of it before anything is changed.
fn read(paths: &[PathBuf]) -> Result<Vec<Draft>, InjectError> {
    let input = [PathBuf::from("-")];
    let paths = if paths.is_empty() { &input } else { paths };
    paths.iter().map(|path| read_one(path)).collect()
}

fn read_one(path: &Path) -> Result<Draft, InjectError> {
    let mut bytes = Vec::new();
    let (name, done) = if path.as_os_str() == "-" {
        ("standard input".to_owned(), io::stdin().lock().read_to_end(&mut bytes))
    } else {
        (path.display().to_string(), fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)))
    };
    done.map_err(|source| InjectError::Read { path: PathBuf::from(&name), source })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        InjectError::At { place: format!("{name}:{line}"), reason: Reason::Encoding }
    })?;
    Ok(Draft::new(name, text))
}

fn finish(drafts: &[Draft], notes: &Notes) -> Result<(), Failure> {
    print(&joined(drafts)?)?;
    notes.lines().for_each(|line| complain(&clean(line)));
    Ok(())
}

/// All texts, as one that kubectl reads. It takes a text for JSON or for YAML by its first byte, and in YAML each JSON value is a
/// document.
fn joined(drafts: &[Draft]) -> Result<String, InjectError> {
    let (mut parts, mut all_json) = (Vec::new(), true);
    for draft in drafts.iter().filter(|draft| !draft.text.trim().is_empty()) {
        let values = draft.json_values()?;
        all_json &= values.is_some();
        parts.push((draft, values));
    }
    let mut text = String::new();
    for (draft, values) in &parts {
        let is_alone = parts.len() == 1;
        let pieces = match values {
            Some(values) if !all_json => values.iter().map(|value| write::yaml_of_json(value)).collect(),
            _ => vec![draft.text.clone()],
        };
        for piece in pieces {
            text.push_str(if text.is_empty() || text.ends_with('\n') { "" } else { "\n" });
            let goes_on = is_alone || all_json || piece.starts_with("---") || text.is_empty() && values.is_none();
            text.push_str(if goes_on { "" } else { "---\n" });
            text.push_str(&piece);
        }
    }
    if parts.is_empty() {
        text = drafts.iter().map(|draft| &*draft.text).collect();
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
