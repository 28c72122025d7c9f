//! The key set that an issuer publishes, shared between those who verify and the one who fetches it.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use jsonwebtoken::Algorithm;

use super::{
    AuthError, INVALID, KEYS_UNAVAILABLE,
    key_set::{Key, KeySet, Lookup},
};

/// The newest key set, and what is known of getting a newer one.
///
/// Verifiers ask for keys; a token whose key is unknown makes them want a newer set, and the fetcher is woken. The
/// fetcher says when it begins, what came of it, and when it has rested: between a fetch that was wanted and the end
/// of the rest an unknown key is final, so made-up key names cannot make it fetch more often.
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
    /// No keys yet. `wake` is called, on the thread of a verifier, when a fetch is wanted.
    #[must_use]
    pub fn new(wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { state: RwLock::default(), wake }
    }

    /// For the fetcher: is a fetch wanted? If so it counts as begun.
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

    /// For the fetcher: a fetch begins that nobody wanted.
    pub fn refresh_begins(&self) {
        self.write().fetch = Fetch::Running;
    }

    /// For the fetcher: this is the newest set. It replaces the one before at once and whole.
    pub fn loaded(&self, keys: KeySet) {
        let mut state = self.write();
        (state.keys, state.fetch, state.last_failed) = (Some(Arc::new(keys)), Fetch::Idle, false);
    }

    /// For the fetcher: it had no answer that can be used. The set before stays.
    pub fn failed(&self) {
        let mut state = self.write();
        (state.fetch, state.last_failed) = (Fetch::Idle, true);
    }

    /// For the fetcher: an unknown key may be a reason to fetch again.
    pub fn rested(&self) {
        self.write().resting = false;
    }

    /// For the fetcher: the set is too old to be believed.
    pub fn forget(&self) {
        self.write().keys = None;
    }

    /// Is there a key set? Without one nobody can be let in.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.read().keys.is_some()
    }

    /// The key for a token that says so in its header.
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
            (Some(_), Fetch::Idle) if state.resting => Err(AuthError::Refused(INVALID)),
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

/// What the set at hand says, unless a newer one may say something else.
fn decided(state: &State, kid: Option<&str>, algorithm: Algorithm) -> Option<Result<Arc<Key>, AuthError>> {
    match state.keys.as_ref()?.find(kid, algorithm) {
        Lookup::Found(key) => Some(Ok(key)),
        Lookup::Unfit => Some(Err(AuthError::Refused(INVALID))),
        Lookup::Unknown => None,
    }
}

impl Default for SharedKeys {
    /// Keys that nobody fetches: for a configuration without `auth.jwks_url`, or one that is only checked.
    fn default() -> Self {
        Self::new(Box::new(|| ()))
    }
}

impl fmt::Debug for SharedKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SharedKeys").field("keys", &self.read().keys).finish_non_exhaustive()
    }
}
