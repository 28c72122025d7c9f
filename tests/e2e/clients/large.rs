//! Messages of the service that are longer than what is stored of one.

use crate::support::{Client, Gate, Service, Value, json, token, way::Way};

/// More than the 16 MiB beyond which a message passes as it comes.
const LARGE: u64 = 17_000_000;

/// How many bytes an answer of this size has at the client.
async fn length(client: &Client, bytes: u64, binary: bool) -> Result<Value, String> {
    let args = json!([{ "bytes": bytes, "binary": binary }]);
    client.call("length", json!({ "event": "enlarge", "args": args })).await
}

#[tokio::test]
async fn a_large_message_arrives_over_every_transport_as_it_does_directly() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let (directly, through) = (service.url(), gate.url());
    // Over polling the client itself takes seconds for so much.
    let ways = [("websocket", &directly), ("websocket", &through), ("polling", &through)];
    for (transport, url) in ways {
        let options = json!({ "transports": [transport] });
        let auth = json!({ "token": token("ada") });
        let client = Client::begin(gate.driver().await, url, auth, options).await;
        client.connected().await;
        for binary in [false, true] {
            assert_eq!(length(&client, LARGE, binary).await, Ok(json!(LARGE)), "{transport} {binary} {url}");
        }
        assert_eq!(client.ask("echo", json!(["after"])).await, json!("after"));
    }
}

#[tokio::test]
async fn a_long_answer_arrives_whole_at_a_client_that_may_come_back() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("session.resume = \"1m\"").await;
    let client = gate.client_by(Way::Websocket, token("ada")).await;
    // Within what is shown of a frame, beyond it, and beyond what is stored of a message elsewhere.
    for bytes in [500, 5_000, LARGE] {
        assert_eq!(length(&client, bytes, false).await, Ok(json!(bytes)), "{bytes}");
    }
}

#[tokio::test]
async fn on_a_websocket_a_large_message_is_not_stored() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let client = gate.client_by(Way::Websocket, token("ada")).await;
    assert_eq!(length(&client, 1_000_000, false).await, Ok(json!(1_000_000)));
    let before = gate.process_status("VmHWM");

    assert_eq!(length(&client, 60_000_000, false).await, Ok(json!(60_000_000)));

    let grown = gate.process_status("VmHWM") - before;
    assert!(grown < 10_000, "{grown} kB more than before");
}

#[tokio::test]
async fn who_has_a_part_of_a_large_message_connects_anew_when_the_service_is_lost() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;
    let client = gate.client(token("ada")).await;

    client.send("hang_up", json!([{ "how": "half" }])).await;

    client.disconnected().await;
    client.connected_after_errors().await;
    assert_eq!(client.ask("echo", json!(["after"])).await, json!("after"));
    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "service_lost")]).await;
}

#[tokio::test]
async fn a_message_over_the_bound_ends_the_session_and_the_log_names_the_setting() {
    let service = Service::start().await;
    let gate = Gate::before(&service).with("upstream.max_message = \"1MB\"").await;
    let client = gate.client(token("ada")).await;
    assert_eq!(length(&client, 900_000, false).await, Ok(json!(900_000)));

    assert!(length(&client, 1_100_000, false).await.is_err());

    client.disconnected().await;
    gate.log().wait(&["session ended", "frame_too_big", "upstream.max_message"]).await;
}
