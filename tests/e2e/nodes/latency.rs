//! How long an event is on its way to a client of another node.

use super::Nodes;
use crate::support::{client::Driver, json, soon, token};

const EVENTS: u32 = 200;

/// One after the other. The figures are printed; how fast this machine is is not judged.
#[tokio::test]
async fn an_event_is_soon_with_a_client_of_another_node() {
    let nodes = Nodes::start().await;
    let crowd = Driver::of("crowd.mjs").await;
    let with = json!({
        "gates": [nodes.a.url(), nodes.b.url()], "service": nodes.service_a.url(), "user": "ada",
        "token": token("ada"), "times": EVENTS,
    });
    let waits = soon("all events are heard", crowd.call("wait", with)).await.unwrap();
    eprintln!("milliseconds from the request to the service until a client has its event: {waits}");
    for place in ["near", "far"] {
        assert_eq!(waits[place]["heard"], json!(EVENTS), "{place}");
    }
}
