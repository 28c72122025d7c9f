//! Stock clients of older major versions: 3 speaks today's protocol and is served, 2 does not and is told so.

use crate::support::{Gate, Service, Value, http, json, node, soon, token};

/// What a client of this major version printed.
async fn conversation(gate: &Gate, major: &str, transports: &[&str]) -> Vec<Value> {
    let mut args = vec![major.to_owned(), gate.url(), token("ada")];
    args.extend(transports.iter().map(|transport| (*transport).to_owned()));
    let child = node::start("old_client.mjs", &args, &[]);
    let output = soon("the client ends", child.wait_with_output()).await.unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn clients_of_version_3_are_served_over_every_transport() {
    for transports in [&["websocket"][..], &["polling"], &["polling", "websocket"]] {
        let service = Service::start().await;
        let gate = Gate::before(&service).await;

        let said = conversation(&gate, "3", transports).await;

        let expected = [
            json!({ "opened": transports[0] }),
            json!({ "learning": { "success": true, "correct": true } }),
            json!({ "binary": { "$binary": "AP8eCg==" } }),
            json!({ "asked": { "answer": { "major": "3", "question": "mood" } } }),
            json!({ "large": 900_000 }),
            json!({ "transport": transports.last() }),
        ];
        assert_eq!(said, expected, "{transports:?}");
        assert_eq!(service.disconnection().await["reason"], "client namespace disconnect", "{transports:?}");
        assert_eq!(service.seen().await["faults"], json!([]), "{transports:?}");
    }
}

#[tokio::test]
async fn clients_of_version_2_are_refused_and_say_so() {
    let service = Service::start().await;
    let gate = Gate::before(&service).await;

    let polling = conversation(&gate, "2", &["polling"]).await;
    let websocket = conversation(&gate, "2", &["websocket"]).await;

    let refused = |message: &str, status: Value| {
        vec![json!({ "refused": { "message": message, "type": "TransportError", "status": status } })]
    };
    assert_eq!(polling, refused("xhr poll error", json!(400)));
    assert_eq!(websocket, refused("websocket error", Value::Null));
    let answer = http::get(&format!("{}/socket.io/?EIO=3&transport=polling", gate.url())).await;
    assert_eq!((answer.status, answer.json()), (400, json!({ "code": 5, "message": "Unsupported protocol version" })));
    assert_eq!(service.transports().await, 0);
    gate.counts(0.0, "websocket_connections_total", &[]).await;
    gate.counts(0.0, "websocket_connections_count", &[]).await;
}
