//! Services that are several servers by Socket.IO's own adapter, on another key than the gates in front of them.

use super::{CONFLICT, PUBLISHED, hears};
use crate::support::{Client, Emitter, Gate, Redis, Service, Value, client::Driver, eventually, json, token};

/// The key of the adapter.
const KEY: &str = "app";

/// Every client is in a room of the gate; no event is mirrored.
const ROOM: &str = "[[room]]\nname = \"user:{claims.sub}\"";

/// What a test asks of a stock service, and its clients.
struct Servers {
    services: [Service; 2],
    /// Two learners on the first, one of them on the second as well.
    clients: [Client; 3],
}

impl Servers {
    async fn services(redis: &Redis) -> [Service; 2] {
        let port = redis.port().to_string();
        let variables = [("REDIS_PORT", &*port), ("REDIS_KEY", KEY)];
        let services = [Service::with(&variables).await, Service::with(&variables).await];
        eventually("the servers know each other", async || {
            (services[0].servers("count", json!({})).await == 2).then_some(())
        })
        .await;
        services
    }

    /// Clients that come in at these URLs.
    async fn meet(services: [Service; 2], urls: [String; 2]) -> Self {
        let driver = Driver::of("client.mjs").await;
        let client = async |url: &str, user| {
            let client = Client::begin(driver.clone(), url, json!({ "token": token(user) }), json!({})).await;
            client.connected().await;
            client.answer("question", json!([user])).await;
            client
        };
        let clients = [client(&urls[0], "ada").await, client(&urls[0], "bob").await, client(&urls[1], "ada").await];
        Self { services, clients }
    }

    /// All that the servers learn from each other, and what their clients hear, with places in lists for ids and ports.
    async fn learn(&self) -> Value {
        let mut ids = Vec::new();
        for client in &self.clients {
            ids.push(client.state().await["sid"].take());
        }
        let mut ports = Vec::new();
        for service in &self.services {
            ports.push(json!(service.address().port()));
        }
        let ada = json!({ "to": ["learner:ada"] });
        let question = json!({ "to": ["learner:ada", "learner:bob"], "event": "question", "args": [] });
        let mut learned = Vec::new();
        for service in &self.services {
            learned.push(json!({
                "count": service.servers("count", json!({})).await,
                "all": places(&service.servers("sockets", json!({})).await, &ids),
                "ada": places(&service.servers("sockets", ada.clone()).await, &ids),
                "answers": sorted(service.servers("ask", question.clone()).await),
                "ports": places(&service.servers("ports", json!({})).await, &ports),
            }));
            service.broadcast(json!({ "to": ["learner:ada"], "event": "said", "args": [1] })).await;
            service.broadcast(json!({ "event": "end", "args": [] })).await;
            let mut heard = Vec::new();
            for client in &self.clients {
                client.next("end").await;
                heard.push(client.untaken("said"));
            }
            learned.push(json!(heard));
        }
        json!(learned)
    }
}

/// Where these are in that list, ascending. What is no list is told as it is.
fn places(found: &Value, list: &[Value]) -> Value {
    let Some(found) = found.as_array() else { return found.clone() };
    sorted(found.iter().map(|one| json!(list.iter().position(|other| other == one))).collect())
}

fn sorted(list: Value) -> Value {
    let Value::Array(mut list) = list else { return list };
    list.sort_by_key(Value::to_string);
    Value::Array(list)
}

#[tokio::test]
async fn servers_with_an_adapter_learn_from_each_other_what_they_learn_without_gates() {
    let control = Redis::start().await;
    let services = Servers::services(&control).await;
    let urls = [services[0].url(), services[1].url()];
    let without = Servers::meet(services, urls).await.learn().await;

    let redis = Redis::start().await;
    let (services, emitter) = (Servers::services(&redis).await, Emitter::start(&redis).await);
    let gate = async |service| Gate::before(service).with(&format!("redis.url = {:?}\n{ROOM}", redis.url())).await;
    let gates = [gate(&services[0]).await, gate(&services[1]).await];
    for gate in &gates {
        hears(gate, &emitter).await;
    }
    let servers = Servers::meet(services, [gates[0].url(), gates[1].url()]).await;
    let with = servers.learn().await;

    assert_eq!(with, without);
    let learned = |other: usize, said: [usize; 3]| {
        let all = json!({
            "count": 2, "all": [0, 1, 2], "ada": [0, 2], "answers": ["ada", "ada", "bob"], "ports": [other],
        });
        [all, json!(said)]
    };
    assert_eq!(with, json!([learned(1, [1, 0, 1]), learned(0, [2, 0, 2])].concat()));
    for gate in &gates {
        gate.counts(0.0, CONFLICT, &[]).await;
        gate.counts(0.0, PUBLISHED, &[]).await;
    }
    // The gates have a channel of their own to their clients all the while.
    emitter.to("user:bob").emit("aside", json!([2])).await;
    assert_eq!(servers.clients[1].next("aside").await, json!([2]));
}
