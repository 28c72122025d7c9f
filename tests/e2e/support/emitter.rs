//! A program that says something to the clients of a service through Redis: `@socket.io/redis-emitter` in a Node process, driven
//! by `tests/upstream/emitter.mjs`.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Redis, client::Driver, soon};

/// An emitter. Its process ends with the value.
#[derive(Debug, Clone)]
pub(crate) struct Emitter(Arc<Driver>);

/// Whom it speaks to, as the operators of the package say it: all of `/` at first.
#[derive(Debug, Clone)]
pub(crate) struct Operator {
    driver: Arc<Driver>,
    whom: Value,
}

impl Emitter {
    /// On the key that the adapter has as it is delivered.
    pub(crate) async fn start(redis: &Redis) -> Self {
        Self::with_key(redis, "socket.io").await
    }

    /// On another key.
    pub(crate) async fn with_key(redis: &Redis, key: &str) -> Self {
        let driver = Driver::of("emitter.mjs").await;
        let connected = driver.call("connect", json!({ "url": redis.url(), "key": key }));
        soon("the emitter connects", connected).await.unwrap();
        Self(driver)
    }

    /// All of a namespace.
    pub(crate) fn of(&self, namespace: &str) -> Operator {
        Operator { driver: self.0.clone(), whom: json!({ "of": namespace, "to": [], "except": [], "volatile": false }) }
    }

    pub(crate) fn all(&self) -> Operator {
        self.of("/")
    }

    pub(crate) fn to(&self, room: &str) -> Operator {
        self.all().to(room)
    }

    /// Publishes payloads as they are, one after the other; how many subscriptions got them, all counted.
    pub(crate) async fn publish(&self, channel: &str, payloads: &[Vec<u8>]) -> u64 {
        let payloads: Vec<_> = payloads.iter().map(|payload| STANDARD.encode(payload)).collect();
        let published = self.0.call("publish", json!({ "channel": channel, "payloads": payloads }));
        soon("it is published", published).await.unwrap().as_u64().unwrap()
    }
}

impl Operator {
    /// Clients of this room, also.
    pub(crate) fn to(mut self, room: &str) -> Self {
        self.whom["to"].as_array_mut().unwrap().push(room.into());
        self
    }

    /// None of this room.
    pub(crate) fn except(mut self, room: &str) -> Self {
        self.whom["except"].as_array_mut().unwrap().push(room.into());
        self
    }

    pub(crate) fn volatile(mut self) -> Self {
        self.whom["volatile"] = true.into();
        self
    }

    /// Says an event. Bytes are `{"$binary": base64}`.
    pub(crate) async fn emit(self, event: &str, args: Value) {
        self.call("emit", json!({ "event": event, "args": args })).await;
    }

    pub(crate) async fn sockets_join(self, rooms: &[&str]) {
        self.call("socketsJoin", json!({ "rooms": rooms })).await;
    }

    pub(crate) async fn sockets_leave(self, rooms: &[&str]) {
        self.call("socketsLeave", json!({ "rooms": rooms })).await;
    }

    pub(crate) async fn disconnect_sockets(self, close: bool) {
        self.call("disconnectSockets", json!({ "close": close })).await;
    }

    /// To servers, not to clients.
    pub(crate) async fn server_side_emit(self, event: &str, args: Value) {
        self.call("serverSideEmit", json!({ "event": event, "args": args })).await;
    }

    /// It has been published when this is done.
    async fn call(mut self, op: &str, with: Value) {
        self.whom.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        soon(op, self.driver.call(op, self.whom)).await.unwrap();
    }
}
