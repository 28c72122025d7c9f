//! The list of files in `src/lib.rs`.

use std::fs;

use super::{LAYERS, assert_none, root, sources};

/// The names before the colon of each bullet in the text of a layer.
fn listed(layer: &str) -> Vec<&str> {
    let bullets = layer.split("\n//!   * ").skip(1).filter_map(|bullet| bullet.split_once(':'));
    bullets.flat_map(|(names, _)| names.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn a_file_is_listed_before_the_colon_and_not_by_a_description() {
    let layer = " does.\n//!   * `a`,\n//!     `b`: not `c`.\n//!   * `d`: the last one: not `e`.";
    assert_eq!(listed(layer), ["a", "b", "d"]);
}

/// So that the reading order stays complete.
#[test]
fn lib_rs_lists_every_file_of_every_layer() {
    let list = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let of_layer = |name: &str| {
        let behind = list.split_once(&format!("//! * [`{name}`]")).map_or("", |(_, behind)| behind);
        behind.split("\n//! * ").next().unwrap_or_default().split("\n//! #").next().unwrap_or_default().to_owned()
    };
    let mut complaints = Vec::new();
    for source in sources() {
        let segments: Vec<_> = source.path.trim_end_matches(".rs").split('/').collect();
        if let ["src", layer, file] = *segments
            && !listed(&of_layer(layer)).contains(&file)
        {
            complaints.push(format!("src/lib.rs: add `{file}` to the files of `{layer}`, with what it is for"));
        }
    }
    for layer in LAYERS.iter().filter(|layer| !list.contains(&format!("//! * [`{}`]", layer.name))) {
        complaints.push(format!("src/lib.rs: add the layer `{}`", layer.name));
    }
    assert_none(&complaints);
}
