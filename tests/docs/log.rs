//! Every message of the log is on its page, with its level and its fields.

use std::{fs, path::Path};

use super::{read, rows, tree};

const PAGE: &str = "docs/log.md";
const JOURNAL: &[&str] = &["src/observe/journal.rs", "src/observe/journal/nodes.rs"];

/// Functions that put together what another one logs.
const ELSEWHERE: &[(&str, &str)] = &[
    ("src/observe/journal.rs", "what_is_refused"),
    ("src/start/departure.rs", "follow"),
    ("src/start/descriptors.rs", "warning"),
    ("src/start/reload.rs", "outcome"),
    ("src/start/reload.rs", "taken_addresses"),
    ("src/start/reload.rs", "tell"),
    ("src/start/reload.rs", "try_reload"),
    ("src/start/reload.rs", "reload"),
];
/// Functions that log what they are given: [`ELSEWHERE`] has it, or the page has one row for all.
const GIVEN: &[&str] = &["tell_descriptors", "warn_of", "log_mistakes", "obey", "run"];

/// A function as it is written.
struct Function<'a> {
    name: &'a str,
    body: String,
}

/// The functions of a file, without comments and tests. A function in another one belongs to that.
fn functions(source: &str) -> Vec<Function<'_>> {
    let source = source.split("#[cfg(test)]\nmod tests").next().expect("a split has a first part");
    let mut functions: Vec<Function<'_>> = Vec::new();
    let mut end = None;
    for line in source.lines().filter(|line| !line.trim_start().starts_with("//")) {
        let indent = &line[..line.len() - line.trim_start().len()];
        let name = line.split_once("fn ").filter(|(before, _)| {
            before.split_whitespace().all(|word| word.starts_with("pub") || ["const", "async"].contains(&word))
        });
        if let (None, Some((_, rest))) = (&end, name) {
            let name =
                rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().expect("a split has a first part");
            functions.push(Function { name, body: String::new() });
            end = Some(format!("{indent}}}"));
        }
        if let (Some(last), Some(function)) = (&end, functions.last_mut()) {
            function.body += line;
            function.body.push('\n');
            if line == last {
                end = None;
            }
        }
    }
    functions
}

/// The texts in a piece of code, with the fixed parts of each.
fn literals(code: &str) -> Vec<Vec<String>> {
    let mut literals = Vec::new();
    let mut rest = code;
    while let Some((_, from)) = rest.split_once('"') {
        let mut text = String::new();
        let mut chars = from.char_indices().peekable();
        let mut end = from.len();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => match chars.next() {
                    // A line that goes on.
                    Some((_, '\n')) => while chars.next_if(|(_, char)| char.is_whitespace()).is_some() {},
                    Some((_, escaped)) => text.push(escaped),
                    None => {}
                },
                char => text.push(char),
            }
        }
        rest = &from[end..];
        let parts = text.split(['{', '}']).step_by(2).map(|part| part.trim().to_owned());
        literals.push(parts.filter(|part| part.contains(char::is_alphabetic)).collect());
    }
    literals
}

/// Whether it is a sentence, or the end of one; names, keys and formats are not.
fn is_sentence(parts: &[String]) -> bool {
    parts.iter().flat_map(|part| part.split_whitespace()).filter(|word| word.contains(char::is_alphabetic)).count() > 1
}

/// The calls of these macros in a function: the macro, and what stands in its parentheses.
fn calls<'a>(body: &'a str, names: &[&'static str]) -> Vec<(&'static str, &'a str)> {
    let mut calls = Vec::new();
    for &name in names {
        for (at, _) in body.match_indices(&format!("{name}(")) {
            let inside = &body[at + name.len() + 1..];
            let (mut depth, mut quoted, mut before) = (1, false, ' ');
            let end = inside.find(|char| {
                match char {
                    '"' if before != '\\' => quoted = !quoted,
                    '(' if !quoted => depth += 1,
                    ')' if !quoted => depth -= 1,
                    _ => {}
                }
                before = char;
                depth == 0
            });
            calls.push((name, &inside[..end.unwrap_or(inside.len())]));
        }
    }
    calls
}

/// The names of the fields of a call.
fn fields(call: &str) -> impl Iterator<Item = &str> {
    // One a line, or all in one.
    let one_line = !call.trim().contains('\n');
    let separator = if one_line { ',' } else { '\n' };
    call.split(separator)
        .filter_map(|field| {
            let field = field.trim().trim_end_matches(',').trim_start_matches(['%', '?']);
            let name = field.split_once(" = ").map_or(field, |(name, _)| name);
            name.chars().all(|char| char.is_ascii_lowercase() || char == '_').then_some(name)
        })
        .filter(|name| !name.is_empty() && *name != "session")
}

/// The page, and what it lacks.
struct Comparison {
    rows: Vec<Vec<String>>,
    lacks: Vec<String>,
    messages: usize,
}

impl Comparison {
    /// The row of this message: its first cell has these parts. What is only a part of one may stand in any cell.
    fn row(&self, parts: &[String], is_part: bool) -> Option<&Vec<String>> {
        let has = |text: &str| parts.iter().all(|part| text.contains(part.trim_matches([':', ';', ' '])));
        let whole = self.rows.iter().find(|cells| has(&cells[0]));
        whole.or_else(|| self.rows.iter().find(|cells| is_part && has(&cells.join(" | "))))
    }

    /// There is a row with these parts, of one of these levels, where there are any, and with these fields.
    fn has(&mut self, of: &str, parts: &[String], levels: &[&str], fields: &[&str]) {
        self.messages += 1;
        let Some(row) = self.row(parts, levels.is_empty()) else {
            return self.lacks.push(format!("{of}: no row for {parts:?}"));
        };
        let mut lacks = Vec::new();
        if !levels.is_empty() && !levels.iter().any(|level| row[1].contains(level)) {
            lacks.push(format!("{of}: {parts:?} is {levels:?}, not {}", row[1]));
        }
        let all = row.join(" ");
        for field in fields.iter().filter(|field| !all.contains(&format!("`{field}`"))) {
            lacks.push(format!("{of}: the row of {parts:?} lacks the field {field}"));
        }
        self.lacks.append(&mut lacks);
    }
}

/// The lines that the journal itself writes.
fn compare_journal(comparison: &mut Comparison) {
    const MACROS: &[(&str, &str)] = &[
        ("info!", "INFO"),
        ("warn!", "WARN"),
        ("debug!", "DEBUG"),
        ("session_line!", "INFO"),
        ("repeated_warning", "WARN"),
    ];
    let names: Vec<_> = MACROS.iter().map(|(name, _)| *name).collect();
    let sources: Vec<String> = JOURNAL.iter().map(|path| read(path).expect("the journal is there")).collect();
    let page = read(PAGE).expect("the page is there");
    for Function { name, body } in sources.iter().flat_map(|source| functions(source)) {
        for (of, call) in calls(&body, &names) {
            let (_, level) = MACROS.iter().find(|(name, _)| *name == of).expect("it was found by its name");
            let fields: Vec<_> = if of == "repeated_warning" { vec!["suppressed"] } else { fields(call).collect() };
            for field in fields.iter().filter(|field| !page.contains(&format!("`{field}`"))) {
                comparison.lacks.push(format!("{name}: no field {field}"));
            }
            // Process lines have their limit where others have their fields.
            let own = if call.contains("jumped") || of == "repeated_warning" { &[][..] } else { &fields };
            for parts in literals(call).iter().filter(|parts| is_sentence(parts)) {
                if !parts.concat().contains("session.queue") {
                    comparison.has(name, parts, &[level], own);
                }
            }
        }
    }
}

/// The lines about the process, whose sentences stand where they are logged.
fn compare_sentences(comparison: &mut Comparison, path: &str, source: &str) {
    for Function { name, body } in functions(source) {
        let is_elsewhere = ELSEWHERE.contains(&(path, name));
        if !body.contains("journal::line(") && !is_elsewhere {
            continue;
        }
        let all = ["Error", "Warn", "Info", "Debug"];
        let said = all.iter().filter(|level| body.contains(&format!("LogLevel::{level}")));
        let said: Vec<_> = said.map(|level| level.to_uppercase()).collect();
        let levels: Vec<_> = if is_elsewhere { Vec::new() } else { said.iter().map(String::as_str).collect() };
        let mut sentences = literals(&body);
        sentences.retain(|parts| is_sentence(parts) || parts.concat() == "stopped");
        assert!(
            !sentences.is_empty() || GIVEN.contains(&name),
            "{path}: what does {name} log? Name its source in ELSEWHERE"
        );
        for parts in sentences {
            comparison.has(&format!("{path}, {name}"), &parts, &levels, &[]);
        }
    }
}

#[test]
fn each_message_of_the_log_is_on_its_page() {
    let page = read(PAGE).unwrap();
    let rows: Vec<Vec<String>> = rows(&page).map(|cells| cells.into_iter().map(str::to_owned).collect()).collect();
    let mut comparison = Comparison { rows, lacks: Vec::new(), messages: 0 };
    compare_journal(&mut comparison);
    for path in tree("src").into_iter().filter(|path| !path.contains("/tests") && path != "src/observe/stderr.rs") {
        let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&path)).unwrap();
        compare_sentences(&mut comparison, &path, &source);
    }
    assert!(comparison.lacks.is_empty(), "{PAGE}:\n{}\n", comparison.lacks.join("\n"));
    assert!(comparison.messages > 60, "only {} messages were found in the code", comparison.messages);
}

#[test]
fn what_the_code_says_is_found_in_it() {
    let code = "fn one() {\n    journal::line(LogLevel::Warn, &format!(\"the \\\"key\\\" {kid:?} is \\\n        not used: {reason}\"));\n}\n";
    let found = functions(code);
    assert_eq!((found.len(), found[0].name), (1, "one"));
    assert_eq!(literals(&found[0].body), [["the \"key\"", "is not used:"]]);
    let call =
        calls("warn!(\n    %peer,\n    queue,\n    event = clip(event),\n    \"a (queue) is full\"\n);", &["warn!"])[0]
            .1;
    assert_eq!(fields(call).collect::<Vec<_>>(), ["peer", "queue", "event"]);
    assert_eq!(
        fields("%peer, reason, suppressed = (n > 0).then_some(n), \"{why}\"").collect::<Vec<_>>(),
        ["peer", "reason", "suppressed"]
    );
}
