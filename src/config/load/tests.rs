//! Errors are for their reader: the texts are the product, so they are the tests.

use super::*;
use crate::units::{ByteSize, Period};

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn loaded(text: &str, pairs: &[(&str, &str)]) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tidegate.toml");
    fs::write(&path, text).unwrap();
    let prefix = format!("{}/", directory.path().display());
    load_from(Some(&path), variables(pairs)).map_err(|error| error.to_string().replace(&prefix, ""))
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
    let mut config = config;
    Overrides { listen: Some("127.0.0.1:1".parse().unwrap()), upstream: None }.apply(&mut config);
    assert_eq!(config.listen.address.port(), 1);
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
            "tidegate.toml:2: limits.header_bytes is \"16000\"; a size needs a unit, for example \"16KB\" (B, KB, MB, GB, KiB, MiB, GiB)",
        ),
        (
            "[listen]\nadress = \"0.0.0.0:1\"\n",
            "tidegate.toml:2: listen.adress is not a key here; did you mean \"address\"?",
        ),
        ("[lisen]\n", "tidegate.toml:1: lisen is not a key here; did you mean \"listen\"?"),
        (
            "[auth]\nrequired = \"yes\"\n",
            "tidegate.toml:2: auth.required: invalid type: string \"yes\", expected a boolean",
        ),
        ("[listen]\naddress = \"nowhere\"\n", "tidegate.toml:2: listen.address: invalid socket address syntax"),
        (
            "[auth]\nsecret = \"in the clear\"\n",
            "tidegate.toml:2: auth.secret: unknown variant `in the clear`, expected `env` or `file`",
        ),
    ] {
        assert_eq!(loaded(text, &[]).unwrap_err(), told);
    }
    let broken = loaded("[listen\n", &[]).unwrap_err();
    assert!(broken.starts_with("tidegate.toml:1: "), "{broken}");
}

#[test]
fn a_combination_that_cannot_be_meant_is_told_with_its_line() {
    for (text, told) in [
        (
            "[auth]\nrequired = true\n".to_owned(),
            "tidegate.toml:2: auth.required is true, but there is no key; give one of auth.secret, auth.public_key and \
             auth.jwks_url, or set auth.required = false to let everybody in",
        ),
        (
            format!("{KEY}jwks_url = \"https://a/\"\n"),
            "tidegate.toml:3: auth.jwks_url is given beside auth.secret; give one of them",
        ),
        (
            format!("{KEY}[upstream]\nurl = \"https://a\"\n"),
            "tidegate.toml:4: upstream.url is \"https://a\"; a service behind TLS is not supported; it must be \
             http://HOST:PORT, for example \"http://127.0.0.1:4003\"",
        ),
        (
            format!("{KEY}[[websocket]]\npath = \"/ws\"\n[[websocket]]\npath = \"/socket.io/x\"\n"),
            "tidegate.toml:6: websocket[1].path is \"/socket.io/x\", which socketio.path \"/socket.io/\" takes",
        ),
        (
            format!("{KEY}[origins]\nallow = [\"https://a.example/\"]\n"),
            "tidegate.toml:4: origins.allow[0] is \"https://a.example/\"; an origin is scheme://host[:port], for \
             example \"https://app.example.com\"",
        ),
    ] {
        assert_eq!(loaded(&text, &[]).unwrap_err(), told);
    }
}

#[test]
fn a_mistake_in_the_environment_names_the_variable() {
    assert_eq!(
        loaded(KEY, &[("TIDEGATE__LIMITS__HEADER_BYTE", "1KB")]).unwrap_err(),
        "environment variable TIDEGATE__LIMITS__HEADER_BYTE: limits.header_byte is not a key here; did you mean \
         \"header_bytes\"?"
    );
    assert_eq!(
        loaded(KEY, &[("TIDEGATE__LIMITS__HANDSHAKE_TIMEOUT", "10")]).unwrap_err(),
        "environment variable TIDEGATE__LIMITS__HANDSHAKE_TIMEOUT: limits.handshake_timeout is \"10\"; a duration \
         needs a unit, for example \"60s\" (ms, s, m, h, d)"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load_from(Some(Path::new("/nowhere/tidegate.toml")), Vec::new()).unwrap_err();
    assert_eq!(error.to_string(), "/nowhere/tidegate.toml: cannot be read: No such file or directory (os error 2)");
}
