//! A YAML or JSON text as a tree of places: which node stands where, in bytes.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle};
use serde::de::IgnoredAny;

use super::lines::{column, line_start};

/// How deep merge keys and aliases are followed.
const ALIAS_DEPTH_MAX: usize = 8;

/// A node of a [`Tree`].
pub(super) type NodeId = usize;

/// All documents of a text.
#[derive(Debug)]
pub(super) struct Tree<'t> {
    pub(super) text: &'t str,
    nodes: Vec<Node>,
    pub(super) documents: Vec<Document>,
    /// A block scalar in whose last line the text ends, so that readers differ on its value and a line end would change it.
    pub(super) open_block: Option<NodeId>,
}

/// One document.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) root: NodeId,
    /// From its `---`, or its first byte, to where the next one begins.
    pub(super) range: Range<usize>,
    /// One of several JSON values in a row.
    pub(super) of_json_stream: bool,
    nodes: Range<NodeId>,
}

/// Something that has a place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Its first byte, without anchor and tag.
    pub(super) start: usize,
    /// Behind its last byte; of a block, behind the last byte of what is in it.
    pub(super) tail: usize,
    pub(super) anchored: bool,
    pub(super) tagged: bool,
}

/// What it is.
#[derive(Debug)]
pub(super) enum Kind {
    Scalar { value: String, style: ScalarStyle },
    Sequence { flow: bool, items: Vec<NodeId> },
    Mapping { flow: bool, pairs: Vec<(NodeId, NodeId)> },
    Alias(Option<NodeId>),
}

/// Why a text cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) message: String,
}

/// YAML ends a line there too (YAML 1.2 §5.4), and no editor shows it. Lines are told apart by their line feeds here.
fn lone_return(text: &str) -> Result<(), SyntaxError> {
    match text.match_indices('\r').find(|(at, _)| !text[at + 1..].starts_with('\n')) {
        Some((at, _)) => Err(SyntaxError {
            line: line_of(text, at),
            message: "a carriage return stands here without a line feed".to_owned(),
        }),
        None => Ok(()),
    }
}

impl<'t> Tree<'t> {
    /// Reads YAML, or JSON values one after another.
    pub(super) fn parse(text: &'t str) -> Result<Self, SyntaxError> {
        let mut tree = Self { text, nodes: Vec::new(), documents: Vec::new(), open_block: None };
        match json_values(text) {
            Some(values) => {
                for value in values {
                    tree.read(value, true)?;
                }
            }
            None => {
                lone_return(text)?;
                tree.read(0..text.len(), false)?;
            }
        }
        Ok(tree)
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    /// The nodes of a document, in the order of the text.
    pub(super) fn nodes_of(&self, document: &Document) -> &[Node] {
        &self.nodes[document.nodes.clone()]
    }

    /// The pair with this key, and its place among the others.
    pub(super) fn pair(&self, map: NodeId, key: &str) -> Option<(usize, NodeId, NodeId)> {
        let Kind::Mapping { pairs, .. } = &self.nodes[map].kind else { return None };
        let at = pairs.iter().position(|(id, _)| self.scalar(*id) == Some(key))?;
        Some((at, pairs[at].0, pairs[at].1))
    }

    /// The value of this key; an alias is what it stands for.
    pub(super) fn get(&self, map: NodeId, key: &str) -> Option<NodeId> {
        let (_, _, value) = self.pair(self.resolved(map), key)?;
        Some(self.resolved(value))
    }

    /// The value at the end of these keys.
    pub(super) fn get_path(&self, map: NodeId, keys: &[&str]) -> Option<NodeId> {
        keys.iter().try_fold(map, |map, key| self.get(map, key))
    }

    /// The text at the end of these keys, if it is a scalar.
    pub(super) fn text_at(&self, map: NodeId, keys: &[&str]) -> Option<&str> {
        self.scalar(self.get_path(map, keys)?)
    }

    /// The value of a scalar. `None`: it is none, or null.
    pub(super) fn scalar(&self, id: NodeId) -> Option<&str> {
        match &self.nodes[id].kind {
            Kind::Scalar { value, .. } if !self.is_null(id) => Some(value),
            _ => None,
        }
    }

    /// Whether this is nothing, or one of the words for nothing.
    pub(super) fn is_null(&self, id: NodeId) -> bool {
        let Kind::Scalar { value, style: ScalarStyle::Plain } = &self.nodes[id].kind else { return false };
        matches!(&**value, "" | "~" | "null" | "Null" | "NULL")
    }

    /// The items of a sequence, each as what it stands for; none of anything else.
    pub(super) fn items(&self, id: NodeId) -> Vec<NodeId> {
        match &self.nodes[self.resolved(id)].kind {
            Kind::Sequence { items, .. } => items.iter().map(|item| self.resolved(*item)).collect(),
            _ => Vec::new(),
        }
    }

    /// A mapping from texts to texts, with what is merged into it.
    pub(super) fn text_map(&self, id: NodeId) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        self.collect_texts(id, ALIAS_DEPTH_MAX, &mut map);
        map
    }

    fn collect_texts(&self, id: NodeId, depth: usize, map: &mut BTreeMap<String, String>) {
        let (Some(depth), Kind::Mapping { pairs, .. }) = (depth.checked_sub(1), &self.nodes[self.resolved(id)].kind)
        else {
            return;
        };
        for (key, value) in pairs {
            match (self.scalar(*key), self.scalar(self.resolved(*value))) {
                (Some("<<"), _) => {}
                (Some(key), Some(value)) => drop(map.insert(key.to_owned(), value.to_owned())),
                _ => {}
            }
        }
        for (_, value) in pairs.iter().filter(|(key, _)| self.scalar(*key) == Some("<<")) {
            let mut merged = BTreeMap::new();
            for source in [vec![*value], self.items(*value)].concat() {
                self.collect_texts(source, depth, &mut merged);
            }
            for (key, value) in merged {
                map.entry(key).or_insert(value);
            }
        }
    }

    fn resolved(&self, id: NodeId) -> NodeId {
        match self.nodes[id].kind {
            Kind::Alias(Some(target)) => target,
            _ => id,
        }
    }

    /// Reads a part of the text.
    fn read(&mut self, part: Range<usize>, of_json_stream: bool) -> Result<(), SyntaxError> {
        let text = &self.text[part.clone()];
        let mut reader = Reader { base: part.start, ..Reader::default() };
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|error| SyntaxError {
                line: line_of(self.text, part.start) + error.marker().line() - 1,
                message: error.info().to_string(),
            })?;
            reader.take(self, event, &span);
        }
        for document in &mut self.documents[reader.first_document.unwrap_or_default()..] {
            document.of_json_stream = of_json_stream;
        }
        if let Some(last) = self.documents.last_mut() {
            last.range.end = part.end;
        }
        Ok(())
    }
}

/// A collection that is open.
enum Frame {
    Sequence(NodeId),
    Mapping(NodeId, Option<NodeId>),
}

/// Makes nodes of events.
#[derive(Default)]
struct Reader {
    base: usize,
    first_document: Option<usize>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, NodeId>,
    /// Where the event before ended.
    before: usize,
}

impl Reader {
    fn take(&mut self, tree: &mut Tree<'_>, event: Event<'_>, span: &Span) {
        let range = span.byte_range().unwrap_or_default();
        let (start, end) = (self.base + range.start, self.base + range.end);
        match event {
            Event::DocumentStart(explicit, _) => self.begin(tree, explicit, start),
            Event::Scalar(value, style, anchor, tag) => {
                let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let header = self.header(tree.text, start..end);
                let tail = if is_block { tail_of_block(tree.text, start..end, header.contains('+')) } else { end };
                let is_open = is_block && end == tree.text.len() && !tree.text.ends_with('\n') && !header.contains('-');
                let kind = Kind::Scalar { value: value.into_owned(), style };
                let node = Node { kind, start, tail, anchored: anchor > 0, tagged: tag.is_some() };
                let id = self.add(tree, node, anchor);
                tree.open_block = is_open.then_some(id);
            }
            Event::SequenceStart(style, anchor, tag) => {
                let flow = style == StructureStyle::Flow;
                let start = if flow { start } else { self.first_dash(tree.text, start) };
                let kind = Kind::Sequence { flow, items: Vec::new() };
                let node = Node { kind, start, tail: start, anchored: anchor > 0, tagged: tag.is_some() };
                let id = self.add(tree, node, anchor);
                self.stack.push(Frame::Sequence(id));
            }
            Event::MappingStart(style, anchor, tag) => {
                let kind = Kind::Mapping { flow: style == StructureStyle::Flow, pairs: Vec::new() };
                let node = Node { kind, start, tail: start, anchored: anchor > 0, tagged: tag.is_some() };
                let id = self.add(tree, node, anchor);
                self.stack.push(Frame::Mapping(id, None));
            }
            Event::Alias(anchor) => {
                let kind = Kind::Alias(self.anchors.get(&anchor).copied());
                self.add(tree, Node { kind, start, tail: end, anchored: false, tagged: false }, 0);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(tree, end),
            _ => {}
        }
        self.before = self.before.max(end);
    }

    fn begin(&mut self, tree: &mut Tree<'_>, explicit: bool, start: usize) {
        let start = if explicit || self.first_document.is_some() { start } else { self.base };
        if let Some(last) = tree.documents.last_mut() {
            last.range.end = start;
        }
        self.first_document.get_or_insert(tree.documents.len());
        let first = tree.nodes.len();
        tree.documents.push(Document {
            root: first,
            range: start..tree.text.len(),
            of_json_stream: false,
            nodes: first..first,
        });
    }

    /// Where a sequence is not indented, its event comes behind its first dash.
    fn first_dash(&self, text: &str, start: usize) -> usize {
        let line = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let dash = line + text[line..].len() - text[line..].trim_start_matches(' ').len();
        let is_value = matches!(self.stack.last(), Some(Frame::Mapping(..)));
        if is_value && dash < start && text[dash..].starts_with('-') { dash } else { start }
    }

    /// How a block scalar ends says its header: `+` or `-`, or nothing. It stands before the first line, or where there is none
    /// begins the node.
    fn header<'t>(&self, text: &'t str, Range { start, end }: Range<usize>) -> &'t str {
        let marks: [char; 2] = ['|', '>'];
        let places = [text.get(self.before..start), text.get(start..end)];
        let lines = places.into_iter().flatten().flat_map(|part| part.lines().rev());
        let mut headers =
            lines.map(|line| line.split(" #").next().unwrap_or_default()).filter(|line| line.contains(marks));
        headers.next().and_then(|line| line.rsplit(marks).next()).unwrap_or_default()
    }

    fn add(&mut self, tree: &mut Tree<'_>, node: Node, anchor: usize) -> NodeId {
        let id = tree.nodes.len();
        tree.nodes.push(node);
        if anchor > 0 {
            self.anchors.insert(anchor, id);
        }
        match self.stack.last_mut() {
            Some(Frame::Sequence(parent)) => {
                if let Kind::Sequence { items, .. } = &mut tree.nodes[*parent].kind {
                    items.push(id);
                }
            }
            Some(Frame::Mapping(parent, key)) => match key.take() {
                None => *key = Some(id),
                Some(key) => {
                    if let Kind::Mapping { pairs, .. } = &mut tree.nodes[*parent].kind {
                        pairs.push((key, id));
                    }
                }
            },
            None => {}
        }
        if let Some(document) = tree.documents.last_mut() {
            document.nodes.end = id + 1;
        }
        id
    }

    fn close(&mut self, tree: &mut Tree<'_>, end: usize) {
        let Some(Frame::Sequence(id) | Frame::Mapping(id, _)) = self.stack.pop() else { return };
        let tail = match &tree.nodes[id].kind {
            Kind::Sequence { flow: false, items } => items.last().map(|item| tree.nodes[*item].tail),
            Kind::Mapping { flow: false, pairs } => {
                pairs.last().map(|(key, value)| tree.nodes[*key].tail.max(tree.nodes[*value].tail))
            }
            _ => Some(end),
        };
        tree.nodes[id].tail = tail.unwrap_or(end);
    }
}

/// Behind the last byte of a block scalar. Lines that are not longer than its indentation are none of its own, unless it keeps
/// empty ones; longer ones are, of spaces too.
fn tail_of_block(text: &str, Range { start, end }: Range<usize>, keeps: bool) -> usize {
    if start == end {
        // There are no lines: this is where the next node begins.
        let before = text[..end].trim_end_matches(' ');
        return if keeps { before.len() } else { before.trim_end().len() };
    }
    let indent = column(text, start);
    let mut tail = end;
    while tail > start {
        let line = line_start(text, tail);
        let rest = text[line..tail].trim_end_matches('\r');
        if rest.len() > indent || !rest.trim_matches(' ').is_empty() {
            break;
        }
        if keeps || line <= start {
            return line.max(start);
        }
        tail = text[..line - 1].strip_suffix('\r').map_or(line - 1, str::len);
    }
    tail
}

/// Where each of several JSON values stands. `None`: this is no JSON.
fn json_values(text: &str) -> Option<Vec<Range<usize>>> {
    let begin = text.len() - text.trim_start_matches([' ', '\t', '\r', '\n']).len();
    if !text[begin..].starts_with('{') {
        return None;
    }
    let mut values = serde_json::Deserializer::from_str(&text[begin..]).into_iter::<IgnoredAny>();
    let mut places = Vec::new();
    let mut start = begin;
    while let Some(value) = values.next() {
        value.ok()?;
        let end = begin + values.byte_offset();
        places.push(start..end);
        start = end;
    }
    Some(places)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
}
