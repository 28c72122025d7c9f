//! What the pages name exists: `module::path::function` in the code or an end-to-end test, `folder/file` in the tree.

use std::{fs, path::Path};

use tidegate::config::load::Loaded;

#[path = "docs/image.rs"]
mod image;
#[path = "docs/log.rs"]
mod log;

/// The pages that name code.
const PAGES: &[&str] = &[
    "docs/alerts.md",
    "docs/architecture.md",
    "docs/availability.md",
    "docs/bridge.md",
    "docs/client.md",
    "docs/compatibility.md",
    "docs/doctor.md",
    "docs/inject.md",
    "docs/install.md",
    "docs/kubernetes.md",
    "docs/limits.md",
    "docs/log.md",
    "docs/memory.md",
    "docs/protocol.md",
    "docs/quality.md",
    "docs/recipes.md",
    "docs/redis.md",
    "docs/release.md",
    SECURITY,
    "docs/sizing.md",
    "docs/status.md",
    "docs/tls.md",
    TOKENS,
    "docs/top.md",
    "docs/troubleshooting.md",
    "charts/tidegate/README.md",
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
];
/// The table of attacks and faults, what each side receives, and what to set.
const SECURITY: &str = "docs/security.md";
/// What tokens are, and what the log says of those that are refused.
const TOKENS: &str = "docs/tokens.md";
/// How many attacks and faults there are.
const THREATS: usize = 105;
/// Where the files of a module path lie.
const ROOTS: &[&str] = &["src", "tests/e2e", "tests"];
/// A word with a slash is a path of this tree where it begins so.
const FOLDERS: &[&str] = &[
    "src/",
    "tests/",
    "docs/",
    "examples/",
    "benches/",
    "config/",
    "scripts/",
    "charts/",
    "client/",
    "fuzz/targets/",
    "fuzz/corpus/",
];

fn read(path: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}

/// The Rust files in a folder and its folders, from the root of the repository.
fn tree(folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).expect("the folder is there") {
        let entry = entry.expect("the folder can be read");
        let path = format!("{folder}/{}", entry.file_name().to_str().expect("names are UTF-8"));
        if entry.path().is_dir() {
            files.extend(tree(&path));
        } else if path.ends_with(".rs") {
            files.push(path);
        }
    }
    files
}

fn is_identifier(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Every word of a page, with its line.
fn words<'a>(page: &'a str, of: impl Fn(char) -> bool + Copy + 'a) -> impl Iterator<Item = (usize, &'a str)> {
    page.lines().enumerate().flat_map(move |(at, line)| line.split(move |c| !of(c)).map(move |word| (at + 1, word)))
}

/// The files in which the module path ends, one at most under each root, and the names behind it.
fn files_of(path: &str) -> impl Iterator<Item = (String, Vec<&str>)> {
    let segments: Vec<_> = path.split("::").collect();
    ROOTS.iter().filter_map(move |root| {
        (1..=segments.len()).rev().find_map(|end| {
            let module = format!("{root}/{}", segments[..end].join("/"));
            let text = read(&format!("{module}.rs")).or_else(|| read(&format!("{module}/main.rs")))?;
            Some((text, segments[end..].to_vec()))
        })
    })
}

/// `relay::driver::Driver::poll` exists where src/relay/driver.rs has the words `Driver` and `fn poll`.
fn exists(path: &str) -> bool {
    files_of(path).any(|(text, names)| names.iter().all(|name| declares(&text, name)))
}

/// Whether the path ends at a function with the attribute of a test.
fn is_test(path: &str) -> bool {
    files_of(path).any(|(text, names)| {
        let Some(name) = names.last() else { return false };
        text.match_indices(&format!("fn {name}(")).any(|(at, _)| {
            let line = text[..at].rfind('\n').unwrap_or_default();
            let before = text[..line].lines().rev().map(str::trim);
            before
                .take_while(|line| line.starts_with("#[") || line.starts_with("///"))
                .any(|line| line.contains("test]") || line.contains("test("))
        })
    })
}

/// Whether a file has this function, or this type, constant or variant.
fn declares(text: &str, name: &str) -> bool {
    let sought = if name.starts_with(char::is_lowercase) { format!("fn {name}") } else { name.to_owned() };
    text.match_indices(&sought)
        .any(|(at, _)| !text[at + sought.len()..].starts_with(is_identifier) && !text[..at].ends_with(is_identifier))
}

#[test]
fn every_path_a_page_names_exists() {
    let mut missing = Vec::new();
    for page in PAGES {
        let text = read(page).unwrap();
        for (line, word) in words(&text, |c| is_identifier(c) || c == ':') {
            let path = word.trim_matches(':');
            if path.contains("::") && !exists(path) {
                missing.push(format!("{page}:{line}: no `{path}` in the code"));
            }
        }
        for (line, word) in words(&text, |c| is_identifier(c) || "/.-".contains(c)) {
            let path = word.trim_end_matches('.');
            let ours = FOLDERS.iter().any(|folder| path.starts_with(folder) && path != *folder);
            if ours && !Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists() {
                missing.push(format!("{page}:{line}: no file {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "\n{}\n", missing.join("\n"));
}

/// The cells of each line of a table, without the bars around them.
fn rows(page: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = page.lines().filter_map(|line| line.strip_prefix('|')?.trim_end().strip_suffix('|'));
    lines.map(|line| line.split('|').map(str::trim).collect())
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The part of the page under a heading.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let begin = page.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let rest = &page[begin + 1..];
    rest.find("\n## ").map_or(rest, |end| &rest[..end])
}

#[test]
fn each_attack_is_shown_by_a_test_or_says_why_not() {
    let page = read(SECURITY).unwrap();
    let threats: Vec<_> = rows(&page).filter(|cells| cells[0].parse::<usize>().is_ok()).collect();
    let numbers: Vec<usize> = threats.iter().map(|cells| cells[0].parse().unwrap()).collect();
    assert_eq!(numbers, (1..=THREATS).collect::<Vec<_>>(), "each number once and in order");

    let mut complaints = Vec::new();
    for cells in threats {
        let [number, attack, answer, shown] = cells[..] else {
            complaints.push(format!("{}: it has {} cells, not 4", cells[0], cells.len()));
            continue;
        };
        let reason = shown.split_once("not covered: ").map(|(_, reason)| reason.trim());
        let tests: Vec<_> = quoted(shown).filter(|name| name.contains("::")).collect();
        for test in tests.iter().filter(|test| !is_test(test)) {
            complaints.push(format!("{number}: `{test}` is no test"));
        }
        if tests.is_empty() && reason.is_none_or(str::is_empty) {
            complaints.push(format!("{number}: neither a test nor \"not covered: \" with a reason"));
        }
        if attack.is_empty() || answer.is_empty() {
            complaints.push(format!("{number}: an empty cell"));
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn a_test_is_told_from_what_only_exists() {
    assert!(is_test("docs::a_test_is_told_from_what_only_exists"));
    assert!(
        is_test("smuggling::a_head_has_a_size") && is_test("gateway::reply::refusals_for_a_time_carry_retry_after")
    );
    let with_threads = "attacks::small_node::a_small_node_survives_seven_attacks_and_no_good_client_notices";
    assert!(is_test(with_threads), "its attribute has arguments");
    for path in ["docs::is_test", "docs::no_such_test", "no_such_file::test", "wire::query::Query::get"] {
        assert!(!is_test(path), "{path}");
    }
}

/// A reason is a text in the code, and what a client receives is made of such texts.
#[test]
fn what_each_side_receives_is_in_the_code() {
    let code: String = tree("src").iter().filter_map(|path| read(path)).collect();
    let page = read(SECURITY).unwrap();
    let table: Vec<_> = rows(section(&page, "What each side receives")).skip(2).collect();
    assert!(table.len() > 20 && table.iter().all(|cells| cells.len() == 5), "the table has five columns");
    let missing: Vec<_> = table
        .iter()
        .flat_map(|cells| quoted(cells[4]))
        .filter(|reason| !code.contains(&format!("\"{reason}\"")))
        .collect();
    assert!(missing.is_empty(), "no such reasons in the code: {missing:?}");
    for text in table.iter().flat_map(|cells| quoted(cells[3])) {
        // A code, and the reason that is sent with it or stands alone.
        let text = text.trim_start_matches(|c: char| c.is_ascii_digit()).trim();
        assert!(text.is_empty() || code.contains(&format!("\"{text}\"")), "no such close reason: {text}");
    }
}

/// Every table and key of the reference file.
fn settings() -> Vec<String> {
    let reference = read("config/tidegate.toml").expect("the reference file is there");
    let mut table = String::new();
    let mut settings = Vec::new();
    for line in reference.lines() {
        let line = line.strip_prefix('#').unwrap_or(line);
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_matches(|c| c == '[' || c == ']').to_owned();
            settings.push(table.clone());
        } else if let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| key.chars().all(is_identifier)) {
            settings.push(format!("{table}.{key}"));
        }
    }
    assert!(settings.len() > 60, "{settings:?}");
    settings
}

/// The log names a setting with a refusal.
#[test]
fn each_setting_that_a_refusal_names_exists() {
    let (settings, page) = (settings(), read(SECURITY).unwrap());
    let named = |stage, reason| tidegate::observe::refusals::setting(stage, reason);
    let mut count = 0;
    for reason in rows(section(&page, "What each side receives")).skip(2).flat_map(|cells| quoted(cells[4])) {
        for name in
            ["connect", "session"].iter().filter_map(|stage| named(stage, reason)).flat_map(|all| all.split(", "))
        {
            assert!(settings.iter().any(|setting| setting == name), "{reason} names {name}");
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
    assert_eq!(named("connect", "auth.other_user"), Some("auth.users_per_connection"));
    assert_eq!(named("session", "upgrade_without_token"), Some("socketio.upgrade_without_token"));
}

/// Where the pages say what to set, `table.key` is a setting of the reference file.
#[test]
fn each_setting_that_the_page_names_exists() {
    let settings = settings();
    let tables: Vec<_> = settings.iter().filter(|name| !name.contains('.')).collect();
    let mut missing = Vec::new();
    let (security, policy) = (read(SECURITY).unwrap(), read("SECURITY.md").unwrap());
    for (part, text) in [("Hardening", section(&security, "Hardening a deployment")), ("SECURITY.md", &policy)] {
        for (line, name) in words(text, |c| is_identifier(c) || c == '.') {
            let name = name.trim_matches('.');
            let Some((first, key)) = name.split_once('.') else { continue };
            let names_setting = tables.iter().any(|table| *table == first) && !["toml", "md"].contains(&key);
            if names_setting && !settings.iter().any(|setting| setting == name) {
                missing.push(format!("{part}:{line}: no setting {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "\n{}\n", missing.join("\n"));
}

/// Each sentence that the log says of a refused token, but for what is filled in, has its row.
#[test]
fn each_fault_of_a_token_is_on_its_page() {
    let (source, page) = (read("src/policy/token_fault.rs").unwrap(), read(TOKENS).unwrap());
    let sentences = source.split_once("impl fmt::Display for TokenFault").unwrap().1;
    let sentences = sentences.split_once("impl fmt::Display").unwrap().0;
    let literals: Vec<_> = sentences.split('"').skip(1).step_by(2).collect();
    assert!(literals.len() > 25, "{literals:?}");
    for literal in literals {
        let parts: Vec<_> = literal.split(['{', '}']).step_by(2).map(str::trim).collect();
        let has_row = page.lines().any(|line| line.starts_with('|') && parts.iter().all(|part| line.contains(part)));
        assert!(has_row, "{TOKENS} lacks {literal:?}");
    }
}

/// systemd would kill a node that sends its clients away.
#[test]
fn the_unit_leaves_a_node_the_time_that_it_needs_to_end() {
    let unit = read("examples/systemd/tidegate.service").expect("the unit is there");
    let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).expect(key);
    let limits = tidegate::Config::default().limits;
    let needed = limits.lame_duck.0.as_secs() + limits.shutdown_grace.0.as_secs() + 5;
    assert_eq!(value("TimeoutStopSec"), format!("{needed}s"));
    let descriptors: u64 = value("LimitNOFILE").parse().expect("a number");
    assert!(descriptors > 2 * u64::from(limits.connections), "two for each client");
    let in_its_view = "ExecReload=+/usr/bin/nsenter --target $MAINPID --mount /usr/local/bin/tidegate check ";
    for line in ["ExecStart=/usr/local/bin/tidegate run ", in_its_view] {
        assert!(unit.contains(&format!("{line}/etc/tidegate/tidegate.toml\n")), "{line}");
    }
}

/// Each piece of configuration in the pages can be read as one.
#[test]
fn each_configuration_in_a_page_can_be_read() {
    let mut read_so_far = 0;
    for page in PAGES {
        let text = read(page).unwrap();
        let mut lines = text.lines().enumerate();
        while let Some((at, line)) = lines.next() {
            if line.trim() != "```toml" {
                continue;
            }
            let toml: Vec<_> = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```").collect();
            if let Err(error) = Loaded::of_text(&format!("{page}, block at line {},", at + 1), &toml.join("\n")) {
                panic!("{error}");
            }
            read_so_far += 1;
        }
    }
    assert!(read_so_far > 10, "{read_so_far}");
}
