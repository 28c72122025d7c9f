//! What is told of a change, and that every key of the file is one or the other.

use std::collections::BTreeSet;

use super::*;
use crate::config::{load::Loaded, schema};

const OPEN: &str = "[auth]\nrequired = false\n";

fn read(text: &str) -> Config {
    Loaded::of_text("tidegate.toml", text).unwrap().config
}

#[track_caller]
fn told(old: &str, new: &str, now: &[&str], at_start: &[&str]) -> Config {
    let changes = Changes::between(&read(old), &read(new));
    assert_eq!(changes.now, now, "{new}");
    assert_eq!(changes.at_start, at_start, "{new}");
    changes.in_force
}

#[test]
fn keys_are_told_as_they_are_written_and_values_are_not() {
    for (old, new, keys) in [
        ("", "", &[][..]),
        ("[[rate_limit]]\nmessages = 3\n", "[[rate_limit]]\nmessages = 4\n", &["rate_limit[0].messages"]),
        ("", "[[rate_limit]]\n[[rate_limit]]\nper = \"1s\"\n", &["rate_limit[1]"]),
        ("", "rate_limit = []\n", &["rate_limit[0]"]),
        ("", "[origins]\nallow = [\"self\"]\n[log]\nlevel = \"debug\"\n", &["origins.allow", "log.level"]),
        ("", "[auth]\nissuer = \"https://a\"\n[session]\nhold = \"9s\"\n", &["auth.issuer", "session.hold"]),
        ("[auth]\nsecret = { env = \"A\" }\n", "[auth]\nsecret = { file = \"/a\" }\n", &["auth.secret"]),
        ("[auth]\nsecret = { env = \"A\" }\n", "[auth]\nsecret = { env = \"B\" }\n", &["auth.secret"]),
        ("", "[auth]\nforward_claims = { x-user = \"sub\" }\n", &["auth.forward_claims.x-user"]),
        ("[admin]\ntoken = { env = \"A\" }\n", "", &["admin.token"]),
        ("", "[[websocket]]\npath = \"/ws\"\n", &["websocket[0]"]),
    ] {
        assert_eq!(told(old, new, keys, &[]), read(new));
    }
}

#[test]
fn what_waits_for_a_start_is_compared_with_what_runs() {
    let new = "[listen]\naddress = \"127.0.0.1:9\"\n[metrics]\nevent_names = 7\n[session]\nhold = \"9s\"\n";
    let in_force = told("", new, &["session.hold"], &["listen.address", "metrics.event_names"]);
    assert_eq!(in_force, read("[session]\nhold = \"9s\"\n"));
    let again = Changes::between(&in_force, &read(new));
    assert_eq!(
        (again.now.len(), again.at_start),
        (0, vec!["listen.address".to_owned(), "metrics.event_names".to_owned()])
    );
    let back = Changes::between(&in_force, &read(""));
    assert_eq!((back.now, back.at_start.len()), (vec!["session.hold".to_owned()], 0));
}

#[test]
fn tls_is_not_added_removed_or_ordered_while_a_node_runs() {
    let files = "[tls]\ncertificate = \"/a\"\nprivate_key = \"/b\"\n";
    let acme = "[tls]\nmin_version = \"1.3\"\n[tls.acme]\ndomains = [\"a.test\"]\n";
    assert_eq!(told("", files, &[], &["tls"]), read(""));
    assert_eq!(told(files, "", &[], &["tls"]), read(files));
    let at_start = ["tls.certificate", "tls.private_key", "tls.min_version", "tls.acme"];
    assert_eq!(told(files, acme, &[], &at_start), read(files));
    told(files, &files.replace("/a", "/c"), &["tls.certificate"], &[]);
    let other = acme.replace("a.test", "b.test");
    assert_eq!(told(acme, &other.replace("1.3", "1.2"), &["tls.min_version"], &["tls.acme.domains"]).tls, {
        read(&acme.replace("1.3", "1.2")).tls
    });
    told(OPEN, OPEN, &[], &[]);
}

#[test]
fn keys_that_open_sessions_do_not_follow_are_told_apart() {
    let old = "[[websocket]]\npath = \"/a\"\n[[websocket]]\npath = \"/b\"\n";
    let new = "[socketio]\nmax_payload = \"2MB\"\nping_interval = \"9s\"\n[[websocket]]\npath = \"/a\"\nlimit_close = 4429\n\
               [[websocket]]\npath = \"/b\"\nexceeded = \"close\"\nevent_field = \"t\"\n";
    let changes = Changes::between(&read(old), &read(new));
    assert_eq!(changes.now.len(), 5, "{:?}", changes.now);
    let told: Vec<_> = changes.for_new_sessions().collect();
    assert_eq!(told, ["socketio.ping_interval", "socketio.max_payload", "websocket[1].event_field"]);
}

/// A key that is renamed would be told no longer.
#[test]
fn every_key_for_new_sessions_is_one_of_the_file() {
    let schema = schema::generate();
    for key in FOR_NEW_SESSIONS {
        let (table, key) = key.split_once('.').unwrap();
        let property = &schema.as_value()["properties"][table.trim_end_matches("[]")];
        let reference = property["$ref"].as_str().or_else(|| property["items"]["$ref"].as_str()).unwrap();
        let definition = schema.as_value().pointer(reference.trim_start_matches('#')).unwrap();
        assert!(definition["properties"][key].is_object(), "{table}.{key}");
    }
}

#[test]
fn files_that_are_read_at_the_start_alone_are_files_of_keys_that_wait_for_a_start() {
    let text = "[tls.acme]\ndomains = [\"a.test\"]\nroot_ca = \"/a\"\n[cluster]\nsecret = { file = \"/b\" }\n[admin]\ntoken = { file = \"/c\" }\n";
    let keys: Vec<_> = read(text).files().into_iter().map(|file| file.key).collect();
    let (waiting, others): (Vec<_>, Vec<_>) = keys.iter().map(String::as_str).partition(|key| is_read_at_start(key));
    assert_eq!((&waiting[..], &others[..]), (&READ_AT_START[..], &["admin.token"][..]));
    assert!(waiting.iter().all(|key| NEEDS_RESTART.iter().any(|kept| is_within(key, kept))));
}

#[test]
fn a_limit_is_shared_from_the_start_on_that_connects_redis() {
    let limit = "[[rate_limit]]\nscope = \"user\"\n";
    let shared = format!("{limit}shared = true\n");
    let redis = format!("{shared}[redis]\n");
    assert_eq!(told(limit, &redis, &[], &["redis", "rate_limit[0].shared"]), read(limit));
    assert_eq!(
        told(
            limit,
            &format!("{shared}{redis}"),
            &["rate_limit[1]"],
            &["redis", "rate_limit[0].shared", "rate_limit[1].shared",]
        ),
        read(&format!("{limit}{limit}"))
    );
    assert_eq!(told(&format!("{limit}[redis]\n"), &redis, &["rate_limit[0].shared"], &[]), read(&redis));
}

/// The keys of tables in which some wait for a start, that a reload puts into effect. All keys of the other tables are.
const APPLIED: &[(&str, &[&str])] = &[
    ("listen", &["trusted_proxies", "trust_headers", "client_script"]),
    (
        "tls",
        &[
            "certificate",
            "private_key",
            "passphrase",
            "certificates",
            "unknown_name",
            "min_version",
            "client_ca",
            "client_crl",
            "client_auth",
            "client_user",
            "forward_client",
        ],
    ),
    ("admin", &["token"]),
    ("upstream", &["*"]),
    ("origins", &["*"]),
    (
        "auth",
        &[
            "required",
            "secret",
            "allow_weak_secret",
            "public_key",
            "jwks_url",
            "algorithms",
            "issuer",
            "audience",
            "leeway",
            "token_from",
            "keep_query_token",
            "optional_namespaces",
            "users_per_connection",
            "user_claim",
            "forward_claims",
        ],
    ),
    ("socketio", &["*"]),
    ("websocket", &["*"]),
    ("rate_limit", &["*"]),
    ("session", &["*"]),
    ("quality", &["*"]),
    ("redis", &[]),
    ("cluster", &[]),
    ("room", &["*"]),
    ("mirror", &["*"]),
    (
        "limits",
        &[
            "connections",
            "connections_per_ip",
            "absent_per_ip",
            "handshakes_per_ip",
            "handshake_timeout",
            "idle_timeout",
            "header_bytes",
            "header_fields",
            "requests",
            "requests_per_ip",
            "send_buffer",
            "rooms_per_session",
            "rooms",
            "room_members",
            "session_memory",
            "memory",
            "lame_duck",
            "shutdown_grace",
        ],
    ),
    ("metrics", &[]),
    ("log", &["level"]),
];

/// A key that is new has to be put into one of the two lists: is it read once at the start, or from the rules in force?
#[test]
fn every_key_either_takes_effect_or_waits_for_a_start() {
    let schema = schema::generate();
    let schema = schema.as_value();
    let tables: BTreeSet<_> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(tables, APPLIED.iter().map(|(table, _)| *table).collect(), "the tables");
    for (table, applied) in APPLIED {
        let property = &schema["properties"][table];
        let inner =
            [&property["items"], &property["anyOf"][0], property].into_iter().find(|node| node["$ref"].is_string());
        let reference = inner.and_then(|node| node["$ref"].as_str()).unwrap();
        let definition = schema.pointer(reference.trim_start_matches('#')).unwrap();
        let keys: BTreeSet<_> = definition["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        if applied == &["*"] {
            assert!(!NEEDS_RESTART.iter().any(|key| is_within(key, table)), "{table}");
            continue;
        }
        let waiting: BTreeSet<_> = if NEEDS_RESTART.contains(table) {
            keys.clone()
        } else {
            NEEDS_RESTART.iter().filter_map(|key| key.strip_prefix(table)?.strip_prefix('.')).collect()
        };
        let told: BTreeSet<_> = applied.iter().copied().chain(waiting.iter().copied()).collect();
        assert_eq!(keys, told, "the keys of [{table}]: take effect on a reload, or wait for a start");
        assert_eq!(waiting.len() + applied.len(), told.len(), "[{table}] has a key in both lists");
    }
}
