//! One receive's bytes, and which of them go onward.

/// Bytes in the order they came. What is kept moves together at the front, so that it leaves in one write; where
/// nothing is cut, nothing moves.
#[derive(Debug)]
pub struct Batch<'a> {
    bytes: &'a mut [u8],
    /// Where the bytes begin that go onward and were not sent, and where they end.
    unsent: usize,
    kept: usize,
    at: usize,
}

impl<'a> Batch<'a> {
    /// All of it is still to be judged.
    #[must_use]
    pub const fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, unsent: 0, kept: 0, at: 0 }
    }

    /// What is still to be judged.
    #[must_use]
    #[inline]
    pub fn ahead(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// The next `len` bytes go onward.
    #[inline]
    pub fn keep(&mut self, len: usize) {
        if self.kept != self.at {
            self.bytes.copy_within(self.at..self.at + len, self.kept);
        }
        self.kept += len;
        self.at += len;
    }

    /// The next `len` bytes do not.
    #[inline]
    pub const fn cut(&mut self, len: usize) {
        self.at += len;
    }

    /// What goes onward.
    #[must_use]
    #[inline]
    pub fn kept(&self) -> &[u8] {
        &self.bytes[self.unsent..self.kept]
    }

    /// What goes onward has been sent: begin anew behind it.
    pub const fn sent(&mut self) {
        (self.unsent, self.kept) = (self.at, self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_leaves_no_gap() {
        let mut bytes = *b"aaaXXbbYccc";
        let mut batch = Batch::new(&mut bytes);
        batch.keep(3);
        batch.cut(2);
        batch.keep(2);
        batch.cut(1);
        assert_eq!(batch.ahead(), b"ccc");
        batch.keep(3);
        assert_eq!(batch.kept(), b"aaabbccc");
        assert!(batch.ahead().is_empty());
        batch.sent();
        assert!(batch.kept().is_empty());
    }
}
