//! Compares the configuration in force with a reloaded one: names of changed keys, never their values.

use serde_json::Value;

use super::{model::Config, schema::SECRET_SOURCES};
use crate::fault::is_within;

/// Keys whose change takes effect at the next start, each with all that is below it. `tls` is another one while the table
/// is added or removed, or while `tls.acme` is.
pub const NEEDS_RESTART: [&str; 9] = [
    "listen.address",
    "listen.workers",
    "tls.acme",
    "admin.address",
    "auth.revoke",
    "redis",
    "cluster",
    "metrics",
    "log.format",
];

/// Keys of files whose content is read at a start only.
const READ_AT_START: [&str; 2] = ["tls.acme.root_ca", "cluster.secret"];

/// Keys whose change open sessions do not follow: they go on as they began. `[]` stands for any number.
const FOR_NEW_SESSIONS: [&str; 10] = [
    "upstream.max_message",
    "socketio.ping_interval",
    "socketio.ping_timeout",
    "socketio.max_payload",
    "websocket[].path",
    "websocket[].event_field",
    "websocket[].bridge",
    "websocket[].on_upstream_loss",
    "websocket[].replay_first",
    "websocket[].replay_events",
];

/// What a configuration that was read again changes.
#[derive(Debug)]
pub struct Changes {
    /// The keys that take effect now, in the order of the file's reference, such as `rate_limit[0].messages`.
    pub now: Vec<String>,
    /// The keys that differ from what runs until the next start.
    pub at_start: Vec<String>,
    /// What is in force once the first have taken effect.
    pub in_force: Config,
    /// Does `[tls]` stay as it is until the next start?
    pub keeps_tls: bool,
}

impl Changes {
    /// From what is in force to `new`.
    #[must_use]
    pub fn between(in_force: &Config, new: &Config) -> Self {
        let orders = |config: &Config| config.tls.as_ref().map(|tls| tls.acme.is_some());
        let keeps_tls = orders(in_force) != orders(new);
        let kept: Vec<_> = keeps_tls.then_some("tls").into_iter().chain(NEEDS_RESTART).collect();
        let (old, mut merged) = (value(in_force), value(new));
        let mut differing = Vec::new();
        differ("", &old, &merged, &mut differing);
        let (at_start, now) = differing.into_iter().partition(|key| kept.iter().any(|kept| is_within(key, kept)));
        kept.iter().for_each(|key| keep(key, &old, &mut merged));
        let in_force = serde_json::from_value(merged).unwrap_or_else(|_| new.clone());
        let mut changes = Self { now, at_start, in_force, keeps_tls };
        changes.share_after_the_start();
        changes
    }

    /// Those of [`now`](Self::now) that sessions obey from their beginning on, so that open ones do not.
    pub fn for_new_sessions(&self) -> impl Iterator<Item = &str> {
        let is_one = |key: &&str| {
            let numberless: String = key.chars().filter(|c| !c.is_ascii_digit()).collect();
            FOR_NEW_SESSIONS.contains(&numberless.as_str())
        };
        self.now.iter().map(String::as_str).filter(is_one)
    }

    /// A limit for all nodes counts on this one alone until a start connects it with the Redis of a new `[redis]`.
    fn share_after_the_start(&mut self) {
        let Config { redis: None, rate_limit, .. } = &mut self.in_force else { return };
        for (at, rule) in rate_limit.iter_mut().enumerate().filter(|(_, rule)| rule.shared) {
            rule.shared = false;
            let key = format!("rate_limit[{at}].shared");
            self.now.retain(|now| *now != key);
            self.at_start.push(key);
        }
    }
}

/// Whether new content of the file that this key names waits for the next start.
#[must_use]
pub fn is_read_at_start(key: &str) -> bool {
    READ_AT_START.contains(&key)
}

fn value(config: &Config) -> Value {
    serde_json::to_value(config).unwrap_or_default()
}

/// Adds the keys in which two values differ. A key without a value is absent in one of them, or null.
fn differ(path: &str, old: &Value, new: &Value, keys: &mut Vec<String>) {
    match (old, new) {
        _ if old == new => {}
        (Value::Object(one), Value::Object(other)) if !is_secret(old) && !is_secret(new) => {
            let added = other.keys().filter(|key| !one.contains_key(*key));
            for key in one.keys().chain(added) {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                differ(&path, &old[key], &new[key], keys);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.iter().chain(other).any(Value::is_object) => {
            for at in 0..one.len().max(other.len()) {
                differ(&format!("{path}[{at}]"), &old[at], &new[at], keys);
            }
        }
        _ => keys.push(path.to_owned()),
    }
}

fn is_secret(value: &Value) -> bool {
    value.as_object().is_some_and(|table| table.len() == 1 && table.keys().all(|key| SECRET_SOURCES.contains(&&**key)))
}

/// Gives `merged` the value that `key` has in `old`, or none where it has none there.
fn keep(key: &str, old: &Value, merged: &mut Value) {
    let (table, key) = key.rsplit_once('.').unwrap_or(("", key));
    let pointer = if table.is_empty() { String::new() } else { format!("/{}", table.replace('.', "/")) };
    let kept = old.pointer(&pointer).and_then(|table| table.get(key)).cloned();
    let Some(table) = merged.pointer_mut(&pointer).and_then(Value::as_object_mut) else { return };
    match kept {
        Some(kept) => table.insert(key.to_owned(), kept),
        None => table.remove(key),
    };
}

#[cfg(test)]
mod tests;
