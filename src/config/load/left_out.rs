//! Reads the merged layers. A value that cannot be read is reported and left out, so that one run reports all of them.

use std::collections::HashMap;

use serde_json::Value;
use serde_path_to_error::Segment;

use super::plain::{self, At};
use crate::{
    config::{
        model::Config,
        schema::{self, Node},
    },
    fault::{Fault, is_within},
};

/// After so many mistakes the rest is not told.
const MISTAKES_MAX: usize = 100;

/// The entries of lists that are left, by the key of the list: their numbers in the sources.
#[derive(Debug, Default)]
pub(super) struct Left(HashMap<String, Vec<usize>>);

/// What could not be read.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    pub(super) faults: Vec<Fault>,
    /// The keys that have their default in place of what is meant: those of the faults, and those that unknown keys seem to
    /// stand for.
    keys: Vec<String>,
}

/// One reading.
pub(super) struct Reading {
    /// With the defaults of what was left out. `None` where the mistakes are too many.
    pub(super) config: Option<Config>,
    pub(super) left: Left,
    pub(super) left_out: LeftOut,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Entry(usize),
}

impl Left {
    /// The same key with the numbers that entries have in the sources.
    pub(super) fn in_sources(&self, key: &str) -> String {
        let mut found = String::new();
        for part in key.split_inclusive('[') {
            match part.split_once(']') {
                Some((number, rest)) => {
                    let list = found.trim_end_matches('[').to_owned();
                    let left = number.parse::<usize>().ok().and_then(|at| self.0.get(&list)?.get(at).copied());
                    let number = left.map_or_else(|| number.to_owned(), |at| at.to_string());
                    found.push_str(&number);
                    found.push(']');
                    found.push_str(rest);
                }
                None => found.push_str(part),
            }
        }
        found
    }

    fn remove(&mut self, list: String, len: usize, at: usize) {
        let left = self.0.entry(list).or_insert_with(|| (0..len).collect());
        if at < left.len() {
            left.remove(at);
        }
    }
}

impl LeftOut {
    /// A fault of a setting that is no part of what all layers come to.
    pub(super) fn add_key(&mut self, key: String) {
        self.keys.push(key);
    }

    fn add(&mut self, fault: Fault, meant: Option<String>) {
        if self.is_told(&fault) || self.faults.contains(&fault) {
            return;
        }
        self.keys.extend(meant);
        self.keys.push(fault.key.clone());
        self.faults.push(fault);
    }

    /// Whether a key is only missing because it was left out.
    fn is_told(&self, fault: &Fault) -> bool {
        let Some(missing) = fault.message.strip_prefix("needs ") else { return false };
        let name = missing.strip_prefix('"').and_then(|rest| rest.split('"').next());
        match name {
            Some(name) => self.keys.iter().any(|key| *key == format!("{}.{name}", fault.key)),
            None => self.keys.iter().any(|key| is_within(key, &fault.key)),
        }
    }

    /// Whether this fault may only come from the defaults of what was left out.
    pub(super) fn explains(&self, fault: &Fault) -> bool {
        let table = |key: &str| key.split('.').next().unwrap_or_default().to_owned();
        let words = || fault.message.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        self.keys.iter().any(|key| {
            let mut names = key.split('.').skip(1).map(|part| part.split('[').next().unwrap_or_default());
            is_within(&fault.key, key)
                || is_within(key, &fault.key)
                || key.contains('.') && fault.message.contains(key.as_str())
                || table(key) == table(&fault.key) && names.any(|name| words().any(|word| word == name))
        })
    }
}

/// Reads the value that all layers come to.
pub(super) fn read(mut merged: Value) -> Reading {
    let schema = schema::generate();
    let schema = Node::root(schema.as_value());
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    let (mut left, mut left_out) = (Left::default(), LeftOut::default());
    let mut lists = Vec::new();
    lists_for_tables(schema, &merged, &mut Vec::new(), &mut lists);
    for steps in lists {
        let key = key_of(&steps);
        let message = format!("is a list; write [{key}], with one pair of brackets, and once");
        left_out.add(Fault::new(key, message), None);
        leave_out(&mut merged, &steps, &defaults, &mut left);
    }
    loop {
        let error = match serde_path_to_error::deserialize::<_, Config>(&merged) {
            Ok(config) => return Reading { config: Some(config), left, left_out },
            Err(error) => error,
        };
        let steps: Vec<_> = error.path().iter().map_while(step).collect();
        let found = steps.iter().try_fold(&merged, |value, step| match step {
            Step::Key(key) => value.get(key),
            Step::Entry(at) => value.get(at),
        });
        let node = |steps: &[Step]| {
            steps.iter().try_fold(schema, |node, step| match step {
                Step::Key(key) => node.key(key),
                Step::Entry(_) => node.entry(),
            })
        };
        let key = left.in_sources(&key_of(&steps));
        let at = At { key: &key, is_top: steps.len() == 1, schema, node: node(&steps), found };
        let told = plain::plain(&error.inner().to_string(), &at);
        let meant = told.meant.map(|name| match key.rsplit_once('.') {
            Some((table, _)) => format!("{table}.{name}"),
            None => name,
        });
        left_out.add(Fault::new(key, told.message), meant);
        if left_out.faults.len() >= MISTAKES_MAX || !leave_out(&mut merged, &steps, &defaults, &mut left) {
            return Reading { config: None, left, left_out };
        }
    }
}

fn step(segment: &Segment) -> Option<Step> {
    match segment {
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Seq { index } => Some(Step::Entry(*index)),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

fn key_of(steps: &[Step]) -> String {
    let mut key = String::new();
    for step in steps {
        match step {
            Step::Key(name) if key.is_empty() => key.push_str(name),
            Step::Key(name) => key.extend([".", name]),
            Step::Entry(at) => key.push_str(&format!("[{at}]")),
        }
    }
    key
}

/// serde takes a list for a table, its values for keys in their order. Nobody means that.
fn lists_for_tables(node: Node<'_>, value: &Value, steps: &mut Vec<Step>, found: &mut Vec<Vec<Step>>) {
    match value {
        Value::Array(_) if node.is_table() && !node.is_list() && !node.is_secret() => found.push(steps.clone()),
        Value::Object(table) => {
            for (name, value) in table {
                let Some(node) = node.key(name) else { continue };
                steps.push(Step::Key(name.clone()));
                lists_for_tables(node, value, steps, found);
                steps.pop();
            }
        }
        _ => {}
    }
}

/// Puts the default in the place of a value, or removes it where there is none. `false` where neither changes anything.
fn leave_out(merged: &mut Value, steps: &[Step], defaults: &Value, left: &mut Left) -> bool {
    let Some((last, around)) = steps.split_last() else { return false };
    let (mut value, mut default) = (merged, Some(defaults));
    for step in around {
        let next = match step {
            Step::Key(key) => value.get_mut(key),
            Step::Entry(at) => value.get_mut(at),
        };
        let Some(next) = next else { return false };
        value = next;
        default = match step {
            Step::Key(key) => default.and_then(|default| default.get(key)),
            Step::Entry(_) => None,
        };
    }
    match (last, value) {
        (Step::Key(key), Value::Object(table)) => {
            let default =
                default.and_then(|default| default.get(key)).filter(|default| table.get(key) != Some(default));
            match default {
                Some(default) => table.insert(key.clone(), default.clone()).is_some(),
                None => table.remove(key).is_some(),
            }
        }
        (Step::Entry(at), Value::Array(list)) if *at < list.len() => {
            let key = left.in_sources(&key_of(around));
            left.remove(key, list.len(), *at);
            list.remove(*at);
            true
        }
        _ => false,
    }
}
