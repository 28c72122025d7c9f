//! Files that the chart carries, and that it renders the same each time.

use std::{fs, process::Command, sync::LazyLock};

use serde_json::{Value, json};

use crate::{
    helm::{Release, chart_file, ci_values, for_all, repository},
    manifests::{document, map, name, word},
    rules::Rule,
};

/// Each command in the notes can be typed as it stands.
#[test]
fn the_notes_name_what_is_installed() {
    let releases: Vec<Release> = ci_values().iter().map(|name| Release::ci(name)).collect();
    for (release, notes) in releases.iter().zip(for_all(&releases, Release::notes)) {
        let notes = notes.unwrap_or_else(|error| panic!("{}: {error}", release.case));
        assert!(!notes.contains("<no value>") && !notes.contains("%!"), "{}: {notes}", release.case);
        let rendered = release.template().unwrap_or_else(|error| panic!("{}: {error}", release.case));
        let named = |kind: &str| {
            let words = notes.split([' ', '\n', '\'']).filter_map(|word| word.strip_prefix(kind));
            words.map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        let names: Vec<String> = ["deployment/", "service/"].iter().flat_map(|kind| named(kind)).collect();
        assert!(names.len() > 3, "{}: {notes}", release.case);
        for name in names {
            assert!(rendered.contains(&format!("\n  name: \"{name}\"\n")), "{}: there is no {name}", release.case);
        }
        let commands = notes.lines().map(str::trim).filter(|line| line.starts_with("kubectl "));
        for command in commands {
            assert!(command.starts_with("kubectl -n talk "), "{}: {command}", release.case);
        }
    }
}

static ALERTS: LazyLock<Value> = LazyLock::new(|| document(&chart_file("rules/tidegate.yaml")));
static DASHBOARD: LazyLock<String> = LazyLock::new(|| {
    let dashboard = chart_file("dashboards/tidegate.json");
    serde_json::from_str::<Value>(&dashboard).expect("the dashboard is JSON");
    dashboard
});

pub(crate) const RULES: &[Rule] = &[
    Rule {
        name: "alert rules are those of the file",
        judge: |render| {
            let other = render.of_kind("PrometheusRule").filter(|one| one["spec"] != *ALERTS);
            other.map(|one| format!("{} has others", name(one))).collect()
        },
        break_it: |render| render.change("PrometheusRule", |one| one["spec"]["groups"][0] = json!({})),
    },
    Rule {
        name: "the dashboard is that of the file",
        judge: |render| {
            let boards = render.of_kind("ConfigMap").filter(|one| name(one).ends_with("-dashboard"));
            let is_so = |one: &&Value| {
                one["metadata"]["labels"]["grafana_dashboard"] == "1"
                    && map(&one["data"]).len() == 1
                    && word(&one["data"]["tidegate.json"]).trim_end() == DASHBOARD.trim_end()
            };
            boards.filter(|one| !is_so(one)).map(|one| format!("{} is another", name(one))).collect()
        },
        break_it: |render| {
            let has_one = render.of_kind("ConfigMap").any(|one| name(one).ends_with("-dashboard"));
            has_one && render.change("ConfigMap", |one| one["data"]["tidegate.json"] = json!("{}"))
        },
    },
];

#[test]
fn lint_finds_nothing_in_any_of_the_values_files() {
    let said = for_all(&ci_values(), |name| (name.clone(), Release::ci(name).lint()));
    for (name, said) in said {
        assert!(said.is_ok(), "{name}: {}", said.unwrap_err());
    }
}

#[test]
fn the_defaults_render_but_for_what_only_the_operator_knows() {
    let error = Release::new("defaults").template().expect_err("the image of the service is not known");
    assert!(error.contains("app.image"), "{error}");
    let release = Release::new("defaults").set("app.image", r#""registry.example.com/chat:1""#);
    let error = release.template().expect_err("who may connect is not known");
    assert!(error.contains("auth.secretName"), "{error}");
    let release = release.set("auth.secretName", r#""chat-auth""#);
    release.template().expect("two values suffice");
    release.lint().expect("lint finds nothing in the defaults");
}

#[test]
fn the_same_values_render_the_same() {
    let releases: Vec<Release> = ci_values().iter().map(|name| Release::ci(name)).collect();
    let twice = for_all(&releases, |release| (release.template(), release.template()));
    for (release, (first, second)) in releases.iter().zip(twice) {
        let first = first.expect("the values of ci/ render");
        assert!(!first.contains("<no value>") && !first.contains("%!"), "{}: a value is missing", release.case);
        assert_eq!(first, second.expect("the values of ci/ render"), "{}", release.case);
    }
}

#[test]
fn the_table_of_values_in_the_readme_is_that_of_values_yaml() {
    let output = Command::new(repository("scripts/chart-readme")).arg("--check").output().expect("the script runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_oldest_helm_renders_the_same_and_refuses_what_is_misspelt() {
    let releases: Vec<Release> = ci_values().iter().map(|name| Release::ci(name)).collect();
    let said = for_all(&releases, |release| (release.template(), release.template_by_the_oldest_helm()));
    for (release, (newest, oldest)) in releases.iter().zip(said) {
        assert_eq!(newest, oldest, "{}", release.case);
        assert!(newest.is_ok(), "{}: {newest:?}", release.case);
    }
    let misspelt = releases[0].clone().set("leaving.shutdownGrase", "30");
    let error = misspelt.template_by_the_oldest_helm().expect_err("the key is misspelt");
    assert!(error.contains("shutdownGrase"), "{error}");
}

/// As who keeps renders in a repository does. Kustomize refuses a key that is there twice, and two resources of one name.
#[test]
fn kustomize_takes_what_helm_renders() {
    let names = ci_values();
    let said = for_all(&names, |name| {
        let rendered = Release::ci(name).template().unwrap_or_else(|error| panic!("{name}: {error}"));
        let folder = tempfile::tempdir().expect("there is room for a folder");
        fs::write(folder.path().join("rendered.yaml"), &rendered).expect("the file can be written");
        fs::write(folder.path().join("kustomization.yaml"), "resources: [rendered.yaml]\n").expect("so can this one");
        let kubectl = repository("target/kubernetes/kubectl");
        let output = Command::new(&kubectl).arg("kustomize").arg(folder.path()).output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}; scripts/test installs it", kubectl.display()));
        let kinds = |text: &str| text.lines().filter(|line| line.starts_with("kind: ")).count();
        let taken = kinds(&String::from_utf8_lossy(&output.stdout));
        (kinds(&rendered), taken, String::from_utf8_lossy(&output.stderr).into_owned())
    });
    for (name, (rendered, taken, errors)) in names.iter().zip(said) {
        assert!(rendered >= 3 && taken == rendered, "{name}: {taken} of {rendered} manifests: {errors}");
    }
}
