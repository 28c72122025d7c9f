//! Replicas without a folder in common order one certificate through Redis.

use std::time::Duration;

use super::{LONG, orders};
use crate::support::{
    Gate, Redis, Service, eventually, http, pebble::Pebble, ports::Port, tidegate::Setup, tls::TlsClient,
};

/// A service, an authority that finds `localhost` at the first gate, and the Redis of both gates.
struct World {
    service: Service,
    pebble: Pebble,
    redis: Redis,
    _http: Port,
}

impl World {
    async fn new(validity: Duration) -> (Self, Setup) {
        let (service, redis, http) = (Service::start().await, Redis::start().await, Port::reserve());
        let setup = Gate::before(&service);
        let pebble = Pebble::start(http.address, setup.address(), validity).await;
        let world = Self { service, pebble, redis, _http: http };
        let setup = setup.ordering_in_redis(&world.pebble, &world.redis);
        (world, setup)
    }

    fn replica(&self) -> Setup {
        Gate::before(&self.service).ordering_in_redis(&self.pebble, &self.redis)
    }

    fn client(&self) -> TlsClient {
        TlsClient::believing_in(self.pebble.issuer(), rustls::DEFAULT_VERSIONS, None).forgetful()
    }

    /// The entries in Redis.
    async fn keys(&self) -> Vec<String> {
        let keys = self.redis.cli(&["KEYS", "tidegate:{tutor}:acme:*"]).await;
        keys.lines().map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn replicas_with_one_redis_order_one_certificate_and_whoever_is_asked_answers() {
    let (world, setup) = World::new(LONG).await;
    // The authority comes to the one that does not order: it is started when the challenge of the other is open.
    world.pebble.freeze();
    let ordering = world.replica().unready().await;
    eventually("the order has begun", async || {
        world.keys().await.iter().any(|key| key.ends_with(":lock")).then_some(())
    })
    .await;
    let asked = setup.unready().await;
    world.pebble.thaw();
    for gate in [&ordering, &asked] {
        eventually("the replica is ready", async || {
            (http::get(&gate.admin_url("/readyz")).await.status == 200).then_some(())
        })
        .await;
    }

    assert_eq!((orders(&ordering).await, orders(&asked).await), (1.0, 0.0));
    let challenges = asked.metrics().await.sum("tidegate_tls_handshakes_total", &[("result", "challenge")]);
    assert!(challenges >= 1.0, "the authority came to the one that had not ordered");
    let client = world.client();
    assert_eq!(client.serial(ordering.address).await, client.serial(asked.address).await);
    eventually("the lock is released", async || {
        world.keys().await.iter().all(|key| !key.ends_with(":lock")).then_some(())
    })
    .await;
    let keys = world.keys().await;
    let entry = keys.iter().find(|key| key.ends_with(".pem")).unwrap();
    let stored = world.redis.cli(&["GET", entry]).await;
    assert!(!stored.contains("PRIVATE KEY") && !stored.contains("CERTIFICATE"), "it is sealed");

    world.redis.freeze();
    assert_eq!(client.serial(ordering.address).await, client.serial(asked.address).await, "what is in force stays");
}

#[tokio::test]
async fn while_redis_is_unreachable_nothing_is_ordered_and_afterwards_it_is() {
    let (world, setup) = World::new(LONG).await;
    world.redis.freeze();
    let gate = setup.unready().await;
    gate.log().wait(&["tls.acme.cache: tidegate:{tutor}:acme:", "cannot be read"]).await;
    let ready = http::get(&gate.admin_url("/readyz")).await;
    assert!(ready.status == 503 && ready.text().contains("no certificate yet"), "{}", ready.text());
    assert_eq!(orders(&gate).await, 0.0);

    world.redis.thaw();
    gate.counts(1.0, "tidegate_acme_orders_total", &[("result", "ok")]).await;
    eventually("the node is ready", async || (http::get(&gate.admin_url("/readyz")).await.status == 200).then_some(()))
        .await;
}

#[tokio::test]
async fn what_is_missing_for_it_is_told_at_check() {
    let (world, _) = World::new(LONG).await;
    for (setup, key, fix) in [
        (world.replica().without("redis.url"), "tls.acme.cache", "there is no table [redis]"),
        (world.replica().without("cluster.secret"), "cluster.secret", "below [cluster]"),
        (world.replica().variable("CLUSTER_SECRET", "short"), "cluster.secret", "at least 32"),
    ] {
        let checked = setup.cli(&["check", "FILE"]).await;
        assert_eq!(checked.code, Some(2), "{checked:?}");
        assert!(checked.stderr.contains(key) && checked.stderr.contains(fix), "{key}: {}", checked.stderr);
    }
    let good = world.replica().cli(&["check", "FILE"]).await;
    assert_eq!(good.code, Some(0), "{}", good.stderr);
    assert!(good.stdout.contains("cluster.secret"), "{}", good.stdout);
}
