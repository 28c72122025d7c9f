//! The Dockerfile, and the example of docker compose, are of this version.

use std::path::Path;

use tidegate::config::load::Loaded;

use super::{read, tree};

/// The value behind `key = "…"` in Cargo.toml.
fn of_manifest(key: &str) -> String {
    let manifest = read("Cargo.toml").expect("there is a manifest");
    let value = manifest.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix("= \""));
    value.expect("the manifest has the key").trim_end_matches('"').to_owned()
}

#[test]
fn the_image_is_built_with_the_oldest_rust_that_is_promised() {
    let wanted = format!("ARG RUST_IMAGE=rust:{}-", of_manifest("rust-version"));
    let dockerfile = read("Dockerfile").unwrap();
    assert!(dockerfile.lines().any(|line| line.starts_with(&wanted)), "no {wanted} in Dockerfile");
}

/// Docker leaves out what `.dockerignore` does not name, and then the program does not compile there.
#[test]
fn what_the_program_is_made_of_reaches_the_builder() {
    let ignored = read(".dockerignore").unwrap();
    let allowed: Vec<_> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().unwrap();
    let mut outside = 0;
    // Tests are not compiled there.
    let is_test = |file: &String| file.ends_with("tests.rs") || file.contains("/tests/");
    for file in tree("src").into_iter().filter(|file| !is_test(file)) {
        let text = read(&file).unwrap();
        let marks = ["include_str!(\"", "include_bytes!(\""];
        let included = marks.iter().flat_map(|mark| text.split(mark).skip(1));
        for path in included.filter_map(|rest| rest.split_once("\")").map(|(path, _)| path)) {
            let path = root.join(&file).parent().unwrap().join(path).canonicalize().unwrap();
            let path = path.strip_prefix(&root).unwrap();
            assert!(allowed.iter().any(|allowed| path.starts_with(allowed)), "{} is ignored", path.display());
            outside += usize::from(!path.starts_with("src"));
        }
    }
    assert!(outside > 0);
}

#[test]
fn the_example_of_compose_runs_this_version_with_a_sound_file() {
    let version = of_manifest("version");
    let compose = read("examples/compose/compose.yaml").unwrap();
    assert!(compose.contains(&format!("    image: tidegate:{version}\n")), "another version than {version}");
    let file = "examples/compose/config/tidegate.toml";
    Loaded::of_text(file, &read(file).unwrap()).unwrap();
}
