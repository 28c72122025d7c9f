//! Mistakes as users make them: each is told with what to write instead.

use super::*;
use crate::config::schema;

#[test]
fn values_in_the_wrong_form_say_what_to_write() {
    for (text, message) in [
        (
            "[listen]\naddress = \"localhost:8443\"\n",
            "4: listen.address is \"localhost:8443\"; an address is IP:PORT, not a name, for example \"127.0.0.1:8443\"",
        ),
        (
            "[admin]\naddress = \":9464\"\n",
            "4: admin.address is \":9464\"; an address is IP:PORT, for example \"0.0.0.0:9464\"; 0.0.0.0 is every address",
        ),
        (
            "[listen]\naddress = 8443\n",
            "4: listen.address is 8443; it must be IP:PORT in quotes, for example \"0.0.0.0:8443\"",
        ),
        (
            "[origins]\nallow = [\"app.example\"]\n",
            "4: origins.allow[0] is \"app.example\"; an origin begins with its scheme: \"https://app.example\"",
        ),
        (
            "[origins]\nallow = [\"https://a.example/app\"]\n",
            "4: origins.allow[0] is \"https://a.example/app\"; an origin has no path: \"https://a.example\"",
        ),
        (
            "[origins]\nallow = [\"https://*.example\"]\n",
            "4: origins.allow[0] is \"https://*.example\"; a part of an origin cannot be \"*\"; list each origin, or \"*\" \
             alone for every page",
        ),
        ("[origins]\nallow = [\"Self\"]\n", "4: origins.allow[0] is \"Self\"; write \"self\", in small letters"),
        (
            "[origins]\nallow = \"https://a.example\"\n",
            "4: origins.allow is \"https://a.example\"; it must be a list: [\"https://a.example\"]",
        ),
        (
            "[[rate_limit]]\nper = 60\n",
            "4: rate_limit[0].per is 60; a duration needs a unit and quotes, for example \"60s\" (ms, s, m, h, d)",
        ),
        (
            "[session]\nhold = true\n",
            "4: session.hold is true; it must be a duration in quotes, for example \"60s\" (ms, s, m, h, d)",
        ),
        (
            "[session]\nresume = \"2 min\"\n",
            "4: session.resume is \"2 min\"; a duration is a whole number with its unit, without blanks, for example \"60s\" (ms, s, m, h, d)",
        ),
        (
            "[[rate_limit]]\nmessages = -1\n",
            "4: rate_limit[0].messages is -1; it must be a whole number from 1 to 1000000",
        ),
        (
            "[[rate_limit]]\nmessages = \"100\"\n",
            "4: rate_limit[0].messages is \"100\"; it must be a whole number from 1 to 1000000, without quotes: 100",
        ),
        ("[[rate_limit]]\nevents = \"*\"\n", "4: rate_limit[0].events is \"*\"; it must be a list: [\"*\"]"),
    ] {
        told(&format!("{OPEN}{text}"), message);
    }
}

#[test]
fn the_bounds_of_a_whole_number_are_those_of_its_check() {
    let schema: serde_json::Value = serde_json::from_str(&schema::schema()).unwrap();
    let tables = schema["properties"].as_object().unwrap().iter();
    let mut keys = 0;
    for (name, table) in tables {
        let is_list = table["items"].is_object();
        let table = [&table["items"]["$ref"], &table["anyOf"][0]["$ref"], &table["$ref"]];
        let table = table.into_iter().find_map(|of| of.as_str()).unwrap().strip_prefix('#').unwrap();
        let heading = match &**name {
            "websocket" => "[[websocket]]\npath = \"/ws\"\non_upstream_loss = \"hold\"\n".to_owned(),
            name if is_list => format!("[[{name}]]\n"),
            name => format!("[{name}]\n"),
        };
        for (key, bounds) in schema.pointer(table).unwrap()["properties"].as_object().unwrap() {
            let (least, most) = (bounds["minimum"].as_u64(), bounds["maximum"].as_u64());
            let outside = [least.and_then(|least| least.checked_sub(1)), most.map(|most| most + 1)];
            let inside = [least, most];
            for (value, is_refused) in
                outside.map(|value| (value, true)).into_iter().chain(inside.map(|value| (value, false)))
            {
                let Some(value) = value else { continue };
                let told = verified(&format!("{OPEN}{heading}{key} = {value}\n"), &[], Sources::default());
                let told = told.err().unwrap_or_default();
                assert_eq!(told.contains(&format!(".{key} is {value}")), is_refused, "{name}.{key} = {value}: {told}");
                keys += 1;
            }
        }
    }
    assert!(keys > 30, "{keys}");
}

#[test]
fn tables_and_keys_in_the_wrong_place_say_what_to_write() {
    for (text, message) in [
        (
            "[rate_limit]\nmessages = 5\n",
            "3: rate_limit is a table; it must be a list of tables: [[rate_limit]] in the file, or [{ … }] in a variable",
        ),
        (
            "[[listen]]\naddress = \"127.0.0.1:1\"\n",
            "3: listen is a list; write [listen], with one pair of brackets, and once",
        ),
        (
            "[limits]\nsession.hold = \"10s\"\n",
            "4: limits.session is not a key here; [session] is a table of its own, in a line before its keys",
        ),
        (
            "[log]\nroom = \"a\"\n",
            "4: log.room is not a key here; [[room]] is a table of its own, in a line before its keys",
        ),
        ("[upstream]\nulr = \"http://a:1\"\n", "4: upstream.ulr is not a key here; did you mean \"url\"?"),
        ("[websockets]\npath = \"/ws\"\n", "3: websockets is not a key here; did you mean [[websocket]]?"),
        (
            "[limits]\nmax_payload = \"1MB\"\n",
            "4: limits.max_payload is not a key here, but of [socketio]; write it there",
        ),
        (
            "[log]\naddress = \"127.0.0.1:1\"\n",
            "4: log.address is not a key here, but of [listen] and [admin]; write it there",
        ),
        (
            "[admin]\ntoken = \"abc\"\n",
            "4: admin.token is a secret, which is not written here because configurations are copied and shown; name where \
             it is: { env = \"NAME\" } or { file = \"PATH\" }",
        ),
        (
            "[upstream]\nurl = \"127.0.0.1:4003\"\n",
            "4: upstream.url is \"127.0.0.1:4003\"; the service needs its scheme: \"http://127.0.0.1:4003\"",
        ),
        (
            "[upstream]\nurl = \"wss://a:1\"\n",
            "4: upstream.url is \"wss://a:1\"; the service is reached by HTTP, which becomes a WebSocket: \"https://a:1\"",
        ),
    ] {
        told(&format!("{OPEN}{text}"), message);
    }
}

#[test]
fn a_secret_that_is_written_out_is_told_of_without_what_follows_from_it() {
    let told = verified("[auth]\nsecret = { value = \"in the clear\" }\n", &[], Sources::default()).unwrap_err();
    assert_eq!(told, "tidegate.toml:2: auth.secret.value is not a key here; the keys are env, file");
}

#[test]
fn both_files_of_a_pair_are_told_of() {
    let pair = "certificate = \"/nowhere/tls.crt\"\nprivate_key = \"/nowhere/tls.key\"\n";
    for heading in ["[tls]", "[tls]\ncertificate = \"/nowhere/tls.crt\"\n[[tls.certificates]]"] {
        let told = verified(&format!("{OPEN}{heading}\n{pair}"), &[], Sources::default()).unwrap_err();
        for (at, key) in ["certificate", "private_key"].into_iter().enumerate() {
            let line = 2 + heading.lines().count() + at + 1;
            let begin = format!("tidegate.toml:{line}: tls.");
            let is_it = |told: &str| told.starts_with(&begin) && told.contains(&format!(".{key}: /nowhere/"));
            assert!(told.lines().any(is_it), "{begin} {key}: {told}");
        }
    }
}

#[test]
fn a_secret_at_a_relative_path_is_told_of_with_the_folder_around_it() {
    let told = verified("[auth]\nsecret = { file = \"nowhere/secret\" }\n", &[], Sources::default()).unwrap_err();
    let folder = std::env::current_dir().unwrap();
    let end = format!("a relative path begins at the working directory, {}: write the whole path", folder.display());
    assert!(told.starts_with("tidegate.toml:2: auth.secret: ") && told.ends_with(&end), "{told}");
}

#[test]
fn a_token_of_operators_that_can_be_guessed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let text = format!("{OPEN}[admin]\ntoken = {{ file = {path:?} }}\n");
    fs::write(&path, "a".repeat(15)).unwrap();
    told(
        &text,
        "4: admin.token has 15 bytes, and can be guessed; make one of at least 16, for example with \"openssl rand -base64 48\"",
    );
    fs::write(&path, "a".repeat(16)).unwrap();
    assert_eq!(verified(&text, &[], Sources::default()), Ok(()));
}

#[test]
fn a_file_without_a_key_says_what_to_add_and_where() {
    for text in ["", "[listen]\naddress = \"127.0.0.1:1\"\n", "[auth]\n"] {
        let error = verified(text, &[], Sources::default()).unwrap_err();
        let place = if text.contains("auth") { "tidegate.toml:1: " } else { "tidegate.toml: " };
        let told = "auth.required is true, but there is no key that verifies tokens; below [auth] write secret = ";
        assert!(error.starts_with(&format!("{place}{told}")), "{error}");
    }
}

#[test]
fn the_content_of_a_key_in_place_of_its_path_is_not_shown() {
    for table in [
        "[auth]\npublic_key",
        "[auth]\nrequired = false\n[tls]\nprivate_key = \"x\"\ncertificate",
        "[auth]\nrequired = false\n[upstream]\nurl = \"https://a\"\n[upstream.tls]\nca",
    ] {
        let text = format!("{table} = \"-----BEGIN CONTENT\"\n");
        let error = verified(&text, &[], Sources::default()).unwrap_err();
        assert!(error.contains("write it to a file, and name that file") && !error.contains("CONTENT"), "{error}");
    }
}

#[test]
fn what_cannot_be_read_does_not_hide_what_else_is_wrong() {
    let text = "[auth]\nsecrett = { env = \"A\" }\nleeway = \"2m\"\nalgorithms = [\"HS256\", \"none\", \"nope\"]\n\
                [listen]\naddress = 5\n[limits]\nconnections = \"x\"\nrequests = 0\n\
                [[rate_limit]]\nper = 60\n[[rate_limit]]\nmessages = 0\nper = \"2d\"\n\
                [[websocket]]\npath = 5\n[[websocket]]\npath = \"/ws\"\nexpired_close = 1\nlimit_close = 2\n\
                [tls]\ncertificate = true\n[origins]\nallow = [\"a/\", \"https://b/\"]\n";
    let error = verified(text, &[("TIDEGATE__METRICS__EVENT_NAMES", "401")], Sources::default()).unwrap_err();
    let places: Vec<_> = error.lines().map(|line| line.split_once(" is ").unwrap().0).collect();
    assert_eq!(
        places,
        [
            "tidegate.toml:2: auth.secrett",
            "tidegate.toml:3: auth.leeway",
            "tidegate.toml:4: auth.algorithms[1]",
            "tidegate.toml:4: auth.algorithms[2]",
            "tidegate.toml:6: listen.address",
            "tidegate.toml:8: limits.connections",
            "tidegate.toml:9: limits.requests",
            "tidegate.toml:11: rate_limit[0].per",
            "tidegate.toml:13: rate_limit[1].messages",
            "tidegate.toml:14: rate_limit[1].per",
            "tidegate.toml:16: websocket[0].path",
            "tidegate.toml:19: websocket[1].expired_close",
            "tidegate.toml:20: websocket[1].limit_close",
            "tidegate.toml:22: tls.certificate",
            "tidegate.toml:24: origins.allow[0]",
            "tidegate.toml:24: origins.allow[1]",
            "environment variable TIDEGATE__METRICS__EVENT_NAMES: metrics.event_names",
        ],
        "{error}"
    );
}
