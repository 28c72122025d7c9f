//! Ways to the nodes of a text, which hold while the text is changed.

use super::yaml::{NodeId, Tree};

/// The way to a node: a document and the keys and places below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) document: usize,
    pub(super) steps: Vec<Step>,
}

/// A step on that way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Item(usize),
}

impl Path {
    pub(super) const fn root(document: usize) -> Self {
        Self { document, steps: Vec::new() }
    }

    pub(super) fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    pub(super) fn keys(&self, keys: &[&str]) -> Self {
        keys.iter().fold(self.clone(), |path, key| path.key(key))
    }

    pub(super) fn item(&self, at: usize) -> Self {
        self.with(Step::Item(at))
    }

    /// The node there. `None`: there is none. An alias is what it stands for.
    pub(super) fn find(&self, tree: &Tree<'_>) -> Option<NodeId> {
        let root = tree.documents.get(self.document)?.root;
        self.steps.iter().try_fold(root, |node, step| match step {
            Step::Key(key) => tree.get(node, key),
            Step::Item(at) => tree.items(node).get(*at).copied(),
        })
    }

    pub(super) fn with(&self, step: Step) -> Self {
        Self { steps: self.steps.iter().cloned().chain([step]).collect(), ..*self }
    }

    /// For an error.
    pub(super) fn shown(&self) -> String {
        let mut text = String::new();
        for step in &self.steps {
            match step {
                Step::Key(key) if text.is_empty() => text.push_str(key),
                Step::Key(key) => text.push_str(&format!(".{key}")),
                Step::Item(at) => text.push_str(&format!("[{at}]")),
            }
        }
        if text.is_empty() { "the document".to_owned() } else { text }
    }
}
