//! What was done, for standard error.

/// Lines in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Notes(Vec<String>);

impl Notes {
    /// What was done.
    pub(super) fn say(&mut self, text: String) {
        self.0.push(text);
    }

    /// What may not be meant, or has to be done by hand.
    pub(super) fn warn(&mut self, text: &str) {
        self.0.push(format!("warning: {text}"));
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|note| note.lines())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
