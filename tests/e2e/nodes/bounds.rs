//! How many rooms there are, and how many clients are in one.

use super::hears;
use crate::support::{Emitter, Gate, Redis, Service, json, token};

const LOBBY: &str = "[[room]]\nname = \"lobby\"";

/// One gate with one worker, on which all clients count together.
struct Node {
    gate: Gate,
    emitter: Emitter,
    _service: Service,
    _redis: Redis,
}

impl Node {
    async fn start(bounds: &str) -> Self {
        let (redis, service) = (Redis::start().await, Service::start().await);
        let keys = format!("redis.url = {:?}\nlisten.workers = 1\n{bounds}\n{LOBBY}", redis.url());
        let gate = Gate::before(&service).with(&keys).await;
        let emitter = Emitter::start(&redis).await;
        hears(&gate, &emitter).await;
        Self { gate, emitter, _service: service, _redis: redis }
    }

    async fn reload(&mut self, bounds: &str) {
        self.gate.change(bounds);
        self.gate.signal("HUP");
        self.gate.log().wait(&["configuration reloaded"]).await;
    }

    async fn refused(&self, clients: f64, setting: &str) {
        self.gate.counts(clients, "tidegate_rooms_refused_total", &[("setting", setting)]).await;
    }
}

#[tokio::test]
async fn a_room_has_so_many_members_until_a_reload_says_otherwise() {
    let mut node = Node::start("limits.room_members = 1").await;
    let (ada, bob) = (node.gate.client(token("ada")).await, node.gate.client(token("bob")).await);
    node.refused(1.0, "limits.room_members").await;
    node.gate.log().wait(&["a client is not entered in a room: the bound is limits.room_members"]).await;

    node.reload("limits.room_members = 2").await;
    let eve = node.gate.client(token("eve")).await;
    node.emitter.to("lobby").emit("said", json!([1])).await;
    node.emitter.all().emit("end", json!([])).await;

    for (client, heard) in [(&ada, 1), (&bob, 0), (&eve, 1)] {
        client.next("end").await;
        assert_eq!(client.untaken("said"), heard);
    }
    node.refused(1.0, "limits.room_members").await;
}

/// A client has a room of its own, and with the lobby there are two.
#[tokio::test]
async fn there_are_so_many_rooms_until_a_reload_says_otherwise() {
    let mut node = Node::start("limits.rooms = 2").await;
    let _ada = node.gate.client(token("ada")).await;
    node.gate.counts(2.0, "tidegate_rooms", &[]).await;
    let bob = node.gate.client(token("bob")).await;
    node.refused(1.0, "limits.rooms").await;
    node.emitter.all().emit("said", json!([1])).await;
    assert_eq!(bob.next("said").await, json!([1]), "it is in the namespace all the same");

    node.reload("limits.rooms = 3").await;
    let eve = node.gate.connect(json!({ "token": token("eve") })).await;
    let own = eve.connected().await;
    node.gate.counts(3.0, "tidegate_rooms", &[]).await;
    node.emitter.to(&own).emit("own", json!([2])).await;
    assert_eq!(eve.next("own").await, json!([2]));
    node.refused(1.0, "limits.rooms").await;
}
