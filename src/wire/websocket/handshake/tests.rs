//! One handshake that keeps every rule, and what becomes of it when one is broken.

use http::Request;

use super::*;

/// RFC 6455 §1.3: the example, its key, and the answer to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const REQUEST: &[(&str, &str)] = &[
    ("host", "server.example.com"),
    ("upgrade", "websocket"),
    ("connection", "Upgrade"),
    ("sec-websocket-key", KEY),
    ("sec-websocket-protocol", "chat, superchat"),
    ("sec-websocket-version", "13"),
];

const ANSWER: &[(&str, &str)] =
    &[("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-accept", ACCEPT)];

/// `lines` with every line of `changed` in place of those of its name; an empty value takes them away.
fn with<'a>(lines: &[(&'a str, &'a str)], changed: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let unchanged = lines.iter().filter(|(name, _)| changed.iter().all(|(other, _)| name != other));
    unchanged.chain(changed.iter().filter(|(_, value)| !value.is_empty())).copied().collect()
}

fn request(changed: &[(&str, &str)]) -> Parts {
    let mut request = Request::get("/socket.io/?EIO=4&transport=websocket");
    for (name, value) in with(REQUEST, changed) {
        request = request.header(name, value);
    }
    request.body(()).unwrap().into_parts().0
}

fn answer(changed: &[(&str, &str)]) -> HeaderMap {
    let lines = with(ANSWER, changed).into_iter();
    lines.map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
}

#[test]
fn the_example_of_rfc_6455_is_granted() {
    let upgrade = Upgrade { key: KEY.into(), protocols: vec!["chat".into(), "superchat".into()] };
    assert_eq!(check_request(&request(&[])), Ok(upgrade));
    assert_eq!(accept(KEY), ACCEPT);
}

#[test]
fn requests_that_differ_only_in_what_is_free_are_granted() {
    for changed in [
        &[("connection", "keep-alive, Upgrade")][..],
        &[("connection", "keep-alive"), ("connection", "upgrade")],
        &[("upgrade", "WebSocket")],
        &[("content-length", "0")],
        &[("sec-websocket-protocol", "")],
        &[("sec-websocket-protocol", "a.b-c_d ,\te")],
        &[("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")],
    ] {
        assert_eq!(check_request(&request(changed)).err(), None, "{changed:?}");
    }
}

#[test]
fn requests_that_break_a_rule_are_refused_by_its_name() {
    let many = (0..17).map(|n| format!("p{n}")).collect::<Vec<_>>().join(",");
    let rows: &[(&[(&str, &str)], UpgradeError)] = &[
        (&[("connection", "")], UpgradeError::Connection),
        (&[("connection", "keep-alive")], UpgradeError::Connection),
        (&[("connection", "upgrades")], UpgradeError::Connection),
        (&[("upgrade", "")], UpgradeError::Upgrade),
        (&[("upgrade", "h2c")], UpgradeError::Upgrade),
        (&[("upgrade", "h2c, websocket")], UpgradeError::Upgrade),
        (&[("upgrade", "websocket"), ("upgrade", "h2c")], UpgradeError::Repeated(UPGRADE)),
        (&[("content-length", "5")], UpgradeError::Body),
        (&[("transfer-encoding", "chunked")], UpgradeError::Body),
        (&[("sec-websocket-version", "")], UpgradeError::Version),
        (&[("sec-websocket-version", "8")], UpgradeError::Version),
        (&[("sec-websocket-version", "13, 8")], UpgradeError::Version),
        (&[("sec-websocket-key", "")], UpgradeError::Key),
        (&[("sec-websocket-key", "c2hvcnQ=")], UpgradeError::Key),
        (&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ")], UpgradeError::Key),
        (&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZSE=")], UpgradeError::Key),
        // Headers that a policy reads, twice (docs/security.md, 9).
        (&[("sec-websocket-key", KEY), ("sec-websocket-key", KEY)], UpgradeError::Repeated(SEC_WEBSOCKET_KEY)),
        (
            &[("sec-websocket-version", "13"), ("sec-websocket-version", "8")],
            UpgradeError::Repeated(SEC_WEBSOCKET_VERSION),
        ),
        (
            &[("sec-websocket-protocol", "a"), ("sec-websocket-protocol", "b")],
            UpgradeError::Repeated(SEC_WEBSOCKET_PROTOCOL),
        ),
        // CVE-2021-32640 was a list that took `ws` quadratic time.
        (&[("sec-websocket-protocol", "a,,b")], UpgradeError::Protocols),
        (&[("sec-websocket-protocol", "a b")], UpgradeError::Protocols),
        (&[("sec-websocket-protocol", "chat, chat")], UpgradeError::Protocols),
        (&[("sec-websocket-protocol", &many)], UpgradeError::Protocols),
    ];
    for (changed, rule) in rows {
        assert_eq!(check_request(&request(changed)).as_ref(), Err(rule), "{changed:?}");
        let status = if *rule == UpgradeError::Version { 426 } else { 400 };
        assert_eq!(rule.status().as_u16(), status);
    }
}

#[test]
fn only_a_get_of_http_1_1_is_a_handshake() {
    let mut post = request(&[]);
    post.method = Method::POST;
    assert_eq!(check_request(&post), Err(UpgradeError::Method));
    for version in [Version::HTTP_10, Version::HTTP_2] {
        let mut other = request(&[]);
        other.version = version;
        assert_eq!(check_request(&other), Err(UpgradeError::HttpVersion));
    }
}

#[test]
fn answers_of_the_service() {
    type Meaning = Result<Option<&'static str>, AnswerError>;
    let rows: &[(&[(&str, &str)], Meaning)] = &[
        (&[], Ok(None)),
        (&[("connection", "keep-alive, upgrade"), ("upgrade", "WebSocket")], Ok(None)),
        (&[("sec-websocket-protocol", "chat")], Ok(Some("chat"))),
        (&[("upgrade", "")], Err(AnswerError::Upgrade)),
        (&[("upgrade", "h2c")], Err(AnswerError::Upgrade)),
        (&[("connection", "")], Err(AnswerError::Upgrade)),
        (&[("sec-websocket-accept", "")], Err(AnswerError::Accept)),
        (&[("sec-websocket-accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")], Err(AnswerError::Accept)),
        (&[("sec-websocket-accept", ACCEPT), ("sec-websocket-accept", ACCEPT)], Err(AnswerError::Accept)),
        (&[("sec-websocket-extensions", "permessage-deflate")], Err(AnswerError::Extensions)),
        (&[("sec-websocket-protocol", "other")], Err(AnswerError::Protocol)),
        (&[("sec-websocket-protocol", "chat, superchat")], Err(AnswerError::Protocol)),
        (&[("sec-websocket-protocol", "chat"), ("sec-websocket-protocol", "chat")], Err(AnswerError::Protocol)),
    ];
    let offered = ["chat".to_owned(), "superchat".to_owned()];
    for (changed, meaning) in rows {
        let read = check_answer(KEY, &offered, StatusCode::SWITCHING_PROTOCOLS, &answer(changed));
        assert_eq!(read.as_ref().map(Option::as_deref).map_err(|error| *error), *meaning, "{changed:?}");
    }
}

#[test]
fn no_other_status_opens_a_websocket() {
    // CVE-2024-23326: 200 was taken for success.
    for status in [200, 100, 302, 400, 503] {
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(check_answer(KEY, &[], status, &answer(&[])), Err(AnswerError::Status(status)));
    }
}
