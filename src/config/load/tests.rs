//! Errors are for their reader: the texts are the product, so they are the tests.

use std::{fs, path::Path};

use super::*;
use crate::units::{ByteSize, Period, SecretSource};

fn variables(pairs: &[(&str, &str)]) -> impl Iterator<Item = (OsString, OsString)> {
    pairs.iter().map(|(key, value)| (key.into(), value.into()))
}

fn loaded(text: &str, pairs: &[(&str, &str)]) -> Result<Config, String> {
    overridden(text, pairs, Sources::default())
}

/// The lines of an error.
fn mistakes(text: &str, pairs: &[(&str, &str)]) -> Vec<String> {
    loaded(text, pairs).unwrap_err().lines().map(str::to_owned).collect()
}

fn overridden(text: &str, pairs: &[(&str, &str)], sources: Sources) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tidegate.toml");
    fs::write(&path, text).unwrap();
    let prefix = format!("{}/", directory.path().display());
    let loaded = Sources { file: Some(path), ..sources }.load_with(variables(pairs), |_| Ok(()));
    loaded.map(|loaded| loaded.config).map_err(|error| error.to_string().replace(&prefix, ""))
}

const KEY: &str = "[auth]\nsecret = { env = \"NEXTAUTH_SECRET\" }\n";

#[test]
fn later_sources_win() {
    let text = format!("{KEY}[limits]\nhandshake_timeout = \"3s\"\nheader_bytes = \"8KB\"\n");
    let config = loaded(&text, &[("TIDEGATE__LIMITS__HEADER_BYTES", "32KB"), ("TIDEGATE_PORT", "tcp://10.0.0.1:80")]);
    let config = config.unwrap();
    assert_eq!(config.limits.handshake_timeout, Period::from_secs(3));
    assert_eq!(config.limits.header_bytes, ByteSize(32_000));
    assert_eq!(config.limits.connections, Config::default().limits.connections);
    let options = Sources {
        listen: Some("127.0.0.1:1".parse().unwrap()),
        upstream: Some("http://b".to_owned()),
        ..Sources::default()
    };
    let config = overridden(&text, &[("TIDEGATE__LISTEN__ADDRESS", "127.0.0.1:2")], options).unwrap();
    assert_eq!((config.listen.address.port(), &*config.upstream.url), (1, "http://b"));
}

#[test]
fn the_environment_speaks_toml_or_plain_text() {
    let config = loaded(
        KEY,
        &[
            ("TIDEGATE__LISTEN__ADDRESS", "127.0.0.1:9"),
            ("TIDEGATE__LIMITS__CONNECTIONS", "7"),
            ("TIDEGATE__AUTH__REQUIRED", "false"),
            ("TIDEGATE__ORIGINS__ALLOW", "[\"https://a.example\"]"),
        ],
    );
    let config = config.unwrap();
    assert_eq!(config.listen.address.port(), 9);
    assert_eq!(config.limits.connections, 7);
    assert!(!config.auth.required);
    assert_eq!(config.origins.allow, ["https://a.example"]);
}

#[test]
fn a_rule_that_is_written_replaces_the_default_and_fills_what_it_leaves_out() {
    let config = loaded(&format!("{KEY}[[rate_limit]]\nmessages = 5\n"), &[]).unwrap();
    assert_eq!(config.rate_limit.len(), 1);
    assert_eq!(config.rate_limit[0].messages, 5);
    assert_eq!(config.rate_limit[0].per, Period::from_secs(60));
    assert!(loaded(&format!("rate_limit = []\n{KEY}"), &[]).unwrap().rate_limit.is_empty());
}

#[test]
fn a_mistake_in_the_file_is_told_with_its_line() {
    for (text, told) in [
        (
            "\n[[rate_limit]]\nper = \"60\"\n",
            "tidegate.toml:3: rate_limit[0].per is \"60\"; a duration needs a unit, for example \"60s\" (ms, s, m, h, d)",
        ),
        (
            "[limits]\nheader_bytes = 16000\n",
            "tidegate.toml:2: limits.header_bytes is 16000; a size needs a unit and quotes, for example \"16KB\" (B, KB, MB, GB, KiB, MiB, GiB)",
        ),
        (
            "[listen]\nadress = \"0.0.0.0:1\"\n",
            "tidegate.toml:2: listen.adress is not a key here; did you mean \"address\"?",
        ),
        ("[lisen]\n", "tidegate.toml:1: lisen is not a key here; did you mean \"listen\"?"),
        ("[auth]\nrequired = \"yes\"\n", "tidegate.toml:2: auth.required is \"yes\"; it must be true or false"),
        (
            "[listen]\naddress = \"nowhere\"\n",
            "tidegate.toml:2: listen.address is \"nowhere\"; an address is IP:PORT, not a name, for example \"127.0.0.1:8443\"",
        ),
        (
            "[auth]\nsecret = \"in the clear\"\n",
            "tidegate.toml:2: auth.secret is a secret, which is not written here because configurations are copied and shown; name where it is: { env = \"NAME\" } or { file = \"PATH\" }",
        ),
        (
            "[admin]\ntoken = 12345678\n",
            "tidegate.toml:2: admin.token is a secret, which is not written here because configurations are copied and shown; name where it is: { env = \"NAME\" } or { file = \"PATH\" }",
        ),
        (
            "[auth]\nsecret = { env = \"A\", file = \"B\" }\n",
            "tidegate.toml:2: auth.secret has env and file; keep one of them",
        ),
        (
            "[auth]\nsecret = { envv = \"A\" }\n",
            "tidegate.toml:2: auth.secret.envv is not a key here; did you mean \"env\"?",
        ),
        (
            "[auth.secret]\n\nvalue = \"in the clear\"\n",
            "tidegate.toml:3: auth.secret.value is not a key here; the keys are env, file",
        ),
        ("[auth]\nsecret = {}\n", "tidegate.toml:2: auth.secret needs env = \"NAME\" or file = \"PATH\""),
        (
            "[listen]\ntrusted_proxies = [\"::1/128\", \"lan\"]\n",
            "tidegate.toml:2: listen.trusted_proxies[1] is \"lan\"; a network is written \"10.0.0.0/8\"",
        ),
        (
            "[[rate_limit]]\nmessages = -1\n",
            "tidegate.toml:2: rate_limit[0].messages is -1; it must be a whole number from 1 to 1000000",
        ),
        (
            "[[rate_limit]]\n\nscope = \"room\"\n",
            "tidegate.toml:3: rate_limit[0].scope is \"room\"; it must be one of \"connection\", \"user\", \"ip\"",
        ),
        (
            "[rate_limit]\n",
            "tidegate.toml:1: rate_limit is a table; it must be a list of tables: [[rate_limit]] in the file, or [{ … }] in a variable",
        ),
        ("log = 5\n", "tidegate.toml:1: log is 5; it must be a table"),
        ("[[websocket]]\n", "tidegate.toml:1: websocket[0] needs \"path\""),
    ] {
        assert_eq!(loaded(text, &[]).unwrap_err(), told);
    }
    let broken = loaded("[listen\n", &[]).unwrap_err();
    assert!(broken.starts_with("tidegate.toml:1: "), "{broken}");
}

#[test]
fn a_mistake_in_the_environment_names_the_variable() {
    let file = format!("{KEY}[limits]\nheader_bytes = \"16KB\"\n");
    for (variable, text, told) in [
        ("LIMITS__HEADER_BYTE", "1KB", "limits.header_byte is not a key here; did you mean \"header_bytes\"?"),
        ("LIMIT__HEADER_BYTES", "1KB", "limit is not a key here; did you mean \"limits\"?"),
        (
            "LIMITS__HANDSHAKE_TIMEOUT",
            "10",
            "limits.handshake_timeout is \"10\"; a duration needs a unit, for example \"60s\" (ms, s, m, h, d)",
        ),
        (
            "LIMITS__HEADER_BYTES",
            "1",
            "limits.header_bytes is \"1\"; a size needs a unit, for example \"16KB\" (B, KB, MB, GB, KiB, MiB, GiB)",
        ),
        ("AUTH__REQUIRED", "yes", "auth.required is \"yes\"; it must be true or false"),
        ("LISTEN", "{ workers = \"two\" }", "listen.workers is \"two\"; it must be a whole number, 0 or more"),
        ("LISTEN", "0.0.0.0:1", "listen is \"0.0.0.0:1\"; it must be a table"),
        ("LIMITS__CONNECTIONS", "-1", "limits.connections is -1; it must be a whole number from 1 to 4294967295"),
        (
            "LISTEN__ADDRESS",
            "here",
            "listen.address is \"here\"; an address is IP:PORT, not a name, for example \"127.0.0.1:8443\"",
        ),
        ("AUTH__ALGORITHMS", "HS256", "auth.algorithms is \"HS256\"; it must be a list: [\"HS256\"]"),
        (
            "RATE_LIMIT",
            "[{ per = \"60\" }]",
            "rate_limit[0].per is \"60\"; a duration needs a unit, for example \"60s\" (ms, s, m, h, d)",
        ),
        (
            "RATE_LIMIT__0__PER",
            "60s",
            "rate_limit is a table; it must be a list of tables: [[rate_limit]] in the file, or [{ … }] in a variable",
        ),
        ("AUTH__SECRET__FILES", "A", "auth.secret.files is not a key here; did you mean \"file\"?"),
        (
            "AUTH__SECRET",
            "in the clear",
            "auth.secret is a secret, which is not written here because configurations are copied and shown; name where it is: { env = \"NAME\" } or { file = \"PATH\" }",
        ),
    ] {
        let variable = format!("TIDEGATE__{variable}");
        assert_eq!(
            loaded(&file, &[(&variable, text)]).unwrap_err(),
            format!("environment variable {variable}: {told}")
        );
    }
}

#[test]
fn a_layer_is_laid_over_tables_key_by_key_and_over_lists_as_a_whole() {
    let text =
        format!("{KEY}issuer = \"a\"\n[auth.forward_claims]\nx-user = \"sub\"\n[[rate_limit]]\n[[rate_limit]]\n");
    let set = [
        ("TIDEGATE__AUTH", "{ audience = \"b\", forward_claims = { x-role = \"role\" } }"),
        ("TIDEGATE__RATE_LIMIT", "[]"),
    ];
    let config = loaded(&text, &set).unwrap();
    assert_eq!((config.auth.issuer.as_deref(), config.auth.audience.as_deref()), (Some("a"), Some("b")));
    assert_eq!(config.auth.forward_claims.len(), 2);
    let header = ("TIDEGATE__AUTH__FORWARD_CLAIMS__FILE", "sub");
    assert_eq!(loaded(KEY, &[header]).unwrap().auth.forward_claims["file"], "sub");
    assert!(config.rate_limit.is_empty());
}

#[test]
fn two_variables_that_set_the_same_are_refused() {
    for (set, key, told, other) in [
        (["LISTEN__WORKERS", "LISTEN"], "listen.workers", "LISTEN__WORKERS", "LISTEN"),
        (["LOG__LEVEL", "LOG__level"], "log.level", "LOG__level", "LOG__LEVEL"),
        (["AUTH__SECRET__ENV", "AUTH__SECRET__FILE"], "auth.secret", "AUTH__SECRET__FILE", "AUTH__SECRET__ENV"),
        (["AUTH__SECRET", "AUTH__SECRET__FILE"], "auth.secret", "AUTH__SECRET__FILE", "AUTH__SECRET"),
    ] {
        let set = set.map(|name| format!("TIDEGATE__{name}"));
        let set: Vec<_> = set.iter().map(|name| (&**name, "{}")).collect();
        let told =
            format!("environment variable TIDEGATE__{told}: {key} is set by TIDEGATE__{other} too; keep one of them");
        assert_eq!(mistakes(KEY, &set).last(), Some(&told));
    }
}

#[test]
fn a_variable_is_text_to_a_key_that_wants_text() {
    for text in ["12345", "true", "2026-11-23", " padded ", "\"quoted\"", "[list]", "1\nsecret = 2", "{curly}"] {
        let config = loaded(KEY, &[("TIDEGATE__AUTH__ISSUER", text)]).unwrap();
        assert_eq!(config.auth.issuer.as_deref(), Some(text));
    }
}

#[test]
fn a_source_of_a_secret_takes_the_place_of_the_other_one() {
    let from_file = Some(SecretSource::File("/run/secret".into()));
    for variable in [
        ("TIDEGATE__AUTH__SECRET__FILE", "/run/secret"),
        ("TIDEGATE__AUTH__SECRET", "{file='/run/secret'}"),
        ("TIDEGATE__AUTH", "{secret={file='/run/secret'}}"),
    ] {
        assert_eq!(loaded(KEY, &[variable]).unwrap().auth.secret, from_file);
    }
}

#[test]
fn a_variable_of_the_prefix_that_is_not_utf8_is_refused_and_others_are_nothing_to_us() {
    use std::os::unix::ffi::OsStringExt as _;
    let load = |name: &str| {
        let variable = (OsString::from(name), OsString::from_vec(b"\xff".to_vec()));
        Sources::default().load_with([variable], |_| Ok(()))
    };
    assert!(load("TIDEGATE_AUTH").is_ok());
    let told = "environment variable TIDEGATE__AUTH__ISSUER: auth.issuer is not UTF-8; write it in UTF-8";
    assert_eq!(load("TIDEGATE__AUTH__ISSUER").unwrap_err().to_string(), told);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let sources = Sources { file: Some(Path::new("/nowhere/tidegate.toml").to_owned()), ..Sources::default() };
    let error = sources.load_with([], |_| Ok(())).unwrap_err();
    let told =
        "/nowhere/tidegate.toml: cannot be read: No such file or directory (os error 2); name a file that is there";
    assert_eq!(error.to_string(), told);
}

#[test]
fn every_value_that_cannot_be_read_is_told_in_one_reading() {
    let text = "[listen]\nadress = \"x\"\nworkrs = 3\ntrusted_proxies = [\"lan\", \"10.0.0.0/8\", 5, \"10.0.0.1\"]\n\
                [limits]\nconnections = \"7\"\nidle_timeout = 5\n\
                [[websocket]]\npaht = \"/a\"\n[[websocket]]\npath = \"/b\"\n[[websocket]]\nreplay_first = true\n\
                [auth]\nsecret = { envv = \"A\", fil = \"B\" }\n";
    let variables = [("TIDEGATE__LOG__LEVEL", "loud"), ("TIDEGATE__LOG", "{}"), ("TIDEGATE__ADMIN__TOKENS", "x")];
    assert_eq!(
        mistakes(text, &variables),
        [
            "tidegate.toml:2: listen.adress is not a key here; did you mean \"address\"?",
            "tidegate.toml:3: listen.workrs is not a key here; did you mean \"workers\"?",
            "tidegate.toml:4: listen.trusted_proxies[0] is \"lan\"; a network is written \"10.0.0.0/8\"",
            "tidegate.toml:4: listen.trusted_proxies[2] is 5; it must be a network in quotes, for example \"10.0.0.0/8\"",
            "tidegate.toml:4: listen.trusted_proxies[3] is \"10.0.0.1\"; a network is written \"10.0.0.1/32\"",
            "tidegate.toml:6: limits.connections is \"7\"; it must be a whole number from 1 to 4294967295, without quotes: 7",
            "tidegate.toml:7: limits.idle_timeout is 5; a duration needs a unit and quotes, for example \"60s\" (ms, s, m, h, d)",
            "tidegate.toml:9: websocket[0].paht is not a key here; did you mean \"path\"?",
            "tidegate.toml:12: websocket[2] needs \"path\"",
            "tidegate.toml:13: websocket[2].replay_first is true; it must be a whole number from 0 to 8",
            "tidegate.toml:15: auth.secret.envv is not a key here; did you mean \"env\"?",
            "tidegate.toml:15: auth.secret.fil is not a key here; did you mean \"file\"?",
            "environment variable TIDEGATE__ADMIN__TOKENS: admin.tokens is not a key here; did you mean \"token\"?",
            "environment variable TIDEGATE__LOG__LEVEL: log.level is set by TIDEGATE__LOG too; keep one of them",
        ]
    );
}

#[test]
fn a_file_without_end_of_mistakes_is_told_in_part() {
    let text: String = (0..300).map(|at| format!("unknown_{at} = 1\n")).collect();
    assert_eq!(mistakes(&text, &[]).len(), 100);
}

#[test]
fn what_is_no_toml_is_told_in_plain_words() {
    for (line, told) in [
        ("level = \"info", "level: the quote \" is not closed; write another one at the end of the text"),
        ("level = 'info", "level: the quote ' is not closed; write another one at the end of the text"),
        ("level = info", "text needs quotes: level = \"info\""),
        ("level = debug # more", "text needs quotes: level = \"debug\""),
        ("level = 127.0.0.1:80", "text needs quotes: level = \"127.0.0.1:80\""),
        ("level = 60s", "text needs quotes: level = \"60s\""),
        ("level =", "level has no value; write one behind the =, or remove the line"),
        ("level = “info”", "level: text stands between straight quotes, \"…\", not typographic ones"),
        (
            "level = \"info\";",
            "level: something stands behind the value in the same line; remove it, or put # before it",
        ),
        ("level \"info\"", "there is no = behind the key: level = \"info\""),
        ("level: \"info\"", "between a key and its value stands =, not a colon: level = \"info\""),
        ("level: 5", "between a key and its value stands =, not a colon: level = 5"),
        ("log:", "a table is written [log]"),
        ("level = True", "level: write true, in small letters"),
        ("level = yes", "level: write true in its place"),
        ("level = off", "level: write false in its place"),
        (
            "file = \"C:\\certs\\tls.crt\"",
            "file: within \"…\" a backslash begins an escape; write the text between '…' instead, or two backslashes for each",
        ),
        ("a = 1\nlevel = 2\nlevel = 3", "the key \"level\" is written twice in one table; keep one of them"),
        (
            "a = 1\n\n[auth]",
            "the table [auth] is written twice (the first is in line 1); put the keys of both below one of them",
        ),
        (
            "level = [\"a\" \"b\"]",
            "level: the list is not whole; write a comma between its values, and ] behind the last one",
        ),
        (
            "a = 1\nlevel = [\"a\"\n[log]",
            "the list that begins above is not whole; write a comma between its values, and ] behind the last one",
        ),
        (
            "secret = {\nenv = \"A\" }",
            "secret: the table is not whole; write it in one line, with a comma between its keys: { KEY = VALUE, KEY = VALUE }",
        ),
        (
            "[log",
            "the name of a table stands between brackets, alone in its line: [TABLE], or [[TABLE]] for one of several",
        ),
        ("// a comment", "a comment begins with #"),
        ("level = 99999999999999999999", "level: the number is too large"),
        (
            "{ \"log\": 1 }",
            "this is not TOML; write tables as [TABLE], and below it KEY = VALUE, each in a line of its own",
        ),
    ] {
        let stop = 2 + line.matches('\n').count() - usize::from(line.starts_with("secret"));
        assert_eq!(loaded(&format!("[auth]\n{line}\n"), &[]).unwrap_err(), format!("tidegate.toml:{stop}: {told}"));
    }
}

#[test]
fn what_may_be_a_secret_is_not_shown_where_a_line_is_no_toml() {
    for secret in [
        "secret = hunter2",
        "token = 5hunter2",
        "secret: hunter2",
        "secret hunter2",
        "secret = 'hunter2",
        "url_from = hunter2",
        "url = redis://ada:hunter2@redis",
        "url = redis://ada:hunter2#@redis",
        "url: redis://ada:hunter2@redis",
        "url redis://ada:hunter2@redis",
        "redis://ada:hunter2@redis",
        "redis://ada:hunter2@redis?timeout=5s",
    ] {
        let told = loaded(&format!("[auth]\n{secret}\n"), &[]).unwrap_err();
        assert!(told.starts_with("tidegate.toml:2: ") && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told_with_a_fix() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tidegate.toml");
    let told = |path: &Path| {
        let sources = Sources { file: Some(path.to_owned()), ..Sources::default() };
        let error = sources.load_with([], |_| Ok(())).unwrap_err();
        error.to_string().replace(&directory.path().display().to_string(), "DIR")
    };
    assert_eq!(told(directory.path()), "DIR: is a directory; name the file in it, for example DIR/tidegate.toml");
    fs::write(&path, b"[log]\nlevel = \"info\" # caf\xe9\n").unwrap();
    let not_utf8 = "DIR/tidegate.toml:2: this line is not UTF-8; save the file in UTF-8, without other characters";
    assert_eq!(told(&path), not_utf8);
    let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    assert_eq!(
        file::unreadable(&path, &denied),
        "cannot be read: permission denied; give the user that runs Tidegate read access"
    );
    fs::write(&path, b"\xef\xbb\xbf[log]\nlevel = \"debug\"\n").unwrap();
    let sources = Sources { file: Some(path), ..Sources::default() };
    assert!(sources.load_with([], |_| Ok(())).is_ok(), "a byte order mark is no mistake");
}
