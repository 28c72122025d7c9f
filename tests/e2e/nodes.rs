//! Several nodes: what a service says on one of them reaches clients of the others through Redis, in the format of Socket.IO's
//! own adapter.

mod absent;
mod backends;
mod beside;
mod bounds;
mod latency;
mod leaving;
mod lessons;
mod moves;
mod outage;
mod tenants;

use std::fs;

use crate::support::{Client, Emitter, Gate, Redis, Service, Value, Way, client::Driver, eventually, json, token};

/// What a learner is told goes to all clients of the learner.
const MIRROR: &str = r#"
[[room]]
name = "user:{claims.sub}"
[[mirror]]
event = "tutor:message"
room = "user:{claims.sub}"
"#;

const PUBLISHED: &str = "tidegate_mirror_published_total";
const RECEIVED: &str = "tidegate_mirror_received_total";
const DELIVERED: &str = "tidegate_mirror_delivered_total";
const DROPPED: &str = "tidegate_mirror_dropped_total";
const MALFORMED: &str = "tidegate_mirror_malformed_total";
const CONFLICT: &str = "tidegate_mirror_conflict";

/// Two nodes on one Redis, each with a service of its own, and a program beside them.
struct Nodes {
    a: Gate,
    b: Gate,
    service_a: Service,
    service_b: Service,
    emitter: Emitter,
    redis: Redis,
}

impl Nodes {
    async fn start() -> Self {
        Self::with(MIRROR).await
    }

    /// With these keys and tables.
    async fn with(settings: &str) -> Self {
        Self::of(Redis::start().await, [Service::start().await, Service::start().await], settings).await
    }

    async fn of(redis: Redis, [service_a, service_b]: [Service; 2], settings: &str) -> Self {
        let emitter = Emitter::start(&redis).await;
        let gate =
            async |service| Gate::before(service).with(&format!("redis.url = {:?}", redis.url())).with(settings).await;
        let (a, b) = (gate(&service_a).await, gate(&service_b).await);
        for gate in [&a, &b] {
            hears(gate, &emitter).await;
        }
        Self { a, b, service_a, service_b, emitter, redis }
    }

    /// So many events of the first node, all counted, have come to these clients when this is done, if they ever do.
    async fn settled(&self, events: usize, clients: &[&Client]) {
        self.a.counts(events as f64, PUBLISHED, &[]).await;
        self.b.counts(events as f64, RECEIVED, &[("from", "gate")]).await;
        self.emitter.all().emit("settled", json!([])).await;
        for client in clients {
            client.next("settled").await;
        }
    }
}

async fn node(service: &Service, redis: &Redis) -> Gate {
    Gate::before(service).with(&format!("redis.url = {:?}\n{MIRROR}", redis.url())).await
}

/// Waits until this node delivers what is on Redis.
async fn hears(gate: &Gate, emitter: &Emitter) {
    let before = gate.metrics().await.sum(DELIVERED, &[]);
    eventually("the node delivers what is on Redis", async || {
        emitter.all().emit("hello", json!([])).await;
        (gate.metrics().await.sum(DELIVERED, &[]) > before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn nodes_that_share_no_limit_count_each_other() {
    let nodes = Nodes::with(&format!("cluster.name = \"tutor\"\n{MIRROR}")).await;
    for gate in [&nodes.a, &nodes.b] {
        gate.counts(2.0, "tidegate_cluster_nodes", &[]).await;
    }
}

#[tokio::test]
async fn what_a_service_says_to_a_learner_reaches_clients_of_the_learner_on_other_nodes_once() {
    let nodes = Nodes::start().await;
    let near = nodes.a.client(token("ada")).await;
    let near_too = nodes.a.client(token("ada")).await;
    let (far, other) = (nodes.b.client(token("ada")).await, nodes.b.client(token("bob")).await);
    let spoken = json!([{ "text": "well done", "é": [1.5, null, 12_345_678_901_u64] }, { "$binary": "AQL/" }]);
    nodes.service_a.emit("ada", "tutor:message", spoken.clone()).await;
    for client in [&near, &near_too, &far] {
        assert_eq!(client.next("tutor:message").await, spoken);
    }
    nodes.emitter.all().emit("end", json!([])).await;
    for client in [&near, &near_too, &far, &other] {
        client.next("end").await;
        assert_eq!(client.untaken("tutor:message"), 0);
    }
    nodes.a.counts(1.0, PUBLISHED, &[]).await;
    nodes.a.counts(1.0, "tidegate_mirror_copies_total", &[]).await;
    nodes.b.counts(1.0, RECEIVED, &[("from", "gate")]).await;
}

/// On both nodes a rule names the event, and both see it on its way to clients.
#[tokio::test]
async fn what_comes_from_another_node_is_not_mirrored_again() {
    const EVENTS: usize = 50;
    let nodes = Nodes::start().await;
    let (near, far) = (nodes.a.client(token("ada")).await, nodes.b.client(token("ada")).await);
    for number in 0..EVENTS {
        // Half of them have equal bytes.
        let spoken = if number % 2 == 0 { json!([number]) } else { json!(["again"]) };
        nodes.service_a.emit("ada", "tutor:message", spoken).await;
    }
    for client in [&near, &far] {
        for number in 0..EVENTS {
            let expected = if number % 2 == 0 { json!([number]) } else { json!(["again"]) };
            assert_eq!(client.next("tutor:message").await, expected, "once, and in order");
        }
    }
    nodes.emitter.all().emit("end", json!([])).await;
    for client in [&near, &far] {
        client.next("end").await;
        assert_eq!(client.untaken("tutor:message"), 0);
    }
    nodes.a.counts(EVENTS as f64, PUBLISHED, &[]).await;
    nodes.b.counts(0.0, PUBLISHED, &[]).await;
    nodes.a.counts(0.0, RECEIVED, &[("from", "gate")]).await;
}

/// 300 clients in 30 rooms over both nodes, 10,020 events.
#[tokio::test]
async fn every_client_of_many_rooms_hears_every_event_once_and_in_order() {
    const USERS: usize = 30;
    const CLIENTS_EACH: usize = 5;
    const EVENTS_EACH: usize = 167;
    let nodes = Nodes::start().await;
    let names: Vec<String> = (0..USERS).map(|user| format!("learner-{user}")).collect();
    let users: Vec<_> = names.iter().map(|user| json!({ "user": user, "token": token(user) })).collect();
    let crowd = Driver::of("crowd.mjs").await;
    let gates = [nodes.a.url(), nodes.b.url()];
    crowd.call("gather", json!({ "gates": gates, "users": users, "each": CLIENTS_EACH })).await.unwrap();
    let services = [nodes.service_a.url(), nodes.service_b.url()];
    crowd.call("speak", json!({ "services": services, "users": names, "each": EVENTS_EACH })).await.unwrap();
    let all = USERS * 2 * EVENTS_EACH * 2 * CLIENTS_EACH;
    eventually("all events are heard", async || {
        let heard = crowd.call("heard", json!({})).await.unwrap();
        (heard["all"].as_u64() >= Some(all as u64)).then_some(())
    })
    .await;
    nodes.a.counts((USERS * EVENTS_EACH) as f64, PUBLISHED, &[]).await;
    nodes.b.counts((USERS * EVENTS_EACH) as f64, PUBLISHED, &[]).await;
    let heard = crowd.call("heard", json!({})).await.unwrap();
    assert_eq!(heard, json!({ "all": all, "strange": 0, "disordered": 0 }));
}

#[tokio::test]
async fn an_emitter_reaches_clients_by_namespace_room_socket_and_except() {
    let nodes = Nodes::start().await;
    for way in Way::ALL {
        let ada = nodes.a.connect_with(json!({ "token": token("ada") }), way.options()).await;
        let id = ada.connected().await;
        let bob = nodes.b.client_by(way, token("bob")).await;
        let bytes = json!({ "$binary": "AQL/" });
        nodes.emitter.all().emit("all", json!([1])).await;
        nodes.emitter.to("user:bob").emit("room", json!([bytes, { "in": bytes }])).await;
        nodes.emitter.to(&id).emit("socket", json!([2])).await;
        nodes.emitter.to("user:ada").to("user:bob").emit("rooms", json!([3])).await;
        nodes.emitter.all().except("user:ada").emit("except", json!([4])).await;
        nodes.emitter.of("/chat").emit("elsewhere", json!([5])).await;
        nodes.emitter.all().volatile().emit("end", json!([6])).await;
        for (client, expected, not_expected) in [
            (&ada, json!([["all", [1]], ["socket", [2]], ["rooms", [3]], ["end", [6]]]), ["room", "except"]),
            (
                &bob,
                json!([["all", [1]], ["room", [bytes, { "in": bytes }]], ["rooms", [3]], ["except", [4]], ["end", [6]]]),
                ["socket", "socket"],
            ),
        ] {
            for event in expected.as_array().unwrap() {
                assert_eq!(client.next(event[0].as_str().unwrap()).await, event[1], "{way:?}: {event}");
            }
            for event in not_expected.into_iter().chain(["elsewhere", "all", "rooms"]) {
                assert_eq!(client.untaken(event), 0, "{way:?}: {event}");
            }
        }
        ada.disconnect().await;
        bob.disconnect().await;
    }
}

#[tokio::test]
async fn an_emitter_puts_clients_into_rooms_and_disconnects_them() {
    let nodes = Nodes::start().await;
    let (ada, bob) = (nodes.a.client(token("ada")).await, nodes.b.client(token("bob")).await);
    nodes.emitter.to("user:ada").sockets_join(&["club"]).await;
    nodes.emitter.to("club").emit("club", json!([1])).await;
    assert_eq!(ada.next("club").await, json!([1]));
    nodes.emitter.to("user:ada").sockets_leave(&["club"]).await;
    nodes.emitter.to("club").emit("club", json!([2])).await;
    nodes.emitter.all().emit("end", json!([])).await;
    for client in [&ada, &bob] {
        client.next("end").await;
        assert_eq!(client.untaken("club"), 0);
    }
    nodes.emitter.to("user:bob").disconnect_sockets(false).await;
    assert_eq!(bob.disconnected().await, "io server disconnect");
    nodes.emitter.all().server_side_emit("nobody", json!([])).await;
    nodes.b.counts(1.0, "tidegate_mirror_requests_total", &[("kind", "server_side_emit")]).await;
    nodes.b.log().wait(&["serverSideEmit"]).await;
    assert_eq!(ada.untaken("disconnect"), 0);
}

#[tokio::test]
async fn garbage_on_the_channels_is_counted_and_ignored() {
    let nodes = Nodes::start().await;
    let client = nodes.b.client(token("ada")).await;
    let deep = [0x91_u8; 100_000];
    let long = vec![0xc0_u8; 5_000_000];
    // ["x",{"type":2,"data":["disconnect"],"nsp":"/"},{}]: a name that would end the client.
    let reserved = b"\x93\xa1x\x83\xa4type\x02\xa4data\x91\xaadisconnect\xa3nsp\xa1/\x80";
    // ["x",{"type":2,"data":["hi"],"nsp":"/chat"},{}]: another namespace than the channel's.
    let foreign = b"\x93\xa1x\x83\xa4type\x02\xa4data\x91\xa2hi\xa3nsp\xa5/chat\x80";
    let garbage: [&[u8]; 7] = [b"", b"\xc1", b"{\"type\":2}", &deep, &long, reserved, foreign];
    for payload in garbage {
        nodes.redis.publish("socket.io#/#", payload).await;
    }
    for payload in [&b""[..], b"{", b"{\"type\":99}", b"[]", b"\x93\xc0\xc0"] {
        nodes.redis.publish("socket.io-request#/#", payload).await;
    }
    nodes.emitter.all().emit("end", json!([])).await;
    client.next("end").await;
    assert_eq!(client.untaken("disconnect") + client.untaken("hi"), 0);
    nodes.b.counts(12.0, MALFORMED, &[]).await;
    nodes.b.counts(1.0, MALFORMED, &[("reason", "other_namespace")]).await;
    nodes.b.log().wait(&["is ignored, as none of the Socket.IO adapter"]).await;
}

#[tokio::test]
async fn beside_an_adapter_on_the_same_key_nothing_is_published_or_delivered_until_it_has_gone() {
    let nodes = Nodes::start().await;
    let (near, far) = (nodes.a.client(token("ada")).await, nodes.b.client(token("ada")).await);
    let port = nodes.redis.port().to_string();
    let other = Service::with(&[("REDIS_PORT", &port), ("REDIS_KEY", "socket.io")]).await;
    // Its first message is enough to find it.
    other.broadcast(json!({ "event": "from_the_adapter", "args": [] })).await;
    for gate in [&nodes.a, &nodes.b] {
        gate.counts(1.0, CONFLICT, &[]).await;
        gate.counts(1.0, DROPPED, &[("direction", "in"), ("reason", "conflict")]).await;
        gate.log().wait(&["@socket.io/redis-adapter", "redis.key"]).await;
    }
    nodes.service_a.emit("ada", "tutor:message", json!(["unheard"])).await;
    assert_eq!(near.next("tutor:message").await, json!(["unheard"]));
    nodes.a.counts(1.0, DROPPED, &[("direction", "out"), ("reason", "conflict")]).await;
    drop(other);
    for gate in [&nodes.a, &nodes.b] {
        gate.counts(0.0, CONFLICT, &[]).await;
        gate.log().wait(&["no Redis adapter of the service is on the key", "events go between nodes again"]).await;
    }
    nodes.service_a.emit("ada", "tutor:message", json!(["heard"])).await;
    assert_eq!(far.next("tutor:message").await, json!(["heard"]));
    assert_eq!(far.untaken("from_the_adapter"), 0);
}

#[tokio::test]
async fn each_adapter_of_socket_io_is_found_at_the_start_and_a_gate_is_taken_for_none() {
    let redis = Redis::start().await;
    let emitter = Emitter::start(&redis).await;
    let port = redis.port().to_string();
    let sharded = [("REDIS_PORT", &*port), ("REDIS_KEY", "socket.io"), ("SHARDED", "on")];
    let streams = [("REDIS_PORT", &*port)];
    for adapter in [&sharded[..], &streams] {
        let other = Service::with(adapter).await;
        let service = Service::start().await;
        let gate = node(&service, &redis).await;
        gate.counts(1.0, CONFLICT, &[]).await;
        drop(other);
        gate.counts(0.0, CONFLICT, &[]).await;
        let second = node(&service, &redis).await;
        for gate in [&gate, &second] {
            hears(gate, &emitter).await;
            gate.counts(0.0, CONFLICT, &[]).await;
        }
    }
}

/// The first line of `docs/redis.md` that makes a user, with another password.
#[tokio::test]
async fn a_gate_needs_no_more_of_redis_than_the_page_says() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/redis.md")).unwrap();
    let line =
        page.lines().find(|line| line.starts_with("ACL SETUSER tidegate ")).unwrap().replace("PASSWORD", "secret");
    let redis = Redis::start().await;
    let emitter = Emitter::start(&redis).await;
    assert_eq!(redis.cli(&line.split(' ').collect::<Vec<_>>()).await, "OK");
    let service = Service::start().await;
    let user = "redis.username = \"tidegate\"\nredis.password = { env = \"REDIS_PASSWORD\" }";
    let setup = |line: &str| {
        Gate::before(&service)
            .with(&format!("redis.url = {:?}\n{line}\n{MIRROR}", redis.url()))
            .variable("REDIS_PASSWORD", "secret")
    };
    let (a, b) = (setup(user).await, setup(user).await);
    for gate in [&a, &b] {
        hears(gate, &emitter).await;
    }
    let (near, far) = (a.client(token("ada")).await, b.client(token("ada")).await);
    service.emit("ada", "tutor:message", json!([1])).await;
    // Both gates have the same service: each client has it from there, and from the other node.
    for client in [&near, &far] {
        let heard: [Value; 2] = [client.next("tutor:message").await, client.next("tutor:message").await];
        assert_eq!(heard, [json!([1]), json!([1])]);
    }
    assert_eq!(redis.cli(&["ACL", "LOG"]).await, "", "nothing was refused");
}
