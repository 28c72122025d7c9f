//! The key set that an issuer publishes, shared between the verifiers and the fetcher.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use jsonwebtoken::Algorithm;

use super::{
    key_set::{Key, KeySet, Lookup},
    refusals::{AuthError, KEYS_UNAVAILABLE},
};
use crate::policy::token_fault::TokenFault;

/// The newest key set, and the state of the fetch for a newer one.
///
/// Verifiers look up keys; a token with an unknown key requests a newer set and wakes the fetcher. The fetcher reports
/// when it begins, its result, and the end of its rest. From the end of a requested fetch to the end of the rest an
/// unknown key is refused, so that made-up key IDs cannot cause more fetches.
pub struct SharedKeys {
    state: RwLock<State>,
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    fetch: Fetch,
    resting: bool,
    last_failed: bool,
}

#[derive(Default, PartialEq, Eq)]
enum Fetch {
    #[default]
    Idle,
    Wanted,
    Running,
}

impl SharedKeys {
    /// No keys yet. `wake` is called, on the thread of a verifier, when a fetch is requested.
    #[must_use]
    pub fn new(wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { state: RwLock::default(), wake }
    }

    /// For the fetcher: whether a fetch is requested. If so it counts as begun.
    #[must_use]
    pub fn refresh_wanted(&self) -> bool {
        let mut state = self.write();
        let wanted = state.fetch == Fetch::Wanted;
        if wanted {
            state.fetch = Fetch::Running;
            state.resting = true;
        }
        wanted
    }

    /// For the fetcher: a scheduled fetch begins, which no token has requested.
    pub fn refresh_begins(&self) {
        self.write().fetch = Fetch::Running;
    }

    /// For the fetcher: this is the newest set. It replaces the previous one as a whole.
    pub fn loaded(&self, keys: KeySet) {
        let mut state = self.write();
        (state.keys, state.fetch, state.last_failed) = (Some(Arc::new(keys)), Fetch::Idle, false);
    }

    /// For the fetcher: the fetch has failed, or gave no usable set. The previous set stays.
    pub fn failed(&self) {
        let mut state = self.write();
        (state.fetch, state.last_failed) = (Fetch::Idle, true);
    }

    /// For the fetcher: the rest is over, and an unknown key may request a fetch again.
    pub fn rested(&self) {
        self.write().resting = false;
    }

    /// For the fetcher: the set is too old to be trusted.
    pub fn forget(&self) {
        self.write().keys = None;
    }

    /// Whether there is a key set. Without one no token can be verified.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.read().keys.is_some()
    }

    /// The key for a token, by its header.
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Arc<Key>, AuthError> {
        if let Some(decided) = decided(&self.read(), kid, algorithm) {
            return decided;
        }
        let mut state = self.write();
        // A new set may have come between the two locks.
        if let Some(decided) = decided(&state, kid, algorithm) {
            return decided;
        }
        match (&state.keys, &state.fetch) {
            (None, _) if state.last_failed => Err(AuthError::Refused(KEYS_UNAVAILABLE)),
            (None, _) | (_, Fetch::Wanted | Fetch::Running) => Err(AuthError::KeysPending),
            (Some(_), Fetch::Idle) if state.resting && state.last_failed => Err(AuthError::Refused(KEYS_UNAVAILABLE)),
            (Some(_), Fetch::Idle) if state.resting => Err(TokenFault::Key(algorithm).into()),
            (Some(_), Fetch::Idle) => {
                state.fetch = Fetch::Wanted;
                drop(state);
                (self.wake)();
                Err(AuthError::KeysPending)
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer of the current set. `None` if a newer set may answer otherwise.
fn decided(state: &State, kid: Option<&str>, algorithm: Algorithm) -> Option<Result<Arc<Key>, AuthError>> {
    match state.keys.as_ref()?.find(kid, algorithm) {
        Lookup::Found(key) => Some(Ok(key)),
        Lookup::Unfit => Some(Err(TokenFault::Key(algorithm).into())),
        Lookup::Unknown => None,
    }
}

impl Default for SharedKeys {
    /// Keys that are never fetched: for a configuration without `auth.jwks_url`, or one that is only checked.
    fn default() -> Self {
        Self::new(Box::new(|| ()))
    }
}

impl fmt::Debug for SharedKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SharedKeys").field("keys", &self.read().keys).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use serde_json::json;

    use super::*;
    use crate::policy::auth::{INVALID, tests::support::P256};

    fn set(kid: &str) -> KeySet {
        KeySet::from_jwks(json!({ "keys": [P256.jwk(kid)] }).to_string().as_bytes()).unwrap()
    }

    fn outcome(keys: &SharedKeys, kid: &str) -> Result<(), AuthError> {
        keys.find(Some(kid), Algorithm::ES256).map(drop)
    }

    const UNAVAILABLE: Result<(), AuthError> = Err(AuthError::Refused(KEYS_UNAVAILABLE));
    const REFUSED: Result<(), AuthError> = Err(AuthError::Refused(INVALID));
    const PENDING: Result<(), AuthError> = Err(AuthError::KeysPending);

    #[test]
    fn before_the_first_set_tokens_wait_and_are_never_called_invalid() {
        let keys = SharedKeys::default();
        assert_eq!(outcome(&keys, "a"), PENDING);
        keys.refresh_begins();
        assert_eq!(outcome(&keys, "a"), PENDING);
        keys.failed();
        assert_eq!(outcome(&keys, "a"), UNAVAILABLE);
        keys.refresh_begins();
        assert_eq!(outcome(&keys, "a"), UNAVAILABLE);
        assert!(!keys.ready());
        keys.loaded(set("a"));
        assert_eq!(outcome(&keys, "a"), Ok(()));
        assert!(keys.ready());
    }

    #[test]
    fn an_unknown_key_is_asked_for_once_and_then_refused_until_rested() {
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        let keys = SharedKeys::new(Box::new(move || _ = count.fetch_add(1, Relaxed)));
        keys.loaded(set("a"));
        assert!(!keys.refresh_wanted());
        for number in 0..10_000 {
            assert_eq!(outcome(&keys, &format!("made up {number}")), PENDING);
        }
        assert_eq!(woken.load(Relaxed), 1);
        assert!(keys.refresh_wanted() && !keys.refresh_wanted());
        assert_eq!(outcome(&keys, "b"), PENDING, "the fetch is under way");
        keys.loaded(set("a"));
        assert_eq!(outcome(&keys, "b"), REFUSED, "the fetch has answered without it");
        assert_eq!(woken.load(Relaxed), 1);
        keys.rested();
        assert_eq!(outcome(&keys, "b"), PENDING);
        assert_eq!(woken.load(Relaxed), 2);
        assert!(keys.refresh_wanted());
        keys.loaded(set("b"));
        assert_eq!(outcome(&keys, "b"), Ok(()));
        assert_eq!(outcome(&keys, "a"), REFUSED, "a removed key is refused at once");
    }

    #[test]
    fn while_the_issuer_is_down_known_keys_verify_and_unknown_ones_are_unavailable() {
        let keys = SharedKeys::default();
        keys.loaded(set("a"));
        assert_eq!(outcome(&keys, "b"), PENDING);
        assert!(keys.refresh_wanted());
        keys.failed();
        assert_eq!(outcome(&keys, "b"), UNAVAILABLE);
        assert_eq!(outcome(&keys, "a"), Ok(()));
        keys.forget();
        assert_eq!(outcome(&keys, "a"), UNAVAILABLE);
    }

    #[test]
    fn after_a_scheduled_fetch_a_token_can_request_one() {
        let keys = SharedKeys::default();
        keys.refresh_begins();
        keys.loaded(set("a"));
        assert_eq!(outcome(&keys, "b"), PENDING);
        assert!(keys.refresh_wanted());
    }
}
