//! What the pages tell a newcomer to type and to write renders, and is a configuration that this Tidegate reads.

use std::fs;

use crate::{
    check,
    helm::{Release, repository, typed},
    manifests::render,
};

const PAGES: &[&str] = &["README.md", "docs/kubernetes.md", "charts/tidegate/README.md"];
const GUIDE: &str = "docs/kubernetes.md";
/// This one is for prometheus-adapter.
const OF_ANOTHER_PROGRAM: &str = "seriesQuery";

/// The blocks of a page in this language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(repository(page)).expect("the page is there");
    let parts = text.split("\n```").skip(1).step_by(2);
    parts.filter_map(|part| part.strip_prefix(language)?.strip_prefix('\n').map(str::to_owned)).collect()
}

#[test]
fn the_command_of_each_page_renders_without_a_cluster() {
    for page in PAGES {
        let blocks = blocks(page, "sh").join("\n").replace("\\\n", " ");
        let commands: Vec<_> =
            blocks.lines().filter(|line| line.starts_with("helm ") && line.contains(" install ")).collect();
        assert_eq!(commands.len(), 1, "{page}: {commands:?}");
        for command in commands {
            let said = typed(&command.replace(" install ", " template "));
            let said = said.unwrap_or_else(|error| panic!("{page}: {command}: {error}"));
            for part in ["registry.example.com/chat:1.4.0", "http://127.0.0.1:4003", "secretName: \"chat-auth\""] {
                assert!(said.contains(part), "{page}: {part} is not in what it renders");
            }
        }
    }
}

#[test]
fn the_examples_of_the_guide_render_and_are_read() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let examples = blocks(GUIDE, "yaml").into_iter().filter(|example| !example.contains(OF_ANOTHER_PROGRAM));
    let releases: Vec<Release> = examples
        .enumerate()
        .map(|(at, example)| {
            let file = folder.path().join(format!("{at}.yaml"));
            fs::write(&file, &example).expect("the file can be written");
            let mut release = Release::new(&example);
            release.files.push(file);
            // What each of them leaves out, because it stands in the first.
            release.set("app.image", r#""registry.example.com/chat:1""#).set("auth.secretName", r#""chat-auth""#)
        })
        .collect();
    assert!(releases.len() > 3, "the guide has examples");
    for render in render(&releases) {
        let read = check::RULES.iter().flat_map(|rule| (rule.judge)(&render));
        let faults: Vec<_> = render.faults.iter().cloned().chain(read).collect();
        assert!(faults.is_empty(), "{}\n{faults:?}", render.release.case);
    }
}
