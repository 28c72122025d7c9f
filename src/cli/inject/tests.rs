//! Manifests as people write them, and as nobody does: what is injected can be taken back, byte for byte.

use std::fmt::Write as _;

use clap::Parser as _;
use proptest::prelude::*;

use super::*;
use crate::cli::{Cli, Command};

/// The options of the command line.
fn plan(options: &[&str]) -> Plan {
    let line = ["tidegate", "inject", "--config-map", "gate", "--secret", "jwt"].iter().chain(options);
    match Cli::try_parse_from(line).unwrap().command {
        Command::Inject(args) => Plan::of(&args).unwrap(),
        _ => unreachable!("the command line says inject"),
    }
}

fn drafts(text: &str) -> Vec<Draft> {
    vec![Draft::new("m.yaml".to_owned(), text.to_owned())]
}

fn gated(text: &str, options: &[&str]) -> Result<String, String> {
    let done = injected(drafts(text), &plan(options)).map_err(|error| error.to_string())?;
    Ok(done.0[0].text.clone())
}

fn back(text: &str) -> String {
    let mut drafts = drafts(text);
    remove::uninject(&mut drafts, &mut Notes::default(), false, |_, _| true).unwrap();
    drafts[0].text.clone()
}

/// What has to hold of every manifest into which the gate goes.
fn holds(text: &str, options: &[&str]) -> Result<(), TestCaseError> {
    let Ok(once) = gated(text, options) else { return Ok(()) };
    prop_assert_eq!(&back(&once), text, "back, from\n{}", once);
    prop_assert_eq!(&gated(&once, options).unwrap(), &once, "twice");
    let classic = [options, &["--classic"]].concat();
    prop_assert_eq!(gated(&once, &classic), gated(text, &classic), "with other options");
    let (before, after) = (names(text), names(&once));
    let others = |all: &[String]| all.iter().filter(|name| *name != "tidegate").cloned().collect::<Vec<_>>();
    prop_assert_eq!(others(&after), others(&before), "containers of\n{}", once);
    prop_assert_eq!(after.len(), before.len() + 1, "one more container in\n{}", once);
    Ok(())
}

/// All containers of all pods.
fn names(text: &str) -> Vec<String> {
    let tree = yaml::Tree::parse(text).unwrap();
    let pods = objects(&tree).into_iter().filter(Object::is_workload).map(|object| object.pod(&tree));
    let all = pods.flat_map(|pod| pod.init_containers.into_iter().chain(pod.containers));
    all.map(|container| container.name).collect()
}

/// Draws from bytes, and from zeros behind them.
struct Chance {
    bytes: Vec<u8>,
    at: usize,
}

impl Chance {
    fn below(&mut self, count: usize) -> usize {
        self.at += 1;
        usize::from(self.bytes.get(self.at - 1).copied().unwrap_or_default()) % count
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// Writes a manifest with indentation, comments and styles by chance.
struct Writer {
    chance: Chance,
    text: String,
    step: usize,
    dash: usize,
    end: &'static str,
}

impl Writer {
    fn line(&mut self, indent: usize, text: &str) {
        if self.chance.below(6) == 0 {
            let noise = self.chance.pick(&["# a comment", "", "      # - deep: one", "   "]);
            let _ = write!(self.text, "{noise}{}", self.end);
        }
        let behind = if self.chance.below(5) == 0 { "  # why: this" } else { "" };
        let _ = write!(self.text, "{}{text}{behind}{}", " ".repeat(indent), self.end);
    }

    /// A key whose value is a collection: missing, empty in some way, or with these lines.
    fn collection(&mut self, indent: usize, key: &str, brackets: &str, some: &[&str]) {
        match self.chance.below(6) {
            0 => self.line(indent, &format!("{key}:")),
            1 => self.line(indent, &format!("{key}: {brackets}")),
            2 => self.line(indent, &format!("{key}: null")),
            3 => {
                let deeper = if brackets == "[]" { self.dash } else { self.step };
                self.line(indent, &format!("{key}:"));
                for line in some {
                    self.line(indent + deeper, line);
                }
            }
            _ => {}
        }
    }

    fn pod_spec(&mut self, indent: usize) {
        let mut parts = [0, 1, 2, 3, 4];
        for at in 0..parts.len() {
            let other = self.chance.below(parts.len());
            parts.swap(at, other);
        }
        for part in parts {
            match part {
                0 => self.collection(indent, "volumes", "[]", &["- name: data", "  emptyDir: {}"]),
                1 => self.collection(indent, "initContainers", "[]", &["- {name: first, image: a}", "- name: second"]),
                2 => match self.chance.below(4) {
                    0 => self.line(indent, "terminationGracePeriodSeconds: 7"),
                    1 => self.line(indent, "terminationGracePeriodSeconds: 7000"),
                    _ => {}
                },
                3 => self.line(indent, "dnsPolicy: ClusterFirst"),
                _ => self.containers(indent),
            }
        }
    }

    fn containers(&mut self, indent: usize) {
        self.line(indent, "containers:");
        let item = indent + self.dash;
        let gap = self.chance.below(3);
        let inside = item + 2 + gap;
        for name in ["app", "other"] {
            self.line(item, &format!("-{}name: {name}", " ".repeat(1 + gap)));
            if name == "app" {
                self.line(inside, "ports:");
                self.line(inside + self.dash, "- containerPort: 4003");
            }
            self.collection(inside, "lifecycle", "{}", &["postStart:", "   exec: {command: [a]}"]);
            match self.chance.below(4) {
                0 => self.line(inside, "args: [a, 'b: c', \"d\"]"),
                1 => {
                    let header = self.chance.pick(&["|", "|+", ">-", "|2"]);
                    self.line(inside, "env:");
                    self.line(inside + self.dash, "- name: text");
                    let _ = write!(self.text, "{}value: {header}{}", " ".repeat(inside + self.dash + 2), self.end);
                    let lines = self.chance.pick(&["some text\n", "some\n\n\n", "# none\n\n   deeper\n"]);
                    for line in lines.lines() {
                        let spaces = " ".repeat(inside + self.dash + 4);
                        let line = if line.is_empty() { String::new() } else { format!("{spaces}{line}") };
                        let _ = write!(self.text, "{line}{}", self.end);
                    }
                }
                _ => {}
            }
        }
    }

    fn workload(&mut self) {
        let step = self.step;
        self.line(0, "apiVersion: apps/v1");
        self.line(0, "kind: Deployment");
        self.line(0, "metadata:");
        self.line(step, "name: app");
        self.collection(step, "annotations", "{}", &["a: b"]);
        self.line(0, "spec:");
        self.line(step, "template:");
        self.line(2 * step, "metadata: {labels: {app: a, tier: b}}");
        self.line(2 * step, "spec:");
        self.pod_spec(3 * step);
    }

    fn service(&mut self) {
        let step = self.step;
        self.line(0, "kind: Service");
        self.line(0, "apiVersion: v1");
        self.line(0, "metadata:");
        self.collection(step, "annotations", "{}", &["a: 'b'"]);
        self.line(step, "name: app");
        self.line(0, "spec:");
        self.line(step, "selector: {app: a}");
        self.line(step, "ports:");
        let target = self.chance.pick(&["", "targetPort: 4003", "targetPort: \"4003\"", "targetPort: null"]);
        self.line(step + self.dash, "- port: 4003");
        if !target.is_empty() {
            self.line(step + self.dash + 2, target);
        }
    }
}

fn manifest(bytes: Vec<u8>) -> String {
    let mut chance = Chance { bytes, at: 0 };
    let step = 1 + chance.below(4);
    let dash = [0, 2, step, 3][chance.below(4)];
    let end = chance.pick(&["\n", "\n", "\r\n"]);
    let (is_open, swapped) = (chance.below(3) == 0, chance.below(2) == 0);
    let begin = chance.pick(&["", "---", "# first\n\n---"]);
    let mut writer = Writer { chance, text: String::new(), step, dash, end: if end == "\n" { "\n" } else { "\r\n" } };
    if !begin.is_empty() {
        let _ = write!(writer.text, "{begin}{end}");
    }
    if swapped {
        writer.service()
    } else {
        writer.workload()
    }
    let between = writer.chance.pick(&["---", "...\n---", "--- # next", "---\n---"]);
    let _ = write!(writer.text, "{between}{end}");
    if swapped {
        writer.workload()
    } else {
        writer.service()
    }
    if is_open {
        writer.text.truncate(writer.text.trim_end_matches(['\r', '\n']).len());
    }
    writer.text
}

/// What people have, from the end-to-end tests.
const FIXTURES: [&str; 8] = [
    include_str!("../../../tests/e2e/inject/helm.yaml"),
    include_str!("../../../tests/e2e/inject/containers.yaml"),
    include_str!("../../../tests/e2e/inject/init-containers.yaml"),
    include_str!("../../../tests/e2e/inject/empty.yaml"),
    include_str!("../../../tests/e2e/inject/odd.yaml"),
    include_str!("../../../tests/e2e/inject/list.json"),
    include_str!("../../../tests/e2e/inject/stream.json"),
    include_str!("../../../tests/e2e/inject/crlf.yaml"),
];

/// What a slip of the editor puts into a manifest.
const SLIPS: [&str; 24] = [
    "", "", "\n", "\r\n", " ", "  ", "\t", "- ", ":", ": ", "#", "---\n", "...\n", "{", "}", "[", "]", ",", "&a ",
    "*a", "<<: ", "|+\n", "\"", "null",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn however_it_is_indented_and_commented_it_comes_back(bytes in prop::collection::vec(any::<u8>(), 120)) {
        let text = manifest(bytes);
        if let Err(why) = gated(&text, &["--port", "4003"]) {
            // A block scalar at the very end, without a line end.
            if why.contains("ends in this block") && !text.ends_with('\n') { return Ok(()) }
            return Err(TestCaseError::fail(format!("{why}\n{text}")));
        }
        holds(&text, &["--port", "4003"])?;
    }

    #[test]
    fn a_slip_of_the_editor_is_refused_or_comes_back(
        at in 0..FIXTURES.len(),
        slips in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, 0..SLIPS.len()), 1..4),
    ) {
        let mut text = FIXTURES[at].to_owned();
        for (place, gone, slip) in slips {
            let mut begin = place.index(text.len() + 1);
            while !text.is_char_boundary(begin) { begin -= 1; }
            let mut end = (begin + gone).min(text.len());
            while !text.is_char_boundary(end) { end += 1; }
            text.replace_range(begin..end, SLIPS[slip]);
        }
        holds(&text, &["--port", "4003"])?;
    }

    #[test]
    fn any_text_is_refused_or_comes_back(text in "[-a:{}\\[\\]\", \n#&*|>?!%\tk\u{85}é]{0,60}") {
        holds(&text, &["--port", "4003"])?;
        holds(&format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n{text}\n"), &["--port", "4003"])?;
    }
}

/// Several workloads of this name and the pod label `app: chat`.
fn workloads(names: &[&str]) -> String {
    let of = |name: &&str| {
        format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  template:\n    \
             metadata: {{labels: {{app: chat, track: {name}}}}}\n    spec:\n      containers:\n      - name: app\n        \
             ports: [{{containerPort: 4003, name: http}}]\n---\n"
        )
    };
    names.iter().map(of).collect()
}

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: front}\nspec:\n  selector: {app: chat}\n  \
                       ports:\n  - port: 80\n    targetPort: http\n";

fn noted(text: &str, options: &[&str]) -> Result<(String, String), String> {
    let (drafts, notes) = injected(drafts(text), &plan(options)).map_err(|error| error.to_string())?;
    Ok((joined(&drafts).unwrap(), notes.lines().collect::<Vec<_>>().join("\n")))
}

fn back_only(text: &str, only: &[&str]) -> Result<(String, String), String> {
    let (mut drafts, mut notes) = (drafts(text), Notes::default());
    let is_chosen = |title: &str, _: Option<&str>| only.is_empty() || only.contains(&title);
    remove::uninject(&mut drafts, &mut notes, false, is_chosen).map_err(|error| error.to_string())?;
    Ok((drafts[0].text.clone(), notes.lines().collect::<Vec<_>>().join("\n")))
}

#[test]
fn a_volume_without_a_name_keeps_its_place() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: a\n  volumes:\n  - emptyDir: {}\n";
    assert_eq!(back(&gated(pod, &["--port", "4003"]).unwrap()), pod);
}

#[test]
fn a_key_without_a_value_is_not_written_twice() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: a\n    lifecycle:\n";
    for hook in ["preStop:", "preStop: null", "preStop: ~ # none"] {
        let refused = gated(&format!("{pod}      {hook}\n"), &["--port", "4003"]).unwrap_err();
        let told = "m.yaml:8: spec.containers[0].lifecycle.preStop has no value; give it one, or remove it";
        assert_eq!(refused, told, "{hook}");
    }
    holds(&format!("{pod}      postStart: {{exec: {{command: [a]}}}}\n"), &["--port", "4003"]).unwrap();
    assert!(gated(pod, &["--port", "4003"]).is_ok());
}

#[test]
fn fixtures_come_back() {
    for text in FIXTURES {
        assert!(gated(text, &["--port", "4003"]).is_ok(), "{text}");
        holds(text, &["--port", "4003"]).unwrap();
    }
}

#[test]
fn what_was_yaml_comes_back_as_json() {
    let grace = "terminationGracePeriodSeconds: 0o36\n      initContainers: ~\n      containers:";
    let yaml = format!("{}{SERVICE}", workloads(&["chat"]).replace("containers:", grace));
    let (gate, _) = noted(&yaml, &[]).unwrap();
    let annotations = |title: &str| {
        let tree = yaml::Tree::parse(&gate).unwrap();
        let object = objects(&tree).into_iter().find(|object| object.title == title).unwrap();
        let at = object.path.keys(&["metadata", "annotations"]).find(&tree).unwrap();
        serde_json::to_value(tree.text_map(at)).unwrap()
    };
    // What `kubectl get -o json` makes of both.
    let json = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front", "annotations": annotations("Service/front")},
         "spec": {"selector": {"app": "chat"}, "ports": [{"port": 80, "targetPort": 8443}]}},
        {"apiVersion": "apps/v1", "kind": "Deployment",
         "metadata": {"name": "chat", "annotations": annotations("Deployment/chat")},
         "spec": {"template": {"metadata": {"labels": {"app": "chat"}}, "spec": {
             "terminationGracePeriodSeconds": 40, "initContainers": [{"name": "tidegate"}], "containers": [{"name": "app"}]}}}},
    ]});
    let value: serde_json::Value = serde_json::from_str(&back(&json.to_string())).unwrap();
    assert_eq!(value["items"][0]["spec"]["ports"][0]["targetPort"], "http");
    let pod = &value["items"][1]["spec"]["template"]["spec"];
    assert_eq!((&pod["terminationGracePeriodSeconds"], &pod["initContainers"]), (&30.into(), &serde_json::Value::Null));
    assert_eq!(value["items"][1]["metadata"], serde_json::json!({"name": "chat"}));
}

#[test]
fn json_and_yaml_are_printed_so_that_kubectl_reads_both() {
    let draft = |text: &str| Draft::new("m".to_owned(), text.to_owned());
    let of = |texts: &[&str]| joined(&texts.iter().map(|text| draft(text)).collect::<Vec<_>>()).unwrap();
    assert_eq!(of(&["{\"a\": 1}\n{\"b\": 2}\n", "c: 3\n"]), "---\n{\"a\": 1}\n---\n{\"b\": 2}\n---\nc: 3\n");
    assert_eq!(of(&["c: 3", "{\"a\": 1}\n"]), "c: 3\n---\n{\"a\": 1}");
    assert_eq!(of(&["{\"a\": 1}", "{\"b\": 2}\n"]), "{\"a\": 1}\n{\"b\": 2}\n");
    assert_eq!(of(&["---\na: 1\n", "---\nb: 2\n", "c: 3\n"]), "---\na: 1\n---\nb: 2\n---\nc: 3\n");
    assert_eq!(of(&["{\"a\": 1}\n\n"]), "{\"a\": 1}\n\n");
}

#[test]
fn the_end_of_a_block_scalar_stays_what_it_was() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: a\n    args:\n    - ";
    let value = |text: &str| {
        let tree = yaml::Tree::parse(text).unwrap();
        let pod = objects(&tree)[0].path.clone();
        let node = pod.key("spec").key("containers").item(0).key("args").item(0).find(&tree).unwrap();
        tree.scalar(node).unwrap().to_owned()
    };
    for block in [
        "|\n      x\n         \n",
        "|\n      x\n         \n\n",
        "|\r\n      x\r\n         \r\n",
        "|-\n      x\n        \n   \n",
        ">\n      x\n      y\n        \n",
        "|+\n      x\n        \n\n",
        "|2\n        x\n       \n",
        "|-\n      x",
        "|\n      x  \n",
        "|\n      x\n    \n# + none\n",
        "|\n      x\n  restartPolicy: Always\n",
        "|\n  restartPolicy: Always\n",
        "|\n\n     \n  restartPolicy: Always\n",
        "|+\n\n\n  restartPolicy: Always\n",
        "|\n",
        "|-",
    ] {
        let text = format!("{pod}{block}");
        let once = gated(&text, &["--port", "4003"]).unwrap();
        assert_eq!(value(&once), value(&text), "{block:?} became\n{once}");
        holds(&text, &["--port", "4003"]).unwrap();
    }
    for block in ["|\n      x", ">\n      x", "|+\n      x"] {
        let refused = gated(&format!("{pod}{block}"), &["--port", "4003"]).unwrap_err();
        assert!(refused.starts_with("m.yaml:9: the text ends in this block without a line end"), "{refused}");
    }
}

#[test]
fn a_text_that_an_edit_has_broken_is_said_to_be_of_a_form_that_cannot_be_changed() {
    let mut draft = Draft::new("m.yaml".to_owned(), "a: 1\nb: 2\nc: 3\n".to_owned());
    draft.put_back(&path::Path::root(0).key("a"), "1\n  \n").unwrap();
    draft.put_back(&path::Path::root(0).key("b"), "[").unwrap();
    let told = draft.tree().unwrap_err().to_string();
    assert!(told.starts_with("m.yaml:") && told.contains(": this form cannot be changed ("), "{told}");
    assert!(matches!(told.as_bytes()[7], b'2'..=b'4'), "a line of the input: {told}");
    let told = drafts("a: 1\r\nb: 2\rc: 3\n")[0].tree().unwrap_err().to_string();
    assert!(told.starts_with("m.yaml:2: ") && told.contains("a carriage return stands here"), "{told}");
    assert!(drafts("a: 1\r\nb: 2\r\n")[0].tree().is_ok());
    let told = drafts("a: [\n")[0].tree().unwrap_err().to_string();
    assert!(told.contains("this is no YAML"), "{told}");
}

#[test]
fn errors_name_lines_of_the_input() {
    let anchored = format!("{}{SERVICE}", workloads(&["chat"])).replace("  - port: 80", "  - &port\n    port: 80");
    let line = anchored.lines().position(|line| line.contains("&port")).unwrap() + 2;
    let refused = gated(&anchored, &[]).unwrap_err();
    assert!(refused.starts_with(&format!("m.yaml:{line}: spec.ports[0] has the anchor")), "{refused}");
    for (key, line) in [("? containers\n  :", 5), ("?\n    containers\n  :", 6)] {
        let pod = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  {key}\n  - name: a\n");
        let refused = gated(&pod, &["--port", "4003"]).unwrap_err();
        let told = format!("m.yaml:{line}: containers in spec is written with a question mark; write containers:");
        assert!(refused.starts_with(&told), "{refused}");
    }
    assert!(
        gated(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  hostname: why?\n  containers:\n  - name: a\n",
            &["--port", "1"]
        )
        .is_ok()
    );
}

mod services;
