//! Tracks acks that the service may still send to sockets that the client has left.
//!
//! A slow handler acknowledges also when its socket has left the namespace (`Socket.ack` in socket.io), on the same connection.
//! Nothing tells that ack from one to the next socket in the namespace: it confirms nothing.

use crate::session::queue::{allocated, allocated_text};

/// So many are remembered. Of more, none is told from the others.
const ORPHANS_MAX: usize = 1024;

/// What is known of them, until the service is another one.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    /// By the name of the namespace, for its number may be that of another one by now.
    known: Vec<(Box<str>, u64)>,
    /// There are more than are known.
    has_others: bool,
}

impl Orphans {
    /// The client leaves a namespace where it waits for these.
    pub(super) fn add(&mut self, namespace: &str, ids: impl Iterator<Item = u64>) {
        let mut ids = ids.map(|id| (Box::from(namespace), id));
        self.known.extend(ids.by_ref().take(ORPHANS_MAX.saturating_sub(self.known.len())));
        self.has_others |= ids.next().is_some();
    }

    /// Are there none?
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether an ack of this id may be one of them.
    pub(super) fn have(&self, namespace: &str, id: u64) -> bool {
        self.has_others || self.position(namespace, id).is_some()
    }

    /// An ack of this id comes. Whether it is one of them that is known.
    pub(super) fn take(&mut self, namespace: &str, id: u64) -> bool {
        self.position(namespace, id).map(|at| self.known.swap_remove(at)).is_some()
    }

    fn position(&self, namespace: &str, id: u64) -> Option<usize> {
        self.known.iter().position(|(of, known)| *known == id && **of == *namespace)
    }

    /// What they take, in bytes of memory.
    pub(super) fn memory(&self) -> usize {
        let names = self.known.iter().map(|(name, _)| allocated_text(name)).sum::<usize>();
        names + allocated(self.known.capacity() * size_of::<(Box<str>, u64)>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comes_once_and_beyond_the_bound_none_is_certain() {
        let mut orphans = Orphans::default();
        orphans.add("/chat", [7, 8, 7].into_iter());
        assert!(orphans.have("/chat", 7) && !orphans.have("/", 7) && !orphans.have("/chat", 9));
        assert!(orphans.take("/chat", 7) && orphans.have("/chat", 7));
        assert!(orphans.take("/chat", 7) && !orphans.have("/chat", 7) && !orphans.take("/chat", 7));
        orphans.add("/", 0..ORPHANS_MAX as u64);
        assert_eq!(orphans.known.len(), ORPHANS_MAX);
        assert!(orphans.have("/news", 1), "one of them is not remembered");
    }
}
