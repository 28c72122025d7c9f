//! What the pages name exists: `module::path::function` in the code or an end-to-end test, `folder/file` in the tree.

use std::{fs, path::Path};

/// The pages that name code.
const PAGES: &[&str] =
    &["docs/architecture.md", "docs/protocol.md", "docs/threats.md", "docs/tls.md", "README.md", "CONTRIBUTING.md"];
/// Where the files of a module path lie.
const ROOTS: &[&str] = &["src", "tests/e2e"];
/// A word with a slash is a path of this tree where it begins so.
const FOLDERS: &[&str] = &["src/", "tests/", "docs/", "examples/", "benches/", "config/", "scripts/"];

fn read(path: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}

fn is_identifier(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Every word of a page, with its line.
fn words<'a>(page: &'a str, of: impl Fn(char) -> bool + Copy + 'a) -> impl Iterator<Item = (usize, &'a str)> {
    page.lines().enumerate().flat_map(move |(at, line)| line.split(move |c| !of(c)).map(move |word| (at + 1, word)))
}

/// `relay::driver::Driver::poll` exists where src/relay/driver.rs has the words `Driver` and `fn poll`.
fn exists(path: &str) -> bool {
    let segments: Vec<_> = path.split("::").collect();
    ROOTS.iter().any(|root| {
        let in_file = (1..=segments.len()).rev().find_map(|end| {
            let text = read(&format!("{root}/{}.rs", segments[..end].join("/")))?;
            Some((text, &segments[end..]))
        });
        in_file.is_some_and(|(text, names)| names.iter().all(|name| declares(&text, name)))
    })
}

/// Whether a file has this function, or this type, constant or variant.
fn declares(text: &str, name: &str) -> bool {
    let sought = if name.starts_with(char::is_lowercase) { format!("fn {name}") } else { name.to_owned() };
    text.match_indices(&sought)
        .any(|(at, _)| !text[at + sought.len()..].starts_with(is_identifier) && !text[..at].ends_with(is_identifier))
}

#[test]
fn every_path_a_page_names_exists() {
    let mut missing = Vec::new();
    for page in PAGES {
        let text = read(page).unwrap();
        for (line, word) in words(&text, |c| is_identifier(c) || c == ':') {
            let path = word.trim_matches(':');
            if path.contains("::") && !exists(path) {
                missing.push(format!("{page}:{line}: no `{path}` in the code"));
            }
        }
        for (line, word) in words(&text, |c| is_identifier(c) || "/.-".contains(c)) {
            let path = word.trim_end_matches('.');
            let ours = FOLDERS.iter().any(|folder| path.starts_with(folder) && path != *folder);
            if ours && !Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists() {
                missing.push(format!("{page}:{line}: no file {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "\n{}\n", missing.join("\n"));
}
