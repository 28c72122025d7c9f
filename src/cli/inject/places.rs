//! Where lines, entries and dashes of a YAML text begin and end, and how its documents are indented.

use std::ops::Range;

use super::{
    lines::{column, line_end, line_start, next_line},
    write::Layout,
    yaml::{Kind, Tree},
};

/// The bytes of an entry in flow style, with one comma.
pub(super) fn entry_in_flow(places: &[Range<usize>], at: usize) -> Range<usize> {
    match (at.checked_sub(1), places.get(at + 1)) {
        (Some(before), _) => places[before].end..places[at].end,
        (None, Some(next)) => places[at].start..next.start,
        (None, None) => places[at].clone(),
    }
}

/// Lines behind the one in which something ends. A text without an end of its last line stays one.
pub(super) fn insertion(text: &str, behind: usize, lines: &[String], layout: &Layout) -> (Range<usize>, String) {
    let place = next_line(text, behind);
    let is_open = place == text.len() && !text.is_empty() && !text.ends_with('\n');
    let all = lines.join(layout.line_end);
    let all = if is_open { format!("{}{all}", layout.line_end) } else { format!("{all}{}", layout.line_end) };
    (place..place, all)
}

/// Whole lines at the end of a text without an end of its last line are taken out with the line end before them.
pub(super) fn with_line_end_before(text: &str, range: Range<usize>) -> Range<usize> {
    if range.end < text.len() || text.ends_with('\n') {
        return range;
    }
    let before = &text[..range.start];
    let before = before.strip_suffix('\n').map_or(before, |before| before.strip_suffix('\r').unwrap_or(before));
    before.len()..range.end
}

/// Behind the colon of a key that ends there.
pub(super) fn behind_colon(text: &str, key_end: usize) -> usize {
    text[key_end..].find(':').map_or(key_end, |at| key_end + at + 1)
}

/// The dash before an item of a sequence whose dashes stand in this column.
pub(super) fn dash(text: &str, item: usize, column: usize) -> Option<usize> {
    let mut end = item;
    loop {
        let begin = line_start(text, end);
        let dash = begin + column;
        if dash < item && text[begin..].len() > column && text.is_char_boundary(dash) && text[dash..].starts_with('-') {
            return Some(dash);
        }
        end = begin.checked_sub(1)?;
    }
}

/// Whether a key is written behind a question mark.
pub(super) fn is_explicit(text: &str, key: usize) -> bool {
    let before = text[..key].trim_end_matches([' ', '\t']);
    if before.ends_with('?') {
        return true;
    }
    // The mark may stand alone in a line before, behind dashes.
    let line = before.trim_end().lines().next_back().unwrap_or_default();
    before.ends_with('\n') && line.trim_start_matches([' ', '\t', '-']) == "?"
}

/// What each level of flow style over several lines adds: the entries of this bracket beside its own line.
pub(super) fn unit(text: &str, bracket: usize, indent: &str) -> String {
    let line = &text[line_start(text, bracket)..];
    let outer = &line[..line.len() - line.trim_start_matches([' ', '\t']).len()];
    match indent.strip_prefix(outer) {
        Some(unit) if !unit.is_empty() => unit.to_owned(),
        _ => "  ".to_owned(),
    }
}

/// How this document is indented: as its first nested mapping and its first sequence are.
pub(super) fn layout(tree: &Tree<'_>, document: usize) -> Layout {
    let mut layout = Layout { line_end: line_end(tree.text), step: 2, dash: 0 };
    let Some(document) = tree.documents.get(document) else { return layout };
    let (mut step, mut dash) = (None, None);
    for node in tree.nodes_of(document) {
        let Kind::Mapping { flow: false, pairs } = &node.kind else { continue };
        for (key, value) in pairs {
            let beside = || {
                let key = column(tree.text, tree.node(*key).start);
                column(tree.text, tree.node(*value).start).checked_sub(key)
            };
            match &tree.node(*value).kind {
                Kind::Mapping { flow: false, .. } if step.is_none() => step = beside().filter(|step| *step > 0),
                Kind::Sequence { flow: false, .. } if dash.is_none() => dash = beside(),
                _ => {}
            }
        }
    }
    layout.step = step.unwrap_or(layout.step);
    layout.dash = dash.unwrap_or(layout.dash);
    layout
}
