//! Circles of files: which files import which, read from the paths in their code, and the rings among them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One source file as a module of its crate.
#[derive(Debug)]
pub(crate) struct Module {
    /// For messages, for example `src/session/acks.rs`.
    file: String,
    /// Its path below the crate's root, for example `session`, `acks`. Empty for `lib.rs` and `main.rs`.
    path: Vec<String>,
    text: String,
}

/// For each file those that it imports, by their place among the modules.
type Graph = Vec<BTreeSet<usize>>;

impl Module {
    /// `folder` is where the crate's root file lies.
    pub(crate) fn new(folder: &str, file: &str, text: &str) -> Self {
        let below = file.strip_prefix(folder).unwrap_or(file).trim_start_matches('/').trim_end_matches(".rs");
        let segments = below.split('/').filter(|segment| !["lib", "main"].contains(segment));
        Self { file: file.to_owned(), path: segments.map(str::to_owned).collect(), text: text.to_owned() }
    }

    /// Is it the module `name` of the crate's root, or below it?
    pub(crate) fn is_below(&self, name: &str) -> bool {
        self.path.first().is_some_and(|first| first == name)
    }
}

/// The shortest ring of each set of files that import one another in circles, as `a → b → a`.
pub(crate) fn rings(modules: &[&Module]) -> Vec<String> {
    let graph = imports(modules);
    let mut reported = BTreeSet::new();
    let mut rings = Vec::new();
    for start in 0..modules.len() {
        if reported.contains(&start) {
            continue;
        }
        let Some(ring) = shortest_ring(&graph, start) else { continue };
        let reached = reached(&graph, start);
        let tangle: Vec<_> = reached.into_iter().filter(|&file| self::reached(&graph, file).contains(&start)).collect();
        let names: Vec<_> = ring.iter().map(|&file| modules[file].file.as_str()).collect();
        rings.push(format!("{} ({} files in all)", names.join(" → "), tangle.len()));
        reported.extend(tangle);
    }
    rings
}

/// All files that can be reached from `start` along one import or more.
fn reached(graph: &Graph, start: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut ahead = vec![start];
    while let Some(file) = ahead.pop() {
        ahead.extend(graph[file].iter().copied().filter(|&next| reached.insert(next)));
    }
    reached
}

/// The way from `start` back to it, both ends named. `None` where no way leads back.
fn shortest_ring(graph: &Graph, start: usize) -> Option<Vec<usize>> {
    let mut seen = BTreeSet::new();
    let mut ways = VecDeque::from([vec![start]]);
    while let Some(way) = ways.pop_front() {
        for &next in &graph[*way.last()?] {
            let longer = [way.as_slice(), &[next]].concat();
            if next == start {
                return Some(longer);
            }
            if seen.insert(next) {
                ways.push_back(longer);
            }
        }
    }
    None
}

fn imports(modules: &[&Module]) -> Graph {
    let by_path: BTreeMap<&[String], usize> =
        modules.iter().enumerate().map(|(at, module)| (module.path.as_slice(), at)).collect();
    let imported = |at: usize, module: &Module| {
        let named = paths(&tokens(&module.text)).into_iter().filter_map(|path| file_of(&by_path, &module.path, &path));
        named.filter(|&file| file != at).collect()
    };
    modules.iter().enumerate().map(|(at, module)| imported(at, module)).collect()
}

/// The file of the innermost module that a path names, seen from the module `from`. `None` for other crates, and for what
/// is in scope by an import, which counts by itself.
fn file_of(by_path: &BTreeMap<&[String], usize>, from: &[String], path: &[&str]) -> Option<usize> {
    let supers = path.iter().take_while(|segment| **segment == "super").count();
    let (mut at, rest) = match *path.first()? {
        "crate" => (Vec::new(), &path[1..]),
        "self" => (from.to_vec(), &path[1..]),
        "super" => (from[..from.len().checked_sub(supers)?].to_vec(), &path[supers..]),
        child if by_path.contains_key([from, &[child.to_owned()]].concat().as_slice()) => (from.to_vec(), path),
        _ => return None,
    };
    for segment in rest {
        at.push((*segment).to_owned());
        if !by_path.contains_key(at.as_slice()) {
            at.pop();
            break;
        }
    }
    by_path.get(at.as_slice()).copied()
}

/// The paths in code: each leaf of a `use`, and every `a::b` elsewhere. Declarations of modules, visibilities and what is
/// there for tests alone are none.
fn paths<'a>(tokens: &[&'a str]) -> Vec<Vec<&'a str>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let rest = &tokens[at..];
        if rest.starts_with(&["#", "[", "cfg", "(", "test", ")", "]"]) {
            at += item_end(rest);
        } else if rest.starts_with(&["pub", "(", "in"]) {
            at += rest.iter().position(|token| *token == ")").unwrap_or(rest.len());
        } else if rest[0] == "use" && rest.get(1) != Some(&"<") {
            at += 1;
            use_tree(tokens, &mut at, &[], &mut found);
        } else if is_word(rest[0]) && rest.get(1) == Some(&"::") {
            let mut path = vec![rest[0]];
            let more =
                rest[1..].chunks(2).take_while(|pair| pair[0] == "::" && pair.get(1).is_some_and(|it| is_word(it)));
            path.extend(more.map(|pair| pair[1]));
            at += path.len() * 2 - 1;
            found.push(path);
        } else {
            at += 1;
        }
    }
    found
}

/// Where the item behind an attribute ends: at its semicolon, or at the end of its block.
fn item_end(tokens: &[&str]) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(*token, ";" | "}") {
            return at + 1;
        }
    }
    tokens.len()
}

/// Adds the leaves of the tree that begins `at`, each behind `prefix`.
fn use_tree<'a>(tokens: &[&'a str], at: &mut usize, prefix: &[&'a str], found: &mut Vec<Vec<&'a str>>) {
    let mut path = prefix.to_vec();
    while let Some(&token) = tokens.get(*at) {
        match token {
            "{" => {
                *at += 1;
                while tokens.get(*at).is_some_and(|token| *token != "}") {
                    use_tree(tokens, at, &path, found);
                    *at += usize::from(tokens.get(*at) == Some(&","));
                }
                *at += 1;
                return;
            }
            "," | ";" | "}" => break,
            "as" => *at += 1,
            "::" | "*" => {}
            "self" if !path.is_empty() => {}
            name => path.push(name),
        }
        *at += 1;
    }
    found.push(path);
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words, `::` and single signs. Comments, texts, characters and lifetimes are left out.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => text_end(rest),
            'r' | 'b' | 'c' if raw_text_end(rest).is_some() => raw_text_end(rest).unwrap_or(1),
            '\'' => character_end(rest),
            ':' if rest.starts_with("::") => 2,
            c if c.is_alphanumeric() || c == '_' => {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            }
            c => c.len_utf8(),
        };
        let token = &rest[..taken];
        let left_out = first.is_whitespace()
            || token.starts_with("//")
            || token.starts_with("/*")
            || token.contains('"')
            || first == '\'';
        if !left_out {
            tokens.push(token);
        }
        rest = &rest[taken..];
    }
    tokens
}

/// Behind the closing quotation mark of a text.
fn text_end(rest: &str) -> usize {
    let mut escaped = false;
    let end = rest.char_indices().skip(1).find(|(_, c)| {
        let closes = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        closes
    });
    end.map_or(rest.len(), |(at, _)| at + 1)
}

/// Behind the end of a raw text (`r"…"`, `br#"…"#`). `None` where none begins.
fn raw_text_end(rest: &str) -> Option<usize> {
    let marks = rest.trim_start_matches(['b', 'c']).strip_prefix('r')?;
    let hashes = marks.len() - marks.trim_start_matches('#').len();
    let opening = rest.len() - marks.len() + hashes + 1;
    if opening > hashes + 4 || !marks[hashes..].starts_with('"') {
        return None;
    }
    let closing = format!("\"{}", "#".repeat(hashes));
    Some(rest[opening..].find(&closing).map_or(rest.len(), |end| opening + end + closing.len()))
}

/// Behind a character (`'a'`, `'\''`), or the mark of a lifetime.
fn character_end(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some(_)) => chars.find(|(_, c)| *c == '\'').map_or(rest.len(), |(at, _)| at + 1),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::{Module, rings};

    /// The rings among planted files of one crate.
    fn planted(files: &[(&str, &str)]) -> Vec<String> {
        let modules: Vec<_> = files.iter().map(|(file, text)| Module::new("src", file, text)).collect();
        rings(&modules.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_circle_is_found_however_its_imports_are_written() {
        for (parent, a, b, expected) in [
            ("mod a; mod b;", "use crate::x::b::B;", "use super::a::A;", "src/x/a.rs → src/x/b.rs → src/x/a.rs (2"),
            ("", "use crate::{y::Y, x::{c, b::{self, B}}};", "fn f() -> super::a::A {}", "src/x/a.rs → src/x/b.rs"),
            ("", "use super::b as c;", "fn f() { crate::x::a::g::<u8>() }", "src/x/a.rs → src/x/b.rs"),
            ("pub use self::a::A;", "use super::Other;", "", "src/x.rs → src/x/a.rs → src/x.rs (2"),
            ("fn f() { a::g() }", "use super::*;", "", "src/x.rs → src/x/a.rs"),
            (
                "use b::B;",
                "use super::Other;",
                "use crate::x::a::A;",
                "src/x.rs → src/x/b.rs → src/x/a.rs → src/x.rs (3",
            ),
            (
                "",
                "/* \" */ use super::b::B;",
                "const A: char = '\"'; use super::a::A; // \"",
                "src/x/a.rs → src/x/b.rs",
            ),
        ] {
            let found = planted(&[("src/x.rs", parent), ("src/x/a.rs", a), ("src/x/b.rs", b)]);
            assert_eq!(found.len(), 1, "{parent} | {a} | {b}: {found:?}");
            assert!(found[0].starts_with(expected), "{found:?}");
        }
    }

    #[test]
    fn what_imports_nothing_closes_no_circle() {
        for parent in [
            "mod a; pub mod b;",
            "// use a::A;",
            "/// See [`a::A`].\nfn f() {}",
            "const TEXT: &str = \"a::A\"; const RAW: &str = r#\"\"a::A\"#;",
            "#[cfg(test)]\npub(crate) use self::a::tests::helper;",
            "#[cfg(test)]\nmod tests { use super::a::A; fn f() { if a::B {} } }",
            "fn f<'a>(x: &'a str) -> std::a::A { other::a::A }",
        ] {
            let child = "pub(in crate::x::b) struct A; use super::Thing; use std::fmt;";
            assert_eq!(
                planted(&[("src/x.rs", parent), ("src/x/a.rs", child), ("src/x/b.rs", "")]),
                [""; 0],
                "{parent}"
            );
        }
    }

    #[test]
    fn every_circle_is_reported_once() {
        let found = planted(&[
            ("src/main.rs", "mod a; mod b; fn main() { a::f() }"),
            ("src/a.rs", "use crate::b::B;"),
            ("src/b.rs", "use crate::a::A;"),
            ("src/c.rs", "use crate::d;"),
            ("src/d.rs", "fn f() { super::c::f() }"),
        ]);
        assert_eq!(
            found,
            ["src/a.rs → src/b.rs → src/a.rs (2 files in all)", "src/c.rs → src/d.rs → src/c.rs (2 files in all)"]
        );
    }
}
