//! The operator's side: is it alive, is it ready, who is connected.

use crate::support::{Gate, Service, Way, eventually, http, json, token};

#[tokio::test]
async fn health_is_answered() {
    let mut service = Service::start().await;
    let gate = Gate::before(&service).await;

    let alive = http::get(&gate.admin_url("/livez")).await;
    let ready = http::get(&gate.admin_url("/readyz")).await;
    assert_eq!((alive.status, ready.status), (200, 200));
    assert_eq!(ready.json()["ready"], true);

    // A node whose service is down stays: taking it out of rotation would bring nothing back.
    service.kill().await;
    let client = gate.connect(json!({ "token": token("ada") })).await;
    eventually("the failed dial is told", async || {
        let ready = http::get(&gate.admin_url("/readyz")).await;
        assert_eq!(ready.status, 200);
        let conditions = ready.json()["conditions"].clone();
        let upstream = conditions.as_array().unwrap().iter().find(|condition| condition["name"] == "upstream").cloned();
        (upstream.unwrap()["ok"] == false).then_some(())
    })
    .await;
    drop(client);
}

#[tokio::test]
async fn sessions_are_listed_with_what_is_known_of_them() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let ada = gate.client(token("ada")).await;
    ada.namespace("/chat", json!({ "token": token("ada") })).await.connected().await;
    ada.ask("echo", json!([1])).await;
    let bob = gate.client_by(Way::Polling, token("bob")).await;
    let eve = gate.client_by(Way::Upgrade, token("eve")).await;
    eve.travels_by("websocket").await;

    let listing = http::get(&gate.admin_url("/sessions")).await.json();

    let sessions = listing["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 3, "{listing}");
    let of = |user: &str| sessions.iter().find(|session| session["user"] == user).unwrap();
    assert_eq!(of("ada")["namespaces"], json!(["/", "/chat"]));
    for (user, transport, upgraded) in
        [("ada", "websocket", false), ("bob", "polling", false), ("eve", "websocket", true)]
    {
        assert_eq!((&of(user)["transport"], &of(user)["upgraded"]), (&json!(transport), &json!(upgraded)), "{user}");
    }
    gate.counts(2.0, "tidegate_sessions", &[("transport", "websocket")]).await;
    gate.counts(1.0, "tidegate_sessions", &[("transport", "polling")]).await;
    assert_eq!(of("ada")["peer"], "127.0.0.1");
    assert!(of("ada")["packets_received"].as_u64() > of("bob")["packets_received"].as_u64(), "{listing}");

    let page = http::get(&gate.admin_url("/sessions?limit=1")).await.json();
    assert_eq!(page["sessions"].as_array().unwrap().len(), 1);
    let next = http::get(&gate.admin_url(&format!("/sessions?limit=1&after={}", page["next"]))).await.json();
    assert_ne!(next["sessions"][0]["id"], page["sessions"][0]["id"]);

    bob.disconnect().await;
    eventually("who leaves is gone from the list", async || {
        let listing = http::get(&gate.admin_url("/sessions")).await.json();
        (listing["sessions"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sessions_are_listed_only_with_the_operators_token() {
    let service = Service::start().await;
    let gate = Gate::before(&service)
        .with(r#"admin.token = { env = "TIDEGATE_ADMIN_TOKEN" }"#)
        .variable("TIDEGATE_ADMIN_TOKEN", "operators-token-of-some-length-1234")
        .await;
    let url = gate.admin_url("/sessions");

    assert_eq!(http::get(&url).await.status, 401);
    let wrong = http::request("GET", &url, &[("authorization", "Bearer operators-token")], "").await;
    assert_eq!(wrong.status, 401);
    let right = [("authorization", "Bearer operators-token-of-some-length-1234")];
    assert_eq!(http::request("GET", &url, &right, "").await.status, 200);
    assert_eq!(http::get(&gate.admin_url("/metrics")).await.status, 200, "figures name nobody");
}
