//! The rules between layers: which may import which, what each must not name, and that its files form no circle.
//!
//! `docs/architecture.md` says why. To change a rule, change `LAYERS`.
#![expect(clippy::unwrap_used, reason = "a source that cannot be read fails the test")]

#[path = "architecture/circles.rs"]
mod circles;
#[path = "architecture/listed.rs"]
mod listed;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use circles::{Module, rings};

/// A module of the crate's root, with all that is below it.
struct Layer {
    name: &'static str,
    /// The other layers it may import.
    imports: &'static [&'static str],
    /// Identifiers, paths and macros that must not appear in its code.
    must_not_name: &'static [&'static [&'static str]],
}

/// Does no I/O.
const PURE: &[&str] = &["tokio::", "hyper::", "socket2::", "TcpStream", "TcpListener", "prometheus::"];
/// Reads the time, itself or through a library. What takes an `Instant` as an argument does not.
const CLOCKS: &[&str] = &[
    "::now",
    ".elapsed",
    "now_utc",
    "now_local",
    "clock_gettime",
    "tokio::time",
    // governor: its own clocks, and the limiters that are made with one of them.
    "DefaultClock",
    "MonotonicClock",
    "SystemClock",
    "QuantaClock",
    "QuantaUpkeepClock",
    "DefaultDirectRateLimiter",
    "DefaultKeyedRateLimiter",
    "RateLimiter::direct(",
    "RateLimiter::keyed(",
    "RateLimiter::hashmap(",
    "RateLimiter::dashmap(",
    // jsonwebtoken: what checks `exp` and `nbf` against the time of the machine.
    "jsonwebtoken::decode",
    "Validation",
    "get_current_timestamp",
];
/// Outcomes are values; only `observe::journal` writes them to the log.
const LOGS: &[&str] = &["tracing::", "log::", "println!", "eprintln!", "print!", "eprint!", "dbg!"];
const TLS: &[&str] = &["rustls::", "tokio_rustls::", "hyper_rustls::"];
const PROMETHEUS: &[&str] = &["prometheus::"];

/// From the ground up. A layer imports from above itself in this list, never from below.
const LAYERS: &[Layer] = &[
    Layer { name: "wire", imports: &[], must_not_name: &[PURE, CLOCKS, LOGS] },
    Layer { name: "fault", imports: &[], must_not_name: &[PURE, CLOCKS, LOGS] },
    Layer { name: "units", imports: &["fault"], must_not_name: &[PURE, CLOCKS, LOGS] },
    Layer { name: "event_names", imports: &[], must_not_name: &[PURE, CLOCKS, LOGS] },
    Layer { name: "network", imports: &[], must_not_name: &[PURE, CLOCKS, LOGS] },
    Layer {
        name: "observe",
        imports: &["event_names", "network", "units", "fault"],
        must_not_name: &[&["tokio::", "hyper::"], CLOCKS, LOGS, PROMETHEUS],
    },
    Layer { name: "side_http", imports: &[], must_not_name: &[LOGS, TLS, PROMETHEUS] },
    Layer {
        name: "policy",
        imports: &["wire", "fault", "units", "event_names", "network"],
        must_not_name: &[PURE, CLOCKS, LOGS],
    },
    Layer {
        name: "mirror",
        imports: &["policy", "wire", "fault", "units", "event_names"],
        must_not_name: &[PURE, CLOCKS, LOGS],
    },
    Layer {
        name: "session",
        imports: &["mirror", "policy", "wire", "fault", "units", "event_names", "network"],
        must_not_name: &[PURE, CLOCKS, LOGS],
    },
    Layer {
        name: "relay",
        imports: &["session", "mirror", "policy", "wire", "fault", "units", "event_names", "observe"],
        must_not_name: &[LOGS, TLS, PROMETHEUS],
    },
    Layer {
        name: "tls",
        imports: &["relay", "policy", "side_http", "fault", "units", "observe"],
        must_not_name: &[LOGS, PROMETHEUS],
    },
    Layer { name: "jwks", imports: &["policy", "fault", "observe"], must_not_name: &[LOGS, PROMETHEUS] },
    Layer {
        name: "cluster",
        imports: &["tls", "relay", "session", "mirror", "policy", "wire", "fault", "units", "event_names", "observe"],
        must_not_name: &[LOGS, PROMETHEUS],
    },
    Layer {
        name: "gateway",
        imports: &["tls", "relay", "session", "policy", "wire", "fault", "units", "event_names", "observe"],
        must_not_name: &[LOGS, PROMETHEUS],
    },
    Layer {
        name: "admin",
        imports: &["relay", "session", "policy", "side_http", "wire", "fault", "units", "event_names", "observe"],
        must_not_name: &[LOGS, PROMETHEUS],
    },
    Layer {
        name: "config",
        imports: &[
            "gateway", "cluster", "tls", "admin", "relay", "session", "mirror", "policy", "fault", "units", "observe",
        ],
        must_not_name: &[&["hyper::", "socket2::", "TcpStream", "TcpListener"], LOGS, PROMETHEUS],
    },
    Layer {
        name: "start",
        imports: &[
            "config",
            "gateway",
            "cluster",
            "tls",
            "jwks",
            "admin",
            "relay",
            "session",
            "mirror",
            "policy",
            "wire",
            "fault",
            "units",
            "event_names",
            "observe",
        ],
        must_not_name: &[LOGS, PROMETHEUS],
    },
    Layer {
        name: "cli",
        imports: &[
            "start", "config", "cluster", "tls", "jwks", "relay", "session", "policy", "wire", "fault", "units",
            "observe",
        ],
        must_not_name: &[PROMETHEUS],
    },
];

/// Files that may name what the rest of their layer must not.
const EXCEPT: &[(&str, &[&str])] = &[
    // Log lines carry the time at which they are written, and are limited by it.
    ("src/observe/journal.rs", &["tracing::", "::now"]),
    ("src/observe/journal/nodes.rs", &["tracing::"]),
    ("src/observe/stderr.rs", &["::now"]),
    ("src/observe/gauges.rs", &["::now"]),
    ("src/observe/prometheus.rs", PROMETHEUS),
];

/// What makes an identity without a token or certificate at hand, and the files that may name it.
const EVIDENCE: &[(&str, &[&str])] = &[
    ("Identity::continued", &["src/session/continuation.rs"]),
    ("CertifiedUser::named", &["src/session/continuation.rs", "src/tls/client_auth.rs"]),
];

/// Lines of a file without its tests. A longer file holds two things: split it.
const FILE_LINES_MAX: usize = 500;

/// One source file without comments and without the tests at its end.
struct Source {
    path: String,
    text: String,
    code: String,
    /// Lines before the tests.
    lines: usize,
}

impl Source {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let path = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        Self::new(path, text)
    }

    fn new(path: String, text: String) -> Self {
        let before_tests = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
        let lines = before_tests.lines().count();
        let code = before_tests.lines().map(without_comment).collect::<Vec<_>>().join("\n");
        Self { path, text, code, lines }
    }

    /// `src/session/acks.rs` and `src/session.rs` are in `session`.
    fn layer(&self) -> &str {
        let below = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        below.split('/').next().unwrap_or_default()
    }

    /// Whether a word, macro or path stands in the code: `log::` is the crate, not the end of `catalog::` or `x::log::`.
    /// What begins with a dot or a colon may stand behind anything.
    fn names(&self, name: &str) -> bool {
        let (begins_word, ends_word) = (name.starts_with(is_identifier), name.ends_with(is_identifier));
        self.code.match_indices(name).any(|(at, _)| {
            let continues = ends_word && self.code[at + name.len()..].starts_with(is_identifier);
            let began =
                begins_word && self.code[..at].ends_with(|c| is_identifier(c) || (c == ':' && name.ends_with("::")));
            !continues && !began
        })
    }

    /// Those of `words` that stand in the code, but for `excepted`.
    fn named<'a>(&self, words: impl Iterator<Item = &'a str>, excepted: &[&str]) -> Vec<&'a str> {
        words.filter(|word| !excepted.contains(word) && self.names(word)).collect()
    }

    /// The modules of the root that are named after `crate::`, in imports and in the middle of code alike.
    fn imports(&self) -> BTreeSet<&str> {
        self.code.match_indices("crate::").flat_map(|(at, found)| roots(&self.code[at + found.len()..])).collect()
    }
}

/// `a::b` begins at `a`; `{a::{b, c}, d}` at `a` and `d`.
fn roots(path: &str) -> Vec<&str> {
    let Some(group) = path.strip_prefix('{') else { return vec![first_word(path)] };
    let deeper = |c| i32::from(c == '{') - i32::from(c == '}');
    let mut depth = 1;
    let end = group.find(|c| {
        depth += deeper(c);
        depth == 0
    });
    group[..end.unwrap_or(group.len())]
        .split(|c| {
            depth += deeper(c);
            c == ',' && depth == 0
        })
        .map(first_word)
        .collect()
}

fn first_word(path: &str) -> &str {
    path.trim_start().split(|c| !is_identifier(c)).next().unwrap_or_default()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn is_identifier(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn without_comment(line: &str) -> &str {
    let code = line.trim_start();
    if code.starts_with("//") { "" } else { line.split(" // ").next().unwrap_or_default() }
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The sources of the crate, without files that are tests as a whole.
fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    rust_files(&root().join("src"), &mut paths);
    paths.sort();
    let is_test = |path: &Path| path.ends_with("tests.rs") || path.iter().any(|folder| folder == "tests");
    paths.iter().filter(|path| !is_test(path.strip_prefix(root()).unwrap())).map(|path| Source::read(path)).collect()
}

fn layer(name: &str) -> Option<&'static Layer> {
    LAYERS.iter().find(|layer| layer.name == name)
}

/// Fails with all complaints at once.
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn every_module_of_the_root_is_a_layer() {
    let mut complaints = Vec::new();
    for source in sources() {
        if !["lib", "main"].contains(&source.layer()) && layer(source.layer()).is_none() {
            complaints.push(format!("{}: belongs to no layer; add `{}` to LAYERS", source.path, source.layer()));
        }
    }
    for (place, layer) in LAYERS.iter().enumerate() {
        for import in layer.imports {
            let from_above = LAYERS[..place].iter().any(|other| other.name == *import);
            if !from_above {
                complaints
                    .push(format!("LAYERS: `{}` may import `{import}`, which does not stand before it", layer.name));
            }
        }
    }
    assert_none(&complaints);
}

#[test]
fn imports_point_down() {
    let mut complaints = Vec::new();
    for source in sources() {
        let Some(layer) = layer(source.layer()) else { continue };
        for import in source.imports() {
            let is_layer = LAYERS.iter().any(|other| other.name == import);
            if is_layer && import != layer.name && !layer.imports.contains(&import) {
                complaints.push(format!(
                    "{}: `{}` must not import `{import}`, only {:?}",
                    source.path, layer.name, layer.imports
                ));
            }
        }
        if source.names("super::super") {
            complaints
                .push(format!("{}: write `crate::…` instead of `super::super`, so that the layer shows", source.path));
        }
    }
    assert_none(&complaints);
}

#[test]
fn a_layer_names_nothing_that_is_not_its_business() {
    let mut complaints = Vec::new();
    for source in sources() {
        let Some(layer) = layer(source.layer()) else { continue };
        let excepted = EXCEPT.iter().find(|(path, _)| *path == source.path).map_or(&[][..], |(_, words)| *words);
        let forbidden = layer.must_not_name.iter().copied().flatten().copied();
        for word in source.named(forbidden, excepted) {
            complaints.push(format!("{}: `{}` must not name `{word}`", source.path, layer.name));
        }
        for word in excepted.iter().filter(|word| !source.names(word)) {
            complaints.push(format!("{}: no longer names `{word}`; remove it from EXCEPT", source.path));
        }
    }
    assert_none(&complaints);
}

#[test]
fn every_file_opens_with_what_it_is_for_and_is_short() {
    let mut complaints = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//! ") {
            complaints.push(format!("{}: the first line must be `//! ` and what the file is for", source.path));
        }
        if source.lines > FILE_LINES_MAX {
            complaints.push(format!("{}: {} lines, {FILE_LINES_MAX} at most; split it", source.path, source.lines));
        }
    }
    assert_none(&complaints);
}

#[test]
fn a_planted_clock_is_found() {
    for code in [
        "let now = Instant::now();",
        "let now = std::time::SystemTime::now();",
        "let start = cell.get_or_init(Instant::now);",
        "if since.elapsed() > LIMIT {}",
        "let now = chrono::Utc::now();",
        "let now = time::OffsetDateTime::now_utc();",
        "use governor::clock::{Clock, QuantaClock};",
        "limiter: RateLimiter<NotKeyed, InMemoryState, governor::clock::DefaultClock>,",
        "use governor::{DefaultKeyedRateLimiter, Quota};",
        "Self(RateLimiter::keyed(quota))",
        "let limiter = governor::RateLimiter::direct(quota);",
        "jsonwebtoken::decode::<Claims>(token, key, &rules)",
        "let rules = Validation::new(Algorithm::HS256);",
        "tokio::time::sleep(pause).await;",
    ] {
        let source =
            Source::new("src/policy/planted.rs".to_owned(), format!("//! Planted.\n\nfn f() {{\n    {code}\n}}\n"));
        assert!(!source.named(CLOCKS.iter().copied(), &[]).is_empty(), "not found: {code}");
    }
}

#[test]
fn a_time_that_is_handed_in_is_no_clock() {
    for code in [
        "fn due(&self, now: Instant) -> bool { now.saturating_duration_since(self.began) > self.patience }",
        "let wait = not_until.earliest_possible();",
        "Self(RateLimiter::direct_with_clock(quota, CallersClock))",
        "// Instant::now() is read by the caller.",
        "let validation = rules;",
        "#[cfg(test)]\nmod tests {\n    let now = Instant::now();\n}",
    ] {
        let source = Source::new("src/policy/planted.rs".to_owned(), format!("//! Planted.\n\n{code}\n"));
        assert_eq!(source.named(CLOCKS.iter().copied(), &[]), [""; 0], "{code}");
    }
}

/// The files of a crate whose root lies in `folder`, but for tests, as modules.
fn modules(folder: &str) -> Vec<Module> {
    let mut paths = Vec::new();
    rust_files(&root().join(folder), &mut paths);
    paths.sort();
    let mut modules = Vec::new();
    for path in paths {
        let file = path.strip_prefix(root()).unwrap().to_string_lossy();
        let is_test = file.ends_with("tests.rs") || file.contains("/tests/");
        if !is_test {
            modules.push(Module::new(folder, &file, &fs::read_to_string(&path).unwrap()));
        }
    }
    modules
}

#[test]
fn no_layer_has_a_circle_of_files() {
    let mut complaints = rings(&modules("benches/relay").iter().collect::<Vec<_>>());
    let all = modules("src");
    for layer in LAYERS {
        let of_layer: Vec<_> = all.iter().filter(|module| module.is_below(layer.name)).collect();
        complaints.extend(rings(&of_layer));
    }
    assert_none(&complaints);
}

/// A file that no `mod` names is not compiled, and nobody notices.
#[test]
fn every_file_is_a_module_of_another() {
    let mut complaints = Vec::new();
    for source in sources() {
        let path = Path::new(&source.path).with_extension("");
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { continue };
        let parent = if folder == Path::new("src") { folder.join("lib.rs") } else { folder.with_extension("rs") };
        let declared = format!("mod {};", name.to_string_lossy());
        let is_root = folder == Path::new("src") && (name == "lib" || name == "main");
        if !is_root && !fs::read_to_string(root().join(&parent)).unwrap_or_default().contains(&declared) {
            complaints.push(format!("{}: {} has no `{declared}`", source.path, parent.display()));
        }
    }
    assert_none(&complaints);
}

#[test]
fn an_identity_comes_from_a_token_a_certificate_or_a_snapshot() {
    let mut complaints = Vec::new();
    for source in sources() {
        for (maker, files) in EVIDENCE {
            let may = files.contains(&&*source.path);
            match source.names(maker) {
                true if !may => complaints.push(format!("{}: must not name `{maker}`, only {files:?}", source.path)),
                false if may => {
                    complaints.push(format!("{}: no longer names `{maker}`; remove it from EVIDENCE", source.path))
                }
                _ => {}
            }
        }
    }
    assert_none(&complaints);
}

/// The methods in this code whose names ask something, and which change what they are asked of.
fn mutating_predicates(code: &str) -> Vec<&str> {
    const PREDICATES: [&str; 7] = ["is_", "has_", "was_", "are_", "can_", "may_", "had_"];
    let asks = |name: &str| PREDICATES.iter().any(|word| name.starts_with(word));
    let heads = code.split("fn ").skip(1).filter_map(|rest| rest.split_once('('));
    heads
        .filter(|(name, arguments)| asks(name) && arguments.trim_start().starts_with("&mut self"))
        .map(|(name, _)| name)
        .collect()
}

/// Who reads `is_…` in a condition does not expect that something changes.
#[test]
fn a_predicate_changes_nothing() {
    let code =
        "fn is_told(&mut self) {} fn is_late(&self) {} fn tell(&mut self) {} fn has_room<T>(\n    &mut self,\n) {}";
    assert_eq!(mutating_predicates(code), ["is_told", "has_room<T>"]);
    let mut complaints = Vec::new();
    for source in sources() {
        for name in mutating_predicates(&source.code) {
            complaints.push(format!("{}: {name} changes what it is asked of; name what it does", source.path));
        }
    }
    assert_none(&complaints);
}
