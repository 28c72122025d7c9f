//! The key set of an issuer, fetched while the node runs.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinHandle as Task;

use crate::{
    admin::health::Health, policy::auth::shared_keys::SharedKeys, relay::registry::Registry, start::compile::Keys,
};

/// How often a node without keys checks whether it has some.
const KEYS_LOOK: Duration = Duration::from_millis(100);

/// Fetches keys, and makes the node ready once it has some. Stops when dropped.
pub(super) struct KeyTask {
    pub(super) published: Arc<SharedKeys>,
    tasks: Vec<Task<()>>,
}

impl KeyTask {
    pub(super) fn spawn(keys: Keys, health: &Arc<Health>, registry: Registry) -> Self {
        let Keys { published, server } = keys;
        let mut tasks = Vec::new();
        if let Some(server) = server {
            health.set_keys(false, "no key set has been fetched from auth.jwks_url yet");
            tasks.push(tokio::spawn(server.run(move || registry.keys_changed())));
            tasks.push(tokio::spawn({
                let (published, health) = (Arc::clone(&published), Arc::clone(health));
                async move {
                    while !published.ready() {
                        tokio::time::sleep(KEYS_LOOK).await;
                    }
                    health.set_keys(true, "");
                }
            }));
        } else {
            health.set_keys(true, "");
        }
        Self { published, tasks }
    }
}

impl Drop for KeyTask {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
