//! A text that is changed in places. What is not changed stays as it is, byte for byte, and each change can be taken back.

use std::ops::Range;

use granit_parser::ScalarStyle;
use serde_json::Value;

use super::{
    error::{InjectError, Reason},
    lines::{column, line_end, line_start, next_line},
    path::{Path, Step},
    places::{behind_colon, dash, entry_in_flow, insertion, is_explicit, layout, unit, with_line_end_before},
    write::{self, Flow},
    yaml::{Document, Kind, NodeId, SyntaxError, Tree},
};

/// The text of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Draft {
    /// What errors call it.
    pub(super) name: String,
    pub(super) text: String,
    /// The begin of each line of the text that was read.
    lines: Vec<usize>,
    /// What was replaced, one after another, and how many bytes are there now.
    edits: Vec<(Range<usize>, usize)>,
}

/// What stands behind a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// The key is not there.
    Absent,
    /// Nothing does.
    Empty,
    /// A word for nothing.
    Null,
    /// A collection.
    Collection { is_empty: bool },
    /// The text of a scalar.
    Scalar(String),
}

impl Draft {
    pub(super) fn new(name: String, text: String) -> Self {
        let lines = [0].into_iter().chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name, text, lines, edits: Vec::new() }
    }

    /// The text as a tree.
    pub(super) fn tree(&self) -> Result<Tree<'_>, InjectError> {
        Tree::parse(&self.text).map_err(|SyntaxError { line, message }| {
            let begin =
                self.text.match_indices('\n').nth(line.saturating_sub(2)).map_or(self.text.len(), |(at, _)| at + 1);
            let begin = if line > 1 { begin } else { 0 };
            let reason = match self.text.contains("{{") {
                _ if !self.edits.is_empty() => Reason::Form(message),
                true => Reason::Template(message),
                false => Reason::Syntax(message),
            };
            self.at_byte(begin, reason)
        })
    }

    /// The values of a JSON text. `None`: it is YAML.
    pub(super) fn json_values(&self) -> Result<Option<Vec<&str>>, InjectError> {
        let tree = self.tree()?;
        if tree.documents.is_empty() {
            return Ok(None);
        }
        let values = tree.documents.iter().map(|document| {
            let root = tree.node(document.root);
            document.of_json_stream.then(|| &self.text[root.start..root.tail])
        });
        Ok(values.collect())
    }

    /// An error at this byte. Its line is that of the text that was read, which its reader sees.
    fn at_byte(&self, byte: usize, reason: Reason) -> InjectError {
        let byte = self.edits.iter().rev().fold(byte, |byte, (range, length)| match byte.checked_sub(range.start) {
            Some(inside) if inside >= *length => byte - length + range.len(),
            Some(_) => range.start,
            None => byte,
        });
        let line = self.lines.partition_point(|begin| *begin <= byte);
        InjectError::At { place: format!("{}:{line}", self.name), reason }
    }

    /// An error at this node.
    pub(super) fn at(&self, tree: &Tree<'_>, node: NodeId, reason: Reason) -> InjectError {
        self.at_byte(tree.node(node).start, reason)
    }

    /// An error at what this path leads to.
    pub(super) fn at_path(&self, tree: &Tree<'_>, path: &Path, reason: Reason) -> InjectError {
        self.at_byte(path.find(tree).map_or(0, |node| tree.node(node).start), reason)
    }

    /// Whether this is a mapping in flow style.
    pub(super) fn is_flow(&self, map: &Path) -> Result<bool, InjectError> {
        let tree = self.tree()?;
        let id = self.changeable(&tree, map)?;
        Ok(matches!(tree.node(id).kind, Kind::Mapping { flow: true, .. }))
    }

    /// What stands behind a key of a mapping that may be changed.
    pub(super) fn state(&self, map: &Path, key: &str) -> Result<State, InjectError> {
        let tree = self.tree()?;
        let id = self.changeable(&tree, map)?;
        let Some((_, _, value)) = tree.pair(id, key) else { return Ok(State::Absent) };
        let node = tree.node(value);
        let text = &tree.text[node.start..node.tail];
        Ok(match &node.kind {
            _ if tree.is_null(value) && text.is_empty() => State::Empty,
            _ if tree.is_null(value) => State::Null,
            Kind::Scalar { .. } | Kind::Alias(_) => State::Scalar(text.to_owned()),
            Kind::Sequence { items, .. } => State::Collection { is_empty: items.is_empty() },
            Kind::Mapping { pairs, .. } => State::Collection { is_empty: pairs.is_empty() },
        })
    }

    /// Adds a pair to a mapping, in a block before that of another key, otherwise at the end.
    pub(super) fn insert_pair(
        &mut self,
        map: &Path,
        key: &str,
        value: &Value,
        before: Option<&str>,
    ) -> Result<(), InjectError> {
        let tree = self.tree()?;
        let id = self.changeable(&tree, map)?;
        let Kind::Mapping { flow, pairs } = &tree.node(id).kind else {
            return Err(self.at(&tree, id, Reason::Type(map.shown(), "a mapping")));
        };
        if let Some((_, present, _)) = tree.pair(id, key) {
            return Err(self.at(&tree, present, Reason::Empty(map.key(key).shown())));
        }
        let layout = layout(&tree, map.document);
        let edit = match pairs.last() {
            _ if *flow => {
                let last = pairs.last().map(|(_, value)| *value);
                self.in_flow(&tree, id, last, pairs.first().map(|(key, _)| *key), |style| {
                    format!("{}: {}", write::flow(&Value::from(key), Flow::Short), write::flow(value, style))
                })?
            }
            None => return Err(self.at(&tree, id, Reason::Empty(map.shown()))),
            Some((last_key, last)) => {
                let lines = write::pair(key, value, column(tree.text, tree.node(pairs[0].0).start), &layout);
                let tail = tree.node(*last_key).tail.max(tree.node(*last).tail);
                let place = match before.and_then(|before| tree.pair(id, before)) {
                    Some((0, ..)) => self.behind_key(&tree, map).unwrap_or(tail),
                    Some((at, ..)) => tree.node(pairs[at - 1].0).tail.max(tree.node(pairs[at - 1].1).tail),
                    None => tail,
                };
                insertion(tree.text, place, &lines, &layout)
            }
        };
        self.apply(edit);
        Ok(())
    }

    /// Adds an item to a sequence, as its first one or as its last.
    pub(super) fn insert_item(&mut self, list: &Path, first: bool, value: &Value) -> Result<(), InjectError> {
        let tree = self.tree()?;
        let id = self.changeable(&tree, list)?;
        let Kind::Sequence { flow, items } = &tree.node(id).kind else {
            return Err(self.at(&tree, id, Reason::Type(list.shown(), "a list")));
        };
        let layout = layout(&tree, list.document);
        let edit = match items.last() {
            Some(begin) if *flow && first => {
                let begin = *items.first().unwrap_or(begin);
                let at = tree.node(begin).start;
                let own_line = line_start(tree.text, at);
                let indent = &tree.text[own_line..at];
                let is_own = indent.trim().is_empty() && own_line > tree.node(id).start;
                let unit = unit(tree.text, tree.node(id).start, indent);
                let (style, gap) = if is_own {
                    let line_end = layout.line_end;
                    (Flow::Long { indent, unit: &unit, line_end }, format!("{line_end}{indent}"))
                } else {
                    (Flow::Short, " ".to_owned())
                };
                (at..at, format!("{},{gap}", write::flow(value, style)))
            }
            _ if *flow => self
                .in_flow(&tree, id, items.last().copied(), items.first().copied(), |style| write::flow(value, style))?,
            None => return Err(self.at(&tree, id, Reason::Empty(list.shown()))),
            Some(last) => {
                let lines = write::item(value, column(tree.text, tree.node(id).start), &layout);
                let behind_key = if first { self.behind_key(&tree, list) } else { None };
                insertion(tree.text, behind_key.unwrap_or(tree.node(*last).tail), &lines, &layout)
            }
        };
        self.apply(edit);
        Ok(())
    }

    /// Gives a key that has no entries the first ones. Returns what stood behind it, unless that was nothing.
    pub(super) fn fill(&mut self, map: &Path, key: &str, value: &Value) -> Result<Option<String>, InjectError> {
        let tree = self.tree()?;
        let id = self.changeable(&tree, map)?;
        let Some((_, key_id, value_id)) = tree.pair(id, key) else {
            return Err(self.at(&tree, id, Reason::Missing(map.key(key).shown())));
        };
        let node = tree.node(value_id);
        let word = &tree.text[node.start..node.tail];
        if matches!(tree.node(id).kind, Kind::Mapping { flow: true, .. }) {
            if word.is_empty() {
                return Err(self.at(&tree, key_id, Reason::Empty(map.key(key).shown())));
            }
            let (range, word) = (node.start..node.tail, word.to_owned());
            let text = write::flow(value, Flow::Short);
            self.apply((range, text));
            return Ok(Some(word));
        }
        let layout = layout(&tree, map.document);
        let deeper = if value.is_array() { layout.dash } else { layout.step };
        let lines = write::block(value, column(tree.text, tree.node(key_id).start) + deeper, &layout);
        let below = insertion(tree.text, node.tail.max(tree.node(key_id).tail), &lines, &layout);
        let colon = behind_colon(tree.text, tree.node(key_id).tail);
        let former = (!word.is_empty()).then(|| tree.text[colon..node.tail].to_owned());
        let word = colon..if word.is_empty() { colon } else { node.tail };
        self.apply(below);
        self.apply((word, String::new()));
        Ok(former)
    }

    /// Takes `fill` back, when all entries are gone.
    pub(super) fn unfill(&mut self, map: &Path, key: &str, former: &str) -> Result<(), InjectError> {
        let tree = self.tree()?;
        let id = self.changeable(&tree, map)?;
        let Some((_, key_id, value_id)) = tree.pair(id, key) else { return Ok(()) };
        let node = tree.node(value_id);
        let range = if matches!(tree.node(id).kind, Kind::Mapping { flow: true, .. }) || node.start < node.tail {
            node.start..node.tail
        } else {
            let colon = behind_colon(tree.text, tree.node(key_id).tail);
            colon..colon
        };
        let former = self.in_form(&tree, map, former)?;
        self.apply((range, former));
        Ok(())
    }

    /// A text that stood in another form of this document, as this one says it: JSON has no YAML words.
    fn in_form(&self, tree: &Tree<'_>, path: &Path, text: &str) -> Result<String, InjectError> {
        if !tree.documents.get(path.document).is_some_and(|document| document.of_json_stream) {
            return Ok(text.to_owned());
        }
        write::json_of_yaml(text).ok_or_else(|| self.at_path(tree, path, Reason::Unreadable(text.trim().to_owned())))
    }

    /// Replaces the scalar behind a key. Returns its text.
    pub(super) fn replace(&mut self, map: &Path, key: &str, value: &Value) -> Result<String, InjectError> {
        let tree = self.tree()?;
        let (parent, id) = (self.changeable(&tree, map)?, self.changeable(&tree, &map.key(key))?);
        let node = tree.node(id);
        match &node.kind {
            Kind::Scalar { style: ScalarStyle::Literal | ScalarStyle::Folded, .. } => {
                return Err(self.at(&tree, id, Reason::Type(map.key(key).shown(), "a value in the line of its key")));
            }
            Kind::Scalar { .. } if node.start == node.tail => {
                return Err(self.at(&tree, id, Reason::Empty(map.key(key).shown())));
            }
            Kind::Scalar { .. } => {}
            _ => return Err(self.at(&tree, id, Reason::Type(map.key(key).shown(), "a single value"))),
        }
        let is_flow = matches!(tree.node(parent).kind, Kind::Mapping { flow: true, .. });
        let text = match value {
            Value::String(text) if !is_flow => write::scalar(text),
            other => write::flow(other, Flow::Short),
        };
        let range = node.start..node.tail;
        let former = tree.text[range.clone()].to_owned();
        self.apply((range, text));
        Ok(former)
    }

    /// Puts back a text that stood in the place of a node.
    pub(super) fn put_back(&mut self, path: &Path, text: &str) -> Result<(), InjectError> {
        let tree = self.tree()?;
        let node = tree.node(self.changeable(&tree, path)?);
        let range = node.start..node.tail;
        let text = self.in_form(&tree, path, text)?;
        self.apply((range, text));
        Ok(())
    }

    /// Takes a pair out of a mapping.
    pub(super) fn remove_pair(&mut self, map: &Path, key: &str) -> Result<(), InjectError> {
        let tree = self.tree()?;
        let id = self.changeable(&tree, map)?;
        let (Some((at, ..)), Kind::Mapping { flow, pairs }) = (tree.pair(id, key), &tree.node(id).kind) else {
            return Ok(());
        };
        let places: Vec<_> = pairs
            .iter()
            .map(|(key, value)| tree.node(*key).start..tree.node(*key).tail.max(tree.node(*value).tail))
            .collect();
        let range = if *flow { entry_in_flow(&places, at) } else { self.in_block(&tree, &places, at, map)? };
        self.apply((range, String::new()));
        Ok(())
    }

    /// Takes an item out of a sequence.
    pub(super) fn remove_item(&mut self, list: &Path, at: usize) -> Result<(), InjectError> {
        let tree = self.tree()?;
        let id = self.changeable(&tree, list)?;
        let Kind::Sequence { flow, items } = &tree.node(id).kind else { return Ok(()) };
        let places = items.iter().map(|item| tree.node(*item).start..tree.node(*item).tail);
        let range = if *flow {
            entry_in_flow(&places.collect::<Vec<_>>(), at)
        } else {
            let dashes = column(tree.text, tree.node(id).start);
            let places: Vec<_> =
                places.map(|place| dash(tree.text, place.start, dashes).unwrap_or(place.start)..place.end).collect();
            self.in_block(&tree, &places, at, list)?
        };
        self.apply((range, String::new()));
        Ok(())
    }

    /// Adds a document behind the others.
    pub(super) fn append_document(&mut self, value: &Value) -> Result<(), InjectError> {
        let tree = self.tree()?;
        let layout = layout(&tree, 0);
        let edit = match tree.documents.last().filter(|document| document.of_json_stream) {
            Some(document) => {
                let place = tree.node(document.root).tail;
                let style = Flow::Long { indent: "", unit: "  ", line_end: layout.line_end };
                (place..place, format!("{}{}", layout.line_end, write::flow(value, style)))
            }
            None => {
                let lines = [vec!["---".to_owned()], write::block(value, 0, &layout)].concat();
                insertion(tree.text, tree.text.len(), &lines, &layout)
            }
        };
        self.apply(edit);
        Ok(())
    }

    /// Takes a document out.
    pub(super) fn remove_document(&mut self, at: usize) -> Result<(), InjectError> {
        let tree = self.tree()?;
        let Some(Document { range, root, of_json_stream, .. }) = tree.documents.get(at) else { return Ok(()) };
        let range = match at.checked_sub(1).map(|before| tree.node(tree.documents[before].root).tail) {
            Some(before) if *of_json_stream => before..tree.node(*root).tail,
            _ => with_line_end_before(tree.text, range.clone()),
        };
        self.apply((range, String::new()));
        Ok(())
    }

    fn apply(&mut self, (range, text): (Range<usize>, String)) {
        self.text.replace_range(range.clone(), &text);
        self.edits.push((range, text.len()));
    }

    /// The node at this path, if changing it changes nothing else.
    fn changeable(&self, tree: &Tree<'_>, path: &Path) -> Result<NodeId, InjectError> {
        let mut way = Path::root(path.document);
        let missing = || InjectError::At { place: self.name.clone(), reason: Reason::Missing(path.shown()) };
        let mut id = tree.documents.get(path.document).ok_or_else(missing)?.root;
        self.check(tree, id, &way)?;
        for step in &path.steps {
            way = way.with(step.clone());
            let next = match (step, &tree.node(id).kind) {
                (Step::Key(key), _) => tree.pair(id, key).map(|(_, _, value)| value),
                (Step::Item(at), Kind::Sequence { items, .. }) => items.get(*at).copied(),
                (Step::Item(_), _) => None,
            };
            id = next.ok_or_else(|| self.at(tree, id, Reason::Missing(way.shown())))?;
            self.check(tree, id, &way)?;
        }
        Ok(id)
    }

    /// Whether this node stands for itself alone, and is what it seems to be.
    fn check(&self, tree: &Tree<'_>, id: NodeId, way: &Path) -> Result<(), InjectError> {
        let (node, shown) = (tree.node(id), way.shown());
        let wrong = |reason| Err(self.at(tree, id, reason));
        match &node.kind {
            Kind::Alias(_) => return wrong(Reason::Alias(shown)),
            _ if node.anchored => return wrong(Reason::Anchor(shown)),
            _ if node.tagged => return wrong(Reason::Tag(shown)),
            Kind::Mapping { pairs, .. } => {
                let mut seen = std::collections::HashSet::new();
                for (key, _) in pairs {
                    let name = tree.scalar(*key);
                    if is_explicit(tree.text, tree.node(*key).start) {
                        let reason = Reason::Explicit { key: name.unwrap_or("?").to_owned(), inside: shown };
                        return Err(self.at(tree, *key, reason));
                    }
                    match name {
                        Some("<<") => return wrong(Reason::Merge(shown)),
                        Some(name) if !seen.insert(name) => {
                            let reason = Reason::Duplicate { key: name.to_owned(), inside: shown };
                            return Err(self.at(tree, *key, reason));
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Behind the key whose value this is. `None`: it is an item, or a document.
    fn behind_key(&self, tree: &Tree<'_>, path: &Path) -> Option<usize> {
        let (Step::Key(key), above) = path.steps.split_last()? else { return None };
        let parent = Path { document: path.document, steps: above.to_vec() };
        let (_, key, _) = tree.pair(self.changeable(tree, &parent).ok()?, key)?;
        Some(tree.node(key).tail)
    }

    /// Adds an entry at the end of a collection in flow style.
    fn in_flow(
        &self,
        tree: &Tree<'_>,
        collection: NodeId,
        last: Option<NodeId>,
        first: Option<NodeId>,
        entry: impl Fn(Flow<'_>) -> String,
    ) -> Result<(Range<usize>, String), InjectError> {
        let open = tree.node(collection).start;
        let (Some(last), Some(first)) = (last, first) else {
            return Ok((open + 1..open + 1, entry(Flow::Short)));
        };
        let (begin, end) = (tree.node(first).start, tree.node(last).tail);
        if tree.node(last).start == end {
            return Err(self.at(tree, last, Reason::Empty("the last entry".to_owned())));
        }
        let own_line = line_start(tree.text, begin);
        let indent = &tree.text[own_line..begin];
        if own_line <= open || !indent.trim().is_empty() {
            return Ok((end..end, format!(", {}", entry(Flow::Short))));
        }
        let (unit, line_end) = (unit(tree.text, open, indent), line_end(tree.text));
        let text = entry(Flow::Long { indent, unit: &unit, line_end });
        Ok((end..end, format!(",{line_end}{indent}{text}")))
    }

    /// The bytes of an entry of a block.
    fn in_block(
        &self,
        tree: &Tree<'_>,
        places: &[Range<usize>],
        at: usize,
        path: &Path,
    ) -> Result<Range<usize>, InjectError> {
        let Range { start, end } = places[at].clone();
        let begin = line_start(tree.text, start);
        if tree.text[begin..start].trim().is_empty() {
            return Ok(with_line_end_before(tree.text, begin..next_line(tree.text, end)));
        }
        match places.get(at + 1) {
            Some(next) => Ok(start..next.start),
            None => Err(self.at_byte(start, Reason::Compact(path.shown()))),
        }
    }
}
