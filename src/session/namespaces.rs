//! The namespaces of one session: asked for, joined, left.

/// How many namespaces one session may have at once.
pub const NAMESPACES_MAX: usize = 16;

/// Where a session stands with one namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Membership {
    /// Never asked for, refused, or left.
    #[default]
    Apart,
    /// CONNECT was sent to the service, its answer is awaited.
    Connecting,
    /// The service answered with a socket id.
    Joined,
}

/// The namespaces of one session. Nearly every session has `/` alone, which therefore owns no memory.
#[derive(Debug, Default)]
pub struct Namespaces {
    root: Membership,
    others: Vec<(Box<str>, Membership)>,
}

impl Namespaces {
    /// The number of a namespace the session is not apart from, and where it stands with it.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<(u8, Membership)> {
        if name == "/" {
            return (self.root != Membership::Apart).then_some((0, self.root));
        }
        let at =
            self.others.iter().position(|(other, membership)| *membership != Membership::Apart && **other == *name)?;
        Some((u8::try_from(at + 1).ok()?, self.others[at].1))
    }

    /// CONNECT passes: false when the session has [`NAMESPACES_MAX`] already.
    pub fn connecting(&mut self, name: &str) -> bool {
        if name == "/" {
            self.root = Membership::Connecting;
            return true;
        }
        let entry = (Box::from(name), Membership::Connecting);
        if let Some(free) = self.others.iter_mut().find(|(_, membership)| *membership == Membership::Apart) {
            *free = entry;
        } else if self.others.len() + 1 < NAMESPACES_MAX {
            self.others.push(entry);
        } else {
            return false;
        }
        true
    }

    /// The service accepted: true when it was awaited.
    pub fn joined(&mut self, name: &str) -> bool {
        self.change(name, Membership::Joined) == Some(Membership::Connecting)
    }

    /// Refused, or left by either side; the number it had.
    pub fn left(&mut self, name: &str) -> Option<u8> {
        let (number, _) = self.find(name)?;
        self.change(name, Membership::Apart);
        Some(number)
    }

    fn change(&mut self, name: &str, to: Membership) -> Option<Membership> {
        let membership = if name == "/" {
            &mut self.root
        } else {
            let found = |entry: &&mut (Box<str>, Membership)| entry.1 != Membership::Apart && *entry.0 == *name;
            &mut self.others.iter_mut().find(found)?.1
        };
        Some(std::mem::replace(membership, to))
    }

    /// Is there none asked for or joined?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root == Membership::Apart && self.others.iter().all(|(_, membership)| *membership == Membership::Apart)
    }

    /// The names of those joined.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let root = (self.root == Membership::Joined).then_some("/");
        let others = self.others.iter().filter(|(_, membership)| *membership == Membership::Joined);
        root.into_iter().chain(others.map(|(name, _)| &**name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_asked_for_joined_and_left() {
        let mut namespaces = Namespaces::default();
        assert!(namespaces.is_empty());
        for name in ["/", "/chat"] {
            assert!(namespaces.connecting(name));
            assert_eq!(namespaces.find(name).map(|(_, m)| m), Some(Membership::Connecting));
            assert!(namespaces.joined(name));
            assert!(!namespaces.joined(name), "a second answer was not awaited");
        }
        assert_eq!(namespaces.names().collect::<Vec<_>>(), ["/", "/chat"]);
        assert_eq!(namespaces.left("/chat"), Some(1));
        assert_eq!(namespaces.find("/chat"), None);
        assert_eq!(namespaces.left("/chat"), None);
        assert_eq!(namespaces.left("/"), Some(0));
        assert!(namespaces.is_empty());
    }

    #[test]
    fn their_number_is_bounded_and_places_are_used_again() {
        let mut namespaces = Namespaces::default();
        assert!(namespaces.connecting("/"));
        for i in 1..NAMESPACES_MAX {
            assert!(namespaces.connecting(&format!("/{i}")));
        }
        assert!(!namespaces.connecting("/one-too-many"));
        namespaces.left("/3");
        assert!(namespaces.connecting("/now-it-fits"));
    }
}
