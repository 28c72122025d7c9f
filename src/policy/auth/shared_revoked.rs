//! What is revoked, shared between those that verify tokens and those that hear of revocations.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::SystemTime,
};

use super::revoked::{REVOKED_MAX, Revocation, Revoked};

/// The list in force. It is read once for each token that is verified, never for a packet.
#[derive(Debug, Default)]
pub struct SharedRevoked(RwLock<Arc<Revoked>>);

/// What an addition has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Added {
    /// So many revocations were not known before.
    pub new: usize,
    /// So many that had not ended were forgotten, because there are more than [`REVOKED_MAX`].
    pub forgotten: usize,
}

impl SharedRevoked {
    /// The list in force.
    #[must_use]
    pub fn current(&self) -> Arc<Revoked> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds to the list. What has ended is forgotten.
    pub fn add(&self, revocations: &[Revocation], now: SystemTime) -> Added {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<_> = revocations.iter().filter(|revocation| !current.says(revocation)).collect();
        if new.is_empty() {
            return Added::default();
        }
        let list = Arc::make_mut(&mut current);
        new.iter().for_each(|revocation| list.add(revocation));
        Added { new: new.len(), forgotten: list.tidy(REVOKED_MAX, now) }
    }

    /// Forgets what has ended. It returns how many revocations are left.
    pub fn tidy(&self, now: SystemTime) -> usize {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !current.is_empty() {
            Arc::make_mut(&mut current).tidy(REVOKED_MAX, now);
        }
        current.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::policy::auth::revoked::Whom;

    #[test]
    fn what_is_known_is_not_added_again_and_a_list_that_was_read_stays_as_it_was() {
        let (shared, now) = (SharedRevoked::default(), UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let one = |jti: &str| Revocation::lasting(Whom::Token(jti.into()), Duration::from_secs(60), now);
        let before = shared.current();
        assert_eq!(shared.add(&[one("a"), one("b")], now), Added { new: 2, forgotten: 0 });
        assert_eq!(shared.add(&[one("a")], now), Added::default());
        assert_eq!((before.len(), shared.current().len()), (0, 2));
        let later = now + Duration::from_secs(60);
        assert_eq!(
            shared.add(&[Revocation::lasting(Whom::Token("c".into()), Duration::from_secs(9), later)], later),
            Added { new: 1, forgotten: 0 }
        );
        assert_eq!(shared.current().len(), 1, "the others have ended");
    }
}
