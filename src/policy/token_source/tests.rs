//! Every place where a token may be, and every way to have two of them.

use http::Request;

use super::*;
use crate::policy::auth::INVALID;

fn sources(texts: &[&str]) -> TokenSources {
    TokenSources::compile(&texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>()).unwrap()
}

fn request(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let request = headers.iter().fold(Request::get(uri), |request, (name, value)| request.header(*name, *value));
    request.body(()).unwrap().into_parts().0
}

/// `Some(text)`: this token. `None`: none. `Err`: refused.
fn found(result: Result<Option<Token>, Refusal>) -> Result<Option<String>, &'static str> {
    result.map(|token| token.map(|token| token.as_str().to_owned())).map_err(|refusal| refusal.code)
}

const NONE: Result<Option<&str>, &str> = Ok(None);
const REFUSED: Result<Option<&str>, &str> = Err("auth.invalid");

#[test]
fn a_token_is_found_where_the_configuration_says() {
    for (source, uri, headers, expected) in [
        ("header", "/", &[("authorization", "Bearer abc")][..], Ok(Some("abc"))),
        ("header", "/", &[("authorization", "bearer  abc ")], Ok(Some("abc"))),
        ("header", "/", &[("authorization", "Basic abc")], NONE),
        ("header", "/", &[("authorization", "Bearer ")], NONE),
        ("header", "/", &[("authorization", "abc")], NONE),
        ("header", "/?token=abc", &[("cookie", "token=abc")], NONE),
        ("header", "/", &[("authorization", "Bearer a"), ("authorization", "Bearer a")], REFUSED),
        ("header", "/", &[("authorization", "Bearer \u{e9}")], REFUSED),
        ("query:token", "/?EIO=4&token=abc", &[], Ok(Some("abc"))),
        ("query:token", "/?t%6Fken=abc", &[], Ok(Some("abc"))),
        ("query:token", "/?token=a%62c", &[], Ok(Some("abc"))),
        ("query:token", "/?token=Bearer%20abc", &[], Ok(Some("abc"))),
        ("query:token", "/?token=bearer+abc", &[], Ok(Some("abc"))),
        ("query:token", "/?Token=abc&tokens=x&xtoken=y", &[], NONE),
        ("query:token", "/?token=", &[], NONE),
        ("query:token", "/?token", &[], NONE),
        ("query:token", "/", &[], NONE),
        ("query:token", "/?token=a&token=a", &[], REFUSED),
        ("query:token", "/?token=a&%74oken=b", &[], REFUSED),
        ("query:token", "/?token=&token=b", &[], REFUSED),
        ("cookie:session", "/", &[("cookie", "a=b; session=abc; c=d")], Ok(Some("abc"))),
        ("cookie:session", "/", &[("cookie", "a=b;session = abc")], Ok(Some("abc"))),
        ("cookie:session", "/", &[("cookie", "name=Zo\u{eb}; session=abc")], Ok(Some("abc"))),
        ("cookie:session", "/", &[("cookie", "session=\u{eb}"), ("cookie", "session=abc")], REFUSED),
        ("cookie:session", "/", &[("cookie", "session; session=abc")], Ok(Some("abc"))),
        ("cookie:session", "/", &[("cookie", "Session=abc; xsession=abc")], NONE),
        ("cookie:session", "/", &[("cookie", "session=a; session=a")], REFUSED),
        ("cookie:session", "/", &[("cookie", "session=a"), ("cookie", "session=b")], REFUSED),
        ("subprotocol", "/", &[("sec-websocket-protocol", "chat, bearer, abc")], Ok(Some("abc"))),
        ("subprotocol", "/", &[("sec-websocket-protocol", "tidegate.bearer.abc,chat")], Ok(Some("abc"))),
        ("subprotocol", "/", &[("sec-websocket-protocol", "bearer"), ("sec-websocket-protocol", "a")], Ok(Some("a"))),
        ("subprotocol", "/", &[("sec-websocket-protocol", "chat, bearer")], NONE),
        ("subprotocol", "/", &[("sec-websocket-protocol", "bearer, bearer")], Ok(Some("bearer"))),
        ("subprotocol", "/", &[("sec-websocket-protocol", "bearer, a, tidegate.bearer.a")], REFUSED),
        ("connect:token", "/?token=abc", &[("authorization", "Bearer abc")], NONE),
    ] {
        let result = found(sources(&[source]).from_request(&request(uri, headers)));
        assert_eq!(result, expected.map(|text| text.map(str::to_owned)), "{source} {uri} {headers:?}");
    }
}

#[test]
fn a_token_is_found_in_connect() {
    for (payload, expected) in [
        (r#"{"token":"abc"}"#, Ok(Some("abc"))),
        (r#"{"a":{"token":"x"},"token":"abc","b":[1]}"#, Ok(Some("abc"))),
        (r#"{"\u0074oken":"a\u0062c"}"#, Ok(Some("abc"))),
        (r#"{"token":"Bearer abc"}"#, Ok(Some("abc"))),
        (r#"{"token":"bEARER abc"}"#, Ok(Some("abc"))),
        (r#"{"token":"Bearer "}"#, NONE),
        (r#"{"a":{"token":"x"}}"#, NONE),
        (r#"{"token":null}"#, NONE),
        (r#"{"token":""}"#, NONE),
        ("{}", NONE),
        ("", NONE),
        (r#"{"token":"a","token":"a"}"#, REFUSED),
        (r#"{"token":null,"token":"a"}"#, REFUSED),
        (r#"{"token":"a","\u0074oken":"b"}"#, REFUSED),
        (r#"{"token":1}"#, REFUSED),
        (r#"{"token":["a"]}"#, REFUSED),
        (r#"{"token":"a"} x"#, REFUSED),
        (r#"["token"]"#, REFUSED),
        (r#"{"token":"a""#, REFUSED),
    ] {
        let result = found(sources(&["connect:token", "header"]).from_connect(payload.as_bytes()));
        assert_eq!(result, expected.map(|text| text.map(str::to_owned)), "{payload}");
    }
    assert_eq!(found(sources(&["header"]).from_connect(br#"{"token":"abc"}"#)), Ok(None));
}

#[test]
fn two_tokens_are_refused_unless_they_are_the_same() {
    let sources = sources(&["header", "query:token", "connect:a", "connect:b"]);
    let bearer = [("authorization", "Bearer abc")];
    assert_eq!(found(sources.from_request(&request("/?token=abc", &bearer))), Ok(Some("abc".to_owned())));
    assert_eq!(found(sources.from_request(&request("/?token=x", &bearer))), Err("auth.invalid"));
    assert_eq!(found(sources.from_connect(br#"{"a":"x","b":"x"}"#)), Ok(Some("x".to_owned())));
    assert_eq!(found(sources.from_connect(br#"{"a":"x","b":"y"}"#)), Err("auth.invalid"));
    let token = |text| Token::read(text).unwrap();
    assert_eq!(TokenSources::same(token("x"), token("y")), Err(INVALID));
    assert_eq!(TokenSources::same(token("x"), token("x")), Ok(token("x")));
    assert_eq!(TokenSources::same(None, token("x")), Ok(token("x")));
}

#[test]
fn a_token_has_a_bound() {
    let sources = sources(&["connect:token"]);
    let with = |bytes: usize| sources.from_connect(format!("{{\"token\":\"{}\"}}", "a".repeat(bytes)).as_bytes());
    assert!(with(TOKEN_MAX_BYTES).unwrap().is_some());
    assert_eq!(with(TOKEN_MAX_BYTES + 1), Err(TOO_LONG));
}

#[test]
fn a_token_is_never_shown() {
    let token = Token::read("canary").unwrap();
    assert!(!format!("{token:?}").contains("canary"));
}

#[test]
fn the_token_is_no_subprotocol() {
    for (source, offered, left) in [
        ("subprotocol", "chat, bearer, abc, v2", &["chat", "v2"][..]),
        ("subprotocol", "tidegate.bearer.abc, chat", &["chat"]),
        ("subprotocol", "bearer, bearer, chat", &["chat"]),
        ("subprotocol", "bearer, tidegate.bearer.a, chat", &["chat"]),
        ("subprotocol", "chat, bearer", &["chat"]),
        ("header", "bearer, abc", &["bearer", "abc"]),
    ] {
        let request = request("/", &[("sec-websocket-protocol", offered)]);
        assert_eq!(sources(&[source]).subprotocols(&request.headers), left, "{source} {offered}");
    }
}

#[test]
fn a_browser_that_offers_only_a_token_has_its_mark_answered() {
    for (source, offered, answered) in [
        ("subprotocol", "bearer, abc", Some("bearer")),
        ("subprotocol", "chat, bearer, abc", Some("bearer")),
        ("subprotocol", "chat, tidegate.bearer.abc", None),
        ("subprotocol", "chat", None),
        ("header", "bearer, abc", None),
    ] {
        let request = request("/", &[("sec-websocket-protocol", offered)]);
        assert_eq!(sources(&[source]).answered_subprotocol(&request.headers), answered, "{source} {offered}");
    }
}

#[test]
fn where_no_service_chooses_the_first_offer_that_is_no_token_is_selected() {
    for (source, offered, selected) in [
        ("header", "chat", Some("chat")),
        ("header", "v2, chat", Some("v2")),
        ("header", "bearer, abc", Some("bearer")),
        ("subprotocol", "chat, bearer, abc", Some("chat")),
        ("subprotocol", "bearer, abc, chat", Some("chat")),
        ("subprotocol", "tidegate.bearer.abc, chat", Some("chat")),
        ("subprotocol", "bearer, abc", Some("bearer")),
        ("subprotocol", "tidegate.bearer.abc", None),
        ("subprotocol", "", None),
    ] {
        let request = request("/", &[("sec-websocket-protocol", offered)]);
        assert_eq!(sources(&[source]).selected_subprotocol(&request.headers), selected, "{source} {offered}");
    }
}

#[test]
fn query_parameters_that_may_be_tokens_are_listed() {
    let sources = sources(&["connect:token", "query:token", "cookie:session", "query:jwt"]);
    assert_eq!(sources.query_keys().collect::<Vec<_>>(), ["token", "jwt"]);
    assert_eq!(sources.removed_query_keys().collect::<Vec<_>>(), ["token", "jwt"]);
    let sources = sources.keeping_query(true);
    assert_eq!(sources.query_keys().collect::<Vec<_>>(), ["token", "jwt"], "each may be given once still");
    assert_eq!(sources.removed_query_keys().count(), 0);
}

#[test]
fn without_a_key_nothing_is_a_token() {
    let sources = sources(&["connect:token", "header", "query:token"]).if_a_key(false);
    for payload in [r#"{"token":1}"#, r#"{"token":"a","token":"b"}"#, r#"["token"]"#] {
        assert_eq!(sources.from_connect(payload.as_bytes()), Ok(None), "{payload}");
    }
    let two = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
    assert_eq!(sources.from_request(&request("/?token=c&token=d", &two)), Ok(None));
    assert_eq!(sources.query_keys().count(), 0);
}

#[test]
fn a_token_that_only_the_header_has_is_told_from_others() {
    let sources = sources(&["header", "query:token", "cookie:session"]);
    let bearer = ("authorization", "Bearer abc");
    for (uri, headers, expected) in [
        ("/", &[bearer][..], true),
        ("/?token=abc", &[bearer], false),
        ("/", &[bearer, ("cookie", "session=abc")], false),
        ("/?token=abc", &[], false),
        ("/", &[], false),
    ] {
        assert_eq!(sources.is_in_header_alone(&request(uri, headers)), expected, "{uri} {headers:?}");
    }
}

#[test]
fn an_entry_that_is_not_a_source_is_an_error() {
    for text in ["", "token", "query", "query:", "connect:", "header:x", "cookie:a b", "query:a%62", "Header"] {
        let list = ["header".to_owned(), text.to_owned()];
        assert_eq!(TokenSources::compile(&list).unwrap_err()[0].key, "auth.token_from[1]", "{text}");
    }
}

#[test]
fn what_a_client_without_socket_io_would_say_in_its_connect() {
    let said = |sources: &TokenSources, uri: &str| {
        let request = request(uri, &[]);
        let token = sources.from_request(&request).map_err(|refusal| refusal.code)?;
        let left_out = [vec!["EIO"], sources.unverified_query_keys()].concat();
        let json = sources.connect_json(&request, token.as_ref(), &left_out).map_err(|refusal| refusal.code)?;
        Ok(String::from_utf8(json.to_vec()).unwrap())
    };
    let usual = sources(&["connect:token", "query:token"]);
    let named = sources(&["connect:jwt", "connect:key", "query:t"]);
    let alone = sources(&["query:token"]);
    let without_key = sources(&["connect:token", "query:token"]).if_a_key(false);
    let rows: [(&TokenSources, &str, Result<&str, &str>); 12] = [
        (&usual, "/ws", Ok("{}")),
        (&usual, "/ws?token=abc", Ok(r#"{"token":"abc"}"#)),
        (
            &usual,
            "/ws?lesson=7&EIO=4&token=Bearer%20a%22c&a+b=%C3%A9&&x",
            Ok(r#"{"lesson":"7","a b":"é","x":"","token":"a\"c"}"#),
        ),
        (&usual, "/ws?a=1&%61=2", Err("query_repeated")),
        (&usual, "/ws?EIO=1&EIO=2", Ok("{}")),
        (&usual, "/ws?token=a&token=a", Err("auth.invalid")),
        (&named, "/ws?t=abc&jwt=other&token=x", Ok(r#"{"token":"x","jwt":"abc","key":"abc"}"#)),
        (&named, "/ws?jwt=unverified&key=too", Ok("{}")),
        (&alone, "/ws?token=abc", Ok(r#"{"token":"abc"}"#)),
        (&alone, "/ws?token=", Ok("{}")),
        // Nothing is a token to the gate, so the service judges what is said.
        (&without_key, "/ws?token=abc&a=1", Ok(r#"{"token":"abc","a":"1"}"#)),
        (&without_key, "/ws?token=a&token=b", Err("query_repeated")),
    ];
    for (sources, uri, expected) in rows {
        let expected: Result<serde_json::Value, _> = expected.map(|text| serde_json::from_str(text).unwrap());
        let said: Result<String, &str> = said(sources, uri);
        assert_eq!(said.map(|text| serde_json::from_str::<serde_json::Value>(&text).unwrap()), expected, "{uri}");
    }
}

#[test]
fn a_query_parameter_passes_for_a_token_where_it_has_the_name_of_its_member_and_nobody_has_verified_it() {
    for (list, verifies, expected) in [
        (&["connect:token", "header"][..], true, &["token"][..]),
        (&["header"], true, &["token"]),
        (&["connect:jwt", "connect:key", "query:key"], true, &["jwt"]),
        (&["connect:token", "query:token"], true, &[]),
        (&["connect:token", "header"], false, &[]),
    ] {
        assert_eq!(sources(list).if_a_key(verifies).unverified_query_keys(), expected, "{list:?}, {verifies}");
    }
}
