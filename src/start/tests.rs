//! What is wrong with a configuration that reads well, each with its place: the texts are the product.

use std::{ffi::OsString, fs};

use super::*;

mod mistakes;

/// With nothing else wrong.
const OPEN: &str = "[auth]\nrequired = false\n";

fn verified(text: &str, variables: &[(&str, &str)], sources: Sources) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tidegate.toml");
    fs::write(&path, text).unwrap();
    let prefix = format!("{}/", directory.path().display());
    let variables = variables.iter().map(|(key, value)| (OsString::from(key), OsString::from(value)));
    let loaded = Sources { file: Some(path), ..sources }.load_with(variables, verify);
    loaded.and_then(|loaded| verify(&loaded)).map_err(|error| error.to_string().replace(&prefix, ""))
}

#[track_caller]
fn told(text: &str, message: &str) {
    assert_eq!(verified(text, &[], Sources::default()).unwrap_err(), format!("tidegate.toml:{message}"));
}

#[test]
fn keys_and_claims_are_told_with_their_line() {
    for (text, message) in [
        (
            "[auth]\nrequired = true\n",
            "2: auth.required is true, but there is no key that verifies tokens; below [auth] write secret = { env = \"NAME\" }, \
             public_key = \"FILE\" or jwks_url = \"URL\", or write required = false to accept every client",
        ),
        (
            "[auth]\nsecret = { env = \"A\" }\njwks_url = \"https://a/\"\n",
            "3: auth.jwks_url is given together with auth.secret; give one of them",
        ),
        (
            "[auth]\nsecret = { env = \"TIDEGATE_NOT_THERE\" }\n",
            "2: auth.secret: the environment variable TIDEGATE_NOT_THERE is not set; set it to the secret",
        ),
        (
            "[auth]\npublic_key = \"/nowhere/key.pem\"\nalgorithms = [\"RS256\"]\n",
            "2: auth.public_key: /nowhere/key.pem cannot be read: No such file or directory (os error 2)",
        ),
        (
            "[auth]\njwks_url = \"http://issuer.test/\"\nalgorithms = [\"RS256\"]\n",
            "2: auth.jwks_url is \"http://issuer.test/\"; it must be https://, or http:// on loopback, with a host",
        ),
        (
            "[auth]\nrequired = false\nalgorithms = [\"HS256\", \"none\"]\n",
            "3: auth.algorithms[1] is \"none\"; it must be one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, \
             PS512, ES256, ES384, EdDSA",
        ),
        (
            "[auth]\nrequired = false\n[limits]\nlame_duck = \"6m\"\n",
            "4: limits.lame_duck is \"6m\"; it must be at most 5m",
        ),
        ("[auth]\nrequired = false\nleeway = \"2m\"\n", "3: auth.leeway is \"2m\"; it must be at most 60s"),
        (
            "[auth]\nrequired = false\ntoken_from = [\"header\", \"body\"]\n",
            "3: auth.token_from[1] is \"body\"; write \"connect:FIELD\", \"header\", \"query:NAME\", \"cookie:NAME\" or \
             \"subprotocol\", names of letters, digits, '_', '-' and '.'",
        ),
        (
            "[auth]\nrequired = false\n[auth.forward_claims]\nX-User = \"sub\"\nx-user = \"email\"\n",
            "5: auth.forward_claims.x-user is repeated: upper and lower case are the same in header names; keep one of them",
        ),
        (
            "[auth]\nrequired = false\nforward_claims = { x_user = \"sub\" }\n",
            "3: auth.forward_claims.x_user is not a header name; use letters, digits and hyphens, for example x-user-id",
        ),
    ] {
        told(text, message);
    }
}

#[test]
fn addresses_and_paths_are_told_with_their_line() {
    for (text, message) in [
        (
            "[upstream]\nurl = \"ftp://a\"\n",
            "4: upstream.url is \"ftp://a\"; it must be http://HOST:PORT or https://HOST:PORT, for example \
             \"http://127.0.0.1:4003\"",
        ),
        (
            "[upstream]\nurl = \"http://a:99999\"\n",
            "4: upstream.url is \"http://a:99999\"; its port must be a number from 1 to 65535, for example \
             \"http://127.0.0.1:4003\"",
        ),
        (
            "[upstream]\nurl = \"http://ada:password@a\"\n",
            "4: upstream.url has a user name in it, which is never sent; it must be http://HOST:PORT, for \
             example \"http://127.0.0.1:4003\"",
        ),
        ("[upstream]\nresponse_timeout = \"0s\"\n", "4: upstream.response_timeout is \"0s\"; it must be longer"),
        (
            "[upstream]\n[upstream.tls]\n",
            "3: upstream.url does not begin with https://, but upstream.tls is given; change one of them",
        ),
        (
            "[admin]\naddress = \"127.0.0.1:1\"\n[listen]\naddress = \"127.0.0.1:1\"\n",
            "4: admin.address is 127.0.0.1:1, as listen.address; give the operator another port",
        ),
        (
            "[admin]\ntoken = { file = \"/nowhere/token\" }\n",
            "4: admin.token: the secret file /nowhere/token cannot be read: No such file or directory (os error 2); write the \
             secret to it, or name another file",
        ),
        (
            "[origins]\nallow = [\"https://a.example/\"]\n",
            "4: origins.allow[0] is \"https://a.example/\"; leave the slash at its end away: \"https://a.example\"",
        ),
        (
            "[socketio]\npath = \"/a b/\"\n",
            "4: socketio.path is \"/a b/\"; it begins with a slash and has no query, no '*', '..', '//', ';', '\\' and nothing encoded \
             that need not be, for example \"/socket.io/\"",
        ),
        (
            "[session]\nhold = \"0s\"\nretry_events = [\"save\"]\n",
            "5: session.retry_events has no effect: session.hold is zero, and no event is sent again",
        ),
        (
            "[session]\nretry_events = [\"save\", \"disconnect\"]\n",
            "4: session.retry_events[1] is \"disconnect\" and has no effect: no side may send that event",
        ),
        (
            "[session]\nvolatile_events = [\"save\"]\nretry_events = [\"save\"]\n",
            "5: session.retry_events[0] is \"save\" and has no effect: it is in volatile_events too; take it out of one of them",
        ),
        (
            "[session]\nresume_events = [\"chat\"]\n",
            "4: session.resume_events has no effect: session.resume is zero, and no event is kept; give it a time, or remove this key",
        ),
        (
            "[session]\nresume = \"1m\"\nresume_namespaces = [\"chat\"]\n",
            "5: session.resume_namespaces[0] is \"chat\"; a namespace begins with \"/\", or write \"*\"",
        ),
        ("[origins]\nallow = [\"self\", \"self\"]\n", "4: origins.allow[1] is \"self\" a second time"),
        (
            "[origins]\nallow = [\"*\", \"https://a.example\"]\n",
            "4: origins.allow has \"*\", which names every page; leave the others out",
        ),
        (
            "[origins]\nallow = [\"https://a.example\"]\nhosts = [\"a.example\"]\n",
            "5: origins.hosts has no effect: \"self\" is not in origins.allow; add it there, or remove this key",
        ),
        (
            "[socketio]\npath = \"/io/*\"\n",
            "4: socketio.path is \"/io/*\"; it begins with a slash and has no query, no '*', '..', '//', ';', '\\' and nothing \
             encoded that need not be, for example \"/socket.io/\"",
        ),
        (
            "[[rate_limit]]\nevents = [\"chat\", \"chat*\"]\n",
            "4: rate_limit[0].events[0] is \"chat\" and has no effect: \"chat*\" names all of it; leave one of them out",
        ),
        (
            "[[websocket]]\npath = \"/doc*\"\n",
            "4: websocket[0].path is \"/doc*\"; '*' stands for the end of a path, behind a slash: \"/doc/*\"",
        ),
        (
            "[socketio]\ntransports = [\"websocket\", \"websocket\"]\n",
            "4: socketio.transports[1] is \"websocket\" a second time",
        ),
        (
            "[socketio]\nnamespaces = [\"/\", \"admin\"]\n",
            "4: socketio.namespaces[1] is \"admin\"; a namespace begins with \"/\", or write \"*\"",
        ),
        (
            "[[websocket]]\npath = \"/ws\"\n[[websocket]]\npath = \"/socket.io/x\"\n",
            "6: websocket[1].path is \"/socket.io/x\", which socketio.path \"/socket.io/\" takes",
        ),
        (
            "[[websocket]]\npath = \"/ws\"\nbridge = \"chat\"\n",
            "5: websocket[0].bridge is \"chat\"; a namespace begins with \"/\" and has no ',', '?' or control character",
        ),
        (
            "[[websocket]]\npath = \"/ws\"\nbridge = \"/chat\"\n[socketio]\nnamespaces = [\"/\"]\n",
            "5: websocket[0].bridge is \"/chat\", which socketio.namespaces does not list; add it there, or write one that is \
             listed",
        ),
        (
            "[[websocket]]\npath = \"/ws\"\nbridge = \"/\"\non_upstream_loss = \"hold\"\n",
            "6: websocket[0].on_upstream_loss is given beside bridge; the service of a bridged route is held as session.hold \
             says, and asked for the namespace again by Tidegate; leave it out",
        ),
        (
            "[[websocket]]\npath = \"/ws\"\nbridge = \"/\"\nrefusal = \"no\"\n",
            "6: websocket[0].refusal is given beside bridge; messages of a bridged route are refused as Socket.IO events are, \
             by rate_limit.exceeded; leave it out",
        ),
        (
            "[[websocket]]\npath = \"/ws\"\nbridge = \"/\"\nevent_field = \"args\"\n",
            "6: websocket[0].event_field is \"args\", which a bridged route cannot use for names, because what Tidegate says \
             there has other members of that name; write another one, or leave it out for \"type\"",
        ),
        (
            "[[websocket]]\npath = \"/ws\"\nevent_field = \"pingId\"\n",
            "5: websocket[0].event_field is \"pingId\", of which the answer to a ping has another member; write another one, or \
             quality.ping_event = \"\" for no answers to pings",
        ),
        (
            "[[websocket]]\npath = \"/ws\"\n[[websocket]]\npath = \"/ws\"\n",
            "6: websocket[1].path is \"/ws\" a second time",
        ),
        (
            "[tls]\n",
            "3: tls.certificate is missing; name the PEM files of a certificate and its key, or order one with [tls.acme], \
             or remove the table [tls] to listen without TLS",
        ),
        (
            "[tls]\nprivate_key = \"/nowhere/tls.key\"\ncertificate = \"/nowhere/tls.crt\"\n",
            "4: tls.private_key: /nowhere/tls.key cannot be read: No such file or directory (os error 2)\n\
             tidegate.toml:5: tls.certificate: /nowhere/tls.crt cannot be read: No such file or directory (os error 2)",
        ),
    ] {
        told(&format!("{OPEN}{text}"), message);
    }
}

#[test]
fn limits_and_times_are_told_with_their_line() {
    for (text, message) in [
        ("[socketio]\nping_timeout = \"0s\"\n", "4: socketio.ping_timeout is \"0s\"; it must be longer"),
        ("[socketio]\nmax_payload = \"1GB\"\n", "4: socketio.max_payload is 1GB; it must be between 1B and 100MiB"),
        (
            "[[websocket]]\npath = \"/ws\"\non_upstream_loss = \"hold\"\nreplay_first = 9\n",
            "6: websocket[0].replay_first is 9; at most 8 messages are sent again",
        ),
        (
            "[[websocket]]\npath = \"/ws\"\nexceeded = \"reply\"\n",
            "5: websocket[0].exceeded is \"reply\", but the route has no event_field: its messages may be of any protocol, in \
             which an answer of Tidegate is a fault. Write event_field beside it, or \"drop\", \"delay\" or \"close\"",
        ),
        (
            "[[websocket]]\npath = \"/ws\"\nevent_field = \"type\"\nexceeded = \"drop\"\nrefusal = \"no\"\n",
            "7: websocket[0].refusal has no effect: it is what \"reply\" sends, which needs event_field and no other exceeded \
             beside it",
        ),
        (
            "[[websocket]]\npath = \"/ws\"\nevent_field = \"type\"\nrefusal = \"${id\"\n",
            "6: websocket[0].refusal has a `${` without its `}`",
        ),
        (
            "[[websocket]]\npath = \"/ws\"\nexpired_close = 1006\n",
            "5: websocket[0].expired_close is 1006; it must be 1000 to 1003, 1007 to 1014, or 3000 to 4999",
        ),
        (
            "[[websocket]]\npath = \"/ws\"\nlimit_close = 429\n",
            "5: websocket[0].limit_close is 429; it must be 1000 to 1003, 1007 to 1014, or 3000 to 4999",
        ),
        (
            "[[websocket]]\npath = \"/ws\"\nreplay_first = 1\n",
            "5: websocket[0].replay_first is given, but no client is held here; write on_upstream_loss = \"hold\" beside it",
        ),
        (
            "[[websocket]]\npath = \"/ws\"\non_upstream_loss = \"hold\"\nreplay_events = [\"a\"]\n",
            "6: websocket[0].replay_events needs event_field, which says where a message names its event",
        ),
        (
            "[[websocket]]\npath = \"/ws\"\non_upstream_loss = \"hold\"\n[session]\nhold = \"0s\"\n",
            "5: websocket[0].on_upstream_loss is \"hold\", but session.hold is \"0s\", which holds no client; give \
             session.hold a time, or write \"close\"",
        ),
        (
            "[session]\nretry_events = [\n  \"save\",\n  \"\",\n]\n",
            "6: session.retry_events[1] is empty; write a name, or \"*\" for every name",
        ),
        (
            "[[rate_limit]]\n[[rate_limit]]\nmessages = 0\n",
            "5: rate_limit[1].messages is 0; it must be between 1 and 1000000. To turn limits off write rate_limit = []",
        ),
        ("[[rate_limit]]\nper = \"2d\"\n", "4: rate_limit[0].per is \"2d\"; it must be between 1ms and 1d"),
        ("[limits]\nconnections = 0\n", "4: limits.connections is 0, which refuses every connection"),
        ("[limits]\nrooms = 0\n", "4: limits.rooms is 0, which keeps every client out of every room"),
        ("[limits]\nroom_members = 0\n", "4: limits.room_members is 0, which keeps every client out of every room"),
        ("[limits]\nheader_bytes = \"1B\"\n", "4: limits.header_bytes is 1B; it must be between 1KiB and 1MiB"),
        ("[limits]\nsend_buffer = \"1KB\"\n", "4: limits.send_buffer is 1KB; it must be at least \"64KiB\""),
        (
            "[metrics]\nlatency_buckets_ms = [5, 5]\n",
            "4: metrics.latency_buckets_ms needs at least one bound, and each larger than the one before",
        ),
        ("[metrics]\nevent_names = 401\n", "4: metrics.event_names is 401; at most 400 names can be labels"),
        ("[metrics]\nevent_name_bytes = 0\n", "4: metrics.event_name_bytes is 0; it must be between 1 and 1024"),
        ("[socketio]\nmax_namespaces = 256\n", "4: socketio.max_namespaces is 256; it must be between 1 and 255"),
    ] {
        told(&format!("{OPEN}{text}"), message);
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let error = verified(
        &format!("{OPEN}[limits]\nconnections = 0\n[socketio]\nping_timeout = \"0s\"\nnamespaces = [\"\"]\n"),
        &[("TIDEGATE__ORIGINS__ALLOW", "[\"self\", \"none\"]"), ("TIDEGATE__METRICS__EVENT_NAMES", "401")],
        Sources { upstream: Some("ftp://b".to_owned()), ..Sources::default() },
    );
    let places: Vec<_> = error.as_ref().unwrap_err().lines().filter_map(|line| line.split_once(' ')).collect();
    let error = error.as_ref().unwrap_err();
    assert_eq!(places.len(), 6, "{error}");
    for place in [
        "tidegate.toml:4: limits.connections is",
        "tidegate.toml:6: socketio.ping_timeout is",
        "tidegate.toml:7: socketio.namespaces[0] is",
        "environment variable TIDEGATE__ORIGINS__ALLOW: origins.allow[1] is",
        "environment variable TIDEGATE__METRICS__EVENT_NAMES: metrics.event_names is",
        "--upstream: upstream.url is",
    ] {
        assert!(error.lines().any(|line| line.starts_with(place)), "{place}: {error}");
    }
}

#[test]
fn a_start_tells_every_mistake_beside_one_of_the_order_of_a_certificate_and_makes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (folder, secret) = (directory.path().join("acme"), directory.path().join("secret"));
    fs::write(&secret, "a secret of the cluster, of thirty-two bytes").unwrap();
    let redis =
        format!("[redis]\npassword = {{ file = \"/nowhere/redis\" }}\n[cluster]\nsecret = {{ file = {secret:?} }}\n");
    for (domain, cache, rest, places) in [
        ("a.test", "redis".into(), redis.as_str(), &["4: limits.connections is 0", "6: redis.password: "][..]),
        (
            "*.test",
            "redis".into(),
            &redis,
            &["4: limits.connections is 0", "6: redis.password: ", "10: tls.acme.domains"],
        ),
        ("a.test", folder.clone(), "", &["4: limits.connections is 0"]),
    ] {
        let acme = format!("[tls.acme]\ndomains = [{domain:?}]\ncache = {cache:?}\n");
        let text = format!("{OPEN}[limits]\nconnections = 0\n{rest}{acme}");
        let error =
            launch(Loaded::of_text("tidegate.toml", &text).unwrap(), None, FirstDescriptors::now(), control::runtime)
                .unwrap_err()
                .to_string();
        assert_eq!(error.lines().count(), places.len(), "{error}");
        for place in places {
            assert!(error.lines().any(|line| line.starts_with(&format!("tidegate.toml:{place}"))), "{place}: {error}");
        }
    }
    assert!(!folder.exists(), "it is made by a start that succeeds");
}

#[test]
fn what_a_later_source_says_is_checked_instead_of_what_it_replaces() {
    let file = format!("{OPEN}[upstream]\nurl = \"ftp://a\"\n");
    let upstream = |url: &str| Sources { upstream: Some(url.to_owned()), ..Sources::default() };
    assert_eq!(verified(&file, &[], upstream("http://b:1")), Ok(()));
    let variable = ("TIDEGATE__UPSTREAM__URL", "http://c");
    assert_eq!(verified(&file, &[variable], Sources::default()), Ok(()));
    let error = verified(&file, &[variable], upstream("ftp://b")).unwrap_err();
    assert!(error.starts_with("--upstream: upstream.url is \"ftp://b\"; "), "{error}");
    let error = verified(&file, &[("TIDEGATE__LIMITS__HEADER_BYTES", "1B")], upstream("http://b")).unwrap_err();
    let told = "environment variable TIDEGATE__LIMITS__HEADER_BYTES: limits.header_bytes is 1B; it must be between 1KiB and \
                1MiB";
    assert_eq!(error, told);
}

#[test]
fn a_key_that_is_missing_is_told_with_the_table_around_it() {
    let variable = [("TIDEGATE__TLS__MIN_VERSION", "1.3")];
    let place = |text: &str| {
        let error = verified(text, &variable, Sources::default()).unwrap_err();
        error.split_once(": tls.certificate is missing").unwrap().0.to_owned()
    };
    assert_eq!(place(&format!("{OPEN}[tls]\n")), "tidegate.toml:3");
    assert_eq!(place(OPEN), "environment variable TIDEGATE__TLS__MIN_VERSION");
}

#[test]
fn an_event_field_is_no_other_member_of_what_the_gate_says_there() {
    let route = |rest: &str| format!("{OPEN}[[websocket]]\npath = \"/ws\"\n{rest}");
    let is_good = |text: &str| verified(text, &[], Sources::default());
    for field in ["", "ackId", "args", "sid", "message", "data", "error", "rateLimited", "pingId"] {
        let bridged = route(&format!("bridge = \"/\"\nevent_field = {field:?}\n"));
        let why = is_good(&bridged).unwrap_err();
        assert!(why.starts_with(&format!("tidegate.toml:6: websocket[0].event_field is {field:?}, ")), "{why}");
        let plain = route(&format!("event_field = {field:?}\n"));
        assert_eq!(is_good(&plain).is_err(), field == "pingId", "{field}");
        assert_eq!(is_good(&format!("{plain}[quality]\nping_event = \"\"\n")), Ok(()), "{field}");
    }
    for field in ["type", "event", "message_type", "Error"] {
        assert_eq!(is_good(&route(&format!("bridge = \"/\"\nevent_field = {field:?}\n"))), Ok(()), "{field}");
    }
}
