//! Clients with a custom parser (option `parser` of socket.io-client): refused in their own words, once.

use crate::support::{Client, Gate, Raw, Service, client::Driver, frame::BINARY, frame::masked, json};

const PACKAGES: [&str; 2] = ["socket.io-msgpack-parser", "socket.io-json-parser"];

#[tokio::test]
async fn a_client_with_a_custom_parser_is_told_so_and_stops() {
    for parser in PACKAGES {
        let service = Service::with(&[("AUTH", "off"), ("PARSER", parser)]).await;
        let gate = Gate::before(&service).with("auth.required = false").without("auth.secret").await;
        for transport in ["websocket", "polling"] {
            let options = json!({ "parser": parser, "transports": [transport] });
            let direct = Client::begin(Driver::start(), &service.url(), json!({}), options.clone()).await;
            direct.connected().await;
            assert_eq!(direct.ask("echo", json!([1])).await, 1, "{parser} without a gate");

            let client = gate.connect_with(json!({}), options).await;
            let refused = client.refused().await;

            let expected =
                json!({ "message": "A custom parser is not supported", "data": { "code": "parser_unsupported" } });
            assert_eq!(refused, expected, "{parser} {transport}");
            gate.counts(0.0, "websocket_connections_total", &[]).await;
            assert!(!client.is_active().await, "{parser} {transport}: it does not come back");
            assert_eq!(client.untaken("disconnect"), 0);
        }
        gate.counts(2.0, "websocket_connections_count", &[]).await;
        gate.counts(2.0, "tidegate_refused_total", &[("stage", "connect"), ("reason", "parser_unsupported")]).await;
        gate.log().wait(&["reads no custom parser", "option parser of socket.io-client"]).await;
        assert_eq!(service.transports().await, 2, "those without a gate");

        let client =
            gate.connect_with(json!({}), json!({ "parser": parser })).await.namespace("/chat", json!({})).await;
        assert_eq!(client.refused().await["data"]["code"], "parser_unsupported", "{parser}");
    }
}

#[tokio::test]
async fn what_no_parser_is_known_to_write_ends_the_session_with_a_reason() {
    let service = Service::without_auth().await;
    let gate = Gate::before(&service).with("auth.required = false").without("auth.secret").await;
    let mut raw = Raw::engineio(gate.address).await;
    raw.send(&masked(BINARY, b"\x01\x02\x03")).await;
    let frames = raw.until_end().await;
    assert_eq!(
        frames.last().map(|close| (close.close_code(), close.payload[2..].to_vec())),
        Some((1008, b"parser_unsupported".to_vec()))
    );
    gate.log().wait(&["reads no custom parser"]).await;
    gate.counts(1.0, "websocket_disconnections_total", &[("reason", "parser_unsupported")]).await;
}
