//! Limits of all nodes: three gates, one Redis, one user.

use std::cell::Cell;

use crate::support::{Client, Gate, Redis, Service, Value, eventually, json, token};

/// An hour, so that no allowance comes back while a slow machine counts.
pub(crate) const HUNDRED: &str = "[[rate_limit]]\nscope = \"user\"\nmessages = 100\nper = \"1h\"\nshared = true";

/// Three gates that know each other.
async fn three(service: &Service, redis: &Redis, rule: &str) -> [Gate; 3] {
    let gate = || async {
        Gate::before(service).with(&format!("redis.url = \"redis://127.0.0.1:{}\"", redis.port())).with(rule).await
    };
    let gates = [gate().await, gate().await, gate().await];
    all_show(&gates, "tidegate_cluster_nodes", 3.0).await;
    all_show(&gates, "tidegate_shared_limit_up", 1.0).await;
    gates
}

async fn all_show(gates: &[Gate; 3], name: &str, value: f64) {
    for gate in gates {
        gate.counts(value, name, &[]).await;
    }
}

/// Ada on each gate, each of which has its share of her budget.
async fn ada_on(gates: &[Gate; 3], share: f64) -> [Client; 3] {
    let [a, b, c] = gates;
    let clients = [a.client(token("ada")).await, b.client(token("ada")).await, c.client(token("ada")).await];
    all_show(gates, "tidegate_shared_limit_messages_left", share).await;
    clients
}

/// Asks so many times at once, and returns how many were answered by the service.
pub(crate) async fn burst(client: &Client, times: usize) -> usize {
    accepted(&client.ask_at_once(times, "agent:learning", json!([{ "action": "get_recommendation" }])).await)
}

fn accepted(answers: &[Value]) -> usize {
    for answer in answers {
        assert!(answer["success"] == true || answer["rateLimited"] == true, "{answer}");
    }
    answers.iter().filter(|answer| answer["success"] == true).count()
}

async fn bursts(clients: &[Client; 3], times: usize) -> usize {
    let [a, b, c] = clients;
    let counts = tokio::join!(burst(a, times), burst(b, times), burst(c, times));
    counts.0 + counts.1 + counts.2
}

#[tokio::test]
async fn a_user_on_three_nodes_gets_one_budget() {
    let (service, redis) = (Service::start().await, Redis::start().await);
    let gates = three(&service, &redis, HUNDRED).await;
    let clients = ada_on(&gates, 33.0).await;

    let at_once = bursts(&clients, 100).await;
    let later = bursts(&clients, 100).await;

    assert!((95..=105).contains(&at_once), "{at_once}");
    assert!((95..=105).contains(&(at_once + later)), "{at_once} and {later}");
    assert_eq!(service.received("agent:learning").await, (at_once + later) as u64, "Node's own count");
}

#[tokio::test]
async fn a_burst_on_one_of_three_nodes_gets_the_whole_budget() {
    let (service, redis) = (Service::start().await, Redis::start().await);
    let gates = three(&service, &redis, HUNDRED).await;
    let ada = gates[1].client(token("ada")).await;
    gates[1].counts(96.0, "tidegate_shared_limit_messages_left", &[]).await;

    let at_once = burst(&ada, 150).await;
    assert!((95..=105).contains(&at_once), "{at_once}");
    let bob = gates[1].client(token("bob")).await;
    assert_eq!(burst(&bob, 1).await, 1, "nobody else is concerned");
}

#[tokio::test]
async fn packets_one_after_the_other_on_three_nodes_get_one_budget() {
    let (service, redis) = (Service::start().await, Redis::start().await);
    let gates = three(&service, &redis, HUNDRED).await;
    let clients = ada_on(&gates, 33.0).await;

    let mut passed = 0;
    for packet in 0..150 {
        passed += burst(&clients[packet % 3], 1).await;
    }
    assert!((95..=105).contains(&passed), "{passed}");
}

#[tokio::test]
async fn demand_on_one_node_gets_what_the_others_hold() {
    let (service, redis) = (Service::start().await, Redis::start().await);
    let gates = three(&service, &redis, HUNDRED).await;
    let clients = ada_on(&gates, 33.0).await;

    let mut passed = burst(&clients[2], 100).await;
    assert!(passed >= 33, "its share at once: {passed}");
    while passed < 95 {
        passed += burst(&clients[2], 10).await;
    }
    assert!(passed <= 105, "{passed}");
}

#[tokio::test]
async fn the_users_of_one_address_have_one_budget_on_three_nodes() {
    let (service, redis) = (Service::start().await, Redis::start().await);
    let gates = three(&service, &redis, &HUNDRED.replace("user", "ip")).await;
    let [a, b, c] = &gates;
    let clients = [a.client(token("ada")).await, b.client(token("bob")).await, c.client(token("eve")).await];
    all_show(&gates, "tidegate_shared_limit_messages_left", 33.0).await;

    let passed = bursts(&clients, 100).await + bursts(&clients, 100).await;
    assert!((95..=105).contains(&passed), "{passed}");
}

#[tokio::test]
async fn without_redis_each_node_gives_its_part_and_then_all_share_again() {
    let (service, mut redis) = (Service::start().await, Redis::start().await);
    let gates = three(&service, &redis, HUNDRED).await;
    let clients = ada_on(&gates, 33.0).await;
    assert_eq!(burst(&clients[0], 20).await, 20);

    redis.kill().await;
    all_show(&gates, "tidegate_shared_limit_up", 0.0).await;
    let [a, b, c] = &clients;
    let parts = [burst(a, 100).await, burst(b, 100).await, burst(c, 100).await];
    assert_eq!(parts, [13, 33, 33], "a third each, and what had passed before counts");
    gates[0].counts(87.0, "tidegate_shared_limit_refused_alone_total", &[]).await;
    gates[0].log().wait(&["shared limits count on this node alone", "1/3"]).await;

    redis.restart().await;
    all_show(&gates, "tidegate_shared_limit_up", 1.0).await;
    gates[0].log().wait(&["shared limits count on all nodes again"]).await;
    let eve = gates[0].client(token("eve")).await;
    eventually("eve has her budget", async || (burst(&eve, 1).await == 1).then_some(())).await;
}

/// How many nodes hold messages of a budget.
async fn holders(redis: &Redis) -> usize {
    let mut holders = 0;
    for key in redis.cli(&["KEYS", "tidegate:*:limit:*:*"]).await.lines() {
        // Of a node: held, expires, total.
        let values = redis.cli(&["HVALS", key]).await;
        holders += values.lines().filter(|value| value.contains(' ') && !value.starts_with("0 ")).count();
    }
    holders
}

/// How many nodes are counted.
async fn alive(redis: &Redis) -> usize {
    redis.cli(&["KEYS", "tidegate:*:node:*"]).await.lines().count()
}

/// It ends with a session, which holds a lease until then.
#[tokio::test]
async fn a_node_that_ends_gives_back_what_it_holds_and_is_no_longer_counted() {
    let (service, redis) = (Service::start().await, Redis::start().await);
    let rule = format!("limits.shutdown_grace = \"0s\"\nlimits.lame_duck = \"0s\"\n{HUNDRED}");
    let [mut first, mut second, third] = three(&service, &redis, &rule).await;
    let _clients = [first.client(token("ada")).await, second.client(token("ada")).await];
    eventually("both hold a part", async || (holders(&redis).await == 2).then_some(())).await;

    first.signal("TERM");
    assert_eq!(first.exit().await, Some(0));
    assert_eq!((holders(&redis).await, alive(&redis).await), (1, 2));
    third.counts(2.0, "tidegate_cluster_nodes", &[]).await;
    second.signal("KILL");
    second.exit().await;
    assert_eq!((holders(&redis).await, alive(&redis).await), (1, 2), "of one that dies Redis hears nothing");
}

#[tokio::test]
async fn a_reload_that_is_refused_leaves_the_budget_shared() {
    let (service, redis) = (Service::start().await, Redis::start().await);
    let redis_url = format!("redis.url = \"redis://127.0.0.1:{}\"", redis.port());
    let mut gate = Gate::before(&service).with(&redis_url).with(HUNDRED).await;
    gate.counts(1.0, "tidegate_shared_limit_up", &[]).await;

    for mistake in ["share = true", "shared = true\nsharing = 1"] {
        gate.change(&HUNDRED.replace("shared = true", mistake));
        gate.counts(0.0, "tidegate_config_reload_success", &[]).await;
        let client = gate.client(token(mistake)).await;
        let passed = Cell::new(0);
        eventually("a newcomer gets the budget", async || {
            passed.set(passed.get() + burst(&client, 10).await);
            (passed.get() >= 95).then_some(())
        })
        .await;
        assert!(passed.get() + burst(&client, 50).await <= 105, "it is one budget");
        gate.counts(1.0, "tidegate_shared_limit_up", &[]).await;
        gate.change(HUNDRED);
        gate.counts(1.0, "tidegate_config_reload_success", &[]).await;
    }
}

#[tokio::test]
async fn while_redis_stands_still_packets_are_judged_all_the_same() {
    let (service, redis) = (Service::start().await, Redis::start().await);
    let gates = three(&service, &redis, HUNDRED).await;
    let clients = ada_on(&gates, 33.0).await;

    redis.freeze();
    assert_eq!(burst(&clients[0], 100).await, 33, "by its lease, or by its part");
    all_show(&gates, "tidegate_shared_limit_up", 0.0).await;
    assert_eq!(bursts(&clients, 100).await, 66);

    redis.thaw();
    all_show(&gates, "tidegate_shared_limit_up", 1.0).await;
    let later = bursts(&clients, 100).await + bursts(&clients, 100).await;
    assert!(later <= 105 - 99, "what had passed was charged: {later}");
}

#[tokio::test]
async fn a_shared_rule_without_redis_does_not_start() {
    let service = Service::start().await;
    let outcome = Gate::before(&service).with(HUNDRED).fails().await;
    assert!(outcome.stderr.contains("rate_limit[0].shared is true"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("add [redis] with its url, or remove shared"), "{}", outcome.stderr);
}
