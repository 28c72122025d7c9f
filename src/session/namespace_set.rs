//! Some of the namespaces of one session, by their numbers.

use serde::{Deserialize, Serialize};

const BITS: usize = u64::BITS as usize;

/// A set of numbers of namespaces: one bit for each.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NamespaceSet([u64; 4]);

impl NamespaceSet {
    /// Whether this number is in it.
    pub(super) const fn contains(&self, number: u8) -> bool {
        self.0[number as usize / BITS] & 1 << (number as usize % BITS) != 0
    }

    /// Adds a number.
    pub(super) const fn insert(&mut self, number: u8) {
        self.0[number as usize / BITS] |= 1 << (number as usize % BITS);
    }

    /// Takes a number out.
    pub(super) const fn remove(&mut self, number: u8) {
        self.0[number as usize / BITS] &= !(1 << (number as usize % BITS));
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// All of them, the lowest first.
    pub(super) fn numbers(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |&number| self.contains(number))
    }
}

impl FromIterator<u8> for NamespaceSet {
    fn from_iter<T: IntoIterator<Item = u8>>(numbers: T) -> Self {
        let mut set = Self::default();
        numbers.into_iter().for_each(|number| set.insert(number));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_every_number_there_is() {
        let mut set = NamespaceSet::from_iter([0, 63, 64, 255]);
        assert_eq!(set.numbers().collect::<Vec<_>>(), [0, 63, 64, 255]);
        assert!(set.contains(64) && !set.contains(65) && !set.contains(128));
        [0, 63, 64, 255].into_iter().for_each(|number| set.remove(number));
        assert!(set.is_empty());
    }
}
