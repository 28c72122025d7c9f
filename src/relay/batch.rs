//! The bytes of one receive, and which of them pass.

/// Bytes in the order they came. Passing bytes move together at the front, so that they leave in one write; if nothing
/// is cut, nothing moves.
#[derive(Debug)]
pub struct Batch<'a> {
    bytes: &'a mut [u8],
    /// Where the bytes begin that pass and have not been sent, and where they end.
    unsent: usize,
    kept: usize,
    at: usize,
}

impl<'a> Batch<'a> {
    /// A batch that is all still to be judged.
    #[must_use]
    pub const fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, unsent: 0, kept: 0, at: 0 }
    }

    /// The bytes still to be judged.
    #[must_use]
    #[inline]
    pub fn ahead(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// The next `len` bytes pass.
    #[inline]
    pub fn keep(&mut self, len: usize) {
        if self.kept != self.at {
            self.bytes.copy_within(self.at..self.at + len, self.kept);
        }
        self.kept += len;
        self.at += len;
    }

    /// The next `len` bytes are dropped.
    #[inline]
    pub const fn cut(&mut self, len: usize) {
        self.at += len;
    }

    /// The next `len` bytes are dropped, and `by` passes in their place. It is no longer than they are, so that what is still
    /// to be judged stays where it is.
    pub fn replace(&mut self, len: usize, by: &[u8]) {
        debug_assert!(by.len() <= len, "there is no room for more");
        self.bytes[self.kept..self.kept + by.len()].copy_from_slice(by);
        self.kept += by.len();
        self.at += len;
    }

    /// The bytes that pass.
    #[must_use]
    #[inline]
    pub fn kept(&self) -> &[u8] {
        &self.bytes[self.unsent..self.kept]
    }

    /// The passing bytes have been sent: continue behind them.
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
    }

    #[test]
    fn what_is_replaced_leaves_no_gap_and_touches_nothing_ahead() {
        let mut bytes = *b"aaaXXXbbb";
        let mut batch = Batch::new(&mut bytes);
        batch.keep(3);
        batch.replace(3, b"yy");
        assert_eq!(batch.ahead(), b"bbb");
        batch.keep(3);
        assert_eq!(batch.kept(), b"aaayybbb");
        assert!(batch.ahead().is_empty());
        batch.sent();
        assert!(batch.kept().is_empty());
    }
}
