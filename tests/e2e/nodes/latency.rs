//! Every event reaches a client of another node; how long it takes is printed.

use super::Nodes;
use crate::support::{client::Driver, json, token};

const EVENTS: u32 = 200;

/// One after the other. The figures are printed and not judged, because they depend on the machine.
#[tokio::test]
async fn every_event_reaches_a_client_of_another_node() {
    let nodes = Nodes::start().await;
    let crowd = Driver::of("crowd.mjs").await;
    let with = json!({
        "gates": [nodes.a.url(), nodes.b.url()], "service": nodes.service_a.url(), "user": "ada",
        "token": token("ada"), "times": EVENTS,
    });
    // As long as they take one after the other on a busy machine.
    let waits = crowd.call("wait", with).await.unwrap();
    eprintln!("milliseconds from the request to the service until a client has its event: {waits}");
    for place in ["near", "far"] {
        assert_eq!(waits[place]["heard"], json!(EVENTS), "{place}");
    }
}
