//! A sid is accepted only from the client that it was given to.

use std::net::Ipv4Addr;

use crate::support::{
    Gate, Poller, Raw, Service, eventually, json,
    poller::UNKNOWN_SID,
    token::{now, signed, token, token_for},
};

const SOURCES: &str = r#"auth.token_from = ["connect:token", "header", "query:token", "cookie:session"]
    socketio.upgrade_without_token = false"#;

/// Whoever this is hears that there is no such session, whatever is asked; the owner's poll waits on.
async fn assert_stranger(gate: &Gate, owner: &Poller, what: &str, stranger: &Poller) {
    let refusals = [("stage", "session")];
    let before = gate.metrics().await.sum("tidegate_refused_total", &refusals);
    let waiting = owner.polling();

    for reply in [stranger.get().await, stranger.post("42[\"silence\",\"stolen\"]").await, stranger.post("1").await] {
        assert_eq!((reply.status, reply.text()), (400, UNKNOWN_SID), "{what}");
    }
    assert_eq!(stranger.websocket_refused().await, (400, UNKNOWN_SID.to_owned()), "{what}: an upgrade");

    owner.send("42[\"echo\",\"alive\"]").await;
    assert_eq!(waiting.await.unwrap().text(), "42[\"echo\",\"alive\"]", "{what}: the owner does not notice");
    gate.counts(before + 4.0, "tidegate_refused_total", &refusals).await;
}

#[tokio::test]
async fn another_token_or_none_opens_nothing() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with(SOURCES).await;
    let (ada, eve) = (&token("ada"), &token("eve"));
    let header = |token: &str| format!("Bearer {token}");
    let cookie = |token: &str| format!("session={token}");
    let query = |token: &str| format!("&token={token}");
    let opened = async |query: &str, headers: &[(&str, &str)]| {
        let owner = Poller::shaking_hands(gate.address, query, headers).await;
        owner.join("").await;
        owner
    };

    let by_header = opened("", &[("authorization", &header(ada))]).await;
    let by_cookie = opened("", &[("cookie", &cookie(ada))]).await;
    let by_query = opened(&query(ada), &[]).await;

    for (owner, name, value) in [(&by_header, "authorization", header(eve)), (&by_cookie, "cookie", cookie(eve))] {
        assert_stranger(&gate, owner, &format!("another {name}"), &owner.with_headers(&[(name, &value)])).await;
        assert_stranger(&gate, owner, &format!("no {name}"), &owner.with_headers(&[])).await;
        assert_stranger(&gate, owner, "nonsense", &owner.with_headers(&[(name, "Bearer nonsense")])).await;
    }
    assert_stranger(&gate, &by_query, "another query", &by_query.with_query(&query(eve))).await;
    assert_stranger(&gate, &by_query, "no query", &by_query.with_query("")).await;
    // Two tokens, one of which would do, are a token that does not.
    let two = by_query.with_headers(&[("authorization", &header(eve))]);
    assert_stranger(&gate, &by_query, "a second token", &two).await;

    // The same token in another place is the same token.
    by_header.with_headers(&[("cookie", &cookie(ada))]).echoes().await;
    assert!(service.seen().await["received"]["silence"].is_null());
}

#[tokio::test]
async fn a_fresh_token_must_be_valid_and_of_the_same_user() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with(SOURCES).await;
    let header = |token: &str| format!("Bearer {token}");
    let owner = Poller::shaking_hands(gate.address, "", &[("authorization", &header(&token("ada")))]).await;

    // Before a namespace is joined the user is that of the handshake.
    let eve = owner.with_headers(&[("authorization", &header(&token("eve")))]);
    assert_eq!((eve.post("40").await.status, eve.get().await.status), (400, 400));
    owner.join("").await;

    for (what, token) in [
        ("another user", token("eve")),
        ("an expired token", token_for("ada", -600)),
        ("another secret", signed(&json!({ "sub": "ada", "exp": now() + 60 }), "another secret of thirty-two bytes!")),
    ] {
        let stranger = owner.with_headers(&[("authorization", &header(&token))]);
        assert_stranger(&gate, &owner, what, &stranger).await;
    }
    owner.with_headers(&[("authorization", &header(&token_for("ada", 1800)))]).echoes().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_token_that_is_shown_later_is_in_the_log_alone() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with(SOURCES).await;
    let header = |token: &str| format!("Bearer {token}");
    let owner = Poller::shaking_hands(gate.address, "", &[("authorization", &header(&token("ada")))]).await;
    owner.join("").await;
    let forged = signed(&json!({ "sub": "ada", "exp": now() + 600 }), "another secret of thirty-two bytes!");
    for (token, why, setting) in [
        (token_for("ada", -600), "it expired", "auth.leeway"),
        (forged, "another secret has signed it", "auth.secret"),
        (token("eve"), "Session ID unknown", "auth.token_from"),
    ] {
        let reply = owner.with_headers(&[("authorization", &header(&token))]).get().await;
        assert_eq!((reply.status, reply.text()), (400, UNKNOWN_SID), "{why}");
        gate.log().wait(&["session refused", "sid_mismatch", why, setting]).await;
    }
}

#[tokio::test]
async fn a_page_of_another_origin_opens_nothing() {
    let service = Service::start().await;
    let gate =
        Gate::before(&service).with(r#"origins.allow = ["https://school.example", "https://other.example"]"#).await;
    let school = [("origin", "https://school.example")];
    let owner = Poller::shaking_hands(gate.address, "", &school).await;
    owner.join(&json!({ "token": token("ada") }).to_string()).await;

    assert_stranger(&gate, &owner, "another page", &owner.with_headers(&[("origin", "https://other.example")])).await;
    // A browser does not name the origin in every request to its own site.
    owner.with_headers(&[]).echoes().await;

    gate.log().wait(&["sid_mismatch", "https://other.example", "127.0.0.1"]).await;
    assert_eq!(gate.logged().await.containing(&owner.sid), [""; 0]);
}

/// The status of a poll from another address of this machine; 0 where none came, for it waits.
async fn poll_from_elsewhere(gate: &Gate, owner: &Poller) -> u16 {
    owner.send("42[\"echo\",1]").await;
    eventually("the answer waits", async || {
        (gate.metrics().await.sum("websocket_messages_sent_total", &[("event", "echo")]) >= 1.0).then_some(())
    })
    .await;
    let mut raw = Raw::connect_from(Ipv4Addr::new(127, 0, 0, 2), gate.address).await;
    raw.send(format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", owner.target("polling")).as_bytes()).await;
    raw.status().await
}

#[tokio::test]
async fn another_address_opens_nothing_where_that_is_wanted() {
    let service = Service::start().await;
    let strict = Gate::before(&service).with("socketio.same_address = true").await;
    let as_delivered = Gate::before(&service).await;

    let owner = Poller::socketio(strict.address).await;
    assert_eq!(poll_from_elsewhere(&strict, &owner).await, 400);
    assert_eq!(owner.poll().await, "42[\"echo\",1]");
    strict.counts(1.0, "tidegate_refused_total", &[("stage", "session"), ("reason", "sid_mismatch")]).await;
    let line = strict.log().wait_for(1, &["sid_mismatch"]).await;
    assert!(line.len() == 1 && line[0].contains("127.0.0.2"), "{line:?}");

    // A telephone goes from one network to the other.
    let owner = Poller::socketio(as_delivered.address).await;
    assert_eq!(poll_from_elsewhere(&as_delivered, &owner).await, 200);
}

#[tokio::test]
async fn behind_a_proxy_the_address_is_the_clients() {
    let service = Service::start().await;
    let gate =
        Gate::before(&service).with("socketio.same_address = true\nlisten.trusted_proxies = [\"127.0.0.0/8\"]").await;
    let owner = Poller::shaking_hands(gate.address, "", &[("x-forwarded-for", "192.0.2.1")]).await;
    owner.join(&json!({ "token": token("ada") }).to_string()).await;

    let stranger = owner.with_headers(&[("x-forwarded-for", "192.0.2.2")]);
    assert_stranger(&gate, &owner, "another client of the proxy", &stranger).await;
}

#[tokio::test]
async fn sids_cannot_be_guessed() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let mut sids = Vec::new();
    for _ in 0..20 {
        sids.push(Poller::engineio(gate.address).await.sid);
    }

    // The first 8 characters are the node, and the next say which worker it is.
    assert!(sids.iter().all(|sid| sid.len() == 28 && sid[..8] == sids[0][..8]), "{sids:?}");
    let mut beginnings: Vec<_> = sids.iter().map(|sid| &sid[11..20]).collect();
    let mut ends: Vec<_> = sids.iter().map(|sid| &sid[20..]).collect();
    for halves in [&mut beginnings, &mut ends] {
        halves.sort_unstable();
        halves.dedup();
        assert_eq!(halves.len(), 20, "no half is repeated: {sids:?}");
    }
}
