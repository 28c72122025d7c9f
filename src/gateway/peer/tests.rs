//! Whose word is believed, and which headers the service sees.

use super::*;

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
        .collect()
}

fn appended(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn peer(socket: &str, headers: &HeaderMap) -> Peer {
    let trusted = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
    Peer::of(format!("{socket}:1234").parse().unwrap(), headers, &trusted, false)
}

/// All fields the service sees, sorted.
fn seen(peer: &Peer, mut headers: HeaderMap) -> Vec<String> {
    peer.set_forwarded(&mut headers);
    let mut seen: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    seen.sort();
    seen
}

#[test]
fn a_stranger_is_not_believed() {
    let said = headers(&[
        ("host", "a.example"),
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-anything", "1"),
        ("x_forwarded_for", "1.1.1.1"),
        ("x-forwarded_for", "1.1.1.1"),
        ("forwarded", "for=1.1.1.1"),
        ("x-real-ip", "1.1.1.1"),
        ("x_real_ip", "1.1.1.1"),
    ]);
    let peer = peer("9.9.9.9", &said);
    assert_eq!(peer.address, IpAddr::from([9, 9, 9, 9]));
    assert_eq!(
        seen(&peer, said),
        ["host: a.example", "x-forwarded-for: 9.9.9.9", "x-forwarded-host: a.example", "x-forwarded-proto: http"]
    );
}

#[test]
fn a_trusted_proxy_is_believed_from_the_right() {
    for (said, address, chain) in [
        ("8.8.8.8", "8.8.8.8", "8.8.8.8, 10.0.0.1"),
        ("1.1.1.1, 8.8.8.8", "8.8.8.8", "8.8.8.8, 10.0.0.1"),
        ("1.1.1.1,8.8.8.8 , 10.2.2.2", "8.8.8.8", "8.8.8.8, 10.2.2.2, 10.0.0.1"),
        ("10.3.3.3, 10.2.2.2", "10.3.3.3", "10.3.3.3, 10.2.2.2, 10.0.0.1"),
        ("8.8.8.8:4711", "8.8.8.8", "8.8.8.8, 10.0.0.1"),
        ("2001:db8::1", "2001:db8::1", "2001:db8::1, 10.0.0.1"),
        ("[2001:db8::1]:4711", "2001:db8::1", "2001:db8::1, 10.0.0.1"),
        ("::ffff:8.8.8.8", "8.8.8.8", "8.8.8.8, 10.0.0.1"),
        ("8.8.8.8, unknown", "10.0.0.1", "10.0.0.1"),
        ("8.8.8.8, unknown, 10.2.2.2", "10.2.2.2", "10.2.2.2, 10.0.0.1"),
        ("8.8.8.8,", "10.0.0.1", "10.0.0.1"),
        ("", "10.0.0.1", "10.0.0.1"),
    ] {
        let said = headers(&[("x-forwarded-for", said)]);
        let peer = peer("10.0.0.1", &said);
        assert_eq!(peer.address, address.parse::<IpAddr>().unwrap());
        assert_eq!(seen(&peer, said)[0], format!("x-forwarded-for: {chain}"));
    }
}

#[test]
fn several_lines_are_one_list() {
    let said = appended(&[("x-forwarded-for", "1.1.1.1, 8.8.8.8"), ("x-forwarded-for", "10.2.2.2")]);
    assert_eq!(peer("10.0.0.1", &said).address, IpAddr::from([8, 8, 8, 8]));
}

#[test]
fn a_trusted_proxy_says_scheme_host_and_port() {
    let said = headers(&[
        ("host", "inner"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "a.example"),
        ("x-forwarded-port", "8443"),
    ]);
    let believed = peer("10.0.0.1", &said);
    assert_eq!((believed.tls, believed.host.clone()), (true, Some(HeaderValue::from_static("a.example"))));
    assert_eq!(believed.site().port, Some(8443));
    let doubted = peer("9.9.9.9", &said);
    assert_eq!((doubted.tls, doubted.host.clone()), (false, Some(HeaderValue::from_static("inner"))));
    assert_eq!(doubted.site().port, None);
}

#[test]
fn a_scheme_has_several_spellings_and_what_is_none_is_not_believed() {
    for (said, tls) in [
        ("https", true),
        ("HTTPS", true),
        (" Https ", true),
        ("wss", true),
        ("WSS", true),
        ("http", false),
        ("ws", false),
        ("ftp", false),
        ("", false),
        ("httpss", false),
    ] {
        assert_eq!(peer("10.0.0.1", &headers(&[("x-forwarded-proto", said)])).tls, tls, "{said}");
    }
    let trusted = ["10.0.0.0/8".parse().unwrap()];
    for (said, tls) in [("ws", false), ("HTTP", false), ("ftp", true), ("", true)] {
        let said = headers(&[("x-forwarded-proto", said)]);
        assert_eq!(Peer::of("10.0.0.1:1".parse().unwrap(), &said, &trusted, true).tls, tls, "{said:?} over TLS");
    }
}

#[test]
fn of_a_list_the_entry_of_the_clients_address_counts() {
    for (addresses, schemes, hosts, tls, host) in [
        // Each proxy has added what it saw: the entry of the client stands where its address stands.
        ("8.8.8.8, 10.2.2.2", "https, http", "a.example, inner", true, "a.example"),
        ("8.8.8.8, 10.2.2.2", "http, https", "a.example, inner", false, "a.example"),
        ("8.8.8.8, 10.3.3.3, 10.2.2.2", "wss,https,http", "a.example,b,c", true, "a.example"),
        // What stands before it is what the client itself has said.
        ("1.1.1.1, 8.8.8.8", "https, http", "evil.example, a.example", false, "a.example"),
        ("8.8.8.8", "https, http", "evil.example, a.example", false, "a.example"),
        ("1.1.1.1, 8.8.8.8, 10.2.2.2", "http, https, http", "evil.example, a.example, inner", true, "a.example"),
        // The outer proxy has set it, and the inner ones have left it.
        ("8.8.8.8, 10.2.2.2", "https", "a.example", true, "a.example"),
        // Without addresses it is the word of the nearest one.
        ("", "http, https", "evil.example, a.example", true, "a.example"),
        ("unknown", "http, https", "evil.example, a.example", true, "a.example"),
        // What is no host is not passed on.
        ("8.8.8.8", "https,", "a.example/x", false, "gate"),
        ("8.8.8.8", "https", "user@a.example", true, "gate"),
    ] {
        let said = headers(&[
            ("host", "gate"),
            ("x-forwarded-for", addresses),
            ("x-forwarded-proto", schemes),
            ("x-forwarded-host", hosts),
        ]);
        let peer = peer("10.0.0.1", &said);
        assert_eq!((peer.tls, peer.host.unwrap().to_str().unwrap()), (tls, host), "{said:?}");
    }
    let lines = appended(&[
        ("x-forwarded-for", "8.8.8.8"),
        ("x-forwarded-for", "10.2.2.2"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-proto", "http"),
    ]);
    assert!(peer("10.0.0.1", &lines).tls, "several lines are one list");
}

#[test]
fn what_ends_at_this_hop_is_stripped() {
    let mut said = headers(&[
        ("connection", "Keep-Alive, X-Hop , close"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic x"),
        ("te", "trailers"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("x-user-id", "admin"),
        ("x_user_id", "admin"),
        ("x-other", "1"),
        ("authorization", "SidOwner t"),
    ]);
    assert_eq!(clean_request(&mut said, &[HeaderName::from_static("x-user-id")]), Ok(()));
    let mut left: Vec<_> = said.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["authorization", "x-other"]);
}

#[test]
fn an_identity_header_cannot_be_removed_by_nominating_it() {
    for name in [
        "x-forwarded-for",
        "X-Forwarded-Proto",
        "x_forwarded_host",
        "x-real-ip",
        "Forwarded",
        "x-user-id",
        "X_User-Id",
        "authorization",
        "cookie",
        "host",
        "origin",
        "content-length",
    ] {
        let mut said = headers(&[("connection", &format!("upgrade,{name}"))]);
        assert_eq!(clean_request(&mut said, &[HeaderName::from_static("x-user-id")]), Err(NominatedHeader), "{name}");
    }
}
