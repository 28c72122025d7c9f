//! The values of a release as Helm puts them together: defaults, files, `--set`.

use serde_json::{Value, json};

use crate::{
    helm::{Release, chart_file},
    manifests::{document, judge, word},
};

/// The values of values.yaml.
pub(crate) fn defaults() -> Value {
    document(&chart_file("values.yaml"))
}

/// What all these releases are given, in their order.
pub(crate) fn given(releases: &[Release]) -> Vec<Value> {
    let read = |path| std::fs::read_to_string(path).expect("the values file can be read");
    let texts: Vec<String> = [chart_file("values.yaml")]
        .into_iter()
        .chain(releases.iter().flat_map(|release| &release.files).map(read))
        .collect();
    let asked: Vec<_> = texts.iter().map(|text| json!({"yaml": text, "versions": []})).collect();
    let mut read = judge(&Value::from(asked)).into_iter().map(|judged| {
        assert_eq!(judged["faults"], json!([]), "values files are YAML");
        judged["manifests"][0].clone()
    });
    let defaults = read.next().expect("values.yaml was read");
    let all = releases.iter().map(|release| {
        let mut values = defaults.clone();
        release.files.iter().for_each(|_| merge(&mut values, read.next().expect("each file was read")));
        for set in &release.sets {
            let (path, json) = set.split_once('=').expect("a value is set to something");
            *at(&mut values, path) = serde_json::from_str(json).expect("values are set as JSON");
        }
        values
    });
    all.collect()
}

/// Maps are merged, everything else is replaced.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, from) => *into = from,
    }
}

/// The value at a path such as `tls.acme.cache`.
pub(crate) fn at<'a>(values: &'a mut Value, path: &str) -> &'a mut Value {
    path.split('.').fold(values, |values, key| &mut values[key])
}

/// The text at a path.
pub(crate) fn text<'a>(values: &'a Value, path: &str) -> &'a str {
    word(path.split('.').fold(values, |values, key| &values[key]))
}
