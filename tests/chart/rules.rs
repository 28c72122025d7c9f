//! Rules that hold for everything that the chart renders, and that each rule notices what breaks it.

use serde_json::Value;

use crate::{
    check, files,
    helm::for_all,
    manifests::{Render, render},
    matrix::releases,
    names, pods, traffic,
};

/// What a rule finds wrong, a sentence for each.
pub(crate) type Faults = Vec<String>;

pub(crate) struct Rule {
    pub(crate) name: &'static str,
    pub(crate) judge: fn(&Render) -> Faults,
    /// Breaks it in the first render in which that is possible. Says whether it was.
    pub(crate) break_it: fn(&mut Render) -> bool,
}

fn rules() -> impl Iterator<Item = &'static Rule> {
    SCHEMAS.iter().chain(check::RULES).chain(files::RULES).chain(pods::RULES).chain(traffic::RULES).chain(names::RULES)
}

const SCHEMAS: &[Rule] = &[Rule {
    name: "manifests are valid for the oldest and the newest Kubernetes",
    judge: |render| render.faults.clone(),
    break_it: |render| {
        let broken = render.text.replacen("spec:", "specs:", 1);
        let judged = crate::manifests::judge(&serde_json::json!([{"yaml": broken, "versions": ["1.25"]}]));
        let faults = crate::manifests::items(&judged[0]["faults"]);
        render.faults = faults.iter().map(Value::to_string).collect();
        true
    },
}];

/// A sentence if this is not so.
pub(crate) fn unless(is_so: bool, sentence: impl FnOnce() -> String) -> Option<String> {
    if is_so { None } else { Some(sentence()) }
}

#[test]
fn everything_that_the_chart_renders_keeps_the_rules() {
    let renders = render(&releases());
    let judge = |render: &Render| -> Vec<String> {
        let of = |rule: &Rule| {
            let faults = (rule.judge)(render).into_iter();
            faults.map(|fault| format!("{}\n  in: {}\n  {fault}", rule.name, render.release.case)).collect::<Vec<_>>()
        };
        rules().flat_map(of).collect()
    };
    let found = for_all(&renders, judge).concat();
    assert!(found.is_empty(), "{} faults in {} releases:\n{}", found.len(), renders.len(), found.join("\n"));
}

/// As many as it takes for each rule to be broken.
const SOME: usize = 16;

#[test]
fn each_rule_notices_what_breaks_it() {
    let renders = render(&releases()[..SOME]);
    for rule in rules() {
        let broken = renders.iter().cloned().find_map(|mut render| (rule.break_it)(&mut render).then_some(render));
        let broken = broken.unwrap_or_else(|| panic!("nothing could break the rule: {}", rule.name));
        assert!(!(rule.judge)(&broken).is_empty(), "the rule did not notice that it was broken: {}", rule.name);
    }
}
