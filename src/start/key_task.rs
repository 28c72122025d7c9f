//! The key set of an issuer, fetched while the node runs.

use std::sync::Arc;

use tokio::task::JoinHandle as Task;

use crate::{
    admin::health::Health, policy::auth::shared_keys::SharedKeys, relay::registry::Registry, start::compile::Keys,
};

/// Fetches keys; the node is ready while it has some. Stops when dropped.
pub(super) struct KeyTask {
    pub(super) published: Arc<SharedKeys>,
    /// `None`: no server publishes them.
    task: Option<Task<()>>,
}

impl KeyTask {
    pub(super) fn spawn(keys: Keys, health: &Arc<Health>, registry: Registry) -> Self {
        let Keys { published, server } = keys;
        let Some(server) = server else {
            health.set_keys(true, "");
            return Self { published, task: None };
        };
        show(&published, health);
        let fetched = {
            let (published, health) = (Arc::clone(&published), Arc::clone(health));
            move || {
                show(&published, &health);
                registry.keys_changed();
            }
        };
        Self { published, task: Some(tokio::spawn(server.run(fetched))) }
    }
}

/// Shows at `/readyz` whether there are keys.
fn show(published: &SharedKeys, health: &Health) {
    health.set_keys(published.ready(), "the key set of auth.jwks_url has not been fetched yet, or not for 24 hours");
}

impl Drop for KeyTask {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use hyper::StatusCode;
    use serde_json::json;

    use super::*;
    use crate::{admin::health::readyz, policy::auth::key_set::KeySet};

    /// The example of RFC 7517 appendix A.1.
    fn set() -> KeySet {
        let (x, y) = ("MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM");
        let key = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "1" });
        KeySet::from_jwks(json!({ "keys": [key] }).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_node_whose_keys_are_too_old_is_not_ready_until_it_has_new_ones() {
        let (published, health) = (SharedKeys::default(), Health::new(Instant::now(), Vec::new(), Arc::default()));
        health.set_listening(true);
        let status = || {
            show(&published, &health);
            readyz(&health, None).status()
        };
        assert_eq!(status(), StatusCode::SERVICE_UNAVAILABLE, "before the first set");
        published.loaded(set());
        assert_eq!(status(), StatusCode::OK);
        published.failed();
        assert_eq!(status(), StatusCode::OK, "the last good set is in use");
        published.forget();
        assert_eq!(status(), StatusCode::SERVICE_UNAVAILABLE);
        published.loaded(set());
        assert_eq!(status(), StatusCode::OK);
    }
}
