//! What scenarios of a leaving node share: clients that do not come back, and why the node is not ready.

use super::{Client, Gate, Way, eventually, http, json, token};

/// Connects so many clients over every way in turn. They do not reconnect by themselves.
pub(crate) async fn clients(gate: &Gate, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for way in Way::ALL.into_iter().cycle().take(count) {
        let mut options = way.options();
        options["reconnection"] = json!(false);
        let client = gate.connect_with(json!({ "token": token("ada") }), options).await;
        client.connected().await;
        client.travels_by(way.transport()).await;
        clients.push(client);
    }
    clients
}

/// Waits until they are sent away. A client that polls may find the port closed between two polls.
pub(crate) async fn are_sent_away(clients: &[Client]) {
    for client in clients {
        let reason = client.disconnected().await;
        assert!(["transport close", "transport error"].contains(&reason.as_str()), "{reason}");
    }
}

/// Waits until the node is not ready, and says why.
pub(crate) async fn why_not_ready(gate: &Gate) -> String {
    let reply = eventually("the node is not ready", async || {
        Some(http::get(&gate.admin_url("/readyz")).await).filter(|reply| reply.status == 503)
    })
    .await;
    let conditions = reply.json()["conditions"].clone();
    let draining = conditions.as_array().unwrap().iter().find(|condition| condition["name"] == "draining").cloned();
    draining.unwrap()["why"].as_str().unwrap().to_owned()
}
