//! Names and labels: valid however long a release's name is, and apart from those of other releases.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    helm::{Release, ci_values, for_all},
    manifests::{Render, map, name, render, selects, word},
    rules::{Faults, Rule, unless},
};

/// The longest name of a release that Helm takes.
const LONGEST: usize = 53;
/// What a label of DNS, the value of a label, and the last part of its key may have.
const LABEL_MAX: usize = 63;

pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "names and labels are valid",
        judge: valid,
        break_it: |render| render.change("Service", |one| one["metadata"]["name"] = json!("4-ever")),
    },
    Rule {
        name: "each manifest has the common labels and is in the namespace of the release",
        judge: common,
        break_it: |render| render.change("Service", |one| one["metadata"]["namespace"] = json!("default")),
    },
    Rule {
        // Who upgrades has a Deployment with a selector, which Kubernetes lets nobody change.
        name: "the selector of the pods is the same for all values",
        judge: |render| {
            let expected =
                json!({"app.kubernetes.io/name": "tidegate", "app.kubernetes.io/instance": render.release.name});
            let found = &render.deployment()["spec"]["selector"]["matchLabels"];
            unless(*found == expected, || format!("it is {found}")).into_iter().collect()
        },
        break_it: |render| {
            render.change("Deployment", |one| one["spec"]["selector"]["matchLabels"]["mode"] = json!("gateway"))
        },
    },
    Rule {
        name: "no two manifests of a kind have one name",
        judge: |render| {
            let mut seen = BTreeSet::new();
            let twice = identities(render).into_iter().filter(|one| !seen.insert(one.clone()));
            twice.map(|one| format!("{one} is there twice")).collect()
        },
        break_it: |render| {
            let copy = render.deployment().clone();
            render.manifests.push(copy);
            // The rules ask for the one Deployment; this one is another kind.
            render.manifests.last_mut().expect("it was pushed")["kind"] = json!("Other");
            let copy = render.manifests.last().expect("it was pushed").clone();
            render.manifests.push(copy);
            true
        },
    },
];

fn is_word(text: &str, more: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= LABEL_MAX
        && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        && edge(text.chars().next())
        && edge(text.chars().last())
}

fn valid(render: &Render) -> Faults {
    let mut faults = Vec::new();
    for manifest in &render.manifests {
        let (kind, name) = (word(&manifest["kind"]), name(manifest));
        let lower = name.chars().all(|c| !c.is_ascii_uppercase());
        faults.extend(unless(is_word(name, "-") && lower, || format!("{kind} {name:?} is no name")));
        // RFC 1035, as Services demand.
        let letter = name.starts_with(|c: char| c.is_ascii_lowercase());
        faults.extend(unless(kind != "Service" || letter, || format!("the Service {name:?} begins with no letter")));
        for labels in [&manifest["metadata"]["labels"], &manifest["spec"]["template"]["metadata"]["labels"]] {
            for (key, value) in map(labels) {
                let last = key.rsplit('/').next().unwrap_or_default();
                let is_so = is_word(last, "-_.") && (value == "" || is_word(word(&value), "-_."));
                faults.extend(unless(is_so, || format!("{kind} {name}: the label {key}: {value} is not valid")));
            }
        }
    }
    faults
}

fn common(render: &Render) -> Faults {
    let mut faults = Vec::new();
    for manifest in &render.manifests {
        let (kind, name, meta) = (word(&manifest["kind"]), name(manifest), &manifest["metadata"]);
        for label in ["app.kubernetes.io/name", "app.kubernetes.io/instance"] {
            faults.extend(unless(meta["labels"][label].is_string(), || format!("{kind} {name} has no label {label}")));
        }
        let is_at_home = meta["namespace"] == *render.release.namespace || name.ends_with("-upstream");
        faults.extend(unless(is_at_home, || format!("{kind} {name} is in the namespace {}", meta["namespace"])));
    }
    faults
}

/// Kind, namespace and name of each manifest.
fn identities(render: &Render) -> Vec<String> {
    let all = render.manifests.iter();
    all.map(|one| format!("{} {}/{}", one["kind"], one["metadata"]["namespace"], one["metadata"]["name"])).collect()
}

/// A release with everything that has a name.
fn everything(release: &str) -> Release {
    Release::ci(&ci_values()[0])
        .named(release)
        .set("podDisruptionBudget.enabled", "true")
        .set("autoscaling.enabled", "true")
        .set("ingress.enabled", "true")
        .set("ingress.host", r#""chat.example.com""#)
        .set("monitoring.podMonitor.enabled", "true")
        .set("monitoring.rules.enabled", "true")
        .set("monitoring.dashboard.enabled", "true")
}

#[test]
fn any_name_of_a_release_gives_valid_names() {
    let long = "a".repeat(LONGEST);
    let dash_at_the_cut = format!("{}--{}", "a".repeat(50), "b");
    let dash_before_the_name = format!("{}-b", "a".repeat(41));
    let names = [
        "a",
        &long,
        &dash_at_the_cut,
        &dash_before_the_name,
        "tidegate",
        "my-tidegate-2",
        "true",
        "null",
        "4chat",
        "123",
    ];
    let long_override = json!("x".repeat(80)).to_string();
    let mut releases: Vec<Release> = names.iter().map(|name| everything(name)).collect();
    releases.push(Release { namespace: "123".to_owned(), ..everything("chat") });
    for (value, json) in [
        ("nameOverride", &long_override),
        ("fullnameOverride", &long_override),
        ("nameOverride", &json!("b").to_string()),
    ] {
        releases.push(everything("chat").set(value, json));
    }
    let mut taken = Vec::new();
    for (release, said) in releases.iter().zip(for_all(&releases, Release::template)) {
        let Err(error) = said else {
            taken.push(release.clone());
            continue;
        };
        // Not what gives bad names only, but what cannot give good ones, with a message that says so.
        let is_told = error.contains("elease") || error.contains("Override");
        assert!(is_told, "{}: refused, and does not say that it is the name: {error}", release.name);
        let has_letter_first = release.name.starts_with(|c: char| c.is_ascii_lowercase());
        assert!(!has_letter_first || error.contains("Override"), "{}: {error}", release.name);
    }
    assert!(taken.len() > 5, "names are taken");
    let mut found = Vec::new();
    for render in render(&taken) {
        let faults = valid(&render).into_iter().chain(render.faults.clone());
        found.extend(faults.map(|fault| format!("{}, {:?}: {fault}", render.release.name, render.release.sets.last())));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn two_releases_in_one_namespace_have_nothing_in_common() {
    let (long_a, long_b) = ("c".repeat(LONGEST - 1) + "a", "c".repeat(LONGEST - 1) + "b");
    let names = ["chat", "talk", "chat-2", "tidegate", "tidegate-2", &long_a, &long_b];
    let renders = render(&names.map(everything));
    for (at, a) in renders.iter().enumerate() {
        for b in &renders[at + 1..] {
            have_nothing_in_common(a, b);
        }
    }
}

fn have_nothing_in_common(a: &Render, b: &Render) {
    let (names_a, names_b): (BTreeSet<_>, BTreeSet<_>) =
        (identities(a).into_iter().collect(), identities(b).into_iter().collect());
    let both: Vec<_> = names_a.intersection(&names_b).collect();
    assert!(both.is_empty(), "{} and {} both have {both:?}", a.release.name, b.release.name);
    let selector = |render: &Render| render.deployment()["spec"]["selector"]["matchLabels"].clone();
    let labels = |render: &Render| -> Value { render.template()["metadata"]["labels"].clone() };
    assert!(!selects(&selector(a), &labels(b)), "{} selects pods of {}", a.release.name, b.release.name);
    assert!(!selects(&selector(b), &labels(a)), "{} selects pods of {}", b.release.name, a.release.name);
    assert!(selects(&selector(a), &labels(a)), "{} selects its own pods", a.release.name);
}
