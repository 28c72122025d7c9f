//! What each values file of `ci/` renders, as text, so that a change of the chart is reviewed as a change of manifests.

use std::{
    env,
    fs::{self, read_dir},
    process::Command,
};

use crate::helm::{Release, ci_values, for_all, repository};

const FOLDER: &str = "tests/chart/golden";
const HOW: &str = "UPDATE_EXPECT=1 cargo nextest run --test chart golden takes it over";

#[test]
fn renders_are_those_that_were_reviewed() {
    let names = ci_values();
    let texts = for_all(&names, |name| match Release::ci(name).template() {
        Ok(text) => without_files(&text),
        Err(error) => panic!("{name}: {error}"),
    });
    let updates = env::var_os("UPDATE_EXPECT").is_some();
    let mut found = String::new();
    for (name, text) in names.iter().zip(texts) {
        let path = repository(FOLDER).join(format!("{name}.yaml"));
        if updates {
            fs::create_dir_all(repository(FOLDER)).expect("the folder can be made");
            fs::write(&path, text).expect("the file can be written");
        } else if fs::read_to_string(&path).unwrap_or_default() != text {
            found += &difference(name, &text);
        }
    }
    for entry in read_dir(repository(FOLDER)).expect("there are renders") {
        let path = entry.expect("the folder can be read").path();
        let is_of_a_file = names.iter().any(|name| path.ends_with(format!("{name}.yaml")));
        if !is_of_a_file && updates {
            fs::remove_file(&path).expect("the file can be removed");
        } else if !is_of_a_file {
            found += &format!("{} has no values file\n", path.display());
        }
    }
    assert!(found.is_empty(), "{found}{HOW}");
}

/// Without what is copied from files, which a rule compares with them.
fn without_files(text: &str) -> String {
    let manifests = text.split_inclusive("\n---\n").map(|manifest| {
        let is_rule = manifest.contains("\nkind: PrometheusRule\n");
        let is_dashboard = manifest.contains("\n    grafana_dashboard:");
        let cut = if is_rule { "\nspec:\n" } else { "\ndata:\n" };
        match manifest.split_once(cut) {
            Some((head, body)) if is_rule || is_dashboard => {
                let end = if body.ends_with("\n---\n") { "\n---\n" } else { "\n" };
                format!("{head}{cut}  # The file of the chart.{end}")
            }
            _ => manifest.to_owned(),
        }
    });
    manifests.collect()
}

/// The changed lines, with those around them.
fn difference(name: &str, text: &str) -> String {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let rendered = folder.path().join(format!("{name}.yaml"));
    fs::write(&rendered, text).expect("the file can be written");
    let reviewed = repository(FOLDER).join(format!("{name}.yaml"));
    let output = Command::new("diff")
        .args(["--unified=5", "--new-file", "--label", "reviewed", "--label", "rendered"])
        .args([&reviewed, &rendered])
        .output()
        .expect("diff runs");
    format!("{name}:\n{}", String::from_utf8_lossy(&output.stdout))
}
